"""Kept histories: what each look at deals or line items found changed.

The API tells neither what a deal was like at an earlier time nor what a line item was. So every
sync compares what it read with what was kept last, and appends the rows that differ. These rows
cannot be collected again: they are never changed, and never deleted.
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

Kind = Literal["full", "resumed", "incremental"]
# A server's clock may wander by this much; further back, what is kept is the past of another
# account.
CLOCK_SLACK = timedelta(minutes=10)

_FACTOR = np.uint64(1_000_003)
_NULL = np.uint64(0x9E3779B97F4A7C15)


class SnapshotLog:
    """A kept history of one account: two tables of the store, rows as they changed, and looks.

    The rows of a look are written before the look itself, and both before the table that was looked
    at: whatever a crash leaves is true, and the next look adds what is missing. Rows are only ever
    added. A look reads the history and the table part by part, and holds some 20 bytes a row.

    Parameters
    ----------
    store
        The cache of the account.
    kept
        Which history: that of deals, or that of line items.
    """

    def __init__(self, store: Store, kept: TrackedHistory = OF_DEALS) -> None:
        self._store = store
        self._kept = kept
        self._compared = (kept.key, *kept.tracked)

    @property
    def has_begun(self) -> bool:
        """Whether any look is kept, readable or not."""
        try:
            return self._store.manifest(self._kept.rows.name) is not None
        except DamagedError:
            return True

    def rows(self) -> pa.Table:
        """Every row kept, in the order of the looks; `CacheError` where a file cannot be
        trusted.
        """
        return self._all(self._kept.rows)

    def snapshots(self) -> pa.Table:
        """Every look, in order; `CacheError` where a file cannot be trusted."""
        return self._all(self._kept.snapshots)

    def snapshot(
        self,
        pieces: Iterable[pa.Table],
        kind: Kind,
        *,
        seen_at: datetime | None,
        complete_to: datetime | None,
        now: datetime,
        deleted: Collection[int] = (),
    ) -> int:
        """Keep what a look found changed since the last one.

        Parameters
        ----------
        pieces
            All rows there are, as they were found, in the columns of the cache; each row once.
        kind
            How they were looked at.
        seen_at
            The server's time at the end of the look; None: no answer told. Then the newest time in
            the data stands for it, and is marked.
        complete_to
            A time of which the look proves the state: see the column of `snapshots`.
        now
            This machine's clock, for the manifests alone.
        deleted
            Deals that the API listed as deleted. An incremental look misses no others.

        Returns
        -------
        int
            How many rows were added: none where nothing changed.
        """
        last, snapshots = self._of_this_past(seen_at)
        rows, newest = _Tally(), None
        result = [storage_schema(self._kept.rows).empty_table().select([*self._compared, "gone"])]
        for piece in pieces:
            newest = max(filter(None, (newest, _newest(piece))), default=None)
            result.append(last.differing(self._as_kept(piece), self._compared, rows))
        missing = last.missing(rows)
        if len(missing):
            result.append(self._deleted(missing, None if kind == "incremental" else deleted))
        changed = pa.concat_tables(result).sort_by(self._kept.key)
        number = 1 + max(last.snapshot, pc.max(snapshots["look"]).as_py() or 0)
        last_time = max(
            filter(None, (last.seen_at, pc.max(snapshots["seen_at"]).as_py())), default=None
        )
        time = seen_at or newest or now
        time = max(time, last_time) if last_time else time
        if changed.num_rows:
            # Rows are compared with what is kept, so a look that is repeated after a crash adds
            # nothing.
            stamp = {"seen_at": time, "is_server_time": seen_at is not None, "look": number}
            self._append(self._kept.rows, _with(changed, stamp, self._kept.rows), now)
        row = {
            "look": number,
            "seen_at": time,
            "is_server_time": seen_at is not None,
            "kind": kind,
            "complete_to": complete_to,
            self._kept.count: rows.count,
            "changed": changed.num_rows,
        }
        if not self._says_nothing_new(row, snapshots):
            self._append(
                self._kept.snapshots,
                pa.Table.from_pylist([row], storage_schema(self._kept.snapshots)),
                now,
            )
        added: int = changed.num_rows
        return added

    def _of_this_past(self, seen_at: datetime | None) -> tuple[_Last, pa.Table]:
        """What is kept, after setting aside what cannot be read or belongs to another past."""
        try:
            last, snapshots = (
                _Last.of(self._parts(), self._compared, self._kept.key),
                self.snapshots(),
            )
        except DamagedError as error:
            return self._quarantine(
                f"The kept history of {self._kept.count} cannot be read on. {error}"
            )
        reported = pc.max(snapshots.filter(snapshots["is_server_time"])["seen_at"]).as_py()
        if seen_at and reported and seen_at < reported - CLOCK_SLACK:
            return self._quarantine(
                f"The kept history of {self._kept.count} reaches to {reported:%Y-%m-%d %H:%M}, and the server's clock is behind it."
            )
        return last, snapshots

    def _quarantine(self, why: str) -> tuple[_Last, pa.Table]:
        name = self._kept.rows.name
        suffix = quarantine(self._store, name, self._kept.snapshots.name)
        warn(
            f"{why} It is set aside as {name}{suffix} in {self._store.root}, and a new one begins."
        )
        return _Last.of((), self._compared, self._kept.key), storage_schema(
            self._kept.snapshots
        ).empty_table()

    def _as_kept(self, piece: pa.Table) -> pa.Table:
        """Rows of the table in the columns that are compared, and not gone."""
        schema = storage_schema(self._kept.rows)
        columns: dict[str, Any] = {self._kept.key: piece["id"]}
        for name in self._kept.tracked:
            kind = schema.field(name).type
            columns[name] = (
                piece[name].cast(kind)
                if name in piece.column_names
                else pa.nulls(piece.num_rows, kind)
            )
        return pa.table({**columns, "gone": pa.repeat(False, piece.num_rows)})

    def _deleted(self, ids: NDArray[np.int64], deleted: Collection[int] | None) -> pa.Table:
        """The rows of some ids as they were seen last, said to be gone; those that are `deleted`
        (None: all) also by their status.
        """
        wanted, key = pa.array(ids), self._kept.key
        seen = [
            part.filter(pc.is_in(part[key], value_set=wanted)).select(self._compared)
            for part in self._parts()
        ]
        removed = latest(pa.concat_tables(seen), key)
        if "status" in self._compared:
            # The API lists what was deleted; of any other deal a look only sees that it is not
            # there.
            listed = (
                pa.repeat(True, removed.num_rows)
                if deleted is None
                else pc.is_in(removed[key], value_set=pa.array(sorted(deleted), pa.int64()))
            )
            removed = removed.set_column(
                removed.column_names.index("status"),
                "status",
                pc.if_else(listed, "deleted", removed["status"]),
            )
        return removed.append_column("gone", pa.repeat(True, removed.num_rows))

    def _parts(self) -> Iterator[pa.Table]:
        """The rows kept, part by part."""
        table = self._kept.rows
        with _said_of(table):
            if self._store.manifest(table.name) is None:
                self._store.check_manifest(table.name)
                return
            stored = self._store.open_table(table.name)
            check_types(stored.schema, table)
            for part in stored.parts():
                yield unify([part], table)[0]

    def _all(self, table: Table) -> pa.Table:
        with _said_of(table):
            if self._store.manifest(table.name) is None:
                self._store.check_manifest(table.name)
                return storage_schema(table).empty_table()
            stored = self._store.open_table(table.name)
            check_types(stored.schema, table)
            full, _ = unify([stored.read()], table)
            return full

    def _append(self, table: Table, rows: pa.Table, now: datetime) -> None:
        before = self._store.manifest(table.name)
        if before is None:
            before = self._store.replace(
                Manifest(table.name, (), 0, now, now), storage_schema(table).empty_table()
            )
        self._store.append(before, rows, synced_at=now)

    def _says_nothing_new(self, row: dict[str, object], snapshots: pa.Table) -> bool:
        if row["changed"]:
            return False
        if self._kept.of != OF_DEALS.of and row["kind"] == "incremental":
            # It read the rows of some deals, and proves nothing of the others.
            return True
        if not snapshots.num_rows:
            return False
        last = snapshots.slice(snapshots.num_rows - 1).to_pylist()[0]
        return all(
            last[name] == row[name] for name in ("seen_at", "kind", "complete_to", self._kept.count)
        )


class _Tally:
    """Which of the rows that were kept a look met, and how many rows there were."""

    def __init__(self) -> None:
        self.count = 0
        self.met: list[NDArray[np.intp]] = []


@dataclass(frozen=True)
class _Last:
    """The last state that is kept of each row: a fingerprint of its values, and whether it was
    gone.

    `ids` ascend; `snapshot` and `seen_at` are those of the newest row.
    """

    ids: NDArray[np.int64]
    prints: NDArray[np.uint64]
    removed: NDArray[np.bool_]
    snapshot: int
    seen_at: datetime | None

    @classmethod
    def of(cls, parts: Iterable[pa.Table], compared: Sequence[str], key: str) -> _Last:
        """The last state in a history, whose parts are given in the order of the looks."""
        ids, prints, removed = (
            [np.empty(0, np.int64)],
            [np.empty(0, np.uint64)],
            [np.empty(0, np.bool_)],
        )
        snapshot, seen_at = 0, None
        for part in parts:
            ids.append(part[key].to_numpy())
            prints.append(_fingerprints(part, compared))
            removed.append(pc.fill_null(part["gone"], False).to_numpy().astype(np.bool_))
            snapshot = max(snapshot, pc.max(part["look"]).as_py() or 0)
            seen_at = max(filter(None, (seen_at, pc.max(part["seen_at"]).as_py())), default=None)
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        ordered = every[order]
        last = order[
            np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))
        ]
        return cls(
            every[last],
            np.concatenate(prints)[last],
            np.concatenate(removed)[last],
            snapshot,
            seen_at,
        )

    def differing(self, rows: pa.Table, compared: Sequence[str], tally: _Tally) -> pa.Table:
        """The rows that are new, back or changed."""
        ids = rows[compared[0]].to_numpy()
        place = np.searchsorted(self.ids, ids)
        inside = np.minimum(place, max(0, len(self.ids) - 1))
        known = (self.ids[inside] == ids) if len(self.ids) else np.zeros(len(ids), np.bool_)
        same = known.copy()
        same[known] = (
            self.prints[inside[known]] == _fingerprints(rows, compared)[known]
        ) & ~self.removed[inside[known]]
        tally.count += rows.num_rows
        tally.met.append(inside[known])
        return rows.filter(pa.array(~same))

    def missing(self, tally: _Tally) -> NDArray[np.int64]:
        """The ids that were there and that a look did not meet."""
        there = ~self.removed
        for met in tally.met:
            there[met] = False
        return self.ids[there]


def _fingerprints(rows: pa.Table, columns: Sequence[str]) -> NDArray[np.uint64]:
    """A number a row for its values in some columns: that of two rows differs where a value
    does.
    """
    total = np.zeros(rows.num_rows, np.uint64)
    for name in columns:
        column = rows[name].combine_chunks()
        kind = column.type
        if pa.types.is_string(kind):
            values = pc.fill_null(column, "").to_numpy(zero_copy_only=False)
        elif pa.types.is_floating(kind):
            values = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        else:
            full = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
            values = pc.fill_null(full.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        prints = pd.util.hash_array(values)
        prints[column.is_null().to_numpy(zero_copy_only=False)] = _NULL
        total = total * _FACTOR ^ prints
    return total


def latest(rows: pa.Table, key: str = "deal_id") -> pa.Table:
    """One row a deal (or line item: `key`), the last one, in the order of ids."""
    repeated = pd.Index(rows[key].to_pandas()).duplicated(keep="last")
    return rows.filter(pa.array(~repeated)).sort_by(key)


def known_at(rows: pa.Table, when: datetime) -> pa.Table:
    """One row a deal that was seen by `when`, as the last look until then found it."""
    return latest(
        rows.filter(pc.less_equal(rows["seen_at"], pa.scalar(when, pa.timestamp("us", "UTC"))))
    )


def _with(rows: pa.Table, values: dict[str, object], table: Table) -> pa.Table:
    schema = storage_schema(table)
    for name, value in values.items():
        rows = rows.append_column(
            name, pa.repeat(pa.scalar(value, schema.field(name).type), rows.num_rows)
        )
    return rows.select(schema.names).cast(schema)


def _newest(rows: pa.Table) -> datetime | None:
    times = [
        pc.max(rows[name]).as_py()
        for name in ("update_time", "add_time")
        if name in rows.column_names
    ]
    return max(filter(None, times), default=None)


def check_types(stored: pa.Schema, table: Table) -> None:
    """Raise `NewerCacheError` where a column of kept rows has another type than any version wrote
    so far: its values would be lost.

    Columns that nothing declared when they were kept are text.
    """
    for field in storage_schema(table):
        kept = stored.field(field.name) if field.name in stored.names else field
        if str(kept.type) != str(field.type) and not is_unknown(kept):
            raise NewerCacheError(
                f"The kept rows of {table.name!r} have their column {field.name!r} as {kept.type}, and this version of pdframe knows it "
                f"as {field.type} alone: a newer version wrote them. {UPDATE}"
            )


@contextmanager
def _said_of(table: Table) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        raise DamagedError(
            f"{str(error.args[0]).partition(' The CRM is untouched')[0]} It belongs to the kept history ({table.name}), which cannot be "
            "loaded again. Put the file back from a backup; else the next sync sets the history aside and begins a new one.",
            table=error.table,
        ) from error
