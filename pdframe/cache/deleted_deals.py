"""Deleted deals: the last row of each is kept for good.

The API lists a deleted deal for 30 days. So each sync of deals writes the row of every deal that it
finds deleted or missing to a table of its own, beside the table of deals. Rows are only appended,
and they are written before the table of deals. A row counts only while the table of deals lacks its
deal. So whatever a crash leaves is true, and a deal that is restored needs no correction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.parts import newest_rows
from pdframe.cache.quarantine import quarantine
from pdframe.cache.server_clock import CLOCK_SKEW, STAMP_SKEW
from pdframe.cache.snapshots import SnapshotLog, kept_parts
from pdframe.cache.store import Store, Stored
from pdframe.errors import DamagedError
from pdframe.fields import Field, name_columns
from pdframe.frames import storage_schema, unify
from pdframe.schema.deals import DEAL_PRODUCTS
from pdframe.schema.snapshots import (
    DEALS_AND_DELETED,
    DELETED_DEALS,
    OF_LINES,
    TRACKED_COLUMNS,
    TRACKED_LINE_COLUMNS,
)

__all__ = [
    "DELETIONS_LISTED_FOR",
    "WITH_DELETED",
    "DeletedDeals",
    "Deletions",
    "absent_since",
    "with_lines_of_deleted",
]

LISTED_AT = "listed_at"
"""Key of the manifest's state: this machine's clock when the lists of deletions were last read."""
MERGED_AT = "merged_at"
"""The same of the last reading by a sync, which took the deleted rows out of the table of deals."""

WITH_DELETED = frozenset({DEALS_AND_DELETED.name})
"""Tables whose rows are kept when they are deleted."""
DELETIONS_LISTED_FOR = timedelta(days=30)
"""The API lists a deletion for so long."""
# One day more for clocks that differ.
_POSSIBLY_LISTED_FOR = DELETIONS_LISTED_FOR + timedelta(days=1)
_TIME = pa.timestamp("us", "UTC")
# Times of a deal that its deletion does not move.
_OTHER_TIMES = (
    "add_time",
    "stage_change_time",
    "archive_time",
    "close_time",
    "won_time",
    "lost_time",
    "first_won_time",
)
_NO_IDS = pa.array([], pa.int64())
# Kinds of snapshots that read every deal.
_OF_ALL = pa.array(["full", "resumed"])
_NAME = DELETED_DEALS.name
_KNOWN = ("id", "is_deleted", "seen_at")
_DAMAGED = (
    "It holds the rows of deleted deals, which cannot be loaded again.",
    "Restore the file from a backup; else the next sync of deals quarantines it and begins a new"
    " one.",
)


@dataclass(frozen=True)
class DeletedDeals:
    """The kept rows of deleted deals.

    Parameters
    ----------
    store
        The cache of the account.
    fields
        The field metadata of deals.
    """

    store: Store
    fields: Sequence[Field] = ()

    def listed_at(self, *, merged: bool = False) -> datetime | None:
        """Return when all lists of deletions were last read, by this machine's clock; `merged`: by
        a sync that took deleted deals out of their table. None: never.
        """
        try:
            manifest = self.store.manifest(_NAME)
            time = MERGED_AT if merged else LISTED_AT
            return datetime.fromisoformat(manifest.state[time]) if manifest else None
        except (DamagedError, KeyError, ValueError):
            return None

    def rows(self) -> pa.Table:
        """Return the last row of each deal that was ever deleted or missing, sorted by id.

        A deal that was restored since is among them. `is_deleted` is null where no list of
        deletions had the deal; the status is the one that it had.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote the rows.
        CacheError
            A file cannot be trusted.
        """
        empty = storage_schema(DELETED_DEALS, self.fields).empty_table()
        rows, problems = unify(
            [empty, *kept_parts(self.store, DELETED_DEALS, *_DAMAGED)], DELETED_DEALS, self.fields
        )
        problems.warn("deals", name_columns(self.fields, DEALS_AND_DELETED.reserved))
        return newest_rows(rows, "id")

    def known(self) -> pa.Table:
        """Return the id of each deal in `rows`, whether a list had it, and its last `seen_at`."""
        schema = pa.schema([storage_schema(DELETED_DEALS).field(name) for name in _KNOWN])
        parts = [part.select(_KNOWN) for part in kept_parts(self.store, DELETED_DEALS, *_DAMAGED)]
        return newest_rows(pa.concat_tables([schema.empty_table(), *parts]), "id")

    def beside(self, live: pa.Table) -> pa.Table:
        """Return deals together with the deleted ones that they lack.

        A deal whose row was not kept (by an earlier version) has the columns of the snapshot log
        alone. The status of all added deals is "deleted". `is_deleted` is null where no list of
        deletions had the deal: it may only have become invisible to this user.

        Parameters
        ----------
        live
            Cached rows of deals.

        Returns
        -------
        Table
            In the columns of `DEALS_AND_DELETED`.
        """
        kept, log = _without(self.rows(), live["id"]), SnapshotLog(self.store)
        states = newest_rows(log.rows(), "deal_id")
        missing = _without(_missing(states), live["id"], "deal_id")
        logged = _deals_of_log(_without(missing, kept["id"], "deal_id"))
        never_seen = pc.invert(pc.is_in(kept["id"], value_set=states["deal_id"].combine_chunks()))
        absent = pc.if_else(
            never_seen, absent_since(kept["update_time"], log.snapshots()), pa.scalar(None, _TIME)
        )
        rows, problems = unify(
            [live, self._dated(kept, missing, absent), logged], DEALS_AND_DELETED, self.fields
        )
        problems.warn("deals", name_columns(self.fields, DEALS_AND_DELETED.reserved))
        return rows

    @staticmethod
    def _dated(kept: pa.Table, missing: pa.Table, absent: pa.ChunkedArray) -> pa.Table:
        """Return kept rows in the columns of `DEALS_AND_DELETED`.

        `deleted_time` is no later than the snapshot that missed the deal, nor than the first one
        that never had it (`absent`).
        """
        timed = missing.filter(missing["is_server_time"])
        place = pc.index_in(kept["id"], value_set=timed["deal_id"].combine_chunks())
        bounds = (kept["deleted_time"], timed["seen_at"].take(place), absent)
        time = pc.min_element_wise(*(bound.cast(pa.int64()) for bound in bounds)).cast(_TIME)
        kept = kept.set_column(kept.column_names.index("deleted_time"), "deleted_time", time)
        return _marked_deleted(kept.drop_columns(["seen_at"]))


def absent_since(updated: pa.ChunkedArray, snapshots: pa.Table) -> pa.ChunkedArray:
    """Return the server's time of the first snapshot of all deals that lacks each of some deals
    that no snapshot has, though it was last edited before; null: unknown.

    A deal was there before its last edit, and an edit cannot be dated by hand, as `add_time` can.
    But a slow clock may have stamped it: an edit counts as before a snapshot where its stamp is
    more than `STAMP_SKEW` before the newest stamp that the snapshot is complete to.

    Parameters
    ----------
    updated
        `update_time` of each deal.
    snapshots
        The snapshots, in order.
    """
    proves = pc.and_(pc.is_in(snapshots["kind"], value_set=_OF_ALL), snapshots["is_server_time"])
    proving = snapshots.filter(pc.and_(proves, pc.is_valid(snapshots["complete_to"])))
    complete = np.maximum.accumulate(proving["complete_to"].cast(pa.int64()).to_numpy())
    edited = pc.fill_null(updated.cast(pa.int64()), np.iinfo(np.int64).max).to_numpy()
    place = np.searchsorted(complete - STAMP_SKEW // timedelta(microseconds=1), edited, "right")
    first = pa.array(place, mask=place == len(complete))
    return proving["seen_at"].cast(_TIME).take(first)


def with_lines_of_deleted(store: Store, live: pa.Table) -> pa.Table:
    """Return line items together with those that disappeared with their deals.

    Parameters
    ----------
    store
        The cache of the account.
    live
        Cached rows of line items.

    Returns
    -------
    Table
        In the columns of line items. Added rows show the last state in the snapshot log, and are
        null in the columns that it does not track.
    """
    deals = _missing(newest_rows(SnapshotLog(store).rows(), "deal_id"))
    deals = _without(deals, store.read("deals", ["id"])["id"], "deal_id")
    lines = _missing(newest_rows(SnapshotLog(store, OF_LINES).rows(), "id"))
    lines = _without(lines, live["id"])
    # A line item that was missing before its deal had been removed from it.
    place = pc.index_in(lines["deal_id"], value_set=deals["deal_id"].combine_chunks())
    is_later = pc.greater_equal(lines["seen_at"], deals["seen_at"].take(place))
    lines = lines.filter(pc.fill_null(is_later, False)).select(["id", *TRACKED_LINE_COLUMNS])
    rows, _ = unify([live, lines], DEAL_PRODUCTS)
    return rows


def _missing(states: pa.Table) -> pa.Table:
    """Return the states in a snapshot log that say that a row is deleted or invisible."""
    return states.filter(pc.fill_null(states["gone"], False))


def _deals_of_log(missing: pa.Table) -> pa.Table:
    """Return missing deals of the snapshot log in those columns of deals that it tracks."""
    nothing = pa.nulls(missing.num_rows, pa.timestamp("us", "UTC"))
    is_listed = pc.fill_null(pc.equal(missing["status"], "deleted"), False)
    columns = {
        "id": missing["deal_id"],
        **{name: missing[name] for name in TRACKED_COLUMNS},
        "is_deleted": pc.if_else(is_listed, True, pa.scalar(None, pa.bool_())),
        "deleted_time": pc.if_else(missing["is_server_time"], missing["seen_at"], nothing),
    }
    return _marked_deleted(pa.table(columns))


def _marked_deleted(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index("status")
    status = pa.repeat(pa.scalar("deleted", rows.schema.field("status").type), rows.num_rows)
    return rows.set_column(place, "status", status)


def _without(rows: pa.Table, ids: pa.ChunkedArray, key: str = "id") -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows[key], value_set=ids.combine_chunks())))


@dataclass
class Deletions:
    """Keep the deals that one sync finds deleted or missing.

    Parameters
    ----------
    kept
        The deals that are kept already.
    cached
        The cached rows of deals, as the last sync left them; None: nothing usable.
    last_sync_at
        The server's time of that sync; None: unknown.
    now
        This machine's clock.
    """

    kept: DeletedDeals
    cached: Stored | None
    last_sync_at: datetime | None
    now: datetime
    _known: pa.Table | None = None
    _named: set[int] = field(default_factory=set)

    def add_listed(self, rows: pa.Table, seen_at: datetime | None) -> None:
        """Keep rows that the API reports as deleted; `seen_at` is the server's time."""
        if not rows.num_rows:
            return
        known = self._known_at(seen_at)
        at = pc.index_in(rows["id"], value_set=known["id"].combine_chunks())
        reported, kept_at = (known[name].take(at) for name in ("is_deleted", "seen_at"))
        cached = self.cached["id"].combine_chunks() if self.cached is not None else _NO_IDS
        was_there = pc.is_in(rows["id"], value_set=cached)
        # For a deal that the last sync still found, a row kept before that is of an earlier
        # deletion.
        since = pc.or_(pc.invert(was_there), self._since_last_sync(kept_at))
        new = rows.filter(pc.invert(pc.and_(pc.fill_null(reported, False), since)))
        if new.num_rows:
            time = seen_at or self.now
            is_deleted = pa.repeat(True, new.num_rows)
            self._add(new, time, is_deleted, self._deleted_times(new, time))
        self._named.update(rows["id"].to_pylist())

    def add_missing(self, current: Iterable[pa.Table], seen_at: datetime | None) -> None:
        """Keep the cached rows of deals that are not in the `current` rows, and that no list of
        deletions named since the last sync.
        """
        known = self._known_at(seen_at)
        if self.cached is None or not self.cached.num_rows:
            return
        present = np.concatenate(
            [np.empty(0, np.int64), *(rows["id"].to_numpy() for rows in current)]
        )
        missing = set(np.setdiff1d(self.cached["id"].to_numpy(), present).tolist()) - self._named
        if not missing:
            return
        missing -= set(known.filter(self._since_last_sync(known["seen_at"]))["id"].to_pylist())
        wanted, time = pa.array(sorted(missing), pa.int64()), seen_at or self.now
        for part in self.cached.parts():
            rows = part.filter(pc.is_in(part["id"], value_set=wanted))
            if rows.num_rows:
                nothing, times = (
                    pa.nulls(rows.num_rows, pa.bool_()),
                    pa.repeat(pa.scalar(time, _TIME), rows.num_rows),
                )
                self._add(rows, time, nothing, times)

    def note_listed(
        self, lists: Collection[str], seen_at: datetime | None, *, is_merged: bool
    ) -> None:
        """Note it where all `lists` of deletions were read; `seen_at` is the server's time,
        `is_merged` whether the table of deals is published without the deals that they named.
        """
        if {source.path for source in DEALS_AND_DELETED.sources if source.deletions} <= set(lists):
            self._known_at(seen_at)
            empty = storage_schema(DELETED_DEALS, self.kept.fields).empty_table()
            manifest = self.kept.store.begun(_NAME, empty, self.now)
            keys = (LISTED_AT, MERGED_AT) if is_merged else (LISTED_AT,)
            state = {**manifest.state, **dict.fromkeys(keys, self.now.isoformat())}
            self.kept.store.publish(replace(manifest, synced_at=self.now, state=state))

    def _known_at(self, seen_at: datetime | None) -> pa.Table:
        """Return the deals that are kept already. Rows that cannot be read, or that belong to
        another account since they are later than `seen_at`, are quarantined first.
        """
        if self._known is not None:
            return self._known
        try:
            self._known = self.kept.known()
        except DamagedError as error:
            why = f"The kept rows of deleted deals cannot be read. {error}"
        else:
            newest = pc.max(self._known["seen_at"]).as_py()
            if newest is None or seen_at is None or seen_at >= newest - CLOCK_SKEW:
                return self._known
            why = (
                f"The kept rows of deleted deals reach to {newest:%Y-%m-%d %H:%M}, and the server's"
                " clock is earlier."
            )
        store = self.kept.store
        suffix = quarantine(store, _NAME)
        warn(f"{why} They are quarantined as {_NAME}{suffix} in {store.root}, and new ones begin.")
        self._known = self.kept.known()
        return self._known

    def _add(
        self,
        rows: pa.Table,
        time: datetime,
        is_deleted: pa.Array,
        deleted_times: pa.Array | pa.ChunkedArray,
    ) -> None:
        """Append rows of deals that are deleted at `time`, by the server's clock."""
        stamp = pa.repeat(pa.scalar(time, _TIME), rows.num_rows)
        for name, values in (
            ("is_deleted", is_deleted),
            ("deleted_time", deleted_times),
            ("seen_at", stamp),
        ):
            if name in rows.column_names:
                rows = rows.set_column(rows.column_names.index(name), name, values)
            else:
                rows = rows.append_column(name, values)
        # Custom columns keep their types: a field may have another type by now, and a value that
        # does not fit it would be lost for good.
        named, _ = unify([rows], DELETED_DEALS)
        empty = storage_schema(DELETED_DEALS, self.kept.fields).empty_table()
        log = self.kept.store.begun(_NAME, empty, self.now)
        self.kept.store.append(log, named, synced_at=self.now)
        self._known = self.kept.known()

    def _since_last_sync(self, times: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether a time is after the last sync: an interrupted sync kept what has such a time."""
        if self.last_sync_at is None:
            return pc.is_valid(times)
        return pc.fill_null(pc.greater(times, pa.scalar(self.last_sync_at, _TIME)), False)

    def _deleted_times(self, rows: pa.Table, seen_at: datetime) -> pa.ChunkedArray:
        """Return when deals were deleted, as far as their rows show; else `seen_at`.

        The API gives no time of deletion. Where a deletion moves `update_time`, that is the newest
        time of the row, within the days for which deletions are listed, and after the last sync
        that found the deal.
        """
        updated = rows["update_time"]
        others = pc.max_element_wise(*(rows[name].cast(pa.int64()) for name in _OTHER_TIMES)).cast(
            _TIME
        )
        possible = pc.and_(
            pc.greater(updated, pa.scalar(seen_at - _POSSIBLY_LISTED_FOR, _TIME)),
            pc.less_equal(updated, pa.scalar(seen_at + CLOCK_SKEW, _TIME)),
        )
        possible = pc.and_(possible, pc.fill_null(pc.greater(updated, others), True))
        if self.cached is not None and self.last_sync_at is not None:
            at = pc.index_in(rows["id"], value_set=self.cached["id"].combine_chunks())
            before = self.cached["update_time"].take(at)
            later = pc.and_(
                pc.greater(updated, pa.scalar(self.last_sync_at, _TIME)),
                pc.fill_null(pc.greater(updated, before), True),
            )
            possible = pc.and_(possible, pc.or_(pc.is_null(at), later))
        return pc.if_else(pc.fill_null(possible, False), updated, pa.scalar(seen_at, _TIME))
