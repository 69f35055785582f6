"""Run a sync: order the stale tables by dependency, run the plan of each, record the cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from pdframe._progress import NoTick, Tick
from pdframe._warnings import deferred_warnings
from pdframe.api.client import Client
from pdframe.api.limits import Spent
from pdframe.cache.checkpoint import in_flight
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.parts import release_memory
from pdframe.cache.quarantine import delete_old_copies, remove_damaged
from pdframe.cache.store import KEPT, Store
from pdframe.errors import AccessError, DamagedError, PdframeError
from pdframe.fields import Field, read_fields
from pdframe.schema import TABLES, Table
from pdframe.sync.children import ChildrenSync
from pdframe.sync.concurrency import map_unordered
from pdframe.sync.fetch import Fetcher
from pdframe.sync.fetch_state import Want
from pdframe.sync.keep_going import (
    KEPT_UP_TO_DATE,
    estimated,
    go_on,
    is_kept_up_to_date,
    sync_note,
)
from pdframe.sync.merge import Counts
from pdframe.sync.metadata import METADATA, note_if_newer, note_unexplained, outdated_lists
from pdframe.sync.options import UNAVAILABLE
from pdframe.sync.plan import (
    ALWAYS,
    Policy,
    full_reload_set,
    in_order,
    is_old,
    required_rows,
)
from pdframe.sync.plan_costs import Estimate, Pricing
from pdframe.sync.repair import KEPT_FOR_GOOD, is_lost, note_withheld
from pdframe.sync.reporting import WorkerReporter, tables_at_once
from pdframe.sync.schedule import (
    Schedule,
    begin,
    finish,
    finished_tables,
    note_finished,
    request_key,
)
from pdframe.sync.table_sync import FETCHED, Outcome, SyncRow, TableSync, sync_row, unable

# A table of that many rows gives memory back after its sync.
RELEASE_AFTER_SYNC_ROWS = 5_000
Progress = Callable[..., AbstractContextManager[Tick]]
"""Opens a bar, as `pdframe._progress.Bars` does."""
T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Syncer:
    """Bring cached tables up to date.

    Parameters
    ----------
    client, store
        The HTTP client, which has the count of tokens, and the cache.
    progress
        Opens a progress bar, as `pdframe._progress.Bars` does.
    policy
        What a sync of named tables must reload, and may leave as it is.
    metadata_age
        How old lists of metadata may be in a sync of everything and in loaders; None: any age.
    deletions_age
        How old the last reading of the lists of deletions may be in a sync of everything; None: any
        age.
    now
        This machine's clock.
    withheld
        Lists of metadata that the API withholds, each with when it said so, and how: a loader asks
        for such a list again after `metadata_age`. An account keeps this while it lives.
    """

    client: Client
    store: Store
    progress: Progress
    policy: Policy
    metadata_age: timedelta | None = ALWAYS
    deletions_age: timedelta | None = ALWAYS
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    withheld: dict[str, tuple[datetime, AccessError]] = field(default_factory=dict)
    _repaired: set[str] = field(default_factory=set, init=False)

    def sync(
        self,
        names: Iterable[str],
        *,
        full: bool = False,
        named: bool = True,
        max_age: timedelta | None = None,
    ) -> list[SyncRow]:
        """Bring tables and their dependencies up to date now; return one row a table, in the order
        of the schema.

        With `full`, they are reloaded, and so are the tables whose rows say what to request: else
        what these miss would be missing as well.

        Unless tables are `named` by the user, or reloaded, `metadata_age` and `deletions_age` hold.
        Where the last sync with the same arguments was interrupted, the tables that it finished
        less than `max_age` ago are not paid for again, and none is reloaded twice.
        """
        requested = list(names)
        policy = replace(self._policy_of(requested, full, named), finished_age=max_age)
        done: dict[str, SyncRow] = {}
        request = request_key(requested, full=full, named=named)
        self.with_repair(lambda: self._sync(requested, request, policy, done))
        if not named:
            self.with_repair(lambda: self._keep_going(done))
        return [done[name] for name in TABLES if name in done]

    def estimate(
        self,
        names: Iterable[str],
        *,
        full: bool = False,
        named: bool = True,
        max_age: timedelta | None = None,
    ) -> list[Estimate]:
        """Price the plans of a sync of these tables, as far as the cache shows."""
        requested = list(names)

        def records_due(table: Table, complete: bool) -> Sequence[int]:
            want = Want(None, complete, now=True, listed=True)
            return self._children(table, NoTick()).due(want)

        request = request_key(requested, full=full, named=named)
        policy = replace(
            self._policy_of(requested, full, named),
            finished=finished_tables(self.store, request, self.now()),
            finished_age=max_age,
        )
        pricing = Pricing(
            self.store, policy, self.now(), fields=self._known_fields, records_due=records_due
        )
        priced = pricing.estimate(requested)
        for table in self._kept_up_to_date() if not named else ():
            due, smallest = len(records_due(table, False)), policy.options.keep_going_tokens
            priced.append(estimated(table, due, self.client.budget, smallest, priced))
        return priced

    def refresh_if_stale(self, name: str, *, max_age: timedelta | None) -> None:
        """Bring a table up to date if it, or one of its dependencies, is older than `max_age`
        (None: at any age); lists of metadata, if they are older than `metadata_age`.
        """
        self.with_repair(lambda: self._refresh_if_stale(name, max_age))

    def refresh(self, name: str, *, full: bool) -> None:
        """Bring one table and its dependencies up to date now; raise where it is unavailable."""
        self.with_repair(
            lambda: self._refresh_outdated_metadata(
                name, self._run(name, in_order([name]), full=full)
            )
        )

    def list_deletions(self, *, max_age: timedelta | None, since: datetime | None = None) -> None:
        """Read the lists of deleted deals, if the last reading was `max_age` ago or longer (None:
        never), or before `since`.
        """

        def is_due() -> bool:
            listed = DeletedDeals(self.store).listed_at()
            if listed is None or (since is not None and listed < since):
                return True
            return since is None and is_old(listed, max_age, self.now())

        if is_due():
            self.with_repair(lambda: self._list_deletions(is_due))

    def refresh_records(
        self,
        name: str,
        ids: Sequence[int] | None,
        *,
        refresh: Literal["full"] | bool | None,
        max_age: timedelta | None,
        listed: bool = False,
    ) -> None:
        """Bring the rows of some records (None: of all) up to date, of a table that the API gives
        record by record.

        `listed` says that the list of these records was just brought up to date.
        """
        table = TABLES[name]
        parent = table.parent.table if table.parent else ""
        if ids is not None:
            listed = listed or (not refresh and not self._is_stale(parent, max_age))
        elif refresh is None:
            self.refresh_if_stale(parent, max_age=max_age)
        else:
            self.refresh(parent, full=refresh == "full")
        want = Want(ids, refresh == "full", refresh is not None, max_age, listed or ids is None)
        with self.store.lock(), self.client.budget.track(name) as spent, self._bar(name) as tick:
            self.store.prepare()
            self._children(table, tick).run(want)
            if spent.requests:
                self._note_tokens(name, spent)

    def with_repair(self, work: Callable[[], T]) -> T:
        """Do some work that reads the cache. Where it meets a damaged table, load that table again,
        with a warning, and do the work again.

        Raises
        ------
        DamagedError
            A table is damaged again after it was loaded, or cannot be collected again.
        """
        while True:
            try:
                return work()
            except DamagedError as error:
                if error.table in self._repaired or error.table in KEPT_FOR_GOOD:
                    raise
                damage = error.with_traceback(None)  # which refers to the frames of the work
            self._repair(damage)

    def _repair(self, damage: DamagedError) -> None:
        """Remove a damaged table, and load it again unless the work itself does that."""
        self._repaired.add(damage.table)
        with deferred_warnings():
            with self.store.lock():
                remove_damaged(self.store, damage)
            # The work itself requests what is fetched record by record.
            if damage.table in TABLES and TABLES[damage.table].parent is None:
                self.refresh_if_stale(damage.table, max_age=None)

    # A sync of several tables

    def _policy_of(self, names: Iterable[str], full: bool, named: bool) -> Policy:
        """What a sync of tables must reload, and may leave as it is."""
        if full or named:
            return replace(self.policy, reload=full_reload_set(names) if full else frozenset())
        return replace(
            self.policy, metadata_age=self.metadata_age, deletions_age=self.deletions_age
        )

    def _sync(
        self, wanted: Iterable[str], request: str, policy: Policy, done: dict[str, SyncRow]
    ) -> None:
        """Bring those of the tables up to date that are not `done`."""
        order = in_order(wanted)
        with (
            self.store.lock() as lock,
            saying_what_is_kept(done, self.store),
            WorkerReporter(lambda name: self._bar(name, order), lock) as reporter,
        ):
            self.store.prepare()
            policy = replace(policy, finished=begin(self.store, request, self.now()))
            schedule = Schedule(self.store, policy, self.now, order, done)

            def sync_table(name: str) -> SyncRow:
                return reporter.work(name, lambda tick: self._sync_table(name, tick, policy))

            for name, row in map_unordered(
                sync_table,
                schedule.ready,
                lambda: tables_at_once(self.client, policy.options),
                reporter.flush,
                workers=policy.options.workers,
            ):
                reporter.done(name)
                schedule.add(row)
                if row.mode in FETCHED:
                    note_finished(self.store, request, name, self.now())
            finish(self.store, request, self.now())
            if self.store.has_copies():
                delete_old_copies(self.store)

    def _kept_up_to_date(self) -> list[Table]:
        """Return the tables that cost a request a record and are kept up to date all the same."""
        return [TABLES[name] for name in KEPT_UP_TO_DATE if is_kept_up_to_date(self.store, name)]

    def _keep_going(self, done: dict[str, SyncRow]) -> None:
        """Go on with these tables, as far as today's tokens allow."""
        for table in self._kept_up_to_date():
            name, source = table.name, table.sources[0]
            if unable(self.store, name, done) is not None:
                continue
            with (
                self.store.lock(),
                saying_what_is_kept(done, self.store),
                self._bar(name) as tick,
                self.client.budget.track(name) as spent,
            ):
                self.store.prepare()
                children = self._children(table, tick)
                refused = go_on(children, self.client.budget, source.cost)
                self._note_tokens(name, spent)
            smallest = children.options.keep_going_tokens
            text = sync_note(
                table, children.fetched, spent.tokens, children.total, self.client.budget, smallest
            )
            row = sync_row(self.store, name, Outcome("incremental", children.counts, text), spent)
            if refused is not None:
                row = replace(row, mode="unavailable", note=str(refused), missing=refused.missing)
            done[name] = row

    # One table and its dependencies

    def _refresh_if_stale(self, name: str, max_age: timedelta | None) -> None:
        parts: Sequence[str] = in_order([name])
        if not self._is_stale(name, max_age):
            # A list that was unavailable when the table was loaded is requested with the table
            # again, not at each call.
            parts = [
                part
                for part in parts
                if self.store.manifest(part) is not None or is_lost(self.store, part)
            ]
        if not any(self._is_stale(part, max_age) for part in parts):
            return
        if name in self.withheld:
            when, refusal = self.withheld[name]
            if not is_old(when, None if max_age is None else self.metadata_age, self.now()):
                raise copy(refusal)
        # Checked again under the lock: another process may have done the work meanwhile.
        done = self._run(name, parts, is_due=lambda part: self._is_stale(part, max_age))
        self._refresh_outdated_metadata(name, done)

    def _refresh_outdated_metadata(self, name: str, done: Mapping[str, SyncRow]) -> None:
        """Read the lists of metadata that lack an id or a hash of the rows of a table that was
        synced, as far as the API gives them.
        """
        if name not in done or done[name].mode not in FETCHED:
            return
        with self.store.lock():
            outdated = outdated_lists(self.store, name)
            current = {other for other in outdated if other in done and done[other].was_requested}
            for other in current:
                note_if_newer(self.store, other, name)
        for other in in_order(outdated):
            if other in current or other not in outdated:
                continue
            self._run(other, [other], strict=False)
            with self.store.lock():
                note_unexplained(self.store, other, [name])

    def _run(
        self,
        name: str,
        parts: Sequence[str],
        *,
        full: bool = False,
        is_due: Callable[[str], bool] = lambda part: True,
        strict: bool = True,
    ) -> dict[str, SyncRow]:
        """Sync a table and those of its `parts` that are due, one by one; if `strict`, raise where
        one is unavailable whose rows it requires.
        """
        done: dict[str, SyncRow] = {}
        required = [name, *required_rows(name)]
        policy = replace(self.policy, reload=frozenset(required if full else ()))
        with self.store.lock(), saying_what_is_kept(done, self.store):
            self.store.prepare()
            for part in parts:
                if not is_due(part):
                    continue
                lacking = unable(self.store, part, done)
                if lacking is not None:
                    done[part] = lacking
                    continue
                with self._bar(part, parts) as tick:
                    done[part] = self._sync_table(
                        part, tick, policy, strict=strict and part in required
                    )
            if self.store.has_copies():
                delete_old_copies(self.store)
        return done

    def _sync_table(
        self, name: str, tick: Tick, policy: Policy, *, strict: bool = False
    ) -> SyncRow:
        table, missing = TABLES[name], ""
        fetcher = Fetcher(self.client, table, self.fields(table), tick, policy.options)
        with self.client.budget.track(name) as spent:
            try:
                outcome = TableSync(table, fetcher, self.store, self.now, policy, spent).run()
            except AccessError as error:
                if name in METADATA and error.status in UNAVAILABLE:
                    self.withheld[name] = self.now(), copy(error)
                if strict or error.status not in UNAVAILABLE:
                    raise
                outcome = Outcome("unavailable", Counts(), str(error))
                missing = error.missing
                note_withheld(self.store, name)
        if outcome.mode != "unavailable":
            self.withheld.pop(name, None)
            if table.parent is not None:
                self._note_tokens(name, spent)
        manifest = self.store.usable_manifest(name)
        if manifest is not None and manifest.rows >= RELEASE_AFTER_SYNC_ROWS:
            # Give its memory back before a frame is made of its rows.
            release_memory()
        return sync_row(self.store, name, outcome, spent, missing)

    def _list_deletions(self, is_due: Callable[[], bool]) -> None:
        table = TABLES["deals"]
        with self.store.lock(), saying_what_is_kept({}, self.store):
            # Checked again under the lock: another process may have done the work meanwhile.
            if not is_due():
                return
            bar = self._bar(table.name, resumes=False)
            with bar as tick, self.client.budget.track(table.name):
                fields, options = self.fields(table), self.policy.options
                fetcher = Fetcher(self.client, table, fields, tick, options)
                TableSync(table, fetcher, self.store, self.now, self.policy).list_deletions()

    # The cache

    def fields(self, table: Table) -> tuple[Field, ...]:
        """Return the cached field metadata of a table; none where it has none, or where that is
        unavailable.
        """
        if table.field_list is None or self.store.manifest(table.field_list) is None:
            return ()
        return read_fields(self.store.read(table.field_list).to_pylist())

    def _known_fields(self, table: Table) -> tuple[Field, ...]:
        """Return the cached field metadata of a table; none where it is damaged."""
        try:
            return self.fields(table)
        except DamagedError:
            return ()

    def _bar(
        self, name: str, names: Sequence[str] = (), *, resumes: bool = True
    ) -> AbstractContextManager[Tick]:
        """Open the bar of a table, which is one of `names` that are loaded."""
        table = TABLES[name]
        place = f"table {names.index(name) + 1} of {len(names)}" if name in names else ""
        return self.progress(
            name,
            place=place if len(names) > 1 else "",
            unit=table.parent.table if table.parent else "rows",
            cost=table.sources[0].cost if table.parent else 0,
            tokens_left=lambda: self.client.budget.tokens_left,
            resumes=resumes and table.is_staged,
        )

    def _children(self, table: Table, tick: Tick) -> ChildrenSync:
        return ChildrenSync(
            self.client, self.store, table, tick=tick, now=self.now, options=self.policy.options
        )

    def _is_stale(self, name: str, max_age: timedelta | None) -> bool:
        manifest = self.store.manifest(name)
        if manifest is None:
            return True
        age = self.metadata_age if name in METADATA and max_age is not None else max_age
        return is_old(manifest.synced_at, age, self.now())

    def _note_tokens(self, name: str, spent: Spent) -> None:
        """Write the cost of a table that is fetched record by record into its manifest, where
        another cost stands there.
        """
        manifest = self.store.manifest(name)
        if manifest is not None and manifest.tokens != spent.tokens:
            self.store.publish(replace(manifest, tokens=spent.tokens))


@contextmanager
def saying_what_is_kept(done: Mapping[str, SyncRow], store: Store) -> Iterator[None]:
    """Add to an error that ends the work which tables were finished before it, and of which tables
    pages are saved.
    """
    try:
        yield
    except PdframeError as error:
        finished = [name for name, row in done.items() if row.mode in FETCHED]
        now = f"Kept: {', '.join(finished)} as of now, every other table as it was cached before."
        begun = [
            f"Pages of {name} are saved: the next sync resumes from them."
            for name in in_flight(store)
            # What is fetched record by record says what it keeps by itself.
            if name in TABLES and TABLES[name].parent is None
        ]
        reported = "" if error.kept == KEPT else error.kept
        error.kept = " ".join(filter(None, [now if finished else KEPT, *begun, reported]))
        raise
