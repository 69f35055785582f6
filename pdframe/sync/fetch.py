"""Fetch the lists of a table: pages become Arrow rows, and each is staged as it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client, Page
from pdframe.api.pagination import another_list, paginate
from pdframe.api.responses import Decode
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.errors import ResponseError
from pdframe.fields import Field
from pdframe.frames import PageReader, to_arrow, unify
from pdframe.schema import Source, Table
from pdframe.sync.concurrency import map_ordered
from pdframe.sync.fetch_result import (
    FetchResult,
    RestartRequiredError,
    check_clock,
    earlier,
    format_time,
    parse_time,
    watermark,
)
from pdframe.sync.merge import arrange
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

BAD_REQUEST = 400
NOT_FOUND = 404
# Without it, a list leaves out deleted rows.
EVERY_STATUS = "open,won,lost,deleted"
# Each incremental fetch requests this much again: the servers that stamp `update_time` need not
# agree on the time.
OVERLAP = timedelta(minutes=5)


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
        tick: Callable[[int], None],
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
        position, since = Position(fetched.began), dict(fetched.watermarks)
        if checkpoint is not None and (saved := checkpoint.load()) is not None:
            position = saved.position
            fetched.resume(saved)
            fetched.watermarks = dict(position.marks)
            # The staged pages may have been requested without deleted rows.
            reads_deletions = True
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
                self._check_keys(page, deleted)
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

        def fetch(batch: Sequence[int]) -> tuple[datetime, list[Page]]:
            params = {**dict(source.params), name: ",".join(map(str, batch))}
            with self.client.budget.track(self.table.name):
                return now(), list(self.pages(source, params))

        for batch, (at, pages) in map_ordered(fetch, batches, self.options.workers):
            parents, tables = pa.array(batch, pa.int64()), []
            for page in pages:
                rows = self.add_page(fetched, page)
                if (
                    rows.num_rows
                    and not pc.any(pc.is_in(rows["deal_id"], value_set=parents)).as_py()
                ):
                    raise another_list(page.path, page.rows, "one of the deals that were requested")
                tables.append(rows)
            server_time = next(filter(None, (page.server_time for page in pages)), None)
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
        for page in self.pages(source, params, start=start):
            check_clock(page, not_before)
            yield self.add_page(fetched, page), page.next_cursor

    def pages(
        self, source: Source, params: Mapping[str, Any], *, start: str | None = None
    ) -> Iterator[Page]:
        """Yield the pages of a list; raise `RestartRequiredError` where a cursor is refused."""
        cursor = start
        try:
            for page in pages_of(
                self.client,
                source,
                params,
                start=start,
                page_size=self.options.page_size,
                decode=self.reader.decode,
            ):
                cursor = page.next_cursor
                yield page
        except ResponseError as error:
            # The first page of a list has no cursor: its 400 means something else.
            if cursor is None or error.status != BAD_REQUEST:
                raise
            raise RestartRequiredError("a cursor was refused") from error

    def add_page(self, fetched: FetchResult, page: Page) -> pa.Table:
        """Add a page and return its rows; raise `ResponseError` where none of them has an id."""
        fetched.server_time = fetched.server_time or page.server_time
        fetched.seen_at = max(filter(None, (page.server_time, fetched.seen_at)), default=None)
        rows, problems = self.reader.typed(page.rows)
        rows = _with_deleted_flagged(rows, self.table)
        self._check_keys(page, rows)
        fetched.add(rows)
        if self.keep_deleted is not None:
            deleted = rows.filter(pc.fill_null(rows["is_deleted"], False))
            self.keep_deleted(deleted, page.server_time)
        fetched.problems.merge(problems)
        self.tick(len(page.rows))
        return rows

    def _check_keys(self, page: Page, rows: pa.Table) -> None:
        """Refuse a page of which no row has an id; one such row among many is left out, with a
        warning.
        """
        if page.rows and not rows.num_rows:
            raise another_list(page.path, page.rows, self.table.key[0])


def _with_deleted_flagged(rows: pa.Table, table: Table) -> pa.Table:
    """Return rows with `is_deleted` true where their status says that they are deleted."""
    if not table.incremental or not {"status", "is_deleted"}.issubset(table.by_name):
        return rows
    says_deleted = pc.fill_null(pc.equal(rows["status"], "deleted"), False)
    if not pc.any(says_deleted).as_py():
        return rows
    flags = pc.or_kleene(rows["is_deleted"], says_deleted)
    return rows.set_column(
        rows.column_names.index("is_deleted"), rows.schema.field("is_deleted"), flags
    )


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
    checkpoint.append(rows, position, states)
    if states is not None:
        fetched.staged_states.append(states)
    if fetched.buffered_bytes > options.buffer_bytes:
        together = pa.concat_tables(fetched.pages, promote_options="default")
        staged_states = pa.concat_tables(fetched.staged_states) if fetched.staged_states else None
        run = checkpoint.compact(arrange(checkpoint.table, together), position, staged_states)
        fetched.move_to_run(run)


def pages_of(
    client: Client,
    source: Source,
    params: Mapping[str, Any] | None = None,
    *,
    path: str | None = None,
    start: str | None = None,
    page_size: int = DEFAULT_OPTIONS.page_size,
    decode: Decode | None = None,
) -> Iterator[Page]:
    """Yield the pages of a list. One that is not paged today is followed too: should it begin to
    page, its first page is not mistaken for all of it.
    """
    limit = page_size if source.paged else None
    return paginate(
        client,
        path or source.path,
        params,
        cost=source.cost,
        api=source.api,
        limit=limit,
        start=start,
        decode=decode,
    )
