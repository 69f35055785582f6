"""What each deal was at a time: open, won, lost or deleted, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe.metrics.columns import Flags, dates, equals, midnight, say_uncountable, times
from pdframe.metrics.inputs import local_date, need

OPEN, WON, LOST, DELETED, UNKNOWN = 0, 1, 2, 3, -1
"""States of a deal; UNKNOWN: not created yet, or without a status that is one of these."""

NEEDED = ("add_time", "status", "won_time", "lost_time")

_TIMES = ("add_time", "update_time", "won_time", "lost_time", "local_won_date", "local_lost_date")


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
        When it was won, lost or deleted (UTC), the first instant of the day where only that is told; null where it is open, or nothing
        tells.
    counted
        The same for what is cut into days: where the company's own day (`local_won_date`, `local_lost_date`) is another one than that of
        the time in `tz`, the first instant of it.
    """

    state: npt.NDArray[np.int8]
    created: pd.Series[Any]
    ended: pd.Series[Any]
    counted: pd.Series[Any]

    def undated(self, *states: int) -> Flags:
        """Return where a deal is in one of these states and nothing tells since when."""
        return np.isin(self.state, states) & self.ended.isna().to_numpy()


def states(deals: pd.DataFrame, tz: str, as_of: pd.Timestamp | None = None) -> States:
    """Return what each deal was at `as_of`, or is now.

    A deal's status decides: a deal that was won, reopened and is open is open, whatever other times it holds. A deal that was closed or
    deleted after `as_of` was open then; one created after it did not exist; one closed without a date counts as closed. A deal counts as
    deleted since its last update.
    """
    deals = need(deals, "deals", list(NEEDED))
    say_uncountable(deals, "deals", moments=_TIMES)
    state = np.full(len(deals), UNKNOWN, dtype=np.int8)
    for code, word in ((OPEN, "open"), (WON, "won"), (LOST, "lost"), (DELETED, "deleted")):
        state[equals(deals, "status", word)] = code
    if "is_deleted" in deals.columns:
        state[equals(deals, "is_deleted", True)] = DELETED
    created = times(deals, "add_time", tz)
    ended = pd.Series(pd.NaT, index=deals.index, dtype="datetime64[us, UTC]")
    if "update_time" in deals.columns:
        ended = ended.mask(state == DELETED, times(deals, "update_time", tz))
    counted = ended
    for code, time, local in ((WON, "won_time", "local_won_date"), (LOST, "lost_time", "local_lost_date")):
        instant, day = _closed(deals, time, local, tz)
        ended = ended.mask(state == code, instant)
        counted = counted.mask(state == code, day)
    if as_of is not None:
        later = (ended > as_of).to_numpy()
        state[later] = OPEN
        state[(created > as_of).to_numpy()] = UNKNOWN
        ended, counted = ended.mask(later), counted.mask(later)
    return States(state, created, ended, counted)


def _closed(deals: pd.DataFrame, time: str, local: str, tz: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """When deals were closed, and the same moved to the company's own day where that is another one."""
    moment = times(deals, time, tz)
    if local not in deals.columns:
        return moment, moment
    day = dates(deals, local)
    first = midnight(day, tz)
    return moment.fillna(first), moment.mask(day.notna() & (local_date(moment, tz) != day), first)


def changed_after(deals: pd.DataFrame, tz: str, as_of: pd.Timestamp) -> Flags:
    """Return where a deal changed after `as_of`, so that what it says now may not have been so then."""
    if "update_time" not in deals.columns:
        return np.zeros(len(deals), dtype=np.bool_)
    return np.asarray(times(deals, "update_time", tz) > as_of, dtype=np.bool_)
