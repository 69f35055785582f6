"""Decide which damaged or lost tables a sync loads again."""

from __future__ import annotations

from pdframe.cache.quarantine import forget_lost, was_lost
from pdframe.cache.store import Store
from pdframe.schema.field_lists import FIELD_LISTS
from pdframe.schema.forecasts import ISSUED_FORECASTS
from pdframe.schema.snapshots import DELETED_DEALS, HISTORIES

__all__ = ["KEPT_FOR_GOOD", "is_lost", "note_withheld"]

KEPT_FOR_GOOD = frozenset(
    table.name for log in HISTORIES.values() for table in (log.rows, log.snapshots)
) | {DELETED_DEALS.name, ISSUED_FORECASTS.name}
"""Tables that only a sync of deals or line items, or a forecast, may quarantine: it begins new
ones."""


def is_lost(store: Store, name: str | None) -> bool:
    """Return whether a list of fields was cached, and was lost to damage.

    A loader asks for such a list at once, without waiting until its table is stale.
    """
    return name in FIELD_LISTS and was_lost(store, name)


def note_withheld(store: Store, name: str) -> None:
    """Record that the API withholds a table: a lost list of fields is not requested again."""
    if name in FIELD_LISTS:
        forget_lost(store, name)
