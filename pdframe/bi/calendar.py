"""The calendar of a star: `dim_date`, and the keys of the days that it has."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.bi._tables import BiTable, ColumnNote

DATES = "dim_date"
DATE_KEY = "date_key"
MAX_YEARS = 10
"""Years that the calendar may have on either side of the year of `as_of`: a date in the year 9999
needs no three million rows.
"""
_Days = NDArray[np.datetime64]
_Ints = NDArray[np.int64]
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONDAY = np.datetime64("1970-01-05", "D")
_WEEK = 7


class Calendar:
    """The days that facts have: every key that is made widens the calendar.

    Parameters
    ----------
    as_of
        The day of the export, which the calendar always has.
    fiscal_start
        First month of the fiscal year, 1 to 12.
    """

    def __init__(self, as_of: date, fiscal_start: int) -> None:
        self._fiscal_start = fiscal_start
        self._first_year = self._last_year = as_of.year
        self._from = np.datetime64(f"{max(as_of.year - MAX_YEARS, 1):04}-01-01", "D")
        self._until = np.datetime64(f"{min(as_of.year + MAX_YEARS, 9999):04}-12-31", "D")

    def keys(self, days: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the key of each day (date32), null where it is null or outside the calendar."""
        first, last = (pa.scalar(day.item(), pa.date32()) for day in (self._from, self._until))
        inside = pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))
        keys = pc.if_else(inside, days, pa.scalar(None, pa.date32()))
        span = pc.min_max(keys).as_py()
        if span["min"] is not None:
            self._first_year = min(self._first_year, span["min"].year)
            self._last_year = max(self._last_year, span["max"].year)
        return keys

    def table(self) -> BiTable:
        """Return `dim_date`: every day of the years from the first to the last day of the facts."""
        days: _Days = np.arange(
            np.datetime64(f"{self._first_year:04}-01-01", "D"),
            np.datetime64(f"{self._last_year:04}-12-31", "D") + 1,
        )
        months = days.astype("datetime64[M]")
        year, month = _year(days), months.astype(np.int64) % 12 + 1
        weekday = _days_since(days, _MONDAY) % _WEEK
        # The year of an ISO week is the year of its Thursday.
        thursday = days + (3 - weekday)
        iso_year = _year(thursday)
        iso_week = _day_of_year(thursday) // _WEEK + 1
        # A fiscal year is named by the year in which it ends.
        shifted = months - (self._fiscal_start - 1)
        later = 0 if self._fiscal_start == 1 else 1
        fiscal_year = _year(shifted.astype(days.dtype)) + later
        fiscal_month = shifted.astype(np.int64) % 12 + 1
        fiscal_quarter = (fiscal_month - 1) // 3 + 1
        quarter = (month - 1) // 3 + 1
        columns: list[tuple[str, pa.Array, str]] = [
            (DATE_KEY, _dates(days), "The day: the key of the calendar"),
            ("year", _ints(year), "Calendar year"),
            ("quarter", _ints(quarter), "Quarter of the calendar year, 1 to 4"),
            ("month", _ints(month), "Month of the calendar year, 1 to 12"),
            ("day_of_month", _ints(_days_since(days, months.astype(days.dtype)) + 1), "1 to 31"),
            (
                "day_of_year",
                _ints(_day_of_year(days) + 1),
                "1 to 366",
            ),
            ("weekday", _ints(weekday + 1), "ISO weekday: 1 is Monday, 7 Sunday"),
            ("weekday_name", _chosen(_WEEKDAYS, weekday), "English name of the weekday"),
            ("is_weekend", pa.array(weekday > 4), "Whether it is a Saturday or a Sunday"),
            ("month_name", _chosen(_MONTHS, month - 1), "English name of the month"),
            ("year_quarter", _texts(year, "-Q", quarter, 1), "Such as 2026-Q2; sorts by time"),
            ("year_month", _texts(year, "-", month, 2), "Such as 2026-06; sorts by time"),
            ("month_start", _dates(months.astype(days.dtype)), "First day of the month"),
            ("month_end", _dates((months + 1).astype(days.dtype) - 1), "Last day of the month"),
            ("week_start", _dates(days - weekday), "Monday of the ISO week"),
            ("iso_year", _ints(iso_year), "Year of the ISO week: that of its Thursday"),
            ("iso_week", _ints(iso_week), "ISO week, 1 to 53"),
            ("iso_year_week", _texts(iso_year, "-W", iso_week, 2), "Such as 2026-W07"),
            (
                "fiscal_year",
                _ints(fiscal_year),
                "Fiscal year, named by the calendar year in which it ends",
            ),
            ("fiscal_quarter", _ints(fiscal_quarter), "Quarter of the fiscal year, 1 to 4"),
            ("fiscal_month", _ints(fiscal_month), "Month of the fiscal year, 1 to 12"),
            (
                "fiscal_year_quarter",
                _texts(fiscal_year, "-Q", fiscal_quarter, 1),
                "Such as 2026-Q2, of the fiscal year; sorts by time",
            ),
        ]
        notes = (
            ColumnNote(name, type_name(values.type), meaning=meaning)
            for name, values, meaning in columns
        )
        return BiTable(
            DATES,
            pa.table({name: values for name, values, _ in columns}),
            tuple(notes),
        )


def type_name(kind: pa.DataType) -> str:
    """Return the name of an Arrow type in `meta_columns`."""
    if pa.types.is_date32(kind):
        return "date32"
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}, {kind.tz}]"
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return str(kind)


def _year(days: _Days) -> _Ints:
    return days.astype("datetime64[Y]").astype(np.int64) + 1970


def _day_of_year(days: _Days) -> _Ints:
    """Return how many days of its year come before each day."""
    return _days_since(days, days.astype("datetime64[Y]").astype("datetime64[D]"))


def _days_since(days: _Days, first: _Days | np.datetime64) -> _Ints:
    return days.astype(np.int64) - np.asarray(first).astype(np.int64)


def _ints(values: _Ints) -> pa.Array:
    return pa.array(values, pa.int64())


def _dates(days: _Days) -> pa.Array:
    return pa.array(days, pa.date32())


def _chosen(names: tuple[str, ...], places: _Ints) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(places))


def _texts(year: _Ints, sign: str, part: _Ints, width: int) -> pa.Array:
    parts = pc.utf8_lpad(pa.array(part).cast(pa.string()), width=width, padding="0")
    years = pc.utf8_lpad(pa.array(year).cast(pa.string()), width=4, padding="0")
    return pc.binary_join_element_wise(years, parts, sign)


__all__ = ["DATES", "DATE_KEY", "MAX_YEARS", "Calendar", "type_name"]
