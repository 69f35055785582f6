"""Times that people count from now: "today", "last Monday", "7 days ago", "this month"."""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from pdframe.errors import ArgumentError

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LENGTHS = ("minute", "hour", "day", "week", "month", "quarter", "year")
_FREQUENCIES = {"week": "W-SUN", "month": "M", "quarter": "Q", "year": "Y"}
_AGO = re.compile(
    r"(?:the )?(?:(?P<last>last|past) )?(?P<count>\d{1,6}|an?|one) ?"
    rf"(?P<length>{'|'.join(_LENGTHS)})s?(?: (?P<ago>ago))?"
)
_DAY = re.compile(rf"(?:last )?(?P<day>{'|'.join(_WEEKDAYS)})")
_PERIOD = re.compile(rf"(?P<which>this|last) (?P<length>{'|'.join(_FREQUENCIES)})")
_DATED = re.compile(r"[-+]?\d{4}")
_EXAMPLES = ("today", "yesterday", "last Monday", "7 days ago", "this month", "last quarter")


def absolute(when: Any, now: datetime, tz: str, name: str) -> Any:
    """Return a time that is counted from now as a day, an instant or a period.

    Parameters
    ----------
    when
        "now"; "today", "yesterday"; "last Monday" or "Monday": the latest one before today; "7 days
        ago", "a week ago", "last 2 months": that day; "3 hours ago": that instant; "this week",
        "last month", "last quarter", "this year": that period, weeks from Monday; a `timedelta`:
        so long ago. Anything else is returned as it is: a date, a datetime, text that begins with a
        year.
    now
        The time to count from.
    tz
        The timezone of days.
    name
        Name of the argument, for the error.

    Returns
    -------
    datetime.date, Timestamp, Period or `when`

    Raises
    ------
    ArgumentError
        Text that is neither of these nor begins with a year.
    """
    instant = pd.Timestamp(now).tz_convert(ZoneInfo(tz))
    if isinstance(when, timedelta) and not pd.isna(when):
        return _earlier(instant, when, name)
    if not isinstance(when, str):
        return when
    words = " ".join(when.casefold().replace("_", " ").split())
    match = _AGO.fullmatch(words)
    if _DATED.match(words) and match is None:
        return when
    today = instant.date()
    if words == "now":
        return instant
    if words in ("today", "yesterday"):
        return today - timedelta(days=words == "yesterday")
    if day := _DAY.fullmatch(words):
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(day["day"]) - 1) % 7 + 1)
    if named := _PERIOD.fullmatch(words):
        period = pd.Period(pd.Timestamp(today), freq=_FREQUENCIES[named["length"]])
        return period - 1 if named["which"] == "last" else period
    if match and (match["last"] is None) != (match["ago"] is None):
        count = int(match["count"]) if match["count"].isdigit() else 1
        return _ago(instant, today, count, match["length"], f"{name}={when!r}")
    raise ArgumentError(f"{name}={when!r} is not a time.{_meant(words)} {_forms()}")


def _ago(instant: pd.Timestamp, today: date, count: int, length: str, given: str) -> Any:
    if length in ("minute", "hour"):
        return _earlier(instant, timedelta(**{f"{length}s": count}), given)
    months = {"month": 1, "quarter": 3, "year": 12}.get(length)
    offset = (
        pd.DateOffset(months=months * count)
        if months
        else pd.DateOffset(days=count * (7 if length == "week" else 1))
    )
    try:
        return (pd.Timestamp(today) - offset).date()
    except (OverflowError, ValueError):
        raise ArgumentError(f"{given} is before the first year.") from None


def _earlier(instant: pd.Timestamp, length: timedelta, given: str) -> pd.Timestamp:
    try:
        return instant - length
    except (OverflowError, ValueError):
        raise ArgumentError(f"{given} is before the first year.") from None


def _meant(words: str) -> str:
    known = [
        "now",
        "today",
        "yesterday",
        *(f"last {day.capitalize()}" for day in _WEEKDAYS),
        *(f"{which} {length}" for which in ("this", "last") for length in _FREQUENCIES),
        *(f"7 {length}s ago" for length in _LENGTHS),
    ]
    close = difflib.get_close_matches(words, [text.casefold() for text in known], n=1, cutoff=0.7)
    meant = next((text for text in known if [text.casefold()] == close), None)
    return f" Did you mean {meant!r}?" if meant else ""


def _forms() -> str:
    words = ", ".join(map(repr, _EXAMPLES))
    return f"Write '2026-06-30', '2026-06-30 14:00', '2026-06', '2026-Q2', or one of {words}."


def refuse_future(given: Any, time: pd.Timestamp, now: pd.Timestamp, tz: str, name: str) -> None:
    """Raise `ArgumentError` where an argument, as given, is a time after now."""
    if time > now:
        raise ArgumentError(
            f"{name}={given!r} is in the future: by the server's clock it is"
            f" {now.tz_convert(tz):%Y-%m-%d %H:%M} ({tz})."
        )


__all__ = ["absolute", "refuse_future"]
