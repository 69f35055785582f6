"""Stage velocity as lines: median, quartiles and ninth decile of days in each stage, and how many
deals are still there.
"""

from __future__ import annotations

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
# Share of the width for the days; the rest is for counts.
_DAYS = 0.72


def velocity(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw how long deals remain in each stage: the middle half of visits as a bar, the median as a
    mark, nine in ten as a line.

    Parameters
    ----------
    frame
        What `metrics.stage_velocity` returns, of at most 36 rows; groups of a stage are drawn
        together.
    ax
        Where to draw; None: a new figure of notebook width.
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
        A missing column, or more than 36 rows.

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
    style.refuse(
        len(rows),
        "rows (stages x groups)",
        style.MOST_ROWS,
        "Keep some stages, such as frame[frame['stage'] == 'Demo'], or some groups.",
    )
    group = style.group_names(rows, by)
    several = style.several_groups(rows, by)
    if several:
        rows, group = style.by_stage(rows, group)
    styles = pd.factorize(group)[0] if several else np.zeros(len(rows), np.int64)
    y = style.places(rows, several)
    quantiles = {
        name: style.numbers(rows, f"{name}_days") for name in ("p25", "median", "p75", "p90")
    }
    over, still = style.counts(rows, "completed"), style.counts(rows, "open")
    ax = style.axes(ax, height=1.4 + (y[-1] + 1 if len(y) else 2) * 0.4)
    heading = "Days in each stage: median, middle half, and nine in ten"
    if by and len(rows):
        heading += f", by {', '.join(map(str, by))}" if several else f": {group.iloc[0]}"
    style.dress(ax, title or heading, x="days")
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
    _counts(ax, y, over, still)
    style.name_rows(ax, style.stage_names(rows), y, group if several else None)
    ax.set_xlim(0, longest / _DAYS)
    ax.set_ylim(y[-1] + 0.7, -1.0)
    style.ticks(ax, longest)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
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
        ax.text(
            0,
            y,
            why,
            ha="left",
            va="center",
            fontsize=style.SMALL,
            color=style.pen(ax).faint,
            **style.PLAIN,
        )
        return
    # The known part; beyond it, a dotted arrow: the quantile is somewhere there.
    known = next(end for end in (most, middle, start) if not np.isnan(end))
    ax.barh(y, known - start, left=start, height=0.36, color=mark.color, alpha=0.3, linewidth=0)
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
        ax.text(
            edge,
            y - 0.22,
            f"{', '.join(missing)} not reached",
            ha="right",
            va="bottom",
            fontsize=style.SMALL,
            color=style.pen(ax).faint,
            **style.PLAIN,
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
    ax.text(
        middle,
        y - 0.22,
        style.days(middle),
        ha="center",
        va="bottom",
        fontsize=style.SMALL,
        color=style.pen(ax).ink,
        **style.PLAIN,
    )


def _counts(ax: Axes, y: style.Floats, over: style.Floats, still: style.Floats) -> None:
    right = ax.get_yaxis_transform()
    for x, name, counts in ((0.88, "completed", over), (1.0, "still open", still)):
        ax.text(
            x,
            -0.75,
            name,
            transform=right,
            ha="right",
            va="center",
            fontsize=style.SMALL,
            color=style.pen(ax).faint,
            **style.PLAIN,
        )
        for at, count in zip(y, counts, strict=True):
            ax.text(
                x,
                at,
                style.number(count),
                transform=right,
                ha="right",
                va="center",
                fontsize=style.TEXT,
                color=style.pen(ax).ink,
                **style.PLAIN,
            )
