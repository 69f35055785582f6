"""What makes the business of the synthetic company harder to forecast, as settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

__all__ = ["Market"]


@dataclass(frozen=True, slots=True)
class Market:
    """How the market treats the company. Everything is off by default: deals arrive evenly and end
    independently of each other, and nothing changes in time.

    Every setting has random numbers of its own: one never changes what another draws.

    Attributes
    ----------
    shock_sd
        Standard deviation of the log of a factor of mean 1, one a calendar month (UTC), that
        multiplies the hazard of winning of every deal in the last stage of its pipeline. Between 0
        (off) and 2. Other ends of a visit keep their hazards, so a bad month also loses deals.
    poisson_arrivals
        Whether deals of the past arrive as a Poisson process given their number, and those after it
        in Poisson numbers a day. Off: every deal has its own share of the flow.
    break_at, break_factor
        From the start of this day (UTC) on, a deal that would be won is won with probability
        `break_factor` (0 to 1), and lost otherwise. None: no break.
    """

    shock_sd: float = 0.0
    poisson_arrivals: bool = False
    break_at: date | None = None
    break_factor: float = 0.5

    def __post_init__(self) -> None:
        _check("shock_sd", self.shock_sd, 0, 2)
        _check("break_factor", self.break_factor, 0, 1)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}.")
