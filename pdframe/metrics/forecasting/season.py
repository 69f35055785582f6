"""The baseline of totals that knows no deal: the level of the last year times the season."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pdframe.metrics._arguments import local_days
from pdframe.metrics._columns import midnights
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting.cells import Cells
from pdframe.metrics.forecasting.money import Money

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

YEAR = 12
"""Months."""
SEASON_WEIGHT = 2.0
"""How many years of no season at all a month's season is shrunk with."""
FEWEST = 6
"""Months that must have been forecast before their errors say how wide the range is."""

_MONTHS = Frequency("M")


class SeasonTotals(NamedTuple):
    """Expected revenue of each month, and draws of it (months x draws), in currency units."""

    mean: Floats
    draws: Floats


def season_totals(
    known: Known, cells: Cells, money: Money, seed: int, draws: int
) -> SeasonTotals | None:
    """Forecast months by level and season of won revenue; None where the past is too short.

    The level is the mean of the last twelve complete months, each divided by its season. The season
    of a month of the year is known after two years; it is shrunk to none. The errors
    that the same forecast made in the past, as ratios, give the range, and correct the level where
    the account grows.
    """
    months, revenue = _past(known, cells, money)
    if len(months) < FEWEST + YEAR // 2:
        return None
    index = _season(months, revenue)
    plain = revenue / index[months % YEAR]
    total = np.append(0.0, np.cumsum(plain))
    place = np.arange(1, len(months) + 1)
    level = (total[place] - total[np.maximum(place - YEAR, 0)]) / np.minimum(place, YEAR)
    forecast = level[YEAR // 2 - 1 : -1]
    actual = plain[YEAR // 2 :]
    ratios = actual[forecast > 0] / forecast[forecast > 0]
    if len(ratios) < FEWEST:
        return None
    coming = _MONTHS.numbers(cells.day)
    begin, end = (midnights(_MONTHS.first_days(coming + step) * DAY, known.tz) for step in (0, 1))
    left = np.clip((end - np.maximum(begin, cells.begin)) / (end - begin), 0.0, 1.0)
    plain_mean = level[-1] * index[coming % YEAR] * left
    key = np.array([seed % 2**64, known.as_of % 2**64], np.uint64)
    random = np.random.Generator(np.random.Philox(key=key))
    drawn = plain_mean[:, None] * ratios[random.integers(0, len(ratios), (len(cells), draws))]
    already = np.zeros(len(cells))
    already[0] = _won(known, money, int(cells.day[0]))
    return SeasonTotals(plain_mean * ratios.mean() + already, drawn + already[:, None])


def _past(known: Known, cells: Cells, money: Money) -> tuple[Ints, Floats]:
    """Return the complete months before the first cell, and the revenue won in each."""
    wins = known.wins
    value, _ = money.counted(wins.value, wins.currency)
    month = _MONTHS.numbers(wins.day)
    added = known.created.added
    current = int(_MONTHS.numbers(cells.day[:1])[0])
    if not len(added):
        return np.zeros(0, np.int64), np.zeros(0)
    # The month of the first deal is no complete one.
    begin = local_days(np.array([added.min()]), known.tz) // DAY
    first = int(_MONTHS.numbers(begin)[0]) + 1
    months = np.arange(first, current)
    inside = (month >= first) & (month < current)
    total = np.bincount(month[inside] - first, value[inside], len(months))
    return months.astype(np.int64), total.astype(np.float64)


def _season(months: Ints, revenue: Floats) -> Floats:
    """Return the factor of each month of the year, from complete years before the end."""
    years = len(months) // YEAR
    if years < 2:
        return np.ones(YEAR)
    blocks = revenue[-years * YEAR :].reshape(years, YEAR)
    level = blocks.mean(axis=1, keepdims=True)
    share = np.where(level > 0, blocks / np.where(level > 0, level, 1.0), 1.0)
    shrunk = (share.sum(axis=0) + SEASON_WEIGHT) / (years + SEASON_WEIGHT)
    result = np.ones(YEAR)
    result[months[-YEAR:] % YEAR] = shrunk / shrunk.mean()
    return result


def _won(known: Known, money: Money, first_day: int) -> float:
    """Return what is won since a day."""
    wins = known.wins
    inside = wins.day >= first_day
    value, _ = money.counted(wins.value[inside], wins.currency[inside])
    return float(value.sum())


__all__ = ["SeasonTotals", "season_totals"]
