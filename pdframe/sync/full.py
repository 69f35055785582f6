"""Fetch a complete table that reports changes: every page of every list that it is made of, a long
list by ranges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.limits import WINDOW_SECONDS
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.schema import Source, Table
from pdframe.sync.catch_up import catch_up
from pdframe.sync.concurrency import map_unordered
from pdframe.sync.fetch import (
    Fetcher,
    FetchResult,
    RestartRequiredError,
    TypedPage,
    check_clock,
    stage_page,
    watermarks_after,
)
from pdframe.sync.plan import resume_position
from pdframe.sync.range_scan import NO_TIMES, SECOND, RangeScan, Scanner, Times, UnsortedError

# More workers than would do if each answer took as long as the fastest.
WORKERS_FACTOR = 2.4
# How many bytes of answers may be in flight at once.
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _ListPosition:
    """Where the fetch of one list stands: before the page of `cursor`, or among `ranges`; neither:
    at its end.
    """

    cursor: str | None = None
    ranges: Mapping[str, Any] | None = None


@dataclass
class FullScan:
    """Fetch every row of a table.

    Parameters
    ----------
    fetcher
        Fetches its pages.
    checkpoint
        Where pages are staged, so that an interrupted fetch resumes after them; None: nowhere.
    expected
        When the rows of each list were updated, sorted, as far as the cache knows; empty: unknown.
    """

    fetcher: Fetcher
    checkpoint: Checkpoint | None
    expected: Sequence[Times] = ()
    _fastest_seconds: float = math.inf
    _largest_page_bytes: int = 1
    _first_list_pages: int = 0
    # Lists that were read by ranges: rows that moved meanwhile are in no page.
    _to_catch_up: dict[Source, RangeScan] = field(default_factory=dict)

    def fetch(self, began: datetime) -> FetchResult:
        """Fetch every page of every list.

        Where an earlier run staged pages, this one resumes after them, and ends with what changed
        since that run began; so does one that read a list by ranges. A table of several lists that
        report changes ends with a second reading of the first: a row that moved there while the
        others were read is in none of the pages.

        Raises
        ------
        RestartRequiredError
            A cursor was refused, the server's clock went back, or another version staged the pages:
            they are of no use.
        """
        fetched, position = FetchResult(began), Position(began)
        saved = self.checkpoint.load() if self.checkpoint else None
        resumed = resume_position(saved, began)
        if self.checkpoint is not None and resumed is None:
            # Else the pages of this run would be staged after pages that are too old.
            self.checkpoint.drop()
        if saved is not None and resumed is not None:
            position = resumed
            fetched.resume(saved, self.fetcher.table.key[0])
            fetched.began, fetched.server_time = position.began, position.server_time
        last_sync_at = position.server_time if fetched.resumed_pages else None
        count = len(self.fetcher.table.sources)
        for number in range(position.source, count):
            start = position if number == position.source else Position(began)
            for rows, reached in self._fetch_list(fetched, number, start, last_sync_at):
                following = number if reached.cursor or reached.ranges else number + 1
                # The last page is staged only where further requests follow.
                if self.checkpoint is not None and (
                    following < count or count > 1 or self._to_catch_up
                ):
                    after = replace(
                        position,
                        source=following,
                        cursor=reached.cursor,
                        ranges=reached.ranges,
                        server_time=fetched.server_time,
                        problems=fetched.problems,
                    )
                    stage_page(self.checkpoint, fetched, rows, after, options=self.fetcher.options)
                self._first_list_pages += number == 0 and not fetched.resumed_pages
        fetched.watermarks = watermarks_after(self.fetcher.table, fetched)
        if fetched.resumed_pages and fetched.watermarks:
            self.fetcher.fetch_changes(fetched, last_sync_at)
        elif fetched.watermarks:
            # The first list last, for a row that moved there from another one.
            for source, scan in reversed(self._to_catch_up.items()):
                catch_up(self.fetcher, fetched, source, scan)
        if count > 1 and fetched.watermarks:
            self._reread_first_list(fetched)
        return fetched

    def _fetch_list(
        self, fetched: FetchResult, number: int, start: Position, not_before: datetime | None
    ) -> Iterator[tuple[pa.Table, _ListPosition]]:
        """Add all pages of a list as they arrive, from `start` on; yield the rows of each and where
        the list stands after it.

        A list that can be long is read by ranges, all others by cursor.
        """
        source = self.fetcher.table.sources[number]
        if source.windows and start.cursor is None:
            try:
                yield from self._fetch_by_ranges(fetched, number, start.ranges, not_before)
                return
            except UnsortedError:
                # The ranges do not show which rows are missing: read all of them, by cursor.
                start = Position(start.began)
        for rows, cursor in self.fetcher.paginate(
            fetched, source, dict(source.params), start=start.cursor, not_before=not_before
        ):
            yield rows, _ListPosition(cursor=cursor)

    def _fetch_by_ranges(
        self,
        fetched: FetchResult,
        number: int,
        saved: Mapping[str, Any] | None,
        not_before: datetime | None,
    ) -> Iterator[tuple[pa.Table, _ListPosition]]:
        """Add the pages of a list as they arrive, read from one end, and where it proves long, from
        several places at once.
        """
        source = self.fetcher.table.sources[number]
        expected = self.expected[number] if self.expected else NO_TIMES
        options = self.fetcher.options
        scan = RangeScan(options.page_size, expected, options)
        if saved is not None:
            try:
                scan.resume(saved)
            except (KeyError, TypeError, ValueError) as error:
                # The checksum is right: another version of pdframe saved it.
                raise RestartRequiredError("another version of pdframe saved its pages") from error
        pages: dict[Scanner, Iterator[TypedPage]] = {}

        def next_page(scanner: Scanner) -> TypedPage:
            if scanner not in pages:
                params = {**dict(source.params), **scanner.filters}
                pages[scanner] = self.fetcher.pages(source, params, start=scanner.cursor)
            with self.fetcher.client.budget.track(self.fetcher.table.name):
                return next(pages[scanner])

        for scanner, (page, typed) in map_unordered(
            next_page, scan.ready, self._workers, workers=options.workers
        ):
            self._fastest_seconds = min(self._fastest_seconds, page.seconds)
            self._largest_page_bytes = max(self._largest_page_bytes, page.size)
            check_clock(page, not_before)
            rows = self.fetcher.add_page(fetched, page, typed)
            now = int((page.server_time or fetched.began).timestamp()) * SECOND
            scan.on_page(
                scanner,
                update_times(rows),
                page.next_cursor,
                now=now,
                highest_id=_highest_id(rows, self.fetcher.table),
            )
            if scan.needs_catch_up:
                self._to_catch_up[source] = scan
            yield rows, _ListPosition(ranges=scan.to_plain() if scan.open else None)

    def _workers(self) -> int:
        """How many requests must be in flight to use up the burst window, as far as their answers
        fit into memory; one where the server is near: its answers leave no time to spare.
        """
        seconds = self._fastest_seconds if self._fastest_seconds < math.inf else 0.0
        if seconds < self.fetcher.options.min_latency_seconds:
            return 1
        requests_per_second = self.fetcher.client.window.limit / WINDOW_SECONDS
        wanted = math.ceil(WORKERS_FACTOR * requests_per_second * seconds)
        return max(1, min(wanted, MAX_IN_FLIGHT_BYTES // self._largest_page_bytes))

    def _reread_first_list(self, fetched: FetchResult) -> None:
        """Add the rows that moved into the first list while the others were read, with one request
        where possible.

        Ids count up, so a row that was missed has one of the ids that are missing from 1 on, or one
        after the last: where one request takes as many, they are requested. Else the list is read
        again where it is one page, and where it is longer, its changes are fetched: then a move
        that left `update_time` as it was is found for cached rows alone (`find_moved_rows`).
        """
        source, key = self.fetcher.table.sources[0], self.fetcher.table.key[0]
        ids = [rows[key].to_numpy() for rows in fetched.columns([key])]
        seen = np.unique(np.concatenate([np.empty(0, np.int64), *ids]))
        last = int(seen[-1]) if len(seen) else 0
        if last - len(seen) < source.ids:
            possible = np.arange(1, last + source.ids + 1)
            missing = np.setdiff1d(possible, seen, assume_unique=True)[: source.ids]
            self.fetcher.find_moved_rows(fetched, missing.tolist())
            fetched.first_list_reread = True
        elif self._first_list_pages == 1:
            for _ in self.fetcher.paginate(fetched, source, dict(source.params)):
                pass
            fetched.first_list_reread = True
        elif not fetched.resumed_pages and source not in self._to_catch_up:
            for _ in self.fetcher.changes_in(source, fetched, fetched.watermarks):
                pass


def update_times(rows: pa.Table) -> Times:
    """Return when rows were updated, in microseconds since 1970, without those that do not say."""
    times: Times = rows["update_time"].drop_null().cast(pa.int64()).to_numpy()
    return times


def _highest_id(rows: pa.Table, table: Table) -> int:
    """Return the highest id of some rows; 0 where they have none."""
    ids = rows[table.key[0]]
    return (pc.max(ids).as_py() or 0) if pa.types.is_integer(ids.type) else 0
