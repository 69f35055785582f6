"""Deal aging: tables written out, and the stage's median and shares against plain Python on exact
fractions.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.errors import ArgumentError
from pdframe.metrics import deal_aging
from tests.helpers import small_frames
from tests.helpers.notices import noticed

NOW = datetime(2026, 7, 1, tzinfo=UTC)
STAGES = [{"is_deal_rot_enabled": True, "days_to_rotten": 10, "name": "Lead"}, {"name": "Offer"}]


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def one_visit(deal: int, entered: float, left: float | None = None, **more: Any) -> dict[str, Any]:
    """A stay that began and ended so many days ago."""
    return {
        "deal_id": deal,
        "entered_at": ago(entered),
        "left_at": None if left is None else ago(left),
        **more,
    }


def by_deal(*frames: pd.DataFrame, **how: Any) -> pd.DataFrame:
    """The result in the order of its deals, as the tables here are written."""
    return deal_aging(*frames, **how).sort_values("deal_id", ignore_index=True)


def age(
    deals: list[dict[str, Any]], visits: list[dict[str, Any]], as_of: Any = NOW, **more: Any
) -> pd.DataFrame:
    return by_deal(
        small_frames.deals(deals),
        small_frames.visits(visits),
        small_frames.stages(STAGES),
        as_of=as_of,
        **more,
    )


def test_open_deals_against_what_is_usual_in_their_stage() -> None:
    closed = {"status": "lost", "lost_time": ago(3)}
    deals = small_frames.deals(
        [
            {"add_time": ago(20), "update_time": ago(4), "expected_close_date": "2026-06-29"},
            {
                "add_time": ago(5),
                "update_time": ago(5),
                "title": "New",
                "owner_id": 7,
                "value": 2_500.5,
                "currency": "USD",
                "expected_close_date": "2026-07-01",
            },
            {"add_time": ago(50), "update_time": ago(30), "stage_id": 2},
            closed,
            closed,
            closed,
            {"add_time": ago(12), "update_time": None},
        ]
    )
    visits = small_frames.visits(
        [
            one_visit(1, 20),
            one_visit(2, 5),
            one_visit(3, 50, 46),
            one_visit(3, 46, stage_id=2),
            one_visit(4, 100, 92, end="lost"),
            one_visit(5, 100, 90, end="lost"),
            one_visit(6, 100, 70, end="lost"),
            one_visit(7, 12),
        ]
    )
    result = by_deal(deals, visits, small_frames.stages(STAGES), as_of=NOW)
    # Lead: 4 8 10 30 done, 5 12 20 open: S(4) 6/7, S(8) 6/7 x 4/5, S(10) 6/7 x 3/5 = .51, S(30) 0.
    expected = pd.DataFrame(
        {
            "deal_id": pd.array([1, 2, 3, 7], dtype="Int64"),
            "title": pd.Series(["Deal", "New", "Deal", "Deal"], dtype="str"),
            "owner_id": pd.array([1, 7, 1, 1], dtype="Int64"),
            "value": [100.0, 2_500.5, 100.0, 100.0],
            "currency": pd.Series(["EUR", "USD", "EUR", "EUR"], dtype="str"),
            "pipeline_id": pd.array([1, 1, 1, 1], dtype="Int64"),
            "stage_id": pd.array([1, 1, 2, 1], dtype="Int64"),
            "stage": pd.Series(["Lead", "Lead", "Offer", "Lead"], dtype="str"),
            "entered_at": pd.Series([ago(20), ago(5), ago(46), ago(12)], dtype=small_frames.TIME),
            "days_in_stage": [20.0, 5.0, 46.0, 12.0],
            "median_days": [30.0, 30.0, np.nan, 30.0],
            "share_longer": [0.25, 0.75, np.nan, 0.25],
            "days_idle": [4.0, 5.0, 30.0, 12.0],
            "days_to_rotten": pd.array([10, 10, None, 10], dtype="Int64"),
            "rotten": pd.array([False, False, False, True], dtype="boolean"),
            "expected_close_date": pd.Series(
                ["2026-06-29", "2026-07-01", None, None], dtype=small_frames.DAY
            ),
            "days_past_close": pd.array([2, 0, None, None], dtype="Int64"),
        }
    )
    assert_frame_equal(result, expected)


def test_rotten_begins_with_the_day_that_the_stage_names_and_a_move_is_a_touch() -> None:
    deals = [{"update_time": ago(days)} for days in (9.99, 10, 40)]
    result = age(deals, [one_visit(1, 50), one_visit(2, 50), one_visit(3, 2)])
    assert list(result["rotten"]) == [False, True, False]
    assert list(result["days_idle"]) == [9.99, 10.0, 2.0]


def test_the_most_urgent_and_then_the_most_valuable_come_first() -> None:
    late, rotten = {"expected_close_date": "2026-06-20"}, {"update_time": ago(40)}
    cells: list[dict[str, Any]] = [
        {"value": 900.0},
        {"value": 10.0, **late},
        {"value": None, **late, **rotten},
        {"value": 700.0, **rotten},
        {"value": 5.0, "currency": "USD", **late, **rotten},
        {"value": 10.0, **late},
        {"value": 20.0},
        {"value": 0.0, **late, **rotten},
    ]
    deals = small_frames.deals(cells)
    visits = small_frames.visits([one_visit(deal, 50) for deal in range(1, 9)])
    visits.loc[visits["deal_id"].isin([1, 2, 6, 7]), "entered_at"] = ago(2)
    expected = [5, 8, 3, 4, 2, 6, 1, 7]
    for each in (deals, deals[::-1], deals.sample(frac=1, random_state=3)):
        result = deal_aging(each, visits, small_frames.stages(STAGES), as_of=NOW)
        assert result["deal_id"].tolist() == expected
        assert result.index.tolist() == list(range(8))
    # Without values, by deal.
    bare = deal_aging(deals.drop(columns="value"), visits, small_frames.stages(STAGES), as_of=NOW)
    assert bare["deal_id"].tolist() == [3, 5, 8, 2, 4, 6, 1, 7]


def test_rotting_that_is_switched_off_or_not_set_rots_nothing() -> None:
    visits = small_frames.visits(
        [one_visit(1, 50), one_visit(2, 50, stage_id=2), one_visit(3, 50, stage_id=3)]
    )
    deals = small_frames.deals([{"update_time": ago(50)}] * 3)
    stages = small_frames.stages([{"days_to_rotten": 5}, {"is_deal_rot_enabled": True}])
    result = deal_aging(deals, visits, stages, as_of=NOW)
    assert list(result["rotten"]) == [False] * 3
    assert result["days_to_rotten"].isna().all()
    assert [None if pd.isna(name) else name for name in result["stage"]] == [
        "Stage 1",
        "Stage 2",
        None,
    ]


def test_the_close_date_is_past_from_the_next_day_in_tz() -> None:
    deals, visits = [{"expected_close_date": "2026-06-30"}], [one_visit(1, 5)]
    evening = datetime(2026, 6, 30, 23, tzinfo=UTC)
    assert age(deals, visits, "2026-06-28")["days_past_close"][0] == 0
    assert age(deals, visits, evening)["days_past_close"][0] == 0
    assert age(deals, visits, evening, tz="Europe/Berlin")["days_past_close"][0] == 1
    assert age(deals, visits, "2026-06-30")["days_past_close"][0] == 0


def test_the_past_is_that_of_the_visits() -> None:
    deals = [
        {
            "status": "won",
            "won_time": ago(5),
            "add_time": ago(60),
            "update_time": ago(60),
            "stage_id": 2,
        }
    ]
    visits = [one_visit(1, 60, 30), one_visit(1, 30, 5, stage_id=2, end="won")]
    result = {days: age(deals, visits, ago(days)) for days in (70, 45, 30, 10, 5)}
    assert {days: list(f["stage"]) for days, f in result.items()} == {
        70: [],
        45: ["Lead"],
        30: ["Offer"],
        10: ["Offer"],
        5: [],
    }
    assert {days: list(f["days_in_stage"]) for days, f in result.items()} == {
        70: [],
        45: [15.0],
        30: [0.0],
        10: [20.0],
        5: [],
    }
    # Its lead's stay is completed once it is over, and censored before.
    assert np.isnan(result[45]["median_days"][0])
    assert (
        age([*deals, {"add_time": ago(20)}], [*visits, one_visit(2, 20)], ago(10))[
            "median_days"
        ].tolist()[1]
        == 30.0
    )


def test_a_deal_without_visits_is_where_its_deal_says() -> None:
    deals = [
        {},
        {"status": "lost", "lost_time": ago(5)},
        {"add_time": ago(-5)},
        {"stage_id": 2, "pipeline_id": 3},
        {"is_deleted": True},
    ]
    result = age(deals, [])
    assert list(result["deal_id"]) == [1, 4]
    assert list(result["stage"]) == ["Lead", "Offer"]
    assert list(result["pipeline_id"]) == [1, 3]
    assert (
        result[["entered_at", "days_in_stage", "median_days", "share_longer"]].isna().all(axis=None)
    )
    assert result["days_idle"].notna().all()


def test_a_deal_that_only_visits_know_is_kept() -> None:
    result = age([], [one_visit(9, 5)])
    assert list(result["deal_id"]) == [9]
    assert list(result["days_in_stage"]) == [5.0]
    assert result[["title", "owner_id", "expected_close_date", "days_idle"]].isna().all(axis=None)
    assert list(result["rotten"]) == [
        False
    ]  # five days in the stage: it cannot have been idle for ten


def test_a_visit_with_an_unknown_end_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match="left_at of visits is null in 1 rows whose end is not open"
    ):
        age([{"status": "won"}], [{**one_visit(1, 50), "end": "won"}])


def test_an_unseen_visit_is_unknown_and_so_is_the_move_to_it() -> None:
    seen = {"source": "snapshots"}
    visits = [
        one_visit(1, 50, 20, seen_at=ago(50), **seen),
        one_visit(1, 20, stage_id=2, seen_at=ago(5), **seen),
        one_visit(2, 20, seen_at=ago(5), **seen),
    ]
    deals = [
        {"add_time": ago(50), "update_time": ago(50)},
        {"add_time": ago(20), "update_time": ago(20), "stage_id": 2},
    ]
    then, now = age(deals, visits, ago(10)), age(deals, visits, ago(5))
    # The second deal is in no stay that was known then: it is where its deal says.
    assert then[["deal_id", "stage_id"]].to_numpy().tolist() == [[1, 1], [2, 2]]
    assert then["days_in_stage"].fillna(-1).tolist() == [40.0, -1.0]
    assert now[["deal_id", "stage_id"]].to_numpy().tolist() == [[1, 2], [2, 1]]
    assert now["days_in_stage"].tolist() == [15.0, 15.0]


def test_one_row_a_deal_even_where_two_remains_are_open() -> None:
    result = age([{}], [one_visit(1, 5, stage_id=2), one_visit(1, 50)])
    assert list(result["stage"]) == ["Offer"]


def test_bounded_times_are_not_taken_for_exact_ones() -> None:
    deals = [
        {},
        {"status": "lost", "lost_time": ago(1)},
        {"status": "lost", "lost_time": ago(1)},
        {},
    ]
    visits = [
        one_visit(1, 20, entered_after=ago(25), source="snapshots"),
        one_visit(2, 40, 30, left_after=ago(33), source="snapshots"),
        one_visit(3, 40, 34),
        one_visit(4, 3),
        one_visit(5, 90, 10, entered_after=ago(95), source="snapshots"),
    ]
    with noticed(r"^2 completed visits .* 2 deals = 40 tokens"):
        result = age(deals, visits)
    assert np.isnan(result["days_in_stage"][0])
    assert pd.isna(result["entered_at"][0])
    assert list(result["share_longer"].fillna(-1)) == [-1, 1.0]  # the exact stay of six days alone
    assert list(result["median_days"]) == [6.0, 6.0]


def test_visits_seen_only_after_their_end_have_no_times() -> None:
    deals = [{"status": "lost", "lost_time": ago(20)}, {}]
    visits = [
        one_visit(1, 50, 20, seen_at=NOW, source="current"),
        one_visit(2, 5, seen_at=NOW, source="current"),
    ]
    with noticed("account.deal_changes"):
        result = age(deals, visits)
    assert result[["median_days", "share_longer"]].isna().all(axis=None)
    assert list(result["days_in_stage"]) == [5.0]


def by_hand(
    known_visits: list[tuple[int, int, int | None, int]], now: int
) -> dict[int, tuple[float, list[int]]]:
    """Kaplan-Meier median in hours, delayed entry, exact; and the lengths of completed stays, of
    each stage.
    """
    result = {}
    for stage in {s for s, *_ in known_visits}:
        sample = []
        for own, entered, left, seen in known_visits:
            if own == stage and entered <= now and seen <= now:
                done = left is not None and left <= now
                length, entry = (
                    (left if done and left is not None else now) - entered,
                    seen - entered,
                )
                if entry <= 0 or entry < length:
                    sample.append((entry, length, done))
        survival, median = Fraction(1), float("nan")
        for time in sorted({length for _, length, done in sample if done}):
            risk = sum(
                length >= time and (entry < time or entry <= 0) for entry, length, _ in sample
            )
            survival *= 1 - Fraction(
                sum(done and length == time for _, length, done in sample), risk
            )
            if survival <= Fraction(1, 2):
                median = time
                break
        result[stage] = (median, [length for _, length, done in sample if done])
    return result


@pytest.mark.filterwarnings("ignore:.*completed visits are left out")
@pytest.mark.parametrize("seed", range(30))
def test_medians_and_shares_are_those_of_plain_python(seed: int) -> None:
    draw = np.random.default_rng(seed)
    begin, now = datetime(2026, 1, 1, tzinfo=UTC), 600
    known_visits: list[tuple[int, int, int | None, int]] = []
    rows = []
    for deal in range(int(draw.integers(1, 60))):
        entered = int(draw.integers(0, 550))
        left = entered + int(draw.integers(0, 120)) if draw.random() < 0.7 else None
        seen = entered + (int(draw.integers(0, 60)) if draw.random() < 0.4 else 0)
        stage = int(draw.integers(1, 4))
        known_visits.append((stage, entered, left, seen))
        at = [
            None if hour is None else begin + timedelta(hours=hour)
            for hour in (entered, left, seen)
        ]
        source = "changelog" if seen == entered else "snapshots"
        rows.append(
            {
                "deal_id": deal,
                "stage_id": stage,
                "entered_at": at[0],
                "left_at": at[1],
                "seen_at": at[2],
                "source": source,
            }
        )
    result = deal_aging(
        small_frames.deals([]),
        small_frames.visits(rows),
        small_frames.stages([{}] * 3),
        as_of=begin + timedelta(hours=now),
    )
    truth = by_hand(known_visits, now)
    assert list(result["deal_id"]) == [
        i
        for i, (_, entered, left, seen) in enumerate(known_visits)
        if max(entered, seen) <= now and (left is None or left > now)
    ]
    for row in result.itertuples():
        stage, entered, *_ = known_visits[row.deal_id]
        median, completed = truth[stage]
        assert row.median_days == pytest.approx(median / 24, abs=1e-9, nan_ok=True)
        longer = (
            sum(length > now - entered for length in completed) / len(completed)
            if completed
            else float("nan")
        )
        assert row.share_longer == pytest.approx(longer, abs=1e-12, nan_ok=True)


# No leakage


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("seed", range(20))
def test_what_happens_after_as_of_changes_no_cell(seed: int) -> None:
    draw = np.random.default_rng(seed)
    now = pd.Timestamp(ago(40))
    deals, visits = [], []
    for deal in range(1, 61):
        start, clock = float(draw.uniform(41, 90)), 0.0
        clock, stage = start, 1
        while clock > 0 and stage <= 2:
            left = clock - float(draw.exponential(20))
            visits.append(one_visit(deal, clock, left if left > 0 else None, stage_id=stage))
            clock, stage = left, stage + 1
        late = float(draw.uniform(0, 39)) if draw.random() < 0.4 else float(draw.uniform(41, start))
        deals.append(
            {
                "id": deal,
                "add_time": ago(start),
                "update_time": ago(late),
                "expected_close_date": "2026-05-01",
            }
        )
    before = small_frames.deals(deals), small_frames.visits(visits)
    changed, moved = (frame.copy() for frame in before)
    after = (changed["update_time"] > now).to_numpy()
    changed.loc[after, "update_time"] += pd.Timedelta(days=1)
    changed.loc[after, ["title", "owner_id", "stage_id", "value"]] = ["Later", 99, 2, 5.0]
    changed.loc[after, "expected_close_date"] = pd.Timestamp("2020-01-01")
    changed.loc[after, ["status", "lost_time"]] = ["lost", now + pd.Timedelta(days=30)]
    moved = moved[moved["entered_at"] <= now].copy()
    ends = (moved["left_at"].isna() | (moved["left_at"] > now)).to_numpy()
    moved.loc[ends, "left_at"] = now + pd.to_timedelta(
        draw.uniform(0.001, 99, int(ends.sum())), "D"
    ).round("us")
    moved.loc[ends, ["end", "left_after"]] = ["lost", now]
    new = small_frames.visits(
        [one_visit(int(draw.integers(1, 90)), float(draw.uniform(0, 39))) for _ in range(30)]
    )
    first = deal_aging(*before, small_frames.stages(STAGES), as_of=now)
    second = deal_aging(changed, pd.concat([moved, new]), small_frames.stages(STAGES), as_of=now)
    assert len(first) > 10
    assert first["owner_id"].isna().any()
    assert first["owner_id"].notna().any()
    assert_frame_equal(first, second, check_exact=True)


def test_a_deal_that_changed_since_says_less_and_a_warning_says_so() -> None:
    deals = [
        {"update_time": ago(1), "add_time": ago(90)},
        {"update_time": ago(1), "add_time": ago(90)},
    ]
    with noticed("^2 open deals changed after 2026-06-21 00:00 UTC"):
        result = age(deals, [one_visit(1, 15), one_visit(2, 60)], ago(10))
    assert (
        result[
            [
                "title",
                "owner_id",
                "value",
                "currency",
                "expected_close_date",
                "days_past_close",
                "days_idle",
            ]
        ]
        .isna()
        .all(axis=None)
    )
    # Five days in the stage cannot be ten idle ones; fifty may be.
    assert [None if pd.isna(r) else r for r in result["rotten"]] == [False, None]


def test_it_says_whom_to_call_where_deals_say_so() -> None:
    names = {"owner_name": ["Ann", None], "org_name": ["Acme", "Beta"], "person_name": ["Jo", "Bo"]}
    url = ["https://acme.pipedrive.com/deal/1", "https://acme.pipedrive.com/deal/2"]
    deals = small_frames.deals(
        [
            {"add_time": ago(20), "update_time": ago(1), "value": 5.0},
            {"add_time": ago(20), "update_time": ago(19), "value": None, "currency": None},
        ]
    ).assign(**names, url=url)
    visits = small_frames.visits([one_visit(1, 20), one_visit(2, 20)])
    result = by_deal(deals, visits, small_frames.stages(STAGES), as_of=NOW)
    assert list(result.columns[:10]) == [
        "deal_id",
        "title",
        "owner_id",
        *names,
        "value",
        "currency",
        "pipeline_id",
        "stage_id",
    ]
    assert list(result.columns[-2:]) == ["days_past_close", "url"]
    assert result["owner_name"].tolist()[0] == "Ann"
    assert result["owner_name"].isna().tolist() == [False, True]
    assert result["value"].fillna(-1).tolist() == [5.0, -1.0]
    assert result["url"].tolist() == url
    # The first deal changed since then: its page is the same, all else may have been different.
    with noticed(r"1 open deals changed after .* their owner, value,"):
        then = by_deal(deals, visits, small_frames.stages(STAGES), as_of=ago(10))
    assert then["url"].tolist() == url
    assert then[["owner_name", "org_name", "person_name", "value", "currency"]].iloc[0].isna().all()
    assert then["org_name"].iloc[1] == "Beta"


# What is given


def test_a_deal_known_as_deleted_is_open_until_then_whatever_its_visits_say() -> None:
    deals = small_frames.deals(
        [
            {
                "is_deleted": True,
                "status": "deleted",
                "update_time": "2026-06-10",
                "add_time": "2026-06-01",
            },
            {},
        ]
    )
    visits = small_frames.visits(
        [{"deal_id": 1, "entered_at": "2026-06-01"}, {"deal_id": 2, "entered_at": "2026-06-01"}]
    )
    with noticed("1 open deals changed after"):
        before = by_deal(deals, visits, small_frames.stages([{}]), as_of="2026-06-09")
    assert before["deal_id"].tolist() == [1, 2]
    assert by_deal(deals, visits, small_frames.stages([{}]), as_of="2026-06-10")[
        "deal_id"
    ].tolist() == [2]


def test_a_creation_dated_after_as_of_makes_no_negative_idleness() -> None:
    deals = small_frames.deals([{"add_time": "2026-09-01", "update_time": None}])
    stages = small_frames.stages([{"is_deal_rot_enabled": True, "days_to_rotten": 5}])
    result = deal_aging(
        deals,
        small_frames.visits([{"deal_id": 1, "entered_at": "2026-06-01"}]),
        stages,
        as_of="2026-06-30 00:00",
    )
    assert result["days_in_stage"][0] == 29
    assert pd.isna(result["days_idle"][0])
    assert pd.isna(result["rotten"][0])


def test_no_rows_keep_columns_and_dtypes() -> None:
    full, empty = age([{}], [one_visit(1, 5)]), age([], [])
    assert list(empty.columns) == list(full.columns)
    assert empty.dtypes.equals(full.dtypes)
    assert len(empty) == 0
    assert age([{}], []).dtypes.equals(full.dtypes)
    assert age([], [one_visit(1, 5)]).dtypes.equals(full.dtypes)
    without_stages = deal_aging(
        small_frames.deals([{}]),
        small_frames.visits([one_visit(1, 5)]),
        small_frames.stages([]),
        as_of=NOW,
    )
    assert without_stages.dtypes.equals(full.dtypes)
    assert without_stages["stage"].isna().all()


def test_inputs_remain_as_they_are_and_loose_dtypes_will_do() -> None:
    deals = small_frames.deals(
        [
            {"update_time": ago(3), "expected_close_date": "2026-06-01"},
            {"status": "lost", "lost_time": ago(3)},
            {},
        ]
    )
    visits, stages = (
        small_frames.visits(
            [one_visit(1, 20), one_visit(2, 30, 3, end="lost"), one_visit(3, 4, stage_id=2)]
        ),
        small_frames.stages(STAGES),
    )
    kept = [frame.copy(deep=True) for frame in (deals, visits, stages)]
    result = deal_aging(deals, visits, stages, as_of=NOW)
    for frame, was in zip((deals, visits, stages), kept, strict=True):
        assert_frame_equal(frame, was)
    loose = [
        frame.astype(object).set_index(pd.Index([0] * len(frame)))
        for frame in (deals, visits, stages)
    ]
    again = deal_aging(*loose, as_of=NOW)
    texts = ["title", "owner_id"]
    assert_frame_equal(again.drop(columns=texts), result.drop(columns=texts))
    assert again[texts].astype(str).equals(result[texts].astype(str))
    assert_frame_equal(
        deal_aging(deals.drop(columns=texts), visits, stages, as_of=NOW), result.drop(columns=texts)
    )


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        ("deals", "id"),
        ("deals", "status"),
        ("deals", "update_time"),
        ("visits", "seen_at"),
        ("visits", "end"),
        ("stages", "days_to_rotten"),
    ],
)
def test_a_missing_column_is_named(frame: str, column: str) -> None:
    frames = {
        "deals": small_frames.deals([{}]),
        "visits": small_frames.visits([one_visit(1, 5)]),
        "stages": small_frames.stages(STAGES),
    }
    frames[frame] = frames[frame].drop(columns=column)
    with pytest.raises(ArgumentError, match=f"{frame} has no column '{column}'"):
        deal_aging(**frames, as_of=NOW)


def test_wrong_values_are_named() -> None:
    deals, visits, stages = (
        small_frames.deals([{}]),
        small_frames.visits([one_visit(1, 5)]),
        small_frames.stages(STAGES),
    )
    with pytest.raises(ArgumentError, match="as_of"):
        deal_aging(deals, visits, stages, as_of="yesterday")
    with pytest.raises(ArgumentError, match="entered_at"):
        deal_aging(deals, visits.assign(entered_at="yesterday"), stages, as_of=NOW)
    with pytest.raises(ArgumentError, match="stage_id"):
        deal_aging(deals, visits.assign(stage_id="first"), stages, as_of=NOW)
    with pytest.raises(ArgumentError, match=r"stages must be a DataFrame from account\.stages"):
        deal_aging(deals, visits, None, as_of=NOW)  # type: ignore[arg-type]
