"""What an account computed last from its history, reused while what it was made of is unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

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
_Result = TypeVar("_Result")


class Latest(Generic[_Result]):
    """The last result of a computation, and the versions of the tables that it was made of.

    It stays in memory until the account is closed: stage visits as the table `STAGE_VISITS`, some
    90 bytes a visit; what a forecast learned with the frames that it learned from, the deals in a
    few columns: some kilobytes a deal.
    """

    def __init__(self) -> None:
        self._latest: tuple[_Versions, Hashable, _Result] | None = None

    def get(
        self, store: Store, compute: Callable[[], _Result], arguments: Hashable = None
    ) -> _Result:
        """Return the result, computed again if any of the tables or arguments has changed."""
        before = _versions(store)
        # Another thread may replace it meanwhile. A forked process has the locks of threads that do
        # not exist there, so it computes its own result.
        latest, arguments = self._latest, (os.getpid(), arguments)
        if latest is not None and latest[:2] == (before, arguments):
            return latest[2]
        self._latest = None
        result = compute()
        # Another process may have replaced a table meanwhile: then the result is not stored.
        if before is not None and _versions(store) == before:
            self._latest = before, arguments, result
        return result

    def clear(self) -> None:
        """Release the memory."""
        self._latest = None


def _versions(store: Store) -> _Versions | None:
    """Return the versions of the tables that history is computed from; None: a file is missing.

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


__all__ = ["Latest"]
