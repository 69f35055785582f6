"""Read the arguments of metrics: frames with the columns they need, times, windows, and the columns
to group by.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._advice import SOURCES, did_you_mean, nearest
from pdframe._moments import ending, moment, zone
from pdframe._plain import holds_lists, plain_column, plain_frame
from pdframe._warnings import warn
from pdframe.errors import ArgumentError

Micros = NDArray[np.int64]

# A null time, in microseconds.
NULL = np.iinfo(np.int64).min
DAY = 86_400_000_000

# 0001-01-03 and 9999-12-30. Times outside cannot be converted to every timezone; the programs that
# write them mean "no time".
FIRST_COUNTABLE, END_COUNTABLE = -62_135_424_000_000_000, 253_402_128_000_000_000

_EPOCH = pd.Timestamp("1970-01-01", tz="UTC").as_unit("us")

# Columns that hold microseconds of UTC already.
_STORED, _STORED_DAYS = pd.DatetimeTZDtype("us", "UTC"), np.dtype("datetime64[us]")

# The columns that account.deals() adds, and those that names=True adds to them.
_NAMES = frozenset({"creator_name", "owner_name", "owner", "pipeline_name", "stage_name"})
_LONG_NAMES = frozenset({"person_name", "org_name"})
TEXT = (
    _NAMES - {"owner"}
    | _LONG_NAMES
    | {"channel_id", "currency", "lost_reason", "origin", "origin_id", "title"}
)
"""Columns of deals that are text in every loader's frame, never options: no custom field can have
such a name.
"""

_NUMBER = re.compile(r"[\s\d.+-]*")
# "90d": pandas is about to read only the capital letter.
_DAYS = re.compile(r"(?<=[\d\s])d\b")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise `ArgumentError` where the argument `name` is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(
            f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}."
        )


def require_columns(
    frame: object, name: str, columns: Iterable[str], by: Iterable[str] = ()
) -> pd.DataFrame:
    """Return the argument `name`, a frame with these columns, in the dtypes of the loaders,
    whichever reader made it.

    `by` are further columns to group by.

    Raises
    ------
    ArgumentError
        It is not a DataFrame, or columns are missing, occur twice or hold lists; the message names
        them.
    """
    if not isinstance(frame, pd.DataFrame):
        given = "None" if frame is None else type(frame).__name__
        source = f" from {SOURCES[name]}" if name in SOURCES else ""
        raise ArgumentError(f"{name} must be a DataFrame{source}, not {given}.")
    if frame.columns.nlevels > 1:
        raise ArgumentError(
            f"The columns of {name} have names of {frame.columns.nlevels} parts, as after a pivot."
            " Give each one text: frame.columns = [' '.join(map(str, one)).strip() for one in"
            " frame.columns]."
        )
    columns, by = list(columns), list(by)
    missing = [column for column in (*columns, *by) if column not in frame.columns]
    if missing:
        raise ArgumentError(
            f"{name} has no column {', '.join(map(repr, missing))}."
            f" {_remedy(name, missing, frame, by)}"
        )
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].unique()
        raise ArgumentError(
            f"{name} has more than one column {', '.join(map(repr, twice))}. Drop or rename the"
            " others."
        )
    for column in columns:
        if holds_lists(frame[column]):
            raise ArgumentError(
                f"The column {column!r} of {name} holds lists or similar values, which cannot be"
                " computed with. Pass the loader's frame."
            )
    return plain_frame(frame)


def _remedy(name: str, missing: Sequence[str], frame: pd.DataFrame, by: Collection[str]) -> str:
    """Name the column that a mistyped one of `by` resembles, else the frame that has the missing
    columns of the argument `name`.
    """
    loaded = f"account.{name}"
    if name in ("deals", "activities") and _NAMES.issuperset(missing):
        return f"{loaded}() adds the names of ids, unless names=False."
    if name in ("deals", "activities") and (_NAMES | _LONG_NAMES).issuperset(missing):
        return f"{loaded}(names=True) adds the names of persons and organizations."
    if set(missing) <= {*by}:
        meant = _meant(by, frame)
        if len(meant) > 1:
            return f"Did you mean by={meant!r}?"
        hint = did_you_mean(missing[0], frame.columns) if meant else ""
        if hint:
            return hint
    source = SOURCES.get(name)
    carried = " The argument carry= of mrr_lines adds columns of deals." if name == "lines" else ""
    return f"Pass the frame of {source or 'the loader'} with all its columns.{carried}"


def _meant(by: Collection[str], frame: pd.DataFrame) -> list[str]:
    """Return the columns of the frame that `by` probably means, those of "a, b" one by one; none
    where one of them is like no column.
    """
    result: list[str] = []
    for name in map(str, by):
        parts = [name] if name in frame.columns else [part.strip() for part in name.split(",")]
        for part in parts:
            near = [part] if part in frame.columns else nearest(part, frame.columns)
            # "owner" as elsewhere: its name.
            named = f"{part}_name"
            result.append(named if named in near else near[0] if near else "")
    return list(dict.fromkeys(result)) if all(result) else []


def zone_of(tz: str | None, *frames: object) -> str:
    """Return the timezone that a metric counts in: `tz`, else that of the first frame that names
    one in `attrs["tz"]`, else UTC.

    Raises
    ------
    ArgumentError
        `tz` is no timezone.

    Warns
    -----
    DataWarning
        A frame names a timezone that this machine does not know: UTC is used.
    """
    if tz is not None:
        zone(tz)
        return tz
    for frame in frames:
        named = frame.attrs.get("tz") if isinstance(frame, pd.DataFrame) else None
        if named is None:
            continue
        try:
            zone(named)
        except ArgumentError:
            warn(
                f"attrs['tz'] of the frame is {named!r}, a timezone that this machine does not"
                " know: UTC is used. Pass tz= for another."
            )
            return "UTC"
        return str(named)
    return "UTC"


def to_micros(time: pd.Timestamp) -> int:
    """Return a time as microseconds since 1970 UTC."""
    # In nanoseconds, the difference would not fit after the year 2262.
    return (time.as_unit("us") - _EPOCH) // pd.Timedelta(microseconds=1)


def window(since: Any, until: Any, tz: str) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Return the window [since, until) in UTC, None for no bound; a year, quarter, month or
    `pd.Period` as `until` is taken to its end. Raise `ArgumentError` where it contains no instant.
    """
    first = None if since is None else moment(since, tz, "since")
    end = None if until is None else ending(until, tz, "until")
    if first is not None and end is not None and first >= end:
        raise ArgumentError(
            f"since={since!r} is not before until={until!r}; until itself is outside the window."
        )
    return first, end


def span(value: Any, name: str) -> float:
    """Return a length of time in days: a Timedelta, or text that pandas reads as one ("90D"). Raise
    `ArgumentError` where it is none, or negative.
    """
    # A number without a unit would be nanoseconds.
    number = isinstance(value, int | float | np.number) and not isinstance(value, np.timedelta64)
    try:
        length = (
            pd.NaT
            if number or (isinstance(value, str) and _NUMBER.fullmatch(value))
            else pd.Timedelta(_DAYS.sub("D", value) if isinstance(value, str) else value)
        )
    except (ValueError, TypeError, OverflowError):
        length = pd.NaT
    if length is pd.NaT or length < pd.Timedelta(0):
        raise ArgumentError(
            f"{name}={value!r} is not a length of time. Write '90D', or pass a Timedelta."
        )
    return length / pd.Timedelta(days=1)


def keys(
    by: str | Sequence[str] | None, columns: Collection[str] = (), *frames: object
) -> list[str]:
    """Return `by` as a list of names.

    "owner" is `owner_name` where one of `frames` has that and none has a column "owner"; the same
    for "pipeline", "stage" and other ids with a name.

    Raises
    ------
    ArgumentError
        A name occurs twice, is not text, or is one of `columns`, the result's own.
    """
    if by is None:
        return []
    given_by: object = by
    if isinstance(given_by, pd.Series):
        raise ArgumentError(
            f"by must be the name of a column, not its values: by={given_by.name or 'status'!r}."
        )
    names = [by] if isinstance(by, str) else list(by) if isinstance(by, Iterable) else [by]
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"by={by!r} must be the name of a column, such as by='status', or a list of names, such"
            " as by=['pipeline_id', 'status']."
        )
    given = {
        column for frame in frames if isinstance(frame, pd.DataFrame) for column in frame.columns
    }
    names = [
        f"{name}_name" if name not in given and f"{name}_name" in given else name for name in names
    ]
    if len(set(names)) < len(names):
        raise ArgumentError(f"by={by!r} names a column twice.")
    taken = [name for name in names if name in columns]
    if taken:
        raise ArgumentError(
            f"by={by!r}: the result has a column {', '.join(map(repr, taken))} of its own. Rename"
            " yours."
        )
    return names


def grouped(frame: pd.DataFrame, by: Sequence[str]) -> tuple[Micros, pd.DataFrame]:
    """Return dense group numbers of the rows, and one row of keys per group.

    Parameters
    ----------
    frame
        Has the columns of `by`.
    by
        Empty: one group, which exists even without rows.

    Returns
    -------
    codes
        int64, one per row.
    keys
        The columns of `by` with their dtypes, one row per group that occurs, sorted (options in
        the order of their categories, what loaders give as text as text); nulls are a group of
        their own, the last.

    Raises
    ------
    ArgumentError
        A column has values that cannot be grouped by, such as lists.
    """
    if not by:
        return np.zeros(len(frame), np.int64), pd.DataFrame(index=pd.RangeIndex(1))
    frame = _with_text(frame[list(by)])
    codes = np.zeros(len(frame), np.int64)
    for name in by:
        own, count = _ranks(frame[name], name)
        codes = codes * count + own
        # Dense after each column, so that many columns cannot overflow.
        codes = _dense(codes)
    groups = int(codes.max()) + 1 if len(codes) else 0
    first = np.empty(groups, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return codes, frame.take(first).reset_index(drop=True)


def _with_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the columns as text that are text in every loader's frame: a reader
    that makes them categories lists these as they occur. An order that was set stays.
    """
    text = [
        name
        for name in frame.columns
        if name in TEXT
        and isinstance(kind := frame[name].dtype, pd.CategoricalDtype)
        and isinstance(kind.categories.dtype, pd.StringDtype | np.dtypes.ObjectDType)
        and not kind.ordered
    ]
    return frame.astype(dict.fromkeys(text, "str")) if text else frame


def _ranks(column: pd.Series[Any], name: str) -> tuple[Micros, int]:
    """Return the rank of each value of a column, nulls last, and the number of ranks."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, count = column.cat.codes.to_numpy().astype(np.int64), len(column.cat.categories)
    else:
        try:
            result, uniques = pd.factorize(column, sort=True)
        except (TypeError, NotImplementedError, ValueError):
            raise ArgumentError(
                f"by={name!r}: its values ({column.dtype}) cannot be grouped by. Convert them to"
                f" text: frame[{name!r}] = frame[{name!r}].map(str, na_action='ignore')."
            ) from None
        codes, count = result.astype(np.int64), len(uniques)
    return np.where(codes < 0, count, codes), count + 1


def _dense(codes: Micros) -> Micros:
    if not len(codes):
        return codes
    size = int(codes.max()) + 1
    if size > 4 * len(codes):
        return np.unique(codes, return_inverse=True)[1].astype(np.int64)
    used = np.zeros(size, np.bool_)
    used[codes] = True
    return (np.cumsum(used) - 1)[codes]


def micros(column: pd.Series[Any], tz: str, name: str) -> Micros:
    """Return times as microseconds since 1970 UTC, `NULL` where null; naive ones are in `tz`, text
    is ISO 8601 (as from a CSV file).

    Raises
    ------
    ArgumentError
        The column does not hold times.
    """
    column = plain_column(column)
    times = column if pd.api.types.is_datetime64_any_dtype(column.dtype) else _parsed(column, name)
    zone(tz)
    if times.dtype == _STORED or (times.dtype == _STORED_DAYS and tz == "UTC"):
        stored: Micros = times.to_numpy("datetime64[us]").view(np.int64)
        return stored
    try:
        if not isinstance(times.dtype, pd.DatetimeTZDtype):
            return instants_of(times.dt.as_unit("us").to_numpy().view(np.int64), tz)
        result: Micros = (
            times.dt.tz_convert("UTC")
            .dt.tz_localize(None)
            .dt.as_unit("us")
            .to_numpy()
            .view(np.int64)
        )
    except (OverflowError, ValueError):
        raise ArgumentError(
            f"The column {name!r} holds times outside the supported years."
        ) from None
    return result


def _parsed(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Parse the times of a column of text or of plain objects."""
    kind = (
        "empty"
        if column.isna().all()
        else pd.api.types.infer_dtype(column.astype(object), skipna=True)
    )
    if kind not in ("empty", "string", "date", "datetime", "datetime64"):
        raise ArgumentError(
            f"The column {name!r} is {column.dtype} and does not hold times. Use"
            " pandas.to_datetime(..., utc=True) first."
        )
    try:
        if kind == "string":
            return pd.to_datetime(column.astype("str"), format="ISO8601")
        return pd.to_datetime(column.astype(object))
    except (ValueError, OverflowError) as error:
        if kind == "string" and "timezone" not in str(error):
            raise ArgumentError(
                f"The column {name!r} holds text that is not a time in ISO 8601, such as"
                " 2026-06-30T14:00:00Z."
            ) from None
        raise ArgumentError(
            f"The column {name!r} mixes times with and without a timezone, or of several timezones."
        ) from None


def instants_of(clock: Micros, tz: str) -> Micros:
    """Return times on the clock of `tz` as microseconds since 1970 UTC.

    Of a time that the clock shows twice the first counts; one that it skips is the instant of the
    change. Null, and times at the edge of time, where no timezone can be applied, are unchanged.
    """
    inside = countable(clock)
    naive = pd.DatetimeIndex(np.where(inside, clock, NULL).view("datetime64[us]"))
    is_summer = np.ones(len(clock), np.bool_)
    instants = naive.tz_localize(zone(tz), ambiguous=is_summer, nonexistent="shift_forward").asi8
    return np.where(inside, instants, clock)


def countable(instants: Micros) -> NDArray[np.bool_]:
    """Return which times are neither null nor at the edge of time (9999-12-31, year 1), where no
    timezone can be applied.
    """
    return np.asarray((instants >= FIRST_COUNTABLE) & (instants < END_COUNTABLE), np.bool_)


def local_date(times: pd.Series[Any], tz: str) -> pd.Series[Any]:
    """Return the day of each time in `tz`, as `datetime64[us]`; naive times are in `tz` already.

    A time at the edge of time, where no timezone can be applied, is on its day in UTC.
    """
    if not isinstance(times.dtype, pd.DatetimeTZDtype):
        days: pd.Series[Any] = times.dt.as_unit("us").dt.normalize()
        return days
    place, utc = zone(tz), times.dt.tz_convert("UTC").dt.as_unit("us")
    inside = countable(utc.dt.tz_localize(None).to_numpy().view(np.int64)) | utc.isna().to_numpy()
    local = (utc if inside.all() else utc.where(inside)).dt.tz_convert(place).dt.tz_localize(None)
    result: pd.Series[Any] = (
        local if inside.all() else local.where(inside, utc.dt.tz_localize(None))
    ).dt.normalize()
    return result


def local_days(instants: Micros, tz: str) -> Micros:
    """Return the first instant of each time's day in `tz`, as if the clock there were UTC's.

    Both are microseconds, `NULL` where null.
    """
    utc = np.where(instants == NULL, NULL, instants // DAY * DAY)
    if tz == "UTC":
        return utc
    # An index of times is a tenth of the work of a column.
    inside = countable(instants)
    times = pd.DatetimeIndex(np.where(inside, instants, NULL).view("datetime64[us]"), tz="UTC")
    days = times.tz_convert(zone(tz)).tz_localize(None).normalize()
    return np.where(inside, days.asi8, utc)


def month_of(times: pd.Series[Any], tz: str) -> pd.Series[Any]:
    """Return the first day of each time's month in `tz`, as `datetime64[us]`; naive times are in
    `tz` already.
    """
    days = local_date(times, tz)
    return pd.Series(
        days.to_numpy().astype("datetime64[M]").astype("datetime64[us]"),
        index=days.index,
        name=days.name,
    )


def keyed(frame: pd.DataFrame, names: Iterable[str], tz: str | None = None) -> pd.DataFrame:
    """Record the key columns of a result (`attrs["keys"]`), for `drill_through`, and the timezone
    of its days.
    """
    frame.attrs["keys"] = list(names)
    return frame if tz is None else in_zone(frame, tz)


def in_zone(frame: pd.DataFrame, tz: str) -> pd.DataFrame:
    """Record the timezone in which the days of a result are cut (`attrs["tz"]`)."""
    frame.attrs["tz"] = tz
    return frame


__all__ = [
    "DAY",
    "NULL",
    "Micros",
    "countable",
    "ending",
    "grouped",
    "in_zone",
    "instants_of",
    "keyed",
    "keys",
    "local_date",
    "local_days",
    "micros",
    "moment",
    "month_of",
    "require_columns",
    "span",
    "to_micros",
    "window",
    "zone",
    "zone_of",
]
