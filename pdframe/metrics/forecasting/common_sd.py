"""How much good and bad times move all deals together: the spread of the factor that the deals of a
draw share, from how far past numbers of wins were from what was expected of them.

Wins are counted, not added up in money: the factor scales the hazards of winning, and a month with
one large deal more or less says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pdframe.errors import PdframeError
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import OpenDeals
from pdframe.metrics.forecasting._method import Fitted, Method
from pdframe.metrics.forecasting.arrivals import NewWins, new_wins
from pdframe.metrics.forecasting.cells import Cells, cells_between, month_edges
from pdframe.metrics.forecasting.draws import SPREAD, generator
from pdframe.metrics.forecasting.money import Counting
from pdframe.metrics.forecasting.revenue import open_deals, won_by

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

PRIOR, WEIGHT = 0.15, 6
"""What the spread is shrunk to, and how many cutoffs that counts as."""
FLOOR = 0.05
FEWEST, ASSUMED = 6, 0.2
"""With fewer scored cutoffs the spread is assumed."""
CLIP = 1.0
"""Residuals, logarithms of actual / expected, count as no more than this."""
SPREADS = np.linspace(0.0, 1.0, 41)
"""Spreads that are tried."""
CUTOFFS = 24
MONTHS_AHEAD = 3
REFIT = 6
"""Months that a fitted method is used for."""
CHANCE_DRAWS = 400
AROUND = 0.5
"""Logarithm of the two factors, up and down, between which the response of a month is measured."""
LEAST_RESPONSE = 0.2
SURE, TINY = 1 - 1e-12, 1e-12
"""Probabilities are at most, and expected numbers at least, this before a logarithm is taken."""


class CommonSd(NamedTuple):
    """The estimate, how many cutoffs it rests on, and whether they sufficed."""

    value: float
    cutoffs: int
    estimated: bool


class Expected(NamedTuple):
    """The wins that were expected of the months after a cutoff: the first days of the months, and
    the day after the last (since 1970); the end of each (microseconds), its mean number of wins,
    draws of it without a common factor (months x draws), and the power of that factor by which the
    mean grows.
    """

    day: Ints
    end: Ints
    mean: Floats
    draws: Floats
    response: Floats


class Then(NamedTuple):
    """What was known at a cutoff, whatever the method: the open deals by id, the months after it,
    and the wins of deals not yet created, each counted as 1.
    """

    deals: OpenDeals
    cells: Cells
    new: NewWins


@dataclass(eq=False)
class PastTotals:
    """Computes what was expected at earlier cutoffs, each once.

    It may serve several times of one account: what was expected at a cutoff depends on nothing
    later.

    Parameters
    ----------
    method
        The method of the forecast.
    seed
        The user's.
    then
        What was known at each cutoff so far; methods of one account may share it.
    """

    method: Method
    seed: int
    then: dict[int, Then] = field(default_factory=dict)
    _fitted: dict[int, Fitted | None] = field(default_factory=dict)
    _expected: dict[int, Expected | None] = field(default_factory=dict)

    def expected(self, known: Known, cutoff: int) -> Expected | None:
        """Return what was expected at a cutoff (microseconds, the last instant of a month); None
        where too little was known.
        """
        if cutoff not in self._expected:
            self._expected[cutoff] = self._compute(known, cutoff)
        return self._expected[cutoff]

    def learn(self, at: int, fitted: Fitted) -> None:
        """Keep the method as it was fitted on what was known at a time."""
        self._fitted[at] = fitted

    def _compute(self, known: Known, cutoff: int) -> Expected | None:
        edges = month_edges(cutoff + 1, known.tz, -REFIT, MONTHS_AHEAD)
        # The method that was fitted at the last beginning of a half year, so that few are fitted.
        local = pd.Timestamp(cutoff + 1, unit="us", tz="UTC").tz_convert(known.tz)
        fit_at = int(edges[REFIT - (local.month - 1) % REFIT]) - 1
        fitted = self._fit(known, fit_at)
        if fitted is None:
            return None
        if cutoff not in self.then:
            until = pd.Timestamp(int(edges[-1]), unit="us", tz="UTC")
            cells = cells_between(cutoff, until, Frequency("M"), known.tz)
            then = known.before(cutoff)
            new = new_wins(then, cells, Counting(), 1)
            self.then[cutoff] = Then(open_deals(then), cells, new)
        deals, cells, new = self.then[cutoff]
        chance = won_by(fitted, deals, cells)
        return Expected(
            np.append(
                cells.day, Frequency("M").first_days(Frequency("M").numbers(cells.day[-1:]) + 1)
            ),
            cells.end,
            np.diff(chance, axis=1, prepend=0.0).sum(axis=0) + new.by_cell.sum(axis=0),
            chance_wins(chance, new, self.seed, CHANCE_DRAWS),
            responses(chance, new),
        )

    def _fit(self, known: Known, at: int) -> Fitted | None:
        if at not in self._fitted:
            then = known.before(at)
            try:
                self._fitted[at] = self.method.fit(then, self.seed)
            except PdframeError:
                # Too little was known then.
                self._fitted[at] = None
        return self._fitted[at]


def chance_wins(chance: Floats, new: NewWins, seed: int, draws: int) -> Floats:
    """Draw the number of wins of each cell without a common factor: cells x draws.

    Parameters
    ----------
    chance
        P(won by the end of each cell) of the open deals: deals x cells.
    new
        Wins of deals not yet created.
    seed, draws
        What the draws follow from; how many.
    """
    cells = chance.shape[1]
    uniform = generator(seed, SPREAD, 0, int(new.day[0])).random((len(chance), draws))
    won_by_cell = [(uniform < limit[:, None]).sum(axis=0) for limit in chance.T]
    result = np.diff(np.array(won_by_cell, np.float64).reshape(cells, draws), axis=0, prepend=0.0)
    for win, draw, _ in new.drawn(seed, np.ones(draws), 0.0):
        result[win] += np.bincount(draw, minlength=draws)
    return result


def responses(chance: Floats, new: NewWins) -> Floats:
    """Return the power of a common factor by which the mean number of wins of each cell grows.

    It is below 1, and lower in later cells: a deal is won but once, so that good times take wins
    from later ones, and a deal that is nearly sure to be won cannot gain much.
    """
    totals = []
    for factor in np.exp([-AROUND, AROUND]):
        opened, created = (
            np.diff(-np.expm1(factor * np.log1p(-np.minimum(each, SURE))), axis=1, prepend=0.0)
            for each in (chance, new.chances())
        )
        totals.append(opened.sum(axis=0) + (created * new.created[:, None]).sum(axis=0))
    low, high = (np.maximum(total, TINY) for total in totals)
    result: Floats = np.clip(np.log(high / low) / (2 * AROUND), LEAST_RESPONSE, 1.0)
    return result


def estimate(known: Known, past: PastTotals, step: Callable[[], None] = lambda: None) -> CommonSd:
    """Estimate the standard deviation of the logarithm of the common factor.

    At earlier ends of months, the logarithm of actual / expected wins of the months after is
    compared with that of draws: how far it is from 0 by chance alone, and how much a common factor
    adds. The factor scales the hazards of winning, as in the forecast, so that the wins of a month
    grow by a power of it (`responses`). The spread that explains what was seen is shrunk to
    `PRIOR`. Actual numbers and draws are clipped alike, so a month without a win, or a cutoff of
    which little was expected, is no more than one residual of `CLIP` against the same by chance.
    `step` is called before each of at most `CUTOFFS` cutoffs.
    """
    edges = month_edges(known.as_of + 1, known.tz, -CUTOFFS, 0)
    edges = edges[edges <= known.as_of + 1]
    day = np.sort(known.wins.day)
    begin = int(known.created.added.min()) if len(known.created.added) else known.as_of
    residuals, weights, by_chance, response = [], [], [], []
    for first in edges[:-1]:
        step()
        if first <= begin:
            continue
        expected = past.expected(known, int(first) - 1)
        if expected is None:
            continue
        over = (expected.end <= known.as_of + 1) & (expected.mean > 0)
        if not over.any():
            continue
        actual = np.diff(np.searchsorted(day, expected.day))[over]
        mean = expected.mean[over]
        residuals.append(_residual(actual / mean))
        by_chance.append(expected.draws[over] / mean[:, None])
        response.append(expected.response[over])
        weights.append(np.full(len(mean), 1 / len(mean)))
    count = len(residuals)
    if count < FEWEST:
        return CommonSd(ASSUMED, count, False)
    square = float((np.concatenate(residuals) ** 2 * np.concatenate(weights)).sum()) / count
    spread = _explaining(
        square,
        np.concatenate(by_chance),
        np.concatenate(response),
        np.concatenate(weights) / count,
    )
    shrunk = (count * spread**2 + WEIGHT * PRIOR**2) / (count + WEIGHT)
    return CommonSd(max(FLOOR, float(np.sqrt(shrunk))), count, True)


def _explaining(square: float, ratios: Floats, response: Floats, weights: Floats) -> float:
    """Return the spread of a common factor with which draws would have a mean squared residual like
    this.

    Parameters
    ----------
    square
        The mean of the squared residuals.
    ratios
        Draws without a common factor, relative to their mean: months x draws.
    response
        The power of the factor by which the mean of each month grows.
    weights
        Of the months.
    """
    draws = ratios.shape[1]
    middle = (np.arange(draws) + 0.5) / draws
    normal = np.array([NormalDist().inv_cdf(share) for share in middle])
    normal = generator(0, SPREAD).permutation(normal)
    explained = []
    for spread in SPREADS:
        own = spread * response[:, None]
        factor = np.exp(own * normal - own**2 / 2)
        each = (_residual(ratios * factor) ** 2).mean(axis=1)
        explained.append(float((each * weights).sum()))
    rising = np.maximum.accumulate(explained)
    if square <= rising[0]:
        return 0.0
    return float(np.interp(square, rising, SPREADS))


def _residual(ratio: Floats) -> Floats:
    """Return log(actual / mean), clipped; a total of nothing or less counts as the lowest."""
    return np.minimum(np.log(np.maximum(ratio, np.exp(-CLIP))), CLIP)


__all__ = ["CUTOFFS", "CommonSd", "Expected", "PastTotals", "chance_wins", "estimate", "responses"]
