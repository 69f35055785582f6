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
from pdframe.dashboard._data import Data
from pdframe.dashboard._overview import figures_of, sales_tables
from pdframe.dashboard._parts import Chart, Figure, View, amount, count, days, share, table
from pdframe.dashboard.state import State, filtered
from pdframe.errors import ArgumentError, PdframeError
from pdframe.metrics.changes import known_changes
from pdframe.metrics.currency import Rates

__all__ = ["VIEWS", "main_currency", "view"]

MONTHS = 12
"""Months of a chart by month, to the end of the period."""
AHEAD = 3
"""Months that are forecast."""


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
    deals, notes = filtered(data.deals, state), _Notes()
    last = (state.period.until - pd.Timedelta(1, "D")).to_period("M")
    months = notes.of(
        metrics.sales_by_period,
        deals,
        since=last - MONTHS + 1,
        until=state.period.until,
        as_of=data.now,
        rates=data.rates,
        tz=data.tz,
    )
    reasons = notes.of(
        metrics.lost_reasons,
        deals,
        since=state.period.since,
        until=state.period.until,
        as_of=data.now,
        rates=data.rates,
        tz=data.tz,
    )
    currency = state.currency
    drawn = []
    if len(shown := _in(months, currency)):
        drawn.append(Chart(f"Won by month, {currency}", partial(charts.sales, shown)))
    if len(reasons):
        drawn.append(Chart("Why deals were lost", partial(charts.lost_reasons, reasons)))
    return View(
        "overview",
        "Overview",
        figures_of(data, state, deals),
        tuple(drawn),
        sales_tables(data, state, deals, shown, reasons),
        notes.every,
        _code(
            state,
            "deals = account.deals(deleted=True)",
            f"metrics.sales_by_period(deals, {_window(state)})",
            f"metrics.sales_velocity(deals, {_window(state)}, by='currency')",
            f"metrics.lost_reasons(deals, {_window(state)})",
        ),
    )


def changes(data: Data, state: State) -> View:
    """What happened to deals in the period."""
    deals, notes = filtered(data.deals, state), _Notes()
    history = _of_deals(data.history, deals)
    how: dict[str, Any] = {
        "since": state.period.since,
        "until": min(_instant(state.period.until, data.tz), data.now + pd.Timedelta(1, "us")),
        "stages": data.stages,
        "pipelines": data.pipelines,
        "users": data.users,
        "tz": data.tz,
    }
    try:
        events = notes.of(metrics.changes, history, deals, **how)
    except ArgumentError as error:
        # The window begins before the first snapshot: show what is known of it, and say so.
        notes.add(str(error), "Listed is what is known, wins and losses that were undone included.")
        events = known_changes(history, deals, every=True, **how)
    summary = metrics.changes_summary(events)
    newest = events.iloc[::-1].reset_index(drop=True)
    newest["time"] = newest["time"].dt.tz_convert(data.tz)
    drawn = [Chart("What happened to deals", partial(charts.changes, summary))]
    return View(
        "changes",
        "What changed",
        (
            Figure("Events", count(len(events))),
            Figure("Deals with events", count(events["deal_id"].nunique())),
        ),
        tuple(drawn if len(summary) else ()),
        (
            table(
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
            ),
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
        _code(state, f"account.changes({_days(state)})"),
    )


def funnel(data: Data, state: State) -> View:
    """How far the deals of a year came in one pipeline."""
    deals, notes = filtered(data.deals, state), _Notes()
    visits = _of_deals(data.visits, deals)
    pipeline = _pipeline(data, state, visits)
    since = state.period.until - pd.DateOffset(months=MONTHS)
    frame = notes.of(
        metrics.funnel,
        visits,
        data.stages,
        as_of=data.now,
        pipeline_id=pipeline,
        since=since,
        until=state.period.until,
        tz=data.tz,
    )
    name = _pipeline_name(data, pipeline)
    return View(
        "funnel",
        "Funnel",
        charts=(Chart(f"Funnel of {name}", partial(charts.funnel, frame), 3.8),),
        tables=(
            table(
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
            ),
        ),
        notes=notes.every,
        code=_code(
            state,
            "visits, stages = account.stage_visits(), account.stages()",
            f"metrics.funnel(visits, stages, as_of='{_now(data)}', pipeline_id={pipeline},"
            f" since='{since:%Y-%m-%d}', until='{state.period.until:%Y-%m-%d}')",
        ),
    )


def velocity(data: Data, state: State) -> View:
    """How long deals stay in each stage, and which open deals are late."""
    deals, notes = filtered(data.deals, state), _Notes()
    visits = _of_deals(data.visits, deals)
    pipeline = _pipeline(data, state, visits)
    own = visits[_is(visits["pipeline_id"], pipeline)]
    stages = _like(data.stages[data.stages["pipeline_id"].eq(pipeline)], data.stages)
    frame = notes.of(metrics.stage_velocity, own, stages, as_of=data.now, deals=deals, tz=data.tz)
    aging = notes.of(metrics.deal_aging, deals, visits, data.stages, as_of=data.now, tz=data.tz)
    slowest = aging.sort_values("days_in_stage", ascending=False, kind="stable")
    drawn = []
    if frame["median_days"].notna().any():
        title = f"Days in each stage of {_pipeline_name(data, pipeline)}"
        drawn.append(Chart(title, partial(charts.velocity, frame)))
    else:
        notes.add(
            "How long deals stay in a stage is unknown: account.deal_changes() loads the changelogs"
            " that tell it."
        )
    if len(aging):
        drawn.append(Chart("Open deals by days in their stage", partial(charts.aging, aging)))
    return View(
        "velocity",
        "Velocity",
        charts=tuple(drawn),
        tables=(
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
                links=slowest["url"],
            ),
        ),
        notes=notes.every,
        code=_code(
            state,
            "deals, visits, stages = account.deals(), account.stage_visits(), account.stages()",
            f"metrics.stage_velocity(visits, stages, as_of='{_now(data)}', deals=deals)",
            f"metrics.deal_aging(deals, visits, stages, as_of='{_now(data)}')",
        ),
    )


def revenue(data: Data, state: State) -> View:
    """Monthly recurring revenue of won deals, and its movements."""
    if data.lines is None:
        return View("revenue", "Recurring revenue", notes=("Line items are unavailable.",))
    deals, notes = filtered(data.deals, state), _Notes()
    lines = notes.of(metrics.mrr_lines, _of_deals(data.lines, deals), deals, tz=data.tz)
    until = (state.period.until - pd.Timedelta(1, "D")).to_period("M")
    how: dict[str, Any] = {"since": until - MONTHS + 1, "until": until, "rates": data.rates}
    schedule = notes.of(metrics.mrr_schedule, lines, **how)
    movements = notes.of(metrics.mrr_movements, lines, **how)
    mrr, moved = _in(schedule, state.currency), _in(movements, state.currency)
    if mrr.empty:
        notes.add(f"No recurring revenue in {state.currency}.")
        return View("revenue", "Recurring revenue", notes=notes.every)
    last, first = mrr.iloc[-1], mrr.iloc[0]
    since = f"in {first['month']:%Y-%m}"
    return View(
        "revenue",
        "Recurring revenue",
        (
            Figure(
                f"MRR, {state.currency}", amount(last["mrr"]), f"{amount(first['mrr'])} {since}"
            ),
            Figure(
                f"ARR, {state.currency}", amount(last["arr"]), f"{amount(first['arr'])} {since}"
            ),
            Figure("Customers", count(last["customers"]), f"{count(first['customers'])} {since}"),
        ),
        (
            Chart("Monthly recurring revenue", partial(charts.mrr, mrr)),
            Chart("How it moved", partial(charts.movements, moved, data.now)),
        ),
        (
            table(
                f"Movements by month, {state.currency}",
                moved,
                {
                    "month": "Month",
                    **{
                        name: (name.capitalize(), amount)
                        for name in (
                            *("start", "new", "reactivation", "expansion"),
                            *("contraction", "churn", "end"),
                        )
                    },
                },
            ),
        ),
        notes.every,
        _code(
            state,
            "lines = metrics.mrr_lines(account.deal_products(), account.deals(deleted=True))",
            f"metrics.mrr_schedule(lines, since='{until - MONTHS + 1}', until='{until}')",
            f"metrics.mrr_movements(lines, since='{until - MONTHS + 1}', until='{until}')",
        ),
    )


def forecast(data: Data, state: State) -> View:
    """The range of revenue that the coming months may bring, its record, and the deals in it."""
    deals, notes = filtered(data.deals, state), _Notes()
    if data.rates is None:
        of_one = _is(deals["currency"], state.currency)
        deals = _like(deals[of_one], deals)
    visits, history = _of_deals(data.visits, deals), _of_deals(data.history, deals)
    until = data.now.tz_convert(data.tz).tz_localize(None).to_period("M") + AHEAD
    how: dict[str, Any] = {"as_of": data.now, "history": history, "tz": data.tz}
    frame = notes.of(
        metrics.forecast, deals, visits, data.stages, until=until, rates=data.rates, **how
    )
    each = notes.of(metrics.forecast_deals, deals, visits, data.stages, horizons=[until], **how)
    best = each.sort_values("expected_value", ascending=False, kind="stable")
    urls = deals.set_index("id")["url"]
    later = frame.iloc[1:] if len(frame) > 1 else frame
    record = data.record
    tables = [
        table(
            f"Forecast by month, {state.currency}",
            frame.assign(month=frame["period"].dt.strftime("%Y-%m")),
            {
                "month": "Month",
                "won_already": ("Won already", amount),
                "p10": ("9 of 10 above", amount),
                "mean": ("Expected", amount),
                "p90": ("1 of 10 above", amount),
            },
        ),
        table(
            f"Deals with the most expected by the end of {until}",
            best,
            {
                "title": "Deal",
                "owner_name": "Owner",
                "stage": "Stage",
                "value": ("Value", amount),
                "p_won": ("Win", share),
                "expected_value": ("Expected", amount),
                "why": "Why",
            },
            most=8,
            links=best["deal_id"].map(urls),
        ),
    ]
    scored = record[record["actual"].notna()] if record is not None else None
    if scored is not None and len(scored):
        hits = scored["covered"].mean()
        notes.add(
            f"Of {len(scored):,} forecasts whose period is over, {share(hits)} were right: the"
            " actual was within the range of 8 in 10."
        )
    else:
        notes.add(
            "No issued forecast can be scored yet: account.forecast() keeps each one that it"
            " issues, account.track_record() scores it once its period is over."
        )
    return View(
        "forecast",
        "Forecast",
        (
            Figure(
                f"Expected {later['period'].iloc[0]:%Y-%m} to {until}, {state.currency}",
                amount(later["mean"].sum()),
            ),
            Figure("Open deals", count(frame["deals_open"].max())),
        ),
        (Chart("Forecast by month", partial(charts.forecast, frame)),),
        tuple(tables),
        notes.every,
        _code(
            state,
            f"account.forecast('{until}')  # rates=... where deals have several currencies",
            "account.track_record()",
        ),
    )


def data_view(data: Data, state: State) -> View:
    """How fresh the data is, what it cost, and what is wrong in it."""
    deals = filtered(data.deals, state)
    lines = data.lines
    notes = _Notes(data.notes)
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
    if lines is not None:
        checks = metrics.data_quality(
            deals,
            _of_deals(data.visits, deals),
            data.stages,
            _of_deals(lines, deals),
            as_of=data.now,
            pipelines=data.pipelines,
            tz=data.tz,
        )
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
            Figure("Oldest table", "–" if pd.isna(oldest) else f"{oldest:%Y-%m-%d %H:%M}"),
        ),
        tables=tuple(tables),
        notes=notes.every,
        code=_code(
            state,
            "account.status()",
            "account.warnings()",
            "metrics.data_quality(account.deals(), account.stage_visits(), account.stages(),"
            f" account.deal_products(), as_of='{_now(data)}')",
        ),
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


class _Notes:
    """What metrics noted, each note once."""

    def __init__(self, notes: Any = ()) -> None:
        self._notes = dict.fromkeys(notes)

    @property
    def every(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def add(self, *notes: str) -> None:
        self._notes.update(dict.fromkeys(notes))

    def of(self, metric: Callable[..., pd.DataFrame], *frames: Any, **how: Any) -> pd.DataFrame:
        """Call a metric and keep its notes."""
        result = metric(*frames, **how)
        self.add(*result.attrs.get("notes", ()))
        return result


def _in(frame: pd.DataFrame, currency: str | None) -> pd.DataFrame:
    """Return the rows of one currency."""
    return _like(frame[_is(frame["currency"], currency)], frame)


def _is(column: pd.Series[Any], value: Any) -> pd.Series[bool]:
    return column.eq(value).fillna(False).astype(bool)


def _of_deals(frame: pd.DataFrame, deals: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of these deals."""
    return _like(frame[frame["deal_id"].isin(deals["id"])], frame)


def _like(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    rows = rows.reset_index(drop=True)
    rows.attrs = dict(frame.attrs)
    return rows


def _pipeline(data: Data, state: State, visits: pd.DataFrame) -> int:
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


def _now(data: Data) -> str:
    return f"{data.now.tz_convert(data.tz):%Y-%m-%d %H:%M}"


def _days(state: State) -> str:
    return f"'{state.period.since:%Y-%m-%d}', '{state.period.until:%Y-%m-%d}'"


def _window(state: State) -> str:
    since, until = state.period.since, state.period.until
    return f"since='{since:%Y-%m-%d}', until='{until:%Y-%m-%d}'"


def _code(state: State, *calls: str) -> str:
    """Return the calls as a script, with what the reader chose."""
    chosen = [
        f"deals = deals[deals[{column!r}] == {value!r}]"
        for column, value in (
            ("pipeline_id", state.pipeline_id),
            ("owner_id", state.owner_id),
            (state.field, state.value),
        )
        if column is not None and value is not None
    ]
    first, *rest = calls
    after = [first, *chosen, *rest] if first.startswith("deals") else list(calls)
    return "\n".join(["from pdframe import metrics", *after])
