"""The backtest of forecasting methods: how much better than the constant, by horizon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from pdframe.plot.calibration import horizon_name, with_lengths

_NEEDED = ("cutoff", "horizon", "method", "n", "brier")
_CONSTANT = "constant"
# Of a step between horizons: how far the marks of all methods are spread.
_SPREAD = 0.3


@style.chart
def backtest(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the skill of each method by horizon, against always saying the past average.

    Parameters
    ----------
    frame
        What `metrics.backtest` returns, of at most 12 methods, "constant" among them.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        Per horizon and method the skill over all cutoffs: by what share the mean squared error of
        the probabilities (Brier score) is below that of the constant, which is the line at 0. Small
        pale marks are the single cutoffs. Above the line a method helps, below it harms. A method
        is compared at the cutoffs that the constant has too; rows that are repeated count once.

    Raises
    ------
    ArgumentError
        A missing column, no rows of the method "constant", two different scores of a method at one
        cutoff and horizon, or more than 12 methods.

    Examples
    --------
    >>> frames = account.deals(deleted=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": "2026-03-31", "horizons": ["30D", "90D"], "methods": "aalen-johansen"}
    >>> ax = plot.backtest(metrics.backtest(*frames, **past, until_months=0))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['aalen-johansen', 'stage climatology', 'weighted']
    """
    rows = with_lengths(style.require_columns(frame, _NEEDED, "backtest"))
    rows = rows[rows["horizon"].notna() & rows["brier"].notna()].reset_index(drop=True)
    by = [name for name in style.groups(rows, "cutoff") if name not in _NEEDED]
    rows = _once(rows, by)
    methods = [name for name in rows["method"].astype("str").unique() if name != _CONSTANT]
    style.refuse(len(methods), "methods", style.MOST_CURVES, "Keep some of them.")
    if len(rows) and not (rows["method"].astype("str") == _CONSTANT).any():
        raise ArgumentError(
            "The frame has no rows of the method 'constant', to which skill compares. Pass the"
            " result of metrics.backtest with all its rows."
        )
    ax = style.axes(ax, height=3.8)
    style.dress(
        ax,
        title or "Skill: how much closer than always saying the past average",
        y="error avoided",
    )
    if not len(methods):
        return style.empty(ax, "No method was tested.")
    horizons = sorted(rows["horizon"].unique())
    pairs = _paired(rows, by)
    single = _skill(pairs, [*by, "cutoff", "horizon"])
    pooled = _skill(pairs, ["horizon"])
    pen = style.pen(ax)
    ax.axhline(0, color=pen.ink, linewidth=1.2, zorder=2)
    place = {horizon: at for at, horizon in enumerate(horizons)}
    lowest = highest = 0.0
    for at, name in enumerate(methods):
        mark = style.mark(at)
        shift = _SPREAD * ((at + 0.5) / len(methods) - 0.5)
        few = single[single["method"] == name]
        ax.plot(
            few["horizon"].map(place).to_numpy(np.float64) + shift,
            few["skill"],
            marker=mark.marker,
            linestyle="none",
            color=mark.color,
            alpha=0.3,
            markersize=4,
            label="_cutoffs",
            zorder=2.5,
        )
        all_of_it = pooled[pooled["method"] == name].sort_values("horizon")
        ax.plot(
            all_of_it["horizon"].map(place).to_numpy(np.float64) + shift,
            all_of_it["skill"],
            marker=mark.marker,
            linestyle=mark.dashes,
            color=mark.color,
            markersize=7,
            linewidth=1.4,
            label=style.legend_name(name),
            zorder=4,
        )
        lowest = min(lowest, few["skill"].min(), all_of_it["skill"].min())
        highest = max(highest, few["skill"].max(), all_of_it["skill"].max())
    _axis(ax, horizons, rows, float(lowest), float(highest))
    return ax


def _once(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the rows, each method once at each cutoff and horizon of a group.

    Raises
    ------
    ArgumentError
        A method has two different scores there.
    """
    rows = rows.assign(n=style.counts(rows, "n"), brier=style.numbers(rows, "brier"))
    rows = rows[[*by, *_NEEDED]].drop_duplicates(ignore_index=True)
    twice = rows[rows.duplicated([*by, *_NEEDED[:3]])]
    if len(twice):
        raise ArgumentError(
            f"The frame has two different scores of {str(twice['method'].iloc[0])!r} at the cutoff"
            f" {twice['cutoff'].iloc[0]}. Pass the rows of one backtest."
        )
    return rows


def _paired(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the summed error of each method at each cutoff and horizon, beside that of the
    constant: without it, other cutoffs would pass for skill.
    """
    rows = rows.assign(error=rows["brier"] * rows["n"])
    is_base = (rows["method"].astype("str") == _CONSTANT).to_numpy()
    keys = [*by, "cutoff", "horizon"]
    base = rows.loc[is_base, [*keys, "error"]]
    return rows[~is_base].merge(base, on=keys, suffixes=("", "_base"))


def _skill(pairs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the skill of each method for each combination of keys: errors are summed by deal."""
    sums = pairs.groupby([*keys, "method"], observed=True, dropna=False)[["error", "error_base"]]
    result = sums.sum().reset_index()
    # A constant without any error cannot be bettered.
    base = result["error_base"].where(result["error_base"] > 0)
    return result.assign(skill=1 - result["error"] / base).dropna(subset="skill")


def _axis(ax: Axes, horizons: list[Any], rows: pd.DataFrame, low: float, high: float) -> None:
    pen = style.pen(ax)
    first = rows[rows["method"].astype("str") == _CONSTANT]
    made = first.groupby("horizon")["n"].sum()
    ax.set_xticks(
        range(len(horizons)),
        [
            f"{horizon_name(horizon)}\n{style.number(float(made.get(horizon, np.nan)))} forecasts"
            for horizon in horizons
        ],
        **style.PLAIN,
    )
    ax.set_xlim(-0.6, len(horizons) - 0.4)
    # One cutoff with few deals must not flatten all others.
    low, high = max(low, -1.0), max(high, 0.1)
    room = 0.08 * (high - low)
    ax.set_ylim(low - room, high + room)
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    ax.grid(True, axis="y", color=pen.line, linewidth=0.5)
    ax.set_axisbelow(True)
    cutoffs = rows["cutoff"].nunique()
    style.note(
        ax,
        0,
        0,
        f"{cutoffs} cutoff{'s' if cutoffs != 1 else ''}; the line at 0 is the constant",
        at=ax.get_yaxis_transform(),
        va="bottom",
        size=style.small(),
        color=pen.faint,
        shift=(4, 3),
    )
    legend = ax.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=style.small(),
        handlelength=3.0,
        labelcolor=pen.ink,
    )
    for text in legend.get_texts():
        text.set(**style.PLAIN)
