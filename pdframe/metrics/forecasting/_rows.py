"""The value of a column of each deal at any time, from the rows of a history of changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe.metrics._arguments import NULL, countable, micros, require_columns
from pdframe.metrics._change_rows import NEEDED
from pdframe.metrics._columns import NO_ID, TOO_LARGE, equals, plain_ids
from pdframe.metrics._survival import Flags, Ints
from pdframe.metrics.forecasting._interface import DAY

COLUMNS = ("value", "currency", "owner_id", "expected_close_date", "probability")
"""Columns of deals of which past values are read."""


@dataclass(frozen=True, slots=True, eq=False)
class ChangeRows:
    """Rows of a history of changes, for one column, by deal, time and place in the chain.

    Parameters
    ----------
    deal
        Id.
    time, seen
        When the value began, and when that was known; microseconds.
    begun
        Since when it may have been so: after the lower bound of `time`, and after the last snapshot
        that shows another change of the deal without this one; `time` where that is exact.
    value
        The value since then: float64, ids, days or text.
    first
        Whether it is the deal's first row, and shown by its first snapshot: the deal had that value
        earlier too, as far as known.
    logged
        Whether it comes from the deal's changelog.
    """

    deal: Ints
    time: Ints
    seen: Ints
    begun: Ints
    value: NDArray[Any]
    first: Flags
    logged: Flags

    def take(self, rows: Any) -> ChangeRows:
        """Return the rows at these places, or where a mask is true."""
        return ChangeRows(*(getattr(self, name)[rows] for name in self.__slots__))

    def known_always(self, deals: Ints, more: Ints, values: NDArray[Any]) -> ChangeRows:
        """Return the rows with the first value of some deals known at all earlier times, and with a
        value for all times of deals that have no row.

        Parameters
        ----------
        deals
            Ids, ascending.
        more, values
            Ids of deals without a row, ascending, and their values.
        """
        seen = np.where(self.first & np.isin(self.deal, deals), NULL, self.seen)
        always, no = np.full(len(more), NULL), np.zeros(len(more), bool)
        columns = (
            (self.deal, more),
            (self.time, always),
            (seen, always),
            (self.begun, always),
            (self.value, values.astype(self.value.dtype)),
            (self.first, no),
            (self.logged, no),
        )
        both = ChangeRows(*(np.concatenate(each) for each in columns))
        return both.take(np.argsort(both.deal, kind="stable"))


def logged_deals(history: pd.DataFrame | None) -> Ints:
    """Return the ids of the deals whose changelog a history contains, ascending."""
    if history is None or "source" not in history.columns:
        return np.zeros(0, np.int64)
    history = require_columns(history, "history", ("deal_id", "source"))
    return np.unique(plain_ids(history["deal_id"])[equals(history, "source", "changelog")])


def read_changes(history: pd.DataFrame | None, tz: str) -> dict[str, ChangeRows]:
    """Return the changes of `COLUMNS`, by column; all are empty where there is no history."""
    if history is None:
        return {name: _nothing(name) for name in COLUMNS}
    history = require_columns(history, "history", ("deal_id", *NEEDED))
    names = history["column"].astype("str").to_numpy(object)
    begun = _begun(history, tz)
    result = {}
    for name in COLUMNS:
        rows = np.flatnonzero(names == name)
        result[name] = (
            _of_column(history.iloc[rows], begun[rows], name, tz) if len(rows) else _nothing(name)
        )
    return result


def _begun(history: pd.DataFrame, tz: str) -> Ints:
    """Return since when each change may have been so."""
    time, seen = (micros(history[column], tz, column) for column in ("time", "seen_at"))
    if "time_after" not in history.columns:
        return time
    low = micros(history["time_after"], tz, "time_after")
    bounded = (low != NULL) & (low < time)
    # A snapshot takes a while: what it proves of all deals may be earlier than what it shows.
    deal = plain_ids(history["deal_id"])
    shows = seen != NULL
    if "source" in history.columns:
        shows &= ~equals(history, "source", "changelog")
    of, at = deal[shows], seen[shows]
    order = np.lexsort((at, of))
    of, at = of[order], at[order]
    start = np.searchsorted(of, deal)
    before = last_until(at, start, np.searchsorted(of, deal, side="right"), seen - 1)
    is_shown = before >= start
    shown = np.where(is_shown, at[np.where(is_shown, before, 0)] if len(at) else 0, low)
    return np.where(bounded, np.minimum(np.maximum(low, shown) + 1, time), time)


def _of_column(history: pd.DataFrame, begun: Ints, name: str, tz: str) -> ChangeRows:
    deal = plain_ids(history["deal_id"])
    time, seen = (micros(history[column], tz, column) for column in ("time", "seen_at"))
    before, after = (_texts(history[column]) for column in ("before", "after"))
    shown = logged = np.zeros(len(history), bool)
    if "source" in history.columns:
        shown, logged = (equals(history, "source", word) for word in ("first look", "changelog"))
    usable = (deal != NO_ID) & (time != NULL) & (seen != NULL)
    if name == "probability":
        # Only deals whose probability changes later have one in their changelog since creation.
        usable &= ~(logged & (before == ""))
    order = np.flatnonzero(usable)
    order = order[np.lexsort((after[order], before[order], seen[order], time[order], deal[order]))]
    deal, time, seen, begun = (a[order] for a in (deal, time, seen, begun))
    before, after = before[order], after[order]
    keep = _last_of_ties(deal, time, before, after)
    deal, first = deal[keep], shown[order][keep]
    first[1:] &= deal[1:] != deal[:-1]
    values, logged = _values(name, after[keep]), logged[order][keep]
    return ChangeRows(deal, time[keep], seen[keep], begun[keep], values, first, logged)


def _texts(column: pd.Series[Any]) -> NDArray[Any]:
    """Return a column as text, null as an empty one."""
    return np.asarray(column.astype("str").fillna("").to_numpy(object), "U")


def _last_of_ties(deal: Ints, time: Ints, before: NDArray[Any], after: NDArray[Any]) -> Flags:
    """Return which rows are the last of their deal and time.

    Changes of one instant form a chain: the last is the one whose value no other of them starts
    from, in any order of rows. Where the chain returns to its start, nothing changed: none is.
    """
    keep = np.ones(len(deal), bool)
    same = (deal[1:] == deal[:-1]) & (time[1:] == time[:-1])
    if not same.any():
        return keep
    new = np.append(True, ~same)
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(deal))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        left = list(before[start:end])
        last = None
        for row in range(start, end):
            if after[row] in left:
                left.remove(after[row])
            else:
                last = row
        keep[start:end] = False
        if last is not None:
            keep[last] = True
    return keep


def _values(name: str, texts: NDArray[Any]) -> NDArray[Any]:
    if name == "currency":
        words = texts.astype(object)
        words[texts == ""] = None
        return np.asarray(words, object)
    column = pd.Series(texts.astype(object), dtype="str")
    column = column.mask(column == "")
    if name in ("value", "probability"):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        return np.where(np.abs(numbers) < TOO_LARGE, numbers, np.nan)
    if name == "owner_id":
        distinct, place = np.unique(texts, return_inverse=True)
        return np.array([_id(text) for text in distinct], np.int64)[place]
    days = pd.to_datetime(column.str.slice(0, 10), format="%Y-%m-%d", errors="coerce")
    times = days.to_numpy("datetime64[us]").view(np.int64)
    return np.where(countable(times), times // DAY, NULL)


def _id(text: str) -> int:
    """Return an id exactly: as a float it would be another one from 2^53 on."""
    try:
        number = int(text.removesuffix(".0"))
    except ValueError:
        return NO_ID
    return number if abs(number) < 2**63 else NO_ID


def _nothing(name: str) -> ChangeRows:
    none, no = np.zeros(0, np.int64), np.zeros(0, bool)
    return ChangeRows(none, none, none, none, _values(name, np.zeros(0, "U1")), no, no)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The values of one column, each from the time at which it was known until the next one was.

    Parameters
    ----------
    start
        Where the rows of each deal (its place among the known deals) begin, and the end.
    since
        Microseconds; ascending within a deal.
    value
        The value from then on.
    unknown
        The value before the first row.
    """

    start: Ints
    since: Ints
    value: NDArray[Any]
    unknown: Any

    @classmethod
    def of(cls, rows: ChangeRows, deals: Ints, when: Ints, unknown: Any) -> Timeline:
        """Arrange rows by deal; `when` is `rows.seen`, or `rows.begun`, from which a value counts.

        `deals` are the ids of the known deals, ascending.
        """
        place = np.searchsorted(deals, rows.deal)
        there = place < len(deals)
        there[there] = deals[place[there]] == rows.deal[there]
        place, since, value = place[there], when[there], rows.value[there]
        # A later value that was known earlier hides an earlier one.
        visible = since < next_of_group(place, since)
        place, since, value = place[visible], since[visible], value[visible]
        start = np.searchsorted(place, np.arange(len(deals) + 1))
        return cls(start, since, value, unknown)

    def at(self, place: Ints, time: Ints) -> NDArray[Any]:
        """Return the value of each deal (its place) at a time."""
        low, high = self.start[place], self.start[place + 1]
        row = last_until(self.since, low, high, time)
        result = np.full(len(place), self.unknown, self.value.dtype)
        known = row >= low
        result[known] = self.value[row[known]]
        return result


def next_of_group(group: Ints, since: Ints) -> Ints:
    """Return the earliest time among the later rows of the same group, the largest integer where
    there are none. Rows are in order of their group.
    """
    last = np.iinfo(np.int64).max
    if not len(group):
        return since.copy()
    following = np.append(np.where(group[1:] == group[:-1], since[1:], last), last)
    # A running minimum from the right that restarts in every group: rounds of doubling steps.
    step = 1
    longest = int(np.bincount(group - group.min()).max()) if len(group) else 1
    while step < longest:
        same = group[step:] == group[:-step]
        following[:-step] = np.where(
            same, np.minimum(following[:-step], following[step:]), following[:-step]
        )
        step *= 2
    return following


def last_until(times: Ints, low: Ints, high: Ints, until: Ints) -> Ints:
    """Return the last place in [low, high) of which the time is at most `until`, low - 1 where
    there is none; `times` ascend between low and high.
    """
    low, high = low.copy(), high.copy()
    while True:
        going = low < high
        if not going.any():
            return low - 1
        middle = (low + high) // 2
        right = going & (times[np.where(going, middle, 0)] <= until)
        low = np.where(right, middle + 1, low)
        high = np.where(going & ~right, middle, high)


__all__ = [
    "COLUMNS",
    "ChangeRows",
    "Timeline",
    "last_until",
    "logged_deals",
    "next_of_group",
    "read_changes",
]
