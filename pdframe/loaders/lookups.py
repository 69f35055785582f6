"""Names for ids (`names=True`): from what is cached, brought up to date where that is cheap."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pyarrow as pa

from pdframe._warnings import warn
from pdframe.errors import AccessError
from pdframe.frames import Lookup
from pdframe.schema import TABLES, NameColumn
from pdframe.sync import Syncer

# Long lists: loaded where they are not cached at all, else taken at any age.
LARGE = frozenset({"persons", "organizations"})


def lookups(
    syncer: Syncer, wanted: Iterable[NameColumn], *, cache_alone: bool, max_age: timedelta | None
) -> dict[NameColumn, Lookup]:
    """Find the names that columns need.

    Parameters
    ----------
    syncer
        Who brings their tables up to date.
    wanted
        The columns.
    cache_alone
        Whether nothing may be asked of the API.
    max_age
        How old a cached table may be, unless it is a long list.

    Returns
    -------
    dict
        The keys and the names of each column's table; none where the table is not to be had.

    Warns
    -----
    DataWarning
        A table that is not cached and may not be asked for, or that the API withholds: its names
        are null.
    """
    columns = list(wanted)
    missing: dict[str, str] = {}
    for name in dict.fromkeys(column.table for column in columns):
        if not cache_alone:
            try:
                syncer.refresh_if_stale(name, max_age=None if name in LARGE else max_age)
            except AccessError as error:
                if error.status == 401:
                    raise
                missing[name] = str(error.args[0])
        if syncer.store.manifest(name) is None:
            missing.setdefault(
                name,
                "it is not cached, and refresh=False asks nothing of the API. Call"
                f" account.sync({name!r}).",
            )
        else:
            missing.pop(name, None)
    for name, why in missing.items():
        reported = ", ".join(column.name for column in columns if column.table == name)
        warn(f"{reported}: names are null, for {name!r} is not to be had: {why}")
    return {column: _lookup(syncer, column, column.table in missing) for column in columns}


def no_names(column: NameColumn) -> Lookup:
    """The lookup of a column whose table has no rows."""
    table = TABLES[column.table]
    return pa.array([], table.by_name[table.key[0]].type.storage), pa.array([], pa.string())


def _lookup(syncer: Syncer, column: NameColumn, missing: bool) -> Lookup:
    if missing:
        return no_names(column)
    key = TABLES[column.table].key[0]
    rows = syncer.store.read(column.table, [key, column.label])
    return rows[key].combine_chunks(), rows[column.label].combine_chunks()
