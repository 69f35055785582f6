"""The exact visits of a deal, from its changelog.

The pipeline of a visit is that of its stage (`pipelines`). A move into another pipeline is two
rows, of stage and of pipeline, in either order, up to two seconds apart, and either may be missing:
the row of the stage has the time, and the pipeline follows from the stage. A row of the pipeline
alone means that the stage was moved in the settings: the deal keeps its stage, which is in the new
pipeline from then on. The visits before have the old pipeline of the row, if their stages are today
in the new one. This holds only in an account whose changelogs have a row of the pipeline beside a
move into another one: elsewhere a missing row means nothing, and `stages` alone decides the
pipelines before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pdframe._values import UnfitError, integer
from pdframe.history.pipelines import Pipelines, StageMove
from pdframe.history.timeline import CLOSED, ENDED, NEAR, Observation, Timeline, newest

KEYS = ("stage_id", "pipeline_id", "status")


class Change(NamedTuple):
    """A row of a changelog; `old` is None for a value given at the creation."""

    time: int
    key: str
    old: str | None
    new: str | None


class _Move(NamedTuple):
    """A move to a stage; `row` is the row of the pipeline that belongs to it.

    `alone`: there is only that row, and no change of stage.
    """

    time: int
    stage: int | None
    row: Change | None
    alone: bool = False


def oldest_first(rows: Sequence[Change]) -> list[Change]:
    """Return rows of one deal from the oldest to the newest, those of one second in the order in
    which they were written.

    The API returns the newest first; a table may have the reverse order. If all rows are of one
    second, the order in which each value continues the one before is right.
    """
    ordered = list(rows)
    if len(ordered) > 1:
        first, last = ordered[0].time, ordered[-1].time
        if first > last or (first == last and _breaks(ordered) > _breaks(ordered[::-1])):
            ordered.reverse()
        ordered.sort(key=lambda row: row.time)
    return ordered


def _breaks(rows: Sequence[Change]) -> int:
    """Count the rows whose old value is not the new value of the row before."""
    last: dict[str, str | None] = {}
    breaks = 0
    for row in rows:
        breaks += row.key in last and last[row.key] != row.old
        last[row.key] = row.new
    return breaks


def replay(
    timeline: Timeline,
    deal: int,
    rows: Sequence[Change],
    before: Observation | None,
    after: Observation | None,
    pipelines: Pipelines,
    loaded: int | None,
) -> None:
    """Add the visits of a changelog to a timeline.

    Parameters
    ----------
    timeline
        A new one.
    deal
        The deal.
    rows
        The changes of stage, pipeline and status, oldest first.
    before, after
        The last observation that the changelog covers, and the first that it does not: they have
        the values that never changed.
    pipelines
        Pipeline of each stage.
    loaded
        When the changelog was read.
    """
    known = before or (after if after is not None and timeline.never_moved(after) else None)
    if not any(row.key == "stage_id" for row in rows) and (known is None or known.stage is None):
        return  # its stage is unknown
    stage, steps = _steps(rows, known, pipelines)
    last_time = rows[-1].time if rows else None
    until = newest(last_time, loaded) or 0
    moves = [step for step in steps if isinstance(step, _Move)]
    where = iter(_pipelines(stage, moves, rows, before, after, pipelines, until))
    pipeline = next(where)
    created = next((row.time for row in rows if row.old is None), None)
    added = next(
        (seen.added for seen in (before, after) if seen is not None and seen.added is not None),
        created,
    )
    if added is not None:
        timeline.enter(deal, stage, pipeline, added)
    else:
        end = next((row.time for row in rows), loaded or 0)
        timeline.enter(deal, stage, pipeline, end, after=0)
    status = _status_at_first(rows, before)
    won = lost = first_won = moved = moved_closed = None
    if status in ENDED:
        closed = max(_closed_at_first(rows, status, before) or 0, timeline.visits[-1].entered_at)
        won, lost = (closed if status == "won" else None), (closed if status == "lost" else None)
        timeline.leave(closed, status)
    for step in steps:
        if isinstance(step, _Move):
            stage, pipeline = step.stage, next(where)
            if not step.alone:
                moved = step.time
            if status == "open":
                timeline.move(stage, pipeline, step.time)
            else:
                timeline.change(deal, stage, pipeline, step.time, status)
                moved_closed = step.time
            continue
        if step.new not in ("open", *ENDED) or (
            step.new == status and (status == "open" or step.old != "open")
        ):
            continue
        if moved_closed == step.time:
            timeline.unchange(step.time, status)  # one write changed stage and status
        if step.new == "open":
            status, won, lost = "open", None, None
            timeline.enter(deal, stage, pipeline, step.time)
            continue
        restored = status == "deleted"
        if status == "open":
            timeline.leave(step.time, step.new)
        else:
            # The row says that the deal was open until then; the row of its reopening is missing.
            timeline.change(deal, stage, pipeline, step.time, step.new, unseen=step.old == "open")
        status = step.new
        if status == "won" and (won is None or not restored):
            won = step.time
            first_won = first_won or won
        elif status == "lost" and (lost is None or not restored):
            lost = step.time
    # Observations that the changelog covers can be newer than its last row, and add nothing to it.
    first_won = first_won if before is None or before.first_won is None else before.first_won
    timeline.replayed(
        Observation(
            deal,
            stage,
            pipeline,
            status,
            moved,
            added,
            won,
            lost,
            first_won,
            status == "deleted",
            until,
            None,
        ),
        last_time or 0,
    )


def moved_stages(rows: Sequence[Change], known: Observation | None) -> Iterator[StageMove]:
    """Yield the moves of stages to other pipelines in a changelog, its rows oldest first.

    `known` is an observation with the deal's stage, for a changelog without a row of the stage.
    """
    if not any(row.key == "pipeline_id" and row.old is not None for row in rows):
        return
    for step in _steps(rows, known, Pipelines({}))[1]:
        if (
            isinstance(step, _Move)
            and step.alone
            and step.stage is not None
            and step.row is not None
        ):
            old, new = number_of(step.row.old), number_of(step.row.new)
            if old is not None and new is not None:
                yield StageMove(step.time, step.stage, old, new)


def has_pipeline_row(rows: Sequence[Change]) -> bool:
    """Return whether a changelog, its rows oldest first, has a row of the pipeline beside a change
    of stage.
    """
    return bool(_paired([row for row in rows if row.old is not None]))


def _status_at_first(rows: Sequence[Change], before: Observation | None) -> str:
    """Return the status with which the deal was created."""
    for row in rows:
        if row.key == "status":
            first = row.new if row.old is None else row.old
            return first if first in ENDED else "open"
    return before.status if before is not None and before.status in CLOSED else "open"


def _closed_at_first(rows: Sequence[Change], status: str, before: Observation | None) -> int | None:
    """Return when a deal that was created as won or lost was closed, if its own columns still have
    that time.

    They keep its first win; `won_time` and `lost_time` are those of its creation until the status
    changes to another one. A deletion and a restoration change neither.
    """
    if before is None:
        return None
    if status == "won" and before.first_won is not None:
        return before.first_won
    values = {value for row in rows if row.key == "status" for value in (row.old, row.new)}
    if values - {None, status, "deleted"}:
        return None
    return before.won if status == "won" else before.lost if status == "lost" else None


def _pipelines(
    stage: int | None,
    moves: Sequence[_Move],
    rows: Sequence[Change],
    before: Observation | None,
    after: Observation | None,
    pipelines: Pipelines,
    until: int,
) -> list[int | None]:
    """Return the pipeline of the first visit and of the visit after each move."""
    stages = [stage, *(move.stage for move in moves)]
    # A visit that ended before its stage was moved was in the old pipeline.
    ends = [*(move.time - 1 for move in moves), until]
    result = [pipelines.at(of, end) for of, end in zip(stages, ends, strict=True)]
    from_stages = [value is not None for value in result]
    if result[0] is None:
        result[0] = _first_pipeline(rows, before, after)
    for place, move in enumerate(moves, start=1):
        row = None if move.row is None else number_of(move.row.new)
        if move.alone or result[place] is None:
            result[place], from_stages[place] = (result[place - 1] if row is None else row), False
    for place, move in enumerate(moves, start=1):
        if not move.alone or move.row is None:
            continue
        old, new = number_of(move.row.old), number_of(move.row.new)
        if old is None:
            continue
        result[place - 1] = old
        # Since the row of the pipeline before it, the deal did not change pipeline: its stages that
        # are in the new one today were moved too. This needs an account in which a move into
        # another pipeline leaves a row.
        earlier = place - 1
        while pipelines.has_rows and earlier > 0 and moves[earlier - 1].row is None:
            earlier -= 1
            if from_stages[earlier] and result[earlier] == new:
                result[earlier] = old
    return result


def _first_pipeline(
    rows: Sequence[Change], before: Observation | None, after: Observation | None
) -> int | None:
    """Return the pipeline in which the deal was created, if `stages` does not have it."""
    for row in rows:
        if row.key == "pipeline_id":
            return number_of(row.new if row.old is None else row.old)
    seen = before or after
    return None if seen is None else seen.pipeline


def _steps(
    rows: Sequence[Change], known: Observation | None, pipelines: Pipelines
) -> tuple[int | None, list[_Move | Change]]:
    """Return the first stage, and the moves and changes of status in order, without the values of
    the creation.
    """
    changes: list[Change] = []
    met: set[str] = set()
    for row in rows:
        if row.old is not None or row.key in met:
            changes.append(row)
        met.add(row.key)
    pairs = _paired(changes)
    stages = [row for row in rows if row.key == "stage_id"]
    if stages:
        stage = number_of(stages[0].old if stages[0].old is not None else stages[0].new)
    else:
        stage = known.stage if known is not None else None
        alone = [
            row
            for place, row in enumerate(changes)
            if row.key == "pipeline_id" and place not in pairs
        ]
        if (
            known is not None
            and known.moved is not None
            and any(abs(row.time - known.moved) <= NEAR for row in alone)
        ):
            stage = None  # It moved with that row; the row of the stage is missing.
    first = here = stage
    steps: list[_Move | Change] = []
    partner = {stage_row: pipeline_row for pipeline_row, stage_row in pairs.items()}
    for place, row in enumerate(changes):
        if row.key == "status":
            steps.append(row)
        elif row.key == "stage_id":
            here = number_of(row.new)
            steps.append(
                _Move(row.time, here, changes[partner[place]] if place in partner else None)
            )
        elif place not in pairs and row.new is not None and row.new != row.old:
            following = next(
                (number_of(later.old) for later in changes[place:] if later.key == "stage_id"),
                known and known.stage,
            )
            # If the next row of the stage starts from another stage, in the new pipeline of this
            # row, the deal moved there. So it did if its own time of the last move is that of this
            # row.
            dated = (
                known is not None
                and known.moved is not None
                and abs(row.time - known.moved) <= NEAR
            )
            moved = following is not None and following != here
            moved = moved and (dated or pipelines.at(following, row.time) == number_of(row.new))
            here = following if moved else here
            steps.append(_Move(row.time, here, row, alone=not moved))
    return first, steps


def _paired(changes: Sequence[Change]) -> dict[int, int]:
    """Return for each row of the pipeline, by place, the row of the stage that belongs to it: the
    nearest in time, of two the one before it. Rows without one near are left out.
    """
    stages = [place for place, row in enumerate(changes) if row.key == "stage_id"]
    times = [changes[place].time for place in stages]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for place, row in enumerate(changes):
        if row.key != "pipeline_id":
            continue
        around = stages[bisect_left(times, row.time - NEAR) : bisect_right(times, row.time + NEAR)]
        near = [
            (abs(changes[at].time - row.time), at > place, abs(at - place), at)
            for at in around
            if at not in taken
        ]
        if near:
            pairs[place] = min(near)[-1]
            taken.add(pairs[place])
    return pairs


def number_of(text: str | None) -> int | None:
    """Return a value of a changelog as an id; None: it is none."""
    try:
        return None if text is None else integer(text)
    except UnfitError:
        return None
