"""Moves what is damaged in the cache out of the way, and says so: what is not there is loaded again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pdframe.errors import DamagedError
from pdframe.frames.problems import warn
from pdframe.schema.kept import HISTORY, LOOKS
from pdframe.store import Store

# Nobody can collect these again: they are set aside by the next look at the deals, which begins new ones.
KEPT_FOR_GOOD = frozenset({HISTORY.name, LOOKS.name})


def move_damaged(store: Store, error: DamagedError) -> list[str]:
    """Move the table aside that `error` tells of, and return what is to be said; nothing where another process has mended it.

    The caller holds the lock.
    """
    if not store.is_damaged(error.table):
        return []
    suffix = store.move_aside(error.table)
    why = str(error.args[0]).partition(" The CRM is untouched")[0]
    return [f"{why} The cached copy of {error.table!r} is moved aside as {error.table}{suffix} in {store.root}, and loaded again."]


@contextlib.contextmanager
def saying_last() -> Iterator[list[str]]:
    """Collect what is to be said, and say it behind the work: where warnings are errors, what was loaded is kept all the same."""
    said: list[str] = []
    try:
        yield said
    finally:
        for message in said:
            warn(message)
