"""The largest customers as bars, with what share of MRR they are."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _months as months
from pdframe.plot import _style as style
from pdframe.plot._ranking import ranking, with_ids

_NEEDED = ("customer", "customer_name", "currency", "mrr", "share", "cumulative_share")


@style.chart
def top_customers(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    measure: Literal["mrr", "arr"] = "mrr",
    title: str | None = None,
) -> Axes:
    """Draw the largest customers: one bar a customer, and a grey one of all others.

    Parameters
    ----------
    frame
        What `metrics.top_customers` returns, with at most 36 rows.
    ax
        Where to draw; None: a new figure of notebook width.
    measure
        "arr": amounts times 12, of a year.
    title
        None: how many customers it shows, and what share they are.

    Returns
    -------
    Axes
        After each bar: the amount, and its share of all. Customers without a name have their id,
        namesakes both.

    Raises
    ------
    ArgumentError
        A missing column, null amounts, more than 36 rows, or another `measure`.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals(names=True)
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> top = metrics.top_customers(lines, as_of="2026-06", n=3, rates=rates)
    >>> ax = plot.top_customers(top)
    >>> ax.get_title(loc="left")
    'The largest 3 customers: 47 % of MRR'
    """
    rows = style.require_columns(frame, _NEEDED, "top_customers")
    style.refuse(len(rows), "customers", style.MOST_ROWS, "Pass metrics.top_customers a smaller n.")
    currency = months.one_currency(rows, "pass metrics.top_customers `rates`")
    amounts = months.factor(measure) * months.money(rows, "mrr")
    shares = style.numbers(rows, "share")
    others = rows["customer"].isna().to_numpy(np.bool_)
    names = with_ids(rows["customer_name"].tolist(), rows["customer"].tolist())
    texts = [
        f"{months.priced(amount, currency or None)}, {style.percent(share)}"
        for amount, share in zip(amounts, shares, strict=True)
    ]
    return ranking(
        ax,
        title or _title(rows, others, measure.upper()),
        names,
        amounts,
        texts,
        rest=bool(len(others) and others[-1]),
        nothing=f"No customer has {measure.upper()} on this day.",
    )


def _title(rows: pd.DataFrame, others: np.typing.NDArray[np.bool_], measure: str) -> str:
    count = int((~others).sum())
    heading = f"The largest {count:,} customers" if count > 1 else "The largest customer"
    if not count:
        return heading
    share = style.numbers(rows, "cumulative_share")[count - 1]
    return heading if np.isnan(share) else f"{heading}: {style.percent(share)} of {measure}"
