"""Bring one table up to date: plan, fetch, stage, merge, commit.

`TableSync.run` shows the five verbs in order. Pages are staged while they are fetched: the fetcher
appends each to the checkpoint of the table, and an interrupted sync resumes by reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe._warnings import deferred_warnings
from pdframe.api.client import Client
from pdframe.cache.checkpoint import Checkpoint
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.quarantine import remove_damaged
from pdframe.cache.store import Manifest, Store, Stored
from pdframe.errors import DamagedError
from pdframe.fields import Field, name_columns
from pdframe.frames import storage_schema
from pdframe.schema import Table
from pdframe.sync.children import ChildrenSync
from pdframe.sync.concurrency import prefetch
from pdframe.sync.deletions import Deletions, keeps_deleted
from pdframe.sync.fetch import Fetcher
from pdframe.sync.fetch_result import FetchResult, RestartRequiredError
from pdframe.sync.fetch_state import Want, load_states, save_states, state_name
from pdframe.sync.full import FullScan, update_times
from pdframe.sync.line_items import LineItemsScan, complete_since
from pdframe.sync.merge import Counts, Merger, drop_deleted, newest_rows
from pdframe.sync.metadata import unexplained_notes
from pdframe.sync.plan import Policy, lists_of, plan
from pdframe.sync.range_scan import Times
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
        self._states: pa.Table | None = None

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
            self._note_listed(fetched, is_merged=False)

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
            deletions_merged_at=(
                DeletedDeals(self.store).merged_at if keeps_deleted(self.table) else None
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
            remove_damaged(self.store, error)
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

    # Children: by deal, or record by record

    def _fetch_lines(self, work: _Work) -> FetchResult:
        """Fetch line items or installments: of the deals that changed, or of all."""
        cached = work.cached.read([self.table.key[0], "deal_id"]) if work.cached else None
        states = None
        if work.mode == "incremental":
            self._open_cached(state_name(self.table.name))
            states = load_states(self.store, self.table.name)
        if states is None or not states.num_rows or work.manifest is None:
            work.mode, states = "full", None
        watermarks = dict(work.manifest.state) if work.manifest and states is not None else {}
        scan = LineItemsScan(self.fetcher, self.store, self._checkpoint(), self.now)
        fetched = scan.fetch(cached, states, watermarks)
        if work.mode == "full":
            work.full_at = complete_since(self.store, self.table.name, fetched.began)
        self._states = scan.states
        return fetched

    def _run_children(self) -> Outcome:
        """Sync a table that the API gives record by record: of every record that it lists, or of
        those that were requested before.
        """
        planned = plan(self.table, self._open_cached()[0], self.policy, self.now())
        self._open_cached(state_name(self.table.name))
        children = ChildrenSync(
            self.client, self.store, self.table, tick=self.tick, now=self.now, options=self.options
        )
        full = self.table.name in self.policy.reload
        fetched = children.run(Want(None, full, now=True, listed=True))
        manifest = self.store.manifest(self.table.name)
        if (
            not fetched
            and self.table.parent is not None
            and not self.table.parent.every
            and not (manifest and manifest.rows)
        ):
            note = f"requested by id: account.{self.table.name}(ids)"
            return Outcome("skipped", children.counts, note)
        return Outcome(planned.mode, children.counts, planned.note)

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
            {**(unexplained_notes(before.state) if before else {}), **fetched.watermarks},
            next_part=before.next_part if before else 1,
        )
        written = self.store.write_parts(
            manifest, prefetch(iter(parts)), max_part_bytes=merger.part_bytes
        )
        self._append_snapshot(written, fetched, before)
        if before is not None and work.full_at == before.full_at and not merger.counts:
            # No row changed: a new column that is empty is not worth new parts.
            written = replace(written, parts=before.parts, next_part=before.next_part)
        self.store.publish(written)
        self._note_listed(fetched, is_merged=True)
        if self._states is not None:
            # After the rows: a deal without a state is fetched again.
            save_states(self.store, self.table.name, self._states, work.began)
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

    def _note_listed(self, fetched: FetchResult, *, is_merged: bool) -> None:
        """Note it where all lists of deletions were read."""
        if self._deletions is not None and fetched.deletion_lists.issuperset(
            source.path for source in self.table.sources if source.deletions
        ):
            self._deletions.note_listed(fetched.seen_at, is_merged=is_merged)


def _note(work: _Work, fetched: FetchResult) -> str:
    """Return the note of a sync: that it resumed, or why it runs as it does."""
    pages = fetched.resumed_pages
    return f"resumed from {pages} saved page{'s' if pages > 1 else ''}" if pages else work.note
