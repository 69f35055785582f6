"""Factors with which forecasts of the training sample expect as many closings as there were: in
each interval, of deals of each size, and of deals of each age in their stage.

A blend keeps no sums of its parts: Aalen-Johansen knows no values and forgets how slow a deal was
once it moves, and a ridge holds back what the regression says of the few large and old deals. In
money the large deals are most of a forecast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import LOST, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.landmarks import Landmarks

_STRENGTHS = (20.0, 10.0)
"""Closings in rows of the sample whose weight no factor has against those of an interval, and
against those of deals of a size or an age: a deal is in several rows.
"""

_SPANS = (0, 4, 8)
"""First intervals of the groups of intervals in which deals of a size have a factor."""

_AGES = np.array([1.0, 3.0, 8.0, 13.0, 20.0])
"""Bounds of ages in stage, in steps between landmarks."""

_ROUNDS = 3


class Factors(NamedTuple):
    """Factors on the hazards of one outcome: of each interval, of each size of deals (rows) in each
    interval, and of each age in stage.
    """

    interval: Floats
    size: Floats
    age: Floats

    @classmethod
    def of(cls, expected: Floats, actual: Floats) -> Factors:
        """Return the factors from the expected and actual closings by size, age and interval."""
        sizes, ages, intervals = expected.shape
        span = np.searchsorted(_SPANS, np.arange(intervals), side="right") - 1
        first = np.unique(span, return_index=True)[1]
        interval, size, age = np.ones(intervals), np.ones((sizes, intervals)), np.ones(ages)
        for number in range(_ROUNDS + 1):
            by_both = expected * size[:, None] * age[None, :, None]
            interval = _ratio(actual.sum(axis=(0, 1)), by_both.sum(axis=(0, 1)), _STRENGTHS[0])
            # The last round ends with the intervals, so that their sums are those of the sample.
            if number == _ROUNDS:
                break
            spans = [
                np.add.reduceat(sums.sum(axis=1), first, axis=1)
                for sums in (actual, expected * interval * age[None, :, None])
            ]
            size = _ratio(spans[0], spans[1], _STRENGTHS[1])[:, span]
            by_both = expected * interval * size[:, None]
            age = _ratio(actual.sum(axis=(0, 2)), by_both.sum(axis=(0, 2)), _STRENGTHS[1])
        return cls(interval, size, age)

    def at(self, size: Ints, age: Ints, interval: Ints) -> Floats:
        """Return the factors of intervals (rows) for deals (columns) of these sizes and ages."""
        return (self.interval * self.size)[size][:, interval].T * self.age[age]


def levelled(both: Probabilities, sample: Landmarks, design: Design) -> tuple[Factors, Factors]:
    """Return the factors of winning and of losing from probabilities of the training sample at the
    ends of the intervals.
    """
    size, age = groups(sample.deals, design)
    shape = (design.value_sizes, len(_AGES) + 1, len(design.ends))
    group = size * shape[1] + age
    row, interval, kind = sample.periods()
    over = sample.observed[:, None] >= design.ends
    cell = group[:, None] * shape[2] + np.arange(shape[2])
    factors = []
    for chance, outcome in ((both.won, WON), (both.lost, LOST)):
        steps = np.diff(chance, axis=1, prepend=0.0) * over
        closed = np.flatnonzero(kind == outcome)
        happened = cell[row[closed], interval[closed]]
        factors.append(
            Factors.of(_summed(cell.ravel(), steps.ravel(), shape), _summed(happened, None, shape))
        )
    return factors[0], factors[1]


def groups(deals: OpenDeals, design: Design) -> tuple[Ints, Ints]:
    """Return the number of each deal's size and of its age in stage."""
    in_stage = (deals.at - deals.entered) / design.step
    return design.value_size(deals), np.searchsorted(_AGES, in_stage, side="right")


def _summed(cell: Ints, weight: Floats | None, shape: tuple[int, int, int]) -> Floats:
    sums = np.bincount(cell, weight, shape[0] * shape[1] * shape[2])
    return np.asarray(sums.reshape(shape), np.float64)


def _ratio(actual: Floats, expected: Floats, strength: float) -> Floats:
    result: Floats = (actual + strength) / (expected + strength)
    return result


__all__ = ["Factors", "groups", "levelled"]
