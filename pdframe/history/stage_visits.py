"""Stage visits from frames of deals, snapshots and changelogs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe.frames import storage_schema, to_frame
from pdframe.history.changelog import Change, has_pipeline_row, moved_stages, replay
from pdframe.history.inputs import (
    NONE,
    Changelogs,
    Frame,
    Ints,
    Observations,
    ReadTimes,
    arrow_columns,
    contains,
)
from pdframe.history.pipelines import Pipelines, StageMove
from pdframe.history.simple_visits import (
    ENDS,
    SOURCES,
    Orders,
    SimpleLives,
    VisitColumns,
    single_visits,
)
from pdframe.history.timeline import Observation, Snapshots, Timeline, Visit
from pdframe.schema.snapshots import STAGE_VISITS


def stage_visits(
    deals: Frame,
    history: Frame | None = None,
    changes: Frame | None = None,
    *,
    stages: Frame | None = None,
    snapshots: Frame | None = None,
    loaded: Mapping[int, datetime] | pa.Table | None = None,
    seen_at: datetime | None = None,
) -> pd.DataFrame:
    """Compute the visits of deals to stages from all that is known of the deals.

    A deal whose changelog is given has exact visits, which later snapshots continue. Any other deal
    has those that snapshots show: exact where its `stage_change_time`, `won_time`, `lost_time` or
    `add_time` gives the time, else bounded. What happened between two snapshots and left no trace
    is unknown: stages that were skipped, and a loss that was undone, so that two visits read as
    one. A deal that disappeared ended as "deleted", though it may only have become invisible. Where
    a closing lies before the deal's last move, as an import may have it, it bounds the entry.

    Parameters
    ----------
    deals
        One row per deal, archived ones included: the current state, used for deals that the
        snapshot log lacks. A deleted deal has no visit, unless `deleted_time` is given, as in
        `account.deals(deleted=True)`: then the visit ended some time before the deal was seen
        deleted (`seen_at`; where that is missing, the newest time in the frame). `deleted_time`
        itself proves no end of a visit: it may be the time of the last edit.
    history
        The snapshot log; it takes precedence over `deals`.
    changes
        Rows of deal changelogs: deal_id, time, field_key, old_value, new_value; newest or oldest
        first.
    stages
        id, order_nr, pipeline_id. A move from or to a stage that is not in it (a deleted one) has
        no `end`: the place of that stage is unknown.
    snapshots
        The snapshots that the log was written from; without them, only the deal's own times bound
        an event.
    loaded
        Server's time at which each deal's changelog was read, also where the changelog is empty: by
        deal, or a table of `id` and `server_time`. A deal that is only in `changes` counts as read
        at its newest row.
    seen_at
        Server's time of `deals`; None: the newest time in the frame.

    Returns
    -------
    DataFrame
        One row per visit, by deal and time: deal_id, pipeline_id, stage_id, visit (the number of
        the visit among the known ones of this deal to this stage, from 1), entered_at, left_at
        (null: the deal is still there), end (null: the deal left for another stage, and it is
        unknown whether forward or back; for visits from snapshots, `end` follows from the next
        snapshot that differs), source, entered_after, left_after (lower bounds; null: exact),
        seen_at. Times are UTC.

    Raises
    ------
    ArgumentError
        A frame lacks a column, has one that cannot be read as what it is, or has a row that names
        no deal.
    """
    known = Knowledge.of(deals, history, changes, stages, snapshots, loaded, seen_at)
    return visits_frame(known.visits())


@dataclass(frozen=True)
class Knowledge:
    """All that is known of deals, to compute their visits from."""

    observed: Observations
    changelogs: Changelogs
    read: ReadTimes
    snapshots: _SnapshotTimes
    orders: Mapping[int, int]
    stage_pipelines: Mapping[int, int]

    @classmethod
    def of(
        cls,
        deals: Frame,
        history: Frame | None = None,
        changes: Frame | None = None,
        stages: Frame | None = None,
        snapshots: Frame | None = None,
        loaded: Mapping[int, datetime] | pa.Table | None = None,
        seen_at: datetime | None = None,
    ) -> Knowledge:
        """Read the frames that `stage_visits` takes."""
        orders, pipelines = _stages(stages)
        return cls(
            Observations.of(deals, history, seen_at),
            Changelogs.of(changes),
            ReadTimes.of(loaded),
            _SnapshotTimes.of(snapshots),
            orders,
            pipelines,
        )

    def visits(self) -> VisitColumns:
        """Return the visits of all deals: the simple ones all at once, the others one by one."""
        observed, orders = self.observed, Orders.of(self.orders)
        read = self.read.of_deals(observed.ids)
        lives = SimpleLives.of(observed, self.changelogs, read)
        once = (read == NONE) & (observed.end - observed.first == 1)
        once &= ~contains(self.changelogs.ids, observed.ids)
        single, single_deals = single_visits(observed, once, reported=self._reported)
        unpaired = _without(self.changelogs.ids, lives.moves_paired)
        pipelines = self._pipelines(unpaired, has_rows=lives.have_pipeline_rows)
        simple, simple_deals = lives.visits(pipelines, orders)
        others = np.union1d(
            *(
                _without(_without(ids, simple_deals), single_deals)
                for ids in (observed.ids, self.changelogs.ids)
            )
        )
        return VisitColumns.joined(simple, single, self._followed(others, pipelines))

    def visits_one_by_one(self) -> VisitColumns:
        """Return the same visits, each deal followed by `Timeline`."""
        pipelines = self._pipelines(self.changelogs.ids, has_rows=False)
        return self._followed(np.union1d(self.observed.ids, self.changelogs.ids), pipelines)

    @property
    def _reported(self) -> bool:
        return bool((self.observed.moved != NONE).any())

    def _pipelines(self, deals: Ints, *, has_rows: bool) -> Pipelines:
        """Return the pipeline of each stage at any time, as snapshots and the changelogs of some
        deals show it.
        """
        logs = self.changelogs.by_deal(deals)
        return Pipelines(
            self.stage_pipelines,
            [*self._moves_in_snapshots(), *self._moves_in_changelogs(logs)],
            has_rows=has_rows or any(has_pipeline_row(rows) for rows in logs.values()),
        )

    def _moves_in_snapshots(self) -> Iterator[StageMove]:
        """Yield the moves of stages to other pipelines that two snapshots of a deal show."""
        rows, places = self.observed, np.flatnonzero(self.observed.moved_stages())
        before = places - 1
        seen, stages, pipelines = rows.at, rows.stage, rows.pipeline
        signs = (seen[places], stages[places], pipelines[before], pipelines[places])
        return map(StageMove._make, zip(*(values.tolist() for values in signs), strict=True))

    def _moves_in_changelogs(self, logs: Mapping[int, Sequence[Change]]) -> Iterator[StageMove]:
        observed = self.observed.by_deal(np.fromiter(logs, np.int64, len(logs)))
        for deal, rows in logs.items():
            yield from moved_stages(rows, observed[deal][0] if deal in observed else None)

    def _followed(self, deals: Ints, pipelines: Pipelines) -> VisitColumns:
        """Return the visits of some deals, each followed by `Timeline`."""
        observed, logs = self.observed.by_deal(deals), self.changelogs.by_deal(deals)
        reported, visits = self._reported, list[Visit]()
        for deal, time in zip(deals.tolist(), self.read.of_deals(deals).tolist(), strict=True):
            timeline = Timeline(self.orders, self.snapshots.proofs, reported=reported)
            rows: Sequence[Observation] = observed.get(deal, [])
            changes = logs.get(deal, [])
            read = None if time == NONE else time
            if changes or read is not None:
                rows = self._after_changelog(timeline, deal, rows, changes, read, pipelines)
                timeline.source = "snapshots"
            elif len(rows) > 1:
                timeline.source = "snapshots"
            for row in rows:
                timeline.observe(row)
            visits += timeline.visits
        return VisitColumns.of(visits)

    def _after_changelog(
        self,
        timeline: Timeline,
        deal: int,
        rows: Sequence[Observation],
        changes: Sequence[Change],
        read: int | None,
        pipelines: Pipelines,
    ) -> Sequence[Observation]:
        """Replay the changelog of a deal, and return the observations to continue with."""
        every = rows or self.snapshots.missing(deal)
        covered = self._covered(every, changes, read)
        old, new = every[:covered], every[covered:]
        if not rows:
            old, new = [], every[:1]
        before, after = (old[-1] if old else None), (new[0] if new else None)
        replay(timeline, deal, changes, before, after, pipelines, read)
        return new if timeline.visits else [*old, *new]

    def _covered(
        self, rows: Sequence[Observation], changes: Sequence[Change], read: int | None
    ) -> int:
        """Return how many of a deal's observations its changelog covers.

        Where it is unknown when the changelog was read, an observation is later if its snapshot
        knew of stamps as late as the newest row: the clock of responses may run ahead of the clock
        that stamps changes.
        """
        until = read if read is not None else changes[-1].time
        # The deletion of a deal that disappeared for good left no stamp that its snapshot could
        # know of. A deal without any snapshot may be newer than they are.
        lost = rows[-1] if rows and rows[-1].removed and not rows[0].removed else None
        for place, row in enumerate(rows):
            known = self.snapshots.proofs.at(row.snapshot) if read is None else None
            if row.at > until if known is None or row is lost else known >= until:
                return place
        return len(rows)


@dataclass(frozen=True)
class _SnapshotTimes:
    """The snapshots: their times, and what they prove."""

    times: Sequence[tuple[int, str, int]]
    proofs: Snapshots

    @classmethod
    def of(cls, snapshots: Frame | None) -> _SnapshotTimes:
        """Read the table of snapshots."""
        if snapshots is None:
            return cls([], Snapshots())
        names = ("look", "kind", "complete_to", "seen_at")
        read = arrow_columns(snapshots, names, "snapshots")
        numbers, kinds, complete, times = (read[name].to_pylist() for name in names)
        return cls(
            list(zip(numbers, kinds, times, strict=True)),
            Snapshots(zip(numbers, kinds, complete, strict=True)),
        )

    def missing(self, deal: int) -> list[Observation]:
        """Return the observations of a deal that is in no snapshot: full ones show it removed."""
        nothing = (None,) * 8
        return [
            Observation._make((deal, *nothing, True, at, number))
            for number, kind, at in self.times
            if kind in ("full", "resumed")
        ]


def _without(ids: Ints, others: Ints) -> Ints:
    return ids[~contains(others, ids)]


def _stages(stages: Frame | None) -> tuple[dict[int, int], dict[int, int]]:
    """Return the place and the pipeline of each stage, as far as they are known."""
    if stages is None:
        return {}, {}
    names = ("id", "order_nr", "pipeline_id")
    ids, orders, pipelines = (
        values.to_pylist() for values in arrow_columns(stages, names, "stages").values()
    )
    return (
        {stage: order for stage, order in zip(ids, orders, strict=True) if order is not None},
        {stage: of for stage, of in zip(ids, pipelines, strict=True) if of is not None},
    )


def visits_frame(visits: VisitColumns) -> pd.DataFrame:
    """Return visits as the table `STAGE_VISITS` declares them."""
    return to_frame(visits_table(visits), STAGE_VISITS)


def visits_table(visits: VisitColumns) -> pa.Table:
    """Return visits in the columns of the table `STAGE_VISITS`."""
    columns = {
        "deal_id": visits.deal,
        "pipeline_id": visits.pipeline,
        "stage_id": visits.stage,
        "visit": _numbered(visits.deal, visits.stage),
        "entered_at": visits.entered_at,
        "left_at": visits.left_at,
        "entered_after": visits.entered_after,
        "left_after": visits.left_after,
        "seen_at": visits.seen_at,
    }
    words = {"end": (visits.end, ENDS), "source": (visits.source, SOURCES)}
    arrays = []
    for field in storage_schema(STAGE_VISITS):
        if field.name in words:
            codes, vocabulary = words[field.name]
            places = pa.array(codes.astype(np.int8), mask=codes < 0)
            coded = pa.DictionaryArray.from_arrays(places, pa.array(vocabulary))
            arrays.append(coded.dictionary_decode())
            continue
        values = columns[field.name]
        is_null = values == NONE
        numbers = pa.array(values, mask=is_null if is_null.any() else None)
        arrays.append(numbers.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=storage_schema(STAGE_VISITS))


def _numbered(deals: Ints, stages: Ints) -> Ints:
    """Number the visits of each deal to each stage from 1; the visits of a deal lie together."""
    order = np.lexsort((stages, deals))
    deals, stages = deals[order], stages[order]
    is_new = (deals[1:] != deals[:-1]) | (stages[1:] != stages[:-1])
    starts = np.flatnonzero(np.append(np.ones(min(1, len(deals)), np.bool_), is_new))
    lengths = np.diff(np.append(starts, len(deals)))
    result = np.empty(len(deals), np.int64)
    result[order] = np.arange(len(deals)) - np.repeat(starts, lengths) + 1
    return result


__all__ = ["Knowledge", "stage_visits", "visits_frame", "visits_table"]
