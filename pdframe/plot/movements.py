"""What moved MRR: a waterfall from start to end, or month by month with gains above and losses
below.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style
from pdframe.plot import _waterfall as waterfall
from pdframe.plot._waterfall import Step

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

# Movement and colour, in the order of the identity.
_MOVES = (
    ("new", style.BLUE),
    ("reactivation", style.SKY),
    ("expansion", style.GREEN),
    ("contraction", style.ORANGE),
    ("churn", style.RED),
    ("fx", style.PURPLE),
)
_NEEDED = ("month", "currency", "start", *(name for name, _ in _MOVES), "end", "expired")


@style.chart
def mrr_movements(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    by_month: bool = False,
    as_of: Moment | None = None,
    measure: Literal["mrr", "arr"] = "mrr",
    title: str | None = None,
) -> Axes:
    """Draw MRR movements: a waterfall over all months of the frame, or month by month.

    Parameters
    ----------
    frame
        What `metrics.mrr_movements` returns, in one currency and of one group; at most 120 months.
    ax
        Where to draw; None: a new figure of notebook width.
    by_month
        False: one waterfall: start, each movement's sum, end. True: gains above 0 and losses below,
        the net of them marked.
    as_of
        When the data was taken; a bare date is the end of that day, a year, quarter, month
        ("2026-06") or `pd.Period` its end. Months that are not over by then are hatched, since they
        are incomplete. None: all are taken for over.
    measure
        "arr": amounts times 12, of a year; as `arr_movements` draws them.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        Heights are the frame's amounts, so that start and movements add up to the end. Where all
        steps are far above 0, the axis of the waterfall is cut, which is said on it. Under churn:
        the part that `expired`, of lines that ran out with no cancellation known.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`) or groups, null
        amounts, a month that is there twice, rows that do not add up (months are missing between),
        `as_of` is no time, or more than 120 months.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01", "rates": rates}
    >>> ax = plot.mrr_movements(metrics.mrr_movements(lines, **half_year))
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['start', 'new', 'reactivation', 'expansion', 'contraction', 'churn', 'fx', 'end']
    """
    rows = style.require_columns(frame, _NEEDED, "mrr_movements")
    group = months.one_group(rows, "month", "mrr_movements")
    currency, number = (
        months.one_currency(rows, "pass metrics.mrr_movements `rates`"),
        months.month_numbers(rows, "month"),
    )
    times = months.factor(measure)
    amounts = {name: times * months.money(rows, name) for name in _NEEDED[2:]}
    months.few(number)
    if len(np.unique(number)) < len(number):
        raise ArgumentError(
            "A month occurs twice. Pass the result of metrics.mrr_movements, with the columns of"
            " `by` before 'month'."
        )
    order = np.argsort(number)
    number, amounts = number[order], {name: values[order] for name, values in amounts.items()}
    done = months.over(number, as_of, frame.attrs.get("tz"))
    _closes(number, amounts)
    ax = style.axes(ax, height=4.0)
    heading = f"{measure.upper()} movements"
    if len(number):
        first, last = months.month_name(number[0]), months.month_name(number[-1])
        heading += f", {first} to {last}" if first != last else f", {first}"
    style.dress(ax, title or (f"{heading}: {group}" if group else heading))
    if not len(number):
        return style.empty(ax, f"No {measure.upper()} in these months.")
    if by_month:
        _months(ax, number, amounts, done, currency)
    else:
        _waterfall(ax, amounts, bool(done.all()), currency)
    return ax


def _closes(number: months.Places, amounts: dict[str, style.Floats]) -> None:
    """Refuse months of which one does not begin where the one before ended, or that do not add up
    in themselves.
    """
    size = max((float(np.abs(values).max(initial=0.0)) for values in amounts.values()), default=0.0)
    slack = 1e-5 + 1e-9 * size
    moved = sum((amounts[name] for name, _ in _MOVES), np.zeros(len(number)))
    off = np.abs(amounts["start"] + moved - amounts["end"]) > slack
    gap = np.append(False, np.abs(amounts["start"][1:] - amounts["end"][:-1]) > slack)[
        : len(number)
    ]
    for which, what in (
        (off, "start and movements do not add up to the end"),
        (gap, "it does not start where the month before it ended"),
    ):
        if which.any():
            raise ArgumentError(
                f"{months.month_name(int(number[which][0]))}: {what}. Pass all months and columns"
                " that metrics.mrr_movements returned."
            )


def _waterfall(ax: Axes, amounts: dict[str, style.Floats], done: bool, currency: str) -> None:
    start, end = float(amounts["start"][0]), float(amounts["end"][-1])
    steps = [Step(name, float(amounts[name].sum()), color) for name, color in _MOVES]
    expired = float(amounts["expired"].sum())
    notes = {"end": "" if done else "(not over)"}
    if expired:
        most = waterfall.highest(start, steps, end)
        notes["churn"] = f"({months.amount(-expired, most)} expired)"
    waterfall.draw(ax, start, steps, end, currency, notes=notes, is_final=done)


def _months(
    ax: Axes, number: months.Places, amounts: dict[str, style.Floats], done: Any, currency: str
) -> None:
    parts = [(name, amounts[name]) for name, _ in _MOVES if amounts[name].any()]
    colors = [color for name, color in _MOVES if amounts[name].any()]
    up, down = months.stack(ax, number, parts, colors=colors)
    net = amounts["end"] - amounts["start"]
    ax.plot(
        number,
        net,
        color=style.pen(ax).ink,
        marker="D",
        markersize=5,
        markerfacecolor=style.pen(ax).paper,
        linestyle="none",
        label="net",
        zorder=5,
    )
    months.month_axis(ax, number)
    months.money_axis(ax, float(down.min()), float(up.max()), currency)
    for at in np.flatnonzero(~done):
        ax.axvspan(
            number[at] - 0.5,
            number[at] + 0.5,
            facecolor="none",
            edgecolor=style.pen(ax).line,
            hatch=waterfall.NOT_FINAL,
            linewidth=0,
            zorder=0.5,
            label="not over" if at == np.flatnonzero(~done)[0] else "_",
        )
    most = float(np.abs(net).max())

    def texts(brief: bool) -> list[str]:
        return [months.amount(value, most, sign=True, brief=brief) for value in net]

    written = months.fitting(ax, len(net), texts)
    if written:
        for x, above, text in zip(number, up, written, strict=True):
            waterfall.write(ax, float(x), above, text)
    style.legend_below(ax)


def arr_movements(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    by_month: bool = False,
    as_of: Moment | None = None,
    title: str | None = None,
) -> Axes:
    """Draw what moved ARR: `mrr_movements` with `measure="arr"`, amounts times 12.

    Parameters
    ----------
    frame
        What `metrics.mrr_movements` returns, in one currency and of one group; at most 120 months.
    ax
        Where to draw; None: a new figure of notebook width.
    by_month
        False: one waterfall. True: gains above 0 and losses below, month by month.
    as_of
        When the data was taken: months that are not over by then are hatched. None: all are taken
        for over.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        As `mrr_movements` draws it.

    Raises
    ------
    ArgumentError
        As of `mrr_movements`.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01", "rates": rates}
    >>> ax = plot.arr_movements(metrics.mrr_movements(lines, **half_year))
    >>> ax.get_title(loc="left")
    'ARR movements, 2026-01 to 2026-06'
    """
    return mrr_movements(frame, ax, by_month=by_month, as_of=as_of, measure="arr", title=title)
