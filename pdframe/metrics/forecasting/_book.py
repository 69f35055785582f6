"""The open pipeline through time: every state of every deal, replayed from its history of changes.

A state holds from one change to the next. Where only bounds of a change are known, it counts at the
upper one, the snapshot that shows it. A value in a first snapshot is no change: the column had it
since the deal was created, as far as known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, countable, micros, require_columns, to_micros
from pdframe.metrics._change_rows import NEEDED, typed
from pdframe.metrics._columns import (
    NO_ID,
    Flags,
    Floats,
    Ints,
    instants,
    one_row_each,
    places,
    plain_ids,
)
from pdframe.metrics._grouping import taken
from pdframe.metrics._periods import days_since_1970
from pdframe.metrics._states import deleted_rows
from pdframe.metrics.forecasting._amounts import LARGEST

OPEN, WON, LOST, DELETED = range(4)
"""Statuses; a deal that disappeared, or has none of the others, is DELETED."""
_STATUSES = {"open": OPEN, "won": WON, "lost": LOST}

TRACKED = ("owner_id", "pipeline_id", "stage_id", "is_archived")
"""Columns of deals that a history has, and that results may be grouped by as of each time."""
_NAMES = {"owner_name": "owner_id", "pipeline_name": "pipeline_id", "stage_name": "stage_id"}
_STATE = ("status", "is_deleted", "value", "currency", "expected_close_date")
_CLOSINGS = ("won_time", "lost_time")
_NOT_SET, _NULL = -2, -1
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Book:
    """The states of all deals, by deal and time.

    Parameters
    ----------
    deal
        Id.
    time
        Since when, in microseconds since 1970 UTC.
    first
        Whether it is the first state of its deal.
    appeared
        Whether the deal was created before the first snapshot, and missing in it: its first state
        is no creation.
    status
        OPEN, WON, LOST or DELETED.
    value
        NaN where null.
    currency
        Text, None where null.
    day
        Expected close, in days since 1970; `NULL` where there is none.
    groups
        The columns to group by, one row per state.
    """

    deal: Ints
    time: Ints
    first: Flags
    appeared: Flags
    status: Ints
    value: Floats
    currency: NDArray[np.object_]
    day: Ints
    groups: pd.DataFrame

    def at(self, time: int) -> Ints:
        """Return the row of the last state of each deal before a time, for the deals that have
        one.
        """
        earlier = self.time < time
        following = np.append(self.first[1:], np.ones(min(len(self.first), 1), np.bool_))
        later = np.append(~earlier[1:], np.ones(min(len(earlier), 1), np.bool_))
        return np.flatnonzero(earlier & (following | later))


class _Rows(NamedTuple):
    """The changes of one column, by deal and time: `code` is the place of the new text in `texts`.

    `first` is the value before the first change of each deal, by the deal's place.
    """

    deal: Ints
    time: Ints
    code: Ints
    first: Ints
    texts: NDArray[np.object_]


def book(
    history: pd.DataFrame, deals: pd.DataFrame, since: pd.Timestamp, names: Sequence[str], tz: str
) -> Book:
    """Replay a history.

    Parameters
    ----------
    history
        One row per deal and change, from `account.deal_history()`.
    deals
        One row per deal, from `account.deals()`: labels, and times of creation that history lacks.
    since
        The time from which states must be known.
    names
        Columns to group by: those of `TRACKED` and their names are as of each time, others are
        those of `deals`.
    tz
        Timezone of naive times.

    Raises
    ------
    ArgumentError
        States at `since` are unknown, or an argument holds something else.
    """
    history = require_columns(history, "history", ("deal_id", *NEEDED, "source"))
    labels = [name for name in names if name not in TRACKED]
    deals = require_columns(deals, "deals", ("id",), labels)
    own = plain_ids(one_row_each(deals, "deals"))
    deal, time = plain_ids(history["deal_id"]), instants(history, "time", tz)
    seen = instants(history, "seen_at", tz)
    column = history["column"].astype("str").to_numpy(object)
    usable = (deal != NO_ID) & (time != NULL) & (seen != NULL)
    source = history["source"].astype("str").to_numpy(object)
    index = np.unique(deal[usable])
    _warn_of_missing(deals, own, index)
    place = places(index, np.where(usable, deal, NO_ID))
    before, after = (
        history[side].astype("str").where(history[side].notna()).to_numpy(object)
        for side in ("before", "after")
    )
    tracked = [name for name in TRACKED if name in {_NAMES.get(name, name) for name in names}]
    rows: dict[str, _Rows] = {}
    for name in (*_STATE, *tracked, *_CLOSINGS, "add_time"):
        which = np.flatnonzero(usable & (column == name))
        rows[name] = _rows_of(
            place[which], time[which], seen[which], before[which], after[which], source[which],
            len(index),
        )  # fmt: skip
    first_time = _least(place[usable], time[usable], len(index))
    first_seen = _least(place[usable], seen[usable], len(index))
    logged = np.zeros(len(index), np.bool_)
    logged[place[usable & (source == "changelog")]] = True
    added = _created(rows["add_time"], deals, own, index, tz)
    of_status = _least(rows["status"].deal, rows["status"].time, len(index))
    # A status without one before it is that of the creation. A change from before `add_time`, as
    # an import may have: the deal existed then.
    start = np.where(added == NULL, first_time, np.minimum(added, of_status))
    created = rows["status"].first == _NULL
    start = np.where(created & (of_status < _NEVER), of_status, start)
    snapshot_seen = seen[usable & (source != "changelog")]
    begins = int(snapshot_seen.min()) if len(snapshot_seen) else NULL
    appeared = ~logged & (first_seen > begins) & (start < begins)
    start = np.where(appeared, first_seen, start)
    rows["status"] = _with_closings(rows["status"], rows["won_time"], rows["lost_time"], start)
    _check_known(rows["status"], logged | (start >= begins), begins, since, len(index))
    return _assembled(rows, [*_STATE, *tracked], index, start, appeared, deals, own, names)


def _rows_of(
    deal: Ints,
    time: Ints,
    seen: Ints,
    before: NDArray[Any],
    after: NDArray[Any],
    source: NDArray[Any],
    count: int,
) -> _Rows:
    """Return the changes of one column in order, those of one time as one."""
    codes, words = pd.factorize(np.concatenate([before, after]), sort=True)
    # The place -1, of null, is the last one.
    texts = np.array([*words, None], object)
    old, new = np.split(codes.astype(np.int64), 2)
    order = np.lexsort((new, old, seen, time, deal))
    deal, time, old, new, source = (a[order] for a in (deal, time, old, new, source))
    initial = np.full(count, _NULL, np.int64)
    opening = np.flatnonzero(np.append(np.ones(min(len(deal), 1), np.bool_), deal[1:] != deal[:-1]))
    # A first snapshot shows a value that the column already had.
    is_snapshot = source[opening] == "first look"
    initial[deal[opening]] = np.where(is_snapshot, new[opening], old[opening])
    new, keep = _one_each(deal, time, old, new)
    return _Rows(deal[keep], time[keep], new[keep], initial, texts)


def _one_each(deal: Ints, time: Ints, old: Ints, new: Ints) -> tuple[Ints, Flags]:
    """Return the value after all changes of one deal and time, and which rows to keep.

    Such changes form a chain, in any order of rows: the last value is the one that no other change
    starts from; where the chain returns to its start, nothing changed.
    """
    keep = np.ones(len(deal), np.bool_)
    same = (deal[1:] == deal[:-1]) & (time[1:] == time[:-1])
    if not same.any():
        return new, keep
    new = new.copy()
    starts = np.flatnonzero(np.append(True, ~same))
    ends = np.append(starts[1:], len(deal))
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        left = old[start:end].tolist()
        last = []
        for value in new[start:end].tolist():
            if value in left:
                left.remove(value)
            else:
                last.append(value)
        keep[start:end] = False
        if last:
            keep[end - 1], new[end - 1] = True, last[-1]
    return new, keep


def _least(place: Ints, values: Ints, count: int) -> Ints:
    """Return the least value of each place, the largest integer where it has none."""
    result = np.full(count, _NEVER)
    np.minimum.at(result, place, values)
    return result


def _created(rows: _Rows, deals: pd.DataFrame, own: Ints, index: Ints, tz: str) -> Ints:
    """Return when each deal was created, by the history, else by `deals`; else `NULL`."""
    result = np.full(len(index), NULL)
    if "add_time" in deals.columns:
        where = places(own, index)
        times = instants(deals, "add_time", tz)
        result[where >= 0] = times[where[where >= 0]]
    last = np.append(rows.deal[1:] != rows.deal[:-1], np.ones(min(len(rows.deal), 1), np.bool_))
    times = _times(rows.texts)[rows.code[last]]
    known = times != NULL
    result[rows.deal[last][known]] = times[known]
    return result


def _times(texts: NDArray[Any]) -> Ints:
    """Return texts as microseconds, `NULL` where they are no time that can be computed with."""
    values = micros(typed("add_time", pd.Series(texts, dtype="str")), "UTC", "add_time")
    return np.where(countable(values), values, NULL)


def _with_closings(status: _Rows, won: _Rows, lost: _Rows, start: Ints) -> _Rows:
    """Open the deals that the first snapshot shows closed from their creation until the time of
    their closing.
    """
    codes = {text: code for code, text in enumerate(status.texts.tolist()) if text is not None}
    texts, initial = status.texts, status.first.copy()
    if "open" not in codes:
        codes["open"] = len(texts) - 1
        texts = np.insert(texts, len(texts) - 1, "open")
    first_rows = np.flatnonzero(
        np.append(np.ones(min(len(status.deal), 1), np.bool_), status.deal[1:] != status.deal[:-1])
    )
    # The first row repeats the state that the deal had before: a first snapshot.
    shown = first_rows[status.code[first_rows] == initial[status.deal[first_rows]]]
    time = status.time.copy()
    for word, closings in (("won", won), ("lost", lost)):
        if word not in codes:
            continue
        opening = np.full(len(start), NULL)
        begins = np.flatnonzero(closings.first != _NULL)
        opening[begins] = _times(closings.texts)[closings.first[begins]]
        rows = shown[status.code[shown] == codes[word]]
        deal = status.deal[rows]
        fits = (opening[deal] > start[deal]) & (opening[deal] <= status.time[rows])
        time[rows[fits]] = opening[deal[fits]]
        initial[deal[fits]] = codes["open"]
    return _Rows(status.deal, time, status.code, initial, texts)


def _check_known(status: _Rows, known: Flags, begins: int, since: pd.Timestamp, count: int) -> None:
    """Raise `ArgumentError` where deals may have been open at `since` in a state that neither a
    changelog nor a snapshot has.
    """
    if begins == NULL or to_micros(since) >= begins:
        return
    closed = np.zeros(count, np.bool_)
    words = status.texts[status.code]
    over = np.isin(words, ["won", "lost", "deleted"]) & (status.time < to_micros(since))
    closed[status.deal[over]] = True
    unknown = int((~known & ~closed).sum())
    if unknown:
        first = pd.Timestamp(begins, unit="us", tz="UTC")
        raise ArgumentError(
            f"since={since:%Y-%m-%d %H:%M} UTC is before the kept history, which begins on"
            f" {first:%Y-%m-%d %H:%M:%S} UTC; {unknown:,} of {count:,} deals have no changelog, so"
            " their states before that are unknown. Begin there, or load account.deal_changes()."
        )


def _assembled(
    rows: dict[str, _Rows],
    columns: Sequence[str],
    index: Ints,
    start: Ints,
    appeared: Flags,
    deals: pd.DataFrame,
    own: Ints,
    names: Sequence[str],
) -> Book:
    """Return the states at all times at which a column changed."""
    count = len(index)
    deal = np.concatenate([np.arange(count), *(rows[name].deal for name in columns)])
    time = np.concatenate(
        [start, *(np.maximum(rows[name].time, start[rows[name].deal]) for name in columns)]
    )
    order = np.lexsort((time, deal))
    new = np.ones(len(order), np.bool_)
    new[1:] = (deal[order][1:] != deal[order][:-1]) | (time[order][1:] != time[order][:-1])
    state = np.empty(len(order), np.int64)
    state[order] = np.cumsum(new) - 1
    of_start, state = state[:count], state[count:]
    size = int(new.sum())
    values: dict[str, NDArray[Any]] = {}
    texts: dict[str, NDArray[Any]] = {}
    for name in columns:
        own_rows = rows[name]
        here, state = state[: len(own_rows.deal)], state[len(own_rows.deal) :]
        code = np.full(size, _NOT_SET)
        code[of_start] = own_rows.first
        # In the order of times: of changes from before the start, the last one counts.
        code[here] = own_rows.code
        filled = np.maximum.accumulate(np.where(code != _NOT_SET, np.arange(size), 0))
        values[name], texts[name] = code[filled], own_rows.texts
    at = order[new]
    deal, time = deal[at], time[at]

    def read(name: str) -> pd.Series[Any]:
        column = pd.Series(texts[name], dtype="str")
        return typed(name, column).take(values[name])

    known = np.array([_STATUSES.get(text, DELETED) for text in texts["status"]], np.int64)
    status = known[values["status"]]
    removed = np.array([text == "true" for text in texts["is_deleted"]], np.bool_)
    status = np.where(removed[values["is_deleted"]], DELETED, status)
    value = read("value").to_numpy(np.float64)
    days = micros(read("expected_close_date"), "UTC", "expected_close_date")
    return Book(
        deal=index[deal],
        time=time,
        first=np.append(np.ones(min(len(deal), 1), np.bool_), deal[1:] != deal[:-1]),
        appeared=appeared[deal],
        status=status,
        value=np.where(np.abs(value) < LARGEST, value, np.nan),
        currency=texts["currency"][values["currency"]],
        day=days_since_1970(np.where(countable(days), days, NULL)),
        groups=_groups(
            {name: read(name) for name in columns if name in TRACKED},
            index[deal],
            deals,
            own,
            names,
        ),
    )


def _groups(
    tracked: dict[str, pd.Series[Any]],
    deal: Ints,
    deals: pd.DataFrame,
    own: Ints,
    names: Sequence[str],
) -> pd.DataFrame:
    """Return the columns to group by, one row per state."""
    result: dict[str, Any] = {}
    place = places(own, deal)
    for name in names:
        if name in TRACKED:
            result[name] = tracked[name].array
        elif name in _NAMES and _NAMES[name] in deals.columns:
            of_id = pd.Series(
                deals[name].to_numpy(object), pd.Index(plain_ids(deals[_NAMES[name]]))
            ).dropna()
            of_id = of_id[~of_id.index.duplicated(keep="last")]
            keys = pd.Index(plain_ids(tracked[_NAMES[name]]))
            result[name] = pd.Series(of_id.reindex(keys).to_numpy(object), dtype="str").array
        else:
            result[name] = taken(deals[name], place)
    return pd.DataFrame(result, index=pd.RangeIndex(len(deal)))


def _warn_of_missing(deals: pd.DataFrame, own: Ints, index: Ints) -> None:
    missing = places(index, own) < 0
    if not missing.any():
        return
    removed = deleted_rows(deals) if "status" in deals.columns else np.zeros(len(own), np.bool_)
    count = int((missing & removed).sum())
    also = f", {count:,} of them deleted" if count else ""
    warn(
        f"{int(missing.sum()):,} of {len(own):,} deals are not in history{also}: they are left out."
    )


__all__ = ["DELETED", "LOST", "OPEN", "TRACKED", "WON", "Book", "book"]
