"""The course of one deal through its stages, as the looks at it tell: what is exact, what is
bounded, and nothing in between.

An open deal stays in a stage until it moves on, is won, lost or deleted. A deal that is won, lost
or deleted is in no stage: what changes then (its status, its stage, its deletion, its restoration)
is a stay of no length at the time of the change, in the stage that the deal has then, which ends in
the status that the deal has then. So the last stay of a deal always tells its last stage, pipeline
and status.

Times are integers (microseconds since 1970 UTC), None where there is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

CLOSED = frozenset({"won", "lost"})
ENDED = CLOSED | {"deleted"}
NEAR = 2_000_000  # microseconds; stamps of one write may lie so far apart


class Observation(NamedTuple):
    """A deal as one look found it; `moved` is its `stage_change_time`, `at` the time of the look
    and `snapshot` its number.
    """

    deal: int
    stage: int | None
    pipeline: int | None
    status: str | None
    moved: int | None
    added: int | None
    won: int | None
    lost: int | None
    first_won: int | None
    removed: bool
    at: int
    snapshot: int | None

    @property
    def closed(self) -> int | None:
        """When it was closed, as its own columns say."""
        return self.won if self.status == "won" else self.lost

    @property
    def placed(self) -> int | None:
        """When it last came to a stage: never moved, when it was added."""
        return self.added if self.moved is None else self.moved


@dataclass(slots=True)
class Visit:
    """One stay; `*_after` is None where the time is exact, `left_at` and `end` as long as the deal
    is there.
    """

    deal: int
    pipeline: int | None
    stage: int | None
    entered_after: int | None
    entered_at: int
    seen_at: int
    source: str
    left_after: int | None = None
    left_at: int | None = None
    end: str | None = "open"

    @property
    def begun(self) -> int:
        """The earliest time at which it may have begun."""
        return self.entered_at if self.entered_after is None else self.entered_after


class Snapshots:
    """What the looks at all deals prove of a deal that they did not find changed.

    A deal's moves and closings are stamped, and its deletion is listed, so an open deal that a look
    did not bring was still open in its stage at the newest stamp of that look. Of a closed deal
    only a full look says that it was still closed: reopening need not be stamped.
    """

    def __init__(self, snapshots: Iterable[tuple[int, str, int | None]] = ()) -> None:
        self._numbers: list[int] = []
        self._any: list[int | None] = []
        self._full: list[int | None] = []
        self._own: dict[int, int | None] = {}
        latest: int | None = None
        full: int | None = None
        for number, kind, complete_to in snapshots:
            latest = newest(latest, complete_to)
            full = newest(full, complete_to) if kind == "full" else full
            self._numbers.append(number)
            self._any.append(latest)
            self._full.append(full)
            self._own[number] = complete_to

    def before(self, snapshot: int | None, *, full: bool) -> int | None:
        """Up to when the looks before this one (None: all) know of changes."""
        known = self._full if full else self._any
        at = len(known) if snapshot is None else bisect_left(self._numbers, snapshot)
        return known[at - 1] if at else None

    def at(self, snapshot: int | None) -> int | None:
        """Up to when this very look knows of changes."""
        return None if snapshot is None else self._own.get(snapshot)


class Timeline:
    """Follows one deal, sighting by sighting, and writes its stays.

    Parameters
    ----------
    orders
        Place of each stage in its pipeline.
    looks
        The looks at all deals.
    told
        Whether the account tells `stage_change_time` at all: then a deal without one never moved.
    """

    def __init__(self, orders: Mapping[int, int], snapshots: Snapshots, *, reported: bool) -> None:
        self.visits: list[Visit] = []
        self._orders = orders
        self._snapshots = snapshots
        self._reported = reported
        self._open: Visit | None = None
        self._last: Observation | None = None
        self._replayed = False
        self._floor = 0
        self.source = "current"

    def never_moved(self, seen: Observation) -> bool:
        """Whether a look found the deal in the stage in which it was added."""
        return self._reported if seen.moved is None else seen.moved == seen.added

    # Exact steps, from a changelog

    def enter(
        self, deal: int, stage: int | None, pipeline: int | None, at: int, after: int | None = None
    ) -> None:
        """Begin a stay that the changelog tells."""
        self._begin(Visit(deal, pipeline, stage, after, at, at, "changelog"))

    def leave(self, at: int, end: str) -> None:
        """End the open stay that the changelog tells, if there is one."""
        if self._open is not None:
            self._close(None, at, end)

    def move(self, stage: int | None, pipeline: int | None, at: int) -> None:
        """Go on in another stage."""
        visit = self._open
        if visit is not None:
            self.leave(at, "")
            self.enter(visit.deal, stage, pipeline, at)
            visit.end = self._end_of_move(visit, self.visits[-1])

    def change(
        self,
        deal: int,
        stage: int | None,
        pipeline: int | None,
        at: int,
        end: str,
        *,
        unseen: bool = False,
    ) -> None:
        """Add the stay of no length that a change of a closed deal is; `unseen`: it was open
        before, nothing tells since when.
        """
        after = self.visits[-1].left_at if unseen else None
        self.enter(deal, stage, pipeline, at, None if after is None or after >= at else after)
        self.leave(at, end)

    def unchange(self, at: int, end: str) -> None:
        """Take back the last changes of a closed deal that were of this time and left its status as
        it was.
        """
        while self.visits[1:] and (
            self.visits[-1].entered_at,
            self.visits[-1].left_at,
            self.visits[-1].end,
        ) == (at, at, end):
            if self.visits[-2].left_at is None or self.visits[-2].end not in ENDED:
                return
            self.visits.pop()

    def replayed(self, last: Observation, until: int) -> None:
        """The changelog is told up to `until`, and leaves the deal as in `last`: what looks saw
        later goes on from there.
        """
        self._last, self._replayed, self._floor = last, True, until

    # Steps from looks

    def observe(self, now: Observation) -> None:
        """Go on with what a look found."""
        last = self._last
        if last is None:
            if not now.removed:
                self._arrive(now, now.added or 0, first=True)
            self._last = now
            return
        if (
            self._replayed
            and self._reported
            and not now.removed
            and (now.placed or 0) < (last.placed or 0) - NEAR
        ):
            return  # an older look than the changelog
        floor = self._known_to(now, last)
        if now.removed:
            # What is missing is known as it was seen last.
            now = last._replace(removed=True, status=now.status, at=now.at, snapshot=now.snapshot)
            if self._open is not None:
                self._close(*_bounds(floor, now.at), "deleted")
            elif self.visits and not last.removed:
                self._change(now, _bounds(floor, now.at), "deleted")
        elif self._open is not None:
            if self._has_moved(now, last):
                self._go_over(now, floor)
            else:
                self._continue(now, floor)
        elif now.status == "open" or self._closed_again(now, last, floor):
            self._arrive(now, floor)
        elif now.status in CLOSED and (
            last.removed or (now.stage, now.pipeline) != (last.stage, last.pipeline)
        ):
            self._change(now, self._change_time(now, last, floor), now.status or "")
        self._last, self._replayed = now, False

    def _known_to(self, now: Observation, last: Observation) -> int:
        """Up to when the deal is known to have been as it was seen last."""
        floor = self._floor
        if self.visits:
            visit = self.visits[-1]
            left = visit.left_at if visit.left_after is None else visit.left_after
            floor = max(floor, visit.begun if left is None else left)
        # A deal that is missing without being listed as deleted may have become invisible at any
        # time.
        sure = self._open is not None and (not now.removed or now.status == "deleted")
        known = self._snapshots.before(now.snapshot, full=not sure)
        return max(floor, known or 0)

    def _has_moved(self, now: Observation, last: Observation) -> bool:
        return (
            now.stage != last.stage
            or now.pipeline != last.pipeline
            or (self._reported and not self._same(now.placed, last.placed))
        )

    def _closed_again(self, now: Observation, last: Observation, floor: int) -> bool:
        """Whether it was closed since, from open or from another status; a closing that was merely
        dated back is none.

        A deal that came back into sight or was restored is closed as it was where its time of
        closing is the same.
        """
        if now.status not in CLOSED:
            return False
        before = last.won if now.status == "won" else last.lost
        if last.removed:
            return now.closed is None or not self._same(now.closed, before)
        if now.status != last.status:
            return True
        return now.closed is not None and now.closed >= floor and not self._same(now.closed, before)

    def _same(self, now: int | None, last: int | None) -> bool:
        """Whether two stamps are one; the changelog may stamp what it tells a little before or
        after the deal's own columns.
        """
        if self._replayed and now is not None and last is not None:
            return abs(now - last) <= NEAR
        return now == last

    @staticmethod
    def _change_time(now: Observation, last: Observation, floor: int) -> tuple[int | None, int]:
        """Bounds of the change of a closed deal: exact where it moved and its own time is
        possible.
        """
        at = now.moved
        if (
            not last.removed
            and now.stage != last.stage
            and at is not None
            and at != last.moved
            and floor <= at <= now.at
        ):
            return None, at
        return _bounds(floor, now.at)

    def _change(self, now: Observation, times: tuple[int | None, int], end: str) -> None:
        """Add the stay of no length that a change of a closed deal is."""
        after, at = times
        self._begin(Visit(now.deal, now.pipeline, now.stage, after, at, now.at, self.source))
        self._close(after, at, end)

    def _arrive(self, now: Observation, floor: int, *, first: bool = False) -> None:
        """Begin the stay in which a look found the deal, or the one in which it was closed."""
        last = self._last
        if first:
            entry = (
                max(now.moved, floor)
                if now.moved is not None
                else now.added
                if self._reported
                else None
            )
        else:
            entry = now.moved if last is None or now.moved != last.moved else None
        limit = now.at if now.status not in CLOSED else self._closing(now, floor)[1]
        if entry is not None and floor <= entry <= limit:
            after, at = None, entry
        else:
            after, at = _bounds(floor, limit)
        self._begin(Visit(now.deal, now.pipeline, now.stage, after, at, now.at, self.source))
        self._continue(now, floor, arrived=True)

    def _go_over(self, now: Observation, floor: int) -> None:
        """Leave the open stay for the one in which a look found the deal; what lay between is not
        known.
        """
        left, self._open = self._open, None
        number = len(self.visits)
        self._arrive(now, floor)
        reached = self.visits[number]
        if left is not None:
            left.end = self._end_of_move(left, reached)
            left.left_after, left.left_at = _bounds(floor, reached.entered_at)
            _trim(left)
            self._part(number)

    def _continue(self, now: Observation, floor: int, *, arrived: bool = False) -> None:
        """Bring the open stay up to what a look found of it: a first win and a reopening, a
        closing, or nothing.
        """
        visit, first = self._open, now.first_won
        if visit is None:
            return
        closing = self._closing(now, floor) if now.status in CLOSED else None
        limit = closing[1] if closing else now.at
        new = first is not None and (self._last is None or self._last.first_won != first)
        if (
            new
            and first is not None
            and floor <= first <= limit
            and not (now.status == "won" and first == now.won)
        ):
            # Where the look before saw the stay without the win, the stay is older than it,
            # whatever the clocks of looks say. Of one that this look is the first to see: a win in
            # the very second of the move may have been in the stage before.
            if (
                not arrived
                or visit.entered_at < first
                or (visit.entered_at == first and self._reported and now.moved is None)
            ):
                self._close(None, first, "won")
                self._begin(
                    Visit(
                        now.deal,
                        now.pipeline,
                        now.stage,
                        *_bounds(first, limit),
                        now.at,
                        self.source,
                    )
                )
            elif visit.entered_after is not None and visit.entered_after < first < visit.entered_at:
                # The stay in which it is now began after that win.
                visit.entered_after = first
        if closing is not None and now.status is not None:
            self._close(*closing, now.status)

    @staticmethod
    def _closing(now: Observation, floor: int) -> tuple[int | None, int]:
        """Bounds of the closing: exact where the deal's own time is possible."""
        at = now.closed
        return (None, at) if at is not None and floor <= at <= now.at else _bounds(floor, now.at)

    def _begin(self, visit: Visit) -> None:
        self.visits.append(visit)
        self._part()
        self._open = visit

    def _close(self, after: int | None, at: int, end: str) -> None:
        visit = self._open
        if visit is not None:
            visit.left_after, visit.left_at, visit.end = (
                after,
                max(at, visit.begun),
                end,
            )
            _trim(visit)
            self._part()
            self._open = None

    def _part(self, count: int | None = None) -> None:
        """End each of the first stays (None: of all) when the next one begins, at the latest; the
        last of them has changed.
        """
        for place in range((len(self.visits) if count is None else count) - 1, 0, -1):
            before, visit = self.visits[place - 1], self.visits[place]
            if before.left_at is not None and before.left_at > visit.entered_at:
                before.left_at = visit.entered_at
                _trim(before)
            elif before.left_at is not None:
                return

    def _end_of_move(self, left: Visit, reached: Visit) -> str | None:
        if left.pipeline != reached.pipeline:
            return "changed pipeline"
        old, new = self._orders.get(left.stage or 0), self._orders.get(reached.stage or 0)
        if left.stage == reached.stage or old is None or new is None:
            return None
        return "advanced" if new > old else "moved back"


def _bounds(after: int, at: int) -> tuple[int | None, int]:
    """Bounds of a time; one that leaves no room is exact."""
    return (after, at) if after < at else (None, at)


def newest(*times: int | None) -> int | None:
    """The latest of the times there are."""
    return max((time for time in times if time is not None), default=None)


def _trim(visit: Visit) -> None:
    """It began before it ended, at the latest; bounds that leave no room are exact."""
    if visit.left_at is not None:
        visit.entered_at = min(visit.entered_at, visit.left_at)
        if visit.left_after is not None and visit.left_after >= visit.left_at:
            visit.left_after = None
    if visit.entered_after is not None and visit.entered_after >= visit.entered_at:
        visit.entered_after = None
