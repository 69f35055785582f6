"""Conducts a sync: what is due, in which order, by which way, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client
from pdframe.api.limits import Ledger
from pdframe.errors import AccessError, CacheError, PdframeError
from pdframe.fields import Field, name_columns, read_fields
from pdframe.frames import storage_schema, unify
from pdframe.pending import Pending, Place, under_way
from pdframe.schema import TABLES, Table
from pdframe.store import Manifest, Store
from pdframe.sync import lines, parents
from pdframe.sync.compare import Merge, last_of_each, replace_all, upsert
from pdframe.sync.kept import keep_look
from pdframe.sync.lists import DELETIONS_KEPT, Pull, Puller, StartAgainError, can_pull_changes
from pdframe.sync.parents import ByParent, Want

Mode = Literal["full", "incremental", "skipped", "unavailable"]
UP_TO_DATE = "up to date since the interrupted sync"
Progress = Callable[[str], AbstractContextManager[Callable[[int], None]]]
_UNAVAILABLE = frozenset({402, 403})
# How long the tables of an interrupted sync count as up to date where the account has no `max_age`.
INTERRUPTED_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class SyncRow:
    """What a sync did to one table: rows it has now, how many were added, changed and removed, and what that cost."""

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


class Syncer:
    """Brings cached tables up to date.

    Parameters
    ----------
    client, store, ledger
        Who asks, where it is kept, who counts the tokens.
    progress
        Opens a progress bar of that title; the bar is a call that takes the number of rows that came.
    now
        This machine's clock.
    """

    def __init__(
        self, client: Client, store: Store, ledger: Ledger, *, progress: Progress, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.client = client
        self.store = store
        self.ledger = ledger
        self.progress = progress
        self.now = now

    def sync(self, names: Iterable[str], *, full: bool = False, max_age: timedelta | None = None) -> list[SyncRow]:
        """Bring tables, and those they rest on, up to date now; one row a table, in the order of the schema.

        Where the sync before did not come to its end, the tables that it finished less than `max_age` ago are not paid for again.
        """
        asked = set(names)
        wanted = asked.union(*(needs(name) for name in asked))
        done: dict[str, SyncRow] = {}
        with self.store.lock(), _telling_what_is_kept(done, self.store):
            before = self.store.unfinished_since()
            self.store.begin(before or self.now())
            for name in in_order(wanted):
                if before is not None and self._was_finished(name, since=before, max_age=max_age, full=full and name in asked):
                    done[name] = SyncRow(name, "skipped", self._rows(name), 0, 0, 0, 0, 0, 0.0, UP_TO_DATE)
                else:
                    done[name] = self._one(name, full=full and name in asked, done=done)
            self.store.finish()
        return [done[name] for name in TABLES if name in done]

    def ensure(self, name: str, *, max_age: timedelta | None) -> None:
        """Bring a table up to date if what is cached of it, or of what it rests on, is older than `max_age` (None: at any age)."""
        parts = in_order({name, *needs(name)})
        if not self._is_stale(name, max_age):
            # What was not to be had when the table was loaded is asked for with the table again, not at every look at it.
            parts = [part for part in parts if self.store.manifest(part) is not None]
        if not any(self._is_stale(part, max_age) for part in parts):
            return
        done: dict[str, SyncRow] = {}
        with self.store.lock(), _telling_what_is_kept(done, self.store):
            for part in parts:
                # Asked again: while this one waited for the lock, another process may have done the work.
                if self._is_stale(part, max_age):
                    done[part] = self._one(part, full=False, done=done, strict=part in {name, *_rows_of(name)})

    def refresh(self, name: str, *, full: bool) -> None:
        """Bring one table and what it rests on up to date now; raise where it is not to be had."""
        done: dict[str, SyncRow] = {}
        with self.store.lock(), _telling_what_is_kept(done, self.store):
            for part in in_order({name, *needs(name)}):
                done[part] = self._one(part, full=full and part == name, done=done, strict=part in {name, *_rows_of(name)})

    def of_records(
        self, name: str, ids: Sequence[int] | None, *, refresh: Literal["full"] | bool | None, max_age: timedelta | None
    ) -> None:
        """Bring the rows of some records (None: of every one) up to date, of a table that the API gives record by record."""
        table, listed = TABLES[name], False
        parent = table.parent.table if table.parent else ""
        if ids is not None:
            listed = not refresh and not self._is_stale(parent, max_age)
        elif refresh is None:
            self.ensure(parent, max_age=max_age)
        else:
            self.refresh(parent, full=False)
        want = Want(ids, refresh == "full", refresh is not None, max_age, listed or ids is None)
        with self.store.lock(), self.ledger.account(name) as spent, self.progress(name) as tick:
            ByParent(self.client, self.store, table, tick=tick, now=self.now).bring(want, mend=refresh == "full")
            manifest = self.store.manifest(name)
            if spent.requests and manifest is not None:
                self.store.touch(replace(manifest, tokens=spent.tokens))

    def fields(self, table: Table) -> tuple[Field, ...]:
        """The cached field metadata of a table; empty where it has none, or where it was not to be had."""
        if table.field_list is None or self.store.manifest(table.field_list) is None:
            return ()
        return read_fields(self.store.read(table.field_list).to_pylist())

    def _is_stale(self, name: str, max_age: timedelta | None) -> bool:
        manifest = self.store.manifest(name)
        if manifest is None:
            return True
        if max_age is None:
            return False
        age = self.now() - manifest.synced_at
        # A time ahead of the clock means that the clock was set: trust nothing it says about age.
        return age >= max_age or age < -max_age

    def _was_finished(self, name: str, *, since: datetime, max_age: timedelta | None, full: bool) -> bool:
        try:
            manifest = self.store.manifest(name)
        except CacheError:
            return False
        # A table that is asked for record by record is written on the way too.
        if manifest is None or parents.is_unfinished(manifest) or manifest.synced_at < since or (full and manifest.full_at < since):
            return False
        # None says that a loader never refreshes by itself; a sync was asked for.
        return self.now() - manifest.synced_at < (INTERRUPTED_FOR if max_age is None else max_age)

    def _one(self, name: str, *, full: bool, done: dict[str, SyncRow], strict: bool = False) -> SyncRow:
        missing = [
            need for need in _rows_of(name) if self.store.manifest(need) is None or (need in done and done[need].mode == "unavailable")
        ]
        if missing:
            return SyncRow(name, "skipped", self._rows(name), 0, 0, 0, 0, 0, 0.0, f"needs {', '.join(missing)}")
        with self.ledger.account(name) as spent, self.progress(name) as tick:
            try:
                mode, merge, note = _Work(self, TABLES[name], Puller(self.client, tick)).do(full=full)
            except AccessError as error:
                if strict or error.status not in _UNAVAILABLE:
                    raise
                mode, merge, note = "unavailable", None, str(error)
        if merge is not None:
            manifest = self.store.manifest(name)
            if manifest is not None:
                self.store.touch(replace(manifest, tokens=spent.tokens))
        counts = (merge.added, merge.changed, merge.removed) if merge is not None else (0, 0, 0)
        return SyncRow(name, mode, self._rows(name), *counts, spent.requests, spent.tokens, round(spent.seconds, 3), note)

    def _rows(self, name: str) -> int | None:
        try:
            manifest = self.store.manifest(name)
        except CacheError:
            return None
        return manifest.rows if manifest else None


@contextmanager
def _telling_what_is_kept(done: Mapping[str, SyncRow], store: Store) -> Iterator[None]:
    """Let an error that ends the work say which tables were finished before it, and of which pages are kept."""
    try:
        yield
    except PdframeError as error:
        finished = [name for name, row in done.items() if row.mode in ("full", "incremental")]
        now = f"Kept: {', '.join(finished)} as of now, every other table as it was cached before."
        begun = [f"Pages of {name} are saved: the next sync goes on from them." for name in under_way(store)]
        error.kept = " ".join(filter(None, [now if finished else "What was cached before is kept.", *begun, error.kept]))
        raise


class _Work:
    """The work on one table: choose the way, pull, merge, keep."""

    def __init__(self, syncer: Syncer, table: Table, puller: Puller) -> None:
        self.client = syncer.client
        self.store = syncer.store
        self.now = syncer.now
        self.table = table
        self.puller = puller
        self.fields = syncer.fields(table)

    def do(self, *, full: bool) -> tuple[Mode, Merge, str]:
        if self.table.parent is not None:
            return self._records(full)
        manifest, cached, note = self._cached()
        if self.table.sources[0].batch is not None:
            try:
                return self._lines(manifest, cached, note, full=full)
            except StartAgainError as reason:
                try:
                    # The batches that came whole are saved: only the one whose cursor was refused is asked again.
                    return self._lines(manifest, cached, f"begun again: {reason}", full=full)
                except StartAgainError as again:
                    raise again.__cause__ or again from None
        if manifest is not None and cached is not None and not full:
            try:
                return self._changes(manifest, cached)
            except StartAgainError as reason:
                note = f"loaded anew: {reason}" if str(reason) else ""
        pending, started = self._pending() if self.table.incremental else None, self.now()
        try:
            pull = self.puller.all_of(self.table, self.fields, started, pending, self._each())
        except StartAgainError as reason:
            if pending is not None:
                pending.drop()
            note = f"begun again: {reason}"
            try:
                pull = self.puller.all_of(self.table, self.fields, started, pending, self._each())
            except StartAgainError as again:
                # Refused twice in a row: the error of the API says more than ours.
                raise again.__cause__ or again from None
        merge = replace_all(cached, self._present(pull), self.table.key[0])
        self._keep(merge, pull, manifest, started, full_at=pull.began)
        if pending is not None:
            pending.drop()
        return "full", merge, f"went on from {pull.saved} saved pages" if pull.saved else note

    def _records(self, full: bool) -> tuple[Mode, Merge, str]:
        """A table by record: every record that the API lists, or where nobody asks for every one, those that were asked for before."""
        known = self._cached()[0] is not None
        work = ByParent(self.client, self.store, self.table, tick=self.puller.tick, now=self.now)
        merge, asked = work.bring(Want(None, full, now=True, listed=True), mend=True)
        if not asked and self.table.parent is not None and not self.table.parent.every and not merge.table.num_rows:
            return "skipped", merge, f"asked for by id: account.{self.table.name}(ids)"
        return "incremental" if known and not full else "full", merge, ""

    def _each(self) -> list[int]:
        """The ids that the list is asked for by, one by one; none where it is one list."""
        each = self.table.sources[0].each
        return self.store.read(each[1], ["id"])["id"].to_pylist() if each else []

    def _cached(self) -> tuple[Manifest | None, pa.Table | None, str]:
        try:
            manifest = self.store.manifest(self.table.name)
            return manifest, self.store.read(self.table.name) if manifest else None, ""
        except CacheError:
            return None, None, "the cached copy could not be trusted: loaded anew"

    def _changes(self, manifest: Manifest, cached: pa.Table) -> tuple[Mode, Merge, str]:
        if not can_pull_changes(self.table, cached.schema, self.fields, manifest.state):
            raise StartAgainError
        began = self.now()
        if began - manifest.synced_at > DELETIONS_KEPT:
            raise StartAgainError("deletions are listed for 30 days alone")
        pull = Pull(began, state=dict(manifest.state))
        try:
            self.puller.changes_of(self.table, self.fields, pull, manifest.server_time)
        except PdframeError:
            # The rows that came are newer than those cached, and came in the order of their times: the next pull goes on behind them.
            if len(pull.tables) > 1:
                self._keep(self._upserted(cached, pull), pull, manifest, manifest.synced_at, full_at=manifest.full_at)
            raise
        merge = self._upserted(cached, pull)
        self._keep(merge, pull, manifest, began, full_at=manifest.full_at)
        # What an interrupted reload had saved is older than this: a later reload must not go on from it.
        self._pending().drop()
        return "incremental", merge, ""

    def _upserted(self, cached: pa.Table, pull: Pull) -> Merge:
        key = self.table.key[0]
        # What the metadata says of a column may have changed since: old and new rows must have the same columns in the same types.
        both, problems = unify([cached, pull.rows(self.table, self.fields)], self.table, self.fields)
        pull.problems.merge(problems)
        cached, rows = both.slice(0, cached.num_rows), last_of_each(both.slice(cached.num_rows), key)
        live = self._live(rows)
        gone = pa.array([*pull.gone, *set(rows[key].to_pylist()).difference(live[key].to_pylist())], cached.schema.field(key).type)
        return upsert(cached, live, gone, key)

    def _present(self, pull: Pull) -> pa.Table:
        """The rows of a whole walk as they were last seen, without those that are gone."""
        key = self.table.key[0]
        rows = self._live(last_of_each(pull.rows(self.table, self.fields), key))
        return rows.filter(pc.invert(pc.is_in(rows[key], value_set=pa.array(pull.gone, rows.schema.field(key).type))))

    def _live(self, rows: pa.Table) -> pa.Table:
        """Rows that are not deleted; a table whose deleted rows the API goes on listing (stages, users) keeps them."""
        if not self.table.incremental or "is_deleted" not in rows.column_names:
            return rows
        return rows.filter(pc.invert(pc.fill_null(rows["is_deleted"], False)))

    def _lines(self, manifest: Manifest | None, cached: pa.Table | None, note: str, *, full: bool) -> tuple[Mode, Merge, str]:
        name, began = self.table.name, self.now()
        deals = self.store.read("deals", ["id", "update_time", "products_count"])
        items = self.store.read("deal_products", ["deal_id", "billing_frequency"]) if name != "deal_products" else None
        state = dict(manifest.state) if manifest and not full else {}
        basis = self._basis() if manifest and not full else None

        def asked(leaves_out: bool, basis: pa.Table | None, cached: pa.Table | None) -> tuple[pa.Table, lines.Plan]:
            possible = lines.deals_that_can_have(name, deals, items, count_leaves_out=leaves_out)
            looks = lines.looks(deals, possible)
            return looks, lines.plan(looks, basis, cached)

        looks, plan = asked(lines.LEAVES_OUT in state, basis, cached)
        pull, pending = Pull(began, state=state), self._pending()
        answered = lines.take_saved(pull, pending.load(), looks, plan.ask)

        def keep(rows: pa.Table, ids: Sequence[int]) -> None:
            pending.add(rows, Place(pull.began), note=looks.filter(pc.is_in(looks["id"], value_set=pa.array(ids, pa.int64()))))

        self.puller.batches_of(self.table, [deal for deal in plan.ask if deal not in answered], pull, keep)
        rows = pull.rows(self.table, self.fields)
        if name == "deal_products" and lines.LEAVES_OUT not in state and lines.count_leaves_out(deals, rows):
            state[lines.LEAVES_OUT] = "leaves out disabled lines"
            looks, rest = asked(True, looks, rows)
            self.puller.batches_of(self.table, sorted(set(rest.ask) - set(plan.ask)), pull, keep)
            rows = pull.rows(self.table, self.fields)
        if basis is None or cached is None:
            mode: Mode = "full"
            merge = replace_all(cached, rows, self.table.key[0])
        else:
            mode = "incremental"
            merge = _replace_lines(cached, rows, plan.void, self.table.key[0])
        self._keep(merge, pull, manifest, began, full_at=pull.began if mode == "full" or manifest is None else manifest.full_at)
        self._keep_basis(looks, began)
        pending.drop()
        return mode, merge, f"went on from {pull.saved} saved pages" if pull.saved else note

    def _pending(self) -> Pending:
        return Pending(self.store, self.table, storage_schema(self.table, self.fields))

    def _basis(self) -> pa.Table | None:
        try:
            name = lines.basis_name(self.table.name)
            return self.store.read(name) if self.store.manifest(name) else None
        except CacheError:
            return None

    def _keep_basis(self, looks: pa.Table, began: datetime) -> None:
        name = lines.basis_name(self.table.name)
        try:
            number = before.next_part if (before := self.store.manifest(name)) else 1
        except CacheError:
            number = 1
        self.store.replace(Manifest(name, (), 0, began, began, next_part=number), looks)

    def _keep(self, merge: Merge, pull: Pull, before: Manifest | None, began: datetime, *, full_at: datetime) -> None:
        server_time = pull.server_time or (before.server_time if before else None)
        manifest = Manifest(
            self.table.name, before.parts if before else (), merge.table.num_rows, began, full_at, server_time, pull.state,
            next_part=before.next_part if before else 1,
        )  # fmt: skip
        keep_look(self.store, manifest, merge.table, pull, before)
        changed = merge.added or merge.changed or merge.removed
        if before is not None and full_at == before.full_at and not changed:
            self.store.touch(manifest)
        else:
            self.store.replace(manifest, merge.table)
        # Told last: where warnings are errors, what was paid for is kept all the same.
        pull.problems.warn(self.table.name, name_columns(self.fields, self.table.reserved))


def _replace_lines(cached: pa.Table, rows: pa.Table, void: pa.Array, key: str) -> Merge:
    """Put the lines of some deals in the place of those that were cached of them: a line that did not come again is gone."""
    voided = pc.is_in(cached["deal_id"], value_set=void)
    came = rows[key].combine_chunks()
    gone = cached.filter(pc.and_(voided, pc.invert(pc.is_in(cached[key], value_set=came))))
    return upsert(cached, rows, gone[key].combine_chunks(), key)


def needs(name: str) -> list[str]:
    """The tables that `name` rests on: its field list; for lines the deals (installments: line items too); the list that ids come from."""
    table = TABLES[name]
    if table.sources[0].batch is not None:
        return ["deal_fields", "deals", *(["deal_products"] if name == "installments" else [])]
    if table.parent is not None:
        return [*needs(table.parent.table), table.parent.table] if table.parent.every else []
    if table.sources[0].each is not None:
        return [table.sources[0].each[1]]
    return [table.field_list] if table.field_list else []


def _rows_of(name: str) -> list[str]:
    """The tables without whose rows `name` cannot be asked for; without its field list it can."""
    return [need for need in needs(name) if TABLES[need].key == ("id",)]


def in_order(names: Iterable[str]) -> Sequence[str]:
    """Tables in an order in which each comes after those it rests on."""
    return sorted(names, key=lambda name: (len(needs(name)), list(TABLES).index(name)))
