"""The server's clock, which says when "now" and "today" are: a sandbox has its own.

Metrics read no clock: every frame of an account says in its `attrs` which day it was loaded, and
there "today" and "last month" count from that day.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

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


def days_of(store: Store, tz: str) -> dict[str, str]:
    """Return the `attrs` of a frame that is loaded now: the timezone of its days, and today."""
    return {"tz": tz, "today": server_now(store).astimezone(ZoneInfo(tz)).date().isoformat()}


__all__ = ["days_of", "server_now"]
