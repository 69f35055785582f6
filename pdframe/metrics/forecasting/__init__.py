"""What open deals will bring: probabilities of each deal, totals with a range, and the record of
how right they were.
"""

from __future__ import annotations

from pdframe.metrics.forecasting.attainment import attainment
from pdframe.metrics.forecasting.deals import forecast_deals
from pdframe.metrics.forecasting.totals import forecast, forecast_draws
from pdframe.metrics.forecasting.what_if import what_if

__all__ = ["attainment", "forecast", "forecast_deals", "forecast_draws", "what_if"]


def __dir__() -> list[str]:
    return __all__
