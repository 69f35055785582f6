"""Survival curves of stages: the share of visits that last longer than a time, and how many are
still followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pdframe.plot import _style as style

_NEEDED = ("stage_id", "stage", "days", "at_risk", "survival", "low", "high")

# A curve ends where fewer visits are at risk, or than one in `_ONE_OF` where that is less.
_AT_RISK, _ONE_OF = 10, 10


@style.chart
def stage_survival(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw how long deals remain: a curve per stage and group, with its 95 % band and the number at
    risk under the axis.

    Parameters
    ----------
    frame
        What `metrics.stage_survival` returns, of at most 12 stages; its `horizon` says where the
        curves end.
    ax
        Where to draw; None: a new figure of notebook width. It needs room under the axis: a line of
        text a curve.
    top
        How many groups to draw, those with the most visits first. None: as many as can be read, 12
        curves in all. The title says how many more there are.
    title
        None: a title with the stage.

    Returns
    -------
    Axes
        The share of visits that last longer than a number of days; a step holds until the next.
        A curve ends where fewer than 10 visits are at risk (a tenth of them below 100), since
        beyond it one visit moves it far. Curves differ in colour, dashes and markers. The band is
        missing where the interval is undefined. Number at risk: visits under observation just
        before that day; blank past the end of a curve.

    Raises
    ------
    ArgumentError
        A missing column, more than 12 stages, or `top` is no number of groups that can be read.

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
    stages = len(rows[["stage_id", "stage"]].drop_duplicates())
    style.refuse(
        stages,
        "stages",
        style.MOST_CURVES,
        "Keep some, such as frame[frame['stage'] == 'Demo'].",
    )
    risk = style.numbers(rows, "at_risk")
    rank, more = style.largest(rows, by, risk, top, style.MOST_CURVES // max(stages, 1))
    kept = np.flatnonzero(rank >= 0)
    rows = rows.iloc[kept[np.argsort(rank[kept], kind="stable")]].reset_index(drop=True)
    number = rows.groupby([*by, "stage_id", "stage"], sort=False, dropna=False).ngroup().to_numpy()
    curves = int(number.max()) + 1 if len(rows) else 0
    columns = {
        name: style.numbers(rows, name) for name in ("days", "at_risk", "survival", "low", "high")
    }
    names, heading = _names(rows, by, number, more)
    table = [style.fitted(name, 1.5 * style.unit(), style.small()) for name in names]
    beside = max((style.width(name, style.small()) for name in table), default=0.0) + 0.4
    ax = style.axes(ax, height=3.9 + 0.19 * curves)
    style.dress(ax, title or heading, x="days in the stage", y="share still there", beside=beside)
    if not curves:
        return style.empty(ax, "No visit can be followed.")
    drawn = []
    for curve in range(curves):
        at = _followed(number, curve, columns)
        drawn.append({name: values[at] for name, values in columns.items()})
        _curve(ax, names[curve], style.mark(curve), curves, drawn[-1])
    ends = max(float(column["days"].max(initial=0.0)) for column in drawn)
    if ends < columns["days"].max():
        ax.set_xlabel("days in the stage; curves end where few are at risk")
    ax.set_xlim(0, ends if ends > 0 else 1)
    ax.set_ylim(0, 1.02)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"], **style.PLAIN)
    ax.axhline(0.5, color=style.pen(ax).line, linewidth=0.8, zorder=0)
    _at_risk(ax, table, drawn, style.inches(ax, beside))
    legend = ax.legend(
        loc="upper right",
        ncols=1 + (curves > 6),
        frameon=False,
        fontsize=style.small(),
        handlelength=3.2,
        labelcolor=style.pen(ax).ink,
    )
    for text in legend.get_texts():
        text.set(**style.PLAIN)
    return ax


def _followed(number: Any, curve: int, columns: dict[str, style.Floats]) -> Any:
    """Return the rows of a curve up to the last time at which enough visits are at risk."""
    at = np.flatnonzero(number == curve)
    at = at[np.argsort(columns["days"][at], kind="stable")]
    risk = columns["at_risk"][at]
    least = min(-(-risk.max(initial=0.0) // _ONE_OF), _AT_RISK)
    enough = np.flatnonzero(risk >= least)
    return at[: enough[-1] + 1] if len(enough) else at


def _names(rows: pd.DataFrame, by: list[Any], number: Any, more: int) -> tuple[list[str], str]:
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
    if by and (more or not alike):
        heading = style.of_many(heading, by, group.nunique(), more)
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


def _at_risk(
    ax: Axes, names: list[str], drawn: list[dict[str, style.Floats]], inches: float
) -> None:
    """Write under the axis how many are at risk, one line a curve; offsets are in points, whatever
    the size of the Axes.
    """
    last = ax.get_xlim()[1]
    widest = max(
        style.width(style.number(column["at_risk"].max()), style.small()) for column in drawn
    )
    room = int(inches / (max(widest, style.width(f"{last:.0f}", style.normal())) + 0.12))
    locator = MaxNLocator(nbins=int(np.clip(room, 1, 8)), steps=[1, 2, 2.5, 5, 10])
    ticks = [tick for tick in locator.tick_values(0, last) if 0 <= tick <= last]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    under, pen = ax.get_xaxis_transform(), style.pen(ax)
    left = ax.transAxes
    style.note_under(ax, 0, 0, "at risk", at=left, color=pen.faint, ha="right")
    for curve, (name, column) in enumerate(zip(names, drawn, strict=True)):
        style.note_under(ax, 0, curve + 1, name, at=left, color=pen.ink, ha="right")
        for tick in ticks:
            row = np.searchsorted(column["days"], tick, side="left")
            if row < len(column["days"]):
                text = style.number(column["at_risk"][row])
                style.note_under(ax, tick, curve + 1, text, at=under, color=pen.ink)
