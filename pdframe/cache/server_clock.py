"""The server's clock, which says when "now" and "today" are: a sandbox has its own.

Metrics read no clock: every frame of an account says in its `attrs` which day it was loaded, and
there "today" and "last month" count from that day.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pdframe.cache.store import Store
from pdframe.errors import CacheError

# The folder of an account, as `readable_key` makes it of the company's domain and the user's id.
_OF_USER = re.compile(r"(.+)-user\d+(?:-[0-9a-f]{8})?")
CLOCK_SKEW = timedelta(minutes=10)
"""How far a server's clock may go back. Further back, it is not of the account that was cached."""
STAMP_SKEW = timedelta(minutes=5)
"""How far the clocks of the servers that stamp `update_time` may differ: an edit may be later by
that much than another one with the same stamp.
"""


def server_now(store: Store) -> datetime:
    """Return the server's clock: the newest `Date` of an answer that a sync kept, plus the time
    since; this machine's where it is unknown.
    """
    now, clocks, earlier = datetime.now(UTC), [], []
    with contextlib.suppress(CacheError):
        for manifest in store.readable_manifests():
            if manifest.server_clock is not None:
                clocks.append(manifest.server_clock)
            elif manifest.server_time is not None:
                earlier.append((manifest.server_time, manifest.synced_at))
    # An earlier version kept the time of a load's first page: of a load that was resumed it is too
    # early, so the latest one counts.
    known = [max(clocks, key=lambda clock: clock[1])] if clocks else earlier
    return max(
        (server_time + max(now - answered, timedelta(0)) for server_time, answered in known),
        default=now,
    )


def synced(store: Store, table: str) -> datetime | None:
    """Return the server's clock at the last sync of a table; None: it is unknown."""
    manifest = store.manifest(table)
    if manifest is None:
        return None
    return manifest.server_time if manifest.server_clock is None else manifest.server_clock[0]


def attrs_of(store: Store, tz: str) -> dict[str, str]:
    """Return the `attrs` of a frame that is loaded now: the timezone of its days, today, and whose
    it is, the same for all users of a company.
    """
    today = server_now(store).astimezone(ZoneInfo(tz)).date().isoformat()
    named = _OF_USER.fullmatch(store.root.name)
    # Without an answer of `/users/me` two users of one company would be two.
    return {"tz": tz, "today": today} | ({"account": named[1]} if named else {})


__all__ = ["CLOCK_SKEW", "attrs_of", "server_now", "synced"]
