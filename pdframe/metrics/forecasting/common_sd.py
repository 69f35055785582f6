"""How much good and bad times move all deals together: the spread of the factor that the deals of a
draw share, from how far past totals were from what was expected of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pdframe.errors import PdframeError
from pdframe.metrics._columns import midnights
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, Fitted, Method
from pdframe.metrics.forecasting.cells import cells_between
from pdframe.metrics.forecasting.draws import SPREAD, generator
from pdframe.metrics.forecasting.money import Counting, Money
from pdframe.metrics.forecasting.revenue import Revenue, revenue_of
from pdframe.metrics.forecasting.winning_values import WinningValues

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


class CommonSd(NamedTuple):
    """The estimate, how many cutoffs it rests on, and whether they sufficed."""

    value: float
    cutoffs: int
    estimated: bool


class Expected(NamedTuple):
    """What was expected of the months after a cutoff: their first days, and the day after the last
    (since 1970); the end, mean and draws without a common factor (months x draws) of each, in
    microseconds and currency units.
    """

    day: Ints
    end: Ints
    mean: Floats
    draws: Floats


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
    """

    method: Method
    seed: int
    _fitted: dict[int, Fitted | None] = field(default_factory=dict)
    _values: dict[int, WinningValues] = field(default_factory=dict)
    _expected: dict[int, Expected | None] = field(default_factory=dict)

    def expected(self, known: Known, money: Money, cutoff: int) -> Expected | None:
        """Return what was expected at a cutoff (microseconds, the last instant of a month); None
        where too little was known.
        """
        if cutoff not in self._expected:
            self._expected[cutoff] = self._compute(known, money, cutoff)
        return self._expected[cutoff]

    def _compute(self, known: Known, money: Money, cutoff: int) -> Expected | None:
        edges = _month_edges(cutoff + 1, known.tz, -REFIT, MONTHS_AHEAD)
        # The method that was fitted at the last beginning of a half year, so that few are fitted.
        local = pd.Timestamp(cutoff + 1, unit="us", tz="UTC").tz_convert(known.tz)
        fit_at = int(edges[REFIT - (local.month - 1) % REFIT]) - 1
        fitted = self._fit(known, money, fit_at)
        if fitted is None:
            return None
        until = pd.Timestamp(int(edges[-1]), unit="us", tz="UTC")
        cells = cells_between(cutoff, until, Frequency("M"), known.tz)
        then = known.before(cutoff)
        revenue = revenue_of(then, fitted, cells, money, self._values[fit_at])
        draws = chance_draws(revenue, self.seed, CHANCE_DRAWS)
        return Expected(
            np.append(
                cells.day, Frequency("M").first_days(Frequency("M").numbers(cells.day[-1:]) + 1)
            ),
            cells.end,
            (revenue.from_open().sum(axis=0) + revenue.from_new().sum(axis=0)) / revenue.units,
            draws / revenue.units,
        )

    def _fit(self, known: Known, money: Money, at: int) -> Fitted | None:
        if at not in self._fitted:
            then = known.before(at)
            try:
                self._fitted[at] = self.method.fit(then, self.seed)
                self._values[at] = WinningValues.fit(then, money)
            except PdframeError:
                # Too little was known then.
                self._fitted[at] = None
        return self._fitted[at]


def chance_draws(revenue: Revenue, seed: int, draws: int) -> Floats:
    """Draw the total of each cell without a common factor: cells x draws, in whole units.

    Quicker than `Revenue.drawn`, since no number has to belong to a deal.
    """
    cells, worth = revenue.cells, revenue.worth
    key = int(cells.day[0])
    factors = np.ones(draws)
    result = np.zeros((len(cells), draws))
    rows = np.flatnonzero((revenue.chance[:, -1] > 0) & ((worth.value != 0) | (worth.changes > 0)))
    if len(rows):
        random = generator(seed, SPREAD, 0, key)
        chance = random.random((len(rows), draws))
        cell = np.zeros((len(rows), draws), np.int64)
        for limit in revenue.chance[rows].T:
            cell += chance >= limit[:, None]
        deal, draw = np.nonzero(cell < len(cells))
        uniform = random.random(len(deal))
        place = rows[deal]
        share = worth.changes[place]
        changed = uniform < share
        width = worth.high[place] - worth.low[place]
        like = (uniform / np.where(changed, share, 1.0) * width).astype(np.int64)
        pool = worth.low[place] + np.minimum(like, np.maximum(width - 1, 0))
        value = worth.value[place].astype(np.float64)
        value[changed] = worth.pool[pool[changed]]
        np.add.at(result, (cell[deal, draw], draw), value)
    for win, draw, like in revenue.scaled_new().drawn(seed, factors, 0.0):
        np.add.at(result[win], draw, revenue.new.value[like].astype(np.float64))
    return result


def estimate(
    known: Known, past: PastTotals, money: Money, step: Callable[[], None] = lambda: None
) -> CommonSd:
    """Estimate the standard deviation of the logarithm of the common factor.

    At earlier ends of months, the logarithm of actual / expected of the months after is compared
    with that of draws: how far it is from 0 by chance alone, and how much a common factor adds. The
    spread that explains what was seen is shrunk to `PRIOR`. Where the past values of deals are
    unknown, wins are counted instead. Actual totals and draws are clipped alike, so a month
    without a win, or a cutoff of which little was expected, is no more than one residual of `CLIP`
    against the same by chance. `step` is called before each of at most `CUTOFFS` cutoffs.
    """
    if known.frames.history is None:
        money = Counting()
    edges = _month_edges(known.as_of + 1, known.tz, -CUTOFFS, 0)
    edges = edges[edges <= known.as_of + 1]
    wins = known.wins
    value, _ = money.counted(wins.value, wins.currency)
    order = np.argsort(wins.day, kind="stable")
    day, total = wins.day[order], np.append(0.0, np.cumsum(value[order]))
    begin = int(known.created.added.min()) if len(known.created.added) else known.as_of
    residuals, weights, by_chance = [], [], []
    for first in edges[:-1]:
        step()
        if first <= begin:
            continue
        expected = past.expected(known, money, int(first) - 1)
        if expected is None:
            continue
        over = (expected.end <= known.as_of + 1) & (expected.mean > 0)
        if not over.any():
            continue
        place = np.searchsorted(day, expected.day)
        actual = (total[place[1:]] - total[place[:-1]])[over]
        mean = expected.mean[over]
        residuals.append(_residual(actual / mean))
        by_chance.append(expected.draws[over] / mean[:, None])
        weights.append(np.full(len(mean), 1 / len(mean)))
    count = len(residuals)
    if count < FEWEST:
        return CommonSd(ASSUMED, count, False)
    square = float((np.concatenate(residuals) ** 2 * np.concatenate(weights)).sum()) / count
    spread = _explaining(square, np.concatenate(by_chance), np.concatenate(weights) / count)
    shrunk = (count * spread**2 + WEIGHT * PRIOR**2) / (count + WEIGHT)
    return CommonSd(max(FLOOR, float(np.sqrt(shrunk))), count, True)


def _explaining(square: float, ratios: Floats, weights: Floats) -> float:
    """Return the spread of a common factor with which draws would have a mean squared residual like
    this.

    Parameters
    ----------
    square
        The mean of the squared residuals.
    ratios
        Draws without a common factor, relative to their mean: months x draws.
    weights
        Of the months.
    """
    draws = ratios.shape[1]
    middle = (np.arange(draws) + 0.5) / draws
    normal = np.array([NormalDist().inv_cdf(share) for share in middle])
    normal = generator(0, SPREAD).permutation(normal)
    explained = []
    for spread in SPREADS:
        factor = np.exp(spread * normal - spread**2 / 2)
        each = (_residual(ratios * factor) ** 2).mean(axis=1)
        explained.append(float((each * weights).sum()))
    rising = np.maximum.accumulate(explained)
    if square <= rising[0]:
        return 0.0
    return float(np.interp(square, rising, SPREADS))


def _residual(ratio: Floats) -> Floats:
    """Return log(actual / mean), clipped; a total of nothing or less counts as the lowest."""
    return np.minimum(np.log(np.maximum(ratio, np.exp(-CLIP))), CLIP)


def _month_edges(at: int, tz: str, first: int, last: int) -> Ints:
    """Return the first instants of months, counted from the one that begins at or before `at`."""
    local = pd.Timestamp(at, unit="us", tz="UTC").tz_convert(tz)
    month = (local.year - 1970) * 12 + local.month - 1
    months = np.arange(month + first, month + last + 1)
    days = months.view("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return midnights(days * DAY, tz)


__all__ = ["CUTOFFS", "CommonSd", "Expected", "PastTotals", "chance_draws", "estimate"]
