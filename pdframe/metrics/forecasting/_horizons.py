"""Read horizons: lengths of time, or dates and periods by whose end something happens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import span, to_micros
from pdframe.metrics._periods import known_by
from pdframe.metrics._survival import Ints
from pdframe.metrics.forecasting._interface import DAY

_DATED = re.compile(r"\s*\d{4}(-|\s*$|-?[Qq][1-4])")


def read_horizons(horizons: Any, as_of: int, tz: str) -> Ints:
    """Return horizons as microseconds from `as_of`, ascending and without repetition.

    Parameters
    ----------
    horizons
        One or more of: a length ("90D", a Timedelta); a day, time, month, quarter or year ("2026",
        "2026-Q3", "2026-09", a date, a Period), which stands for the time to its end.
    as_of
        Microseconds since 1970 UTC.
    tz
        Timezone of naive times and of days.

    Raises
    ------
    ArgumentError
        One is neither, or does not lie after `as_of`.
    """
    given = [horizons] if _is_one(horizons) else list(horizons)
    if not given:
        raise ArgumentError("horizons must name at least one length of time or date.")
    result = []
    for value in given:
        if _is_dated(value):
            end = to_micros(known_by(value, tz, "horizons"))
            length = end - as_of
        else:
            length = round(span(value, "horizons") * DAY)
        if length <= 0:
            raise ArgumentError(f"horizons: {value!r} does not lie after as_of.")
        result.append(length)
    return np.unique(np.array(result, np.int64))


def _is_one(horizons: Any) -> bool:
    one = isinstance(horizons, str | date | pd.Timedelta | pd.Period | np.generic)
    return one or not isinstance(horizons, Iterable)


def _is_dated(value: Any) -> bool:
    if isinstance(value, str):
        return _DATED.match(value) is not None
    return isinstance(value, date | np.datetime64 | pd.Period)


__all__ = ["read_horizons"]
