"""The shapes of a set of tables for BI tools: what a layout yields, and every writer takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ColumnNote:
    """What one column of a table means: one row of `meta_columns`.

    Parameters
    ----------
    column_name, type
        The column, and its type in the file.
    label, code
        The label of the field in Pipedrive, and its hash or API name; None: not a field.
    meaning, unit
        One sentence, and the unit of a number.
    null_means
        What a null cell says; None: the column has no nulls.
    references
        The key that the column points to, such as "dim_owner.owner_key".
    """

    column_name: str
    type: str
    label: str | None = None
    code: str | None = None
    meaning: str | None = None
    unit: str | None = None
    null_means: str | None = None
    references: str | None = None


@dataclass(frozen=True, slots=True)
class BiTable:
    """One table of a set: plain Arrow columns with their final names, and a note on each.

    Parameters
    ----------
    name, table, columns
        The table.
    note
        Why rows or names are lacking: a list that it is made of is unavailable. Empty: none is.
    missing
        What the account lacks for it: "plan", "scope", "permission"; None: unknown, or nothing.
    """

    name: str
    table: pa.Table
    columns: tuple[ColumnNote, ...]
    note: str = ""
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Relationship:
    """A column of one table that points to the key of another: one row of `meta_relationships`."""

    from_table: str
    from_column: str
    to_table: str
    to_column: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class BiSet:
    """What a layout yields: tables, how they relate, and notes such as why a table is empty.

    `tables` may be an iterator: each table is then computed when it is written, and released.
    Relationships and notes are complete once the last table was taken: read them after it.
    """

    tables: Iterator[BiTable] | Sequence[BiTable]
    relationships: Sequence[Relationship] = ()
    notes: Sequence[str] = ()


__all__ = ["BiSet", "BiTable", "ColumnNote", "Relationship"]
