"""The methods that every other must beat: the share won of all past deals, the same by stage, and
the probabilities that people have set in Pipedrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._arguments import local_days
from pdframe.metrics._columns import places
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, LOST, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting._method import Fitted

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
    as the horizon grows, with a sum of at most 1.
    """
    won, lost = won.copy(), lost.copy()
    least_won, least_lost = np.zeros(won.shape[:-1]), np.zeros(won.shape[:-1])
    for place in np.argsort(horizons, kind="stable"):
        least_won = np.maximum(least_won, np.minimum(won[..., place], 1 - least_lost))
        least_lost = np.maximum(least_lost, np.minimum(lost[..., place], 1 - least_won))
        won[..., place], lost[..., place] = least_won, least_lost
    return Probabilities(won, lost)


def _counts(landmarks: _Landmarks, horizon: int, group: Ints, groups: int) -> tuple[Ints, ...]:
    """Return, of each group of landmarks, how many could be followed for the horizon, and how many
    of those were won and lost within it.

    A horizon longer than the past is cut to the longest one that any landmark was followed for.
    """
    if not len(landmarks.observed):
        return tuple(np.zeros(groups, np.int64) for _ in range(3))
    horizon = min(horizon, int(landmarks.observed.max()))
    seen = landmarks.observed >= horizon
    ended = seen & (landmarks.lasted <= horizon)
    return tuple(
        np.bincount(group[rows], minlength=groups)
        for rows in (seen, ended & (landmarks.kind == WON), ended & (landmarks.kind == LOST))
    )


@dataclass(frozen=True, slots=True)
class _Shares:
    """The share of past deals won or lost within the horizon, of all deals or by stage.

    Parameters
    ----------
    landmarks
        The past.
    stages
        Ids of the stages that have shares of their own, ascending.
    """

    landmarks: _Landmarks
    stages: Ints

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the shares; those of a stage are shrunk to those of all."""
        count = len(self.stages) + 1
        own = self._places(self.landmarks.stage)
        won, lost = np.zeros((count, len(horizons))), np.zeros((count, len(horizons)))
        for number, horizon in enumerate(horizons.tolist()):
            n, *ends = _counts(self.landmarks, horizon, own, count)
            for table, ended in zip((won, lost), ends, strict=True):
                share = ended.sum() / max(int(n.sum()), 1)
                table[:, number] = (ended + STRENGTH * share) / (n + STRENGTH)
                # The last place is that of deals in no such stage.
                table[-1, number] = share
        rising = _rising(won, lost, horizons)
        place = self._places(deals.stage)
        return Probabilities(rising.won[place], rising.lost[place])

    def _places(self, stage: Ints) -> Ints:
        place = places(self.stages, stage)
        return np.where(place < 0, len(self.stages), place)


@dataclass(frozen=True, slots=True)
class _Weighted:
    """The probability of the deal, else of its stage, where the expected close lies within the
    horizon.
    """

    stage: Ints
    probability: Floats
    tz: str

    def predict(self, deals: OpenDeals, horizons: Ints) -> Probabilities:
        """Return the probabilities; that of losing is 0, since nothing says it."""
        place = places(self.stage, deals.stage)
        percent = np.where(place < 0, 0.0, np.append(self.probability, 0.0)[place])
        own = deals.probability
        if own is not None:
            percent = np.where((own >= 0) & (own <= 100), own, percent)
        chance = percent / 100
        # From the day of the next instant to that of the last one.
        today = local_days(deals.at + 1, self.tz) // DAY
        last = deals.at[:, None] + horizons[None, :] - 1
        last = local_days(last.ravel(), self.tz).reshape(last.shape) // DAY
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
        return _Shares(_landmarks(known), np.zeros(0, np.int64))


class StageClimatology:
    """The same share by stage, shrunk to that of all with the weight of `STRENGTH` rows."""

    name = "stage climatology"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Count the past; `seed` changes nothing."""
        landmarks = _landmarks(known)
        return _Shares(landmarks, np.unique(landmarks.stage))


class Weighted:
    """What Pipedrive shows: the probability of the deal where one is known, else of its stage,
    counted in full once the expected close is due. A deal without an expected close, or past it,
    counts in no period, and so 0.
    """

    name = "weighted"

    def fit(self, known: Known, seed: int) -> Fitted:
        """Learn nothing; read the probabilities of stages."""
        return _Weighted(known.stages.id, known.stages.probability, known.tz)


__all__ = ["Constant", "StageClimatology", "Weighted"]
