"""The schedule of a sync of several tables: each begins when those that it depends on are done.

The rows of a table can show that a list of metadata is out of date (`metadata`): then that list
joins the schedule, or is done once more.

A file says which syncs are under way, and which tables each finished (`begin`, `note_finished`,
`finish`): where one was interrupted, the next one with the same arguments need not pay again for
these tables (`plan.skip_note`), nor reload them again (`plan.plan`).

Such a sync is given up when it was not tried for three days (`GIVEN_UP_AFTER`): then the next one
is another, and reloads every table that it is asked to reload. A reload that costs more tokens than
a day has goes on each day, or on Monday what began on Friday.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pdframe._files import seal, sync_folder, unseal, write_atomic
from pdframe.cache.store import Store
from pdframe.errors import CacheError
from pdframe.sync.merge import Counts
from pdframe.sync.metadata import note_if_newer, note_unexplained, outdated_lists
from pdframe.sync.plan import DELETIONS_COMPLETE_FOR, Policy, dependencies, in_order, skip_note
from pdframe.sync.table_sync import FETCHED, Outcome, SyncRow, sync_row, unable

UNFINISHED = "unfinished.json"
GIVEN_UP_AFTER = timedelta(days=3)
_TIMES = ("began", "tried")


def request_key(names: Iterable[str], *, full: bool, named: bool) -> str:
    """Return what tells the syncs of one cache apart: their tables and how they load them."""
    how = f"{'full' if full else 'changes'} of {'named' if named else 'all'}"
    return f"{how}: {', '.join(sorted(set(names)))}"


def finished_tables(store: Store, request: str, now: datetime) -> frozenset[str]:
    """Return the tables that the interrupted sync of the same request finished; none where there
    is no such sync.
    """
    entry = _unfinished(store, now).get(request)
    return frozenset(entry["finished"]) if entry else frozenset()


def begin(store: Store, request: str, now: datetime) -> frozenset[str]:
    """Record that a sync is under way; return as `finished_tables`."""
    finished = finished_tables(store, request, now)
    entries = _unfinished(store, now)
    entry = entries.get(request, {"began": now.isoformat(), "finished": []})
    try:
        _write(store, {**entries, request: {**entry, "tried": now.isoformat()}})
    except OSError as error:
        raise CacheError(
            f"The cache folder {store.root} cannot be written: {error.strerror}. No request was"
            " sent."
        ) from error
    return finished


def note_finished(store: Store, request: str, name: str, now: datetime) -> None:
    """Record that a sync finished a table."""
    entries = _unfinished(store, now)
    entry = entries.get(request)
    if entry is None or name in entry["finished"]:
        return
    entries[request] = {
        **entry,
        "tried": now.isoformat(),
        "finished": [*entry["finished"], name],
    }
    # Without the record, the next sync only costs more.
    with contextlib.suppress(OSError):
        _write(store, entries)


def finish(store: Store, request: str, now: datetime) -> None:
    """Record that the sync finished."""
    entries = _unfinished(store, now)
    entries.pop(request, None)
    with contextlib.suppress(OSError):
        if entries:
            _write(store, entries)
        else:
            (store.root / UNFINISHED).unlink(missing_ok=True)
            sync_folder(store.root)


def _unfinished(store: Store, now: datetime) -> dict[str, dict[str, Any]]:
    """Return the syncs that did not finish, each with when it began, when it was last tried and the
    tables that it finished; without those that are given up.
    """
    try:
        entries: dict[str, dict[str, Any]] = unseal((store.root / UNFINISHED).read_bytes())["syncs"]
        return {
            request: entry for request, entry in entries.items() if not _is_given_up(entry, now)
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_given_up(entry: dict[str, Any], now: datetime) -> bool:
    """Whether a sync was not tried for days, or began before the deletions that are still listed: a
    table that it finished then would miss some.
    """
    # Earlier versions did not write when it was tried.
    began, tried = (datetime.fromisoformat(entry.get(key, entry["began"])) for key in _TIMES)
    return abs(now - tried) >= GIVEN_UP_AFTER or abs(now - began) >= DELETIONS_COMPLETE_FOR


def _write(store: Store, entries: dict[str, dict[str, Any]]) -> None:
    write_atomic(store.root / UNFINISHED, seal({"syncs": entries}))


class Schedule:
    """The tables of a sync that wait, run and are done.

    Parameters
    ----------
    store
        The cache.
    policy, now
        What must be reloaded, and what may stay; this machine's clock.
    order
        The tables, each after those that it depends on.
    done
        The rows of the tables that are done, which are left out; the others are added.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        now: Callable[[], datetime],
        order: Sequence[str],
        done: dict[str, SyncRow],
    ) -> None:
        self._store = store
        self._policy = policy
        self._now = now
        self._waiting = [name for name in order if name not in done]
        self._running: set[str] = set()
        self._done = done
        # Lists of metadata that are read because of the rows of tables.
        self._outdated: dict[str, set[str]] = {}

    def ready(self, free: int) -> list[str]:
        """Return tables to begin, `free` of them at most; skip those that need no request."""
        begun: list[str] = []
        while len(begun) < free:
            ready = (
                name
                for name in self._waiting
                if all(other in self._done for other in dependencies(name))
            )
            name = next(ready, None)
            if name is None:
                break
            self._waiting.remove(name)
            skipped = self._skipped(name)
            if skipped is None:
                begun.append(name)
                self._running.add(name)
            else:
                self._done[name] = skipped
                self._request_outdated(skipped)
        return begun

    def add(self, row: SyncRow) -> None:
        """Note that a table is done."""
        self._done[row.table] = row
        self._running.discard(row.table)
        note_unexplained(self._store, row.table, self._outdated.pop(row.table, ()))
        self._request_outdated(row)

    def _skipped(self, name: str) -> SyncRow | None:
        """Return the row of a table that needs no request, or lacks what it requires; None where it
        must be synced.
        """
        manifest = self._store.usable_manifest(name)
        if name not in self._outdated:
            note = skip_note(name, manifest, self._policy, self._now())
            if note is not None:
                return sync_row(self._store, name, Outcome("skipped", Counts(), note))
        return unable(self._store, name, self._done)

    def _request_outdated(self, row: SyncRow) -> None:
        """Request the lists of metadata that lack an id or a hash of the rows of a table, unless
        they were read after these.
        """
        if row.mode not in FETCHED and (row.mode == "unavailable" or not row.was_requested):
            return
        # The interrupted sync may have stopped before it read the lists.
        if row.mode not in FETCHED and self._store.is_damaged(row.table):
            return
        for other in outdated_lists(self._store, row.table):
            read = self._done.get(other)
            if other in self._running or (read is not None and read.mode == "unavailable"):
                # It may have been read before these rows: the next sync decides.
                continue
            if read is not None and read.was_requested:
                note_if_newer(self._store, other, row.table)
                continue
            self._outdated.setdefault(other, set()).add(row.table)
            self._done.pop(other, None)
            for part in in_order([other]):
                if not (part in self._done or part in self._running or part in self._waiting):
                    self._waiting.append(part)
