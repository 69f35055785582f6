"""What moved the open pipeline of the periods: a waterfall from start to end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style
from pdframe.plot import _waterfall as waterfall
from pdframe.plot._waterfall import Step

# Movement, colour, hatch; in the order of the identity.
_MOVES = (
    ("created", style.BLUE, ""),
    ("moved_in", style.SKY, "////"),
    ("pulled_in", style.SKY, "...."),
    ("value_up", style.GREEN, ""),
    ("value_down", style.ORANGE, ""),
    ("pushed_out", style.ORANGE, "\\\\\\\\"),
    ("undated", style.PURPLE, "xxxx"),
    ("dated", style.PURPLE, ""),
    ("moved_out", style.ORANGE, "////"),
    ("reopened", style.BLUE, "////"),
    ("won", style.GREEN, "////"),
    ("lost", style.RED, ""),
    ("deleted", style.RED, "////"),
)
_NEEDED = ("period", "currency", "start", *(name for name, *_ in _MOVES), "end")


def pipeline_movements(
    frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Draw what moved the value of open deals, from the start of a time to its end.

    Parameters
    ----------
    frame
        What `metrics.pipeline_movements` returns, or some of its rows, in one currency and of one
        group: those of one period of expected close, or of several, which are added up.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        A bar for the start, one for each movement that is not 0, one for the end; heights are the
        frame's amounts, so that they add up. Where several periods are added up, a deal that moved
        between two of them is in both directions.

    Raises
    ------
    ArgumentError
        A missing column, several currencies or groups, null amounts, or rows that do not add up.

    Examples
    --------
    >>> moves = ["created", "moved_in", "pulled_in", "value_up", "value_down", "pushed_out"]
    >>> moves += ["undated", "dated", "moved_out", "reopened", "won", "lost", "deleted"]
    >>> frame = pd.DataFrame({"period": [pd.Timestamp("2026-09-01")], "currency": ["EUR"]})
    >>> frame = frame.assign(start=800.0, **dict.fromkeys(moves, 0.0), end=700.0)
    >>> ax = plot.pipeline_movements(frame.assign(won=-100.0))
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['start', 'won', 'end']
    """
    rows = style.require_columns(frame, _NEEDED, "pipeline_movements")
    group = months.one_group(rows, "period", "pipeline_movements")
    currency = months.one_currency(rows, "pass metrics.pipeline_movements `rates`")
    sums = {name: float(months.money(rows, name).sum()) for name in _NEEDED[2:]}
    steps = [
        Step(name.replace("_", " "), sums[name], *drawn) for name, *drawn in _MOVES if sums[name]
    ]
    refuse_residual(sums["start"], steps, sums["end"], "pipeline_movements")
    ax = style.axes(ax, height=4.0)
    heading = "What moved the open pipeline"
    if len(rows):
        heading += f", expected to close {_span(rows)}"
    style.dress(ax, title or (f"{heading}: {group}" if group else heading))
    if not len(rows) or not any(sums.values()):
        return style.empty(ax, "No open deals in these periods.")
    waterfall.draw(ax, sums["start"], steps, sums["end"], currency)
    return ax


def refuse_residual(start: float, steps: list[Step], end: float, metric: str) -> None:
    """Raise `ArgumentError` where the steps do not lead from start to end."""
    amounts = [start, *(step.amount for step in steps), end]
    slack = 1e-5 + 1e-9 * float(np.abs(amounts).max())
    if abs(start + sum(step.amount for step in steps) - end) > slack:
        raise ArgumentError(
            "The changes do not add up from start to end. Pass all columns that"
            f" metrics.{metric} returned."
        )


def _span(rows: pd.DataFrame) -> str:
    dated = rows["period"].dropna()
    if not len(dated):
        return "on no date"
    first, last = f"{dated.min():%Y-%m}", f"{dated.max():%Y-%m}"
    text = f"in {first}" if first == last else f"in {first} to {last}"
    return text + (" or on no date" if rows["period"].isna().any() else "")
