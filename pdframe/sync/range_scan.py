"""Read a long list from several places at once: ranges of `update_time`, each from both ends, split
while that helps.

A range is read upwards from its lower end and downwards from its upper end until the two scanners
meet: then none of its rows is missing, however unevenly they are spread. A row that is edited
meanwhile moves to the newest end of the list, out of every range: after a range scan, `catch_up`
fetches what changed since it began.

A first load does not know how long a list is. It reads upwards, reads one page at the newest end,
and lets that scanner wait until both ends together prove the list long. A list that is not long is
read upwards to its end, which includes what moved meanwhile. So the page at the newest end is all
that it costs: a list of up to 20 pages takes one request more at most, and a longer one 5 % more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

# A list counts as long once it is estimated at this many times as many pages: a first load knows no
# length.
SAFETY = 1.5
# Pages that repeat rows where two scanners meet.
OVERLAP_PAGES = 2
# The oldest rows of a list are the fewest: a list may have this many times as many pages as its
# first page suggests.
SPARSE_BEGINNING = 4
SECOND = 1_000_000
# One end of a range may be e to the power of this as dense as the other; more is a bulk edit, which
# says nothing of the other rows.
STEEPEST = 5.0

Direction = Literal["up", "down"]
Times = np.ndarray[Any, np.dtype[np.int64]]
NO_TIMES: Times = np.empty(0, np.int64)


@dataclass(slots=True, eq=False)
class Scanner:
    """Read one end of a range by cursor, upwards or downwards in `update_time`.

    Times are microseconds since 1970.

    Parameters
    ----------
    direction
        Which way it reads.
    start
        The time where it began; None: at an end of the list.
    cursor
        The cursor of its next page; None: it has none yet.
    reached
        The time of the last row: all rows between `start` and it were read, but for other rows of
        that same second.
    rows_in_last_second
        How many rows of that second were read.
    rows, span
        How many rows the last page had, and the time between the first and the last of them.
    first_time
        The time of the first row.
    spread_rows
        How many rows all pages had, where the most crowded second of each page counts as one row:
        a bulk edit says nothing of other rows.
    busy
        Whether a request is in flight.
    """

    direction: Direction
    start: int | None = None
    cursor: str | None = None
    reached: int | None = None
    rows_in_last_second: int = 0
    rows: int = 0
    span: int = 0
    first_time: int | None = None
    spread_rows: int = 0
    busy: bool = False

    @property
    def density(self) -> float:
        """Rows a microsecond without bulk edits; 0 where the pages do not say."""
        length = (
            abs(self.reached - self.first_time)
            if self.reached is not None and self.first_time is not None
            else 0
        )
        return self.spread_rows / length if length >= SECOND else 0.0

    @property
    def filters(self) -> dict[str, str]:
        """The query parameters of its requests."""
        direction = {
            "sort_by": "update_time",
            "sort_direction": "asc" if self.direction == "up" else "desc",
        }
        if self.start is None:
            return direction
        at = datetime.fromtimestamp(self.start // SECOND, UTC)
        return {
            **direction,
            "updated_since"
            if self.direction == "up"
            else "updated_until": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }


@dataclass(slots=True, eq=False)
class Range:
    """The rows between a scanner upwards and one downwards; `down` is None while no scanner reads
    from the newest end.
    """

    up: Scanner
    down: Scanner | None = None

    @property
    def low(self) -> int | None:
        """All earlier rows were read; None: nothing is known yet."""
        return self.up.reached

    @property
    def high(self) -> int | None:
        """All later rows were read, or belong to another range."""
        return self.down.reached if self.down else None

    @property
    def is_complete(self) -> bool:
        """Whether all of its rows were read."""
        return self.low is not None and self.high is not None and self.low > self.high

    @property
    def is_within_a_second(self) -> bool:
        """Whether all rows that are left lie within one second."""
        return (
            self.low is not None
            and self.high is not None
            and self.low // SECOND == self.high // SECOND
        )


@dataclass(slots=True)
class RangeScan:
    """Decide which pages of a long list to request next, and what is still missing.

    Parameters
    ----------
    page_size
        Rows a page.
    expected
        Sorted times of the cached rows, to split by; empty for a first load: then the pages decide.
    options
        The thresholds `scan_...`.

    Attributes
    ----------
    open
        The ranges that are not complete.
    pages, rows
        How many were read.
    overlaps
        How many times two scanners meet.
    repeated_rows
        How many rows were read twice.
    highest_id
        The highest id.
    is_sorted
        Whether all rows were in the order that was requested.
    newest
        The newest time, or the server's clock.
    is_waiting
        Whether the scanner at the newest end waits until the list proves long.
    newest_end_read
        Whether the newest end was read.
    newest_at_start
        The newest time when the newest end was first read; None: it was not, or in an earlier run.
    """

    page_size: int
    expected: Times = field(default_factory=lambda: NO_TIMES)
    options: SyncOptions = DEFAULT_OPTIONS
    open: list[Range] = field(default_factory=lambda: [Range(Scanner("up"))])
    pages: int = 0
    overlaps: int = 0
    repeated_rows: int = 0
    rows: int = 0
    highest_id: int = 0
    is_sorted: bool = True
    newest: int = 0
    is_waiting: bool = False
    newest_end_read: bool = False
    newest_at_start: int | None = None

    @property
    def needs_catch_up(self) -> bool:
        """Whether rows that moved meanwhile are in no page."""
        return self.overlaps > 0

    @property
    def spare_requests(self) -> int:
        """How many more requests it may cost for certain."""
        # Within one second nothing shows which rows repeat where two scanners meet: up to a page.
        plain = (self.rows - self.repeated_rows) // self.page_size - self.overlaps
        return math.floor((1 + self.options.scan_extra) * plain) - self.pages

    def ready(self, workers: int) -> list[Scanner]:
        """Return up to `workers` scanners whose next page is to request now; they are busy until
        `on_page`.
        """
        chosen: list[Scanner] = []
        if self.is_waiting and self._is_proved_long():
            self.is_waiting, self.overlaps = False, 1
        while len(chosen) < workers:
            scanner = self._next_scanner() or (
                self._open_scanner() if self._may_open_scanner() else None
            )
            if scanner is None:
                break
            scanner.busy = True
            chosen.append(scanner)
        return chosen

    def on_page(
        self, scanner: Scanner, times: Times, cursor: str | None, *, now: int, highest_id: int = 0
    ) -> None:
        """Note a page that was read.

        Parameters
        ----------
        scanner
            The scanner that read it.
        times
            When its rows were updated, in their order, without rows that do not say.
        cursor
            The cursor of the next page; None: it was the last.
        now
            The server's clock.
        highest_id
            The highest id of its rows: the list has no more rows than that.

        Raises
        ------
        UnsortedError
            The rows are not in the order that was requested, so nothing shows which of them are
            missing.
        """
        self.pages, self.rows = self.pages + 1, self.rows + len(times)
        self.newest, self.highest_id = (
            max(self.newest, now, *times[-1:]),
            max(self.highest_id, highest_id),
        )
        scanner.busy, scanner.cursor = False, cursor
        self.is_sorted = self.is_sorted and _is_in_order(scanner, times)
        if not self.is_sorted and self.overlaps:
            raise UnsortedError
        self.repeated_rows += self._count_repeated(scanner, times)
        if len(times):
            scanner.first_time = int(times[0]) if scanner.first_time is None else scanner.first_time
            scanner.spread_rows += _count_spread(times)
            if scanner.direction == "down" and scanner.start is scanner.reached is None:
                self.newest_at_start = int(times[0])
            rows_in_last_second = int(np.sum(times // SECOND == times[-1] // SECOND))
            scanner.rows_in_last_second = rows_in_last_second + (
                scanner.rows_in_last_second
                if rows_in_last_second == len(times) and scanner.reached in times[:1]
                else 0
            )
            scanner.reached = int(times[-1])
            scanner.rows, scanner.span = len(times), abs(int(times[-1]) - int(times[0]))
        if self.is_waiting:
            self._end_wait(scanner, cursor)
        if cursor is None:
            self.open = [
                range_
                for range_ in self.open
                if scanner is not range_.up and scanner is not range_.down
            ]
        self.open = [range_ for range_ in self.open if not range_.is_complete]

    def _end_wait(self, scanner: Scanner, cursor: str | None) -> None:
        """End the wait of the scanner at the newest end where no rows are left for it, or where
        their order is not the one requested.
        """
        (range_,) = self.open
        if scanner is range_.down and cursor is None:
            self.is_waiting, self.overlaps = False, 1  # its page held all rows
        elif range_.is_complete or not self.is_sorted or (scanner is range_.up and cursor is None):
            # The scanner upwards reads on to the end: cheaper than a catch-up.
            self.repeated_rows += range_.down.rows if range_.down else 0
            range_.down, self.is_waiting = None, False

    def _count_repeated(self, scanner: Scanner, times: Times) -> int:
        """Count the rows of a page that another scanner read as well."""
        for range_ in self.open:
            if scanner is range_.up:
                return int(np.sum(times > range_.high)) if range_.high is not None else 0
            if scanner is range_.down:
                return int(np.sum(times < range_.low)) if range_.low is not None else 0
        return len(times)

    def _next_scanner(self) -> Scanner | None:
        """Return an idle scanner of the range with the most rows left."""
        for range_ in sorted(self.open, key=self._rows_left, reverse=True):
            up, down = range_.up, range_.down
            if down is None or self.is_waiting:
                if not up.busy:
                    return up
                if down is not None and not down.busy and down.reached is None:
                    return down
                continue
            # One page may be all that is left, and within one second nothing shows where two
            # scanners meet.
            one_scanner = range_.is_within_a_second or self._rows_left(range_) <= self.page_size
            scanners = (
                (up, down)
                if up.rows_in_last_second >= down.rows_in_last_second
                or not range_.is_within_a_second
                else (down, up)
            )
            if one_scanner and any(scanner.busy for scanner in scanners):
                continue
            for scanner in scanners[: 1 if one_scanner else 2]:
                if not scanner.busy:
                    return scanner
        return None

    def _may_open_scanner(self) -> bool:
        """Whether one more overlap of two scanners is worth its cost, as far as is known."""
        if (
            self.is_waiting
            or not self.is_sorted
            or not self.open
            or not (self.pages or len(self.expected))
        ):
            return False
        pages = self._estimate_pages()
        if not self.overlaps and not self.newest_end_read:
            if len(self.expected):
                return pages > self.options.scan_pages
            return (
                bool(
                    pages * SPARSE_BEGINNING > self.options.scan_pages
                    or self.pages >= self.options.scan_probe_pages
                )
                and pages - self.pages > 1
            )
        cost = self.repeated_rows / self.page_size + (len(self.open) + 1) * OVERLAP_PAGES + 1
        if not self.overlaps:
            return (
                cost <= self.options.scan_extra * (self.rows - self.repeated_rows) / self.page_size
            )
        return (
            cost <= self.options.scan_extra * pages
            and max(map(self._rows_left, self.open))
            >= self.options.scan_range_pages * self.page_size
        )

    def _is_proved_long(self) -> bool:
        """Whether both ends prove the list long: then reading on from both is worth its cost."""
        (range_,) = self.open
        return (
            range_.down is not None
            and range_.down.reached is not None
            and self._estimate_pages() > SAFETY * self.options.scan_pages
        )

    def _estimate_pages(self) -> float:
        """Estimate how many pages the list has, rather too few than too many."""
        left = sum(map(self._rows_left_at_least, self.open))
        # Once the newest end was read, the highest id bounds the number of rows.
        most_left = (
            max(self.highest_id - self.rows + self.repeated_rows, 0)
            if self.highest_id and self.newest_end_read
            else left
        )
        return (self.rows - self.repeated_rows + min(left, most_left)) / self.page_size

    def _open_scanner(self) -> Scanner | None:
        """Open a scanner: at the newest end, or in the middle of the largest range, both ways."""
        range_ = max(self.open, key=self._rows_left)
        if range_.down is None:
            range_.down = Scanner("down")
            # Of a list of unknown length, one page is read there.
            self.is_waiting = not self.newest_end_read and not len(self.expected)
            self.newest_end_read = True
            self.overlaps += not self.is_waiting
            return range_.down
        middle = self._middle_of(range_)
        if middle is None:
            return None
        span = self._page_span_at(range_, middle)
        below = Scanner("down", middle, reached=middle - 1, rows=self.page_size, span=span)
        above = Scanner("up", middle, reached=middle, rows=self.page_size, span=span)
        place = self.open.index(range_)
        self.open[place : place + 1] = [Range(range_.up, below), Range(above, range_.down)]
        self.overlaps += 1
        return below

    def _bounds(self, range_: Range) -> tuple[int, int] | None:
        low = range_.low
        if low is None:
            if not len(self.expected):
                return None
            low = int(self.expected[0]) - 1
        return low, max(low, self.newest if range_.high is None else range_.high)

    def _rows_left(self, range_: Range) -> float:
        """Estimate how many rows of a range are still to read."""
        bounds = self._bounds(range_)
        if bounds is None:
            return float(self.page_size)
        low, high = bounds
        if len(self.expected):
            return float(
                np.searchsorted(self.expected, high, "right")
                - np.searchsorted(self.expected, low, "right")
            )
        return _mean_density(_densities(range_)) * (high - low)

    def _rows_left_at_least(self, range_: Range) -> float:
        """Estimate how many rows of a range are still to read, bulk edits left out; a page where
        nothing is known.
        """
        bounds = self._bounds(range_)
        if bounds is None or len(self.expected):
            return self._rows_left(range_)
        low, high = bounds
        densities = [scanner.density if scanner else 0.0 for scanner in (range_.up, range_.down)]
        return _mean_density((densities[0] or densities[1], densities[1] or densities[0])) * (
            high - low
        )

    def _middle_of(self, range_: Range) -> int | None:
        """Return the full second below and above which about as many rows are left; None where
        there is none in between.
        """
        bounds = self._bounds(range_)
        if bounds is None or range_.down is None:
            return None
        low, high = bounds
        if len(self.expected):
            first, last = np.searchsorted(self.expected, (low, high), "right")
            middle = int(self.expected[(first + last) // 2]) if last > first else low
        else:
            middle = low + int((high - low) * _half_point(_densities(range_)))
        middle = middle // SECOND * SECOND
        return middle if low < middle <= high else None

    def _page_span_at(self, range_: Range, middle: int) -> int:
        """Estimate the time that a page of rows spans there, by both ends of a range."""
        low, high = self._bounds(range_) or (0, 1)
        densities = _densities(range_)
        density = densities[0] * math.exp(_steepness(densities) * (middle - low) / (high - low))
        return int(self.page_size / density) if density else 0

    def to_plain(self) -> dict[str, Any]:
        """Return the state for JSON, without requests in flight and without `expected`."""
        return {
            "open": [
                {
                    "up": _scanner_to_plain(range_.up),
                    "down": _scanner_to_plain(range_.down) if range_.down else None,
                }
                for range_ in self.open
            ],
            "pages": self.pages,
            "overlaps": self.overlaps,
            "repeated_rows": self.repeated_rows,
            "rows": self.rows,
            "highest_id": self.highest_id,
            "is_sorted": self.is_sorted,
            "newest": self.newest,
            "is_waiting": self.is_waiting,
            "newest_end_read": self.newest_end_read,
        }

    def resume(self, plain: Mapping[str, Any]) -> None:
        """Continue from the result of `to_plain`; raise `KeyError`, `TypeError` or `ValueError`
        where it is something else.
        """
        self.open = [
            Range(
                Scanner(**range_["up"]),
                Scanner(**range_["down"]) if range_["down"] is not None else None,
            )
            for range_ in plain["open"]
        ]
        self.pages, self.overlaps = int(plain["pages"]), int(plain["overlaps"])
        self.repeated_rows, self.rows, self.highest_id = (
            int(plain["repeated_rows"]),
            int(plain["rows"]),
            int(plain["highest_id"]),
        )
        self.is_sorted, self.newest = bool(plain["is_sorted"]), int(plain["newest"])
        self.is_waiting = bool(plain["is_waiting"])
        self.newest_end_read = bool(plain["newest_end_read"])


class UnsortedError(Exception):
    """A list is not in the order that was requested. Never leaves `sync`."""


def _scanner_to_plain(scanner: Scanner) -> dict[str, Any]:
    plain = {name: getattr(scanner, name) for name in scanner.__slots__}
    return {**plain, "busy": False}


def _is_in_order(scanner: Scanner, times: Times) -> bool:
    """Whether rows are in the order that a scanner requests, after those that it read."""
    if scanner.reached is not None:
        times = np.concatenate(([scanner.reached], times))
    steps = np.diff(times)
    return bool(np.all(steps >= 0) if scanner.direction == "up" else np.all(steps <= 0))


def _count_spread(times: Times) -> int:
    """Count the rows of a page, those of its most crowded second as one."""
    _, counts = np.unique(times // SECOND, return_counts=True)
    return int(len(times) - counts.max() + 1)


def _densities(range_: Range) -> tuple[float, float]:
    """Rows a microsecond at the lower and at the upper end of a range, as the pages there show."""
    low, high = (
        scanner.rows / max(scanner.span, SECOND) if scanner and scanner.rows else 0.0
        for scanner in (range_.up, range_.down)
    )
    return low or high, high or low


def _steepness(densities: tuple[float, float]) -> float:
    low, high = densities
    return max(-STEEPEST, min(STEEPEST, math.log(high / low))) if low else 0.0


def _mean_density(densities: tuple[float, float]) -> float:
    """Mean density of a range where it grows exponentially from one end to the other, as a company
    does.
    """
    low, steep = min(densities), abs(_steepness(densities))
    return low * math.expm1(steep) / steep if steep > 0.01 else low


def _half_point(densities: tuple[float, float]) -> float:
    """The share of a range, from its lower end, that holds half of its rows."""
    steep = _steepness(densities)
    return math.log((math.exp(steep) + 1) / 2) / steep if abs(steep) > 0.01 else 0.5
