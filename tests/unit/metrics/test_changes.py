"""Changes of deals by hand: each rule once, on a history written out here."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from pdframe import DataWarning, metrics
from pdframe.errors import ArgumentError

ROWS = ("deal_id", "column", "before", "after", "time", "time_after", "source", "seen_at")
LOG, SNAP, FIRST = "changelog", "snapshots", "first look"
# The first snapshot, and the one after it.
SNAPSHOT_1, SNAPSHOT_2 = "2026-06-01 08:00", "2026-06-08 08:00"
CREATED = {
    "stage_id": "1",
    "pipeline_id": "1",
    "status": "open",
    "value": "100",
    "currency": "EUR",
    "owner_id": "7",
    "is_archived": "false",
    "expected_close_date": "2026-07-01",
}
STAGES = pd.DataFrame(
    {
        "id": [1, 2, 3, 9],
        "order_nr": [1, 2, 3, 1],
        "name": ["In", "Middle", "Late", "Other"],
        "pipeline_id": [1, 1, 1, 2],
    }
)
USERS = pd.DataFrame({"id": [7, 8], "name": ["Ada", "Bo"]})


def history(*rows: tuple[Any, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(ROWS))
    for name in ("time", "time_after", "seen_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    return frame.astype({"deal_id": "Int64"} | dict.fromkeys(ROWS[1:4], "str"))


def first_snapshot(
    deal: int, added: str = "2026-05-01", **values: str | None
) -> list[tuple[Any, ...]]:
    """The rows of a deal in the first snapshot."""
    shown = {**CREATED, "add_time": f"{added}T09:00:00Z", **values}
    return [
        (deal, name, None, value, SNAPSHOT_1, None, FIRST, SNAPSHOT_1)
        for name, value in shown.items()
        if value is not None
    ]


def bounded(deal: int, name: str, before: str | None, after: str | None) -> tuple[Any, ...]:
    """A change that the second snapshot shows."""
    return (deal, name, before, after, SNAPSHOT_2, SNAPSHOT_1, SNAP, SNAPSHOT_2)


def exact(
    deal: int, name: str, before: str | None, after: str | None, time: str
) -> tuple[Any, ...]:
    return (deal, name, before, after, time, None, LOG, time)


def deals_of(*ids: int, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"id": ids, "title": [f"Deal {number}" for number in ids]})
    return frame.assign(**columns)


def listed(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    shown = frame[["deal_id", "event", "before", "after"]].astype(object)
    return list(shown.where(frame.notna(), None).itertuples(index=False, name=None))


def changes(rows: pd.DataFrame, deals: pd.DataFrame, **how: Any) -> pd.DataFrame:
    window = {"since": SNAPSHOT_1, "until": "2026-07", "stages": STAGES, "users": USERS}
    return metrics.changes(rows, deals, **{**window, **how})


@pytest.mark.parametrize(
    ("name", "before", "after", "event", "words"),
    [
        ("stage_id", "1", "3", "advanced", ("In", "Late")),
        ("stage_id", "1", "77", "moved", ("In", "77")),
        ("value", "100", "250.5", "value up", ("100", "250.5")),
        ("value", "100", "0", "value down", ("100", "0")),
        ("value", "100", None, "value down", ("100", None)),
        ("currency", "EUR", "USD", "currency changed", ("EUR", "USD")),
        (
            "expected_close_date",
            "2026-07-01",
            "2026-07-02",
            "slipped",
            ("2026-07-01", "2026-07-02"),
        ),
        (
            "expected_close_date",
            "2026-07-01",
            "2026-06-30",
            "pulled in",
            ("2026-07-01", "2026-06-30"),
        ),
        ("owner_id", "7", "8", "owner changed", ("Ada", "Bo")),
        ("owner_id", "7", "99", "owner changed", ("Ada", "99")),
        ("is_archived", "false", "true", "archived", ("false", "true")),
        ("status", "open", "won", "won", ("open", "won")),
        ("status", "open", "lost", "lost", ("open", "lost")),
        ("is_deleted", "false", "true", "deleted", ("open", "deleted")),
        ("pipeline_id", "1", "2", "changed pipeline", ("1", "2")),
        ("expected_close_date", "2026-07-01", None, None, None),
        ("probability", "10", "20", None, None),
    ],
)
def test_one_change_is_one_event(
    name: str, before: str, after: str | None, event: str | None, words: Any
) -> None:
    rows = changes(history(*first_snapshot(4), bounded(4, name, before, after)), deals_of(4))
    assert listed(rows) == ([] if event is None else [(4, event, *words)])
    if event is not None:
        assert rows["time"].to_list() == [pd.Timestamp(SNAPSHOT_2, tz="UTC")]
        assert rows["time_after"].to_list() == [pd.Timestamp(SNAPSHOT_1, tz="UTC")]
        assert rows["title"].to_list() == ["Deal 4"]


def test_the_columns_are_those_of_the_definition_and_then_ours() -> None:
    rows = changes(history(*first_snapshot(4), bounded(4, "value", "100", "150")), deals_of(4))
    assert list(rows) == [
        "event", "before", "after", "value", "currency", "deal_id", "title", "owner_name",
        "stage_name", "url", "time", "time_after", "value_change",
    ]  # fmt: skip
    assert rows.attrs["keys"] == ["event", "deal_id", "time"]
    (row,) = rows.to_dict("records")
    assert (row["value"], row["value_change"], row["currency"]) == (150.0, 50.0, "EUR")
    assert (row["owner_name"], row["stage_name"]) == ("Ada", "In")
    empty = changes(history(*first_snapshot(4)), deals_of(4))
    assert not len(empty)
    assert (empty.dtypes == rows.dtypes).all()


def test_names_come_from_the_deals_where_no_list_is_passed() -> None:
    rows = history(
        *first_snapshot(4), *first_snapshot(5, stage_id="2"), bounded(4, "stage_id", "1", "2")
    )
    deals = deals_of(4, 5, stage_id=[2, 2], stage_name=["Half", "Half"], url=["u4", "u5"])
    with pytest.warns(DataWarning, match="pass stages=account.stages"):
        result = changes(rows, deals, stages=None, users=None)
    assert listed(result) == [(4, "moved", "1", "Half")]
    assert result[["url", "stage_name"]].to_numpy().tolist() == [["u4", "Half"]]
    assert result["owner_name"].isna().all()


def test_a_new_deal_is_created_when_it_says() -> None:
    rows = history(
        *first_snapshot(4),
        *[
            (5, name, None, value, SNAPSHOT_2, None, FIRST, SNAPSHOT_2)
            for name, value in {
                **CREATED,
                "status": "won",
                "stage_id": "3",
                "value": "900",
                "add_time": "2026-06-02T10:00:00Z",
                "won_time": "2026-06-05T10:00:00Z",
            }.items()
        ],
    )
    result = changes(rows, deals_of(4, 5))
    assert listed(result) == [(5, "created", None, "open"), (5, "won", "open", "won")]
    assert [f"{time:%m-%d %H}" for time in result["time"]] == ["06-02 10", "06-05 10"]
    # A moment later it is over.
    assert not len(changes(rows, deals_of(4, 5), since="2026-06-05 10:00:01"))
    assert len(changes(rows, deals_of(4, 5), until="2026-06-05 10:00")) == 1


def test_a_deal_that_appears_later_was_not_created_then() -> None:
    late = [(*row[:4], SNAPSHOT_2, None, FIRST, SNAPSHOT_2) for row in first_snapshot(5)]
    assert not len(changes(history(*first_snapshot(4), *late), deals_of(4, 5)))


def test_archiving_and_deletion_have_the_time_that_the_deal_has() -> None:
    rows = history(
        *first_snapshot(4),
        *first_snapshot(5, is_archived="true"),
        bounded(4, "is_archived", "false", "true"),
        bounded(4, "is_deleted", "false", "true"),
        bounded(4, "status", "open", "deleted"),
    )
    deals = deals_of(
        4,
        5,
        archive_time=pd.to_datetime(["2026-06-03", "2026-05-20"], utc=True),
        deleted_time=pd.to_datetime(["2026-06-04", None], utc=True),
        update_time=pd.to_datetime(["2026-06-04", "2026-05-20"], utc=True),
    )
    result = changes(rows, deals)
    assert listed(result) == [(4, "archived", "false", "true"), (4, "deleted", "open", "deleted")]
    assert [f"{time:%m-%d}" for time in result["time"]] == ["06-03", "06-04"]
    assert result["time_after"].isna().all()
    # A time outside the bounds is not that of this change.
    deals["archive_time"] = pd.to_datetime(["2026-05-03", None], utc=True)
    result = changes(rows, deals)
    assert [f"{time:%m-%d}" for time in result["time"]] == ["06-04", "06-08"]


def test_the_archiving_before_the_first_snapshot_is_known_by_its_time() -> None:
    rows = history(
        *first_snapshot(4, is_archived="true"),
        *[exact(4, name, None, value, "2026-05-01 09:00") for name, value in CREATED.items()
          if name != "is_archived"],
    )  # fmt: skip
    rows = rows[(rows["source"] == LOG) | rows["column"].isin(["is_archived", "add_time"])]
    deals = deals_of(4, archive_time=pd.to_datetime(["2026-05-20"], utc=True))
    result = changes(rows, deals, since="2026-05")
    assert listed(result) == [(4, "created", None, "open"), (4, "archived", "false", "true")]


def test_what_was_undone_within_the_window_is_no_win() -> None:
    rows = history(
        *first_snapshot(4),
        exact(4, "status", "open", "won", "2026-06-02"),
        exact(4, "status", "won", "lost", "2026-06-03"),
        exact(4, "status", "lost", "open", "2026-06-04"),
        exact(4, "status", "open", "won", "2026-06-05"),
    )
    assert listed(changes(rows, deals_of(4))) == [
        (4, "reopened", "lost", "open"),
        (4, "won", "open", "won"),
    ]
    for until, last in (("2026-06-03", "won"), ("2026-06-04", "lost"), ("2026-06-05", "reopened")):
        result = changes(rows, deals_of(4), until=until)
        assert result["event"].to_list() == [last]


def test_writes_of_one_time_are_one_event_each_and_chains_are_one() -> None:
    rows = history(
        *first_snapshot(4),
        exact(4, "value", "200", "300", "2026-06-02"),
        exact(4, "value", "100", "200", "2026-06-02"),
        exact(4, "stage_id", "1", "2", "2026-06-02"),
        exact(4, "currency", "EUR", "USD", "2026-06-03"),
        exact(4, "value", "300", "350", "2026-06-03"),
    )
    assert listed(changes(rows, deals_of(4))) == [
        (4, "advanced", "In", "Middle"),
        (4, "value up", "100", "300"),
        # In another currency the values cannot be compared.
        (4, "currency changed", "EUR", "USD"),
    ]


@pytest.mark.parametrize("seconds", [-1, 0, 1, 2])
def test_a_stage_and_a_pipeline_of_one_write_are_one_event(seconds: int) -> None:
    at = pd.Timestamp("2026-06-02")
    rows = history(
        *first_snapshot(4),
        exact(4, "stage_id", "1", "9", str(at)),
        exact(4, "pipeline_id", "1", "2", str(at + pd.Timedelta(seconds=seconds))),
    )
    result = changes(rows, deals_of(4), pipelines=pd.DataFrame({"id": [1, 2], "name": ["A", "B"]}))
    assert listed(result) == [(4, "changed pipeline", "A", "B")]
    assert result["time"].to_list() == [at.tz_localize("UTC")]
    assert result["stage_name"].to_list() == ["Other"]


def test_a_bounded_pipeline_has_the_exact_time_of_its_stage() -> None:
    rows = history(
        *first_snapshot(4),
        (4, "stage_id", "1", "9", "2026-06-05", None, SNAP, SNAPSHOT_2),
        bounded(4, "pipeline_id", "1", "2"),
    )
    result = changes(rows, deals_of(4))
    assert listed(result) == [(4, "changed pipeline", "1", "2")]
    assert [f"{time:%m-%d}" for time in result["time"]] == ["06-05"]
    assert result["time_after"].isna().all()


def test_a_since_before_the_first_snapshot_names_it() -> None:
    rows = history(*first_snapshot(4), *first_snapshot(5), *first_snapshot(6, added="2026-05-30"))
    deals = deals_of(
        4, 5, 6, update_time=pd.to_datetime(["2026-05-02", "2026-05-25", "2026-05-30"])
    )
    with pytest.raises(ArgumentError) as refused:
        changes(rows, deals, since="2026-05-20")
    assert "first snapshot of deals, taken on 2026-06-01 08:00:00 UTC" in str(refused.value)
    assert "unknown of 2 deals" in str(refused.value)
    assert "40 tokens" in str(refused.value)
    # Nothing changed since: nothing is missing.
    assert not len(changes(rows, deals, since="2026-05-31"))
    # Without the times of the deals, each may have changed.
    with pytest.raises(ArgumentError, match="unknown of 3 deals"):
        changes(rows, deals_of(4, 5, 6), since="2026-05-31")
    # A changelog tells.
    logged = [exact(5, "status", None, "open", "2026-05-01 09:00")]
    logged += [exact(6, "status", None, "open", "2026-05-30 09:00")]
    result = changes(pd.concat([rows, history(*logged)]), deals, since="2026-05-20")
    assert listed(result) == [(6, "created", None, "open")]


def test_the_order_of_rows_and_the_dtypes_change_nothing() -> None:
    rows = history(
        *first_snapshot(4),
        *first_snapshot(5, value=None),
        exact(4, "status", "open", "won", "2026-06-02"),
        bounded(4, "value", "100", "80"),
        bounded(5, "value", None, "12.25"),
        bounded(5, "owner_id", "7", "8"),
    )
    deals = deals_of(4, 5)
    expected = changes(rows, deals)
    assert len(expected) == 4
    for seed in range(3):
        mixed = rows.sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(changes(mixed, deals[::-1]), expected)
    arrow = rows.convert_dtypes(dtype_backend="pyarrow")
    pd.testing.assert_frame_equal(
        changes(arrow, deals.convert_dtypes(dtype_backend="pyarrow")), expected
    )
    text = rows.astype({"column": "category", "source": "category"})
    pd.testing.assert_frame_equal(changes(text, deals), expected)


def summarized() -> pd.DataFrame:
    rows = history(
        *first_snapshot(4),
        *first_snapshot(5, currency="USD", value="0.1"),
        *first_snapshot(6, currency="USD", owner_id="8", value="0.2"),
        *first_snapshot(8, currency=None, value=None),
        exact(4, "value", "100", "120", "2026-06-02"),
        exact(4, "value", "120", "150", "2026-06-03"),
        exact(4, "value", "150", "140", "2026-06-04"),
        exact(5, "status", "open", "won", "2026-06-02"),
        exact(6, "status", "open", "won", "2026-06-02"),
        exact(8, "status", "open", "lost", "2026-06-02"),
    )
    return changes(rows, deals_of(4, 5, 6, 8))


def test_the_summary_counts_and_sums() -> None:
    result = metrics.changes_summary(summarized())
    assert list(result) == ["event", "currency", "count", "deals", "value", "value_change"]
    rows = result.astype(object).where(result.notna(), None)
    assert rows.to_numpy().tolist() == [
        ["won", "USD", 2, 2, 0.3, None],
        ["lost", None, 1, 1, 0.0, None],
        ["value up", "EUR", 2, 1, 270.0, 50.0],
        ["value down", "EUR", 1, 1, 140.0, -10.0],
    ]


@pytest.mark.parametrize("by", [None, "owner", ["owner_name", "stage_name"]])
def test_the_summary_is_a_query_and_each_row_leads_to_its_events(by: Any) -> None:
    rows = summarized()
    result = metrics.changes_summary(rows, by=by)
    names = [] if by is None else ["owner_name"] if by == "owner" else by
    keys = [*names, "event", "currency"]
    quoted = ", ".join(keys)
    flat = rows.assign(event=rows["event"].astype("str"))
    expected = duckdb.sql(
        f"select {quoted}, count(*) n, count(distinct deal_id) deals,"
        f" sum(coalesce(value, 0)) total from flat group by {quoted}"
    ).df()
    assert len(expected) == len(result)
    joined = result.assign(event=result["event"].astype("str")).merge(expected, on=keys)
    assert (joined["count"] == joined["n"]).all()
    assert (joined["deals_x"] == joined["deals_y"]).all()
    np.testing.assert_allclose(joined["value"], joined["total"])
    assert result.attrs["keys"] == keys
    for place in range(len(result)):
        mine = metrics.drill_through(result.iloc[place], rows)
        assert len(mine) == result["count"].iloc[place]
        lost = result.iloc[place].copy()
        lost.attrs = {}
        pd.testing.assert_frame_equal(metrics.drill_through(lost, rows), mine)
    assert flat is not rows


def test_nothing_happened_is_a_summary_of_no_rows() -> None:
    rows = changes(history(*first_snapshot(4)), deals_of(4))
    result = metrics.changes_summary(rows, by="owner")
    assert not len(result)
    assert (result.dtypes == metrics.changes_summary(summarized(), by="owner").dtypes).all()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"since": "2026-07", "until": "2026-06"}, "is not before until"),
        ({"deleted": "no"}, "deleted must be one of 'drop', 'keep'"),
        ({"stages": pd.DataFrame({"id": [1]})}, "stages has no column 'order_nr'"),
        ({"stages": pd.concat([STAGES, STAGES])}, "stages holds an id twice"),
        ({"users": 7}, "users must be a DataFrame"),
        ({"tz": "Mars"}, "tz='Mars' is not a timezone"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        changes(history(*first_snapshot(4)), deals_of(4), **how)


def test_a_frame_of_another_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"account\.changes\(\), not str"):
        metrics.changes_summary("last Monday")
    with pytest.raises(ArgumentError, match="changes has no column 'event'"):
        metrics.changes_summary(deals_of(4))
    with pytest.raises(ArgumentError, match="history has no column"):
        changes(deals_of(4), deals_of(4))
