"""Sync the children of parent records: tables that cost a request a record.

The rows of a parent are replaced together when it is fetched again. Which parents are due is
decided in `plan`. Rows and fetch states are staged in the checkpoint of the table, a batch
of parents a page, and merged once at the end, also where an error ends the run: then the checkpoint
keeps the position of the run alone, and the same call resumes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._progress import Tick
from pdframe._warnings import deferred_warnings
from pdframe.api.client import Client, Page
from pdframe.api.pagination import another_list, paginate
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.cache.parts import SortedRun
from pdframe.cache.store import KEPT, Manifest, Store
from pdframe.errors import DamagedError, NotCachedError, PdframeError, ResponseError
from pdframe.frames import storage_schema, to_arrow
from pdframe.schema import Table
from pdframe.sync import line_items
from pdframe.sync.concurrency import map_ordered
from pdframe.sync.fetch import BAD_REQUEST, NOT_FOUND, FetchResult, stage_page
from pdframe.sync.fetch_state import (
    NO_FINGERPRINTS,
    NO_STATES,
    Want,
    drop_parents,
    fingerprints_of,
    keep_parents,
    load_states,
    newest_states,
    save_states,
    states_of_batch,
)
from pdframe.sync.merge import Counts, Merger
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.plan import RecordsPosition, due_parents, resume_records

# Of a list that was just read, this many parents in a row cannot all be deleted: then the API does
# not have this path.
MAX_MISSING_AT_START = 5
# When all parents were fetched last, in the state of the manifest.
EVERY_AT = "every_at"
# Whether every sync of all tables fetches what is due, in the state of the manifest.
KEEP_GOING = "keep_going"


@dataclass(slots=True)
class _Run:
    """One run: what is cached, what an earlier run staged, and which parents it is about."""

    manifest: Manifest | None
    # The fetch states that are cached, and with those that are staged.
    cached_states: pa.Table
    states: pa.Table
    parents: list[int]
    fingerprints: pa.Table
    reached: RecordsPosition


@dataclass(slots=True)
class _Batch:
    """The answers for some parents that are not staged yet."""

    parents: list[int] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    fetched_at: list[datetime] = field(default_factory=list)
    server_times: list[datetime | None] = field(default_factory=list)
    exists: list[bool] = field(default_factory=list)


class ChildrenSync:
    """Sync one table parent by parent.

    Parameters
    ----------
    client, store
        The HTTP client, and the cache.
    table
        The table; it has a `parent`.
    tick
        Moves the progress bar: called after each parent, with their number first.
    now
        This machine's clock.
    options
        Page size, number of threads, and how many parents are staged together.

    Attributes
    ----------
    total, fetched : int
        How many parents were due at the last run, and how many of them it fetched.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        table: Table,
        *,
        tick: Tick,
        now: Callable[[], datetime],
        options: SyncOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.client = client
        self.store = store
        self.table = table
        self.parent = table.required_parent
        self.tick = tick
        self.now = now
        self.options = options
        self.total = self.fetched = 0
        self._merger = Merger(table, options=options)
        self._checkpoint = Checkpoint(store, table, storage_schema(table))

    @property
    def counts(self) -> Counts:
        """What was changed so far."""
        return self._merger.counts

    @deferred_warnings()
    def run(self, want: Want) -> int:
        """Fetch the children that are due, and merge them into the cache.

        Parameters
        ----------
        want
            Which parents to fetch.

        Returns
        -------
        int
            How many parents were fetched.

        Raises
        ------
        DamagedError
            The cached table is not as it was written.
        PdframeError
            The API did not answer. The parents that were finished are kept, and the same call
            resumes with the others.
        """
        saved = self._checkpoint.load()
        position, staged_before = (saved.position, saved.states) if saved else (None, [])
        run = self._plan(want, self._cached(), position, staged_before)
        due, fetched = self._due(want, run), FetchResult(run.reached.position.began)
        outdated = set(due)
        self.total, self.fetched = len(due), 0
        if want.most is not None:
            due = due[::-1][: want.most]
        if want.ids is None and not self.parent.history:
            outdated.update(set(run.states["id"].to_pylist()).difference(run.parents))
        states = [fetched.resume_children(saved, outdated, self.parent.id)]
        try:
            self._fetch(due, run, want, fetched, states)
        except BaseException:
            self._commit(run, fetched, newest_states(*states), want)
            self._checkpoint.rewind(run.reached.position)
            # The rows that are kept are not fetched again.
            self._warn(fetched)
            raise
        is_every = want.ids is None and self.parent.every and len(due) == self.total
        staged = newest_states(*states)
        if due or staged.num_rows or is_every or (run.manifest is None and want.ids is not None):
            self._commit(run, fetched, staged, want, is_every=is_every)
        if run.reached.is_of_others:
            self._checkpoint.rewind(run.reached.position)
        else:
            self._checkpoint.drop()
        self._warn(fetched)
        return len(due)

    def _warn(self, fetched: FetchResult) -> None:
        """Warn of values and rows that could not be kept as they are."""
        fetched.problems.merge(self._merger.problems)
        fetched.problems.warn(self.table.name)

    def due(self, want: Want) -> list[int]:
        """Return the parents that `run` would fetch now, as far as the cache shows."""
        try:
            cached = self._cached()
        except DamagedError:
            cached = None, NO_STATES
        return self._due(want, self._plan(want, cached, self._checkpoint.position(), []))

    # Plan

    def _plan(
        self,
        want: Want,
        cached: tuple[Manifest | None, pa.Table],
        saved: Position | None,
        staged: Sequence[pa.Table],
    ) -> _Run:
        manifest, states = cached
        known = newest_states(states, *staged)
        parents = self._parents(want, manifest, known)
        every_at = manifest.state.get(EVERY_AT) if manifest else None
        reached = resume_records(
            saved,
            want,
            parents,
            states,
            every_at=datetime.fromisoformat(every_at) if every_at else None,
            now=self.now(),
        )
        return _Run(manifest, states, known, parents, self._fingerprints(), reached)

    def _cached(self) -> tuple[Manifest | None, pa.Table]:
        manifest = self.store.manifest(self.table.name)
        if manifest is None:
            if self.parent.history:
                self.store.check_not_lost(self.table.name)
            # Of rows that were lost, the fetch states may still be there.
            return None, NO_STATES
        self.store.open_table(self.table.name)  # to be sure that it is as it was written
        return manifest, load_states(self.store, self.table.name)

    def _fingerprints(self) -> pa.Table:
        """Return the fingerprint of each parent in its cached list; none where that is not cached,
        or shows nothing.
        """
        columns = self.parent.fingerprint_columns
        if not columns or self.store.manifest(self.parent.table) is None:
            return NO_FINGERPRINTS
        names = ["id", *dict.fromkeys((*columns, "update_time"))]
        return fingerprints_of(self.store.read(self.parent.table, names), columns)

    def _parents(self, want: Want, manifest: Manifest | None, states: pa.Table) -> list[int]:
        if want.ids is not None:
            return sorted(set(want.ids))
        if not self.parent.every:
            return sorted(states.filter(states["found"])["id"].to_pylist())
        if self.table.name != "discounts":
            return sorted(self.store.read(self.parent.table, ["id"])["id"].to_pylist())
        with_rows: set[int] = set()
        if manifest:
            with_rows.update(self.store.read(self.table.name, ["deal_id"])["deal_id"].to_pylist())
        with contextlib.suppress(NotCachedError, DamagedError):
            # The count may leave disabled lines out; nothing is lost where they are not cached, for
            # a discount is on lines that count.
            with_rows.update(self.store.read("deal_products", ["deal_id"])["deal_id"].to_pylist())
        deals = self.store.read("deals", ["id", "products_count"])
        return sorted(
            line_items.deals_that_count_some(deals) | (with_rows & set(deals["id"].to_pylist()))
        )

    def _due(self, want: Want, run: _Run) -> list[int]:
        want = replace(want, listed=want.listed and bool(self.parent.fingerprint_columns))
        return due_parents(
            run.parents, run.states, run.fingerprints, want, began=run.reached.began, now=self.now()
        )

    # Fetch and stage

    def _fetch(
        self,
        due: Sequence[int],
        run: _Run,
        want: Want,
        fetched: FetchResult,
        states: list[pa.Table],
    ) -> None:
        """Fetch the children of parents and stage them, a batch a page; add the fetch states of
        each batch to `states`. Where an error ends it, what was fetched before is staged.
        """
        batch, done, missing = _Batch(), 0, 0

        def stage() -> None:
            nonlocal batch
            if not batch.parents:
                return
            rows, problems = to_arrow(batch.rows, self.table)
            batch_states = states_of_batch(
                batch.parents,
                run.fingerprints,
                run.states,
                fetched_at=batch.fetched_at,
                server_times=batch.server_times,
                exists=batch.exists,
            )
            # An interruption can happen anywhere: a batch must not be added twice, nor a state
            # without its rows.
            batch = _Batch()
            fetched.pages.append(rows)
            states.append(batch_states)
            fetched.problems.merge(problems)
            position = replace(run.reached.position, problems=fetched.problems)
            stage_page(
                self._checkpoint, fetched, rows, position, batch_states, options=self.options
            )

        self.tick.expect(len(due))
        try:
            answers = map_ordered(self._answer, due, self.options.workers)
            for parent, (at, rows, server_time) in answers:
                batch.parents.append(parent)
                batch.rows += rows or ()
                batch.fetched_at.append(at)
                batch.server_times.append(server_time)
                batch.exists.append(rows is not None)
                self.fetched = done = done + 1
                missing += rows is None
                if (
                    want.ids is None
                    and self.parent.every
                    and done == missing == MAX_MISSING_AT_START
                ):
                    raise ResponseError(
                        f"None of the first {missing} {self.parent.table} whose {self.table.name}"
                        " were requested was found, though the cached list has them. Bring that"
                        f" list up to date: account.sync({self.parent.table!r}, full=True).",
                        status=NOT_FOUND,
                    )
                self.tick(1)
                if len(batch.parents) >= self.options.save_every_records:
                    stage()
        except BaseException as error:
            stage()
            if isinstance(error, PdframeError):
                error.kept = error.kept or KEPT
                if done:
                    error.kept = (
                        f"Kept: {self.table.name} of the {done:,} {self.parent.table} that were"
                        f" finished; the same call resumes with the other {len(due) - done:,}."
                    )
            raise
        stage()

    def _answer(self, record: int) -> tuple[datetime, list[dict[str, Any]] | None, datetime | None]:
        """Return when the children of a record were requested, these, and the server's time: called
        from several threads.
        """
        at = self.now()
        with self.client.budget.track(self.table.name):
            return at, *self._rows_of(record)

    def _rows_of(self, record: int) -> tuple[list[dict[str, Any]] | None, datetime | None]:
        """Return the children of one record, the oldest first (None: the API does not know it), and
        the server's time of the first answer.
        """
        source = self.table.sources[0]
        path = source.path.format(id=record)
        # One that is not paged today is followed too: should it begin to page, its first page is
        # not mistaken for all of it.
        limit = self.options.page_size if source.paged else None
        for may_retry in (True, False):
            rows: list[dict[str, Any]] = []
            pages, server_time = 0, None
            try:
                for page in paginate(
                    self.client, path, None, cost=source.cost, api=source.api, limit=limit
                ):
                    self._check_rows(page)
                    rows += page.rows
                    pages += 1
                    server_time = server_time or page.server_time
                break
            except ResponseError as error:
                if error.status == NOT_FOUND and not pages:
                    return None, None
                # A cursor that is refused has expired: once more from the beginning.
                if error.status != BAD_REQUEST or not pages or not may_retry:
                    raise
        if self.parent.newest_first:
            rows.reverse()
        if self.parent.by_field:
            rows = [part for row in rows for part in _by_field(row)]
        return [{**row, self.parent.id: record} for row in rows], server_time

    def _check_rows(self, page: Page) -> None:
        """Refuse a page of which no row has what each row of this table has: its own key, else the
        column that orders rows.
        """
        own = [name for name in self.table.key if name != self.parent.id] or [
            name for name in (self.parent.order,) if name
        ]
        paths = [self.table.by_name[name].path.partition(".")[0] for name in own]
        if (
            page.rows
            and paths
            and not any(row.get(path) is not None for row in page.rows for path in paths)
        ):
            raise another_list(page.path, page.rows, " or ".join(own))

    # Merge and commit

    def _commit(
        self,
        run: _Run,
        fetched: FetchResult,
        staged: pa.Table,
        want: Want,
        *,
        is_every: bool = False,
    ) -> None:
        """Merge the staged children, publish the table, then the fetch states."""
        now, before = self.now(), self.store.manifest(self.table.name)
        states = newest_states(run.cached_states, staged)
        is_kept = self.parent.history
        deleted = staged if not is_kept else staged.filter(staged["found"])
        if want.ids is None and not is_kept:
            parents = pa.array(run.parents, pa.int64())
            deleted = newest_states(deleted, drop_parents(states, parents))
            states = keep_parents(states, parents)
        kept = (
            {key: before.state[key] for key in (EVERY_AT, KEEP_GOING) if key in before.state}
            if before
            else {}
        )
        if is_every:
            kept[EVERY_AT] = now.isoformat()
        manifest = Manifest(
            self.table.name,
            (),
            0,
            now,
            self._complete_since(states, now),
            state=kept,
            tokens=before.tokens if before else 0,
            next_part=before.next_part if before else 1,
            server_clock=self.client.server_clock or (before.server_clock if before else None),
        )
        if before is None:
            save_states(self.store, self.table.name, NO_STATES, now)
            if is_kept:
                # Published before it has rows: rows without a manifest are those of one that was
                # lost.
                empty = storage_schema(self.table).empty_table()
                before = self.store.replace(replace(manifest, state={}), empty)
                manifest = replace(manifest, next_part=before.next_part)
        new = [*fetched.runs, self._merger.staged(fetched.pages)]
        counts = self._merger.counts
        parts = self._merger.merge(
            self.store.sorted_parts(before, self._merger.key) if before else [],
            new,
            set(deleted["id"].to_pylist()).difference(*_parents_with_rows(new, self._merger.key)),
        )
        written = self.store.write_parts(manifest, parts, max_part_bytes=self._merger.part_bytes)
        if before is not None and self._merger.counts == counts:
            written = replace(
                written, parts=before.parts, rows=before.rows, next_part=before.next_part
            )
        # Rows first: a parent that has rows and no state is fetched again; the other way round its
        # rows are lost.
        self.store.publish(written)
        if not states.equals(run.cached_states):
            save_states(self.store, self.table.name, states, now)

    def _complete_since(self, states: pa.Table, now: datetime) -> datetime:
        """Return since when all children are known: no later than the list of parents is."""
        oldest = pc.min(states["asked_at"]).as_py() or now
        listed = self.store.manifest(self.parent.table) if self.parent.every else None
        return min(oldest, listed.full_at) if listed else oldest


def rows_of(store: Store, table: Table, ids: Collection[int] | None) -> pa.Table:
    """Return the cached rows of some parents, or of every one that there is; of a table of history
    also those of deleted parents.
    """
    if ids is not None and not ids and store.manifest(table.name) is None:
        return storage_schema(table).empty_table()
    rows = store.read(table.name)
    parent = table.parent
    if parent is None or (ids is None and parent.history):
        return rows
    if ids is None:
        ids = store.read(parent.table, ["id"])["id"].to_pylist()
    return rows.filter(pc.is_in(rows[parent.id], value_set=pa.array(ids, pa.int64())))


def _parents_with_rows(runs: Sequence[SortedRun], key: str) -> Iterator[list[int]]:
    return (pc.unique(run.rows.read([key])[key]).to_pylist() for run in runs)


def _by_field(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a row that holds values by field into one row a field; return any other as it is."""
    old, new = row.get("old_values"), row.get("new_values")
    if not isinstance(old, dict | None) or not isinstance(new, dict | None):
        return [row]
    rest = {key: value for key, value in row.items() if key not in ("old_values", "new_values")}
    old, new = old or {}, new or {}
    codes = dict.fromkeys([*new, *old])
    return [
        {**rest, "field_key": code, "old_value": old.get(code), "new_value": new.get(code)}
        for code in codes
    ] or [rest]
