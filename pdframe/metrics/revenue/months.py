"""MRR month by month: of every customer, and in all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TypeAlias

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import keyed, keys
from pdframe.metrics._columns import Floats, Ints, ratio
from pdframe.metrics._notes import noted
from pdframe.metrics.currency import RateTable
from pdframe.metrics.revenue.customers import with_names
from pdframe.metrics.revenue.ledger import ledger
from pdframe.metrics.revenue.periods import NEVER, as_months, month_window
from pdframe.metrics.revenue.prices import in_units
from pdframe.metrics.revenue.running_month import note_running_month
from pdframe.metrics.revenue.units import Months, units

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

MOVEMENTS = ("new", "reactivation", "expansion", "contraction", "churn")
MOVEMENT = pd.CategoricalDtype(list(MOVEMENTS))
NEW, REACTIVATION, EXPANSION, CONTRACTION, CHURN = range(5)

CUSTOMER_MONTHS = (
    "month",
    "customer",
    "customer_name",
    "currency",
    "mrr",
    "previous",
    "movement",
    "amount",
    "fx",
    "expired",
    "cohort",
)
SCHEDULE = ("month", "currency", "mrr", "arr", "customers", "arpa")


@noted
def mrr_customer_months(
    lines: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """Return the MRR of every customer in every month: one row per month, customer and currency
    (and group) with MRR in that month or the one before.

    Schedule, movements and retention are group-bys of it; `drill_through(row, lines)` leads from a
    row to its line items.

    Parameters
    ----------
    lines
        As `mrr_lines` gives them, filtered or not; those with a problem are left out. All of them
        count, also before `since`.
    since, until
        Months by their first day, since inclusive, until exclusive; since None: from the first MRR
        on. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    by
        Columns of `lines`, unchanged: customer x group is the unit then. Null is a group.
    rates
        None: each currency of a customer is a unit of its own. Else a mapping currency -> value of
        one unit in the common currency, or a frame (currency, date, rate) whose last rate on or
        before a month's last day is the month's (a warning names those older than 10 days); a
        customer's currencies are added up.

    Returns
    -------
    DataFrame
        By customer, group, currency and month. The columns of `by`, then month (its first day),
        customer, customer_name (where `lines` has it), currency (with `rates` the one whose rate is
        always 1, null where unknown), mrr, previous (as stated in the month before), movement (new,
        reactivation, expansion, contraction, churn; null: none), amount (of the movement, losses
        negative), fx (of rates alone), expired (part of churn whose lines expired without a known
        cancellation), cohort (month of the unit's first MRR; null: not above 0 yet).

    Raises
    ------
    ArgumentError
        A column is missing, an argument is no time, or a currency has no rate on or before a month
        in which it is needed.

    Warns
    -----
    DataWarning
        `lines` has no `customer_name`; rates are old.

    Notes
    -----
    A customer is active where mrr > 0; overlapping lines add up. new: never active before;
    reactivation: active before, not last month; churn: to nothing; else expansion or contraction by
    sign. With `rates`, amount = the change in each currency at this month's rate, fx = last month's
    MRR x (this month's rate - last month's). mrr = previous + amount + fx, exactly in millionths:
    amounts times 1e6, rounded, are the integers that were added up (up to 2e9 units each; beyond
    that a float has fewer decimals).

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> months = metrics.mrr_customer_months(lines, since="2026-05-01", until="2026-07-01")
    >>> months["movement"].value_counts().loc[lambda count: count > 0].to_dict()
    {'new': 2, 'expansion': 2, 'churn': 2}
    """
    names = keys(by, CUSTOMER_MONTHS, lines)
    kept = units(ledger(lines, names), rates)
    first, end = month_window(since, until, kept.ledger.earliest)
    months = kept.months(first, end)
    cohort = kept.first_active(end)
    kind = kinds(months, cohort)
    series = kept.series[months.unit]
    result = kept.keys[names].take(series).reset_index(drop=True)
    result["month"] = as_months(months.month)
    result["customer"] = pd.Series(
        kept.ledger.customers.take(kept.customer[months.unit]), dtype="str"
    )
    result["currency"] = pd.Series(kept.keys["currency"].to_numpy()[series], dtype="str")
    result["mrr"], result["previous"] = in_units(months.now), in_units(months.before)
    result["movement"] = pd.Categorical.from_codes(kind, dtype=MOVEMENT)
    result["amount"] = in_units(months.now - months.before - months.fx)
    result["fx"], result["expired"] = in_units(months.fx), in_units(expired(months, kind))
    begun = cohort[months.unit]
    result["cohort"] = as_months(np.where(begun <= months.month, begun, NEVER))
    # With rates a row has all currencies of the customer, so one currency does not identify its
    # lines.
    kept.warn_of_stale()
    return keyed(
        with_names(lines, result),
        ["month", "customer", *([] if rates is not None else ["currency"]), *names],
    )


@noted
def mrr_schedule(
    lines: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """MRR, ARR, customers and MRR per customer of every month: one row a month and currency (and
    group).

    Parameters
    ----------
    lines, since, until, by, rates
        As in `mrr_customer_months`.

    Returns
    -------
    DataFrame
        By group, month and currency, every month of the window for all that ever had MRR. The
        columns of `by`, then month, currency, mrr (of the day on which the policy samples), arr (12
        x mrr), customers (those above 0; with `by`, in the group), arpa (mrr / customers; null
        where there is none).

    Raises
    ------
    ArgumentError
        As in `mrr_customer_months`.

    Warns
    -----
    DataWarning
        A month was not over, and its row is not the MRR of that day; rates are old.

    Notes
    -----
    A row is the MRR of one day, by default the month's last. For a month that is not over that day
    lies ahead: lines that are known to start or to end until then count so, and the row is not the
    MRR of today. A warning names both figures where they differ, for the day of `until` if that is
    inside a month, else for the day of the last change of a deal. MRR of any day, by customer:
    `top_customers(lines, as_of="2026-07-12")`.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> months = {"since": "2026-05-01", "until": "2026-07-01"}
    >>> schedule = metrics.mrr_schedule(lines, **months, rates=rates)
    >>> schedule[["month", "currency", "mrr", "customers"]]
           month currency            mrr  customers
    0 2026-05-01      EUR  119362.123312         32
    1 2026-06-01      EUR   43270.667312         30
    """
    names = keys(by, SCHEDULE, lines)
    kept = units(ledger(lines, names), rates)
    first, end = month_window(since, until, kept.ledger.earliest)
    months, width = kept.months(first, end), end - first
    mrr = kept.total(months.unit, months.month, months.now, first, width)
    count = kept.total(months.unit, months.month, months.active.astype(np.int64), first, width)
    columns: dict[str, Ints | Floats] = {
        "mrr": in_units(mrr),
        "arr": in_units(12 * mrr),
        "customers": count,
        "arpa": ratio(in_units(mrr), count),
    }
    kept.warn_of_stale()
    result = kept.grid(first, width, columns)
    note_running_month(lines, result, until, kept.rates)
    return keyed(result, ["month", *([] if rates is not None else ["currency"]), *names])


def kinds(months: Months, cohort: Ints) -> Ints:
    """Return the movement of each row as a place in MOVEMENTS, -1 where there is none."""
    change = months.now - months.before - months.fx
    received, went = months.active & ~months.was_active, months.was_active & ~months.active
    changed = np.sign(change)
    kind = np.where(changed > 0, EXPANSION, np.where(changed < 0, CONTRACTION, -1))
    kind = np.where(received, np.where(months.month > cohort[months.unit], REACTIVATION, NEW), kind)
    return np.where(went, CHURN, kind)


def expired(months: Months, kind: Ints) -> Ints:
    """Return the part of churn whose lines expired without a known cancellation, at most the churn
    itself.
    """
    change = months.now - months.before - months.fx
    return np.where(kind == CHURN, np.minimum(np.maximum(-months.ran_out, change), 0), 0)


def full_months(months: object) -> int:
    """Return a number of months, at least 1; else `ArgumentError`."""
    if (
        isinstance(months, bool)
        or not isinstance(months, int | np.integer)
        or not 1 <= months <= 1_200
    ):
        raise ArgumentError(f"months={months!r} must be a whole number from 1 to 1,200.")
    return int(months)


__all__ = [
    "MOVEMENTS",
    "Moment",
    "expired",
    "full_months",
    "kinds",
    "mrr_customer_months",
    "mrr_schedule",
]
