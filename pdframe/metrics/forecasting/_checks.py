"""What a forecast refuses to be made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdframe.errors import InsufficientDataError

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

FEWEST_CLOSED, FEWEST_WON = 30, 10


def check_enough(known: Known) -> None:
    """Raise `InsufficientDataError` where too few deals were closed, or won, to learn from."""
    closed = len(known.created.deal) - len(known.open_at([known.as_of]))
    won = len(known.wins.deal)
    if closed < FEWEST_CLOSED or won < FEWEST_WON:
        raise InsufficientDataError(
            f"{closed:,} closed deals, {won:,} of them won, are too few to forecast from: at least"
            f" {FEWEST_CLOSED} closed and {FEWEST_WON} won ones are needed."
        )


__all__ = ["check_enough"]
