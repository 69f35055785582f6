"""Bring one table up to date: plan, fetch, stage, merge, commit.

`TableSync.run` shows the five verbs in order. Pages are staged while they are fetched: the fetcher
appends each to the checkpoint of the table, and an interrupted sync resumes by reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe._warnings import deferred_warnings
from pdframe.api.client import Client
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.store import Manifest, Store, Stored
from pdframe.errors import DamagedError
from pdframe.fields import Field, name_columns
from pdframe.frames import storage_schema
from pdframe.schema import Table
from pdframe.sync import line_items
from pdframe.sync.children import ChildrenSync, Want
from pdframe.sync.concurrency import prefetch
from pdframe.sync.deletions import Deletions, keeps_deleted
from pdframe.sync.fetch import Fetcher, stage_page
from pdframe.sync.fetch_result import FetchResult, RestartRequiredError
from pdframe.sync.fetch_state import parents_name
from pdframe.sync.full import FullScan, update_times
from pdframe.sync.merge import Counts, Merger, drop_deleted, newest_rows
from pdframe.sync.plan import Policy, lists_of, plan
from pdframe.sync.range_scan import Times
from pdframe.sync.repair import quarantine_damaged
from pdframe.sync.snapshot import append_snapshot, snapshot_columns

Mode = Literal["full", "incremental", "skipped", "unavailable"]


class Outcome(NamedTuple):
    """How a table was brought up to date, what that changed, and a note for the user."""

    mode: Mode
    counts: Counts
    note: str


@dataclass(slots=True)
class _Work:
    """The planned sync of a table: how it runs, and what is cached of it (None: nothing usable).

    `full_at` is when the last full load began, once this sync is committed.
    """

    mode: Mode
    note: str
    began: datetime
    manifest: Manifest | None
    cached: Stored | None
    full_at: datetime
    reads_deletions: bool = True
    is_restarted: bool = False


class TableSync:
    """Sync one table.

    Parameters
    ----------
    client, store
        The HTTP client, and the cache.
    table, fields
        The table, and its field metadata.
    tick
        Called with the number of rows after each page, for a progress bar.
    now
        This machine's clock.
    policy
        What must be reloaded, and what may stay.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        table: Table,
        fields: Sequence[Field],
        *,
        tick: Callable[[int], None],
        now: Callable[[], datetime],
        policy: Policy,
    ) -> None:
        self.client = client
        self.store = store
        self.table = table
        self.fields = fields
        self.tick = tick
        self.now = now
        self.policy = policy
        self.options = policy.options
        self.fetcher = Fetcher(client, table, fields, tick, policy.options)
        self._deletions: Deletions | None = None
        self._keep_basis: Callable[[], None] = lambda: None

    def run(self) -> Outcome:
        """Bring the table up to date, as planned."""
        with deferred_warnings():
            if self.table.parent is not None:
                return self._run_children()
            work = self._plan()
            fetched = self._fetch(work)
            merger = Merger(self.table, self.fields, self.options)
            parts = merger.merge(
                self.store.sorted_parts(work.manifest, merger.key) if work.manifest else [],
                [*fetched.runs, merger.staged(fetched.pages)],
                fetched.deleted,
                complete=work.mode == "full",
            )
            self._commit(work, fetched, merger, parts)
            return Outcome(work.mode, merger.counts, _note(work, fetched))

    def list_deletions(self) -> None:
        """Read the lists of deletions alone, and keep the rows of deleted deals."""
        with deferred_warnings():
            manifest = self.store.manifest(self.table.name)
            self._track_deletions(
                manifest, self.store.open_table(self.table.name) if manifest else None
            )
            fetched = FetchResult(self.now())
            self.fetcher.fetch_deletions(fetched, self.table.sources)
            self._note_listed(fetched)

    # Plan

    def _plan(self) -> _Work:
        manifest, cached, note = self._open_cached()
        self._track_deletions(manifest, cached)
        now = self.now()
        planned = plan(
            self.table,
            manifest,
            self.policy,
            now,
            schema=cached.schema if cached is not None else None,
            fields=self.fields,
            deletions_listed_at=(
                DeletedDeals(self.store).listed_at if keeps_deleted(self.table) else None
            ),
        )
        full_at = manifest.full_at if manifest and planned.mode == "incremental" else now
        return _Work(
            planned.mode,
            note or planned.note,
            now,
            manifest,
            cached,
            full_at,
            reads_deletions=planned.reads_deletions,
        )

    def _open_cached(self, name: str = "") -> tuple[Manifest | None, Stored | None, str]:
        """Open what is cached of the table, or of another `name`; quarantine it where it is
        damaged.
        """
        name = name or self.table.name
        try:
            manifest = self.store.manifest(name)
            return manifest, self.store.open_table(name) if manifest else None, ""
        except DamagedError as error:
            quarantine_damaged(self.store, error)
            return None, None, "the cached copy could not be trusted: reloaded"

    # Fetch and stage

    def _fetch(self, work: _Work) -> FetchResult:
        """Fetch what is planned, and stage its pages; where the fetch must restart, once more."""
        while True:
            try:
                if self.table.sources[0].batch is not None:
                    return self._fetch_lines(work)
                if work.mode == "incremental":
                    return self._fetch_changes(work)
                return self._fetch_all(work)
            except RestartRequiredError as reason:
                if work.is_restarted:
                    # Refused twice in a row: the error of the API says more than ours.
                    raise reason.__cause__ or reason from None
                self._restart(work, reason)

    def _restart(self, work: _Work, reason: RestartRequiredError) -> None:
        if work.mode == "incremental" and self.table.sources[0].batch is None:
            work.mode, work.note, work.full_at = "full", f"reloaded: {reason}", work.began
        else:
            # The staged batches of line items still count: only one cursor was refused.
            work.note, work.is_restarted = f"restarted: {reason}", True

    def _fetch_all(self, work: _Work) -> FetchResult:
        """Fetch every row of a list."""
        checkpoint = self._checkpoint() if self.table.incremental else None
        scan = FullScan(self.fetcher, checkpoint, self._expected_times(work.cached))
        try:
            fetched = scan.fetch(self.now(), self._each())
        except RestartRequiredError:
            if checkpoint is not None:
                checkpoint.drop()
            raise
        if work.cached is not None and len(self.table.sources) > 1:
            self._find_missing_rows(work.cached, fetched)
        work.full_at = fetched.began
        return fetched

    def _fetch_changes(self, work: _Work) -> FetchResult:
        """Fetch the rows of a list that changed since the last sync."""
        assert work.manifest is not None
        checkpoint = self._checkpoint(since=work.manifest)
        fetched = FetchResult(self.now(), watermarks=dict(work.manifest.state))
        try:
            self.fetcher.fetch_changes(
                fetched,
                work.manifest.server_time,
                checkpoint,
                reads_deletions=work.reads_deletions,
            )
        except RestartRequiredError:
            checkpoint.drop()
            if not fetched.resumed_pages:
                raise
            # The staged cursor has expired: once more, without it.
            return self._fetch_changes(work)
        return fetched

    def _find_missing_rows(self, cached: Stored, fetched: FetchResult) -> None:
        """Ask where the cached rows are that no page of several lists had."""
        key = self.table.key[0]

        def is_missing() -> pa.Array:
            columns = list(fetched.columns([key, "is_deleted"]))
            seen = newest_rows(pa.concat_tables(columns, promote_options="default"), key)
            present = drop_deleted(self.table, seen, ())[key].combine_chunks()
            deleted = pa.array(fetched.deleted, present.type)
            return pc.invert(
                pc.or_(*(pc.is_in(cached[key], value_set=ids) for ids in (present, deleted)))
            )

        if pc.any(is_missing()).as_py() and not fetched.first_list_reread:
            missing = cached[key].filter(is_missing()).to_pylist()
            self.fetcher.find_moved_rows(fetched, missing)
        if self.table.incremental and pc.any(is_missing()).as_py():
            # Deleted, or no longer visible: the snapshot log distinguishes these.
            lists = zip(self.table.sources, lists_of(self.table, cached), strict=True)
            self.fetcher.fetch_deletions(
                fetched,
                [
                    source
                    for source, is_in_list in lists
                    if pc.any(pc.and_(is_missing(), is_in_list)).as_py()
                ],
            )

    def _expected_times(self, cached: Stored | None) -> list[Times]:
        """Return when the cached rows of each list were updated, where a list can be read by
        ranges.
        """
        if cached is None or not any(source.windows for source in self.table.sources):
            return []
        times = pa.table({"update_time": cached["update_time"]})
        return [
            np.sort(update_times(times.filter(is_in_list)))
            for is_in_list in lists_of(self.table, cached)
        ]

    def _each(self) -> list[int]:
        """Return the ids to request a list by, one each; none where it is one list."""
        each = self.table.sources[0].each
        return self.store.read(each[1], ["id"])["id"].to_pylist() if each else []

    def _checkpoint(self, since: Manifest | None = None) -> Checkpoint:
        return Checkpoint(self.store, self.table, storage_schema(self.table, self.fields), since)

    # Line items and installments, by deal

    def _fetch_lines(self, work: _Work) -> FetchResult:
        """Fetch the lines of the deals whose fingerprint changed, or of all that can have lines."""
        name, key, manifest = self.table.name, self.table.key[0], work.manifest
        had = work.cached.read([key, "deal_id"]) if work.cached is not None else None
        before = line_items.basis(self.store, name) if work.mode == "incremental" else None
        if before is None:
            work.mode = "full"
        state = dict(manifest.state) if manifest and before else {}
        known, checkpoint = line_items.known(self.store, name), self._checkpoint()
        fetched = FetchResult(self.now(), watermarks=state)
        snapshots, batches = line_items.requested(
            name, known, before, had, counts_all=line_items.counts_all(state)
        )
        answered = line_items.take_saved(fetched, checkpoint.load(), snapshots, batches.ask)

        def fetch(ask: Collection[int], *, more: bool = False) -> pa.Table:
            def stage(rows: pa.Table, ids: Sequence[int]) -> None:
                is_in_batch = pc.is_in(snapshots["id"], value_set=pa.array(ids, pa.int64()))
                since = fetched.fetched_since or fetched.server_time
                position = Position(fetched.began, server_time=since, problems=fetched.problems)
                stage_page(
                    checkpoint,
                    fetched,
                    rows,
                    position,
                    snapshots.filter(is_in_batch),
                    options=self.options,
                )

            self.fetcher.fetch_batches(sorted(set(ask) - answered), fetched, stage, more=more)
            shown = [name for name in line_items.SHOWN if name in self.table.by_name]
            nothing = storage_schema(self.table, self.fields).empty_table().select(shown)
            return pa.concat_tables([nothing, *fetched.columns(shown)])

        void = batches.void
        if name == "deal_products" and before is None:
            # Those that count some lines may tell whether the others can have any.
            first, others = line_items.by_count(known.deals, batches.ask, had)
            rows = fetch(first, more=bool(others))
            if line_items.leaves_out(known.deals, rows) is not False:
                rows = fetch(others)
            if line_items.leaves_out(known.deals, rows) is False:
                state[line_items.COUNTS] = line_items.COUNTS_ALL
                snapshots, _ = line_items.requested(name, known, None, None, counts_all=True)
        else:
            rows = fetch(batches.ask)
            if line_items.counts_all(state) and line_items.leaves_out(known.deals, rows):
                del state[line_items.COUNTS]
                snapshots, rest = line_items.requested(
                    name, known, line_items.Basis(snapshots, None), had, counts_all=False
                )
                rows = fetch(set(rest.ask) - set(batches.ask))
                void = pa.array(sorted({*void.to_pylist(), *rest.ask}), pa.int64())
        if work.mode == "incremental" and had is not None:
            fetched.deleted = line_items.removed(had, rows[key].combine_chunks(), void, key)
        else:
            work.full_at = line_items.proven_since(self.store, name, fetched.began)
        settled = line_items.settled(snapshots, before, batches.ask, fetched.server_time)
        self._keep_basis = lambda: line_items.keep_basis(
            self.store, name, settled, work.began, fetched.server_time
        )
        return fetched

    # Record by record

    def _run_children(self) -> Outcome:
        """Sync a table that the API gives record by record: of every record that it lists, or of
        those that were requested before.
        """
        planned = plan(self.table, self._open_cached()[0], self.policy, self.now())
        self._open_cached(parents_name(self.table.name))
        work = ChildrenSync(
            self.client, self.store, self.table, tick=self.tick, now=self.now, options=self.options
        )
        full = self.table.name in self.policy.reload
        requested = work.bring(Want(None, full, now=True, listed=True))
        manifest = self.store.manifest(self.table.name)
        if (
            not requested
            and self.table.parent is not None
            and not self.table.parent.every
            and not (manifest and manifest.rows)
        ):
            note = f"requested by id: account.{self.table.name}(ids)"
            return Outcome("skipped", work.counts, note)
        return Outcome(planned.mode, work.counts, planned.note)

    # Commit

    def _commit(
        self, work: _Work, fetched: FetchResult, merger: Merger, parts: Iterable[pa.Table | Part]
    ) -> None:
        """Write the merged parts, append the snapshot, then publish the manifest."""
        before = work.manifest
        manifest = Manifest(
            self.table.name,
            (),
            0,
            work.began,
            work.full_at,
            fetched.server_time or (before.server_time if before else None),
            fetched.watermarks,
            next_part=before.next_part if before else 1,
        )
        written = self.store.write(manifest, prefetch(iter(parts)), at_most=merger.part_bytes)
        self._append_snapshot(written, fetched, before)
        if before is not None and work.full_at == before.full_at and not merger.counts:
            # No row changed: a new column that is empty is not worth new parts.
            written = replace(written, parts=before.parts, next_part=before.next_part)
        self.store.name(written)
        self._keep_basis()
        self._drop_checkpoints(before)
        # Last: where warnings are errors, everything that was paid for is in the cache by now.
        problems = fetched.problems
        problems.merge(merger.problems)
        problems.warn(
            self.table.name, name_columns(self.fields, self.table.reserved, problems.cells)
        )

    def _append_snapshot(
        self, written: Manifest, fetched: FetchResult, before: Manifest | None
    ) -> None:
        """Keep what changed of deals or line items in the snapshot log: before their table is
        published, so that a crash between the two loses nothing.
        """
        if self._deletions is not None:
            self._deletions.add_missing(self.store.read_parts(written, ["id"]), fetched.seen_at)
            self._note_listed(fetched)
        columns = snapshot_columns(self.table.name)
        append_snapshot(
            self.store, written, self.store.read_parts(written, columns), fetched, before
        )

    def _drop_checkpoints(self, before: Manifest | None) -> None:
        """Drop both checkpoints: an interrupted reload is older than this sync, and must not be
        resumed.
        """
        if self.table.incremental or self.table.sources[0].batch is not None:
            self._checkpoint().drop()
            self._checkpoint(since=before).drop()

    def _track_deletions(self, manifest: Manifest | None, cached: Stored | None) -> None:
        """Keep rows that are found deleted from now on, of a table whose deleted rows are kept."""
        if keeps_deleted(self.table):
            self._deletions = Deletions(self.store, self.fields, manifest, cached, self.now())
            self.fetcher.keep_deleted = self._deletions.add_listed

    def _note_listed(self, fetched: FetchResult) -> None:
        """Note it where all lists of deletions were read."""
        if self._deletions is not None and fetched.deletion_lists.issuperset(
            source.path for source in self.table.sources if source.deletions
        ):
            self._deletions.note_listed(fetched.seen_at)


def _note(work: _Work, fetched: FetchResult) -> str:
    """Return the note of a sync: that it resumed, or why it runs as it does."""
    pages = fetched.resumed_pages
    return f"resumed from {pages} saved page{'s' if pages > 1 else ''}" if pages else work.note
