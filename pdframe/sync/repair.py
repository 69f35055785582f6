"""Moves what is damaged in the cache out of the way, and says so: what is not there is loaded
again. Sweeps what was moved.
"""

from __future__ import annotations

import threading

from pdframe._forks import call_after_fork
from pdframe._warnings import warn
from pdframe.cache.quarantine import quarantine, settle, sweep, was_lost
from pdframe.cache.store import Store
from pdframe.errors import DamagedError
from pdframe.schema import TABLES
from pdframe.schema.field_lists import FIELD_LISTS
from pdframe.schema.snapshots import DELETED_DEALS, HISTORIES
from pdframe.sync.fetch_state import state_name

# These cannot be collected again: the next look at deals or line items sets them aside, and begins
# new ones.
KEPT_FOR_GOOD = frozenset(
    table.name for kept in HISTORIES.values() for table in (kept.rows, kept.snapshots)
) | {DELETED_DEALS.name}
# What a copy of these holds, the API tells again; a table of history may hold rows of records that
# are gone.
LOADED_AGAIN = frozenset(
    {name for name, table in TABLES.items() if table.parent is None or not table.parent.history}
    | {
        state_name(name)
        for name, table in TABLES.items()
        if table.parent is not None or table.sources[0].batch is not None
    }
)
# Tables are worked on side by side.
_one_at_a_time = threading.Lock()


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


call_after_fork(_after_fork)


def quarantine_damaged(store: Store, error: DamagedError) -> None:
    """Quarantine the table that `error` names, with a warning; another process may have repaired
    it.

    The caller holds the lock.
    """
    if not store.is_damaged(error.table):
        return
    with _one_at_a_time:
        suffix = quarantine(store, error.table)
        sweep_quarantine(store)
    why = str(error.args[0]).partition(" The CRM is untouched")[0]
    warn(
        f"{why} The cached copy of {error.table!r} is moved aside as {error.table}{suffix} in"
        f" {store.root}, and loaded again."
    )


def sweep_quarantine(store: Store) -> None:
    """Delete the copies of damaged tables that have served their time; the caller holds the
    lock.
    """
    sweep(store, LOADED_AGAIN)


def is_lost(store: Store, name: str | None) -> bool:
    """Whether a list of fields was cached before and is not there: it is asked for again without
    waiting for its table.
    """
    return name in FIELD_LISTS and was_lost(store, name)


def note_withheld(store: Store, name: str) -> None:
    """Note that the API withholds a table: a list of fields that was lost is not asked for again at
    every look.
    """
    if name in FIELD_LISTS:
        settle(store, name)
