"""The whole of a table: every page of every list it is made of, those of a long one from several
places at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.budget import WINDOW_SECONDS
from pdframe.api.client import Page
from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.errors import ResponseError
from pdframe.schema import Source, Table
from pdframe.sync.catch_up import close
from pdframe.sync.concurrency import map_unordered
from pdframe.sync.fetch import NOT_FOUND, Fetcher, keep_page
from pdframe.sync.fetch_result import (
    DELETIONS_KEPT,
    FetchResult,
    RestartRequiredError,
    check_clock,
    marks,
)
from pdframe.sync.range_scan import NO_TIMES, SECOND, RangeScan, Scanner, Times, UnsortedError

# So many more lanes than would do if each answer came as soon as the soonest.
MORE_LANES = 2.4
# So many bytes of answers may be under way at once.
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _There:
    """Where the walk of a list stands: before the page of `cursor`, or among `windows`; neither: at
    the end.
    """

    cursor: str | None = None
    windows: Mapping[str, Any] | None = None


class FullScan:
    """Pulls a whole table.

    Parameters
    ----------
    puller
        Who asks for its lists.
    pending
        Where pages are left as they come, so that the next walk goes on behind them where this one
        is interrupted; None: nowhere.
    expected
        When the rows of each list were updated, sorted, as far as is known; empty: it is not.
    """

    def __init__(
        self, puller: Fetcher, pending: Checkpoint | None, expected: Sequence[Times] = ()
    ) -> None:
        self.puller = puller
        self.table = puller.table
        self.pending = pending
        self.expected = expected
        self._soonest = math.inf
        self._largest = 1
        self._pages_of_first = 0
        # Lists that were walked by windows: rows that moved meanwhile are in no page.
        self._to_close: dict[Source, RangeScan] = {}

    def pull(self, began: datetime, each: Sequence[int] = ()) -> FetchResult:
        """Every page of every list; of a list that is asked for by id, the one of `each` id.

        Where an earlier walk left pages, this one goes on behind them, and closes with a pull of
        what changed since that walk began; so does one that walked a list by windows. A table of
        several lists that tell their changes is closed with one more look at the first: a row that
        moved there while the others were walked is in none of the pages.

        Raises
        ------
        StartAgainError
            A cursor was refused, the server's clock went back, or another version saved the pages:
            what was left is of no use.
        """
        pull, place = FetchResult(began), Position(began)
        saved = self.pending.load() if self.pending else None
        if saved is not None and began - saved.place.began < DELETIONS_KEPT:
            place = saved.place
            pull.go_on(saved)
            pull.began, pull.server_time = place.began, place.server_time
        last_sync_at = place.server_time if pull.saved else None
        for number, source in enumerate(self.table.sources):
            if number < place.source:
                continue
            if source.each is not None:
                self._each(pull, source, each)
                continue
            start = place if number == place.source else Position(began)
            for rows, there in self._list(pull, number, start, last_sync_at):
                self._keep(pull, rows, self._reached(pull, place, number, there))
                self._pages_of_first += number == 0 and not pull.saved
        pull.state = marks(self.table, pull)
        if pull.saved and pull.state:
            self.puller.fetch_changes(pull, last_sync_at)
        elif pull.state:
            # The first list at last, for a row that moved there from another one.
            for source, windows in reversed(self._to_close.items()):
                close(self.puller, pull, source, windows)
        if len(self.table.sources) > 1 and pull.state:
            self._reread_first_list(pull)
        return pull

    def _reached(self, pull: FetchResult, place: Position, number: int, there: _There) -> Position:
        source = number if there.cursor or there.windows else number + 1
        where = replace(place, source=source, cursor=there.cursor, windows=there.windows)
        return replace(where, server_time=pull.server_time, problems=pull.problems)

    def _keep(self, pull: FetchResult, rows: pa.Table, reached: Position) -> None:
        """Leave a page that came."""
        several = len(self.table.sources) > 1
        # The last page is left as well where one more look follows.
        if self.pending is None or not (
            reached.source < len(self.table.sources) or several or self._to_close
        ):
            return
        keep_page(self.pending, pull, rows, reached, options=self.puller.options)

    def _list(
        self, pull: FetchResult, number: int, start: Position, not_before: datetime | None
    ) -> Iterator[tuple[pa.Table, _There]]:
        """Add all pages of a list to a pull as they come, from `start` on; yield each with where
        the walk stands behind it.

        A list that can be long is walked by windows, all others by id.
        """
        source = self.table.sources[number]
        if source.windows and start.cursor is None:
            try:
                yield from self._by_windows(pull, number, start.windows, not_before)
                return
            except UnsortedError:
                # It says nothing of which rows are missing: all are asked for, by id.
                start = Position(start.began)
        for rows, cursor in self.puller.walk(
            pull, source, dict(source.params), start=start.cursor, not_before=not_before
        ):
            yield rows, _There(cursor=cursor)

    def _by_windows(
        self,
        pull: FetchResult,
        number: int,
        saved: Mapping[str, Any] | None,
        not_before: datetime | None,
    ) -> Iterator[tuple[pa.Table, _There]]:
        """Add the pages of a list as they come, walked from one end, and where it proves long, from
        several places at once.
        """
        source = self.table.sources[number]
        windows = RangeScan(
            self.puller.options.page_size,
            self.expected[number] if self.expected else NO_TIMES,
            self.puller.options,
        )
        if saved is not None:
            try:
                windows.take_up(saved)
            except (KeyError, TypeError, ValueError) as error:
                # The checksum is right: another version of pdframe saved it.
                raise RestartRequiredError("another version of pdframe saved its pages") from error
        walks: dict[Scanner, Iterator[Page]] = {}

        def ask(walker: Scanner) -> Page:
            if walker not in walks:
                walks[walker] = self.puller.pages(
                    source, {**dict(source.params), **walker.filters}, start=walker.cursor
                )
            with self.puller.client.budget.track(self.table.name):
                return next(walks[walker])

        for walker, page in map_unordered(
            ask, windows.ready, self._lanes, workers=self.puller.options.workers
        ):
            self._soonest, self._largest = (
                min(self._soonest, page.seconds),
                max(self._largest, page.size),
            )
            check_clock(page, not_before)
            rows = self.puller.take(pull, page)
            now = int((page.server_time or pull.began).timestamp()) * SECOND
            windows.took(
                walker,
                times_of(rows),
                page.next_cursor,
                now=now,
                highest=_highest(rows, self.table),
            )
            if windows.closing:
                self._to_close[source] = windows
            yield rows, _There(windows=windows.to_plain() if windows.open else None)

    def _lanes(self) -> int:
        """How many requests must be under way to use up the burst window, as far as their answers
        have room.
        """
        seconds = self._soonest if self._soonest < math.inf else 0.0
        wanted = math.ceil(MORE_LANES * self.puller.client.window.limit / WINDOW_SECONDS * seconds)
        return max(1, min(wanted, MAX_IN_FLIGHT_BYTES // self._largest))

    def _reread_first_list(self, pull: FetchResult) -> None:
        """Add the rows that moved into the first list while the others were walked, with one
        request where that can be.

        Ids count up, so a row that was missed is one of those that are missing from 1 on, or that
        follow on the last: they are asked for where one request can. Else the list is walked again
        where it is one page, and where it is not, its changes are pulled: then a move that left no
        stamp is only found of rows that are cached (`find_moved_rows`).
        """
        source, key = self.table.sources[0], self.table.key[0]
        seen = np.unique(
            np.concatenate(
                [np.empty(0, np.int64), *(rows[key].to_numpy() for rows in pull.columns([key]))]
            )
        )
        last = int(seen[-1]) if len(seen) else 0
        if last - len(seen) < source.ids:
            missing = np.setdiff1d(np.arange(1, last + source.ids + 1), seen, assume_unique=True)[
                : source.ids
            ]
            self.puller.find_moved_rows(pull, missing.tolist())
            pull.first_list_reread = True
        elif self._pages_of_first == 1:
            for _ in self.puller.walk(pull, source, dict(source.params)):
                pass
            pull.first_list_reread = True
        elif not pull.saved and source not in self._to_close:
            for _ in self.puller.changes_in(source, pull, pull.state):
                pass

    def _each(self, pull: FetchResult, source: Source, each: Sequence[int]) -> None:
        """Add the rows of a list that is asked for by id. An id that is gone since it was listed
        has none; all gone is an error.
        """
        name = source.each[0] if source.each else "id"
        deleted = 0
        for number in each:
            try:
                for _ in self.puller.walk(pull, source, {**dict(source.params), name: number}):
                    pass
            except ResponseError as error:
                deleted += 1
                if error.status != NOT_FOUND or deleted == len(each):
                    raise


def times_of(rows: pa.Table) -> Times:
    """When rows were updated, in microseconds since 1970, without those that do not tell."""
    times: Times = rows["update_time"].drop_null().cast(pa.int64()).to_numpy()
    return times


def _highest(rows: pa.Table, table: Table) -> int:
    """The highest id of some rows; 0 where they have none."""
    ids = rows[table.key[0]]
    return (pc.max(ids).as_py() or 0) if pa.types.is_integer(ids.type) else 0
