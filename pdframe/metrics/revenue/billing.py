"""Amounts billed by month: periods of recurring lines, one-time lines, and installments."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import ending, keyed, moment, require_columns, zone_of
from pdframe.metrics._columns import Flags, Floats, Ints, amounts, finite, ids
from pdframe.metrics._notes import noted
from pdframe.metrics._states import Deleted, check_deleted
from pdframe.metrics.revenue._line_warnings import named, warn_of_problems
from pdframe.metrics.revenue.customers import Contacts
from pdframe.metrics.revenue.endings import Cancellations, known_cancellations, warn_of_open_lines
from pdframe.metrics.revenue.lines import BILLED, ledger_columns, won_lines
from pdframe.metrics.revenue.months import Moment
from pdframe.metrics.revenue.periods import (
    NULL,
    ONE_TIME,
    WEEKLY,
    add_periods,
    as_dates,
    days_of,
    frequencies,
    months_of,
)
from pdframe.metrics.revenue.policy import RevenuePolicy, chosen
from pdframe.metrics.revenue.prices import LARGEST, rounded

KINDS = pd.CategoricalDtype(["one-time", "recurring", "installment"])
_MOST_ROWS = 200_000_000


@noted
def billing_schedule(
    deal_products: pd.DataFrame,
    installments: pd.DataFrame | None,
    deals: pd.DataFrame,
    *,
    since: Moment,
    until: Moment,
    discounts: pd.DataFrame | None = None,
    tax: bool = False,
    cancellations: Cancellations = None,
    organizations: pd.DataFrame | None = None,
    persons: pd.DataFrame | None = None,
    policy: RevenuePolicy | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """What is billed when, for won deals: one row a bill of a line or an installment. Billing, not
    recognised revenue.

    Parameters
    ----------
    deal_products, deals, discounts, cancellations, organizations, persons, policy, deleted, tz
        As in `mrr_lines`; a period that begins on the day of the cancellation or later is not
        billed.
    installments
        As loaded: id, deal_id, billing_date, amount. None: the account has none. A deal with
        installments bills those instead of its one-time lines, as they were entered: neither `tax`
        nor `discounts` changes them.
    since, until
        Days, since inclusive, until exclusive; a year, quarter, month ("2026-Q2") or `pd.Period`
        as `until` is taken to its end.
    tax
        False: net of tax. True: with the tax of each line.

    Returns
    -------
    DataFrame
        By date, deal and id. date, deal_id, customer, customer_name (where names are known), kind
        (one-time, recurring, installment), amount, currency, id (of the line or the installment). A
        recurring line is billed at the beginning of each period, a one-time line on its start:
        `billing_start_date`, else the won date.

    Raises
    ------
    ArgumentError
        A column is missing, or an argument is no time.

    Warns
    -----
    DataWarning
        Lines are kept apart, or no cancellations are given, as in `mrr_lines`; or installments have
        no date or amount, or one out of range.

    Notes
    -----
    When a bill is paid, and over which months its revenue is recognised (IFRS 15, ASC 606), is
    another matter.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> june = {"since": "2026-06-01", "until": "2026-07-01"}
    >>> bills = metrics.billing_schedule(items, account.installments(), deals, **june)
    >>> bills[["date", "deal_id", "kind", "amount", "currency"]].head(3)
            date  deal_id       kind   amount currency
    0 2026-06-01       79  recurring   2333.1      EUR
    1 2026-06-01       81  recurring  17493.0      EUR
    2 2026-06-02       78  recurring    120.4      GBP
    """
    policy = dataclasses.replace(chosen(policy), tax="included" if tax else "excluded")
    tz = zone_of(tz, deal_products, deals, installments)
    deal_products = require_columns(deal_products, "deal_products", [*BILLED, "product_id"])
    first, end = _day(moment(since, tz, "since"), tz), _day(ending(until, tz, "until"), tz)
    if first >= end:
        raise ArgumentError(
            f"since={since!r} is not before until={until!r}; until itself is outside the window."
        )
    contacts = Contacts(organizations, persons)
    kept = won_lines(deal_products, deals, policy, None, tz, deleted, contacts=contacts)
    check_deleted(deleted, deals)
    ends = known_cancellations(cancellations, deals)
    lines, problems = ledger_columns(kept, policy, discounts, ends)
    warn_of_problems(problems, lines["id"])
    if kept.name is not None:
        lines["customer_name"] = kept.name
    if cancellations is None:
        warn_of_open_lines(lines, deals)
    frequency = frequencies(lines["billing_frequency"])
    fine = problems.isna().to_numpy()
    parts = [_recurring(lines, frequency, fine & (frequency != ONE_TIME), first, end)]
    once = fine & (frequency == ONE_TIME)
    if installments is not None:
        installments = require_columns(
            installments, "installments", ["id", "deal_id", "billing_date", "amount"]
        )
        plans, replaced = _installments(
            installments, deals, policy, deleted, tz, first, end, contacts
        )
        parts.append(plans)
        once &= ~lines["deal_id"].isin(replaced).to_numpy(bool)
    parts.append(_once(lines, once, first, end))
    result = pd.concat(parts, ignore_index=True).sort_values(
        ["date", "deal_id", "kind", "id"], ignore_index=True, kind="stable"
    )
    # Installments and lines may share ids: the deal leads back to either.
    return keyed(result, ["deal_id"], tz)


def _day(time: pd.Timestamp, tz: str) -> int:
    day = time.tz_convert(tz).tz_localize(None)
    return int(np.datetime64(day.date()).astype("datetime64[D]").astype(np.int64))


def _recurring(
    lines: pd.DataFrame, frequency: Ints, which: Flags, first: int, end: int
) -> pd.DataFrame:
    rows = np.flatnonzero(which)
    start, over, each = days_of(lines, "start")[rows], days_of(lines, "end")[rows], frequency[rows]
    last = np.where(over == NULL, end, np.minimum(over, end))
    # Periods that are surely outside the window are not computed, except one on either side.
    months = np.array([0, 0, 1, 3, 6, 12])[each]
    before, after = (
        np.where(each == WEEKLY, (day - start) // 7, _apart(start, day) // np.maximum(months, 1))
        for day in (first, last)
    )
    low = np.maximum(before - 1, 0)
    count = np.maximum(after + 2 - low, 0)
    cycles = amounts(lines, "billing_frequency_cycles")[rows]
    most = np.where(np.isnan(cycles), np.iinfo(np.int64).max, np.nan_to_num(cycles)).astype(
        np.float64
    )
    count = np.minimum(count, np.maximum(most - low, 0)).astype(np.int64)
    if count.sum() > _MOST_ROWS:
        raise ArgumentError(f"The window has about {count.sum():,} bills. Pass a shorter one.")
    line = np.repeat(np.arange(len(rows)), count)
    nth = low[line] + np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    day = add_periods(start[line], each[line], nth)
    inside = (day >= first) & (day < end) & ((over[line] == NULL) | (day < over[line]))
    line, day = rows[line[inside]], day[inside]
    return _bills(lines, line, day, amounts(lines, "amount")[line], "recurring")


def _apart(start: Ints, day: int | Ints) -> Ints:
    """Return how many months a day is after each start, not counting the days."""
    return months_of(
        np.broadcast_to(np.asarray(day, dtype=np.int64), start.shape).copy()
    ) - months_of(start)


def _once(lines: pd.DataFrame, which: Flags, first: int, end: int) -> pd.DataFrame:
    start = days_of(lines, "start")
    rows = np.flatnonzero(which & (start >= first) & (start < end))
    return _bills(lines, rows, start[rows], amounts(lines, "one_time")[rows], "one-time")


def _installments(
    installments: pd.DataFrame,
    deals: pd.DataFrame,
    policy: RevenuePolicy,
    deleted: Deleted,
    tz: str,
    first: int,
    end: int,
    contacts: Contacts,
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return the bills of installments of deals that count, and the deals that have any."""
    plan = installments.assign(is_enabled=True, currency=None)
    kept = won_lines(plan, deals, policy, None, tz, deleted, contacts=contacts)
    day, amount = days_of(kept.lines, "billing_date"), finite(kept.lines, "amount")
    unclear = (day == NULL) | ~(np.abs(amount) < LARGEST)
    if unclear.any():
        which = named(kept.lines.loc[unclear, "id"])
        warn(
            f"{unclear.sum():,} installments have no date or amount, or one out of range, and are"
            f" left out: {which}."
        )
    frame = pd.DataFrame(
        {
            "id": ids(kept.lines, "id"),
            "deal_id": ids(kept.lines, "deal_id"),
            "customer": kept.customer,
        }
    )
    if kept.name is not None:
        frame["customer_name"] = kept.name
    frame["currency"] = (
        kept.deals["currency"].astype("str")
        if "currency" in kept.deals.columns
        else pd.Series(None, frame.index, "str")
    )
    rows = np.flatnonzero(~unclear & (day >= first) & (day < end))
    return _bills(frame, rows, day[rows], rounded(amount[rows]), "installment"), frame["deal_id"]


def _bills(lines: pd.DataFrame, rows: Ints, day: Ints, amount: Floats, kind: str) -> pd.DataFrame:
    taken = lines.take(rows)
    customer = [name for name in ("customer", "customer_name") if name in taken.columns]
    return pd.DataFrame(
        {
            "date": as_dates(day),
            "deal_id": taken["deal_id"].array,
            **{name: taken[name].array for name in customer},
            "kind": pd.Categorical([kind] * len(rows), dtype=KINDS),
            "amount": amount,
            "currency": taken["currency"].array,
            "id": taken["id"].array,
        }
    )


__all__ = ["billing_schedule"]
