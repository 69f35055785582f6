"""The default method: the hazard model blended with Aalen-Johansen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._checks import is_young
from pdframe.metrics.forecasting._interface import DAY, WON, OpenDeals, Outcomes, Probabilities
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.aalen_johansen import AalenJohansen
from pdframe.metrics.forecasting.departures import Times
from pdframe.metrics.forecasting.hazard import Hazard, fit_hazard
from pdframe.metrics.forecasting.landmarks import MAX_ROWS, landmarks
from pdframe.metrics.forecasting.levelling import Levelling
from pdframe.metrics.forecasting.recalibration import Recalibration, recalibration, scaled
from pdframe.metrics.forecasting.why import Why

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

_WEIGHT = 2 / 3
"""Weight of the hazard model; it is fixed, since few cutoffs cannot teach it."""

_EARLIER = (0.2,)
"""Earlier cutoffs, as shares of the follow-up before `as_of`: an account was another one when it
was half as old.
"""

_LONGEST = 364 * DAY
"""Longest time from an earlier cutoff to `as_of`."""

_EARLIER_ROWS = 4_000
"""Landmark rows that an earlier model is fitted on."""

_LEAST = 1e-9
"""Probabilities are at least this before their logarithm is taken."""


class HazardMethod:
    """Hazards by logistic regression, blended with Aalen-Johansen, and recalibrated."""

    name = "hazard"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Fit both on what was known; the seed draws the training sample."""
        counts = []
        for share in _EARLIER:
            then = known.before(known.as_of - min(int(known.followed * share), _LONGEST))
            if is_young(then):
                continue
            earlier = _fit(then, seed, _EARLIER_ROWS)
            deals = then.open_at([then.as_of])
            counts.append(_expected_and_actual(earlier, deals, known.outcomes(deals), known.as_of))
        return replace(_fit(known, seed), correction=recalibration(counts))


def _fit(known: Known, seed: int, most: int = MAX_ROWS) -> Blend:
    sample = landmarks(known, seed, most=most)
    hazard, chain = fit_hazard(sample, known.tz), AalenJohansen().fit(known, seed)
    design = hazard.design
    both = _both(hazard, chain, sample.deals, design.ends)
    levelling = Levelling.of(both, sample, design)
    levelled = levelling.levelled(both, sample.deals, design)
    times = Times.of(levelled, sample, known.as_of, known.tz)
    return Blend(hazard, chain, levelling, times, Recalibration())


def _both(hazard: Hazard, chain: Fitted, deals: OpenDeals, grid: Ints) -> Probabilities:
    return rising(blended(hazard.predict(deals, grid), chain.predict(deals, grid)))


def _expected_and_actual(
    fitted: Blend, deals: OpenDeals, outcomes: Outcomes, end: int
) -> tuple[Ints, Floats, Floats]:
    """Return the ends of the intervals that are over, the wins expected in each, and the actual
    ones.
    """
    ends = fitted.hazard.design.ends
    over = int(end - deals.at[0]) if len(deals) else 0
    ends = ends[ends <= over]
    won = fitted.on_grid(deals, ends).won.sum(axis=0)
    last = np.searchsorted(ends, outcomes.time - deals.at)
    inside = (outcomes.kind == WON) & (last < len(ends))
    actual = np.bincount(last[inside], minlength=len(ends))
    return ends, np.diff(won, prepend=0.0), actual.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The hazard model and Aalen-Johansen, together.

    Parameters
    ----------
    hazard, chain
        Both models.
    levelling
        Factors on the blended hazards, from the training sample.
    times
        Trend and season of what the sample lacks then.
    correction
        What earlier forecasts suggest.
    """

    hazard: Hazard
    chain: Fitted
    levelling: Levelling
    times: Times
    correction: Recalibration

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities within each horizon.

        They are blended and corrected at the ends of the model's intervals, and interpolated
        between these, so that a probability does not depend on the other horizons that are
        requested.
        """
        horizons = np.asarray(horizons, np.int64)
        grid = self._grid(int(horizons.max()) if len(horizons) else 0)
        return interpolated(self.on_grid(deals, grid), grid, horizons)

    def on_grid(self, deals: OpenDeals, grid: Ints) -> Probabilities:
        """Return the probabilities at the ends of the first intervals."""
        more = self.correction.factors(grid)[:, None] * self.times.factors(deals, grid)
        return scaled(self._blended(deals, grid), more, np.ones(len(grid)))

    def _blended(self, deals: OpenDeals, grid: Ints) -> Probabilities:
        both = _both(self.hazard, self.chain, deals, grid)
        return self.levelling.levelled(both, deals, self.hazard.design)

    def _grid(self, longest: int) -> Ints:
        """Return the ends of the intervals up to a horizon; the last interval is repeated."""
        ends = self.hazard.design.ends
        width = int(ends[-1] - (ends[-2] if len(ends) > 1 else 0))
        more = max(-(-(longest - int(ends[-1])) // width), 0)
        grid = np.append(ends, ends[-1] + width * np.arange(1, more + 1))
        return grid[: int(np.searchsorted(grid, longest)) + 1]

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
        blend = self._blended(deals, first)
        steps = (self.hazard.predict(deals, first), blend, self.on_grid(deals, first))
        odds = [_odds(step.won[:, 0]) for step in steps]
        columns += [odds[1] / odds[0], odds[2] / odds[1]]
        return Why(
            float(first[0] / DAY), base, (*terms, "blend", "calibration"), np.column_stack(columns)
        )


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
