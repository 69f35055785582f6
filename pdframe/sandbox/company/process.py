"""The rules by which a deal passes through its stages: life draws from them, the truth computes
with them.

A visit lasts a lognormal time, which depends on the stage, the customer's segment and the owner's
pace; then the deal is lost, goes back, changes pipeline, advances or is won. Where the market moves
the hazard of winning, a visit to the last stage is a race of two hazards whose sum is the hazard of
that lognormal time: winning, times the market's factor of the day, against every other end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from math import erfc, exp, log, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal, NamedTuple

from .catalog import NEW, PIPELINES, SERVICES, USERS, Pipeline
from .clock import DAY, after_work, day_start, work_days
from .market import Market

__all__ = [
    "DEAD_DAYS",
    "DELETED",
    "DELETED_AFTER",
    "DELETED_MEAN",
    "FORGOTTEN",
    "PASSED_ON",
    "PLACES",
    "SILENT_LOSS",
    "SKIPPED",
    "SLIPS",
    "Conditions",
    "Ending",
    "Process",
    "Shocks",
    "exit_hazard",
    "length_at",
    "month_of",
    "poisson",
]

Ending = Literal["lost", "moved back", "services", "advanced", "won"]
Shocks = Callable[[int, int], float]
"""Factor of the hazard of winning by month, counted from the year 0, and owner."""

PLACES = {
    stage.id: (pipeline, index)
    for pipeline in PIPELINES
    for index, stage in enumerate(pipeline.stages)
}
# Share of deals that are not pursued any further, at each stage they enter. At each slip of such a
# deal it is lost with SILENT_LOSS, and slips again up to SLIPS.
FORGOTTEN = 0.072
SILENT_LOSS, SLIPS = 0.04, 0.6
# Share of deals that skip a stage when they advance.
SKIPPED = 0.08
# Share of deals that are deleted one day, and how many days after their creation: at least, and the
# mean of an exponential time on top.
DELETED, DELETED_AFTER, DELETED_MEAN = 0.03, 3.0, 90.0
# Share of the open deals of a rep who leaves that a colleague gets.
PASSED_ON = 0.8
# Days in a stage after which a bulk closing loses the deal.
DEAD_DAYS = 120
_SLOWNESS = (0.75, 1.1, 1.7)
_SPREAD = (0.7, 0.8, 0.95)
_LOSSES = (0.9, 1.0, 1.25)
_VISIT_FACTOR = 1.6
_BACK, _BACK_OR_SERVICES = 0.05, 0.06
_RUSH_DAYS, _QUARTER_DAYS = 14, 91.3
_NORMAL = NormalDist()
_EPOCH = date(1970, 1, 1)


class Conditions(NamedTuple):
    """What the rules need of a deal in a stage: `rank` is the place of the stage in its pipeline,
    from 0, `born` the deal's creation in epoch seconds.
    """

    pipeline: Pipeline
    rank: int
    owner: int
    segment: int
    born: int

    @property
    def last(self) -> bool:
        """Whether the stage is the last one of its pipeline."""
        return self.rank == len(self.pipeline.stages) - 1


class Process:
    """The rules of a company: its reps, its market, the market's factors by month.

    Parameters
    ----------
    market
        What the market does.
    key
        Seed of the market's random numbers; each use of them has a stream of its own.

    Attributes
    ----------
    races
        Whether the market moves the hazard of winning, so that visits to a last stage are races.
    leaves
        Times and users of reps who leave, by time.
    dead_at
        When dead deals are closed in bulk; None: never.
    """

    def __init__(self, market: Market, key: str) -> None:
        self.market = market
        self.pace = {user: pace for user, _, _, pace in USERS}
        self.races = max(market.shock_sd, market.rep_shock_sd, market.quarter_end_rush - 1) > 0
        self.leaves: list[tuple[int, int]] = []
        self.dead_at: int | None = None
        self._skill = {user: skill for user, _, skill, _ in USERS}
        self._key = key
        self._break = day_start(market.break_at) if market.break_at is not None else None
        self._shocks: dict[tuple[int, int], float] = {}
        self._loads: dict[int, tuple[list[int], list[int]]] = {}
        ratio = market.quarter_end_rush
        calm = _QUARTER_DAYS / (_QUARTER_DAYS - _RUSH_DAYS + _RUSH_DAYS * ratio)
        self._rush = (calm, calm * ratio)

    def stream(self, name: str) -> Random:
        """Return the random numbers of one use."""
        return Random(f"{self._key}/{name}")

    def median(self, deal: Conditions) -> float:
        """Return the median days of a visit at pace 1."""
        stage = deal.pipeline.stages[deal.rank]
        return stage.median_days * _VISIT_FACTOR * _SLOWNESS[deal.segment]

    def spread(self, segment: int) -> float:
        """Return the standard deviation of the log of a visit's length."""
        return _SPREAD[segment]

    def length(self, deal: Conditions, slower: float) -> tuple[float, float]:
        """Return the log of a visit's median days, and the standard deviation of its log."""
        median = self.median(deal) * slower / self.pace.get(deal.owner, 1.0)
        return log(median), _SPREAD[deal.segment]

    def loss(self, deal: Conditions, now: int) -> float:
        """Return the probability that a visit which ends now ends lost."""
        result = (
            deal.pipeline.stages[deal.rank].lose
            / self._skill.get(deal.owner, 1.0)
            * _LOSSES[deal.segment]
        )
        exponent = self.market.losses_by_age
        if exponent:
            age = max((now - deal.born) / DAY, 0.0)
            result = min(result * ((age + 30) / 90) ** exponent, 0.9)
        return result

    def win(self, deal: Conditions, now: int) -> float:
        """Return the probability that a visit which ends now ends won, in a usual market."""
        if not deal.last:
            return 0.0
        other = _BACK_OR_SERVICES if deal.pipeline.id == NEW else _BACK
        return 1.0 - self.loss(deal, now) - other

    def ending(
        self, deal: Conditions, now: int, u: float, random: Random, race_won: bool | None
    ) -> Ending:
        """Return how a visit ends that ends now.

        Parameters
        ----------
        u
            Uniform number that decides, unless a race was won.
        random
            What decides whether a win is lost because the win rate broke.
        race_won
            Who won the race; None: there was none.
        """
        if race_won is False:
            u *= 1 - self.win(deal, now)
        loss = self.loss(deal, now)
        if not race_won:
            if u < loss:
                return "lost"
            if u < loss + _BACK and deal.rank:
                return "moved back"
            if u < loss + _BACK_OR_SERVICES and deal.pipeline.id == NEW:
                return "services"
            if not deal.last:
                return "advanced"
        if self._break is not None and now >= self._break:
            return "won" if random.random() < self.market.break_factor else "lost"
        return "won"

    def shock(self, month: int, owner: int) -> float:
        """Return the company's factor of a month and owner; its mean over companies is 1."""
        result = 1.0
        for who, sd in ((0, self.market.shock_sd), (owner, self.market.rep_shock_sd)):
            if sd:
                if (month, who) not in self._shocks:
                    random = Random(f"{self._key}/shock/{month}/{who}")
                    self._shocks[month, who] = exp(sd * random.gauss(0, 1) - sd * sd / 2)
                result *= self._shocks[month, who]
        return result

    def draw_shock(self, random: Random) -> float:
        """Draw a factor of a month and an owner."""
        variance = self.market.shock_sd**2 + self.market.rep_shock_sd**2
        return exp(random.gauss(0, sqrt(variance)) - variance / 2) if variance else 1.0

    def race(
        self,
        deal: Conditions,
        start: int,
        now: int,
        slower: float,
        random: Random,
        shocks: Shocks | None = None,
    ) -> tuple[int, bool]:
        """Draw when a visit to the last stage that began at `start` and has not ended by `now`
        ends, and whether it ends won.

        `shocks` replaces the company's own.
        """
        log_median, spread = self.length(deal, slower)
        shocks = shocks or self.shock
        win = self.win(deal, start)
        hazard = exit_hazard(work_days(start, now), log_median, spread)
        other = hazard - log(1 - random.random()) / (1 - win)
        left, day = -log(1 - random.random()) / win, now // DAY
        while hazard < other:
            end, month, rush = _piece(day)
            factor = shocks(month, deal.owner) * self._rush[rush]
            after = min(exit_hazard(work_days(start, end * DAY), log_median, spread), other)
            if factor * (after - hazard) >= left:
                won = length_at(hazard + left / factor, log_median, spread)
                return after_work(start, int(won * DAY)), True
            left -= factor * (after - hazard)
            hazard, day = after, end
        return after_work(start, int(length_at(other, log_median, spread) * DAY)), False

    def due(self, deal: Conditions, start: int, now: int, slower: float, random: Random) -> int:
        """Draw when a visit without a race ends that began at `start` and has not ended by
        `now`.
        """
        log_median, spread = self.length(deal, slower)
        hazard = exit_hazard(work_days(start, now), log_median, spread) - log(1 - random.random())
        return after_work(start, int(length_at(hazard, log_median, spread) * DAY))

    @staticmethod
    def following(deal: Conditions, ending: Ending, skips: bool) -> tuple[Pipeline, int]:
        """Return the pipeline and rank of the stage after a visit that did not close the deal."""
        if ending == "services":
            return next(p for p in PIPELINES if p.id == SERVICES), 0
        if ending == "moved back":
            return deal.pipeline, deal.rank - 1
        return deal.pipeline, min(deal.rank + (2 if skips else 1), len(deal.pipeline.stages) - 1)

    def survival(self, deal: Conditions, start: int, now: int, slower: float) -> float:
        """Return the probability that a visit that began at `start`, of a deal that is pursued,
        has not ended by `now`.
        """
        log_median, spread = self.length(deal, slower)
        total = exit_hazard(work_days(start, now), log_median, spread)
        if not (self.races and deal.last):
            return exp(-total)
        win = self.win(deal, start)
        result, hazard, day = (1 - win) * total, 0.0, start // DAY
        while day * DAY < now:
            end, month, rush = _piece(day)
            after = exit_hazard(work_days(start, min(end * DAY, now)), log_median, spread)
            result += win * self.shock(month, deal.owner) * self._rush[rush] * (after - hazard)
            hazard, day = after, end
        return exp(-result)

    def note_load(self, owner: int, now: int, load: int) -> None:
        """Note on how many deals a rep works from now on."""
        times, loads = self._loads.setdefault(owner, ([], []))
        times.append(now)
        loads.append(load)

    def slower(self, owner: int, load: int) -> float:
        """Return the factor of how long visits last for a rep who works on this number of deals."""
        return max(1.0, load / self.market.capacity) if self.market.capacity else 1.0

    def slower_at(self, owner: int, time: int, after: bool = False) -> float:
        """Return the factor that held for a rep at a time; with `after`, from the first visit that
        began then or later.
        """
        times, loads = self._loads.get(owner, ([], []))
        position = bisect_left(times, time) if after else bisect_right(times, time) - 1
        return self.slower(owner, loads[position]) if 0 <= position < len(loads) else 1.0


def exit_hazard(days: float, log_median: float, spread: float) -> float:
    """Return the hazard of leaving that has accumulated within a number of days of a visit."""
    if days <= 0:
        return 0.0
    return -log(max(0.5 * erfc((log(days) - log_median) / spread / sqrt(2)), 1e-300))


def length_at(hazard: float, log_median: float, spread: float) -> float:
    """Return the days after which that hazard has accumulated."""
    survival = min(exp(-min(hazard, 690.0)), 1 - 1e-16)
    return exp(log_median - spread * _NORMAL.inv_cdf(survival))


def poisson(mean: float, random: Random) -> int:
    """Draw a Poisson number."""
    count, left = 0, mean + log(1 - random.random())
    while left > 0:
        count, left = count + 1, left + log(1 - random.random())
    return count


def month_of(time: int) -> int:
    """Return the month of epoch seconds, counted from the year 0."""
    return _piece(time // DAY)[1]


@lru_cache(maxsize=8192)
def _piece(day: int) -> tuple[int, int, bool]:
    """Return the first day after a day at which the market may change, the day's month counted from
    the year 0, and whether the quarter's end is near.
    """
    today = _EPOCH + timedelta(days=day)
    month = today.year * 12 + today.month - 1
    following = (date((month + 1) // 12, (month + 1) % 12 + 1, 1) - _EPOCH).days
    if month % 3 < 2:
        return following, month, False
    rush = following - _RUSH_DAYS
    return (rush, month, False) if day < rush else (following, month, True)
