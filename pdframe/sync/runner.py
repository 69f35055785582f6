"""Conducts a sync: what is due, in which order, by which way, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from pdframe._memory import release_memory
from pdframe._warnings import deferred_warnings
from pdframe.api.budget import Spent, TokenBudget
from pdframe.api.client import Client
from pdframe.cache.checkpoint import in_flight
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.quarantine import delete_old_copies, remove_damaged
from pdframe.cache.store import KEPT, Store
from pdframe.errors import AccessError, DamagedError, PdframeError
from pdframe.fields import Field, read_fields
from pdframe.schema import TABLES, Table
from pdframe.sync.children import ChildrenSync
from pdframe.sync.concurrency import map_unordered
from pdframe.sync.dependencies import dependencies, full_reload_set, rows_of, topological_order
from pdframe.sync.estimate import Estimate, estimate
from pdframe.sync.fetch_state import Want
from pdframe.sync.merge import Counts
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.repair import (
    KEPT_FOR_GOOD,
    is_lost,
    note_withheld,
)
from pdframe.sync.reporting import Progress, WorkerReporter, tables_at_once
from pdframe.sync.table_sync import Mode, TableSync

UP_TO_DATE = "up to date since the interrupted sync"
_UNAVAILABLE = frozenset({402, 403})
# How long the tables of an interrupted sync count as up to date where the account has no `max_age`.
INTERRUPTED_FOR = timedelta(minutes=15)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SyncRow:
    """What a sync did to one table: rows it has now, how many were added, changed and removed, and
    what that cost.

    `missing` says what an unavailable table lacks, as `AccessError.missing` does.
    """

    table: str
    mode: Mode
    rows: int | None
    added: int
    changed: int
    removed: int
    requests: int
    tokens: int
    seconds: float
    note: str
    missing: str = ""


class Syncer:
    """Brings cached tables up to date.

    Parameters
    ----------
    client, store, budget
        Who asks, where it is kept, who counts the tokens.
    progress
        Opens a progress bar of that title; the bar is a call that takes the number of rows that
        came.
    full_every
        How old the last full load of a table may be before a refresh loads it anew; None: any age.
    now
        This machine's clock.
    options
        Sizes, numbers of threads and thresholds.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        budget: TokenBudget,
        *,
        progress: Progress,
        full_every: timedelta | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        options: SyncOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.client = client
        self.options = options
        self.store = store
        self.budget = budget
        self.progress = progress
        self.full_every = full_every
        self.now = now
        self._moved: set[str] = set()

    def sync(
        self, names: Iterable[str], *, full: bool = False, max_age: timedelta | None = None
    ) -> list[SyncRow]:
        """Bring tables, and those they rest on, up to date now; one row a table, in the order of
        the schema.

        With `full`, they are loaded anew, and so are those whose rows tell what to ask for: else
        what these miss would be missed as well.

        Where the sync before did not come to its end, the tables that it finished less than
        `max_age` ago are not paid for again.
        """
        requested = set(names)
        wanted, complete = (
            requested.union(*(dependencies(name) for name in requested)),
            full_reload_set(requested) if full else set(),
        )
        done: dict[str, SyncRow] = {}
        self.with_repair(lambda: self._sync(wanted, complete, max_age, done))
        return [done[name] for name in TABLES if name in done]

    def _sync(
        self,
        wanted: Iterable[str],
        complete: Collection[str],
        max_age: timedelta | None,
        done: dict[str, SyncRow],
    ) -> None:
        """Bring those of the tables up to date that are not `done`."""
        with (
            self.store.lock() as kept,
            _telling_what_is_kept(done, self.store),
            WorkerReporter(self.progress, kept) as reporter,
        ):
            self.store.prepare()
            before = self.store.unfinished_since()
            self.store.begin(before or self.now())
            waiting = [name for name in topological_order(wanted) if name not in done]

            def ready(free: int) -> list[str]:
                """Tables of which all that they rest on is done; those that are not asked for are
                done at once.
                """
                begun: list[str] = []
                for name in tuple(waiting):
                    if len(begun) == free:
                        break
                    if any(need not in done for need in dependencies(name)):
                        continue
                    waiting.remove(name)
                    if before is not None and self._was_finished(
                        name, since=before, max_age=max_age, full=name in complete
                    ):
                        done[name] = self._skipped(name, UP_TO_DATE)
                    elif (cannot := self._cannot(name, done)) is not None:
                        done[name] = cannot
                    else:
                        begun.append(name)
                return begun

            def bring(name: str) -> SyncRow:
                return reporter.work(
                    name, lambda tick: self._one(name, tick, full=name in complete)
                )

            for name, row in map_unordered(
                bring,
                ready,
                lambda: tables_at_once(self.client, self.options),
                reporter.tell,
                workers=self.options.workers,
            ):
                reporter.done(name)
                done[name] = row
            self.store.finish()
            delete_old_copies(self.store)

    def ensure(self, name: str, *, max_age: timedelta | None) -> None:
        """Bring a table up to date if what is cached of it, or of what it rests on, is older than
        `max_age` (None: at any age).
        """
        self.with_repair(lambda: self._ensure(name, max_age))

    def _ensure(self, name: str, max_age: timedelta | None) -> None:
        parts = topological_order({name, *dependencies(name)})
        if not self._is_stale(name, max_age):
            # What was not to be had when the table was loaded is asked for with the table again,
            # not at every look at it.
            parts = [
                part
                for part in parts
                if self.store.manifest(part) is not None or is_lost(self.store, part)
            ]
        if not any(self._is_stale(part, max_age) for part in parts):
            return
        # Asked again: while this one waited for the lock, another process may have done the work.
        self._bring(name, parts, due=lambda part: self._is_stale(part, max_age))

    def refresh(self, name: str, *, full: bool) -> None:
        """Bring one table and what it rests on up to date now; raise where it is not to be had."""
        self.with_repair(
            lambda: self._bring(name, topological_order({name, *dependencies(name)}), full=full)
        )

    def list_deletions(self, *, max_age: timedelta | None, since: datetime | None = None) -> None:
        """Read the lists of deleted deals, where that was `max_age` ago or longer (None: never), or
        before `since`.
        """

        def due() -> bool:
            listed = DeletedDeals(self.store).listed_at
            if listed is None or (since is not None and listed < since):
                return True
            return max_age is not None and since is None and self._is_old(listed, max_age)

        if due():
            self.with_repair(lambda: self._list_deletions(due))

    def _list_deletions(self, due: Callable[[], bool]) -> None:
        table = TABLES["deals"]
        with self.store.lock(), _telling_what_is_kept({}, self.store):
            # Asked again: while this one waited for the lock, another process may have done the
            # work.
            if not due():
                return
            with self.progress(table.name) as tick, self.budget.track(table.name):
                fields = self.fields(table)
                TableSync(
                    self.client,
                    self.store,
                    table,
                    fields,
                    tick=tick,
                    now=self.now,
                    full_every=self.full_every,
                    options=self.options,
                ).list_deletions()

    def with_repair(self, work: Callable[[], T]) -> T:
        """Do some work that reads the cache; a damaged table that it meets is moved aside and
        loaded, and the work is done again.

        Raises
        ------
        DamagedError
            A table is damaged again after it was loaded, or belongs to the kept history.
        """
        while True:
            try:
                return work()
            except DamagedError as error:
                if error.table in self._moved or error.table in KEPT_FOR_GOOD:
                    raise
                self._moved.add(error.table)
                with deferred_warnings():
                    with self.store.lock():
                        remove_damaged(self.store, error)
                    # What is asked for record by record is asked for by the work itself.
                    if error.table in TABLES and TABLES[error.table].parent is None:
                        self.ensure(error.table, max_age=None)

    def _bring(
        self,
        name: str,
        parts: Iterable[str],
        *,
        full: bool = False,
        due: Callable[[str], bool] = lambda part: True,
    ) -> None:
        done: dict[str, SyncRow] = {}
        rows = full_reload_set([name])
        with self.store.lock(), _telling_what_is_kept(done, self.store):
            self.store.prepare()
            for part in parts:
                if not due(part):
                    continue
                cannot = self._cannot(part, done)
                if cannot is not None:
                    done[part] = cannot
                    continue
                with self.progress(part) as tick:
                    done[part] = self._one(
                        part, tick, full=full and part in rows, strict=part in rows
                    )
            delete_old_copies(self.store)

    def estimate(self, names: Iterable[str], *, full: bool = False) -> list[Estimate]:
        """What a sync of these tables would cost, as far as the cache tells."""

        def records_due(table: Table, complete: bool) -> Sequence[int]:
            return self._by_parent(table, lambda rows: None).due(
                Want(None, complete, now=True, listed=True)
            )

        return estimate(
            self.store,
            names,
            full=full,
            now=self.now(),
            full_every=self.full_every,
            options=self.options,
            records_due=records_due,
        )

    def of_records(
        self,
        name: str,
        ids: Sequence[int] | None,
        *,
        refresh: Literal["full"] | bool | None,
        max_age: timedelta | None,
    ) -> None:
        """Bring the rows of some records (None: of every one) up to date, of a table that the API
        gives record by record.
        """
        table, listed = TABLES[name], False
        parent = table.parent.table if table.parent else ""
        if ids is not None:
            listed = not refresh and not self._is_stale(parent, max_age)
        elif refresh is None:
            self.ensure(parent, max_age=max_age)
        else:
            self.refresh(parent, full=refresh == "full")
        want = Want(ids, refresh == "full", refresh is not None, max_age, listed or ids is None)
        with self.store.lock(), self.budget.track(name) as spent, self.progress(name) as tick:
            self.store.prepare()
            self._by_parent(table, tick).run(want)
            if spent.requests:
                self._note_tokens(name, spent)

    def fields(self, table: Table) -> tuple[Field, ...]:
        """The cached field metadata of a table; empty where it has none, or where it was not to be
        had.
        """
        if table.field_list is None or self.store.manifest(table.field_list) is None:
            return ()
        return read_fields(self.store.read(table.field_list).to_pylist())

    def _by_parent(self, table: Table, tick: Callable[[int], None]) -> ChildrenSync:
        return ChildrenSync(
            self.client, self.store, table, tick=tick, now=self.now, options=self.options
        )

    def _is_stale(self, name: str, max_age: timedelta | None) -> bool:
        manifest = self.store.manifest(name)
        if manifest is None:
            return True
        return max_age is not None and self._is_old(manifest.synced_at, max_age)

    def _is_old(self, time: datetime, max_age: timedelta) -> bool:
        age = self.now() - time
        # A time ahead of the clock means that the clock was set: trust nothing it says about age.
        return age >= max_age or age < -max_age

    def _was_finished(
        self, name: str, *, since: datetime, max_age: timedelta | None, full: bool
    ) -> bool:
        try:
            manifest = self.store.manifest(name)
        except DamagedError:
            return False
        # A table that is asked for record by record is written on the way too.
        if (
            manifest is None
            or name in in_flight(self.store)
            or manifest.synced_at < since
            or (full and manifest.full_at < since)
        ):
            return False
        # None says that a loader never refreshes by itself; a sync was asked for.
        return self.now() - manifest.synced_at < (INTERRUPTED_FOR if max_age is None else max_age)

    def _cannot(self, name: str, done: Mapping[str, SyncRow]) -> SyncRow | None:
        """What is to be said of a table that lacks what it rests on; None where it lacks
        nothing.
        """
        missing = [
            need
            for need in rows_of(name)
            if self.store.manifest(need) is None
            or (need in done and done[need].mode == "unavailable")
        ]
        if not missing:
            return None
        why = next((done[need].missing for need in missing if need in done), "")
        return self._skipped(name, f"needs {', '.join(missing)}", why)

    def _one(
        self, name: str, tick: Callable[[int], None], *, full: bool, strict: bool = False
    ) -> SyncRow:
        table, counts, lacks = TABLES[name], Counts(), ""
        with self.budget.track(name) as spent:
            work = TableSync(
                self.client,
                self.store,
                table,
                self.fields(table),
                tick=tick,
                now=self.now,
                full_every=self.full_every,
                options=self.options,
            )
            mode: Mode = "unavailable"
            try:
                mode, counts, note = work.run(full=full)
            except AccessError as error:
                if strict or error.status not in _UNAVAILABLE:
                    raise
                note, lacks = str(error), error.missing
                note_withheld(self.store, name)
        del work
        # What the work on a large table took is given back before a frame is made of it.
        release_memory()
        if mode != "unavailable":
            self._note_tokens(name, spent)
        changes = (counts.added, counts.changed, counts.removed)
        return SyncRow(
            name,
            mode,
            self._rows(name),
            *changes,
            spent.requests,
            spent.tokens,
            round(spent.seconds, 3),
            note,
            lacks,
        )

    def _skipped(self, name: str, note: str, missing: str = "") -> SyncRow:
        return SyncRow(name, "skipped", self._rows(name), 0, 0, 0, 0, 0, 0.0, note, missing)

    def _note_tokens(self, name: str, spent: Spent) -> None:
        """Write what a sync cost into the manifest, where that is not what stands there."""
        manifest = self.store.manifest(name)
        if manifest is not None and manifest.tokens != spent.tokens:
            self.store.publish(replace(manifest, tokens=spent.tokens))

    def _rows(self, name: str) -> int | None:
        try:
            manifest = self.store.manifest(name)
        except DamagedError:
            return None
        return manifest.rows if manifest else None


@contextmanager
def _telling_what_is_kept(done: Mapping[str, SyncRow], store: Store) -> Iterator[None]:
    """Let an error that ends the work say which tables were finished before it, and of which pages
    are kept.
    """
    try:
        yield
    except PdframeError as error:
        finished = [name for name, row in done.items() if row.mode in ("full", "incremental")]
        now = f"Kept: {', '.join(finished)} as of now, every other table as it was cached before."
        begun = [
            f"Pages of {name} are saved: the next sync goes on from them."
            for name in in_flight(store)
            # What is fetched record by record says what it keeps by itself.
            if name in TABLES and TABLES[name].parent is None
        ]
        reported = "" if error.kept == KEPT else error.kept
        error.kept = " ".join(filter(None, [now if finished else KEPT, *begun, reported]))
        raise
