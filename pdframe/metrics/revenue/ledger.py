"""The MRR of every customer, currency and group as a step function of the month, exact in whole
millionths, and its rows in a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import grouped, require_columns
from pdframe.metrics._columns import Flags, Floats, Ints, equals, warn_of_uncountable
from pdframe.metrics.currency import Rates
from pdframe.metrics.revenue.periods import (
    NEVER,
    NULL,
    as_dates,
    days_of,
    first_day,
    months_of,
    sampled,
)
from pdframe.metrics.revenue.prices import exact_amounts

NEEDED = ("customer", "currency", "mrr", "start", "end", "end_reason", "problem")
"""Columns that every figure of recurring revenue needs of lines; month_from and month_until are
used where present.
"""


class Rows(NamedTuple):
    """One row a slice and month in which it has MRR, or had it the month before.

    Attributes
    ----------
    slice
        Number of the slice: a customer in one currency and group.
    month
        Months since 1970.
    now, before
        MRR of this month and of the one before.
    ran_out
        What of `before` ended with its term in this month.
    """

    slice: Ints
    month: Ints
    now: Ints
    before: Ints
    ran_out: Ints


@dataclass(frozen=True)
class Ledger:
    """Steps of the MRR of every slice, by slice and month.

    Attributes
    ----------
    slice, month, level
        From `month` on the slice has `level`, up to its next step.
    ran_out
        MRR of lines that ended with their term in `month`.
    customers, currencies, groups
        Names by number; groups are a frame of the columns of `by`.
    customer, currency, group
        Numbers of each slice. Slices are in the order of customer, group, currency.
    by
        The columns that groups are made of.
    """

    slice: Ints
    month: Ints
    level: Ints
    ran_out: Ints
    customers: pd.Index[Any]
    currencies: pd.Index[Any]
    groups: pd.DataFrame
    customer: Ints
    currency: Ints
    group: Ints
    by: list[str]

    @property
    def earliest(self) -> int | None:
        """The first month with a step, None where there is none."""
        return int(self.month.min()) if len(self.month) else None

    @property
    def before(self) -> Ints:
        """The level that each step leaves."""
        return np.where(self._first, 0, np.append(0, self.level)[: len(self.level)])

    @property
    def until(self) -> Ints:
        """The month of the slice's next step, `NEVER` where there is none."""
        return np.where(
            np.append(self._first[1:], True)[: len(self.month)], NEVER, np.append(self.month, 0)[1:]
        )

    @property
    def _first(self) -> Flags:
        return np.append(True, self.slice[1:] != self.slice[:-1])[: len(self.slice)]

    def rows(self, first: int, end: int, among: Flags | None = None) -> Rows:
        """Return the rows of the months from `first` up to `end`, by slice and month; `among`
        chooses slices.
        """
        until, before = self.until, self.before
        low, high = np.maximum(self.month, first), np.minimum(until, end)
        left = (self.level == 0) & (before != 0) & (self.month >= first) & (self.month < end)
        count = np.where(self.level != 0, np.maximum(high - low, 0), left)
        if among is not None:
            count = np.where(among[self.slice], count, 0)
        step = np.repeat(np.arange(len(count)), count)
        month = low[step] + np.arange(len(step)) - np.repeat(np.cumsum(count) - count, count)
        starts = month == self.month[step]
        level = self.level[step]
        return Rows(
            self.slice[step],
            month,
            level,
            np.where(starts, before[step], level),
            np.where(starts, self.ran_out[step], 0),
        )

    def first_active(self, unit: Ints, units: int) -> Ints:
        """Return the first month in which a slice of each unit is above 0, `NEVER` where none ever
        is.
        """
        result = np.full(units, NEVER)
        above = self.level > 0
        np.minimum.at(result, unit[self.slice[above]], self.month[above])
        return result

    def mixed(self, unit: Ints, units: int) -> Flags:
        """Return which units have slices both above and below 0 at some time, so that rates decide
        whether they are active.
        """
        above, below = np.zeros(units, np.bool_), np.zeros(units, np.bool_)
        above[unit[self.slice[self.level > 0]]] = True
        below[unit[self.slice[self.level < 0]]] = True
        return above & below

    def rates(self, rates: Rates, currency: Ints, month: Ints) -> Floats:
        """Return the rate of each currency (by number) on the last day of each month; each pair is
        looked up once.
        """
        if not len(month):
            return np.zeros(0)
        first = int(month.min())
        width = int(month.max()) - first + 1
        wanted = np.zeros(len(self.currencies) * width, np.bool_)
        place = currency * width + (month - first)
        wanted[place] = True
        pairs = np.flatnonzero(wanted)
        names = pd.Series(self.currencies.take(pairs // width), dtype="str")
        days = as_dates(first_day(pairs % width + first + 1) - 1)
        table = np.full(len(wanted), np.nan)
        table[pairs] = rates.at(names, days, np.ones(len(pairs), np.bool_))
        result: Floats = table[place]
        return result


def ledger(lines: pd.DataFrame, by: Sequence[str]) -> Ledger:
    """Return the steps of all lines that count.

    Raises
    ------
    ArgumentError
        A column is missing, an amount is too large, or a line that counts has no customer or
        currency.
    """
    lines = require_columns(lines, "lines", NEEDED, by)
    reported = {"month_from", "month_until"} <= {*lines.columns}
    warn_of_uncountable(
        lines, "lines", moments=["month_from" if reported else "start"], numbers=["mrr"]
    )
    start, until = counted_months(lines)
    amount = exact_amounts(lines, "mrr")
    counts = lines["problem"].isna().to_numpy() & (amount != 0) & (start != NULL) & (start < until)
    kept, start, until, amount = lines[counts], start[counts], until[counts], amount[counts]
    for column in ("customer", "currency"):
        if kept[column].isna().any():
            raise ArgumentError(
                f"{column} is null in {kept[column].isna().sum()} lines that count. Fill it in, or"
                " set their `problem`."
            )
    # As text: the order of categories is that of some reader.
    customer, customers = pd.factorize(kept["customer"].astype("str"), sort=True)
    currency, currencies = pd.factorize(kept["currency"].astype("str"), sort=True)
    group, groups = grouped(kept, by)
    code = (customer.astype(np.int64) * max(len(groups), 1) + group) * max(
        len(currencies), 1
    ) + currency
    codes, owner = np.unique(code, return_inverse=True)
    ended = until != NEVER
    term = equals(kept, "end_reason", "term") & ended
    base = int(start.min()) if len(start) else 0
    span = int(max(start.max(), until[ended].max(initial=base))) - base + 1 if len(start) else 1
    events = np.concatenate(
        [owner * span + (start - base), owner[ended] * span + (until[ended] - base)]
    )
    change = np.concatenate([amount, -amount[ended]])
    deleted = np.concatenate([np.zeros(len(amount), np.int64), np.where(term, amount, 0)[ended]])
    order = np.argsort(events, kind="stable")
    events, change, deleted = events[order], change[order], deleted[order]
    at = np.flatnonzero(np.append(True, events[1:] != events[:-1])[: len(events)])
    whose, month = np.divmod(events[at], span)
    total = np.cumsum(np.add.reduceat(change, at)) if len(at) else change
    # Subtracts the open lines of earlier slices, which never end.
    first = np.append(True, whose[1:] != whose[:-1])[: len(whose)]
    left = np.append(0, total)[: len(total)]
    level = total - left[first][np.cumsum(first) - 1] if len(at) else total
    return Ledger(
        slice=whose,
        month=month + base,
        level=level,
        ran_out=np.add.reduceat(deleted, at) if len(at) else deleted,
        customers=pd.Index(customers),
        currencies=pd.Index(currencies),
        groups=groups,
        customer=codes // (max(len(groups), 1) * max(len(currencies), 1)),
        currency=codes % max(len(currencies), 1),
        group=codes // max(len(currencies), 1) % max(len(groups), 1),
        by=list(by),
    )


def counted_months(lines: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return the first month in which each line counts and the first in which it no longer does; by
    the month's last day by default.
    """
    if "month_from" in lines.columns and "month_until" in lines.columns:
        start, until = (days_of(lines, column) for column in ("month_from", "month_until"))
        known = start != NULL
        months = [
            np.where(known, months_of(np.where(days == NULL, 0, days)), NULL)
            for days in (start, until)
        ]
        return months[0], np.where(known & (until == NULL), NEVER, months[1])
    start, until = days_of(lines, "start"), days_of(lines, "end")
    return sampled(start, until, "end", start != NULL)
