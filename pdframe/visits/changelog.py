"""A deal's stays told exactly by its changelog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pdframe.visits.course import CLOSED, Course, Sighting, newest

KEYS = ("stage_id", "pipeline_id", "status")


class Change(NamedTuple):
    """A row of the changelog; an empty `old` is a value given at the creation."""

    time: int
    key: str
    old: str | None
    new: str | None


class _Move(NamedTuple):
    time: int
    stage: int | None
    pipeline: int | None


def oldest_first(rows: Sequence[Change]) -> list[Change]:
    """Rows of one deal from the oldest to the newest, those of one second in the order in which they were written.

    The API gives the newest first; a table may have turned that round. Where all rows share one second, values that follow on each other
    tell which it is.
    """
    ordered = list(rows)
    if len(ordered) > 1:
        first, last = ordered[0].time, ordered[-1].time
        if first > last or (first == last and _breaks(ordered) > _breaks(ordered[::-1])):
            ordered.reverse()
        ordered.sort(key=lambda row: row.time)
    return ordered


def _breaks(rows: Sequence[Change]) -> int:
    """How often a value does not follow on the one before."""
    held: dict[str, str | None] = {}
    breaks = 0
    for row in rows:
        breaks += row.key in held and held[row.key] != row.old
        held[row.key] = row.new
    return breaks


def replay(
    course: Course,
    deal: int,
    rows: Sequence[Change],
    before: Sighting | None,
    after: Sighting | None,
    pipelines: Mapping[int, int],
    loaded: int | None,
) -> None:
    """Write the stays that a changelog tells, and leave the course where it ends.

    Parameters
    ----------
    course
        A new one.
    deal
        Whose it is.
    rows
        The changes of stage, pipeline and status, oldest first.
    before, after
        The last sighting that the changelog covers, and the first that it does not: they tell what never changed.
    pipelines
        Pipeline of each stage, for a deal of which nothing else tells.
    loaded
        When the changelog was read.
    """
    stages = [row for row in rows if row.key == "stage_id"]
    known = before or (after if after is not None and course.never_moved(after) else None)
    if not stages and (known is None or known.stage is None):
        return  # nothing tells in which stage it was
    stage = _number(stages[0].old if stages[0].old is not None else stages[0].new) if stages else known.stage if known else None
    pipeline = _pipeline(rows, stage, before, after, pipelines)
    created = next((row.time for row in rows if row.old is None), None)
    added = next((seen.added for seen in (before, after) if seen is not None and seen.added is not None), created)
    last_time = rows[-1].time if rows else None
    if added is not None:
        course.enter(deal, stage, pipeline, added)
    else:
        end = next((row.time for row in rows), loaded or 0)
        course.enter(deal, stage, pipeline, end, after=0)
    status = _status_at_first(rows, before)
    closed = first_won = moved = None
    if status in CLOSED:
        stated = before.closed if before is not None and not any(row.key == "status" for row in rows) else None
        closed = max(stated or 0, course.stays[-1].entered_at)
        course.leave(closed, status)
    for step in _steps(rows):
        if isinstance(step, _Move):
            stage, pipeline = step.stage, pipeline if step.pipeline is None else step.pipeline
            moved = step.time
            course.move(stage, pipeline, step.time)
        elif step.new == "open" and status != "open":
            status, closed = "open", None
            course.enter(deal, stage, pipeline, step.time)
        elif step.new in CLOSED or step.new == "deleted":
            status, closed = step.new, step.time
            first_won = step.time if step.new == "won" and first_won is None else first_won
            course.leave(step.time, step.new)
    # Sightings that the changelog covers can be newer than its last row, and say no more than it does.
    first_won = first_won if before is None or before.first_won is None else before.first_won
    course.replayed(
        Sighting(
            deal, stage, pipeline, status, moved, added,
            closed if status == "won" else None, closed if status == "lost" else None, first_won, status == "deleted",
            newest(last_time, loaded) or 0, None,
        ),
        last_time or 0,
    )  # fmt: skip


def _status_at_first(rows: Sequence[Change], before: Sighting | None) -> str:
    """The status that the deal was created with."""
    for row in rows:
        if row.key == "status":
            return (row.new if row.old is None else row.old) or "open"
    return before.status if before is not None and before.status in CLOSED else "open"


def _pipeline(
    rows: Sequence[Change], stage: int | None, before: Sighting | None, after: Sighting | None, pipelines: Mapping[int, int]
) -> int | None:
    """The pipeline that the deal was created in."""
    for row in rows:
        if row.key == "pipeline_id":
            return _number(row.new if row.old is None else row.old)
    if before is not None:
        return before.pipeline
    return pipelines.get(stage or 0, after.pipeline if after is not None else None)


def _steps(rows: Sequence[Change]) -> list[_Move | Change]:
    """Moves and changes of status in their order, without the values of the creation.

    A move into another pipeline is two rows of one second, in either order: each pipeline goes with the nearest stage before it, else with
    the one behind it.
    """
    steps: list[_Move | Change] = []
    waiting: Change | None = None
    met: set[str] = set()
    for row in rows:
        if row.old is None and row.key not in met:
            met.add(row.key)
            continue
        met.add(row.key)
        if row.key == "status":
            steps.append(row)
        elif row.key == "stage_id":
            taken = waiting if waiting is not None and waiting.time == row.time else None
            steps.append(_Move(row.time, _number(row.new), _number(taken.new) if taken else None))
            waiting = None
        else:
            for at in range(len(steps) - 1, -1, -1):
                step = steps[at]
                if isinstance(step, _Move) and step.time == row.time and step.pipeline is None:
                    steps[at] = step._replace(pipeline=_number(row.new))
                    break
            else:
                waiting = row
    return steps


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(float(text))
    except ValueError:
        return None
