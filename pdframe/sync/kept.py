"""Keeps what a pull of deals found in the history, before the table of deals itself is written."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.history import History, Kind
from pdframe.schema import TABLES
from pdframe.schema.kept import REMEMBERED
from pdframe.store import Manifest, Store
from pdframe.sync.pull import Pull

DEALS = "deals"
# What a look needs to know of them.
LOOKED_AT = tuple(dict.fromkeys(("id", *REMEMBERED, "update_time", "add_time")))


def keep_look(store: Store, manifest: Manifest, rows: pa.Table, pull: Pull, before: Manifest | None) -> None:
    """Keep a look at the deals; nothing for any other table.

    Parameters
    ----------
    store
        Where.
    manifest, rows
        The table as it is about to be written, and at least the columns that are `LOOKED_AT` of it.
    pull
        What it was made from.
    before
        The manifest that it takes the place of.
    """
    if manifest.table != DEALS:
        return
    kind = _kind(manifest, pull, before)
    # Changes are pulled from the live list first, so that whatever was stamped up to the newest of these was found in one list or another.
    # After a walk, the live list is read again last.
    newest = pull.state.get(TABLES[DEALS].sources[-1 if kind == "full" else 0].path)
    complete_to = datetime.fromisoformat(newest).astimezone(UTC) if newest else None
    History(store).look(
        rows, kind, seen_at=pull.seen_at, complete_to=complete_to, now=manifest.synced_at, deleted=[*pull.gone, *_flagged(pull)]
    )


def _flagged(pull: Pull) -> list[int]:
    """The deals that came with the flag of the deleted."""
    return [
        deal
        for rows in pull.columns(["id", "is_deleted"])
        for deal in rows.filter(pc.fill_null(rows["is_deleted"], False))["id"].to_pylist()
    ]


def _kind(manifest: Manifest, pull: Pull, before: Manifest | None) -> Kind:
    if before is None or manifest.full_at != before.full_at:
        return "resumed" if pull.saved else "full"
    return "incremental"
