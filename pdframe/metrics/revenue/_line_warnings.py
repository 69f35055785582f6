"""Warnings of recurring revenue: lines that do not count, and data that is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._columns import amounts, ids, plain_ids
from pdframe.metrics._line_values import differs
from pdframe.metrics.revenue.policy import RevenuePolicy
from pdframe.metrics.revenue.versions import Known

_NAMED = 20  # ids in a message


def warn_of_problems(problems: pd.Series[Any], line: pd.Series[Any]) -> None:
    """Warn of the lines that do not count: how many, why, and which."""
    # Several versions of a line may have one problem.
    again = (
        pd.DataFrame({"line": line, "problem": problems}).duplicated()
        & line.notna()
        & (problems != "id occurs twice")
    )
    apart = problems.notna() & ~again
    if not apart.any():
        return
    parts = [
        f"{reason} ({len(rows):,}: {named(rows)})"
        for reason, rows in line[apart].groupby(problems[apart], sort=True)
    ]
    count = int(apart.sum())
    which = "items are kept apart and count" if count > 1 else "item is kept apart and counts"
    warn(
        f"{count:,} line {which} nowhere, line ids by reason: {'; '.join(parts)}."
        " lines[lines['problem'].notna()] shows them; correct them in Pipedrive."
    )


def warn_of_uncounted(priced: pd.DataFrame, policy: RevenuePolicy) -> None:
    """Warn of lines that begin and end between two sampling days: no month counts them."""
    between = (
        (priced["end"] > priced["start"])
        & (priced["month_from"] >= priced["month_until"])
        & (priced["mrr"] != 0)
    )
    lines = priced[between & priced["problem"].isna()]
    if not len(lines):
        return
    sums = lines.groupby(lines["currency"].astype("str"), sort=True)["mrr"].sum()
    mrr = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sums.items())
    many, day = len(lines) > 1, "last" if policy.at == "end" else "first"
    warn(
        f"{len(lines):,} line item{'s begin and end' if many else ' begins and ends'} without"
        f" being active on the {day} day of a month, when MRR is taken:"
        f" {'they count' if many else 'it counts'} in no month. MRR {mrr}; line ids:"
        f" {named(lines['id'])}. tcv is their total amount."
    )


def named(values: pd.Series[Any]) -> str:
    """Return the first few ids as text."""
    shown = ", ".join("none" if pd.isna(value) else str(value) for value in values.iloc[:_NAMED])
    return shown + (", ..." if len(values) > _NAMED else "")


def warn_of_differing_values(deals: pd.DataFrame, lines: pd.DataFrame) -> None:
    """Warn of deals whose value is not the sum of their lines, so that a discount on the deal may
    be missing.
    """
    if "value" not in deals.columns or "sum" not in lines.columns or not len(lines):
        return
    first = ~ids(lines, "deal_id").duplicated().to_numpy()
    deal = ids(lines[first], "deal_id").reset_index(drop=True)
    value = amounts(deals[first], "value")
    none = pd.DataFrame(
        {
            "deal_id": pd.array([], "Int64"),
            "type": pd.array([], "str"),
            "amount": pd.array([], "float64"),
        }
    )
    apart = deal[differs(plain_ids(deal), value, lines, none)]
    if len(apart):
        warn(
            f"The value of {len(apart):,} deals is not the total of their lines ({named(apart)}):"
            " discounts on these deals may cut their one-time lines. Load them with"
            " account.discounts(ids) and pass discounts=."
        )


def warn_of_missing_deals(lines: pd.DataFrame, known: Known, deals: pd.DataFrame) -> None:
    """Warn of removed lines whose deal `deals` lacks: it was deleted, and its past months lack
    them.
    """
    # Several deals may have no readable id.
    place = ids(lines, "deal_id").isin(ids(deals, "id")).to_numpy(np.bool_)
    removed = known.source < 0
    # Who passes lines of deals that are not there chose some of the deals.
    if place[~removed].all() and (removed & ~place).any():
        missing = ids(lines, "deal_id")[removed & ~place].drop_duplicates()
        warn(
            f"history has line items of {len(missing):,} deals that deals lacks"
            f" ({named(missing)}): months before their deletion lack these lines. Pass"
            " account.deals(deleted=True)."
        )
