"""Activities as bars: what was planned, what of it is overdue, and what was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pdframe.plot import _months as months
from pdframe.plot import _periods as periods
from pdframe.plot import _style as style

_NEEDED = ("planned", "done", "overdue", "per_won_deal")
_USUAL = 15
_COLORS = {"planned": style.BLUE, "planned, now overdue": style.RED, "done": style.GREEN}
# Of a group: how thick each of its two bars is, and how far their middles are from its own.
_THICK, _APART = 0.34, 0.18
# Of the width, for bars at least.
_LEAST = 0.35


class _Counts(NamedTuple):
    """Counts of each group or period; `per_won` is null where it cannot be added up."""

    planned: style.Floats
    done: style.Floats
    overdue: style.Floats
    per_won: style.Floats


@style.chart
def activity_summary(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int = _USUAL,
    title: str | None = None,
) -> Axes:
    """Draw how many activities were planned, done and overdue: a pair of bars a group or period.

    Parameters
    ----------
    frame
        What `metrics.activity_summary` returns, or some of its rows, with at most 60 periods.
    ax
        Where to draw; None: a new figure of notebook width.
    top
        How many groups to draw, at most 36, those with the most activities first; all others are
        one pair, "and 7 more". Periods (`freq=`) add all groups up and leave none out.
    title
        None: a title with the sums.

    Returns
    -------
    Axes
        Of each pair, one bar is what was planned, the part that is overdue in red; the other one is
        what was done, whenever it was due. After the bars of a group: its counts and, where the
        frame has it, its activities per won deal. Above those of a period: its counts, where there
        is room.

    Raises
    ------
    ArgumentError
        A missing column, null or negative counts, more than 60 periods, or `top` is no number from
        1 to 36.

    Examples
    --------
    >>> june = {"since": "2026-06-01", "until": "2026-07-01", "as_of": "2026-06-30"}
    >>> summary = metrics.activity_summary(account.activities(), **june, by="type")
    >>> ax = plot.activity_summary(summary)
    >>> ax.get_title(loc="left")
    'Activities by type: 17 planned, 9 of them overdue, 10 done'
    """
    rows = style.require_columns(frame, _NEEDED, "activity_summary")
    style.check_top(top, style.MOST_ROWS)
    by = style.groups(rows, "planned")
    if by and by[-1] == "period":
        return _by_period(rows, by[:-1], ax, title, frame.attrs.get("freq"))
    names = style.group_names(rows, by) if by else pd.Series(["all activities"] * len(rows))
    code, groups = pd.factorize(names)
    counts = _counts(rows, code, len(groups))
    order = np.argsort(-(counts.planned + counts.done), kind="stable")
    shown, rest = order[:top], order[top:]
    labels = [style.plain_text(groups[at]) for at in shown]
    drawn = _Counts(*(part[shown] for part in counts))
    if len(rest):
        labels.append(f"and {len(rest):,} more")
        others = [[part[rest].sum()] for part in counts[:3]]
        drawn = _Counts(*map(np.append, drawn, [*others, [np.nan]]))
    beside = style.row_names(labels, None)
    ax = style.axes(ax, height=1.3 + max(len(labels), 2) * 0.42)
    style.dress(ax, title or _heading(by, counts), x="activities", beside=beside.beside)
    if not len(labels):
        return style.empty(ax, "There are no activities.")
    y = np.arange(len(labels), dtype=np.float64)
    _bars(ax.barh, y, drawn, height=_THICK)
    inches, size = style.inches(ax, beside.beside), style.small()
    texts = _texts(drawn, (1 - _LEAST) * inches)
    need = max(style.width(text, size) for text in texts) + 0.2 * style.unit()
    share = max(1 - need / inches, _LEAST)
    longest = np.maximum(drawn.planned, drawn.done)
    for at, text in enumerate(texts):
        style.note(ax, longest[at], y[at], text, size=size, shift=(5, 0))
    style.name_rows(ax, beside, y)
    most = float(max(longest.max(), 1.0))
    ax.set_xlim(0, most / share)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    style.ticks(ax, most, inches * share)
    _legend(ax, drawn, beside.beside)
    return ax


def _by_period(
    rows: pd.DataFrame, by: list[Any], ax: Axes | None, title: str | None, freq: str | None
) -> Axes:
    """Draw a pair of bars a period, all groups together."""
    days = periods.first_days(rows)
    kind = periods.periods(days, freq)
    number = kind.numbers(days) if len(days) else np.zeros(0, np.int64)
    first = int(number.min()) if len(number) else 0
    span = int(number.max()) - first + 1 if len(number) else 0
    # Pairs of bars need twice the room of single ones.
    style.refuse(
        span, "periods", months.MOST_MONTHS // 2, "Keep the later ones, or pass a longer freq."
    )
    counts = _counts(rows, number - first, span)
    ax = style.axes(ax, height=3.6)
    style.dress(ax, title or _heading([kind.unit], counts) + _of_groups(rows, by))
    if not len(rows):
        return style.empty(ax, "There are no periods.")
    at = np.arange(first, first + span, dtype=np.float64)
    _bars(ax.bar, at, counts, width=_THICK)
    periods.axis(ax, kind, number)
    pen, highest = style.pen(ax), max(float(counts.planned.max()), float(counts.done.max()), 1.0)
    ax.set_ylim(0, highest * 1.1)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(lambda value, _: style.number(value))
    ax.set_ylabel("activities", fontsize=style.normal(), color=pen.ink, **style.PLAIN)
    ax.grid(True, axis="y", color=pen.line, linewidth=0.5)
    ax.set_axisbelow(True)
    # The axis has a margin of about one period, and each period two texts.
    each = (counts.planned, counts.done)
    texts = [style.number(value) for part in each for value in part]
    if months.fitting(ax, 2 * (span + 1.2), lambda _: texts):
        for part, shift in zip(each, (-_APART, _APART), strict=True):
            for x, value in zip(at, part, strict=True):
                style.note(
                    ax, float(x) + shift, float(value), style.number(value), ha="center",
                    va="bottom", size=style.small(), shift=(0, 2),
                )  # fmt: skip
    _legend(ax, counts)
    return ax


def _counts(rows: pd.DataFrame, code: months.Places, length: int) -> _Counts:
    """Return the sums of each group or period; of a sum of several, activities per won deal are
    unknown.
    """
    planned, done, overdue = (
        np.bincount(code, style.counts(rows, name), minlength=length).astype(np.float64)
        for name in _NEEDED[:3]
    )
    per_won = np.full(length, np.nan)
    per_won[code] = style.numbers(rows, "per_won_deal")
    per_won[np.bincount(code, minlength=length) != 1] = np.nan
    return _Counts(planned, done, overdue, per_won)


def _heading(by: list[Any], counts: _Counts) -> str:
    heading = f"Activities by {style.by_words(by)}" if by else "Activities"
    sums = (counts.planned.sum(), counts.done.sum(), counts.overdue.sum())
    planned, done, overdue = (style.number(float(each)) for each in sums)
    return f"{heading}: {planned} planned, {overdue} of them overdue, {done} done"


def _of_groups(rows: pd.DataFrame, by: list[Any]) -> str:
    """Return which groups a chart by period adds up."""
    if not by or not len(rows):
        return ""
    groups = style.group_names(rows, by).drop_duplicates()
    return f" ({groups.iloc[0]})" if len(groups) == 1 else f" ({len(groups):,} groups together)"


def _bars(draw: Callable[..., Any], at: style.Floats, counts: _Counts, **thickness: float) -> None:
    for place, values, color in zip(
        (at - _APART, at - _APART, at + _APART),
        (counts.planned, counts.overdue, counts.done),
        _COLORS.values(),
        strict=True,
    ):
        draw(place, values, color=color, linewidth=0, **thickness)


def _texts(counts: _Counts, inches: float) -> list[str]:
    """Return what is written after the bars of each group: in full where all of it has room."""
    full, short = [], []
    for planned, done, overdue, per_won in zip(*counts, strict=True):
        parts = [f"{style.number(planned)} planned"]
        parts += [f"{style.number(overdue)} overdue"] if overdue else []
        parts.append(f"{style.number(done)} done")
        short.append(", ".join(parts))
        parts += [] if np.isnan(per_won) else [f"{per_won:,.1f} per won deal"]
        full.append(", ".join(parts))
    size = style.small()
    if max(style.width(text, size) for text in full) <= inches:
        return full
    return [style.fitted(text, inches, size, 80) for text in short]


def _legend(ax: Axes, counts: _Counts, beside: float | None = None) -> None:
    handles = [
        Patch(color=color, label=name)
        for name, color in _COLORS.items()
        if "overdue" not in name or counts.overdue.any()
    ]
    style.legend_below(ax, handles, beside=beside)
