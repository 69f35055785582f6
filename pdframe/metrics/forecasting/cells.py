"""The weeks or months that the periods of a forecast are sums of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import local_days, to_micros
from pdframe.metrics._columns import midnights
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY

MOST_CELLS = 520
"""Weeks or months that a forecast is computed for at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Consecutive weeks (where periods are weeks) or months from one instant to another.

    A quarter is the sum of its months, to the last bit, because months are what is computed. The
    first cell begins at `begin` and the last ends at the end of the forecast, whatever the
    calendar.

    Parameters
    ----------
    begin
        The first instant that is not over (microseconds).
    end
        End of each cell (microseconds), ascending.
    day
        First day of each cell's week or month, since 1970.
    period
        Place of each cell's period in `first`.
    first
        First day of each period, since 1970.
    """

    begin: int
    end: Ints
    day: Ints
    period: Ints
    first: Ints

    def __len__(self) -> int:
        return len(self.end)

    @property
    def start(self) -> Ints:
        """The first instant of each cell (microseconds)."""
        return np.append(self.begin, self.end[:-1])

    @property
    def horizons(self) -> Ints:
        """Time from `as_of`, the last instant before `begin`, to the end of each cell."""
        return self.end - (self.begin - 1)

    def summed(self, cells: Any) -> Any:
        """Return the sums over the cells of each period, along the last axis."""
        places = np.searchsorted(self.period, np.arange(len(self.first)))
        return np.add.reduceat(cells, places, axis=-1)


def cells_between(as_of: int, until: pd.Timestamp, frequency: Frequency, tz: str) -> Cells:
    """Return the cells from the first instant after `as_of` (microseconds) to `until`.

    Raises
    ------
    ArgumentError
        `until` is not after `as_of`, or too far away.
    """
    begin, last_instant = as_of + 1, to_micros(until) - 1
    if last_instant < begin:
        raise ArgumentError(
            f"until={until.tz_convert(tz):%Y-%m-%d %H:%M} is not after as_of: a forecast is of time"
            " that is not over."
        )
    unit = Frequency("W" if frequency.freq == "W" else "M")
    first, last = unit.numbers(local_days(np.array([begin, last_instant]), tz) // DAY).tolist()
    if last - first >= MOST_CELLS:
        raise ArgumentError(
            f"until is {last - first + 1:,} {'weeks' if unit.freq == 'W' else 'months'} away; the"
            f" limit is {MOST_CELLS}."
        )
    days = unit.first_days(np.arange(first, last + 2))
    end = np.append(midnights(days[1:-1] * DAY, tz), last_instant + 1)
    numbers, period = np.unique(frequency.numbers(days[:-1]), return_inverse=True)
    return Cells(
        begin,
        end,
        days[:-1],
        period.astype(np.int64),
        frequency.first_days(numbers),
    )


@lru_cache(maxsize=1_024)
def month_edges(at: int, tz: str, first: int, last: int) -> Ints:
    """Return the first instants of months, counted from the one that begins at or before `at`;
    read-only.
    """
    local = pd.Timestamp(at, unit="us", tz="UTC").tz_convert(tz)
    month = (local.year - 1970) * 12 + local.month - 1
    months = np.arange(month + first, month + last + 1)
    days = months.view("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    result = midnights(days * DAY, tz)
    result.flags.writeable = False
    return result


def overlap(begin: Ints, end: Ints, since: Ints, until: Ints) -> Floats:
    """Return the share of each span [begin, end) that lies in [since, until)."""
    inside = np.minimum(end, until) - np.maximum(begin, since)
    return np.asarray(np.maximum(inside, 0) / np.maximum(end - begin, 1), np.float64)


__all__ = ["Cells", "cells_between", "month_edges", "overlap"]
