"""The work on one table: choose the way, pull, merge, keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe._warnings import deferred_warnings
from pdframe.api.client import Client
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.cache.store import Manifest, Store, Stored
from pdframe.errors import DamagedError
from pdframe.fields import Field, name_columns
from pdframe.frames import storage_schema
from pdframe.schema import Table
from pdframe.sync import line_items
from pdframe.sync.children import ChildrenSync, Want
from pdframe.sync.compare import Counts, Merge, newest_rows, replace_all
from pdframe.sync.concurrency import prefetch
from pdframe.sync.deletions import Deletions, keeps_deleted
from pdframe.sync.fetch import Fetcher, keep_page
from pdframe.sync.fetch_result import (
    DELETIONS_KEPT,
    FetchResult,
    RestartRequiredError,
    can_fetch_changes,
)
from pdframe.sync.fetch_state import parents_name
from pdframe.sync.full import FullScan, times_of
from pdframe.sync.merge import ByParts, present
from pdframe.sync.options import SyncOptions
from pdframe.sync.plan import full_reload_reason, lists_of
from pdframe.sync.range_scan import Times
from pdframe.sync.repair import quarantine_damaged
from pdframe.sync.snapshot import append_snapshot, snapshot_columns

Mode = Literal["full", "incremental", "skipped", "unavailable"]


class Outcome(NamedTuple):
    """By which way a table was brought up to date, what that changed, and what is to be said of
    it.
    """

    mode: Mode
    counts: Counts
    note: str


class Work:
    """The work on one table.

    Parameters
    ----------
    client, store
        Who asks, and where it is kept.
    table, fields
        The table, and its field metadata.
    tick
        Called with the number of rows as they come.
    now
        This machine's clock.
    full_every
        How old the last full load may be; None: any age.
    options
        Sizes, numbers of threads and thresholds.
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
        full_every: timedelta | None,
        options: SyncOptions,
    ) -> None:
        self.client = client
        self.store = store
        self.table = table
        self.fields = fields
        self.tick = tick
        self.now = now
        self.full_every = full_every
        self.options = options
        self.puller = Fetcher(client, table, fields, tick, options)
        self._deletions: Deletions | None = None

    def do(self, *, full: bool) -> Outcome:
        """Bring the table up to date; with `full`, load all of it."""
        with deferred_warnings():
            return self._do(full)

    def list_deletions(self) -> None:
        """Read the lists of deletions alone, and keep the rows of deleted deals."""
        with deferred_warnings():
            manifest = self.store.manifest(self.table.name)
            self._keep_deletions(
                manifest, self.store.open_table(self.table.name) if manifest else None
            )
            pull = FetchResult(self.now())
            self.puller.fetch_deletions(pull, self.table.sources)
            self._note_listed(pull)

    def _do(self, full: bool) -> Outcome:
        if self.table.parent is not None:
            return self._records(full)
        manifest, cached, note = self._cached()
        self._keep_deletions(manifest, cached)
        if (
            manifest is not None
            and not full
            and (
                reason := full_reload_reason(
                    self.table, manifest, self.now(), self.full_every, self.options
                )
            )
            is not None
        ):
            full, note = True, reason
        if self.table.sources[0].batch is not None:
            # The batches that came whole are saved: only the one whose cursor was refused is asked
            # again.
            return _once_more(lambda note: self._lines(manifest, cached, note, full=full), note)
        if manifest is not None and cached is not None and not full:
            try:
                return self._changes(manifest, cached)
            except RestartRequiredError as reason:
                note = f"loaded anew: {reason}" if str(reason) else ""
        return _once_more(lambda note: self._full(manifest, cached, note), note)

    # A list

    def _full(self, manifest: Manifest | None, cached: Stored | None, note: str) -> Outcome:
        """Every row of a list."""
        pending, started = self._pending() if self.table.incremental else None, self.now()
        try:
            pull = FullScan(self.puller, pending, self._expected(cached)).pull(
                started, self._each()
            )
        except RestartRequiredError:
            if pending is not None:
                pending.drop()
            raise
        if cached is not None and len(self.table.sources) > 1:
            self._account_for(cached, pull)
        key = self.table.key[0]
        if pull.runs:
            made = ByParts(self.table, self.fields, self.options)
            old = self.store.sorted_parts(manifest, key) if manifest and cached else []
            counts = self._keep_parts(
                made, made.complete(pull, old), pull, manifest, started, full_at=pull.began
            )
        else:
            rows = present(
                self.table, newest_rows(pull.rows(self.table, self.fields), key), pull.removed
            )
            merge = replace_all(cached.read() if cached else None, rows, key)
            self._keep(merge, pull, manifest, started, full_at=pull.began)
            counts = merge.counts
        if pending is not None:
            pending.drop()
            self._pending(since=manifest).drop()
        return Outcome("full", counts, _went_on(pull, note))

    def _account_for(self, cached: Stored, pull: FetchResult) -> None:
        """Ask where the cached rows are that a walk of several lists did not meet."""
        key = self.table.key[0]

        def missing() -> pa.Array:
            seen = newest_rows(
                pa.concat_tables(pull.columns([key, "is_deleted"]), promote_options="default"), key
            )
            met, removed = (
                present(self.table, seen, ())[key],
                pa.chunked_array([pa.array(pull.removed, seen.schema.field(key).type)]),
            )
            return pc.invert(
                pc.or_(
                    *(
                        pc.is_in(cached[key], value_set=ids.combine_chunks())
                        for ids in (met, removed)
                    )
                )
            )

        if pc.any(missing()).as_py() and not pull.first_list_reread:
            self.puller.find_moved_rows(pull, cached[key].filter(missing()).to_pylist())
        if self.table.incremental and pc.any(missing()).as_py():
            # Deleted, or out of sight: the kept history tells these apart.
            lost = [
                source
                for source, there in zip(
                    self.table.sources, lists_of(self.table, cached), strict=True
                )
                if pc.any(pc.and_(missing(), there)).as_py()
            ]
            self.puller.fetch_deletions(pull, lost)

    def _changes(self, manifest: Manifest, cached: Stored) -> Outcome:
        """The rows of a list that changed since the last look."""
        if not can_fetch_changes(self.table, cached.schema, self.fields, manifest.state):
            raise RestartRequiredError
        began = self.now()
        if began - manifest.synced_at > DELETIONS_KEPT:
            raise RestartRequiredError("deletions are listed for 30 days alone")
        pull, pending = (
            FetchResult(began, state=dict(manifest.state)),
            self._pending(since=manifest),
        )
        try:
            self.puller.fetch_changes(pull, manifest.server_time, pending)
        except RestartRequiredError:
            pending.drop()
            if pull.saved:
                return self._changes(manifest, cached)
            raise
        made = ByParts(self.table, self.fields, self.options)
        parts = made.changed(pull, self.store.sorted_parts(manifest, self.table.key[0]))
        counts = self._keep_parts(made, parts, pull, manifest, began, full_at=manifest.full_at)
        pending.drop()
        # What an interrupted reload had saved is older than this: a later reload must not go on
        # from it.
        self._pending().drop()
        return Outcome("incremental", counts, _went_on(pull, ""))

    def _expected(self, cached: Stored | None) -> list[Times]:
        """When the rows of each list that can be walked by windows were updated, as they are
        cached.
        """
        if cached is None or not any(source.windows for source in self.table.sources):
            return []
        times = pa.table({"update_time": cached["update_time"]})
        return [np.sort(times_of(times.filter(there))) for there in lists_of(self.table, cached)]

    def _each(self) -> list[int]:
        """The ids that the list is asked for by, one by one; none where it is one list."""
        each = self.table.sources[0].each
        return self.store.read(each[1], ["id"])["id"].to_pylist() if each else []

    # Lines of deals

    def _lines(
        self, manifest: Manifest | None, cached: Stored | None, note: str, *, full: bool
    ) -> Outcome:
        """The lines of the deals that look different from when they were asked for; of every deal
        that can have any.
        """
        name, key, began = self.table.name, self.table.key[0], self.now()
        had = cached.read([key, "deal_id"]) if cached is not None else None
        before = (
            line_items.basis(self.store, name)
            if manifest and had is not None and not full
            else None
        )
        state = dict(manifest.state) if manifest and before else {}
        known, pull, pending = (
            line_items.known(self.store, name),
            FetchResult(began, state=state),
            self._pending(),
        )
        snapshots, plan = line_items.requested(
            name, known, before, had, counts_all=line_items.counts_all(state)
        )
        answered = line_items.take_saved(pull, pending.load(), snapshots, plan.ask)

        def bring(ask: Collection[int], *, more: bool = False) -> pa.Table:
            def keep(rows: pa.Table, ids: Sequence[int]) -> None:
                note = snapshots.filter(
                    pc.is_in(snapshots["id"], value_set=pa.array(ids, pa.int64()))
                )
                since = pull.fetched_since or pull.server_time
                keep_page(
                    pending,
                    pull,
                    rows,
                    Position(pull.began, server_time=since, problems=pull.problems),
                    note,
                    options=self.options,
                )

            self.puller.fetch_batches(sorted(set(ask) - answered), pull, keep, more=more)
            shown = [name for name in line_items.SHOWN if name in self.table.by_name]
            nothing = storage_schema(self.table, self.fields).empty_table().select(shown)
            return pa.concat_tables([nothing, *pull.columns(shown)])

        void = plan.void
        if name == "deal_products" and before is None:
            # Those that count some lines may tell whether the others can have any.
            first, others = line_items.by_count(known.deals, plan.ask, had)
            rows = bring(first, more=bool(others))
            if line_items.leaves_out(known.deals, rows) is not False:
                rows = bring(others)
            if line_items.leaves_out(known.deals, rows) is False:
                state[line_items.COUNTS] = line_items.COUNTS_ALL
                snapshots, _ = line_items.requested(name, known, None, None, counts_all=True)
        else:
            rows = bring(plan.ask)
            if line_items.counts_all(state) and line_items.leaves_out(known.deals, rows):
                del state[line_items.COUNTS]
                snapshots, rest = line_items.requested(
                    name, known, line_items.Basis(snapshots, None), had, counts_all=False
                )
                rows = bring(set(rest.ask) - set(plan.ask))
                void = pa.array(sorted({*void.to_pylist(), *rest.ask}), pa.int64())
        mode: Mode = "full" if before is None or had is None else "incremental"
        made = ByParts(self.table, self.fields, self.options)
        old = self.store.sorted_parts(manifest, key) if manifest and had is not None else []
        if before is None or had is None:
            parts: Iterable[pa.Table | Part] = made.complete(pull, old)
        else:
            pull.removed = line_items.removed(had, rows[key].combine_chunks(), void, key)
            parts = made.changed(pull, old)
        full_at = (
            line_items.proven_since(self.store, name, pull.began)
            if mode == "full" or manifest is None
            else manifest.full_at
        )
        counts = self._keep_parts(made, parts, pull, manifest, began, full_at=full_at)
        line_items.keep_basis(
            self.store,
            name,
            line_items.settled(snapshots, before, plan.ask, pull.server_time),
            began,
            pull.server_time,
        )
        pending.drop()
        return Outcome(mode, counts, _went_on(pull, note))

    # Record by record

    def _records(self, full: bool) -> Outcome:
        """A table by record: every record that the API lists, or where nobody asks for every one,
        those that were asked for before.
        """
        known = self._cached()[0] is not None
        self._cached(parents_name(self.table.name))
        work = ChildrenSync(
            self.client,
            self.store,
            self.table,
            tick=self.tick,
            now=self.now,
            options=self.options,
        )
        requested = work.bring(Want(None, full, now=True, listed=True))
        manifest = self.store.manifest(self.table.name)
        if (
            not requested
            and self.table.parent is not None
            and not self.table.parent.every
            and not (manifest and manifest.rows)
        ):
            return Outcome(
                "skipped", work.counts, f"asked for by id: account.{self.table.name}(ids)"
            )
        return Outcome("incremental" if known and not full else "full", work.counts, "")

    # Keeping

    def _cached(self, name: str = "") -> tuple[Manifest | None, Stored | None, str]:
        """What is cached of the table, or of what stands beside it; nothing where it is damaged,
        after moving that aside.
        """
        name = name or self.table.name
        try:
            manifest = self.store.manifest(name)
            return manifest, self.store.open_table(name) if manifest else None, ""
        except DamagedError as error:
            quarantine_damaged(self.store, error)
            return None, None, "the cached copy could not be trusted: loaded anew"

    def _pending(self, since: Manifest | None = None) -> Checkpoint:
        return Checkpoint(self.store, self.table, storage_schema(self.table, self.fields), since)

    def _keep_deletions(self, manifest: Manifest | None, cached: Stored | None) -> None:
        """Begin to keep the rows that are found deleted, of a table where they are kept."""
        if keeps_deleted(self.table):
            self._deletions = Deletions(self.store, self.fields, manifest, cached, self.now())
            self.puller.keep_deleted = self._deletions.listed

    def _note_listed(self, pull: FetchResult) -> None:
        """Note where all lists of deletions were read."""
        if self._deletions is not None and pull.listed.issuperset(
            source.path for source in self.table.sources if source.deletions
        ):
            self._deletions.note_listed(pull.seen_at)

    def _snapshot(
        self,
        manifest: Manifest,
        pieces: Callable[[Sequence[str]], Iterable[pa.Table]],
        pull: FetchResult,
        before: Manifest | None,
    ) -> None:
        """Keep what was found of deals or line items, before their table is written; `pieces` gives
        some columns of its rows.
        """
        if self._deletions is not None:
            self._deletions.missing(pieces(["id"]), pull.seen_at)
            self._note_listed(pull)
        append_snapshot(
            self.store, manifest, pieces(snapshot_columns(self.table.name)), pull, before
        )

    def _keep(
        self,
        merge: Merge,
        pull: FetchResult,
        before: Manifest | None,
        began: datetime,
        *,
        full_at: datetime,
    ) -> None:
        manifest = self._manifest(merge.table.num_rows, pull, before, began, full_at)
        self._snapshot(manifest, lambda columns: [merge.table], pull, before)
        if before is not None and full_at == before.full_at and not merge.counts:
            self.store.touch(manifest)
        else:
            self.store.replace(manifest, merge.table)
        self._warn(pull)

    def _keep_parts(
        self,
        made: ByParts,
        parts: Iterable[pa.Table | Part],
        pull: FetchResult,
        before: Manifest | None,
        began: datetime,
        *,
        full_at: datetime,
    ) -> Counts:
        """Keep a table as it is made, part by part."""
        written = self.store.write(
            self._manifest(0, pull, before, began, full_at), prefetch(iter(parts))
        )
        # The parts are on disk: a look reads them one by one.
        self._snapshot(
            written, lambda columns: self.store.read_parts(written, columns), pull, before
        )
        if before is not None and full_at == before.full_at and not made.counts:
            # What was written for other columns alone is not worth it.
            written = replace(written, parts=before.parts, next_part=before.next_part)
        self.store.name(written)
        pull.problems.merge(made.problems)
        self._warn(pull)
        return made.counts

    def _manifest(
        self,
        rows: int,
        pull: FetchResult,
        before: Manifest | None,
        began: datetime,
        full_at: datetime,
    ) -> Manifest:
        server_time = pull.server_time or (before.server_time if before else None)
        parts, number = (before.parts, before.next_part) if before else ((), 1)
        return Manifest(
            self.table.name, parts, rows, began, full_at, server_time, pull.state, next_part=number
        )

    def _warn(self, pull: FetchResult) -> None:
        # Told last: where warnings are errors, what was paid for is kept all the same.
        pull.problems.warn(
            self.table.name, name_columns(self.fields, self.table.reserved, pull.problems.cells)
        )


def _went_on(pull: FetchResult, note: str) -> str:
    """What is to be said of a pull: that it used saved pages, or else the note."""
    return (
        f"went on from {pull.saved} saved page{'s' if pull.saved > 1 else ''}"
        if pull.saved
        else note
    )


def _once_more(attempt: Callable[[str], Outcome], note: str) -> Outcome:
    """Make an attempt, and where it must start again, one more."""
    try:
        return attempt(note)
    except RestartRequiredError as reason:
        note = f"begun again: {reason}"
    try:
        return attempt(note)
    except RestartRequiredError as again:
        # Refused twice in a row: the error of the API says more than ours.
        raise again.__cause__ or again from None
