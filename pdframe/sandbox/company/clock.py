"""Times and dates as the wire writes them, from epoch seconds in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = 86_400
TIMEZONE = "Europe/Tallinn"
END = int(datetime(2026, 6, 30, 12, tzinfo=UTC).timestamp())
START = int(datetime(2023, 7, 1, tzinfo=UTC).timestamp())
FOUNDED = int(datetime(2023, 6, 26, 7, tzinfo=UTC).timestamp())

_EPOCH = date(1970, 1, 1)
_ZONE = ZoneInfo(TIMEZONE)


@lru_cache(maxsize=4096)
def day_text(day: int) -> str:
    """``YYYY-MM-DD`` of a day counted from 1970-01-01."""
    return (_EPOCH + timedelta(days=day)).isoformat()


@lru_cache(maxsize=64)
def wire(t: int) -> str:
    """Epoch seconds as ``2026-06-30T12:00:00Z``."""
    s = t % DAY
    return f"{day_text(t // DAY)}T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z"


def wire_millis(t: int) -> str:
    """Epoch seconds as projects, boards and tasks write them: with milliseconds, here a fixed
    function of the second.
    """
    return f"{wire(t)[:-1]}.{t * 7919 % 1000:03}Z"


def wire_v1(t: int) -> str:
    """Epoch seconds as v1 writes them: ``2026-06-30 12:00:00``."""
    return wire(t)[:-1].replace("T", " ")


def epoch(text: str) -> int:
    """Epoch seconds of a wire time of any of the three kinds."""
    return int(datetime.fromisoformat(text[:19].replace(" ", "T") + "+00:00").timestamp())


def local_date(t: int) -> str:
    """Return the day in the company's timezone."""
    return datetime.fromtimestamp(t, _ZONE).date().isoformat()


def add_months(start: date, months: int) -> date:
    """Count months from `start`, the day cut to the month's length: 31 January + 1 is the last of
    February.
    """
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(start.day, last))


def working_day(day: int) -> int:
    """Move a day counted from 1970-01-01 off the weekend, to Monday."""
    weekday = (day + 3) % 7
    return day + 7 - weekday if weekday >= 5 else day


def worked(t: int) -> int:
    """Return the seconds of working hours (06:00 to 16:00 UTC, Monday to Friday) until `t`."""
    week, second = divmod(t + 3 * DAY, 7 * DAY)
    day, second = divmod(second, DAY)
    return (5 * week + min(day, 5)) * 36_000 + (
        min(max(second - 21_600, 0), 36_000) if day < 5 else 0
    )


def after_work(t: int, seconds: int) -> int:
    """Return the moment when the given seconds have passed on a clock that runs in working hours
    alone, a week of them a week.

    So long stays keep their length to the day, and no weekday collects what would have come at
    night or on a weekend.
    """
    day, second = divmod(worked(t) + seconds * 50 // 168, 36_000)
    return (day // 5 * 7 + day % 5 - 3) * DAY + 21_600 + second


def work_days(start: int, end: int) -> float:
    """Return the days between two moments on the clock of `after_work`."""
    return (worked(end) - worked(start)) * 168 / 50 / DAY


def day_start(day: date) -> int:
    """Return the epoch seconds at which a day begins in UTC."""
    return (date(day.year, day.month, day.day) - _EPOCH).days * DAY


def business_time(t: int, draw: float) -> int:
    """Move `t` into working hours (06:00 to 16:00 UTC, Monday to Friday); never earlier than
    `t`.
    """
    day, second = divmod(t, DAY)
    weekday = (day + 3) % 7
    if weekday >= 5:
        day, second = day + 7 - weekday, -1
    elif second >= 57_600:
        day, second = day + (3 if weekday == 4 else 1), -1
    if second < 21_600:
        second = 21_600 + int(draw * 35_999)
    return day * DAY + second
