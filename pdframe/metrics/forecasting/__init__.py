"""What open deals will bring: probabilities of each deal, totals with a range, and the record of
how right they were.
"""

from __future__ import annotations

from pdframe.metrics.forecasting.attainment import attainment
from pdframe.metrics.forecasting.backtest import backtest, backtest_deals
from pdframe.metrics.forecasting.calibration import calibration
from pdframe.metrics.forecasting.changes import forecast_change_deals, forecast_changes
from pdframe.metrics.forecasting.compare import compare
from pdframe.metrics.forecasting.deals import forecast_deals
from pdframe.metrics.forecasting.pipeline_book import (
    pipeline_movement_deals,
    pipeline_movements,
)
from pdframe.metrics.forecasting.slippage import slippage, slippage_deals
from pdframe.metrics.forecasting.totals import forecast, forecast_draws
from pdframe.metrics.forecasting.weighted import weighted_pipeline, weighted_pipeline_deals
from pdframe.metrics.forecasting.what_if import what_if

__all__ = [
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
    "pipeline_movement_deals",
    "pipeline_movements",
    "slippage",
    "slippage_deals",
    "weighted_pipeline",
    "weighted_pipeline_deals",
    "what_if",
]


def __dir__() -> list[str]:
    return __all__
