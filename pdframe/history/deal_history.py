"""One row per change of a tracked column: what kept looks and loaded changelogs tell together.

Looks and the changelog are two witnesses. Where a deal's changelog is loaded, it rules the columns
that it tells, up to the time at which it was read: it has exact times and misses nothing. A look
adds what the changelog does not tell: later changes, columns that it leaves out, and a value that
the column had at no time of the look.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.frames import storage_schema, to_frame
from pdframe.history.inputs import ReadTimes
from pdframe.history.pipelines import Pipelines, StageMove
from pdframe.history.timeline import NEAR
from pdframe.schema import Table
from pdframe.schema.snapshots import (
    DEAL_HISTORY,
    HISTORY,
    LINE_HISTORY,
    OF_DEALS,
    OF_LINES,
    TRACKED_COLUMNS,
    TrackedHistory,
)

IS_DELETED = "is_deleted"
CHANGELOG, SNAPSHOTS, FIRST_SNAPSHOT = "changelog", "snapshots", "first look"
# Keys of the changelog (v1) that tell of a tracked column, by their column.
_KEYS = {
    "stage_id": "stage_id",
    "pipeline_id": "pipeline_id",
    "status": "status",
    "value": "value",
    "currency": "currency",
    "expected_close_date": "expected_close_date",
    "user_id": "owner_id",
    "probability": "probability",
    "won_time": "won_time",
    "lost_time": "lost_time",
}
REPORTED = tuple(_KEYS.values())
"""Columns of deals whose changes a changelog tells."""
NEVER_SILENT = ("stage_id", "pipeline_id", "status", "value", "currency")
"""Those of which it tells every change: one that it does not name never changed."""
# The deal's own stamp of a change, where the API gives one. There is none of pipelines: the last
# change of the stage may be a later one, within the pipeline.
_CLOSED = {"won": "won_time", "lost": "lost_time"}
_STAMPS = {"stage_id": "stage_change_time", **_CLOSED}
_NONE = np.iinfo(np.int64).min
_YEAR_9999 = 253_370_764_800_000_000
_EARLIEST, _LATEST = pd.Timestamp("0001-01-02", tz="UTC"), pd.Timestamp("9999-12-31", tz="UTC")
_COLUMNS = ("row", "deal", "column", "before", "after", "time", "time_after", "source", "seen_at")


class _Change(NamedTuple):
    """One row; times in microseconds since 1970 UTC, `_NONE` where there is none."""

    deal: int
    column: str
    before: str | None
    after: str | None
    time: int
    time_after: int
    source: str
    seen_at: int


def deal_history(
    rows: pa.Table,
    snapshots: pa.Table,
    changes: pa.Table | None = None,
    loaded: Mapping[int, datetime] | pa.Table | None = None,
    pipelines: Mapping[int, int] | None = None,
) -> pd.DataFrame:
    """Changes of deals: one row per deal and change of a tracked column.

    Parameters
    ----------
    rows, looks
        The kept history of deals, and its looks.
    changes
        Rows of deal changelogs as they are cached: deal_id, time, field_key, old_value, new_value.
    loaded
        Server's time at which each deal's changelog was read, also where it holds nothing.
    pipelines
        Pipeline of each stage: a changelog may tell a move to another pipeline by its stage alone.

    Returns
    -------
    DataFrame
        The columns of `DEAL_HISTORY`, by deal, time and column.
    """
    read = ReadTimes.of(loaded).by_deal()
    states = _States(rows, snapshots, OF_DEALS)
    # The changelog of a deal that is gone since was read, at its newest row at the earliest.
    read = {**_newest_rows(changes), **read}
    events = _events(changes)
    _add_pipelines(states, events, pipelines or {})
    result = states.changes(without={*read} if read else frozenset())
    result += _with_changelog(states, events, read)
    return _frame(result, DEAL_HISTORY, OF_DEALS)


def line_history(rows: pa.Table, snapshots: pa.Table, deals: pd.DataFrame) -> pd.DataFrame:
    """Changes of line items: one row per line item and change of a tracked column.

    Parameters
    ----------
    rows, looks
        The kept history of line items, and its looks.
    deals
        What `deal_history` gives: a line item that disappeared with its deal has the time of that.

    Returns
    -------
    DataFrame
        The columns of `LINE_HISTORY`, by line item, time and column.
    """
    states = _States(rows, snapshots, OF_LINES)
    frame = _frame(states.changes(), LINE_HISTORY, OF_LINES, deal=states.deal_of)
    return _deleted_with_deal(frame, deals)


def known_by_changelog(
    rows: pa.Table,
    snapshots: pa.Table,
    changes: pa.Table,
    loaded: Mapping[int, datetime] | pa.Table,
    when: datetime,
    pipelines: Mapping[int, int] | None = None,
) -> pa.Table:
    """The deals whose changelog is loaded, as looks and the changelog told of them at a time: one
    row a deal known by then.

    Parameters
    ----------
    rows, looks, changes, loaded, pipelines
        As in `deal_history`.
    when
        A time.

    Returns
    -------
    Table
        The columns of `HISTORY` but for those that name a look. A closing that has no time of its
        own has that of the change of status; `seen_at` is when the newest change was known.
    """
    # Not at the top: what is imported there, every session waits for.
    from pdframe.metrics._change_rows import states_at

    ids = pa.array(np.union1d(changes["deal_id"].to_numpy(), ReadTimes.of(loaded).ids))
    history = deal_history(
        rows.filter(pc.is_in(rows["deal_id"], value_set=ids)), snapshots, changes, loaded, pipelines
    )
    moment = pd.Timestamp(when)
    states = states_at(history, "deal_id", TRACKED_COLUMNS, moment, "UTC")
    known = history[history["seen_at"] <= moment]
    # A restoration is no change: the deal is closed since before its deletion.
    changed = known[
        (known["column"] == "status")
        & known["after"].isin(["open", *_CLOSED])
        & (known["before"] != "deleted")
    ]
    changed_at = (
        changed.drop_duplicates("deal_id", keep="last")
        .set_index("deal_id")["time"]
        .reindex(states.index)
    )
    for status, name in _CLOSED.items():
        dated_at = (
            known[known["column"] == name]
            .drop_duplicates("deal_id", keep="last")
            .set_index("deal_id")["time"]
        )
        # A look found the time of a closing that the changelog says was undone since.
        undone = (changed_at - dated_at.reindex(states.index)) > pd.Timedelta(NEAR, "us")
        states[name] = states[name].mask(undone & (states["status"] != "deleted"))
        closed = (states["status"] == status) & states[name].isna()
        states[name] = _filled(
            states[name],
            changed[changed["after"] == status].drop_duplicates("deal_id", keep="last"),
            closed,
        )
    moved = known[(known["column"] == "stage_id") & known["before"].notna()].drop_duplicates(
        "deal_id", keep="last"
    )
    later = moved.set_index("deal_id")["time"].reindex(states.index) > states[
        "stage_change_time"
    ].fillna(_EARLIEST)
    states["stage_change_time"] = _filled(states["stage_change_time"], moved, later)
    won = known[(known["column"] == "status") & (known["after"] == "won")].drop_duplicates(
        "deal_id"
    )
    states["first_won_time"] = _filled(
        states["first_won_time"], won, states["first_won_time"].isna()
    )
    # It never changes, so a later look tells it as well.
    added = states_at(
        history[history["column"] == "add_time"], "deal_id", ["add_time"], _LATEST, "UTC"
    )
    states["add_time"] = added["add_time"].reindex(states.index)
    schema = pa.schema(
        [field for field in storage_schema(HISTORY) if field.name not in ("is_server_time", "look")]
    )
    return pa.Table.from_pandas(states.reset_index(), schema, preserve_index=False)


def _filled(times: pd.Series[Any], changes: pd.DataFrame, where: pd.Series[Any]) -> pd.Series[Any]:
    """Times, with those of some changes where they are wanted and there is one."""
    own = changes.set_index("deal_id")["time"].reindex(times.index)
    return times.astype("datetime64[us, UTC]").mask((where & own.notna()).to_numpy(bool), own)


# What looks tell


class _Sighting(NamedTuple):
    """A state of a row as a look found it.

    `at` is the row of the kept history that holds the state; `seen` the time of the look, `since`
    the earliest at which it may have read the row; `proved` the latest time that proves the state
    before it.
    """

    at: int
    seen: int
    since: int
    proved: int


class _States:
    """The rows of a kept history by row and look, with what the looks prove of the time before."""

    def __init__(self, rows: pa.Table, snapshots: pa.Table, kept: TrackedHistory) -> None:
        order = np.lexsort((rows["look"].to_numpy(), rows[kept.key].to_numpy()))
        self.rows = rows.take(pa.array(order))
        self.kept = kept
        self.ids = self.rows[kept.key].to_numpy()
        self.first = np.append(
            np.ones(min(1, len(self.ids)), np.bool_), self.ids[1:] != self.ids[:-1]
        )
        self.seen = _micros(self.rows["seen_at"])
        self.removed = pc.fill_null(self.rows["gone"], False).to_numpy().astype(np.bool_)
        self.since, self.proved = self._bounds(snapshots)
        self.stamps = (
            {name: _micros(self.rows[column]) for name, column in _STAMPS.items()}
            if kept is OF_DEALS
            else {}
        )
        self.texts = {name: _texts(self.rows[name]) for name in kept.tracked}
        self.texts[IS_DELETED] = np.where(self.removed, "true", "false").astype(object)

    def sightings(self, first: int, end: int, read: int) -> list[_Sighting]:
        """Return what looks found of one row, whose states are from `first` to `end`, beside a
        changelog read at `read`.

        A look that found a row as the look before it did keeps nothing. The changelog may tell of a
        value between the two: so the first look that covers the time after the changelog was read
        counts as well.
        """
        result = [
            _Sighting(at, int(self.seen[at]), int(self.since[at]), int(self.proved[at]))
            for at in range(first, end)
        ]
        place = int(np.searchsorted(self._complete, read, side="right"))
        if place == len(self._complete):
            return result
        seen, since = int(self._snapshot_seen[place]), int(self._complete[place])
        before = sum(snapshot.seen <= seen for snapshot in result)
        if before and result[before - 1].seen <= read and not self.removed[result[before - 1].at]:
            result.insert(before, _Sighting(result[before - 1].at, seen, since, _NONE))
        return result

    def deal_of(self, ids: NDArray[np.int64]) -> Any:
        """The deal of each line item, as it was seen last."""
        last = np.append(self.ids[1:] != self.ids[:-1], np.ones(min(1, len(self.ids)), np.bool_))
        known = pd.Series(
            self.rows["deal_id"]
            .to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)[last]
            .array,
            self.ids[last],
        )
        return known.reindex(ids).array

    def _bounds(self, snapshots: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each row, the earliest time at which its look may have read it, and the latest that
        proves the state before it.
        """
        number, complete = snapshots["look"].to_numpy(), _micros(snapshots["complete_to"])
        order = np.argsort(number, kind="stable")
        number, complete = number[order], complete[order]
        # What all changes up to a time were found by, for any time.
        self._complete, self._snapshot_seen = (
            np.maximum.accumulate(complete),
            _micros(snapshots["seen_at"])[order],
        )
        full = np.isin(
            snapshots["kind"].to_numpy(zero_copy_only=False)[order].astype(str), ["full"]
        )
        own, at = (
            self.rows["look"].to_numpy(),
            np.searchsorted(number, self.rows["look"].to_numpy()),
        )
        there = at < len(number)
        there[there] = number[at[there]] == own[there]
        since = np.full(len(own), _NONE)
        since[there] = complete[at[there]]
        # The newest full look before each row's own.
        best = (
            np.append(_NONE, np.maximum.accumulate(np.where(full, complete, _NONE)))
            if len(number)
            else np.array([_NONE])
        )
        proved = best[at]
        # The row before: no older than the look that found it.
        previous = np.append(_NONE, since[:-1]) if len(since) else since
        fallback = np.append(_NONE, self.seen[:-1]) if len(since) else since
        proved = np.where(self.first, _NONE, np.maximum(proved, previous))
        proved = np.where(~self.first & (proved == _NONE), fallback, proved)
        return since, proved

    def changes(self, without: frozenset[int] | set[int] = frozenset()) -> list[pd.DataFrame]:
        """What looks tell; of the rows in `without`, the columns alone that no changelog tells."""
        result, ruled = [], np.isin(self.ids, np.fromiter(without, np.int64, len(without)))
        for name, texts in self.texts.items():
            usable = ~ruled if name in (*REPORTED, IS_DELETED) else np.ones(len(self.ids), np.bool_)
            result += [self._of_column(name, texts, usable)]
        return result

    def _of_column(self, name: str, texts: NDArray[Any], usable: NDArray[np.bool_]) -> pd.DataFrame:
        """First looks and changes of one column."""
        before = np.append(np.array([None], object), texts[:-1]) if len(texts) else texts
        null, was_null = pd.isna(texts), pd.isna(before)
        if name == IS_DELETED:
            first, changed = self.first & self.removed, ~self.first & (texts != before)
        else:
            first = self.first & ~null
            changed = ~self.first & ((null != was_null) | (~null & ~was_null & (texts != before)))
        at = np.flatnonzero(usable & (first | changed))
        is_first = first[at]
        before = before[at].copy()
        before[is_first] = None
        time, after = self._times(name, texts, at)
        return pd.DataFrame(
            {
                "row": self.ids[at],
                "column": name,
                "before": before,
                "after": texts[at],
                "time": np.where(is_first, self.seen[at], time),
                "time_after": np.where(is_first, _NONE, after),
                "source": np.where(is_first, FIRST_SNAPSHOT, SNAPSHOTS),
                "seen_at": self.seen[at],
            }
        )

    def _times(
        self, name: str, texts: NDArray[Any], at: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """When a change happened: exact where the deal's own stamp of it is possible, else the
        bounds.
        """
        low, high = self.proved[at], self.seen[at]
        stamp = np.full(len(at), _NONE)
        if name in self.stamps:
            stamp = self.stamps[name][at]
        elif name == "status" and self.stamps:
            for status in _CLOSED:
                stamp = np.where(texts[at] == status, self.stamps[status][at], stamp)
        exact = (stamp != _NONE) & (stamp > low) & (stamp <= high)
        # Bounds that leave no room are exact.
        return np.where(exact, stamp, high), np.where(exact | (low >= high), _NONE, low)

    def stamped(self, name: str, text: str | None, at: int, low: int) -> int | None:
        """The deal's own stamp of a change, where it lies between the bounds."""
        stamps = self.stamps.get((text or "") if name == "status" else name)
        stamp = _NONE if stamps is None else int(stamps[at])
        return stamp if low < stamp <= self.seen[at] else None


# What changelogs tell


class _Event(NamedTuple):
    time: int
    before: str | None
    after: str | None


def _newest_rows(changes: pa.Table | None) -> dict[int, int]:
    """Return the time of the newest row of each deal's changelog."""
    if changes is None or not changes.num_rows:
        return {}
    newest = changes.select(["deal_id", "time"]).group_by("deal_id").aggregate([("time", "max")])
    newest = newest.filter(newest["time_max"].is_valid())
    return dict(
        zip(newest["deal_id"].to_pylist(), _micros(newest["time_max"]).tolist(), strict=True)
    )


def _events(changes: pa.Table | None) -> dict[tuple[int, str], list[_Event]]:
    """The changes of tracked columns by deal and column, oldest first, those of one second in their
    order.
    """
    if changes is None or not changes.num_rows:
        return {}
    chosen = changes.filter(
        pc.and_(
            pc.is_in(changes["field_key"], value_set=pa.array(list(_KEYS))),
            changes["time"].is_valid(),
        )
    )
    times, deals = _micros(chosen["time"]), chosen["deal_id"].to_numpy()
    keys = chosen["field_key"].to_pylist()
    old, new = (
        [_said(_KEYS[key], text) for key, text in zip(keys, chosen[name].to_pylist(), strict=True)]
        for name in ("old_value", "new_value")
    )
    result: dict[tuple[int, str], list[_Event]] = {}
    for deal, time, key, before, after in zip(
        deals.tolist(), times.tolist(), keys, old, new, strict=True
    ):
        if before != after:
            result.setdefault((deal, _KEYS[key]), []).append(_Event(time, before, after))
    for key, rows in result.items():
        result[key] = _oldest_first(rows)
    return result


def _add_pipelines(
    states: _States, events: dict[tuple[int, str], list[_Event]], now: Mapping[int, int]
) -> None:
    """Add the moves to another pipeline that a changelog tells by its stage alone, as the stages
    tell them.
    """
    pipelines = Pipelines(now, _moved_stages(states, events))
    for deal, name in list(events):
        if name != "stage_id":
            continue
        rows = events.get((deal, "pipeline_id"), [])
        reported = []
        for time, before, after in events[deal, name]:
            if before is None or any(
                row.before is not None and abs(row.time - time) <= NEAR for row in rows
            ):
                continue
            old, new = pipelines.at(_id(before), time - 1), pipelines.at(_id(after), time)
            if old is not None and new is not None and old != new:
                reported.append(_Event(time, str(old), str(new)))
        if reported:
            events[deal, "pipeline_id"] = sorted([*rows, *reported], key=lambda row: row.time)


def _moved_stages(
    states: _States, events: Mapping[tuple[int, str], Sequence[_Event]]
) -> Iterator[StageMove]:
    """Yield signs that a stage was moved to another pipeline: two looks, or a row of the pipeline
    without one of the stage.
    """
    stages, pipelines = states.texts["stage_id"], states.texts["pipeline_id"]
    same = states.ids[1:] == states.ids[:-1]
    same &= (
        ~states.removed[1:]
        & ~states.removed[:-1]
        & (stages[1:] == stages[:-1])
        & (pipelines[1:] != pipelines[:-1])
    )
    for at in np.flatnonzero(same) + 1:
        move = _id(stages[at]), _id(pipelines[at - 1]), _id(pipelines[at])
        if None not in move:
            yield StageMove(int(states.seen[at]), *move)  # type: ignore[arg-type]
    at_first = dict(zip(states.ids[states.first].tolist(), stages[states.first], strict=True))
    for (deal, name), rows in events.items():
        if name != "pipeline_id":
            continue
        moves = events.get((deal, "stage_id"), [])
        for time, before, after in rows:
            if before is None or any(abs(row.time - time) <= NEAR for row in moves):
                continue
            past = [row.after for row in moves if row.time <= time]
            stage = past[-1] if past else moves[0].before if moves else at_first.get(deal)
            move = _id(stage), _id(before), _id(after)
            if None not in move:
                yield StageMove(time, *move)  # type: ignore[arg-type]


def _id(text: str | None) -> int | None:
    """Return the id that a text of the history is; None where it is none."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def _oldest_first(rows: list[_Event]) -> list[_Event]:
    """Rows of one column from the oldest to the newest; the table may have them in either order."""
    backwards = rows[::-1]
    if rows[0].time > rows[-1].time or (
        rows[0].time == rows[-1].time and _breaks(rows) > _breaks(backwards)
    ):
        rows = backwards
    return sorted(rows, key=lambda row: row.time)


def _breaks(rows: Sequence[_Event]) -> int:
    return sum(row.before != before.after for before, row in pairwise(rows))


def _with_changelog(
    states: _States, events: dict[tuple[int, str], list[_Event]], read: Mapping[int, int]
) -> list[pd.DataFrame]:
    """The told columns of the deals whose changelog is loaded."""
    starts = np.flatnonzero(states.first)
    ends = np.append(starts[1:], len(states.ids)) if len(starts) else starts
    places = dict(
        zip(
            states.ids[starts].tolist(),
            zip(starts.tolist(), ends.tolist(), strict=True),
            strict=True,
        )
    )
    added = _micros(states.rows["add_time"])
    result: list[_Change] = []
    for deal in sorted(read):
        first, end = places.get(deal, (0, 0))
        sightings = states.sightings(first, end, read[deal])
        created = next((int(added[at]) for at in range(first, end) if added[at] != _NONE), _NONE)
        for name in REPORTED:
            reported = events.get((deal, name), [])
            result += _of_both(states, deal, name, reported, sightings, read[deal], created)
        deletions = _deletions(events.get((deal, "status"), []))
        result += _of_both(states, deal, IS_DELETED, deletions, sightings, read[deal], _NONE)
    return (
        [pd.DataFrame(result, columns=_Change._fields).rename(columns={"deal": "row"})]
        if result
        else []
    )


def _deletions(status: Sequence[_Event]) -> list[_Event]:
    """Deletions and restorations, as changes of status tell them."""

    def flag(text: str | None) -> str:
        return "true" if text == "deleted" else "false"

    flags = [_Event(row.time, flag(row.before), flag(row.after)) for row in status]
    return [row for row in flags if row.before != row.after]


def _of_both(
    states: _States,
    deal: int,
    name: str,
    reported: Sequence[_Event],
    sightings: Sequence[_Sighting],
    read: int,
    created: int,
) -> list[_Change]:
    """One column of one deal: what its changelog tells, and what looks add to that."""
    result = [
        _Change(deal, name, row.before, row.after, row.time, _NONE, CHANGELOG, row.time)
        for row in reported
    ]
    texts = states.texts[name]
    # Of a deal that is gone, a look repeats what was seen last; its status alone says more.
    there = [
        snapshot
        for snapshot in sightings
        if name in (IS_DELETED, "status") or not states.removed[snapshot.at]
    ]
    state = reported[0].before if reported else _never_changed(states, name, there, read, created)
    is_known = bool(reported) or state is not None
    if name != IS_DELETED and state is not None and created != _NONE:
        time = min(created, reported[0].time) if reported else created
        result.insert(0, _Change(deal, name, None, state, time, _NONE, CHANGELOG, time))
    times, count, overruled = [row.time for row in reported], 0, False
    for at, time, since, proved in there:
        text, covered = texts[at], time <= read
        if not is_known:
            # Nothing tells what was before.
            state, is_known = text, True
            if text is not None and (name != IS_DELETED or text == "true"):
                result.append(_Change(deal, name, None, text, time, _NONE, FIRST_SNAPSHOT, time))
            continue
        reached = bisect_right(times, time) if covered else len(reported)
        if reached > count:
            state, count, overruled = reported[reached - 1].after, reached, False
        if text == state or (
            covered and not overruled and text in _states_between(reported, times, since, count)
        ):
            continue
        low = max(proved, _NONE if covered else read)
        exact = states.stamped(name, text, at, low)
        after = low if exact is None and low < time else _NONE
        result.append(_Change(deal, name, state, text, exact or time, after, SNAPSHOTS, time))
        # From here on, the changelog no longer tells the state before its next change.
        state, overruled = text, True
    return result


def _never_changed(
    states: _States, name: str, snapshots: Sequence[_Sighting], read: int, created: int
) -> str | None:
    """Return the value that a column had from the creation of the deal until its changelog was
    read, which has no row of it.

    None where that is not known: for columns that a changelog may leave out, without a look by
    then, or where looks differ.
    """
    covered = [snapshot.at for snapshot in snapshots if snapshot.seen <= read]
    if name not in NEVER_SILENT or created == _NONE or not covered:
        return None
    if name == "stage_id" and any(states.stamps["stage_id"][at] > created for at in covered):
        return None  # the deal was moved, and the changelog leaves that out
    values = {states.texts[name][at] for at in covered}
    return values.pop() if len(values) == 1 else None


def _states_between(
    reported: Sequence[_Event], times: Sequence[int], since: int, count: int
) -> set[str | None]:
    """The values that a column had since a time, as the changelog tells them, up to its `count`-th
    change.
    """
    if not reported:
        return set()
    first = min(bisect_right(times, since), count)
    start = reported[first - 1].after if first else reported[0].before
    return {start, *(row.after for row in reported[first:count])}


# Values as text


def _texts(column: pa.ChunkedArray) -> NDArray[Any]:
    """Values as text; each distinct value is turned into text once."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    words = np.array([*_words(encoded.dictionary), None], object)
    texts: NDArray[Any] = words[
        pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
    ]
    return texts


def _words(values: pa.Array) -> list[str]:
    kind = values.type
    if pa.types.is_timestamp(kind) and len(values):
        # Most times are whole seconds of our days, and many.
        micros = values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        within = pc.and_(pc.greater_equal(micros, 0), pc.less(micros, _YEAR_9999))
        seconds = pc.divide(micros, 1_000_000)
        if pc.all(pc.and_(within, pc.equal(pc.multiply(seconds, 1_000_000), micros))).as_py():
            words: list[str] = pc.strftime(
                seconds.cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ"
            ).to_pylist()
            return words
    if pa.types.is_integer(kind):
        return values.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return [_word(value) for value in values.to_pylist()]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _plain(Decimal(repr(value)))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _plain(number: Decimal) -> str:
    """A number without an exponent and without zeros that say nothing."""
    if not number.is_finite():
        return str(number).lower()
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _number(text: str) -> str:
    number = Decimal(text)
    # A text of a few characters must not become one of a million.
    return _plain(number) if number.is_finite() and abs(number.adjusted()) < 400 else text


def _time(text: str) -> str:
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return _word(time if time.tzinfo else time.replace(tzinfo=UTC))


_FORMS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("stage_id", "pipeline_id", "owner_id", "value", "probability"), _number),
    "expected_close_date": lambda text: datetime.fromisoformat(text).date().isoformat(),
    **dict.fromkeys(("won_time", "lost_time"), _time),
}


def _said(column: str, text: str | None) -> str | None:
    """A value of the changelog as a look would give it; one that cannot be read as that stays as it
    is.
    """
    if text is None or text == "" or column not in _FORMS:
        return text or None
    try:
        return _FORMS[column](text.strip())
    except (ValueError, InvalidOperation, OverflowError):
        return text


# The frame


def _micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    micros: NDArray[np.int64] = pc.fill_null(
        column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), _NONE
    ).to_numpy()
    return micros


def _frame(
    parts: list[pd.DataFrame],
    table: Table,
    kept: TrackedHistory,
    deal: Callable[[NDArray[np.int64]], Any] | None = None,
) -> pd.DataFrame:
    rows = (
        pd.concat([part for part in parts if len(part)], ignore_index=True)
        if any(map(len, parts))
        else pd.DataFrame(columns=_COLUMNS)
    )
    places = {name: place for place, name in enumerate((*kept.tracked, IS_DELETED))}
    ids, time = rows["row"].to_numpy("int64"), rows["time"].to_numpy("int64")
    # What was one row in its source stays in that order.
    order = np.lexsort((rows["column"].map(places).to_numpy("int64"), time, ids))
    rows, ids = rows.iloc[order], ids[order]
    columns: dict[str, Any] = {kept.key: pa.array(ids)}
    if deal is not None:
        columns["deal_id"] = pa.array(deal(ids), pa.int64(), from_pandas=True)
    for name in ("column", "before", "after", "source"):
        columns[name] = pa.array(rows[name].to_numpy(object), pa.string(), from_pandas=True)
    for name in ("time", "time_after", "seen_at"):
        micros = rows[name].to_numpy("int64")
        columns[name] = pa.array(micros, pa.int64(), mask=micros == _NONE).cast(
            pa.timestamp("us", "UTC")
        )
    schema = storage_schema(table)
    return to_frame(pa.table({name: columns[name] for name in schema.names}, schema), table)


def _deleted_with_deal(lines: pd.DataFrame, deals: pd.DataFrame) -> pd.DataFrame:
    """Line items whose deal was deleted by the time they were missed: gone when it was, or before
    that.
    """
    is_deleted = (lines["column"] == IS_DELETED) & (lines["after"] == "true")
    changes = deals[deals["column"] == IS_DELETED]
    if not is_deleted.any() or changes.empty:
        return lines
    missed = (
        lines.loc[is_deleted, ["deal_id", "seen_at", "time", "time_after"]]
        .reset_index()
        .sort_values("seen_at", kind="stable")
    )
    # What was known last of the deal by then: a deal that came back did not take the line item
    # along.
    ends = changes[["deal_id", "time", "seen_at", "after"]].sort_values("seen_at", kind="stable")
    joined = pd.merge_asof(
        missed, ends, on="seen_at", by="deal_id", suffixes=("", "_of_deal")
    ).set_index("index")
    earlier = (
        (joined["after"] == "true")
        & (joined["time_of_deal"] < joined["time"])
        & ~(joined["time_of_deal"] < joined["time_after"])
    )
    rows = joined.index[earlier]
    lines.loc[rows, "time"] = joined.loc[rows, "time_of_deal"]
    order = np.lexsort((lines["time"].to_numpy(), lines["id"].to_numpy("int64")))
    return lines.iloc[order].reset_index(drop=True)


__all__ = ["REPORTED", "deal_history", "known_by_changelog", "line_history"]
