"""What an account has in its cache: bring it up to date, estimate the cost of that, and describe it
as frames and texts.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from pdframe._relative_times import age_text
from pdframe.cache.store import Manifest, Store
from pdframe.errors import ArgumentError, CacheError, NewerCacheError
from pdframe.loaders import Connected
from pdframe.schema import LISTS, TABLES, table_named
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


def sync(self: Connected, *tables: str, full: bool = False) -> pd.DataFrame:
    """Bring tables up to date now, with the tables that they depend on; none given: all that
    do not cost a request a record.

    Without names, two kinds of lists are read only if they are old. Lists that describe rows
    (field lists, users, stages, pipelines, boards, phases, project templates) are read again
    after `metadata_age`, and at once if a row that changed holds an id or a hash that they
    lack. The lists of deleted deals are read again after `deletions_age`: a deletion that moved
    `update_time` is found at once, any other by then. With names, or with `full`, everything is
    read.

    Parameters
    ----------
    *tables
        Names of tables. Those that cost a request a record (`deal_changes`, `discounts`, the
        followers ...) must be named: then every record that may have changed is requested; of
        followers, the records that were loaded before.
    full
        Reload the tables instead of fetching changes: this finds every deletion. The tables
        that determine the requests are reloaded too: for line items the deals, for
        installments both.

    Returns
    -------
    DataFrame
        One row a table: table, mode ("full", "incremental", "skipped", "unavailable"), rows
        (null if nothing is cached), added, changed, removed (rows), requests, tokens, seconds,
        note, missing (what the account lacks for an unavailable table: "plan", "scope",
        "permission"; null: nothing).

    Raises
    ------
    ArgumentError
        A table does not exist, or `full` is neither True nor False.
    PdframeError
        The API did not answer. Finished tables are kept, and `error.kept` names them.

    Examples
    --------
    >>> rows = account.sync("stages", "pipelines")
    >>> rows[["table", "mode", "rows", "tokens"]]
           table  mode  rows  tokens
    0     stages  full    12       5
    1  pipelines  full     3       5
    """
    _check_tables(tables, full)
    with self._data_warnings.one_a_call():
        done = self._syncer.sync(
            tables or LISTS, full=full, named=bool(tables), max_age=self._max_age
        )
    return _sync_frame(done)


def estimate(self: Connected, *tables: str, full: bool = False) -> pd.DataFrame:
    """Estimate the cost of `sync` with the same arguments from the cache, without a request.

    Parameters
    ----------
    *tables, full
        As in `sync`.

    Returns
    -------
    DataFrame
        One row a table: table, requests, tokens (null if the cache does not show them), basis
        (the basis of the figures). "at least" in it means that further pages cost more: the
        number of changes, and the size of a table that was never loaded, are unknown before the
        sync.

    Raises
    ------
    ArgumentError
        A table does not exist.

    Examples
    --------
    >>> account.estimate("stages", "pipelines")[["table", "requests", "tokens"]]
           table  requests  tokens
    0     stages         1       5
    1  pipelines         1       5
    """
    _check_tables(tables, full)
    priced = self._syncer.estimate(
        tables or LISTS, full=full, named=bool(tables), max_age=self._max_age
    )
    return _estimate_frame(priced)


def status(self: Connected) -> pd.DataFrame:
    """List the cached tables with age and size, without a request once the account is known.

    Returns
    -------
    DataFrame
        One row a table that is cached: table, rows, synced_at, full_at (UTC, to the second),
        bytes, tokens (of the last sync); null if the table is damaged: its next load reloads
        it. `full_at` is the time of the last full load: rows deleted since then may remain if
        the API does not list their deletion.

    Examples
    --------
    >>> account.status()[["table", "rows"]].head(3)
               table  rows
    0          deals   194
    1  deal_products   238
    2   installments    14
    """
    return _status_frame(self._store)


def _check_tables(tables: tuple[str, ...], full: bool) -> None:
    """Raise `ArgumentError` for wrong arguments of `sync` and `estimate`."""
    for name in tables:
        table_named(name)
    if not isinstance(full, bool):
        raise ArgumentError(f"full must be True or False, not {full!r}.")


def _sync_frame(rows: Sequence[SyncRow]) -> pd.DataFrame:
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


def _estimate_frame(rows: Sequence[Estimate]) -> pd.DataFrame:
    """Make the frame of `Account.estimate`."""
    dtypes = {"table": "str", "requests": "Int64", "tokens": "Int64", "basis": "str"}
    return pd.DataFrame(
        {
            name: pd.Series([getattr(row, name) for row in rows], dtype=dtype)
            for name, dtype in dtypes.items()
        }
    )


def _status_frame(store: Store) -> pd.DataFrame:
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
    lines = [
        f"{m.table}: {m.rows:,} rows, {age_text(now - m.synced_at)} old" for m in manifests if m
    ]
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


__all__ = [
    "FIRST_STEPS",
    "account_html",
    "account_text",
    "cache_lines",
    "estimate",
    "status",
    "sync",
]
