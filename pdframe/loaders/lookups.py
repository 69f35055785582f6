"""Names for ids (`names=`), from cached tables; short lists are refreshed first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pyarrow as pa

from pdframe._warnings import warn
from pdframe.errors import (
    AccessError,
    BlockedError,
    BudgetError,
    CacheError,
    DamagedError,
    RateLimitError,
    TransportError,
)
from pdframe.frames import Lookup
from pdframe.schema import TABLES, NameColumn, Table
from pdframe.sync import Syncer
from pdframe.sync.metadata import METADATA

# Long lists: loaded if they are not cached, else used at any age.
LARGE = frozenset({"persons", "organizations"})


def name_columns(table: Table, names: bool | None) -> list[NameColumn]:
    """Return the name columns of a table: True: all; None: those whose lists are small; False:
    none.
    """
    if names is False:
        return []
    return [column for column in table.names if names or column.table not in LARGE]


def lookups(
    syncer: Syncer,
    wanted: Iterable[NameColumn],
    *,
    cache_alone: bool,
    max_age: timedelta | None,
    refresh_now: bool = False,
    by_default: bool = False,
) -> dict[NameColumn, Lookup]:
    """Return the lookup of each name column.

    Parameters
    ----------
    syncer
        Refreshes the tables that hold the names.
    wanted
        The name columns.
    cache_alone
        Whether to send no request.
    max_age
        Maximum age of a cached table that is not a long list.
    refresh_now
        Whether to read lists of metadata at any age: a rename shows at once.
    by_default
        Whether these names were not requested: products and projects are refreshed like metadata,
        and a list may be older where it cannot be refreshed. A list that the API withholds is said
        once an account; one that is not cached with `cache_alone` is not.

    Returns
    -------
    dict
        Keys and names of each column's table; none if the table is unavailable.

    Warns
    -----
    DataWarning
        The names of a table are null: the API withholds it, or it is not cached and `cache_alone`.
    """
    columns = list(wanted)
    missing: dict[str, str] = {}
    withheld: set[str] = set()
    for name in dict.fromkeys(column.table for column in columns):
        if not cache_alone:
            try:
                if refresh_now and name in METADATA:
                    syncer.refresh(name, full=False)
                else:
                    age = syncer.metadata_age if by_default else max_age
                    syncer.refresh_if_stale(name, max_age=None if name in LARGE else age)
            except AccessError as error:
                if error.status == 401:
                    raise
                missing[name] = str(error.args[0])
                withheld.add(name)
            except (BlockedError, BudgetError, RateLimitError, TransportError):
                # Names that were not requested may be older, so that the table itself is shown.
                if not by_default or syncer.store.manifest(name) is None:
                    raise
            except CacheError as error:
                # A damaged table is reloaded; a cache that is read-only has no names to add.
                if not by_default or isinstance(error, DamagedError):
                    raise
        if not _is_cached(syncer, name, forgiving=by_default and cache_alone):
            missing.setdefault(
                name,
                "it is not cached, and refresh=False sends no request. Call"
                f" account.sync({name!r}).",
            )
        else:
            missing.pop(name, None)
    for name, why in missing.items():
        if by_default:
            if name in withheld:
                # The same words for every table with such names, so that they are said once.
                warn(
                    f"Names from table {name!r}, such as {_usual_name(name)}, are null because it"
                    f" is unavailable: {why}",
                    once=True,
                )
            continue
        affected = [column.name for column in columns if column.table == name]
        verb = "is" if len(affected) == 1 else "are"
        warn(
            f"{', '.join(affected)} {verb} null because table {name!r} is unavailable: {why}",
            once=True,
        )
    result = {}
    for column in columns:
        try:
            result[column] = _lookup(syncer, column, column.table in missing)
        except DamagedError:
            if not (by_default and cache_alone):
                raise
            result[column] = empty_lookup(column)
    return result


def _is_cached(syncer: Syncer, name: str, *, forgiving: bool) -> bool:
    """Tell whether a table is cached; `forgiving`: a damaged one is not."""
    try:
        return syncer.store.manifest(name) is not None
    except DamagedError:
        if not forgiving:
            raise
        return False


def _usual_name(table: str) -> str:
    """Return the column of names from this table that most tables have."""
    names = Counter(
        column.name for each in TABLES.values() for column in each.names if column.table == table
    )
    return names.most_common(1)[0][0]


def empty_lookup(column: NameColumn) -> Lookup:
    """Return the lookup of a column whose table has no rows."""
    table = TABLES[column.table]
    return pa.array([], table.by_name[table.key[0]].type.storage), pa.array([], pa.string())


def _lookup(syncer: Syncer, column: NameColumn, missing: bool) -> Lookup:
    if missing:
        return empty_lookup(column)
    key = TABLES[column.table].key[0]
    rows = syncer.store.read(column.table, [key, column.label])
    return rows[key].combine_chunks(), rows[column.label].combine_chunks()


__all__ = ["LARGE", "empty_lookup", "lookups", "name_columns"]
