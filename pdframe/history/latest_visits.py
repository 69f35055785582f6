"""The stage visits that an account computed last, reused while their inputs are unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

from pdframe.cache.store import Store
from pdframe.errors import CacheError
from pdframe.schema.snapshots import DELETED_DEALS, HISTORY, SNAPSHOTS
from pdframe.sync.fetch_state import state_name

_INPUTS = (
    "deals",
    "stages",
    "deal_changes",
    state_name("deal_changes"),
    HISTORY.name,
    SNAPSHOTS.name,
    DELETED_DEALS.name,
)
_Versions: TypeAlias = tuple[object, ...]


class LatestVisits:
    """The stage visits that were computed last, and the versions of the tables that they are from.

    They stay in memory, as the table `STAGE_VISITS`: some 90 bytes a visit.
    """

    def __init__(self) -> None:
        self._latest: tuple[_Versions, pa.Table] | None = None

    def get(self, store: Store, compute: Callable[[], pa.Table]) -> pa.Table:
        """Return the visits, computed again if any of their tables has changed."""
        before = _versions(store)
        if self._latest is not None and self._latest[0] == before:
            return self._latest[1]
        self._latest = None
        visits = compute()
        # Another process may have replaced a table meanwhile: then the result is not stored.
        if before is not None and _versions(store) == before:
            self._latest = before, visits
        return visits


def _versions(store: Store) -> _Versions | None:
    """Return the versions of the tables that visits are computed from; None: a file is missing.

    A file that is damaged has another size or time than the one that was read.
    """
    versions: list[object] = []
    for table in _INPUTS:
        try:
            manifest = store.manifest(table)
            if manifest is None:
                versions.append(table)
                continue
            files = [(store.root / table / part.file).stat() for part in manifest.parts]
        except (CacheError, OSError):
            return None
        times = tuple((file.st_size, file.st_mtime_ns) for file in files)
        versions.append((table, manifest.server_time, manifest.parts, times))
    return tuple(versions)


__all__ = ["LatestVisits"]
