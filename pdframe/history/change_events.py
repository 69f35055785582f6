"""Changelogs of deals as changes of tracked columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.history.changelog import Change, oldest_first
from pdframe.history.inputs import column_micros
from pdframe.history.value_texts import logged_text

IS_DELETED = "is_deleted"
# Column by the key that the changelog (v1) has for it.
_COLUMNS = {
    "stage_id": "stage_id",
    "pipeline_id": "pipeline_id",
    "status": "status",
    "value": "value",
    "currency": "currency",
    "expected_close_date": "expected_close_date",
    "user_id": "owner_id",
    "probability": "probability",
    "won_time": "won_time",
    "lost_time": "lost_time",
}
LOGGED_COLUMNS = tuple(_COLUMNS.values())
"""Columns of deals whose changes a changelog has."""
FULLY_LOGGED = ("stage_id", "pipeline_id", "status", "value", "currency")
"""Columns whose every change it has: if it has no row of one, that column never changed."""
EVIDENTLY_LOGGED = frozenset({"owner_id", "expected_close_date"})
"""Columns that count as fully logged where a changelog of the account has a row of them. Without
that, a value would be known since the creation of those deals alone in which it changed later.
"""
CLOSING_TIMES = {"won": "won_time", "lost": "lost_time"}
"""Column with the time of a closing, by status."""

Events: TypeAlias = dict[tuple[int, str], list[Change]]
"""The changes of each deal and column, oldest first."""


def newest_changes(changes: pa.Table | None) -> dict[int, int]:
    """Return the time of the newest row of each deal's changelog."""
    if changes is None or not changes.num_rows:
        return {}
    newest = changes.select(["deal_id", "time"]).group_by("deal_id").aggregate([("time", "max")])
    newest = newest.filter(newest["time_max"].is_valid())
    times = column_micros(newest["time_max"]).tolist()
    return dict(zip(newest["deal_id"].to_pylist(), times, strict=True))


def events_of(changes: pa.Table | None) -> Events:
    """Return the changes of tracked columns by deal and column; rows of one second keep their
    order.
    """
    if changes is None or not changes.num_rows:
        return {}
    is_tracked = pc.is_in(changes["field_key"], value_set=pa.array(list(_COLUMNS)))
    chosen = changes.filter(pc.and_(is_tracked, changes["time"].is_valid()))
    names = [_COLUMNS[key] for key in chosen["field_key"].to_pylist()]
    old, new = (
        map(logged_text, names, chosen[values].to_pylist()) for values in ("old_value", "new_value")
    )
    deals, times = chosen["deal_id"].to_pylist(), column_micros(chosen["time"]).tolist()
    events: Events = {}
    for deal, *change in zip(deals, times, names, old, new, strict=True):
        row = Change._make(change)
        if row.old != row.new:
            events.setdefault((deal, row.key), []).append(row)
    return {key: oldest_first(rows) for key, rows in events.items()}


def evidently_logged(changes: pa.Table | None) -> frozenset[str]:
    """Return the columns of `EVIDENTLY_LOGGED` of which `changes` has a change."""
    if changes is None:
        return frozenset()
    return frozenset(
        name
        for key, name in _COLUMNS.items()
        if name in EVIDENTLY_LOGGED
        and any(
            logged_text(name, row["old_value"]) != logged_text(name, row["new_value"])
            for batch in changes.filter(
                pc.and_(pc.equal(changes["field_key"], key), changes["time"].is_valid())
            ).to_batches(max_chunksize=1_000)
            for row in batch.select(["old_value", "new_value"]).to_pylist()
        )
    )


def deletions(status: Sequence[Change]) -> list[Change]:
    """Return the deletions and restorations among changes of the status, as changes of
    `IS_DELETED`.
    """

    def flag(text: str | None) -> str:
        return "true" if text == "deleted" else "false"

    flags = [Change(row.time, IS_DELETED, flag(row.old), flag(row.new)) for row in status]
    return [row for row in flags if row.old != row.new]


__all__ = [
    "CLOSING_TIMES",
    "EVIDENTLY_LOGGED",
    "FULLY_LOGGED",
    "IS_DELETED",
    "LOGGED_COLUMNS",
    "Events",
    "deletions",
    "events_of",
    "evidently_logged",
    "newest_changes",
]
