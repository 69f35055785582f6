"""The state of each deal at a time: open, won, lost or deleted, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import (
    NULL,
    Micros,
    check_choice,
    local_days,
    require_columns,
    to_micros,
)
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    as_times,
    days,
    days_between,
    equals,
    instants,
    midnights,
    plain_times,
    warn_of_uncountable,
)

OPEN, WON, LOST, DELETED, UNKNOWN = 0, 1, 2, 3, -1
"""States of a deal. DELETED: it was open when it was deleted. UNKNOWN: it counts nowhere, since it
was not created yet, has no such status, or was deleted after it was won or lost.
"""

NEEDED = ("add_time", "status", "won_time", "lost_time")

Deleted: TypeAlias = Literal["drop", "keep"]
"""How a deal counts that was deleted after it was won or lost."""

_WORDS = ((OPEN, "open"), (WON, "won"), (LOST, "lost"))
_CLOSINGS = ((WON, "won_time", "local_won_date"), (LOST, "lost_time", "local_lost_date"))
_TIMES = (
    "add_time",
    "update_time",
    "deleted_time",
    "won_time",
    "lost_time",
    "local_won_date",
    "local_lost_date",
)


@dataclass(frozen=True)
class States:
    """State of each deal of a frame, in its order.

    Attributes
    ----------
    state
        OPEN, WON, LOST, DELETED or UNKNOWN.
    created
        When the deal was created (UTC).
    ended
        When it was won, lost or deleted (UTC), the first instant of the day where only the day is
        known; null where it is open, or the time is unknown.
    counted
        The same, for grouping by day: the first instant of the company's own day (`local_won_date`,
        `local_lost_date`) where it differs from the day of the time in `tz`.
    day_alone
        Whether only the day of `ended` is known.
    """

    state: npt.NDArray[np.int8]
    created: pd.Series[Any]
    ended: pd.Series[Any]
    counted: pd.Series[Any]
    day_alone: Flags

    def undated(self, *states: int) -> Flags:
        """Return which deals are in one of these states since an unknown time."""
        return np.isin(self.state, states) & self.ended.isna().to_numpy()

    def ended_before_created(self, tz: str) -> Flags:
        """Return which deals ended before they were created; where only the day of the end is
        known, before the day of their creation.
        """
        created, ended = plain_times(self.created), plain_times(self.ended)
        earlier: Flags = (ended < created) & (ended != NULL)
        rows = np.flatnonzero(self.day_alone)
        earlier[rows] = local_days(ended[rows], tz) < local_days(created[rows], tz)
        return earlier

    def days_taken(self, tz: str) -> Floats:
        """Return the days from the creation to the end of each deal, never below 0.

        NaN where the deal ended before it was created, or the time is unknown. A deal that was
        created on the day of its end, of which only the day is known, took 0 days.
        """
        days = np.maximum(days_between(self.created, self.ended), 0.0)
        return np.where(self.ended_before_created(tz), np.nan, days)


@dataclass(frozen=True, slots=True, eq=False)
class DeletedRows:
    """Which deals of a frame are deleted, and since when.

    Parameters
    ----------
    rows
        Which are, according to their status or `is_deleted`.
    since
        `deleted_time`, else the last update, in microseconds; `NULL` where unknown, and for all
        other deals.
    """

    rows: Flags
    since: Micros

    @classmethod
    def of(cls, deals: pd.DataFrame, tz: str) -> DeletedRows:
        """Read a frame of deals."""
        rows, since = deleted_rows(deals), np.full(len(deals), NULL)
        if rows.any():
            for column in ("deleted_time", "update_time"):
                if column in deals.columns:
                    since = np.where(since == NULL, instants(deals, column, tz), since)
        return cls(rows, np.where(rows, since, NULL))

    def by(self, as_of: pd.Timestamp | None) -> Flags:
        """Return which deals are deleted at `as_of` (None: now). One with an unknown time of
        deletion counts as deleted at any time.
        """
        # `NULL` is before all times.
        return self.rows if as_of is None else self.rows & (self.since <= to_micros(as_of))


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """When each deal of a frame was created and ended, as the frame has it: the same for whatever
    time its states are asked for.

    Parameters
    ----------
    state
        OPEN, WON, LOST or UNKNOWN; of a deleted deal the one before its deletion.
    created, ended, counted
        As in `States`, in microseconds.
    day_alone
        Whether only the day of `ended` is known.
    deletions
        Which deals are deleted, and since when.
    index
        That of the frame.
    """

    state: npt.NDArray[np.int8]
    created: Micros
    ended: Micros
    counted: Micros
    day_alone: Flags
    deletions: DeletedRows
    index: pd.Index[Any]

    @classmethod
    def of(cls, deals: pd.DataFrame, tz: str) -> Ends:
        """Read a frame of deals."""
        deals = require_columns(deals, "deals", list(NEEDED))
        warn_of_uncountable(deals, "deals", moments=_TIMES)
        state = before_deletion(deals, tz)
        created = instants(deals, "add_time", tz)
        ended = np.full(len(deals), NULL)
        counted, day_alone = ended.copy(), np.zeros(len(deals), dtype=np.bool_)
        for code, time, local in _CLOSINGS:
            rows = np.flatnonzero(state == code)
            ended[rows], counted[rows], day_alone[rows] = _closed(deals, time, local, tz, rows)
        deletions = DeletedRows.of(deals, tz)
        return cls(state, created, ended, counted, day_alone, deletions, deals.index)

    def at(self, as_of: pd.Timestamp | None = None, *, deleted: Deleted = "drop") -> States:
        """Return the states at a time, as `states` does."""
        state, ended, counted = self.state.copy(), self.ended.copy(), self.counted.copy()
        closed = np.isin(state, (WON, LOST))
        left = self.deletions.rows & ~closed
        state[left] = DELETED
        ended[left] = counted[left] = self.deletions.since[left]
        if deleted == "drop":
            over = self.deletions.by(as_of) & closed
            state[over] = UNKNOWN
            ended[over] = counted[over] = NULL
        if as_of is not None:
            now = to_micros(as_of)
            later = ended > now
            state[later] = OPEN
            state[self.created > now] = UNKNOWN
            ended[later] = counted[later] = NULL
        started, stopped, cut = (as_times(v, self.index) for v in (self.created, ended, counted))
        return States(state, started, stopped, cut, self.day_alone & (ended != NULL))


def states(
    deals: pd.DataFrame, tz: str, as_of: pd.Timestamp | None = None, *, deleted: Deleted = "drop"
) -> States:
    """Return the state of each deal at `as_of`, or now.

    A deal's status decides: a deal that was won and reopened is open, whatever its other times. A
    deal that was closed or deleted after `as_of` was open then; one created after it did not exist;
    one closed without a date counts as closed.

    A deal that was won or lost and then deleted counts as won or lost until its deletion, and
    nowhere from then on; with `deleted="keep"` it always counts as won or lost. One that was open
    when it was deleted is DELETED since then.
    """
    return Ends.of(deals, tz).at(as_of, deleted=deleted)


def check_deleted(deleted: object, deals: pd.DataFrame) -> None:
    """Raise `ArgumentError` where `deleted` is not such a choice; warn where `deals` has no deals
    to keep.
    """
    check_choice("deleted", deleted, get_args(Deleted))
    if deleted == "keep" and "deleted_time" not in deals.columns and not deleted_rows(deals).any():
        warn(
            "deleted='keep': deals holds no deleted deal, so none is kept. Pass"
            " account.deals(deleted=True), which adds the known ones."
        )


def deleted_rows(deals: pd.DataFrame) -> Flags:
    """Return which deals are deleted according to their status or `is_deleted`."""
    result = equals(deals, "status", "deleted")
    return result | equals(deals, "is_deleted", True) if "is_deleted" in deals.columns else result


def before_deletion(deals: pd.DataFrame, tz: str) -> npt.NDArray[np.int8]:
    """Return the state of each deal, of a deleted one the state before its deletion: OPEN, WON,
    LOST or UNKNOWN.

    Where the status is "deleted", the times of closing decide: reopening a deal clears them. Of
    two, the later one counts.
    """
    state = np.full(len(deals), UNKNOWN, dtype=np.int8)
    for code, word in _WORDS:
        state[equals(deals, "status", word)] = code
    hidden = equals(deals, "status", "deleted")
    if hidden.any():
        rows = np.flatnonzero(hidden)
        won, lost = (
            _closed(deals, time, local, tz, rows)[0]
            if time in deals.columns
            else np.full(len(rows), NULL)
            for _, time, local in _CLOSINGS
        )
        state[rows] = np.select([(won != NULL) & (lost <= won), lost != NULL], [WON, LOST], OPEN)
    return state


def counted_status(
    deals: pd.DataFrame, tz: str, *, deleted: Deleted = "drop", as_of: pd.Timestamp | None = None
) -> pd.Series[Any]:
    """Return the status by which each deal counts, null where it was deleted by `as_of` (None: now)
    and does not count.

    With `deleted="keep"` a deal that was deleted after it was won or lost keeps that status.
    """
    status = deals["status"].astype("str")
    rows = deleted_rows(deals)
    if not rows.any():
        return status
    state = before_deletion(deals, tz)
    before = pd.Series(state, deals.index).map(dict(_WORDS)).astype("str")
    # Without `as_of` no time is read, so that an odd one is no error.
    over = rows if as_of is None else DeletedRows.of(deals, tz).by(as_of)
    if deleted == "keep":
        over = over & ~np.isin(state, (WON, LOST))
    return status.mask(rows, before).mask(over)


def _closed(
    deals: pd.DataFrame, time: str, local: str, tz: str, rows: Ints
) -> tuple[Micros, Micros, Flags]:
    """Return when these rows were closed, the same on the company's own day where that differs, and
    which have a day alone.
    """
    moment = instants(deals, time, tz)[rows]
    if local not in deals.columns:
        return moment, moment, np.zeros(len(rows), dtype=np.bool_)
    day = days(deals, local)[rows]
    first = midnights(day, tz)
    counted = np.where((day != NULL) & (local_days(moment, tz) != day), first, moment)
    return np.where(moment == NULL, first, moment), counted, (moment == NULL) & (day != NULL)


def changed_after(deals: pd.DataFrame, tz: str, as_of: pd.Timestamp) -> Flags:
    """Return which deals changed after `as_of`, so that their values may have been different
    then.
    """
    if "update_time" not in deals.columns:
        return np.zeros(len(deals), dtype=np.bool_)
    return np.asarray(instants(deals, "update_time", tz) > to_micros(as_of), np.bool_)
