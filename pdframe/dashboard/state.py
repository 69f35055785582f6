"""What a reader chose to see: a period, and which deals."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import numpy as np
import pandas as pd

from pdframe._moments import moment, named_period
from pdframe._relative_times import absolute, is_counted
from pdframe.errors import ArgumentError

__all__ = [
    "EMPTY",
    "USUAL_DAYS",
    "Empty",
    "Period",
    "State",
    "check_period",
    "condition",
    "filtered",
    "period_of",
]

USUAL_DAYS = 90
"""Length of the period where none is named."""
_LAST_DAYS = re.compile(r"\s*(?:last\s+)?(\d{1,4})\s*d(?:ays?)?\s*", re.IGNORECASE | re.ASCII)
_ONE_DAY = ("today", "yesterday", "tomorrow")
_TO_DATE = {"wtd": "this week", "mtd": "this month", "qtd": "this quarter", "ytd": "this year"}


class Empty(Enum):
    """The value of a field without a value."""

    EMPTY = "(empty)"


EMPTY: Final = Empty.EMPTY


@dataclass(frozen=True, slots=True)
class Period:
    """A window of days, and the one before it to compare with.

    Attributes
    ----------
    since, until
        First day, and the day after the last one; a running period ends with today.
    before_since, before_until
        The period before, of a running one as many days of it.
    """

    since: pd.Timestamp
    until: pd.Timestamp
    before_since: pd.Timestamp
    before_until: pd.Timestamp

    @property
    def text(self) -> str:
        """First and last day."""
        return _days(self.since, self.until)

    @property
    def before_text(self) -> str:
        """First and last day of the period before."""
        return _days(self.before_since, self.before_until)


@dataclass(frozen=True, slots=True)
class State:
    """What a reader chose.

    Attributes
    ----------
    period
        The days that are shown.
    pipeline_id, owner_id
        None: all.
    field, value
        A column of deals, and the value that deals must have in it: of a list, one of its items;
        `EMPTY`: none. None: all.
    currency
        The currency of charts and forecasts; other currencies have figures of their own.
    quota
        Of each month that is forecast, in `currency`; None: there is none.
    """

    period: Period
    pipeline_id: int | None = None
    owner_id: int | None = None
    field: str | None = None
    value: Hashable | None = None
    currency: str | None = None
    quota: float | None = None

    @property
    def chosen(self) -> tuple[tuple[str, Hashable], ...]:
        """The columns of deals that are filtered by, each with the value that it must have."""
        every = (
            ("pipeline_id", self.pipeline_id),
            ("owner_id", self.owner_id),
            (self.field, self.value),
        )
        return tuple(
            (column, value) for column, value in every if column is not None and value is not None
        )

    @property
    def of_all_pipelines(self) -> State:
        """The same choice without its pipeline."""
        return replace(self, pipeline_id=None)


def period_of(period: Any, now: pd.Timestamp, tz: str) -> Period:
    """Return the window of days that a user names.

    Parameters
    ----------
    period
        A year, quarter or month ("2026", "2026-Q2", "2026-06", a `pd.Period`), "this month", "last
        quarter", "ytd"; a day ("2026-06-15", "yesterday"); "last 30 days" with today, "last Monday"
        or "last 6 months": from that day to today; a pair of days (since, until); None: the last 90
        days.
    now
        The server's clock.
    tz
        The timezone of days.

    Raises
    ------
    ArgumentError
        `period` is none of these, is empty, or begins after today.
    """
    tomorrow = now.tz_convert(tz).tz_localize(None).normalize() + pd.Timedelta(1, "D")
    since, end = _ends(period, now, tz, tomorrow)
    if since >= end:
        raise ArgumentError(f"period={period!r} is empty: it must end after it begins.")
    if since >= tomorrow:
        today = tomorrow - pd.Timedelta(1, "D")
        raise ArgumentError(
            f"period={period!r} is in the future: by the server's clock it is"
            f" {today:%Y-%m-%d} ({tz})."
        )
    until = min(end, tomorrow)
    months = (end.year - since.year) * 12 + end.month - since.month
    # The last 30 days are no month, also where they happen to be June.
    is_calendar = since.day == 1 and end.day == 1 and not _are_last_days(period)
    before = since - (pd.DateOffset(months=months) if is_calendar else end - since)
    return Period(
        since, until, before, since if until == end else min(before + (until - since), since)
    )


def check_period(period: Any) -> None:
    """Raise `ArgumentError` where a user names no period: the server's clock need not be known."""
    now = pd.Timestamp.now("UTC")
    _ends(period, now, "UTC", now.tz_localize(None).normalize())


def filtered(deals: pd.DataFrame, state: State) -> pd.DataFrame:
    """Return the deals that a reader chose, with their `attrs`.

    Raises
    ------
    ArgumentError
        Deals have no such column.
    """
    rows = deals
    for column, value in state.chosen:
        if column not in deals.columns:
            raise ArgumentError(f"Deals have no column {column!r}.")
        rows = rows[_is(rows[column], value)]
    if rows is deals:
        return deals
    rows = rows.reset_index(drop=True)
    rows.attrs = dict(deals.attrs)
    return rows


def condition(deals: pd.DataFrame, column: str, value: Hashable) -> str:
    """Return the expression that is true of the deals with a value, as `filtered` chooses them."""
    cells = f"deals[{column!r}]"
    if _has_lists(deals[column]):
        items = f"{cells}.explode()"
        if value is EMPTY:
            return f"{items}.isna().groupby(level=0).all()"
        return f"{items}.eq({_literal(value)}).groupby(level=0).any()"
    return f"{cells}.isna()" if value is EMPTY else f"{cells} == {_literal(value)}"


def _is(cells: pd.Series[Any], value: Hashable) -> pd.Series[bool]:
    if _has_lists(cells):
        items = cells.explode()
        by_row = (items.isna() if value is EMPTY else _equal(items, value)).groupby(level=0)
        return by_row.all() if value is EMPTY else by_row.any()
    return cells.isna() if value is EMPTY else _equal(cells, value)


def _equal(cells: pd.Series[Any], value: Any) -> pd.Series[bool]:
    return cells.eq(value).fillna(False).astype(bool)


def _has_lists(cells: pd.Series[Any]) -> bool:
    if isinstance(cells.dtype, pd.ArrowDtype):
        return str(cells.dtype).startswith("list")
    if cells.dtype != object:
        return False
    first = cells.dropna().head(1)
    return any(isinstance(cell, Iterable) and not isinstance(cell, str) for cell in first)


def _literal(value: Hashable) -> str:
    """Return a value as Python writes it; a time as text, with which columns compare."""
    if isinstance(value, pd.Timestamp | pd.Timedelta):
        return repr(str(value))
    return repr(value.item() if isinstance(value, np.generic) else value)


def _are_last_days(period: Any) -> bool:
    """Return whether a user names no period, or a number of days up to today."""
    return period is None or (isinstance(period, str) and _LAST_DAYS.fullmatch(period) is not None)


def _ends(
    period: Any, now: pd.Timestamp, tz: str, tomorrow: pd.Timestamp
) -> tuple[pd.Timestamp, pd.Timestamp]:
    if period is None:
        return tomorrow - pd.Timedelta(USUAL_DAYS, "D"), tomorrow
    if isinstance(period, str) and (days_long := _LAST_DAYS.fullmatch(period)):
        return tomorrow - pd.Timedelta(int(days_long[1]), "D"), tomorrow
    if isinstance(period, tuple) and len(period) == 2:
        return _day(period[0], now, tz), _day(period[1], now, tz)
    words = period.strip().casefold() if isinstance(period, str) else ""
    named = absolute(_TO_DATE.get(words, period), now.to_pydatetime(), tz, "period")
    if days := named_period(named, "period"):
        return pd.Timestamp(days[0]), pd.Timestamp(days[1])
    try:
        since = _day(named, now, tz)
    except ArgumentError:
        raise ArgumentError(
            f"period={period!r} is not a period. Write '2026', '2026-Q2', '2026-06', 'this month',"
            " 'last quarter', 'last 30 days', 'ytd', or two days: ('2026-04-01', '2026-07-01')."
        ) from None
    next_day = since + pd.Timedelta(1, "D")
    # "yesterday" is one day; what is counted from now ("last Monday", "last 6 months") goes on to
    # today.
    goes_on = is_counted(period) and words not in _ONE_DAY
    return since, max(tomorrow, next_day) if goes_on else next_day


def _day(when: Any, now: pd.Timestamp, tz: str) -> pd.Timestamp:
    time = moment(absolute(when, now.to_pydatetime(), tz, "period"), tz, "period")
    return time.tz_convert(tz).tz_localize(None).normalize()


def _days(since: pd.Timestamp, until: pd.Timestamp) -> str:
    return f"{since:%Y-%m-%d} to {until - pd.Timedelta(1, 'D'):%Y-%m-%d}"
