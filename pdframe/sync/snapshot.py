"""Keeps what a pull of deals or line items found in their history, before the table itself is
written.
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
    """The columns that a look reads of a table; none where no history of it is kept."""
    return HISTORIES[table].snapshot_columns if table in HISTORIES else ()


def append_snapshot(
    store: Store,
    manifest: Manifest,
    pieces: Iterable[pa.Table],
    pull: FetchResult,
    before: Manifest | None,
) -> None:
    """Keep a look at deals or line items; nothing for any other table.

    Parameters
    ----------
    store
        The cache.
    manifest, pieces
        The table that is about to take the place of what is cached, and all its rows: at least the
        columns that `snapshot_columns` names.
    pull
        What it was made from.
    before
        The manifest that it takes the place of.
    """
    if manifest.table not in HISTORIES:
        return
    history, kind = SnapshotLog(store, HISTORIES[manifest.table]), _kind(manifest, pull, before)
    if kind == "incremental" and _is_empty(pull) and history.has_begun:
        return  # no row was read
    seen_at, deleted = pull.seen_at, [*pull.removed, *_flagged(manifest.table, pull)]
    if manifest.table == OF_DEALS.of:
        # Changes are pulled from the live list first, so that whatever was stamped up to the newest
        # of these was found in one list or another. After a walk, the live list is read again last.
        newest = pull.state.get(TABLES[manifest.table].sources[-1 if kind == "full" else 0].path)
        complete_to = datetime.fromisoformat(newest).astimezone(UTC) if newest else None
    else:
        complete_to = pull.fetched_since if pull.saved else pull.server_time
        if kind == "incremental" and not history.has_begun:
            # The first look at a table that an older version loaded: most rows are as old as that
            # load.
            complete_to, seen_at = None, seen_at or (before.server_time if before else None)
        # Line items that went with their deal are missed without a request for any.
        seen_at = seen_at or _last_sync_at(store)
    history.snapshot(
        pieces,
        kind,
        seen_at=seen_at,
        complete_to=complete_to,
        now=manifest.synced_at,
        deleted=deleted,
    )


def _last_sync_at(store: Store) -> datetime | None:
    """Server's time of the last look at deals."""
    try:
        snapshots = SnapshotLog(store, OF_DEALS).snapshots()
    except CacheError:
        return None
    newest: datetime | None = pc.max(
        snapshots.filter(snapshots["is_server_time"])["seen_at"]
    ).as_py()
    return newest


def _is_empty(pull: FetchResult) -> bool:
    """Whether no answer came and no row is known to be gone."""
    return (
        pull.seen_at is None
        and not pull.removed
        and not any(rows.num_rows for rows in pull.columns(["id"]))
    )


def _flagged(table: str, pull: FetchResult) -> list[int]:
    """Return the rows whose flag says that they are deleted, in a table that has such a flag."""
    if "is_deleted" not in TABLES[table].by_name:
        # A server may send one that nothing declares: it is text of unknown meaning.
        return []
    return [
        deal
        for rows in pull.columns(["id", "is_deleted"])
        if "is_deleted" in rows.column_names
        for deal in rows.filter(pc.fill_null(rows["is_deleted"], False))["id"].to_pylist()
    ]


def _kind(manifest: Manifest, pull: FetchResult, before: Manifest | None) -> Kind:
    if before is None or manifest.full_at != before.full_at:
        return "resumed" if pull.saved else "full"
    return "incremental"
