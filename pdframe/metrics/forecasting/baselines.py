"""The methods that every other must beat: the share won of all past deals, the same by stage, and
the probabilities that people have set in Pipedrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._columns import places
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import (
    DAY,
    LOST,
    WON,
    Fitted,
    OpenDeals,
    Probabilities,
)

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

STEP = 28 * DAY
"""Microseconds from one landmark to the next."""

STRENGTH = 20.0
"""A stage's own share counts half where it rests on this many rows."""


@dataclass(frozen=True, slots=True)
class _Landmarks:
    """Past times at which deals were open, one element per deal and time, and how each ended.

    Parameters
    ----------
    stage
        Id.
    observed
        Microseconds from the landmark to the end of what is known.
    lasted
        Microseconds to the outcome, where `kind` is not open.
    kind
        `WON`, `LOST` or open.
    """

    stage: Ints
    observed: Ints
    lasted: Ints
    kind: Ints


def _landmarks(known: Known) -> _Landmarks:
    """Return all deals open every 28 days before `known.as_of`."""
    created = known.created.added
    first = int(created.min()) if len(created) else known.as_of
    times = np.arange(known.as_of - STEP, first, -STEP, dtype=np.int64)[::-1]
    deals = known.open_at(times)
    outcomes = known.outcomes(deals)
    return _Landmarks(deals.stage, known.as_of - deals.at, outcomes.time - deals.at, outcomes.kind)


def _rising(won: Floats, lost: Floats, horizons: Ints) -> Probabilities:
    """Return shares of different landmarks (last axis: horizons) as probabilities that never fall
    as the horizon grows, with a sum of at most 1; NaN where a horizon has no share.
    """
    won, lost = won.copy(), lost.copy()
    least_won, least_lost = np.zeros(won.shape[:-1]), np.zeros(won.shape[:-1])
    for place in np.argsort(horizons, kind="stable"):
        p, q = won[..., place], lost[..., place]
        here = ~np.isnan(p)
        least_won = np.where(here, np.maximum(least_won, np.minimum(p, 1 - least_lost)), least_won)
        least_lost = np.where(
            here, np.maximum(least_lost, np.minimum(q, 1 - least_won)), least_lost
        )
        won[..., place] = np.where(here, least_won, np.nan)
        lost[..., place] = np.where(here, least_lost, np.nan)
    return Probabilities(won, lost)


@dataclass(frozen=True, slots=True)
class _Constant:
    """The same probability for every deal: the share of past deals won within the horizon."""

    landmarks: _Landmarks

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the shares; NaN where no landmark lies a horizon before the end of what is
        known.
        """
        shares = [_shares(self.landmarks, int(horizon)) for horizon in horizons]
        won, lost = (np.array([share[part] for share in shares], np.float64) for part in (0, 1))
        rising = _rising(won, lost, horizons)
        size = (len(deals), len(horizons))
        return Probabilities(*(np.broadcast_to(part, size).copy() for part in rising))


def _shares(landmarks: _Landmarks, horizon: int) -> tuple[float, float]:
    seen = landmarks.observed >= horizon
    n = int(seen.sum())
    ended = seen & (landmarks.lasted <= horizon)
    if n == 0:
        return float("nan"), float("nan")
    return (
        int((ended & (landmarks.kind == WON)).sum()) / n,
        int((ended & (landmarks.kind == LOST)).sum()) / n,
    )


@dataclass(frozen=True, slots=True)
class _StageClimatology:
    """The share of past deals in the same stage, shrunk to the share of all."""

    landmarks: _Landmarks

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the shares; a stage without landmarks has that of all."""
        stages = np.unique(self.landmarks.stage)
        place = places(stages, self.landmarks.stage) if len(stages) else self.landmarks.stage
        won, lost = (np.full((len(stages) + 1, len(horizons)), np.nan) for _ in range(2))
        for number, horizon in enumerate(horizons):
            everywhere = _shares(self.landmarks, int(horizon))
            seen = self.landmarks.observed >= horizon
            ended = seen & (self.landmarks.lasted <= horizon)
            n = np.bincount(place[seen], minlength=len(stages) + 1)
            for table, kind, share in ((won, WON, everywhere[0]), (lost, LOST, everywhere[1])):
                count = np.bincount(
                    place[ended & (self.landmarks.kind == kind)], minlength=len(stages) + 1
                )
                table[:, number] = (count + STRENGTH * share) / (n + STRENGTH)
        rising = _rising(won, lost, horizons)
        own = places(stages, deals.stage)
        own = np.where(own < 0, len(stages), own)
        return Probabilities(rising.won[own], rising.lost[own])


@dataclass(frozen=True, slots=True)
class _Weighted:
    """The probability of the stage, where the expected close lies within the horizon."""

    stage: Ints
    probability: Floats

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities; that of losing is 0, since nothing says it."""
        place = places(self.stage, deals.stage)
        chance = np.where(place < 0, 0.0, np.append(self.probability, 0.0)[place]) / 100
        today = deals.at // DAY
        last = (deals.at[:, None] + horizons[None, :]) // DAY
        due = (deals.expected_close >= today)[:, None] & (deals.expected_close[:, None] <= last)
        won = np.where(due, np.clip(np.nan_to_num(chance), 0.0, 1.0)[:, None], 0.0)
        return Probabilities(won, np.zeros_like(won))


class Constant:
    """The share of past deals, open at landmarks every 28 days, that were won within the
    horizon.
    """

    name = "constant"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Count the past; `seed` changes nothing."""
        return _Constant(_landmarks(known))


class StageClimatology:
    """The same share by stage, shrunk to that of all with the weight of `STRENGTH` rows."""

    name = "stage climatology"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Count the past; `seed` changes nothing."""
        return _StageClimatology(_landmarks(known))


class Weighted:
    """What Pipedrive shows: the probability of the stage, counted in full once the expected close
    is due. A deal without an expected close, or past it, counts in no period, and so 0.
    """

    name = "weighted"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Learn nothing; read the probabilities of stages."""
        return _Weighted(known.stages.id, known.stages.probability)


__all__ = ["Constant", "StageClimatology", "Weighted"]
