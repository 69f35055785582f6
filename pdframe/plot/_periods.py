"""The axis of periods: weeks, months, quarters or years, as whole numbers with names."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style

_UNITS = {1: "month", 3: "quarter", 12: "year"}
_OF_FREQ = {"W": "week", "M": "month", "Q": "quarter", "Y": "year"}
# In inches: what the name of a period needs.
_LABEL = 0.78

TWICE = (
    "A period occurs twice. Pass the result of metrics.{metric}, with the columns of `by` before"
    " 'period'."
)
"""The error of a frame that has a period twice in a group."""


class Periods(NamedTuple):
    """A kind of period, and the day at which one of them begins, from which they are counted."""

    unit: str
    first: pd.Timestamp

    def numbers(self, days: pd.Series[Any]) -> months.Places:
        """Return how many periods after the first one each of these days lies."""
        if self.unit == "week":
            length = (days - self.first).dt.days.to_numpy(np.int64)
            return np.asarray(np.floor_divide(length, 7), dtype=np.int64)
        size = next(size for size, unit in _UNITS.items() if unit == self.unit)
        start = (self.first.year * 12) + self.first.month - 1
        number = days.dt.year.to_numpy(np.int64) * 12 + days.dt.month.to_numpy(np.int64) - 1
        return np.asarray(np.floor_divide(number - start, size), dtype=np.int64)

    def start(self, number: int) -> pd.Timestamp:
        """Return the first day of a period."""
        if self.unit == "week":
            return self.first + pd.Timedelta(days=7 * number)
        size = next(size for size, unit in _UNITS.items() if unit == self.unit)
        return self.first + pd.DateOffset(months=size * number)

    def name(self, number: int) -> str:
        """Return a period as 2026-06-29 (a week), 2026-06, 2026-Q3 or 2026."""
        day = self.start(number)
        if self.unit == "week":
            return f"{day:%Y-%m-%d}"
        if self.unit == "quarter" and day.month % 3 == 1:
            return f"{day.year:04d}-Q{(day.month + 2) // 3}"
        if self.unit == "year" and day.month == 1:
            return f"{day.year:04d}"
        return f"{day:%Y-%m}" if self.unit == "month" else f"from {day:%Y-%m}"


def first_days(rows: pd.DataFrame, of: str = "") -> pd.Series[Any]:
    """Return the column `period` without a timezone; `of` names the frame in the error.

    Raises
    ------
    ArgumentError
        It holds no times, or a null.
    """
    if rows["period"].isna().any():
        raise _no_times(rows, "period", of)
    return naive_times(rows, "period", of)


def naive_times(rows: pd.DataFrame, column: str, of: str = "") -> pd.Series[Any]:
    """Return a column of times without a timezone; `ArgumentError` where it holds something
    else.
    """
    times = rows[column]
    if not len(times):
        return pd.Series([], dtype="datetime64[us]")
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise _no_times(rows, column, of)
    return times if getattr(times.dtype, "tz", None) is None else times.dt.tz_localize(None)


def _no_times(rows: pd.DataFrame, column: str, of: str) -> ArgumentError:
    name = f"{column!r} of {of}" if of else repr(column)
    hint = f" Read it with pandas.to_datetime({of or 'frame'}[{column!r}])."
    is_text = not pd.api.types.is_datetime64_any_dtype(rows[column].dtype)
    return ArgumentError(
        f"The column {name} ({rows[column].dtype}) must hold times without nulls, as the metric"
        f" returns them.{hint if is_text else ''}"
    )


def periods(days: pd.Series[Any], freq: str | None) -> Periods:
    """Return the kind of period of which these are the first days.

    `freq` is what the metric recorded, "W", "M", "Q" or "Y"; None: the smallest kind whose steps
    the days take, so one first of a month alone is a month.
    """
    if not len(days):
        return Periods("month", pd.Timestamp("1970-01-01"))
    first = days.min()
    unit = _OF_FREQ.get(str(freq)[:1].upper()) if freq else None
    if unit is None and (days.dt.day != 1).any():
        unit = "week"
    if unit is None:
        number = days.dt.year.to_numpy(np.int64) * 12 + days.dt.month.to_numpy(np.int64)
        step = int(np.gcd.reduce(number - number.min()))
        unit = next((_UNITS[size] for size in (12, 3) if step and step % size == 0), "month")
    return Periods(unit, first)


def axis(ax: Axes, kind: Periods, numbers: months.Places) -> None:
    """Name as many periods under the axis as there is room for."""
    first, last = int(numbers.min()), int(numbers.max())
    label = _LABEL * style.unit() * (1.25 if kind.unit == "week" else 1.0)
    room = max(int(style.inches(ax) / label), 2)
    step = next((step for step in (1, 2, 3, 4, 6, 12, 24) if (last - first) // step < room), 48)
    named = list(range(last, first - 1, -step))
    ax.set_xticks(named, [kind.name(number) for number in named], **style.PLAIN)
    # A period alone would be as wide as the chart.
    margin = 0.6 + max(4 - (last - first), 0) / 2
    ax.set_xlim(first - margin, last + margin)
