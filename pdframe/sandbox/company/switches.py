"""What Pipedrive does not document, as settings of the synthetic company."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RevenueFormula = Literal["twelve-month", "term", "calendar"]
PipelineMove = Literal[
    "together", "pipeline later", "pipeline earlier", "stage only", "pipeline only"
]


@dataclass(frozen=True, slots=True)
class Switches:
    """Behaviour that no source settles; both settings of each are plausible.

    Attributes
    ----------
    archiving_moves_update_time, deleting_moves_update_time, reopening_moves_update_time,
    line_edits_move_update_time
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
    pipeline_move_in_changelog
        The changelog rows of a deal that moves to a stage of another pipeline. ``"together"``: a
        ``stage_id`` and a ``pipeline_id`` row of one second. ``"pipeline later"`` and ``"pipeline
        earlier"``: the ``pipeline_id`` row is a second later or earlier, and the write takes one
        second more. ``"stage only"`` and ``"pipeline only"``: the other row is missing.
    moved_stage_in_changelog
        Whether the deals of a stage that is moved to another pipeline get a ``pipeline_id`` row.
    moving_stages_moves_update_time
        Whether that move sets ``update_time`` of the deals in the stage.
    activities_have_custom_fields
        Whether activities carry ``custom_fields``. On, most activities of the company have values
        in them, and everything else of the company is the same.
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
    pipeline_move_in_changelog: PipelineMove = "together"
    moved_stage_in_changelog: bool = True
    moving_stages_moves_update_time: bool = True
    activities_have_custom_fields: bool = False
    date_ahead_seconds: int = 0
    cursor_lifetime: float | None = None
