"""Asking for lists of the API: pages to Arrow as they come, and what changed since the last
look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client, Page
from pdframe.api.pagination import another_list, walk
from pdframe.api.responses import Decode
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.errors import ResponseError
from pdframe.fields import Field
from pdframe.frames import PageReader, to_arrow, unify
from pdframe.schema import Source, Table
from pdframe.sync.compare import latest
from pdframe.sync.concurrency import map_ordered
from pdframe.sync.fetch_result import (
    FetchResult,
    RestartRequiredError,
    check_clock,
    earlier,
    format_time,
    mark,
    parse_time,
)
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

BAD_REQUEST = 400
NOT_FOUND = 404
# Asked again at each incremental pull, since the clocks of the servers that stamp `update_time`
# need not agree.
OVERLAP = timedelta(minutes=5)


class Fetcher:
    """Pulls the lists of a table.

    Parameters
    ----------
    client
        Who asks.
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
        self.options = options
        self.table = table
        self.fields = fields
        self.tick = tick
        # It knows more of the pages with each of them.
        self.reader = PageReader(table, fields)
        # Called with rows that the API says are deleted, and the server's time; None: nothing is
        # kept of them.
        self.keep_deleted: Callable[[pa.Table, datetime | None], None] | None = None

    def fetch_changes(
        self, pull: FetchResult, last_sync_at: datetime | None, pending: Checkpoint | None = None
    ) -> None:
        """Add the rows whose `update_time` moved since `pull.state`, and the keys of those that the
        API lists as deleted.

        Rows come in the order of `update_time`: a row that is edited while the walk is under way
        moves towards the end and is seen there, so at any time the newest one seen is where the
        next look may begin.

        Pages are left in `pending` as they come. Where an earlier pull left some, this one goes on
        behind them, after asking again for what changed in the lists that were done.

        Raises
        ------
        StartAgainError
            A cursor was refused, or the server's clock stands before the last look: this is not the
            past that was cached.
        """
        place, since = Position(pull.began), dict(pull.state)
        if pending is not None and (saved := pending.load()) is not None:
            place = saved.place
            pull.go_on(saved)
            pull.state = dict(place.marks)
        for number, source in enumerate(self.table.sources):
            cursor = place.cursor if number == place.source else None
            for rows, after in self.changes_in(
                source, pull, since if cursor else pull.state, cursor, last_sync_at
            ):
                done = number if after else number + 1
                # What a pull that was interrupted had done already it would do again.
                if (
                    pending is not None
                    and number >= place.source
                    and (done < len(self.table.sources) or source.deletions)
                ):
                    reached = Position(
                        place.began,
                        done,
                        after,
                        None,
                        dict(pull.state),
                        pull.server_time,
                        pull.problems,
                    )
                    keep_page(pending, pull, rows, reached, options=self.options)
        self.fetch_deletions(pull, self.table.sources)

    def fetch_deletions(self, pull: FetchResult, sources: Sequence[Source]) -> None:
        """Add the keys of the rows that lists say were deleted in the last 30 days."""
        for source in sources:
            if source.deletions:
                params = {**dict(source.params), "status": "deleted"}
                for page in walk(
                    self.client,
                    source.path,
                    params,
                    cost=source.cost,
                    api=source.api,
                    limit=self.options.page_size,
                ):
                    removed, _ = to_arrow(page.rows, self.table, self.fields)
                    self._check_keys(page, removed)
                    pull.removed += removed[self.table.key[0]].to_pylist()
                    pull.seen_at = page.server_time or pull.seen_at
                    if self.keep_deleted is not None:
                        self.keep_deleted(removed, page.server_time)
                    self.tick(len(page.rows))
                pull.listed.add(source.path)

    def find_moved_rows(self, pull: FetchResult, missing: Sequence[int]) -> None:
        """Add those of the `missing` rows that are in the first list: they moved there behind the
        walk, and left no stamp.

        Only the ids that are missing are asked for where the list takes ids, else all of it is
        walked again.
        """
        source = self.table.sources[0]
        step = source.ids or len(missing)
        for start in range(0, len(missing), step):
            params = dict(source.params)
            if source.ids:
                params["ids"] = ",".join(map(str, missing[start : start + step]))
            for _ in self.walk(pull, source, params):
                pass

    def fetch_batches(
        self,
        ids: Sequence[int],
        pull: FetchResult,
        keep: Callable[[pa.Table, Sequence[int]], None],
        *,
        more: bool = False,
    ) -> None:
        """Add the rows that belong to `ids`, asked for as many at a time as the API takes.

        `keep` gets each batch, but the last only where `more` are to follow.
        """
        source = self.table.sources[0]
        name, size = source.batch or ("ids", 100)
        batches = [ids[start : start + size] for start in range(0, len(ids), size)]

        def ask(batch: Sequence[int]) -> list[Page]:
            params = {**dict(source.params), name: ",".join(map(str, batch))}
            with self.client.budget.track(self.table.name):
                return list(self.pages(source, params))

        for batch, pages in map_ordered(ask, batches, self.options.workers):
            rows = [self.take(pull, page) for page in pages]
            for page, received in zip(pages, rows, strict=True):
                if (
                    received.num_rows
                    and not pc.any(
                        pc.is_in(received["deal_id"], value_set=pa.array(batch, pa.int64()))
                    ).as_py()
                ):
                    raise another_list(page.path, page.rows, "one of the deals that were asked for")
            if more or batch is not batches[-1]:
                keep(unify(rows, self.table, self.fields)[0], batch)

    def changes_in(
        self,
        source: Source,
        pull: FetchResult,
        since: Mapping[str, str],
        start: str | None = None,
        last_sync_at: datetime | None = None,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the rows of one list whose `update_time` moved since its mark as they come, and move
        the mark; yield as `walk` does.
        """
        at = format_time(earlier(parse_time(since[source.path]), OVERLAP))
        params = {
            **dict(source.params),
            "updated_since": at,
            "sort_by": "update_time",
            "sort_direction": "asc",
        }
        for rows, cursor in self.walk(pull, source, params, start=start, not_before=last_sync_at):
            newest = pc.max(rows["update_time"]).as_py() if rows.num_rows else None
            if newest is not None:
                pull.state[source.path] = max(
                    pull.state[source.path], mark(newest, pull.server_time)
                )
            yield rows, cursor

    def walk(
        self,
        pull: FetchResult,
        source: Source,
        params: Mapping[str, Any],
        *,
        start: str | None = None,
        not_before: datetime | None = None,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the pages of a list to a pull as they come; yield each with the cursor behind it."""
        for page in self.pages(source, params, start=start):
            check_clock(page, not_before)
            yield self.take(pull, page), page.next_cursor

    def pages(
        self, source: Source, params: Mapping[str, Any], *, start: str | None = None
    ) -> Iterator[Page]:
        """The pages of a list as they come; `RestartRequiredError` where a cursor is refused on the
        way.
        """
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

    def take(self, pull: FetchResult, page: Page) -> pa.Table:
        """Add a page to a pull; `ResponseError` where none of its rows has an id."""
        pull.server_time = pull.server_time or page.server_time
        pull.seen_at = max(filter(None, (page.server_time, pull.seen_at)), default=None)
        rows, problems = self.reader.typed(page.rows)
        self._check_keys(page, rows)
        pull.add(rows)
        if self.keep_deleted is not None:
            self.keep_deleted(
                rows.filter(pc.fill_null(rows["is_deleted"], False)), page.server_time
            )
        pull.problems.merge(problems)
        self.tick(len(page.rows))
        return rows

    def _check_keys(self, page: Page, kept: pa.Table) -> None:
        """Refuse a page of which no row has an id. One such row among many is left out, with a
        warning.
        """
        if page.rows and not kept.num_rows:
            raise another_list(page.path, page.rows, self.table.key[0])


def keep_page(
    pending: Checkpoint,
    pull: FetchResult,
    rows: pa.Table,
    reached: Position,
    note: pa.Table | None = None,
    *,
    options: SyncOptions = DEFAULT_OPTIONS,
) -> None:
    """Leave a page that was added to a pull, and put what is in memory together on disk where it
    has become much.
    """
    pending.add(rows, reached, note)
    if note is not None:
        pull.notes.append(note)
    if pull.covered > options.buffer_bytes:
        together = latest(pa.concat_tables(pull.tables, promote_options="default"), pending.key)
        pull.settled(
            pending.settle(together, reached, pa.concat_tables(pull.notes) if pull.notes else None)
        )


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
    """The pages of a list. One that comes as a whole is walked too: should it begin to page, half
    of it is not taken for all.
    """
    limit = page_size if source.paged else None
    return walk(
        client,
        path or source.path,
        params,
        cost=source.cost,
        api=source.api,
        limit=limit,
        start=start,
        decode=decode,
    )
