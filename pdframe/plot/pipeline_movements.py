"""What moved the open pipeline of the periods: a waterfall from start to end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style
from pdframe.plot import _waterfall as waterfall
from pdframe.plot._waterfall import Step

# Movement and colour, in the order of the identity.
_MOVES = (
    ("created", style.BLUE),
    ("moved_in", style.SKY),
    ("pulled_in", style.SKY),
    ("value_up", style.GREEN),
    ("value_down", style.ORANGE),
    ("pushed_out", style.ORANGE),
    ("undated", style.PURPLE),
    ("dated", style.PURPLE),
    ("moved_out", style.ORANGE),
    ("reopened", style.BLUE),
    ("won", style.GREEN),
    ("lost", style.RED),
    ("deleted", style.RED),
)
_NEEDED = ("period", "currency", "start", *(name for name, _ in _MOVES), "end")


@style.chart
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
    >>> history, deals = account.deal_history(), account.deals()
    >>> quarter = {"since": "2026-04-01", "until": "2026-07-01", "freq": "Y"}
    >>> moves = metrics.pipeline_movements(history, deals, **quarter)
    >>> this_year = moves[(moves["currency"] == "EUR") & (moves["period"] == "2026-01-01")]
    >>> ax = plot.pipeline_movements(this_year)
    >>> ax.get_title(loc="left")
    'What moved the open pipeline, expected to close in 2026'
    """
    rows = style.require_columns(frame, _NEEDED, "pipeline_movements")
    group = months.one_group(rows, "period", "pipeline_movements")
    currency = months.one_currency(rows, "draw each on its own Axes")
    sums = {name: float(months.money(rows, name).sum()) for name in _NEEDED[2:]}
    steps = [
        Step(name.replace("_", " "), sums[name], color) for name, color in _MOVES if sums[name]
    ]
    refuse_residual(sums["start"], steps, sums["end"], "pipeline_movements")
    ax = style.axes(ax, height=4.0)
    heading = "What moved the open pipeline"
    if len(rows):
        heading += f", expected to close {_span(rows, frame.attrs.get('freq'))}"
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


def _span(rows: pd.DataFrame, freq: str | None) -> str:
    dated = rows.loc[rows["period"].notna(), ["period"]].reset_index(drop=True)
    if not len(dated):
        return "on no date"
    days = calendar.first_days(dated)
    kind = calendar.periods(days, freq)
    number = kind.numbers(days)
    first, last = kind.name(int(number.min())), kind.name(int(number.max()))
    text = f"in {first}" if first == last else f"in {first} to {last}"
    return text + (" or on no date" if rows["period"].isna().any() else "")
