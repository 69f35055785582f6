"""The price of a line item: one billing period, the one-time part after discounts on the whole
deal, and exact amounts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import require_columns
from pdframe.metrics._columns import Floats, Ints, amounts, equals, finite, ids, warn_of_uncountable
from pdframe.metrics._line_values import after_discount
from pdframe.metrics.revenue.policy import RevenuePolicy

UNIT = 1_000_000
"""Parts of a currency unit that money is counted in."""
LARGEST = 1e12
"""Lines with amounts from here on do not count, such discounts are ignored: sums of them would not
fit.
"""

PRICED = ("quantity", "item_price", "discount", "discount_type", "tax", "tax_method")


def period_amounts(lines: pd.DataFrame, policy: RevenuePolicy) -> Floats:
    """Return one billing period of each line, NaN where quantity or price is null or the tax makes
    no sense.

    max(0, quantity x item_price - discount), and for a negative price the same without the limit;
    divided by 1 + tax where the price holds it. A null discount or tax is none.
    """
    # The caller excludes infinite amounts.
    with np.errstate(invalid="ignore", over="ignore"):
        if policy.discount == "deducted":
            left = after_discount(lines)
        else:
            left = amounts(lines, "quantity") * amounts(lines, "item_price")
        tax = np.nan_to_num(amounts(lines, "tax")) / 100
        if policy.tax == "included":
            return np.where(equals(lines, "tax_method", "exclusive"), left * (1 + tax), left)
        inside = equals(lines, "tax_method", "inclusive")
        return np.where(inside, left / np.where(tax > -1, 1 + tax, np.nan), left)


def shares_kept(
    once: Floats, lines: pd.DataFrame, deals: pd.DataFrame, discounts: pd.DataFrame
) -> Floats:
    """Return which share of its one-time amount each line keeps after the discounts on its deal.

    Parameters
    ----------
    once
        One-time amount of each line, 0 for those that recur.
    lines
        With deal_id and currency.
    deals
        With id, and currency where present: discounts that are amounts are in it.
    discounts
        With deal_id, type and amount. Percentages are each of the full one-time part, and all
        together take no more than that.
    """
    discounts = require_columns(discounts, "discounts", ["deal_id", "type", "amount"])
    warn_of_uncountable(discounts, "discounts", numbers=["amount"], key="deal_id", below=LARGEST)
    known = pd.Index(ids(lines, "deal_id"))
    place, deal_ids = pd.factorize(known)
    size = len(deal_ids)
    own = np.asarray(
        pd.Index(deal_ids).get_indexer(pd.Index(ids(discounts, "deal_id"))), dtype=np.int64
    )
    rows, own = discounts[own >= 0], own[own >= 0]
    amount, percentage = (
        np.nan_to_num(finite(rows, "amount", below=LARGEST)),
        equals(rows, "type", "percentage"),
    )
    cut = np.bincount(own[percentage], amount[percentage] / 100, minlength=size)
    fixed = np.bincount(own[~percentage], amount[~percentage], minlength=size)
    alike = np.ones(len(lines), np.bool_)
    if "currency" in deals.columns and fixed.any():
        currency = pd.Series(
            deals["currency"].astype("str").to_numpy(), index=pd.Index(ids(deals, "id"))
        )
        covered = currency[~currency.index.duplicated()].reindex(known).to_numpy()
        alike = np.asarray(
            (lines["currency"].astype("str").to_numpy() == covered) | pd.isna(covered),
            dtype=np.bool_,
        )
    base = np.bincount(place[alike], once[alike], minlength=size)
    with np.errstate(over="ignore"):
        by_amount = np.divide(fixed, base, out=np.where(fixed > 0, 1.0, 0.0), where=base > 0)
    total = np.bincount(place, once, minlength=size)
    kept: Floats = 1 - np.minimum(cut[place] + np.where(alike, by_amount[place], 0.0), 1.0)
    # A deal whose credits exceed its one-time lines has nothing left to cut.
    return np.where(total[place] > 0, kept, 1.0)


def exact(values: Floats) -> Ints:
    """Return amounts as whole millionths, rounded half to even; NaN counts as 0."""
    return np.rint(np.nan_to_num(values) * UNIT).astype(np.int64)


def rounded(values: Floats) -> Floats:
    """Return amounts rounded to a millionth, half to even; NaN is NaN."""
    # Floats from there on have no such parts, and the largest of all would overflow.
    small = np.abs(values) < LARGEST
    return np.where(small, np.rint(np.where(small, values, 0.0) * UNIT) / UNIT, values)


def in_units(parts: Ints) -> Floats:
    """Return millionths as currency units."""
    return parts / UNIT


def exact_amounts(frame: pd.DataFrame, column: str) -> Ints:
    """Return a column of amounts as whole millionths; null and infinities are 0.

    Raises
    ------
    ArgumentError
        All amounts together are too large to be added up exactly.
    """
    result = finite(frame, column)
    if not np.nansum(np.abs(result)) < np.iinfo(np.int64).max / UNIT / 2:
        raise ArgumentError(
            f"The column {column!r} holds amounts too large to be added up exactly. Leave them out."
        )
    return exact(result)
