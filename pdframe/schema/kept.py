"""What is made here and not asked of the API: the kept history of deals, the looks it was gathered in, and stage visits."""

from __future__ import annotations

from pdframe.schema.common import UTC
from pdframe.schema.deals import DEALS
from pdframe.schema.table import Column, Table
from pdframe.schema.types import COUNT, FLAG, ID, TIME, category

REMEMBERED = (
    "stage_id",
    "pipeline_id",
    "status",
    "value",
    "currency",
    "expected_close_date",
    "owner_id",
    "probability",
    "stage_change_time",
    "won_time",
    "lost_time",
    "is_archived",
    "add_time",
    "first_won_time",
)
"""Columns of deals whose every change is kept."""

HISTORY = Table(
    "history",
    "one row per deal and look that found it changed; its first look is one",
    (),
    (
        Column("deal_id", ID, "Deal that was looked at"),
        *(DEALS.by_name[name] for name in REMEMBERED),
        Column("gone", FLAG, "Whether it was gone: deleted (then `status` says so) or no longer visible; the rest is as seen last"),
        Column("seen_at", TIME, "Server's time of the look; no change that it found is later", UTC),
        Column("is_server_time", FLAG, "Whether a server told `seen_at`; false: it is the newest time found in the data"),
        Column("look", COUNT, "Number of the look"),
    ),
    key=("deal_id",),
)

LOOKS = Table(
    "history.looks",
    "one row per look at all deals",
    (),
    (
        Column("look", COUNT, "Number of the look"),
        Column("seen_at", TIME, "Server's time at its end", UTC),
        Column("is_server_time", FLAG, "Whether a server told `seen_at`; false: it is the newest time found in the data"),
        Column(
            "kind",
            category("full", "resumed", "incremental", "partial"),
            "full: every deal was read. resumed: the same, some pages at an earlier time. incremental: those whose `update_time` moved. "
            "partial: some of those (looks of older versions at a sync that was interrupted)",
        ),
        Column("complete_to", TIME, "Newest `update_time` up to which every stamped change was found; null: not known", UTC),
        Column("deals", COUNT, "Deals there were"),
        Column("changed", COUNT, "Deals found new, changed or gone"),
    ),
    key=("look",),
)

STAGE_VISITS = Table(
    "stage_visits",
    "one row per stay of a deal in a stage",
    (),
    (
        Column("deal_id", ID, "Deal"),
        Column("pipeline_id", ID, "Pipeline of the stage"),
        Column("stage_id", ID, "Stage the deal stayed in"),
        Column("visit", COUNT, "The deal's stays in this stage, counted from 1"),
        Column("entered_at", TIME, "When it came; where only bounded, the latest time possible", UTC),
        Column(
            "left_at", TIME, "When it left, closed or was deleted; where only bounded, the latest time possible; null: it is there", UTC
        ),
        Column(
            "end",
            category("advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"),
            "How the stay ended; null: it left for another stage, and nothing tells whether forward or back",
        ),
        Column("source", category("changelog", "snapshots", "current"), "What tells of the stay"),
        Column("entered_after", TIME, "Earliest time possible of `entered_at`; null: that is exact", UTC),
        Column("left_after", TIME, "Earliest time possible of `left_at`; null: that is exact, or the deal is there", UTC),
        Column("seen_at", TIME, "Server's time of the first look that found the stay; `entered_at` where the changelog tells it", UTC),
    ),
    key=("deal_id",),
)

__all__ = ["HISTORY", "LOOKS", "REMEMBERED", "STAGE_VISITS"]
