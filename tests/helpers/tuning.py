"""Options of a sync for tests: lists that count as long, pages of a few rows, and an account that
is connected again with other options.
"""

from __future__ import annotations

from typing import Any

import pdframe
from pdframe import sandbox
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


def connected_again(account: sandbox.SandboxAccount, **arguments: Any) -> pdframe.Account:
    """Connect to the company and the cache of an account, with other arguments."""
    return pdframe.connect(
        base_url=account.server.url,
        api_token=account.server.token,
        cache_dir=account.cache_path.parent,
        **{"progress": False, **arguments},
    )
