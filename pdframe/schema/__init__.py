"""Every table, declared once: loaders, dtypes, empty frames, docs and export follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

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
"""The tables that a sync of everything covers: all but those that cost a request a record."""


def describe(table: Table) -> pd.DataFrame:
    """Describe the standard columns of a table, one row per column in frame order.

    Returns
    -------
    DataFrame
        column; dtype in a labelled frame; unit (null: none); meaning, with what null means; source:
        where the value stands in a row of the API; optional: whether the API sends it on request
        only.
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
]
