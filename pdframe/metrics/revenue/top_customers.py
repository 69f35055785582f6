"""The largest customers by MRR on a day."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics._arguments import keyed, require_columns, zone_of
from pdframe.metrics._columns import Ints, ids, ratio, warn_of_uncountable
from pdframe.metrics._notes import noted
from pdframe.metrics.currency import RATES_ADVICE, Rates, RateTable
from pdframe.metrics.revenue.customers import insert_names, named_customers, warn_of_ids
from pdframe.metrics.revenue.ledger import NEEDED
from pdframe.metrics.revenue.months import Moment
from pdframe.metrics.revenue.periods import NULL, as_dates, day_of, days_of
from pdframe.metrics.revenue.prices import exact_amounts, in_units
from pdframe.metrics.revenue.running_month import active_on, counted_by
from pdframe.metrics.revenue.versions import known_on


@noted
def top_customers(
    lines: pd.DataFrame,
    *,
    as_of: Moment,
    n: int = 10,
    rates: RateTable | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the customers with the most MRR on a day, the largest first, and all others in one row.

    Parameters
    ----------
    lines
        As `mrr_lines` gives them; those with a problem are left out, and so are those won after
        `as_of` (`won_date`, where the column is there). Of versions (`history=`) those known at
        `as_of` count, with what they agreed on.
    as_of
        The day; a month, quarter or year is taken to its last day, a time for its day in `tz`.
    n
        Number of customers, from 1.
    rates
        A mapping currency -> value of one unit in the common currency, or a frame (currency, date,
        rate), whose last rate on or before the day counts. None: all lines are in one currency.
    tz
        Timezone of a time in `as_of`; None: `lines.attrs["tz"]`, which `mrr_lines` sets, else UTC.

    Returns
    -------
    DataFrame
        One row per customer, by MRR, at most `n`; customers with the same MRR by `customer`. Then
        one row of all others, where there are any.

        - customer: as in `mrr_lines`; null: all others
        - customer_name: as in `mrr_lines` (null: unknown, or `lines` has no names); "12 others"
        - currency: with `rates` the one whose rate is always 1, null where unknown
        - mrr: of the lines that are active on the day; arr: 12 x mrr
        - share: of the MRR of all customers, from 0 to 1; cumulative_share: of this customer and
          those above it. Null where the total is not above 0
        - since: first day on which the customer had MRR; null for the others

    Raises
    ------
    ArgumentError
        A column is missing, `as_of` is no time, `n` is below 1, or a currency is null or has no
        rate.
    MixedCurrencyError
        The lines are in several currencies, and there are no `rates`.

    Warns
    -----
    DataWarning
        `lines` has no `customer_name`; rates are old.

    Notes
    -----
    Customers have MRR above 0; credits that exceed a customer's lines are with the others, so that
    the rows add up to the total. A line is active from its start up to its end, whatever the grace
    of the policy. On the last day of a month the total is that of `mrr_schedule`, unless the policy
    has a grace or samples months on their first day.

    `drill_through` leads from a row to its lines in `top_customer_lines`.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> names = {"organizations": account.organizations(), "persons": account.persons()}
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date", **names)
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> top = metrics.top_customers(lines, as_of="2026-06", n=3, rates=rates)
    >>> top[["customer", "customer_name", "mrr", "share"]].round(2)
              customer       customer_name       mrr  share
    0  organization 49                 NaN   8094.08   0.19
    1  organization 64  Rapidlogistics LLP   7344.60   0.17
    2  organization 55     Steinfinance AB   4840.00   0.11
    3              NaN           27 others  22991.99   0.53
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ArgumentError(f"n={n!r} must be a number of customers, from 1.")
    live = _live(lines, as_of, rates, tz)
    codes, customers = pd.factorize(live.lines["customer"].astype("str"), sort=True)
    mrr = np.zeros(len(customers), np.int64)
    np.add.at(mrr, codes, live.mrr)
    order = np.argsort(-mrr, kind="stable")
    top = order[: min(n, int((mrr > 0).sum()))]
    rest = order[len(top) :][mrr[order[len(top) :]] != 0]
    names = named_customers(live.all_lines, pd.Series(customers, dtype="str"))
    result = pd.DataFrame({"customer": pd.Series(customers.take(top), dtype="str")})
    known = pd.Series([None] * len(customers), dtype="str") if names is None else names
    insert_names(result, known.take(top).reset_index(drop=True))
    if names is None:
        warn_of_ids(result["customer"])
    amount, since = mrr[top], _since(live, customers)[top]
    if len(rest):
        others = f"{len(rest):,} other{'s' if len(rest) > 1 else ''}"
        result.loc[len(result)] = [None, others]
        amount, since = np.append(amount, mrr[rest].sum()), np.append(since, NULL)
    result = result.astype("str")
    total = int(mrr.sum())
    result["currency"] = pd.Series([live.currency] * len(result), dtype="str")
    result["mrr"], result["arr"] = in_units(amount), in_units(12 * amount)
    of_all = np.full(len(result), max(total, 0))
    result["share"] = ratio(amount, of_all)
    result["cumulative_share"] = ratio(np.cumsum(amount), of_all)
    result["since"] = as_dates(since)
    result.attrs["top"] = result["customer"].dropna().tolist()
    return keyed(result, ["customer"], live.tz)


@noted
def top_customer_lines(
    lines: pd.DataFrame,
    *,
    as_of: Moment,
    rates: RateTable | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the line items that `top_customers` adds up: one row per line that is active on a day.

    Parameters
    ----------
    lines, as_of, rates, tz
        As in `top_customers`.

    Returns
    -------
    DataFrame
        By id: id, deal_id, customer, customer_name (where `lines` has it), product_id, currency,
        mrr (with `rates` in the common currency), start, end (the first day after; null: open).

    Raises
    ------
    ArgumentError
        As in `top_customers`.
    MixedCurrencyError
        As in `top_customers`.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals(names=True)
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> june = {"as_of": "2026-06", "rates": {"EUR": 1, "USD": 0.9, "GBP": 1.15}}
    >>> top, rows = metrics.top_customers(lines, **june), metrics.top_customer_lines(lines, **june)
    >>> metrics.drill_through(top.iloc[0], rows)[["id", "deal_id", "mrr", "start", "end"]]
       id  deal_id          mrr      start        end
    0  79       67  1466.250000 2025-09-15        NaT
    1  80       67  6627.833333 2025-08-20 2026-08-19
    """
    live = _live(lines, as_of, rates, tz)
    result = pd.DataFrame({"id": ids(live.lines, "id"), "deal_id": ids(live.lines, "deal_id")})
    for name in ("customer", "customer_name"):
        if name in live.lines.columns:
            result[name] = live.lines[name].astype("str")
    result["product_id"] = live.lines["product_id"]
    result["currency"] = pd.Series([live.currency] * len(result), dtype="str")
    result["mrr"] = in_units(live.mrr)
    result["start"], result["end"] = (as_dates(days_of(live.lines, c)) for c in ("start", "end"))
    result = result.sort_values(["id"], kind="stable", ignore_index=True)
    return keyed(result, ["id"], live.tz)


class _Live(NamedTuple):
    """The lines active on a day, with their MRR in millionths of one currency; all lines that were
    known then, and the day.
    """

    lines: pd.DataFrame
    mrr: Ints
    currency: str | None
    all_lines: pd.DataFrame
    day: int
    tz: str


def _live(lines: pd.DataFrame, as_of: Any, rates: RateTable | None, tz: str | None) -> _Live:
    tz = zone_of(tz, lines)
    lines = require_columns(lines, "lines", [*NEEDED, "id", "deal_id", "product_id"])
    warn_of_uncountable(lines, "lines", moments=["start"], numbers=["mrr"])
    today = day_of(as_of, tz)
    lines = known_on(lines, today).reset_index(drop=True)
    kept = lines[active_on(lines, today)].reset_index(drop=True)
    names = kept["currency"].astype("str")
    mrr = exact_amounts(kept, "mrr")
    if names.isna().any():
        raise ArgumentError(
            f"currency is null in {int(names.isna().sum()):,} lines that count. Fill it in, or set"
            " their `problem`."
        )
    if rates is None:
        several = sorted(names.dropna().unique())
        if len(several) > 1:
            raise MixedCurrencyError(
                f"MRR in {', '.join(several)} would be compared. Give {RATES_ADVICE}, or keep one:"
                f" lines[lines['currency'] == {several[0]!r}]."
            )
        currency = several[0] if several else None
    else:
        table = Rates(rates)
        day = pd.Series(as_dates(np.full(len(kept), today)).array, index=names.index)
        rate = table.at(names, day, np.ones(len(kept), np.bool_))
        table.warn_of_stale()
        mrr = np.rint(mrr * np.nan_to_num(rate)).astype(np.int64)
        currency = table.target
    return _Live(kept, mrr, currency, lines[counted_by(lines, today)], today, tz)


def _since(live: _Live, customers: pd.Index[Any]) -> Ints:
    """Return the first day on which each customer had a line above 0."""
    above = live.all_lines[(exact_amounts(live.all_lines, "mrr") > 0)]
    start = days_of(above, "start")
    place = np.asarray(customers.get_indexer(pd.Index(above["customer"].astype("str"))), np.int64)
    result = np.full(len(customers), np.iinfo(np.int64).max)
    np.minimum.at(result, place[place >= 0], start[place >= 0])
    return np.where(result == np.iinfo(np.int64).max, NULL, result)


__all__ = ["top_customer_lines", "top_customers"]
