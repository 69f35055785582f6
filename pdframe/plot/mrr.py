"""MRR by month: a line, or a stack of groups with their sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style

# Of more groups than can be read, as many are drawn that differ in colour, and the rest.
_USUAL = len(style.COLORS)
_NEEDED = ("month", "currency", "mrr", "customers")


@style.chart
def mrr(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    stacked: bool = True,
    top: int | None = None,
    measure: Literal["mrr", "arr"] = "mrr",
    title: str | None = None,
) -> Axes:
    """Draw MRR by month: a line for one series; for groups their stack, with the sum above it.

    Parameters
    ----------
    frame
        What `metrics.mrr_schedule` returns, in one currency, of at most 120 months.
    ax
        Where to draw; None: a new figure of notebook width.
    stacked
        False: a line a group instead, to compare them.
    top
        How many groups to draw, those with the most MRR first. None: up to 12, and of more the
        largest 7. The rest is one part of the stack, named "and 7 more"; lines leave it out, and
        the title says so.
    measure
        "arr": amounts times 12, of a year.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        The axis of amounts begins at 0, or below where there are credits: groups below 0 are
        stacked downwards. The first and the last sum are written with their currency, the last one
        with its customers where there is one series. Lines differ in colour, dashes and marker. A
        month that is not in the frame is a gap.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`), a month that is
        twice in a group, null amounts, more than 120 months, or `top` is no number from 1 to 12.

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
    currency = months.one_currency(rows, "pass metrics.mrr_schedule `rates`")
    amounts = months.factor(measure) * months.money(rows, "mrr")
    number = months.month_numbers(rows, "month")
    months.few(number)
    if rows.assign(month=number).duplicated([*by, "month"]).any():
        raise ArgumentError(
            "A month occurs twice. Pass the result of metrics.mrr_schedule, with the columns of"
            " `by` before 'month'."
        )
    rank, more = style.largest(rows, by, amounts, top, style.MOST_CURVES, _USUAL)
    names = _names(style.group_names(rows, by), rank)
    ax = style.axes(ax, height=3.6)
    heading = f"{measure.upper()} by month"
    if by and len(rows):
        heading = (
            style.of_many(heading, by, len(names), 0 if stacked else more)
            if len(names) > 1 or more
            else f"{heading}: {names[0]}"
        )
    style.dress(ax, title or heading)
    if not len(rows):
        return style.empty(ax, f"No {measure.upper()} in these months.")
    first = number.min()
    table = np.zeros((len(names) + 1, number.max() - first + 1))
    # Of the groups beyond `top`: the last row of the table.
    np.add.at(table, (rank, number - first), amounts)
    there = np.bincount(number - first, minlength=table.shape[1]) > 0
    present = np.zeros(table.shape, np.bool_)
    present[rank, number - first] = True
    places = np.arange(first, number.max() + 1)
    total = np.where(there, table.sum(axis=0), np.nan)
    if len(names) + bool(more) > 1 and stacked:
        low, high = _stack(ax, places, table, names, more, total)
    else:
        low, high = _lines(ax, places, np.where(present, table, np.nan)[:-1], names)
    months.month_axis(ax, number)
    months.money_axis(ax, min(low, 0.0), max(high, 0.0), currency)
    if len(names) > 1 or (more and stacked):
        style.legend_below(ax)
    if stacked or (len(names) == 1 and not more):
        one = len(names) == 1 and not more
        customers = style.numbers(rows, "customers")[number == number.max()] if one else []
        _ends(ax, places[there], total[there], currency, np.asarray(customers, np.float64))
    return ax


def _names(group: pd.Series[Any], rank: months.Places) -> list[str]:
    """Return the name of each group that is drawn, in its order."""
    first = pd.Series(group.to_numpy()).groupby(rank).first()
    return [str(name) for at, name in first.items() if at >= 0]  # type: ignore[operator]


def _stack(
    ax: Axes,
    places: months.Places,
    table: style.Floats,
    names: list[str],
    more: int,
    total: style.Floats,
) -> tuple[float, float]:
    """Draw the groups on each other, the rest of them above, and their sum; return its limits."""
    pen = style.pen(ax)
    parts = list(zip(names, table, strict=False))
    colors = [style.fill(at, pen.paper) for at in range(len(parts))]
    if more:
        parts.append((f"and {more} more", table[-1]))
        colors.append(pen.line)
    up, down = months.stack(ax, places, parts, colors=colors)
    ax.plot(
        places,
        total,
        color=pen.ink,
        linewidth=1.2,
        marker="o",
        markersize=3.5,
        markerfacecolor=pen.paper,
        label="sum",
        zorder=4,
    )
    return float(down.min()), float(up.max())


def _lines(
    ax: Axes, places: months.Places, table: style.Floats, names: list[str]
) -> tuple[float, float]:
    """Draw a line a group; return the limits of all."""
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
    return float(np.nanmin(table)), float(np.nanmax(table))


def _ends(
    ax: Axes, places: months.Places, total: style.Floats, currency: str, customers: style.Floats
) -> None:
    """Write the first sum and the last, with the number of its customers, next to the line of sums:
    in full, else as much of it as hides no part of the line.
    """
    most = float(np.abs(total).max())
    first, last = (months.amount(total[at], most) for at in (0, -1))
    unit = f" {currency}" if currency else ""
    counted = "".join(
        f", {style.number(count)} customer{'s' if count != 1 else ''}" for count in customers
    )
    shorter = [last + unit, last] if unit else [last]
    written = _write(ax, places, total, -1, [last + unit + counted, *shorter])
    room = style.inches(ax) * (places[-1] - places[0]) / (places[-1] - places[0] + 1.2)
    if style.width(first + unit + written, style.normal()) + 0.2 <= room:
        _write(ax, places, total, 0, [first + unit], is_needed=False)


def _write(
    ax: Axes,
    places: months.Places,
    total: style.Floats,
    at: int,
    texts: Sequence[str],
    *,
    is_needed: bool = True,
) -> str:
    """Write the first of these texts that has room above or below its end of the line without
    hiding a part of it; return it. Where none has, the last one is above it if it is needed.
    """
    width, height = style.inches(ax), ax.bbox.height / ax.figure.dpi
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = (places - left) / (right - left) * width, (total - bottom) / (top - bottom) * height
    point, gap = 4 * style.unit() / 72, 7 * style.unit() / 72
    letters = 1.3 * style.normal() / 72
    ha = "center" if len(places) == 1 else "right" if at else "left"
    chosen = (texts[-1] if is_needed else "", "bottom")
    for text in texts:
        size = style.width(text, style.normal())
        start = x[at] - {"center": size / 2, "right": size - point, "left": point}[ha]
        # The amounts beside the axis may take more of the width than `inches` knows.
        margin = -0.1 if ha == "left" else 0.2 * style.unit()
        if start < margin or start + size > width + 0.1:
            continue
        # The line where the text would be.
        line = np.interp(np.linspace(start, start + size, 50), x, y)
        sides = {"bottom": y[at] + gap, "top": y[at] - gap - letters}
        free = [
            va
            for va, low in sides.items()
            if low >= -point and not ((line > low - point) & (line < low + letters + point)).any()
        ]
        if free:
            chosen = text, free[0]
            break
    text, va = chosen
    if not text:
        return text
    shift = {"center": 0, "right": 4, "left": -4}[ha], 7 if va == "bottom" else -7
    style.note(ax, places[at], total[at], text, ha=ha, va=va, shift=shift, box=style.pen(ax).paper)
    return text
