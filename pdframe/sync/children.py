"""Tables that the API gives record by record: which records to ask for, what came of each, and
going on after an interruption.

Rows are kept by the record they hang on and replaced as a whole when it is asked again.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client, Page
from pdframe.api.pagination import another_list
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError, NotCachedError, PdframeError, ResponseError
from pdframe.frames import Problems, storage_schema, to_arrow
from pdframe.schema import Table
from pdframe.sync import line_items
from pdframe.sync.concurrency import map_ordered
from pdframe.sync.fetch import BAD_REQUEST, NOT_FOUND, pages_of
from pdframe.sync.fetch_state import (
    FetchState,
    add_fetch_states,
    load_fetch_states,
    replace_fetch_states,
)
from pdframe.sync.merge import Counts, Merger
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

# An interrupted load goes on where it stood for so long; after that, what it had is as old as any
# other answer.
GOES_ON = timedelta(days=7)
# Of a list that was just read, so many records in a row cannot all be gone: then the API does not
# have this path.
MISSING_IN_A_ROW = 5
EVERY_AT = "every_at"
_ROUND = ("round", "round_of", "round_full")


@dataclass(frozen=True, slots=True)
class Want:
    """What a load is to do.

    Parameters
    ----------
    ids
        The records; None: every one.
    full
        Ask for all of them, whatever is known.
    now
        Ask without regard to age.
    max_age
        How old an answer may be otherwise; None: any age.
    listed
        Whether the list of the records is as fresh as that: then the records' looks tell which of
        them changed.
    """

    ids: Sequence[int] | None
    full: bool = False
    now: bool = False
    max_age: timedelta | None = None
    listed: bool = False


@dataclass(slots=True)
class _Known:
    """What was cached: the manifest, and what is known of each record."""

    manifest: Manifest | None
    requested: dict[int, FetchState]


@dataclass(slots=True)
class _Fresh:
    """What came since the last save."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    requested: dict[int, FetchState] = field(default_factory=dict)


def is_unfinished(manifest: Manifest) -> bool:
    """Whether a load of that table was interrupted, and not gone on with yet."""
    return _ROUND[0] in manifest.state


class ChildrenSync:
    """Brings one table up to date record by record.

    Parameters
    ----------
    client, store
        Who asks, and where it is kept.
    table
        The table; it has a `parent`.
    tick
        Called with the number of rows after each record, for a progress bar.
    now
        This machine's clock.
    options
        Page size, number of threads, and how often answers are saved.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        table: Table,
        *,
        tick: Callable[[int], None],
        now: Callable[[], datetime],
        options: SyncOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.client = client
        self.options = options
        self.store = store
        self.table = table
        self.parent = table.required_parent
        self.tick = tick
        self.now = now
        self.problems = Problems()
        self._merger = Merger(table, options=options)

    @property
    def counts(self) -> Counts:
        """What was changed so far."""
        return self._merger.counts

    def bring(self, want: Want) -> int:
        """Ask for what is due, and keep it.

        Parameters
        ----------
        want
            What is to be done.

        Returns
        -------
        int
            How many records were asked for.

        Raises
        ------
        DamagedError
            What is cached is not as it was written.
        PdframeError
            The API did not answer. The records that were finished are kept, and the same call goes
            on with the rest.
        """
        known = self._known()
        snapshots = self._snapshots()
        wanted = self._wanted(want, known)
        began, state = self._round(want, wanted, known)
        due = self._due(wanted, want, known, snapshots, began)
        if want.ids is None and not self.parent.history:
            self._forget(known, set(known.requested) - set(wanted))
        manifest = known.manifest
        before = dict(manifest.state) if manifest else {}
        kept = {
            key: value
            for key, value in before.items()
            if key not in _ROUND or before.get("round_of") != state["round_of"]
        }
        every = want.ids is None and self.parent.every
        fresh = self._ask(due, known, snapshots, kept | state, listed=every)
        if every:
            kept[EVERY_AT] = self.now().isoformat()
        if due or every or (manifest is None and want.ids is not None):
            self._save(known, fresh, kept)
        self.problems.merge(self._merger.problems)
        self.problems.warn(self.table.name)
        return len(due)

    def due(self, want: Want) -> list[int]:
        """The records that `bring` would ask for now, as far as their cached list tells."""
        try:
            known = self._known()
        except DamagedError:
            known = _Known(None, {})
        wanted = self._wanted(want, known)
        return self._due(
            wanted, want, known, self._snapshots(), self._round(want, wanted, known)[0]
        )

    # What is known

    def _known(self) -> _Known:
        manifest = self.store.manifest(self.table.name)
        if manifest is None:
            if self.parent.history:
                self.store.check_manifest(self.table.name)
            return _Known(None, {})
        self.store.open_table(self.table.name)  # to be sure that it is as it was written
        return _Known(manifest, load_fetch_states(self.store, self.table.name))

    def _snapshots(self) -> dict[int, str]:
        """How each record looks in its cached list; nothing where that is not cached, or tells
        nothing.

        What happens to a record later in the second in which its list was read leaves no sign. It
        can only be one of those that changed last: their looks begin with a question mark, and they
        are asked again until that second is over.
        """
        signs = self.parent.fingerprint_columns
        if not signs or self.store.manifest(self.parent.table) is None:
            return {}
        rows = self.store.read(self.parent.table, ["id", *dict.fromkeys((*signs, "update_time"))])
        texts = [pc.fill_null(rows[sign].cast(pa.string()), "") for sign in signs]
        snapshots = pc.binary_join_element_wise(*texts, "|")
        unsettled = pc.fill_null(pc.equal(rows["update_time"], pc.max(rows["update_time"])), False)
        return {
            record: f"?{snapshot}" if recent else snapshot
            for record, snapshot, recent in zip(
                rows["id"].to_pylist(), snapshots.to_pylist(), unsettled.to_pylist(), strict=True
            )
        }

    def _wanted(self, want: Want, known: _Known) -> list[int]:
        if want.ids is not None:
            return sorted(set(want.ids))
        if not self.parent.every:
            return sorted(
                record for record, requested in known.requested.items() if requested.matches
            )
        if self.table.name != "discounts":
            return sorted(self.store.read(self.parent.table, ["id"])["id"].to_pylist())
        with_rows = (
            set(self.store.read(self.table.name, ["deal_id"])["deal_id"].to_pylist())
            if known.manifest
            else set()
        )
        deals = self.store.read("deals", ["id", "products_count"])
        with contextlib.suppress(NotCachedError, DamagedError):
            # The count may leave disabled lines out; nothing is lost where they are not cached, for
            # a discount is on lines that count.
            with_rows |= set(self.store.read("deal_products", ["deal_id"])["deal_id"].to_pylist())
        return sorted(
            line_items.deals_that_count_some(deals) | (with_rows & set(deals["id"].to_pylist()))
        )

    def _round(
        self, want: Want, wanted: Sequence[int], known: _Known
    ) -> tuple[datetime | None, dict[str, str]]:
        """When the round that this load goes on with began (None: it begins one), and what the
        cache must say while it is unfinished.
        """
        of = (
            "every"
            if want.ids is None
            else f"{zlib.crc32(','.join(map(str, wanted)).encode()):08x}"
        )
        state = known.manifest.state if known.manifest else {}
        if state.get("round_of") == of and (not want.full or state.get("round_full") == "yes"):
            began = datetime.fromisoformat(state["round"])
            if timedelta(0) <= self.now() - began < GOES_ON:
                return began, {key: state[key] for key in _ROUND}
        return None, dict(
            zip(_ROUND, (self.now().isoformat(), of, "yes" if want.full else "no"), strict=True)
        )

    def _due(
        self,
        wanted: Sequence[int],
        want: Want,
        known: _Known,
        snapshots: Mapping[int, str],
        began: datetime | None,
    ) -> list[int]:
        return [record for record in wanted if self._is_due(record, want, known, snapshots, began)]

    def _is_due(
        self,
        record: int,
        want: Want,
        known: _Known,
        snapshots: Mapping[int, str],
        began: datetime | None,
    ) -> bool:
        requested = known.requested.get(record)
        if requested is None:
            return True
        reported = want.listed and bool(self.parent.fingerprint_columns) and record in snapshots
        moved = reported and (requested.snapshot or "").removeprefix("?") != snapshots[
            record
        ].removeprefix("?")
        if began is not None and requested.fetched_at >= began:
            return moved
        if want.full:
            return True
        if not want.now:
            age = self.now() - requested.fetched_at
            # A time ahead of the clock means that the clock was set: trust nothing it says about
            # age.
            if want.max_age is None or -want.max_age <= age < want.max_age:
                return False
        return moved or (requested.snapshot or "?").startswith("?") if reported else True

    # Asking

    def _ask(
        self,
        due: Sequence[int],
        known: _Known,
        snapshots: Mapping[int, str],
        state: Mapping[str, str],
        *,
        listed: bool,
    ) -> _Fresh:
        """Ask for records, saving now and then; return what is not saved yet."""
        fresh, done, missing = _Fresh(), 0, 0
        try:
            for record, (at, rows, server_time) in map_ordered(
                self._answer, due, self.options.workers
            ):
                fresh.rows += rows or ()
                snapshot = _settled(snapshots.get(record), server_time, known.requested.get(record))
                fresh.requested[record] = FetchState(at, snapshot, rows is not None, server_time)
                done += 1
                missing += rows is None
                if listed and done == missing == MISSING_IN_A_ROW:
                    raise ResponseError(
                        f"None of the first {missing} {self.parent.table} that were asked for their"
                        f" {self.table.name} was found, though the cached list has them. Bring that"
                        f" list up to date: account.sync({self.parent.table!r}, full=True).",
                        status=NOT_FOUND,
                    )
                self.tick(len(rows or ()))
                if len(fresh.requested) >= self.options.save_every_records:
                    self._save(known, fresh, state)
                    fresh = _Fresh()
        except BaseException as error:
            self._save(known, fresh, state)
            if isinstance(error, PdframeError) and done:
                error.kept = (
                    f"Kept: {self.table.name} of the {done:,} {self.parent.table} that were"
                    f" finished; the same call goes on with the other {len(due) - done:,}."
                )
            raise
        return fresh

    def _answer(self, record: int) -> tuple[datetime, list[dict[str, Any]] | None, datetime | None]:
        """When a record was asked for, its rows, and the server's time: called from several
        threads.
        """
        at = self.now()
        with self.client.budget.track(self.table.name):
            return at, *self._rows_of(record)

    def _rows_of(self, record: int) -> tuple[list[dict[str, Any]] | None, datetime | None]:
        """The rows of one record, the oldest first (None: the API does not know it), and the
        server's time of the first answer.
        """
        source = self.table.sources[0]
        path = source.path.format(id=record)
        for again in (True, False):
            rows: list[dict[str, Any]] = []
            pages, server_time = 0, None
            try:
                for page in pages_of(
                    self.client, source, path=path, page_size=self.options.page_size
                ):
                    self._check_rows(page)
                    rows += page.rows
                    pages += 1
                    server_time = server_time or page.server_time
                break
            except ResponseError as error:
                if error.status == NOT_FOUND and not pages:
                    return None, None
                # A cursor that is refused on the way has expired: once more from the beginning.
                if error.status != BAD_REQUEST or not pages or not again:
                    raise
        if self.parent.newest_first:
            rows.reverse()
        if self.parent.by_field:
            rows = [part for row in rows for part in _by_field(row)]
        return [{**row, self.parent.id: record} for row in rows], server_time

    def _check_rows(self, page: Page) -> None:
        """Refuse a page of which no row has what each row of this table has: its own key, else the
        column by which rows are ordered.
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

    # Keeping

    def _save(self, known: _Known, fresh: _Fresh, state: Mapping[str, str]) -> None:
        """Put what came in the place of what was cached of the same records."""
        new, problems = to_arrow(fresh.rows, self.table)
        self.problems.merge(problems)
        known.requested |= fresh.requested
        # As it is on disk: an interruption may have come between a save and its return.
        now, before = self.now(), self.store.manifest(self.table.name)
        oldest = min((requested.fetched_at for requested in known.requested.values()), default=now)
        if self.parent.every and (listed := self.store.manifest(self.parent.table)) is not None:
            # No more complete than the list of the records is.
            oldest = min(oldest, listed.full_at)
        if before is None:
            # Of rows that were lost, what was asked for may still be known.
            replace_fetch_states(self.store, self.table.name, {}, now)
            manifest = Manifest(self.table.name, (), 0, now, oldest, None, dict(state))
            if self.parent.history:
                # Named before it has rows: rows without a manifest are those of one that was lost.
                # It claims nothing.
                unfinished = dict(zip(_ROUND, (now.isoformat(), "", "no"), strict=True))
                before = self.store.replace(
                    replace(manifest, state=unfinished), storage_schema(self.table).empty_table()
                )
                manifest = replace(before, state=manifest.state)
        else:
            manifest = replace(
                before, synced_at=now, full_at=oldest, server_time=None, state=dict(state)
            )
        received = [
            record
            for record, requested in fresh.requested.items()
            if requested.matches or not self.parent.history
        ]
        # Rows first: a record whose rows are here and that is not known to be asked for is asked
        # again, the other way round it is lost.
        self._merge(manifest, before, new, received)
        add_fetch_states(self.store, self.table.name, fresh.requested, known.requested, now)

    def _merge(
        self, manifest: Manifest, before: Manifest | None, new: pa.Table, records: Collection[int]
    ) -> None:
        """Put the rows of some records in the place of those that are cached of them."""
        cached = self.store.sorted_parts(before, self._merger.key) if before else []
        deleted = set(records).difference(new[self._merger.key].to_pylist())
        counts = self._merger.counts
        parts = self._merger.merge(cached, [self._merger.staged([new])], deleted)
        written = self.store.write(manifest, parts, at_most=self._merger.part_bytes)
        if before is not None and self._merger.counts == counts:
            written = replace(
                written, parts=before.parts, rows=before.rows, next_part=before.next_part
            )
        self.store.name(written)

    def _forget(self, known: _Known, records: Collection[int]) -> None:
        """Drop records that are gone, with their rows."""
        if known.manifest is None or not records:
            return
        known.requested = {
            record: requested
            for record, requested in known.requested.items()
            if record not in records
        }
        nothing = storage_schema(self.table).empty_table()
        self._merge(known.manifest, known.manifest, nothing, records)
        replace_fetch_states(self.store, self.table.name, known.requested, self.now())


def rows_of(store: Store, table: Table, ids: Collection[int] | None) -> pa.Table:
    """The cached rows of some records, or of every one that there is; of a table of history also
    those of records that are gone.
    """
    rows = store.read(table.name)
    parent = table.parent
    if parent is None or (ids is None and parent.history):
        return rows
    if ids is None:
        ids = store.read(parent.table, ["id"])["id"].to_pylist()
    return rows.filter(pc.is_in(rows[parent.id], value_set=pa.array(ids, pa.int64())))


def _settled(
    snapshot: str | None, server_time: datetime | None, before: FetchState | None
) -> str | None:
    """A look, no longer in doubt where the record was asked for again after the second of its
    stamp.
    """
    if (
        snapshot is None
        or before is None
        or before.snapshot is None
        or before.snapshot.removeprefix("?") != snapshot.removeprefix("?")
    ):
        return snapshot
    over = (
        before.server_time is not None
        and server_time is not None
        and server_time - before.server_time >= line_items.A_SECOND
    )
    return snapshot.removeprefix("?") if over or not before.snapshot.startswith("?") else snapshot


def _by_field(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a field out of one that holds values by field; one that does not is left as it is."""
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
