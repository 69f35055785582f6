"""Stage velocity as lines: median, quartiles and ninth decile of days in each stage, and how many
deals are still there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _style as style

_NEEDED = (
    "stage_id",
    "stage",
    "visits",
    "completed",
    "open",
    "median_days",
    "p25_days",
    "p75_days",
    "p90_days",
)
# Days have this share of the width at least; the rest is for counts.
_LEAST = 0.4


@style.chart
def velocity(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw how long deals remain in each stage: the middle half of visits as a bar, the median as a
    mark, nine in ten as a line.

    Parameters
    ----------
    frame
        What `metrics.stage_velocity` returns, of at most 36 stages; groups of a stage are drawn
        together.
    ax
        Where to draw; None: a new figure of notebook width.
    top
        How many groups to draw, those with the most visits first. None: as many as can be read, 36
        rows in all. The title says how many more there are.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        The bar spans p25_days to p75_days, the mark at median_days has its number, the thin line
        ends at p90_days. Where the data does not reach a quantile, a dotted arrow points to the
        edge, and the row says which. At the right: completed visits, and those still open, which
        count in the estimate. Groups differ in colour and marker, and are named.

    Raises
    ------
    ArgumentError
        A missing column, more than 36 stages, or `top` is no number of groups that can be read.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> velocity = metrics.stage_velocity(visits, stages, as_of="2026-06-30")
    >>> ax = plot.velocity(velocity[velocity["pipeline_id"] == 2])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Qualified', 'Discovery', 'Demo', 'Proposal', 'Negotiation']
    """
    rows = style.require_columns(frame, _NEEDED, "stage_velocity")
    by = style.groups(rows, "pipeline_id" if "pipeline_id" in rows else "stage_id")
    stages = len(rows[["stage_id", "stage"]].drop_duplicates())
    style.refuse(
        stages,
        "stages",
        style.MOST_ROWS,
        "Keep some, such as frame[frame['stage'] == 'Demo'].",
    )
    group = style.group_names(rows, by)
    several = style.several_groups(rows, by)
    visits = style.counts(rows, "visits")
    rank, more = style.largest(rows, by, visits, top, style.MOST_ROWS // max(stages, 1))
    heading = "Days in each stage: median, middle half, and nine in ten"
    if several:
        heading = style.of_many(heading, by, int(rank.max(initial=0)) + 1, more)
        rows, group = style.by_stage(rows, group, rank)
    elif by and len(rows):
        heading += f": {group.iloc[0]}"
    styles = pd.factorize(group)[0] if several else np.zeros(len(rows), np.int64)
    y = style.places(rows, several)
    quantiles = {
        name: style.numbers(rows, f"{name}_days") for name in ("p25", "median", "p75", "p90")
    }
    over, still = style.counts(rows, "completed"), style.counts(rows, "open")
    names = style.row_names(style.stage_names(rows), group if several else None)
    ax = style.axes(ax, height=1.4 + (y[-1] + 1 if len(y) else 2) * 0.42)
    style.dress(ax, title or heading, x="days", beside=names.beside)
    if not len(rows):
        return style.empty(ax, "No stages.")
    longest = (
        np.nanmax(
            [1.0, *(values[~np.isnan(values)].max(initial=0.0) for values in quantiles.values())]
        )
        * 1.06
    )
    for at in range(len(rows)):
        _row(
            ax,
            y[at],
            {name: values[at] for name, values in quantiles.items()},
            longest,
            style.mark(int(styles[at])),
            over[at] + still[at],
        )
    inches = style.inches(ax, names.beside)
    share = _counts(ax, y, over, still, inches)
    style.name_rows(ax, names, y)
    ax.set_xlim(0, longest / share)
    ax.set_ylim(y[-1] + 0.7, -1.0)
    style.ticks(ax, longest, inches * share)
    return ax


def _row(
    ax: Axes,
    y: float,
    days: dict[str, float],
    edge: float,
    mark: style.Mark,
    known_visits: float,
) -> None:
    start, middle, most, nine = days["p25"], days["median"], days["p75"], days["p90"]
    if np.isnan(start):
        why = "no visits" if not known_visits else "25 % not reached"
        style.note(ax, 0, y, why, size=style.small(), color=style.pen(ax).faint, shift=(3, 0))
        return
    # The known part; beyond it, a dotted arrow: the quantile is somewhere there.
    known = next(end for end in (most, middle, start) if not np.isnan(end))
    paper = style.pen(ax)
    pale = style.blend(mark.color, paper.paper, 0.55 if paper.is_dark else 0.3)
    ax.barh(y, known - start, left=start, height=0.36, color=pale, linewidth=0)
    if np.isnan(nine):
        ax.plot([known, edge], [y, y], color=mark.color, linewidth=1.2, linestyle=":")
        ax.plot([edge], [y], color=mark.color, marker=">", markersize=5, linestyle="none")
    else:
        ax.plot([known, nine], [y, y], color=mark.color, linewidth=1.2)
        ax.plot([nine], [y], color=mark.color, marker="|", markersize=7, linestyle="none")
    missing = [
        name for name, end in (("median", middle), ("75 %", most), ("90 %", nine)) if np.isnan(end)
    ]
    if missing:
        style.note(
            ax,
            edge,
            y - 0.2,
            f"{', '.join(missing)} not reached",
            ha="right",
            va="bottom",
            size=style.small(),
            color=style.pen(ax).faint,
        )
    if np.isnan(middle):
        ax.plot([start], [y], color=mark.color, marker="|", markersize=9, linestyle="none")
        return
    ax.plot(
        [middle],
        [y],
        color=mark.color,
        marker=mark.marker,
        markersize=7,
        markeredgecolor=style.pen(ax).paper,
        linestyle="none",
    )
    style.note(
        ax, middle, y - 0.2, style.days(middle), ha="center", va="bottom", size=style.small()
    )


def _counts(
    ax: Axes, y: style.Floats, over: style.Floats, still: style.Floats, inches: float
) -> float:
    """Write the counts at the right, those of open visits where there is room for them; return the
    share of the width that is left for the days.
    """
    gap, room, size = 0.15 * style.unit(), inches, style.small()
    for name, counts in (("still open", still), ("completed", over)):
        texts = [style.number(count) for count in counts]
        wide = max(style.width(name, size), *(style.width(text, style.normal()) for text in texts))
        if room - wide - gap < _LEAST * inches:
            continue
        column: dict[str, Any] = {"at": ax.get_yaxis_transform(), "ha": "right"}
        style.note(ax, room / inches, -0.75, name, size=size, color=style.pen(ax).faint, **column)
        for at, text in zip(y, texts, strict=True):
            style.note(ax, room / inches, at, text, **column)
        room -= wide + gap
    return room / inches
