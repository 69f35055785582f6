"""What Pipedrive does not document, as settings of the synthetic company."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RevenueFormula = Literal["twelve-month", "term", "calendar"]


@dataclass(frozen=True, slots=True)
class Switches:
    """Behaviour that no source settles; both settings of each are plausible.

    Attributes
    ----------
    archiving_moves_update_time, deleting_moves_update_time, reopening_moves_update_time, line_edits_move_update_time
        Whether that write moves the deal's ``update_time``.
    stage_change_time_if_never_moved
        ``"null"``, or ``"set"`` to the deal's ``add_time``.
    changelog_has_creation
        Whether a deal's changelog opens with rows for the values that it was created with.
    products_count_includes_disabled
        Whether ``products_count`` counts disabled line items.
    revenue_formula
        Which of the three guesses in `lines.revenue` gives ``mrr``, ``arr`` and ``acv``.
    date_ahead_seconds
        How far the server's ``Date`` runs ahead of the clock that stamps ``update_time``.
    cursor_lifetime
        Seconds of real time after which the server refuses a cursor; None: never.
    """

    archiving_moves_update_time: bool = True
    deleting_moves_update_time: bool = True
    reopening_moves_update_time: bool = True
    line_edits_move_update_time: bool = True
    stage_change_time_if_never_moved: Literal["null", "set"] = "null"
    changelog_has_creation: bool = False
    products_count_includes_disabled: bool = True
    revenue_formula: RevenueFormula = "twelve-month"
    date_ahead_seconds: int = 0
    cursor_lifetime: float | None = None
