"""The methods of the forecast, by name."""

from __future__ import annotations

from types import MappingProxyType

from pdframe.metrics.forecasting._interface import Method
from pdframe.metrics.forecasting.aalen_johansen import AalenJohansen
from pdframe.metrics.forecasting.baselines import Constant, StageClimatology, Weighted
from pdframe.metrics.forecasting.blend import HazardMethod

METHODS: MappingProxyType[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (HazardMethod(), AalenJohansen(), Constant(), StageClimatology(), Weighted())
    }
)
"""Every method that gives probabilities of deals."""

__all__ = ["METHODS"]
