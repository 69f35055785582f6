"""The snapshot logs: what each sync found changed in deals or line items, append-only.

The API says neither what a deal was at an earlier time nor what a line item was. So each sync
compares the rows that it read with the last state in the log, and appends the rows that differ. The
result cannot be collected again: a row is never changed and never deleted.

A log is two tables of the cache: the rows that changed, and one row for each snapshot. The rows of
a snapshot are written before the snapshot itself, and both before the table that was read. Whatever
a crash leaves is true, and the next sync appends what is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe._files import UPDATE
from pdframe._warnings import warn
from pdframe.cache.quarantine import quarantine
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError, NewerCacheError
from pdframe.frames import is_unknown, storage_schema, unify
from pdframe.schema import Table
from pdframe.schema.snapshots import OF_DEALS, TrackedHistory

__all__ = [
    "CLOCK_SLACK",
    "Kind",
    "SnapshotLog",
    "check_types",
    "irreplaceable_error",
    "known_at",
    "newest_states",
]

Kind = Literal["full", "resumed", "incremental"]
CLOCK_SLACK = timedelta(minutes=10)
"""How far a server's clock may go back. Further back, the log belongs to another account."""

_FACTOR = np.uint64(1_000_003)
_NULL = np.uint64(0x9E3779B97F4A7C15)


class SnapshotLog:
    """The snapshot log of deals or of line items of one account.

    Appending reads the log and the table part by part, and needs some 20 bytes of memory a row.

    Parameters
    ----------
    store
        The cache of the account.
    tracked
        The table, and its columns that are tracked.
    """

    def __init__(self, store: Store, tracked: TrackedHistory = OF_DEALS) -> None:
        self._store = store
        self._tracked = tracked
        self._compared = (tracked.key, *tracked.tracked)

    @property
    def has_begun(self) -> bool:
        """Whether the log holds any snapshot, readable or not."""
        try:
            return self._store.manifest(self._tracked.rows.name) is not None
        except DamagedError:
            return True

    def rows(self) -> pa.Table:
        """Return every row of the log in the order of the snapshots.

        Raises
        ------
        CacheError
            A file cannot be trusted.
        """
        return self._read(self._tracked.rows)

    def snapshots(self) -> pa.Table:
        """Return one row for each snapshot, in order. Raises as `rows`."""
        return self._read(self._tracked.snapshots)

    def append(
        self,
        pieces: Iterable[pa.Table],
        kind: Kind,
        *,
        seen_at: datetime | None,
        complete_to: datetime | None,
        now: datetime,
        deleted: Collection[int] = (),
    ) -> int:
        """Append the rows that differ from the last state in the log, and the snapshot.

        Parameters
        ----------
        pieces
            All rows of the table as it was read, in the columns of the cache, each row once.
        kind
            How the table was read.
        seen_at
            The server's time at the end of the sync; None: no answer had one. Then the newest time
            in the data replaces it, and the row says so.
        complete_to
            A time at which the state is proven: see the column of `snapshots`.
        now
            This machine's clock, for the manifests alone.
        deleted
            Ids of the deals that the API listed as deleted. An incremental sync misses no others.

        Returns
        -------
        int
            How many rows were appended: none where nothing changed.
        """
        last, snapshots = self._last_states(seen_at)
        seen, newest = _Seen(), None
        schema = storage_schema(self._tracked.rows)
        changes = [schema.empty_table().select([*self._compared, "gone"])]
        for piece in pieces:
            newest = max(filter(None, (newest, _newest_time(piece))), default=None)
            changes.append(last.changed(self._tracked_columns(piece), self._compared, seen))
        missing = last.missing(seen)
        if len(missing):
            changes.append(self._missing_rows(missing, None if kind == "incremental" else deleted))
        changed = pa.concat_tables(changes).sort_by(self._tracked.key)
        number = 1 + max(last.snapshot, pc.max(snapshots["look"]).as_py() or 0)
        last_time = max(
            filter(None, (last.seen_at, pc.max(snapshots["seen_at"]).as_py())), default=None
        )
        time = seen_at or newest or now
        time = max(time, last_time) if last_time else time
        if changed.num_rows:
            # A snapshot that is repeated after a crash finds these rows in the log.
            stamp = {"seen_at": time, "is_server_time": seen_at is not None, "look": number}
            self._append_to(self._tracked.rows, _stamped(changed, stamp, self._tracked.rows), now)
        row = {
            "look": number,
            "seen_at": time,
            "is_server_time": seen_at is not None,
            "kind": kind,
            "complete_to": complete_to,
            self._tracked.count: seen.count,
            "changed": changed.num_rows,
        }
        if not self._proves_nothing_new(row, snapshots):
            table = self._tracked.snapshots
            self._append_to(table, pa.Table.from_pylist([row], storage_schema(table)), now)
        appended: int = changed.num_rows
        return appended

    def _last_states(self, seen_at: datetime | None) -> tuple[_LastStates, pa.Table]:
        """Read the log; quarantine it where it is damaged or belongs to another account."""
        count = self._tracked.count
        try:
            last = _LastStates.of(self._parts(), self._compared, self._tracked.key)
            snapshots = self.snapshots()
        except DamagedError as error:
            return self._quarantine(f"The kept history of {count} cannot be continued. {error}")
        newest = pc.max(snapshots.filter(snapshots["is_server_time"])["seen_at"]).as_py()
        if seen_at and newest and seen_at < newest - CLOCK_SLACK:
            return self._quarantine(
                f"The kept history of {count} reaches to {newest:%Y-%m-%d %H:%M}, and the server's"
                " clock is earlier."
            )
        return last, snapshots

    def _quarantine(self, why: str) -> tuple[_LastStates, pa.Table]:
        name = self._tracked.rows.name
        suffix = quarantine(self._store, name, self._tracked.snapshots.name)
        warn(
            f"{why} It is quarantined as {name}{suffix} in {self._store.root}, and a new one"
            " begins."
        )
        nothing = storage_schema(self._tracked.snapshots).empty_table()
        return _LastStates.of((), self._compared, self._tracked.key), nothing

    def _tracked_columns(self, piece: pa.Table) -> pa.Table:
        """Return the columns of rows that are tracked, in the types of the log."""
        schema = storage_schema(self._tracked.rows)
        columns: dict[str, Any] = {self._tracked.key: piece["id"]}
        for name in self._tracked.tracked:
            kind = schema.field(name).type
            is_present = name in piece.column_names
            columns[name] = piece[name].cast(kind) if is_present else pa.nulls(piece.num_rows, kind)
        return pa.table({**columns, "gone": pa.repeat(False, piece.num_rows)})

    def _missing_rows(self, ids: NDArray[np.int64], deleted: Collection[int] | None) -> pa.Table:
        """Return the last state of rows that the sync missed, marked as missing.

        The status of those that are in `deleted` (None: of all) becomes "deleted".
        """
        wanted, key = pa.array(ids), self._tracked.key
        parts = (part.filter(pc.is_in(part[key], value_set=wanted)) for part in self._parts())
        missing = newest_states(
            pa.concat_tables([part.select(self._compared) for part in parts]), key
        )
        if "status" in self._compared:
            # The API lists deleted deals; any other deal may only have become invisible.
            is_listed = (
                pa.repeat(True, missing.num_rows)
                if deleted is None
                else pc.is_in(missing[key], value_set=pa.array(sorted(deleted), pa.int64()))
            )
            status = pc.if_else(is_listed, "deleted", missing["status"])
            missing = missing.set_column(missing.column_names.index("status"), "status", status)
        return missing.append_column("gone", pa.repeat(True, missing.num_rows))

    def _parts(self) -> Iterator[pa.Table]:
        """Yield the rows of the log part by part."""
        table = self._tracked.rows
        with _reported_as_history(table):
            if self._store.manifest(table.name) is None:
                self._store.check_not_lost(table.name)
                return
            stored = self._store.open_table(table.name)
            check_types(stored.schema, table)
            for part in stored.parts():
                yield unify([part], table)[0]

    def _read(self, table: Table) -> pa.Table:
        with _reported_as_history(table):
            if self._store.manifest(table.name) is None:
                self._store.check_not_lost(table.name)
                return storage_schema(table).empty_table()
            stored = self._store.open_table(table.name)
            check_types(stored.schema, table)
            return unify([stored.read()], table)[0]

    def _append_to(self, table: Table, rows: pa.Table, now: datetime) -> None:
        manifest = self._store.manifest(table.name)
        if manifest is None:
            # The manifest comes before the first rows: parts without one are damage.
            empty = storage_schema(table).empty_table()
            manifest = self._store.replace(Manifest(table.name, (), 0, now, now), empty)
        self._store.append(manifest, rows, synced_at=now)

    def _proves_nothing_new(self, row: dict[str, object], snapshots: pa.Table) -> bool:
        """Return whether a snapshot adds nothing to the last one."""
        if row["changed"]:
            return False
        if self._tracked.of != OF_DEALS.of and row["kind"] == "incremental":
            # It read the lines of some deals, and proves nothing about the others.
            return True
        if not snapshots.num_rows:
            return False
        last = snapshots.slice(snapshots.num_rows - 1).to_pylist()[0]
        columns = ("seen_at", "kind", "complete_to", self._tracked.count)
        return all(last[name] == row[name] for name in columns)


class _Seen:
    """How many rows a sync read, and which rows of the log are among them."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[NDArray[np.intp]] = []


@dataclass(frozen=True)
class _LastStates:
    """The last state of each row in a log: a fingerprint of its values, and whether it is missing.

    `ids` ascend. `snapshot` and `seen_at` are those of the newest row.
    """

    ids: NDArray[np.int64]
    fingerprints: NDArray[np.uint64]
    is_missing: NDArray[np.bool_]
    snapshot: int
    seen_at: datetime | None

    @classmethod
    def of(cls, parts: Iterable[pa.Table], compared: Sequence[str], key: str) -> _LastStates:
        """Read the last states from the parts of a log, given in the order of the snapshots."""
        ids, fingerprints = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        missing = [np.empty(0, np.bool_)]
        snapshot, seen_at = 0, None
        for part in parts:
            ids.append(part[key].to_numpy())
            fingerprints.append(_fingerprints(part, compared))
            missing.append(pc.fill_null(part["gone"], False).to_numpy().astype(np.bool_))
            snapshot = max(snapshot, pc.max(part["look"]).as_py() or 0)
            seen_at = max(filter(None, (seen_at, pc.max(part["seen_at"]).as_py())), default=None)
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        ordered = every[order]
        is_last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        last = order[is_last]
        return cls(
            every[last],
            np.concatenate(fingerprints)[last],
            np.concatenate(missing)[last],
            snapshot,
            seen_at,
        )

    def changed(self, rows: pa.Table, compared: Sequence[str], seen: _Seen) -> pa.Table:
        """Return the rows that are new, back or changed; add all of them to `seen`."""
        ids = rows[compared[0]].to_numpy()
        place = np.searchsorted(self.ids, ids)
        inside = np.minimum(place, max(0, len(self.ids) - 1))
        known = (self.ids[inside] == ids) if len(self.ids) else np.zeros(len(ids), np.bool_)
        same = known.copy()
        before = inside[known]
        is_equal = self.fingerprints[before] == _fingerprints(rows, compared)[known]
        same[known] = is_equal & ~self.is_missing[before]
        seen.count += rows.num_rows
        seen.places.append(before)
        return rows.filter(pa.array(~same))

    def missing(self, seen: _Seen) -> NDArray[np.int64]:
        """Return the ids that were present and that the sync did not read."""
        unseen = ~self.is_missing
        for places in seen.places:
            unseen[places] = False
        return self.ids[unseen]


def _fingerprints(rows: pa.Table, columns: Sequence[str]) -> NDArray[np.uint64]:
    """Return a number for each row that differs where a value in some columns does."""
    total = np.zeros(rows.num_rows, np.uint64)
    for name in columns:
        column = rows[name].combine_chunks()
        kind = column.type
        if pa.types.is_string(kind):
            values = pc.fill_null(column, "").to_numpy(zero_copy_only=False)
        elif pa.types.is_floating(kind):
            values = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        else:
            number = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
            values = pc.fill_null(number.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        hashes = pd.util.hash_array(values)
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = _NULL
        total = total * _FACTOR ^ hashes
    return total


def newest_states(rows: pa.Table, key: str = "deal_id") -> pa.Table:
    """Return the last row of each deal (or line item: `key`), sorted by id."""
    is_repeated = pd.Index(rows[key].to_pandas()).duplicated(keep="last")
    return rows.filter(pa.array(~is_repeated)).sort_by(key)


def known_at(rows: pa.Table, when: datetime) -> pa.Table:
    """Return one row for each deal that was seen by `when`: its state in the last snapshot then."""
    time = pa.scalar(when, pa.timestamp("us", "UTC"))
    return newest_states(rows.filter(pc.less_equal(rows["seen_at"], time)))


def _stamped(rows: pa.Table, values: dict[str, object], table: Table) -> pa.Table:
    schema = storage_schema(table)
    for name, value in values.items():
        column = pa.repeat(pa.scalar(value, schema.field(name).type), rows.num_rows)
        rows = rows.append_column(name, column)
    return rows.select(schema.names).cast(schema)


def _newest_time(rows: pa.Table) -> datetime | None:
    columns = [name for name in ("update_time", "add_time") if name in rows.column_names]
    return max(filter(None, (pc.max(rows[name]).as_py() for name in columns)), default=None)


def check_types(stored: pa.Schema, table: Table) -> None:
    """Raise `NewerCacheError` where a column has another type than this version wrote.

    Reading it would lose its values. A column that the schema did not declare when its rows were
    written is text.
    """
    for field in storage_schema(table):
        kept = stored.field(field.name) if field.name in stored.names else field
        if str(kept.type) != str(field.type) and not is_unknown(kept):
            raise NewerCacheError(
                f"The kept rows of {table.name!r} have their column {field.name!r} as {kept.type},"
                f" and this version of pdframe knows it as {field.type} alone: a newer version"
                f" wrote them. {UPDATE}"
            )


def irreplaceable_error(error: DamagedError, what: str, remedy: str) -> DamagedError:
    """Return the error for a damaged file whose rows the API cannot give again."""
    why = str(error.args[0]).partition(" The CRM is untouched")[0]
    return DamagedError(f"{why} {what} {remedy}", table=error.table)


@contextmanager
def _reported_as_history(table: Table) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        raise irreplaceable_error(
            error,
            f"It belongs to the kept history ({table.name}), which cannot be loaded again.",
            "Restore the file from a backup; else the next sync quarantines the history and begins"
            " a new one.",
        ) from error
