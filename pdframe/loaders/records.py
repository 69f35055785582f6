"""The steps of a loader of a table that the API returns record by record: check the ids, refresh
the rows of these records, read them, label the frame.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import pandas as pd
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.messages import UNANSWERED, suggest_cache
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError, CacheError, NotCachedError
from pdframe.loaders.base import (
    Columns,
    Connected,
    Refresh,
    check_columns,
    label_rows,
)
from pdframe.schema import TABLES, Table
from pdframe.sync.children import EVERY_AT, rows_of
from pdframe.sync.fetch_state import load_states
from pdframe.sync.keep_going import keep_up_to_date

__all__ = ["Ids", "cached_rows", "load_records"]

Ids: TypeAlias = "int | Iterable[Any]"
_MAX_SHOWN_IDS = 10


def load_records(
    account: Connected,
    name: str,
    ids: Ids | None,
    refresh: Refresh,
    labels: bool,
    names: bool | None,
    columns: Columns,
    *,
    only: Callable[[Store], list[int]] | None = None,
    keep_going: bool = False,
) -> pd.DataFrame:
    """Load the rows of some records, or of every record if `ids` is None.

    `only` returns the ids of the records to choose from, from the cached list of them, which is
    refreshed first; with `keep_going`, later syncs of all tables go on with the others.
    """
    with account._data_warnings.one_a_call(name, columns):
        table = TABLES[name]
        wanted = None if ids is None else _check_ids(ids, table)
        if wanted is None and not table.required_parent.every:
            raise ArgumentError(f"{name} needs ids: account.{name}([1, 2]).")
        names = account._names if names is None else names
        if keep_going:
            # Before the first request: the tokens may run out at any of them.
            with account._store.lock():
                keep_up_to_date(account._store, name, True)
        chosen = check_columns(account, table, refresh, labels, names, columns)
        syncer = account._syncer

        def choose() -> list[int]:
            assert only is not None
            chosen = only(account._store)
            return chosen if wanted is None else sorted(set(chosen).intersection(wanted))

        if only is not None:
            if refresh is None:
                syncer.refresh_if_stale(table.required_parent.table, max_age=account._max_age)
            elif refresh is not False:
                syncer.refresh(table.required_parent.table, full=refresh == "full")
            wanted = choose() if refresh is False else syncer.with_repair(choose)

        def read() -> pd.DataFrame:
            if refresh is False:
                _refuse_uncached(account, table, wanted)
            else:
                syncer.refresh_records(
                    name,
                    wanted,
                    refresh=refresh,
                    max_age=account._max_age,
                    listed=only is not None,
                )
            if wanted is not None:
                _warn_of_unknown(account, table, wanted)
            rows = rows_of(account._store, table, wanted)
            return label_rows(account, rows, table, refresh, labels, names, chosen)

        call = f"account.{name}({'' if ids is None else 'ids, '}refresh=False)"
        try:
            return read() if refresh is False else syncer.with_repair(read)
        except UNANSWERED as error:
            with contextlib.suppress(CacheError):
                # The cache may have some of these records alone.
                _refuse_uncached(account, table, wanted)
                suggest_cache(error, account._store, [name], call)
            raise


def cached_rows(
    account: Connected,
    name: str,
    ids: Ids | None,
    labels: bool,
    names: bool | None,
    columns: Columns,
) -> pd.DataFrame:
    """Return the rows of records that are cached, whichever these are."""
    cached: list[int] = load_states(account._store, name)["id"].to_pylist()
    wanted = (
        cached if ids is None else sorted({*cached}.intersection(_check_ids(ids, TABLES[name])))
    )
    return load_records(account, name, wanted, False, labels, names, columns)


def _refuse_uncached(account: Connected, table: Table, wanted: Sequence[int] | None) -> None:
    manifest, records = account._store.manifest(table.name), table.required_parent.table
    missing = ""
    if manifest is None:
        missing = f"Nothing of {table.name!r} is cached" if wanted != [] else ""
    elif wanted is None:
        if EVERY_AT not in manifest.state:
            missing = f"{table.name!r} is not cached for every one of the {records}"
    elif unknown := sorted(
        set(wanted).difference(load_states(account._store, table.name)["id"].to_pylist())
    ):
        missing = f"{table.name!r} is not cached for the {records} {_shown(unknown)}"
    if missing:
        call = f"account.{table.name}({'' if wanted is None else 'ids'})"
        raise NotCachedError(f"{missing}, and refresh=False sends no request. Call {call}.")


def _warn_of_unknown(account: Connected, table: Table, wanted: Sequence[int]) -> None:
    states = load_states(account._store, table.name)
    missing = set(states.filter(pc.invert(states["found"]))["id"].to_pylist())
    unknown = [record for record in wanted if record in missing]
    if unknown:
        parent = table.required_parent
        rest = (
            "Rows that were cached before are shown."
            if parent.history
            else "They have no rows here."
        )
        warn(
            f"{table.name}: the API does not know the {parent.table} {_shown(unknown)}; they are"
            f" deleted, never existed, or are not visible to this user. {rest}"
        )


def _check_ids(ids: Ids, table: Table) -> list[int]:
    """Return the ids as integers, each once, in order."""
    problem = f"ids must be integers: account.{table.name}([1, 2]), or a column of ids; not "
    if isinstance(ids, str | bytes | bool | pd.DataFrame):
        raise ArgumentError(
            f"{problem}{ids!r}." if not isinstance(ids, pd.DataFrame) else f"{problem}a frame."
        )
    try:
        values = list(ids) if isinstance(ids, Iterable) else [ids]
    except TypeError:
        raise ArgumentError(f"{problem}{ids!r}.") from None
    checked = []
    for value in values:
        if value is None or value is pd.NA or (isinstance(value, float) and value != value):
            continue
        try:
            number = (
                int(value)
                if isinstance(value, float) and value.is_integer()
                else operator.index(value)
            )
        except TypeError:
            number = 0
        if not 0 < number < 2**63 or isinstance(value, bool):
            raise ArgumentError(f"{problem}{value!r}.")
        checked.append(number)
    return sorted(set(checked))


def _shown(ids: Sequence[int]) -> str:
    first, more = ", ".join(map(str, ids[:_MAX_SHOWN_IDS])), len(ids) - _MAX_SHOWN_IDS
    return first if more <= 0 else f"{first} and {more:,} more"
