"""MRR by month: a line, or a stack of groups with their sum."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style

_NEEDED = ("month", "currency", "mrr", "customers")


def mrr(
    frame: pd.DataFrame, ax: Axes | None = None, *, stacked: bool = True, title: str | None = None
) -> Axes:
    """Draw MRR by month: a line for one series; for groups their stack, with the sum above it.

    Parameters
    ----------
    frame
        What `metrics.mrr_schedule` returns, in one currency, of at most 12 groups and 120 months.
    ax
        Where to draw; None: a new figure of notebook width.
    stacked
        False: a line a group instead, to compare them.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        The axis of amounts begins at 0, or below where there are credits: groups below 0 are
        stacked downwards. The first and the last sum are written with their currency, the last one
        with its customers where there is one series. Groups differ in colour and hatch, lines in
        colour, dashes and marker. A month that is not in the frame is a gap.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`), a month that is
        twice in a group, null amounts, more than 12 groups or 120 months.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01", "rates": rates}
    >>> ax = plot.mrr(metrics.mrr_schedule(lines, **half_year))
    >>> sorted(label.get_text() for label in ax.get_xticklabels())
    ['2026-01', '2026-02', '2026-03', '2026-04', '2026-05', '2026-06']
    """
    rows = style.require_columns(frame, _NEEDED, "mrr_schedule")
    by = style.groups(rows, "month")
    group = style.group_names(rows, by)
    currency, amounts = (
        months.one_currency(rows, "pass metrics.mrr_schedule `rates`"),
        months.money(rows, "mrr"),
    )
    number = months.month_numbers(rows, "month")
    code, names = pd.factorize(group)
    style.refuse(
        len(names),
        "groups",
        style.MOST_CURVES,
        "Keep some of them, such as frame[frame[column].isin(values)].",
    )
    months.few(number)
    if pd.DataFrame({"group": code, "month": number}).duplicated().any():
        raise ArgumentError(
            "A month occurs twice. Pass the result of metrics.mrr_schedule, with the columns of"
            " `by` before 'month'."
        )
    ax = style.axes(ax, height=3.6)
    heading = "MRR by month"
    if by and len(rows):
        heading += f", by {', '.join(map(str, by))}" if len(names) > 1 else f": {group.iloc[0]}"
    style.dress(ax, title or heading)
    if not len(rows):
        return style.empty(ax, "No MRR in these months.")
    first = number.min()
    table = np.full((len(names), number.max() - first + 1), np.nan)
    table[code, number - first] = amounts
    places = np.arange(first, number.max() + 1)
    there = ~np.isnan(table).all(axis=0)
    total = np.where(there, np.nansum(table, axis=0), np.nan)
    if len(names) > 1 and stacked:
        up, down = months.stack(
            ax, places, [(name, np.nan_to_num(table[at])) for at, name in enumerate(names)]
        )
        low, high = down.min(), up.max()
        ax.plot(
            places,
            total,
            color=style.pen(ax).ink,
            linewidth=1.2,
            marker="o",
            markersize=3.5,
            markerfacecolor=style.pen(ax).paper,
            label="sum",
            zorder=4,
        )
    else:
        for at, name in enumerate(names):
            mark = style.mark(at)
            ax.plot(
                places,
                table[at],
                color=mark.color,
                marker=mark.marker,
                linestyle=mark.dashes,
                linewidth=1.6,
                markersize=4,
                label=style.legend_name(name),
                zorder=3,
            )
        low, high = np.nanmin(table), np.nanmax(table)
    months.month_axis(ax, number)
    months.money_axis(ax, min(low, 0.0), max(high, 0.0), currency)
    if len(names) > 1:
        style.legend_below(ax)
    if len(names) == 1 or stacked:
        customers = (
            style.numbers(rows, "customers")[number == number.max()]
            if len(names) == 1
            else np.array([])
        )
        _ends(ax, places[there], total[there], currency, customers)
    return ax


def _ends(
    ax: Axes, places: months.Places, total: style.Floats, currency: str, customers: style.Floats
) -> None:
    """Write the first sum and the last, with the number of its customers."""
    most = float(np.abs(total).max())
    for at in (0, -1)[: len(places)]:
        text = f"{months.amount(total[at], most)} {currency}".rstrip()
        if at == -1 or len(places) == 1:
            text += "".join(
                f", {style.number(count)} customer{'s' if count != 1 else ''}"
                for count in customers
            )
        last = at == -1
        ax.annotate(
            text,
            (places[at], total[at]),
            xytext=(4 if last else -4, 7),
            textcoords="offset points",
            ha="right" if last else "left",
            va="bottom",
            fontsize=style.TEXT,
            color=style.pen(ax).ink,
            zorder=5,
            bbox={"facecolor": style.pen(ax).paper, "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            annotation_clip=False,
            **style.PLAIN,
        )
