"""Deleted deals: the last row of each is kept for good.

The API lists a deleted deal for 30 days. So each sync of deals writes the row of every deal that it
finds deleted or missing to a table of its own, beside the table of deals. Rows are only appended,
and they are written before the table of deals. A row counts only while the table of deals lacks its
deal. So whatever a crash leaves is true, and a deal that is restored needs no correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.quarantine import quarantine
from pdframe.cache.snapshots import (
    CLOCK_SLACK,
    SnapshotLog,
    check_types,
    irreplaceable_error,
    newest_states,
)
from pdframe.cache.store import Manifest, Store
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

__all__ = ["DeletedDeals", "with_lines_of_deleted"]

LISTED_AT = "listed_at"
"""Key of the manifest's state: this machine's clock when the lists of deletions were last read."""
MERGED_AT = "merged_at"
"""The same of the last reading by a sync, which took the deleted rows out of the table of deals."""

_NAME = DELETED_DEALS.name
_KNOWN = ("id", "is_deleted", "seen_at")


class DeletedDeals:
    """The kept rows of deleted deals.

    Parameters
    ----------
    store
        The cache of the account.
    fields
        The field metadata of deals.
    """

    def __init__(self, store: Store, fields: Sequence[Field] = ()) -> None:
        self._store = store
        self._fields = fields

    @property
    def listed_at(self) -> datetime | None:
        """When all lists of deletions were last read, by this machine's clock; None: never."""
        return self._time(LISTED_AT)

    @property
    def merged_at(self) -> datetime | None:
        """When a sync that took deleted deals out of their table last read these lists; None: no
        sync did.
        """
        return self._time(MERGED_AT)

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
        empty = storage_schema(DELETED_DEALS, self._fields).empty_table()
        rows, problems = unify([empty, *self._parts()], DELETED_DEALS, self._fields)
        problems.warn("deals", name_columns(self._fields, DEALS_AND_DELETED.reserved))
        return newest_states(rows, "id")

    def known(self) -> pa.Table:
        """Return the id of each deal in `rows`, whether a list had it, and its last `seen_at`."""
        schema = pa.schema([storage_schema(DELETED_DEALS).field(name) for name in _KNOWN])
        parts = [part.select(_KNOWN) for part in self._parts()]
        return newest_states(pa.concat_tables([schema.empty_table(), *parts]), "id")

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
        kept = _without(self.rows(), live["id"])
        states = newest_states(SnapshotLog(self._store).rows())
        missing = _without(_missing(states), live["id"], "deal_id")
        logged = _deals_of_log(_without(missing, kept["id"], "deal_id"))
        rows, problems = unify(
            [live, self._dated(kept, missing), logged], DEALS_AND_DELETED, self._fields
        )
        problems.warn("deals", name_columns(self._fields, DEALS_AND_DELETED.reserved))
        return rows

    def add(self, rows: pa.Table, *, seen_at: datetime, now: datetime) -> None:
        """Append rows of deals that are deleted at `seen_at`, in the columns of the cache.

        `seen_at` is the server's time, `now` this machine's clock.
        """
        stamp = pa.repeat(pa.scalar(seen_at, pa.timestamp("us", "UTC")), rows.num_rows)
        # Custom columns keep their types: a field may have another type by now, and a value that
        # does not fit it would be lost for good.
        named, _ = unify([rows.append_column("seen_at", stamp)], DELETED_DEALS)
        self._store.append(self._begun(now), named, synced_at=now)

    def note_listed(self, at: datetime, *, is_merged: bool = False) -> None:
        """Record that all lists of deletions were read; `at` is this machine's clock before it.

        `is_merged`: the table of deals is published without the deals that they named.
        """
        manifest = self._begun(at)
        keys = (LISTED_AT, MERGED_AT) if is_merged else (LISTED_AT,)
        state = {**manifest.state, **dict.fromkeys(keys, at.isoformat())}
        self._store.publish(replace(manifest, synced_at=at, state=state))

    def quarantine_other_past(self, seen_at: datetime | None) -> None:
        """Quarantine the rows where they cannot be read, or are later than the server's time.

        Rows that are later than `seen_at` belong to another account.
        """
        try:
            newest = pc.max(self.known()["seen_at"]).as_py()
        except DamagedError as error:
            why = f"The kept rows of deleted deals cannot be read. {error}"
        else:
            if newest is None or seen_at is None or seen_at >= newest - CLOCK_SLACK:
                return
            why = (
                f"The kept rows of deleted deals reach to {newest:%Y-%m-%d %H:%M}, and the server's"
                " clock is earlier."
            )
        suffix = quarantine(self._store, _NAME)
        warn(
            f"{why} They are quarantined as {_NAME}{suffix} in {self._store.root}, and new ones"
            " begin."
        )

    def _time(self, key: str) -> datetime | None:
        try:
            manifest = self._store.manifest(_NAME)
            return datetime.fromisoformat(manifest.state[key]) if manifest else None
        except (DamagedError, KeyError, ValueError):
            return None

    def _begun(self, now: datetime) -> Manifest:
        """Return the manifest; create the table where it is missing."""
        manifest = self._store.manifest(_NAME)
        if manifest is not None:
            return manifest
        empty = storage_schema(DELETED_DEALS, self._fields).empty_table()
        return self._store.replace(Manifest(_NAME, (), 0, now, now), empty)

    def _parts(self) -> Iterator[pa.Table]:
        try:
            if self._store.manifest(_NAME) is None:
                self._store.check_not_lost(_NAME)
                return
            for part in self._store.open_table(_NAME).parts():
                check_types(part.schema, DELETED_DEALS)
                yield part
        except DamagedError as error:
            raise irreplaceable_error(
                error,
                "It holds the rows of deleted deals, which cannot be loaded again.",
                "Restore the file from a backup; else the next sync of deals quarantines it and"
                " begins a new one.",
            ) from error

    @staticmethod
    def _dated(kept: pa.Table, missing: pa.Table) -> pa.Table:
        """Return kept rows in the columns of `DEALS_AND_DELETED`.

        `deleted_time` is no later than the snapshot that missed the deal.
        """
        timed = missing.filter(missing["is_server_time"])
        place = pc.index_in(kept["id"], value_set=timed["deal_id"].combine_chunks())
        seen_at = timed["seen_at"].take(place)
        deleted_at = kept["deleted_time"].cast(pa.int64())
        time = pc.min_element_wise(deleted_at, seen_at.cast(pa.int64())).cast(seen_at.type)
        kept = kept.set_column(kept.column_names.index("deleted_time"), "deleted_time", time)
        return _marked_deleted(kept.drop_columns(["seen_at"]))


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
    deals = _missing(newest_states(SnapshotLog(store).rows()))
    deals = _without(deals, store.read("deals", ["id"])["id"], "deal_id")
    lines = _missing(newest_states(SnapshotLog(store, OF_LINES).rows(), "id"))
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
