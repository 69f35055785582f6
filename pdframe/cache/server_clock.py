"""The server's clock, which says when "now" and "today" are: a sandbox has its own."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from pdframe.cache.store import Store
from pdframe.errors import CacheError


def server_now(store: Store) -> datetime:
    """Return the server's clock: as it was at the last sync of deals or their changes, plus the
    time since; this machine's where it is unknown.
    """
    now, times = datetime.now(UTC), []
    for name in ("deals", "deal_changes"):
        with contextlib.suppress(CacheError):
            manifest = store.manifest(name)
            if manifest is not None and manifest.server_time is not None:
                elapsed = max(now - manifest.synced_at, timedelta(0))
                times.append(manifest.server_time + elapsed)
    return max(times, default=now)


__all__ = ["server_now"]
