"""The training sample: deals that were open at regular past times, and what happened to each in
the intervals after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, OPEN, OpenDeals

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

STEP = 28 * DAY
"""Longest time between two landmarks, in microseconds."""

MAX_ROWS = 12_000
"""Most landmark rows that a model is fitted on."""

MAX_LANDMARKS = 200
"""Most landmarks."""

_STEPS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0, 27.0, 39.0, 52.0, 78.0, 104.0)
"""Ends of the intervals after a landmark, in steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Deals open at past times, and how each ended as known at the end.

    Parameters
    ----------
    deals
        One element per deal and landmark, by time and deal.
    kind, lasted
        Outcome, and microseconds until it, or until the end of what is known.
    observed
        Microseconds from the landmark to the end of what is known.
    step
        Microseconds between landmarks.
    """

    deals: OpenDeals
    kind: Ints
    lasted: Ints
    observed: Ints
    step: int

    @property
    def ends(self) -> Ints:
        """Ends of the intervals after a landmark that some landmark was observed to, in
        microseconds.
        """
        ends = np.array([int(step * self.step) for step in _STEPS], np.int64)
        longest = int(self.observed.max()) if len(self.observed) else 0
        inside = ends <= longest
        inside[0] = True
        return ends[inside]

    def periods(self) -> tuple[Ints, Ints, Ints]:
        """Return one element per row and interval in which the deal was at risk: row, number of
        the interval, and the outcome in it. Intervals that end after what is known do not count,
        whatever was known of them.
        """
        ends = self.ends
        complete = np.searchsorted(ends, self.observed, side="right")
        closed = self.kind != OPEN
        last = np.searchsorted(ends, self.lasted)
        at_risk = np.where(closed, np.minimum(last + 1, complete), complete)
        row = np.repeat(np.arange(len(at_risk)), at_risk)
        interval = np.arange(len(row)) - np.repeat(np.cumsum(at_risk) - at_risk, at_risk)
        event = closed[row] & (interval == last[row])
        return row, interval, np.where(event, self.kind[row], OPEN)


def landmark_step(known: Known) -> int:
    """Return the time between landmarks: 28 days, or a fifth of the median life of closed deals
    where that is shorter; at least a day.
    """
    lives = known.lives
    if not len(lives):
        return STEP
    fifth = int(np.partition(lives, len(lives) // 2)[len(lives) // 2]) // 5
    return int(np.clip(fifth, DAY, STEP))


def landmarks(known: Known, seed: int, most: int = MAX_ROWS) -> Landmarks:
    """Return the deals open at landmarks before `known.as_of`, at most `most` of them, drawn by the
    seed, deal and landmark.
    """
    step = landmark_step(known)
    added = known.created.added
    first = int(added.min()) if len(added) else known.as_of
    count = min(max((known.as_of - first) // step, 0), MAX_LANDMARKS)
    numbers = np.arange(count, 0, -1, dtype=np.int64)
    deals = known.open_at(known.as_of - numbers * step)
    number = (known.as_of - deals.at) // step
    if len(deals) > most:
        drawn = keyed_uniform(seed, deals.deal, number)
        deals = deals.take(np.sort(np.argsort(drawn, kind="stable")[:most]))
    outcomes = known.outcomes(deals)
    return Landmarks(deals, outcomes.kind, outcomes.time - deals.at, known.as_of - deals.at, step)


def keyed_uniform(seed: int, *keys: Ints) -> Floats:
    """Return a number in [0, 1) for each row, a function of the seed and its keys alone
    (splitmix64).
    """
    state = np.full(len(keys[0]), seed % 2**64, np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = (state ^ key.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    result: Floats = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


__all__ = ["MAX_ROWS", "STEP", "Landmarks", "keyed_uniform", "landmark_step", "landmarks"]
