"""What is made here and not asked of the API: kept histories, the looks that they come from, stage
visits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pdframe.schema.common import UTC
from pdframe.schema.deals import DEAL_PRODUCTS, DEALS
from pdframe.schema.table import Column, Table
from pdframe.schema.types import COUNT, FLAG, ID, TEXT, TIME, category

TRACKED_COLUMNS = (
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

LINES_REMEMBERED = (
    "deal_id",
    "product_id",
    "product_variation_id",
    "name",
    "currency",
    "quantity",
    "item_price",
    "discount",
    "discount_type",
    "tax",
    "tax_method",
    "sum",
    "is_enabled",
    "billing_frequency",
    "billing_frequency_cycles",
    "billing_start_date",
)
"""Columns of line items whose every change is kept: all that revenue metrics read."""

_STAMP = (
    Column("seen_at", TIME, "Server's time of the look; no change that it found is later", UTC),
    Column(
        "is_server_time",
        FLAG,
        "Whether a server told `seen_at`; false: it is the newest time found in the data",
    ),
    Column("look", COUNT, "Number of the look"),
)

HISTORY = Table(
    "history",
    "one row per deal and look that found it changed; its first look is one",
    (),
    (
        Column("deal_id", ID, "Deal that was looked at"),
        *(DEALS.by_name[name] for name in TRACKED_COLUMNS),
        Column(
            "gone",
            FLAG,
            "Whether it was gone: deleted (then `status` says so) or no longer visible; the rest is"
            " as seen last",
        ),
        *_STAMP,
    ),
    key=("deal_id",),
)

LINE_ROWS = Table(
    "line_history",
    "one row per line item and look that found it changed; its first look is one",
    (),
    (
        Column("id", ID, "Line item that was looked at"),
        *(DEAL_PRODUCTS.by_name[name] for name in LINES_REMEMBERED),
        Column(
            "gone", FLAG, "Whether it was gone, alone or with its deal; the rest is as seen last"
        ),
        *_STAMP,
    ),
    # Not "id": rows stay in the order of the looks.
    key=("id", "look"),
)

SNAPSHOTS = Table(
    "history.looks",
    "one row per look at all deals",
    (),
    (
        Column("look", COUNT, "Number of the look"),
        Column("seen_at", TIME, "Server's time at its end", UTC),
        Column(
            "is_server_time",
            FLAG,
            "Whether a server told `seen_at`; false: it is the newest time found in the data",
        ),
        Column(
            "kind",
            category("full", "resumed", "incremental", "partial"),
            "full: every deal was read. resumed: the same, some pages at an earlier time."
            " incremental: those whose `update_time` moved. partial: some of those (looks of older"
            " versions at a sync that was interrupted)",
        ),
        Column(
            "complete_to",
            TIME,
            "Newest `update_time` up to which every stamped change was found; null: not known",
            UTC,
        ),
        Column("deals", COUNT, "Deals there were"),
        Column("changed", COUNT, "Deals found new, changed or gone"),
    ),
    key=("look",),
)

LINE_SNAPSHOTS = Table(
    "line_history.looks",
    "one row per look at line items that read all of them or found some changed",
    (),
    (
        Column("look", COUNT, "Number of the look"),
        Column("seen_at", TIME, "Server's time at its end", UTC),
        Column(
            "is_server_time",
            FLAG,
            "Whether a server told `seen_at`; false: it is the newest time found in the data",
        ),
        Column(
            "kind",
            category("full", "resumed", "incremental"),
            "full: the line items of every deal were read. resumed: the same, some of them at an"
            " earlier time. incremental: those of the deals that had changed.",
        ),
        Column(
            "complete_to",
            TIME,
            "Server's time at its beginning: what the look read is no older; null: not known",
            UTC,
        ),
        Column("lines", COUNT, "Line items there were"),
        Column("changed", COUNT, "Line items found new, changed or gone"),
    ),
    key=("look",),
)


@dataclass(frozen=True)
class Kept:
    """A kept history: of which table, and what of its rows.

    Parameters
    ----------
    of
        Table whose rows are looked at.
    rows, looks
        Where rows that changed, and the looks that found them, are kept.
    key
        Column of `rows` that names the row: its `id` in the table.
    tracked
        Columns whose every change is kept.
    count
        Column of `snapshots` that says how many rows there were.
    """

    of: str
    rows: Table
    snapshots: Table
    key: str
    tracked: tuple[str, ...]
    count: str

    @property
    def snapshot_columns(self) -> tuple[str, ...]:
        """Columns of the table that a look reads."""
        return tuple(dict.fromkeys(("id", *self.tracked, "update_time", "add_time")))


OF_DEALS = Kept("deals", HISTORY, SNAPSHOTS, "deal_id", TRACKED_COLUMNS, "deals")
OF_LINES = Kept("deal_products", LINE_ROWS, LINE_SNAPSHOTS, "id", LINES_REMEMBERED, "lines")
HISTORIES = {kept.of: kept for kept in (OF_DEALS, OF_LINES)}
"""The kept histories by the table that is looked at."""


_DELETED_TIME = Column(
    "deleted_time",
    TIME,
    "When the deal was deleted; where the API does not tell, the latest time possible: that of the"
    " look that found it; null: it is not deleted, or nothing tells when",
    UTC,
)
_AFTER = 1 + [column.name for column in DEALS.columns].index("is_deleted")

DEALS_AND_DELETED = replace(
    DEALS,
    grain="one row per deal, live, archived or known as deleted",
    columns=(*DEALS.columns[:_AFTER], _DELETED_TIME, *DEALS.columns[_AFTER:]),
)
"""What `account.deals(deleted=True)` returns."""

DELETED_DEALS = replace(
    DEALS_AND_DELETED,
    name="deals.deleted",
    grain="one row per deal and time that it was found deleted, or missing",
    sources=(),
    columns=(
        *DEALS_AND_DELETED.columns,
        Column("seen_at", TIME, "Server's time of the look that found it deleted, or missing", UTC),
    ),
    # Not "id": rows stay in the order of the looks, and a deal can be deleted more than once.
    key=("id", "seen_at"),
    incremental=False,
)


def _changes_of(name: str, what: str, first: tuple[Column, ...]) -> Table:
    return Table(
        name,
        f"one row per {what} and change of a tracked column",
        (),
        (
            *first,
            Column(
                "column",
                TEXT,
                f"The column that changed; is_deleted: the {what} disappeared (true) or came back"
                " (false)",
            ),
            Column(
                "before",
                TEXT,
                "Value before, as text; null: there was none, or the row tells of no change",
            ),
            Column(
                "after",
                TEXT,
                "Value after, as text: plain decimals, true or false, ISO dates and times in UTC;"
                " null: none",
            ),
            Column(
                "time",
                TIME,
                "When it changed; where only bounded, the latest time possible: that of the look"
                " that found it",
                UTC,
            ),
            Column(
                "time_after",
                TIME,
                "Earliest time possible of `time`; null: that is exact, or a first look",
                UTC,
            ),
            Column(
                "source",
                category("changelog", "snapshots", "first look"),
                "changelog: exact. snapshots: two looks differ. first look: the value as the first"
                " look found it, which is no change",
            ),
            Column(
                "seen_at",
                TIME,
                "Server's time of the look that found it; `time` where the changelog tells it",
                UTC,
            ),
        ),
        key=("deal_id",),
    )


DEAL_HISTORY = _changes_of("deal_history", "deal", (Column("deal_id", ID, "Deal"),))
LINE_HISTORY = _changes_of(
    "line_history",
    "line item",
    (
        Column("id", ID, "Line item"),
        Column(
            "deal_id", ID, "Deal that the line item belongs to, or belonged to when it disappeared"
        ),
    ),
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
        Column(
            "entered_at", TIME, "When it came; where only bounded, the latest time possible", UTC
        ),
        Column(
            "left_at",
            TIME,
            "When it left, closed or was deleted; where only bounded, the latest time possible;"
            " null: it is there",
            UTC,
        ),
        Column(
            "end",
            category(
                "advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"
            ),
            "How the stay ended; null: it left for another stage, and nothing tells whether forward"
            " or back",
        ),
        Column("source", category("changelog", "snapshots", "current"), "What tells of the stay"),
        Column(
            "entered_after",
            TIME,
            "Earliest time possible of `entered_at`; null: that is exact",
            UTC,
        ),
        Column(
            "left_after",
            TIME,
            "Earliest time possible of `left_at`; null: that is exact, or the deal is there",
            UTC,
        ),
        Column(
            "seen_at",
            TIME,
            "Server's time of the first look that found the stay; `entered_at` where the changelog"
            " tells it",
            UTC,
        ),
    ),
    key=("deal_id",),
)

__all__ = [
    "DEALS_AND_DELETED",
    "DEAL_HISTORY",
    "DELETED_DEALS",
    "HISTORIES",
    "HISTORY",
    "LINES_REMEMBERED",
    "LINE_HISTORY",
    "LINE_ROWS",
    "LINE_SNAPSHOTS",
    "OF_DEALS",
    "OF_LINES",
    "SNAPSHOTS",
    "STAGE_VISITS",
    "TRACKED_COLUMNS",
    "Kept",
]
