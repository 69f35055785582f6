"""Bring one table up to date: plan, fetch, stage, merge, commit.

`TableSync.run` shows the five verbs in order. Pages are staged while they are fetched: the fetcher
appends each to the checkpoint of the table, and an interrupted sync resumes by reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe._warnings import deferred_warnings
from pdframe.api.limits import Spent
from pdframe.cache.checkpoint import Checkpoint
from pdframe.cache.deleted_deals import WITH_DELETED, DeletedDeals, Deletions
from pdframe.cache.parts import newest_rows
from pdframe.cache.quarantine import remove_damaged
from pdframe.cache.snapshots import Kind, SnapshotLog
from pdframe.cache.store import Manifest, Store, Stored
from pdframe.errors import CacheError, DamagedError
from pdframe.fields import name_columns
from pdframe.frames import storage_schema
from pdframe.schema import TABLES, Table
from pdframe.schema.snapshots import HISTORIES, OF_DEALS
from pdframe.sync.children import ChildrenSync
from pdframe.sync.concurrency import prefetch
from pdframe.sync.fetch import Fetcher, FetchResult, RestartRequiredError
from pdframe.sync.fetch_state import Want, load_states, save_states, state_name
from pdframe.sync.full import FullScan, update_times
from pdframe.sync.line_items import LineItemsScan, complete_since
from pdframe.sync.merge import NO_CHANGE, Counts, Merger, drop_deleted
from pdframe.sync.metadata import UNEXPLAINED
from pdframe.sync.plan import UP_TO_DATE, Policy, lists_of, plan, required_rows
from pdframe.sync.range_scan import Times

Mode = Literal["full", "incremental", "skipped", "unavailable"]
FETCHED = frozenset({"full", "incremental"})
"""Modes of a table that a sync fetched."""


class Outcome(NamedTuple):
    """How a table was brought up to date, what that changed, and a note for the user."""

    mode: Mode
    counts: Counts
    note: str


@dataclass(frozen=True, slots=True)
class SyncRow:
    """What a sync did to one table: the rows that it has now, how many were added, changed and
    removed, and the cost.

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

    @property
    def was_requested(self) -> bool:
        """Whether this sync requested the table, or the interrupted one did."""
        return self.mode != "skipped" or self.note == UP_TO_DATE


def sync_row(
    store: Store, name: str, outcome: Outcome, spent: Spent | None = None, missing: str = ""
) -> SyncRow:
    """Return the row of a table that was synced, or skipped, at a cost (None: none)."""
    manifest, (mode, counts, note), spent = store.usable_manifest(name), outcome, spent or Spent()
    return SyncRow(
        name,
        mode,
        manifest.rows if manifest else None,
        counts.added,
        counts.changed,
        counts.removed,
        spent.requests,
        spent.tokens,
        round(spent.seconds, 3),
        note,
        missing,
    )


def unable(store: Store, name: str, done: Mapping[str, SyncRow]) -> SyncRow | None:
    """Return the row of a table that lacks what it requires; None where it lacks nothing."""
    lacked = [
        other
        for other in required_rows(name)
        if store.manifest(other) is None or (other in done and done[other].mode == "unavailable")
    ]
    if not lacked:
        return None
    missing = next((done[other].missing for other in lacked if other in done), "")
    note = f"needs {', '.join(lacked)}"
    return sync_row(store, name, Outcome("skipped", Counts(), note), missing=missing)


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


@dataclass
class TableSync:
    """Sync one table.

    Parameters
    ----------
    table, fetcher
        The table, and what fetches its lists.
    store
        The cache.
    now
        This machine's clock.
    policy
        What must be reloaded, and what may stay.
    spent
        What the sync costs, for the manifest.
    """

    table: Table
    fetcher: Fetcher
    store: Store
    now: Callable[[], datetime]
    policy: Policy
    spent: Spent = field(default_factory=Spent)
    _deletions: Deletions | None = None
    _states: pa.Table | None = None

    def run(self) -> Outcome:
        """Bring the table up to date, as planned."""
        with deferred_warnings():
            if self.table.parent is not None:
                return self._run_children()
            work = self._plan()
            fetched = self._fetch(work)
            merger = Merger(self.table, self.fetcher.fields, self.policy.options)
            parts = merger.merge(
                self.store.sorted_parts(work.manifest, merger.key) if work.manifest else [],
                [*fetched.runs, merger.staged(fetched.pages)],
                fetched.deleted,
                complete=work.mode == "full",
            )
            self._commit(work, fetched, merger, parts)
            if pages := fetched.resumed_pages:
                work.note = f"resumed from {pages} saved page{'s' if pages > 1 else ''}"
            return Outcome(work.mode, merger.counts, work.note)

    def list_deletions(self) -> None:
        """Read the lists of deletions alone, and keep the rows of deleted deals."""
        with deferred_warnings():
            manifest = self.store.manifest(self.table.name)
            self._track_deletions(
                manifest, self.store.open_table(self.table.name) if manifest else None
            )
            fetched = FetchResult(self.now())
            self.fetcher.fetch_deletions(fetched, self.table.sources)
            if self._deletions is not None:
                lists, seen_at = fetched.deletion_lists, fetched.seen_at
                self._deletions.note_listed(lists, seen_at, is_merged=False)

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
            fields=self.fetcher.fields,
            deletions_merged_at=(
                DeletedDeals(self.store).listed_at(merged=True)
                if self.table.name in WITH_DELETED
                else None
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
        """Fetch every row of a table."""
        if self.table.incremental:
            fetched = self._scan(work.cached)
        else:
            each = self.table.sources[0].each
            ids = self.store.read(each[1], ["id"])["id"].to_pylist() if each else []
            fetched = FetchResult(self.now())
            self.fetcher.fetch_list(fetched, ids)
        if work.cached is not None and len(self.table.sources) > 1:
            self._find_missing_rows(work.cached, fetched)
        work.full_at = fetched.began
        return fetched

    def _scan(self, cached: Stored | None) -> FetchResult:
        """Fetch every row of a table that reports changes; such a fetch is staged, and resumes."""
        checkpoint = self._checkpoint()
        expected: list[Times] = []
        if cached is not None and any(source.windows for source in self.table.sources):
            # When the cached rows of each list were updated: such a list is read by ranges.
            times = pa.table({"update_time": cached["update_time"]})
            lists = lists_of(self.table, cached)
            expected = [np.sort(update_times(times.filter(is_in_list))) for is_in_list in lists]
        try:
            return FullScan(self.fetcher, checkpoint, expected).fetch(self.now())
        except RestartRequiredError:
            checkpoint.drop()
            raise

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

    def _checkpoint(self, since: Manifest | None = None) -> Checkpoint:
        return Checkpoint(
            self.store,
            self.table,
            storage_schema(self.table, self.fetcher.fields),
            since,
        )

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
            self.fetcher.client,
            self.store,
            self.table,
            tick=self.fetcher.tick,
            now=self.now,
            options=self.policy.options,
        )
        full = self.table.name in self.policy.reload - self.policy.finished
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
        state = before.state if before else {}
        kept = {key: digest for key, digest in state.items() if key.startswith(UNEXPLAINED)}
        manifest = Manifest(
            self.table.name,
            (),
            0,
            work.began,
            work.full_at,
            fetched.server_time or (before.server_time if before else None),
            {**kept, **fetched.watermarks},
            next_part=before.next_part if before else 1,
            tokens=self.spent.tokens,
            server_clock=self.fetcher.client.server_clock
            or (before.server_clock if before else None),
        )
        if fetched.runs or (before is not None and len(before.parts) > 1):
            # Of a long table, the next range is merged while one is written.
            parts = prefetch(iter(parts))
        written = self.store.write_parts(manifest, parts, max_part_bytes=merger.part_bytes)
        # What changed and what is missing is kept before the table is published: a crash between
        # the two loses nothing.
        if self._deletions is not None:
            self._deletions.add_missing(self.store.read_parts(written, ["id"]), fetched.seen_at)
        if self.table.name in HISTORIES:
            append_snapshot(self.store, written, fetched, before)
        if before is not None and work.full_at == before.full_at and merger.counts == NO_CHANGE:
            # No row changed: a new column that is empty is not worth new parts.
            written = replace(written, parts=before.parts, next_part=before.next_part)
        self.store.publish(written)
        if self._deletions is not None:
            lists = fetched.deletion_lists
            self._deletions.note_listed(lists, fetched.seen_at, is_merged=True)
        if self._states is not None:
            # After the rows: a deal without a state is fetched again.
            save_states(self.store, self.table.name, self._states, work.began)
        if self.table.is_staged:
            # Both: an interrupted reload is older than this sync, and must not be resumed.
            self._checkpoint().drop()
            self._checkpoint(since=before).drop()
        # Last: where warnings are errors, everything that was paid for is in the cache by now.
        problems = fetched.problems
        problems.merge(merger.problems)
        if problems.cells or problems.rows:
            names = name_columns(self.fetcher.fields, self.table.reserved, problems.cells)
            problems.warn(self.table.name, names)

    def _track_deletions(self, manifest: Manifest | None, cached: Stored | None) -> None:
        """Keep rows that are found deleted from now on, of a table whose deleted rows are kept."""
        if self.table.name in WITH_DELETED:
            last_sync_at = manifest.server_time if manifest and cached is not None else None
            kept = DeletedDeals(self.store, self.fetcher.fields)
            self._deletions = Deletions(kept, cached, last_sync_at, self.now())
            self.fetcher.keep_deleted = self._deletions.add_listed


def append_snapshot(
    store: Store,
    manifest: Manifest,
    fetched: FetchResult,
    before: Manifest | None,
) -> None:
    """Append a snapshot of deals or line items to their log.

    Parameters
    ----------
    store
        The cache.
    manifest
        The table that is about to be published.
    fetched
        What it was made from.
    before
        The manifest that it replaces.
    """
    tracked = HISTORIES[manifest.table]
    kind: Kind = "incremental"
    if before is None or manifest.full_at != before.full_at:
        kind = "resumed" if fetched.resumed_pages else "full"
    history = SnapshotLog(store, tracked)
    has_rows = fetched.deleted or any(rows.num_rows for rows in fetched.columns(["id"]))
    if kind == "incremental" and fetched.seen_at is None and not has_rows and history.has_begun:
        return  # no answer was received, and no row is known to be deleted
    seen_at, deleted = fetched.seen_at, list(fetched.deleted)
    if "is_deleted" in TABLES[manifest.table].by_name:
        # Else a server may send a flag that nothing declares: it is text of unknown meaning.
        for rows in fetched.columns(["id", "is_deleted"]):
            if "is_deleted" in rows.column_names:
                is_flagged = pc.fill_null(rows["is_deleted"], False)
                deleted += rows.filter(is_flagged)["id"].to_pylist()
    if manifest.table == OF_DEALS.of:
        # Changes are fetched from the live list first: what was stamped up to the newest of these
        # was found in one list or another. A full sync reads the live list last.
        sources = TABLES[manifest.table].sources
        newest = fetched.watermarks.get(sources[-1 if kind == "full" else 0].path)
        complete_to = datetime.fromisoformat(newest).astimezone(UTC) if newest else None
    else:
        complete_to = fetched.fetched_since if fetched.resumed_pages else fetched.server_time
        if kind == "incremental" and not history.has_begun:
            # The first snapshot of a table that an older version loaded: most rows are as old as
            # that load.
            complete_to, seen_at = None, seen_at or (before.server_time if before else None)
        # Line items that were deleted with their deal are missing without a request for any.
        seen_at = seen_at or _last_sync_at(store)
    columns = dict.fromkeys(("id", *tracked.tracked, "update_time", "add_time"))
    history.append(
        store.read_parts(manifest, list(columns)),
        kind,
        seen_at=seen_at,
        complete_to=complete_to,
        now=manifest.synced_at,
        deleted=deleted,
    )


def _last_sync_at(store: Store) -> datetime | None:
    """Return the server's time of the last snapshot of deals."""
    try:
        snapshots = SnapshotLog(store, OF_DEALS).snapshots()
    except CacheError:
        return None
    newest: datetime | None = pc.max(
        snapshots.filter(snapshots["is_server_time"])["seen_at"]
    ).as_py()
    return newest
