"""How the wins of past months departed from what was expected of them: a trend, and a season.

A model that is fitted on all of the past expects as many wins as there were, on the average of that
past. Where deals are won less and less often, it expects too many today; where they are won in the
last month of a quarter, it expects too many in the others. Both are learned as far as they are more
than chance, and no further: a steady account has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pdframe.metrics._arguments import local_days
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting.cells import month_edges, overlap
from pdframe.metrics.forecasting.landmarks import Landmarks

_NUMBERS = Frequency("M")
MONTHS = 36
"""Past months that are compared."""
_YEAR = 12
_YEARS_OF_MONTHS = 2
"""Years from which on months of the year differ; before, only those of a quarter do."""
_FIRST_SPREADS = np.array([0.2, 0.08, 0.2, 0.2])
_LEAST_SPREADS = np.array([0.01, 0.003, 0.01, 0.01])
"""Standard deviations of effects on the logarithm: where their estimates begin, and the smallest
ones. Of the mean, of the step from a month to the next, of a month of the quarter, of the year.
"""
_MOST = 1.5
"""Largest logarithm of the level, and of a season."""
_ROUNDS = 25
_LEAST_EXPECTED = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Departures:
    """Factors on the number of wins: at the end of the past, and of each month of the year."""

    level: float
    season: Floats

    @classmethod
    def none(cls) -> Departures:
        """Return those of an account that is as it was expected to be."""
        return cls(1.0, np.ones(_YEAR))

    @classmethod
    def of(cls, actual: Floats, expected: Floats, now: int) -> Departures:
        """Learn from months.

        Parameters
        ----------
        actual, expected
            Independent wins of each month up to that of `now`.
        now
            Months since 1970.
        """
        month = now - np.arange(len(actual))[::-1]
        kept = expected > _LEAST_EXPECTED
        actual, expected, month = actual[kept], expected[kept], month[kept]
        if len(month) < _YEAR or not actual.any():
            return cls.none()
        # The mean, the step of each month from the one before, the months of a quarter and of the
        # year.
        season = _season(np.arange(_YEAR), len(month))
        steps = (np.arange(len(month)) >= np.arange(1, len(month))[:, None]).astype(np.float64)
        steps -= (steps * expected).sum(axis=1, keepdims=True) / expected.sum()
        table = np.vstack((np.ones(len(month)), steps, season[:, month % _YEAR]))
        kind = np.repeat([0, 1, 2, 3], [1, len(steps), 3, len(season) - 3])
        effects = _fitted(table, kind, actual, expected)
        level = float((effects[: len(month)] * table[: len(month), -1]).sum())
        logarithm = np.einsum("a,am->m", effects[len(month) :], season)
        return cls(
            float(np.exp(np.clip(level, -_MOST, _MOST))),
            np.exp(np.clip(logarithm, -_MOST, _MOST)),
        )

    def between(self, times: Ints, tz: str) -> Floats:
        """Return the mean factor from each time to the next, along the last axis (microseconds,
        ascending).
        """
        first, last = month_of(int(times.min()), tz), month_of(int(times.max()), tz)
        edges = month_edges(int(times.min()), tz, 0, last - first + 1)
        passed = np.diff(edges) * self.season[np.arange(first, last + 1) % _YEAR]
        total = np.interp(times - edges[0], edges - edges[0], np.append(0.0, np.cumsum(passed)))
        lasted = np.maximum(np.diff(times, axis=-1), 1)
        result: Floats = self.level * np.diff(total, axis=-1) / lasted
        return result


def _season(month: Ints, months: int) -> Floats:
    """Return which season effects (rows) each month of the year has."""
    rows = [(month % 3 == phase).astype(np.float64) for phase in range(3)]
    if months >= _YEAR * _YEARS_OF_MONTHS:
        rows += [(month == each).astype(np.float64) for each in range(_YEAR)]
    return np.array(rows)


def _fitted(table: Floats, kind: Ints, actual: Floats, expected: Floats) -> Floats:
    """Return the effects of a Poisson regression on the logarithm of actual / expected.

    The effects of a kind are expected to be as large as they prove to be beyond chance (empirical
    Bayes), and chance is as large as the months vary beyond Poisson's.
    """
    effects, dispersion = np.zeros(len(table)), 1.0
    of_kind = np.bincount(kind)
    variance, least = (each[: len(of_kind)] ** 2 for each in (_FIRST_SPREADS, _LEAST_SPREADS))
    for _ in range(_ROUNDS):
        linear = np.clip(np.einsum("a,ai->i", effects, table), -9, 9)
        mean = expected * np.exp(linear)
        weight = mean / dispersion
        target = linear + (actual - mean) / mean
        precision = np.einsum("ai,bi->ab", table * weight, table) + np.diag(1 / variance[kind])
        inverse = np.linalg.inv(precision)
        effects = np.einsum("ab,b->a", inverse, np.einsum("bi,i->b", table, weight * target))
        second = effects**2 + np.diag(inverse)
        variance = np.maximum(np.bincount(kind, second) / of_kind, least)
        used = len(table) - float((np.diag(inverse) / variance[kind]).sum())
        free = max(len(actual) - used, 1.0)
        dispersion = max(1.0, float(((actual - mean) ** 2 / mean).sum()) / free)
    return effects


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """The departures of forecasts of open deals, by the months in which an interval lies.

    Parameters
    ----------
    departures
        What was learned.
    tz
        Name of the timezone of months.
    """

    departures: Departures
    tz: str

    @classmethod
    def of(cls, both: Probabilities, sample: Landmarks, as_of: int, tz: str) -> Times:
        """Learn from probabilities of the training sample at the ends of the intervals.

        A longer interval than a step says little of when a deal was expected to be won.
        """
        ends = sample.ends
        short = np.flatnonzero(np.diff(ends, prepend=0) <= sample.step)
        edges = month_edges(as_of, tz, 1 - MONTHS, 1)
        at, place = np.unique(sample.deals.at, return_inverse=True)
        over = (sample.observed[:, None] >= ends)[:, short]
        steps = np.diff(both.won, axis=1, prepend=0.0)[:, short] * over
        by_time = np.array([np.bincount(place, step, len(at)) for step in steps.T])
        begin = np.append(0, ends[:-1])
        expected: Floats = np.zeros(MONTHS)
        for sums, first, last in zip(by_time, begin[short], ends[short], strict=True):
            since, until = (at + first)[:, None], (at + last)[:, None]
            inside = overlap(since, until, edges[:-1], edges[1:])
            expected += (sums[:, None] * inside).sum(axis=0)
        row, interval, kind = sample.periods()
        row = row[(kind == WON) & np.isin(interval, short)]
        when = np.searchsorted(edges, sample.deals.at[row] + sample.lasted[row], side="right") - 1
        when = when[(when >= 0) & (when < MONTHS)]
        actual = np.bincount(when, minlength=MONTHS).astype(np.float64)
        # A deal that was won is seen from several landmarks.
        once = float(max(len(np.unique(sample.deals.deal[row])), 1)) / max(len(row), 1)
        return cls(Departures.of(actual * once, expected * once, month_of(as_of, tz)), tz)

    def factors(self, deals: OpenDeals, ends: Ints) -> Floats:
        """Return the factors on the hazards of winning of intervals (rows) for deals (columns)."""
        if not len(deals) or not len(ends):
            return np.ones((len(ends), len(deals)))
        at, place = np.unique(deals.at, return_inverse=True)
        times = at[:, None] + np.append(0, ends)
        return self.departures.between(times, self.tz)[place].T


@lru_cache(maxsize=1_024)
def month_of(time: int, tz: str) -> int:
    """Return the month of a time, since 1970."""
    return int(_NUMBERS.numbers(local_days(np.array([time]), tz) // DAY)[0])


__all__ = ["MONTHS", "Departures", "Times", "month_of"]
