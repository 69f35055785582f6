"""The history of line items and deals as frames, from snapshots and changelogs."""

from __future__ import annotations

import random
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pdframe import _files, sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import CacheError
from pdframe.frames import storage_schema
from pdframe.history.deal_history import deal_history, known_by_changelog
from pdframe.history.replay import history_of_deal
from pdframe.schema.snapshots import HISTORY, OF_LINES, SNAPSHOTS, TRACKED_LINE_COLUMNS
from tests.helpers.cache_files import store_of
from tests.helpers.random_edits import edit
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*options that are not defined.*:pdframe.errors.DataWarning"
    ),
    pytest.mark.usefixtures("long_lists"),
]
FIRST = pd.Timestamp("2026-06-30 12:00", tz="UTC")


class PowerCutError(Exception):
    """The machine went off."""


def as_text(value: Any) -> str | None:
    """A value of the company as the history writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if value == int(value) else repr(value)


def lines_of(company: Any) -> dict[int, dict[str, str | None]]:
    """Return the line items of the company, without those of deleted deals."""
    deleted = company.deleted_at
    return {
        number: {name: as_text(row[name]) for name in TRACKED_LINE_COLUMNS}
        for number, row in company.tables["deal_products"].items()
        if ("deal_products", number) not in deleted and ("deals", row["deal_id"]) not in deleted
    }


def replayed(
    history: pd.DataFrame, until: pd.Timestamp, key: str = "id"
) -> dict[int, dict[str, str | None]]:
    """Return the rows that a history knew at a time, without the removed ones."""
    known = history[history["seen_at"] <= until]
    states: dict[int, dict[str, str | None]] = {}
    for number, column, after in zip(known[key], known["column"], known["after"], strict=True):
        states.setdefault(number, {})[column] = None if pd.isna(after) else after
    return {
        number: state
        for number, state in states.items()
        if state.pop("is_deleted", "false") == "false"
    }


def moment(account: sandbox.SandboxAccount) -> pd.Timestamp:
    return pd.Timestamp(account.company_model.now, unit="s", tz="UTC")


def some(history: pd.DataFrame, column: str | None = None, **ids: Any) -> pd.DataFrame:
    """The rows of one deal or line item (or several), of one column."""
    for name, value in ids.items():
        history = history[history[name].isin(value if isinstance(value, list) else [value])]
    return history if column is None else history[history["column"] == column]


def edit_lines(company: Any, week: int) -> None:
    """Edit, add and remove line items, and delete a deal with its line items."""
    deals = sorted({line["deal_id"] for line in lines_with_deal(company)})
    first = company.lines_of(deals[week])[0]["id"]
    company.edit_line(first, quantity=week + 2.5, discount=3)
    company.edit_line(company.lines_of(deals[week + 6])[0]["id"], is_enabled=False)
    company.add_line(deals[week + 1], next(iter(company.tables["products"])))
    company.remove_line(company.lines_of(deals[week + 12])[0]["id"])
    company.delete_deal(deals[week + 18])


def lines_with_deal(company: Any) -> list[dict[str, Any]]:
    return [company.tables["deal_products"][number] for number in lines_of(company)]


def test_the_history_replays_to_every_snapshot(account: sandbox.SandboxAccount) -> None:
    company, snapshots = account.company_model, []
    for week in range(5):
        account.sync("deal_products", full=week == 3)
        snapshots.append((moment(account), lines_of(company)))
        account.advance(days=7)
        edit_lines(company, week)
    history = account.line_history()
    for when, lines in snapshots:
        known = replayed(history, when)
        assert known.keys() == lines.keys()
        for number, line in lines.items():
            assert {name: known[number].get(name) for name in TRACKED_LINE_COLUMNS} == line, number
    changes = history[history["source"] == "snapshots"]
    assert changes["time_after"].notna().all()
    assert (changes["time_after"] < changes["time"]).all()
    assert changes["column"].isin([*TRACKED_LINE_COLUMNS, "is_deleted"]).all()
    first = history[history["source"] == "first look"]
    assert first["before"].isna().all()
    assert first["time_after"].isna().all()
    assert (first["time"] == first["seen_at"]).all()
    assert not (history["before"] == history["after"]).any()


def test_the_bounds_hold_the_true_time_of_an_edit(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync("deal_products")
    line, quantity = lines_with_deal(company)[0], lines_with_deal(company)[0]["quantity"]
    account.advance(days=2)
    company.edit_line(line["id"], quantity=77.0)
    edited = moment(account)
    account.advance(days=3)
    account.sync("deal_products")
    row = some(account.line_history(), "quantity", id=line["id"]).iloc[-1]
    assert (row["after"], row["before"]) == ("77", as_text(quantity))
    assert row["time_after"] == FIRST
    assert FIRST < edited <= row["time"] == row["seen_at"] == moment(account)


def test_a_sync_of_nothing_new_asks_and_adds_nothing(account: sandbox.SandboxAccount) -> None:
    account.sync("deal_products")
    before = account.line_history()
    names = sorted(path.name for path in account.cache_path.rglob("line_history*/*"))
    account.sync("deal_products")
    again = account.sync("deal_products").set_index("table").loc["deal_products"]
    assert again["requests"] <= 1  # the deals that changed in the last second
    pd.testing.assert_frame_equal(account.line_history(), before)
    assert sorted(path.name for path in account.cache_path.rglob("line_history*/*")) == names


def test_the_history_costs_no_request(account: sandbox.SandboxAccount) -> None:
    account.sync("deal_products")
    account.server.reset_stats()
    account.line_history()
    account.deal_history()
    assert account.server.stats.requests == 0


def test_lines_go_when_their_deal_does(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync("deal_products")
    deal = max(
        {line["deal_id"] for line in lines_with_deal(company)},
        key=lambda deal: len(company.lines_of(deal)),
    )
    lines = [line["id"] for line in company.lines_of(deal)]
    account.advance(days=3)
    company.delete_deal(deal)
    account.advance(days=3)
    account.sync("deals")
    seen = moment(account)
    account.advance(days=5)
    account.sync("deal_products")
    history = some(account.line_history(), "is_deleted", id=lines)
    assert history["id"].tolist() == sorted(lines)
    assert history["after"].eq("true").all()
    of_deal = some(account.deal_history(), "is_deleted", deal_id=deal).iloc[0]
    assert of_deal["time"] == seen
    assert history["time"].eq(seen).all()
    # A line item may have been removed before its deal: there is no snapshot between.
    assert history["time_after"].eq(FIRST).all()


def test_a_deal_that_is_hidden_and_shown_takes_its_lines_along(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    account.sync("deal_products")
    deal = lines_with_deal(company)[0]["deal_id"]
    company.hide("deals", deal)
    account.advance(days=1)
    account.sync("deal_products", full=True)
    company.show("deals", deal)
    account.advance(days=1)
    account.sync("deal_products", full=True)
    line = company.lines_of(deal)[0]["id"]
    for history in (
        some(account.line_history(), id=line),
        some(account.deal_history(), deal_id=deal),
    ):
        flags = history[history["column"] == "is_deleted"]
        assert flags[["before", "after"]].to_numpy().tolist() == [
            ["false", "true"],
            ["true", "false"],
        ]
    assert "deleted" not in some(account.deal_history(), "status", deal_id=deal)["after"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_a_power_cut_at_any_write_loses_and_doubles_no_line(
    monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """At the k-th file of the history and of the table, for every k: after the next sync, the
    history is complete.
    """
    opens = _files.private_file
    with sandbox.connect(
        seed=3, deals=40, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        company = account.company_model
        account.sync("deal_products")
        for number in range(1, 20):
            kept, left, cut = SnapshotLog(store_of(account), OF_LINES).rows(), number, False
            account.advance(days=2)
            company.edit_line(lines_with_deal(company)[number]["id"], quantity=100.0 + number)

            def opened(folder: Path, name: str, *, durable: bool) -> Any:
                nonlocal left, cut
                left -= folder.name in ("deal_products", "line_history", "line_history.looks")
                if left == 0:
                    cut, left = True, -1
                    raise PowerCutError
                return opens(folder, name, durable=durable)

            with monkeypatch.context() as patch:
                patch.setattr(_files, "private_file", opened)
                try:
                    account.sync("deal_products", full=full)
                except PowerCutError:
                    assert cut
            account.advance(days=1)
            account.sync("deal_products")
            known = replayed(account.line_history(), moment(account))
            cached = store_of(account).read("deal_products").to_pylist()
            assert known.keys() == {line["id"] for line in cached}
            for line in cached:
                shown = {name: as_text(line[name]) for name in TRACKED_LINE_COLUMNS}
                assert {name: known[line["id"]].get(name) for name in TRACKED_LINE_COLUMNS} == shown
            rows = SnapshotLog(store_of(account), OF_LINES).rows()
            assert rows.slice(0, kept.num_rows).equals(kept)
            values = rows.to_pandas().astype("str")
            same = (
                values[[*TRACKED_LINE_COLUMNS, "gone"]]
                .eq(values.groupby("id")[[*TRACKED_LINE_COLUMNS, "gone"]].shift())
                .all(axis=1)
            )
            assert not same.any()
            if not cut:
                assert number > 5  # a part and a manifest of each
                return
    pytest.fail("a sync of line items wrote more files than expected")


def test_a_damaged_history_of_lines_is_quarantined_with_a_warning(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deal_products")
    part = max((account.cache_path / "line_history").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-7])
    with pytest.raises(CacheError, match="cannot be loaded again"):
        account.line_history()
    account.company_model.edit_line(lines_with_deal(account.company_model)[0]["id"], quantity=5.5)
    with pytest.warns(UserWarning, match="quarantined as line_history.aside-1"):
        account.sync("deal_products")
    assert (account.cache_path / "line_history.aside-1" / part.name).exists()
    assert set(account.line_history()["id"]) == lines_of(account.company_model).keys()


# Deals


def test_a_change_is_reported_once_by_whichever_witness_knows_more(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deals = account.deals()
    lined = [line["deal_id"] for line in lines_with_deal(company)]
    bare = (deals["status"] == "open") & ~deals["is_archived"] & ~deals["id"].isin(lined)
    deal = int(deals[bare]["id"].iloc[0])
    account.deal_changes([deal])
    account.advance(days=1)
    company.edit_deal(deal, value=4711.5)
    edited = moment(account)
    account.advance(days=1)
    account.sync("deals")

    def values() -> pd.DataFrame:
        history = some(account.deal_history(), "value", deal_id=deal)
        return history[history["after"] == "4711.5"]

    seen = values()
    assert seen["source"].tolist() == ["snapshots"]
    assert seen["time_after"].iloc[0] < edited <= seen["time"].iloc[0] == moment(account)
    account.deal_changes([deal], refresh=True)
    reported = values()
    assert reported["source"].tolist() == ["changelog"]
    assert reported["time"].tolist() == reported["seen_at"].tolist() == [edited]
    assert reported["time_after"].isna().all()


def test_changelogs_replay_to_the_deals_of_today(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync("deals")
    account.advance(days=20)
    account.deal_changes()
    history = account.deal_history()
    known = replayed(history, moment(account), "deal_id")
    for deal, state in known.items():
        row = company.row("deals", deal)
        for name in (
            "stage_id",
            "pipeline_id",
            "status",
            "value",
            "currency",
            "owner_id",
            "probability",
            "expected_close_date",
        ):
            assert state.get(name) == as_text(row[name]), (deal, name)
    changes = history[history["source"] == "changelog"]
    # Each row goes on from the row before it of the same column.
    before = changes.groupby(["deal_id", "column"])["after"].shift()
    later = before.notna()
    assert (changes["before"][later] == before[later]).all()
    assert not (history["source"] == "snapshots").any()


def rows_of(*states: dict[str, Any]) -> pa.Table:
    schema = storage_schema(HISTORY)
    made = [
        {
            "deal_id": 1,
            "gone": False,
            "is_server_time": True,
            "add_time": day(0).to_pydatetime(),
            **state,
            "look": number,
        }
        for number, state in enumerate(states, 1)
    ]
    return pa.Table.from_pylist(made, schema)


def snapshots_of(rows: pa.Table, *, full: bool = True) -> pa.Table:
    made = [
        {
            "look": row["look"],
            "seen_at": row["seen_at"],
            "kind": "full",
            "complete_to": row["seen_at"],
            "is_server_time": True,
        }
        for row in rows.to_pylist()
    ]
    return pa.Table.from_pylist(made, storage_schema(SNAPSHOTS))


def changelog(*rows: tuple[int, str, str | None, str | None]) -> pa.Table:
    names = ("field_key", "old_value", "new_value")
    kind = pa.schema(
        [
            ("deal_id", pa.int64()),
            ("time", pa.timestamp("us", "UTC")),
            *((name, pa.string()) for name in names),
        ]
    )
    made = [
        {"deal_id": 1, "time": day(when).to_pydatetime(), **dict(zip(names, rest, strict=True))}
        for when, *rest in rows
    ]
    return pa.Table.from_pylist(made, kind)


def day(number: float) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(days=number)


def reported(rows: pa.Table, changes: pa.Table, read: float, column: str) -> list[tuple[Any, ...]]:
    """(before, after, day, day of the lower bound, source) of the changes of a column."""
    frame = deal_history(rows, snapshots_of(rows), changes, {1: day(read).to_pydatetime()})
    assert list(frame.columns) == [
        "deal_id",
        "column",
        "before",
        "after",
        "time",
        "time_after",
        "source",
        "seen_at",
    ]
    frame = frame[frame["column"] == column]

    def since(time: Any) -> Any:
        return None if pd.isna(time) else (time - day(0)) / pd.Timedelta(days=1)

    return [
        (
            *(None if pd.isna(text) else text for text in (row.before, row.after)),
            since(row.time),
            since(row.time_after),
            row.source,
        )
        for row in frame.itertuples()
    ]


def test_values_before_the_first_snapshot_come_from_the_changelog() -> None:
    rows = rows_of({"value": 30.0, "seen_at": day(10).to_pydatetime()})
    changes = changelog((2, "value", "10", "20.50"), (5, "value", "20.50", "30"))
    assert reported(rows, changes, 10, "value") == [
        (None, "10", 0, None, "changelog"),
        ("10", "20.5", 2, None, "changelog"),
        ("20.5", "30", 5, None, "changelog"),
    ]


def test_a_value_that_the_changelog_does_not_tell_is_that_of_the_snapshot() -> None:
    rows = rows_of(
        {"value": 30.0, "seen_at": day(6).to_pydatetime()},
        {"value": 35.0, "seen_at": day(8).to_pydatetime()},
    )
    changes = changelog((5, "value", "10", "30"))
    assert reported(rows, changes, 9, "value")[2:] == [("30", "35", 8, 6, "snapshots")]


def test_a_change_while_the_snapshot_was_in_progress_is_no_disagreement() -> None:
    # The snapshot read the deal before it changed, and ended after that.
    rows = rows_of(
        {"value": 10.0, "seen_at": day(1).to_pydatetime()},
        {"value": 10.0, "probability": 5, "seen_at": day(4).to_pydatetime()},
    )
    snapshots = snapshots_of(rows).set_column(
        4, "complete_to", pa.array([day(1), day(3)], pa.timestamp("us", "UTC"))
    )
    frame = deal_history(
        rows, snapshots, changelog((3.5, "value", "10", "20")), {1: day(6).to_pydatetime()}
    )  # type: ignore[arg-type]
    assert frame[frame["column"] == "value"]["source"].tolist() == ["changelog", "changelog"]


def test_what_a_column_was_before_it_is_reported_is_not_invented() -> None:
    rows = rows_of(
        {
            "owner_id": 7,
            "currency": "EUR",
            "won_time": day(3).to_pydatetime(),
            "seen_at": day(6).to_pydatetime(),
        }
    )
    # A changelog may leave out the owner; a currency that it does not name never changed.
    assert reported(rows, changelog(), 9, "owner_id") == [(None, "7", 6, None, "first look")]
    assert reported(rows, changelog(), 9, "won_time") == [
        (None, day(3).strftime("%Y-%m-%dT%H:%M:%SZ"), 6, None, "first look")
    ]
    assert reported(rows, changelog(), 9, "currency") == [(None, "EUR", 0, None, "changelog")]
    # Where a changelog shows owners, the lack of one proves this one; the first look remains.
    of_another = changelog((2, "user_id", "8", "9")).set_column(0, "deal_id", pa.array([2]))
    assert reported(rows, of_another, 9, "owner_id") == [
        (None, "7", 0, None, "changelog"),
        (None, "7", 6, None, "first look"),
        ("8", "9", 2, None, "changelog"),
    ]


def test_a_text_of_the_changelog_that_cannot_be_read_remains_as_it_is() -> None:
    rows = rows_of({"value": 1.0, "seen_at": day(6).to_pydatetime()})
    for odd in ("a lot", "1e999999999", "NaN", "12,5"):
        assert reported(
            rows, changelog((2, "value", None, odd), (3, "value", odd, "1.00")), 9, "value"
        ) == [
            (None, odd, 2, None, "changelog"),
            (odd, "1", 3, None, "changelog"),
        ]


def test_a_value_that_is_back_when_a_snapshot_finds_it_unchanged_is_reported() -> None:
    """The snapshot after the changelog was read has no row of the deal, which is again as in the
    snapshot before the change.
    """
    rows = rows_of({"probability": 10, "seen_at": day(1).to_pydatetime()})
    snapshots = pa.concat_tables(
        [snapshots_of(rows), snapshots_of(rows).set_column(0, "look", pa.array([2]))]
    )
    for name in ("seen_at", "complete_to"):
        snapshots = snapshots.set_column(
            snapshots.column_names.index(name),
            name,
            pa.array([day(1), day(8)], pa.timestamp("us", "UTC")),
        )
    frame = deal_history(
        rows, snapshots, changelog((3, "probability", "10", "20")), {1: day(5).to_pydatetime()}
    )
    last = frame[frame["column"] == "probability"].iloc[-1]
    assert (last["before"], last["after"], last["source"]) == ("20", "10", "snapshots")
    assert (last["time_after"], last["time"], last["seen_at"]) == (day(5), day(8), day(8))


def test_what_a_snapshot_detected_after_the_changelog_was_read_is_no_beginning() -> None:
    rows = rows_of(
        {
            "stage_id": 5,
            "currency": "USD",
            "stage_change_time": day(7).to_pydatetime(),
            "seen_at": day(8).to_pydatetime(),
        }
    )
    assert reported(rows, changelog(), 6, "stage_id") == [(None, "5", 8, None, "first look")]
    assert reported(rows, changelog(), 6, "currency") == [(None, "USD", 8, None, "first look")]
    # Read later, the changelog would have a change; but it lacks a move that the deal's own stamp
    # shows.
    assert reported(rows, changelog(), 9, "stage_id") == [(None, "5", 8, None, "first look")]
    assert reported(rows, changelog(), 9, "currency") == [(None, "USD", 0, None, "changelog")]


def test_the_last_change_of_a_stage_is_not_when_the_pipeline_changed() -> None:
    """Between two snapshots a deal moves to another pipeline and then within it: its stamp is that
    of the second move.
    """
    moved = {
        "stage_id": 9,
        "pipeline_id": 2,
        "stage_change_time": day(5).to_pydatetime(),
        "seen_at": day(6).to_pydatetime(),
    }
    rows = rows_of({"stage_id": 1, "pipeline_id": 1, "seen_at": day(1).to_pydatetime()}, moved)
    frame = deal_history(rows, snapshots_of(rows))
    changed = frame[frame["source"] == "snapshots"].set_index("column")
    assert (changed.loc["stage_id", "time"], changed.loc["stage_id", "time_after"]) == (
        day(5),
        pd.NaT,
    )
    assert (changed.loc["pipeline_id", "time"], changed.loc["pipeline_id", "time_after"]) == (
        day(6),
        day(1),
    )


def test_a_pipeline_that_the_changelog_leaves_out_is_that_of_the_stages() -> None:
    rows = rows_of(
        {
            "stage_id": 9,
            "pipeline_id": 2,
            "stage_change_time": day(6).to_pydatetime(),
            "seen_at": day(8).to_pydatetime(),
        }
    )
    changes = changelog(
        (2, "stage_id", "1", "3"), (4, "stage_id", "3", "7"), (6, "stage_id", "7", "9")
    )
    frame = deal_history(
        rows, snapshots_of(rows), changes, {1: day(9).to_pydatetime()}, {1: 1, 3: 1, 7: 2, 9: 2}
    )
    pipelines = frame[frame["column"] == "pipeline_id"]
    assert pipelines["after"].tolist() == ["1", "2"]
    assert pipelines["time"].tolist() == [day(0), day(4)]
    assert pipelines["source"].eq("changelog").all()


def test_the_time_of_a_closing_that_was_undone_is_not_that_of_the_next_one() -> None:
    """A snapshot on day 3 shows the deal won since day 2. By its changelog it was reopened on day
    5, won on day 7, deleted and restored.
    """
    won = {"status": "won", "won_time": day(2).to_pydatetime(), "seen_at": day(3).to_pydatetime()}
    rows = rows_of(
        won, {**won, "won_time": day(7).to_pydatetime(), "seen_at": day(20).to_pydatetime()}
    )
    statuses = ("open", "won", "open", "won", "deleted", "won", "lost")
    changes = changelog(
        *(
            (when, "status", *pair)
            for when, pair in zip((2, 5, 7, 9, 11, 13), pairwise(statuses), strict=True)
        )
    )
    result = {}
    for when in (4, 6, 8, 12, 14):
        known = known_by_changelog(
            rows,
            snapshots_of(rows),
            changes,
            {1: day(21).to_pydatetime()},
            day(when).to_pydatetime(),
        )
        result[when] = [known[name].to_pylist()[0] for name in ("status", "won_time", "lost_time")]
    assert result == {
        4: ["won", day(2), None],
        6: ["open", None, None],
        8: ["won", day(7), None],
        12: ["won", day(7), None],
        14: ["lost", None, day(13)],
    }


def test_a_stage_that_was_moved_later_was_in_its_old_pipeline() -> None:
    """Deal 1 passed through stage 3 within pipeline 1; deal 2 was in it when an admin moved it to
    pipeline 2.
    """
    rows = rows_of(
        {
            "stage_id": 4,
            "pipeline_id": 1,
            "stage_change_time": day(4).to_pydatetime(),
            "seen_at": day(8).to_pydatetime(),
        },
        {"deal_id": 2, "stage_id": 3, "pipeline_id": 2, "seen_at": day(8).to_pydatetime()},
    )
    passed = changelog((2, "stage_id", "1", "3"), (4, "stage_id", "3", "4"))
    moved = changelog((6, "pipeline_id", "1", "2")).to_pylist()
    changes = pa.concat_tables(
        [passed, pa.Table.from_pylist([{**row, "deal_id": 2} for row in moved], passed.schema)]
    )
    frame = deal_history(
        rows,
        snapshots_of(rows),
        changes,
        dict.fromkeys((1, 2), day(9).to_pydatetime()),
        {1: 1, 3: 2, 4: 1},
    )
    pipelines = frame[frame["column"] == "pipeline_id"]
    assert pipelines.groupby("deal_id")["after"].agg(list).to_dict() == {1: ["1"], 2: ["1", "2"]}


def test_a_row_of_the_creation_alone_does_not_tell_later_moves_of_the_pipeline() -> None:
    rows = rows_of(
        {
            "stage_id": 9,
            "pipeline_id": 2,
            "stage_change_time": day(4).to_pydatetime(),
            "seen_at": day(8).to_pydatetime(),
        }
    )
    changes = changelog(
        (0, "pipeline_id", None, "1"), (0, "stage_id", None, "1"), (4, "stage_id", "1", "9")
    )
    frame = deal_history(
        rows, snapshots_of(rows), changes, {1: day(9).to_pydatetime()}, {1: 1, 9: 2}
    )
    pipelines = frame[frame["column"] == "pipeline_id"]
    assert [*zip(pipelines["after"], pipelines["time"], strict=True)] == [
        ("1", day(0)),
        ("2", day(4)),
    ]


def test_the_changelog_of_a_deal_that_is_missing_was_read_at_its_newest_row() -> None:
    """It cannot be requested again, so the time at which it was read is unknown."""
    rows = rows_of({"value": 30.0, "seen_at": day(4).to_pydatetime()})
    changes = changelog(
        (2, "value", "10", "20"), (3, "value", "20", "30"), (6, "value", "30", "40")
    )
    frame = deal_history(rows, snapshots_of(rows), changes, {})
    values = frame[frame["column"] == "value"]
    assert values["after"].tolist() == ["10", "20", "30", "40"]
    assert values["source"].eq("changelog").all()


def test_a_line_item_goes_at_the_latest_with_its_deal(account: sandbox.SandboxAccount) -> None:
    """A line item is removed, then its deal is deleted, then a snapshot is taken: the bounds hold
    the removal.
    """
    company = account.company_model
    account.sync("deal_products")
    line = lines_with_deal(company)[0]
    account.advance(days=1)
    company.remove_line(line["id"])
    removed = moment(account)
    account.advance(days=1)
    company.delete_deal(line["deal_id"])
    account.sync("deals")
    account.advance(days=4)
    account.sync("deal_products")
    row = some(account.line_history(), "is_deleted", id=line["id"]).iloc[0]
    assert row["time_after"] == FIRST < removed <= row["time"] < row["seen_at"]


def test_an_account_without_any_history_has_every_column(account: sandbox.SandboxAccount) -> None:
    account.company  # noqa: B018 - the account is known
    lines, deals = account.line_history(), account.deal_history()
    assert list(lines.columns) == ["id", *deals.columns]
    assert len(lines) == len(deals) == 0
    assert str(lines["time"].dtype) == str(deals["time_after"].dtype) == "datetime64[us, UTC]"
    assert str(lines["id"].dtype) == "Int64"


@pytest.mark.filterwarnings("ignore:deals, column:pdframe.errors.DataWarning")
def test_the_history_of_one_deal_is_its_part_of_all(account: sandbox.SandboxAccount) -> None:
    """Also where the changelogs of other deals say which columns they have, and that a stage was
    moved to another pipeline.
    """
    company = account.company_model
    account.sync("deals", "stages", "pipelines")
    ids = account.deals(refresh=False)["id"].tolist()
    store = store_of(account)
    nothing = history_of_deal(store, ids[0])
    assert nothing["source"].unique().tolist() == ["first look"]
    account.deal_changes(ids[::2])
    # Many deals passed through this stage, others are in it.
    stage = 3
    assert company.tables["stages"][stage]["pipeline_id"] == 2
    company.move_stage(stage, 1)
    account.sync("deals", "stages", full=True)
    account.advance(days=3)
    edit(company, random.Random(3), 60)
    account.sync("deals", "stages", "pipelines")
    account.deal_changes(ids[::3])
    everything = account.deal_history()
    assert (everything["column"] == "pipeline_id").sum() > len(ids)
    for deal in [*ids, max(ids) + 1_000]:
        own = everything[everything["deal_id"] == deal].reset_index(drop=True)
        shown = history_of_deal(store, deal)
        pd.testing.assert_frame_equal(shown, own, check_dtype=True)
    # Where only another deal's changelog shows changes of owners, an unchanged owner is known.
    owners = everything[everything["column"] == "owner_id"]
    assert set(owners["source"]) >= {"changelog", "first look"}
