"""Days, months and billing periods as integers: days and months since 1970, months counted from the
anchor date.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import ending, moment
from pdframe.metrics._columns import Flags, Ints, dates

NULL = np.iinfo(np.int64).min
"""A day or a month that is not known."""
NEVER = np.iinfo(np.int64).max
"""The month of an end that does not exist."""

FREQUENCIES = ("one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually")
ONE_TIME, WEEKLY, MONTHLY = 0, 1, 2
# Months in a period, by place in FREQUENCIES.
MONTHS = np.array([0, 0, 1, 3, 6, 12], np.int64)
MOST_MONTHS = 12_000


def days_of(frame: pd.DataFrame, column: str) -> Ints:
    """Return a column of days as days since 1970, `NULL` where there is none."""
    return dates(frame, column).to_numpy().astype("datetime64[D]").astype(np.int64)


def day_of(as_of: Any, tz: str) -> int:
    """Return the day of a time in a timezone, as days since 1970."""
    day = moment(as_of, tz, "as_of", end_of_day=True).tz_convert(tz).date()
    return int(np.datetime64(day, "D").astype(np.int64))


def as_dates(days: Ints) -> pd.Series[Any]:
    """Return days since 1970 as datetime64[us], null where `NULL`."""
    return pd.Series(days.view("datetime64[D]").astype("datetime64[us]"))


def as_months(months: Ints) -> pd.Series[Any]:
    """Return months since 1970 as their first days, null where `NULL` or `NEVER`."""
    kept = np.where(months == NEVER, NULL, months)
    return pd.Series(kept.view("datetime64[M]").astype("datetime64[us]"))


def months_of(days: Ints) -> Ints:
    """Return the month of each day."""
    return days.view("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def first_day(months: Ints) -> Ints:
    """Return the first day of each month."""
    return months.view("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def add_months(days: Ints, months: Ints) -> Ints:
    """Count months from each day, its day of the month cut to the month's length: 31 January + 1 is
    28 February, + 2 is 31 March.
    """
    own = months_of(days)
    target = own + months
    begins = first_day(target)
    result: Ints = begins + np.minimum(days - first_day(own), first_day(target + 1) - begins - 1)
    return result


def add_periods(days: Ints, frequency: Ints, count: Ints) -> Ints:
    """Count billing periods from each day, all of them from the day itself."""
    weekly = frequency == WEEKLY
    later = add_months(days, np.where(weekly, 0, MONTHS[frequency] * count))
    return np.where(weekly, days + 7 * count, later)


def frequencies(column: pd.Series[Any]) -> Ints:
    """Return the place of each frequency in FREQUENCIES, -1 where it is none of them; null (a plan
    without billing) is one-time.
    """
    known = pd.Index(FREQUENCIES)
    if isinstance(column.dtype, pd.CategoricalDtype):
        names, codes = column.cat.categories, column.cat.codes.to_numpy().astype(np.int64)
    else:
        match, names = pd.factorize(column.astype(object))
        codes = match.astype(np.int64)
    places = np.append(np.asarray(known.get_indexer(pd.Index(names)), dtype=np.int64), ONE_TIME)
    result: Ints = places[codes]
    return result


def month_window(since: Any, until: Any, earliest: int | None) -> tuple[int, int]:
    """Return the months whose first day is in [since, until), as the first and the one after the
    last.

    Parameters
    ----------
    since
        None: from `earliest` on.
    until
        A time, or a year, quarter, month or `pd.Period`, taken to its end; lines without an end
        need a limit.
    earliest
        First month of the ledger, None where it is empty.

    Raises
    ------
    ArgumentError
        One is no time, or no month begins in the window.
    """
    if until is None:
        raise ArgumentError(
            "`until` is required: lines without an end recur for ever. Pass the first day after"
            " the window."
        )
    end = month_after(until, "until")
    start = (
        _ceiling(moment(since, "UTC", "since"))
        if since is not None
        else min(end if earliest is None else earliest, end)
    )
    if since is not None and start >= end:
        raise ArgumentError(
            f"No month begins between since={since!r} and until={until!r}; until itself is outside"
            " the window. For one month name it in both: since='2026-06', until='2026-06'."
        )
    if end - start > MOST_MONTHS:
        raise ArgumentError(f"The window has {end - start:,} months; the limit is {MOST_MONTHS:,}.")
    return start, end


def month_after(value: Any, name: str) -> int:
    """Return the month after the last one before an end.

    Parameters
    ----------
    value
        A year, quarter, month ("2026", "2026-Q2", "2026-06") or `pd.Period`, taken to its end; or a
        day or time, which is itself not inside: months that begin before it are.
    name
        Name of the argument, for the error.

    Raises
    ------
    ArgumentError
        It is none of these.
    """
    return _ceiling(ending(value, "UTC", name))


def _ceiling(time: pd.Timestamp) -> int:
    """Return the first month that begins at a time or after it."""
    time = time.tz_localize(None)
    month = (time.year - 1970) * 12 + time.month - 1
    return month if time == pd.Timestamp(year=time.year, month=time.month, day=1) else month + 1


def sampled(start: Ints, end: Ints, at: str, known: Flags) -> tuple[Ints, Ints]:
    """Return the first month in which a line counts and the first in which it does so no longer.

    Parameters
    ----------
    start, end
        Days since 1970; the line is active on [start, end), `NULL` as an end is none.
    at
        "end": it counts in the months on whose last day it is active; "start": on whose first day.
    known
        Where there is a start; elsewhere both are `NULL`.
    """
    months = []
    for days in (start, end):
        kept = np.where(days == NULL, 0, days)
        month = months_of(kept)
        if at == "start":
            month = month + (first_day(month) < kept)
        months.append(month)
    return np.where(known, months[0], NULL), np.where(
        known, np.where(end == NULL, NEVER, months[1]), NULL
    )
