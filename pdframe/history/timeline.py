"""The timeline of one deal: its visits to stages, each time exact or bounded.

An open deal visits a stage until it moves, or is won, lost or deleted. A deal that is won, lost or
deleted is in no stage. Each change in that state (of its status or stage, its deletion or
restoration) is a visit of no length at the time of the change, in the stage that the deal has then,
and ends in the status that the deal has then. So the last visit of a deal always has its last
stage, pipeline and status.

Times are integers (microseconds since 1970 UTC), None where there is none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

CLOSED = frozenset({"won", "lost"})
ENDED = CLOSED | {"deleted"}
NEAR = 2_000_000  # microseconds; the stamps of one write differ by this much at most


class Observation(NamedTuple):
    """A deal in one snapshot; `moved` is its `stage_change_time`, `at` the time of the snapshot and
    `snapshot` its number.
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
        """The time of its closing in its own columns."""
        return self.won if self.status == "won" else self.lost

    @property
    def placed(self) -> int | None:
        """When it entered its stage: if it never moved, when it was added."""
        return self.added if self.moved is None else self.moved


@dataclass(slots=True)
class Visit:
    """One visit of a deal to a stage.

    `*_after` is None if the time is exact. `left_at` is None and `end` "open" while the deal is
    there.
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
        """The earliest time at which the deal may have entered."""
        return self.entered_at if self.entered_after is None else self.entered_after


class Snapshots:
    """What the snapshots of all deals prove of a deal that they show unchanged.

    Moves and closings have a stamp, and deletions are listed. So an open deal without a row in a
    snapshot was still open in its stage at the newest stamp of that snapshot. Only a full snapshot
    proves that a closed deal was still closed: reopening may leave no stamp.
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
        """Return up to when the snapshots before this one (None: all) know of changes."""
        known = self._full if full else self._any
        at = len(known) if snapshot is None else bisect_left(self._numbers, snapshot)
        return known[at - 1] if at else None

    def at(self, snapshot: int | None) -> int | None:
        """Return up to when this snapshot knows of changes."""
        return None if snapshot is None else self._own.get(snapshot)


class Timeline:
    """Follows one deal from observation to observation, and builds its visits.

    Parameters
    ----------
    orders
        Place of each stage in its pipeline.
    snapshots
        The snapshots of all deals.
    reported
        Whether the account has `stage_change_time` at all: then a deal without one never moved.

    Attributes
    ----------
    visits : list of Visit
        The visits so far.
    source : str
        The source of visits from observations.
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
        """Return whether the deal is seen in the stage in which it was added."""
        return self._reported if seen.moved is None else seen.moved == seen.added

    # Exact steps, from a changelog

    def enter(
        self, deal: int, stage: int | None, pipeline: int | None, at: int, after: int | None = None
    ) -> None:
        """Begin a visit that the changelog dates."""
        self._begin(Visit(deal, pipeline, stage, after, at, at, "changelog"))

    def leave(self, at: int, end: str) -> None:
        """End the open visit at a time that the changelog has; do nothing if there is none."""
        if self._open is not None:
            self._close(None, at, end)

    def move(self, stage: int | None, pipeline: int | None, at: int) -> None:
        """Move to another stage, if there is an open visit."""
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
        """Add a visit of no length for a change of a closed deal; `unseen`: it was open before,
        unknown since when.
        """
        after = self.visits[-1].left_at if unseen else None
        self.enter(deal, stage, pipeline, at, None if after is None or after >= at else after)
        self.leave(at, end)

    def unchange(self, at: int, end: str) -> None:
        """Remove the last visits of no length that are of this time and did not change the status
        of the closed deal.
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
        """Continue after a changelog that ends at `until` and leaves the deal as in `last`."""
        self._last, self._replayed, self._floor = last, True, until

    # Steps from observations

    def observe(self, now: Observation) -> None:
        """Continue with an observation that is later than all before it."""
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
            return  # older than the changelog
        floor = self._proved_until(now, last)
        if now.removed:
            times = _bounds(floor, now.at)
            # A snapshot without the deal: all but its removal is known from the one before. What a
            # list of deletions shows may have been gone earlier.
            at = max(now.at, last.at)
            now = last._replace(removed=True, status=now.status, at=at, snapshot=now.snapshot)
            if self._open is not None:
                self._close(*times, "deleted")
            elif self.visits and not last.removed:
                self._change(now, times, "deleted")
        elif self._open is not None:
            if self._has_moved(now, last):
                self._change_visit(now, floor)
            else:
                self._continue(now, floor)
        elif now.status == "open" or self._closed_again(now, last, floor):
            self._arrive(now, floor)
        elif now.status in CLOSED and (
            last.removed or (now.stage, now.pipeline) != (last.stage, last.pipeline)
        ):
            self._change(now, self._change_time(now, last, floor), now.status or "")
        self._last, self._replayed = now, False

    def _proved_until(self, now: Observation, last: Observation) -> int:
        """Return up to when the deal is known to have been as in the last observation."""
        floor = self._floor
        if self.visits:
            visit = self.visits[-1]
            left = visit.left_at if visit.left_after is None else visit.left_after
            floor = max(floor, visit.begun if left is None else left)
        # A deal that disappeared without being listed as deleted may have become invisible at any
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
        """Return whether it was closed since, from open or from another status. A closing with an
        edited, earlier date is none.

        A deal that reappeared or was restored is closed as before if its time of closing is the
        same.
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
        """Return whether two stamps are of one change; the changelog may stamp it a little before
        or after the deal's own columns.
        """
        if self._replayed and now is not None and last is not None:
            return abs(now - last) <= NEAR
        return now == last

    @staticmethod
    def _change_time(now: Observation, last: Observation, floor: int) -> tuple[int | None, int]:
        """Return the bounds of a change of a closed deal: exact if it moved and its own time is
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
        """Add a visit of no length for a change of a closed deal."""
        after, at = times
        self._begin(Visit(now.deal, now.pipeline, now.stage, after, at, now.at, self.source))
        self._close(after, at, end)

    def _arrive(self, now: Observation, floor: int, *, first: bool = False) -> None:
        """Begin the visit in which the deal is seen, or in which it was closed."""
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

    def _change_visit(self, now: Observation, floor: int) -> None:
        """End the open visit and begin the one in which the deal is seen; what lies between is
        unknown.
        """
        left, self._open = self._open, None
        number = len(self.visits)
        self._arrive(now, floor)
        reached = self.visits[number]
        if left is not None:
            left.end = self._end_of_move(left, reached)
            left.left_after, left.left_at = _bounds(floor, reached.entered_at)
            _trim(left)
            self._separate(number)

    def _continue(self, now: Observation, floor: int, *, arrived: bool = False) -> None:
        """Add to the open visit what the observation shows: a first win and a reopening, a closing,
        or nothing.
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
            # If the observation before shows the visit without the win, the visit is older than the
            # win, whatever the clocks of snapshots say. If this observation is the first of the
            # visit, a win in the second of the move may have been in the stage before.
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
                # This visit began after that win.
                visit.entered_after = first
        if closing is not None and now.status is not None:
            self._close(*closing, now.status)

    @staticmethod
    def _closing(now: Observation, floor: int) -> tuple[int | None, int]:
        """Return the bounds of the closing: exact if the deal's own time is possible."""
        at = now.closed
        return (None, at) if at is not None and floor <= at <= now.at else _bounds(floor, now.at)

    def _begin(self, visit: Visit) -> None:
        self.visits.append(visit)
        self._separate()
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
            self._separate()
            self._open = None

    def _separate(self, count: int | None = None) -> None:
        """End each of the first `count` visits (None: of all) at the latest when the next one
        begins; only the last of them has changed.
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
    """Return the bounds of a time; bounds without room are exact."""
    return (after, at) if after < at else (None, at)


def newest(*times: int | None) -> int | None:
    """Return the latest time that is not None."""
    return max((time for time in times if time is not None), default=None)


def _trim(visit: Visit) -> None:
    """Let a visit begin at the latest when it ends; bounds without room are exact."""
    if visit.left_at is not None:
        visit.entered_at = min(visit.entered_at, visit.left_at)
        if visit.left_after is not None and visit.left_after >= visit.left_at:
            visit.left_after = None
    if visit.entered_after is not None and visit.entered_after >= visit.entered_at:
        visit.entered_after = None
