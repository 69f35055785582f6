"""The funnel as bars: how many deals of a cohort reached each stage, and what happened to those
that did not advance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _style as style

# State, colour, hatch, colour of a count inside.
_STATES = (
    ("advanced", style.BLUE, "", "white"),
    ("lost", "#f0a37a", "////", style.ON_LIGHT.ink),
    ("left", "#bdbdbd", "....", style.ON_LIGHT.ink),
    ("open", "#ffffff", "", style.ON_LIGHT.ink),
)
_LABELS = {
    "advanced": "advanced",
    "lost": "lost there",
    "left": "left the pipeline",
    "open": "still open",
}
_NEEDED = (
    "stage_id",
    "stage",
    "reached",
    "advanced",
    "lost",
    "left",
    "open",
    "conversion",
    "low",
    "high",
    "horizon_days",
    "share_reached",
)

# In inches: room for the text next to the bars. The bars take the rest, between these shares of the
# width.
_ROOM, _LEAST, _MOST = 3.0, 0.22, 0.62
# A count inside a segment needs as much, and more for each character.
_INSIDE, _DIGIT = 0.06, 0.075


def funnel(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw a funnel: one bar per stage, from the left: advanced, lost there, left the pipeline,
    still open.

    Parameters
    ----------
    frame
        What `metrics.funnel` returns. With groups, each stage has one bar per group, at most 36 in
        all.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: how many deals it is about.

    Returns
    -------
    Axes
        Widths are deals. After each bar: deals that reached the stage, and their share of the first
        stage's (`share_reached`). At the right: `conversion`, the probability to advance within the
        horizon, with its 95 % interval. It counts open deals as not yet known, so that it is not
        the blue part of the bar; an en dash where it is null.

    Raises
    ------
    ArgumentError
        A missing column, or more than 36 bars.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> ax = plot.funnel(funnel)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Qualified', 'Discovery', 'Demo', 'Proposal', 'Negotiation', 'won']
    """
    rows = style.require_columns(frame, _NEEDED, "funnel")
    by = style.groups(rows, "stage_id")
    style.refuse(
        len(rows),
        "bars (stages x groups)",
        style.MOST_ROWS,
        "Keep some groups, such as frame[frame[column] == value], or draw each on its own Axes.",
    )
    group = style.group_names(rows, by)
    several = style.several_groups(rows, by)
    if several:
        rows, group = style.by_stage(rows, group)
    widths = {name: style.counts(rows, name) for name, *_ in _STATES}
    reached = style.counts(rows, "reached")
    y = style.places(rows, several)
    ax = style.axes(ax, height=1.5 + (y[-1] + 1 if len(y) else 2) * 0.42)
    style.dress(ax, title or _title(rows, group, several, by), x="deals")
    if not reached.any():
        return style.empty(ax, "No deals in this cohort.")
    longest = reached.max()
    inches = style.inches(ax)
    share = min(max(1 - _ROOM / max(inches, 1.0), _LEAST), _MOST)
    _bars(ax, y, widths, longest / (inches * share))
    _annotate(ax, rows, y, reached)
    style.name_rows(ax, style.stage_names(rows), y, group if several else None)
    ax.set_xlim(0, longest / share)
    ax.set_ylim(y[-1] + 0.7, -1.0)
    style.ticks(ax, longest)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    style.legend_below(ax)
    return ax


def _title(rows: pd.DataFrame, group: pd.Series[Any], several: bool, by: list[Any]) -> str:
    first = rows.groupby(group, sort=False)["reached"].first()
    deals = style.number(float(style.numbers(first.to_frame(), "reached").sum()))
    title = f"Funnel: {deals} deals" if deals != "1" else "Funnel: one deal"
    if several:
        return f"{title}, by {', '.join(map(str, by))}"
    return f"{title}, {group.iloc[0]}" if by and len(rows) else title


def _bars(ax: Axes, y: style.Floats, widths: dict[str, style.Floats], inch: float) -> None:
    """Draw the segments; `inch` is how many deals are an inch wide."""
    start = np.zeros(len(y))
    for name, color, hatch, ink in _STATES:
        width = widths[name]
        ax.barh(
            y,
            width,
            left=start,
            height=0.66,
            color=color,
            hatch=hatch,
            edgecolor=style.BLUE if name == "advanced" else style.pen(ax).faint,
            linewidth=0.8,
            label=_LABELS[name],
        )
        texts = [style.number(count) for count in width]
        for at in np.flatnonzero(
            width >= inch * np.array([_INSIDE + _DIGIT * len(text) for text in texts])
        ):
            box = None if not hatch else {"facecolor": color, "edgecolor": "none", "pad": 1.0}
            ax.text(
                start[at] + width[at] / 2,
                y[at],
                texts[at],
                ha="center",
                va="center",
                fontsize=style.SMALL,
                color=ink,
                bbox=box,
                **style.PLAIN,
            )
        start = start + width


def _annotate(ax: Axes, rows: pd.DataFrame, y: style.Floats, reached: style.Floats) -> None:
    """Write the share that reached each stage after its bar, and the probability to advance at the
    right.
    """
    share, conversion, low, high, within = (
        style.numbers(rows, name)
        for name in ("share_reached", "conversion", "low", "high", "horizon_days")
    )
    # The row of wins is the end: nothing follows it.
    last = rows["stage_id"].isna().to_numpy()
    right = ax.get_yaxis_transform()
    pad = reached.max() * 0.012
    for at in range(len(rows)):
        ax.text(
            reached[at] + pad,
            y[at],
            f"{style.number(reached[at])}  {style.percent(share[at])}",
            ha="left",
            va="center",
            fontsize=style.TEXT,
            color=style.pen(ax).ink,
            **style.PLAIN,
        )
        if last[at]:
            continue
        text = style.percent(conversion[at])
        if not np.isnan(conversion[at]):
            text = " ".join(
                filter(
                    None,
                    [text, style.interval(low[at], high[at]), f"in {style.days(within[at])}"],
                )
            )
        ax.text(
            1.0,
            y[at],
            text,
            transform=right,
            ha="right",
            va="center",
            fontsize=style.TEXT,
            color=style.pen(ax).ink,
            **style.PLAIN,
        )
    ax.text(
        1.0,
        -0.75,
        "conversion (95 % CI)",
        transform=right,
        ha="right",
        va="center",
        fontsize=style.SMALL,
        color=style.pen(ax).faint,
        **style.PLAIN,
    )
