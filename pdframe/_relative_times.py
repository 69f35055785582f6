"""Times that people count from now: "today", "last Monday", "7 days ago", "7d", "this month"."""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from pdframe.errors import ArgumentError

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORT = {
    "minute": ("min", "mins"),
    "hour": ("h", "hr", "hrs"),
    "day": ("d",),
    "week": ("w", "wk", "wks"),
    "month": ("mo", "mos"),
    "quarter": ("q", "qtr", "qtrs"),
    "year": ("y", "yr", "yrs"),
}
_LENGTHS = {
    word: length for length, short in _SHORT.items() for word in (length, f"{length}s", *short)
}
_FREQUENCIES = {"week": "W-SUN", "month": "M", "quarter": "Q", "year": "Y"}
_TO_DATE = {"wtd": "week", "mtd": "month", "qtd": "quarter", "ytd": "year"}
_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("a an one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1
    )
    for word in words.split()
}
_COUNTED = re.compile(
    rf"(?:the )?(?:(?P<before>last|past|in|next) )?(?:(?P<count>\d{{1,6}}|{'|'.join(_NUMBERS)}) ?)?"
    rf"(?P<length>{'|'.join(_LENGTHS)})(?: (?P<after>ago|back|from now))?"
)
_DAY = re.compile(rf"(?:last )?(?P<day>{'|'.join(_WEEKDAYS)})")
_PERIOD = re.compile(rf"(?:the )?(?P<which>this|last|next) (?P<length>{'|'.join(_FREQUENCIES)})")
_END = re.compile(rf"(?:the )?end of (?:the |this )?(?P<length>{'|'.join(_FREQUENCIES)})")
# "7m" may be either.
_UNCLEAR = re.compile(r"(?P<count>\d{1,6}) ?m(?: ago)?")
_QUARTER = re.compile(r"q ?(?P<number>[1-4])(?:[ /-]*(?P<year>\d{4}))?")
_DATED = re.compile(r"[-+]?\d{4}")
_EXAMPLES = ("today", "yesterday", "last Monday", "7 days ago", "7d", "this month", "last quarter")


def is_counted(when: Any) -> bool:
    """Whether a time may be counted from now: text that does not begin with a year, or a length."""
    if isinstance(when, str):
        words = _words(when)
        return _DATED.match(words) is None or _COUNTED.fullmatch(words) is not None
    return isinstance(when, timedelta) and not pd.isna(when)


def absolute(when: Any, now: datetime, tz: str, name: str) -> Any:
    """Return a time that is counted from now as a day, an instant or a period.

    Parameters
    ----------
    when
        "now"; "today", "yesterday", "tomorrow"; "last Monday" or "Monday": the latest one before
        today; "7 days ago", "7d", "two weeks ago", "last 2 months": that day; "in 30 days": that
        day; "3 hours ago", "24h", "last hour": that instant; "this week", "last month", "next
        quarter", "end of year": that period, weeks from Monday; "ytd", "qtd", "mtd": the first day
        of the year, quarter, month; a `timedelta`: so long ago. Anything else is returned as it is:
        a date, a datetime, text that begins with a year.
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
    if not is_counted(when):
        return when
    instant = pd.Timestamp(now).tz_convert(ZoneInfo(tz))
    if isinstance(when, timedelta):
        return _moved(instant, -when, str(when))
    words, today = _words(when), instant.date()
    if words == "now":
        return instant
    if words in ("today", "yesterday", "tomorrow"):
        return today + timedelta(days=("yesterday", "today", "tomorrow").index(words) - 1)
    if day := _DAY.fullmatch(words):
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(day["day"]) - 1) % 7 + 1)
    if words in _TO_DATE:
        return _period(today, _TO_DATE[words]).start_time.date()
    if named := _PERIOD.fullmatch(words):
        return _period(today, named["length"]) + ("last", "this", "next").index(named["which"]) - 1
    if ending := _END.fullmatch(words):
        return _period(today, ending["length"])
    if (counted := _COUNTED.fullmatch(words)) and (ago := _ago(counted)) is not None:
        return _counted(instant, ago, _LENGTHS[counted["length"]], f"{name}={when!r}")
    raise ArgumentError(f"{name}={when!r} is not a time.{_meant(words, today)} {_forms()}")


def _words(when: str) -> str:
    return " ".join(when.casefold().replace("_", " ").split())


def _period(today: date, length: str) -> pd.Period:
    return pd.Period(pd.Timestamp(today), freq=_FREQUENCIES[length])


def _ago(counted: re.Match[str]) -> int | None:
    """Return how many lengths ago the words say, negative for the time to come; None: neither."""
    before, after, count = counted["before"], counted["after"], counted["count"]
    if (before and after) or not (before or after or count):
        return None
    if count is None and before in ("in", "next"):
        return None
    number = _NUMBERS[count] if count in _NUMBERS else int(count or 1)
    return -number if before in ("in", "next") or after == "from now" else number


def _counted(instant: pd.Timestamp, ago: int, length: str, given: str) -> Any:
    if length in ("minute", "hour"):
        return _moved(instant, timedelta(**{f"{length}s": -ago}), given)
    months = {"month": 1, "quarter": 3, "year": 12}.get(length)
    offset = (
        pd.DateOffset(months=months * ago)
        if months
        else pd.DateOffset(days=ago * (7 if length == "week" else 1))
    )
    try:
        return (pd.Timestamp(instant.date()) - offset).date()
    except (OverflowError, ValueError):
        raise ArgumentError(f"{given} is {_outside(ago > 0)}.") from None


def _moved(instant: pd.Timestamp, by: timedelta, given: str) -> pd.Timestamp:
    try:
        return instant + by
    except (OverflowError, ValueError):
        raise ArgumentError(f"{given} is {_outside(by < timedelta(0))}.") from None


def _outside(is_past: bool) -> str:
    return "before the first year" if is_past else "after the last year"


def _meant(words: str, today: date) -> str:
    if quarter := _QUARTER.fullmatch(words):
        year = quarter["year"] or today.year
        return f" Did you mean '{year}-Q{quarter['number']}'?"
    if unclear := _UNCLEAR.fullmatch(words):
        count = unclear["count"]
        return f" Did you mean '{count} months ago' or '{count} minutes ago'?"
    count = next(iter(re.findall(r"\d+", words)), "7")
    known = [
        "now",
        "today",
        "yesterday",
        "tomorrow",
        *(f"last {day.capitalize()}" for day in _WEEKDAYS),
        *(f"{which} {length}" for which in ("this", "last", "next") for length in _FREQUENCIES),
        *(f"{count} {length}s ago" for length in _SHORT),
        "last hour",
    ]
    close = difflib.get_close_matches(words, [text.casefold() for text in known], n=1, cutoff=0.7)
    meant = next((text for text in known if [text.casefold()] == close), None)
    return f" Did you mean {meant!r}?" if meant else ""


def _forms() -> str:
    words = ", ".join(map(repr, _EXAMPLES))
    return f"Write '2026-06-30', '2026-06-30 14:00', '2026-06', '2026-Q2', or one of {words}."


def age_text(age: timedelta) -> str:
    """Return how old something is: "3 d", "4 h", "5 min", "6 s"."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def refuse_future(given: Any, time: pd.Timestamp, now: pd.Timestamp, tz: str, name: str) -> None:
    """Raise `ArgumentError` where an argument, as given, is a time after now."""
    if time > now:
        raise ArgumentError(
            f"{name}={given!r} is in the future: by the server's clock it is"
            f" {now.tz_convert(tz):%Y-%m-%d %H:%M} ({tz})."
        )


__all__ = ["absolute", "age_text", "is_counted", "refuse_future"]
