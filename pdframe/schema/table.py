"""The parts of a table declaration: columns, sources, parent and name columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from pdframe.schema.types import Type


@dataclass(frozen=True)
class Column:
    """One declared column.

    Parameters
    ----------
    name
        Its name in cache and frame.
    type
        Type of its values.
    meaning
        Meaning of its values, and of null where null is possible.
    unit
        Unit or reference of the values, if they have one.
    path
        Keys of the value in a row of the API, joined by dots; default: the name.
    options
        Codes of the field whose options label these ids, the most likely first; empty: no labels.
    codes
        Further codes of this column in the field metadata.
    optional
        Whether the API sends it only on request.
    """

    name: str
    type: Type
    meaning: str
    unit: str | None = None
    path: str = ""
    options: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    optional: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path or self.name)


@dataclass(frozen=True)
class Source:
    """One endpoint of a table.

    Parameters
    ----------
    path
        Path below `/api/v2` or `/api/v1`.
    cost
        API tokens of one request.
    params
        Query parameters of every request, as pairs.
    paged
        Whether it has pages with a cursor.
    api
        "v2" or "v1".
    batch
        Parameter of ids and how many it takes, if the endpoint needs ids; else None.
    changes
        Whether it accepts `updated_since`.
    windows
        Whether it also accepts `updated_until`, so that several ranges of a long list can be read
        at once.
    deletions
        Whether `status=deleted` lists the rows deleted in the last 30 days.
    each
        Parameter of one id and the table of those ids, if the endpoint needs one request an id;
        else None.
    ids
        How many rows one request can select by `ids`; 0: none.
    """

    path: str
    cost: int
    params: tuple[tuple[str, str], ...] = ()
    paged: bool = True
    api: str = "v2"
    batch: tuple[str, int] | None = None
    changes: bool = False
    windows: bool = False
    deletions: bool = False
    each: tuple[str, str] | None = None
    ids: int = 0


@dataclass(frozen=True)
class Parent:
    """The record to which rows belong, if the API returns rows record by record (`{id}` in the path
    of the source).

    Such a table is opt-in: a sync loads it only by name.

    Parameters
    ----------
    table
        Table of the records.
    id
        Column with the id of the record; the API's rows may lack it.
    order
        Column that orders the rows of one record, the oldest first; empty: the API's order.
    every
        Whether a loader without ids means every record.
    fingerprint_columns
        Columns of the record that change when its rows may have changed; empty: only age counts.
    history
        Whether rows describe the past: then they are kept when the record is deleted.
    newest_first
        Whether the API returns the newest row first.
    by_field
        Whether a row of the API has `old_values` and `new_values` by field, and becomes a row a
        field.
    """

    table: str
    id: str
    order: str = ""
    every: bool = False
    fingerprint_columns: tuple[str, ...] = ()
    history: bool = False
    newest_first: bool = False
    by_field: bool = False


@dataclass(frozen=True)
class NameColumn:
    """A column of names that a loader adds: `name` is `label` of the row of `table` whose key is
    the value of `id`.
    """

    name: str
    id: str
    table: str
    label: str = "name"


@dataclass(frozen=True)
class Table:
    """One table.

    Parameters
    ----------
    name
        Name of the table and of its loader.
    grain
        Meaning of one row.
    sources
        The endpoints; the table is their union.
    columns
        Standard columns in frame order.
    key
        Columns that identify a row, if the API has an identity for rows; never null.
    field_list
        The table that lists its fields, such as "deal_fields"; None if it has no custom fields.
    incremental
        Whether a refresh may fetch only the changes.
    names
        The columns of names that a loader adds (`names=`).
    optional
        Names of columns that another argument of the loader adds; reserved in every frame of the
        table.
    parent
        The record to which rows belong, if the API returns rows record by record; else None.
    """

    name: str
    grain: str
    sources: tuple[Source, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    field_list: str | None = None
    incremental: bool = False
    names: tuple[NameColumn, ...] = ()
    optional: tuple[str, ...] = ()
    parent: Parent | None = None
    by_name: Mapping[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "by_name", MappingProxyType({column.name: column for column in self.columns})
        )

    @property
    def required_parent(self) -> Parent:
        """The record to which rows belong; `TypeError` if the table is a list."""
        if self.parent is None:
            raise TypeError(f"{self.name} is a list: its rows belong to no record.")
        return self.parent

    @cached_property
    def is_staged(self) -> bool:
        """Whether the pages of a load are saved as they arrive, so that the next one resumes."""
        return self.incremental or self.parent is not None or self.sources[0].batch is not None

    @cached_property
    def reserved(self) -> frozenset[str]:
        """Names that no custom column may take."""
        return frozenset(self.by_name) | {added.name for added in self.names} | {*self.optional}


__all__ = [
    "Column",
    "NameColumn",
    "Parent",
    "Source",
    "Table",
]
