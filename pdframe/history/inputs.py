"""What stage visits are computed from, as arrays over all deals: observations, changelogs and the
times at which these were read.

Times are integers (microseconds since 1970 UTC). In an array, `NONE` stands for null, in numbers
and in times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.errors import ArgumentError
from pdframe.frames.convert import shorten
from pdframe.history.changelog import KEYS, Change, oldest_first
from pdframe.history.timeline import Observation, newest

Frame: TypeAlias = pd.DataFrame | pa.Table
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

NONE = int(np.iinfo(np.int64).min)

_TIME = pa.timestamp("us", "UTC")
_STATE = (
    "stage_id",
    "pipeline_id",
    "status",
    "stage_change_time",
    "add_time",
    "won_time",
    "lost_time",
    "first_won_time",
)
_OPTIONAL = frozenset(
    {
        "won_time",
        "lost_time",
        "first_won_time",
        "is_deleted",
        "deleted_time",
        "seen_at",
        "absent_at",
    }
)
# The number of a snapshot before all others: the deal was deleted before any snapshot of it.
_BEFORE_ALL = 0


@dataclass(frozen=True)
class Observations:
    """Deals as snapshots show them, by deal, then in the order of the snapshots.

    The arrays are the fields of `Observation`. `ids` has each deal once; its rows are those from
    `first` up to `end`.
    """

    deal: Ints
    stage: Ints
    pipeline: Ints
    status: NDArray[Any]
    moved: Ints
    added: Ints
    won: Ints
    lost: Ints
    first_won: Ints
    removed: Flags
    at: Ints
    snapshot: Ints
    ids: Ints
    first: Ints
    end: Ints

    @classmethod
    def of(cls, deals: Frame, history: Frame | None, seen_at: datetime | None) -> Observations:
        """Read the snapshot log, and the frame of deals for those that it does not hold."""
        columns = [_from_deals(deals, seen_at)]
        if history is not None:
            logged = _from_history(history)
            unknown = ~contains(logged[0], columns[0][0])
            columns = [logged, [values[unknown] for values in columns[0]]]
        joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        joined = [values[_order(joined[0])] for values in joined]
        ids, first, end = _groups(joined[0])
        return cls(*joined, ids, first, end)  # type: ignore[call-arg]

    def by_deal(self, deals: Ints) -> dict[int, list[Observation]]:
        """Return the observations of some deals, each in order; a deal without any is left out."""
        rows = contains(deals, self.deal)
        columns = [_optional(getattr(self, name)[rows]) for name in Observation._fields]
        result: dict[int, list[Observation]] = {}
        for row in map(Observation._make, zip(*columns, strict=True)):
            result.setdefault(row.deal, []).append(row)
        return result

    def moved_stages(self) -> Flags:
        """Tell which rows show their deal in the stage of the row before, in another pipeline."""
        same = np.zeros(len(self.deal), np.bool_)
        now, before = slice(1, None), slice(None, -1)
        same[1:] = (
            (self.deal[now] == self.deal[before])
            & (self.stage[now] == self.stage[before])
            & (self.stage[now] != NONE)
            & (self.pipeline[now] != self.pipeline[before])
            & (self.pipeline[now] != NONE)
            & (self.pipeline[before] != NONE)
            & ~self.removed[now]
            & ~self.removed[before]
        )
        return same


@dataclass(frozen=True)
class Changelogs:
    """The changes of stage, pipeline and status of many deals, by deal, in the order of the table.

    `key` is the place in `KEYS`; `old` and `new` are places in `words`, whose last entry is None.
    """

    deal: Ints
    time: Ints
    key: Ints
    old: Ints
    new: Ints
    words: Sequence[str | None]
    ids: Ints
    first: Ints
    end: Ints

    @classmethod
    def of(cls, changes: Frame | None) -> Changelogs:
        """Read a table of changes."""
        if changes is None:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none, none, [None], none, none, none)
        names = ("deal_id", "time", "field_key", "old_value", "new_value")
        read = arrow_columns(changes, names, "changes")
        keys = pc.index_in(read["field_key"].cast(pa.string()), value_set=pa.array(KEYS))
        chosen = pc.and_(keys.is_valid(), read["time"].is_valid())
        read = {name: values.filter(chosen) for name, values in read.items()}
        values = pa.chunked_array(
            [read["old_value"].cast(pa.string()), read["new_value"].cast(pa.string())]
        )
        coded = values.combine_chunks().dictionary_encode()
        words = [*coded.dictionary.to_pylist(), None]
        codes = pc.fill_null(coded.indices, len(words) - 1).to_numpy().astype(np.int64)
        deal = _numbers(read["deal_id"])
        order = _order(deal)
        deal = deal[order]
        return cls(
            deal,
            _numbers(read["time"])[order],
            keys.filter(chosen).to_numpy().astype(np.int64)[order],
            codes[: len(deal)][order],
            codes[len(deal) :][order],
            words,
            *_groups(deal),
        )

    def by_deal(self, deals: Ints) -> dict[int, list[Change]]:
        """Return the changes of some deals, oldest first; a deal without any is left out."""
        rows = contains(deals, self.deal)
        names = ("deal", "time", "key", "old", "new")
        columns = (getattr(self, name)[rows].tolist() for name in names)
        result: dict[int, list[Change]] = {}
        for deal, time, key, old, new in zip(*columns, strict=True):
            change = Change(time, KEYS[key], self.words[old], self.words[new])
            result.setdefault(deal, []).append(change)
        return {deal: oldest_first(rows) for deal, rows in result.items()}


@dataclass(frozen=True)
class ReadTimes:
    """Server's time at which the changelog of each deal was read; `ids` ascend."""

    ids: Ints
    times: Ints

    @classmethod
    def of(cls, loaded: Mapping[int, datetime] | pa.Table | None) -> ReadTimes:
        """Read a mapping, or a table of `id` and `server_time`."""
        if isinstance(loaded, pa.Table):
            ids, times = (
                _numbers(loaded["id"].combine_chunks()),
                _numbers(loaded["server_time"].combine_chunks().cast(pa.int64())),
            )
        else:
            plain = loaded or {}
            ids = np.fromiter(plain, np.int64, len(plain))
            times = np.fromiter(map(micros, plain.values()), np.int64, len(plain))
        order = _order(ids)
        return cls(ids[order], times[order])

    def by_deal(self) -> dict[int, int]:
        """Return the times by deal."""
        return dict(zip(self.ids.tolist(), self.times.tolist(), strict=True))

    def of_deals(self, deals: Ints) -> Ints:
        """Return the time of each of some deals; `NONE` where its changelog was not read."""
        return lookup(deals, self.ids, self.times)


def lookup(wanted: Ints, keys: Ints, values: Ints) -> Ints:
    """Return the value of each wanted key, `NONE` where there is none; `keys` ascend."""
    if not len(keys):
        return np.full(len(wanted), NONE)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], NONE)


def contains(keys: Ints, wanted: Ints) -> Flags:
    """Tell which of the wanted are among the keys, which ascend."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_)
    flags: Flags = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
    return flags


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970 UTC."""
    number: int = pa.scalar(pd.Timestamp(time).to_pydatetime(), _TIME).value
    return number


def column_micros(column: pa.ChunkedArray) -> Ints:
    """Return a column of times as microseconds since 1970 UTC."""
    times = pc.fill_null(column.cast(_TIME).cast(pa.int64()), NONE)
    numbers: Ints = times.to_numpy()
    return numbers


def arrow_columns(frame: Frame, names: Iterable[str], what: str) -> dict[str, pa.Array]:
    """Read columns of a frame as Arrow arrays: ids as integers, times as microseconds.

    Raises
    ------
    ArgumentError
        A column is missing or cannot be read as what it is, or a row names no deal.
    """
    there = set(frame.column_names if isinstance(frame, pa.Table) else frame.columns)
    result: dict[str, pa.Array] = {}
    for name in names:
        if name in there:
            try:
                result[name] = _values(frame[name], name)
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise ArgumentError(
                    f"stage_visits cannot read the column {name!r} of {what}:"
                    f" {shorten(str(error))}."
                ) from None
            if name in ("id", "deal_id") and result[name].null_count:
                raise ArgumentError(
                    f"stage_visits needs the column {name!r} of {what} in every row:"
                    f" {result[name].null_count} lack it."
                )
        elif name in _OPTIONAL:
            result[name] = pa.nulls(len(frame), pa.bool_() if name == "is_deleted" else pa.int64())
        else:
            raise ArgumentError(f"stage_visits needs the column {name!r} of {what}.")
    return result


def _values(column: Any, name: str) -> pa.Array:
    """Read one column; an empty one may have any dtype."""
    kind = _kind(name)
    if not len(column):
        return pa.array([], kind)
    values = column if isinstance(column, pa.ChunkedArray) else pa.array(column, from_pandas=True)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_time(name):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pa.array(
                pd.to_datetime(values.to_pandas(), utc=True, format="ISO8601"), from_pandas=True
            )
        values = values.cast(_TIME, safe=False)
    return values if kind is None else values.cast(kind)


def _kind(name: str) -> pa.DataType:
    """Return the type in which a column is read."""
    if name in ("gone", "is_deleted"):
        return pa.bool_()
    if name.endswith("id") or name in ("look", "order_nr") or _is_time(name):
        return pa.int64()
    return pa.string()


def _is_time(name: str) -> bool:
    return name.endswith("_time") or name in ("time", "seen_at", "absent_at", "complete_to")


def _from_history(history: Frame) -> list[NDArray[Any]]:
    names = ("deal_id", *_STATE, "gone", "seen_at", "look")
    read = arrow_columns(history, names, "history")
    columns = [_numpy(read[name]) for name in names]
    order = _order(columns[0], columns[-1])
    return [values[order] for values in columns]


def _from_deals(deals: Frame, seen_at: datetime | None) -> list[NDArray[Any]]:
    """Read the deals as they are: one observation each, two of a deal known as deleted.

    `absent_at` is the time of the first snapshot that proves a deal was deleted; a list of
    deletions showed the deal later. It is null, or missing, where no snapshot proves that.
    """
    names = ("id", *_STATE, "is_deleted", "deleted_time", "seen_at", "absent_at")
    read = arrow_columns(deals, names, "deals")
    times = ("stage_change_time", "add_time", "won_time", "lost_time", "deleted_time")
    latest = newest(*(pc.max(read[name]).as_py() for name in times))
    at = micros(seen_at) if seen_at is not None else latest or 0
    id, *state, is_deleted, deleted, seen, absent = (_numpy(read[name]) for name in names)
    status = state[2]
    removed = is_deleted | (status == "deleted")
    seen = np.where(seen == NONE, at, seen)
    columns = [id, *state, removed, seen, np.full(len(id), NONE)]
    # The first of several rows of a deal counts.
    order = _order(id)
    _, only, _ = _groups(id[order])
    columns = [values[order][only] for values in columns]
    absent = np.where((absent == NONE) | (absent > seen), seen, absent)[order][only]
    return _with_life_before(columns, (removed & (deleted != NONE))[order][only], absent)


def _with_life_before(
    columns: list[NDArray[Any]], deleted: Flags, absent: Ints
) -> list[NDArray[Any]]:
    """Put two observations in place of each `deleted` deal: alive, then deleted by `absent`.

    If the status is "deleted", the times of closing show the status before: reopening a deal clears
    them. Of two, the later counts.
    """
    _, _, _, status, _, _, won, lost, *_ = columns
    was = np.where((won != NONE) & (won >= np.where(lost == NONE, 0, lost)), "won", "open").astype(
        object
    )
    was[(was == "open") & (lost != NONE)] = "lost"
    before = np.where(status == "deleted", was, status)
    order = np.repeat(np.arange(len(deleted)), np.where(deleted, 2, 1))
    life = np.append(order[1:] == order[:-1], np.zeros(min(1, len(order)), np.bool_))
    death = np.append(np.zeros(min(1, len(order)), np.bool_), life[:-1])
    result = [values[order] for values in columns]
    result[3] = np.where(life, before[order], np.where(death, "deleted", result[3]))
    result[9] = result[9] & ~life
    result[10] = np.where(death, absent[order], result[10])
    result[11] = np.where(life | death, _BEFORE_ALL, result[11])
    return result


def _numpy(values: pa.Array) -> NDArray[Any]:
    """Return an array of numpy: `NONE` for null, texts as objects that equal values share."""
    if pa.types.is_boolean(values.type):
        flags: Flags = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
        return flags
    if pa.types.is_integer(values.type):
        return _numbers(values)
    coded = values.dictionary_encode()
    words = np.array([*coded.dictionary.to_pylist(), None], object)
    texts: NDArray[Any] = words[pc.fill_null(coded.indices, len(words) - 1).to_numpy()]
    return texts


def _optional(values: NDArray[Any]) -> list[Any]:
    """Return plain values, None for `NONE`."""
    plain = values.astype(object)
    if values.dtype == np.int64:
        plain[values == NONE] = None
    return list(plain)


def _numbers(values: pa.Array) -> Ints:
    numbers: Ints = pc.fill_null(values, NONE).to_numpy().astype(np.int64, copy=False)
    return numbers


def _order(first: Ints, then: Ints | None = None) -> Any:
    """Return what sorts by one array and then another, equal ones as they are."""
    if then is None:
        return slice(None) if (first[1:] >= first[:-1]).all() else np.argsort(first, kind="stable")
    return np.lexsort((then, first))


def _groups(ids: Ints) -> tuple[Ints, Ints, Ints]:
    """Return each id of an ascending array once, where its rows begin and where they end."""
    starts = np.flatnonzero(np.append(np.ones(min(1, len(ids)), np.bool_), ids[1:] != ids[:-1]))
    return ids[starts], starts, np.append(starts[1:], np.full(min(1, len(ids)), len(ids)))


__all__ = [
    "NONE",
    "Changelogs",
    "Flags",
    "Frame",
    "Ints",
    "Observations",
    "ReadTimes",
    "arrow_columns",
    "column_micros",
    "contains",
    "lookup",
    "micros",
]
