"""How earlier forecasts of the same method turned out, and by how much later ones are corrected.

A method that was fitted on what was known at an earlier time is compared with what has happened
since: the wins that it expected in each interval, and those that came. From these follow a factor
on the hazard of winning and its trend over the horizon, both shrunk to none: wins of one account
depend on each other, and a few cutoffs say little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, Probabilities

_SCALES = (0.1, 0.1)
"""Standard deviations of the log factor, and of its trend, before any data."""

_DEPENDENCE = 8.0
"""How many wins count as one independent one."""

_MIDDLE = 84 * DAY
"""Horizon at which the trend is 0."""

_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A factor on the hazard of winning: its logarithm, and the trend of that over the logarithm of
    the time since the forecast.
    """

    level: float = 0.0
    trend: float = 0.0

    def factors(self, ends: Ints) -> Floats:
        """Return the factor of each interval."""
        return np.exp(self.level + self.trend * _position(ends))


def scaled(both: Probabilities, won: Floats, lost: Floats) -> Probabilities:
    """Return probabilities at the ends of intervals with the hazards of each interval multiplied,
    by one factor or one of each deal: that of winning, and that of losing where the deal is not
    won.
    """
    result = Probabilities(np.empty_like(both.won), np.empty_like(both.lost))
    size = len(both.won)
    above, below = np.zeros(size), np.zeros(size)
    alive, remaining = np.ones(size), np.ones(size)
    wins, losses = np.zeros(size), np.zeros(size)
    for k in range(both.won.shape[1]):
        more, fewer = both.won[:, k] - above, both.lost[:, k] - below
        winning = remaining * _raised(_share(more, alive), won[k])
        losing = (remaining - winning) * _raised(_share(fewer, alive - more), lost[k])
        wins, losses = wins + winning, losses + losing
        result.won[:, k], result.lost[:, k] = wins, losses
        above, below = both.won[:, k], both.lost[:, k]
        alive = np.maximum(1 - above - below, 0.0)
        remaining = np.maximum(remaining - winning - losing, 0.0)
    return result


def _raised(chance: Floats, factor: float | Floats) -> Floats:
    return -np.expm1(factor * np.log1p(-np.minimum(chance, 1 - 1e-12)))


def _share(part: Floats, of: Floats) -> Floats:
    result: Floats = np.divide(part, of, out=np.zeros_like(part), where=of > 0)
    return np.clip(result, 0.0, 1.0)


def _position(ends: Ints) -> Floats:
    begin = np.append(0, ends[:-1])
    middle = (begin + ends) / 2 / _MIDDLE
    return np.clip(np.log(np.maximum(middle, 1e-9)), -1.5, 1.0)


def recalibration(counts: Sequence[tuple[Ints, Floats, Floats]]) -> Recalibration:
    """Return the correction that earlier forecasts suggest.

    Parameters
    ----------
    counts
        Of each earlier forecast: ends of intervals, expected wins in each, and actual ones.
    """
    if not counts:
        return Recalibration()
    position = np.concatenate([_position(ends) for ends, _, _ in counts])
    expected = np.concatenate([expected for _, expected, _ in counts]) / _DEPENDENCE
    actual = np.concatenate([actual for _, _, actual in counts]) / _DEPENDENCE
    level = trend = 0.0
    for _ in range(_ROUNDS):
        mean = expected * np.exp(level + trend * position)
        rest = actual - mean
        g0 = rest.sum() - level / _SCALES[0] ** 2
        g1 = (rest * position).sum() - trend / _SCALES[1] ** 2
        a = mean.sum() + 1 / _SCALES[0] ** 2
        b = (mean * position).sum()
        c = (mean * position**2).sum() + 1 / _SCALES[1] ** 2
        size = a * c - b * b
        level += (c * g0 - b * g1) / size
        trend += (a * g1 - b * g0) / size
    return Recalibration(float(np.clip(level, -1, 1)), float(np.clip(trend, -0.5, 0.5)))


__all__ = ["Recalibration", "recalibration"]
