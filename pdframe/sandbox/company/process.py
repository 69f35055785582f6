"""The rules by which a deal passes through its stages: life draws from them, the truth computes
with them.

A visit lasts a lognormal time, which depends on the stage, the customer's segment and the owner's
pace; then the deal is lost, goes back, changes pipeline, advances or is won. Where the market moves
the hazard of winning, a visit to the last stage is a race of two hazards whose sum is the hazard of
that lognormal time: winning, times the market's factor of the day, against every other end.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from math import erfc, exp, log, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal

from .catalog import NEW, USERS, Pipeline
from .clock import DAY, after_work, day_start, work_days
from .market import Market

__all__ = ["FORGOTTEN", "Ending", "Process", "exit_hazard", "length_at", "poisson"]

Ending = Literal["lost", "moved back", "services", "advanced", "won"]

# Share of deals that are not pursued any further, at each stage they enter.
FORGOTTEN = 0.072
_SLOWNESS = (0.75, 1.1, 1.7)
_SPREAD = (0.7, 0.8, 0.95)
_LOSSES = (0.9, 1.0, 1.25)
_VISIT_FACTOR = 1.6
_BACK, _BACK_OR_SERVICES = 0.05, 0.06
_NORMAL = NormalDist()
_EPOCH = date(1970, 1, 1)


class Process:
    """The rules of a company: its reps, its market, the market's factors by month.

    Parameters
    ----------
    market
        What the market does.
    key
        Seed of the market's random numbers; each use of them has a stream of its own.
    """

    def __init__(self, market: Market, key: str) -> None:
        self.market = market
        self.skill = {user: skill for user, _, skill, _ in USERS}
        self.pace = {user: pace for user, _, _, pace in USERS}
        self.races = market.shock_sd > 0
        self._key = key
        self._break = day_start(market.break_at) if market.break_at is not None else None
        self._shocks: dict[int, float] = {}

    def stream(self, name: str) -> Random:
        """Return the random numbers of one use."""
        return Random(f"{self._key}/{name}")

    def median(self, pipeline: Pipeline, index: int, segment: int) -> float:
        """Return the median days of a visit at pace 1."""
        return pipeline.stages[index].median_days * _VISIT_FACTOR * _SLOWNESS[segment]

    def spread(self, segment: int) -> float:
        """Return the standard deviation of the log of a visit's length."""
        return _SPREAD[segment]

    def loss(self, pipeline: Pipeline, index: int, owner: int, segment: int) -> float:
        """Return the probability that a visit which ends now ends lost."""
        return pipeline.stages[index].lose / self.skill.get(owner, 1.0) * _LOSSES[segment]

    def win(self, pipeline: Pipeline, index: int, owner: int, segment: int) -> float:
        """Return the probability that a visit which ends now ends won, without the market."""
        if index < len(pipeline.stages) - 1:
            return 0.0
        return (
            1.0
            - self.loss(pipeline, index, owner, segment)
            - (_BACK_OR_SERVICES if pipeline.id == NEW else _BACK)
        )

    def ending(
        self,
        pipeline: Pipeline,
        index: int,
        owner: int,
        segment: int,
        u: float,
        race_won: bool | None = None,
    ) -> Ending:
        """Return how a visit ends that ends now, by a uniform number and by who won the race if
        there was one.
        """
        if race_won:
            return "won"
        loss = self.loss(pipeline, index, owner, segment)
        if race_won is not None:
            u *= 1 - self.win(pipeline, index, owner, segment)
        if u < loss:
            return "lost"
        if u < loss + _BACK and index:
            return "moved back"
        if u < loss + _BACK_OR_SERVICES and pipeline.id == NEW:
            return "services"
        return "won" if index == len(pipeline.stages) - 1 else "advanced"

    def breaks(self, now: int, random: Random) -> bool:
        """Whether a deal that would be won now is lost, because the win rate broke."""
        return (
            self._break is not None
            and now >= self._break
            and random.random() >= self.market.break_factor
        )

    def shock(self, month: int) -> float:
        """Return the factor of a month, counted from the year 0; its mean over companies is 1."""
        factor = self._shocks.get(month)
        if factor is None:
            factor = self.draw_shock(Random(f"{self._key}/shock/{month}"))
            self._shocks[month] = factor
        return factor

    def draw_shock(self, random: Random) -> float:
        """Draw the factor of a month."""
        sd = self.market.shock_sd
        return exp(sd * random.gauss(0, 1) - sd * sd / 2)

    def race(
        self,
        pipeline: Pipeline,
        index: int,
        owner: int,
        segment: int,
        start: int,
        now: int,
        random: Random,
        future: dict[int, float] | None = None,
    ) -> tuple[int, bool]:
        """Draw when a visit to the last stage that began at `start` and has not ended by `now`
        ends, and whether it ends won.

        `future`: factors of months that replace the company's own.
        """
        log_median, spread = self.length(pipeline, index, owner, segment)
        win = self.win(pipeline, index, owner, segment)
        hazard = exit_hazard(work_days(start, now), log_median, spread)
        other = hazard - log(1 - random.random()) / (1 - win)
        left, day = -log(1 - random.random()) / win, now // DAY
        while hazard < other:
            end, month = _piece(day)
            factor = self.shock(month) if future is None else future.get(month, 0.0)
            after = min(exit_hazard(work_days(start, end * DAY), log_median, spread), other)
            if factor * (after - hazard) >= left:
                won = length_at(hazard + left / factor, log_median, spread)
                return after_work(start, int(won * DAY)), True
            left -= factor * (after - hazard)
            hazard, day = after, end
        return after_work(start, int(length_at(other, log_median, spread) * DAY)), False

    def length(
        self, pipeline: Pipeline, index: int, owner: int, segment: int
    ) -> tuple[float, float]:
        """Return the log of a visit's median days, and the standard deviation of its log."""
        median = self.median(pipeline, index, segment) / self.pace.get(owner, 1.0)
        return log(median), _SPREAD[segment]


def exit_hazard(days: float, log_median: float, spread: float) -> float:
    """Return the hazard of leaving that has accumulated within so many days of a visit."""
    if days <= 0:
        return 0.0
    return -log(max(0.5 * erfc((log(days) - log_median) / spread / sqrt(2)), 1e-300))


def length_at(hazard: float, log_median: float, spread: float) -> float:
    """Return the days after which that hazard has accumulated."""
    survival = min(exp(-min(hazard, 690.0)), 1 - 1e-16)
    return exp(log_median - spread * _NORMAL.inv_cdf(survival))


def poisson(mean: float, random: Random) -> int:
    """Draw a Poisson number of a mean of at most some hundreds."""
    count, left = 0, mean + log(1 - random.random())
    while left > 0:
        count, left = count + 1, left + log(1 - random.random())
    return count


@lru_cache(maxsize=8192)
def _piece(day: int) -> tuple[int, int]:
    """Return the first day after the month of a day, and that month counted from the year 0."""
    today = _EPOCH + timedelta(days=day)
    month = today.year * 12 + today.month - 1
    following = date(month // 12 + (month % 12 == 11), (month + 1) % 12 + 1, 1)
    return (following - _EPOCH).days, month
