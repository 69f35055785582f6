"""What a forecast refuses to be made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdframe.errors import InsufficientDataError

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

LEAST_CLOSED, LEAST_WON = 30, 10


def refuse_young(known: Known) -> None:
    """Raise `InsufficientDataError` where too few deals were closed, or won, to learn from."""
    closed = len(known.created.deal) - len(known.open_at([known.as_of]))
    won = len(known.wins.deal)
    if closed < LEAST_CLOSED or won < LEAST_WON:
        raise InsufficientDataError(
            f"A forecast needs {LEAST_CLOSED} closed deals, {LEAST_WON} of them won; {closed:,} were"
            f" closed and {won:,} won."
        )


__all__ = ["refuse_young"]
