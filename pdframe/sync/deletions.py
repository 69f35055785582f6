"""Keep the rows of deals that a sync finds deleted or missing, before the table of deals is
published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.store import Manifest, Store, Stored
from pdframe.fields import Field
from pdframe.schema import TABLES, Table
from pdframe.sync.fetch_result import CLOCK_SKEW

# The API lists deletions for 30 days; one day more for clocks that differ.
LISTED_FOR = timedelta(days=31)
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


def keeps_deleted(table: Table) -> bool:
    """Whether the rows of a table are kept when they are deleted."""
    return table.name == TABLES["deals"].name


class Deletions:
    """Keep the deals that one sync finds deleted or missing.

    Parameters
    ----------
    store, fields
        The cache, and the field metadata of deals.
    manifest, cached
        What is cached of deals, as the last sync left it.
    now
        This machine's clock.
    """

    def __init__(
        self,
        store: Store,
        fields: Sequence[Field],
        manifest: Manifest | None,
        cached: Stored | None,
        now: datetime,
    ) -> None:
        self._kept = DeletedDeals(store, fields)
        self._cached = cached
        self._last_sync_at = (
            manifest.server_time if manifest is not None and cached is not None else None
        )
        self._now = now
        self._known: pa.Table | None = None
        self._named: set[int] = set()

    def add_listed(self, rows: pa.Table, seen_at: datetime | None) -> None:
        """Keep rows that the API reports as deleted; `seen_at` is the server's time."""
        if not rows.num_rows:
            return
        known = self._known_at(seen_at)
        at = pc.index_in(rows["id"], value_set=known["id"].combine_chunks())
        reported, kept_at = (known[name].take(at) for name in ("is_deleted", "seen_at"))
        was_there = self._was_there(rows["id"])
        # For a deal that the last sync still found, a row kept before that is of an earlier
        # deletion.
        since = pc.or_(pc.invert(was_there), self._since_last_sync(kept_at))
        new = rows.filter(pc.invert(pc.and_(pc.fill_null(reported, False), since)))
        if new.num_rows:
            time = seen_at or self._now
            self._add(
                _with(
                    new,
                    is_deleted=pa.repeat(True, new.num_rows),
                    deleted_time=self._deleted_times(new, time),
                ),
                time,
            )
        self._named.update(rows["id"].to_pylist())

    def add_missing(self, current: Iterable[pa.Table], seen_at: datetime | None) -> None:
        """Keep the cached rows of deals that are not in the `current` rows, and that no list of
        deletions named since the last sync.
        """
        known = self._known_at(seen_at)
        if self._cached is None or not self._cached.num_rows:
            return
        present = np.concatenate(
            [np.empty(0, np.int64), *(rows["id"].to_numpy() for rows in current)]
        )
        missing = set(np.setdiff1d(self._cached["id"].to_numpy(), present).tolist()) - self._named
        if not missing:
            return
        missing -= set(known.filter(self._since_last_sync(known["seen_at"]))["id"].to_pylist())
        wanted, time = pa.array(sorted(missing), pa.int64()), seen_at or self._now
        for part in self._cached.parts():
            rows = part.filter(pc.is_in(part["id"], value_set=wanted))
            if rows.num_rows:
                nothing, times = (
                    pa.nulls(rows.num_rows, pa.bool_()),
                    pa.repeat(pa.scalar(time, _TIME), rows.num_rows),
                )
                self._add(_with(rows, is_deleted=nothing, deleted_time=times), time)

    def note_listed(self, seen_at: datetime | None, *, is_merged: bool) -> None:
        """Note that all lists of deletions were read; `seen_at` is the server's time, `is_merged`
        whether the table of deals is published without the deals that they named.
        """
        self._known_at(seen_at)
        self._kept.note_listed(self._now, is_merged=is_merged)

    def _known_at(self, seen_at: datetime | None) -> pa.Table:
        """Return the deals that are kept already; those of another past than `seen_at` are put in
        quarantine first.
        """
        if self._known is None:
            self._kept.quarantine_other_past(seen_at)
            self._known = self._kept.known()
        return self._known

    def _add(self, rows: pa.Table, time: datetime) -> None:
        self._kept.add(rows, seen_at=time, now=self._now)
        self._known = self._kept.known()

    def _was_there(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether the last sync found the deals."""
        cached = (
            self._cached["id"].combine_chunks()
            if self._cached is not None
            else pa.array([], pa.int64())
        )
        return pc.is_in(ids, value_set=cached)

    def _since_last_sync(self, times: pa.ChunkedArray) -> pa.ChunkedArray:
        """Whether a time is after the last sync: an interrupted sync kept what has such a time."""
        if self._last_sync_at is None:
            return pc.is_valid(times)
        return pc.fill_null(pc.greater(times, pa.scalar(self._last_sync_at, _TIME)), False)

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
            pc.greater(updated, pa.scalar(seen_at - LISTED_FOR, _TIME)),
            pc.less_equal(updated, pa.scalar(seen_at + CLOCK_SKEW, _TIME)),
        )
        possible = pc.and_(possible, pc.fill_null(pc.greater(updated, others), True))
        if self._cached is not None and self._last_sync_at is not None:
            before = self._cached["update_time"].take(
                pc.index_in(rows["id"], value_set=self._cached["id"].combine_chunks())
            )
            later = pc.and_(
                pc.greater(updated, pa.scalar(self._last_sync_at, _TIME)),
                pc.fill_null(pc.greater(updated, before), True),
            )
            possible = pc.and_(possible, pc.or_(pc.invert(self._was_there(rows["id"])), later))
        return pc.if_else(pc.fill_null(possible, False), updated, pa.scalar(seen_at, _TIME))


def _with(rows: pa.Table, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = (
            rows.append_column(name, values) if place < 0 else rows.set_column(place, name, values)
        )
    return rows
