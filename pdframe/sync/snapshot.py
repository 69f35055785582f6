"""Append what a sync of deals or line items found to the snapshot log, before their table is
published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.snapshots import Kind, SnapshotLog
from pdframe.cache.store import Manifest, Store
from pdframe.errors import CacheError
from pdframe.schema import TABLES
from pdframe.schema.snapshots import HISTORIES, OF_DEALS
from pdframe.sync.fetch_result import FetchResult


def snapshot_columns(table: str) -> Sequence[str]:
    """Return the columns that a snapshot reads of a table; none where it has no snapshot log."""
    return HISTORIES[table].snapshot_columns if table in HISTORIES else ()


def append_snapshot(
    store: Store,
    manifest: Manifest,
    pieces: Iterable[pa.Table],
    fetched: FetchResult,
    before: Manifest | None,
) -> None:
    """Append a snapshot of deals or line items; nothing for any other table.

    Parameters
    ----------
    store
        The cache.
    manifest, pieces
        The table that is about to be published, and all its rows: at least the columns that
        `snapshot_columns` names.
    fetched
        What it was made from.
    before
        The manifest that it replaces.
    """
    if manifest.table not in HISTORIES:
        return
    history, kind = SnapshotLog(store, HISTORIES[manifest.table]), _kind(manifest, fetched, before)
    if kind == "incremental" and _is_empty(fetched) and history.has_begun:
        return  # no row was read
    seen_at, deleted = fetched.seen_at, [*fetched.deleted, *_flagged(manifest.table, fetched)]
    if manifest.table == OF_DEALS.of:
        # Changes are fetched from the live list first: what was stamped up to the newest of these
        # was found in one list or another. A full sync reads the live list last.
        sources = TABLES[manifest.table].sources
        newest = fetched.watermarks.get(sources[-1 if kind == "full" else 0].path)
        complete_to = datetime.fromisoformat(newest).astimezone(UTC) if newest else None
    else:
        complete_to = fetched.fetched_since if fetched.resumed_pages else fetched.server_time
        if kind == "incremental" and not history.has_begun:
            # The first snapshot of a table that an older version loaded: most rows are as old as
            # that load.
            complete_to, seen_at = None, seen_at or (before.server_time if before else None)
        # Line items that were deleted with their deal are missing without a request for any.
        seen_at = seen_at or _last_sync_at(store)
    history.append(
        pieces,
        kind,
        seen_at=seen_at,
        complete_to=complete_to,
        now=manifest.synced_at,
        deleted=deleted,
    )


def _last_sync_at(store: Store) -> datetime | None:
    """Return the server's time of the last snapshot of deals."""
    try:
        snapshots = SnapshotLog(store, OF_DEALS).snapshots()
    except CacheError:
        return None
    newest: datetime | None = pc.max(
        snapshots.filter(snapshots["is_server_time"])["seen_at"]
    ).as_py()
    return newest


def _is_empty(fetched: FetchResult) -> bool:
    """Whether no answer was received and no row is known to be deleted."""
    return (
        fetched.seen_at is None
        and not fetched.deleted
        and not any(rows.num_rows for rows in fetched.columns(["id"]))
    )


def _flagged(table: str, fetched: FetchResult) -> list[int]:
    """Return the rows whose flag says that they are deleted, in a table that has such a flag."""
    if "is_deleted" not in TABLES[table].by_name:
        # A server may send one that nothing declares: it is text of unknown meaning.
        return []
    return [
        deal
        for rows in fetched.columns(["id", "is_deleted"])
        if "is_deleted" in rows.column_names
        for deal in rows.filter(pc.fill_null(rows["is_deleted"], False))["id"].to_pylist()
    ]


def _kind(manifest: Manifest, fetched: FetchResult, before: Manifest | None) -> Kind:
    if before is None or manifest.full_at != before.full_at:
        return "resumed" if fetched.resumed_pages else "full"
    return "incremental"
