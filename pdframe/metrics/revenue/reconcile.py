"""Our MRR compared with Pipedrive's of each deal, and the reason of the difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import keyed, require_columns
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    amounts,
    equals,
    finite,
    ids,
    plain_ids,
    warn_of_uncountable,
)
from pdframe.metrics._line_values import differs
from pdframe.metrics._notes import noted
from pdframe.metrics._states import Deleted, check_deleted, counted_status
from pdframe.metrics.revenue.lines import BILLED, ledger_columns, won_lines
from pdframe.metrics.revenue.periods import MONTHS, ONE_TIME, WEEKLY, frequencies
from pdframe.metrics.revenue.policy import RevenuePolicy, chosen
from pdframe.metrics.revenue.prices import LARGEST, PRICED, period_amounts, rounded
from pdframe.metrics.revenue.versions import current

WEEKS = (4.0, 52 / 12, 4.33, 4.345, 4.35, 365 / 84, 365.25 / 84, 30 / 7)
"""Numbers of weeks per month that others use."""

EXPLAINED = ("weekly factor", "term under 12 months", "disabled lines", "discount", "tax")
"""Other methods of counting, in the order in which they are tried."""

_CENT = 0.005
# Billings in a year, by place in periods.FREQUENCIES.
_A_YEAR = np.array([0.0, 52.0, 12.0, 4.0, 2.0, 1.0])


class _Lines(NamedTuple):
    """Recurring lines of deals that differ: place of the deal, and the parts of each line's
    amount.
    """

    deal: Ints
    frequency: Ints
    cycles: Floats
    a_month: Floats
    amount: Floats
    disabled: Flags
    listed: Floats | None
    taxed: Floats | None


@noted
def reconcile(
    lines: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    deal_products: pd.DataFrame | None = None,
    policy: RevenuePolicy | None = None,
    deleted: Deleted = "drop",
) -> pd.DataFrame:
    """Compare our MRR and ARR with those that Pipedrive reports, and explain the differences: one
    row per deal.

    Pipedrive does not publish how it computes them. A reason names another method of counting that
    gives the reported amount, to the cent; it does not say that this is Pipedrive's method.

    Parameters
    ----------
    lines
        From `mrr_lines`, with the columns that it carries along; of versions (`history=`) those
        known now.
    deals
        Deals as loaded: id, status, currency, mrr, arr; is_deleted and value are used where
        present.
    deal_products
        Line items as loaded, to see the disabled ones; None: ignored.
    policy
        The one that `lines` were made with.
    deleted
        As in `mrr_lines`: "drop" (default) leaves deleted deals out; "keep" does not where they
        were deleted after they were won or lost.

    Returns
    -------
    DataFrame
        In the order of `deals`, those with lines that recur or with a report other than 0. deal_id,
        mrr (null where a line is in another currency than the deal), mrr_reported, arr,
        arr_reported (null: a plan below Growth), difference (mrr_reported - mrr), reason, currency.
        All without regard to when lines start and end. reason is null where they agree to within
        what rounding every line to a cent explains, or nothing is reported; else

        - "weekly factor": another number of weeks per month, 4 for one
        - "term under 12 months": a line that runs for less than a year counts with the amount
          billed in it, over 12
        - "disabled lines": they are counted
        - "discount": the lines' own discounts are not taken off
        - "tax": with tax where ours is without, or the reverse
        - several of these, joined by " + ", where only together they explain it
        - "currency": lines in another currency than the deal
        - "line kept apart": a line with a problem, which our MRR leaves out
        - "manual value": no line recurs, or the deal's value was entered by hand, so that it is not
          what its lines add up to
        - "unknown"

    Raises
    ------
    ArgumentError
        A column is missing.

    Warns
    -----
    DataWarning
        No deal reports anything.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> compared = metrics.reconcile(lines, deals)
    >>> compared[["deal_id", "mrr", "mrr_reported", "difference"]].round(2).head(3)
       deal_id       mrr  mrr_reported  difference
    0        2    514.80        514.80         0.0
    1        4  35186.67      35186.67         0.0
    2        8   1817.00       1817.00         0.0
    """
    policy = chosen(policy)
    lines = require_columns(
        lines,
        "lines",
        [
            "deal_id",
            "currency",
            "mrr",
            "amount",
            "billing_frequency",
            "billing_frequency_cycles",
            "problem",
        ],
    )
    lines = current(lines)
    deals = require_columns(deals, "deals", ["id", "status", "currency", "mrr", "arr"])
    warn_of_uncountable(deals, "deals", numbers=["mrr", "arr", "value"])
    warn_of_uncountable(lines, "lines", numbers=["mrr", "amount"], below=LARGEST)
    check_deleted(deleted, deals)
    counts = counted_status(deals, "UTC", deleted=deleted).isin(policy.statuses).to_numpy(bool)
    covered = deals[counts].drop_duplicates("id").reset_index(drop=True)
    deal = ids(covered, "id")
    known = pd.Index(deal)
    place = np.asarray(known.get_indexer(pd.Index(ids(lines, "deal_id"))), dtype=np.int64)
    lines, place = lines[place >= 0], place[place >= 0]
    size, fine = len(covered), lines["problem"].isna().to_numpy()
    recurs = fine & (frequencies(lines["billing_frequency"]) != ONE_TIME)
    number = np.bincount(place[recurs], minlength=size)
    mrr = _sums(place[recurs], np.nan_to_num(finite(lines, "mrr", below=LARGEST))[recurs], size)
    reported, yearly = finite(covered, "mrr"), finite(covered, "arr")
    if len(covered) and np.isnan(reported).all() and np.isnan(yearly).all():
        warn(
            "No deal reports mrr or arr: plans below Growth have neither. There is nothing to"
            " compare."
        )

    foreign = np.zeros(size, np.bool_)
    other = (
        lines["currency"].astype("str").to_numpy()
        != covered["currency"].astype("str").to_numpy()[place]
    )
    foreign[place[recurs & other]] = True
    slack = _CENT * np.maximum(number, 1) + 1e-6
    agrees = _near(reported, mrr, slack) & _near(yearly, 12 * mrr, 12 * slack)
    silent = np.isnan(reported) & np.isnan(yearly)
    differ = ~(agrees | silent | foreign)
    reason = np.full(size, None, dtype=object)
    reason[foreign & ~silent] = "currency"
    parts = _lines_of(lines[recurs & differ[place]], place[recurs & differ[place]], policy)
    if deal_products is not None:
        parts = _with_disabled(parts, deal_products, deals, known, differ, policy, deleted)
    # Where the MRR agrees and the ARR does not, the ARR decides.
    by_year = np.isnan(reported) | _near(reported, mrr, slack)
    target = np.where(by_year, yearly / 12, reported)
    left = differ
    for name, total in _alternatives(parts, size):
        hit = left & (np.abs(target - total) <= slack) & (np.abs(total - mrr) > slack)
        reason[hit] = name
        left = left & ~hit
    apart = np.zeros(size, np.bool_)
    apart[place[~fine]] = True
    reason[left & apart] = "line kept apart"
    left = left & ~apart
    manual = (number == 0) | _by_hand(covered, lines, deal, left)
    reason[left] = np.where(manual[left], "manual value", "unknown")

    result = pd.DataFrame(
        {"deal_id": deal, "mrr": np.where(foreign, np.nan, mrr), "mrr_reported": reported}
    )
    result["arr"], result["arr_reported"] = 12 * result["mrr"], yearly
    result["difference"] = rounded(reported - result["mrr"].to_numpy())
    result["reason"] = pd.Series(reason, dtype="str")
    result["currency"] = covered["currency"]
    shown = (number > 0) | (np.nan_to_num(reported) != 0) | (np.nan_to_num(yearly) != 0)
    return keyed(result[shown].reset_index(drop=True), ["deal_id"])


def _sums(place: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(place, values, minlength=size).astype(np.float64)


def _near(reported: Floats, ours: Floats, slack: Floats) -> Flags:
    """Whether a report is ours, or there is none."""
    return np.isnan(reported) | (np.abs(reported - ours) <= slack + 1e-9 * np.abs(ours))


def _lines_of(lines: pd.DataFrame, place: Ints, policy: RevenuePolicy) -> _Lines:
    cycles = amounts(lines, "billing_frequency_cycles")
    amount, mrr = (finite(lines, name, below=LARGEST) for name in ("amount", "mrr"))
    listed = taxed = None
    if set(PRICED) <= set(lines.columns):
        listed = period_amounts(
            lines,
            dataclasses.replace(
                policy, discount="ignored" if policy.discount == "deducted" else "deducted"
            ),
        )
        taxed = period_amounts(
            lines,
            dataclasses.replace(policy, tax="included" if policy.tax == "excluded" else "excluded"),
        )
    return _Lines(
        place,
        frequencies(lines["billing_frequency"]),
        cycles,
        mrr,
        amount,
        np.zeros(len(lines), np.bool_),
        listed,
        taxed,
    )


def _with_disabled(
    parts: _Lines,
    deal_products: pd.DataFrame,
    deals: pd.DataFrame,
    known: pd.Index[Any],
    differ: Flags,
    policy: RevenuePolicy,
    deleted: Deleted,
) -> _Lines:
    """Return the lines and the disabled ones of the same deals."""
    deal_products = require_columns(deal_products, "deal_products", [*BILLED, "product_id"])
    off = deal_products[equals(deal_products, "is_enabled", False)].assign(is_enabled=True)
    covered = won_lines(off, deals, policy, None, "UTC", deleted)
    result, problems = ledger_columns(covered, policy, None, None)
    place = np.asarray(known.get_indexer(pd.Index(result["deal_id"])), dtype=np.int64)
    rows = (
        problems.isna().to_numpy()
        & (frequencies(result["billing_frequency"]) != ONE_TIME)
        & (place >= 0)
        & differ[place]
    )
    more = _lines_of(
        pd.concat([result, covered.lines[list(PRICED)]], axis=1)[rows], place[rows], policy
    )
    return _Lines(
        deal=np.concatenate([parts.deal, more.deal]),
        frequency=np.concatenate([parts.frequency, more.frequency]),
        cycles=np.concatenate([parts.cycles, more.cycles]),
        a_month=np.concatenate([parts.a_month, more.a_month]),
        amount=np.concatenate([parts.amount, more.amount]),
        disabled=np.append(parts.disabled, np.ones(len(more.deal), np.bool_)),
        listed=(
            None
            if parts.listed is None or more.listed is None
            else np.concatenate([parts.listed, more.listed])
        ),
        taxed=(
            None
            if parts.taxed is None or more.taxed is None
            else np.concatenate([parts.taxed, more.taxed])
        ),
    )


def _alternatives(parts: _Lines, size: int) -> Iterator[tuple[str, Floats]]:
    """Yield other methods of counting with the result for each deal, the simplest first."""
    for count in range(1, 3):
        for names in combinations(EXPLAINED, count):
            if (
                ("discount" in names and parts.listed is None)
                or ("tax" in names and parts.taxed is None)
                or {"discount", "tax"} <= set(names)
            ):
                continue
            if "disabled lines" in names and not parts.disabled.any():
                continue
            weeks = WEEKS if "weekly factor" in names else (None,)
            for factor, short in product(weeks, (("term under 12 months" in names),)):
                amount = (
                    parts.listed
                    if "discount" in names
                    else parts.taxed
                    if "tax" in names
                    else parts.amount
                )
                each = _monthly(parts, amount, factor, short)
                rows = slice(None) if "disabled lines" in names else ~parts.disabled
                yield " + ".join(names), _sums(parts.deal[rows], each[rows], size)


def _monthly(
    parts: _Lines, amount: Floats | None, weekly: float | None, short_terms: bool
) -> Floats:
    """Return the amount of each line per month by another method of counting."""
    assert amount is not None
    plain = np.divide(
        amount, MONTHS[parts.frequency], out=np.zeros(len(amount)), where=parts.frequency != WEEKLY
    )
    ours = np.divide(
        parts.a_month, parts.amount, out=np.zeros(len(amount)), where=parts.amount != 0
    )
    each = np.where(parts.frequency == WEEKLY, amount * (ours if weekly is None else weekly), plain)
    if short_terms:
        each = np.where(parts.cycles < _A_YEAR[parts.frequency], amount * parts.cycles / 12, each)
    return each


def _by_hand(
    covered: pd.DataFrame, lines: pd.DataFrame, deal: pd.Series[Any], which: Flags
) -> Flags:
    """Return which deals have a value that is not the total of their lines, allowing for discounts
    on the deal.
    """
    result = np.zeros(len(covered), np.bool_)
    if (
        "value" in covered.columns
        and {"sum", *PRICED, "is_enabled"} <= set(lines.columns)
        and which.any()
    ):
        result[which] = differs(
            plain_ids(deal[which]), amounts(covered, "value")[which], lines, None
        )
    return result


__all__ = ["reconcile"]
