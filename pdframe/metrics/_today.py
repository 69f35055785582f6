"""Times and lengths of periods in words in every metric: "today", "last month", "quarter".

A metric reads no clock. A frame of an account says in `attrs["today"]` on which day it was loaded,
results pass that on, and words count from the latest of these days.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any, TypeVar

import pandas as pd

from pdframe._relative_times import absolute, is_counted
from pdframe.errors import ArgumentError
from pdframe.metrics._periods import letter_of

TODAY = "today"
"""The key of `attrs`."""
_TIMES = frozenset({"as_of", "since", "until", "when", "before", "after", "cutoffs"})
Metric = TypeVar("Metric", bound=Callable[..., Any])


def counting_from_today(metric: Metric) -> Metric:
    """Return a metric that also takes times and lengths of periods in words, and whose result says
    what today is.
    """
    names = list(inspect.signature(metric).parameters)

    @functools.wraps(metric)
    def call(*args: Any, **given: Any) -> Any:
        today = _today([*args, *given.values()])
        args = (
            *(_read(value, name, today) for value, name in zip(args, names, strict=False)),
            *args[len(names) :],
        )
        given = {name: _read(value, name, today) for name, value in given.items()}
        result = metric(*args, **given)
        if today is not None:
            for frame in result if isinstance(result, tuple) else (result,):
                if isinstance(frame, pd.DataFrame):
                    frame.attrs.setdefault(TODAY, today.isoformat())
        return result

    return call  # type: ignore[return-value]


def _today(arguments: Iterable[object]) -> date | None:
    """Return the latest day on which one of the frames was loaded; None where none says it."""
    days = []
    for frame in arguments:
        named = frame.attrs.get(TODAY) if isinstance(frame, pd.DataFrame) else None
        try:
            days.append(date.fromisoformat(named)) if isinstance(named, str) else None
        except ValueError:
            continue  # attrs belong to the user
    return max(days, default=None)


def _read(value: Any, name: str, today: date | None) -> Any:
    """Return an argument with its times in words as days and periods, its length of periods as
    their letter.
    """
    if name == "freq":
        return letter_of(value)
    if today is None or name not in _TIMES:
        return value
    if name == "cutoffs" and isinstance(value, list | tuple):
        return [_read(each, name, today) for each in value]
    if not (isinstance(value, str) and is_counted(value)):
        return value
    if value.strip().casefold() == "now":
        # All of today is known as far as it has come.
        return (today + timedelta(days=name == "until")).isoformat()
    time = absolute(value, pd.Timestamp(today, tz="UTC"), "UTC", name)
    if isinstance(time, pd.Timestamp):
        raise ArgumentError(
            f"{name}={value!r}: a metric counts from the day of its frames, {today}, not from an"
            " hour. Write a time such as '2026-06-30 14:00', or a day such as 'yesterday'."
        )
    # As people write it, for the errors of metrics.
    return time.isoformat() if isinstance(time, date) else time


__all__ = ["counting_from_today"]
