"""The pipeline of a stage at a time: that in `stages`, corrected for stages that were moved since.

A stage belongs to one pipeline. An admin may move it to another one in the settings: then `stages`
has only the new one. Two signs show such a move: a `pipeline_id` row in a changelog without a
change of stage near it, and two snapshots of a deal in the same stage and different pipelines. Both
date the move for every deal. A move without a sign (no deal was in the stage, or no changelog and
no snapshot shows one) is unknown: then earlier visits count in the pipeline of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_UNKNOWN = int(np.iinfo(np.int64).min)


class StageMove(NamedTuple):
    """A stage that was moved to another pipeline, at the latest at `time`."""

    time: int
    stage: int
    old: int
    new: int


class Pipelines:
    """The pipeline of each stage at any time.

    Parameters
    ----------
    now
        Pipeline of each stage today.
    moves
        Signs that stages were moved, in any order. If those of a stage do not lead to its pipeline
        of today, all of them are ignored.
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
            # Many deals show one move: the first sign counts.
            if not known or (known[-1].old, known[-1].new) != (move.old, move.new):
                known.append(move)
        for stage, known in [*self._moves.items()]:
            after = [*(move.old for move in known[1:]), now.get(stage)]
            if [move.new for move in known] != after:
                del self._moves[stage]

    def at(self, stage: int | None, time: int) -> int | None:
        """Return the pipeline of a stage at a time; None: unknown."""
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
