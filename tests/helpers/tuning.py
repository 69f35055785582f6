"""Options of a sync for tests: lists that count as long, pages of a few rows, and a change of the
options of an account that is already open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pdframe
from pdframe.sync import SyncOptions

# Every table counts as longer than a page, so that a refresh asks for its changes.
LONG_LISTS = SyncOptions(reload_rows=0)
# Two pages are a long list, read by as many cursors as there are threads, whatever that costs, and
# beside other lists.
WIDE: dict[str, Any] = {
    "scan_pages": 1,
    "scan_probe_pages": 1,
    "scan_range_pages": 0,
    "scan_extra": 10.0,
    "min_latency_seconds": 0.0,
}


@contextmanager
def tuned(account: pdframe.Account, **changes: Any) -> Iterator[None]:
    """Change options of an open account inside the block."""
    before, store = account._options, account._store
    account._options = store.options = replace(before, **changes)
    try:
        yield
    finally:
        account._options = store.options = before


def sync_alone(account: pdframe.Account, table: str, *, full: bool = False) -> None:
    """Sync one table without its dependencies, as where these were read just before."""
    syncer = account._syncer
    policy = replace(syncer.policy, reload=frozenset([table] if full else []))
    syncer._sync_table(table, lambda rows: None, policy)
