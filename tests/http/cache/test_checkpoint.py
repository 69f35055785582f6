"""A sync that is interrupted anywhere is completed by the next one, at the price of what was in
flight and of closing the gap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe._files import seal, unseal
from pdframe.cache.checkpoint import PENDING, POSITION_FILE
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import BudgetError, CacheError, ResponseError
from pdframe.sandbox.server import Faults, Server
from pdframe.schema import LISTS
from pdframe.schema import TABLES as SCHEMA
from pdframe.sync import SyncOptions
from tests.helpers import tiers, true_cells
from tests.helpers.cache_files import store_of
from tests.helpers.cell_by_cell import wrong_cells
from tests.helpers.faults_by_path import fail_at, interrupted
from tests.helpers.proxy import altered

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

TABLES = ["deals", "deal_products", "installments", "activities", "persons", "products", "stages"]
PAGE_ROWS = 40
# What a pull of changes costs at least: each list once, the lists of deletions, and the ids that no
# list of deals has.
CLOSING = {"deals": 10 + 20 + 10 + 20 + 10, "activities": 10, "persons": 10, "organizations": 10}
# Walks that cannot say what changed meanwhile: they start again.
FROM_THE_START = [
    name for name in LISTS if not SCHEMA[name].incremental and not SCHEMA[name].sources[0].batch
]
BY_RECORD = ("discounts", "deal_changes", "project_changes")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(sandbox.Company(seed=4, deals=1_100), burst=100_000) as server:
        yield server


def connect(server: Server, cache_dir: Path, **options: object) -> pdframe.Account:
    return pdframe.connect(
        base_url=server.url, api_token=server.token, cache_dir=cache_dir, progress=False, **options
    )  # type: ignore[arg-type]


def frames(account: pdframe.Account, tables: Iterable[str] = TABLES) -> dict[str, pd.DataFrame]:
    return {
        name: store_of(account).read(name).to_pandas()
        if name.endswith("_fields")
        else getattr(account, name)(refresh=False)
        for name in tables
    }


@pytest.fixture(scope="module")
def undisturbed(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, pd.DataFrame], int]:
    with connect(server, tmp_path_factory.mktemp("undisturbed")) as account:
        server.reset_stats()
        account.sync(*TABLES)
        return frames(account), server.stats.tokens


def template(table: str) -> tuple[str, ...]:
    return tuple(f"/api/{source.api}{source.path}" for source in SCHEMA[table].sources)


@pytest.mark.slow
@pytest.mark.parametrize("meanwhile", [False, True], ids=["a first load", "a refresh after a week"])
@pytest.mark.parametrize(
    ("deals", "tables"),
    [
        (110, LISTS),
        (12, (*BY_RECORD, *dict.fromkeys(("deals", "deal_fields", "projects", "project_fields")))),
    ],
)
def test_a_fault_at_any_request_is_made_good_at_the_price_of_what_was_in_flight(
    deals: int,
    tables: tuple[str, ...],
    meanwhile: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault at request k, for all k: the next sync completes, with the same result, and pays for
    no page twice.
    """
    monkeypatch.setattr(os, "fsync", lambda file: None)
    # Lists of many pages. One list after the other, however long a machine that is busy takes to
    # answer: else the k-th request is another one each time.
    options = SyncOptions(page_size=PAGE_ROWS, tables_at_once=1)
    company = sandbox.Company(seed=4, deals=deals)
    with Server(company, burst=100_000) as server:
        start = tmp_path / "start"
        with connect(server, start, options=options) as account:
            account.company  # noqa: B018 - /users/me is asked for, and nothing else
            if meanwhile:
                account.sync(*tables)
                company.advance(days=7)
        shutil.copytree(start, tmp_path / "whole")
        with connect(server, tmp_path / "whole", options=options) as account:
            server.reset_stats()
            account.sync(*tables)
            full, tokens, requests = (
                frames(account, tables),
                server.stats.tokens,
                server.stats.requests,
            )
        assert requests > 10
        for k in tiers.places(range(1, requests + 1), 10):
            shutil.copytree(start, tmp_path / str(k))
            with connect(server, tmp_path / str(k), options=options) as account:
                server.reset_stats()
                server.faults = Faults(at={k: "success_false_200"})
                with pytest.raises(ResponseError) as caught:
                    account.sync(*tables)
                assert k == 1 or "ept" in caught.value.kept
                server.faults = None
                spent, failed = server.requests, server.requests[-1]
                done = account.sync(*tables).set_index("table")
                for name, frame in frames(account, tables).items():
                    pd.testing.assert_frame_equal(frame, full[name])
                # A pull of changes closes what went on from saved pages, or from the changes that
                # came.
                closed = [
                    name
                    for name in CLOSING.keys() & set(tables)
                    if done["note"][name].startswith("resumed")
                    or (failed.template in template(name) and done["mode"][name] == "incremental")
                ]
                again = [
                    path
                    for name in FROM_THE_START
                    if failed.template in template(name)
                    for path in template(name)
                ]
                in_flight = [
                    entry.tokens
                    for entry in spent[:-1]
                    if entry.template in again
                    or (
                        "deal_ids" in failed.params
                        and entry.params.get("deal_ids") == failed.params["deal_ids"]
                    )
                ]
                extra = failed.tokens + sum(in_flight) + sum(CLOSING[name] for name in closed)
                assert server.stats.tokens - tokens <= extra, (
                    k,
                    failed,
                    done[["mode", "tokens", "note"]],
                )
            shutil.rmtree(tmp_path / str(k))


def test_rows_that_changed_between_two_attempts_are_fetched_again(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=4, deals=1_300, cache_dir=tmp_path, company="hostile", burst=100_000, progress=False
    ) as account:
        company = account.company_model
        account.server.faults = Faults(at={5: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        live = [
            row
            for row in company.tables["deals"].values()
            if not row["is_deleted"] and not row["is_archived"]
        ]
        edited, deleted, archived = (row["id"] for row in live[:3])
        company.edit_deal(edited, title="edited in between")
        company.delete_deal(deleted)
        company.archive_deal(archived)
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"].startswith("resumed from")) == ("full", True)
        deals = account.deals(refresh=False).set_index("id")
        assert deals.index.tolist() == [
            row["id"] for row in true_cells.visible(true_cells.fold(company.events), "deals")
        ]
        assert deals["title"][edited] == "edited in between"
        assert deals["is_archived"][archived]


def test_401_deals_of_one_second_survive_an_interruption_among_them(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=4, deals=1_300, cache_dir=tmp_path, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync("deals")
        company = account.company_model
        alive = [row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]]
        company.bulk_edit(alive[:200], title="before")
        company.bulk_edit(alive[200:1_001], title="bulk")  # two pages that share one second
        account.server.faults = Faults(at={3: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        account.sync("deals")
        titles = account.deals(refresh=False).set_index("id")["title"]
        assert set(titles[alive[200:1_001]]) == {"bulk"}
        assert set(titles[alive[:200]]) == {"before"}


def test_a_pull_of_changes_that_is_cut_off_anywhere_pays_for_no_page_twice(tmp_path: Path) -> None:
    options = SyncOptions(page_size=PAGE_ROWS)
    company = sandbox.Company(seed=4, deals=300)
    with Server(company, burst=100_000) as server:
        with connect(server, tmp_path / "start", options=options) as account:
            account.sync("deals")
        alive = [
            row["id"]
            for row in company.tables["deals"].values()
            if not row["is_deleted"] and not row["is_archived"]
        ]
        company.bulk_edit(alive[:130], title="edited")
        company.archive_deal(alive[0])
        company.delete_deal(alive[1])
        shutil.copytree(tmp_path / "start", tmp_path / "whole")
        with connect(server, tmp_path / "whole", options=options) as account:
            server.reset_stats()
            assert account.sync("deals").set_index("table")["mode"]["deals"] == "incremental"
            full, requests = account.deals(refresh=False), server.stats.requests
        for k in tiers.places(range(2, requests + 1)):
            shutil.copytree(tmp_path / "start", tmp_path / str(k))
            with connect(server, tmp_path / str(k), options=options) as account:
                server.reset_stats()
                with interrupted(server, number=k):
                    account.sync("deals")
                paid = [entry for entry in server.requests if entry.status == 200]
            with connect(server, tmp_path / str(k), options=options) as account:
                server.reset_stats()
                row = account.sync("deals").set_index("table").loc["deals"]
                pd.testing.assert_frame_equal(account.deals(refresh=False), full)
            assert row["mode"] == "incremental"
            received = [entry for entry in paid if "updated_since" in entry.params]
            assert row["note"] == (
                f"resumed from {len(received)} saved page{'s' if len(received) > 1 else ''}"
                if received
                else ""
            )
            pages = [
                {
                    (entry.path, *entry.params.items())
                    for entry in requested
                    if "cursor" in entry.params
                }
                for requested in (paid, server.requests)
            ]
            assert not pages[0] & pages[1]


def test_saved_changes_whose_cursor_is_refused_are_requested_again(tmp_path: Path) -> None:
    options = SyncOptions(page_size=PAGE_ROWS)
    with sandbox.connect(
        seed=4,
        deals=300,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=options,
    ) as account:
        account.sync("deals")
        company = account.company_model
        alive = [
            row["id"]
            for row in company.tables["deals"].values()
            if not row["is_deleted"] and not row["is_archived"]
        ]
        company.bulk_edit(alive[:130], title="edited")
        account.server.faults = Faults(at={4: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        account.server.expire_cursors()
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == ("incremental", "")
        assert set(account.deals(refresh=False).set_index("id")["title"][alive[:130]]) == {"edited"}


def test_a_budget_that_runs_out_is_resumed(
    server: Server, undisturbed: tuple[dict[str, pd.DataFrame], int], tmp_path: Path
) -> None:
    full, tokens = undisturbed
    spent = 0
    for _ in range(40):
        with connect(server, tmp_path, max_tokens=spent + 120) as account:
            try:
                account.sync(*TABLES)
            except BudgetError:
                spent = account.tokens_today
                continue
            for name, frame in frames(account).items():
                pd.testing.assert_frame_equal(frame, full[name])
            break
    else:
        pytest.fail("the sync never came to its end")
    assert spent > tokens / 2


def test_a_budget_error_says_what_is_saved_and_when_to_resume(
    server: Server, tmp_path: Path
) -> None:
    with connect(server, tmp_path, max_tokens=2 + 10 + 10 + 10 + 10) as account:
        with pytest.raises(
            BudgetError,
            match=r"Kept: deal_fields as of now.* Pages of deals are saved:"
            r" the next sync resumes from them",
        ) as caught:
            account.sync("deals")
        assert caught.value.resume_at is not None


def test_saved_pages_of_another_schema_are_not_used(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=4,
        deals=1_300,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
    ) as account:
        account.server.faults = Faults(at={5: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("deals")
        account.server.faults = None
        account.company_model.add_field("deal", "New", "double")
        row = account.sync("deals", full=True).set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == ("full", "")


def test_a_walk_that_another_version_saved_starts_again(tmp_path: Path) -> None:
    """Its signature is ours, and its ranges say more than this version knows."""
    options = SyncOptions(page_size=10)
    with sandbox.connect(
        seed=3,
        deals=120,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=options,
    ) as account:
        account.fields("deals")
        account.server.faults = Faults(at={3: "success_false_200"})
        with pytest.raises(ResponseError):
            account.deals()
        account.server.faults = None
        walk = account.cache_path / "deals" / PENDING / POSITION_FILE
        saved = unseal(walk.read_bytes().splitlines()[-1])
        saved["ranges"]["open"][0]["up"]["mood"] = 1
        walk.write_bytes(seal(saved, indent=None))
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == (
            "full",
            "restarted: another version of pdframe saved its pages",
        )
        live = {
            id
            for id in account.company_model.tables["deals"]
            if ("deals", id) not in account.company_model.deleted_at
        }
        assert set(account.deals(refresh=False)["id"]) == live


@pytest.mark.parametrize("earlier_version", [False, True])
def test_a_position_that_was_cut_short_does_not_count(
    tmp_path: Path, earlier_version: bool, recwarn: pytest.WarningsRecorder
) -> None:
    """A kill or a full disk can leave a part of the last line. Earlier versions wrote one line."""
    options = SyncOptions(page_size=10)
    with sandbox.connect(
        seed=3,
        deals=120,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=options,
    ) as account:
        account.fields("deals")
        account.server.faults = Faults(at={6: "success_false_200"})
        with pytest.raises(ResponseError):
            account.deals()
        account.server.faults = None
        positions = account.cache_path / "deals" / PENDING / POSITION_FILE
        lines = positions.read_bytes().splitlines(keepends=True)
        assert len(lines) == 5
        assert [unseal(line)["pages"] for line in lines] == [1, 2, 3, 4, 5]
        positions.write_bytes(
            lines[3].rstrip() if earlier_version else b"".join(lines[:4]) + lines[4][:100]
        )
        recwarn.clear()
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == ("full", "resumed from 4 saved pages")
        assert not [one for one in recwarn if "not as they were written" in str(one.message)]
        assert not wrong_cells(
            account,
            account.company_model,
            true_cells.fold(account.company_model.events),
            "deals",
            refresh=False,
        )


def test_pages_of_an_interrupted_reload_do_not_outlive_a_refresh() -> None:
    with sandbox.connect(
        seed=4, deals=700, company="hostile", burst=100_000, progress=False
    ) as account:
        account.activities()
        account.server.faults = Faults(at={3: "success_false_200"})
        with pytest.raises(ResponseError):
            account.activities(refresh="full")
        account.server.faults = None
        activity = int(account.activities(refresh=True)["id"].iloc[0])
        account.company_model.delete_activity(activity)
        assert activity not in account.activities(refresh="full")["id"].tolist()


def test_a_full_disk_under_the_saved_pages_is_an_error_of_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    with connect(server, tmp_path) as account:
        account.fields("deals")
        monkeypatch.setattr("pdframe.cache.checkpoint.write_plain", full_disk)
        with pytest.raises(CacheError, match="No space left"):
            account.deals()


def test_two_accounts_on_one_cache_wait_for_each_other(server: Server, tmp_path: Path) -> None:
    failures: list[BaseException] = []
    done: list[pd.DataFrame] = []

    def work() -> None:
        try:
            with connect(server, tmp_path) as account:
                for _ in range(3):
                    done.append(account.sync("deals", "stages", full=True))
                    assert len(account.deals(refresh=False)) > 1_000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(done) == 9
    with connect(server, tmp_path) as account:
        parts = list((account.cache_path / "deals").glob("part-*.parquet"))
        assert len(parts) == 1


WORK = """
import sys, warnings
import pdframe
from tests.helpers.faults_by_path import fail_at, interrupted
from tests.helpers.proxy import altered
warnings.simplefilter("ignore", pdframe.DataWarning)
url, token, cache_dir = sys.argv[1:]
options = {"cache_dir": cache_dir, "progress": False, "max_age": 0}
with pdframe.connect(base_url=url, api_token=token, **options) as account:
    for _ in range(3):
        account.sync("deals", "deal_products", full=True)
        account.deals(refresh=True)
    print(len(account.deals(refresh=False)), len(account.deal_products(refresh=False)))
"""


def test_two_processes_on_one_cache_wait_for_each_other(tmp_path: Path) -> None:
    with Server(sandbox.Company(seed=3, deals=60), burst=100_000) as server:
        command = [sys.executable, "-c", WORK, server.url, server.token, str(tmp_path)]
        workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [worker.communicate(timeout=120) for worker in workers]
        assert [errors for _, errors in said if "Traceback" in errors] == []
        with connect(server, tmp_path) as account:
            full = account.deals(refresh=False), account.deal_products(refresh=False)
            # No row is there twice, whichever process wrote it, and every token is counted once.
            assert [reported for reported, _ in said] == [f"{len(full[0])} {len(full[1])}\n"] * 2
            assert full[0]["id"].is_unique
            assert (
                len(account.as_of("2026-06-30"))
                == SnapshotLog(store_of(account)).rows().num_rows
                == len(full[0])
            )
            assert account.tokens_today == server.stats.tokens
        assert [
            len(list(tmp_path.glob(f"*/{name}/part-*.parquet")))
            for name in ("deals", "deal_products")
        ] == [1, 1]


def test_what_did_not_fit_in_saved_pages_is_warned_of_by_the_load_that_resumes(
    tmp_path: Path,
) -> None:
    with sandbox.connect(
        seed=4, deals=1_300, cache_dir=tmp_path, company="hostile", burst=100_000, progress=False
    ) as account:

        def odd(path: str, params: Mapping[str, str], content: Any) -> None:
            if path == "/deals" and not {"cursor", "updated_since", "ids"} & params.keys():
                content["data"][0]["value"] = "a lot"

        with altered(account, odd) as altering:
            fail_at(account.server, "/deals", 2)
            with pytest.raises(ResponseError):
                altering.sync("deals")
            with pytest.warns(
                pdframe.DataWarning, match="deals, column 'value': 1 value does not fit"
            ):
                note = altering.sync("deals").set_index("table")["note"]["deals"]
            assert note.startswith("resumed")
