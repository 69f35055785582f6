"""The visits of simple deals, computed for all of them at once, in arrays.

A deal is simple in one of two ways. Either all its observations are older than its changelog, and
the changelog has moves of the open deal, closings and reopenings, each in its turn. Or it has one
observation and no changelog. `Timeline` follows any deal and gives simple ones the same visits; it
takes some twenty times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pdframe.history.changelog import KEYS, number_of
from pdframe.history.inputs import NONE, Changelogs, Flags, Ints, Observations, lookup
from pdframe.history.pipelines import Pipelines
from pdframe.history.timeline import CLOSED, ENDED, NEAR, Visit
from pdframe.schema.snapshots import STAGE_VISITS

_STAGE, _PIPELINE, _STATUS = (KEYS.index(name) for name in ("stage_id", "pipeline_id", "status"))
ENDS = STAGE_VISITS.by_name["end"].type.vocabulary
SOURCES = STAGE_VISITS.by_name["source"].type.vocabulary
_OPEN, _WON, _DELETED = (ENDS.index(end) for end in ("open", "won", "deleted"))
_STATUS_CODES: Mapping[str | None, int] = {
    status: ENDS.index(status) for status in ("open", *ENDED)
}
_ENTER, _MOVE, _CLOSE, _REOPEN = range(4)
_NO_ROW = NONE + 1


@dataclass(frozen=True)
class VisitColumns:
    """Visits as arrays. `end` is the place in `ENDS`, -1 where unknown; `source` that in
    `SOURCES`.
    """

    deal: Ints
    pipeline: Ints
    stage: Ints
    entered_after: Ints
    entered_at: Ints
    seen_at: Ints
    source: Ints
    left_after: Ints
    left_at: Ints
    end: Ints

    @classmethod
    def of(cls, visits: list[Visit]) -> VisitColumns:
        """Put visits into arrays."""
        ends = {end: place for place, end in enumerate(ENDS)}
        sources = {source: place for place, source in enumerate(SOURCES)}
        plain = {
            field.name: [getattr(visit, field.name) for visit in visits] for field in fields(cls)
        }
        plain["end"] = [ends.get(end, -1) for end in plain["end"]]
        plain["source"] = [sources[source] for source in plain["source"]]
        return cls(
            **{
                name: np.array([NONE if value is None else value for value in values], np.int64)
                for name, values in plain.items()
            }
        )

    def only(self, chosen: Flags) -> VisitColumns:
        """Return some of the visits."""
        return VisitColumns(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def joined(cls, *parts: VisitColumns) -> VisitColumns:
        """Return the visits of all parts by deal; the visits of a deal lie in one part."""
        deal = np.concatenate([part.deal for part in parts])
        order = np.argsort(deal, kind="stable")
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])[order]
                for field in fields(cls)
            }
        )


@dataclass(frozen=True)
class Orders:
    """Place of each stage in its pipeline; `stages` ascend."""

    stages: Ints
    places: Ints

    @classmethod
    def of(cls, orders: Mapping[int, int]) -> Orders:
        """Read a mapping."""
        known = sorted(orders.items())
        return cls(*np.array(known, np.int64).reshape(len(known), 2).T)

    def end_of_move(self, stage: Ints, then: Ints, pipeline: Ints, then_pipeline: Ints) -> Ints:
        """Tell how visits ended that a move to another stage followed, as places in `ENDS`."""
        old, new = (lookup(each, self.stages, self.places) for each in (stage, then))
        moved = np.where(new > old, ENDS.index("advanced"), ENDS.index("moved back"))
        unknown = (stage == then) | (old == NONE) | (new == NONE)
        end = np.where(unknown, -1, moved)
        return np.where(pipeline != then_pipeline, ENDS.index("changed pipeline"), end)


@dataclass(frozen=True)
class SimpleLives:
    """The deals that are simple by their changelog, which was read after all observations.

    Attributes
    ----------
    ids : ndarray
        The deals, ascending.
    until : ndarray
        Up to when each changelog is complete.
    owner, time, kind, value : ndarray
        Their events, by deal and time: the place of the deal in `ids`, the time, `_ENTER`,
        `_MOVE`, `_CLOSE` or `_REOPEN`, and the stage, or the status as a place in `ENDS`.
    moves_paired : ndarray
        Deals, simple or not, whose rows of the pipeline each belong to one row of the stage: none
        shows that a stage was moved to another pipeline.
    have_pipeline_rows : bool
        Whether any of these has a row of the pipeline beside a change of stage.
    """

    ids: Ints
    until: Ints
    owner: Ints
    time: Ints
    kind: Ints
    value: Ints
    moves_paired: Ints
    have_pipeline_rows: bool

    @classmethod
    def of(cls, observed: Observations, changes: Changelogs, read: Ints) -> SimpleLives:
        """Choose the deals, and put their events in order.

        `read` is the time at which the changelog of each deal of `observed` was read; `NONE`: it
        was not.
        """
        chosen = np.flatnonzero(read != NONE)
        ids, read, last = observed.ids[chosen], read[chosen], observed.end[chosen] - 1
        added = observed.added[last]
        newest = np.maximum.reduceat(observed.at, observed.first)[chosen] if len(read) else read
        simple = (newest <= read) & (added != NONE)
        rows = _Rows.of(changes, ids)
        simple &= rows.order_known & rows.moves_paired
        stage = np.where(rows.first_stage == _NO_ROW, observed.stage[last], rows.first_stage)
        simple &= stage != NONE
        status = np.where(
            rows.first_status == _NO_ROW, _closed(observed.status[last]), rows.first_status
        )
        events, closed = rows.events, status != _OPEN
        simple &= ~events.contradict(len(ids), added)
        simple &= ~closed | ((events.counts(len(ids)) == 0) & (status != _DELETED))
        closing = np.where(status == _WON, observed.won[last], observed.lost[last])
        first_won = observed.first_won[last]
        closing = np.where((status == _WON) & (first_won != NONE), first_won, closing)
        closing = np.maximum(np.where(closing == NONE, 0, closing), added)
        everyone = np.arange(len(ids))
        joined = _Events.joined(
            _Events(everyone, added, np.full(len(ids), _ENTER), stage),
            events,
            _Events(everyone, closing, np.full(len(ids), _CLOSE), status).only(closed),
        )
        place = np.cumsum(simple) - 1
        chosen_events = joined.only(simple[joined.owner])
        return cls(
            ids[simple],
            np.maximum(read, rows.newest)[simple],
            place[chosen_events.owner],
            chosen_events.time,
            chosen_events.kind,
            chosen_events.value,
            ids[rows.moves_paired],
            rows.have_pipeline_rows,
        )

    def visits(self, pipelines: Pipelines, orders: Orders) -> tuple[VisitColumns, Ints]:
        """Return their visits, and the deals that have them: those whose stages are all known."""
        # A stint is the time from one change of stage to the next.
        starts = np.flatnonzero((self.kind == _ENTER) | (self.kind == _MOVE))
        stint = np.cumsum((self.kind == _ENTER) | (self.kind == _MOVE)) - 1
        stage, owner = self.value[starts], self.owner[starts]
        is_last = np.append(owner[1:] != owner[:-1], np.ones(min(1, len(owner)), np.bool_))
        ends = np.append(self.time[starts][1:] - 1, np.zeros(min(1, len(owner)), np.int64))
        pipeline = pipelines.at_all(stage, np.where(is_last, self.until[owner], ends))
        known = np.ones(len(self.ids), np.bool_)
        known[owner[pipeline == NONE]] = False
        at = np.flatnonzero((self.kind != _CLOSE) & known[self.owner])
        then = np.minimum(at + 1, max(0, len(self.owner) - 1))
        is_over = (then != at) & (self.owner[then] == self.owner[at])
        here, there = stint[at], stint[then]
        end = np.where(
            self.kind[then] == _MOVE,
            orders.end_of_move(stage[here], stage[there], pipeline[here], pipeline[there]),
            self.value[then],
        )
        nothing = np.full(len(at), NONE)
        columns = VisitColumns(
            deal=self.ids[self.owner[at]],
            pipeline=pipeline[here],
            stage=stage[here],
            entered_after=nothing,
            entered_at=self.time[at],
            seen_at=self.time[at],
            source=np.full(len(at), SOURCES.index("changelog")),
            left_after=nothing,
            left_at=np.where(is_over, self.time[then], NONE),
            end=np.where(is_over, end, _OPEN),
        )
        return columns, self.ids[known]


@dataclass(frozen=True)
class _Events:
    """What happened to deals, by `owner` (their place) and time."""

    owner: Ints
    time: Ints
    kind: Ints
    value: Ints

    def only(self, chosen: Flags) -> _Events:
        return _Events(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def joined(cls, *parts: _Events) -> _Events:
        """Return the events of all parts by deal, those of the first part first."""
        owner = np.concatenate([part.owner for part in parts])
        order = np.argsort(owner, kind="stable")
        return cls(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])[order]
                for field in fields(cls)
            )
        )

    def counts(self, deals: int) -> Ints:
        """Return how many each deal has."""
        return np.bincount(self.owner, minlength=deals)

    def contradict(self, deals: int, added: Ints) -> Flags:
        """Tell the deals whose events, after their creation as open deals, are not in turn.

        In turn are moves of an open deal, its closing, its reopening, and so on, none before its
        creation.
        """
        changes_status = self.kind != _MOVE
        number = np.cumsum(changes_status) - changes_status
        first = np.cumsum(self.counts(deals)) - self.counts(deals)
        number -= number[np.minimum(first[self.owner], max(0, len(number) - 1))]
        is_open = number % 2 == 0
        in_turn = np.where(self.kind == _REOPEN, ~is_open, is_open)
        in_turn &= (self.value != NONE) & (self.time >= added[self.owner])
        contradicting = np.zeros(deals, np.bool_)
        contradicting[self.owner[~in_turn]] = True
        return contradicting


@dataclass(frozen=True)
class _Rows:
    """Changelogs of some deals, oldest first: what they begin with, and their events.

    Attributes
    ----------
    order_known
        Whether the times alone say which of the rows of each deal is the oldest.
    moves_paired, have_pipeline_rows
        As in `SimpleLives`, the first by deal.
    first_stage, first_status
        What each deal began with, by its first row of the stage or status: `_NO_ROW` if there is
        none, `NONE` if the row cannot be read.
    newest
        Time of the newest row; `NONE`: there is none.
    """

    order_known: Flags
    moves_paired: Flags
    have_pipeline_rows: bool
    first_stage: Ints
    first_status: Ints
    newest: Ints
    events: _Events

    @classmethod
    def of(cls, changes: Changelogs, ids: Ints) -> _Rows:
        """Read the changelogs of the deals `ids`, which ascend."""
        count = len(ids)
        start = lookup(ids, changes.ids, changes.first)
        rows = np.where(start == NONE, 0, lookup(ids, changes.ids, changes.end) - start)
        start = np.where(start == NONE, 0, start)
        owner = np.repeat(np.arange(count), rows)
        place = np.arange(len(owner)) - (np.cumsum(rows) - rows)[owner]
        oldest, newest = (
            (changes.time[start], changes.time[np.maximum(start + rows - 1, 0)])
            if len(owner)
            else (np.zeros(count, np.int64), np.zeros(count, np.int64))
        )
        backwards = oldest > newest
        at = start[owner] + np.where(backwards[owner], rows[owner] - 1 - place, place)
        time = changes.time[at]
        if ((time[1:] < time[:-1]) & (owner[1:] == owner[:-1])).any():
            at = at[np.lexsort((time, owner))]
            time = changes.time[at]
        key, old, new = changes.key[at], changes.old[at], changes.new[at]
        of_key = np.bincount(owner * len(KEYS) + key, minlength=count * len(KEYS))
        repeated = (of_key.reshape(count, len(KEYS)) > 1).any(axis=1)
        was_null = old == len(changes.words) - 1
        numbers = np.array([_or_none(number_of(word)) for word in changes.words], np.int64)
        statuses = np.array([_STATUS_CODES.get(word, NONE) for word in changes.words], np.int64)
        first = {}
        is_creation = np.zeros(len(owner), np.bool_)
        for name, codes in ((_STAGE, numbers), (_PIPELINE, numbers), (_STATUS, statuses)):
            own = np.flatnonzero(key == name)
            own = own[np.append(np.ones(min(1, len(own)), np.bool_), np.diff(owner[own]) > 0)]
            is_creation[own] = was_null[own]
            first[name] = np.full(count, _NO_ROW)
            first[name][owner[own]] = codes[np.where(was_null[own], new[own], old[own])]
        # A deal that was created with another status than these was open.
        first[_STATUS][first[_STATUS] == NONE] = _OPEN
        newest_row = np.full(count, NONE)
        newest_row[owner] = time  # the last row of each deal counts
        paired, beside = _pairs(owner, time, key, was_null, ~is_creation, count)
        is_event = ~is_creation & (key != _PIPELINE)
        is_status = key == _STATUS
        value = np.where(is_status, statuses[new], numbers[new])
        kind = np.where(is_status, np.where(value == _OPEN, _REOPEN, _CLOSE), _MOVE)
        return cls(
            (oldest != newest) | (rows < 2) | ~repeated,
            paired,
            beside,
            first[_STAGE],
            first[_STATUS],
            newest_row,
            _Events(owner, time, kind, value).only(is_event),
        )


def _pairs(
    owner: Ints, time: Ints, key: Ints, was_null: Flags, changes: Flags, deals: int
) -> tuple[Flags, bool]:
    """Tell the deals whose changes of pipeline each have one change of stage near them, and none
    another; and whether both values before were there in any of them.
    """
    of_place = np.flatnonzero(changes & (key != _STATUS))
    owner, time, key = (values[of_place] for values in (owner, time, key))
    was_null = was_null[of_place]
    paired = np.ones(deals, np.bool_)
    if not len(owner):
        return paired, False
    apart = (owner[1:] != owner[:-1]) | (time[1:] - time[:-1] > NEAR)
    group = np.cumsum(np.append(False, apart))
    of_pipeline, of_stage, null = (
        np.bincount(group, flags) for flags in (key == _PIPELINE, key == _STAGE, was_null)
    )
    is_pair = (of_pipeline == 1) & (of_stage == 1)
    paired[owner[((of_pipeline > 0) & ~is_pair)[group]]] = False
    return paired, bool((is_pair & (null == 0))[group[paired[owner]]].any())


def single_visits(
    observed: Observations, chosen: Flags, *, reported: bool
) -> tuple[VisitColumns, Ints]:
    """Return the visits of deals that were observed once and have no changelog, and these deals.

    Left out is a deal with a win before it was seen in its stage: it may have two visits.

    Parameters
    ----------
    observed
        All observations.
    chosen
        The deals to take, by place in `observed.ids`.
    reported
        Whether the account has `stage_change_time` at all.
    """
    at = observed.first[chosen]
    names = ("status", "moved", "added", "won", "lost", "first_won", "at")
    status, moved, added, won, lost, first_won, seen = (
        getattr(observed, name)[at] for name in names
    )
    state = _closed(status)
    closed = np.where(state == _WON, won, lost)
    floor = np.where(added == NONE, 0, added)
    is_closed = state != _OPEN
    exact_end = is_closed & (closed != NONE) & (floor <= closed) & (closed <= seen)
    limit = np.where(exact_end, closed, seen)
    entry = np.where(moved != NONE, np.maximum(moved, floor), added if reported else NONE)
    exact = (entry != NONE) & (floor <= entry) & (entry <= limit)
    entered = np.where(exact, entry, limit)
    entered_after = np.where(exact | (floor >= limit), NONE, floor)
    begun = np.where(entered_after == NONE, entered, entered_after)
    left = np.where(is_closed, np.maximum(limit, begun), NONE)
    left_after = np.where(~is_closed | exact_end | (floor >= limit), NONE, floor)
    # As `Timeline` trims a visit: it began before it ended, and bounds without room are exact.
    entered = np.where(is_closed, np.minimum(entered, left), entered)
    left_after = np.where(left_after >= left, NONE, left_after)
    entered_after = np.where(is_closed & (entered_after >= entered), NONE, entered_after)
    earlier_win = (first_won != NONE) & (floor <= first_won) & (first_won <= limit)
    earlier_win &= ~((state == _WON) & (first_won == won))
    removed = observed.removed[at]
    known = ~earlier_win | removed
    columns = VisitColumns(
        deal=observed.deal[at],
        pipeline=observed.pipeline[at],
        stage=observed.stage[at],
        entered_after=entered_after,
        entered_at=entered,
        seen_at=seen,
        source=np.full(len(at), SOURCES.index("current")),
        left_after=left_after,
        left_at=left,
        end=state,
    )
    return columns.only(known & ~removed), observed.deal[at[known]]


def _closed(status: NDArray[np.object_]) -> Ints:
    """Return won and lost as places in `ENDS`, any other status as open."""
    result = np.full(len(status), _OPEN)
    for closed in CLOSED:
        result[status == closed] = ENDS.index(closed)
    return result


def _or_none(number: int | None) -> int:
    return NONE if number is None else number


__all__ = ["ENDS", "SOURCES", "Orders", "SimpleLives", "VisitColumns", "single_visits"]
