"""What a table declaration is made of: columns, sources, and the names they reserve."""

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
        What its values are.
    meaning
        What it says, and what null means where null is possible.
    unit
        Unit or reference of the values, if they have one.
    path
        Where the value sits in a wire row, keys joined by dots; the name itself if not given.
    options
        Codes of the metadata field whose options label these ids, the likeliest first; empty:
        nothing to label.
    codes
        Further codes under which the field metadata speaks of this column.
    optional
        Whether the API sends it on request only.
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
    """One endpoint that a table is read from.

    Parameters
    ----------
    path
        Path below `/api/v2` or `/api/v1`.
    cost
        API tokens of one request.
    params
        Query parameters to send with every request, as pairs.
    paged
        Whether it pages by cursor.
    api
        "v2" or "v1".
    batch
        Parameter that takes ids and how many at a time, where the endpoint wants some; else None.
    changes
        Whether it takes `updated_since`.
    windows
        Whether it takes `updated_until` too, so that a long one can be walked from several places
        at once.
    deletions
        Whether `status=deleted` lists what was deleted in the last 30 days.
    each
        Parameter that takes one id, and the table whose rows are asked for one by one, where the
        endpoint wants that; else None.
    ids
        How many rows can be asked for at once by `ids`; 0: it does not take any.
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
    """The record that rows hang on, where the API gives them record by record (`{id}` in the
    source's path).

    Such a table is opt-in: no sync asks for it unless it is named.

    Parameters
    ----------
    table
        Table of the records.
    id
        Column that names the record; the API's rows need not have it.
    order
        Column by which the rows of one record are ordered, the oldest first; empty: the API's
        order.
    every
        Whether a loader without ids means every record.
    signs
        Columns of the record that move when its rows may have changed; empty: nothing tells, only
        age counts.
    history
        Whether rows tell of the past: then they stay when the record is gone.
    newest_first
        Whether the API gives the newest row first.
    by_field
        Whether a row of the API holds `old_values` and `new_values` by field, and becomes a row a
        field.
    """

    table: str
    id: str
    order: str = ""
    every: bool = False
    signs: tuple[str, ...] = ()
    history: bool = False
    newest_first: bool = False
    by_field: bool = False


@dataclass(frozen=True)
class NameColumn:
    """A column that `names=True` adds: `name` is `label` of the row in `table` whose key stands in
    `id`.
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
        As the loader is called.
    grain
        What one row is.
    sources
        Where rows come from; the table is their union.
    columns
        Standard columns in frame order.
    key
        Columns that identify a row, as far as the API tells rows apart; none of them is ever null.
    entity
        Kind of field metadata that describes its custom fields; None where it has none.
    incremental
        Whether a refresh may ask for changes alone.
    names
        What `names=True` adds.
    optional
        Names of columns that another argument of the loader adds; reserved in every frame of the
        table.
    parent
        The record that rows hang on, where the API gives them record by record; else None.
    """

    name: str
    grain: str
    sources: tuple[Source, ...]
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("id",)
    entity: str | None = None
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
    def field_list(self) -> str | None:
        """Name of the table that lists its fields, such as "deal_fields"."""
        return f"{self.entity}_fields" if self.entity else None

    @property
    def hangs_on(self) -> Parent:
        """The record that rows hang on; `TypeError` where the table is a list of its own."""
        if self.parent is None:
            raise TypeError(f"{self.name} is a list of its own.")
        return self.parent

    @cached_property
    def reserved(self) -> frozenset[str]:
        """Names that no custom column may take."""
        return frozenset(self.by_name) | {added.name for added in self.names} | {*self.optional}
