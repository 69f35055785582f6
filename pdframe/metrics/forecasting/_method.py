"""The protocol of a forecasting method: it is fitted on what was known at a time, and predicts open
deals that it has not seen.
"""

from __future__ import annotations

from typing import Protocol

from pdframe.metrics._survival import Ints
from pdframe.metrics.forecasting._interface import OpenDeals, Probabilities
from pdframe.metrics.forecasting.known import Known


class Fitted(Protocol):
    """A method that has learned from the past."""

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities of each deal within each horizon, counted from `deals.at`."""
        ...


class Method(Protocol):
    """A way to forecast the outcome of open deals."""

    name: str

    def fit(self, known: Known, seed: int) -> Fitted:
        """Learn from what was known at `known.as_of`; the same seed gives the same result."""
        ...
