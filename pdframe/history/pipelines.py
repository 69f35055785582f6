"""Which pipeline a stage belonged to at a time: what `stages` says now, and what tells that a stage
was moved since.

A stage belongs to one pipeline. An admin may move it to another one in the settings: then `stages`
says the new one, also of the time before. What tells of such a move is a `pipeline_id` row in a
changelog without a change of stage near it, or two looks at one deal that found the same stage in
two pipelines. Both say since when the stage is in the new pipeline, for every deal. A move that
left neither sign (no deal was in the stage, or no changelog and no look tells of one) is not known:
then the stays before it count in the pipeline that the stage is in now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_UNKNOWN = int(np.iinfo(np.int64).min)


class StageMove(NamedTuple):
    """A stage that was moved to another pipeline, at `time` at the latest."""

    time: int
    stage: int
    old: int
    new: int


class Pipelines:
    """The pipeline of each stage at any time.

    Parameters
    ----------
    now
        Pipeline of each stage, as `stages` says.
    moves
        Signs that stages were moved, in any order. Those of a stage that do not lead to its
        pipeline of now are no such signs: all of them are left out.
    has_rows
        Whether a deal's move into another pipeline leaves a row of the pipeline in its changelog.
    """

    def __init__(
        self, now: Mapping[int, int], moves: Iterable[StageMove] = (), *, has_rows: bool = True
    ) -> None:
        self._now = now
        self.has_rows = has_rows
        self._moves: dict[int, list[StageMove]] = {}
        for move in sorted(moves):
            known = self._moves.setdefault(move.stage, [])
            # Many deals tell of one move: the first of them counts.
            if not known or (known[-1].old, known[-1].new) != (move.old, move.new):
                known.append(move)
        for stage, known in [*self._moves.items()]:
            after = [*(move.old for move in known[1:]), now.get(stage)]
            if [move.new for move in known] != after:
                del self._moves[stage]

    def at(self, stage: int | None, time: int) -> int | None:
        """Return the pipeline of a stage at a time; None: not known."""
        if stage is None:
            return None
        for move in self._moves.get(stage, ()):
            if time < move.time:
                return move.old
        return self._now.get(stage)

    def at_all(self, stages: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what `at` does for many stages, each with its time; the least integer: unknown."""
        known, place = np.unique(stages, return_inverse=True)
        now = [self._now.get(stage, _UNKNOWN) for stage in known.tolist()]
        result = np.array(now, np.int64)[place]
        for stage, moves in self._moves.items():
            for move in reversed(moves):
                result[(stages == stage) & (times < move.time)] = move.old
        return result


__all__ = ["Pipelines", "StageMove"]
