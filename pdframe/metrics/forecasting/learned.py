"""What a method learned of an account: the slow part of a forecast, which no choice of deals or
groups changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.metrics._arguments import local_days
from pdframe.metrics._survival import Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting._checks import check_seed, refuse_long, refuse_young
from pdframe.metrics.forecasting._method import Fitted, Method
from pdframe.metrics.forecasting.cells import Cells
from pdframe.metrics.forecasting.common_sd import CommonSd, PastTotals, estimate
from pdframe.metrics.forecasting.drift import drift_notes
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import method_named
from pdframe.metrics.forecasting.money import Money
from pdframe.metrics.forecasting.revenue import Revenue, revenue_of
from pdframe.metrics.forecasting.winning_values import WinningValues


class Outlook(NamedTuple):
    """What converts values, what is known of those at winning, the revenue of the periods, and what
    was noticed of the rates.
    """

    money: Money
    values: WinningValues
    revenue: Revenue
    notes: tuple[str, ...]


class Learned:
    """What a method learns from what was known at one time, each part at its first use; all
    forecasts of that time may share it, and threads too.

    Parameters
    ----------
    known
        What was known.
    method, seed
        What learns from it.
    notes
        What was noticed when the frames were read.
    """

    def __init__(self, known: Known, method: Method, seed: int, notes: Sequence[str] = ()) -> None:
        self.known, self.method, self.seed, self.notes = known, method, seed, tuple(notes)
        self._past = PastTotals(method, seed)
        self._fitted: Fitted | None = None
        self._spread: CommonSd | None = None
        self._drift: dict[tuple[float | None, ...], list[str]] = {}
        self._outlook: tuple[Any, RateTable | None, Outlook] | None = None
        self._learning = threading.RLock()

    @classmethod
    def at(
        cls,
        deals: pd.DataFrame,
        visits: pd.DataFrame,
        stages: pd.DataFrame,
        *,
        as_of: Any,
        history: pd.DataFrame | None = None,
        activities: pd.DataFrame | None = None,
        deal_products: pd.DataFrame | None = None,
        method: str = "hazard",
        seed: int = 0,
        tz: str | None = None,
    ) -> Learned:
        """Read the frames; arguments and errors as in `metrics.forecast_deals`. Nothing is learned
        yet.
        """
        check_seed(seed)
        chosen = method_named(method)
        with collect_warnings() as notes:
            known = Known.at(deals, visits, stages, as_of, history, activities, deal_products, tz)
        return cls(known, chosen, seed, notes)

    @property
    def fitted(self) -> Fitted:
        """The fitted method; `InsufficientDataError` where too little is known."""
        with self._learning:
            if self._fitted is None:
                refuse_young(self.known)
                self._fitted = self.method.fit(self.known, self.seed)
            return self._fitted

    def outlook(self, cells: Cells, rates: RateTable | None, *, apart: bool) -> Outlook:
        """Return what is expected of some weeks or months, that of the last call again where
        nothing differs; `apart` as in `Money`.

        Raises
        ------
        InsufficientDataError
            Too little is known, or the cells are longer than deals could be followed.
        MixedCurrencyError, ArgumentError
            As in `Money.counted`.
        """
        parts = cells.end, cells.day, cells.period, cells.first
        which = (cells.begin, apart, *(part.tobytes() for part in parts))
        with self._learning:
            if self._outlook is not None:
                known, given, result = self._outlook
                if known == which and _are_same(given, rates):
                    return result
            day = int(local_days(np.array([self.known.as_of]), self.known.tz)[0])
            money = Money(rates, pd.Timestamp(day, unit="us").as_unit("us"), apart=apart)
            refuse_young(self.known)
            refuse_long(self.known, cells.horizons)
            with collect_warnings() as notes:
                values = WinningValues.fit(self.known, money)
                revenue = revenue_of(self.known, self.fitted, cells, money, values)
                money.warn_of_stale()
            result = Outlook(money, values, revenue, tuple(notes))
            self._outlook = which, _copy(rates), result
            return result

    def spread(self, step: Callable[[], None] = lambda: None) -> CommonSd:
        """Return the estimate of the factor that deals share; `step` as in `estimate`."""
        with self._learning:
            if self._spread is None:
                self._spread = estimate(self.known, self._past, step)
            return self._spread

    def drift_notes(self, horizons: Ints, common_sd: float | None = None) -> list[str]:
        """Return the warning of a changed win rate, if any, as `drift.drift_notes` gives it."""
        which = common_sd, *horizons.tolist()
        with self._learning:
            if which not in self._drift:
                self._drift[which] = drift_notes(self.known, self._past, horizons, common_sd)
            return self._drift[which]


def _copy(rates: RateTable | None) -> RateTable | None:
    """Return rates that the caller cannot change; pandas copies a frame when it is written to."""
    if isinstance(rates, pd.DataFrame):
        return rates.copy(deep=False)
    return None if rates is None else dict(rates)


def _are_same(one: RateTable | None, other: RateTable | None) -> bool:
    if isinstance(one, pd.DataFrame) and isinstance(other, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return dict(one) == dict(other)
    return one is None and other is None


__all__ = ["Learned", "Outlook"]
