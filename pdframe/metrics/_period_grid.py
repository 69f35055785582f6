"""The periods of a window, one after the other: the grid of results that have one row a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import DAY, NULL, Micros, local_days, to_micros
from pdframe.metrics._columns import Ints, midnights, plain_times
from pdframe.metrics._periods import Frequency, days_since_1970, frequency

MOST_PERIODS = 12_000


@dataclass(frozen=True, slots=True)
class PeriodGrid:
    """Consecutive periods in a timezone.

    Attributes
    ----------
    lengths
        What the periods are.
    first, count
        Number of the first period, and of periods.
    tz
        Timezone of their days.
    """

    lengths: Frequency
    first: int
    count: int
    tz: str

    def places(self, instants: pd.Series[Any]) -> Ints:
        """Return the place of the period of each time, from 0; -1 where it is null."""
        numbers = period_numbers(plain_times(instants), self.lengths, self.tz)
        return np.where(numbers == NULL, -1, numbers - self.first)

    def ends(self) -> Micros:
        """Return the first instant after each period, in microseconds of UTC."""
        after = np.arange(self.first + 1, self.first + self.count + 1, dtype=np.int64)
        return midnights(self.lengths.first_days(after) * DAY, self.tz)

    def dates(self, places: Ints) -> pd.Series[Any]:
        """Return the first day of the period at each place."""
        return self.lengths.dates(places + self.first)


def period_numbers(instants: Micros, lengths: Frequency, tz: str) -> Ints:
    """Return the number of the period of each time; `NULL` stays `NULL`."""
    return lengths.numbers(days_since_1970(local_days(instants, tz)))


def period_grid(
    freq: str,
    fiscal_start: int,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    tz: str,
    *events: pd.Series[Any],
) -> PeriodGrid:
    """Return the periods from that of `start` to that of the last instant before `end`; an open
    bound is that of the first or the last of the `events`.

    Raises
    ------
    ArgumentError
        `freq` or `fiscal_start` is none, or there are more than 12,000 periods.
    """
    lengths = frequency(freq, fiscal_start)
    times = np.concatenate([np.zeros(0, np.int64), *(plain_times(each) for each in events)])
    times = times[times != NULL]
    bounds = [
        to_micros(start) if start is not None else int(times.min()) if len(times) else None,
        to_micros(end) - 1 if end is not None else int(times.max()) if len(times) else None,
    ]
    if None in bounds:
        return PeriodGrid(lengths, 0, 0, tz)
    first, last = period_numbers(np.array(bounds, dtype=np.int64), lengths, tz).tolist()
    count = max(last - first + 1, 0)
    if count > MOST_PERIODS:
        raise ArgumentError(
            f"The window has {count:,} periods; the limit is {MOST_PERIODS:,}. Pass since= and"
            " until= nearer to each other, or a longer freq."
        )
    return PeriodGrid(lengths, first, count, tz)


def by_period(keys: pd.DataFrame, grid: PeriodGrid | None) -> tuple[pd.DataFrame, int]:
    """Return the keys of groups once for each period, with the column `period` after them, and how
    many rows each group has; without a grid the keys as they are.
    """
    if grid is None:
        return keys, 1
    groups = np.repeat(np.arange(len(keys)), grid.count)
    result = keys.take(groups).reset_index(drop=True)
    result["period"] = grid.dates(np.tile(np.arange(grid.count), len(keys))).array
    return result, grid.count


__all__ = ["PeriodGrid", "by_period", "period_grid", "period_numbers"]
