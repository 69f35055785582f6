"""Metrics: pure functions from the loaders' frames to plain frames, without an account, requests or
the clock.

Times are a day, a datetime, or a year, quarter, month ("2026", "2026-Q2", "2026-06") or
`pd.Period`. `since` is inclusive: the beginning of a period. `until` is exclusive: a day or time is
its first instant, a period is taken to its end. `as_of` is inclusive: the end of a day or period.

Times in words ("today", "yesterday", "last Monday", "30 days ago", "7d", "this month", "last
quarter", "ytd") count from the day on which an account gave the frames (`attrs["today"]`, in
`account.tz`, by the server's clock), so that the same frames give the same result on any day.

`freq` is "W", "M", "Q" or "Y", or a word for it: "week", "monthly", "quarter", "year".
"""

from __future__ import annotations

from inspect import isfunction
from typing import NoReturn

from pdframe._advice import explain_functions, unknown_name
from pdframe.metrics._meant import meant
from pdframe.metrics._schema import schema
from pdframe.metrics._today import counting_from_today
from pdframe.metrics.activity_summary import activity_summary, activity_summary_activities
from pdframe.metrics.aging import deal_aging
from pdframe.metrics.as_of import as_of
from pdframe.metrics.changes import changes, changes_summary
from pdframe.metrics.currency import convert, ecb_rates
from pdframe.metrics.drill import drill_through
from pdframe.metrics.forecasting import (
    attainment,
    backtest,
    backtest_deals,
    calibration,
    compare,
    forecast,
    forecast_change_deals,
    forecast_changes,
    forecast_deals,
    forecast_draws,
    pipeline_movement_deals,
    pipeline_movements,
    slippage,
    slippage_deals,
    weighted_pipeline,
    weighted_pipeline_deals,
    what_if,
)
from pdframe.metrics.funnel import funnel, funnel_deals
from pdframe.metrics.lost_reasons import lost_reason_deals, lost_reasons
from pdframe.metrics.moves import stage_move_visits, stage_moves
from pdframe.metrics.quality import data_quality
from pdframe.metrics.revenue import (
    RevenuePolicy,
    billing_schedule,
    committed_mrr,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    reconcile,
    renewals,
    retention,
    revenue_cohorts,
    top_customer_lines,
    top_customers,
)
from pdframe.metrics.sales import sales_velocity, win_rate
from pdframe.metrics.sales_by_period import sales_by_period, sales_by_period_deals
from pdframe.metrics.velocity import stage_survival, stage_velocity

__all__ = [
    "RevenuePolicy",
    "activity_summary",
    "activity_summary_activities",
    "as_of",
    "attainment",
    "backtest",
    "backtest_deals",
    "billing_schedule",
    "calibration",
    "changes",
    "changes_summary",
    "committed_mrr",
    "compare",
    "convert",
    "data_quality",
    "deal_aging",
    "drill_through",
    "ecb_rates",
    "forecast",
    "forecast_change_deals",
    "forecast_changes",
    "forecast_deals",
    "forecast_draws",
    "funnel",
    "funnel_deals",
    "lost_reason_deals",
    "lost_reasons",
    "mrr_customer_months",
    "mrr_lines",
    "mrr_movements",
    "mrr_schedule",
    "pipeline_movement_deals",
    "pipeline_movements",
    "reconcile",
    "renewals",
    "retention",
    "revenue_cohorts",
    "sales_by_period",
    "sales_by_period_deals",
    "sales_velocity",
    "schema",
    "slippage",
    "slippage_deals",
    "stage_move_visits",
    "stage_moves",
    "stage_survival",
    "stage_velocity",
    "top_customer_lines",
    "top_customers",
    "weighted_pipeline",
    "weighted_pipeline_deals",
    "what_if",
    "win_rate",
]


_MAIN = {
    "pipeline": ("funnel", "stage_velocity", "stage_moves", "deal_aging", "weighted_pipeline"),
    "sales": ("sales_by_period", "win_rate", "lost_reasons", "activity_summary", "changes"),
    "revenue": ("mrr_lines", "mrr_schedule", "mrr_movements", "retention", "top_customers"),
    "forecast": ("forecast", "attainment", "what_if", "backtest"),
    "data": ("data_quality", "drill_through", "convert", "as_of"),
}

for _name in __all__:
    if isfunction(globals()[_name]):
        globals()[_name] = counting_from_today(globals()[_name])
explain_functions(globals(), __all__)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> NoReturn:
    hints = {name: sentence} if (sentence := meant(name)) else {}
    raise unknown_name(name, "metric", __all__, hints, groups=_MAIN, every="dir(pdframe.metrics)")
