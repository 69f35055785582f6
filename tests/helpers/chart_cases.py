"""Every chart in five sizes: one group, three deals, 30 groups, 100,000 deals, long names.

A chart that has no groups takes 30 months, stages or bins in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe import plot
from tests.helpers import forecast_charts as forecasts
from tests.helpers import revenue_charts as revenue
from tests.helpers.charts import FUNNEL, MOVES, SURVIVAL, VELOCITY, frame

CASES = ("one group", "three deals", "30 groups", "100,000 deals", "long names")
STAGES = ["Qualified", "Discovery", "Demo", "Proposal", "Negotiation"]
# 80 characters each: Latin, Cyrillic, Greek and Armenian, all of which DejaVu Sans has.
LONG = [
    "Renewal of the enterprise agreement with premium support, second year, north 001",
    "Продление корпоративного договора с расширенной поддержкой, второй год, север 02",
    "Ανανέωση της εταιρικής συμφωνίας με υποστήριξη, δεύτερο έτος, βόρεια περιοχή 003",
    "Կորպորատիվ պայմանագրի երկարաձգում ընդլայնված աջակցությամբ, երկրորդ տարի, հյուս 4",
]
PEOPLE = [f"{first} {last}" for first in ("Ann", "Bo", "Cleo", "Dario", "Eva", "Finn")
          for last in ("Berg", "Okafor", "Lindqvist", "Marchetti", "Nakamura")]  # fmt: skip


class Case:
    """Counts, names and groups of a case."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deals = {"three deals": 3, "100,000 deals": 100_000}.get(name, 1_600)
        self.stages = (
            [f"{LONG[at % 4][:76]} {at:03d}" for at in range(5)] if name == "long names" else STAGES
        )
        self.groups: list[Any] = {"30 groups": PEOPLE, "long names": [*LONG]}.get(name, [None])
        self.months = {"three deals": 1, "30 groups": 30, "100,000 deals": 24}.get(name, 6)
        self.money = {"three deals": 1_000.0, "100,000 deals": 48_500_000.0}.get(name, 61_250.0)
        self.random = np.random.default_rng(7)

    def rows(self, one: Callable[[int, Any], list[tuple[Any, ...]]]) -> tuple[Any, list[Any]]:
        """Rows of each group, with its name before them where there are groups."""
        grouped = self.groups != [None]
        result = [
            (group, *row) if grouped else row
            for at, group in enumerate(self.groups)
            for row in one(at, group)
        ]
        return ("owner" if grouped else None), result


def funnel(case: Case) -> Axes:
    def rows(at: int, group: Any) -> list[tuple[Any, ...]]:
        reached = first = max(case.deals // (at + 1), 1)
        result: list[tuple[Any, ...]] = []
        for order, name in enumerate(case.stages):
            on = int(reached * 0.66)
            lost = int((reached - on) * 0.6)
            left = (reached - on - lost) // 2
            still = reached - on - lost - left
            rate = None if reached < 3 else 0.68 - order / 50
            limits = (None, None) if rate is None else (rate - 0.023, rate + 0.02)
            result.append((order + 1, name, order, reached, on, lost, left, still, rate, *limits,
                           None if rate is None else 888.0 - order, None, None, None,
                           reached / first, None))  # fmt: skip
            reached = on
        won = (None, "won", None, reached, reached, 0, 0, 0, *[None] * 7, reached / first, None)
        return [*result, won]

    by, table = case.rows(rows)
    return plot.funnel(frame(FUNNEL, *table, by=by))


def stage_survival(case: Case) -> Axes:
    def rows(at: int, group: Any) -> list[tuple[Any, ...]]:
        result = []
        names = case.stages if case.name == "one group" else case.stages[2:3]
        for order, name in enumerate(names):
            risk = max(case.deals // (at + 1), 2)
            for step in range(1, 13):
                share = float(np.exp(-step * (0.12 + order / 40 + at / 200)))
                result.append((1, order + 1, name, order, 8.5 * step, int(risk * share) or 1, 1,
                               share, share * 0.93, min(share * 1.07, 1.0)))  # fmt: skip
        return result

    by, table = case.rows(rows)
    return plot.stage_survival(frame(SURVIVAL, *table, by=by))


def velocity(case: Case) -> Axes:
    def rows(at: int, group: Any) -> list[tuple[Any, ...]]:
        visits = max(case.deals // (at + 1), 1)
        return [
            (1, order + 1, name, order, visits, visits - visits // 8, visits // 8,
             12.0 + order + at / 9, 8.0, 14.0, 5.0, 26.0 + order, None if order == 3 else 67.9,
             15.0, "changelog")
            for order, name in enumerate(case.stages)
        ]  # fmt: skip

    by, table = case.rows(rows)
    return plot.velocity(frame(VELOCITY, *table, by=by))


def flow(case: Case) -> Axes:
    names = case.stages if case.name != "30 groups" else [f"Stage {at + 1}" for at in range(24)]
    rows: list[tuple[Any, ...]] = []
    for at, name in enumerate(names):
        count = max(case.deals // (at + 1), 1)
        if at + 1 < len(names):
            rows.append((at + 1, name, at, at + 2, names[at + 1], at + 1, False, count, 1, 0.66))
        if at > 1:
            rows.append((at + 1, name, at, at - 1, names[at - 2], at - 2, True, count // 9, 1, 0.1))
        for end in ("won", "lost", "changed pipeline", "open"):
            rows.append((at + 1, name, at, None, end, None, None, count // 8, 1, 0.12))
    return plot.flow(frame(MOVES, *rows))


def _mrr(case: Case) -> pd.DataFrame:
    def series(at: int) -> list[float]:
        level = case.money / (at + 1)
        return [round(level * (1 + month / 40), 2) for month in range(case.months)]

    return revenue.schedule(*[(group, series(at)) for at, group in enumerate(case.groups)])


def mrr(case: Case) -> Axes:
    return plot.mrr(_mrr(case))


def mrr_lines(case: Case) -> Axes:
    return plot.mrr(_mrr(case), stacked=False, measure="arr")


def _movements(case: Case) -> pd.DataFrame:
    size = case.money / 10
    made = [
        [size * part * (1 + month % 3) for part in (0.9, 0.1, 0.3, -0.15, -0.6, 0.05)]
        for month in range(case.months)
    ]
    table = revenue.movements(case.money, *made, expired=-size / 3)
    return table.assign(owner=LONG[1])[["owner", *table]] if case.name == "long names" else table


def mrr_movements(case: Case) -> Axes:
    return plot.mrr_movements(_movements(case))


def arr_movements(case: Case) -> Axes:
    return plot.arr_movements(_movements(case), by_month=True, as_of="2026-06-01")


def retention_cohorts(case: Case) -> Axes:
    count = max(case.months, 2)
    table = [
        [1.0, *(0.97**age + (age * at % 5) / 30 for age in range(1, count - at))]
        for at in range(count)
    ]
    made = revenue.cohorts(*table, customers=case.deals)
    if case.name == "100,000 deals":
        return plot.retention_cohorts(made, values="customers")
    return plot.retention_cohorts(made)


def billing(case: Case) -> Axes:
    kinds = ["recurring", "one-time", "installment"]
    if case.name == "30 groups":
        kinds = [f"kind {at}" for at in range(12)]
    if case.name == "long names":
        kinds = LONG
    rows = [
        (f"{revenue.month(month):%Y-%m}-05", kind, case.money / (at + 2) * (-0.2 if at == 3 else 1))
        for month in range(case.months)
        for at, kind in enumerate(kinds)
    ]
    return plot.billing(revenue.bills(*rows))


def _totals(case: Case) -> pd.DataFrame:
    days = pd.date_range("2026-07-01", periods=min(case.months, 12), freq="MS")
    return forecasts.totals(
        *[
            (f"{day:%F}", case.money / 4 if not at else 0.0, case.money * (0.8 - at / 40),
             case.money, case.money * (1.3 + at / 30))
            for at, day in enumerate(days)
        ]
    )  # fmt: skip


def forecast(case: Case) -> Axes:
    if case.name == "three deals":
        return plot.forecast(_totals(case))
    days = pd.date_range("2025-07-01", periods=12, freq="MS")
    record = forecasts.record(
        *[
            (f"{day:%F}", f"{day:%F}", case.money * 0.7, case.money, case.money * 1.2,
             case.money * (0.6 + at / 14))
            for at, day in enumerate(days)
        ]
    )  # fmt: skip
    table = _totals(case)
    if case.name == "long names":
        table = table.assign(owner=LONG[2])[["owner", *table]]
    return plot.forecast(table, record=record)


def forecast_groups(case: Case) -> Axes:
    """One month of few or 30 groups, three months of the others."""
    groups = case.groups if case.groups != [None] else ["New business", "Renewals"]
    days = pd.date_range("2026-07-01", periods=1 if len(groups) == 30 else 3, freq="MS")
    parts = []
    for number, group in enumerate(groups):
        money = case.money / (number + 1)
        rows = [
            (f"{day:%F}", money / 4 if not at else 0.0, money * (0.7 - at / 10), money,
             money * (1.3 + at / 5))
            for at, day in enumerate(days)
        ]  # fmt: skip
        table = forecasts.totals(*rows)
        parts.append(table.assign(owner_name=group)[["owner_name", *table]])
    return plot.forecast(pd.concat(parts))


def calibration(case: Case) -> Axes:
    horizons = {"30 groups": range(30, 390, 30), "three deals": [90]}.get(case.name, [30, 90])
    size = max(case.deals // 4, 1)
    return plot.calibration(
        forecasts.bins(
            *[
                (days, size // (bin + 1), bin / 10 + 0.05, min(bin / 9, 1.0))
                for days in horizons
                for bin in range(10)
            ]
        )
    )


def backtest(case: Case) -> Axes:
    methods = ["hazard", "weighted", "season"]
    if case.name == "30 groups":
        methods = [f"method {at}" for at in range(12)]
    if case.name == "long names":
        methods = LONG
    rows = [
        (f"2026-0{month}-01", days, method, case.deals, 0.08 - at / 300 + month / 900)
        for month in range(1, 4)
        for days in (30, 90, 180)
        for at, method in enumerate([*methods, "constant"][::-1])
    ]
    return plot.backtest(forecasts.scores(*rows))


def pipeline_movements(case: Case) -> Axes:
    moves = {
        name: case.money / (at + 4) * (-1 if name in ("value_down", "pushed_out", "won", "lost",
                                                      "moved_out", "deleted", "undated") else 1)
        for at, name in enumerate(forecasts.MOVES)
        if case.name != "three deals" or name in ("created", "won")
    }  # fmt: skip
    table = forecasts.movements(case.money, moves)
    if case.name == "long names":
        table = table.assign(owner=LONG[3])[["owner", *table]]
    return plot.pipeline_movements(table)


def weighted_pipeline(case: Case) -> Axes:
    months = pd.date_range("2026-07-01", periods=case.months, freq="MS").as_unit("us")
    whens = ["past", *["dated"] * case.months, "none"]

    def rows(at: int, group: Any) -> list[tuple[Any, ...]]:
        result: list[tuple[Any, ...]] = []
        for place, when in enumerate(whens):
            value = case.money * (4 + place % 5) / (at + 2)
            period = months[place - 1] if when == "dated" else pd.NaT
            deals = max(case.deals // (len(whens) * (at + 1)), 1)
            result.append((period, "EUR", deals, value, value * (0.3 + place % 3 / 8), when))
        return result

    by, made = case.rows(rows)
    columns = ["period", "currency", "deals", "value", "weighted", "when"]
    table = pd.DataFrame(made, columns=([by] if by else []) + columns)
    return plot.weighted_pipeline(table)


def forecast_changes(case: Case) -> Axes:
    amounts = [case.money * part for part in (0.2, 0.05, -0.3, 0.1, -0.08, 0.0, -0.01)]
    return plot.forecast_changes(forecasts.changes(case.money, amounts))


def deal_aging(case: Case) -> Axes:
    count = min(case.deals, 600)
    names = {"long names": LONG}.get(case.name, ["Licences", "Renewal", "Rollout", "Pilot"])
    at = np.arange(count)
    table = pd.DataFrame(
        {
            "deal_id": pd.array(at + 1, "Int64"),
            "title": [f"{names[n % 4]} {n}" if n % 9 else None for n in at],
            "owner_name": [
                PEOPLE[n % 30] if case.name != "long names" else LONG[n % 4] for n in at
            ],
            "value": case.money * (1 + at % 7),
            "currency": ["EUR" if n % 5 else "CHF" for n in at],
            "stage": [case.stages[n % 5] for n in at],
            "days_in_stage": 3.0 + (at * 37) % 211,
            "median_days": [None if n % 13 == 5 else 12.0 + n % 5 * 9 for n in at],
            "share_longer": 1 / (1 + (at * 37) % 211),
            "days_to_rotten": [None if n % 3 == 1 else 60.0 for n in at],
            "rotten": at % 3 == 0,
            "days_past_close": [None if n % 4 == 1 else float(max(n % 40 - 20, 0)) for n in at],
        }
    )
    return plot.deal_aging(table, top=30 if case.name == "30 groups" else 15)


def sales_by_period(case: Case) -> Axes:
    """Months of one group, stacks of long names, and a leaderboard of 30 people."""
    months = 1 if case.name == "30 groups" else case.months
    rows = [
        {
            **({} if group is None else {"owner_name": group}),
            "period": revenue.month(at),
            "currency": "EUR",
            "won": case.deals // (number + 2),
            "lost": case.deals // (number + 4),
            "won_value": case.money * (1 + at % 5 / 4) / (number + 1),
        }
        for number, group in enumerate(case.groups)
        for at in range(months)
    ]
    return plot.sales_by_period(pd.DataFrame(rows))


def lost_reasons(case: Case) -> Axes:
    reasons = {"30 groups": PEOPLE, "long names": LONG}.get(
        case.name, ["Price", "Went silent", None, "Missing feature"]
    )
    rows = [
        (reason, "EUR", max(case.deals // (at + 2), 1), case.money / (at + 1))
        for at, reason in enumerate(reasons)
    ]
    return plot.lost_reasons(pd.DataFrame(rows, columns=["reason", "currency", "deals", "value"]))


def activity_summary(case: Case) -> Axes:
    """Months of one group; pairs of bars of people and of long names."""
    grouped = case.groups != [None]
    rows = [
        {
            **({"owner_name": group} if grouped else {"period": revenue.month(at)}),
            "planned": case.deals // (number + 2),
            "done": case.deals // (number + 3) + at * case.deals // 40,
            "overdue": case.deals // (number + 5) // (at + 1),
            "won": 7,
            "per_won_deal": None if number % 4 == 3 else 8.25 - number / 5,
        }
        for number, group in enumerate(case.groups)
        for at in range(1 if grouped else case.months)
    ]
    return plot.activity_summary(pd.DataFrame(rows))


def top_customers(case: Case) -> Axes:
    names: list[str | None] = {
        "three deals": ["Acme"],
        "30 groups": PEOPLE,
        "long names": LONG,
    }.get(case.name, ["Acme", "Beta", None, "Acme"])  # type: ignore[assignment]
    mrr = np.array([case.money / (at + 1) for at in range(len(names) + 1)])
    table = pd.DataFrame(
        {
            "customer": [*(f"organization {at + 1}" for at in range(len(names))), None],
            "customer_name": [*names, "1,204 others"],
            "currency": "EUR",
            "mrr": mrr,
            "share": mrr / mrr.sum(),
            "cumulative_share": mrr.cumsum() / mrr.sum(),
        }
    )
    return plot.top_customers(table)


def changes_summary(case: Case) -> Axes:
    events = ["created", "won", "lost", "advanced", "value up", "value down", "slipped"]
    if case.name == "long names":
        events = [*LONG, "owner changed"]
    rows = [
        (event, currency, case.deals // (at + 2 + part * 9) + 1, case.money / (at + 1 + part),
         {"value up": 1, "value down": -1}.get(event, np.nan) * case.money / (at + 2))
        for at, event in enumerate(events)
        for part, currency in enumerate(["EUR", "USD", "CHF"][: 3 if case.deals > 3 else 1])
    ]  # fmt: skip
    columns = ["event", "currency", "count", "value", "value_change"]
    return plot.changes_summary(pd.DataFrame(rows, columns=columns))


CHARTS: dict[str, Callable[[Case], Axes]] = {
    draw.__name__: draw
    for draw in (
        funnel,
        stage_survival,
        velocity,
        flow,
        mrr,
        mrr_lines,
        mrr_movements,
        arr_movements,
        retention_cohorts,
        billing,
        forecast,
        forecast_groups,
        calibration,
        backtest,
        weighted_pipeline,
        pipeline_movements,
        forecast_changes,
        deal_aging,
        sales_by_period,
        lost_reasons,
        activity_summary,
        top_customers,
        changes_summary,
    )
}
