"""The frames and texts that describe a cache: sync rows, estimates, status, a line a table."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from pdframe.cache.store import Manifest, Store
from pdframe.errors import CacheError, NewerCacheError
from pdframe.schema import TABLES
from pdframe.sync import SyncRow
from pdframe.sync.plan_costs import Estimate

FIRST_STEPS = (
    "Nothing is loaded yet. Next:",
    "account.deals() loads the deals as a DataFrame",
    "account.estimate() says what a sync of every list costs, account.sync() does it",
)
"""What an account whose cache is empty says."""
_ONE_COLUMN_LINES = 8
_MODES = ("full", "incremental", "skipped", "unavailable")


def sync_frame(rows: Sequence[SyncRow]) -> pd.DataFrame:
    """Make the frame of `Account.sync`."""
    dtypes: dict[str, Any] = {
        "table": "str",
        "mode": pd.CategoricalDtype(list(_MODES)),
        "rows": "Int64",
        **dict.fromkeys(("added", "changed", "removed", "requests", "tokens"), "Int64"),
        "seconds": "float64",
        "note": "str",
        "missing": "str",
    }
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in dtypes}
    columns["missing"] = [missing or None for missing in columns["missing"]]
    return pd.DataFrame(columns).astype(dtypes)


def estimate_frame(rows: Sequence[Estimate]) -> pd.DataFrame:
    """Make the frame of `Account.estimate`."""
    dtypes = {"table": "str", "requests": "Int64", "tokens": "Int64", "basis": "str"}
    return pd.DataFrame(
        {
            name: pd.Series([getattr(row, name) for row in rows], dtype=dtype)
            for name, dtype in dtypes.items()
        }
    )


def status_frame(store: Store) -> pd.DataFrame:
    """Make the frame of `Account.status`: the tables that are cached, or are damaged."""
    dtypes = {
        "rows": "Int64",
        "synced_at": "datetime64[us, UTC]",
        "full_at": "datetime64[us, UTC]",
        "bytes": "Int64",
        "tokens": "Int64",
    }
    manifests: dict[str, Manifest | None] = {}
    for name in TABLES:
        try:
            manifest = store.manifest(name)
        except NewerCacheError:
            raise
        except CacheError:
            manifests[name] = None
        else:
            manifests |= {name: manifest} if manifest else {}
    columns: dict[str, pd.Series[Any]] = {"table": pd.Series(list(manifests), dtype="str")}
    for name, dtype in dtypes.items():
        values = [getattr(manifest, name) if manifest else None for manifest in manifests.values()]
        columns[name] = pd.Series(values, dtype=dtype)
        if dtype.startswith("datetime"):
            columns[name] = columns[name].dt.floor("s")
    return pd.DataFrame(columns)


def cache_lines(store: Store) -> list[str]:
    """Return a line a cached table, with its rows and age; `NewerCacheError` as one line; what to
    do next where nothing is cached.
    """
    now = datetime.now(UTC)
    try:
        manifests = [_readable_manifest(store, name) for name in TABLES]
    except NewerCacheError as error:
        return [str(error)]
    lines = [f"{m.table}: {m.rows:,} rows, {_age(now - m.synced_at)} old" for m in manifests if m]
    return lines or list(FIRST_STEPS)


def account_text(name: str, tokens: int, lines: Sequence[str]) -> str:
    """Describe an account as text."""
    return "\n".join(
        [
            f"<pdframe account {name}, {tokens:,} API tokens spent today>",
            *(f"  {line}" for line in lines),
        ]
    )


def account_html(name: str, tokens: int, lines: Sequence[str]) -> str:
    """Describe an account as HTML."""
    heading = f"<b>{html.escape(name)}</b>, {tokens:,} API tokens spent today"
    if lines[:1] == [FIRST_STEPS[0]]:
        heading, lines = f"{heading}<br>{FIRST_STEPS[0]}", lines[1:]
    items = "".join(f"<li>{_with_code(html.escape(line))}</li>" for line in lines)
    columns = ' style="columns: 18em 3"' if len(lines) > _ONE_COLUMN_LINES else ""
    return f"{heading}<ul{columns}>{items}</ul>"


def _with_code(line: str) -> str:
    """Return a line of HTML whose calls (`account.deals()`) are set as code."""
    return re.sub(r"\baccount\.\w+\(\)", r"<code>\g<0></code>", line)


def _readable_manifest(store: Store, name: str) -> Manifest | None:
    """Return the manifest of a table; None if it is not cached or damaged."""
    try:
        return store.manifest(name)
    except NewerCacheError:
        raise
    except CacheError:
        return None


def _age(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


__all__ = [
    "FIRST_STEPS",
    "account_html",
    "account_text",
    "cache_lines",
    "estimate_frame",
    "status_frame",
    "sync_frame",
]
