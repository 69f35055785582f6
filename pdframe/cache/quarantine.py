"""Take a damaged table out of use: delete what the API can give again, quarantine the rest.

Most tables can be loaded again. Where a file of one is damaged, its files are deleted, and an empty
file says so until the table is loaded: a process that is killed in between does not lose the fact.

Snapshot logs, changelogs, the rows of deleted deals and issued forecasts cannot be collected again.
Their damaged folder is renamed to `<table>.aside-1` (or the next free number) and never read or
deleted: a person may save rows from it. A table whose files cannot be deleted is renamed too.

Earlier versions renamed every damaged table. Copies of tables that can be loaded again are deleted
after 30 days.
"""

from __future__ import annotations

import contextlib
import re
import time
from datetime import timedelta
from pathlib import Path

from pdframe._files import TEMPORARY, make_private, sync_folder, write_atomic
from pdframe._warnings import warn
from pdframe.cache.checkpoint import CHANGES, PENDING
from pdframe.cache.store import COPY, DISCARDED, MANIFEST, Store
from pdframe.errors import CacheError, DamagedError
from pdframe.schema import TABLES
from pdframe.schema.forecasts import ISSUED_FORECASTS
from pdframe.schema.snapshots import DELETED_DEALS, HISTORIES

__all__ = [
    "IRREPLACEABLE",
    "delete_old_copies",
    "forget_lost",
    "quarantine",
    "remove_damaged",
    "was_lost",
]

IRREPLACEABLE = frozenset(
    {table.name for log in HISTORIES.values() for table in (log.rows, log.snapshots)}
    | {DELETED_DEALS.name, ISSUED_FORECASTS.name}
    | {name for name, table in TABLES.items() if table.parent and table.parent.history}
)
"""Tables that the API cannot give again: they may hold rows of records that are deleted."""

COPIES_KEPT_FOR = timedelta(days=30)
# Empty files in a copy: when it was made, and that its table was loaded again.
_MOVED = "moved"
_MARKS = ("settled", _MOVED)
_COPY = re.compile(rf"(.+){re.escape(COPY)}([1-9][0-9]*)")
_KINDS = "part|page|run|note|run_note|told"
_WRITTEN = rf"({re.escape(MANIFEST)}|walk\.json|({_KINDS})-[0-9]{{6,}}\.(parquet|arrow))"
_OURS = re.compile(rf"{_WRITTEN}|\.{_WRITTEN}\.[^.]*{re.escape(TEMPORARY)}")


def remove_damaged(store: Store, error: DamagedError) -> None:
    """Delete or quarantine the table that `error` names, with a warning.

    Nothing happens where another process has repaired the table. The caller holds the lock.
    """
    table = error.table
    if not store.is_damaged(table):
        return
    if table not in IRREPLACEABLE and _discard(store, table):
        what = "deleted"
    else:
        what = f"quarantined as {table}{quarantine(store, table)} in {store.root}"
    why = str(error.args[0]).partition(" The CRM is untouched")[0]
    # It is said before the API answers, and also where it does not.
    owner = TABLES.get(_owner(table))
    if owner is not None and owner.parent is not None:
        then = "each of its records is requested again by the next call that asks for it"
    else:
        then = "its next load requests what the API has"
    warn(f"{why} The cached files of {table!r} are {what}, and {then}. All other tables are kept.")


def quarantine(store: Store, *tables: str) -> str:
    """Rename the folders of tables, so that they are never read; return the suffix of the names.

    The checkpoints of unfinished fetches stay where they are.
    """
    taken = [number for table, number, _ in _copies(store) if table in tables]
    suffix = f"{COPY}{1 + max(taken, default=0)}"
    try:
        for table in tables:
            folder = store.root / table
            if folder.exists():
                copy = folder.rename(store.root / f"{table}{suffix}")
                if (copy / PENDING).is_dir():
                    make_private(folder)
                    (copy / PENDING).rename(folder / PENDING)
        sync_folder(store.root)
    except OSError as error:
        raise CacheError(
            f"{tables[0]!r} could not be quarantined in {store.root}: {error.strerror}. Move its"
            " folder out of the cache by hand."
        ) from error
    return suffix


def was_lost(store: Store, table: str) -> bool:
    """Return whether a table with no cached rows was cached before, and was damaged.

    A process that is killed, or an API that does not answer, leaves it so.
    """
    if store.manifest(table) is not None:
        return False
    return (store.root / table / DISCARDED).exists() or bool(store.stray_parts(table))


def forget_lost(store: Store, table: str) -> None:
    """Forget that a table was lost: the API withholds it now."""
    for path in (*store.stray_parts(table), store.root / table / DISCARDED):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def delete_old_copies(store: Store) -> None:
    """Delete copies of tables that are more than 30 days old; the caller holds the lock.

    Copies of tables that cannot be collected again stay.
    """
    for table, _, copy in _copies(store):
        if _is_replaceable(table) and copy.is_dir() and not copy.is_symlink():
            moved = copy / _MOVED
            made_at = (moved if moved.exists() else copy).stat().st_mtime
            if time.time() - made_at > COPIES_KEPT_FOR.total_seconds():
                _delete(copy)


def _is_replaceable(table: str) -> bool:
    """Return whether the API can give the rows of a cached table, or of what belongs to it."""
    return _owner(table) in TABLES and table not in IRREPLACEABLE


def _owner(table: str) -> str:
    """Return the table to which a cached table belongs: itself, or the one of its fetch states."""
    return table.removesuffix(".parents").removesuffix(".basis")


def _discard(store: Store, table: str) -> bool:
    """Delete the manifest and the parts of a table, and leave a mark until it is loaded again.

    Return False where something in their place cannot be deleted, such as a folder.
    """
    folder = store.root / table
    try:
        write_atomic(folder / DISCARDED, b"")
        (folder / MANIFEST).unlink(missing_ok=True)
        sync_folder(folder)
        for part in store.stray_parts(table):
            part.unlink()
    except OSError:
        return False
    return True


def _copies(store: Store) -> list[tuple[str, int, Path]]:
    """Return the table, the number and the path of everything that is named like a copy."""
    return [
        (match[1], int(match[2]), path)
        for path in store.root.iterdir()
        if (match := _COPY.fullmatch(path.name))
    ]


def _delete(copy: Path) -> None:
    """Delete the files that pdframe wrote into a copy, and the folders that are empty then."""
    for folder in (copy / PENDING, copy / CHANGES, copy):
        if not folder.is_dir() or folder.is_symlink():
            continue
        written = [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]
        # The marks go last: they say how old the copy is.
        for path in (*written, *(folder / name for name in _MARKS)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
