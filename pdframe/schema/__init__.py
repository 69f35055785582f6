"""Every table, declared once: loaders, dtypes, empty frames, docs and export use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

import pandas as pd

from pdframe._advice import did_you_mean
from pdframe.errors import ArgumentError
from pdframe.schema.activities import WORK_TABLES
from pdframe.schema.catalog import CATALOG_TABLES
from pdframe.schema.changelogs import CHANGE_TABLES
from pdframe.schema.contacts import PEOPLE_TABLES
from pdframe.schema.deals import DEAL_TABLES
from pdframe.schema.field_lists import FIELD_TABLES
from pdframe.schema.table import Column, NameColumn, Parent, Source, Table
from pdframe.schema.types import Type

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            *DEAL_TABLES,
            *PEOPLE_TABLES,
            *CATALOG_TABLES,
            *WORK_TABLES,
            *CHANGE_TABLES,
            *FIELD_TABLES,
        )
    }
)
LISTS = tuple(name for name, table in TABLES.items() if table.parent is None)
"""The tables that a sync of everything covers: those that do not cost a request a record."""


def table_named(name: str) -> Table:
    """Return the table of this name.

    Raises
    ------
    ArgumentError
        There is none; the message suggests similar names.
    """
    if not isinstance(name, str):
        raise ArgumentError(
            f"A table name must be text such as 'deals', not {type(name).__name__}. Pass each name"
            " as an argument of its own: account.sync('deals', 'stages')."
        )
    if name in TABLES:
        return TABLES[name]
    hint = did_you_mean(name, TABLES) or tables_in_short(TABLES)
    raise ArgumentError(f"There is no table {name!r}. {hint}")


def tables_in_short(names: Iterable[str]) -> str:
    """Return a sentence with the tables among these names: lists by name, those of single records
    and lists of fields by an example.
    """
    known = list(names)
    fields = [table.name for table in FIELD_TABLES if table.name in known]
    single = [name for name in known if name in TABLES and TABLES[name].parent is not None]
    lists = [name for name in known if name not in fields and name not in single]
    parts = [", ".join(lists)]
    parts += [f"{len(single)} of single records such as {min(single)}"] if single else []
    parts += [f"{len(fields)} lists of fields such as {fields[0]}"] if fields else []
    return f"Tables: {'; '.join(parts)}."


def table_with_fields(name: str) -> Table:
    """Return the table of this name, which has field metadata.

    Raises
    ------
    ArgumentError
        There is none; the message names the nearest table that has.
    """
    with_fields = [table for table, declared in TABLES.items() if declared.field_list]
    if isinstance(name, str) and name not in TABLES:
        # The label of a field, such as "Deal type", often begins with the name of its table.
        written = name.strip().casefold().replace(" ", "_")
        close = get_close_matches(written, with_fields, n=1, cutoff=0.55)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ArgumentError(
            f"There is no table {name!r}. {hint}Tables that have fields: {', '.join(with_fields)}."
        )
    table = table_named(name)
    if table.field_list is None:
        raise ArgumentError(
            f"{name!r} has no field metadata. Tables that have: {', '.join(with_fields)}."
        )
    return table


def describe(table: Table) -> pd.DataFrame:
    """Describe the standard columns of a table, one row per column in frame order.

    Returns
    -------
    DataFrame
        column; dtype in a labelled frame; unit (null: none); meaning, with the meaning of null;
        source: the path of the value in a row of the API; optional: whether the API sends it only
        on request.
    """
    columns = table.columns
    return pd.DataFrame(
        {
            "column": pd.Series([column.name for column in columns], dtype="str"),
            "dtype": pd.Series(
                [str(column.type.dtype(labelled=bool(column.options))) for column in columns],
                dtype="str",
            ),
            "unit": pd.Series([column.unit for column in columns], dtype="str"),
            "meaning": pd.Series([column.meaning for column in columns], dtype="str"),
            "source": pd.Series([column.path for column in columns], dtype="str"),
            "optional": pd.Series([column.optional for column in columns], dtype="boolean"),
        }
    )


__all__ = [
    "LISTS",
    "TABLES",
    "Column",
    "NameColumn",
    "Parent",
    "Source",
    "Table",
    "Type",
    "describe",
    "table_named",
    "table_with_fields",
    "tables_in_short",
]
