"""Competing risks by stage and age in stage, chained from stage to stage.

A deal is in a stage for a number of steps of time. In each it can be won, lost, move to another
stage, where it starts at age 0, or remain. The rates of these are counted from the past by stage
and age; from them follow the probabilities of being won or lost within any number of steps
(Aalen-Johansen's product of transition matrices, with age in stage as the clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._columns import NO_ID, places
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import LOST, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.landmarks import landmark_step

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

_PER_LANDMARK = 4
"""Steps between two landmarks."""

_AGES = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128], np.int64)
"""First step of each group of ages in stage: rates are constant within a group."""

_OF_ALL, _OF_STAGE, _OF_AGE = 3.0, 0.5, 0.5
"""Events whose weight the rates of all stages have against those of one stage, those of a stage
against those of one of its ages, and no effect of age against that of one age: old deals hardly
ever close, and a few made-up events would say that they do.
"""

_MOVED = 3


class AalenJohansen:
    """Competing risks by stage and age in stage, chained."""

    name = "aalen-johansen"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Count the moves and closings of the past; `seed` changes nothing."""
        return _fit(known)


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Probabilities of one step: by stage (the last one stands for unknown stages) and age group.

    Parameters
    ----------
    step
        Microseconds.
    stages
        Ids, ascending.
    won, lost
        Of stage and age group.
    move
        Of stage, age group and target stage.
    """

    step: int
    stages: Ints
    won: Floats
    lost: Floats
    move: Floats

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities by the deals' stage and age in stage."""
        horizons = np.asarray(horizons, np.int64)
        steps = int(-(-int(horizons.max()) // self.step)) if len(horizons) else 0
        won, lost = self._tables(steps)
        stage = places(self.stages, deals.stage)
        stage = np.where(stage < 0, len(self.stages), stage)
        age = np.clip((deals.at - deals.entered) // self.step, 0, _AGES[-1])
        low = horizons // self.step
        share = (horizons - low * self.step) / self.step
        high = np.minimum(low + 1, steps)
        results = []
        for table in (won, lost):
            before, after = table[low][:, stage, age].T, table[high][:, stage, age].T
            results.append(before + (after - before) * share)
        return Probabilities(*results)

    def _tables(self, steps: int) -> tuple[Floats, Floats]:
        """Return the probabilities of being won and lost within each number of steps, by stage and
        age in stage in steps.
        """
        size, ages = len(self.stages) + 1, int(_AGES[-1]) + 1
        group = np.searchsorted(_AGES, np.arange(ages), side="right") - 1
        older = np.minimum(np.arange(ages) + 1, ages - 1)
        remain = np.maximum(1 - self.won - self.lost - self.move.sum(axis=2), 0.0)[:, group]
        result = []
        for once in (self.won, self.lost):
            table = np.zeros((steps + 1, size, ages))
            for n in range(1, steps + 1):
                moved = (self.move * table[n - 1, None, None, :, 0]).sum(axis=2)
                table[n] = (once + moved)[:, group] + remain * table[n - 1][:, older]
            result.append(table)
        return result[0], result[1]


def _fit(known: Known) -> Chain:
    step = max(landmark_step(known) // _PER_LANDMARK, 1)
    moves = known.moves
    stages = np.unique(moves.stage[moves.stage != NO_ID])
    size, groups = len(stages) + 1, len(_AGES)
    own = _place(stages, moves.stage)
    target = _place(stages, moves.target)
    # Exposure by age group, in steps; the bounds of groups in microseconds of age.
    bounds = np.append(_AGES * step, np.iinfo(np.int64).max)
    begin, end = moves.since - moves.entered, moves.until - moves.entered
    exposure = np.zeros((size, groups))
    for group in range(groups):
        inside = np.clip(end, bounds[group], bounds[group + 1]) - np.clip(
            begin, bounds[group], bounds[group + 1]
        )
        exposure[:, group] = np.bincount(own, inside / step, size)
    age = np.searchsorted(bounds[1:], end, side="right")
    age = np.minimum(age, groups - 1)
    events = np.zeros((size, groups, size + 2))
    cause = np.where(moves.kind == WON, size, np.where(moves.kind == LOST, size + 1, target))
    counted = np.flatnonzero(np.isin(moves.kind, (WON, LOST, _MOVED)))
    flat = (own[counted] * groups + age[counted]) * (size + 2) + cause[counted]
    events += np.bincount(flat, minlength=events.size).reshape(events.shape)
    rates = _shrunk(events, exposure)
    total = rates.sum(axis=2, keepdims=True)
    leave = -np.expm1(-total)
    chance = np.divide(rates * leave, total, out=np.zeros_like(rates), where=total > 0)
    return Chain(step, stages, chance[:, :, size], chance[:, :, size + 1], chance[:, :, :size])


def _shrunk(events: Floats, exposure: Floats) -> Floats:
    """Return the rates of each stage and age group, shrunk to those of the stage times the effect
    of the age in all stages, and those of a stage to the ones of all stages.
    """
    size = events.shape[0]
    closings = events[:, :, size:].sum(axis=(0, 1))
    weight = exposure.sum()
    everywhere = closings / weight if weight > 0 else np.zeros(2)
    prior = np.zeros(size + 2)
    prior[size:] = everywhere
    of_stage = _with_prior(
        events.sum(axis=1), exposure.sum(axis=1)[:, None], np.tile(prior, (size, 1)), _OF_ALL
    )
    expected = exposure[:, :, None] * of_stage[:, None]
    of_age = (_by_kind(events) + _OF_AGE) / (_by_kind(expected) + _OF_AGE)
    kind = np.append(np.zeros(size, np.int64), (1, 2))
    return _with_prior(events, exposure[:, :, None], of_stage[:, None] * of_age[:, kind], _OF_STAGE)


def _by_kind(events: Floats) -> Floats:
    """Return the sums over all stages by age group and kind: moves, wins, losses."""
    sums = events.sum(axis=0)
    return np.column_stack((sums[:, :-2].sum(axis=1), sums[:, -2:]))


def _with_prior(events: Floats, exposure: Floats, prior: Floats, strength: float) -> Floats:
    total = prior.sum(axis=-1, keepdims=True)
    share = np.divide(prior, total, out=np.zeros_like(prior), where=total > 0)
    time = np.divide(strength, total, out=np.zeros_like(total), where=total > 0)
    below = exposure + time
    result: Floats = np.divide(
        events + strength * share,
        below,
        out=np.zeros_like(events),
        where=np.broadcast_to(below > 0, events.shape),
    )
    return result


def _place(stages: Ints, stage: Ints) -> Ints:
    place = places(stages, stage)
    return np.where(place < 0, len(stages), place)


__all__ = ["AalenJohansen", "Chain"]
