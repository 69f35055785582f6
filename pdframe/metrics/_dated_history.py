"""A history of deals with the time of each change as exact as the history and the deals tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe.metrics._arguments import NULL, Micros, require_columns
from pdframe.metrics._change_rows import NEEDED
from pdframe.metrics._columns import Flags, Ints, as_times, instants, places, plain_ids

_NEAR = 2_000_000
"""Microseconds; the stamps of one write differ by this much at most."""
# Columns that every deal has a value of from its creation on.
_NEVER_NULL = ("stage_id", "pipeline_id", "status", "currency", "owner_id")
# What events are made of.
_USED = (
    *_NEVER_NULL,
    "value",
    "expected_close_date",
    "is_archived",
    "is_deleted",
    "add_time",
    "won_time",
    "lost_time",
)


def dated_history(history: pd.DataFrame, deals: pd.DataFrame, tz: str) -> pd.DataFrame:
    """Return a history whose changes have the best known times.

    - The rows of a creation have one time, that of the earliest of them.
    - A move to another pipeline has the time of the move to its stage.
    - An archived or deleted deal has the time that `deals` has of it (`archive_time`,
      `deleted_time`) where that lies between the bounds.

    Parameters
    ----------
    history
        One row per deal and change, from `account.deal_history()`.
    deals
        One row per deal, with id.
    tz
        Timezone of naive times.

    Returns
    -------
    DataFrame
        The rows of the columns that events are made of: deal_id, column, before, after, time,
        time_after (null: `time` is exact), source, seen_at.
    """
    history = require_columns(history, "history", ("deal_id", *NEEDED, "source"))
    rows = _Rows(history[history["column"].isin(_USED)], tz)
    rows.join_creations()
    rows.join_pipelines()
    rows.date_from(deals, tz)
    return rows.frame()


class _Rows:
    """The columns of a history as arrays; `low` is `NULL` where the time is exact."""

    def __init__(self, history: pd.DataFrame, tz: str) -> None:
        self.deal = plain_ids(history["deal_id"])
        self.time = instants(history, "time", tz).copy()
        self.seen = instants(history, "seen_at", tz)
        self.low = (
            instants(history, "time_after", tz).copy()
            if "time_after" in history.columns
            else np.full(len(history), NULL)
        )
        self.column, self.before, self.after, self.source = (
            history[name].astype("str").where(history[name].notna()).to_numpy(object, copy=True)
            for name in ("column", "before", "after", "source")
        )
        self.starts_null = pd.isna(self.before)

    def join_creations(self) -> None:
        """Give the rows of one creation its earliest time."""
        logged = (self.source == "changelog") & self.starts_null & (self.time != NULL)
        certain = np.flatnonzero(logged & np.isin(self.column, _NEVER_NULL))
        if not len(certain):
            return
        times = pd.DataFrame({"deal": self.deal[certain], "time": self.time[certain]})
        first = times.groupby("deal")["time"].min()
        differing = times.drop_duplicates()
        differing = differing[differing["deal"].duplicated(keep=False)]
        if differing.empty:
            return
        keys = pd.MultiIndex.from_frame(differing)
        rows = np.flatnonzero(logged)
        own = pd.MultiIndex.from_arrays([self.deal[rows], self.time[rows]])
        rows = rows[own.isin(keys)]
        self.time[rows] = first.reindex(self.deal[rows]).to_numpy(np.int64)

    def join_pipelines(self) -> None:
        """Give a move to another pipeline the time of the move to the stage."""
        changed = ~self.starts_null & (self.time != NULL)
        moves, stages = (
            np.flatnonzero(changed & (self.column == name)) for name in ("pipeline_id", "stage_id")
        )
        pairs = pd.DataFrame({"deal": self.deal[moves], "move": moves}).merge(
            pd.DataFrame({"deal": self.deal[stages], "stage": stages}), on="deal"
        )
        move, stage = pairs["move"].to_numpy(np.int64), pairs["stage"].to_numpy(np.int64)
        apart = np.abs(self.time[move] - self.time[stage])
        low = self.low[move]
        between = (low != NULL) & (self.time[stage] > low) & (self.time[stage] <= self.time[move])
        # Of several, the nearest; its bounds are those of the move as well.
        near = np.flatnonzero((apart <= _NEAR) | between)
        near = near[np.lexsort((-apart[near], move[near]))]
        self.time[move[near]] = self.time[stage[near]]
        self.low[move[near]] = self.low[stage[near]]

    def date_from(self, deals: pd.DataFrame, tz: str) -> None:
        """Take the time of an archiving or a deletion from the deal."""
        ends = (
            ("archive_time", ("is_archived",), "true"),
            ("deleted_time", ("is_deleted",), "true"),
        )
        for name, columns, word in ends:
            if name not in deals.columns:
                continue
            which = np.isin(self.column, columns) & (self.after == word) & (self.time != NULL)
            self._date(np.flatnonzero(which), _times_of(deals, name, self.deal, which, tz))
        if "deleted_time" in deals.columns:
            which = (self.column == "status") & (self.after == "deleted") & (self.time != NULL)
            self._date(
                np.flatnonzero(which), _times_of(deals, "deleted_time", self.deal, which, tz)
            )

    def _date(self, rows: Ints, stamps: Micros) -> None:
        low, time = self.low[rows], self.time[rows]
        first = self.source[rows] == "first look"
        inside = (stamps != NULL) & (stamps <= time) & ((low != NULL) & (stamps > low) | first)
        exact = inside & ((stamps < time) | first)
        self.time[rows[exact]], self.low[rows[exact]] = stamps[exact], NULL
        # The first snapshot shows a change, not a value since the creation.
        shown = rows[first & (inside | (self.column[rows] == "is_deleted"))]
        flags = shown[np.isin(self.column[shown], ("is_archived", "is_deleted"))]
        self.before[flags], self.source[flags] = "false", "snapshots"

    def frame(self) -> pd.DataFrame:
        index = pd.RangeIndex(len(self.deal))
        texts = {
            name: pd.Series(getattr(self, name), index, dtype="str")
            for name in ("column", "before", "after", "source")
        }
        times = {
            name: as_times(getattr(self, key), index)
            for name, key in (("time", "time"), ("time_after", "low"), ("seen_at", "seen"))
        }
        return pd.DataFrame({"deal_id": pd.array(self.deal, "Int64"), **texts, **times})


def _times_of(deals: pd.DataFrame, name: str, deal: Ints, which: Flags, tz: str) -> Micros:
    """Return a time of these deals, `NULL` where `deals` lacks it."""
    place = places(plain_ids(deals["id"]), deal[which])
    times = instants(deals, name, tz)
    if not len(times):
        return np.full(len(place), NULL)
    return np.where(place < 0, NULL, times[place])


def lower_bounds(history: pd.DataFrame, deal: Ints, column: Any, time: Micros) -> Micros:
    """Return the lower bound of each change of a deal's column at a time; `NULL` where it is exact.

    Parameters
    ----------
    history
        A frame of `dated_history`.
    deal, column, time
        Of each change: ids, names of columns, microseconds.
    """
    low = instants(history, "time_after", "UTC")
    bounded = np.flatnonzero(low != NULL)
    known = pd.Series(
        low[bounded],
        pd.MultiIndex.from_arrays(
            [
                plain_ids(history["deal_id"])[bounded],
                history["column"].to_numpy(object)[bounded],
                instants(history, "time", "UTC")[bounded],
            ]
        ),
    )
    known = known[~known.index.duplicated(keep="last")]
    at = known.index.get_indexer(pd.MultiIndex.from_arrays([deal, column, time]))
    values = known.to_numpy(np.int64)
    if not len(values):
        return np.full(len(deal), NULL)
    return np.where(at < 0, NULL, values[at])


__all__ = ["dated_history", "lower_bounds"]
