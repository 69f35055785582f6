"""Turn Arrow tables into labelled DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._advice import did_you_mean
from pdframe._warnings import OUTSIDE, UNDEFINED, Fact, warn
from pdframe.errors import ArgumentError
from pdframe.fields import (
    Field,
    custom_fields,
    fold,
    name_columns,
    option_id,
    option_labels,
    optioned_fields,
    undefined_label,
)
from pdframe.frames.arrow import storage_schema, unify
from pdframe.frames.convert import shorten
from pdframe.schema import NameColumn, Table

_DTYPES: Mapping[pa.DataType, object] = MappingProxyType(
    {
        **dict.fromkeys((pa.string(), pa.large_string()), pd.StringDtype(na_value=float("nan"))),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.timestamp("us", "UTC"): pd.DatetimeTZDtype("us", "UTC"),
    }
)


class Rows(Protocol):
    """Rows whose columns `to_frame` takes once each, in the order of the schema: an Arrow table, or
    one that reads a column when it is taken.
    """

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return a column."""


Lookup = tuple[pa.Array, pa.Array]
"""Keys of another table's rows, and their names."""
MAX_LISTED = 10
"""Undefined options that a message lists."""
MAX_BLOCKS = 50
"""Blocks of number and time columns in a frame; pandas warns from 100 on."""


def to_frame(
    arrow: Rows,
    table: Table,
    fields: Iterable[Field] = (),
    *,
    labels: bool = True,
    columns: Sequence[str] | None = None,
    names: Mapping[NameColumn, Lookup] = MappingProxyType({}),
) -> pd.DataFrame:
    """Make the frame of a table.

    Parameters
    ----------
    arrow
        Rows as `to_arrow` or `unify` give them; columns that are missing are null.
    table
        Their table.
    fields
        Its field definitions, standard ones included.
    labels
        Whether custom columns and options show labels; else hashes and ids.
    columns
        Columns to return, in this order: standard names, labels or hashes.
    names
        Name columns to add, each with the keys and names of the other table.

    Returns
    -------
    DataFrame
        One row per row of `arrow`, in `id` order where the table has ids; standard columns, name
        columns, custom ones in metadata order, then those that nothing declares. Every declared
        column is there with its dtype, whatever values the rows have.

    Raises
    ------
    ArgumentError
        A name in `columns` that the table does not have, that several columns share, or that is
        there twice.

    Warns
    -----
    DataWarning
        Options that the metadata does not define (any more), and values outside a closed
        vocabulary, by column.
    """
    known = tuple(fields)
    declared = storage_schema(table, known)
    if [(column.name, str(column.type)) for column in arrow.schema][: len(declared)] != [
        (column.name, str(column.type)) for column in declared
    ]:
        arrow, problems = unify([_full(arrow)], table, known)
        problems.warn(table.name, name_columns(known, table.reserved, problems.cells))
    if table.key == ("id",) and not is_sorted(arrow["id"]):
        arrow = _full(arrow).sort_by("id")
    added = {column.name: column for column in names}
    named = _names(arrow, table, known, added, labels=True)
    shown = (
        named
        if columns is None
        else {storage: named[storage] for storage in _choose(columns, named, known, labels=labels)}
    )
    if not labels:
        unlabelled = _names(arrow, table, known, added, labels=False)
        shown = {storage: unlabelled[storage] for storage in shown}
    optioned: dict[str, dict[int | str, str]] = {}
    if labels:
        optioned = {column.name: {} for column in table.columns if column.options} | {
            column: option_labels(field) for column, field in optioned_fields(known, table).items()
        }
    nulls: dict[pa.DataType, pd.Series] = {}
    data: dict[str, Any] = {}
    for storage, name in shown.items():
        if storage in added:
            keys, words = names[added[storage]]
            places = pc.index_in(arrow[added[storage].id], value_set=keys).combine_chunks()
            data[name] = _plain(pa.chunked_array([words.take(places)]), nulls)
            continue
        values = arrow[storage]
        declaration = table.by_name.get(storage)
        if storage in optioned:
            options = optioned[storage]
            label = (
                _list_labels
                if pa.types.is_list(values.type)
                else _words
                if pa.types.is_string(values.type)
                else _categories
            )
            cells = label(values, options, _Unknown(table.name, name, storage, UNDEFINED))
        elif declaration is not None and declaration.type.vocabulary:
            vocabulary = {value: value for value in declaration.type.vocabulary}
            cells = _categories(values, vocabulary, _Unknown(table.name, name, storage, OUTSIDE))
        else:
            cells = _plain(values, nulls)
        data[name] = cells
    # Many columns of numbers and times are copied into one block: pandas warns a user who adds a
    # column to a frame of many blocks.
    blocks = sum(
        not isinstance(getattr(cells, "dtype", None), pd.api.extensions.ExtensionDtype)
        for cells in data.values()
    )
    index, names_shown = pd.RangeIndex(arrow.num_rows), pd.Index(list(data), dtype="str")
    return pd.DataFrame(data, index=index, columns=names_shown, copy=blocks > MAX_BLOCKS)


def empty_frame(
    table: Table,
    fields: Iterable[Field] = (),
    *,
    labels: bool = True,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the frame of a table without rows: every column with its dtype."""
    known = tuple(fields)
    return to_frame(
        storage_schema(table, known).empty_table(), table, known, labels=labels, columns=columns
    )


def _full(rows: Rows) -> pa.Table:
    return (
        rows
        if isinstance(rows, pa.Table)
        else pa.Table.from_arrays([rows[name] for name in rows.schema.names], schema=rows.schema)
    )


def is_sorted(ids: pa.ChunkedArray) -> bool:
    """Tell whether ids ascend."""
    return len(ids) < 2 or bool(
        pc.all(pc.less_equal(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py()
    )


def _names(
    rows: Rows, table: Table, fields: Sequence[Field], added: Iterable[str], *, labels: bool
) -> dict[str, str]:
    """Return the name in a frame for each storage column, in frame order; columns that nothing
    declares are last.
    """
    stored = rows.schema.names
    if labels:
        custom = name_columns(fields, table.reserved, stored)
    else:
        custom = _by_stored_name(
            (column for field in custom_fields(fields, table.reserved) for column in field.columns),
            table,
        )
    names = {column.name: column.name for column in table.columns} | {name: name for name in added}
    undeclared = [column for column in stored if column not in names and column not in custom]
    rest = _by_stored_name(undeclared, table, custom.values()) if undeclared else {}
    return names | {
        column: custom.get(column) or rest[column] for column in stored if column not in names
    }


def _by_stored_name(
    columns: Iterable[str], table: Table, taken: Iterable[str] = ()
) -> dict[str, str]:
    """Name columns by their storage name; a name that another column has (`fold`) gets
    "(unknown)".
    """
    names: dict[str, str] = {}
    used = {*map(fold, taken), *map(fold, table.reserved)}
    for column in sorted(columns):
        name = column
        while fold(name) in used:
            name = f"{name} (unknown)"
        names[column] = name
        used.add(fold(name))
    return names


def _choose(
    columns: Sequence[str], names: Mapping[str, str], fields: Sequence[Field], *, labels: bool
) -> list[str]:
    """Return the storage columns of the requested names, in their order."""
    if isinstance(columns, str) or not all(isinstance(requested, str) for requested in columns):
        raise ArgumentError(
            f"`columns` takes a list of column names, such as ['id', 'title'], not {columns!r}."
        )
    by_label = {name: storage for storage, name in names.items()}
    by_storage = {storage: storage for storage in names}
    find = by_storage | by_label if labels else by_label | by_storage
    chosen: dict[str, str] = {}
    for requested in columns:
        storage = find.get(requested)
        if storage is None:
            raise ArgumentError(
                f"There is no column {requested!r}. {_advice(requested, names, fields)}"
            )
        if storage in chosen:
            raise ArgumentError(
                f"`columns` names one column twice: as {chosen[storage]!r} and as {requested!r}."
            )
        chosen[storage] = requested
    return list(chosen)


def _advice(requested: str, names: Mapping[str, str], fields: Sequence[Field]) -> str:
    """Return a hint at the column that was probably meant: all that share the label, else similar
    names.
    """
    wanted = requested.strip()
    sharing = [
        names[storage]
        for field in fields
        if field.is_custom
        for storage, part in field.columns.items()
        if storage in names
        and wanted in (field.label if storage == field.code else part.name, names[storage])
    ]
    if sharing:
        return f"Columns of that label: {', '.join(map(repr, sharing))}."
    return did_you_mean(wanted, [*names.values(), *names]) or "`fields()` lists the custom ones."


def _defined(
    values: pa.Array | pa.ChunkedArray,
    options: Mapping[Any, str],
    unknown: _Unknown,
) -> tuple[pa.Array, list[str]]:
    """Return ids and their labels, with the undefined ones at the end; a warning names these."""
    integers = pa.types.is_integer(values.type)
    labels = {
        number: label for number, label in options.items() if isinstance(number, int) == integers
    }
    rest = [label for number, label in options.items() if number not in labels]
    missing = sorted(set(pc.unique(values).to_pylist()) - {None, *labels})
    added = {
        number: undefined_label(number, options.values()) if unknown.kind == UNDEFINED else number
        for number in missing
    }
    if missing:
        unknown.warn(list(added.values()), values, missing)
    if not rest:
        return pa.array([*labels, *missing], values.type), [*labels.values(), *added.values()]
    # Ids of the other type cannot occur in the column, but their labels are categories, in option
    # order.
    ids = [number if number in labels else None for number in options]
    return pa.array([*ids, *missing], values.type), [*options.values(), *added.values()]


def _categories(
    values: pa.ChunkedArray, options: Mapping[Any, str], unknown: _Unknown
) -> pd.Categorical:
    ids, labels = _defined(values, options, unknown)
    codes = pc.fill_null(pc.index_in(values, value_set=ids, skip_nulls=True), -1)
    return pd.Categorical.from_codes(codes.to_numpy(), categories=pd.Index(labels, dtype="str"))


def _words(
    values: pa.ChunkedArray, options: Mapping[Any, str], unknown: _Unknown
) -> pd.Categorical:
    """Return the labels of a text column, whose cells may have the text of an option's id, or its
    label.
    """
    known = frozenset(options.values())
    distinct = sorted(set(pc.unique(values).to_pylist()) - {None})
    by_id = {
        value: options[number] for value in distinct if (number := option_id(value)) in options
    }
    missing = {
        value: undefined_label(value, known)
        for value in distinct
        if value.isdigit() and value not in known and value not in by_id
    }
    words = {value: value for value in distinct} | by_id | missing
    if missing:
        unknown.warn(list(missing.values()), values, list(missing))
    categories = [*dict.fromkeys([*options.values(), *(words[value] for value in distinct)])]
    places = {word: place for place, word in enumerate(categories)}
    codes = [-1 if value is None else places[words[value]] for value in values.to_pylist()]
    return pd.Categorical.from_codes(codes, categories=pd.Index(categories, dtype="str"))


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Where values are that nothing defines, and of which kind of fact that is."""

    table: str
    column: str
    code: str
    kind: str

    def warn(
        self,
        words: Sequence[object],
        cells: pa.Array | pa.ChunkedArray,
        values: Sequence[object],
    ) -> None:
        """Warn of some values in the cells of a column, which `words` name."""
        what, shown = "options that are not defined (any more)", [*map(str, words)]
        if self.kind == OUTSIDE:
            what, shown = "values outside its vocabulary", [*map(shorten, words)]
        holding = pc.is_in(cells, value_set=pa.array(values, cells.type))
        count = int(pc.sum(holding).as_py() or 0)
        listed = ", ".join(shown[:MAX_LISTED]) + (
            f" and {len(shown) - MAX_LISTED} more" if len(shown) > MAX_LISTED else ""
        )
        warn(
            f"{self.table}, column {self.column!r} holds {what}: {listed}.",
            fact=Fact(self.table, self.column, self.kind, count, shown[0], self.code),
        )


def _list_labels(
    values: pa.ChunkedArray, options: Mapping[Any, str], unknown: _Unknown
) -> pd.api.extensions.ExtensionArray:
    flat = pc.list_flatten(values)
    ids, labels = _defined(flat, options, unknown)
    flat = flat.combine_chunks() if isinstance(flat, pa.ChunkedArray) else flat
    words = pa.array(labels, pa.string()).take(pc.index_in(flat, value_set=ids, skip_nulls=True))
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), *(chunk.cast(pa.int32()) for chunk in ends.chunks)]
    )
    mask = pc.is_null(values)
    lists = pa.ListArray.from_arrays(offsets, words, mask=mask.combine_chunks())
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([lists], pa.list_(pa.string())))


def _plain(values: pa.ChunkedArray, nulls: dict[pa.DataType, pd.Series]) -> Any:
    """Return a column in a type that Arrow and pandas share, without Python objects; `nulls` has
    the first column of each type that is all null.
    """
    kind = pa.timestamp("us") if pa.types.is_date(values.type) else values.type
    all_null = values.null_count == len(values)
    if all_null and kind in nulls:
        # Most custom columns: they share memory. pandas copies a NumPy array that is shared before
        # it writes to it, but lets a user write to an extension array. A copy of one that is in
        # Arrow's memory takes none.
        cells = nulls[kind]
        return cells.copy() if isinstance(cells.dtype, pd.api.extensions.ExtensionDtype) else cells
    if kind != values.type:
        values = values.cast(kind)
    if pa.types.is_nested(kind):
        return pd.arrays.ArrowExtensionArray(values)
    cells = values.to_pandas(types_mapper=_DTYPES.get)
    # Without a conversion the cells are in Arrow's memory, which pandas cannot write to.
    borrowed = (
        values.num_chunks == 1
        and not values.null_count
        and (pa.types.is_floating(kind) or pa.types.is_temporal(kind))
    )
    if borrowed:
        cells = cells.copy()
    if all_null:
        nulls[kind] = cells
    return cells
