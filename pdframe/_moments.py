"""Read times as people write them: days, datetimes, and years, quarters, months or `pd.Period`s."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# What people write where a program reads the clock.
_CLOCK = re.compile(
    r"now|today|yesterday|tomorrow|ago|last|past|this|next|to.date|[wmqy]td|\d+ ?[a-z]+",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(\d{4})(?:-(\d{2})|-?[Qq]([1-4]))?", re.ASCII)


def named_period(value: Any, name: str) -> tuple[str, str] | None:
    """Return the first day of a named period and the day after it, as text; None where `value`
    names none.

    Parameters
    ----------
    value
        "2026", "2026-Q2", "2026-06" or a `pd.Period` name one.
    name
        Name of the argument, for the error.

    Raises
    ------
    ArgumentError
        There is no such year, quarter or month.
    """
    if isinstance(value, pd.Period):
        first, last = value.start_time, value.end_time
        if value.freqstr[:1] in "YAQMWDB":
            return _text(first), _text(last.normalize() + pd.Timedelta(1, "D"))
        return first.isoformat(), (value + 1).start_time.isoformat()
    match = _NAMED.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, quarter = (int(part) if part else None for part in match.groups())
    first_month = month if month is not None else 1 if quarter is None else 3 * quarter - 2
    count = 1 if month is not None else 12 if quarter is None else 3
    if year is None or not 1 <= year < 9999 or not 1 <= first_month <= 12:
        raise ArgumentError(
            f"{name}={value!r} is not a period. Write '2026', '2026-Q2' or '2026-06'."
        )
    after = year * 12 + first_month - 1 + count
    return f"{year:04}-{first_month:02}-01", f"{after // 12:04}-{after % 12 + 1:02}-01"


def _text(day: pd.Timestamp) -> str:
    return f"{day.year:04}-{day.month:02}-{day.day:02}"


def zone(tz: str) -> ZoneInfo:
    """Return the timezone of that name; raise `ArgumentError` where there is none."""
    try:
        return ZoneInfo(tz)
    except (KeyError, ValueError, TypeError, OSError, AttributeError):
        raise ArgumentError(
            f"tz={tz!r} is not a timezone that this machine knows. Pass a name such as 'UTC' or"
            " 'Europe/Berlin'."
        ) from None


def moment(value: Any, tz: str, name: str, *, end_of_day: bool = False) -> pd.Timestamp:
    """Convert a time to UTC.

    Parameters
    ----------
    value
        A datetime, Timestamp, or text in ISO 8601; naive ones are in `tz`, the earlier one where a
        clock shows a time twice. A bare date (text, `datetime.date`, or a numpy date) means its
        first instant, and so does a year, quarter, month ("2026", "2026-Q2", "2026-06") or
        `pd.Period`.
    tz
        Timezone of naive times.
    name
        Name of the argument, for the error.
    end_of_day
        A bare date or a period means its last microsecond instead.

    Raises
    ------
    ArgumentError
        It is not a time.
    """
    period = named_period(value, name)
    if period is not None:
        # Not microseconds=1, which has the unit and the narrow range of nanoseconds.
        return (
            _instant(period[1], tz, name) - pd.Timedelta(1, "us")
            if end_of_day
            else _instant(period[0], tz, name)
        )
    bare = (
        (isinstance(value, date) and not isinstance(value, datetime))
        or (isinstance(value, str) and _DATE.fullmatch(value.strip()) is not None)
        or (isinstance(value, np.datetime64) and np.datetime_data(value)[0] == "D")
    )
    time = _instant(value, tz, name, days=1 if bare and end_of_day else 0)
    return time - pd.Timedelta(1, "us") if bare and end_of_day else time


def ending(value: Any, tz: str, name: str) -> pd.Timestamp:
    """Return the time at which an exclusive bound lies, in UTC: a day or time as `moment` reads it,
    or the end of a year, quarter, month or `pd.Period`.
    """
    period = named_period(value, name)
    return moment(value if period is None else period[1], tz, name)


def _instant(value: Any, tz: str, name: str, days: int = 0) -> pd.Timestamp:
    """Convert a time that is no period to UTC, some days later by the clock of `tz`."""
    place = zone(tz)
    try:
        # Words like "now" would read the clock, and a number is not a time.
        if not isinstance(value, date | np.datetime64) and not (
            isinstance(value, str) and _DATE.match(value.strip())
        ):
            raise ValueError(value)
        time = pd.Timestamp(value)
        if pd.isna(time):
            raise ValueError(value)
        if days:
            time += pd.Timedelta(days=days)
        if time.tzinfo is None:
            time = time.tz_localize(place, ambiguous=True, nonexistent="shift_forward")
        return time.tz_convert("UTC").as_unit("us")
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        clock = (
            " A metric does not read the clock: pd.Timestamp.now() is now. Words count from"
            " attrs['today'], which frames of an account have."
            if isinstance(value, str) and _CLOCK.search(value)
            else ""
        )
        raise ArgumentError(
            f"{name}={value!r} is not a time. Write '2026-06-30', '2026-06-30 14:00', a period such"
            f" as '2026', '2026-Q2' or '2026-06', or pass a datetime.{clock}"
        ) from None


__all__ = ["ending", "moment", "named_period", "zone"]
