"""Discrete-time hazards of winning and of losing in the intervals after a landmark, by logistic
regression on what was known of the deal at the landmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import LOST, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting._logistic import added, fit_logistic, linear
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.landmarks import Landmarks


@dataclass(frozen=True, slots=True, eq=False)
class Hazard:
    """Hazards of one interval: that of winning, and that of losing where the deal is not won.

    Parameters
    ----------
    design
        The features.
    won, lost
        Coefficients: the intercept, then the levels of each feature.
    usual
        Mean effect of each feature on the log odds of winning in the first interval, in the
        training sample.
    """

    design: Design
    won: Floats
    lost: Floats
    usual: Floats

    def hazards(self, deals: OpenDeals) -> tuple[Floats, Floats]:
        """Return the hazards of each deal (rows) in each interval (columns)."""
        intervals = len(self.design.ends)
        levels = [feature.levels for feature in self.design.features]
        won, lost = np.empty((len(deals), intervals)), np.empty((len(deals), intervals))
        observed = self.design.observed(deals)
        fixed = observed.fixed
        own = levels[: len(fixed)]
        tables = [
            (table, coefficients[1 + sum(own) :], linear(coefficients, fixed, own))
            for table, coefficients in ((won, self.won), (lost, self.lost))
        ]
        row = np.arange(len(deals))
        for number in range(intervals):
            varying = self.design.varying(observed, row, np.full(len(deals), number))
            for table, coefficients, of_fixed in tables:
                eta = added(of_fixed, coefficients, varying, levels[len(fixed) :])
                table[:, number] = 1 / (1 + np.exp(-eta))
        return won, lost

    def effects(self, deals: OpenDeals) -> Floats:
        """Return the effect of each feature (columns) on each deal's log odds of winning in the
        first interval.
        """
        return _effects(self.design, self.won, deals)

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities within each horizon."""
        return chained(*self.hazards(deals), self.design.ends, np.asarray(horizons, np.int64))


def fit_hazard(sample: Landmarks, tz: str) -> Hazard:
    """Fit both hazards on a training sample; `tz` is the company's timezone."""
    design = Design.of(sample.deals, sample.step, sample.ends, tz)
    row, interval, kind = sample.periods()
    observed = design.observed(sample.deals)
    fixed = observed.fixed
    codes = [*(code[row] for code in fixed), *design.varying(observed, row, interval)]
    features = design.features
    levels = [feature.levels for feature in features]
    scales = [feature.scale for feature in features]
    ordered = [feature.is_ordered for feature in features]
    result = []
    for cause in (WON, LOST):
        at_risk = np.flatnonzero(kind != WON) if cause == LOST else np.arange(len(kind))
        event = kind[at_risk] == cause
        closed = sample.deals.deal[row[at_risk[event]]]
        count = max(len(closed) / max(len(np.unique(closed)), 1), 1.0)
        some = [code[at_risk] for code in codes]
        result.append(
            fit_logistic(some, levels, scales, ordered, event, count, (row[at_risk], fixed))
        )
    effects = _effects(design, result[0], sample.deals)
    usual = effects.sum(axis=0) / max(len(effects), 1)
    return Hazard(design, result[0], result[1], usual)


def _effects(design: Design, coefficients: Floats, deals: OpenDeals) -> Floats:
    observed = design.observed(deals)
    first, row = np.zeros(len(deals), np.int64), np.arange(len(deals))
    codes = [*observed.fixed, *design.varying(observed, row, first)]
    result = np.empty((len(deals), len(codes)))
    place = 1
    for number, (code, feature) in enumerate(zip(codes, design.features, strict=True)):
        result[:, number] = coefficients[place : place + feature.levels][code]
        place += feature.levels
    return result


def chained(won: Floats, lost: Floats, ends: Ints, horizons: Ints) -> Probabilities:
    """Return the probabilities within horizons from the hazards of intervals; a horizon inside an
    interval has its share of the interval's cumulative hazard. After the last interval its hazards
    go on.
    """
    lost = (1 - won) * lost
    left = -np.log1p(-np.minimum(won + lost, 1 - 1e-12))
    share = np.divide(won, won + lost, out=np.zeros_like(won), where=won + lost > 0)
    begin = np.append(0, ends[:-1])
    within = np.minimum(np.searchsorted(ends, horizons), len(ends) - 1)
    size = (len(won), len(horizons))
    result = Probabilities(np.zeros(size), np.zeros(size))
    # What is so by the end of an interval is the same for all later horizons.
    alive, wins, losses = np.ones(len(won)), np.zeros(len(won)), np.zeros(len(won))
    for k in range(int(within.max(initial=-1)) + 1):
        for place in np.flatnonzero((within == k) & (horizons != ends[k])):
            passed = max((horizons[place] - begin[k]) / (ends[k] - begin[k]), 0.0)
            closed = alive * -np.expm1(-passed * left[:, k])
            result.won[:, place] = wins + closed * share[:, k]
            result.lost[:, place] = losses + closed * (1 - share[:, k])
        closed = alive * -np.expm1(-left[:, k])
        wins, losses = wins + closed * share[:, k], losses + closed * (1 - share[:, k])
        alive = alive * np.exp(-left[:, k])
        for place in np.flatnonzero(horizons == ends[k]):
            result.won[:, place], result.lost[:, place] = wins, losses
    return result


__all__ = ["Hazard", "chained", "fit_hazard"]
