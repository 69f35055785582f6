"""How many deals of the past were like an open deal: in the same stage, for a similar time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdframe.metrics._columns import NO_ID, places
from pdframe.metrics._survival import Flags, Ints
from pdframe.metrics.forecasting._interface import OpenDeals
from pdframe.metrics.forecasting.landmarks import Landmarks

LEAST = 20
"""Past deals like it from which on a deal rests on its own stage."""

_AGES = np.array([1.0, 3.0, 8.0])
"""Bounds of ages in stage, in steps between landmarks."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Distinct deals of the training sample, by stage and age in stage."""

    step: int
    stages: Ints
    of_stage: Ints
    of_all: Ints

    @classmethod
    def of(cls, sample: Landmarks) -> Likeness:
        """Count the deals of a training sample."""
        deals = sample.deals
        stages = np.unique(deals.stage)
        age = _age(deals, sample.step)
        place = np.searchsorted(stages, deals.stage)
        ages = len(_AGES) + 1
        of_stage = _distinct(place * ages + age, deals.deal, len(stages) * ages)
        of_all = _distinct(age, deals.deal, ages)
        return cls(sample.step, stages, of_stage.reshape(len(stages), ages), of_all)

    def counts(self, deals: OpenDeals) -> tuple[Flags, Ints]:
        """Return whether each deal rests on its own stage, and how many past deals are like it:
        those of the stage and age in stage, else all of that age in their stage.
        """
        age = _age(deals, self.step)
        place = places(self.stages, deals.stage) if len(self.stages) else np.full(len(age), -1)
        # Deals of which the stage is unknown were in many stages.
        unknown = (place < 0) | (deals.stage == NO_ID)
        own = np.where(unknown, 0, np.vstack((self.of_stage, 0 * self.of_all))[place, age])
        return own >= LEAST, np.where(own >= LEAST, own, self.of_all[age])


def _age(deals: OpenDeals, step: int) -> Ints:
    return np.searchsorted(_AGES, (deals.at - deals.entered) / step, side="right")


def _distinct(group: Ints, deal: Ints, groups: int) -> Ints:
    """Count the distinct deals of each group."""
    order = np.lexsort((deal, group))
    group, deal = group[order], deal[order]
    new = np.ones(len(group), bool)
    new[1:] = (group[1:] != group[:-1]) | (deal[1:] != deal[:-1])
    return np.bincount(group[new], minlength=groups)


__all__ = ["LEAST", "Likeness"]
