"""Reads columns of a frame that somebody gave: times, days, amounts and flags, whatever dtype they came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics.inputs import local_date, micros

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

NO_ID = -1
"""The id of nothing, in plain arrays."""


def times(frame: pd.DataFrame, column: str, tz: str) -> pd.Series[Any]:
    """Return a column of times as datetime64[us, UTC]; naive ones are in `tz`, null stays null; text is ISO 8601."""
    found = micros(frame[column], tz, column).view("datetime64[us]")
    return pd.Series(found, index=frame.index).dt.tz_localize("UTC")


def dates(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a column of days as datetime64[us] without a timezone; null stays null."""
    return local_date(times(frame, column, "UTC"), "UTC")


def midnight(days: pd.Series[Any], tz: str) -> pd.Series[Any]:
    """Return the first instant of each day in `tz`, as datetime64[us, UTC]."""
    return times(days.to_frame("day"), "day", tz)


def amounts(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column of numbers as float64, null as NaN."""
    found = frame[column]
    if found.dtype.kind in "mMb":
        raise ArgumentError(f"The column {column!r} is {found.dtype}; it is to hold numbers.")
    try:
        return np.asarray(pd.to_numeric(found).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise ArgumentError(f"The column {column!r} holds values that are no numbers.") from None


def plain_ids(column: pd.Series[Any]) -> Ints:
    """A column of ids as integers; `NO_ID` where null."""
    kind = column.dtype.kind
    try:
        if kind == "f":
            plain = column.to_numpy(np.float64, na_value=np.nan)
            odd = ~np.isnan(plain) & ~((np.abs(plain) < 2**53) & (plain == np.floor(plain)))
            if odd.any():
                raise ValueError
            return np.asarray(np.where(np.isnan(plain), NO_ID, plain).astype(np.int64))
        if kind not in "iu":
            if kind not in "OSU":
                raise TypeError
            with np.errstate(invalid="raise"):
                column = column.astype("Int64")
        return np.asarray(column.to_numpy(np.int64, na_value=NO_ID))
    except (TypeError, ValueError, OverflowError, FloatingPointError):
        raise ArgumentError(f"The column {column.name!r} is {column.dtype}; it is to hold ids (Int64).") from None


def ids(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a column of ids as Int64, null stays null."""
    found = plain_ids(frame[column])
    return pd.Series(found, index=frame.index, dtype="Int64").mask(found == NO_ID)


def one_row_each(frame: pd.DataFrame, name: str, column: str = "id") -> pd.Series[Any]:
    """Return the ids of a frame that holds one row each, as Int64; `ArgumentError` where one comes twice or is null."""
    found = ids(frame, column)
    if found.isna().any():
        raise ArgumentError(f"{column!r} of {name} is null in {found.isna().sum():,} rows. Drop them.")
    if not found.is_unique:
        raise ArgumentError(f"{name} holds an id twice, in {found.duplicated(keep=False).sum():,} rows. Pass one row each.")
    return found


def equals(frame: pd.DataFrame, column: str, value: object) -> Flags:
    """Return where a column holds a value; null does not."""
    return np.asarray((frame[column] == value).fillna(False), dtype=np.bool_)


def looked_up(keys: pd.Series[Any], table: pd.Series[Any]) -> pd.Series[Any]:
    """Return what a table, indexed by unique keys, says of each key; null where it has none."""
    return table.reindex(pd.Index(keys)).set_axis(keys.index)


def days_between(start: pd.Series[Any], end: pd.Series[Any] | pd.Timestamp) -> Floats:
    """Return the days from `start` to `end`, fractions included; NaN where either is null."""
    seconds: pd.Series[Any] = (end - start).dt.total_seconds()
    return np.asarray(seconds.to_numpy(np.float64) / 86_400)


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Return above / below, NaN where below is 0."""
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    result: Floats = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom != 0)
    return result
