"""The charts of the views. Plots are imported as one is drawn: views work without matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sales(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.sales_by_period(frame, ax)


def lost_reasons(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.lost_reasons(frame, ax, top=8)


def changes(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.changes_summary(frame, ax)


def funnel(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.funnel(frame, ax)


def velocity(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.velocity(frame, ax)


def aging(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.deal_aging(frame, ax, top=10)


def mrr(frame: pd.DataFrame, ax: Axes) -> None:
    from pdframe import plot

    plot.mrr(frame, ax)


def movements(frame: pd.DataFrame, now: pd.Timestamp, ax: Axes) -> None:
    from pdframe import plot

    plot.mrr_movements(frame, ax, by_month=True, as_of=now)


def forecast(
    frame: pd.DataFrame, draws: pd.DataFrame, record: pd.DataFrame | None, ax: Axes
) -> None:
    from pdframe import plot

    if record is not None:
        # Those of all deals, whether they were grouped by currency or not.
        record = record.drop(columns=["by", "group"])
    plot.forecast(frame, ax, record=record, draws=draws)


__all__ = [
    "aging",
    "changes",
    "forecast",
    "funnel",
    "lost_reasons",
    "movements",
    "mrr",
    "sales",
    "velocity",
]
