"""Number weeks, months, quarters and years; read times that are named by such a period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    DAY,
    NULL,
    Micros,
    ending,
    micros,
    moment,
    to_micros,
    window,
)
from pdframe.metrics._columns import Ints, dates

_MONTHS = {"M": 1, "Q": 3, "Y": 12}
# What people and pandas call these lengths.
_WORDS = {
    "W": ("w", "week", "weeks", "weekly"),
    "M": ("m", "month", "months", "monthly", "me", "ms"),
    "Q": ("q", "quarter", "quarters", "quarterly", "qe", "qs"),
    "Y": ("y", "year", "years", "yearly", "annual", "annually", "ye", "ys", "a"),
}
# As in "QE-MAR": those of pandas.
_FISCAL = ("Q-", "QE-", "QS-", "Y-", "YE-", "YS-", "A-")
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words}
# 1969-12-29 is a Monday.
_MONDAY = -3


@dataclass(frozen=True, slots=True)
class Frequency:
    """A length of periods: "W" (from Monday), "M", "Q" or "Y", quarters and years counted from the
    month in which the fiscal year begins.
    """

    freq: str
    fiscal_start: int = 1

    def numbers(self, days: Ints) -> Ints:
        """Return the number of the period of each day (days since 1970); `NULL` stays `NULL`."""
        known = days != NULL
        kept = np.where(known, days, 0)
        if self.freq == "W":
            result = (kept - _MONDAY) // 7
        else:
            months = kept.view("datetime64[D]").astype("datetime64[M]").astype(np.int64)
            result = (months - self._shift) // _MONTHS[self.freq]
        return np.where(known, result, NULL)

    def first_days(self, numbers: Ints) -> Ints:
        """Return the first day of each period (days since 1970); `NULL` stays `NULL`."""
        known = numbers != NULL
        kept = np.where(known, numbers, 0)
        if self.freq == "W":
            result = kept * 7 + _MONDAY
        else:
            months = kept * _MONTHS[self.freq] + self._shift
            result = months.view("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        return np.where(known, result, NULL)

    def dates(self, numbers: Ints) -> pd.Series[Any]:
        """Return the first day of each period as datetime64[us], null where `NULL`."""
        days = self.first_days(numbers)
        return pd.Series(days.view("datetime64[D]").astype("datetime64[us]"))

    @property
    def _shift(self) -> int:
        return 0 if self.freq == "M" else self.fiscal_start - 1


def letter_of(freq: Any) -> Any:
    """Return the letter of a length of periods that is given in words: "Q" for "quarter";
    anything else as it is.
    """
    return _LETTERS.get(freq.strip().casefold(), freq) if isinstance(freq, str) else freq


def frequency(freq: object, fiscal_start: object = 1) -> Frequency:
    """Return these arguments as a frequency.

    Raises
    ------
    ArgumentError
        `freq` is none of "W", "M", "Q", "Y", or `fiscal_start` no month.
    """
    if not isinstance(freq, str) or freq not in _WORDS:
        fiscal = isinstance(freq, str) and freq.upper().startswith(_FISCAL)
        hint = " fiscal_start= is the month in which a fiscal year begins." if fiscal else ""
        raise ArgumentError(f"freq must be one of 'W', 'M', 'Q', 'Y', not {freq!r}.{hint}")
    if (
        isinstance(fiscal_start, bool)
        or not isinstance(fiscal_start, int | np.integer)
        or not 1 <= fiscal_start <= 12
    ):
        raise ArgumentError(f"fiscal_start={fiscal_start!r} must be a month, from 1 to 12.")
    return Frequency(freq, int(fiscal_start))


def days_since_1970(micros: Micros) -> Ints:
    """Return the day of each time; both count from 1970, `NULL` stays `NULL`."""
    return np.where(micros == NULL, NULL, micros // DAY)


def beginning(value: Any, tz: str, name: str) -> pd.Timestamp:
    """Return the time at which an inclusive bound lies, in UTC: that of a day or time, or the
    beginning of a year, quarter, month or `pd.Period`.
    """
    return moment(value, tz, name)


def known_by(value: Any, tz: str, name: str) -> pd.Timestamp:
    """Return the last microsecond that an `as_of` includes, in UTC: a time, or the end of a day,
    year, quarter, month or `pd.Period`.
    """
    return moment(value, tz, name, end_of_day=True)


def period_window(since: Any, until: Any, tz: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the window [since, until) in UTC, both of which are required; raise `ArgumentError`
    where it contains no instant.
    """
    window(since, until, tz)
    return moment(since, tz, "since"), ending(until, tz, "until")


def period_ends(rows: pd.DataFrame, attrs: Mapping[Any, Any]) -> Ints:
    """Return the first instant after the period of each row of a forecast (microseconds), which is
    at most the end of the forecast.

    Parameters
    ----------
    rows
        With the first day of each period, `period`.
    attrs
        Of the forecast: freq, until, and tz.
    """
    unit = {"W": pd.DateOffset(weeks=1), "M": pd.DateOffset(months=1)}
    unit |= {"Q": pd.DateOffset(months=3), "Y": pd.DateOffset(years=1)}
    ends = pd.DataFrame({"end": dates(rows, "period") + unit[attrs["freq"]]})
    last = to_micros(moment(attrs["until"], "UTC", "until"))
    return np.minimum(micros(ends["end"], str(attrs.get("tz") or "UTC"), "end"), last)


__all__ = [
    "Frequency",
    "beginning",
    "days_since_1970",
    "ending",
    "frequency",
    "known_by",
    "letter_of",
    "period_ends",
    "period_window",
]
