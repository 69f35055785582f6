"""The data of the checks of data quality: columns of deals, visits and line items as plain arrays,
each computed once.

Times are microseconds since 1970 UTC, `NULL` where null; days are those of their midnight, as if in
UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import pandas as pd

from pdframe.metrics._arguments import NULL, Micros, to_micros
from pdframe.metrics._columns import (
    NO_ID,
    Flags,
    Floats,
    Ints,
    amounts,
    days,
    equals,
    instants,
    places,
    plain_ids,
    plain_times,
)
from pdframe.metrics._known_at import (
    CHANGELOG,
    ENDS,
    NEVER,
    SOURCES,
    by_time,
    changes_of_closed,
    on_show,
    states_of_visits,
)
from pdframe.metrics._states import DELETED, LOST, OPEN, WON, States

_STATE_OF_END: Mapping[str, int] = MappingProxyType({"won": WON, "lost": LOST, "deleted": DELETED})

NO_STATE = -2
"""The state of a deal whose visits say none."""


@dataclass(frozen=True)
class LastVisits:
    """The state of each deal at the end of its last known visit, one row per deal.

    Attributes
    ----------
    state
        OPEN, WON, LOST, DELETED; `NO_STATE` where no visit is known, or where the last one ended
        with a move to one that is not.
    left_at, left_after
        Since when it has that state, and the earliest possible time: a closed deal that was moved
        or restored has been closed since its closing.
    places
        `stage_id` and `pipeline_id` of the last visit, as far as the frame has these columns;
        `NO_ID` where null.
    """

    state: Ints
    left_at: Micros
    left_after: Micros
    places: Mapping[str, Ints]


@dataclass(frozen=True)
class Visits:
    """The visits known at a time, by deal and time.

    Attributes
    ----------
    place
        Row of its deal; -1 where `deals` does not have it.
    entered
        When it began; bounded: whether only the earliest and the latest possible time are known.
    logged
        Whether the changelog reports it.
    newest
        Place, in these arrays, of the last visit of each deal; -1 where none is known.
    last
        The state of each deal by then; None where the frame does not say how visits end.
    """

    place: Ints
    entered: Micros
    bounded: Flags
    logged: Flags
    newest: Ints
    last: LastVisits | None


@dataclass(frozen=True)
class Facts:
    """Everything that the checks read, as far as it was known at `now`.

    Attributes
    ----------
    deals, stages, pipelines, lines, discounts
        The arguments, with fresh row numbers.
    deal
        Ids of the deals.
    untouched
        Days.
    known
        The state of each deal.
    alive
        Whether the deal existed and was not deleted.
    judged
        Whether it did so and did not change after `now`.
    visits
        The visits that were known.
    """

    deals: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame | None
    lines: pd.DataFrame
    discounts: pd.DataFrame | None
    now: int
    today: int
    tz: str
    untouched: float
    deal: Ints
    known: States
    alive: Flags
    judged: Flags
    visits: Visits

    def judged_in(self, *states: int) -> Flags:
        """Return which deals are judged and in one of these states."""
        result = np.zeros(len(self.deal), np.bool_)
        for state in states:
            result |= self.known.state == state
        return result & self.judged

    @cached_property
    def created(self) -> Micros:
        """When each deal was created."""
        return plain_times(self.known.created)

    @cached_property
    def updated(self) -> Micros:
        """When each deal was updated last."""
        return instants(self.deals, "update_time", self.tz)

    @cached_property
    def ended(self) -> Micros:
        """When each deal was won, lost or deleted."""
        return plain_times(self.known.ended)

    @cached_property
    def expected(self) -> Micros:
        """The day on which each deal is expected to close."""
        return days(self.deals, "expected_close_date")

    @cached_property
    def value(self) -> Floats:
        """The value of each deal."""
        return amounts(self.deals, "value")

    @cached_property
    def currencies(self) -> tuple[Ints, Ints]:
        """Return codes of the currencies of deals and of lines, in the order of the alphabet; -1
        where null.
        """
        codes, words = pd.factorize(self.deals["currency"].astype("str"), sort=True)
        others, theirs = pd.factorize(self.lines["currency"].astype("str"))
        code = np.asarray(pd.Index(words).get_indexer(pd.Index(theirs)), np.int64)
        # Currencies of no deal need no codes of their own.
        code = np.append(np.where(code < 0, len(words), code), -1)
        return codes.astype(np.int64), code[others]

    @cached_property
    def line_place(self) -> Ints:
        """Row of each line's deal; -1 where `deals` does not have it."""
        return places(self.deal, plain_ids(self.lines["deal_id"]))

    @cached_property
    def with_lines(self) -> Flags:
        """Whether a deal has lines, and neither they nor its discounts changed after `now`."""
        late = _late(self.lines, ("add_time", "update_time"), self)
        result = at_any(self.line_place, len(self.deal)) & ~at_any(
            self.line_place[late], len(self.deal)
        )
        if self.discounts is not None:
            late = _late(self.discounts, ("created_at", "updated_at"), self)
            changed = places(self.deal, plain_ids(self.discounts["deal_id"])[late])
            result &= ~at_any(changed, len(self.deal))
        return result

    @cached_property
    def foreign(self) -> Flags:
        """Whether a deal has a line in another currency; null is no other one."""
        own, theirs = self.currencies
        rows = np.flatnonzero((self.line_place >= 0) & (theirs >= 0))
        code = own[self.line_place[rows]]
        other = rows[(code >= 0) & (code != theirs[rows])]
        return at_any(self.line_place[other], len(self.deal))

    def as_it_was(self, frame: pd.DataFrame) -> Flags:
        """Return which rows were neither added nor changed after `now`."""
        return ~_late(frame, ("add_time", "update_time"), self)


def at_any(place: Ints, size: int) -> Flags:
    """Return which of `size` rows are among these places; -1 is none."""
    result = np.zeros(size + 1, np.bool_)
    result[place] = True
    return result[:-1]


def known_visits(visits: pd.DataFrame, deal: Ints, now: pd.Timestamp, tz: str) -> Visits:
    """Return what was known at `now` of the visits of these deals."""

    def read(column: str, rows: Ints) -> Micros:
        return instants(visits, column, tz)[rows]

    columns = {*visits.columns}
    rows = np.flatnonzero(on_show(visits, now, tz))
    own, entered = plain_ids(visits["deal_id"])[rows], read("entered_at", rows)
    left, end = np.full(len(rows), NULL), np.full(len(rows), NO_ID)
    state = np.full(len(rows), NO_STATE)
    if {"left_at", "end"} <= columns:
        left = read("left_at", rows)
        open_ = (left == NULL) | (left > to_micros(now))
        left[open_] = NULL
        for word, code in _STATE_OF_END.items():
            state[equals(visits, "end", word)[rows]] = code
            end[state == code] = ENDS.index(word)
        state[open_], end[open_] = OPEN, NO_ID
    number = plain_ids(visits["visit"])[rows] if "visit" in columns else rows
    order = by_time(own, entered, np.where(left == NULL, NEVER, left), end, number)
    rows, own, entered, left, end, state = (
        values[order] for values in (rows, own, entered, left, end, state)
    )
    final = np.flatnonzero(np.append(own[1:] != own[:-1], True)[: len(own)])
    place = places(deal, own)
    newest = np.full(len(deal) + 1, -1)
    newest[place[final]] = final
    newest = newest[:-1]
    last = None
    if {"left_at", "end"} <= columns:
        where = {
            column: plain_ids(visits[column])[rows]
            for column in ("stage_id", "pipeline_id")
            if column in columns
        }
        nowhere = np.zeros(len(rows), np.int64)
        stage, pipeline = (where.get(column, nowhere) for column in ("stage_id", "pipeline_id"))
        change = changes_of_closed(own, entered, left, end)
        since = states_of_visits(end, change, stage, pipeline)[1]
        after = read("left_after", rows) if "left_after" in columns else np.full(len(rows), NULL)
        after[left == NULL] = NULL
        last = LastVisits(
            _taken(state, newest, NO_STATE),
            _taken(left[since], newest, NULL),
            _taken(after[since], newest, NULL),
            {column: _taken(ids, newest, NO_ID) for column, ids in where.items()},
        )
    logged = equals(visits, "source", SOURCES[CHANGELOG])[rows]
    return Visits(place, entered, read("entered_after", rows) != NULL, logged, newest, last)


def _taken(values: Ints, place: Ints, missing: int) -> Ints:
    """Return the value at each place, `missing` where that is -1."""
    return np.append(values, missing)[place]


def _late(frame: pd.DataFrame, columns: tuple[str, ...], facts: Facts) -> Flags:
    """Return which rows have one of these times after `now`."""
    late = np.zeros(len(frame), dtype=np.bool_)
    for column in columns:
        late |= instants(frame, column, facts.tz) > facts.now
    return late
