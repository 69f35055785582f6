"""What a forecast refuses, and what it warns of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pdframe.errors import ArgumentError, InsufficientDataError
from pdframe.metrics._arguments import local_days
from pdframe.metrics._survival import Ints
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting.known import LEAST_CLOSED, Known

LEAST_WON = 10
"""Won deals that a forecast needs."""

_FEW_WON = 50
_BULK = 20
"""Deals of one second that are a bulk import or a bulk closing."""

_IDLE = 30 * DAY
"""Time without any change from which on the frames are too old for a forecast."""

_SECOND = 1_000_000
_MOST_DRAWS = 10_000_000


def draw_count(draws: Any) -> int:
    """Return a number of draws; raise `ArgumentError` where it is none."""
    number = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if not number or not 1 <= draws <= _MOST_DRAWS:
        raise ArgumentError(f"draws={draws!r} must be a number of draws, 1 to {_MOST_DRAWS:,}.")
    return int(draws)


def check_seed(seed: Any) -> None:
    """Raise `ArgumentError` where the seed is not a whole number."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ArgumentError(f"seed={seed!r} must be a whole number.")


def is_young(known: Known) -> bool:
    """Return whether too few deals were closed, or won, to learn from."""
    closed, won = _counts(known)
    return closed < LEAST_CLOSED or won < LEAST_WON


def _counts(known: Known) -> tuple[int, int]:
    return len(known.created.deal) - len(known.open_at([known.as_of])), len(known.wins.deal)


def refuse_young(known: Known) -> None:
    """Raise `InsufficientDataError` where too few deals were closed, or won, to learn from."""
    if is_young(known):
        closed, won = _counts(known)
        raise InsufficientDataError(
            f"A forecast needs {LEAST_CLOSED} closed deals, {LEAST_WON} of them won; {closed:,}"
            f" were closed and {won:,} won by {_day(known.as_of, known.tz)}. Use"
            " metrics.deal_aging, or a later as_of."
        )


def refuse_long(known: Known, horizons: Ints) -> None:
    """Raise `InsufficientDataError` where a horizon is longer than deals could be followed."""
    longest = int(horizons.max()) if len(horizons) else 0
    if longest > known.followed:
        raise InsufficientDataError(
            f"A horizon of {longest / DAY:,.0f} days is past the follow-up: {LEAST_CLOSED} deals"
            f" could be followed for {known.followed // DAY:,} days by"
            f" {_day(known.as_of, known.tz)}, the longest horizon."
        )


def notes_of(known: Known) -> Iterator[str]:
    """Yield what the data lacks, or what distorts a forecast from it."""
    yield from known.notes
    won = len(known.wins.deal)
    if won < _FEW_WON:
        yield f"only {won:,} won deals are known: probabilities are rough."
    if not known.knows_values:
        yield (
            "the frames show changes after as_of, so that values, owners and expected closes of"
            " then are unknown and null. Pass history=account.deal_history()."
        )
    idle = known.as_of - known.newest
    if idle > _IDLE:
        yield (
            f"nothing changed in the {idle // DAY:,} days before as_of: the newest change in the"
            f" frames is of {_day(known.newest, known.tz)}. Load the frames again, or pass an"
            " earlier as_of."
        )
    unknown = known.unseen_share
    if unknown > 0.5:
        yield (
            f"the stage is unknown in {unknown:.0%} of the past, so that the forecast learns from"
            " ages more than from stages. account.deal_changes() loads past stages: 20 tokens per"
            " deal."
        )
    for times, what in ((known.created.added, "created"), (known.closing_times, "closed")):
        deals, seconds = _bulk(times)
        if deals:
            yield (
                f"{deals:,} deals were {what} in bulk, {_BULK} or more in one second"
                f" ({seconds:,} times), and are learned from like others."
            )


def _bulk(times: Ints) -> tuple[int, int]:
    counts = np.unique(times // _SECOND, return_counts=True)[1]
    many = counts[counts >= _BULK]
    return int(many.sum()), len(many)


def _day(micros: int, tz: str) -> str:
    """Return the day of a time in the company's timezone."""
    return str(local_days(np.array([micros]), tz).view("datetime64[us]")[0])[:10]


__all__ = [
    "LEAST_CLOSED",
    "LEAST_WON",
    "check_seed",
    "draw_count",
    "is_young",
    "notes_of",
    "refuse_long",
    "refuse_young",
]
