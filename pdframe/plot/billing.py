"""What is billed, by month and kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _months as months
from pdframe.plot import _style as style

_NEEDED = ("date", "kind", "amount", "currency")
_KINDS = ("recurring", "one-time", "installment")


@style.chart
def billing(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the amounts billed in every month, by kind: recurring, one-time, installments. Billing,
    not recognised revenue.

    Parameters
    ----------
    frame
        What `metrics.billing_schedule` returns, in one currency; at most 120 months.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        A bar is the sum of a month's bills of a kind, below 0 where credits outweigh them. Above
        each month its sum, where there is room. Months without
        bills between the first and the last are empty.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or convert), null days or amounts, more than
        12 kinds or 120 months.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01"}
    >>> bills = metrics.billing_schedule(items, account.installments(), deals, **half_year)
    >>> ax = plot.billing(bills[bills["currency"] == "EUR"])
    >>> sorted(label.get_text() for label in ax.get_xticklabels())
    ['2026-01', '2026-02', '2026-03', '2026-04', '2026-05', '2026-06']
    """
    rows = style.require_columns(frame, _NEEDED, "billing_schedule")
    currency, amounts = (
        months.one_currency(rows, "convert the amounts first (metrics.convert)"),
        months.money(rows, "amount"),
    )
    number = months.month_numbers(rows, "date")
    kind = style.group_names(rows, ["kind"])
    names = sorted(
        kind.drop_duplicates(),
        key=lambda name: (_KINDS.index(name) if name in _KINDS else len(_KINDS), name),
    )
    style.refuse(len(names), "kinds", style.MOST_CURVES, "Keep some of them.")
    months.few(number)
    ax = style.axes(ax, height=3.6)
    style.dress(ax, title or "Billed by month")
    if not len(rows):
        return style.empty(ax, "Nothing is billed in these months.")
    first = number.min()
    places = np.arange(first, number.max() + 1)
    parts = [
        (
            name,
            np.bincount(number[here] - first, amounts[here], minlength=len(places)).astype(
                np.float64
            ),
        )
        for name in names
        for here in [(kind == name).to_numpy(np.bool_)]
    ]
    up, down = months.stack(ax, places, parts)
    months.month_axis(ax, number)
    months.money_axis(ax, float(down.min()), float(up.max()), currency)
    total = up + down
    most = float(np.abs(total).max())

    def texts(brief: bool) -> list[str]:
        return [months.amount(value, most, brief=brief) for value in total]

    written = months.fitting(ax, len(total), texts)
    if written:
        for x, above, text in zip(places, up, written, strict=True):
            style.note(
                ax, x, above, text, ha="center", va="bottom", size=style.small(), shift=(0, 2)
            )
    style.legend_below(ax)
    return ax
