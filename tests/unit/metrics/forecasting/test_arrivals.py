"""New deals: how many, and what they bring, against figures by hand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics.forecasting._interface import DAY, LOST, OPEN, Outcomes
from pdframe.metrics.forecasting.arrivals import new_deals, new_wins
from pdframe.metrics.forecasting.money import Money
from tests.helpers.forecast_totals import BEGIN, UNITS, months

AS_OF = BEGIN - 1
NONE = np.zeros(0, np.int64)


def times(*days: float) -> Any:
    """Times this long before July 2026, in days."""
    return BEGIN - (np.asarray(days) * DAY).astype(np.int64)


def monthly(rate: Any, first: str = "2023-07-01") -> Any:
    """Deals created evenly: `rate(month number, calendar month)` in each month up to June 2026."""
    edges = pd.date_range(first, "2026-07-01", freq="MS")
    result = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        count = int(rate(number, start.month))
        step = (np.arange(count) + 0.5) / max(count, 1)
        begin = start.value // 1_000
        result.append(begin + (step * (end.value // 1_000 - begin)).astype(np.int64))
    return np.concatenate(result)


def expected(added: Any, count: int = 3) -> Any:
    pool = np.zeros(len(added), np.int64)
    return new_deals(added, pool, 1, AS_OF, months(count)).expected[0]


@pytest.mark.parametrize("per_month", [1, 8, 200])
def test_a_steady_stream_goes_on(per_month: int) -> None:
    rate = new_deals(
        monthly(lambda n, m: per_month), np.zeros(36 * per_month, np.int64), 1, AS_OF, months(3)
    )
    assert rate.expected[0] == pytest.approx(per_month, rel=0.06)
    assert rate.spread == 0


def test_growth_goes_on_and_fades() -> None:
    ahead = expected(monthly(lambda n, m: 20 * 1.03**n), 12)
    last = 20 * 1.03**35
    assert last < ahead[0] < last * 1.03**1.5
    assert ahead[2] > ahead[0]
    assert ahead[11] < last * 1.03**12 * 0.85
    assert (expected(monthly(lambda n, m: 60 * 0.97**n))[:2] < 60 * 0.97**34).all()


def test_a_season_is_seen_from_two_years_on() -> None:
    quiet = monthly(lambda n, m: 30 if m == 8 else 100)
    first = expected(quiet)
    assert first[1] < 45
    assert first[0] == pytest.approx(100, rel=0.12)
    short = monthly(lambda n, m: 30 if m == 8 else 100, "2025-07-01")
    assert expected(short)[1] > 80


def test_months_are_those_of_the_company() -> None:
    # Ten a month, and a hundred half an hour before September in New York: by UTC they are of it.
    late = [f"{year}-09-01 03:30" for year in (2023, 2024, 2025)]
    added = [*monthly(lambda n, m: 10), *np.repeat(pd.DatetimeIndex(late).as_unit("us").asi8, 100)]
    at = np.sort(np.array(added, np.int64))
    pool = np.zeros(len(at), np.int64)
    for tz, month, other in (("America/New_York", 1, 2), ("UTC", 2, 1)):
        ahead = new_deals(at, pool, 1, AS_OF, months(3), tz).expected.sum(axis=0)
        assert ahead[month] > 1.4 * ahead[other]


def test_chance_is_no_season_and_no_growth() -> None:
    random = np.random.default_rng(4)
    counts = random.poisson(9, 36)
    ahead = expected(monthly(lambda n, m: counts[n]), 12)
    assert np.abs(ahead - 9).max() < 2.5


def test_counts_beyond_chance_spread_the_draws() -> None:
    random = np.random.default_rng(5)
    counts = random.poisson(60 * random.gamma(4, 1 / 4, 36))
    added = monthly(lambda n, m: counts[n])
    rate = new_deals(added, np.zeros(len(added), np.int64), 1, AS_OF, months(1))
    assert 0.1 < rate.spread < 0.4


def test_no_deal_ever() -> None:
    assert expected(NONE).tolist() == pytest.approx([0, 0, 0], abs=0.5)


class Past:
    """What was known of deals: days before July at which each was added, and won or lost."""

    def __init__(self, deals: list[tuple[float, str, float, float]]) -> None:
        added, status, ended, value = (np.array(part) for part in zip(*deals, strict=True))
        ids = np.arange(len(deals)) + 1
        self.as_of, self.tz = AS_OF, "UTC"
        self._end = np.where(status == "open", AS_OF, times(*ended.astype(float)))
        self._lost, self._open = status == "lost", ids[status == "open"]
        pipeline = np.ones(len(ids), np.int64)
        self.created = SimpleNamespace(
            deal=ids, added=times(*added.astype(float)), pipeline=pipeline
        )
        won = status == "won"
        self.wins = SimpleNamespace(
            deal=ids[won],
            time=self._end[won],
            value=value[won].astype(float),
            currency=np.array(["EUR"] * int(won.sum()), object),
        )

    def open_at(self, at: Any) -> Any:
        return SimpleNamespace(deal=self._open)

    def outcomes(self, deals: Any) -> Outcomes:
        row = deals.deal - 1
        return Outcomes(np.where(self._lost[row], LOST, OPEN), self._end[row])


def wins_of(deals: list[tuple[float, str, float, float]], count: int = 3) -> Any:
    money = Money(None, pd.Timestamp("2026-06-30"))
    return new_wins(Past(deals), months(count), money, UNITS)  # type: ignore[arg-type]


def test_age_value_and_share_by_hand() -> None:
    """One of four is won after 10 days for 70, one lost after 20, one won after 40 for 900, and one
    is open since 30 days, which says nothing of 40.

    P(won at 10 d) = 1/4. At 20 d one of three is lost: 1/2 are left. At 40 d one of one at risk
    wins: 1/2.
    """
    deals = [
        (100.0, "won", 90.0, 70.0),
        (90.0, "lost", 70.0, 5.0),
        (80.0, "won", 40.0, 900.0),
        (30.0, "open", 0.0, 3.0),
    ]
    new = wins_of(deals)
    assert new.value.tolist() == [70 * UNITS, 900 * UNITS]
    created, by_cell = new.created, new.by_cell
    july, august, september = 31, 31, 30
    assert by_cell[0] == pytest.approx(
        [
            created[0] * 0.25 * (july - 10) / july,
            0.25 * (created[0] * 10 / july + created[1] * (august - 10) / august),
            0.25 * (created[1] * 10 / august + created[2] * (september - 10) / september),
        ]
    )
    assert by_cell[1] == pytest.approx(
        [
            0,
            0.5 * created[0] * (july + august - 40) / july,
            0.5 * (created[0] * (40 - 31) / july + created[1] * (61 - 40) / august),
        ]
    )
    assert new.chances()[0, -1] == pytest.approx(0.75)


def test_an_import_is_no_stream_of_new_deals() -> None:
    steady = [(float(day), "lost", float(day) - 0.5, 1.0) for day in range(1, 700, 10)]
    steady += [(float(day), "won", float(day) - 0.5, 10.0) for day in range(2, 700, 50)]
    imported = [(50.0, "lost", 20.0, 1.0)] * 400
    without, beside = wins_of(steady), wins_of(steady + imported)
    assert beside.created.tolist() == without.created.tolist()
    assert beside.by_cell.sum() == pytest.approx(without.by_cell.sum())


def test_new_deals_are_won_as_often_as_lately() -> None:
    # Two a day; half of them were won, and a fifth of those of the last eight months.
    deals = []
    for number in range(1_400):
        day = number / 2 + 0.25
        won = number % 10 < (2 if day < 245 else 5)
        deals.append((day, "won" if won else "lost", max(day - 3, 0.1), 10.0))
    new = wins_of(deals)
    assert (new.by_cell.sum() / new.created.sum()) == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize(("before", "lately"), [(45, 5), (60, 12), (12, 60)])
def test_a_cycle_of_another_pace_brings_no_more_wins(before: int, lately: int) -> None:
    # Two a day, of which nine in ten are won; those of the last eight months sooner, or later.
    deals = []
    for number in range(1_400):
        day = number / 2 + 0.25
        pace = lately if day < 245 else before
        ended = "lost" if number % 10 == 9 else "won"
        deals.append((day, ended, day - pace, 10.0) if day > pace else (day, "open", 0.0, 10.0))
    new = wins_of(deals)
    by_arrival = np.bincount(new.arrival, new.expected.sum(axis=0))
    assert (by_arrival <= new.created * (1 + 1e-9)).all()
    # Those that are created in the first of the three months.
    assert 0.45 < by_arrival[0] / new.created[0] < 0.95


def test_new_deals_are_won_in_the_month_of_the_quarter_in_which_others_were() -> None:
    # One each day, won on the 25th of the last month of its quarter.
    end = pd.Timestamp("2026-07-01")
    deals = []
    for number in range(700):
        added = end - pd.Timedelta(days=number + 0.5)
        won = added.to_period("Q").asfreq("M", "end").start_time + pd.Timedelta(days=24.5)
        won = max(won, added + pd.Timedelta(hours=1))
        deals.append((number + 0.5, "won", (end - won) / pd.Timedelta(days=1), 10.0))
    july, august, september = wins_of(deals).by_cell.sum(axis=0)
    assert september > 4 * max(july, august)


def test_a_win_entered_late_counts_at_its_creation() -> None:
    deals = [(float(day), "won", float(day) + 3, 10.0) for day in range(5, 600, 20)]
    new = wins_of(deals)
    assert new.by_cell.sum(axis=0) == pytest.approx(new.created)
