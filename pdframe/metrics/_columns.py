"""Read columns of any dtype as plain arrays: times, days, amounts, ids and flags.

A value at the edge of time (31 December 9999, year 1) or an infinity cannot be computed with:
`times`, `dates` and `finite` read it as null, and `warn_of_uncountable` names it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe._plain import plain_column
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, Micros, countable, instants_of, local_days, micros

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

TOO_LARGE = 1e15
"""Amounts of deals from here on are read as null: floats no longer represent their cents, nor sums
of them.
"""

NO_ID = int(np.iinfo(np.int64).min)
"""A null id, in plain arrays."""


def instants(frame: pd.DataFrame, column: str, tz: str) -> Micros:
    """Return a column of times as microseconds since 1970 UTC; naive ones are in `tz`; text is ISO
    8601.

    `NULL` where it is null or at the edge of time.
    """
    values = micros(frame[column], tz, column)
    inside = countable(values)
    return values if inside.all() else np.where(inside, values, NULL)


def days(frame: pd.DataFrame, column: str) -> Micros:
    """Return a column of days as microseconds from 1970 to their midnight; `NULL` as in
    `instants`.
    """
    return local_days(instants(frame, column, "UTC"), "UTC")


def times(frame: pd.DataFrame, column: str, tz: str) -> pd.Series[Any]:
    """Return a column of times as datetime64[us, UTC]; naive ones are in `tz`; text is ISO 8601.

    Null, and a time at the edge of time, is null.
    """
    return as_times(instants(frame, column, tz), frame.index)


def as_times(values: Micros, index: pd.Index[Any]) -> pd.Series[Any]:
    """Return microseconds since 1970 UTC as a column of datetime64[us, UTC]."""
    column = pd.Series(values.view("datetime64[us]"), index=index)
    result: pd.Series[Any] = column.dt.tz_localize("UTC")
    return result


def plain_times(column: pd.Series[Any]) -> Micros:
    """Return a column of datetime64[us, UTC], as `times` gives it, as microseconds since 1970."""
    values: Micros = column.to_numpy("datetime64[us]").view(np.int64)
    return values


def dates(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a column of days as datetime64[us] without a timezone; null, and a day at the edge of
    time, is null.
    """
    return pd.Series(days(frame, column).view("datetime64[us]"), index=frame.index)


def midnights(days: Micros, tz: str) -> Micros:
    """Return the first instant of each day in `tz`; all are microseconds."""
    if tz == "UTC":
        return days
    first = instants_of(days, tz)
    return np.where(countable(first), first, NULL)


def amounts(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column of numbers as float64, null as NaN."""
    values = plain_column(frame[column])
    if values.dtype.kind in "mMb":
        raise ArgumentError(f"The column {column!r} is {values.dtype}; it must hold numbers.")
    try:
        return np.asarray(pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"The column {column!r} holds values that are not numbers.") from None


def finite(frame: pd.DataFrame, column: str, *, below: float = np.inf) -> Floats:
    """Return a column of numbers as float64; null, infinities and numbers that are not `below` as
    NaN.
    """
    values = amounts(frame, column)
    return np.where(np.abs(values) >= below, np.nan, values)


def at_the_edge(frame: pd.DataFrame, column: str) -> Flags:
    """Return where a column of times or days holds one at the edge of time: 31 December 9999 (and
    the day before), year 1.
    """
    values = micros(frame[column], "UTC", column)
    return np.asarray((values != NULL) & ~countable(values), np.bool_)


def warn_of_uncountable(
    frame: pd.DataFrame,
    name: str,
    *,
    moments: Iterable[str] = (),
    numbers: Iterable[str] = (),
    key: str = "id",
    below: float = np.inf,
) -> None:
    """Warn once of the cells of a frame that cannot be computed with, and so are read as null.

    Parameters
    ----------
    frame, name
        The argument, and its name.
    moments, numbers
        Columns of times or days, and of amounts; those that the frame does not have are ignored.
    key
        The column that names a row in the message.
    below
        The limit of numbers, as in `finite`.
    """
    described: list[str] = []
    for column in moments:
        if column in frame.columns:
            described += _described(frame, column, at_the_edge(frame, column), key)
    for column in numbers:
        if column in frame.columns:
            described += _described(frame, column, np.abs(amounts(frame, column)) >= below, key)
    if described:
        warn(
            f"{name}: values that cannot be computed with are read as null: {'; '.join(described)}."
        )


def _described(frame: pd.DataFrame, column: str, which: Flags, key: str) -> list[str]:
    """Describe the cells of one column; return an empty list where there are none."""
    rows = np.flatnonzero(which)
    if not len(rows):
        return []
    value, row = (
        frame[column].iloc[rows[0]],
        frame[key].iloc[rows[0]] if key in frame.columns else frame.index[rows[0]],
    )
    return [
        f"{column} in {len(rows):,} row{'s' if len(rows) > 1 else ''}, for example {value} ({key}"
        f" {row})"
    ]


def plain_ids(column: pd.Series[Any]) -> Ints:
    """Return a column of ids as integers; `NO_ID` where null."""
    column = plain_column(column)
    kind = column.dtype.kind
    try:
        if kind == "f":
            plain = column.to_numpy(np.float64, na_value=np.nan)
            odd = ~np.isnan(plain) & ~((np.abs(plain) < 2**53) & (plain == np.floor(plain)))
            if odd.any():
                raise ValueError
            return np.asarray(np.where(np.isnan(plain), NO_ID, plain).astype(np.int64))
        if kind == "u" and bool((column > np.iinfo(np.int64).max).any()):
            raise OverflowError
        if kind not in "iu":
            if kind not in "OSU":
                raise TypeError
            with np.errstate(invalid="raise"):
                column = column.astype("Int64")
        return np.asarray(column.to_numpy(np.int64, na_value=NO_ID))
    except (TypeError, ValueError, OverflowError, FloatingPointError):
        raise ArgumentError(
            f"The column {column.name!r} is {column.dtype}; it must hold ids (Int64)."
        ) from None


def ids(frame: pd.DataFrame, column: str) -> pd.Series[Any]:
    """Return a column of ids as Int64; null is null."""
    values = plain_ids(frame[column])
    return pd.Series(values, index=frame.index, dtype="Int64").mask(values == NO_ID)


def one_row_each(frame: pd.DataFrame, name: str, column: str = "id") -> pd.Series[Any]:
    """Return the ids of a frame with one row each, as Int64; raise `ArgumentError` where one occurs
    twice or is null.
    """
    values = ids(frame, column)
    if values.isna().any():
        raise ArgumentError(
            f"{column!r} of {name} is null in {values.isna().sum():,} rows. Drop them."
        )
    if not values.is_unique:
        raise ArgumentError(
            f"{name} holds an id twice, in {values.duplicated(keep=False).sum():,} rows. Pass one"
            " row each."
        )
    return values


def equals(frame: pd.DataFrame, column: str, value: object) -> Flags:
    """Return where a column equals a value; null does not. For a flag, text ("True", "false") and 0
    and 1 are read as flags.

    Raises
    ------
    ArgumentError
        `value` is a flag, and the column holds something else.
    """
    values = plain_column(frame[column])
    if isinstance(value, bool):
        values = _flags(values, column)
    return np.asarray((values == value).fillna(False), dtype=np.bool_)


_FLAGS = {"true": True, "false": False, "1": True, "0": False}


def _flags(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return a column of flags as boolean."""
    if column.dtype.kind == "b" or column.isna().all():
        return column
    numeric = column.dtype.kind in "iuf"
    values = (
        column.map({0: False, 1: True})
        if numeric
        else column.astype("str").str.strip().str.lower().map(_FLAGS)
    )
    if (values.isna() & column.notna()).any():
        raise ArgumentError(f"The column {name!r} holds values that are neither true nor false.")
    return values.astype("boolean")


def places(table: Ints, keys: Ints) -> Ints:
    """Return the place of each key in a table of unique ids, none null; -1 where it has none."""
    if not len(table) or not len(keys):
        return np.full(len(keys), -1, np.int64)
    first, last = int(table.min()), int(table.max())
    if last - first > 4 * (len(table) + len(keys)):
        return np.asarray(pd.Index(table).get_indexer(pd.Index(keys)), np.int64)
    # Ids are dense: an array of all between the first and the last is faster than a hash table.
    place = np.full(last - first + 2, -1, np.int64)
    place[table - first] = np.arange(len(table))
    inside = (keys >= first) & (keys <= last)
    result: Ints = place[np.where(inside, keys - first, last - first + 1)]
    return result


def lookup(keys: pd.Series[Any], table: pd.Series[Any]) -> pd.Series[Any]:
    """Return the value of each key in a table that is indexed by unique keys; null where it has
    none.
    """
    return table.reindex(pd.Index(keys)).set_axis(keys.index)


def days_between(start: pd.Series[Any], end: pd.Series[Any] | pd.Timestamp) -> Floats:
    """Return the days from `start` to `end`, fractions included; NaN where either is null."""
    seconds: pd.Series[Any] = (end - start).dt.total_seconds()
    return np.asarray(seconds.to_numpy(np.float64) / 86_400)


def mean_of(values: Floats, groups: Ints, count: int) -> Floats:
    """Return the mean of each of `count` groups without its nulls; NaN for a group without values.

    It does not depend on the order of the rows, nor on other groups, to the last bit: each group is
    added up by size.
    """
    known = ~np.isnan(values)
    values, groups = values[known], groups[known]
    order = np.lexsort((values, groups))
    total = np.bincount(groups[order], values[order], minlength=count)
    return ratio(total, np.bincount(groups, minlength=count))


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Return above / below, NaN where below is 0."""
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    result: Floats = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom != 0)
    return result
