"""Amounts of a forecast as whole numbers of one small unit, in one currency or each in its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.currency import Rates, RateTable, mixed
from pdframe.metrics.forecasting._amounts import UNIT

Texts = NDArray[np.object_]

_MOST = 2**61


class Money:
    """Converts values to whole units.

    Parameters
    ----------
    rates
        Rates to one currency; None: no value is converted.
    day
        The day whose rates count, as midnight without a timezone: the last rate on or before it.
    apart
        Whether currencies are kept apart, so that values of several may occur without rates.
    """

    def __init__(self, rates: RateTable | None, day: pd.Timestamp, *, apart: bool = False) -> None:
        self._rates = None if rates is None else Rates(rates)
        self._day, self._apart = day, apart
        self._rate: dict[str | None, float] = {}
        self._codes: dict[str | None, int] = {}
        self._met: set[str | None] = set()
        self._named: set[str] = set()

    def uncounted(self, values: Floats, currency: Texts) -> int:
        """Return how many values count 0 since they have no currency to convert them from."""
        if self._rates is None:
            return 0
        valued = ~np.isnan(values) & (values != 0)
        return int((valued & pd.isna(currency)).sum())

    @property
    def currency(self) -> str | None:
        """The currency of all amounts; None where it is unknown or there are several."""
        if self._rates is not None:
            return self._rates.target
        # Where no deal has a value, that of the deals.
        names = self._met or self._named
        return next(iter(names)) if len(names) == 1 else None

    def counted(self, values: Floats, currency: Texts) -> tuple[Floats, Ints]:
        """Return values in the common currency, 0 where null, and a number for each one's currency
        (0 for all where there is only one).

        Raises
        ------
        MixedCurrencyError
            Values of several currencies would be added up.
        ArgumentError
            A currency has no rate on or before the day.
        """
        valued = ~np.isnan(values) & (values != 0)
        names = [None if pd.isna(name) else str(name) for name in currency]
        self._named |= {name for name in names if name is not None}
        met = {name for name, has in zip(names, valued, strict=True) if has}
        result = np.where(valued, values, 0.0)
        if self._rates is not None:
            self._find_rates(met)
            rate = np.array([self._rate.get(name, 0.0) for name in names], np.float64)
            with np.errstate(over="ignore"):
                return result * rate, np.zeros(len(values), np.int64)
        self._met |= met
        if len(self._met) > 1 and not self._apart:
            raise MixedCurrencyError(mixed(self._met))
        if not self._apart:
            return result, np.zeros(len(values), np.int64)
        codes = [self._codes.setdefault(name, len(self._codes)) for name in names]
        return result, np.array(codes, np.int64)

    def warn_of_stale(self) -> None:
        """Warn once of rates that are too old."""
        if self._rates is not None:
            self._rates.warn_of_stale()

    def _find_rates(self, names: set[str | None]) -> None:
        assert self._rates is not None
        new = sorted(name for name in names if name is not None and name not in self._rate)
        if new:
            column = pd.Series(new, dtype="str")
            days = pd.Series([self._day] * len(new), dtype="datetime64[us]")
            rate = self._rates.at(column, days, np.ones(len(new), np.bool_))
            self._rate.update(zip(new, rate.tolist(), strict=True))


class Counting(Money):
    """Counts every deal as 1, where only the number of wins matters."""

    def __init__(self) -> None:
        super().__init__(None, pd.Timestamp(0))

    def counted(self, values: Floats, currency: Texts) -> tuple[Floats, Ints]:
        """Return ones."""
        return np.ones(len(values)), np.zeros(len(values), np.int64)


def units_for(*amounts: Floats) -> int:
    """Return how many whole units one of the currency has: `UNIT`, or fewer where sums of such
    amounts could leave the range of integers.

    Raises
    ------
    ArgumentError
        They leave it even as whole numbers.
    """
    with np.errstate(over="ignore"):
        total, units = 64.0 * sum(float(np.abs(each).sum()) for each in amounts), UNIT
    if not total <= _MOST:
        raise ArgumentError(
            "The values of deals are too large to be added up. Correct them, or the rates."
        )
    while units > 1 and total * units > _MOST:
        units //= 10
    return units


def rounded(amounts: Floats, units: int) -> Ints:
    """Return amounts as whole units, each rounded half-even."""
    return np.rint(amounts * units).astype(np.int64)


__all__ = ["Counting", "Money", "rounded", "units_for"]
