"""Win rate and sales velocity against published figures, known probabilities, statsmodels and plain
Python.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from statsmodels.stats.proportion import proportion_confint

from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics import sales_velocity, win_rate
from tests.helpers import small_frames
from tests.helpers.notices import noticed

YEAR: dict[str, Any] = {"since": "2026-01-01", "until": "2027-01-01"}
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def won(day: str, **more: Any) -> dict[str, Any]:
    return {"status": "won", "won_time": day, **more}


def lost(day: str, **more: Any) -> dict[str, Any]:
    return {"status": "lost", "lost_time": day, **more}


def random_deals(seed: int, size: int = 300) -> pd.DataFrame:
    """Deals of two years: every status, three currencies and none, times in microseconds, some
    never closed.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(size):
        added = at(float(draw.uniform(-300, 300)))
        status = str(draw.choice(["open", "won", "lost", "deleted"], p=[0.3, 0.35, 0.3, 0.05]))
        ended = added + timedelta(days=float(draw.exponential(60)))
        rows.append(
            {
                "status": status,
                "add_time": added,
                "update_time": ended,
                "won_time": ended if status == "won" else None,
                "lost_time": ended if status == "lost" else None,
                "is_deleted": status == "deleted",
                "value": None if draw.random() < 0.1 else float(draw.integers(0, 10_000)) / 4,
                "currency": str(draw.choice(["EUR", "USD", "GBP"])),
                "team": None if draw.random() < 0.1 else str(draw.choice(["north", "south"])),
            }
        )
    return small_frames.deals(rows)


def records(deals: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as plain values, null as None."""
    return [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in deals.to_dict("records")
    ]


# win_rate, closed


def test_closed_deals_of_the_window_by_team() -> None:
    deals = small_frames.deals(
        [
            won("2026-01-01", team="a"),
            won("2026-12-31 23:59:59", team="a"),
            lost("2026-05-05", team="a"),
            lost("2026-05-05", team="b"),
            won("2027-01-01", team="b"),  # until is exclusive
            lost("2025-12-31 23:59:59", team="b"),
            {"team": "c"},  # open: no row
            won("2026-02-02", team=None),
        ]
    )
    result = win_rate(deals, **YEAR, by="team")
    expected = pd.DataFrame(
        {
            "team": pd.Series(["a", "b", None], dtype=deals["team"].dtype),
            "n": pd.array([3, 1, 1], dtype="Int64"),
            "won": pd.array([2, 0, 1], dtype="Int64"),
            "lost": pd.array([1, 1, 0], dtype="Int64"),
            "win_rate": [2 / 3, 0.0, 1.0],
            "low": [0.2076596, 0.0, 0.2065493],
            "high": [0.9385081, 0.7934507, 1.0],
        }
    )
    assert_frame_equal(result, expected, atol=1e-7)
    for row in records(result):
        low, high = proportion_confint(row["won"], row["n"], method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-12)


def test_the_companys_own_day_decides_where_it_is_reported() -> None:
    deals = small_frames.deals(
        [
            won(
                "2025-12-31 23:30", local_won_date="2026-01-01", add_time="2025-12-01"
            ),  # Berlin's new year
            won("2026-12-31 23:30", local_won_date="2027-01-01"),
            lost("2026-12-31 23:30"),  # no local date: the day in tz
            lost("2026-06-01", local_lost_date="2026-06-01"),
        ]
    )
    utc = win_rate(deals, **YEAR)
    assert (utc["won"][0], utc["lost"][0]) == (1, 2)
    berlin = win_rate(deals, **YEAR, tz="Europe/Berlin")
    assert (berlin["won"][0], berlin["lost"][0]) == (1, 1)
    assert [sales_velocity(deals.iloc[[row]], **YEAR)["won"][0] for row in (0, 1)] == [1, 0]


def test_a_time_of_day_cuts_by_the_time() -> None:
    deals = small_frames.deals(
        [
            won("2026-03-01 09:00", local_won_date="2026-03-01"),
            won("2026-03-01 15:00", local_won_date="2026-03-01"),
        ]
    )
    assert win_rate(deals, since="2026-03-01 12:00", until="2026-03-02")["n"][0] == 1


def test_status_decides_and_the_deleted_do_not_count() -> None:
    deals = small_frames.deals(
        [
            {"status": "open", "won_time": "2026-03-01"},  # won, then reopened
            lost("2026-04-01", won_time="2026-03-01"),  # won, reopened, lost
            won("2026-03-01", is_deleted=True),
            {"status": "deleted", "won_time": "2026-03-01"},
            {"status": None},
        ]
    )
    assert records(win_rate(deals, **YEAR)[["n", "won", "lost"]]) == [{"n": 1, "won": 0, "lost": 1}]


def test_a_close_after_as_of_has_not_happened() -> None:
    deals = small_frames.deals([won("2026-03-01 10:00"), lost("2026-03-01 10:00:01")])
    counts = {
        when: int(win_rate(deals, **YEAR, as_of=when)["n"][0])
        for when in ("2026-03-01 10:00", "2026-03-01", "2026-02-28")
    }
    assert counts == {"2026-03-01 10:00": 1, "2026-03-01": 2, "2026-02-28": 0}


def test_closed_deals_without_a_date_are_counted_by_a_warning() -> None:
    deals = small_frames.deals([{"status": "won"}, {"status": "lost"}, won("2026-03-01")])
    with noticed("^2 deals are closed without a date"):
        assert win_rate(deals, **YEAR)["n"][0] == 1


def test_windows_partition() -> None:
    deals = random_deals(1)
    cuts = [None, "2025-10-01", "2026-01-01 13:30", "2026-03-01", None]
    parts = [win_rate(deals, since=a, until=b, by=["team", "currency"]) for a, b in pairwise(cuts)]
    full = win_rate(deals, since=None, until=None, by=["team", "currency"])
    summed = (
        pd.concat(parts)
        .groupby(["team", "currency"], dropna=False)[["n", "won", "lost"]]
        .sum()
        .reset_index()
    )
    assert_frame_equal(summed, full[["team", "currency", "n", "won", "lost"]])
    assert (
        full["n"].sum()
        == win_rate(deals, since=None, until=None)["n"][0]
        == deals["status"].isin(["won", "lost"]).sum()
    )


def test_no_deal_is_one_row_without_by_and_none_with_it() -> None:
    nothing = small_frames.deals([])
    for basis in ("closed", "created"):
        full = win_rate(nothing, **YEAR, basis=basis, as_of="2026-12-31")
        assert len(full) == 1
        assert full["n"][0] == 0
        assert full[["win_rate", "low", "high"]].isna().all(axis=None)
        by = win_rate(nothing, **YEAR, by="owner_id", basis=basis, as_of="2026-12-31")
        assert len(by) == 0
        assert list(by.columns) == ["owner_id", *full.columns]
        assert by.dtypes.drop("owner_id").equals(full.dtypes)


# win_rate, created


def published(other: str = "lost") -> pd.DataFrame:
    """The data of Aalen-Johansen's fixture: causes 1 won, 2 another end, 0 open at day 10."""
    rows = []
    for days, cause in zip(
        (1, 5, 3, 6, 1, 3, 2, 5, 2, 3, 6), (0, 1, 1, 1, 2, 1, 0, 1, 0, 2, 2), strict=True
    ):
        end = at(10) - timedelta(days=10 - days)
        row: dict[str, Any] = {"add_time": at(10 - days) if cause == 0 else at(0)}
        if cause == 1:
            row |= {"status": "won", "won_time": end}
        elif cause == 2:
            row |= (
                {"status": "lost", "lost_time": end}
                if other == "lost"
                else {"status": "deleted", "update_time": end}
            )
        rows.append(row)
    return small_frames.deals(rows)


@pytest.mark.parametrize("other", ["lost", "deleted"])
def test_created_gives_the_published_cumulative_incidence(other: str) -> None:
    result = {
        days: win_rate(
            published(other),
            since=None,
            until=None,
            basis="created",
            as_of=at(10),
            horizon=f"{days}D",
        )
        for days in (3, 5, 6)
    }
    assert [f["win_rate"][0] for f in result.values()] == pytest.approx(
        [0.25974, 0.51948, 0.64935], abs=5e-6
    )
    counts = {"n": 11, "won": 5, "lost": 3, "deleted": 0, "open": 3}
    if other == "deleted":
        counts |= {"lost": 0, "deleted": 3}
    assert records(result[3][list(counts)]) == [counts]
    assert result[3]["horizon_days"][0] == 3
    assert result[3]["low"][0] < 0.25974 < result[3]["high"][0]


def test_created_finds_the_true_probability_where_closed_deals_mislead() -> None:
    draw = np.random.default_rng(20)
    size = 200_000
    added = START + pd.to_timedelta(draw.uniform(0, 120, size), "D").round("us")
    wins = draw.random(size) < 0.30
    ended = added + pd.to_timedelta(
        np.where(wins, draw.exponential(90, size), draw.exponential(30, size)), "D"
    ).round("us")
    deals = pd.DataFrame(
        {
            "id": np.arange(size),
            "status": np.where(wins, "won", "lost"),
            "add_time": added,
            "won_time": ended.where(wins),
            "lost_time": ended.where(~wins),
        }
    )
    closed = win_rate(deals, since=START, until=at(120), as_of=at(120))
    assert closed["win_rate"][0] == pytest.approx(0.203, abs=0.004)
    created = win_rate(
        deals, since=START, until=at(120), basis="created", as_of=at(120), horizon="60D"
    )
    assert created["win_rate"][0] == pytest.approx(0.1460, abs=0.004)
    assert created["won"][0] / size == pytest.approx(0.134, abs=0.004)


def test_default_horizon_is_the_longest_with_enough_at_risk() -> None:
    for size, least in ((40, 4), (45, 5), (300, 10)):
        deals = random_deals(size, size)
        deals = deals[deals["add_time"] <= at(100)]
        deals = pd.concat(
            [deals, random_deals(size + 1, size - len(deals) + 200).query("add_time <= @at(100)")]
        ).head(size)
        deals = deals.assign(id=np.arange(size))
        result = win_rate(deals, since=None, until=None, basis="created", as_of=at(100))
        ends = []
        for row in records(deals):
            end = (
                row["update_time"]
                if row["status"] != "open" and row["update_time"] <= at(100)
                else pd.Timestamp(at(100))
            )
            ends.append((end - row["add_time"]) / timedelta(days=1))
        assert result["n"][0] == size
        assert result["horizon_days"][0] == pytest.approx(sorted(ends)[-least], abs=1e-9)


def test_a_horizon_past_the_follow_up_is_null_and_says_the_longest() -> None:
    deals = small_frames.deals(
        [{"add_time": at(0)}, {"add_time": at(4)}, won("2026-01-03", add_time=at(0))]
    )
    with noticed(r"horizon of 11 days .* 1 of 1 groups.* 10 days"):
        result = win_rate(deals, **YEAR, basis="created", as_of=at(10), horizon="11D")
    assert result[["win_rate", "low", "high"]].isna().all(axis=None)
    assert result["open"][0] == 2
    # Nobody is left to wait for: the curve stays where it is.
    decided = small_frames.deals([won("2026-01-03"), lost("2026-01-05")])
    assert (
        win_rate(decided, **YEAR, basis="created", as_of=at(10), horizon="90D")["win_rate"][0]
        == 0.5
    )


def test_created_leaves_out_what_cannot_be_placed() -> None:
    deals = small_frames.deals(
        [
            {"add_time": None},
            {"status": "won"},
            won("2025-12-01", add_time=at(0)),
            lost("2026-02-01"),
        ]
    )
    with noticed(
        "^2 deals have no time of creation",
        "^1 deals were closed or deleted before they were created.*ids: 3",
    ):
        result = win_rate(deals, **YEAR, basis="created", as_of="2026-06-30", horizon="1D")
    assert (result["n"][0], result["lost"][0]) == (1, 1)
    assert result["win_rate"][0] == 0.0
    # Where only the day is known, and the deal was created on it, it took no time.
    same_day = small_frames.deals(
        [{"status": "won", "local_won_date": "2026-03-01", "add_time": "2026-03-01 15:00"}]
    )
    alone = win_rate(same_day, **YEAR, basis="created", as_of="2026-06-30")
    assert (alone["win_rate"][0], alone["horizon_days"][0]) == (1.0, 0.0)
    assert sales_velocity(same_day, **YEAR)["mean_days"][0] == 0.0


def test_a_win_before_the_creation_takes_no_negative_time() -> None:
    migrated = won("2020-06-01", add_time="2025-06-01", value=500.0)
    deals = small_frames.deals([migrated, won("2020-06-11", add_time="2020-06-01", value=100.0)])
    window: dict[str, Any] = {"since": "2020-01-01", "until": "2026-01-01"}
    with noticed("^1 deals were won before they were created.*mean_days. Their ids: 1"):
        result = sales_velocity(deals, **window)
    # Both are wins and opportunities; the time that is known of one is the mean: 2 x 1 x 300 / 10.
    assert (result["opportunities"][0], result["won"][0], result["mean_value"][0]) == (2, 2, 300.0)
    assert (result["mean_days"][0], result["velocity"][0]) == (10.0, 60.0)
    with noticed("before they were created"):
        nothing = sales_velocity(deals.iloc[[0]], **window)
    assert math.isnan(nothing["mean_days"][0])
    assert math.isnan(nothing["velocity"][0])


# Deleted deals


def deleted(day: str | None, **more: Any) -> dict[str, Any]:
    return {"status": "deleted", "is_deleted": True, "update_time": day, **more}


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("column", ["deleted_time", "update_time"])
def test_a_win_counts_until_its_deal_was_deleted_and_nowhere_from_then_on(
    flagged: bool, column: str
) -> None:
    """Won in March and deleted in June: a win at the end of April, no deal at the end of July."""
    removed = {
        **deleted(None, won_time="2026-03-10"),
        "update_time": "2026-03-10",
        column: pd.Timestamp("2026-06-15", tz="UTC"),
    }
    if flagged:  # as lists that keep the status tell it
        removed["status"] = "won"
    deals = small_frames.deals([removed, lost("2026-02-01"), {"add_time": "2026-01-05"}])
    counts = {
        (basis, day): tuple(
            win_rate(deals, **YEAR, basis=basis, as_of=day).loc[0, ["n", "won", "lost"]]
        )
        for basis in ("closed", "created")
        for day in ("2026-02-28", "2026-04-30", "2026-06-14", "2026-06-15", "2026-07-31")
    }
    won_then, deleted_then = {"2026-04-30", "2026-06-14"}, {"2026-06-15", "2026-07-31"}
    for (basis, day), result in counts.items():
        closed = 1 + (day in won_then)
        n = closed if basis == "closed" else 2 if day in deleted_then else 3
        assert result == (n, int(day in won_then), 1), (basis, day)
    assert tuple(win_rate(deals, **YEAR).loc[0, ["n", "won"]]) == (1, 0)
    assert tuple(win_rate(deals, **YEAR, deleted="keep").loc[0, ["n", "won"]]) == (2, 1)
    for basis in ("closed", "created"):
        assert (
            win_rate(deals, **YEAR, basis=basis, as_of="2026-07-31", deleted="keep")["won"][0] == 1
        )
    velocity = sales_velocity(deals, **YEAR)
    assert (velocity["opportunities"][0], velocity["won"][0]) == (2, 0)
    kept = sales_velocity(deals, **YEAR, deleted="keep")
    assert (kept["opportunities"][0], kept["won"][0], kept["mean_days"][0]) == (3, 1, 68.0)


def test_frames_with_and_without_deleted_deals_give_the_same() -> None:
    """A cache that saw deals before their deletion, and one that did not."""
    alive = [won("2026-03-01"), lost("2026-04-01"), {"add_time": "2026-02-01"}]
    fresh = small_frames.deals(alive)
    old = small_frames.deals(
        [
            *alive,
            deleted("2026-05-01", won_time="2026-03-03"),
            deleted("2026-05-01", lost_time="2026-03-03"),
        ]
    )
    for arguments in ({}, {"as_of": "2026-06-30"}, {"basis": "created", "as_of": "2026-06-30"}):
        assert_frame_equal(win_rate(fresh, **YEAR, **arguments), win_rate(old, **YEAR, **arguments))
    assert_frame_equal(sales_velocity(fresh, **YEAR), sales_velocity(old, **YEAR))


def test_a_deal_that_was_open_when_it_was_deleted_visits_in_its_cohort() -> None:
    deals = small_frames.deals([deleted("2026-03-01"), {}])
    for choice in ("drop", "keep"):
        result = win_rate(deals, **YEAR, basis="created", as_of="2026-06-30", deleted=choice)
        assert tuple(result.loc[0, ["n", "deleted", "open"]]) == (2, 1, 1)
    before = win_rate(deals, **YEAR, basis="created", as_of="2026-02-28")
    assert tuple(before.loc[0, ["n", "deleted", "open"]]) == (2, 0, 2)


def test_keeping_deleted_deals_that_no_frame_holds_warns() -> None:
    deals = small_frames.deals([won("2026-03-01")])
    for metric in (win_rate, sales_velocity):
        with noticed(r"deals holds no deleted deal.*account\.deals\(deleted=True\)"):
            metric(deals, **YEAR, deleted="keep")
        with pytest.raises(
            ArgumentError, match="deleted must be one of 'drop', 'keep', not 'exit'"
        ):
            metric(deals, **YEAR, deleted="exit")  # type: ignore[arg-type]
    requested = deals.assign(deleted_time=pd.Series(pd.NaT, deals.index, dtype=small_frames.TIME))
    assert win_rate(requested, **YEAR, deleted="keep")["won"][0] == 1


def test_a_deleted_deal_that_closed_twice_has_its_later_closing() -> None:
    deals = small_frames.deals(
        [
            deleted("2026-06-01", won_time="2026-03-01", lost_time="2026-04-01"),
            deleted("2026-06-01", won_time="2026-04-01", lost_time="2026-03-01"),
            deleted("2026-06-01", local_won_date="2026-04-01"),
        ]
    )
    result = win_rate(deals, **YEAR, as_of="2026-05-01")
    assert tuple(result.loc[0, ["won", "lost"]]) == (2, 1)


@pytest.mark.parametrize("seed", range(12))
def test_what_happens_after_as_of_changes_no_cell(seed: int) -> None:
    draw = np.random.default_rng(seed)
    now = pd.Timestamp(at(float(draw.uniform(-100, 200))))
    before = random_deals(seed)
    after = before.copy()
    ended = before["update_time"]
    for row in np.flatnonzero((ended > now).to_numpy()):
        status = str(draw.choice(["open", "won", "lost", "deleted"]))
        time = now + pd.Timedelta(microseconds=int(draw.integers(1, 10**13)))
        after.loc[row, "status"], after.loc[row, "is_deleted"] = status, status == "deleted"
        after.loc[row, "update_time"] = time
        after.loc[row, "won_time"] = time if status == "won" else pd.NaT
        after.loc[row, "lost_time"] = time if status == "lost" else pd.NaT
    after = after[(after["add_time"] <= now) | (draw.random(len(after)) < 0.5)]
    assert not before.equals(after)
    for basis in ("closed", "created"):
        first, second = (
            win_rate(d, since=None, until=None, by="team", basis=basis, as_of=now)
            for d in (before, after)
        )
        assert first["n"].sum() > 0
        assert_frame_equal(first, second, check_exact=True)


# sales_velocity


@pytest.mark.parametrize(
    ("opportunities", "value", "won_of", "days", "velocity"),
    [(40, 25_000, (10, 40), 90, 2_777.78), (18, 42_000, (6, 25), 78, 2_326.15)],
)
def test_published_velocities(
    opportunities: int, value: float, won_of: tuple[int, int], days: int, velocity: float
) -> None:
    wins, closed = won_of
    rows: list[dict[str, Any]] = [{"add_time": "2026-03-01"} for _ in range(opportunities)]
    rows += [
        {"status": "won", "add_time": at(-60), "won_time": at(days - 60), "value": value}
        for _ in range(wins)
    ]
    rows += [
        {"status": "lost", "add_time": at(-60), "lost_time": at(9)} for _ in range(closed - wins)
    ]
    result = sales_velocity(small_frames.deals(rows), **YEAR)
    assert list(result.columns) == [
        "opportunities",
        "won",
        "lost",
        "win_rate",
        "currency",
        "mean_value",
        "mean_days",
        "velocity",
    ]
    assert records(result.drop(columns="velocity")) == [
        {
            "opportunities": opportunities,
            "won": wins,
            "lost": closed - wins,
            "win_rate": wins / closed,
            "currency": "EUR",
            "mean_value": value,
            "mean_days": days,
        }
    ]
    assert round(result["velocity"][0], 2) == velocity


def velocity_by_hand(rows: list[dict[str, Any]], rates: dict[str, float]) -> dict[str, float]:
    since, until = pd.Timestamp(at(-100)), pd.Timestamp(at(150))
    alive = [r for r in rows if r["status"] != "deleted"]
    opened = sum(since <= r["add_time"] < until for r in alive)
    wins = [r for r in alive if r["status"] == "won" and since <= r["won_time"] < until]
    losses = sum(r["status"] == "lost" and since <= r["lost_time"] < until for r in alive)
    values = [r["value"] * rates[r["currency"]] for r in wins if r["value"] is not None]
    days = [(r["won_time"] - r["add_time"]) / timedelta(days=1) for r in wins]
    value, took, rate = (
        math.fsum(values) / len(values),
        math.fsum(days) / len(days),
        len(wins) / (len(wins) + losses),
    )
    return {
        "opportunities": opened,
        "won": len(wins),
        "lost": losses,
        "win_rate": rate,
        "mean_value": value,
        "mean_days": took,
        "velocity": opened * rate * value / took,
    }


@pytest.mark.parametrize("seed", range(5))
def test_velocity_of_every_group_is_that_of_plain_python(seed: int) -> None:
    deals, window = random_deals(seed, 800), {"since": at(-100), "until": at(150)}
    one = dict.fromkeys(("EUR", "USD", "GBP"), 1.0)
    result = sales_velocity(deals, **window, by=["team", "currency"])
    assert list(result.columns[:3]) == ["team", "currency", "opportunities"]
    assert len(result) == 9
    for row in records(result):
        rows = [
            r
            for r in records(deals)
            if (r["team"], r["currency"]) == (row["team"], row["currency"])
        ]
        assert {key: row[key] for key in row if key not in ("team", "currency")} == pytest.approx(
            velocity_by_hand(rows, one), rel=1e-12
        )
    rates = {"EUR": 1.0, "USD": 0.9, "GBP": 1.2}
    full = records(sales_velocity(deals, **window, rates=rates))[0]
    assert full.pop("currency") == "EUR"
    assert full == pytest.approx(velocity_by_hand(records(deals), rates), rel=1e-12)


def test_several_currencies_are_refused_only_where_they_would_be_added_up() -> None:
    deals = small_frames.deals(
        [
            won("2026-03-01", currency="USD", team="a"),
            won("2026-03-01", currency="EUR", team="b"),
            won("2026-03-01", currency="EUR", team="b"),
            won("2025-03-01", currency="CHF", team="b"),  # outside
            lost("2026-03-01", currency="SEK", team="a"),  # its value is not added
        ]
    )
    with pytest.raises(MixedCurrencyError, match="Amounts in EUR, USD would") as refused:
        sales_velocity(deals, **YEAR)
    assert "SEK" not in str(refused.value)
    assert list(sales_velocity(deals, **YEAR, by="team")["currency"]) == ["USD", "EUR"]
    assert list(sales_velocity(deals, **YEAR, by="currency")["currency"]) == [
        "CHF",
        "EUR",
        "SEK",
        "USD",
    ]


def test_a_missing_currency_is_one_of_several() -> None:
    deals = small_frames.deals([won("2026-03-01", currency=None), won("2026-03-01")])
    with pytest.raises(MixedCurrencyError, match="EUR, none"):
        sales_velocity(deals, **YEAR)
    with noticed("^1 deals won in the window have a value and no currency"):
        assert sales_velocity(deals, **YEAR, rates={"EUR": 1})["mean_value"][0] == 100.0


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_rates_by_day_are_those_of_the_day_of_the_win() -> None:
    deals = small_frames.deals(
        [
            won("2026-03-01 23:30", currency="USD", local_won_date="2026-03-02"),
            won("2026-03-01 22:00", currency="USD"),
            won("2026-06-01", currency="EUR", value=None),
        ]
    )
    rates = pd.DataFrame(
        {
            "currency": ["USD", "USD", "EUR"],
            "date": ["2026-01-01", "2026-03-02", "2026-01-01"],
            "rate": [0.5, 1.0, 1.0],
        }
    )
    result = sales_velocity(deals, **YEAR, rates=rates)
    assert result["mean_value"][0] == 75.0
    assert result["currency"][0] == "EUR"


def test_velocity_is_null_where_a_part_cannot_be_known() -> None:
    deals = small_frames.deals(
        [
            {"team": "open"},
            lost("2026-03-01", team="lost"),
            won("2026-03-01", value=None, team="no value"),
            won("2026-01-01", team="same instant"),
        ]
    )
    result = sales_velocity(deals, **YEAR, by="team")
    assert list(result["team"]) == ["lost", "no value", "open", "same instant"]
    assert result["velocity"].isna().all()
    assert [None if pd.isna(v) else v for v in result["win_rate"]] == [0.0, 1.0, None, 1.0]
    assert [None if pd.isna(v) else v for v in result["mean_value"]] == [None, None, None, 100.0]
    assert [None if pd.isna(v) else v for v in result["currency"]] == [None, None, None, "EUR"]
    assert result["mean_days"].fillna(-1).tolist() == [-1, 59, -1, 0]


# what is given wrongly


def test_inputs_remain_as_they_are_and_any_index_will_do() -> None:
    deals = random_deals(3)
    deals.index = pd.Index([7] * len(deals))
    kept = deals.copy(deep=True)
    first = win_rate(deals, **YEAR, by="team", basis="created", as_of="2026-12-31")
    second = sales_velocity(deals, **YEAR, by="currency")
    assert_frame_equal(deals, kept)
    assert_frame_equal(
        first,
        win_rate(
            deals.reset_index(drop=True), **YEAR, by="team", basis="created", as_of="2026-12-31"
        ),
    )
    assert_frame_equal(second, sales_velocity(deals.reset_index(drop=True), **YEAR, by="currency"))


def test_columns_of_other_dtypes_give_the_same() -> None:
    deals = random_deals(4)
    loose = deals.astype(
        dict.fromkeys(
            ("status", "add_time", "won_time", "lost_time", "update_time", "value", "currency"),
            object,
        )
    )
    nulls = deals.assign(local_won_date=None, local_lost_date=np.nan)
    for other in (loose, nulls):
        assert_frame_equal(
            win_rate(other, **YEAR, by="team", basis="created", as_of="2026-12-31"),
            win_rate(deals, **YEAR, by="team", basis="created", as_of="2026-12-31"),
        )
        assert_frame_equal(
            sales_velocity(other, **YEAR, by="team", rates={"EUR": 1, "USD": 2, "GBP": 3}),
            sales_velocity(deals, **YEAR, by="team", rates={"EUR": 1, "USD": 2, "GBP": 3}),
        )


@pytest.mark.parametrize(
    "column", ["id", "status", "add_time", "won_time", "lost_time", "value", "currency"]
)
def test_a_missing_column_is_named(column: str) -> None:
    deals = random_deals(5).drop(columns=column)
    with pytest.raises(ArgumentError, match=f"deals has no column '{column}'"):
        sales_velocity(deals, **YEAR)
    if column not in ("value", "currency"):
        with pytest.raises(ArgumentError, match=f"deals has no column '{column}'"):
            win_rate(deals, **YEAR)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"basis": "won"}, "'closed' or 'created'"),
        ({"horizon": "90D"}, "belongs to basis='created'"),
        ({"basis": "created"}, "needs `as_of`"),
        ({"basis": "created", "as_of": "2026-06-30", "horizon": "soon"}, "horizon"),
        ({"since": "2027-01-01"}, "since"),
        ({"until": "never"}, "until"),
        ({"by": "region"}, "no column 'region'"),
        ({"by": ["owner_id", "owner_id"]}, "twice"),
        ({"by": "won"}, "won"),
        ({"tz": "Mars/Olympus"}, "Mars/Olympus"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    deals = random_deals(5).assign(won=1)
    with pytest.raises(ArgumentError, match=message):
        win_rate(deals, **{**YEAR, **arguments})


def test_wrong_columns_and_rates_are_named() -> None:
    deals = random_deals(5)
    for column, value in (("value", "much"), ("won_time", "soon"), ("add_time", 7)):
        with pytest.raises(ArgumentError, match=column):
            sales_velocity(
                deals.assign(
                    **{
                        column: pd.Series(
                            [value] * len(deals), dtype=object if column != "add_time" else None
                        )
                    }
                ),
                **YEAR,
            )
    with pytest.raises(ArgumentError, match="no rate of GBP, USD"):
        sales_velocity(deals, **YEAR, rates={"EUR": 1})
    with pytest.raises(ArgumentError, match="give one of the two"):
        sales_velocity(deals, **YEAR, by="currency", rates={"EUR": 1})
    with pytest.raises(ArgumentError, match="DataFrame"):
        win_rate([1, 2], **YEAR)  # type: ignore[arg-type]


# Periods


def first_day(time: Any, freq: str, zone: str, fiscal_start: int = 1) -> str:
    """The first day of the period of a time, by the calendar of a zone."""
    day = time.astimezone(ZoneInfo(zone)).date()
    if freq == "W":
        return str(day - timedelta(days=day.weekday()))
    length = {"M": 1, "Q": 3, "Y": 12}[freq]
    months = day.year * 12 + day.month - 1
    months -= (months - (fiscal_start - 1 if length > 1 else 0)) % length
    return f"{months // 12:04}-{months % 12 + 1:02}-01"


@pytest.mark.parametrize("freq", ["W", "M", "Q", "Y"])
@pytest.mark.parametrize("seed", range(2))
def test_win_rate_and_velocity_of_each_period_against_plain_python(freq: str, seed: int) -> None:
    zone, deals = "America/New_York", random_deals(seed)
    window: dict[str, Any] = {"since": "2026-01-14", "until": "2026-11-20", "tz": zone}
    begin, end = (
        datetime.fromisoformat(window[name]).replace(tzinfo=ZoneInfo(zone))
        for name in ("since", "until")
    )
    rates = win_rate(deals, **window, freq=freq, fiscal_start=2, by="team")
    speeds = sales_velocity(deals, **window, freq=freq, fiscal_start=2, by=["team", "currency"])
    counts: dict[Any, list[float]] = {}
    for row in records(deals):
        closed = row["won_time"] or row["lost_time"]
        if row["status"] in ("won", "lost") and begin <= closed < end:
            period = first_day(closed, freq, zone, 2)
            cell = counts.setdefault((row["team"], period), [0, 0])
            cell[row["status"] == "lost"] += 1
            cell = counts.setdefault((row["team"], row["currency"], period), [0, 0, 0])
            cell[1 + (row["status"] == "lost")] += 1
        if row["status"] != "deleted" and begin <= row["add_time"] < end:
            period = first_day(row["add_time"], freq, zone, 2)
            counts.setdefault((row["team"], row["currency"], period), [0, 0, 0])[0] += 1
    for frame, keys, columns in (
        (rates, ["team"], ["won", "lost"]),
        (speeds, ["team", "currency"], ["opportunities", "won", "lost"]),
    ):
        assert list(frame.columns[: len(keys) + 1]) == [*keys, "period"]
        assert frame.attrs["keys"] == [*keys, "period"]
        ours = {
            (
                *(None if pd.isna(row[key]) else row[key] for key in keys),
                str(row["period"].date()),
            ): [row[name] for name in columns]
            for row in frame.to_dict("records")
        }
        expected = {key: cell for key, cell in counts.items() if len(key) == len(keys) + 1}
        assert {key: cell for key, cell in ours.items() if sum(cell)} == expected
        # Every group has every period of the window, one after the other.
        first, last = (
            first_day(time, freq, zone, 2) for time in (begin, end - timedelta(seconds=1))
        )
        for _, part in frame.groupby(keys, dropna=False):
            days = part["period"].dt.strftime("%Y-%m-%d").tolist()
            assert days == sorted(set(days))
            assert (days[0], days[-1]) == (first, last)
    # The periods of a group, added up, are the group without them.
    together = win_rate(deals, **window, by="team").set_index("team")
    parts = rates.groupby("team", dropna=False)[["n", "won", "lost"]].sum()
    assert parts.reset_index(drop=True).equals(
        together[["n", "won", "lost"]].reset_index(drop=True)
    )


def test_a_period_is_computed_as_a_window_of_its_own() -> None:
    deals = random_deals(3)
    by_month = win_rate(
        deals, since="2026-02-01", until="2026-05-01", freq="M", basis="created", as_of="2026-12-31"
    )
    speed = sales_velocity(
        deals,
        since="2026-02-01",
        until="2026-05-01",
        freq="M",
        rates={"EUR": 1, "USD": 2, "GBP": 3},
    )
    for place, (since, until) in enumerate(pairwise(["2026-02-01", "2026-03-01", "2026-04-01"])):
        alone: dict[str, Any] = {"since": since, "until": until}
        one = win_rate(deals, **alone, basis="created", as_of="2026-12-31")
        assert_frame_equal(
            by_month.drop(columns="period").iloc[[place]].reset_index(drop=True), one
        )
        one = sales_velocity(deals, **alone, rates={"EUR": 1, "USD": 2, "GBP": 3})
        assert_frame_equal(speed.drop(columns="period").iloc[[place]].reset_index(drop=True), one)


def test_without_bounds_periods_are_from_the_first_event_to_the_last() -> None:
    deals = small_frames.deals(
        [won("2026-02-03"), lost("2026-05-05"), {"add_time": "2020-01-01"}, won("2026-02-28")]
    )
    result = win_rate(deals, since=None, until=None, freq="M")
    assert result["period"].dt.strftime("%Y-%m").tolist() == [
        "2026-02",
        "2026-03",
        "2026-04",
        "2026-05",
    ]
    assert result["n"].tolist() == [2, 0, 0, 1]
    assert result["win_rate"].isna().tolist() == [False, True, True, False]
    none = win_rate(deals.iloc[:0], since=None, until=None, freq="M")
    assert (len(none), none["period"].dtype) == (0, "datetime64[us]")
    two = win_rate(deals.iloc[:0], since="2026-01-01", until="2026-03-01", freq="M")
    assert two["n"].tolist() == [0, 0]


def test_by_owner_is_by_the_name_of_the_owner() -> None:
    deals = small_frames.deals(
        [won("2026-02-03"), lost("2026-02-05"), won("2026-02-06", owner_id=2)]
    ).assign(owner_name=["Ann", "Ann", "Bo"])
    result = win_rate(deals, **YEAR, by="owner", freq="Q")
    assert list(result.columns[:2]) == ["owner_name", "period"]
    assert result.loc[result["n"] > 0, "win_rate"].tolist() == [0.5, 1.0]
    with pytest.raises(ArgumentError, match=r"no column 'owner'. account.deals\(\) adds the names"):
        win_rate(deals.drop(columns="owner_name"), **YEAR, by="owner")


def test_a_wrong_frequency_is_refused() -> None:
    deals = small_frames.deals([won("2026-02-03", period="a")])
    with pytest.raises(ArgumentError, match=r"freq must be one of 'W', 'M', 'Q', 'Y', not 'D'"):
        win_rate(deals, **YEAR, freq="D")
    with pytest.raises(ArgumentError, match="fiscal_start=13 must be a month"):
        sales_velocity(deals, **YEAR, freq="Q", fiscal_start=13)
    with pytest.raises(
        ArgumentError, match=r"The window has 52,1\d\d periods; the limit is 12,000"
    ):
        win_rate(deals, since="1000-01-01", until="2000-01-01", freq="W")
    with pytest.raises(ArgumentError, match="the result has a column 'period' of its own"):
        win_rate(deals, **YEAR, freq="Q", by="period")
    # Without periods the name is free.
    assert win_rate(deals, **YEAR, by="period")["period"].tolist() == ["a"]
