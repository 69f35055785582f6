"""None, or a wrong thing, where a metric takes a frame: an `ArgumentError` that names the
argument.
"""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning
from tests.helpers import forecast_frames, revenue_frames, small_frames

DAY = "2026-06-30"
NONE_CANCELLED = pd.DataFrame({"deal_id": [], "date": []})
OTHER_ARGUMENTS: dict[str, Any] = {
    "as_of": DAY,
    "when": DAY,
    "since": "2026-01-01",
    "until": "2026-07-01",
    "within": "90D",
    "to": "EUR",
    "on": DAY,
    "pipeline_id": 1,
}
NO_FRAMES = {"RevenuePolicy", "ecb_rates", "schema"}
"""Public names that take no frame."""
MAY_BE_NONE = {"discounts", "cancellations", "installments", "history", "pipelines"}
"""Arguments of which None says that there are none, or that they are not known."""
NAMES = [name for name in metrics.__all__ if name not in NO_FRAMES]
FORECASTS = {
    "attainment",
    "backtest",
    "backtest_deals",
    "calibration",
    "compare",
    "forecast",
    "forecast_change_deals",
    "forecast_changes",
    "forecast_deals",
    "forecast_draws",
    "what_if",
}
"""These need a past to learn from."""


@cache
def frames() -> dict[str, Any]:
    """Frames that are good ones; no metric changes what it takes."""
    deals = revenue_frames.deals([{}]).assign(value=100.0, lost_time=None, lost_reason=None)
    lines = revenue_frames.lines([{}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        ledger = metrics.mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS)
    return {
        "deals": small_frames.deals([{}]).assign(
            **{name: deals[name] for name in ("org_id", "person_id", "mrr", "arr", "lost_reason")}
        ),
        "activities": small_frames.activities([{}]),
        "visits": small_frames.visits([{"deal_id": 1, "entered_at": "2026-01-01"}]),
        "stages": small_frames.stages([{}]),
        "deal_products": small_frames.lines(
            [{"deal_id": 1, "sum": 100.0, "item_price": 100.0}]
        ).assign(**{name: lines[name] for name in lines.columns if name not in small_frames.LINES}),
        "lines": ledger,
        "pipelines": pd.DataFrame({"id": [1], "is_deal_probability_enabled": [True]}),
        "history": small_frames.history(
            [{"column": "status", "after": "open", "time": "2026-01-01"}]
        ),
        "changes": pd.DataFrame(
            {
                "event": ["won"],
                "currency": ["EUR"],
                "deal_id": [1],
                "value": [1.0],
                "value_change": [None],
            }
        ),
        "installments": revenue_frames.installments([]),
        "frame": small_frames.deals([{}]),
        "rates": {"EUR": 1.0},
        "row_level": ledger,
        "result_row": pd.DataFrame({"deal_id": pd.array([1], "Int64"), "mrr": [100.0]}),
    }


@cache
def forecast_arguments() -> dict[str, Any]:
    past = dict(zip(("deals", "visits", "stages"), forecast_frames.past(), strict=True))
    tested = {"cutoffs": "2026-03-31", "horizons": "60D"}
    coming = {"as_of": DAY, "until": "2026-09-30"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return {
            **past,
            **tested,
            **coming,
            "before": "2026-06-26",
            "after": DAY,
            "quota": 1_000.0,
            "draws": metrics.forecast_draws(**past, **coming, draws=20),
            "backtest": metrics.backtest(**past, **tested, until_months=0),
            "backtest_deals": metrics.backtest_deals(**past, **tested),
        }


def taken(name: str) -> list[str]:
    """Names of the arguments that take a frame."""
    parameters = inspect.signature(getattr(metrics, name)).parameters.values()
    return [
        p.name
        for p in parameters
        if "DataFrame" in str(p.annotation) or "RateTable" in str(p.annotation)
    ]


def call(name: str, given: dict[str, Any]) -> Any:
    more = forecast_arguments() if name in FORECASTS else {}
    kept = {**OTHER_ARGUMENTS, **frames(), **more, **given}
    parameters = inspect.signature(getattr(metrics, name)).parameters.values()
    arguments = {
        p.name: kept[p.name]
        for p in parameters
        if p.name in given or (p.default is p.empty and p.name in kept)
    }
    if "pipeline_id" in inspect.signature(getattr(metrics, name)).parameters:
        arguments["pipeline_id"] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return getattr(metrics, name)(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_of_this_test_are_good_ones(name: str) -> None:
    call(name, {})


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in NAMES for argument in taken(name)]
)
def test_what_is_no_frame_is_an_argument_error_that_names_the_argument(
    name: str, argument: str
) -> None:
    required = (
        inspect.signature(getattr(metrics, name)).parameters[argument].default
        is inspect.Parameter.empty
    )
    wrong: list[Any] = [
        5,
        1.5,
        True,
        b"x",
        [1, 2],
        {"id": [1]},
        {1, 2},
        pd.Series([1, 2]),
        pd.DataFrame,
        object(),
    ]
    if argument == "rates":
        wrong.remove({"id": [1]})
    if argument == "result_row":
        wrong = [value for value in wrong if not isinstance(value, pd.Series)]
    if required and argument not in MAY_BE_NONE:
        wrong.append(None)
    if argument != "cancellations":
        wrong.append("deals")
    for value in wrong:
        with pytest.raises(ArgumentError, match=rf"^`?{argument}`? (must be|is a mapping)"):
            call(name, {argument: value})
