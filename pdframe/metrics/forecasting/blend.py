"""The default method: the hazard model blended with Aalen-Johansen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, Fitted, OpenDeals, Probabilities
from pdframe.metrics.forecasting.aalen_johansen import AalenJohansen
from pdframe.metrics.forecasting.hazard import Hazard, fit_hazard
from pdframe.metrics.forecasting.landmarks import landmarks
from pdframe.metrics.forecasting.why import Why

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

_WEIGHT = 2 / 3
"""Weight of the hazard model; it is fixed, since few cutoffs cannot teach it."""

_LEAST = 1e-9
"""Probabilities are at least this before their logarithm is taken."""


class HazardMethod:
    """Hazards by logistic regression, blended with Aalen-Johansen."""

    name = "hazard"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Fit both on what was known; the seed draws the training sample."""
        sample = landmarks(known, seed)
        return Blend(fit_hazard(sample), AalenJohansen().fit(known, seed))


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The hazard model and Aalen-Johansen, together."""

    hazard: Hazard
    chain: Fitted

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the blended probabilities within each horizon.

        They are blended at the ends of the model's intervals, where neither may fall, and are
        interpolated between these, so that a probability does not depend on the other horizons that
        are requested.
        """
        return self._calibrated(self._blended(deals, horizons))

    def _blended(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        horizons = np.asarray(horizons, np.int64)
        grid = self.hazard.design.ends
        longest = int(horizons.max()) if len(horizons) else 0
        if longest > grid[-1]:
            grid = np.append(grid, longest)
        used = grid[: int(np.searchsorted(grid, longest)) + 1]
        both = (self.hazard.predict(deals, used), self.chain.predict(deals, used))
        return interpolated(rising(blended(*both)), used, horizons)

    def explain(self, deals: OpenDeals) -> Why:
        """Return what moves each deal's odds of winning in the next interval, exactly."""
        design = self.hazard.design
        effects = self.hazard.effects(deals)
        terms = dict.fromkeys(feature.term for feature in design.features if feature.term)
        moved = effects - self.hazard.usual
        columns = []
        for term in terms:
            own = [k for k, feature in enumerate(design.features) if feature.term == term]
            columns.append(np.exp(moved[:, own].sum(axis=1)))
        base = float(np.exp(self.hazard.won[0] + self.hazard.usual.sum()))
        first = design.ends[:1]
        blended = self._blended(deals, first)
        own_odds = _odds(self.hazard.predict(deals, first).won[:, 0])
        blended_odds = _odds(blended.won[:, 0])
        columns += [
            blended_odds / own_odds,
            _odds(self._calibrated(blended).won[:, 0]) / blended_odds,
        ]
        return Why(
            float(first[0] / DAY), base, (*terms, "blend", "calibration"), np.column_stack(columns)
        )

    def _calibrated(self, both: Probabilities) -> Probabilities:
        return both


def blended(first: Probabilities, second: Probabilities) -> Probabilities:
    """Return the weighted mean of log(won, lost, open), renormalised."""
    parts = []
    for name in ("won", "lost"):
        parts.append(_log_mean(getattr(first, name), getattr(second, name)))
    parts.append(_log_mean(1 - first.won - first.lost, 1 - second.won - second.lost))
    total = parts[0] + parts[1] + parts[2]
    return Probabilities(parts[0] / total, parts[1] / total)


def _odds(chance: Floats) -> Floats:
    inside = np.clip(chance, _LEAST, 1 - _LEAST)
    return inside / (1 - inside)


def _log_mean(first: Floats, second: Floats) -> Floats:
    a, b = np.log(np.maximum(first, _LEAST)), np.log(np.maximum(second, _LEAST))
    return np.exp(_WEIGHT * a + (1 - _WEIGHT) * b)


def rising(both: Probabilities) -> Probabilities:
    """Return the probabilities with neither falling from column to column, and a sum of at most
    1.
    """
    won, lost = np.empty_like(both.won), np.empty_like(both.lost)
    above, below = np.zeros(len(won)), np.zeros(len(won))
    for k in range(won.shape[1]):
        more = np.maximum(both.won[:, k] - above, 0.0)
        fewer = np.maximum(both.lost[:, k] - below, 0.0)
        room = np.maximum(1 - above - below, 0.0)
        scale = np.minimum(1.0, room / np.maximum(more + fewer, _LEAST))
        above, below = above + more * scale, below + fewer * scale
        won[:, k], lost[:, k] = above, below
    return Probabilities(won, lost)


def interpolated(both: Probabilities, grid: Ints, horizons: Ints) -> Probabilities:
    """Return the probabilities at horizons between those of a grid: the cumulative hazard of
    closing grows evenly between two of its times.
    """
    size = len(both.won)
    won = np.column_stack((np.zeros(size), both.won))
    lost = np.column_stack((np.zeros(size), both.lost))
    times = np.append(0, grid)
    result = Probabilities(np.zeros((size, len(horizons))), np.zeros((size, len(horizons))))
    for place, horizon in enumerate(horizons):
        k = min(int(np.searchsorted(times, horizon)), len(times) - 1)
        if k == 0:
            continue
        passed = (int(horizon) - int(times[k - 1])) / (int(times[k]) - int(times[k - 1]))
        alive = np.maximum(1 - won[:, k - 1] - lost[:, k - 1], 0.0)
        closed = won[:, k] + lost[:, k] - won[:, k - 1] - lost[:, k - 1]
        remaining = np.divide(
            np.maximum(alive - closed, 0.0), alive, out=np.ones(size), where=alive > 0
        )
        part = (
            np.ones(size)
            if passed == 1
            else np.divide(
                1 - np.maximum(remaining, 1e-300) ** passed,
                1 - remaining,
                out=np.full(size, passed),
                where=remaining < 1,
            )
        )
        part = np.minimum(part, 1.0)
        for into, values in ((result.won, won), (result.lost, lost)):
            into[:, place] = values[:, k - 1] + part * (values[:, k] - values[:, k - 1])
    return result


__all__ = ["Blend", "HazardMethod", "blended", "interpolated", "rising"]
