"""Frames of deals, history and changes to the frame of stage visits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from pdframe.errors import ArgumentError
from pdframe.frames import storage_schema, to_frame
from pdframe.frames.data_warnings import shorten
from pdframe.history.changelog import (
    KEYS,
    Change,
    has_pipeline_row,
    moved_stages,
    oldest_first,
    replay,
)
from pdframe.history.pipelines import Pipelines, StageMove, seen_moves
from pdframe.history.timeline import Observation, Snapshots, Timeline, Visit, newest
from pdframe.schema.snapshots import STAGE_VISITS

Frame: TypeAlias = pd.DataFrame | pa.Table

_TIME = pa.timestamp("us", "UTC")
_STATE = (
    "stage_id",
    "pipeline_id",
    "status",
    "stage_change_time",
    "add_time",
    "won_time",
    "lost_time",
    "first_won_time",
)
_OPTIONAL = frozenset(
    {"won_time", "lost_time", "first_won_time", "is_deleted", "deleted_time", "seen_at"}
)
_DELETED = ("is_deleted", "deleted_time", "seen_at")
# Before every look: looks say nothing of a deal that none of them found.
_NO_SNAPSHOT = 0


def stage_visits(
    deals: Frame,
    history: Frame | None = None,
    changes: Frame | None = None,
    *,
    stages: Frame | None = None,
    snapshots: Frame | None = None,
    loaded: Mapping[int, datetime] | None = None,
    seen_at: datetime | None = None,
) -> pd.DataFrame:
    """Put the stays of deals in stages together from all that is known.

    A deal whose changelog is given has exact stays, which later looks go on with. Any other has
    those that looks found it in: exact where its `stage_change_time`, `won_time`, `lost_time` or
    `add_time` tells, else bounded. What happened between two looks and left no trace is not told:
    stages that were skipped, and a loss that was taken back, so that the stay reads as one. A deal
    that is gone ended as "deleted", though it may only have become invisible. A closing that lies
    before the deal's last move, as an import may have it, bounds the entry.

    Parameters
    ----------
    deals
        One row a deal, archived ones included: the current state, for deals of which no history is
        kept. A deal that is deleted has no stay, unless `deleted_time` is told, as in
        `account.deals(deleted=True)`: then it stayed until some time before it was found deleted
        (`seen_at`; where that is missing, the newest time in the frame). `deleted_time` itself
        proves no end of a stay: it may be that of the last edit.
    history
        The kept history; goes before `deals` where it knows a deal.
    changes
        Rows of deal changelogs: deal_id, time, field_key, old_value, new_value; newest or oldest
        first.
    stages
        id, order_nr, pipeline_id. A move from or to a stage that is not among them (a deleted one)
        has no `end`: its place is not known.
    looks
        The looks that the history was gathered in; without them, a bound is the deal's own times
        alone.
    loaded
        Server's time at which each deal's changelog was read, also of deals of which it holds
        nothing. Deals that are only in `changes` count as read at their last row.
    seen_at
        Server's time of `deals`; None: the newest time in it.

    Returns
    -------
    DataFrame
        One row a stay, by deal and time: deal_id, pipeline_id, stage_id, visit (counted from 1 by
        deal and stage, of the stays that are known), entered_at, left_at (null: the deal is there),
        end (null: it left for another stage, and nothing tells whether forward or back; of stays
        that looks tell, by how the deal was seen next), source, entered_after, left_after (lower
        bounds; null: exact), seen_at. Times are UTC.

    Raises
    ------
    ArgumentError
        A frame without a column that is needed, with one that cannot be read as what it is, or with
        a row that names no deal.
    """
    seen = _sightings(deals, history, seen_at)
    log = {deal: oldest_first(rows) for deal, rows in _changelogs(changes).items()}
    read = {deal: _micros(time) for deal, time in (loaded or {}).items()}
    places = (
        _columns(stages, ("id", "order_nr", "pipeline_id"), "stages") if stages is not None else {}
    )
    ids = places.get("id", [])
    orders = {
        stage: order
        for stage, order in zip(ids, places.get("order_nr", []), strict=True)
        if order is not None
    }
    pipelines = Pipelines(
        {
            stage: pipeline
            for stage, pipeline in zip(ids, places.get("pipeline_id", []), strict=True)
            if pipeline is not None
        },
        _stage_moves(seen, log),
        has_rows=any(has_pipeline_row(rows) for rows in log.values()),
    )
    times = _snapshots(snapshots)
    known = Snapshots((number, kind, complete_to) for number, kind, complete_to, _ in times)
    reported = any(row.moved is not None for rows in seen.values() for row in rows)
    known_visits: list[Visit] = []
    for deal in sorted(seen.keys() | log.keys()):
        course = Timeline(orders, known, reported=reported)
        rows = seen.get(deal, [])
        if deal in log or deal in read:
            steps = log.get(deal, [])
            old, rows = _apart(rows or _missing(deal, times), steps, read.get(deal), known)
            if deal not in seen:
                old, rows = [], rows[:1]
            replay(
                course,
                deal,
                steps,
                old[-1] if old else None,
                rows[0] if rows else None,
                pipelines,
                read.get(deal),
            )
            course.source = "snapshots"
            if not course.known_visits:
                rows = [*old, *rows]
        elif len(rows) > 1:
            course.source = "snapshots"
        for row in rows:
            course.see(row)
        known_visits += course.known_visits
    return _frame(known_visits)


def _stage_moves(
    seen: Mapping[int, Sequence[Observation]], log: Mapping[int, Sequence[Change]]
) -> Iterable[StageMove]:
    """Signs in looks and changelogs that stages were moved to other pipelines."""
    for rows in seen.values():
        if len(rows) > 1:
            yield from seen_moves([(row.stage, row.pipeline, row.removed, row.at) for row in rows])
    for deal, changes in log.items():
        yield from moved_stages(changes, next(iter(seen.get(deal, ())), None))


def _apart(
    rows: Sequence[Observation], steps: Sequence[Change], loaded: int | None, snapshots: Snapshots
) -> tuple[list[Observation], list[Observation]]:
    """Sightings that the changelog covers, and those that are later.

    Where it is not known when the changelog was read, a look is later if it knew of stamps as late
    as the last row: the clock of answers may run ahead of the one that stamps changes.
    """
    until = loaded if loaded is not None else steps[-1].time
    # A deal that was found gone for good left no stamp that the look could know of. One that no
    # look ever found may be newer than they are.
    lost = rows[-1] if rows and rows[-1].removed and not rows[0].removed else None

    def later(row: Observation) -> bool:
        if loaded is not None:
            return row.at > until
        known = snapshots.at(row.snapshot)
        return row.at > until if known is None or row is lost else known >= until

    cut = next((number for number, row in enumerate(rows) if later(row)), len(rows))
    return list(rows[:cut]), list(rows[cut:])


def _sightings(
    deals: Frame, history: Frame | None, seen_at: datetime | None
) -> dict[int, list[Observation]]:
    """What is known of each deal, in the order of the looks."""
    result: dict[int, list[Observation]] = {}
    if history is not None:
        kept = _columns(history, ("deal_id", *_STATE, "gone", "seen_at", "look"), "history")
        rows = zip(
            kept["deal_id"],
            *(kept[name] for name in (*_STATE, "gone", "seen_at", "look")),
            strict=True,
        )
        for deal, group in groupby(sorted(rows, key=itemgetter(0, 11)), key=itemgetter(0)):
            result[deal] = [
                Observation._make((*row[:9], bool(row[9]), row[10], row[11])) for row in group
            ]
    kept = _columns(deals, ("id", *_STATE, *_DELETED), "deals")
    times = [
        newest(*kept[name])
        for name in ("stage_change_time", "add_time", "won_time", "lost_time", "deleted_time")
    ]
    at = _micros(seen_at) if seen_at is not None else newest(*times) or 0
    for row in zip(kept["id"], *(kept[name] for name in (*_STATE, *_DELETED)), strict=True):
        if row[0] not in result:
            removed, deleted = bool(row[9]) or row[3] == "deleted", row[10]
            seen = Observation._make((*row[:9], removed, row[11] or at, None))
            result[row[0]] = [seen] if not removed or deleted is None else _until_deleted(seen)
    return result


def _until_deleted(seen: Observation) -> list[Observation]:
    """A deal that no look found before its deletion: as it was before, and gone.

    Where the status reads "deleted", the times of closing tell what it was: reopening a deal clears
    them. Of two, the later counts.
    """
    status = seen.status
    if status == "deleted":
        status = (
            "won"
            if seen.won is not None and seen.won >= (seen.lost or 0)
            else "lost"
            if seen.lost is not None
            else "open"
        )
    before = seen._replace(status=status, removed=False, snapshot=_NO_SNAPSHOT)
    return [before, before._replace(status="deleted", removed=True)]


def _changelogs(changes: Frame | None) -> dict[int, list[Change]]:
    """The changes of stage, pipeline and status by deal."""
    if changes is None:
        return {}
    kept = _columns(changes, ("deal_id", "time", "field_key", "old_value", "new_value"), "changes")
    result: dict[int, list[Change]] = {}
    values = zip(kept["time"], kept["field_key"], kept["old_value"], kept["new_value"], strict=True)
    for deal, row in zip(kept["deal_id"], values, strict=True):
        if row[1] in KEYS and row[0] is not None:
            result.setdefault(deal, []).append(Change(*row))
    return result


def _snapshots(snapshots: Frame | None) -> list[tuple[int, str, int | None, int]]:
    """Number, kind, newest stamp and time of each look."""
    if snapshots is None:
        return []
    kept = _columns(snapshots, ("look", "kind", "complete_to", "seen_at"), "looks")
    return list(zip(kept["look"], kept["kind"], kept["complete_to"], kept["seen_at"], strict=True))


def _missing(deal: int, snapshots: Iterable[tuple[int, str, int | None, int]]) -> list[Observation]:
    """What looks at everything say of a deal that they never found: that it is gone."""
    nothing = (None,) * 8
    return [
        Observation._make((deal, *nothing, True, at, number))
        for number, kind, _, at in snapshots
        if kind in ("full", "resumed")
    ]


def _columns(frame: Frame, names: Iterable[str], what: str) -> dict[str, list[Any]]:
    """Columns as lists of plain values, times in microseconds."""
    kept = list(frame.column_names if isinstance(frame, pa.Table) else frame.columns)
    result: dict[str, list[Any]] = {}
    for name in names:
        if name in kept:
            try:
                result[name] = _values(frame[name], name)
            except (pa.ArrowException, ValueError, TypeError) as error:
                raise ArgumentError(
                    f"stage_visits cannot read the column {name!r} of {what}:"
                    f" {shorten(str(error))}."
                ) from None
            if name in ("id", "deal_id") and None in result[name]:
                raise ArgumentError(
                    f"stage_visits needs the column {name!r} of {what} in every row:"
                    f" {result[name].count(None)} lack it."
                )
        elif name in _OPTIONAL:
            result[name] = [None] * len(frame)
        else:
            raise ArgumentError(
                f"stage_visits needs the column {name!r} of {what}, which is not there."
            )
    return result


def _values(column: Any, name: str) -> list[Any]:
    if not len(column):
        return []  # whatever its dtype
    values = (
        column.combine_chunks()
        if isinstance(column, pa.ChunkedArray)
        else pa.array(column, from_pandas=True)
    )
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_time(name):
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pa.array(
                pd.to_datetime(values.to_pandas(), utc=True, format="ISO8601"), from_pandas=True
            )
        values = values.cast(_TIME, safe=False).cast(pa.int64())
    elif name in ("old_value", "new_value"):
        values = values if pa.types.is_null(values.type) else values.cast(pa.string())
    elif name.endswith("id") or name in ("look", "order_nr"):
        values = values.cast(pa.int64())
    plain: list[Any] = values.to_pylist()
    return plain


def _is_time(name: str) -> bool:
    return name.endswith("_time") or name in ("time", "seen_at", "complete_to")


def _micros(time: datetime) -> int:
    micros: int = pa.scalar(pd.Timestamp(time).to_pydatetime(), _TIME).value
    return micros


def _frame(known_visits: Sequence[Visit]) -> pd.DataFrame:
    counts: dict[tuple[int, int | None], int] = {}
    visits = []
    for visit in known_visits:
        key = visit.deal, visit.stage
        counts[key] = counts.get(key, 0) + 1
        visits.append(counts[key])
    schema = storage_schema(STAGE_VISITS)
    columns: dict[str, list[Any]] = {
        "deal_id": [visit.deal for visit in known_visits],
        "pipeline_id": [visit.pipeline for visit in known_visits],
        "stage_id": [visit.stage for visit in known_visits],
        "visit": visits,
    }
    for name in schema.names[4:]:
        columns[name] = [getattr(visit, name) for visit in known_visits]
    arrays = [
        (
            pa.array(columns[field.name], pa.int64()).cast(field.type)
            if pa.types.is_timestamp(field.type)
            else pa.array(columns[field.name], field.type)
        )
        for field in schema
    ]
    return to_frame(pa.Table.from_arrays(arrays, schema=schema), STAGE_VISITS)


__all__ = ["Frame", "stage_visits"]
