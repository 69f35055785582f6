"""Open deals that wait longest for their stage: whom to call first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pdframe.plot import _months as months
from pdframe.plot import _style as style

_NEEDED = (
    "deal_id",
    "stage",
    "days_in_stage",
    "median_days",
    "share_longer",
    "rotten",
    "days_past_close",
)
_USUAL = 15
# Of the width, for bars at least; of the rest, for the text at the right.
_LEAST, _BESIDE = 0.4, 0.45
_LEGIBLE = 14
"""Characters of a stage or owner that is cut, at least."""
_ROTTEN, _LATE, _IN_TIME = "rotten", "past its expected close", "in time"
_NO_LIMIT = "no limit known"
_COLORS = {_ROTTEN: style.RED, _LATE: style.ORANGE, _IN_TIME: style.BLUE, _NO_LIMIT: style.GREY}


@style.chart
def deal_aging(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int = _USUAL,
    title: str | None = None,
) -> Axes:
    """Draw the open deals that have been in their stage longest, compared with what is usual there:
    whom to call first.

    Parameters
    ----------
    frame
        What `metrics.deal_aging` returns, or some of its rows.
    ax
        Where to draw; None: a new figure of notebook width.
    top
        How many deals to draw, at most 36; the title says how many more there are.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        A bar is a deal's days in its stage, by its title where the frame has it. First come those
        than which the smallest share of completed visits to their stage was longer
        (`share_longer`), then those with no such share, each from the longest. The line across a
        bar is the median of the stage. Colours: rotten; past its expected close; in time, within
        the days that the stage allows (`days_to_rotten`) or before its expected close; no limit
        known, with neither of them. At the right: stage, owner and value, where the frame has them.
        Deals without days in stage are left out.

    Raises
    ------
    ArgumentError
        A missing column, or `top` is no number from 1 to 36.

    Examples
    --------
    >>> deals, visits, stages = account.deals(), account.stage_visits(), account.stages()
    >>> aging = metrics.deal_aging(deals, visits, stages, as_of="2026-06-30")
    >>> ax = plot.deal_aging(aging, top=3)
    >>> ax.get_title(loc="left")
    'Open deals that wait longest for their stage: 3, and 57 more'
    """
    rows = style.require_columns(frame, _NEEDED, "deal_aging")
    style.check_top(top, style.MOST_ROWS)
    days = style.numbers(rows, "days_in_stage")
    known = np.flatnonzero(~np.isnan(days))
    # Nulls, those of a stage where no visit is complete, sort last.
    order = known[np.lexsort((-days[known], style.numbers(rows, "share_longer")[known]))]
    more = len(order) - top
    rows = rows.iloc[order[:top]].reset_index(drop=True)
    days, median, late = (
        style.numbers(rows, name) for name in ("days_in_stage", "median_days", "days_past_close")
    )
    y = np.arange(len(rows), dtype=np.float64)
    names = style.row_names(_titles(rows), None)
    ax = style.axes(ax, height=1.5 + max(len(rows), 2) * 0.3)
    heading = "Open deals that wait longest for their stage"
    if more > 0:
        heading += f": {len(rows)}, and {style.number(more)} more"
    style.dress(ax, title or heading, x="days in the stage", beside=names.beside)
    if not len(rows):
        return style.empty(ax, "No open deal has a known time in its stage.")
    state = _states(rows, late)
    ax.barh(y, days, height=0.62, color=[_COLORS[name] for name in state], linewidth=0)
    pen = style.pen(ax)
    ax.vlines(median, y - 0.42, y + 0.42, color=pen.paper, linewidth=3.5)
    ax.vlines(median, y - 0.42, y + 0.42, color=pen.ink, linewidth=1.5)
    inches = style.inches(ax, names.beside)
    longest = float(np.nanmax([1.0, *days, *median]))
    beside = _beside(rows, _BESIDE * (1 - _LEAST) * inches)
    share = _write(ax, y, _texts(days, late), beside, days, inches)
    style.name_rows(ax, names, y)
    ax.set_xlim(0, longest / share)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    style.ticks(ax, longest, inches * share)
    handles: list[Any] = [
        Patch(color=color, label=name) for name, color in _COLORS.items() if (state == name).any()
    ]
    if not np.isnan(median).all():
        handles.append(
            Line2D([], [], color=pen.ink, marker="|", linestyle="none", markersize=9,
                   markeredgewidth=1.5, label="median of the stage")
        )  # fmt: skip
    style.legend_below(ax, handles, beside=names.beside)
    return ax


def _states(rows: pd.DataFrame, late: style.Floats) -> npt.NDArray[np.str_]:
    """Return the state of each deal, one of `_COLORS`."""
    rotten = rows["rotten"].astype("boolean")
    limit = np.full(len(rows), np.nan)
    if "days_to_rotten" in rows:
        limit = style.numbers(rows, "days_to_rotten")
    fresh = (~rotten).fillna(False).to_numpy(np.bool_) & ~np.isnan(limit)
    is_rotten = rotten.fillna(False).to_numpy(np.bool_)
    in_time = np.where(fresh | ~np.isnan(late), _IN_TIME, _NO_LIMIT)
    return np.where(is_rotten, _ROTTEN, np.where(late > 0, _LATE, in_time))


def _titles(rows: pd.DataFrame) -> list[str]:
    """Return the title of each deal, with its id where two have the same."""
    ids = [f"deal {style.plain_text(each)}" for each in rows["deal_id"]]
    if "title" not in rows:
        return ids
    titles = pd.Series([style.shown(each) for each in rows["title"]], dtype="str")
    twice = titles.duplicated(keep=False) | rows["title"].isna()
    return [
        (f"{title} ({name})" if not pd.isna(given) else name) if doubled else title
        for title, name, given, doubled in zip(titles, ids, rows["title"], twice, strict=True)
    ]


def _texts(days: style.Floats, late: style.Floats) -> list[str]:
    """Return what is written after each bar."""
    return [
        style.days(length) + (f", {style.number(past)} d past close" if past > 0 else "")
        for length, past in zip(days, late, strict=True)
    ]


def _beside(rows: pd.DataFrame, inches: float) -> list[str]:
    """Return stage, owner and value of each deal, as far as the frame has them; what is too wide is
    cut before the value, or left out where too little of it would remain.
    """
    parts = [[style.plain_text(stage) for stage in rows["stage"]]]
    if "owner_name" in rows:
        parts.append([style.plain_text(name) for name in rows["owner_name"]])
    amounts = [""] * len(rows)
    if {"value", "currency"} <= {*rows.columns}:
        amounts = [
            "" if np.isnan(amount) else f", {months.priced(amount, currency)}"
            for amount, currency in zip(style.numbers(rows, "value"), rows["currency"], strict=True)
        ]
    size = style.small()

    def fitted(every: list[list[str]]) -> list[str]:
        return [
            style.fitted(", ".join(words), inches - style.width(amount, size), size, 80)
            for *words, amount in zip(*every, amounts, strict=True)
        ]

    # Stage and owner, else the owner alone; cut where enough of it remains: "Qua…er" says nothing.
    every = [fitted(kept) for kept in (parts, parts[1:]) if kept]
    for least in (None, _LEGIBLE):
        for texts in every:
            if not any("…" in text and (least is None or len(text) < least) for text in texts):
                return [text + amount for text, amount in zip(texts, amounts, strict=True)]
    return [amount.removeprefix(", ") for amount in amounts]


def _write(
    ax: Axes,
    y: style.Floats,
    after: list[str],
    beside: list[str],
    days: style.Floats,
    inches: float,
) -> float:
    """Write the texts after the bars and at the right, as far as there is room; return the share of
    the width that is left for bars.
    """
    size, gap = style.small(), 0.15 * style.unit()
    need = [max(style.width(text, size) for text in texts) + gap for texts in (after, beside)]
    if inches - sum(need) < _LEAST * inches:
        after = [style.days(length) for length in days]
        need[0] = max(style.width(text, size) for text in after) + gap
    for at, text in enumerate(after):
        style.note(ax, days[at], y[at], text, size=size, shift=(5, 0))
    for at, text in enumerate(beside):
        style.note(ax, 1.0, y[at], text, at=ax.get_yaxis_transform(), size=size, ha="right")
    return max(1 - sum(need) / inches, 0.15)
