"""Tables that pdframe computes: kept histories, their snapshots, deleted deals, stage visits."""

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
"""Columns of deals of which every change is kept."""

TRACKED_LINE_COLUMNS = (
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
"""Columns of line items of which every change is kept: all that revenue metrics read."""

_IS_SERVER_TIME = Column(
    "is_server_time",
    FLAG,
    "Whether `seen_at` is a server's time; false: the newest time in the data",
)
_STAMP = (
    Column(
        "seen_at",
        TIME,
        "Server's time of the snapshot; every change in it is earlier or equal",
        UTC,
    ),
    _IS_SERVER_TIME,
    Column("look", COUNT, "Number of the snapshot"),
)


def _changed_rows(
    name: str,
    what: str,
    key: Column,
    tracked: tuple[Column, ...],
    absent: str,
    order: tuple[str, ...],
) -> Table:
    """Declare the table of the rows that snapshots changed."""
    return Table(
        name,
        f"one row per {what} and snapshot that changed it, its first snapshot included",
        (),
        (key, *tracked, Column("gone", FLAG, absent), *_STAMP),
        key=order,
    )


HISTORY = _changed_rows(
    "history",
    "deal",
    Column("deal_id", ID, "The deal"),
    tuple(DEALS.by_name[name] for name in TRACKED_COLUMNS),
    "Whether it was deleted (then `status` says so) or no longer visible; the other columns have"
    " their last values",
    ("deal_id",),
)
LINE_ROWS = _changed_rows(
    "line_history",
    "line item",
    Column("id", ID, "The line item"),
    tuple(DEAL_PRODUCTS.by_name[name] for name in TRACKED_LINE_COLUMNS),
    "Whether it was removed, alone or with its deal; the other columns have their last values",
    # Not "id": rows stay in the order of the snapshots.
    ("id", "look"),
)


def _snapshot_log(
    name: str,
    grain: str,
    kinds: tuple[str, ...],
    kind: str,
    complete_to: str,
    rows: Column,
    changed: str,
) -> Table:
    """Declare the table of the snapshots themselves."""
    return Table(
        name,
        grain,
        (),
        (
            Column("look", COUNT, "Number of the snapshot"),
            Column("seen_at", TIME, "Server's time at its end", UTC),
            _IS_SERVER_TIME,
            Column("kind", category(*kinds), kind),
            Column("complete_to", TIME, complete_to, UTC),
            rows,
            Column("changed", COUNT, changed),
        ),
        key=("look",),
    )


SNAPSHOTS = _snapshot_log(
    "history.looks",
    "one row per snapshot of all deals",
    ("full", "resumed", "incremental", "partial"),
    "full: every deal was read. resumed: the same, some pages at an earlier time. incremental:"
    " the deals with a new `update_time`. partial: some of those (snapshots of older versions in a"
    " sync that was interrupted)",
    "Newest `update_time` up to which every stamped change is in the snapshot; null: unknown",
    Column("deals", COUNT, "Number of deals"),
    "Deals that are new, changed or deleted since the last snapshot",
)
LINE_SNAPSHOTS = _snapshot_log(
    "line_history.looks",
    "one row per snapshot of line items that read all of them or changed some",
    ("full", "resumed", "incremental"),
    "full: the line items of every deal were read. resumed: the same, some of them at an earlier"
    " time. incremental: those of the changed deals",
    "Server's time at its start: every value in it is at least as new; null: unknown",
    Column("lines", COUNT, "Number of line items"),
    "Line items that are new, changed or removed since the last snapshot",
)


@dataclass(frozen=True)
class TrackedHistory:
    """A kept history: the table that it tracks, and the tables that hold it.

    Parameters
    ----------
    of
        Name of the tracked table.
    rows, snapshots
        Tables of the changed rows and of the snapshots.
    key
        Column of `rows` with the row's `id` in the tracked table.
    tracked
        Columns of which every change is kept.
    count
        Column of `snapshots` with the number of rows.
    """

    of: str
    rows: Table
    snapshots: Table
    key: str
    tracked: tuple[str, ...]
    count: str


OF_DEALS = TrackedHistory("deals", HISTORY, SNAPSHOTS, "deal_id", TRACKED_COLUMNS, "deals")
OF_LINES = TrackedHistory(
    "deal_products", LINE_ROWS, LINE_SNAPSHOTS, "id", TRACKED_LINE_COLUMNS, "lines"
)
HISTORIES = {history.of: history for history in (OF_DEALS, OF_LINES)}
"""The kept histories by tracked table."""


_DELETED_TIME = Column(
    "deleted_time",
    TIME,
    "When the deal was deleted; if the API does not return it, an upper bound: the time of the"
    " snapshot without the deal; null: not deleted, or unknown",
    UTC,
)
_AFTER = 1 + [column.name for column in DEALS.columns].index("is_deleted")

DEALS_AND_DELETED = replace(
    DEALS,
    grain="one row per deal, live, archived or known to be deleted",
    columns=(*DEALS.columns[:_AFTER], _DELETED_TIME, *DEALS.columns[_AFTER:]),
)
"""The frame of `account.deals(deleted=True)`."""

DELETED_DEALS = replace(
    DEALS_AND_DELETED,
    name="deals.deleted",
    grain="one row per deal and snapshot in which it was deleted or missing",
    sources=(),
    columns=(
        *DEALS_AND_DELETED.columns,
        Column(
            "seen_at", TIME, "Server's time of the snapshot in which it was deleted or missing", UTC
        ),
    ),
    # Not "id": rows stay in the order of the snapshots, and a deal can be deleted more than once.
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
                f"The column that changed; is_deleted: the {what} disappeared (true) or"
                " reappeared (false)",
            ),
            Column(
                "before",
                TEXT,
                "Value before, as text; null: none, or the row is no change",
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
                "When it changed; if only bounds are known, the upper one: the time of the"
                " snapshot that shows the change",
                UTC,
            ),
            Column(
                "time_after",
                TIME,
                "Lower bound of `time`; null: `time` is exact, or the row is from a first snapshot",
                UTC,
            ),
            Column(
                "source",
                category("changelog", "snapshots", "first look"),
                "changelog: exact. snapshots: two snapshots differ. first look: the value in the"
                " first snapshot, which is no change",
            ),
            Column(
                "seen_at",
                TIME,
                "Server's time of the snapshot that shows it; `time` if the changelog shows it",
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
    "one row per visit of a deal to a stage",
    (),
    (
        Column("deal_id", ID, "Deal"),
        Column("pipeline_id", ID, "Pipeline of the stage"),
        Column("stage_id", ID, "Stage of the visit"),
        Column("visit", COUNT, "Number of the deal's visit to this stage, from 1"),
        Column("entered_at", TIME, "When it entered; if only bounds are known, the upper one", UTC),
        Column(
            "left_at",
            TIME,
            "When it left, closed or was deleted; if only bounds are known, the upper one; null:"
            " it has not left",
            UTC,
        ),
        Column(
            "end",
            category(
                "advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"
            ),
            "How the visit ended; null: it left for another stage, and the direction is unknown",
        ),
        Column(
            "source", category("changelog", "snapshots", "current"), "Where the visit is known from"
        ),
        Column(
            "entered_after",
            TIME,
            "Lower bound of `entered_at`; null: `entered_at` is exact",
            UTC,
        ),
        Column(
            "left_after",
            TIME,
            "Lower bound of `left_at`; null: `left_at` is exact, or the deal has not left",
            UTC,
        ),
        Column(
            "seen_at",
            TIME,
            "Server's time of the first snapshot with the visit; `entered_at` if the changelog"
            " shows it",
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
    "LINE_HISTORY",
    "LINE_ROWS",
    "LINE_SNAPSHOTS",
    "OF_DEALS",
    "OF_LINES",
    "SNAPSHOTS",
    "STAGE_VISITS",
    "TRACKED_COLUMNS",
    "TRACKED_LINE_COLUMNS",
    "TrackedHistory",
]
