"""Activities and line items of deals at any time, from what their rows date: when a row was added,
and when an activity was marked as done.

Due dates, the flag `done`, quantities and prices are those of today: a row that was edited since
shows what was not known then. They are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from pdframe.metrics._arguments import NULL, require_columns
from pdframe.metrics._columns import NO_ID, instants, one_row_each, places, plain_ids
from pdframe.metrics._known_at import NEVER
from pdframe.metrics._survival import Ints
from pdframe.metrics.forecasting._interface import DAY, Activity, LineItems
from pdframe.metrics.forecasting._rows import last_until

RECENT = 28 * DAY
"""Time before a landmark in which done activities are counted."""


class _Deals(NamedTuple):
    """Where the rows of each deal begin, in rows sorted by deal; an empty place comes last."""

    id: Ints
    start: Ints

    @classmethod
    def of(cls, deal: Ints) -> _Deals:
        """Find the rows of each deal; `deal` ascends."""
        ids, start = np.unique(deal, return_index=True)
        return cls(ids, np.append(start, [len(deal), len(deal)]).astype(np.int64))

    def rows(self, deal: Ints) -> tuple[Ints, Ints]:
        """Return where the rows of these deals begin and end."""
        place = places(self.id, deal)
        place = np.where(place < 0, len(self.id), place)
        return self.start[place], self.start[place + 1]


@dataclass(frozen=True, slots=True, eq=False)
class Activities:
    """Activities of deals.

    Parameters
    ----------
    done_deals, done
        When activities were done, by deal and time.
    deals, added, finished
        When activities were added, by deal and time; the latest time at which one of the deal's
        activities up to that row was done, `NEVER` if one is not.
    """

    done_deals: _Deals
    done: Ints
    deals: _Deals
    added: Ints
    finished: Ints

    @classmethod
    def of(cls, frame: pd.DataFrame, tz: str) -> Activities:
        """Read the rows that have a deal and a time at which they were added."""
        names = ("id", "deal_id", "add_time", "marked_as_done_time")
        frame = require_columns(frame, "activities", names)
        one_row_each(frame, "activities")
        deal, added = plain_ids(frame["deal_id"]), instants(frame, "add_time", tz)
        done = instants(frame, "marked_as_done_time", tz)
        # An activity is not known to be done before it is known.
        done = np.where(done == NULL, NEVER, np.maximum(done, added))
        usable = (deal != NO_ID) & (added != NULL)
        deal, added, done = deal[usable], added[usable], done[usable]
        order = np.lexsort((done, added, deal))
        deals = _Deals.of(deal[order])
        finished = _running_maximum(done[order], deal[order])
        over = np.flatnonzero(done != NEVER)
        over = over[np.lexsort((done[over], deal[over]))]
        return cls(_Deals.of(deal[over]), done[over], deals, added[order], finished)

    def at(self, deal: Ints, time: Ints) -> Activity:
        """Return the activity of each deal as known at a time."""
        low, high = self.done_deals.rows(deal)
        last = last_until(self.done, low, high, time)
        before = last_until(self.done, low, high, time - RECENT)
        since = np.full(len(deal), NULL)
        has = last >= low
        since[has] = time[has] - self.done[last[has]]
        low, high = self.deals.rows(deal)
        # The first row that is not over then; all rows before it are.
        first = last_until(self.finished, low, high, time) + 1
        waiting = np.full(len(deal), NULL)
        rows = np.flatnonzero(first < high)
        age = time[rows] - self.added[first[rows]]
        waiting[rows[age >= 0]] = age[age >= 0]
        return Activity(since, last - before, waiting)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Line items of deals: when they were added, by deal and time, and the product of the first."""

    deals: _Deals
    added: Ints
    product: Ints

    @classmethod
    def of(cls, frame: pd.DataFrame, tz: str) -> Lines:
        """Read the rows that have a deal and a time at which they were added."""
        frame = require_columns(frame, "deal_products", ("id", "deal_id", "product_id", "add_time"))
        one_row_each(frame, "deal_products")
        deal, product = plain_ids(frame["deal_id"]), plain_ids(frame["product_id"])
        added = instants(frame, "add_time", tz)
        usable = np.flatnonzero((deal != NO_ID) & (added != NULL))
        order = usable[np.lexsort((product[usable], added[usable], deal[usable]))]
        return cls(_Deals.of(deal[order]), added[order], product[order])

    def at(self, deal: Ints, time: Ints) -> LineItems:
        """Return the line items of each deal as known at a time."""
        low, high = self.deals.rows(deal)
        number = last_until(self.added, low, high, time) + 1 - low
        product = np.full(len(deal), NO_ID)
        some = number > 0
        product[some] = self.product[low[some]]
        return LineItems(number, product)


def _running_maximum(values: Ints, group: Ints) -> Ints:
    """Return the largest value so far in each group; the rows of a group are neighbours."""
    if not len(values):
        return values
    ordered, rank = np.unique(values, return_inverse=True)
    number = np.cumsum(np.append(0, group[1:] != group[:-1])) * len(ordered)
    result: Ints = ordered[np.maximum.accumulate(rank + number) - number]
    return result


__all__ = ["RECENT", "Activities", "Lines"]
