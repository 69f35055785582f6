"""What wins lack of what was expected: a trend and a season that are there, none that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._interface import DAY, OPEN, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting.departures import Departures, Times
from pdframe.metrics.forecasting.landmarks import Landmarks

NOW = 12 * 56 + 5
"""June 2026."""
PAST = np.arange(NOW - 35, NOW + 1)


def learned(actual: Any, expected: float = 100.0) -> Departures:
    """Learn from the months up to `NOW`."""
    return Departures.of(np.asarray(actual, float), np.full(len(actual), expected), NOW)


def test_what_comes_as_expected_departs_in_nothing() -> None:
    result = learned(np.full(36, 100.0))
    assert result.level == pytest.approx(1)
    assert result.season == pytest.approx(np.ones(12))


def test_the_season_of_quarters_is_seen_within_a_year() -> None:
    # 40, 40 and 220 of 100 expected wins in the months of each quarter.
    month = PAST[-15:]
    result = learned(np.where(month % 3 == 2, 220.0, 40.0))
    assert result.season == pytest.approx(np.tile([0.4, 0.4, 2.2], 4), rel=0.08)


def test_a_month_of_the_year_is_seen_after_two() -> None:
    december = PAST % 12 == 11
    three_years = learned(np.where(december, 200.0, 100.0)).season
    assert three_years[11] / three_years[10] == pytest.approx(2, rel=0.15)
    assert three_years[2] == pytest.approx(three_years[5], rel=0.1)
    short = PAST[-23:]
    less = learned(np.where(short % 12 == 11, 200.0, 100.0)).season
    assert less[11] == less[2]


@pytest.mark.parametrize("now", [0.5, 2.0])
def test_the_level_is_that_of_the_last_months(now: float) -> None:
    actual = np.where(np.arange(36) < 28, 100.0, 100.0 * now)
    assert learned(actual).level == pytest.approx(now, rel=0.1)
    # A steady decline to a half in two years.
    slow = 100 * 0.5 ** (np.clip(np.arange(36) - 11, 0, None) / 24)
    assert learned(slow).level == pytest.approx(0.5, rel=0.1)


def test_chance_is_no_departure() -> None:
    random = np.random.default_rng(3)
    results = [learned(random.poisson(6, 36), 6.0) for _ in range(40)]
    logs = np.log([result.level for result in results])
    # The last six months alone would be off by .17.
    assert np.sqrt((logs**2).mean()) < 0.12
    seasons = np.log([result.season for result in results])
    assert np.sqrt((seasons**2).mean()) < 0.1


def test_months_that_vary_together_are_taken_for_chance() -> None:
    # A factor of its own in each month, of .8: the last months say little.
    random = np.random.default_rng(6)
    results = [learned(20 * np.exp(random.normal(0, 0.8, 36)), 20.0) for _ in range(40)]
    last = [float(np.log(result.level)) for result in results]
    assert np.std(last) < 0.45


@pytest.mark.parametrize("months", [0, 5, 11])
def test_a_young_account_has_none(months: int) -> None:
    result = learned(np.full(months, 300.0))
    assert result.level == 1
    assert result.season.tolist() == [1] * 12
    assert learned(np.zeros(36)).level == 1


def open_deals(at: np.ndarray) -> OpenDeals:
    none, nothing = np.full(len(at), NO_ID), np.zeros(len(at), np.int64)
    return OpenDeals(
        np.arange(len(at)), at, none, none, at, at, np.full(len(at), 1.0),
        np.full(len(at), "EUR", object), none, none, nothing,
    )  # fmt: skip


def test_forecasts_of_deals_follow_the_season() -> None:
    # Open on the first of each month for three years, won within 28 days with .1, and with .4 in
    # the last month of a quarter; a forecast knows the mean of both, .2.
    begin = PAST.view("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    at = np.repeat(begin, 500)
    chance = np.where(np.repeat(PAST % 3 == 2, 500), 0.4, 0.1)
    won = np.random.default_rng(2).random(len(at)) < chance
    as_of = int(begin[-1]) + 29 * DAY
    sample = Landmarks(
        open_deals(at), np.where(won, WON, OPEN), np.where(won, 20, 28) * DAY,
        np.minimum(as_of - at, 28 * DAY), 28 * DAY,
    )  # fmt: skip
    ends = sample.ends
    flat = np.full((len(at), len(ends)), [0.0, 0.2])
    times = Times.of(Probabilities(flat, flat * 0), sample, as_of, "UTC")
    # From the end of June: July, August, September, and beyond.
    coming = open_deals(np.full(1, begin[-1] + 30 * DAY))
    factors = times.factors(coming, np.array([31, 62, 92, 184, 214]) * DAY)[:, 0]
    mean = (31 * 0.5 + 30 * 0.5 + 31 * 2) / 92
    assert factors == pytest.approx(np.array([0.5, 0.5, 2, mean, 0.5]), rel=0.15)


def test_a_win_counts_in_the_month_in_which_it_was() -> None:
    # Observed on the 20th of each month, and won within 28 days with .2, always on the 30th.
    begin = PAST.view("datetime64[M]").astype("datetime64[us]").astype(np.int64) + 19 * DAY
    at = np.repeat(begin[PAST % 3 == 2], 500)
    won = np.random.default_rng(2).random(len(at)) < 0.2
    sample = Landmarks(
        open_deals(at), np.where(won, WON, OPEN), np.where(won, 10, 28) * DAY,
        np.full(len(at), 28 * DAY), 28 * DAY,
    )  # fmt: skip
    flat = np.full((len(at), len(sample.ends)), [0.1, 0.2])
    as_of = int(begin[-1]) + 5 * DAY
    season = Times.of(Probabilities(flat, flat * 0), sample, as_of, "UTC").departures.season
    # Eleven or twelve of the 28 days lie in the last month of a quarter, and all of the wins.
    assert season[2] > 1.5
    assert season[0] < 0.4


@pytest.mark.parametrize(("zone", "factor"), [("America/New_York", 2.0), ("UTC", 1.0)])
def test_the_last_hour_of_a_month_is_that_of_the_company(zone: str, factor: float) -> None:
    season = np.ones(12)
    season[8] = 2.0
    times = Times(Departures(1.0, season), zone)
    # 30 September, 23:30 to 23:50 in New York.
    at = np.datetime64("2025-10-01T03:30", "us").astype(np.int64)
    result = times.factors(open_deals(np.array([at])), np.array([20 * 60_000_000]))
    assert result == pytest.approx(np.array([[factor]]))
