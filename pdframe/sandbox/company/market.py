"""What makes the business of the synthetic company harder to forecast, as settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from .catalog import USERS

__all__ = ["Market"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """How the market treats the company. Everything is off by default: deals arrive evenly and end
    independently of each other, expected closes and losses follow no rule, and nothing changes in
    time.

    Every setting has random numbers of its own: none changes what another draws. Days begin at
    00:00 UTC. A market moves the company's own life, not deals that a program writes.

    Attributes
    ----------
    shock_sd, rep_shock_sd
        Standard deviation of the log of a factor of mean 1, one a calendar month (UTC) and one a
        month and rep, which multiplies the hazard of winning of deals in the last stage of their
        pipeline. 0 (off) to 2. Other ends of a visit keep their hazards: a bad month both delays
        wins and loses deals. The first makes all deals dependent, the second the deals of a rep.
    quarter_end_rush
        Ratio of the hazard of winning in the last 14 days of a quarter to that of its other days,
        1 (off) to 20, at an unchanged mean: a rush borrows from the rest of the quarter.
    poisson_arrivals
        Whether deals of the past arrive as a Poisson process given their number, and those after it
        in Poisson numbers a day. Off: every deal has its own share of the flow.
    informative_close_dates
        Whether reps know something: a deal with an expected close gets a better one when it enters
        a stage, from the true end of the visit and the usual lengths of the visits after it.
    close_date_sd
        Standard deviation of the log of the error of the time that such a date leaves. 0 to 3.
    slipping_close_dates
        Whether an expected close that has passed is moved to a later day, up to 5 days after it
        and in 9 of 10 cases, while a rep still works on the deal.
    capacity
        Deals that a rep can work on at once; a rep with more is slower in proportion, for each
        visit that begins then. At least 1; None: no limit.
    losses_by_age
        Exponent of the deal's age in the probability of losing it, which is multiplied by
        ((age in days + 30) / 90) ** exponent and is at most .9. -2 to 2; above 0 old deals are lost
        more often, 0 is off.
    break_at, break_factor
        From the start of this day on, a deal that would be won is won with probability
        `break_factor` (0 to 1), and lost otherwise. None: no break.
    rep_leaves
        Days and user ids of reps who leave then, beside those who leave in every company: 8 of 10
        open deals of theirs go to one colleague in a bulk edit, the others stand still.
    bulk_import
        A day, and the number of deals that are imported then, in all stages and in one second.
        They come on top of the company's `deals`.
    bulk_close
        A day on which the deals that have been in their stage for 120 days are lost in one second.
    """

    shock_sd: float = 0.0
    rep_shock_sd: float = 0.0
    quarter_end_rush: float = 1.0
    poisson_arrivals: bool = False
    informative_close_dates: bool = False
    close_date_sd: float = 0.5
    slipping_close_dates: bool = False
    capacity: int | None = None
    losses_by_age: float = 0.0
    break_at: date | None = None
    break_factor: float = 0.5
    rep_leaves: tuple[tuple[date, int], ...] = ()
    bulk_import: tuple[date, int] | None = None
    bulk_close: date | None = None

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if name == "capacity" and value is None:
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if name == "capacity" and not isinstance(value, int):
                number = False
            if not number or not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {value!r}.")
        for name in ("break_at", "bulk_close"):
            day = getattr(self, name)
            if day is not None and not isinstance(day, date):
                raise ValueError(f"{name} must be a datetime.date or None, not {day!r}.")
        reps = [user for user, *_ in USERS[1:]]
        if not isinstance(self.rep_leaves, Sequence) or not all(map(_dated, self.rep_leaves)):
            raise ValueError(f"rep_leaves must be pairs of a date and a rep: {self.rep_leaves!r}.")
        for _, user in self.rep_leaves:
            if user not in reps:
                raise ValueError(f"rep_leaves: {user} is no rep; the reps are {reps}.")
        if self.bulk_import is not None:
            if not _dated(self.bulk_import):
                raise ValueError(f"bulk_import must be a date and a number: {self.bulk_import!r}.")
            if not 1 <= self.bulk_import[1] <= _MOST_IMPORTED:
                raise ValueError(
                    "bulk_import must import at least one deal"
                    f" and at most {_MOST_IMPORTED:,}, not {self.bulk_import[1]:,}."
                )


def _dated(pair: object) -> bool:
    """Return whether it is a pair of a date and a whole number."""
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and isinstance(pair[0], date)
        and isinstance(pair[1], int)
    )


_MOST_IMPORTED = 1_000_000


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("shock_sd", 0, 2),
    ("rep_shock_sd", 0, 2),
    ("quarter_end_rush", 1, 20),
    ("close_date_sd", 0, 3),
    ("capacity", 1, 1_000_000),
    ("losses_by_age", -2, 2),
    ("break_factor", 0, 1),
)
