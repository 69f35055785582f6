"""Bringing a list of the API up to date: the whole of it, or what changed since the last look."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client, Page
from pdframe.api.limits import WINDOW_SECONDS
from pdframe.api.replies import Decode
from pdframe.api.walk import PAGE, walk
from pdframe.errors import ResponseError
from pdframe.fields import Field
from pdframe.frames import PageReader, Problems, is_unknown, storage_schema, to_arrow, unify
from pdframe.pending import Pending, Place
from pdframe.schema import Source, Table
from pdframe.sync.lanes import as_they_come, side_by_side
from pdframe.sync.windows import NO_TIMES, SECOND, Times, UnsortedError, Walker, Windows

BAD_REQUEST = 400
NOT_FOUND = 404
# Asked again at each incremental pull, since the clocks of the servers that stamp `update_time` need not agree.
OVERLAP = timedelta(minutes=5)
# The API lists deletions for 30 days: past that, only a full reload finds them.
DELETIONS_KEPT = timedelta(days=29)
# The server's clock may wander by this much; further back, it is not the account that was cached.
CLOCK_SLACK = timedelta(minutes=10)


# So many more lanes than would do if each answer came as soon as the soonest.
MORE_LANES = 1.5


class StartAgainError(Exception):
    """What is cached or saved cannot be gone on with: the table must be loaded from the beginning. Never leaves `sync`."""


@dataclass(slots=True)
class Pull:
    """What came over the wire for a table: rows, keys that are gone, and what the next pull must know.

    `began` is this machine's clock when the first of these rows was asked for; `saved` how many pages an earlier walk had left.
    `server_time` is the server's clock at the first answer, `seen_at` at the last. `pages_of_first` counts the pages of the first list, of
    a walk that was not interrupted, and `looked_again` says that all rows of that list were met at last. The lists `to_close` were walked
    by windows: rows that moved meanwhile are in no page.
    """

    began: datetime
    tables: list[pa.Table] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    gone: list[Any] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    seen_at: datetime | None = None
    saved: int = 0
    pages_of_first: int = 0
    looked_again: bool = False
    to_close: list[Source] = field(default_factory=list)

    def rows(self, table: Table, fields: Sequence[Field]) -> pa.Table:
        """All rows as one Arrow table, with every column that is declared."""
        rows, problems = unify([storage_schema(table, fields).empty_table(), *self.tables], table, fields)
        self.problems.merge(problems)
        return rows


@dataclass(frozen=True, slots=True)
class _There:
    """Where the walk of a list stands: before the page of `cursor`, or among `windows`; neither: at the end."""

    cursor: str | None = None
    windows: Mapping[str, Any] | None = None


class Puller:
    """Pulls lists: turns pages into Arrow as they come.

    Parameters
    ----------
    client
        Who asks.
    tick
        Called with the number of rows after each page, for a progress bar.
    """

    def __init__(self, client: Client, tick: Callable[[int], None]) -> None:
        self.client = client
        self.tick = tick
        self._known: tuple[Table, Sequence[Field], PageReader] | None = None
        self._seconds = math.inf

    def all_of(
        self,
        table: Table,
        fields: Sequence[Field],
        began: datetime,
        pending: Pending | None,
        *,
        each: Sequence[int] = (),
        expected: Sequence[Times] = (),
    ) -> Pull:
        """The whole table: every page of every list it is made of; of a list that is asked for by id, the one of `each` id.

        Pages are left in `pending` as they come. Where an earlier walk left some, this one goes on behind them, and closes with a pull
        of what changed since that walk began; so does one that walked a long list from several places at once, for which `expected` tells
        when the rows of each list were updated as far as is known. A table of several lists that tell their changes is closed with one more
        look at the first: a row that moved there while the others were walked is in none of the pages.

        Raises
        ------
        StartAgainError
            A cursor was refused, or the server's clock went back: what was left is of no use.
        """
        pull, saved = Pull(began), pending.load() if pending else None
        if saved is not None and began - saved[0].began < DELETIONS_KEPT:
            place, pull.tables, _ = saved
            pull.began, pull.server_time, pull.saved = place.began, place.server_time, len(pull.tables)
            pull.problems.merge(place.problems)
        else:
            place = Place(began)
        last_look = place.server_time if pull.saved else None
        for number, source in enumerate(table.sources):
            if number < place.source:
                continue
            if source.each is not None:
                self._take_each(pull, table, fields, source, each)
                continue
            start = place if number == place.source else Place(began)
            times = expected[number] if expected else NO_TIMES
            pages = len(pull.tables)
            for rows, there in self._whole(pull, table, fields, source, start, times, last_look):
                reached = replace(
                    place,
                    source=number if there.cursor or there.windows else number + 1,
                    cursor=there.cursor,
                    windows=there.windows,
                    server_time=pull.server_time,
                    problems=pull.problems,
                )
                # The last page is kept as well where one more look follows.
                if pending is not None and (reached.source < len(table.sources) or len(table.sources) > 1 or source in pull.to_close):
                    pending.add(rows, reached)
            if number == 0 and not pull.saved:
                pull.pages_of_first = len(pull.tables) - pages
        pull.state = _marks(table, pull)
        if pull.saved and pull.state:
            self.changes_of(table, fields, pull, last_look)
        elif pull.state:
            # The first list at last, for a row that moved there from another one.
            for source in reversed(pull.to_close):
                self._close(source, table, fields, pull)
        if len(table.sources) > 1 and pull.state:
            self._look_again(table, fields, pull)
        return pull

    def _whole(
        self,
        pull: Pull,
        table: Table,
        fields: Sequence[Field],
        source: Source,
        start: Place,
        expected: Times,
        not_before: datetime | None,
    ) -> Iterator[tuple[pa.Table, _There]]:
        """Add all pages of a list to a pull as they come, from `start` on; yield each with where the walk stands behind it.

        A list that can be long is walked by windows, all others by id.
        """
        if source.windows and start.cursor is None:
            try:
                yield from self._by_windows(pull, table, fields, source, start.windows, expected, not_before)
                return
            except UnsortedError:
                # It says nothing of which rows are missing: all are asked for, by id.
                start = Place(start.began)
        for rows, cursor in self._walk(pull, table, fields, source, dict(source.params), start=start.cursor, not_before=not_before):
            yield rows, _There(cursor=cursor)

    def _by_windows(
        self,
        pull: Pull,
        table: Table,
        fields: Sequence[Field],
        source: Source,
        saved: Mapping[str, Any] | None,
        expected: Times,
        not_before: datetime | None,
    ) -> Iterator[tuple[pa.Table, _There]]:
        """Add the pages of a list as they come, walked from one end, and where it proves long, from several places at once."""
        windows, reader = Windows(PAGE, expected), self._reader(table, fields)
        if saved is not None:
            windows.take_up(saved)
        walks: dict[Walker, Iterator[Page]] = {}

        def ask(walker: Walker) -> Page:
            if walker not in walks:
                walks[walker] = self._pages(source, {**dict(source.params), **walker.filters}, reader, start=walker.cursor)
            with self.client.ledger.account(table.name):
                return next(walks[walker])

        for walker, page in as_they_come(ask, windows.ready, self._lanes):
            self._seconds = min(self._seconds, page.seconds)
            _check_clock(page, not_before)
            rows = self._take(pull, page, reader)
            now = page.server_time or pull.began
            windows.took(walker, times_of(rows), page.next_cursor, now=_micros(now), highest=_highest(rows, table))
            if windows.closing and source not in pull.to_close:
                pull.to_close.append(source)
            yield rows, _There(windows=windows.to_plain() if windows.open else None)

    def _lanes(self) -> int:
        """How many requests must be under way to use up the burst window."""
        seconds = self._seconds if self._seconds < math.inf else 0.0
        return max(1, math.ceil(MORE_LANES * self.client.window.limit / WINDOW_SECONDS * seconds))

    def changes_of(
        self, table: Table, fields: Sequence[Field], pull: Pull, last_look: datetime | None, pending: Pending | None = None
    ) -> None:
        """Add the rows whose `update_time` moved since `pull.state`, and the keys of those that the API lists as deleted.

        Rows come in the order of `update_time`: a row that is edited while the walk is under way moves towards the end and is seen
        there, so at any time the newest one seen is where the next look may begin.

        Pages are left in `pending` as they come. Where an earlier pull left some, this one goes on behind them, after asking again for what
        changed in the lists that were done.

        Raises
        ------
        StartAgainError
            A cursor was refused, or the server's clock stands before the last look: this is not the past that was cached.
        """
        place, since = Place(pull.began), dict(pull.state)
        if pending is not None and (saved := pending.load()) is not None:
            place, pull.tables, _ = saved
            pull.saved, pull.state = len(pull.tables), dict(place.marks)
            pull.problems.merge(place.problems)
        for number, source in enumerate(table.sources):
            cursor = place.cursor if number == place.source else None
            for rows, behind in self._changes_in(source, table, fields, pull, since if cursor else pull.state, cursor, last_look):
                done = number if behind else number + 1
                # What a pull that was interrupted had done already it would do again.
                if pending is not None and number >= place.source and (done < len(table.sources) or source.deletions):
                    reached = Place(place.began, done, behind, None, dict(pull.state), pull.server_time, pull.problems)
                    pending.add(rows, reached)
        self.deletions_of(table, fields, pull, table.sources)

    def deletions_of(self, table: Table, fields: Sequence[Field], pull: Pull, sources: Sequence[Source]) -> None:
        """Add the keys of the rows that lists say were deleted in the last 30 days."""
        for source in sources:
            if source.deletions:
                for page in walk(self.client, source.path, {"status": "deleted"}, cost=source.cost, api=source.api):
                    gone, _ = to_arrow(page.rows, table, fields)
                    pull.gone += gone[table.key[0]].to_pylist()
                    pull.seen_at = page.server_time or pull.seen_at
                    self.tick(len(page.rows))

    def _look_again(self, table: Table, fields: Sequence[Field], pull: Pull) -> None:
        """Add the rows that moved into the first list while the others were walked, with one request where that can be.

        Ids count up, so a row that was missed is one of those that are missing from 1 on, or that follow on the last: they are asked for
        where one request can. Else the list is walked again where it is one page, and where it is not, its changes are pulled: then a
        move that left no stamp is only found of rows that are cached (`moved_into_first`).
        """
        source, key = table.sources[0], table.key[0]
        seen = set().union(*(rows[key].to_pylist() for rows in pull.tables))
        last = max(seen, default=0)
        if last - len(seen) < source.ids:
            missing = sorted(set(range(1, last + source.ids + 1)) - seen)[: source.ids]
            self.moved_into_first(table, fields, pull, missing)
            pull.looked_again = True
        elif pull.pages_of_first == 1:
            for _ in self._walk(pull, table, fields, source, dict(source.params)):
                pass
            pull.looked_again = True
        elif not pull.saved and source not in pull.to_close:
            for _ in self._changes_in(source, table, fields, pull, pull.state):
                pass

    def moved_into_first(self, table: Table, fields: Sequence[Field], pull: Pull, missing: Sequence[int]) -> None:
        """Add those of the `missing` rows that are in the first list: they moved there behind the walk, and left no stamp.

        Only the ids that are missing are asked for where the list takes ids, else all of it is walked again.
        """
        source = table.sources[0]
        step = source.ids or len(missing)
        for start in range(0, len(missing), step):
            params = dict(source.params)
            if source.ids:
                params["ids"] = ",".join(map(str, missing[start : start + step]))
            for _ in self._walk(pull, table, fields, source, params):
                pass

    def batches_of(
        self, table: Table, ids: Sequence[int], pull: Pull, keep: Callable[[pa.Table, Sequence[int]], None], *, more: bool = False
    ) -> None:
        """Add the rows that belong to `ids`, asked for as many at a time as the API takes.

        `keep` gets each batch, but the last only where `more` are to follow.
        """
        source, reader = table.sources[0], self._reader(table, ())
        name, size = source.batch or ("ids", 100)
        batches = [ids[start : start + size] for start in range(0, len(ids), size)]

        def ask(batch: Sequence[int]) -> list[Page]:
            params = {**dict(source.params), name: ",".join(map(str, batch))}
            with self.client.ledger.account(table.name):
                return list(self._pages(source, params, reader))

        for batch, pages in side_by_side(ask, batches):
            rows = [self._take(pull, page, reader) for page in pages]
            if more or batch is not batches[-1]:
                keep(unify(rows, table, ())[0], batch)

    def _take_each(self, pull: Pull, table: Table, fields: Sequence[Field], source: Source, each: Sequence[int]) -> None:
        """Add the rows of a list that is asked for by id. An id that is gone since it was listed has none; all gone is an error."""
        name = source.each[0] if source.each else "id"
        gone = 0
        for number in each:
            try:
                for _ in self._walk(pull, table, fields, source, {**dict(source.params), name: number}):
                    pass
            except ResponseError as error:
                gone += 1
                if error.status != NOT_FOUND or gone == len(each):
                    raise

    def _changes_in(
        self,
        source: Source,
        table: Table,
        fields: Sequence[Field],
        pull: Pull,
        since: Mapping[str, str],
        start: str | None = None,
        last_look: datetime | None = None,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the rows of one list whose `update_time` moved since its mark as they come, and move the mark; yield as `_walk` does."""
        at = _format(_parse(since[source.path]) - OVERLAP)
        params = {**dict(source.params), "updated_since": at, "sort_by": "update_time", "sort_direction": "asc"}
        for rows, cursor in self._walk(pull, table, fields, source, params, start=start, not_before=last_look):
            newest = pc.max(rows["update_time"]).as_py() if rows.num_rows else None
            if newest is not None:
                pull.state[source.path] = max(pull.state[source.path], _mark(newest, pull.server_time))
            yield rows, cursor

    def _close(self, source: Source, table: Table, fields: Sequence[Field], pull: Pull) -> None:
        """Add the rows of a list that moved to its newest end while it was walked by windows, and move its mark.

        Where more than a page of them was updated in one second, they are not asked for again from the first that is as it was met.
        """
        since = _parse(pull.state[source.path]) - OVERLAP
        key = table.key[0]
        late = [rows.select([key, "update_time"]).filter(pc.greater_equal(rows["update_time"], since)) for rows in pull.tables]
        known = {one: time for rows in late for one, time in zip(*(column.to_pylist() for column in rows.columns), strict=True)}
        crowded = {second for second, rows in Counter(time.replace(microsecond=0) for time in known.values()).items() if rows > PAGE}
        more: datetime | None = since
        while more is not None:
            params = {**dict(source.params), "updated_since": _format(more), "sort_by": "update_time", "sort_direction": "asc"}
            more = None
            for rows, cursor in self._walk(pull, table, fields, source, params):
                times = rows["update_time"].to_pylist()
                newest = max((time for time in times if time is not None), default=None)
                if newest is None:
                    continue
                pull.state[source.path] = max(pull.state[source.path], _mark(newest, pull.server_time))
                second = newest.replace(microsecond=0)
                if cursor and second in crowded and all(map(operator.eq, map(known.get, rows[key].to_pylist()), times)):
                    more = second + timedelta(seconds=1)
                    break

    def _reader(self, table: Table, fields: Sequence[Field]) -> PageReader:
        """The reader of a table's pages, which knows more of them with each page."""
        known = self._known
        if known is None or known[0] is not table or known[1] is not fields:
            self._known = known = (table, fields, PageReader(table, fields))
        return known[2]

    def _walk(
        self,
        pull: Pull,
        table: Table,
        fields: Sequence[Field],
        source: Source,
        params: Mapping[str, Any],
        *,
        start: str | None = None,
        not_before: datetime | None = None,
    ) -> Iterator[tuple[pa.Table, str | None]]:
        """Add the pages of a list to a pull as they come; yield each with the cursor behind it."""
        reader = self._reader(table, fields)
        for page in self._pages(source, params, reader, start=start):
            _check_clock(page, not_before)
            yield self._take(pull, page, reader), page.next_cursor

    def _pages(self, source: Source, params: Mapping[str, Any], reader: PageReader, *, start: str | None = None) -> Iterator[Page]:
        """The pages of a list as they come; `StartAgainError` where a cursor is refused on the way."""
        cursor = start
        try:
            for page in pages_of(self.client, source, params, start=start, decode=reader.decode):
                cursor = page.next_cursor
                yield page
        except ResponseError as error:
            # The first page of a list has no cursor: its 400 means something else.
            if cursor is None or error.status != BAD_REQUEST:
                raise
            raise StartAgainError("a cursor was refused") from error

    def _take(self, pull: Pull, page: Page, reader: PageReader) -> pa.Table:
        """Add a page to a pull."""
        pull.server_time = pull.server_time or page.server_time
        pull.seen_at = max(filter(None, (page.server_time, pull.seen_at)), default=None)
        rows, problems = reader.typed(page.rows)
        pull.tables.append(rows)
        pull.problems.merge(problems)
        self.tick(len(page.rows))
        return rows


def pages_of(
    client: Client,
    source: Source,
    params: Mapping[str, Any] | None = None,
    *,
    path: str | None = None,
    start: str | None = None,
    decode: Decode | None = None,
) -> Iterator[Page]:
    """The pages of a list. One that comes as a whole is walked too: should it begin to page, half of it is not taken for all."""
    limit = PAGE if source.paged else None
    return walk(client, path or source.path, params, cost=source.cost, api=source.api, limit=limit, start=start, decode=decode)


def can_pull_changes(table: Table, stored: pa.Schema, fields: Sequence[Field], state: Mapping[str, str]) -> bool:
    """Whether changes can be put on top of what is stored: every list knows where it stood, and no column changed its type.

    Values that came before their field was known are typed from what is stored.
    """
    if not table.incremental or any(source.path not in state for source in table.sources):
        return False
    wanted = storage_schema(table, fields)
    return all(
        name not in stored.names or stored.field(name).type == wanted.field(name).type or is_unknown(stored.field(name))
        for name in wanted.names
    )


def _check_clock(page: Page, not_before: datetime | None) -> None:
    """Raise `StartAgainError` where the server's clock stands before the last look, or too far behind it to learn of all deletions."""
    if not_before and page.server_time and page.server_time < not_before - CLOCK_SLACK:
        raise StartAgainError(f"the server's clock went back to {page.server_time:%Y-%m-%d %H:%M}")
    if not_before and page.server_time and page.server_time - not_before > DELETIONS_KEPT:
        raise StartAgainError("deletions are listed for 30 days alone")


def times_of(rows: pa.Table) -> Times:
    """When rows were updated, in microseconds since 1970, without those that do not tell."""
    times: Times = rows["update_time"].drop_null().cast(pa.int64()).to_numpy()
    return times


def _highest(rows: pa.Table, table: Table) -> int:
    """The highest id of some rows; 0 where they have none."""
    ids = rows[table.key[0]]
    return (pc.max(ids).as_py() or 0) if pa.types.is_integer(ids.type) else 0


def _micros(time: datetime) -> int:
    return int(time.timestamp()) * SECOND


def _marks(table: Table, pull: Pull) -> dict[str, str]:
    """How far each list is complete after a walk: the newest `update_time` that came, less the time that the walk took.

    What is edited behind the walk's back is stamped after its beginning, so the next look finds it. The server's own clock tells how
    long the walk took, but not when it began: it may run ahead of the one that stamps rows.
    """
    if not table.incremental or pull.server_time is None or pull.seen_at is None:
        return {}
    newest = max((time for rows in pull.tables if (time := pc.max(rows["update_time"]).as_py())), default=None)
    if newest is None:
        return {}
    took = max(pull.seen_at - pull.server_time, timedelta(0))
    return {source.path: _mark(min(newest, pull.seen_at) - took, pull.server_time) for source in table.sources if source.changes}


def _mark(newest: datetime, server_time: datetime | None) -> str:
    """How far a list is complete: its newest time, but never ahead of the server's clock, lest one odd row hide all that follow."""
    return _format(min(newest, server_time) if server_time else newest)


def _parse(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC)


def _format(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
