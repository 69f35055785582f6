"""Activities planned, done and overdue: tables written out, plain Python, and the rows behind each
number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import activity_summary, activity_summary_activities, drill_through
from tests.helpers import small_frames

JUNE: dict[str, Any] = {"since": "2026-06-01", "until": "2026-07-01", "as_of": "2026-06-30"}
EVENTS = {"planned": "planned", "done": "done", "overdue": "overdue"}


def done(day: str, at: str | None, **more: Any) -> dict[str, Any]:
    return {"due_date": day, "done": True, "marked_as_done_time": at, **more}


def won(day: str, **more: Any) -> dict[str, Any]:
    return {"status": "won", "won_time": day, **more}


def written() -> tuple[pd.DataFrame, pd.DataFrame]:
    activities = small_frames.activities(
        [
            done("2026-06-10", "2026-06-12 09:00", deal_id=1),
            done("2026-05-20", "2026-06-01 00:00", deal_id=1, type="email"),
            {"due_date": "2026-06-15", "deal_id": 2},
            {"due_date": "2026-06-30", "due_time": "09:00:00", "type": "email", "owner_id": 2},
            {"due_date": "2026-06-30", "owner_id": 2},
            done("2026-06-20", "2026-07-02 00:00", deal_id=2),
            done("2026-03-01", "2026-03-02", deal_id=2, owner_id=2),
            {"due_date": None},
            {"due_date": "2026-06-05", "is_deleted": True},
            {"due_date": "2026-06-05", "add_time": "2026-07-01"},
        ]
    )
    deals = small_frames.deals(
        [
            won("2026-06-14", owner_id=1),
            won("2026-06-20", owner_id=2),
            won("2026-05-31", owner_id=1),
            {"owner_id": 1},
        ]
    )
    return activities, deals


def test_a_month_written_out() -> None:
    activities, deals = written()
    result = activity_summary(activities, deals, **JUNE)
    expected = pd.DataFrame(
        {
            # 1, 3, 4, 5, 6.
            "planned": [5],
            # 1, 2: the sixth was done in July.
            "done": [2],
            # 3, 4, 6; the fifth may still be done today.
            "overdue": [3],
            "won": [2],
        }
    ).astype("Int64")
    # 1 and 2 on the first deal, 7 on the second.
    assert_frame_equal(result, expected.assign(per_won_deal=[1.5]))
    assert result.attrs["keys"] == []
    without = activity_summary(activities, **JUNE)
    assert without[["planned", "done", "overdue"]].to_numpy().tolist() == [[5, 2, 3]]
    assert without[["won", "per_won_deal"]].isna().all(axis=None)


def test_by_type_counts_all_deals_by_owner_their_own() -> None:
    activities, deals = written()
    by_type = activity_summary(activities, deals, **JUNE, by="type")
    assert by_type["type"].tolist() == ["call", "email"]
    assert by_type["won"].tolist() == [2, 2]
    # Types add up to the whole.
    assert by_type["per_won_deal"].tolist() == [1.0, 0.5]
    by_owner = activity_summary(activities, deals, **JUNE, by=["owner_id"])
    assert by_owner["won"].tolist() == [1, 1]
    assert by_owner["per_won_deal"].tolist() == [2.0, 1.0]
    both = activity_summary(activities, deals, **JUNE, by=["owner_id", "type"])
    assert both["won"].tolist() == [1] * 4
    names = {"owner_name": activities["owner_id"].map({1: "Ann", 2: "Bo"})}
    theirs = deals.assign(owner_name=deals["owner_id"].map({1: "Ann", 2: "Bo"}))
    named = activity_summary(activities.assign(**names), theirs, **JUNE, by="owner")
    assert named["owner_name"].tolist() == ["Ann", "Bo"]
    assert_frame_equal(named.drop(columns="owner_name"), by_owner.drop(columns="owner_id"))


def test_ids_read_as_floats_are_the_same_ids() -> None:
    activities, deals = written()
    expected = activity_summary(activities, deals, **JUNE, by="owner_id")
    floats = activities.astype({"owner_id": "float64"})
    for theirs in (deals, deals.astype({"owner_id": "float64"})):
        result = activity_summary(floats, theirs, **JUNE, by="owner_id")
        assert_frame_equal(result, expected, check_dtype=False)
    unknown = floats.assign(owner_id=floats["owner_id"].replace({2: np.nan}))
    result = activity_summary(
        unknown, deals.assign(owner_id=[1, None, 1, 1]), **JUNE, by="owner_id"
    )
    assert result["won"].tolist() == [1, 1]


def test_days_are_those_of_the_zone() -> None:
    activities = small_frames.activities(
        [
            # 1 June in Berlin; without a time it is a day, wherever one is.
            {"due_date": "2026-05-31", "due_time": "23:00:00"},
            {"due_date": "2026-06-01"},
            done("2026-01-05", "2026-06-30 22:30"),
        ]
    )
    berlin = activity_summary(activities, **JUNE, tz="Europe/Berlin")
    assert berlin[["planned", "done", "overdue"]].to_numpy().tolist() == [[2, 0, 2]]
    utc = activity_summary(activities, **JUNE)
    assert utc[["planned", "done", "overdue"]].to_numpy().tolist() == [[1, 1, 1]]
    first = {"since": "2026-06-01", "until": None, "as_of": "2026-06-01 12:00"}
    early = activity_summary(activities, **first, tz="Europe/Berlin")
    assert early["overdue"].tolist() == [1]


def test_an_activity_done_at_an_unknown_time_was_done_when_due() -> None:
    activities = small_frames.activities(
        [done("2026-06-10", None), done("2026-08-01", None), done(None, None)]
    )
    with pytest.warns(DataWarning, match="^activity_summary: 3 activities were done at an unknown"):
        result = activity_summary(activities, **JUNE)
    assert result[["planned", "done", "overdue"]].to_numpy().tolist() == [[1, 1, 0]]
    # Due after `as_of`, it was not done by then.
    with pytest.warns(DataWarning, match="unknown time"):
        later = activity_summary(activities, **{**JUNE, "until": "2026-09-01"})
    assert later[["planned", "done", "overdue"]].to_numpy().tolist() == [[2, 1, 0]]
    rows = activity_summary_activities(activities.iloc[:0], **JUNE)
    assert (len(rows), rows["event"].cat.categories.tolist()[-1]) == (0, "on a won deal")


def random_frames(seed: int, size: int = 300) -> tuple[pd.DataFrame, pd.DataFrame]:
    draw = np.random.default_rng([13, seed])

    def day() -> pd.Timestamp:
        return pd.Timestamp("2026-01-01") + pd.Timedelta(days=int(draw.integers(0, 200)))

    activities = small_frames.activities(
        {
            "due_date": due,
            "due_time": None if draw.random() < 0.5 else f"{int(draw.integers(0, 24)):02}:30:00",
            "done": is_done,
            "marked_as_done_time": day() + pd.Timedelta(hours=13) if is_done else None,
            "deal_id": None if draw.random() < 0.2 else int(draw.integers(1, 60)),
            "owner_id": None if draw.random() < 0.1 else int(draw.integers(1, 4)),
            "type": str(draw.choice(["call", "email"])),
            "add_time": "2025-12-01",
        }
        for due, is_done in ((day(), bool(draw.random() < 0.6)) for _ in range(size))
    )
    deals = small_frames.deals(
        won(str(day().date()), owner_id=int(draw.integers(1, 4)), add_time="2025-12-01")
        if draw.random() < 0.7
        else {"owner_id": 1}
        for _ in range(50)
    )
    return activities, deals


@pytest.mark.parametrize("seed", range(3))
def test_each_period_is_that_of_plain_python(seed: int) -> None:
    activities, deals = random_frames(seed)
    window: dict[str, Any] = {"since": "2026-02-01", "until": "2026-06-01", "as_of": "2026-05-10"}
    result = activity_summary(activities, deals, **window, freq="M", by="owner_id")
    now = pd.Timestamp("2026-05-11") - pd.Timedelta("1us")
    winners: dict[tuple[int, int], set[int]] = {}
    for row in deals.to_dict("records"):
        if row["status"] == "won" and row["won_time"].tz_localize(None) <= now:
            key = (row["owner_id"], row["won_time"].month)
            winners.setdefault(key, set()).add(row["id"])
    rows = activities.to_dict("records")
    for ours in result.to_dict("records"):
        owner, month = ours["owner_id"], ours["period"].month
        mine = [
            row
            for row in rows
            if (pd.isna(owner) and pd.isna(row["owner_id"]))
            or (not pd.isna(owner) and not pd.isna(row["owner_id"]) and row["owner_id"] == owner)
        ]
        counts = {"planned": 0, "done": 0, "overdue": 0, "on": 0}
        winning = winners.get((owner, month), set()) if not pd.isna(owner) else set()
        for row in mine:
            limit = row["due_date"] + pd.Timedelta(days=1)
            if not pd.isna(row["due_time"]):
                limit = row["due_date"] + pd.Timedelta(row["due_time"])
            marked = row["marked_as_done_time"]
            over = bool(row["done"]) and marked.tz_localize(None) <= now
            counts["planned"] += row["due_date"].month == month
            counts["overdue"] += row["due_date"].month == month and not over and limit <= now
            counts["done"] += over and marked.month == month
            counts["on"] += over and not pd.isna(row["deal_id"]) and row["deal_id"] in winning
        assert (ours["planned"], ours["done"], ours["overdue"]) == tuple(counts.values())[:3]
        assert ours["won"] == len(winning)
        if winning:
            assert ours["per_won_deal"] == pytest.approx(counts["on"] / len(winning))
        else:
            assert np.isnan(ours["per_won_deal"])
    assert len(result) == 4 * 4
    assert (result[["planned", "done", "overdue", "won"]].sum() > 10).all()


@pytest.mark.parametrize("by", [None, "type", "owner_id", ["type", "owner_id"]])
@pytest.mark.parametrize("freq", [None, "Q"])
def test_each_number_leads_to_its_activities(freq: Any, by: Any) -> None:
    activities, deals = random_frames(5)
    how: dict[str, Any] = {
        "since": "2026-01-01",
        "until": "2026-07-01",
        "as_of": "2026-06-30",
        "freq": freq,
        "by": by,
    }
    result = activity_summary(activities, deals, **how)
    rows = activity_summary_activities(activities, deals, **how)
    for place in range(len(result)):
        row = result.iloc[place]
        match = drill_through(row, rows)["event"].value_counts()
        for name, event in EVENTS.items():
            assert match[event] == row[name]
        if row["won"]:
            assert match["on a won deal"] / row["won"] == pytest.approx(row["per_won_deal"])
    assert len(rows) > 400
    columns = ["activity_id", "subject", "type", "deal_id"]
    assert list(rows.columns[:4]) == columns
    assert list(rows.columns[-3:]) == ["event", "due", "done_time"]


def test_wrong_arguments_say_what_to_do() -> None:
    activities, deals = written()
    with pytest.raises(ArgumentError, match=r"must be a DataFrame from account\.activities"):
        activity_summary(None, **JUNE)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="activities has no column 'deal_id'"):
        activity_summary(activities.drop(columns="deal_id"), deals, **JUNE)
    assert len(activity_summary(activities.drop(columns="deal_id"), **JUNE)) == 1
    with pytest.raises(
        ArgumentError, match=r"activities has no column 'owner'. account.activities\(\) adds"
    ):
        activity_summary(activities, **JUNE, by="owner")
    with pytest.raises(ArgumentError, match="the result has a column 'done' of its own"):
        activity_summary(activities, **JUNE, by="done")
