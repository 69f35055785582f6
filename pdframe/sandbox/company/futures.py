"""The true probabilities of open deals at a past time, by simulating each deal's futures with the
rules that the company's life draws from.

A deal's state is what the rules depend on: stage, time in it, owner, segment, age. What it hides is
drawn given that state: how much longer the visit lasts given that it has lasted so far,
whether the deal is still pursued, the market's factors of later months. What is planned and what
the market names, a rep who leaves, a break, a bulk closing, is known. Left out are the spring
cleanings, which delete a few old deals, and what programs write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log, sqrt
from random import Random
from typing import NamedTuple

from .catalog import USERS
from .clock import DAY, after_work, epoch, work_days
from .ledger import Event, Ledger
from .process import (
    DEAD_DAYS,
    DELETED,
    DELETED_AFTER,
    DELETED_MEAN,
    FORGOTTEN,
    PASSED_ON,
    PLACES,
    SILENT_LOSS,
    SKIPPED,
    SLIPS,
    Conditions,
    Process,
    month_of,
)

__all__ = ["Futures", "WinProbability"]

_REPS = [user for user, *_ in USERS[1:]]
_NEVER = 2**60


class WinProbability(NamedTuple):
    """P(an open deal is won, or lost, within `horizon` days), as its first closing; `error` is the
    standard error of `won` that the number of simulated futures leaves.
    """

    deal_id: int
    horizon: float
    won: float
    lost: float
    error: float


class _State(NamedTuple):
    """An open deal at a time: `first_owner` had it when the visit began at `entered`."""

    deal_id: int
    conditions: Conditions
    first_owner: int
    entered: int


class Futures:
    """Simulates the futures of open deals.

    Parameters
    ----------
    ledger
        The company's events.
    process
        Its rules.
    segments
        Segment by organization.
    """

    def __init__(self, ledger: Ledger, process: Process, segments: Mapping[int, int]) -> None:
        self._ledger = ledger
        self._process = process
        self._segments = segments

    def win_probabilities(
        self, as_of: int, horizons: Sequence[float], deal_ids: Iterable[int] | None, futures: int
    ) -> list[WinProbability]:
        """Return one row an open deal and horizon, by deal and horizon."""
        logs = self._ledger._logs["deals"]
        wanted = logs if deal_ids is None else {key: logs[key] for key in sorted(set(deal_ids))}
        ends = [as_of + int(horizon * DAY) for horizon in horizons]
        result = []
        for events in wanted.values():
            state = self._state(events, as_of)
            if state is None:
                continue
            won, lost = self._closings(state, as_of, max(ends), futures)
            for horizon, end in zip(horizons, ends, strict=True):
                share = sum(t <= end for t in won) / futures
                other = sum(t <= end for t in lost) / futures
                # As if one more future had been won and one more not, so that it is never 0.
                shrunk = (share * futures + 1) / (futures + 2)
                error = sqrt(shrunk * (1 - shrunk) / futures)
                result.append(WinProbability(state.deal_id, horizon, share, other, error))
        return result

    def _closings(
        self, state: _State, as_of: int, end: int, futures: int
    ) -> tuple[list[int], list[int]]:
        """Draw the times of wins and of losses by `end` in a number of futures."""
        won: list[int] = []
        lost: list[int] = []
        if state.conditions.owner in self._left_by(as_of):
            return won, lost  # the deal stands still
        process, deal = self._process, state.conditions._replace(owner=state.first_owner)
        slower = process.slower_at(state.first_owner, state.entered, after=True)
        start = state.entered + 60
        alive = process.survival(deal, start, max(as_of, start), slower)
        random = process.stream(f"futures/{as_of}/{state.deal_id}")
        for _ in range(futures):
            closing = self._future(state, alive, as_of, end, random)
            if closing is not None:
                (won if closing[1] else lost).append(closing[0])
        return won, lost

    def _state(self, events: Sequence[Event], as_of: int) -> _State | None:
        """Return the deal's state; None if it is not open then."""
        row = dict.fromkeys(("status", "stage_id", "owner_id", "org_id"))
        entered = first_owner = 0
        deleted = False
        for event in events:
            if event.time > as_of:
                break
            changes = event.changes
            row.update((key, changes[key]) for key in row if key in changes)
            deleted = event.action == "delete" or (deleted and event.action != "restore")
            if event.action == "create" or "stage_id" in changes or "status" in changes:
                entered, first_owner = event.time, row["owner_id"] or 0
        if row["status"] != "open" or deleted or row["stage_id"] not in PLACES:
            return None
        pipeline, rank = PLACES[row["stage_id"]]
        segment = self._segments.get(row["org_id"] or 0, 0)
        born = epoch(events[0].changes["add_time"])
        conditions = Conditions(pipeline, rank, row["owner_id"] or 0, segment, born)
        return _State(int(events[0].id), conditions, first_owner, entered)

    def _future(
        self, state: _State, alive: float, as_of: int, end: int, random: Random
    ) -> tuple[int, bool] | None:
        """Draw when the deal is closed and whether it is won; None: not by `end`."""
        process, deal = self._process, state.conditions
        end = min(end, self._deletion(deal, as_of, random))
        shocks: dict[int, float] = {}
        known = month_of(as_of)

        def shock(month: int, owner: int) -> float:
            if month <= known:
                return process.shock(month, owner)
            if month not in shocks:
                shocks[month] = process.draw_shock(random)
            return shocks[month]

        now, entered, owner = as_of, state.entered, state.first_owner
        slower = process.slower_at(owner, entered, after=True)
        while True:
            due, race_won = None, None
            forgotten = random.random() * (FORGOTTEN + (1 - FORGOTTEN) * alive) < FORGOTTEN
            visit = deal._replace(owner=owner)
            start = entered + 60
            if forgotten:
                due = self._silent_loss(entered, now, end, random)
                if due is not None and due <= now:
                    continue  # it would not be open now
            elif process.races and deal.last:
                due, race_won = process.race(visit, start, max(now, start), slower, random, shock)
            else:
                due = process.due(visit, start, max(now, start), slower, random)
            dead = process.dead_at
            if dead is None or dead <= now or dead - entered < DEAD_DAYS * DAY:
                dead = end + 1
            heir = self._heir(deal.owner, now, min(due or dead, dead, end), random)
            if heir is None or due is None or dead < due:
                return (dead, False) if dead <= end else None
            if due > end:
                return None
            if forgotten:
                return due, False
            deal = deal._replace(owner=heir)
            ending = process.ending(deal, due, random.random(), random, race_won)
            if ending in ("won", "lost"):
                return due, ending == "won"
            skips = ending == "advanced" and random.random() < SKIPPED
            pipeline, rank = process.following(deal, ending, skips)
            deal = deal._replace(pipeline=pipeline, rank=rank)
            now = entered = due
            owner, alive = heir, 1.0
            slower = process.slower_at(owner, as_of)

    def _deletion(self, deal: Conditions, as_of: int, random: Random) -> int:
        """Draw when the deal is deleted, given that it is there."""
        days = max(work_days(deal.born + 60, as_of), DELETED_AFTER)
        planned = DELETED * exp((DELETED_AFTER - days) / DELETED_MEAN)
        if random.random() * (planned + 1 - DELETED) >= planned:
            return _NEVER
        days -= DELETED_MEAN * log(1 - random.random())
        return after_work(deal.born + 60, int(days * DAY))

    @staticmethod
    def _silent_loss(entered: int, now: int, end: int, random: Random) -> int | None:
        """Draw when a deal that is not pursued is lost; None: not by `end`."""
        time = entered
        while time <= end:
            time = after_work(time + 60, int((30 + random.random() * 60) * DAY))
            u = random.random()
            if u < SILENT_LOSS:
                return time
            if u >= SLIPS:
                return None
        return None

    def _heir(self, owner: int, since: int, until: int, random: Random) -> int | None:
        """Draw who has the deal at `until`; None: it stands still."""
        for time, user in sorted(self._process.leaves):
            if since < time < until and user == owner:
                heirs = [rep for rep in _REPS if rep not in self._left_by(time)]
                if random.random() >= PASSED_ON or not heirs:
                    return None
                owner = heirs[int(random.random() * len(heirs))]
        return owner

    def _left_by(self, time: int) -> set[int]:
        return {user for left, user in self._process.leaves if left <= time}
