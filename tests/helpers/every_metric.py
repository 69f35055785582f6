"""Every public metric and chart, each called with the frames of one account."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pdframe import metrics, plot
from pdframe._plain import plain_column
from pdframe.account import Account
from tests.helpers.forecast_frames import with_past

Frames = Mapping[str, pd.DataFrame]

AS_OF = "2026-06-30"
WINDOW: dict[str, Any] = {"since": "2025-01-01", "until": "2026-07-01"}
LATER = "2027-01-01"
LATELY: dict[str, Any] = {"since": "2026-07-02", "until": "2026-08-01"}
"""Where some deals have no changelog, movements begin after the first snapshot."""
FRIDAYS: dict[str, Any] = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-08-15"}
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15, "SEK": 0.09}


def coming(frames: Frames, tz: str | None) -> dict[str, Any]:
    """Return the arguments of a forecast of the third quarter of 2026."""
    deals, visits, stages = past(frames)
    return {
        "deals": deals,
        "visits": visits,
        "stages": stages,
        "history": frames["changes"],
        "rates": rates(deals),
        "as_of": AS_OF,
        "until": "2026-Q3",
        "common_sd": 0.2,
        "tz": tz,
    }


def backtested(frames: Frames, tz: str | None) -> dict[str, Any]:
    """Return the arguments of a backtest at the end of March 2026."""
    return {
        **{name: frames[f"past_{name}"] for name in ("deals", "visits", "stages")},
        "history": frames["changes"],
        "cutoffs": "2026-03-31",
        "horizons": "60D",
        "methods": "constant",
        "as_of": AS_OF,
        "tz": tz,
    }


CALLS: dict[str, Callable[[Frames, str | None], Any]] = {
    "activity_summary": lambda f, tz: metrics.activity_summary(
        f["activities"], f["deals"], **WINDOW, as_of=AS_OF, freq="Q", by="owner_id", tz=tz
    ),
    "activity_summary_activities": lambda f, tz: metrics.activity_summary_activities(
        f["activities"], f["deals"], **WINDOW, as_of=AS_OF, by="type", tz=tz
    ),
    "as_of": lambda f, tz: metrics.as_of(
        f["deals"], f["visits"], "2026-06-01", f["history"], tz=tz
    ),
    "backtest": lambda f, tz: metrics.backtest(
        **backtested(f, tz), until_months=2, draws=50, rates=rates(f["past_deals"])
    ),
    "backtest_deals": lambda f, tz: metrics.backtest_deals(**backtested(f, tz)),
    "billing_schedule": lambda f, tz: metrics.billing_schedule(
        f["deal_products"],
        f["installments"],
        f["deals"],
        **WINDOW,
        discounts=f["discounts"],
        cancellations=f["cancellations"],
        tz=tz,
    ),
    "as_of by changes": lambda f, tz: metrics.as_of(
        f["deals"], f["visits"], "2026-06-01", f["changes"], tz=tz
    ),
    "calibration": lambda f, tz: metrics.calibration(metrics.backtest_deals(**backtested(f, tz))),
    "changes": lambda f, tz: metrics.changes(
        f["changes"], f["deals"], **LATELY, stages=f["stages"], pipelines=f["pipelines"], tz=tz
    ),
    "changes_summary": lambda f, tz: metrics.changes_summary(
        metrics.changes(f["changes"], f["deals"], **LATELY, stages=f["stages"], tz=tz), by="title"
    ),
    "committed_mrr": lambda f, tz: metrics.committed_mrr(f["lines"], as_of=AS_OF, tz=tz),
    "compare": lambda f, tz: metrics.compare(metrics.backtest(**backtested(f, tz), until_months=0)),
    "convert": lambda f, tz: metrics.convert(
        f["deals"], "EUR", rates(f["deals"]), on="add_time", tz=tz
    ),
    "data_quality": lambda f, tz: metrics.data_quality(
        f["deals"],
        f["visits"],
        f["stages"],
        f["deal_products"],
        as_of=AS_OF,
        discounts=f["discounts"],
        pipelines=f["pipelines"],
        tz=tz,
    ),
    "deal_aging": lambda f, tz: metrics.deal_aging(
        f["deals"], f["visits"], f["stages"], as_of=AS_OF, tz=tz
    ),
    "drill_through": lambda f, tz: metrics.drill_through(
        pd.DataFrame({"stage_id": pd.array([1], "Int64")}), f["visits"]
    ),
    "drill_through to lines": lambda f, tz: metrics.drill_through(
        pd.DataFrame({"month": pd.Series([pd.Timestamp("2026-01-01")], dtype="datetime64[us]")}),
        f["lines"],
    )[["id", "deal_id", "mrr", "month_from"]],
    "ecb_rates": lambda f, tz: metrics.ecb_rates(currencies=["USD"]).tail(5),
    "attainment": lambda f, tz: metrics.attainment(
        metrics.forecast_draws(**coming(f, tz), draws=200), 100_000
    ),
    # Ids of pipelines have the same order as text; those of owners have not.
    "forecast": lambda f, tz: metrics.forecast(**coming(f, tz), by="pipeline_id", draws=200),
    "forecast_draws": lambda f, tz: metrics.forecast_draws(**coming(f, tz), draws=5),
    "what_if": lambda f, tz: metrics.what_if(**coming(f, tz), rate=0.5, draws=200),
    "forecast_change_deals": lambda f, tz: metrics.forecast_change_deals(
        *past(f), **FRIDAYS, history=f["changes"], tz=tz
    ),
    "forecast_changes": lambda f, tz: metrics.forecast_changes(
        *past(f), **FRIDAYS, by="pipeline_id", tz=tz
    ),
    "forecast_deals": lambda f, tz: metrics.forecast_deals(
        *past(f), as_of=AS_OF, horizons="60D", history=f["changes"], tz=tz
    ),
    "funnel": lambda f, tz: metrics.funnel(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, tz=tz
    ),
    "funnel by": lambda f, tz: metrics.funnel(
        f["visits"],
        f["stages"],
        as_of=AS_OF,
        pipeline_id=1,
        by=["owner_id", "currency"],
        deals=f["deals"],
        **WINDOW,
        tz=tz,
    ),
    "funnel_deals": lambda f, tz: metrics.funnel_deals(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, tz=tz
    ),
    "lost_reason_deals": lambda f, tz: metrics.lost_reason_deals(f["deals"], **WINDOW, tz=tz),
    "lost_reasons": lambda f, tz: metrics.lost_reasons(
        f["deals"], **WINDOW, by="owner_id", rates=rates(f["deals"]), tz=tz
    ),
    "mrr_customer_months": lambda f, tz: metrics.mrr_customer_months(f["lines"], **WINDOW),
    "mrr_lines": lambda f, tz: metrics.mrr_lines(
        f["deal_products"],
        f["deals"],
        discounts=f["discounts"],
        cancellations=f["cancellations"],
        carry=["owner_id"],
        tz=tz,
    ),
    "mrr_lines history": lambda f, tz: metrics.mrr_lines(
        f["deal_products"],
        f["deals"],
        discounts=f["discounts"],
        cancellations=f["cancellations"],
        history=f["line_history"],
        tz=tz,
    ),
    "mrr_movements": lambda f, tz: metrics.mrr_movements(
        f["lines"], **WINDOW, rates=rates(f["lines"])
    ),
    "mrr_movements each currency": lambda f, tz: metrics.mrr_movements(f["lines"], **WINDOW),
    "mrr_schedule": lambda f, tz: metrics.mrr_schedule(f["lines"], **WINDOW),
    "mrr_schedule by": lambda f, tz: metrics.mrr_schedule(f["lines"], **WINDOW, by=["owner_id"]),
    "pipeline_movement_deals": lambda f, tz: metrics.pipeline_movement_deals(
        f["changes"], f["deals"], **LATELY, by="pipeline_id", tz=tz
    ),
    "pipeline_movements": lambda f, tz: metrics.pipeline_movements(
        f["changes"], f["deals"], **LATELY, freq="Q", tz=tz
    ),
    "reconcile": lambda f, tz: metrics.reconcile(
        f["lines"], f["deals"], deal_products=f["deal_products"]
    ),
    "renewals": lambda f, tz: metrics.renewals(
        f["lines"], f["deals"], as_of=AS_OF, within="365D", tz=tz
    ),
    "retention": lambda f, tz: metrics.retention(f["lines"], **WINDOW),
    "revenue_cohorts": lambda f, tz: metrics.revenue_cohorts(f["lines"], **WINDOW),
    "sales_by_period": lambda f, tz: metrics.sales_by_period(
        f["deals"], **WINDOW, by="owner_id", tz=tz
    ),
    "sales_by_period rates": lambda f, tz: metrics.sales_by_period(
        f["deals"], **WINDOW, freq="Q", as_of=AS_OF, rates=rates(f["deals"]), tz=tz
    ),
    "sales_by_period_deals": lambda f, tz: metrics.sales_by_period_deals(
        f["deals"], **WINDOW, freq="W", tz=tz
    ),
    "sales_velocity": lambda f, tz: metrics.sales_velocity(
        f["deals"], **WINDOW, rates=rates(f["deals"]), tz=tz
    ),
    "sales_velocity by": lambda f, tz: metrics.sales_velocity(
        f["deals"], **WINDOW, by=["currency", "pipeline_id"], tz=tz
    ),
    "sales_velocity periods": lambda f, tz: metrics.sales_velocity(
        f["deals"], **WINDOW, by="currency", freq="M", tz=tz
    ),
    "slippage": lambda f, tz: metrics.slippage(
        f["changes"], f["deals"], **LATELY, by="owner_id", tz=tz
    ),
    "slippage_deals": lambda f, tz: metrics.slippage_deals(
        f["changes"], f["deals"], **LATELY, tz=tz
    ),
    "stage_move_visits": lambda f, tz: metrics.stage_move_visits(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, tz=tz
    ),
    "stage_moves": lambda f, tz: metrics.stage_moves(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, tz=tz
    ),
    "stage_survival": lambda f, tz: metrics.stage_survival(
        f["visits"], f["stages"], as_of=AS_OF, tz=tz
    ),
    "stage_velocity": lambda f, tz: metrics.stage_velocity(
        f["visits"], f["stages"], as_of=AS_OF, by="owner_id", deals=f["deals"], tz=tz
    ),
    "top_customer_lines": lambda f, tz: metrics.top_customer_lines(
        f["lines"], as_of=AS_OF, rates=rates(f["lines"]), tz=tz
    ),
    "top_customers": lambda f, tz: metrics.top_customers(
        one_currency(f["lines"]), as_of=AS_OF, n=5, tz=tz
    ),
    "weighted_pipeline": lambda f, tz: metrics.weighted_pipeline(
        f["deals"],
        f["stages"],
        f["pipelines"],
        as_of=LATER,
        rates=rates(f["deals"]),
        tz=tz,
    ),
    "weighted_pipeline_deals": lambda f, tz: metrics.weighted_pipeline_deals(
        f["deals"],
        f["stages"],
        f["pipelines"],
        as_of=LATER,
        history=f["changes"],
        tz=tz,
    ),
    "win_rate": lambda f, tz: metrics.win_rate(
        f["deals"], **WINDOW, as_of=AS_OF, by="owner_id", tz=tz
    ),
    "win_rate periods": lambda f, tz: metrics.win_rate(
        f["deals"], **WINDOW, by="owner_id", freq="Q", tz=tz
    ),
    "win_rate created by": lambda f, tz: metrics.win_rate(
        f["deals"], **WINDOW, as_of=AS_OF, basis="created", by="owner_id", tz=tz
    ),
    "win_rate created": lambda f, tz: metrics.win_rate(
        f["deals"], **WINDOW, as_of=AS_OF, basis="created", tz=tz
    ),
}
"""A name that begins with the metric's, and the call; the timezone is for those metrics that take
one.
"""

KEPT: dict[str, Callable[[Frames, str | None], Any]] = {
    "activity_summary kept": lambda f, tz: metrics.activity_summary(
        f["activities"], f["deleted_deals"], **WINDOW, as_of=AS_OF, deleted="keep", tz=tz
    ),
    "activity_summary_activities kept": lambda f, tz: metrics.activity_summary_activities(
        f["activities"], f["deleted_deals"], **WINDOW, as_of=AS_OF, deleted="keep", tz=tz
    ),
    "billing_schedule kept": lambda f, tz: metrics.billing_schedule(
        f["deal_products"],
        f["installments"],
        f["deleted_deals"],
        **WINDOW,
        discounts=f["discounts"],
        deleted="keep",
        tz=tz,
    ),
    "changes kept": lambda f, tz: metrics.changes(
        f["changes"], f["deleted_deals"], **LATELY, stages=f["stages"], deleted="keep", tz=tz
    ),
    "data_quality kept": lambda f, tz: metrics.data_quality(
        f["deleted_deals"],
        f["visits"],
        f["stages"],
        f["deal_products"],
        as_of=AS_OF,
        deleted="keep",
        tz=tz,
    ),
    "funnel kept": lambda f, tz: metrics.funnel(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, deleted="keep", tz=tz
    ),
    "funnel_deals kept": lambda f, tz: metrics.funnel_deals(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, deleted="keep", tz=tz
    ),
    "lost_reason_deals kept": lambda f, tz: metrics.lost_reason_deals(
        f["deleted_deals"], **WINDOW, deleted="keep", tz=tz
    ),
    "lost_reasons kept": lambda f, tz: metrics.lost_reasons(
        f["deleted_deals"], **WINDOW, deleted="keep", tz=tz
    ),
    "mrr_lines kept": lambda f, tz: metrics.mrr_lines(
        f["deal_products"],
        f["deleted_deals"],
        discounts=f["discounts"],
        carry=["owner_id"],
        deleted="keep",
        tz=tz,
    ),
    "reconcile kept": lambda f, tz: metrics.reconcile(
        f["lines"], f["deleted_deals"], deal_products=f["deal_products"], deleted="keep"
    ),
    "sales_by_period kept": lambda f, tz: metrics.sales_by_period(
        f["deleted_deals"], **WINDOW, freq="Q", deleted="keep", tz=tz
    ),
    "sales_by_period_deals kept": lambda f, tz: metrics.sales_by_period_deals(
        f["deleted_deals"], **WINDOW, freq="Q", deleted="keep", tz=tz
    ),
    "sales_velocity kept": lambda f, tz: metrics.sales_velocity(
        f["deleted_deals"], **WINDOW, by=["currency", "owner_id"], deleted="keep", tz=tz
    ),
    "stage_move_visits kept": lambda f, tz: metrics.stage_move_visits(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, deleted="keep", tz=tz
    ),
    "stage_moves kept": lambda f, tz: metrics.stage_moves(
        f["visits"], f["stages"], as_of=AS_OF, pipeline_id=1, deleted="keep", tz=tz
    ),
    "stage_survival kept": lambda f, tz: metrics.stage_survival(
        f["visits"],
        f["stages"],
        as_of=AS_OF,
        by="owner_id",
        deals=f["deleted_deals"],
        deleted="censored",
        tz=tz,
    ),
    "stage_velocity kept": lambda f, tz: metrics.stage_velocity(
        f["visits"],
        f["stages"],
        as_of=AS_OF,
        by="owner_id",
        deals=f["deleted_deals"],
        deleted="censored",
        tz=tz,
    ),
    "win_rate kept": lambda f, tz: metrics.win_rate(
        f["deleted_deals"], **WINDOW, as_of=AS_OF, by="owner_id", deleted="keep", tz=tz
    ),
}
"""The same for metrics that take `deleted=`, with deals some of which were deleted."""
CALLS |= KEPT

CHARTS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "activity_summary": lambda r: plot.activity_summary(r["activity_summary"]),
    "arr_movements": lambda r: plot.arr_movements(r["mrr_movements"], as_of=AS_OF),
    "backtest": lambda r: plot.backtest(r["backtest"]),
    "billing": lambda r: plot.billing(one_currency(r["billing_schedule"])),
    "calibration": lambda r: plot.calibration(r["calibration"]),
    "changes_summary": lambda r: plot.changes_summary(r["changes_summary"].head(1)),
    "deal_aging": lambda r: plot.deal_aging(r["deal_aging"].head(30)),
    "flow": lambda r: plot.flow(r["stage_moves"]),
    "forecast": lambda r: plot.forecast(r["forecast"].head(1)),
    "forecast_changes": lambda r: plot.forecast_changes(one_currency(r["forecast_changes"])),
    "funnel": lambda r: plot.funnel(r["funnel"].head(12)),
    "lost_reasons": lambda r: plot.lost_reasons(r["lost_reasons"]),
    "mrr": lambda r: plot.mrr(one_currency(r["mrr_schedule"])),
    "mrr_movements": lambda r: plot.mrr_movements(r["mrr_movements"], as_of=AS_OF),
    "pipeline_movements": lambda r: plot.pipeline_movements(one_currency(r["pipeline_movements"])),
    "retention_cohorts": lambda r: plot.retention_cohorts(one_currency(r["revenue_cohorts"])),
    "sales_by_period": lambda r: plot.sales_by_period(one_currency(r["sales_by_period"])),
    "stage_survival": lambda r: plot.stage_survival(
        r["stage_survival"][r["stage_survival"]["stage_id"] == 1]
    ),
    "top_customers": lambda r: plot.top_customers(r["top_customers"]),
    "velocity": lambda r: plot.velocity(r["stage_velocity"].head(30)),
    "weighted_pipeline": lambda r: plot.weighted_pipeline(one_currency(r["weighted_pipeline"])),
}
"""Each chart, from results by the names of `CALLS`."""


def names_missing() -> set[str]:
    """Return the public metrics and charts that have no call; `RevenuePolicy` and `schema` make no
    frame, `plot.style` draws nothing.
    """
    called = {name.split()[0] for name in CALLS}
    taking = {
        name
        for name in metrics.__all__
        if "deleted" in inspect.signature(getattr(metrics, name)).parameters
    }
    return (
        (set(metrics.__all__) - called - {"RevenuePolicy", "schema"})
        | (set(plot.__all__) - {"style"} - set(CHARTS))
        | {f"{name} kept" for name in taking}.difference(KEPT)
    )


def past(frames: Frames) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Deals, visits and stages with a past to forecast from."""
    return frames["past_deals"], frames["past_visits"], frames["past_stages"]


def one_currency(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["currency"] == "EUR"]


def rates(frame: pd.DataFrame) -> dict[str, float]:
    """A rate for every currency that the rows are in."""
    return {
        str(name): RATES.get(str(name), 1.5) for name in frame["currency"].dropna().unique()
    } | {"EUR": 1.0}


def frames_of(
    account: Account, history_at: str, discounts_of: Sequence[int] | None = None
) -> dict[str, pd.DataFrame]:
    """The frames of an account that metrics take, line items as a ledger among them."""
    # By hashes, whose names every reader keeps: two labels may differ by case alone.
    deals, lines = account.deals(labels=False), account.deal_products(labels=False)
    # No company of the tests knows any; a row without a date is none, and keeps the columns in
    # every format.
    cancelled = pd.DataFrame(
        {"deal_id": pd.array([1], "Int64"), "date": pd.Series([pd.NaT], dtype="datetime64[us]")}
    )
    visits, stages = account.stage_visits(), account.stages()
    lists = [name for name in deals if str(deals[name].dtype).startswith("list")]
    # Few accounts of the tests have a past that is long enough to forecast from.
    longer = with_past(deals.drop(columns=lists), visits, stages)
    return {
        **dict(zip(("past_deals", "past_visits", "past_stages"), longer, strict=True)),
        "deals": deals,
        "activities": account.activities(labels=False),
        "deleted_deals": deals.assign(
            is_deleted=deals["id"] % 5 == 0, deleted_time=pd.Timestamp("2026-05-01", tz="UTC")
        ),
        "visits": visits,
        "stages": stages,
        "pipelines": account.pipelines(),
        "deal_products": lines,
        "installments": account.installments(),
        "discounts": account.discounts(discounts_of),
        "history": account.as_of(history_at),
        "changes": account.deal_history(),
        "cancellations": cancelled,
        "line_history": account.line_history(),
        "lines": metrics.mrr_lines(lines, deals, cancellations=cancelled),
    }


def difference(left: Any, right: Any) -> str:
    """What differs between two results in values, whatever their dtypes; empty where nothing does.

    Lists, comments and custom columns, which no metric counts with and each reader gives back in
    its own way, are left out.
    """
    pairs = list(zip(left, right, strict=True)) if isinstance(left, tuple) else [(left, right)]
    for one, other in pairs:
        if list(one.columns) != list(other.columns) or len(one) != len(other):
            return f"{one.shape} is not {other.shape}"
        for name in one.columns:
            if name == "comments" or len(name) >= 40 or str(one[name].dtype).startswith("list"):
                continue
            a, b = (plain_column(frame[name].reset_index(drop=True)) for frame in (one, other))
            if a.isna().tolist() != b.isna().tolist():
                return f"{name}: other nulls"
            a, b = a.dropna(), b.dropna()
            if pd.api.types.is_numeric_dtype(a.dtype) and a.dtype.kind != "b":
                if not np.allclose(
                    a.astype("float64"), pd.to_numeric(b).astype("float64"), rtol=1e-9, atol=1e-9
                ):
                    return f"{name}: other numbers"
            elif a.dtype.kind == "M":
                if not (
                    pd.to_datetime(a, utc=True) == pd.to_datetime(b, utc=True, format="ISO8601")
                ).all():
                    return f"{name}: other times"
            elif [str(value) for value in a] != [str(value) for value in b]:
                return f"{name}: {a.iloc[0]!r} is not {b.iloc[0]!r}"
    return ""
