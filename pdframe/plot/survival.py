"""Survival curves of stages: the share of visits that last longer than a time, and how many are
still followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _style as style

_NEEDED = ("stage_id", "stage", "days", "at_risk", "survival", "low", "high")

# In points: from the axis to the table under it, and from line to line there.
_FIRST_LINE, _NEXT_LINE = 46, 13


def stage_survival(
    frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Draw how long deals remain: a curve per stage and group, with its 95 % band and the number at
    risk under the axis.

    Parameters
    ----------
    frame
        What `metrics.stage_survival` returns, of at most 12 stages and groups together; its
        `horizon` says where the curves end.
    ax
        Where to draw; None: a new figure of notebook width. It needs room under the axis: a line of
        text a curve.
    title
        None: a title with the stage.

    Returns
    -------
    Axes
        The share of visits that last longer than a number of days; a step holds until the next.
        Curves differ in colour, dashes and markers. The band is missing where the interval is
        undefined. Number at risk: visits under observation just before that day; blank past the end
        of a curve.

    Raises
    ------
    ArgumentError
        A missing column, or more than 12 curves.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> curves = metrics.stage_survival(visits, stages, as_of="2026-06-30", horizon="120D")
    >>> ax = plot.stage_survival(curves[curves["stage_id"] == 3])
    >>> ax.get_xlabel()
    'days in the stage'
    """
    rows = style.require_columns(frame, _NEEDED, "stage_survival")
    by = style.groups(rows, "pipeline_id" if "pipeline_id" in rows else "stage_id")
    number = rows.groupby([*by, "stage_id", "stage"], sort=False, dropna=False).ngroup().to_numpy()
    curves = int(number.max()) + 1 if len(rows) else 0
    style.refuse(
        curves,
        "curves (stages x groups)",
        style.MOST_CURVES,
        "Keep some, such as frame[frame['stage'] == 'Demo'], or group less finely.",
    )
    columns = {
        name: style.numbers(rows, name) for name in ("days", "at_risk", "survival", "low", "high")
    }
    names, heading = _names(rows, by, number)
    ax = style.axes(ax, height=3.9 + 0.19 * curves)
    style.dress(ax, title or heading, x="days in the stage", y="share still there")
    if not curves:
        return style.empty(ax, "No visit can be followed.")
    ends = columns["days"].max()
    for curve in range(curves):
        at = np.flatnonzero(number == curve)
        at = at[np.argsort(columns["days"][at], kind="stable")]
        _curve(
            ax,
            names[curve],
            style.mark(curve),
            curves,
            {name: values[at] for name, values in columns.items()},
        )
    ax.set_xlim(0, ends if ends > 0 else 1)
    ax.set_ylim(0, 1.02)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"], **style.PLAIN)
    ax.axhline(0.5, color=style.pen(ax).line, linewidth=0.8, zorder=0)
    _at_risk(ax, names, number, columns)
    legend = ax.legend(
        loc="upper right",
        ncols=1 + (curves > 6),
        frameon=False,
        fontsize=style.SMALL,
        handlelength=3.2,
        labelcolor=style.pen(ax).ink,
    )
    for text in legend.get_texts():
        text.set(**style.PLAIN)
    return ax


def _names(rows: pd.DataFrame, by: list[Any], number: Any) -> tuple[list[str], str]:
    """Return the name of each curve, and the subject of the chart: what all curves have in
    common.
    """
    first = rows.iloc[np.unique(number, return_index=True)[1]].reset_index(drop=True)
    stages, group = style.stage_names(first), style.group_names(first, by)
    one, alike = len({*stages}) == 1, not style.several_groups(first, by)
    heading = (
        f"How long deals stay in {style.shown(stages[0], 60)}"
        if one
        else "How long deals stay in each stage"
    )
    if by and not alike:
        heading += f", by {', '.join(map(str, by))}"
    elif by and len(first):
        heading += f": {group.iloc[0]}"
    names = [
        style.legend_name(place if alike else (who if one else f"{place}, {who}"), 30)
        for place, who in zip(stages, group, strict=True)
    ]
    return names, heading


def _curve(
    ax: Axes, name: str, snapshot: style.Mark, curves: int, column: dict[str, style.Floats]
) -> None:
    # Every visit lasts longer than 0 days: the curve begins at 1.
    days, share = np.append(0.0, column["days"]), np.append(1.0, column["survival"])
    every = max(len(days) // 8, 1)
    ax.step(
        days,
        share,
        where="post",
        color=snapshot.color,
        linestyle=snapshot.dashes,
        linewidth=1.6,
        label=name,
        marker=snapshot.marker if curves > 1 else None,
        markersize=4.5,
        markevery=(every // 2, every),
    )
    ax.fill_between(
        column["days"],
        column["low"],
        column["high"],
        step="post",
        color=snapshot.color,
        alpha=0.18 if curves < 4 else 0.09,
        linewidth=0,
    )


def _at_risk(ax: Axes, names: list[str], number: Any, column: dict[str, style.Floats]) -> None:
    """Write under the axis how many are at risk, one line a curve; offsets are in points, whatever
    the size of the Axes.
    """
    ticks = [tick for tick in ax.get_xticks() if 0 <= tick <= column["days"].max()]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    under = ax.get_xaxis_transform()

    def write(
        x: float, transform: Any, line: float, text: str, color: str, side: str, shift: float = 0
    ) -> None:
        ax.annotate(
            text,
            (x, 0),
            xycoords=transform,
            xytext=(shift, -(_FIRST_LINE + line * _NEXT_LINE)),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=style.SMALL,
            color=color,
            annotation_clip=False,
            **style.PLAIN,
        )

    write(0, ax.transAxes, 0, "at risk", style.pen(ax).faint, "right", -22)
    for curve, name in enumerate(names):
        write(0, ax.transAxes, curve + 1, style.shown(name, 20), style.pen(ax).ink, "right", -22)
        at = np.flatnonzero(number == curve)
        at = at[np.argsort(column["days"][at], kind="stable")]
        days, left = column["days"][at], column["at_risk"][at]
        for tick in ticks:
            row = np.searchsorted(days, tick, side="left")
            if row < len(days):
                write(tick, under, curve + 1, style.number(left[row]), style.pen(ax).ink, "center")
