"""Why deals are lost, as bars."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style
from pdframe.plot._ranking import ranking

_NEEDED = ("reason", "currency", "deals", "value")
_USUAL = 12


@style.chart
def lost_reasons(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    measure: Literal["deals", "value"] = "deals",
    top: int = _USUAL,
    title: str | None = None,
) -> Axes:
    """Draw how many deals were lost for each reason, the commonest first.

    Parameters
    ----------
    frame
        What `metrics.lost_reasons` returns, or some of its rows: stages, groups and, for counts,
        currencies are added up.
    ax
        Where to draw; None: a new figure of notebook width.
    measure
        "deals" (default): bars are numbers of deals. "value": sums of their values, in one
        currency.
    top
        How many reasons to draw, at most 36; all others are one grey bar.
    title
        None: how many deals were lost.

    Returns
    -------
    Axes
        After each bar: deals, their share of all, and their value where the frame has one currency.

    Raises
    ------
    ArgumentError
        A missing column, null counts, several currencies where `measure` is "value", or `top` is no
        number from 1 to 36.

    Examples
    --------
    >>> year = {"since": "2025-07-01", "until": "2026-07-01"}
    >>> ax = plot.lost_reasons(metrics.lost_reasons(account.deals(), **year), top=5)
    >>> ax.get_title(loc="left")
    'Why 44 deals were lost'
    """
    if measure not in ("deals", "value"):
        raise ArgumentError(f"measure={measure!r} must be 'deals' or 'value'.")
    rows = style.require_columns(frame, _NEEDED, "lost_reasons")
    style.check_top(top, style.MOST_ROWS)
    deals = style.counts(rows, "deals")
    several = len(rows["currency"].drop_duplicates()) > 1
    currency = ""
    if measure == "value" or not several:
        currency = months.one_currency(rows, "pass metrics.lost_reasons `rates`")
    value = months.money(rows, "value")
    code, reasons = pd.factorize(rows["reason"].astype("str"), use_na_sentinel=False)
    count, worth = (
        np.bincount(code, part, minlength=len(reasons)).astype(np.float64)
        for part in (deals, value)
    )
    size = count if measure == "deals" else worth
    order = np.argsort(-size, kind="stable")
    shown, rest = order[:top], order[top:]
    names = [
        "no reason given" if pd.isna(reasons[at]) else style.plain_text(reasons[at]) for at in shown
    ]
    parts = [np.array([at]) for at in shown]
    if len(rest):
        names.append(f"and {len(rest):,} more")
        parts.append(rest)
    total = size.sum()

    def text(part: months.Places) -> str:
        share = style.percent(size[part].sum() / total if total else np.nan)
        number = f"{style.number(count[part].sum())} deal{'s' if count[part].sum() != 1 else ''}"
        priced = "" if several else months.priced(worth[part].sum(), currency or None)
        if measure == "value":
            return f"{priced}, {share}, {number}"
        return f"{number}, {share}" + (f", {priced}" if priced else "")

    heading = f"Why {style.number(count.sum())} deal{'s were' if count.sum() != 1 else ' was'} lost"
    return ranking(
        ax,
        title or heading,
        names,
        np.array([size[part].sum() for part in parts]),
        [text(part) for part in parts],
        rest=bool(len(rest)),
        nothing="No deal was lost.",
    )
