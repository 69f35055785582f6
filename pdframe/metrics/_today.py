"""What every metric reads alike: times and lengths of periods in words ("last month", "quarter"),
and whether its frames are of one account.

A metric reads no clock. A frame of an account says in `attrs["today"]` on which day it was loaded,
results pass that on, and words count from the latest of these days.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any, TypeVar

import pandas as pd

from pdframe._relative_times import absolute, is_counted
from pdframe.errors import ArgumentError
from pdframe.metrics._periods import letter_of

TODAY, ACCOUNT = "today", "account"
"""Keys of `attrs`."""
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
        account = _account({**dict(zip(names, args, strict=False)), **given})
        args = (
            *(_read(value, name, today) for value, name in zip(args, names, strict=False)),
            *args[len(names) :],
        )
        given = {name: _read(value, name, today) for name, value in given.items()}
        result = metric(*args, **given)
        for frame in result if isinstance(result, tuple) else (result,):
            if isinstance(frame, pd.DataFrame):
                if today is not None:
                    frame.attrs.setdefault(TODAY, today.isoformat())
                if account is not None:
                    frame.attrs.setdefault(ACCOUNT, account)
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


def _account(arguments: Mapping[str, object]) -> str | None:
    """Return the account that the frames are of; None where none says it.

    Raises
    ------
    ArgumentError
        They are of several: the ids of one name other rows in another.
    """
    frames: dict[str, str] = {}
    for name, frame in arguments.items():
        # A row of a result, as `drill_through` takes it, has its attributes too.
        attrs = frame.attrs if isinstance(frame, pd.DataFrame | pd.Series) else {}
        account = attrs.get(ACCOUNT)
        if isinstance(account, str):
            frames.setdefault(account, name)
    if len(frames) > 1:
        (first, one), (second, other), *_ = frames.items()
        raise ArgumentError(
            f"{one} is of the account {first!r}, {other} of {second!r}: an id means other rows in"
            " each. Pass frames of one account."
        )
    return next(iter(frames), None)


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
