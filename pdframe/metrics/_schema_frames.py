"""Small typed frames that stand for those of an account, to find out what a metric returns: a tiny
company with enough of a past to forecast from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

import pandas as pd

from pdframe.metrics.changes import changes
from pdframe.metrics.forecasting import backtest, backtest_deals, forecast_deals, forecast_draws
from pdframe.metrics.revenue import mrr_lines

AS_OF = "2026-06-30"
DEFAULTS: Mapping[str, Any] = {
    "as_of": AS_OF,
    "when": AS_OF,
    "since": "2026-01-01",
    "until": "2026-Q3",
    "before": "2026-06-19",
    "after": "2026-06-26",
    "cutoffs": "2026-03-31",
    "horizons": "30D",
    "within": "90D",
    "quota": 1.0,
    "rates": {"EUR": 1.0},
    "to": "EUR",
}
"""Arguments without a default of their own."""

_TYPES: Mapping[str, Any] = {
    "ids": "Int64",
    "text": "str",
    "numbers": "float64",
    "flags": "boolean",
    "times": "datetime64[us, UTC]",
    "days": "datetime64[us]",
}
_STATUS = ("open", "won", "lost", "deleted")
_END = ("advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open")
_FREQUENCY = ("one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually")
_SOURCE = ("changelog", "snapshots", "first look")
_BEGIN, _END_TIME = pd.Timestamp("2024-07-01", tz="UTC"), pd.Timestamp(AS_OF, tz="UTC")
_DEALS, _DAYS_BETWEEN = 120, 6
_PIPELINE, _STAGES = 1, (1, 2)


def _empty(
    kinds: Mapping[str, str], closed: Mapping[str, tuple[str, ...]] | None = None
) -> pd.DataFrame:
    """Return a frame without rows: columns by type, and columns of closed vocabularies."""
    columns = {
        name: pd.Series([], dtype=_TYPES[kind]) for kind, names in kinds.items()
        for name in names.split()
    }  # fmt: skip
    for name, categories in (closed or {}).items():
        columns[name] = pd.Series([], dtype=pd.CategoricalDtype(list(categories)))
    return pd.DataFrame(columns)


def _no_deals() -> pd.DataFrame:
    kinds = {
        "ids": "id owner_id creator_user_id person_id org_id pipeline_id stage_id visible_to"
        " products_count activities_count next_activity_id last_activity_id",
        "text": "title currency lost_reason origin owner_name creator_name pipeline_name"
        " stage_name",
        "numbers": "value probability mrr arr acv",
        "flags": "is_deleted is_archived",
        "times": "add_time update_time stage_change_time archive_time close_time won_time lost_time"
        " first_won_time",
        "days": "local_won_date local_lost_date local_close_date expected_close_date",
    }
    return _empty(kinds, {"status": _STATUS})


def _no_visits() -> pd.DataFrame:
    kinds = {
        "ids": "deal_id pipeline_id stage_id visit",
        "times": "entered_at left_at entered_after left_after seen_at",
    }
    frame = _empty(kinds, {"end": _END, "source": ("changelog", "snapshots", "current")})
    names = ["deal_id", "pipeline_id", "stage_id", "visit", "entered_at", "left_at", "end"]
    return frame[[*names, "source", "entered_after", "left_after", "seen_at"]]


@cache
def _company() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return deals and visits: a deal every few days, of which a third is won."""
    deals: list[dict[str, Any]] = []
    visits: list[dict[str, Any]] = []
    for number in range(_DEALS):
        at = added = _BEGIN + timedelta(days=_DAYS_BETWEEN * number)
        status, stage = "open", _STAGES[0]
        for stage, pace in zip(_STAGES, (7, 11), strict=True):
            left = at + timedelta(days=5 + number * pace % 30)
            status = "lost" if number % 3 == stage else "won" if stage == _STAGES[1] else "advanced"
            status = "open" if left > _END_TIME else status
            visits.append(
                {
                    "deal_id": number + 1, "pipeline_id": _PIPELINE, "stage_id": stage, "visit": 1,
                    "entered_at": at, "left_at": None if status == "open" else left,
                    "end": status, "source": "changelog", "seen_at": at,
                }
            )  # fmt: skip
            if status != "advanced":
                break
            at = left
        deals.append(
            {
                "id": number + 1, "title": "", "owner_id": 1, "pipeline_id": _PIPELINE,
                "stage_id": stage, "value": 100.0 * (1 + number % 9), "currency": "EUR",
                "add_time": added, "update_time": at, "is_deleted": False, "is_archived": False,
                "status": status, "won_time": left if status == "won" else None,
                "lost_time": left if status == "lost" else None,
            }
        )  # fmt: skip
    return _filled(_no_deals(), deals), _filled(_no_visits(), visits)


def _filled(empty: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=empty[name].dtype)
            for name in empty.columns
        }
    )


def _stages(pipeline: Any) -> pd.DataFrame:
    empty = _empty(
        {
            "ids": "id order_nr pipeline_id days_to_rotten",
            "text": "name pipeline_name",
            "flags": "is_deleted is_deal_rot_enabled",
            "numbers": "deal_probability",
            "times": "add_time update_time",
        }
    )
    given = pipeline if isinstance(pipeline, int) else _PIPELINE
    name = pipeline if isinstance(pipeline, str) else "Pipeline"
    row = {"pipeline_id": given, "pipeline_name": name, "is_deleted": False}
    rows = [
        {**row, "id": stage, "order_nr": stage, "name": f"Stage {stage}", "deal_probability": 100.0}
        for stage in _STAGES
    ]
    return _filled(empty, [{**one, "is_deal_rot_enabled": False} for one in rows])


def _lines() -> pd.DataFrame:
    return _empty(
        {
            "ids": "id deal_id product_id product_variation_id order_nr billing_frequency_cycles",
            "text": "name comments currency product_name",
            "numbers": "sum tax discount quantity item_price",
            "flags": "is_enabled",
            "times": "add_time update_time",
            "days": "billing_start_date",
        },
        {
            "discount_type": ("percentage", "amount"),
            "tax_method": ("exclusive", "inclusive", "none"),
            "billing_frequency": _FREQUENCY,
        },
    )


def _history(ids: str) -> pd.DataFrame:
    kinds = {"ids": ids, "text": "column before after", "times": "time time_after seen_at"}
    return _empty(kinds, {"source": _SOURCE})


def _named_records(more: str = "") -> pd.DataFrame:
    return _empty({"ids": "id owner_id" + more, "text": "name", "flags": "is_deleted"})


def _past() -> dict[str, Any]:
    deals, visits = _company()
    return {"deals": deals, "visits": visits, "stages": _stages(None)}


def _backtested() -> dict[str, Any]:
    shared = {"cutoffs": DEFAULTS["cutoffs"], "horizons": DEFAULTS["horizons"], "as_of": AS_OF}
    return {**_past(), **shared, "methods": ["constant"]}


_FRAMES: Mapping[str, Callable[[Any], pd.DataFrame]] = {
    "deals": lambda pipeline: _no_deals(),
    "frame": lambda pipeline: _no_deals(),
    "visits": lambda pipeline: _no_visits(),
    "stages": _stages,
    "pipelines": lambda pipeline: _empty(
        {"ids": "id order_nr", "text": "name", "flags": "is_deleted is_deal_probability_enabled"}
    ),
    "deal_products": lambda pipeline: _lines(),
    "installments": lambda pipeline: _empty(
        {"ids": "id deal_id", "numbers": "amount", "days": "billing_date", "text": "description"}
    ),
    "activities": lambda pipeline: _empty(
        {
            "ids": "id owner_id deal_id person_id org_id",
            "text": "subject type due_time owner_name",
            "flags": "is_deleted done",
            "times": "add_time update_time marked_as_done_time",
            "days": "due_date",
        }
    ),
    "history": lambda pipeline: _history("deal_id"),
    "organizations": lambda pipeline: _named_records(),
    "persons": lambda pipeline: _named_records(" org_id"),
    "users": lambda pipeline: _named_records(),
    "lines": lambda pipeline: mrr_lines(
        _lines(), _no_deals(), cancellations=_empty({"ids": "deal_id", "days": "date"})
    ),
    "changes": lambda pipeline: changes(
        _history("deal_id"), _no_deals(), since=DEFAULTS["since"], until=AS_OF
    ),
    "draws": lambda pipeline: forecast_draws(
        **_past(), as_of=AS_OF, until=DEFAULTS["until"], draws=2
    ),
    "forecast_deals": lambda pipeline: forecast_deals(
        **_past(), as_of=AS_OF, horizons=DEFAULTS["horizons"]
    ),
    "backtest": lambda pipeline: backtest(**_backtested(), draws=20),
    "backtest_deals": lambda pipeline: backtest_deals(**_backtested()),
    "result_row": lambda pipeline: pd.DataFrame({"stage_id": pd.array([1], "Int64")}),
    "row_level": lambda pipeline: _no_visits(),
}


def standing_frame(name: str, pipeline: Any, *, with_past: bool) -> pd.DataFrame | None:
    """Return the frame that stands for the argument `name`; None where that is no frame.

    Parameters
    ----------
    name
        The argument of a metric.
    pipeline
        The pipeline that the metric is asked for; None: any.
    with_past
        Whether deals and visits have rows, to forecast from.
    """
    if with_past and name in ("deals", "visits"):
        return pd.DataFrame(_past()[name])
    return _FRAMES[name](pipeline) if name in _FRAMES else None


__all__ = ["DEFAULTS", "standing_frame"]
