"""Fetch the lists of a table: pages become Arrow rows, and each is staged as it arrives.
`FetchResult` is what a fetch returned, with the watermarks that say how far it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._progress import Tick
from pdframe.api.client import Client, Page
from pdframe.api.pagination import another_list, paginate
from pdframe.cache.checkpoint import Checkpoint, CheckpointState, Position
from pdframe.cache.parts import SortedRun
from pdframe.cache.server_clock import CLOCK_SKEW, STAMP_SKEW
from pdframe.errors import ResponseError
from pdframe.fields import Field
from pdframe.frames import PageReader, Problems, to_arrow, unify
from pdframe.schema import Source, Table
from pdframe.sync.concurrency import map_ordered
from pdframe.sync.fetch_state import NO_STATES, newest_states
from pdframe.sync.merge import arrange
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.plan import DELETIONS_COMPLETE_FOR, resume_changes, usable_children

BAD_REQUEST = 400
NOT_FOUND = 404
# Without it, a list leaves out deleted rows.
EVERY_STATUS = "open,won,lost,deleted"
# Each incremental fetch requests this much again.
OVERLAP = STAMP_SKEW
# Each staged page repeats them: of a list where more rows lack a key, an interrupted fetch may
# count some twice.
MOST_WITHOUT_KEY = 500

TypedPage = tuple[Page, tuple[pa.Table, Problems]]
"""A page, and its rows in Arrow with what of them does not fit."""


class Fetcher:
    """Fetch the lists of one table.

    Parameters
    ----------
    client
        The HTTP client.
    table, fields
        The table, and its field metadata.
    tick
        Called with the number of rows after each page, for a progress bar.
    options
        Page size, buffer and number of threads.
    """

    def __init__(
        self,
        client: Client,
        table: Table,
        fields: Sequence[Field],
        tick: Tick,
        options: SyncOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.client = client
        self.table = table
        self.fields = fields
        self.tick = tick
        self.options = options
        # It learns from each page which columns there are.
        self.reader = PageReader(table, fields)
        # Called with rows that the API reports as deleted, and the server's time; None: they are
        # not kept.
        self.keep_deleted: Callable[[pa.Table, datetime | None], None] | None = None

    def fetch_list(self, fetched: FetchResult, each: Sequence[int] = ()) -> None:
        """Add every page of the lists of a table that reports no changes; of a list that takes one
        id a request, for `each` id. An id that was deleted since it was listed has no rows; if all
        were, that is an error.
        """
        for source in self.table.sources:
            params, deleted = dict(source.params), 0
            if source.each is None:
                for _ in self.paginate(fetched, source, params):
                    pass
                continue
            for number in each:
                try:
                    for _ in self.paginate(fetched, source, params | {source.each[0]: number}):
                        pass
                except ResponseError as error:
                    deleted += 1
                    if error.status != NOT_FOUND or deleted == len(each):
                        raise

    def fetch_changes(
        self,
        fetched: FetchResult,
        last_sync_at: datetime | None,
        checkpoint: Checkpoint | None = None,
        *,
        reads_deletions: bool = True,
    ) -> None:
        """Add the rows whose `update_time` is after the watermarks, and the keys that the API lists
        as deleted.

        Where the lists of deletions are not read, the changes are requested with deleted rows among
        them: a deletion that moved `update_time` is found all the same.

        Rows are sorted by `update_time`. A row that is edited during the fetch moves to the end of
        the list and is seen there, so the newest time seen so far is a safe watermark at any
        moment.

        Each page is staged in `checkpoint`. Where an earlier run left pages there, this one
        continues after them, and requests the changes again in the lists that were finished.

        Raises
        ------
        RestartRequiredError
            A cursor was refused, or the server's clock is before the last sync: these are not
            changes since what was cached.
        """
        since = dict(fetched.watermarks)
        saved = checkpoint.load() if checkpoint is not None else None
        position = Position(fetched.began)
        if saved is not None:
            position, reads_deletions = resume_changes(saved)
            fetched.resume(saved, self.table.key[0])
            fetched.watermarks = dict(position.marks)
        for number, source in enumerate(self.table.sources):
            cursor = position.cursor if number == position.source else None
            for rows, next_cursor in self.changes_in(
                source,
                fetched,
                since if cursor else fetched.watermarks,
                cursor,
                last_sync_at,
                with_deleted=source.deletions and not reads_deletions,
            ):
                unfinished = number if next_cursor else number + 1
                is_last_page = unfinished == len(self.table.sources) and not (
                    source.deletions and reads_deletions
                )
                # An earlier run staged the pages of the lists before its position.
                if checkpoint is not None and number >= position.source and not is_last_page:
                    reached = Position(
                        position.began,
                        unfinished,
                        next_cursor,
                        None,
                        dict(fetched.watermarks),
                        fetched.server_time,
                        fetched.problems,
                    )
                    stage_page(checkpoint, fetched, rows, reached, options=self.options)
        if reads_deletions:
            self.fetch_deletions(fetched, self.table.sources)

    def fetch_deletions(self, fetched: FetchResult, sources: Sequence[Source]) -> None:
        """Add the keys of the rows that lists report as deleted in the last 30 days."""
        for source in sources:
            if not source.deletions:
                continue
            params = {**dict(source.params), "status": "deleted"}
            for page in paginate(
                self.client,
                source.path,
                params,
                cost=source.cost,
                api=source.api,
                limit=self.options.page_size,
            ):
                deleted, _ = to_arrow(page.rows, self.table, self.fields)
                if page.rows and not deleted.num_rows:
                    raise another_list(page.path, page.rows, self.table.key[0])
                fetched.deleted += deleted[self.table.key[0]].to_pylist()
                fetched.seen_at = page.server_time or fetched.seen_at
                if self.keep_deleted is not None:
                    self.keep_deleted(deleted, page.server_time)
                self.tick(len(page.rows))
            fetched.deletion_lists.add(source.path)

    def find_moved_rows(self, fetched: FetchResult, missing: Sequence[int]) -> None:
        """Add those of the `missing` rows that are in the first list: they moved there after its
        pages were read, and their `update_time` does not show it.

        Where the list takes ids, the missing ones alone are requested, else all of it is read.
        """
        source = self.table.sources[0]
        step = source.ids or len(missing)
        for start in range(0, len(missing), step):
            params = dict(source.params)
            if source.ids:
                params["ids"] = ",".join(map(str, missing[start : start + step]))
            for _ in self.paginate(fetched, source, params):
                pass

    def fetch_batches(
        self, ids: Sequence[int], fetched: FetchResult, now: Callable[[], datetime]
    ) -> Iterator[tuple[Sequence[int], pa.Table, datetime, datetime | None]]:
        """Add the children of some parents, as many parents a request as the API takes; yield the
        parents and the rows of each batch, this machine's clock before it and the server's at it.
        """
        source = self.table.sources[0]
        name, size = source.batch or ("ids", 100)
        batches = [ids[start : start + size] for start in range(0, len(ids), size)]

        def fetch(batch: Sequence[int]) -> tuple[datetime, list[TypedPage]]:
            params = {**dict(source.params), name: ",".join(map(str, batch))}
            with self.client.budget.track(self.table.name):
                return now(), list(self.pages(source, params))

        for batch, (at, pages) in map_ordered(fetch, batches, self.options.workers):
            parents, tables = pa.array(batch, pa.int64()), []
            for page, typed in pages:
                rows = self.add_page(fetched, page, typed)
                if (
                    rows.num_rows
                    and not pc.any(pc.is_in(rows["deal_id"], value_set=parents)).as_py()
                ):
                    raise another_list(page.path, page.rows, "one of the deals that were requested")
                tables.append(rows)
            server_time = next(filter(None, (page.server_time for page, _ in pages)), None)
            yield batch, unify(tables, self.table, self.fields)[0], at, server_time

    def changes_in(
        self,
        source: Source,
        fetched: FetchResult,
        since: Mapping[str, str],
        start: str | None = None,
        last_sync_at: datetime | None = None,
        *,
        with_deleted: bool = False,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the rows of one list that changed since its watermark, page by page, and move the
        watermark; yield as `paginate` does. `with_deleted` asks for deleted rows among them.
        """
        params = {
            **dict(source.params),
            "updated_since": format_time(earlier(parse_time(since[source.path]), OVERLAP)),
            "sort_by": "update_time",
            "sort_direction": "asc",
            **({"status": EVERY_STATUS} if with_deleted else {}),
        }
        pages = self.paginate(fetched, source, params, start=start, not_before=last_sync_at)
        for rows, cursor in pages:
            newest = pc.max(rows["update_time"]).as_py() if rows.num_rows else None
            if newest is not None:
                fetched.watermarks[source.path] = max(
                    fetched.watermarks[source.path], watermark(newest, fetched.server_time)
                )
            yield rows, cursor

    def paginate(
        self,
        fetched: FetchResult,
        source: Source,
        params: Mapping[str, Any],
        *,
        start: str | None = None,
        not_before: datetime | None = None,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the pages of a list as they arrive; yield the rows of each and the cursor of the
        next.
        """
        for page, typed in self.pages(source, params, start=start):
            check_clock(page, not_before)
            yield self.add_page(fetched, page, typed), page.next_cursor

    def pages(
        self, source: Source, params: Mapping[str, Any], *, start: str | None = None
    ) -> Iterator[TypedPage]:
        """Yield the pages of a list and their typed rows; raise `RestartRequiredError` where a
        cursor is refused.

        Rows are typed in the thread that decoded them, while they are in the caches of its core:
        another thread takes longer for that.
        """
        cursor = start
        try:
            for page in paginate(
                self.client,
                source.path,
                params,
                cost=source.cost,
                api=source.api,
                limit=self.options.page_size if source.paged else None,
                start=start,
                decode=self.reader.decode,
            ):
                cursor = page.next_cursor
                yield page, self.reader.typed(page.rows)
        except ResponseError as error:
            # The first page of a list has no cursor: its 400 means something else.
            if cursor is None or error.status != BAD_REQUEST:
                raise
            raise RestartRequiredError("a cursor was refused") from error

    def add_page(
        self, fetched: FetchResult, page: Page, typed: tuple[pa.Table, Problems]
    ) -> pa.Table:
        """Add a page and return its rows; raise `ResponseError` where none of them has an id."""
        fetched.server_time = fetched.server_time or page.server_time
        fetched.seen_at = max(filter(None, (page.server_time, fetched.seen_at)), default=None)
        rows, problems = typed
        if page.rows and not rows.num_rows:
            # One row without an id among many is left out, with a warning.
            raise another_list(page.path, page.rows, self.table.key[0])
        if self.table.incremental and {"status", "is_deleted"}.issubset(self.table.by_name):
            says_deleted = pc.fill_null(pc.equal(rows["status"], "deleted"), False)
            if pc.any(says_deleted).as_py():
                flags = pc.or_kleene(rows["is_deleted"], says_deleted)
                place = rows.column_names.index("is_deleted")
                rows = rows.set_column(place, rows.schema.field("is_deleted"), flags)
        fetched.pages.append(rows)
        if self.keep_deleted is not None:
            deleted = rows.filter(pc.fill_null(rows["is_deleted"], False))
            if deleted.num_rows:
                # They are kept with all columns.
                complete, _ = unify([deleted], self.table, self.fields)
                self.keep_deleted(complete, page.server_time)
        if problems.cells or problems.rows:
            self._count_problems(fetched, page, rows, problems)
        self.tick(len(page.rows))
        return rows

    def _count_problems(
        self, fetched: FetchResult, page: Page, rows: pa.Table, problems: Problems
    ) -> None:
        """Add the problems of a page; those of rows that were fetched before are counted once."""
        keys = set(rows[self.table.key[0]].to_pylist())
        known = self.reader.identities(page.rows, keys)
        if fetched.counted.isdisjoint(known):
            fetched.problems.merge(problems)
        else:
            fresh, repeated = (
                [
                    row
                    for row, one in zip(page.rows, known, strict=True)
                    if (one in fetched.counted) is is_repeated
                ]
                for is_repeated in (False, True)
            )
            fetched.problems.merge(self.reader.typed(fresh)[1])
            fetched.problems.merge_repeated(self.reader.typed(repeated)[1])
        noted = fetched.problems.without_key
        digests = {one: None for one in known if isinstance(one, bytes)}
        new = [one.hex() for one in digests if one not in fetched.counted]
        noted += new[: max(0, MOST_WITHOUT_KEY - len(noted))]
        fetched.counted.update(known)


def stage_page(
    checkpoint: Checkpoint,
    fetched: FetchResult,
    rows: pa.Table,
    position: Position,
    states: pa.Table | None = None,
    *,
    options: SyncOptions = DEFAULT_OPTIONS,
) -> None:
    """Append a page that was fetched to the checkpoint; where memory holds many rows, move them to
    a sorted run on disk.
    """
    page_bytes = checkpoint.append(rows, position, states)
    if states is not None:
        fetched.staged_states.append(states)
    if page_bytes > options.buffer_bytes:
        rows = arrange(checkpoint.table, fetched.pages)
        staged_states = pa.concat_tables(fetched.staged_states) if fetched.staged_states else None
        run = checkpoint.compact(rows, position, staged_states)
        fetched.move_to_run(run)


# Changes are requested from this time on: an earlier one is a mistake of the server.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class RestartRequiredError(Exception):
    """The fetch cannot continue from what is cached or staged: the table must be fetched from the
    beginning. Never leaves `sync`.
    """


@dataclass(slots=True)
class FetchResult:
    """Rows that were fetched for a table, keys that were deleted, and what the next fetch must
    know.

    Of a row that was fetched twice, the later counts.

    Parameters
    ----------
    began
        This machine's clock at the first request, of an earlier run where this one resumes it.
    pages
        Rows in memory, in the order of their fetch; later than those in `runs`.
    runs
        Rows on disk, each run in key order.
    staged_states
        The fetch states that were staged with `pages`, if they are children.
    problems, counted
        Cells and rows that could not be kept as they are, and the rows of the pages that had such:
        their keys, of a row without one a digest of its values.
    deleted
        Keys of deleted rows.
    watermarks
        For each list that reports changes, the `update_time` up to which it is complete.
    server_time, seen_at
        The server's clock at the first and at the last answer.
    fetched_since
        The server's clock at the first page that an earlier run staged; None: none, or unknown.
    resumed_pages
        How many pages an earlier run had staged.
    first_list_reread
        Whether all rows of the first list were seen again at the end.
    deletion_lists
        Paths of the lists whose deletions were read.
    """

    began: datetime
    pages: list[pa.Table] = field(default_factory=list)
    runs: list[SortedRun] = field(default_factory=list)
    staged_states: list[pa.Table] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    counted: set[Any] = field(default_factory=set)
    deleted: list[Any] = field(default_factory=list)
    watermarks: dict[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    seen_at: datetime | None = None
    fetched_since: datetime | None = None
    resumed_pages: int = 0
    first_list_reread: bool = False
    deletion_lists: set[str] = field(default_factory=set)

    def move_to_run(self, run: SortedRun) -> None:
        """Replace the rows in memory by the run that holds them."""
        # In one step: an interruption can happen anywhere, and rows must not be in both.
        self.runs, self.pages, self.staged_states = [*self.runs, run], [], []

    def resume(self, saved: CheckpointState, key: str) -> None:
        """Add the rows that an earlier run staged; `key` is the column of their keys."""
        self.runs, self.pages = list(saved.runs), list(saved.pages)
        self.resumed_pages = saved.page_count
        self.problems.merge(saved.position.problems)
        if self.problems:
            # Rows without a key are not among the staged ones.
            self.counted.update(map(bytes.fromhex, self.problems.without_key))
            for rows in self.columns([key]):
                self.counted.update(rows[key].to_pylist())

    def resume_children(
        self, saved: CheckpointState | None, outdated: Collection[int], parent_id: str
    ) -> pa.Table:
        """Add the usable children that an earlier run staged; return the fetch states of their
        parents, whose ids are in the column `parent_id`.
        """
        usable = usable_children(saved, outdated)
        if saved is None or not usable:
            return NO_STATES
        self.began, self.fetched_since = saved.position.began, saved.position.server_time
        self.resumed_pages = saved.page_count
        self.problems.merge(saved.position.problems)
        for staged, states in usable:
            parents = states["id"].combine_chunks()
            if isinstance(staged, SortedRun):
                self.runs.append(staged.only(parent_id, parents))
            else:
                self.pages.append(staged.filter(pc.is_in(staged[parent_id], value_set=parents)))
                self.staged_states.append(states)
        return newest_states(*(states for _, states in usable))

    def columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, the earlier rows first; where rows lack a column, it is
        left out.
        """
        for run in self.runs:
            yield run.rows.read(names)
        for rows in self.pages:
            yield rows.select([name for name in names if name in rows.column_names])


def watermarks_after(table: Table, fetched: FetchResult) -> dict[str, str]:
    """Return the watermark of each list after a full fetch: the newest `update_time` that was seen,
    less the duration of the fetch.

    A row that is edited during the fetch gets an `update_time` after its start, so the next
    incremental sync fetches it. The server's clock says how long the fetch took, but not when it
    began: it may run ahead of the clock that stamps rows.
    """
    if not table.incremental or fetched.server_time is None or fetched.seen_at is None:
        return {}
    columns = (rows for rows in fetched.columns(["update_time"]) if rows.column_names)
    times = [pc.max(rows["update_time"]).as_py() for rows in columns]
    last = max(filter(None, times), default=None)
    if last is None:
        return {}
    duration = max(fetched.seen_at - fetched.server_time, timedelta(0))
    newest = earlier(min(last, fetched.seen_at), duration)
    return {
        source.path: watermark(newest, fetched.server_time)
        for source in table.sources
        if source.changes
    }


def watermark(newest: datetime, server_time: datetime | None) -> str:
    """Return a watermark: the newest time of a list, but never ahead of the server's clock, lest
    one odd row hide all that follow.
    """
    return format_time(min(newest, server_time) if server_time else newest)


def check_clock(page: Page, not_before: datetime | None) -> None:
    """Raise `RestartRequiredError` where the server's clock is before the last sync, or too long
    after it to learn of all deletions.
    """
    if not_before is None or page.server_time is None:
        return
    if page.server_time < not_before - CLOCK_SKEW:
        raise RestartRequiredError(
            f"the server's clock went back to {page.server_time:%Y-%m-%d %H:%M}"
        )
    if page.server_time - not_before > DELETIONS_COMPLETE_FOR:
        raise RestartRequiredError("deletions are listed for 30 days alone")


def parse_time(time: str) -> datetime:
    """Return a watermark as a time; the earliest one for a year of fewer than four digits, as
    earlier versions wrote it.
    """
    try:
        return datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return EARLIEST


def earlier(time: datetime, by: timedelta) -> datetime:
    """Return a time moved back, but no further than to the earliest one."""
    return time - by if time - EARLIEST > by else EARLIEST


def format_time(time: datetime) -> str:
    """Return a time as the API takes it: in whole seconds, no earlier than the earliest one."""
    utc = max(time, EARLIEST).astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"
