"""The MRR of every unit and month: a customer in one currency, or with rates a customer in all of
them, each within its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from pdframe.metrics._columns import Flags, Floats, Ints
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.revenue.ledger import Ledger, Rows
from pdframe.metrics.revenue.periods import NEVER, as_months


class Months(NamedTuple):
    """One row per unit and month in which it has MRR, or had it the month before; amounts in whole
    millionths.

    Attributes
    ----------
    unit
        Number of the unit.
    month
        Months since 1970.
    now, before
        MRR of this month, and of the one before as it was stated then.
    fx
        The part of the difference from rates alone.
    ran_out
        What of `before` ended with its term, at this month's rate.
    active, was_active
        Whether the unit is above 0, and was the month before.
    """

    unit: Ints
    month: Ints
    now: Ints
    before: Ints
    fx: Ints
    ran_out: Ints
    active: Flags
    was_active: Flags


@dataclass(frozen=True)
class Units:
    """The units of a ledger.

    Attributes
    ----------
    ledger
        The steps of their slices.
    unit
        Number of the unit of each slice.
    customer, series
        Numbers of each unit: its customer, and the rows of results that it counts in.
    keys, group
        One row a series: the columns of `by`, and the currency; number of its group.
    rates
        None: currencies are kept apart.
    """

    ledger: Ledger
    unit: Ints
    customer: Ints
    series: Ints
    keys: pd.DataFrame
    group: Ints
    rates: Rates | None

    def warn_of_stale(self) -> None:
        """Warn once of old rates that were used."""
        if self.rates is not None:
            self.rates.warn_of_stale()

    def months(self, first: int, end: int) -> Months:
        """Return the months from `first` up to `end`."""
        return self.stated(self.ledger.rows(first, end))

    def stated(self, rows: Rows) -> Months:
        """State rows of slices at the rates of their month, summed by unit."""
        unit = self.unit[rows.slice]
        if self.rates is None:
            return Months(
                unit,
                rows.month,
                rows.now,
                rows.before,
                np.zeros_like(rows.now),
                rows.ran_out,
                rows.now > 0,
                rows.before > 0,
            )
        now, kept = (
            self.at_rates(rows.slice, rows.month, rows.now),
            self.at_rates(rows.slice, rows.month, rows.before),
        )
        before = self.at_rates(rows.slice, rows.month - 1, rows.before)
        deleted = self.at_rates(rows.slice, rows.month, rows.ran_out)
        (unit, month), (now_sum, before_sum, kept_sum, deleted_sum) = by_month(
            unit, rows.month, [now, before, kept, deleted]
        )
        signs = by_month(
            self.unit[rows.slice],
            rows.month,
            [*above_and_below(rows.now), *above_and_below(rows.before)],
        )[1]
        active, was_active = is_active(now_sum, *signs[:2]), is_active(before_sum, *signs[2:])
        return Months(
            unit, month, now_sum, before_sum, kept_sum - before_sum, deleted_sum, active, was_active
        )

    def at_rates(self, slice: Ints, month: Ints, amount: Ints) -> Ints:
        """Return amounts of slices at the rates of a month; without rates as they are. A rate is
        needed where an amount is not 0.
        """
        if self.rates is None:
            return amount
        result = np.zeros(len(amount), np.int64)
        rows = np.flatnonzero(amount)
        rate = self.ledger.rates(self.rates, self.ledger.currency[slice[rows]], month[rows])
        result[rows] = np.rint(amount[rows] * rate).astype(np.int64)
        return result

    def first_active(self, end: int) -> Ints:
        """Return the first month in which each unit is active, `NEVER` where it never is; with
        rates, where it is not before `end`.
        """
        first = self.ledger.first_active(self.unit, len(self.customer))
        if self.rates is None:
            return first
        mixed = self.ledger.mixed(self.unit, len(self.customer))
        if mixed.any() and self.ledger.earliest is not None:
            rows = self.ledger.rows(self.ledger.earliest, end, mixed[self.unit])
            key = (
                self.unit[rows.slice] * (end - self.ledger.earliest)
                + rows.month
                - self.ledger.earliest
            )
            keys, place = np.unique(key, return_inverse=True)
            above, below = (
                np.bincount(place, sign, minlength=len(keys)).astype(np.int64)
                for sign in above_and_below(rows.now)
            )
            # Only here past rates matter: amounts above 0 in one currency and below in another are
            # added.
            weighed = ((above > 0) & (below > 0))[place]
            total = np.zeros(len(keys), np.int64)
            np.add.at(
                total,
                place[weighed],
                self.at_rates(rows.slice[weighed], rows.month[weighed], rows.now[weighed]),
            )
            active = is_active(total, above, below)
            first[mixed] = NEVER
            np.minimum.at(
                first,
                keys[active] // (end - self.ledger.earliest),
                keys[active] % (end - self.ledger.earliest) + self.ledger.earliest,
            )
        return first

    def total(self, unit: Ints, month: Ints, amount: Ints, first: int, width: int) -> Ints:
        """Return the exact sums of amounts by series and month, series by series."""
        result = np.zeros(len(self.keys) * width, np.int64)
        np.add.at(result, self.series[unit] * width + (month - first), amount)
        return result

    def grid(self, first: int, width: int, columns: dict[str, Ints | Floats]) -> pd.DataFrame:
        """Return a frame of every series and month, by group, month and currency: the columns of
        `by`, month, currency, then `columns`.

        `columns` are given series by series.
        """
        series = np.repeat(np.arange(len(self.keys)), width)
        month = np.tile(np.arange(first, first + width, dtype=np.int64), len(self.keys))
        order = np.lexsort((series, month, self.group[series]))
        series, month = series[order], month[order]
        result = self.keys[self.ledger.by].take(series).reset_index(drop=True)
        result["month"] = as_months(month)
        result["currency"] = self.keys["currency"].take(series).to_numpy()
        for name, values in columns.items():
            result[name] = pd.Series(values[order]).astype(
                "Int64" if values.dtype.kind == "i" else "float64"
            )
        return result.astype({"currency": "str"})


def above_and_below(amount: Ints) -> list[Ints]:
    """Return 1 where an amount is above 0, and where it is below."""
    return [(amount > 0).astype(np.int64), (amount < 0).astype(np.int64)]


def is_active(total: Ints, above: Ints, below: Ints) -> Flags:
    """Return where a unit is active: without rates if some currency is above 0 and none below, else
    if its total is.
    """
    return np.where((above > 0) & (below > 0), total > 0, above > 0)


def by_month(unit: Ints, month: Ints, amounts: list[Ints]) -> tuple[tuple[Ints, Ints], list[Ints]]:
    """Return each unit and month that occurs, and the exact sums of amounts there; units are in
    order already or are sorted.
    """
    if not len(unit):
        return (unit, month), amounts
    base = int(month.min())
    span = int(month.max()) - base + 1
    key = unit * span + (month - base)
    if (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
        key, amounts = key[order], [amount[order] for amount in amounts]
    at = np.flatnonzero(np.append(True, key[1:] != key[:-1]))
    units, months = np.divmod(key[at], span)
    return (units, months + base), [np.add.reduceat(amount, at) for amount in amounts]


def units(ledger: Ledger, rates: RateTable | None) -> Units:
    """Return the units of a ledger, under `rates` or with currencies kept apart."""
    if rates is None:
        unit, customer = np.arange(len(ledger.customer)), ledger.customer
        code = ledger.group * max(len(ledger.currencies), 1) + ledger.currency
        pairs, series = np.unique(code, return_inverse=True)
        group = pairs // max(len(ledger.currencies), 1)
        keys = ledger.groups.take(group).reset_index(drop=True)
        names = (
            ledger.currencies.take(pairs % max(len(ledger.currencies), 1))
            if len(pairs)
            else ledger.currencies[:0]
        )
        keys["currency"] = pd.Series(names, dtype="str")
        return Units(ledger, unit, customer, series, keys, group, None)
    table = Rates(rates)
    code = ledger.customer * max(len(ledger.groups), 1) + ledger.group
    pairs, unit = np.unique(code, return_inverse=True)
    group = pairs % max(len(ledger.groups), 1)
    used, series = np.unique(group, return_inverse=True)
    keys = ledger.groups.take(used).reset_index(drop=True)
    keys["currency"] = pd.Series([table.target] * len(keys), dtype="str")
    return Units(ledger, unit, pairs // max(len(ledger.groups), 1), series, keys, used, table)
