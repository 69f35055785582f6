"""Names for ids (`names=True`), from cached tables; short lists are refreshed first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pyarrow as pa

from pdframe._warnings import warn
from pdframe.errors import AccessError
from pdframe.frames import Lookup
from pdframe.schema import TABLES, NameColumn
from pdframe.sync import Syncer
from pdframe.sync.metadata import METADATA

# Long lists: loaded if they are not cached, else used at any age.
LARGE = frozenset({"persons", "organizations"})


def lookups(
    syncer: Syncer,
    wanted: Iterable[NameColumn],
    *,
    cache_alone: bool,
    max_age: timedelta | None,
    refresh_now: bool = False,
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
    for name in dict.fromkeys(column.table for column in columns):
        if not cache_alone:
            try:
                if refresh_now and name in METADATA:
                    syncer.refresh(name, full=False)
                else:
                    syncer.refresh_if_stale(name, max_age=None if name in LARGE else max_age)
            except AccessError as error:
                if error.status == 401:
                    raise
                missing[name] = str(error.args[0])
        if syncer.store.manifest(name) is None:
            missing.setdefault(
                name,
                "it is not cached, and refresh=False sends no request. Call"
                f" account.sync({name!r}).",
            )
        else:
            missing.pop(name, None)
    for name, why in missing.items():
        affected = [column.name for column in columns if column.table == name]
        verb = "is" if len(affected) == 1 else "are"
        warn(
            f"{', '.join(affected)} {verb} null because table {name!r} is unavailable: {why}",
            once=True,
        )
    return {column: _lookup(syncer, column, column.table in missing) for column in columns}


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


__all__ = ["LARGE", "empty_lookup", "lookups"]
