"""The methods of the forecast, by name."""

from __future__ import annotations

from types import MappingProxyType

from pdframe.errors import ArgumentError
from pdframe.metrics.forecasting._method import Method
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


def method_named(name: object) -> Method:
    """Return a method; raise `ArgumentError` where there is none of that name."""
    if not isinstance(name, str) or name not in METHODS:
        raise ArgumentError(f"method must be one of {', '.join(map(repr, METHODS))}, not {name!r}.")
    return METHODS[name]


__all__ = ["METHODS", "method_named"]
