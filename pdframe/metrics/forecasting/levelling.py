"""Factors with which forecasts of the training sample expect as many closings as there were: in
each interval, of deals of each size, of each age in their stage, and of deals that should have
closed before with each probability.

A blend keeps no sums of its parts: Aalen-Johansen knows no values and forgets how slow a deal was
once it moves, and a ridge holds back what the regression says of the few large and old deals. In
money the large deals are most of a forecast.

Deals that no column tells apart differ nevertheless: those that were likely to close and did not
are mostly the slow and the forgotten ones (frailty). So the hazard of a deal falls with the hazard
that it has outlived since the forecast, as far as the sample shows that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import LOST, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.landmarks import Landmarks
from pdframe.metrics.forecasting.recalibration import scaled

_STRENGTHS = (20.0, 10.0)
"""Closings in rows of the sample whose weight no factor has against those of an interval, and
against those of each other group: a deal is in several rows.
"""

_SPANS = (0, 4, 8)
"""First intervals of the groups of intervals in which deals of a size have a factor."""

_AGES = np.array([1.0, 3.0, 8.0, 13.0, 20.0])
"""Bounds of ages in stage, in steps between landmarks."""

_OVERDUE = np.array([0.1, 0.25, 0.4, 0.55, 0.7, 0.85])
"""Bounds of the probability that a deal is closed by the beginning of an interval."""

_ROUNDS = 3


class Factors(NamedTuple):
    """Factors on the hazards of one outcome: of each interval, of each size of deals (rows) in each
    interval, of each age in stage, and of each class of `_OVERDUE`.
    """

    interval: Floats
    size: Floats
    age: Floats
    overdue: Floats

    @classmethod
    def of(cls, expected: Floats, actual: Floats) -> Factors:
        """Return the factors from the expected and actual closings by size, age, class of
        `_OVERDUE` and interval.
        """
        sizes, ages, classes, intervals = expected.shape
        span = np.searchsorted(_SPANS, np.arange(intervals), side="right") - 1
        first = np.unique(span, return_index=True)[1]
        interval, size = np.ones(intervals), np.ones((sizes, intervals))
        age, overdue = np.ones(ages), np.ones(classes)

        def by(*axes: int) -> tuple[Floats, Floats]:
            """Return the actual and the expected sums by some axes, with the factors so far."""
            factors = (interval * size)[:, None, None] * age[:, None, None] * overdue[:, None]
            others = tuple({0, 1, 2, 3}.difference(axes))
            return actual.sum(axis=others), (expected * factors).sum(axis=others)

        for number in range(_ROUNDS + 1):
            interval = np.ones(intervals)
            interval = _ratio(*by(3), _STRENGTHS[0])
            # The last round ends with the intervals, so that their sums are those of the sample.
            if number == _ROUNDS:
                break
            size = np.ones((sizes, intervals))
            happened, wanted = (np.add.reduceat(sums, first, axis=1) for sums in by(0, 3))
            size = _ratio(happened, wanted, _STRENGTHS[1])[:, span]
            age = np.ones(ages)
            age = _ratio(*by(1), _STRENGTHS[1])
            overdue = np.ones(classes)
            overdue = _ratio(*by(2), _STRENGTHS[1])
        return cls(interval, size, age, overdue)

    def at(self, groups: Groups, interval: Ints) -> Floats:
        """Return the factors of intervals (rows) for deals (columns) of these groups."""
        by_size = (self.interval * self.size)[groups.size][:, interval]
        return (by_size * self.overdue[groups.overdue]).T * self.age[groups.age]


class Groups(NamedTuple):
    """The numbers of deals' size and age in stage, and of their class of `_OVERDUE` in each
    interval (columns).
    """

    size: Ints
    age: Ints
    overdue: Ints

    @classmethod
    def of(cls, both: Probabilities, deals: OpenDeals, design: Design) -> Groups:
        """Return the groups of deals with these probabilities at the ends of intervals."""
        in_stage = (deals.at - deals.entered) / design.step
        closed = np.zeros_like(both.won)
        closed[:, 1:] = (both.won + both.lost)[:, :-1]
        return cls(
            design.value_size(deals),
            np.searchsorted(_AGES, in_stage, side="right"),
            np.searchsorted(_OVERDUE, closed, side="right"),
        )


class Levelling(NamedTuple):
    """Factors on the hazards of winning and of losing."""

    won: Factors
    lost: Factors

    @classmethod
    def of(cls, both: Probabilities, sample: Landmarks, design: Design) -> Levelling:
        """Learn from probabilities of the training sample at the ends of the intervals."""
        groups = Groups.of(both, sample.deals, design)
        shape = (design.value_sizes, len(_AGES) + 1, len(_OVERDUE) + 1, len(design.ends))
        group = (groups.size * shape[1] + groups.age)[:, None] * shape[2] + groups.overdue
        row, interval, kind = sample.periods()
        over = sample.observed[:, None] >= design.ends
        cell = group * shape[3] + np.arange(shape[3])
        factors = []
        for chance, outcome in ((both.won, WON), (both.lost, LOST)):
            steps = np.diff(chance, axis=1, prepend=0.0) * over
            closed = np.flatnonzero(kind == outcome)
            happened = cell[row[closed], interval[closed]]
            expected = _summed(cell.ravel(), steps.ravel(), shape)
            factors.append(Factors.of(expected, _summed(happened, None, shape)))
        return cls(*factors)

    def levelled(self, both: Probabilities, deals: OpenDeals, design: Design) -> Probabilities:
        """Return the probabilities at the ends of intervals with the factors applied."""
        # After the last interval, its factors go on.
        interval = np.minimum(np.arange(both.won.shape[1]), len(design.ends) - 1)
        groups = Groups.of(both, deals, design)
        return scaled(both, *(each.at(groups, interval) for each in self))


def _summed(cell: Ints, weight: Floats | None, shape: tuple[int, ...]) -> Floats:
    sums = np.bincount(cell, weight, int(np.prod(shape)))
    return np.asarray(sums.reshape(shape), np.float64)


def _ratio(actual: Floats, expected: Floats, strength: float) -> Floats:
    result: Floats = (actual + strength) / (expected + strength)
    return result


__all__ = ["Factors", "Groups", "Levelling"]
