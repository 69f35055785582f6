"""Deals known as deleted: the last row of each is kept for good.

The API lists a deleted deal for 30 days and then no more. So the row of every deal that a sync
finds deleted, or missing, is kept beside the table of deals. Rows are only ever added. They are
written before the table of deals is, and a row counts only where that table does not hold its deal:
whatever a crash leaves is true, and a deal that was restored leaves the deleted ones by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.quarantine import quarantine
from pdframe.cache.snapshots import CLOCK_SLACK, SnapshotLog, check_types, latest
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

LISTED_AT = "listed_at"
"""Key of the manifest's state: this machine's clock when the lists of deletions were last read as a
whole.
"""

_NAME = DELETED_DEALS.name
_KNOWN = ("id", "is_deleted", "seen_at")


class DeletedDeals:
    """The kept rows of deals that were deleted.

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
        """When the lists of deletions were last read as a whole, by this machine's clock; None:
        never.
        """
        try:
            manifest = self._store.manifest(_NAME)
            return datetime.fromisoformat(manifest.state[LISTED_AT]) if manifest else None
        except (DamagedError, KeyError, ValueError):
            return None

    def rows(self) -> pa.Table:
        """The last row of each deal that was ever found deleted, or missing, in the order of ids.

        A deal that was restored since is among them. `is_deleted` is null where no list of
        deletions named the deal; the status is the one it had.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote them.
        CacheError
            A file cannot be trusted.
        """
        rows, problems = unify(
            [storage_schema(DELETED_DEALS, self._fields).empty_table(), *self._parts()],
            DELETED_DEALS,
            self._fields,
        )
        problems.warn("deals", name_columns(self._fields, DEALS_AND_DELETED.reserved))
        return latest(rows, "id")

    def known(self) -> pa.Table:
        """The id of each deal that was ever found deleted or missing, whether a list named it, and
        the last look that did so.
        """
        schema = pa.schema([storage_schema(DELETED_DEALS).field(name) for name in _KNOWN])
        return latest(
            pa.concat_tables(
                [schema.empty_table(), *(part.select(_KNOWN) for part in self._parts())]
            ),
            "id",
        )

    def beside(self, live: pa.Table) -> pa.Table:
        """Return the deals of a table together with those that are known as deleted and not in it.

        A deal whose row was not kept (by an earlier version) has the columns of the kept history
        alone. Status reads "deleted" in all; `is_deleted` is null where no list of deletions named
        the deal: then it may only have become invisible to this user.

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
        past = latest(SnapshotLog(self._store).rows())
        past = _without(past.filter(pc.fill_null(past["gone"], False)), live["id"], "deal_id")
        result = [live, self._dated(kept, past), _of_history(_without(past, kept["id"], "deal_id"))]
        rows, problems = unify(result, DEALS_AND_DELETED, self._fields)
        problems.warn("deals", name_columns(self._fields, DEALS_AND_DELETED.reserved))
        return rows

    def add(self, rows: pa.Table, *, seen_at: datetime, now: datetime) -> None:
        """Keep rows of deals that a look at `seen_at` found deleted, in the columns of the cache;
        `now` is this machine's clock.
        """
        stamp = pa.repeat(pa.scalar(seen_at, pa.timestamp("us", "UTC")), rows.num_rows)
        # Custom columns keep the types that they have: a field may have another type by now, and a
        # value that does not fit it would be lost for good.
        named, _ = unify([rows.append_column("seen_at", stamp)], DELETED_DEALS)
        self._store.append(self._begun(now), named, synced_at=now)

    def note_listed(self, at: datetime) -> None:
        """Note that the lists of deletions were read as a whole; `at` is this machine's clock
        before.
        """
        before = self._begun(at)
        self._store.touch(
            replace(before, synced_at=at, state={**before.state, LISTED_AT: at.isoformat()})
        )

    def quarantine_other_past(self, seen_at: datetime | None) -> None:
        """Set aside what cannot be read, or what is later than `seen_at`, the server's time: the
        past of another account.
        """
        try:
            newest = pc.max(self.known()["seen_at"]).as_py()
        except DamagedError as error:
            why = f"The kept rows of deleted deals cannot be read. {error}"
        else:
            if newest is None or seen_at is None or seen_at >= newest - CLOCK_SLACK:
                return
            why = f"The kept rows of deleted deals reach to {newest:%Y-%m-%d %H:%M}, and the server's clock is behind it."
        suffix = quarantine(self._store, _NAME)
        warn(
            f"{why} They are set aside as {_NAME}{suffix} in {self._store.root}, and new ones begin."
        )

    def _begun(self, now: datetime) -> Manifest:
        manifest = self._store.manifest(_NAME)
        if manifest is not None:
            return manifest
        empty = storage_schema(DELETED_DEALS, self._fields).empty_table()
        return self._store.replace(Manifest(_NAME, (), 0, now, now), empty)

    def _parts(self) -> Iterator[pa.Table]:
        try:
            if self._store.manifest(_NAME) is None:
                self._store.check_manifest(_NAME)
                return
            for part in self._store.open_table(_NAME).parts():
                check_types(part.schema, DELETED_DEALS)
                yield part
        except DamagedError as error:
            raise DamagedError(
                f"{str(error.args[0]).partition(' The CRM is untouched')[0]} It holds the rows of deleted deals, which cannot be loaded "
                "again. Put the file back from a backup; else the next sync of deals sets it aside and begins a new one.",
                table=error.table,
            ) from error

    @staticmethod
    def _dated(kept: pa.Table, past: pa.Table) -> pa.Table:
        """Kept rows as `DEALS_AND_DELETED` has them; `deleted_time` no later than the look of the
        kept history that missed the deal.
        """
        reported = past.filter(past["is_server_time"])
        snapshot = reported["seen_at"].take(
            pc.index_in(kept["id"], value_set=reported["deal_id"].combine_chunks())
        )
        time = pc.min_element_wise(
            kept["deleted_time"].cast(pa.int64()), snapshot.cast(pa.int64())
        ).cast(snapshot.type)
        kept = kept.set_column(kept.column_names.index("deleted_time"), "deleted_time", time)
        return _called_deleted(kept.drop_columns(["seen_at"]))


def with_lines_of_deleted(store: Store, live: pa.Table) -> pa.Table:
    """Return line items together with those that disappeared with their deals, as the kept history
    saw them last.

    Parameters
    ----------
    store
        The cache of the account.
    live
        Cached rows of line items.

    Returns
    -------
    Table
        In the columns of line items; those that the kept history does not hold are null in the
        added rows.
    """
    deals = latest(SnapshotLog(store).rows())
    deals = _without(
        deals.filter(pc.fill_null(deals["gone"], False)),
        store.read("deals", ["id"])["id"],
        "deal_id",
    )
    lines = latest(SnapshotLog(store, OF_LINES).rows(), "id")
    lines = _without(lines.filter(pc.fill_null(lines["gone"], False)), live["id"])
    # A line that was missing before its deal was had been removed from it.
    since = deals["seen_at"].take(
        pc.index_in(lines["deal_id"], value_set=deals["deal_id"].combine_chunks())
    )
    lines = lines.filter(pc.fill_null(pc.greater_equal(lines["seen_at"], since), False)).select(
        ["id", *TRACKED_LINE_COLUMNS]
    )
    rows, _ = unify([live, lines], DEAL_PRODUCTS)
    return rows


def _of_history(past: pa.Table) -> pa.Table:
    """Rows of the kept history of deals that are gone, in the columns of deals that it holds."""
    nothing = pa.nulls(past.num_rows, pa.timestamp("us", "UTC"))
    listed = pc.fill_null(pc.equal(past["status"], "deleted"), False)
    columns = {
        "id": past["deal_id"],
        **{name: past[name] for name in TRACKED_COLUMNS},
        "is_deleted": pc.if_else(listed, True, pa.scalar(None, pa.bool_())),
        "deleted_time": pc.if_else(past["is_server_time"], past["seen_at"], nothing),
    }
    return _called_deleted(pa.table(columns))


def _called_deleted(rows: pa.Table) -> pa.Table:
    place = rows.column_names.index("status")
    return rows.set_column(
        place,
        "status",
        pa.repeat(pa.scalar("deleted", rows.schema.field("status").type), rows.num_rows),
    )


def _without(rows: pa.Table, ids: pa.ChunkedArray, key: str = "id") -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows[key], value_set=ids.combine_chunks())))
