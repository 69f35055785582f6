"""The kept history holds every look that found something, whatever happens while it is written."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe import DataWarning, _files, sandbox
from pdframe.cache import store
from pdframe.cache.parts import newest_rows
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import ArgumentError, CacheError, NotCachedError
from pdframe.schema.snapshots import TRACKED_COLUMNS
from tests.helpers.cache_files import store_of
from tests.helpers.server_clock import server_now
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*options that are not defined.*:pdframe.errors.DataWarning"
    ),
    pytest.mark.usefixtures("long_lists"),
]


class PowerCutError(Exception):
    """The machine went off."""


def kept(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return SnapshotLog(store_of(account)).rows().to_pandas()


def shown(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return account.deals(refresh=False, labels=False, columns=["id", *TRACKED_COLUMNS])


def rebuilt(account: sandbox.SandboxAccount, snapshot: int | None = None) -> pd.DataFrame:
    """Deals as the log tells them after a look."""
    rows = kept(account)
    rows = rows if snapshot is None else rows[rows["look"] <= snapshot]
    rows["expected_close_date"] = pd.to_datetime(rows["expected_close_date"])
    last = rows.drop_duplicates("deal_id", keep="last").sort_values("deal_id")
    there = (
        last[~last["gone"].astype(bool)].rename(columns={"deal_id": "id"}).reset_index(drop=True)
    )
    columns = shown(account)
    return there[columns.columns].astype(columns.dtypes.to_dict())


def repeats(rows: pd.DataFrame) -> int:
    """Rows that say what the row before them of the same deal said."""
    values = rows[[*TRACKED_COLUMNS, "gone"]].astype("str")
    before = values.groupby(rows["deal_id"]).shift()
    return int((values == before).all(axis=1).sum())


def test_the_log_replays_to_every_snapshot(account: sandbox.SandboxAccount) -> None:
    frames = []
    for week in range(5):
        account.sync("deals", full=week == 3)
        frames.append(shown(account))
        account.advance(days=7)
    for snapshot, frame in enumerate(frames, 1):
        pd.testing.assert_frame_equal(rebuilt(account, snapshot), frame)
    assert repeats(kept(account)) == 0


def test_a_snapshot_that_finds_nothing_adds_no_row(account: sandbox.SandboxAccount) -> None:
    account.sync("deals")
    rows = kept(account)
    assert len(rows) == rows["deal_id"].nunique() == len(account.deals(refresh=False))
    account.sync("deals")
    account.sync("deals", full=True)
    account.company_model.edit_deal(int(rows["deal_id"].iloc[0]), title="A title is not kept")
    account.sync("deals")
    pd.testing.assert_frame_equal(kept(account), rows)
    snapshots = SnapshotLog(store_of(account)).snapshots().to_pandas()
    assert snapshots["kind"].tolist() == ["full", "incremental", "full", "incremental"]
    assert snapshots["changed"].tolist() == [len(rows), 0, 0, 0]


def test_each_kept_column_is_a_reason_to_keep_a_row(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    deals = account.deals()
    open_deals = deals[(deals["status"] == "open") & ~deals["is_archived"]]["id"].tolist()
    user = next(
        user
        for user in company.tables["users"]
        if user != company.row("deals", open_deals[0])["owner_id"]
    )
    bare = next(deal for deal in open_deals if not company.lines_of(deal))
    changes: list[tuple[int, Callable[[], object], dict[str, Any]]] = [
        (
            open_deals[0],
            lambda: company.edit_deal(open_deals[0], owner_id=user),
            {"owner_id": user},
        ),
        (bare, lambda: company.edit_deal(bare, value=4711.5), {"value": 4711.5}),
        (
            open_deals[1],
            lambda: company.edit_deal(open_deals[1], probability=37),
            {"probability": 37},
        ),
        (
            open_deals[2],
            lambda: company.edit_deal(open_deals[2], expected_close_date="2031-02-03"),
            {"expected_close_date": "2031-02-03"},
        ),
        (open_deals[3], lambda: company.archive_deal(open_deals[3]), {"is_archived": True}),
        (open_deals[4], lambda: company.win_deal(open_deals[4]), {"status": "won"}),
        (
            open_deals[5],
            lambda: company.delete_deal(open_deals[5]),
            {"status": "deleted", "gone": True},
        ),
    ]
    for deal, change, expected in changes:
        change()
        account.sync("deals")
        row = kept(account).iloc[-1]
        assert row["deal_id"] == deal
        for name, value in expected.items():
            assert str(row[name]).removesuffix(".0") == str(value)
        assert row["seen_at"] == pd.Timestamp(company.now, unit="s", tz="UTC")
        assert row["is_server_time"]


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_a_power_cut_at_any_write_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """At the k-th file of history and deals, for every k: the next sync leaves a log that tells
    all, and deals as they are.
    """
    opens = _files.private_file
    with sandbox.connect(
        seed=3, deals=20, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        account.sync("deals", "stages")
        for number in range(1, 20):
            before, left, cut = kept(account), number, False
            account.advance(days=10)
            account.company_model.add_deal("Something new in any case")

            def opened(folder: Path, name: str, *, durable: bool) -> Any:
                nonlocal left, cut
                left -= folder.name in ("deals", "history", "history.looks")
                if left == 0:
                    cut, left = True, -1
                    raise PowerCutError
                return opens(folder, name, durable=durable)

            with monkeypatch.context() as patch:
                patch.setattr(_files, "private_file", opened)
                try:
                    account.sync("deals", full=full)
                except PowerCutError:
                    assert cut
            account.advance(days=1)
            account.sync("deals")
            pd.testing.assert_frame_equal(rebuilt(account), shown(account))
            pd.testing.assert_frame_equal(kept(account).head(len(before)), before)
            assert repeats(kept(account)) == 0
            assert (
                account.stage_visits(refresh=False)["deal_id"].nunique()
                == kept(account)["deal_id"].nunique()
            )
            if not cut:
                assert number > 6  # a part and a manifest of each of the three tables
                return
    pytest.fail("a sync of deals wrote more files than expected")


def test_many_parts_become_one_and_say_the_same() -> None:
    options = replace(LONG_LISTS, parts_per_level=3)
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, options=options
    ) as account:
        deal = int(account.deals()["id"].iloc[0])
        for number in range(5):
            account.company_model.edit_deal(deal, probability=number)
            account.sync("deals")
            folder = account.cache_path / "history"
            assert len(list(folder.glob("part-*.parquet"))) <= 4
            assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
        assert kept(account)[kept(account)["deal_id"] == deal]["probability"].tolist()[-5:] == list(
            range(5)
        )


def test_as_of_shows_what_was_known_then(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync("deals")
    first, then = shown(account), pd.Timestamp(company.now, unit="s", tz="UTC")
    account.advance(days=7)
    deleted = int(first["id"].iloc[0])
    company.delete_deal(deleted)
    account.sync("deals")
    old = account.as_of(then + pd.Timedelta("3D"))
    assert list(old.columns) == ["deal_id", *TRACKED_COLUMNS, "gone", "seen_at"]
    pd.testing.assert_frame_equal(
        old[["deal_id", *TRACKED_COLUMNS]].set_axis(first.columns, axis=1), first
    )
    assert (old["seen_at"] == then).all()
    new = account.as_of(server_now(account)).set_index("deal_id")
    assert new["gone"][deleted]
    assert new["status"][deleted] == "deleted"
    assert new.index[~new["gone"]].tolist() == shown(account)["id"].tolist()


def test_as_of_uses_changelogs_between_and_before_snapshots(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deals = account.deals()
    begins = pd.Timestamp(company.now, unit="s", tz="UTC")
    open_deals = deals[(deals["status"] == "open") & ~deals["is_archived"]]
    deal = next(int(number) for number in open_deals["id"] if not company.lines_of(int(number)))
    company.edit_deal(deal, value=4711.5)
    account.advance(days=4)
    company.win_deal(deal)
    won = pd.Timestamp(company.now, unit="s", tz="UTC")
    account.advance(days=4)
    account.sync("deals")
    days = {
        name: begins + pd.Timedelta(days=count)
        for name, count in {"between": 2, "after": 6, "before": -1}.items()
    }
    assert account.as_of(days["between"]).set_index("deal_id")["value"][deal] != 4711.5
    account.deal_changes([deal])
    between, after = (
        account.as_of(days[name]).set_index("deal_id").loc[deal] for name in ("between", "after")
    )
    assert (between["value"], between["status"]) == (4711.5, "open")
    assert (after["status"], after["won_time"], after["first_won_time"], after["seen_at"]) == (
        "won",
        won,
        won,
        won,
    )
    assert pd.isna(between["won_time"])
    assert not between["gone"]
    assert len(account.as_of(days["between"])) == len(deals)
    with pytest.warns(
        DataWarning, match=r"has the 1 deals whose changelog is loaded, and lacks \d+ others"
    ):
        before = account.as_of(days["before"])
    assert before["deal_id"].tolist() == [deal]
    # What no changelog tells is not taken from later.
    assert pd.isna(before["is_archived"][0])
    assert before["add_time"][0] == deals.set_index("id")["add_time"][deal]
    with pytest.raises(NotCachedError, match="no loaded changelog covers that time"):
        account.as_of("2019-01-01")


def test_a_bare_date_means_the_end_of_that_day_in_the_company_s_timezone(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deals")
    assert account.tz == "Europe/Tallinn"
    assert len(account.as_of("2026-06-30")) == len(account.as_of(datetime(2026, 6, 30).date())) > 0
    assert len(account.as_of("2026-06-30 15:00")) > 0  # 12:00 UTC, when the look was
    for early in ("2026-06-30 14:59:59", "2026-06-29", datetime(2026, 6, 30, 11, 59, tzinfo=UTC)):
        with pytest.raises(
            NotCachedError, match="first snapshot of deals is from 2026-06-30 12:00:00 UTC"
        ):
            account.as_of(early)


def test_what_is_no_time_is_refused_and_so_is_a_time_before_the_first_snapshot(
    account: sandbox.SandboxAccount,
) -> None:
    with pytest.raises(NotCachedError, match=r"account\.sync\('deals'\)"):
        account.as_of("2026-07-01")
    for wrong in ("yesterday-ish", "", None, "NaT"):
        with pytest.raises(ArgumentError, match=r"when.*'2026-06-30'"):
            account.as_of(wrong)  # type: ignore[arg-type]


def snapshot(
    kept: SnapshotLog, rows: list[dict[str, Any]], at: datetime | None, kind: Any = "incremental"
) -> int:
    names = {"id": pa.int64(), "stage_id": pa.int64(), "update_time": pa.timestamp("us", "UTC")}
    deals = pa.Table.from_pylist(rows, pa.schema(names.items()))
    return kept.append([deals], kind, seen_at=at, complete_to=at, now=datetime.now(UTC))


NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)


@pytest.fixture
def bare(tmp_path: Path) -> store.Store:
    made = store.Store(tmp_path, "account")
    made.open()
    return made


def test_an_answer_without_a_time_takes_the_newest_of_the_data_and_is_marked(
    bare: store.Store,
) -> None:
    log = SnapshotLog(bare)
    snapshot(log, [{"id": 1, "stage_id": 1, "update_time": NOON}], None, "full")
    snapshot(
        log,
        [{"id": 1, "stage_id": 2, "update_time": NOON + timedelta(hours=1)}],
        NOON + timedelta(hours=2),
    )
    rows = log.rows().to_pandas()
    assert rows["seen_at"].tolist() == [pd.Timestamp(NOON), pd.Timestamp(NOON + timedelta(hours=2))]
    assert (
        rows["is_server_time"].tolist()
        == log.snapshots()["is_server_time"].to_pylist()
        == [False, True]
    )


def test_a_deal_that_comes_back_is_a_row_again(bare: store.Store) -> None:
    log = SnapshotLog(bare)
    row = {"id": 1, "stage_id": 1, "update_time": NOON}
    assert [
        snapshot(log, rows, NOON + timedelta(days=day))
        for day, rows in enumerate(([row], [], [], [row], [row]))
    ] == [1, 1, 0, 1, 0]
    assert log.rows()["gone"].to_pylist() == [False, True, False]
    assert newest_rows(log.rows(), "deal_id")["look"].to_pylist() == [4]


def test_a_clock_that_wanders_keeps_the_order_and_another_past_is_quarantined(
    bare: store.Store,
) -> None:
    log = SnapshotLog(bare)
    snapshot(log, [{"id": 1, "stage_id": 1}], NOON)
    snapshot(log, [{"id": 1, "stage_id": 2}], NOON - timedelta(minutes=1))
    assert log.rows()["seen_at"].to_pylist() == [NOON, NOON]
    with pytest.warns(DataWarning, match="quarantined as history.aside-1"):
        snapshot(log, [{"id": 1, "stage_id": 3}], NOON - timedelta(days=1))
    assert log.rows()["stage_id"].to_pylist() == [3]
    assert (bare.root / "history.aside-1").is_dir()


def test_a_damaged_log_is_an_error_and_the_next_sync_quarantines_it(
    account: sandbox.SandboxAccount,
) -> None:
    deals = account.deals()
    part = next((account.cache_path / "history").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-7])
    with pytest.raises(CacheError, match="cannot be loaded again"):
        account.as_of(server_now(account))
    with pytest.warns(DataWarning, match="quarantined"):
        account.sync("deals")
    assert len(account.as_of(server_now(account))) == len(deals)
    assert (account.cache_path / "history.aside-1" / part.name).exists()


def test_an_older_cache_without_history_has_visits_and_begins_one(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deals", "stages")
    full = account.stage_visits(refresh=False)
    for name in ("history", "history.looks"):
        (account.cache_path / name).rename(account.cache_path / f"{name}.gone")
    pd.testing.assert_frame_equal(account.stage_visits(refresh=False), full)
    account.sync("deals")
    again = account.stage_visits(refresh=False)
    known = again["deal_id"].isin(full["deal_id"])
    pd.testing.assert_frame_equal(again[known].reset_index(drop=True), full)
    # A sync may also have read which deals were deleted in the 30 days before the first.
    assert {("deals", deal) for deal in again.loc[~known, "deal_id"]} <= set(
        account.company_model.deleted_at
    )


def test_a_log_whose_manifest_is_missing_is_quarantined_not_written_over(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    kept_files = {
        path.name: path.read_bytes() for path in (account.cache_path / "history").glob("*.parquet")
    }
    (account.cache_path / "history" / "manifest.json").unlink()
    with pytest.raises(CacheError, match=r"manifest is missing.*cannot be loaded again"):
        account.as_of(server_now(account))
    with pytest.warns(DataWarning, match="quarantined as history.aside-1"):
        account.sync("deals")
    quarantined = {
        path.name: path.read_bytes() for path in (account.cache_path / "history.aside-1").iterdir()
    }
    assert quarantined == kept_files


@pytest.mark.parametrize("name", ["as_of", "deal_history", "line_history"])
def test_the_examples_run(name: str) -> None:
    """Every example in a docstring gives what stands below it."""
    match = doctest.DocTestFinder(recurse=False).find(
        getattr(sandbox.SandboxAccount, name), name, globs={"pdframe": pdframe}
    )
    account: dict[str, Any] = {}
    for example in match:
        account = example.globs
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
            example, clear_globs=False
        )
        account["account"].close()
        assert result.attempted > 3
        assert result.failed == 0
    assert account
