"""The view of recurring revenue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from pdframe import metrics
from pdframe.dashboard import _charts as charts
from pdframe.dashboard._chosen import Chosen, Notes, arguments, in_currency, script
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import (
    Chart,
    Counted,
    Figure,
    View,
    amount,
    besides,
    change,
    count,
    table,
)
from pdframe.dashboard.state import State

__all__ = ["revenue"]

MONTHS = 12
"""Months of a chart by month, to the end of the period."""
_MOVEMENTS = ("start", "new", "reactivation", "expansion", "contraction", "churn", "fx", "end")


def revenue(data: Data, state: State) -> View:
    """Monthly recurring revenue of won deals, and its movements."""
    if data.lines is None:
        return View("revenue", "Recurring revenue", notes=("Line items are unavailable.",))
    chosen, notes = Chosen(data, state), Notes()
    lines = notes.of(
        metrics.mrr_lines,
        chosen.of(data.lines),
        chosen.deals,
        cancellations=data.cancellations,
        tz=data.tz,
    )
    until = _last_month(state.period.until)
    how: dict[str, Any] = {"since": until - MONTHS + 1, "until": until, "rates": data.rates}
    schedule = notes.of(metrics.mrr_schedule, lines, **how)
    month = _last_month(state.period.before_until)
    before = metrics.mrr_schedule(lines, since=month, until=month, rates=data.rates)
    movements = notes.of(metrics.mrr_movements, lines, **how)
    mrr, moved = (in_currency(frame, state.currency) for frame in (schedule, movements))
    if mrr.empty:
        notes.add(f"No recurring revenue in {state.currency}.")
        return View("revenue", "Recurring revenue", notes=notes.every)
    rows = table(
        f"Movements by month, {state.currency}",
        moved.assign(month=moved["month"].dt.strftime("%Y-%m")),
        {
            "month": "Month",
            **{
                name: ("FX" if name == "fx" else name.capitalize(), amount)
                for name in _MOVEMENTS
                # Without rates nothing is converted.
                if name != "fx" or data.rates is not None
            },
        },
    )
    how_text = arguments(data, since=f"'{until - MONTHS + 1}'", until=f"'{until}'")
    return View(
        "revenue",
        "Recurring revenue",
        _figures(data, state, schedule, before),
        (
            Chart("Monthly recurring revenue", partial(charts.mrr, mrr), table=rows.caption),
            Chart("How it moved", partial(charts.movements, moved, data.now), table=rows.caption),
        ),
        (rows,),
        notes.every,
        script(
            *chosen.code("products"),
            f"lines = metrics.mrr_lines(products, deals{_cancellations(data)})",
            f"how = {how_text}",
            "mrr = metrics.mrr_schedule(lines, **how)",
            f"mrr = mrr[mrr['currency'] == {state.currency!r}]",
            "moved = metrics.mrr_movements(lines, **how)",
            f"moved = moved[moved['currency'] == {state.currency!r}]",
        ),
        {"mrr": mrr, "moved": moved},
        _counted(mrr, lines, is_converted=data.rates is not None),
    )


def _cancellations(data: Data) -> str:
    return "" if data.cancellations is None else f", cancellations={data.cancellations!r}"


def _last_month(until: pd.Timestamp) -> pd.Period:
    return (until - pd.Timedelta(1, "D")).to_period("M")


def _figures(
    data: Data, state: State, schedule: pd.DataFrame, before: pd.DataFrame
) -> tuple[Figure, ...]:
    """Return the figures of the last month against the last one of the period before.

    Parameters
    ----------
    data, state
        As of a view.
    schedule, before
        `metrics.mrr_schedule` in all currencies.
    """
    currency = state.currency
    mrr, old_mrr = (in_currency(frame, currency) for frame in (schedule, before))
    last, first = mrr.iloc[-1], old_mrr.iloc[0] if len(old_mrr) else None
    of_last = schedule[schedule["month"].eq(last["month"])].set_index("currency")
    missing = "no cancellations given" if data.cancellations is None else ""

    def figure(label: str, name: str, text: Callable[[Any], str], *notes: str) -> Figure:
        value, trend = last[name], tuple(mrr[name].astype("float64"))
        note = "; ".join(filter(None, notes))
        if first is None:
            return Figure(label, text(value), note=note, trend=trend)
        old = f"{text(first[name])} in {first['month']:%Y-%m}"
        return Figure(label, text(value), old, change(value, first[name]), note, trend)

    def money(label: str, name: str) -> Figure:
        return figure(label, name, amount, besides(of_last[name], currency), missing)

    customers = "Customers" if data.rates is not None else f"Customers, {currency}"
    return (
        money(f"MRR, {currency}", "mrr"),
        money(f"ARR, {currency}", "arr"),
        figure(customers, "customers", count, missing),
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
