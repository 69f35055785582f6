"""Read times that are named by a period: a year, quarter or month, or a `pd.Period`."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from pdframe.errors import ArgumentError

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
        return first.isoformat(), (last + pd.Timedelta(1, "ns")).isoformat()
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


__all__ = ["named_period"]
