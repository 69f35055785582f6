"""What charts of money by month share: one currency, the axis of months, stacks that differ without
colour, amounts as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pdframe.errors import ArgumentError
from pdframe.plot import _style as style

Places = npt.NDArray[np.int64]

HATCHES = (
    "",
    "////",
    "....",
    "\\\\\\\\",
    "xxxx",
    "----",
    "++++",
    "oo",
    "||||",
    "//..",
    "\\\\..",
    "**",
)
"""One per group, so that stacks can be distinguished in print; as many as there are marks."""

MOST_MONTHS = 120
_LARGEST = 1e15
# A label such as 2026-06 needs as many inches.
_LABEL = 0.72


def one_currency(rows: pd.DataFrame, otherwise: str) -> str:
    """Return the one currency of the rows, as text to be shown; empty where it is null throughout,
    or there are no rows.

    Raises
    ------
    ArgumentError
        There are several: amounts in them are never added up, nor drawn as if they could be.
    """
    result = rows["currency"].astype("str").drop_duplicates().tolist()
    if len(result) > 1:
        names = ", ".join("none" if pd.isna(name) else style.shown(name, 12) for name in result)
        raise ArgumentError(
            f"The frame holds amounts in several currencies ({names}), which cannot share an axis."
            " Keep one, frame[frame['currency'] =="
            f" {next(name for name in result if not pd.isna(name))!r}], or {otherwise}."
        )
    return "" if not result or pd.isna(result[0]) else style.shown(result[0], 12)


def one_group(rows: pd.DataFrame, first: str, chart: str) -> str:
    """Return the name of the frame's group, empty without `by`; `ArgumentError` where there are
    several.
    """
    by = style.groups(rows, first)
    if style.several_groups(rows, by):
        raise ArgumentError(
            f"The frame holds several groups of {', '.join(map(repr, by))}, and this chart has"
            " room for one. Draw each on its own Axes: for value, part in frame.groupby(column):"
            f" plot.{chart}(part)."
        )
    return str(style.group_names(rows, by).iloc[0]) if by and len(rows) else ""


def money(rows: pd.DataFrame, column: str) -> style.Floats:
    """Return a column of amounts; `ArgumentError` where one is null or without bounds, for a sum
    would be wrong without a word.
    """
    result = style.numbers(rows, column)
    if not (np.abs(result) < _LARGEST).all():
        raise ArgumentError(
            f"The column {column!r} holds nulls or amounts beyond {_LARGEST:,.0f}: fill them in, or"
            " drop those rows."
        )
    return result


def month_numbers(rows: pd.DataFrame, column: str) -> Places:
    """Return months, or the months of days, as whole numbers since January 1970.

    Raises
    ------
    ArgumentError
        The column holds no times, or a null.
    """
    result = rows[column]
    if not len(result):
        return np.zeros(0, np.int64)
    if not pd.api.types.is_datetime64_any_dtype(result.dtype) or result.isna().any():
        raise ArgumentError(
            f"The column {column!r} ({result.dtype}) must hold times without nulls, as the metric"
            " returns them."
        )
    naive = result if getattr(result.dtype, "tz", None) is None else result.dt.tz_localize(None)
    return np.asarray(
        naive.dt.year.to_numpy(np.int64) * 12 + naive.dt.month.to_numpy(np.int64) - 1 - 1970 * 12,
        dtype=np.int64,
    )


def month_name(number: int) -> str:
    """Return a month as 2026-06."""
    return f"{1970 + number // 12:04d}-{number % 12 + 1:02d}"


def over(months: Places, as_of: Any) -> npt.NDArray[np.bool_]:
    """Return which months are over at `as_of`; all where it is None. A bare date is the end of that
    day.
    """
    if as_of is None:
        return np.ones(len(months), np.bool_)
    bare = (isinstance(as_of, date) and not isinstance(as_of, datetime)) or (
        isinstance(as_of, str) and len(as_of.strip()) == 10
    )
    try:
        # Words like "now" would read the clock, and a number is no time.
        if not isinstance(as_of, date) and not (
            isinstance(as_of, str) and as_of.strip()[:4].isdigit()
        ):
            raise ValueError(as_of)
        time = pd.Timestamp(as_of).tz_localize(None)
        if pd.isna(time):
            raise ValueError(as_of)
        if bare:
            time += pd.Timedelta(days=1)
    except (ValueError, TypeError, OverflowError):
        raise ArgumentError(
            f"as_of={as_of!r} is not a time. Write '2026-06-30' or '2026-06-30 14:00', or pass a"
            " datetime."
        ) from None
    return np.asarray(months < time.year * 12 + time.month - 1 - 1970 * 12, dtype=np.bool_)


def few(months: Places) -> None:
    """Raise `ArgumentError` where the axis would span more months than can be read."""
    span = int(months.max() - months.min() + 1) if len(months) else 0
    style.refuse(
        span,
        "months",
        MOST_MONTHS,
        "Keep the later ones, such as frame[frame['month'] >= '2024-01-01'].",
    )


def month_axis(ax: Axes, months: Places) -> None:
    """Name as many months under the axis as there is room for."""
    first, last = int(months.min()), int(months.max())
    room = max(int(style.inches(ax) / _LABEL), 2)
    step = next((step for step in (1, 2, 3, 4, 6, 12, 24) if (last - first) // step < room), 48)
    shown = range(last, first - 1, -step)
    ax.set_xticks(list(shown), [month_name(number) for number in shown], **style.PLAIN)
    # A month alone would be as wide as the chart.
    beside = 0.6 + max(4 - (last - first), 0) / 2
    ax.set_xlim(first - beside, last + beside)


def money_axis(ax: Axes, low: float, high: float, currency: str) -> None:
    """Put round amounts next to the axis from `low` to `high`, with their currency, and a line at 0
    where there are losses.
    """
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.set_ylabel(
        currency or "(no currency)", fontsize=style.TEXT, color=style.pen(ax).ink, **style.PLAIN
    )
    if low == high:
        high = low + 1
    # Amounts are written above the highest mark: this leaves room for a line of text, also in a
    # small Axes.
    room = (high - low) * max(0.08, 0.25 / max(ax.bbox.height / ax.figure.dpi, 0.5))
    ax.set_ylim(low - room if low else 0, high + room)
    ax.grid(True, axis="y", color=style.pen(ax).line, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.axhline(0, color=style.pen(ax).faint, linewidth=0.8, zorder=2.5)


def amount(value: float, most: float, *, sign: bool = False) -> str:
    """Return an amount with separators, with cents where the largest one is below 1,000."""
    text = (
        f"{value:+,.{2 if abs(most) < 1_000 else 0}f}"
        if sign
        else f"{value:,.{2 if abs(most) < 1_000 else 0}f}"
    )
    return text[1:] if text[:1] in "+-" and not text.strip("+-0.,") else text


def stack(
    ax: Axes,
    places: style.Floats | Places,
    parts: Sequence[tuple[str, style.Floats]],
    *,
    width: float = 0.8,
    styles: Sequence[tuple[str, str]] | None = None,
    base: float = 0.0,
) -> tuple[style.Floats, style.Floats]:
    """Stack bars at `places`, gains upwards from `base` and losses downwards; return how far both
    reach.

    `styles` are colours and hatches of the parts; None: those of the marks.
    """
    up, down = np.full(len(places), base), np.full(len(places), base)
    for at, (name, values) in enumerate(parts):
        color, hatch = styles[at] if styles else (style.mark(at).color, HATCHES[at % len(HATCHES)])
        start = np.where(values < 0, down, up)
        bars: BarContainer = ax.bar(
            places, values, bottom=start, width=width, linewidth=0.6, label=style.legend_name(name)
        )
        for bar in bars:
            # Pale under a hatch, so that it can be seen; full where there is none.
            bar.set(
                facecolor=_pale(color) if hatch else color,
                edgecolor=color if hatch else style.pen(ax).paper,
                hatch=hatch,
            )
            if not bar.get_height():
                # The edge of nothing is a line all the same.
                bar.set_linewidth(0)
        up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
    return up, down


def _pale(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return (1 - 0.45 * (1 - red), 1 - 0.45 * (1 - green), 1 - 0.45 * (1 - blue))
