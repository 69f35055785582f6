"""What charts of money by month share: one currency, the axes of months and of money, stacks, and
amounts as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pdframe._moments import moment
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style

Places = npt.NDArray[np.int64]

MOST_MONTHS = 120
_LARGEST = 1e15
# A label such as 2026-06 needs as many inches, at the default size of type.
_LABEL = 0.72
# From this amount on a chart writes 12.4M.
_SHORT_FROM = 10_000_000

SYMBOLS = {
    "AUD": "A$",
    "BRL": "R$",
    "CAD": "CA$",
    "EUR": "€",
    "GBP": "£",
    "HKD": "HK$",
    "ILS": "₪",
    "INR": "₹",
    "JPY": "¥",
    "KRW": "₩",
    "MXN": "MX$",
    "NGN": "₦",
    "NZD": "NZ$",
    "PHP": "₱",
    "SGD": "S$",
    "THB": "฿",
    "TRY": "₺",
    "UAH": "₴",
    "USD": "$",
    "VND": "₫",
}
"""Signs that stand for one currency alone; others are written by their code."""

MEASURES = {"mrr": 1, "arr": 12}
"""What a chart of MRR can be drawn in, and the factor to it."""


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
            f" room for one. Draw each: {style.each_group(by, chart)}"
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


def over(months: Places, as_of: Any, tz: str | None = None) -> npt.NDArray[np.bool_]:
    """Return which months are over in `tz` (None: UTC) at `as_of`, as metrics read it; all where it
    is None.
    """
    if as_of is None:
        return np.ones(len(months), np.bool_)
    zone = tz or "UTC"
    after = moment(as_of, zone, "as_of", end_of_day=True) + pd.Timedelta(1, "us")
    first = after.tz_convert(zone)
    return np.asarray(months < first.year * 12 + first.month - 1 - 1970 * 12, dtype=np.bool_)


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
    room = max(int(style.inches(ax) / (_LABEL * style.unit())), 2)
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
    pen, sign = style.pen(ax), SYMBOLS.get(currency, "")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: money_text(value, sign)))
    ax.set_ylabel(
        "" if sign else currency or "(no currency)",
        fontsize=style.normal(),
        color=pen.ink,
        **style.PLAIN,
    )
    if low == high:
        high = low + 1
    # Amounts are written above the highest mark: this leaves room for a line of text, also in a
    # small Axes.
    line = 0.25 * style.unit() / max(ax.bbox.height / ax.figure.dpi, 0.5)
    room = (high - low) * max(0.08, line)
    ax.set_ylim(low - room if low else 0, high + room)
    ax.grid(True, axis="y", color=pen.line, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.axhline(0, color=pen.faint, linewidth=0.8, zorder=2.5)


def money_text(value: float, sign: str = "") -> str:
    """Return a round amount with the sign of its currency, such as €1.25M, -$40k or £7.5."""
    for size, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k"), (1, "")):
        if abs(value) >= size or size == 1:
            return f"{'-' if value < 0 else ''}{sign}{abs(value) / size:,.6g}{letter}"
    raise AssertionError(value)


def amount(value: float, most: float, *, sign: bool = False, brief: bool = False) -> str:
    """Return an amount with separators, with cents where the largest one is below 1,000; in three
    digits with k or M where that is 10,000,000 or more, or in `brief`.
    """
    if brief or abs(most) >= _SHORT_FROM:
        text = f"{'+' if sign and value >= 0 else ''}{short(value)}"
    else:
        text = f"{value:{'+' if sign else ''},.{2 if abs(most) < 1_000 else 0}f}"
    return text[1:] if text[:1] in "+-" and not text.strip("+-0.,") else text


def fitting(ax: Axes, places: float, texts: Callable[[bool], list[str]]) -> list[str] | None:
    """Return amounts that are written next to each other, at some places of the Axes: exact,
    else in brief; None where neither has room. `texts` writes them, in brief or not.
    """
    room = style.inches(ax) / max(places, 1)
    for brief in (False, True):
        result = texts(brief)
        if max((style.width(text, style.small()) for text in result), default=0.0) + 0.05 <= room:
            return result
    return None


def short(value: float) -> str:
    """Return an amount in at most three digits, such as 412k, 1.24M or 950."""
    for size, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:,.3g}{letter}"
    return f"{value:,.0f}"


def priced(value: float, currency: Any) -> str:
    """Return an amount in at most three digits with its currency, such as €12.5k or 12.5k CHF."""
    sign = SYMBOLS.get(str(currency), "")
    text = f"{'-' if value < 0 else ''}{sign}{short(abs(value))}"
    return text if sign or pd.isna(currency) else f"{text} {style.shown(currency, 12)}"


def factor(measure: str) -> int:
    """Return by what MRR is multiplied; `ArgumentError` where `measure` is none of `MEASURES`."""
    if measure not in MEASURES:
        raise ArgumentError(f"measure={measure!r} must be 'mrr' or 'arr'.")
    return MEASURES[measure]


def stack(
    ax: Axes,
    places: style.Floats | Places,
    parts: Sequence[tuple[str, style.Floats]],
    *,
    width: float = 0.8,
    colors: Sequence[str] | None = None,
    base: float = 0.0,
) -> tuple[style.Floats, style.Floats]:
    """Stack bars at `places`, gains upwards from `base` and losses downwards; return how far both
    reach.
    """
    paper = style.pen(ax).paper
    up, down = np.full(len(places), base), np.full(len(places), base)
    for at, (name, values) in enumerate(parts):
        start = np.where(values < 0, down, up)
        bars: BarContainer = ax.bar(
            places,
            values,
            bottom=start,
            width=width,
            color=colors[at] if colors else style.fill(at, paper),
            edgecolor=paper,
            linewidth=0.6,
            label=style.legend_name(name),
        )
        for bar in bars:
            if not bar.get_height():
                # The edge of nothing is a line all the same.
                bar.set_linewidth(0)
        up, down = up + np.maximum(values, 0), down + np.minimum(values, 0)
    return up, down
