"""The snapshot logs: what each sync found changed in deals or line items, append-only.

The API says neither what a deal was at an earlier time nor what a line item was. So each sync
compares the rows that it read with the last state in the log, and appends the rows that differ. The
result cannot be collected again: a row is never changed and never deleted.

A log is two tables of the cache: the rows that changed, and one row for each snapshot. The rows of
a snapshot are written before the snapshot itself, and both before the table that was read. Whatever
a crash leaves is true, and the next sync appends what is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe._files import UPDATE
from pdframe._warnings import warn
from pdframe.cache.parts import newest_rows
from pdframe.cache.quarantine import quarantine
from pdframe.cache.server_clock import CLOCK_SKEW
from pdframe.cache.store import Store
from pdframe.errors import DamagedError, NewerCacheError
from pdframe.frames import is_unknown, storage_schema, unify
from pdframe.schema import Table
from pdframe.schema.snapshots import OF_DEALS, TrackedHistory

__all__ = [
    "Kind",
    "SnapshotLog",
    "kept_parts",
    "known_at",
]

Kind = Literal["full", "resumed", "incremental"]

_FACTOR = np.uint64(1_000_003)
_NULL = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
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

    store: Store
    tracked: TrackedHistory = OF_DEALS

    @property
    def has_begun(self) -> bool:
        """Whether the log holds any snapshot, readable or not."""
        try:
            return self.store.manifest(self.tracked.rows.name) is not None
        except DamagedError:
            return True

    def rows(self) -> pa.Table:
        """Return every row of the log in the order of the snapshots.

        Raises
        ------
        CacheError
            A file cannot be trusted.
        """
        return unify(self._parts(self.tracked.rows), self.tracked.rows)[0]

    def snapshots(self) -> pa.Table:
        """Return one row for each snapshot, in order. Raises as `rows`."""
        return unify(self._parts(self.tracked.snapshots), self.tracked.snapshots)[0]

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
        newest, key = None, self.tracked.key
        schema = storage_schema(self.tracked.rows)
        changes = [schema.empty_table().select([key, *self.tracked.tracked, "gone"])]
        for piece in pieces:
            dated = [name for name in ("update_time", "add_time") if name in piece.column_names]
            times = (pc.max(piece[name]).as_py() for name in dated)
            newest = max(filter(None, (newest, *times)), default=None)
            changes.append(last.changed(piece))
        missing = last.ids[~last.is_missing & ~last.is_seen]
        if len(missing):
            changes.append(self._missing_rows(missing, None if kind == "incremental" else deleted))
        changed = pa.concat_tables(changes).sort_by(key)
        number = 1 + max(last.snapshot, pc.max(snapshots["look"]).as_py() or 0)
        last_time = max(
            filter(None, (last.seen_at, pc.max(snapshots["seen_at"]).as_py())), default=None
        )
        time = seen_at or newest or now
        time = max(time, last_time) if last_time else time
        if changed.num_rows:
            # A snapshot that is repeated after a crash finds these rows in the log.
            stamp = {"seen_at": time, "is_server_time": seen_at is not None, "look": number}
            for name, value in stamp.items():
                column = pa.scalar(value, schema.field(name).type)
                changed = changed.append_column(name, pa.repeat(column, changed.num_rows))
            log = self.store.begun(self.tracked.rows.name, schema.empty_table(), now)
            self.store.append(log, changed.select(schema.names).cast(schema), synced_at=now)
        row = {
            "look": number,
            "seen_at": time,
            "is_server_time": seen_at is not None,
            "kind": kind,
            "complete_to": complete_to,
            self.tracked.count: last.rows_seen,
            "changed": changed.num_rows,
        }
        if not self._proves_nothing_new(row, snapshots):
            schema = storage_schema(self.tracked.snapshots)
            log = self.store.begun(self.tracked.snapshots.name, schema.empty_table(), now)
            self.store.append(log, pa.Table.from_pylist([row], schema), synced_at=now)
        appended: int = changed.num_rows
        return appended

    def _last_states(self, seen_at: datetime | None) -> tuple[_LastStates, pa.Table]:
        """Read the log; quarantine it where it is damaged or belongs to another account."""
        count = self.tracked.count
        try:
            last = _LastStates.of(self._parts(self.tracked.rows), self.tracked)
            snapshots = self.snapshots()
        except DamagedError as error:
            return self._quarantine(f"The kept history of {count} cannot be continued. {error}")
        newest = pc.max(snapshots.filter(snapshots["is_server_time"])["seen_at"]).as_py()
        if seen_at and newest and seen_at < newest - CLOCK_SKEW:
            return self._quarantine(
                f"The kept history of {count} reaches to {newest:%Y-%m-%d %H:%M}, and the server's"
                " clock is earlier."
            )
        return last, snapshots

    def _quarantine(self, why: str) -> tuple[_LastStates, pa.Table]:
        name = self.tracked.rows.name
        suffix = quarantine(self.store, name, self.tracked.snapshots.name)
        warn(
            f"{why} It is quarantined as {name}{suffix} in {self.store.root}, and a new one begins."
        )
        nothing = storage_schema(self.tracked.snapshots).empty_table()
        return _LastStates.of((), self.tracked), nothing

    def _missing_rows(self, ids: NDArray[np.int64], deleted: Collection[int] | None) -> pa.Table:
        """Return the last state of rows that the sync missed, marked as missing.

        The status of those that are in `deleted` (None: of all) becomes "deleted".
        """
        wanted, key = pa.array(ids), self.tracked.key
        parts = (
            part.filter(pc.is_in(part[key], value_set=wanted))
            for part in self._parts(self.tracked.rows)
        )
        missing = newest_rows(
            pa.concat_tables([part.select((key, *self.tracked.tracked)) for part in parts]), key
        )
        if "status" in self.tracked.tracked:
            # The API lists deleted deals; any other deal may only have become invisible.
            is_listed = (
                pa.repeat(True, missing.num_rows)
                if deleted is None
                else pc.is_in(missing[key], value_set=pa.array(sorted(deleted), pa.int64()))
            )
            status = pc.if_else(is_listed, "deleted", missing["status"])
            missing = missing.set_column(missing.column_names.index("status"), "status", status)
        return missing.append_column("gone", pa.repeat(True, missing.num_rows))

    def _parts(self, table: Table) -> Iterator[pa.Table]:
        """Yield the rows of one of the two tables of the log, part by part."""
        parts = kept_parts(
            self.store,
            table,
            f"It belongs to the kept history ({table.name}), which cannot be loaded again.",
            "Restore the file from a backup; else the next sync quarantines the history and begins"
            " a new one.",
        )
        return (unify([part], table)[0] for part in parts)

    def _proves_nothing_new(self, row: dict[str, object], snapshots: pa.Table) -> bool:
        """Return whether a snapshot adds nothing to the last one."""
        if row["changed"]:
            return False
        if self.tracked.of != OF_DEALS.of and row["kind"] == "incremental":
            # It read the lines of some deals, and proves nothing about the others.
            return True
        if not snapshots.num_rows:
            return False
        last = snapshots.slice(snapshots.num_rows - 1).to_pylist()[0]
        columns = ("seen_at", "kind", "complete_to", self.tracked.count)
        return all(last[name] == row[name] for name in columns)


@dataclass
class _LastStates:
    """The last state of each row in a log: a fingerprint of its values, and whether it is missing.

    `ids` ascend. `snapshot` and `seen_at` are those of the newest row. `is_seen` and `rows_seen`
    say which of them, and how many rows in all, a sync has read.
    """

    tracked: TrackedHistory
    ids: NDArray[np.int64]
    fingerprints: NDArray[np.uint64]
    is_missing: NDArray[np.bool_]
    is_seen: NDArray[np.bool_]
    snapshot: int
    seen_at: datetime | None
    rows_seen: int = 0

    @classmethod
    def of(cls, parts: Iterable[pa.Table], tracked: TrackedHistory) -> _LastStates:
        """Read the last states from the parts of a log, given in the order of the snapshots."""
        ids, fingerprints = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
        missing = [np.empty(0, np.bool_)]
        snapshot, seen_at = 0, None
        for part in parts:
            ids.append(part[tracked.key].to_numpy())
            fingerprints.append(_fingerprints(part, tracked))
            missing.append(pc.fill_null(part["gone"], False).to_numpy().astype(np.bool_))
            snapshot = max(snapshot, pc.max(part["look"]).as_py() or 0)
            seen_at = max(filter(None, (seen_at, pc.max(part["seen_at"]).as_py())), default=None)
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        ordered = every[order]
        is_last = np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        last = order[is_last]
        return cls(
            tracked,
            every[last],
            np.concatenate(fingerprints)[last],
            np.concatenate(missing)[last],
            np.zeros(len(last), np.bool_),
            snapshot,
            seen_at,
        )

    def changed(self, piece: pa.Table) -> pa.Table:
        """Return the tracked columns of the rows that are new, back or changed, in the types of the
        log. All rows of the piece were read.
        """
        schema = storage_schema(self.tracked.rows)
        columns: dict[str, Any] = {self.tracked.key: piece["id"]}
        for name in self.tracked.tracked:
            kind = schema.field(name).type
            is_present = name in piece.column_names
            columns[name] = piece[name].cast(kind) if is_present else pa.nulls(piece.num_rows, kind)
        rows = pa.table({**columns, "gone": pa.repeat(False, piece.num_rows)})
        ids = rows[self.tracked.key].to_numpy()
        place = np.searchsorted(self.ids, ids)
        inside = np.minimum(place, max(0, len(self.ids) - 1))
        known = (self.ids[inside] == ids) if len(self.ids) else np.zeros(len(ids), np.bool_)
        same = known.copy()
        before = inside[known]
        is_equal = self.fingerprints[before] == _fingerprints(rows, self.tracked)[known]
        same[known] = is_equal & ~self.is_missing[before]
        self.is_seen[before] = True
        self.rows_seen += rows.num_rows
        return rows.filter(pa.array(~same))


def _fingerprints(rows: pa.Table, tracked: TrackedHistory) -> NDArray[np.uint64]:
    """Return a number for each row that differs where its key or a tracked value does."""
    total = np.zeros(rows.num_rows, np.uint64)
    for name in (tracked.key, *tracked.tracked):
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


def known_at(rows: pa.Table, when: datetime) -> pa.Table:
    """Return one row for each deal that was seen by `when`: its state in the last snapshot then."""
    time = pa.scalar(when, pa.timestamp("us", "UTC"))
    return newest_rows(rows.filter(pc.less_equal(rows["seen_at"], time)), "deal_id")


def kept_parts(store: Store, table: Table, what: str, remedy: str) -> Iterator[pa.Table]:
    """Yield the rows of a table that cannot be collected again, part by part.

    Raises
    ------
    DamagedError
        A file is damaged; the message says `what` it holds and the `remedy`.
    NewerCacheError
        A column has another type than this version wrote: reading it would lose its values.
    """
    try:
        if store.manifest(table.name) is None:
            store.check_not_lost(table.name)
            return
        declared = storage_schema(table)
        for part in store.open_table(table.name).parts():
            for field in declared:
                # A column that the schema did not declare when its rows were written is text.
                kept = part.schema.field(field.name) if field.name in part.column_names else field
                if str(kept.type) != str(field.type) and not is_unknown(kept):
                    raise NewerCacheError(
                        f"The kept rows of {table.name!r} have their column {field.name!r} as"
                        f" {kept.type}, and this version of pdframe knows it as {field.type}"
                        f" alone: a newer version wrote them. {UPDATE}"
                    )
            yield part
    except DamagedError as error:
        why = str(error.args[0]).partition(" The CRM is untouched")[0]
        raise DamagedError(f"{why} {what} {remedy}", table=error.table) from error
