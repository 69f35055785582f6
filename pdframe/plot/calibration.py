"""Calibration: of the forecasts of a probability, how many were won."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _style as style

_NEEDED = ("horizon", "bin", "n", "p_mean", "share", "low", "high")

_BINS = 10
_NUMBER = re.compile(r"[\s\d.,+-]*")
# Of the axis: how far the marks of two horizons are apart.
_APART = 0.008


@style.chart
def calibration(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw what share of forecasts were won against the probability that they gave, by bins.

    Parameters
    ----------
    frame
        What `metrics.calibration` returns, of at most 12 horizons (and groups) together.
    ax
        Where to draw; None: a new figure of notebook width. It needs room under the axis: a line of
        text a horizon.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        A mark per bin that holds forecasts: across, their mean probability; up, the share of them
        that was won, with its 95 % interval. On the dashed diagonal both are equal; under it the
        forecast promised too much. Under the axis: the number of forecasts in each bin, of which a
        deal has one at every cutoff at which it was open.

    Raises
    ------
    ArgumentError
        A missing column, counts that are null, horizons that are no lengths of time, or more than
        12 curves.

    Examples
    --------
    >>> frames = account.deals(deleted=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": ["2025-12-31", "2026-03-31"], "horizons": "90D", "methods": "constant"}
    >>> record = metrics.backtest_deals(*frames, **past)
    >>> ax = plot.calibration(metrics.calibration(record[record["method"] == "constant"]))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['as forecast', 'within 90 d']
    """
    rows = with_lengths(style.require_columns(frame, _NEEDED, "calibration"))
    number, names = _curves(rows)
    style.refuse(
        len(names),
        "curves (horizons x methods)",
        style.MOST_CURVES,
        "Keep some, such as frame[frame['horizon'] == pd.Timedelta('90D')].",
    )
    count = style.counts(rows, "n")
    columns = {name: style.numbers(rows, name) for name in _NEEDED[3:]}
    ax = style.axes(ax, height=4.2 + 0.19 * len(names))
    style.dress(
        ax,
        title or "Calibration: share won, against what was forecast",
        x="probability that was forecast",
        y="share that was won",
    )
    if not count.sum():
        return style.empty(ax, "No deal has a forecast and an outcome.")
    pen = style.pen(ax)
    ax.plot(
        [0, 1],
        [0, 1],
        color=pen.faint,
        linewidth=1.0,
        linestyle=(0, (5, 3)),
        label="as forecast",
        zorder=1.5,
    )
    for curve, name in enumerate(names):
        at = np.flatnonzero((number == curve) & (count > 0))
        at = at[np.argsort(columns["p_mean"][at], kind="stable")]
        shift = _APART * (curve - (len(names) - 1) / 2)
        _curve(
            ax,
            name,
            style.mark(curve),
            {key: values[at] for key, values in columns.items()},
            shift,
            joined=len(names) > 1,
        )
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.05)
    shares = np.linspace(0, 1, 6)
    for ticks in (ax.set_xticks, ax.set_yticks):
        ticks(shares, [style.percent(share) for share in shares], **style.PLAIN)
    ax.grid(True, color=pen.line, linewidth=0.5)
    ax.set_axisbelow(True)
    _write_counts(ax, names, number, style.numbers(rows, "bin"), count)
    legend = ax.legend(
        loc="upper left",
        frameon=False,
        fontsize=style.small(),
        handlelength=3.0,
        labelcolor=pen.ink,
    )
    for text in legend.get_texts():
        text.set(**style.PLAIN)
    return ax


def _curves(rows: pd.DataFrame) -> tuple[Any, list[str]]:
    """Return the number of each row's curve, and the name of each: horizon, method, groups."""
    by = [name for name in style.groups(rows, "bin") if name != "horizon"]
    varied = [name for name in by if len(rows[name].unique()) > 1]
    keys = ["horizon", *varied]
    code = rows.groupby(keys, sort=True, dropna=False).ngroup().to_numpy(np.int64)
    first = rows.iloc[np.unique(code, return_index=True)[1]].reset_index(drop=True)
    group = style.group_names(first, varied)
    names = [
        style.legend_name(", ".join(filter(None, (horizon_name(horizon), who))), 36)
        for horizon, who in zip(first["horizon"], group, strict=True)
    ]
    return code, names


def with_lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their horizons as lengths of time, which may be text ("30 days") as in a
    CSV file; raise `ArgumentError` where one is none.
    """
    lengths = [_length(value) for value in rows["horizon"]]
    return rows.assign(horizon=pd.Series(lengths, rows.index, dtype="timedelta64[us]"))


def _length(value: Any) -> Any:
    """Return a horizon as a length of time; null stays null. A number has no unit."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return pd.NaT
    if isinstance(value, timedelta | np.timedelta64) or (
        isinstance(value, str) and not _NUMBER.fullmatch(value)
    ):
        with contextlib.suppress(ValueError, OverflowError):
            return pd.Timedelta(value)
    raise ArgumentError(
        f"The column 'horizon' holds {value!r}, which is not a length of time. Pass the frame as"
        " the metric returned it, or write '90D'."
    )


def horizon_name(horizon: Any) -> str:
    """Return a horizon as "within 90 d"."""
    if pd.isna(horizon):
        return "(no horizon)"
    return f"within {style.days(pd.Timedelta(horizon) / pd.Timedelta(days=1))}"


def _curve(
    ax: Axes,
    name: str,
    mark: style.Mark,
    column: dict[str, style.Floats],
    shift: float,
    *,
    joined: bool,
) -> None:
    x = column["p_mean"] + shift
    ax.vlines(x, column["low"], column["high"], color=mark.color, linewidth=1.2, alpha=0.7)
    ax.plot(
        x,
        column["share"],
        color=mark.color,
        marker=mark.marker,
        markersize=6,
        linestyle=mark.dashes if joined else "none",
        linewidth=1.0,
        label=name,
        zorder=3,
    )


def _write_counts(
    ax: Axes, names: list[str], number: Any, place: style.Floats, count: style.Floats
) -> None:
    """Write under the axis how many forecasts each bin holds, one line a curve."""
    pen = style.pen(ax)
    left = ax.transAxes
    style.note_under(ax, 0, 0, "forecasts", at=left, color=pen.faint, ha="right")
    for curve, name in enumerate(names):
        shown = style.shown(name, 20)
        style.note_under(ax, 0, curve + 1, shown, at=left, color=pen.ink, ha="right")
        for at in np.flatnonzero((number == curve) & (count > 0)):
            # At the middle of the bin: counts stand under each other.
            middle = (place[at] - 0.5) / _BINS
            under, text = ax.get_xaxis_transform(), style.number(count[at])
            style.note_under(ax, middle, curve + 1, text, at=under, color=pen.ink)
