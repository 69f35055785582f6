"""The view of recurring revenue."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from pdframe import metrics
from pdframe.dashboard import _charts as charts
from pdframe.dashboard._chosen import Chosen, Notes, arguments, in_currency, script
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import Chart, Counted, Figure, View, amount, count, table
from pdframe.dashboard.state import State

__all__ = ["revenue"]

MONTHS = 12
"""Months of a chart by month, to the end of the period."""
_MOVEMENTS = ("start", "new", "reactivation", "expansion", "contraction", "churn", "end")


def revenue(data: Data, state: State) -> View:
    """Monthly recurring revenue of won deals, and its movements."""
    if data.lines is None:
        return View("revenue", "Recurring revenue", notes=("Line items are unavailable.",))
    chosen, notes = Chosen(data, state), Notes()
    lines = notes.of(metrics.mrr_lines, chosen.of(data.lines), chosen.deals, tz=data.tz)
    until = (state.period.until - pd.Timedelta(1, "D")).to_period("M")
    how: dict[str, Any] = {"since": until - MONTHS + 1, "until": until, "rates": data.rates}
    schedule = notes.of(metrics.mrr_schedule, lines, **how)
    movements = notes.of(metrics.mrr_movements, lines, **how)
    mrr, moved = (in_currency(frame, state.currency) for frame in (schedule, movements))
    if mrr.empty:
        notes.add(f"No recurring revenue in {state.currency}.")
        return View("revenue", "Recurring revenue", notes=notes.every)
    rows = table(
        f"Movements by month, {state.currency}",
        moved,
        {"month": "Month", **{name: (name.capitalize(), amount) for name in _MOVEMENTS}},
    )
    how_text = arguments(data, since=f"'{until - MONTHS + 1}'", until=f"'{until}'")
    return View(
        "revenue",
        "Recurring revenue",
        _figures(mrr, state.currency),
        (
            Chart("Monthly recurring revenue", partial(charts.mrr, mrr), table=rows.caption),
            Chart("How it moved", partial(charts.movements, moved, data.now), table=rows.caption),
        ),
        (rows,),
        notes.every,
        script(
            *chosen.code("products"),
            "lines = metrics.mrr_lines(products, deals)",
            f"how = {how_text}",
            "mrr = metrics.mrr_schedule(lines, **how)",
            f"mrr = mrr[mrr['currency'] == {state.currency!r}]",
            "moved = metrics.mrr_movements(lines, **how)",
            f"moved = moved[moved['currency'] == {state.currency!r}]",
        ),
        {"mrr": mrr, "moved": moved},
        _counted(mrr, lines, is_converted=data.rates is not None),
    )


def _figures(mrr: pd.DataFrame, currency: str | None) -> tuple[Figure, ...]:
    last, first = mrr.iloc[-1], mrr.iloc[0]
    since = f"in {first['month']:%Y-%m}"
    return (
        Figure(f"MRR, {currency}", amount(last["mrr"]), f"{amount(first['mrr'])} {since}"),
        Figure(f"ARR, {currency}", amount(last["arr"]), f"{amount(first['arr'])} {since}"),
        Figure("Customers", count(last["customers"]), f"{count(first['customers'])} {since}"),
    )


def _counted(mrr: pd.DataFrame, lines: pd.DataFrame, *, is_converted: bool) -> tuple[Counted, ...]:
    """Return the deals whose line items count in the first and the last month."""
    # Converted amounts are of line items in all currencies.
    keys = ["month"] if is_converted else ["month", "currency"]

    def of_month(place: int) -> pd.DataFrame:
        row = mrr.iloc[place]
        rows = metrics.drill_through(row, lines, keys=keys)
        # Those that ended with the month before are in the movements alone.
        ended = rows["month_until"].le(row["month"]).fillna(False).astype(bool)
        return rows[~ended]

    return tuple(
        Counted(
            f"Line items of {mrr['month'].iloc[place]:%Y-%m}",
            partial(of_month, place),
            f"row = mrr.iloc[{place}]\n"
            f"counted = metrics.drill_through(row, lines, keys={keys!r})\n"
            "counted = counted[~counted['month_until'].le(row['month'])]",
        )
        for place in (-1, 0)
    )
