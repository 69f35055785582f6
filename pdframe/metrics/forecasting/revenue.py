"""The revenue of coming periods as expectation and as draws: wins of open deals and of deals that
do not exist yet.

One number of each deal and draw says when the deal is won: an exponential one, which the deal's
cumulative hazard of winning passes in a week or month, or never. So all periods of a draw belong
together, a quarter is the sum of its months, and a team the sum of its members. A factor that all
deals of a draw share scales the hazards: a bad month is bad for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pdframe.metrics._survival import Flags, Floats, Ints
from pdframe.metrics.forecasting._interface import OpenDeals
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.arrivals import NewWins, new_wins
from pdframe.metrics.forecasting.cells import Cells
from pdframe.metrics.forecasting.draws import (
    TIMES,
    VALUES,
    Streams,
    common_factors,
    recentred,
)
from pdframe.metrics.forecasting.money import Money, rounded, units_for
from pdframe.metrics.forecasting.winning_values import Prospects, WinningValues

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

MAX_KEPT_BYTES = 32_000_000
"""Drawn totals of no more bytes are kept: groups that refine or join theirs are drawn faster."""


class _Totals(NamedTuple):
    """The group of each open deal, then of each past win that new deals are like; the drawn revenue
    of open deals: groups x periods x draws.
    """

    group: Ints
    opened: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Revenue:
    """What is needed to compute a forecast of revenue; amounts are whole units.

    Parameters
    ----------
    cells
        Weeks or months of the forecast.
    open_deal
        Ids of the open deals, ascending.
    chance
        P(won by the end of each cell): deals x cells, never falling.
    worth
        Their values at winning.
    new
        Wins of deals not yet created.
    won_deal, won
        Wins from the beginning of the first period to `as_of`: ids and values.
    units
        Whole units of one of the currency.
    rate
        Factor on the hazard of new deals to be won.
    """

    cells: Cells
    open_deal: Ints
    chance: Floats
    worth: Prospects
    new: NewWins
    won_deal: Ints
    won: Ints
    units: int
    rate: float = 1.0
    # Not those of a copy with other chances: `replace` makes new dictionaries.
    _hazards: dict[float, Floats] = field(default_factory=dict, init=False, repr=False)
    # One at most: the last number of draws, seed and spread.
    _totals: dict[tuple[int, int, float], _Totals] = field(
        default_factory=dict, init=False, repr=False
    )

    def by(self, fitted: Fitted, known: Known) -> Revenue:
        """Return the forecast of another method, from what this one was made of."""
        return replace(self, chance=won_by(fitted, open_deals(known), self.cells))

    def from_open(self) -> Ints:
        """Return the expected revenue of each open deal (rows) in each cell (columns)."""
        step = np.diff(self.chance, axis=1, prepend=0.0)
        return np.rint(step * self.worth.mean[:, None]).astype(np.int64)

    def from_new(self) -> Ints:
        """Return the expected revenue of new deals like each past win in each cell."""
        expected = self.scaled_new().by_cell
        return np.rint(expected * self.new.value[:, None]).astype(np.int64)

    def scaled_new(self) -> NewWins:
        """Return the wins of new deals, with `rate` applied."""
        if self.rate == 1.0:
            return self.new
        chance = self.new.chances()
        scaled = -np.expm1(self.rate * np.log1p(-chance))
        step, other = (np.diff(each, axis=1, prepend=0.0) for each in (chance, scaled))
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where(step > 0, other / step, 1.0)
        return replace(
            self.new, expected=self.new.expected * factor[self.new.arrival, self.new.win]
        )

    def drawn(
        self,
        draws: int,
        seed: int,
        common_sd: float,
        open_group: Ints | None = None,
        new_group: Ints | None = None,
        groups: int = 1,
    ) -> tuple[Ints, Ints]:
        """Draw the revenue of open and of new deals: groups x periods x draws.

        Parameters
        ----------
        draws, seed
            How many; what all random numbers follow from.
        common_sd
            Standard deviation of the logarithm of the factor that all deals of a draw share.
        open_group, new_group
            Group of each open deal, and of each past win that new deals are like; None: one group.
        groups
            Number of groups.
        """
        open_group, new_group = (
            np.zeros(count, np.int64) if group is None else group
            for group, count in (
                (open_group, len(self.open_deal)),
                (new_group, len(self.new.deal)),
            )
        )
        key = draws, seed, common_sd
        kept = self._totals.get(key)
        own = np.concatenate((open_group, new_group))
        inside = around = None
        if kept is not None:
            inside = _places(own, kept.group, groups)
            around = _places(kept.group, own, len(kept.opened))
        is_difference = _largest(inside, np.bincount(open_group, minlength=groups))
        factors = common_factors(seed, draws, common_sd)
        shape = groups, len(self.cells.first), draws
        is_drawn = ~is_difference if around is None else np.zeros(groups, np.bool_)
        opened = self._drawn_open(factors, seed, common_sd, open_group, is_drawn, shape)
        new = np.zeros(shape, np.int64)
        flat = new.reshape(-1)
        for cell, draw, like in self.scaled_new().drawn(seed, factors, common_sd):
            place = self.cells.period[cell] * draws + draw
            place = place + new_group[like] * (shape[1] * draws)
            np.add.at(flat, place, self.new.value[like])
        if kept is not None and around is not None:
            has_deals = around >= 0
            np.add.at(opened, around[has_deals], kept.opened[has_deals])
        elif kept is not None and inside is not None:
            for group in np.flatnonzero(is_difference):
                others = (inside == inside[group]) & ~is_difference
                opened[group] = kept.opened[inside[group]] - opened[others].sum(axis=0)
        opened.flags.writeable = False
        if kept is None and opened.nbytes <= MAX_KEPT_BYTES:
            self._totals.clear()
            self._totals[key] = _Totals(own, opened)
        return opened, new

    def _drawn_open(
        self,
        factors: Floats,
        seed: int,
        common_sd: float,
        group: Ints,
        is_drawn: Flags,
        shape: tuple[int, int, int],
    ) -> Ints:
        """Draw the revenue of the open deals of some groups."""
        draws, inverse = len(factors), 1 / factors
        result = np.zeros(shape, np.int64)
        if common_sd not in self._hazards:
            self._hazards[common_sd] = recentred(self.chance, common_sd)
        hazards = self._hazards[common_sd]
        worth, offset = self.worth, self.cells.period * draws
        flat = result.reshape(shape[0], -1)
        times, values = Streams(seed, TIMES), Streams(seed, VALUES)
        time = np.empty(draws)
        can_count = (hazards[:, -1] > 0) & ((worth.value != 0) | (worth.changes > 0))
        for deal in np.flatnonzero(is_drawn[group] & can_count).tolist():
            hazard, key = hazards[deal], int(self.open_deal[deal])
            times.of(key).standard_exponential(out=time)
            np.multiply(time, inverse, out=time)
            won = np.flatnonzero(time < hazard[-1])
            place = offset[np.searchsorted(hazard, time[won], side="right")] + won
            own = flat[group[deal]]
            value = worth.value[deal]
            own[place] += value
            if worth.changes[deal] > 0:
                rows, other = worth.changed(deal, values.uniform(key, won))
                own[place[rows]] += other - value
        return result


def _places(group: Ints, other: Ints, groups: int) -> Ints | None:
    """Return the one of other groups that each of these groups lies in, -1 where it has no deals;
    None where one lies in several.
    """
    result = np.full(groups, -1)
    result[group] = other
    return result if (result[group] == other).all() else None


def _largest(inside: Ints | None, size: Ints) -> Flags:
    """Return whether each group is the largest of those that lie in the same one; `inside` is the
    one that each lies in, None where none is known: then none is.
    """
    result = np.zeros(len(size), np.bool_)
    if inside is not None:
        order = np.lexsort((size, inside))
        order = order[inside[order] >= 0]
        result[order[np.append(inside[order][1:] != inside[order][:-1], True)[: len(order)]]] = True
    return result


def revenue_of(
    known: Known, fitted: Fitted, cells: Cells, money: Money, values: WinningValues
) -> Revenue:
    """Return the revenue of the cells from what is known before them.

    Parameters
    ----------
    known
        Everything known at the last instant before the cells.
    fitted
        A method that has learned from it, or from an earlier time.
    cells
        Weeks or months.
    money
        Converts values.
    values
        What is known of values at winning, at that time or an earlier one.
    """
    deals = open_deals(known)
    value, kind = money.counted(deals.value, deals.currency)
    wins = known.wins
    within = np.flatnonzero(wins.day >= cells.first[0])
    won, _ = money.counted(wins.value, wins.currency)
    units = units_for(value, won)
    return Revenue(
        cells,
        deals.deal,
        won_by(fitted, deals, cells),
        values.of(value, kind, units),
        new_wins(known, cells, money, units),
        wins.deal[within],
        rounded(won[within], units),
        units,
    )


def open_deals(known: Known) -> OpenDeals:
    """Return the deals that are open at `as_of`, by id."""
    deals = known.open_at(np.array([known.as_of]))
    return deals.take(np.argsort(deals.deal, kind="stable"))


def won_by(fitted: Fitted, deals: OpenDeals, cells: Cells) -> Floats:
    """Return P(won by the end of each cell), deals x cells."""
    if not len(deals):
        return np.zeros((0, len(cells)))
    chance = np.clip(fitted.predict(deals, cells.horizons).won, 0.0, 1.0)
    return np.maximum.accumulate(chance, axis=1)


__all__ = ["Revenue", "open_deals", "revenue_of", "won_by"]
