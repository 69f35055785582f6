"""Tables that were moved out of the way: how their copies are named, how long they stay, and what
is still to come of them.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from pdframe._files import TEMPORARY, make_private, sync_folder
from pdframe.cache.store import CHANGES, MANIFEST, PENDING, Store
from pdframe.errors import CacheError

# The newest copy of a table that can be loaded again stays for so long, those before it no longer
# than it takes to be there.
KEPT_FOR = timedelta(days=30)
# An empty file that tells in a copy since when it is one.
MOVED = "moved"
# One that tells that nothing more is to come of it.
SETTLED = "settled"
_COPY = re.compile(r"(.+)\.aside-([1-9][0-9]*)")
_WRITTEN = (
    rf"({re.escape(MANIFEST)}|walk\.json|(part|page|note|run|told)-[0-9]{{6,}}\.(parquet|arrow))"
)
_OURS = re.compile(rf"{_WRITTEN}|\.{_WRITTEN}\.[^.]*{re.escape(TEMPORARY)}")


def quarantine(store: Store, *tables: str) -> str:
    """Rename the folders of tables, and tell what is added to their names; the pages of a walk
    under way stay where they are.
    """
    try:
        taken = [number for table, number, _ in _numbered(store) if table in tables]
        suffix = f".aside-{1 + max(taken, default=0)}"
        for table in tables:
            folder, quarantined = store.root / table, store.root / f"{table}{suffix}"
            if folder.is_dir():
                (folder / MOVED).touch(mode=0o600)
                sync_folder(folder)
            if folder.exists():
                folder.rename(quarantined)
                if (quarantined / PENDING).is_dir():
                    make_private(folder)
                    (quarantined / PENDING).rename(folder / PENDING)
        sync_folder(store.root)
    except OSError as error:
        raise CacheError(
            f"{tables[0]!r} could not be moved aside in {store.root}: {error.strerror}. Move it away by hand."
        ) from error
    return suffix


def copies(store: Store, table: str) -> list[Path]:
    """The copies of a table, the oldest first."""
    return [
        path
        for name, _, path in _numbered(store)
        if name == table and path.is_dir() and not path.is_symlink()
    ]


def was_lost(store: Store, table: str) -> bool:
    """Whether a table of which nothing is cached was there before: it was moved aside, or has lost
    its manifest.

    A process that is killed, or an API that does not answer, may leave it so.
    """
    if store.manifest(table) is not None:
        return False
    return any(store.stray(table)) or any(
        not (copy / SETTLED).exists() for copy in copies(store, table)
    )


def settle(store: Store, table: str) -> None:
    """Note that nothing more is to come of what was there of a table before; its copies stay."""
    for copy in copies(store, table):
        with contextlib.suppress(OSError):
            (copy / SETTLED).touch(mode=0o600)
    for part in store.stray(table):
        with contextlib.suppress(OSError):
            part.unlink()


def sweep(store: Store, tables: Iterable[str]) -> None:
    """Delete the copies of tables that have served their time: all but the newest, and that when it
    is old.
    """
    for table in {name for name, *_ in _numbered(store)}.intersection(tables):
        result = copies(store, table)
        for path in result:
            if path != result[-1] or time.time() - _moved_at(path) > KEPT_FOR.total_seconds():
                _delete(path)


def _numbered(store: Store) -> list[tuple[str, int, Path]]:
    """What has the name of a copy: the table, the number, and the path; by number."""
    result = [
        (match, path) for path in store.root.iterdir() if (match := _COPY.fullmatch(path.name))
    ]
    return sorted(
        ((match[1], int(match[2]), path) for match, path in result), key=lambda copy: copy[1]
    )


def _moved_at(copy: Path) -> float:
    """When a copy was made: a folder that is renamed keeps its own time."""
    note = copy / MOVED
    return (note if note.exists() else copy).stat().st_mtime


def _delete(folder: Path) -> None:
    """Delete what the cache wrote into a folder, and the folder where nothing else is in it."""
    for inside in (folder / PENDING, folder / CHANGES, folder):
        if inside.is_dir() and not inside.is_symlink():
            for path in inside.iterdir():
                if _OURS.fullmatch(path.name):
                    with contextlib.suppress(OSError):
                        path.unlink()
            # What tells how old it is goes last.
            for name in (SETTLED, MOVED):
                with contextlib.suppress(OSError):
                    (inside / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                inside.rmdir()
