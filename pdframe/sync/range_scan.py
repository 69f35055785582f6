"""Which cursors to walk a long list by, several at once: windows of `update_time`, read from both
ends and split while it helps.

A window is read upwards from its lower end and downwards from its upper end, until the two have
met: then none of its rows is missing, however unevenly they lie. A row that is edited meanwhile
moves to the newest end of the list, out of every window: who walks by windows asks at last for what
changed since the walk began.

A first load does not know how long a list is. It reads upwards, looks once at the newest end, and
holds that walker there until both ends together show that the list is long. A list that is not is
read upwards to its end, which brings what moved meanwhile too: the look is all that it cost, so a
list of up to 20 pages takes one request more at most, and a longer one 5 % more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

# An estimate must be this many times as long before a list counts as long: a first load knows no
# length.
SAFETY = 1.5
# Requests where two walkers meet: pages that bring the same rows.
MEETING = 2
# The oldest rows of a list are the fewest: its first page tells of as many times as many pages as
# it seems to.
SPARSE_BEGINNING = 4
SECOND = 1_000_000
# One end of a window may be e to the power of this as dense as the other; more is a bulk edit,
# which says nothing of the rest.
STEEPEST = 5.0

Direction = Literal["up", "down"]
Times = np.ndarray[Any, np.dtype[np.int64]]
NO_TIMES: Times = np.empty(0, np.int64)


@dataclass(slots=True, eq=False)
class Scanner:
    """One cursor: rows in the order of `update_time`, upwards or downwards.

    Times are microseconds since 1970. `edge` is where it began (None: at the end of the list). All
    rows between `edge` and `reached` have come, but for those of the very second of `reached`, of
    which `deep` have. `rows` of the last page lay within `span`. All pages came from `begun` to
    `reached` and held `spread` rows, the most crowded second of each page counted as one row: a
    bulk edit says nothing of the rest.
    """

    method: Direction
    edge: int | None = None
    cursor: str | None = None
    reached: int | None = None
    deep: int = 0
    rows: int = 0
    span: int = 0
    begun: int | None = None
    spread: int = 0
    busy: bool = False

    @property
    def density(self) -> float:
        """Rows a microsecond, bulk edits left out; 0 where the pages do not tell."""
        length = (
            abs(self.reached - self.begun)
            if self.reached is not None and self.begun is not None
            else 0
        )
        return self.spread / length if length >= SECOND else 0.0

    @property
    def filters(self) -> dict[str, str]:
        """The query parameters of its requests."""
        direction = {
            "sort_by": "update_time",
            "sort_direction": "asc" if self.method == "up" else "desc",
        }
        if self.edge is None:
            return direction
        at = datetime.fromtimestamp(self.edge // SECOND, UTC)
        return {
            **direction,
            "updated_since" if self.method == "up" else "updated_until": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        }


@dataclass(slots=True, eq=False)
class Window:
    """What lies between a walker upwards and one downwards; `down` is None where nobody comes from
    the newest end yet.
    """

    up: Scanner
    down: Scanner | None = None

    @property
    def low(self) -> int | None:
        """All earlier rows have come; None: nothing is known yet."""
        return self.up.reached

    @property
    def high(self) -> int | None:
        """All later rows have come, or are another window's."""
        return self.down.reached if self.down else None

    @property
    def met(self) -> bool:
        """Whether all of its rows have come."""
        return self.low is not None and self.high is not None and self.low > self.high

    @property
    def same_second(self) -> bool:
        """Whether all that is left lies within one second."""
        return (
            self.low is not None
            and self.high is not None
            and self.low // SECOND == self.high // SECOND
        )


@dataclass(slots=True)
class RangeScan:
    """The windows of one list that are not read yet.

    Parameters
    ----------
    page
        Rows a page.
    expected
        Sorted times of the rows as they were cached, to split by; empty where the list was never
        loaded: then pages tell.
    options
        The thresholds `scan_...`.

    Attributes
    ----------
    open
        The windows.
    pages, rows
        How many came.
    meetings, wasted
        How often two walkers meet, and how many rows have come twice.
    held
        Whether the walker from the newest end waits until the list proves long.
    looked
        Whether the newest end was looked at.
    highest
        The highest id.
    sorted
        Whether all rows came in the order that was asked for.
    newest
        The newest time, or the server's clock.
    top
        The newest time when the newest end was looked at first; None: it was not, or in an earlier
        session.
    """

    page: int
    expected: Times = field(default_factory=lambda: NO_TIMES)
    options: SyncOptions = DEFAULT_OPTIONS
    open: list[Window] = field(default_factory=lambda: [Window(Scanner("up"))])
    pages: int = 0
    meetings: int = 0
    wasted: int = 0
    rows: int = 0
    highest: int = 0
    sorted: bool = True
    newest: int = 0
    covered: bool = False
    observed: bool = False
    top: int | None = None

    @property
    def closing(self) -> bool:
        """Whether rows that moved meanwhile are in no page."""
        return self.meetings > 0

    @property
    def spare(self) -> int:
        """How many more requests it may surely cost."""
        # Within one second nothing says which rows come again where two walkers meet: a page at
        # most.
        plain = (self.rows - self.wasted) // self.page - self.meetings
        return math.floor((1 + self.options.scan_extra) * plain) - self.pages

    def ready(self, lanes: int) -> list[Scanner]:
        """Up to `lanes` walkers whose next page is to be asked for now; they are busy until `took`
        is told of it.
        """
        chosen: list[Scanner] = []
        if self.covered and self._proved_long():
            self.covered, self.meetings = False, 1
        while len(chosen) < lanes:
            walker = self._idle() or (self._opened() if self._may_open() else None)
            if walker is None:
                break
            walker.busy = True
            chosen.append(walker)
        return chosen

    def took(
        self, walker: Scanner, times: Times, cursor: str | None, *, now: int, highest: int = 0
    ) -> None:
        """Note that a page came.

        Parameters
        ----------
        walker
            Whose it was.
        times
            When its rows were updated, in their order; rows that tell no time are left out.
        cursor
            Of the page behind it; None where it was the last.
        now
            The server's clock.
        highest
            The highest id of its rows: there are no more rows than that.

        Raises
        ------
        UnsortedError
            The rows are not in the order that was asked for, so that nothing says which of them are
            missing.
        """
        self.pages, self.rows = self.pages + 1, self.rows + len(times)
        self.newest, self.highest = max(self.newest, now, *times[-1:]), max(self.highest, highest)
        walker.busy, walker.cursor = False, cursor
        self.sorted = self.sorted and _in_order(walker, times)
        if not self.sorted and self.meetings:
            raise UnsortedError
        self.wasted += self._seen_already(walker, times)
        if len(times):
            walker.begun = int(times[0]) if walker.begun is None else walker.begun
            walker.spread += _spread(times)
            if walker.method == "down" and walker.edge is walker.reached is None:
                self.top = int(times[0])
            deep = int(np.sum(times // SECOND == times[-1] // SECOND))
            walker.deep = deep + (
                walker.deep if deep == len(times) and walker.reached in times[:1] else 0
            )
            walker.reached = int(times[-1])
            walker.rows, walker.span = len(times), abs(int(times[-1]) - int(times[0]))
        if self.covered:
            self._release(walker, cursor)
        if cursor is None:
            self.open = [
                window
                for window in self.open
                if walker is not window.up and walker is not window.down
            ]
        self.open = [window for window in self.open if not window.met]

    def _release(self, walker: Scanner, cursor: str | None) -> None:
        """End the wait of the held walker where nothing is left for it, or where order tells
        nothing.
        """
        (window,) = self.open
        if walker is window.down and cursor is None:
            self.covered, self.meetings = False, 1  # all rows came with its page
        elif window.met or not self.sorted or (walker is window.up and cursor is None):
            # The walker upwards goes on to the end: cheaper than to ask what moved meanwhile.
            self.wasted += window.down.rows if window.down else 0
            window.down, self.covered = None, False

    def _seen_already(self, walker: Scanner, times: Times) -> int:
        """How many rows of a page another walker brought as well."""
        for window in self.open:
            if walker is window.up:
                return int(np.sum(times > window.high)) if window.high is not None else 0
            if walker is window.down:
                return int(np.sum(times < window.low)) if window.low is not None else 0
        return len(times)

    def _idle(self) -> Scanner | None:
        """A walker to go on with, of the window with the most rows left."""
        for window in sorted(self.open, key=self._left, reverse=True):
            up, down = window.up, window.down
            if down is None or self.covered:
                if not up.busy:
                    return up
                if down is not None and not down.busy and down.reached is None:
                    return down
                continue
            # One page may be all that is left, and within one second nothing says where two walkers
            # meet.
            alone = window.same_second or self._left(window) <= self.page
            walkers = (up, down) if up.deep >= down.deep or not window.same_second else (down, up)
            if alone and any(walker.busy for walker in walkers):
                continue
            for walker in walkers[: 1 if alone else 2]:
                if not walker.busy:
                    return walker
        return None

    def _may_open(self) -> bool:
        """Whether one more meeting of two walkers is worth its price, as far as is known."""
        if (
            self.covered
            or not self.sorted
            or not self.open
            or not (self.pages or len(self.expected))
        ):
            return False
        pages = self._pages_in_all()
        if not self.meetings and not self.observed:
            if len(self.expected):
                return pages > self.options.scan_pages
            return (
                bool(
                    pages * SPARSE_BEGINNING > self.options.scan_pages
                    or self.pages >= self.options.scan_probe_pages
                )
                and pages - self.pages > 1
            )
        price = self.wasted / self.page + (len(self.open) + 1) * MEETING + 1
        if not self.meetings:
            return price <= self.options.scan_extra * (self.rows - self.wasted) / self.page
        worth = max(map(self._left, self.open)) >= self.options.scan_range_pages * self.page
        return price <= self.options.scan_extra * pages and worth

    def _proved_long(self) -> bool:
        """Whether both ends tell that the list is long: then walking on from both is worth its
        price.
        """
        (window,) = self.open
        return (
            window.down is not None
            and window.down.reached is not None
            and self._pages_in_all() > SAFETY * self.options.scan_pages
        )

    def _pages_in_all(self) -> float:
        """About how many pages the list has, rather too few than too many."""
        left = sum(map(self._left_at_least, self.open))
        # Once the newest end was looked at, the highest id bounds the number of rows.
        most = (
            max(self.highest - self.rows + self.wasted, 0)
            if self.highest and self.observed
            else left
        )
        return (self.rows - self.wasted + min(left, most)) / self.page

    def _opened(self) -> Scanner | None:
        """A walker that was not there before: from the newest end, or from the middle of the
        largest window, both ways.
        """
        window = max(self.open, key=self._left)
        if window.down is None:
            window.down = Scanner("down")
            # A list whose length is not known is only looked at.
            self.covered = not self.observed and not len(self.expected)
            self.observed = True
            self.meetings += not self.covered
            return window.down
        middle = self._middle(window)
        if middle is None:
            return None
        span = self._span_at(window, middle)
        below = Scanner("down", middle, reached=middle - 1, rows=self.page, span=span)
        above = Scanner("up", middle, reached=middle, rows=self.page, span=span)
        place = self.open.index(window)
        self.open[place : place + 1] = [Window(window.up, below), Window(above, window.down)]
        self.meetings += 1
        return below

    def _bounds(self, window: Window) -> tuple[int, int] | None:
        low = window.low
        if low is None:
            if not len(self.expected):
                return None
            low = int(self.expected[0]) - 1
        return low, max(low, self.newest if window.high is None else window.high)

    def _left(self, window: Window) -> float:
        """About how many rows of a window are still to come."""
        bounds = self._bounds(window)
        if bounds is None:
            return float(self.page)
        low, high = bounds
        if len(self.expected):
            return float(
                np.searchsorted(self.expected, high, "right")
                - np.searchsorted(self.expected, low, "right")
            )
        return _mean(_densities(window)) * (high - low)

    def _left_at_least(self, window: Window) -> float:
        """About how many rows of a window are still to come, bulk edits left out; a page where
        nothing tells.
        """
        bounds = self._bounds(window)
        if bounds is None or len(self.expected):
            return self._left(window)
        low, high = bounds
        densities = [walker.density if walker else 0.0 for walker in (window.up, window.down)]
        return _mean((densities[0] or densities[1], densities[1] or densities[0])) * (high - low)

    def _middle(self, window: Window) -> int | None:
        """The whole second below and above which about as many rows are still to come; None where
        there is none in between.
        """
        bounds = self._bounds(window)
        if bounds is None or window.down is None:
            return None
        low, high = bounds
        if len(self.expected):
            first, last = np.searchsorted(self.expected, (low, high), "right")
            middle = int(self.expected[(first + last) // 2]) if last > first else low
        else:
            middle = low + int((high - low) * _half(_densities(window)))
        middle = middle // SECOND * SECOND
        return middle if low < middle <= high else None

    def _span_at(self, window: Window, middle: int) -> int:
        """Within what time a page of rows lies there, as far as both ends of a window tell."""
        low, high = self._bounds(window) or (0, 1)
        densities = _densities(window)
        density = densities[0] * math.exp(_steepness(densities) * (middle - low) / (high - low))
        return int(self.page / density) if density else 0

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold of it, without requests under way and without what is expected."""
        return {
            "open": [
                {"up": _plain(window.up), "down": _plain(window.down) if window.down else None}
                for window in self.open
            ],
            "pages": self.pages,
            "meetings": self.meetings,
            "wasted": self.wasted,
            "rows": self.rows,
            "highest": self.highest,
            "sorted": self.sorted,
            "newest": self.newest,
            "held": self.covered,
            "looked": self.observed,
        }

    def take_up(self, plain: Mapping[str, Any]) -> None:
        """Go on from what `to_plain` made; `KeyError`, `TypeError` or `ValueError` where it is
        something else.
        """
        self.open = [
            Window(
                Scanner(**window["up"]),
                Scanner(**window["down"]) if window["down"] is not None else None,
            )
            for window in plain["open"]
        ]
        self.pages, self.meetings = int(plain["pages"]), int(plain["meetings"])
        self.wasted, self.rows, self.highest = (
            int(plain["wasted"]),
            int(plain["rows"]),
            int(plain["highest"]),
        )
        self.sorted, self.newest = bool(plain["sorted"]), int(plain["newest"])
        # A walk that an earlier version began held no walker back.
        self.covered, self.observed = (
            bool(plain.get("held", False)),
            bool(plain.get("looked", self.meetings)),
        )


class UnsortedError(Exception):
    """A list does not come in the order that was asked for. Never leaves `sync`."""


def _plain(walker: Scanner) -> dict[str, Any]:
    plain = {name: getattr(walker, name) for name in walker.__slots__}
    return {**plain, "busy": False}


def _in_order(walker: Scanner, times: Times) -> bool:
    """Whether rows come in the order that a walker asks for, behind those that it had before, and
    from its edge on.
    """
    if walker.reached is not None:
        times = np.concatenate(([walker.reached], times))
    steps = np.diff(times)
    return bool(np.all(steps >= 0) if walker.method == "up" else np.all(steps <= 0))


def _spread(times: Times) -> int:
    """How many rows a page holds, those of its most crowded second counted as one."""
    _, counts = np.unique(times // SECOND, return_counts=True)
    return int(len(times) - counts.max() + 1)


def _densities(window: Window) -> tuple[float, float]:
    """Rows a microsecond at the lower and at the upper end of a window, as the pages there tell."""
    low, high = (
        walker.rows / max(walker.span, SECOND) if walker and walker.rows else 0.0
        for walker in (window.up, window.down)
    )
    return low or high, high or low


def _steepness(densities: tuple[float, float]) -> float:
    low, high = densities
    return max(-STEEPEST, min(STEEPEST, math.log(high / low))) if low else 0.0


def _mean(densities: tuple[float, float]) -> float:
    """Mean density of a window where it grows exponentially from one end to the other, as a company
    does.
    """
    low, steep = min(densities), abs(_steepness(densities))
    return low * math.expm1(steep) / steep if steep > 0.01 else low


def _half(densities: tuple[float, float]) -> float:
    """Up to which part of a window half of its rows lie."""
    steep = _steepness(densities)
    return math.log((math.exp(steep) + 1) / 2) / steep if abs(steep) > 0.01 else 0.5
