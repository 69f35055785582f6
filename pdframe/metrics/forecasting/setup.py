"""A forecast before its draws: check the arguments, fit the method, find the groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import grouped, keyed, require_columns
from pdframe.metrics._columns import one_row_each, places, plain_ids
from pdframe.metrics._grouping import taken
from pdframe.metrics._periods import Frequency, ending, frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting._checks import (
    draw_count,
    notes_of,
)
from pdframe.metrics.forecasting._interface import DAY, OpenDeals
from pdframe.metrics.forecasting._labels import group_names
from pdframe.metrics.forecasting.cells import Cells, cells_between
from pdframe.metrics.forecasting.common_sd import CommonSd, PastTotals, estimate
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.money import Money
from pdframe.metrics.forecasting.revenue import Revenue, open_deals
from pdframe.metrics.forecasting.winning_values import Prospects, WinningValues

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

QUANTILES = (10, 50, 90)
"""Per cent."""
_CREATED = 365 * DAY
"""Deals created in this time say whose new deals are."""


class Setup(NamedTuple):
    """A forecast before its draws.

    Parameters
    ----------
    known, open_deals, revenue, spread
        What is known, the open deals by id, the revenue of the periods, the common factor.
    names, groups
        Columns of `by`, and their values, one row a group.
    open_group, new_group, won_group
        Group of each open deal, past win that new deals are like, win inside the first period.
    deals_new
        Expected number of new deals: groups x periods.
    currency
        Of the amounts; None where each group has its own, or it is unknown.
    frequency
        Length of periods.
    money, values
        What converts values, and what is known of those at winning.
    """

    known: Known
    open_deals: OpenDeals
    revenue: Revenue
    spread: CommonSd
    names: list[str]
    groups: pd.DataFrame
    open_group: Ints
    new_group: Ints
    won_group: Ints
    deals_new: Floats
    currency: str | None
    frequency: Frequency
    money: Money
    values: WinningValues

    def worth_of(self, value: Floats) -> Prospects:
        """Return what the open deals are worth when won, if these are their values now."""
        amount, kind = self.money.counted(value, self.open_deals.currency)
        return self.values.of(amount, kind, self.revenue.units)


class Expectation(NamedTuple):
    """Expected revenue, in whole units: groups x periods."""

    won_already: Ints
    from_open: Ints
    from_new: Ints

    @property
    def mean(self) -> Ints:
        """The expectation of the total."""
        return self.won_already + self.from_open + self.from_new


@dataclass(frozen=True, slots=True, eq=False)
class MonthTotals:
    """The forecast of the months after a time, in currency units.

    Parameters
    ----------
    mean
        Expected revenue of each.
    draws
        Months x draws.
    spread
        The common factor that was used.
    """

    mean: Floats
    draws: Floats
    spread: CommonSd


def months_after(known: Known, months: int) -> Cells:
    """Return the months after a time, the one that is partly over counted as one."""
    begin = pd.Timestamp(known.as_of + 1, unit="us", tz="UTC").tz_convert(known.tz)
    last = begin.tz_localize(None).to_period("M") + months - 1
    return cells_between(known.as_of, ending(last, known.tz, "months"), Frequency("M"), known.tz)


def month_totals(known: Known, revenue: Revenue, past: PastTotals, draws: int) -> MonthTotals:
    """Forecast the months after `known.as_of`.

    Parameters
    ----------
    known, revenue
        What is known, and what follows of `months_after` it.
    past
        What was expected earlier; one object serves all times of an account.
    draws
        How many.
    """
    spread = estimate(known, past)
    won = np.zeros(len(revenue.cells), np.int64)
    won[0] = revenue.won.sum()
    opened, new = revenue.drawn(draws, past.seed, spread.value)
    mean = won + revenue.from_open().sum(axis=0) + revenue.from_new().sum(axis=0)
    total = won[:, None] + opened[0] + new[0]
    return MonthTotals(mean / revenue.units, total / revenue.units, spread)


def set_up(
    learned: Learned,
    deals: pd.DataFrame,
    *,
    until: Any,
    freq: str = "M",
    names: list[str],
    rates: RateTable | None = None,
    spread: float | None = None,
    fiscal_start: int = 1,
    step: Callable[[], None] = lambda: None,
) -> Setup:
    """Check the arguments of `forecast`, learn what is not learned yet and compute what is
    expected; call `step` from time to time.

    Parameters
    ----------
    learned
        Of the time of the forecast.
    deals
        The columns of `names`, by `id`.
    until, freq, names, rates, spread, fiscal_start
        As in `forecast`: `names` are those of `by`, `spread` is `common_sd`.
    """
    known = learned.known
    length = frequency(freq, fiscal_start)
    _check_spread(spread)
    if rates is not None and "currency" in names:
        raise ArgumentError(
            "by='currency' keeps currencies apart and `rates` adds them up: give one of the two."
        )
    plain = require_columns(deals, "deals", ["id"], names).reset_index(drop=True)
    cells = cells_between(known.as_of, ending(until, known.tz, "until"), length, known.tz)
    money, values, revenue, notes = learned.outlook(cells, rates, apart="currency" in names)
    factor = learned.spread(step) if spread is None else CommonSd(float(spread), 0, True)
    for text in notes:
        warn(text)
    members = _members(known, revenue)
    return Setup(
        known,
        open_deals(known),
        revenue,
        factor,
        names,
        *_grouped(members, plain, names, revenue),
        money.currency,
        length,
        money,
        values,
    )


def drawn_totals(setup: Setup, draws: int, seed: int) -> tuple[Ints, Ints]:
    """Draw the revenue from open and from new deals: groups x periods x draws."""
    return setup.revenue.drawn(
        draw_count(draws),
        seed,
        setup.spread.value,
        setup.open_group,
        setup.new_group,
        len(setup.groups),
    )


def expectation(setup: Setup) -> Expectation:
    """Return what is expected of each group and period."""
    revenue, count = setup.revenue, len(setup.groups)
    cells = revenue.cells
    shape = count, len(cells.first)
    parts = []
    for amounts, group in (
        (revenue.from_open(), setup.open_group),
        (revenue.from_new(), setup.new_group),
    ):
        result = np.zeros(shape, np.int64)
        np.add.at(result, group, cells.summed(amounts))
        parts.append(result)
    won = np.zeros(shape, np.int64)
    np.add.at(won[:, 0], setup.won_group, revenue.won)
    return Expectation(won, *parts)


def quantiles(totals: Ints) -> Ints:
    """Return the smallest totals that at least 10, 50 and 90 % of the draws do not exceed: last
    axis.
    """
    draws = totals.shape[-1]
    place = [-(-draws * percent // 100) - 1 for percent in QUANTILES]
    ordered = np.partition(totals, sorted(set(place)), axis=-1)
    return np.asarray(ordered[..., place], np.int64)


def notes_of_data(setup: Setup) -> list[str]:
    """Return what the reader must know of the deals and of the account's past."""
    notes = list(notes_of(setup.known))
    deals = setup.open_deals
    null = int(np.isnan(deals.value).sum())
    if null:
        first = f"{null:,} of {len(deals):,} open deals have no known value: they count 0."
        notes.insert(0, first) if null == len(deals) else notes.append(first)
    wins = setup.known.wins
    for rows, what in ((deals, "open"), (wins, "won")):
        bare = setup.money.uncounted(rows.value, rows.currency)
        if bare:
            notes.append(
                f"{bare:,} {what} deals have a value and no currency, so that `rates` cannot"
                " convert them: they count 0."
            )
    if not setup.spread.estimated:
        notes.append(
            f"Only {setup.spread.cutoffs} earlier months could be compared with what was expected"
            f" of them: common_sd is taken to be {setup.spread.value:g}."
        )
    return notes


def key_columns(setup: Setup, times: int) -> pd.DataFrame:
    """Return the columns that name the rows, each row repeated."""
    first = setup.revenue.cells.first
    group = np.repeat(np.arange(len(setup.groups)), len(first) * times)
    result = setup.groups.take(group).reset_index(drop=True)
    period = np.repeat((first * DAY).view("datetime64[us]"), times)
    result["period"] = np.tile(period, len(setup.groups))
    if "currency" not in setup.names:
        result["currency"] = pd.Series([setup.currency], dtype="str").repeat(len(group)).array
    return result


def described(result: pd.DataFrame, setup: Setup) -> pd.DataFrame:
    """Record in `attrs` what the rows are of."""
    as_of = pd.Timestamp(setup.known.as_of, unit="us", tz="UTC")
    result = keyed(result, [*setup.names, "period"], setup.known.tz)
    result.attrs["as_of"] = as_of.isoformat()
    result.attrs["freq"] = setup.frequency.freq
    result.attrs["until"] = pd.Timestamp(
        int(setup.revenue.cells.end[-1]), unit="us", tz="UTC"
    ).isoformat()
    return result


def _members(known: Known, revenue: Revenue) -> list[Ints]:
    """Return the ids of the deals that need a group: open, like new ones, won, newly created."""
    created = known.created
    recent = created.deal[created.added > known.as_of - _CREATED]
    return [revenue.open_deal, revenue.new.deal, revenue.won_deal, recent]


def _grouped(
    members: list[Ints], deals: pd.DataFrame, names: list[str], revenue: Revenue
) -> tuple[pd.DataFrame, Ints, Ints, Ints, Floats]:
    """Return the groups, the one of each member, and the expected number of new deals."""
    every = np.concatenate(members)
    place = places(plain_ids(one_row_each(deals, "deals")), every)
    columns = pd.DataFrame(
        {name: taken(deals[name], place) for name in names}, index=pd.RangeIndex(len(every))
    )
    codes, groups = grouped(columns, names)
    limits = np.cumsum([len(each) for each in members])[:-1]
    opened, new, won, created = np.split(codes, limits)
    share = np.bincount(created, minlength=len(groups)) / max(len(created), 1)
    return groups, opened, new, won, share[:, None] * revenue.cells.summed(revenue.new.created)


def _check_spread(spread: Any) -> None:
    if spread is None:
        return
    number = isinstance(spread, int | float | np.number) and not isinstance(spread, bool)
    if not number or not 0 <= float(spread) <= 1.5:
        raise ArgumentError(f"common_sd={spread!r} must be a number from 0 to 1.5, or None.")


__all__ = [
    "QUANTILES",
    "Expectation",
    "Moment",
    "MonthTotals",
    "Setup",
    "described",
    "drawn_totals",
    "expectation",
    "group_names",
    "key_columns",
    "month_totals",
    "notes_of_data",
    "quantiles",
    "set_up",
]
