"""The views: frames and a state in, small objects out; nothing is loaded, drawn or written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import pandas as pd

from pdframe import metrics
from pdframe._warnings import collect_warnings
from pdframe.dashboard import _charts as charts
from pdframe.dashboard._chosen import (
    Chosen,
    Notes,
    arguments,
    as_text,
    in_currency,
    like,
    rows_of,
    script,
)
from pdframe.dashboard._data import Data
from pdframe.dashboard._forecast import forecast
from pdframe.dashboard._overview import figures_of, sales_tables, totals
from pdframe.dashboard._parts import Chart, Counted, Figure, View, amount, count, days, share, table
from pdframe.dashboard._revenue import revenue
from pdframe.dashboard.state import State
from pdframe.errors import ArgumentError, PdframeError
from pdframe.metrics.currency import Rates

__all__ = ["VIEWS", "main_currency", "view"]

MONTHS = 12
"""Months of a chart by month, to the end of the period."""


def view(key: str, data: Data, state: State) -> View:
    """Return one view; where its figures are refused, a view that says why.

    Parameters
    ----------
    key
        One of `VIEWS`.
    data
        The frames of an account.
    state
        What the reader chose.
    """
    title, make = VIEWS[key]
    try:
        with collect_warnings():
            return make(data, state)
    except PdframeError as error:
        return View(key, title, notes=(str(error),))


def overview(data: Data, state: State) -> View:
    """Key figures of the period against the period before, sales by month, reasons of losses."""
    chosen, notes = Chosen(data, state), Notes()
    deals, period = chosen.deals, state.period
    how: dict[str, Any] = {"as_of": data.now, "rates": data.rates, "tz": data.tz}
    last = (period.until - pd.Timedelta(1, "D")).to_period("M")
    window: dict[str, Any] = {"since": period.since, "until": period.until, **how}
    months = notes.of(
        metrics.sales_by_period, deals, since=last - MONTHS + 1, until=period.until, **how
    )
    reasons = notes.of(metrics.lost_reasons, deals, **window)
    shown = in_currency(months, state.currency)
    now, before = totals(data, state, deals)
    tables = sales_tables(now, state, shown, reasons)
    drawn = []
    if len(shown):
        title = f"Won by month, {state.currency}"
        drawn.append(Chart(title, partial(charts.sales, shown), table=tables[0].caption))
    if len(reasons):
        title = "Why deals were lost"
        drawn.append(Chart(title, partial(charts.lost_reasons, reasons), table=tables[1].caption))
    how_text = arguments(data, as_of=as_text(data.now))
    return View(
        "overview",
        "Overview",
        figures_of(now, before, state.currency, months),
        tuple(drawn),
        tables,
        notes.every,
        script(
            *chosen.code(),
            f"how = {how_text}",
            f"sales = metrics.sales_by_period(deals, {_window(state)}, **how)",
            f"before = metrics.sales_by_period(deals, {_window_before(state)}, **how)",
            f"months = metrics.sales_by_period(deals, since='{last - MONTHS + 1}',"
            f" until='{period.until:%Y-%m-%d}', **how)",
            f"months = months[months['currency'] == {state.currency!r}]",
            f"reasons = metrics.lost_reasons(deals, {_window(state)}, **how)",
        ),
        {"months": shown, "reasons": reasons},
        _sold(deals, state, window),
    )


def _sold(deals: pd.DataFrame, state: State, window: dict[str, Any]) -> tuple[Counted, ...]:
    """Return the deals that the key figures count."""
    last = (state.period.until - pd.Timedelta(1, "D")).to_period("M").start_time

    def rows(event: str) -> pd.DataFrame:
        every = metrics.sales_by_period_deals(deals, **window)
        own = rows_of(every, "event", event)
        if event == "open at end":
            # Not of `own`: at the end of the last period none may be open.
            own = like(own[own["period"] == last], own)
        return own

    def of_event(label: str, event: str) -> Counted:
        code = f"counted = metrics.sales_by_period_deals(deals, {_window(state)}, **how)"
        code += f"\ncounted = counted[counted['event'] == {event!r}]"
        if event == "open at end":
            code += "\ncounted = counted[counted['period'] == sales['period'].max()]"
        return Counted(label, partial(rows, event), code)

    return (
        of_event("New deals", "created"),
        of_event("Deals won", "won"),
        of_event("Deals lost", "lost"),
        of_event("Deals open at the end", "open at end"),
    )


def changes(data: Data, state: State) -> View:
    """What happened to deals in the period."""
    chosen, notes = Chosen(data, state), Notes()
    deals = chosen.deals
    history = chosen.of(data.history)
    end = min(_instant(state.period.until, data.tz), data.now + pd.Timedelta(1, "us"))
    how: dict[str, Any] = {
        "since": state.period.since,
        "until": end,
        "stages": data.stages,
        "pipelines": data.pipelines,
        "users": data.users,
        "tz": data.tz,
    }
    # Where the window begins before the first snapshot, show what is known of it: a note says so.
    events = notes.of(metrics.changes, history, deals, partly=True, **how)
    _say_what_stands_no_more(data, state, deals, events, notes)
    summary = metrics.changes_summary(events)
    newest = events.iloc[::-1].reset_index(drop=True)
    newest["time"] = newest["time"].dt.tz_convert(data.tz)
    by_kind = table(
        "Events by kind and currency",
        summary,
        {
            "event": "Event",
            "currency": "Currency",
            "count": ("Events", count),
            "deals": ("Deals", count),
            "value": ("Value", amount),
        },
        most=24,
    )
    drawn = Chart("What happened to deals", partial(charts.changes, summary), table=by_kind.caption)
    names = ["history", "stages", "pipelines", *(["users"] if data.users is not None else [])]
    lists = ", ".join(f"{name}={name}" for name in names[1:])
    kinds = events["event"].value_counts()
    return View(
        "changes",
        "What changed",
        (
            Figure("Events", count(len(events))),
            Figure("Deals with events", count(events["deal_id"].nunique())),
        ),
        (drawn,) if len(summary) else (),
        (
            by_kind,
            table(
                "The newest events",
                newest,
                {
                    "title": "Deal",
                    "time": "Time",
                    "event": "Event",
                    "before": "Before",
                    "after": "After",
                    "owner_name": "Owner",
                },
                links=newest["url"],
            ),
        ),
        notes.every,
        script(
            *chosen.code(*names),
            'deals["url"] = account.url("deals", deals["id"])',
            f"events = metrics.changes(history, deals, since='{state.period.since:%Y-%m-%d}',"
            f" until={as_text(end)},",
            f"    {lists}, partly=True)",
            "summary = metrics.changes_summary(events)",
        ),
        {"events": events, "summary": summary},
        tuple(
            Counted(
                f"{str(kind).capitalize()} ({number:,})",
                partial(rows_of, events, "event", kind),
                f"counted = events[events['event'] == {kind!r}]",
            )
            for kind, number in kinds.items()
            if number
        ),
    )


def _say_what_stands_no_more(
    data: Data, state: State, deals: pd.DataFrame, events: pd.DataFrame, notes: Notes
) -> None:
    """Note how many events the overview does not count: it counts what stands today."""
    counted = metrics.sales_by_period_deals(
        deals, since=state.period.since, until=state.period.until, as_of=data.now, tz=data.tz
    )
    standing = pd.MultiIndex.from_arrays([counted["event"].astype("str"), counted["deal_id"]])
    sold = events[events["event"].isin(["created", "won", "lost"])]
    own = pd.MultiIndex.from_arrays([sold["event"].astype("str"), sold["deal_id"]])
    fallen = int((~own.isin(standing)).sum())
    if fallen:
        notes.add(
            f"{fallen:,} of the events created, won and lost are not in the overview, which counts"
            " what stands today: their deals were deleted, reopened or closed again since, or have"
            " another date now."
        )


def funnel(data: Data, state: State) -> View:
    """How far the deals of a year came in one pipeline."""
    # A deal that has left the pipeline since counts in its funnel: the filter is that of visits.
    chosen, notes = Chosen(data, state.of_all_pipelines), Notes()
    visits = chosen.of(data.visits)
    pipeline = _pipeline(state, visits)
    since = state.period.until - pd.DateOffset(months=MONTHS)
    how: dict[str, Any] = {
        "as_of": data.now,
        "pipeline_id": pipeline,
        "since": since,
        "until": state.period.until,
        "tz": data.tz,
    }
    frame = notes.of(metrics.funnel, visits, data.stages, **how)
    name = _pipeline_name(data, pipeline)
    rows = table(
        f"Deals that entered {name} from {since:%Y-%m-%d}, by stage",
        frame,
        {
            "stage": "Stage",
            "reached": ("Reached", count),
            "advanced": ("Advanced", count),
            "lost": ("Lost", count),
            "open": ("Open", count),
            "conversion": ("Conversion", share),
            "share_reached": ("Of all", share),
        },
        most=30,
    )
    first = frame["reached"].iloc[0] if len(frame) else 0
    won = frame.loc[frame["stage_id"].isna(), "reached"].sum()

    def reached(place: int) -> pd.DataFrame:
        return metrics.drill_through(
            frame.iloc[place], metrics.funnel_deals(visits, data.stages, **how)
        )

    return View(
        "funnel",
        "Funnel",
        (
            Figure(f"Entered {name}", count(first)),
            Figure("Won of them", count(won)),
            Figure("Share won", share(won / first if first else None)),
        ),
        (Chart(f"Funnel of {name}", partial(charts.funnel, frame), 3.8, rows.caption),),
        (rows,),
        notes.every,
        script(
            *chosen.code("visits", "stages"),
            f"how = {{'as_of': {as_text(data.now)}, 'pipeline_id': {pipeline},",
            f"    'since': '{since:%Y-%m-%d}', 'until': '{state.period.until:%Y-%m-%d}'}}",
            "funnel = metrics.funnel(visits, stages, **how)",
        ),
        {"funnel": frame},
        tuple(
            Counted(
                f"{row['stage']}: {row['reached']:,} reached it",
                partial(reached, place),
                "reached = metrics.funnel_deals(visits, stages, **how)\n"
                f"counted = metrics.drill_through(funnel.iloc[{place}], reached)",
            )
            for place, (_, row) in enumerate(frame.iterrows())
        ),
    )


def velocity(data: Data, state: State) -> View:
    """How long deals stay in each stage, and which open deals are late."""
    chosen, notes = Chosen(data, state.of_all_pipelines), Notes()
    deals, visits = chosen.deals, chosen.of(data.visits)
    pipeline = _pipeline(state, visits)
    own = rows_of(visits, "pipeline_id", pipeline)
    stages = rows_of(data.stages, "pipeline_id", pipeline)
    frame = notes.of(metrics.stage_velocity, own, stages, as_of=data.now, deals=deals, tz=data.tz)
    aging = notes.of(metrics.deal_aging, deals, visits, data.stages, as_of=data.now, tz=data.tz)
    aging = rows_of(aging, "pipeline_id", pipeline).drop(columns="url", errors="ignore")
    slowest = aging.sort_values("days_in_stage", ascending=False, kind="stable")
    urls = slowest["deal_id"].map(deals.set_index("id")["url"])
    name = _pipeline_name(data, pipeline)
    tables = (
        table(
            "Days in each stage",
            frame,
            {
                "stage": "Stage",
                "visits": ("Visits", count),
                "open": ("Open", count),
                "median_days": ("Median", days),
                "p75_days": ("3 of 4 within", days),
                "p90_days": ("9 of 10 within", days),
            },
            most=30,
        ),
        table(
            "Open deals, the longest in their stage first",
            slowest,
            {
                "title": "Deal",
                "owner_name": "Owner",
                "stage": "Stage",
                "value": ("Value", amount),
                "currency": "Currency",
                "days_in_stage": ("Days", days),
            },
            most=8,
            links=urls,
        ),
    )
    drawn = []
    if frame["median_days"].notna().any():
        title = f"Days in each stage of {name}"
        drawn.append(Chart(title, partial(charts.velocity, frame), table=tables[0].caption))
    else:
        notes.add(
            "How long deals stay in a stage is unknown: account.deal_changes() loads the changelogs"
            " that tell it."
        )
    if len(aging):
        title = "Open deals by days in their stage"
        drawn.append(Chart(title, partial(charts.aging, aging), table=tables[1].caption))
    late = aging[aging["rotten"].fillna(False).astype(bool)]
    unknown = int(aging["days_in_stage"].isna().sum())
    undated = f"days in the stage unknown: {count(unknown)}" if unknown else ""
    return View(
        "velocity",
        "Velocity",
        (
            Figure(f"Open in {name}", count(len(aging)), note=undated),
            Figure("Median days in their stage", days(aging["days_in_stage"].median())),
            Figure("Rotten", count(len(late)), note="by the days that the stage allows"),
        ),
        tuple(drawn),
        tables,
        notes.every,
        script(
            *chosen.code("visits", "stages"),
            f"own = visits[visits['pipeline_id'] == {pipeline}]",
            f"own_stages = stages[stages['pipeline_id'] == {pipeline}]",
            f"as_of = {as_text(data.now)}",
            "velocity = metrics.stage_velocity(own, own_stages, as_of=as_of, deals=deals)",
            "aging = metrics.deal_aging(deals, visits, stages, as_of=as_of)",
            f"aging = aging[aging['pipeline_id'] == {pipeline}]",
        ),
        {"velocity": frame, "aging": aging},
        (
            Counted(
                f"Rotten ({len(late):,})",
                partial(like, late, aging),
                "counted = aging[aging['rotten'].fillna(False)]",
            ),
            *(
                Counted(
                    f"Open in {stage} ({number:,})",
                    partial(rows_of, aging, "stage", stage),
                    f"counted = aging[aging['stage'] == {stage!r}]",
                )
                for stage, number in aging["stage"].value_counts(sort=False).items()
            ),
        ),
    )


def data_view(data: Data, state: State) -> View:
    """How fresh the data is, what it cost, and what is wrong in it."""
    chosen = Chosen(data, state)
    deals, lines = chosen.deals, data.lines
    notes = Notes(data.notes)
    tables = [
        table(
            "Cached tables (times are UTC)",
            data.status.sort_values("synced_at", kind="stable"),
            {
                "table": "Table",
                "rows": ("Rows", count),
                "synced_at": "Refreshed",
                "full_at": "Loaded in full",
                "tokens": ("Tokens", count),
            },
            most=30,
        )
    ]
    code, frames = ["status = account.status()", "noticed = account.warnings()"], {}
    if lines is not None:
        checks = notes.of(
            metrics.data_quality,
            deals,
            chosen.of(data.visits),
            data.stages,
            chosen.of(lines),
            as_of=data.now,
            pipelines=data.pipelines,
            tz=data.tz,
        )
        code = [
            *chosen.code("visits", "stages", "products", "pipelines"),
            "checks = metrics.data_quality(deals, visits, stages, products,"
            f" as_of={as_text(data.now)}, pipelines=pipelines)",
            *code,
        ]
        frames["checks"] = checks
        findings = checks[checks["count"] > 0]
        findings = findings.assign(check=findings["check"].str.replace("_", " "))
        tables.append(
            table(
                "What distorts figures",
                findings,
                {
                    "check": "Check",
                    "severity": "Severity",
                    "count": ("Count", count),
                    "share": ("Share", share),
                    "distorts": "Distorts",
                },
                most=20,
            )
        )
    if len(data.noticed):
        tables.append(
            table(
                "What was noticed in the data",
                data.noticed,
                {
                    "table": "Table",
                    "column": "Column",
                    "kind": "What",
                    "example": "Example",
                    "count": ("Count", count),
                },
                most=20,
            )
        )
    oldest = data.status["synced_at"].min()
    return View(
        "data",
        "Data",
        (
            Figure("Deals", count((~deals["is_deleted"].fillna(False).astype(bool)).sum())),
            Figure("API tokens today", count(data.tokens_today)),
            Figure("Oldest table", "–" if pd.isna(oldest) else f"{oldest:%Y-%m-%d %H:%M} UTC"),
        ),
        tables=tuple(tables),
        notes=notes.every,
        code=script(*code),
        frames=frames,
    )


VIEWS: Mapping[str, tuple[str, Callable[[Data, State], View]]] = MappingProxyType(
    {
        "overview": ("Overview", overview),
        "changes": ("What changed", changes),
        "funnel": ("Funnel", funnel),
        "velocity": ("Velocity", velocity),
        "revenue": ("Recurring revenue", revenue),
        "forecast": ("Forecast", forecast),
        "data": ("Data", data_view),
    }
)
"""Title and function of each view, in the order in which they are shown."""


def main_currency(data: Data) -> str | None:
    """Return the currency of charts: the target of the rates, else the account's where deals have
    it, else the commonest.
    """
    if data.rates is not None:
        return Rates(data.rates).target
    counted = data.deals["currency"].value_counts()
    if data.currency in counted.index or counted.empty:
        return data.currency
    return str(counted.index[0])


def _pipeline(state: State, visits: pd.DataFrame) -> int:
    """Return the pipeline that was chosen, else the one with the most deals."""
    if state.pipeline_id is not None:
        return state.pipeline_id
    counted = visits.drop_duplicates(["deal_id", "pipeline_id"])["pipeline_id"].value_counts()
    if counted.empty:
        raise ArgumentError("No deal was in a pipeline.")
    return int(counted.index[0])


def _pipeline_name(data: Data, pipeline: int) -> str:
    names = data.pipelines.loc[data.pipelines["id"].eq(pipeline), "name"].dropna()
    return str(names.iloc[0]) if len(names) else f"pipeline {pipeline}"


def _instant(day: pd.Timestamp, tz: str) -> pd.Timestamp:
    return day.tz_localize(tz, ambiguous=True, nonexistent="shift_forward").tz_convert("UTC")


def _window(state: State) -> str:
    since, until = state.period.since, state.period.until
    return f"since='{since:%Y-%m-%d}', until='{until:%Y-%m-%d}'"


def _window_before(state: State) -> str:
    since, until = state.period.before_since, state.period.before_until
    return f"since='{since:%Y-%m-%d}', until='{until:%Y-%m-%d}'"
