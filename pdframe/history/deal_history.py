"""One row per change of a tracked column, from snapshots and changelogs together.

Snapshots and the changelog are two witnesses. If a deal's changelog is loaded, it decides the
columns that it has, up to the time at which it was read: its times are exact, and it misses no
change. A snapshot adds what the changelog lacks: later changes, other columns, and a value that the
column had at no time of the snapshot according to the changelog.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.frames import storage_schema, to_frame
from pdframe.history.change_events import (
    CLOSING_TIMES,
    EVIDENTLY_LOGGED,
    FULLY_LOGGED,
    IS_DELETED,
    LOGGED_COLUMNS,
    Events,
    deletions,
    events_of,
    newest_changes,
)
from pdframe.history.changelog import Change, number_of
from pdframe.history.inputs import NONE, ReadTimes, column_micros
from pdframe.history.pipelines import Pipelines, StageMove
from pdframe.history.snapshot_states import (
    FIRST_SNAPSHOT,
    SNAPSHOTS,
    SeenState,
    SnapshotStates,
)
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

CHANGELOG = "changelog"
_EARLIEST, _LATEST = pd.Timestamp("0001-01-02", tz="UTC"), pd.Timestamp("9999-12-31", tz="UTC")
_COLUMNS = ("row", "deal", "column", "before", "after", "time", "time_after", "source", "seen_at")


class _Row(NamedTuple):
    """One row; times in microseconds since 1970 UTC, `NONE` where there is none."""

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
    evident: frozenset[str] = frozenset(),
) -> pd.DataFrame:
    """Return one row per deal and change of a tracked column.

    Parameters
    ----------
    rows, snapshots
        The snapshot log of deals, and its snapshots.
    changes
        Rows of deal changelogs as they are cached: deal_id, time, field_key, old_value, new_value.
    loaded
        Server's time at which each deal's changelog was read, also where it is empty: by deal, or a
        table of `id` and `server_time`.
    pipelines
        Pipeline of each stage: a changelog may have a move to another pipeline only as a change of
        the stage.
    evident
        Columns of `EVIDENTLY_LOGGED` that changelogs of other deals have.

    Returns
    -------
    DataFrame
        The columns of `DEAL_HISTORY`, by deal, time and column.
    """
    read = ReadTimes.of(loaded).by_deal()
    states = SnapshotStates(rows, snapshots, OF_DEALS)
    # The changelog of a deal that has disappeared since was read after its newest row.
    read = {**newest_changes(changes), **read}
    events = events_of(changes)
    _add_pipelines(states, events, pipelines or {})
    result = states.changes(without={*read} if read else frozenset())
    result += _with_changelog(states, events, read, evident)
    return _frame(result, DEAL_HISTORY, OF_DEALS)


def line_history(rows: pa.Table, snapshots: pa.Table, deals: pd.DataFrame) -> pd.DataFrame:
    """Return one row per line item and change of a tracked column.

    Parameters
    ----------
    rows, snapshots
        The snapshot log of line items, and its snapshots.
    deals
        The result of `deal_history`: a line item that disappeared with its deal has the time of the
        deletion.

    Returns
    -------
    DataFrame
        The columns of `LINE_HISTORY`, by line item, time and column.
    """
    states = SnapshotStates(rows, snapshots, OF_LINES)
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
    """Return the deals whose changelog is loaded as they were known at a time: one row per deal
    known by then.

    Parameters
    ----------
    rows, snapshots, changes, loaded, pipelines
        As in `deal_history`.
    when
        A time.

    Returns
    -------
    Table
        The columns of `HISTORY` except those of the snapshot. A closing without a time of its own
        has the time of the change of status; `seen_at` is when the newest change was known.
    """
    # Not at the top of the module: every session would wait for the import.
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
        & known["after"].isin(["open", *CLOSING_TIMES])
        & (known["before"] != "deleted")
    ]
    changed_at = (
        changed.drop_duplicates("deal_id", keep="last")
        .set_index("deal_id")["time"]
        .reindex(states.index)
    )
    for status, name in CLOSING_TIMES.items():
        dated_at = (
            known[known["column"] == name]
            .drop_duplicates("deal_id", keep="last")
            .set_index("deal_id")["time"]
        )
        # The snapshot has the time of a closing that was undone later, by the changelog.
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
    # It never changes, so a later snapshot has it as well.
    added = states_at(
        history[history["column"] == "add_time"], "deal_id", ["add_time"], _LATEST, "UTC"
    )
    states["add_time"] = added["add_time"].reindex(states.index)
    schema = pa.schema(
        [field for field in storage_schema(HISTORY) if field.name not in ("is_server_time", "look")]
    )
    return pa.Table.from_pandas(states.reset_index(), schema, preserve_index=False)


def _filled(times: pd.Series[Any], changes: pd.DataFrame, where: pd.Series[Any]) -> pd.Series[Any]:
    """Return times, replaced by the times of changes where `where` is true and there is one."""
    own = changes.set_index("deal_id")["time"].reindex(times.index)
    return times.astype("datetime64[us, UTC]").mask((where & own.notna()).to_numpy(bool), own)


# Snapshots and changelogs together


def _add_pipelines(states: SnapshotStates, events: Events, now: Mapping[int, int]) -> None:
    """Add the moves to another pipeline that changelogs have only as a change of the stage.

    `now` is the pipeline of each stage today.
    """
    pipelines = Pipelines(now, _moved_stages(states, events))
    for deal, name in list(events):
        if name != "stage_id":
            continue
        rows, implied = events.get((deal, "pipeline_id"), []), []
        for change in events[deal, name]:
            if change.old is None or any(
                row.old is not None and abs(row.time - change.time) <= NEAR for row in rows
            ):
                continue
            old = pipelines.at(number_of(change.old), change.time - 1)
            new = pipelines.at(number_of(change.new), change.time)
            if old is not None and new is not None and old != new:
                implied.append(Change(change.time, "pipeline_id", str(old), str(new)))
        if implied:
            events[deal, "pipeline_id"] = sorted([*rows, *implied], key=lambda row: row.time)


def _moved_stages(states: SnapshotStates, events: Events) -> Iterator[StageMove]:
    """Yield signs that a stage was moved to another pipeline: two snapshots that differ, or a row
    of the pipeline without a row of the stage.
    """
    for time, stage, old, new in states.moved_stages():
        yield from _stage_move(time, stage, old, new)
    first_stages = states.first_texts("stage_id")
    for (deal, name), rows in events.items():
        if name != "pipeline_id":
            continue
        moves = events.get((deal, "stage_id"), [])
        for row in rows:
            if row.old is None or any(abs(move.time - row.time) <= NEAR for move in moves):
                continue
            past = [move.new for move in moves if move.time <= row.time]
            stage = past[-1] if past else moves[0].old if moves else first_stages.get(deal)
            yield from _stage_move(row.time, stage, row.old, row.new)


def _stage_move(
    time: int, stage: str | None, old: str | None, new: str | None
) -> Iterator[StageMove]:
    ids = number_of(stage), number_of(old), number_of(new)
    if ids[0] is not None and ids[1] is not None and ids[2] is not None:
        yield StageMove(time, ids[0], ids[1], ids[2])


def _with_changelog(
    states: SnapshotStates, events: Events, read: Mapping[int, int], evident: frozenset[str]
) -> list[pd.DataFrame]:
    """Return the changes of the deals whose changelog is loaded, in the columns that it has."""
    starts = np.flatnonzero(states.first)
    ends = np.append(starts[1:], len(states.ids)) if len(starts) else starts
    places = dict(
        zip(
            states.ids[starts].tolist(),
            zip(starts.tolist(), ends.tolist(), strict=True),
            strict=True,
        )
    )
    added = column_micros(states.rows["add_time"])
    complete = {*FULLY_LOGGED, *evident, *(EVIDENTLY_LOGGED & {name for _, name in events})}
    result: list[_Row] = []
    for deal in sorted(read):
        first, end = places.get(deal, (0, 0))
        seen_states = states.of_row(first, end, read[deal])
        created = next((int(added[at]) for at in range(first, end) if added[at] != NONE), NONE)
        for name in LOGGED_COLUMNS:
            logged = events.get((deal, name), [])
            since = created if logged or name in complete else NONE
            result += _of_both(states, deal, name, logged, seen_states, read[deal], since)
        removals = deletions(events.get((deal, "status"), []))
        result += _of_both(states, deal, IS_DELETED, removals, seen_states, read[deal], NONE)
    return (
        [pd.DataFrame(result, columns=_Row._fields).rename(columns={"deal": "row"})]
        if result
        else []
    )


def _of_both(
    states: SnapshotStates,
    deal: int,
    name: str,
    logged: Sequence[Change],
    seen_states: Sequence[SeenState],
    read: int,
    created: int,
) -> list[_Row]:
    """Return the changes of one column of one deal: from its changelog, and added by snapshots."""
    result = [
        _Row(deal, name, row.old, row.new, row.time, NONE, CHANGELOG, row.time) for row in logged
    ]
    texts = states.texts[name]
    # The snapshot of a removed deal repeats its last values; only its status is new.
    there = [
        seen
        for seen in seen_states
        if name in (IS_DELETED, "status") or not states.removed[seen.at]
    ]
    state = logged[0].old if logged else _never_changed(states, name, there, read, created)
    # A column that may be missing in changelogs keeps its row in the first snapshot.
    is_known = bool(logged) or (state is not None and name not in EVIDENTLY_LOGGED)
    if name != IS_DELETED and state is not None and created != NONE:
        time = min(created, logged[0].time) if logged else created
        result.insert(0, _Row(deal, name, None, state, time, NONE, CHANGELOG, time))
    times, count, overruled = [row.time for row in logged], 0, False
    for at, time, since, proved in there:
        text, covered = texts[at], time <= read
        if not is_known:
            # The value before is unknown.
            state, is_known = text, True
            if text is not None and (name != IS_DELETED or text == "true"):
                result.append(_Row(deal, name, None, text, time, NONE, FIRST_SNAPSHOT, time))
            continue
        reached = bisect_right(times, time) if covered else len(logged)
        if reached > count:
            state, count, overruled = logged[reached - 1].new, reached, False
        if text == state or (
            covered and not overruled and text in _states_between(logged, times, since, count)
        ):
            continue
        low = max(proved, NONE if covered else read)
        exact = states.stamped(name, text, at, low)
        after = low if exact is None and low < time else NONE
        result.append(_Row(deal, name, state, text, exact or time, after, SNAPSHOTS, time))
        # From here to its next change, the changelog no longer has the state.
        state, overruled = text, True
    return result


def _never_changed(
    states: SnapshotStates, name: str, seen_states: Sequence[SeenState], read: int, created: int
) -> str | None:
    """Return the value that a column without a row in the changelog had until that was read.

    None: unknown, because changelogs may leave the column out (`created` is `NONE`), no snapshot is
    that old, or snapshots differ.
    """
    covered = [state.at for state in seen_states if state.seen <= read]
    if created == NONE or not covered:
        return None
    if name == "stage_id" and any(states.stamps["stage_id"][at] > created for at in covered):
        return None  # the deal was moved, and the changelog lacks the move
    values = {states.texts[name][at] for at in covered}
    return values.pop() if len(values) == 1 else None


def _states_between(
    logged: Sequence[Change], times: Sequence[int], since: int, count: int
) -> set[str | None]:
    """Return the values of a column in its changelog since a time, up to the `count`-th change."""
    if not logged:
        return set()
    first = min(bisect_right(times, since), count)
    start = logged[first - 1].new if first else logged[0].old
    return {start, *(row.new for row in logged[first:count])}


def _frame(
    parts: list[pd.DataFrame],
    table: Table,
    tracked: TrackedHistory,
    deal: Callable[[NDArray[np.int64]], Any] | None = None,
) -> pd.DataFrame:
    rows = (
        pd.concat([part for part in parts if len(part)], ignore_index=True)
        if any(map(len, parts))
        else pd.DataFrame(columns=_COLUMNS)
    )
    places = {name: place for place, name in enumerate((*tracked.tracked, IS_DELETED))}
    ids, time = rows["row"].to_numpy("int64"), rows["time"].to_numpy("int64")
    # Changes of one time keep the order of their source.
    order = np.lexsort((rows["column"].map(places).to_numpy("int64"), time, ids))
    rows, ids = rows.iloc[order], ids[order]
    columns: dict[str, Any] = {tracked.key: pa.array(ids)}
    if deal is not None:
        columns["deal_id"] = pa.array(deal(ids), pa.int64(), from_pandas=True)
    for name in ("column", "before", "after", "source"):
        columns[name] = pa.array(rows[name].to_numpy(object), pa.string(), from_pandas=True)
    for name in ("time", "time_after", "seen_at"):
        micros = rows[name].to_numpy("int64")
        columns[name] = pa.array(micros, pa.int64(), mask=micros == NONE).cast(
            pa.timestamp("us", "UTC")
        )
    schema = storage_schema(table)
    return to_frame(pa.table({name: columns[name] for name in schema.names}, schema), table)


def _deleted_with_deal(lines: pd.DataFrame, deals: pd.DataFrame) -> pd.DataFrame:
    """Date the removal of a line item that disappeared with its deal: at the latest when the deal
    was deleted.
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
    # The last known state of the deal by then: a deal that was restored did not remove its line
    # items.
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


__all__ = ["deal_history", "known_by_changelog", "line_history"]
