"""Which way a cached table is brought up to date: by what changed, or anew."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.store import Manifest, Stored
from pdframe.schema import Table
from pdframe.sync.options import SyncOptions


def full_reload_reason(
    table: Table,
    manifest: Manifest,
    now: datetime,
    full_every: timedelta | None,
    options: SyncOptions,
) -> str | None:
    """Why a table that could tell its changes is loaded anew all the same; None where it is not.

    Parameters
    ----------
    table, manifest
        The table, and what is cached of it.
    now
        This machine's clock.
    full_every
        How old the last full load may be; None: any age.
    options
        Up to how many rows a table may be reloaded.
    """
    # A time ahead of the clock means that the clock was set: it proves nothing.
    age = abs(now - manifest.full_at)
    if full_every is not None and age > full_every:
        return f"loaded anew: the last full load is {_days(age)} old"
    if table.incremental and fits_a_page(table, manifest.rows, options):
        return ""
    return None


def fits_a_page(table: Table, rows: int, options: SyncOptions) -> bool:
    """Whether the whole table costs no more than asking for its changes, and proves more."""
    full = sum(source.cost for source in table.sources) + (
        table.sources[0].cost if len(table.sources) > 1 else 0
    )
    changes = sum(source.cost * (1 + source.deletions) for source in table.sources)
    most = options.page_size if options.reload_rows is None else options.reload_rows
    return rows <= most and full <= changes


def lists_of(table: Table, cached: pa.Table | Stored) -> list[pa.Array]:
    """Which of the cached rows are in each of the lists that a table is made of."""
    if len(table.sources) == 1:
        return [pa.repeat(True, cached.num_rows)]
    column = cached[second_list(table)]
    second = pc.fill_null(column, False) if pa.types.is_boolean(column.type) else column.is_valid()
    return [pc.invert(second), second]


def second_list(table: Table) -> str:
    """The column by which a cached row tells that it is in the second list of its table."""
    return "is_archived" if "is_archived" in table.by_name else "archive_time"


def _days(age: timedelta) -> str:
    return (
        f"{age.days} day{'s' if age.days != 1 else ''}"
        if age.days
        else f"{age.total_seconds() / 3600:.1f} hours"
    )
