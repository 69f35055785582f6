"""A table that is larger than what is held in memory: put together on disk, it is the table that it
would have been.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe import sandbox
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.cache.parts import SortedRun, newest_rows
from pdframe.cache.store import Manifest, Store
from pdframe.errors import ResponseError
from pdframe.frames import storage_schema, to_arrow
from pdframe.sandbox.server import Faults, Server
from pdframe.schema import TABLES
from pdframe.sync import SyncOptions, fetch
from pdframe.sync.fetch import FetchResult
from pdframe.sync.merge import Merger
from tests.helpers import tiers, true_cells
from tests.helpers.cell_by_cell import wrong_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

NOW = datetime(2026, 7, 1, tzinfo=UTC)
WALKED = ["deals", "activities", "persons", "organizations"]


# Some pages of 20 rows are all that is in memory.
LITTLE_MEMORY = SyncOptions(
    page_size=20, buffer_bytes=30_000, merge_part_bytes=15_000, batch_rows=7, part_bytes=30_000
)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pages were put together, run by run."""
    runs: list[int] = []
    compact = Checkpoint.compact

    def noted(pending: Checkpoint, rows: Any, *where: Any) -> SortedRun:
        runs.append(rows.num_rows)
        return compact(pending, rows, *where)

    monkeypatch.setattr(Checkpoint, "compact", noted)
    return runs


def merged(merger: Merger, fetched: FetchResult, cached: Any = None) -> Iterator[Any]:
    """Merge what was fetched into what is cached; into nothing where it is the complete table."""
    return merger.merge(
        cached or [],
        [*fetched.runs, merger.staged(fetched.pages)],
        fetched.deleted,
        complete=cached is None,
    )


def opened(folder: Path) -> Store:
    store = Store(folder, "account", LITTLE_MEMORY)
    store.open()
    return store


@pytest.mark.slow
@pytest.mark.parametrize("table", WALKED)
def test_a_table_in_runs_equals_the_truth_and_so_do_its_changes(
    table: str, settled: list[int]
) -> None:
    with sandbox.connect(
        seed=3, deals=300, company="hostile", burst=100_000, progress=False, options=LITTLE_MEMORY
    ) as account:
        company = account.company_model
        assert account.sync(table).set_index("table")["added"][table] == len(
            true_cells.visible(true_cells.fold(company.events), table)
        )
        assert len(settled) > 1
        assert not wrong_cells(
            account, company, true_cells.fold(company.events), table, refresh=False
        )
        for full in (False, True):
            before = set(getattr(account, table)(refresh=False)["id"])
            company.advance(days=20)
            after = {
                row["id"] for row in true_cells.visible(true_cells.fold(company.events), table)
            }
            row = account.sync(table, full=full).set_index("table").loc[table]
            assert row["mode"] == ("full" if full else "incremental")
            assert row["added"] == len(after - before)
            if full or table == "deals":  # an incremental sync of other tables sees no deletions
                assert row["removed"] == len(before - after)
                assert not wrong_cells(
                    account, company, true_cells.fold(company.events), table, refresh=False
                )


def test_parts_that_nothing_changed_in_are_left_as_they_are() -> None:
    with sandbox.connect(
        seed=3, deals=300, company="hostile", burst=100_000, progress=False, options=LITTLE_MEMORY
    ) as account:
        account.activities()
        folder = account.cache_path / "activities"
        before = {path.name: path.read_bytes() for path in folder.glob("part-*")}
        assert len(before) > 4
        account.company_model.edit_activity(
            int(account.activities(refresh=False)["id"].iloc[-1]), subject="edited"
        )
        account.sync("activities")
        after = {path.name: path.read_bytes() for path in folder.glob("part-*")}
        assert len(before.keys() & after.keys()) == len(before) - 1
        assert all(after[name] == before[name] for name in before.keys() & after.keys())
        ids = account.activities(refresh=False)["id"]
        assert ids.is_monotonic_increasing
        assert not wrong_cells(
            account,
            account.company_model,
            true_cells.fold(account.company_model.events),
            "activities",
            refresh=False,
        )


def test_a_fetch_resumes_from_its_runs(tmp_path: Path, settled: list[int]) -> None:
    company = sandbox.Company(seed=3, deals=200)
    with Server(company, burst=100_000) as server:

        def connect(cache: Path) -> pdframe.Account:
            return pdframe.connect(
                base_url=server.url,
                api_token=server.token,
                cache_dir=cache,
                progress=False,
                options=LITTLE_MEMORY,
            )

        with connect(tmp_path / "whole") as account:
            account.fields("deals")
            server.reset_stats()
            requests = int(account.sync("deals").set_index("table")["requests"]["deals"])
            deals = account.deals(refresh=False)
        # The requests after these reload the list of fields: then the table is written.
        for k in tiers.places(range(2, requests), 5):
            with connect(tmp_path / str(k)) as account:
                account.fields("deals")
                server.reset_stats()
                server.faults = Faults(at={k: "success_false_200"})
                settled.clear()
                with pytest.raises(ResponseError):
                    account.deals()
                server.faults = None
                pending = account.cache_path / "deals" / "pending"
                assert len(list(pending.glob("run-*"))) == len(settled)
                account.deals()
                pd.testing.assert_frame_equal(account.deals(refresh=False), deals)
                assert not pending.exists()
        assert settled


def test_a_run_that_was_changed_is_requested_again(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3,
        deals=200,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LITTLE_MEMORY,
    ) as account:
        account.fields("deals")
        account.server.faults = Faults(at={10: "success_false_200"})
        with pytest.raises(ResponseError):
            account.deals()
        account.server.faults = None
        run = next((account.cache_path / "deals" / "pending").glob("run-*"))
        raw = bytearray(run.read_bytes())
        raw[len(raw) // 2] ^= 1
        run.write_bytes(raw)
        with pytest.warns(
            pdframe.DataWarning, match="saved pages of 'deals' are not as they were written"
        ):
            account.deals()
        assert not wrong_cells(
            account,
            account.company_model,
            true_cells.fold(account.company_model.events),
            "deals",
            refresh=False,
        )


@pytest.mark.every_case
@pytest.mark.parametrize("seed", range(8))
def test_the_last_version_of_a_row_that_repeats_counts(seed: int, tmp_path: Path) -> None:
    draw, table = random.Random(seed), TABLES["organizations"]
    store = opened(tmp_path)
    pending, pull, known = (
        Checkpoint(store, table, storage_schema(table)),
        FetchResult(NOW),
        dict[int, dict[str, Any]](),
    )
    for _ in range(draw.randrange(3, 40)):
        ids = [
            draw.choice([draw.randrange(60), draw.randrange(-(2**60), 2**60)])
            for _ in range(draw.randrange(30))
        ]
        odd = f"new {draw.randrange(3)}"
        page = [
            {
                "id": one,
                "name": f"{draw.random()}",
                "is_deleted": draw.random() < 0.1,
                odd: draw.random(),
            }
            for one in ids
        ]
        known |= {row["id"]: row for row in page}
        pull.pages.append(to_arrow(page, table)[0])
        pending.append(pull.pages[-1], Position(NOW))
        if draw.random() < 0.3:
            pull.move_to_run(
                pending.compact(
                    newest_rows(pa.concat_tables(pull.pages, promote_options="default"), "id"),
                    Position(NOW),
                )
            )
    pull.deleted = draw.sample(sorted(known), len(known) // 10)
    made = Merger(table, (), LITTLE_MEMORY)
    written = store.publish(
        store.write_parts(Manifest("organizations", (), 0, NOW, NOW), merged(made, pull))
    )
    rows = store.read("organizations").to_pylist()
    there = {
        one: row
        for one, row in sorted(known.items())
        if one not in pull.deleted and not row["is_deleted"]
    }
    assert [row["id"] for row in rows] == list(there)
    assert written.rows == made.counts.added == len(there)
    for row, (_, known_row) in zip(rows, there.items(), strict=True):
        assert row["name"] == known_row["name"]
        for odd in ("new 0", "new 1", "new 2"):
            assert (None if row.get(odd) is None else float(row[odd])) == known_row.get(odd)


@pytest.mark.parametrize("seed", range(8))
def test_changes_in_runs_are_put_on_top_of_what_is_cached(seed: int, tmp_path: Path) -> None:
    draw, table = random.Random(seed), TABLES["organizations"]
    store = opened(tmp_path)

    def rows(ids: list[int], odd: str) -> list[dict[str, Any]]:
        return [
            {
                "id": one,
                "name": f"{draw.random()}",
                "is_deleted": draw.random() < 0.1,
                odd: draw.random(),
            }
            for one in ids
        ]

    cached = {
        row["id"]: row
        for row in rows(draw.sample(range(0, 4_000, 2), draw.choice([0, 1, 900])), "old")
    }
    first, pending = FetchResult(NOW), Checkpoint(store, table, storage_schema(table))
    for start in range(0, max(len(cached), 1), 20):
        first.pages.append(
            to_arrow(
                [row | {"is_deleted": False} for row in list(cached.values())[start : start + 20]],
                table,
            )[0]
        )
        fetch.stage_page(pending, first, first.pages[-1], Position(NOW), options=LITTLE_MEMORY)
    manifest = store.publish(
        store.write_parts(
            Manifest("organizations", (), 0, NOW, NOW),
            merged(Merger(table, (), LITTLE_MEMORY), first),
        )
    )
    pending.drop()
    pull, known = FetchResult(NOW), dict[int, dict[str, Any]]()
    for _ in range(draw.choice([2, 60])):
        page = rows(
            [draw.randrange(-50, draw.choice([4_000, 12_000])) for _ in range(20)],
            draw.choice(["old", "new"]),
        )
        known |= {row["id"]: row for row in page}
        pull.pages.append(to_arrow(page, table)[0])
        fetch.stage_page(pending, pull, pull.pages[-1], Position(NOW), options=LITTLE_MEMORY)
    pull.deleted = draw.sample(sorted(cached), len(cached) // 10)
    made, sizes = Merger(table, (), LITTLE_MEMORY), []

    def noting(parts: Any) -> Any:
        for part in parts:
            sizes.append(part.nbytes if isinstance(part, pa.Table) else 0)
            yield part

    store.publish(
        store.write_parts(manifest, noting(merged(made, pull, store.sorted_parts(manifest, "id"))))
    )
    there = {
        one: row
        for one, row in sorted({**cached, **known}.items())
        if one not in pull.deleted and not known.get(one, {}).get("is_deleted")
    }
    kept = store.read("organizations").to_pylist()
    assert [row["id"] for row in kept] == list(there)
    for row, known_row in zip(kept, there.values(), strict=True):
        assert row["name"] == known_row["name"]
        for odd in ("old", "new"):
            assert (None if row.get(odd) is None else float(row[odd])) == known_row.get(odd)
    assert made.counts.added == len(there.keys() - cached.keys())
    assert made.counts.removed == len(cached.keys() - there.keys())
    assert made.counts.changed == len(
        [one for one in there.keys() & cached.keys() if there[one] is not cached[one]]
    )
    # However much comes, little of it is in memory at a time.
    assert max(sizes) < 3 * LITTLE_MEMORY.merge_part_bytes


def test_a_refresh_of_more_than_is_kept_resumes_from_its_runs(
    tmp_path: Path, settled: list[int]
) -> None:
    company = sandbox.Company(seed=3, deals=150)
    with Server(company, burst=100_000) as server:

        def connect(cache: Path) -> pdframe.Account:
            return pdframe.connect(
                base_url=server.url,
                api_token=server.token,
                cache_dir=cache,
                progress=False,
                max_age=0,
                options=LITTLE_MEMORY,
            )

        with connect(tmp_path / "start") as account:
            account.deals()
        for row in list(company.tables["deals"].values()):
            if not row["is_deleted"]:
                company.edit_deal(row["id"], title="edited")
        shutil.copytree(tmp_path / "start", tmp_path / "whole")
        with connect(tmp_path / "whole") as account:
            server.reset_stats()
            settled.clear()
            deals, requests, requested = (
                account.deals(),
                server.stats.requests,
                server.stats.by_path["/api/v2/deals"][0],
            )
            assert len(settled) > 1
            assert not wrong_cells(
                account, company, true_cells.fold(company.events), "deals", refresh=False
            )
        for k in tiers.places(range(2, requests), 5):
            shutil.copytree(tmp_path / "start", tmp_path / str(k))
            with connect(tmp_path / str(k)) as account:
                server.faults = Faults(at={k: "success_false_200"})
                server.reset_stats()
                with pytest.raises(ResponseError):
                    account.deals()
                server.faults, failed = None, server.requests[-1]
                pd.testing.assert_frame_equal(account.deals(), deals)
                # Before going on behind the first list that is closed: all that was edited in the
                # last five minutes is asked for again.
                closed = failed.template != "/api/v2/deals" or "updated_since" not in failed.params
                assert server.stats.by_path["/api/v2/deals"][0] <= (
                    2 * requested if closed else requested + 2
                )
                assert not (account.cache_path / "deals" / "changes").exists()


@pytest.mark.parametrize("cached", [False, True])
def test_runs_may_hold_rows_that_no_longer_count(cached: bool, tmp_path: Path) -> None:
    table = TABLES["organizations"]
    store = opened(tmp_path)
    pending, pull = Checkpoint(store, table, storage_schema(table)), FetchResult(NOW)
    rows = to_arrow(
        [{"id": one, "name": "odd" if one % 2 else "even"} for one in range(50)], table
    )[0]
    pending.append(rows, Position(NOW))
    run = pending.compact(rows, Position(NOW))
    for name, left in (("odd", range(1, 50, 2)), ("neither", range(0))):
        pull.runs = [run.only("name", pa.array([name]))]
        assert [one["id"] for one in next(pull.columns(["id"])).to_pylist()] == list(left)
        manifest = Manifest("organizations", (), 0, NOW, NOW)
        if cached:
            before = FetchResult(NOW)
            before.pages.append(to_arrow([{"id": 1_000, "name": "before"}], table)[0])
            manifest = store.publish(
                store.write_parts(manifest, merged(Merger(table, (), LITTLE_MEMORY), before))
            )
        made = Merger(table, (), LITTLE_MEMORY)
        parts = (
            merged(made, pull, store.sorted_parts(manifest, "id")) if cached else merged(made, pull)
        )
        store.publish(store.write_parts(manifest, parts))
        assert store.read("organizations")["id"].to_pylist() == [
            *left,
            *([1_000] if cached else []),
        ]
