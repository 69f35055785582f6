"""Which way a cached table is brought up to date: by what changed, or anew."""

from __future__ import annotations

from datetime import datetime, timedelta

from pdframe.api.walk import PAGE
from pdframe.schema import Table
from pdframe.store import Manifest


def reload_due(table: Table, manifest: Manifest, now: datetime, full_every: timedelta | None) -> str | None:
    """Why a table that could tell its changes is loaded anew all the same; None where it is not.

    Parameters
    ----------
    table, manifest
        The table, and what is cached of it.
    now
        This machine's clock.
    full_every
        How old the last full load may be; None: any age.
    """
    # A time ahead of the clock means that the clock was set: it proves nothing.
    age = abs(now - manifest.full_at)
    if full_every is not None and age > full_every:
        return f"loaded anew: the last full load is {_days(age)} old"
    if table.incremental and fits_a_page(table, manifest.rows):
        return ""
    return None


def fits_a_page(table: Table, rows: int) -> bool:
    """Whether the whole table costs what asking for its changes does, and proves more: deletions are not listed of it."""
    return len(table.sources) == 1 and not table.sources[0].deletions and rows <= PAGE


def _days(age: timedelta) -> str:
    return f"{age.days} day{'s' if age.days != 1 else ''}" if age.days else f"{age.total_seconds() / 3600:.1f} hours"
