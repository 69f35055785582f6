"""What open deals will bring: probabilities of each deal, totals with a range, and the record of
how right they were.
"""

from __future__ import annotations

from pdframe.metrics.forecasting.deals import forecast_deals

__all__ = ["forecast_deals"]


def __dir__() -> list[str]:
    return __all__
