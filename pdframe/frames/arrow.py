"""Type JSON rows of the API as Arrow tables, and put the parts of one table together.

`PageReader` reads the pages of a list. The first page shows the keys of the rows. From then on rows
are decoded into structs with a slot for each key, which takes half the time of dicts.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa

from pdframe._values import clean
from pdframe.fields import MAIN, Field, column_types, custom_fields
from pdframe.frames.convert import (
    Cells,
    Problems,
    all_null,
    build,
    build_columns,
    by_key,
    objects_in,
    uncollected,
)
from pdframe.frames.retype import parsed, retyped, text_of
from pdframe.schema import Table
from pdframe.schema.types import ANY, ID, TEXT_ID, Type

CUSTOM = "custom_fields"
_NULL = type(None)
_UNKNOWN: Mapping[bytes | str, bytes | str] = {b"pdframe": b"unknown"}

Columns = dict[str, pa.Array | pa.ChunkedArray]
Unknown = dict[tuple[str, str], Sequence[Any]]
"""Values that nothing declares, by key, and by the key of a part (empty: the value itself)."""


def storage_schema(table: Table, fields: Iterable[Field] = ()) -> pa.Schema:
    """Return the Arrow schema of a table in the cache: standard columns, then custom ones as
    `<hash>` and `<hash>_<part>`, with ids for options.
    """
    return Layout(table, fields).schema


class Layout:
    """The declared columns of a table: its standard columns, and those of its custom fields.

    Parameters
    ----------
    table
        The table.
    fields
        Its field definitions, standard ones included.
    """

    def __init__(self, table: Table, fields: Iterable[Field]) -> None:
        self.table = table
        known = tuple(fields)
        self.chosen = custom_fields(known, table.reserved)
        self.kinds: dict[str, Type] = column_types(table, known)
        for field in self.chosen:
            self.kinds |= {column: part.type for column, part in field.columns.items()}
        self.schema = pa.schema([(name, kind.storage) for name, kind in self.kinds.items()])
        self.fields: dict[str, pa.Field] = {field.name: field for field in self.schema}


def to_arrow(
    rows: Iterable[object], table: Table, fields: Iterable[Field] = ()
) -> tuple[pa.Table, Problems]:
    """Type rows of the API.

    Parameters
    ----------
    rows
        Parsed JSON objects. Absent keys and nulls are alike. Lone surrogates, which UTF-8 cannot
        hold, become U+FFFD.
    table
        Their table.
    fields
        Its field definitions, standard ones included.

    Returns
    -------
    pyarrow.Table
        The rows in their order, columns as in `storage_schema`; then those that neither schema nor
        metadata declares, as text or JSON text, marked as such in the schema.
    Problems
        Cells that do not fit their type and are null, and rows that are left out: they are no
        objects, or lack a key.
    """
    layout = Layout(table, fields)
    part, problems = _type_objects(rows, layout)
    extra = [field for field in part.schema if field.name not in layout.kinds]
    return _fill(part, pa.schema([*layout.schema, *extra])), problems


def _type_objects(rows: Iterable[object], layout: Layout) -> tuple[pa.Table, Problems]:
    """Type rows as `to_arrow` does, without the columns of custom fields that have no value."""
    problems = Problems()
    keyed = _with_key(rows, layout.table, problems)
    unknown: Unknown = {}
    bags: list[Any] = [row.get(CUSTOM) for row in keyed]
    if layout.table.field_list or layout.chosen:
        if not all(isinstance(bag, dict) or bag is None or bag == [] for bag in bags):
            unknown[CUSTOM, ""] = [None if isinstance(bag, dict) else bag for bag in bags]
        bags = [bag if isinstance(bag, dict) else {} for bag in bags]
    else:
        if any(CUSTOM in row for row in keyed):
            unknown[CUSTOM, ""] = bags
        bags = [{} for _ in keyed]
    return type_columns(
        by_key(keyed), by_key(bags), len(keyed), layout, unknown, problems
    ), problems


def type_columns(
    tops: Mapping[str, Sequence[Any]],
    bags: Mapping[str, Sequence[Any]],
    size: int,
    layout: Layout,
    unknown: Unknown,
    problems: Problems,
) -> pa.Table:
    """Type the columns of some rows; leave out those of custom fields that have no value in them.

    Parameters
    ----------
    tops, bags
        JSON values of the rows, and of their custom fields, by key; None for null.
    size
        Number of rows; each has a key.
    layout
        The columns of their table.
    unknown
        Values that nothing declares; the function adds those of these rows.
    problems
        Counts what does not fit.
    """
    nothing = [None] * size
    cells = _standard(tops, nothing, layout, unknown)
    for field in layout.chosen:
        # Most custom fields are null in all rows of a page.
        if not all_null(values := bags.get(field.code, ())):
            cells |= _field_cells(values, nothing, field, unknown)
    unknown |= {
        (code, ""): bags[code]
        for code in sorted(bags.keys() - {field.code for field in layout.chosen})
    }
    known = build_columns(cells, problems.add_cell)
    named: dict[str, pa.Array] = {}
    if unknown:
        named = _name_unknown(unknown, layout.kinds, layout.table.reserved, problems)
    present = [name for name in layout.kinds if name in known]
    return pa.Table.from_arrays(
        [*(known[name] for name in present), *named.values()],
        schema=pa.schema([*(layout.fields[name] for name in present), *map(_text_field, named)]),
    )


def unify(
    parts: Iterable[pa.Table], table: Table, fields: Iterable[Field] = ()
) -> tuple[pa.Table, Problems]:
    """Put parts of one table together whose columns may differ, rows in the order of the parts.

    A column that a part lacks is null there. Values that were stored as unknown text, before their
    field was declared, get its type now, as if the API had just sent them. Columns that nothing
    declares (any more) are at the end: with their type where all parts agree on it, else as text.

    Returns
    -------
    pyarrow.Table
        All rows; nothing is sorted or dropped.
    Problems
        Cells that do not fit the type that is declared now.
    """
    problems = Problems()
    layout = Layout(table, fields)
    groups: list[tuple[pa.Schema, list[pa.Table]]] = []
    for part in parts:
        is_declared = part.schema.equals(layout.schema, check_metadata=True) or all(
            field.name in layout.fields
            and field.equals(layout.fields[field.name], check_metadata=True)
            for field in part.schema
        )
        # Parts that lack nothing but columns go together.
        schema = layout.schema if is_declared else part.schema
        if groups and groups[-1][0].equals(schema, check_metadata=True):
            groups[-1][1].append(part)
        else:
            groups.append((schema, [part]))
    conformed = []
    for schema, group in groups:
        # An empty chunk in each column would cost a copy of all of them later.
        filled = list(filter(len, group)) or group[:1]
        rows = pa.concat_tables(filled, promote_options="default")
        if not schema.equals(layout.schema, check_metadata=True):
            rows = _conform(rows, layout, problems)
        elif not rows.schema.equals(layout.schema, check_metadata=True):
            rows = _fill(rows, layout.schema)
        conformed.append(rows)
    if not conformed:
        return layout.schema.empty_table(), problems
    extra: dict[str, pa.Field] = {}
    for part in conformed:
        for column in list(part.schema)[len(layout.kinds) :]:
            same = extra.setdefault(column.name, column)
            if same.type != column.type:
                extra[column.name] = _text_field(column.name)
    schema = pa.schema([*layout.schema, *extra.values()])
    same_columns = (
        part if part.schema.equals(schema, check_metadata=True) else _fill(part, schema)
        for part in list(filter(len, conformed)) or conformed[:1]
    )
    return pa.concat_tables(same_columns), problems


def _text_field(name: str) -> pa.Field:
    return pa.field(name, ANY.storage, metadata=dict(_UNKNOWN))


def is_unknown(field: pa.Field) -> bool:
    """Tell whether a column has the text of values that nothing declared when they were stored."""
    return (field.metadata or {}).get(b"pdframe") == b"unknown"


def _with_key(rows: Iterable[object], table: Table, problems: Problems) -> list[dict[str, Any]]:
    """Return the rows that are objects and have a key; count the others."""
    listed = list(rows)
    objects = [row for row in listed if isinstance(row, dict)]
    fits = [True] * len(objects)
    for name in table.key:
        kind = table.by_name[name].type
        ids = build([row.get(name) for row in objects], kind, lambda _: None)
        empty = kind is TEXT_ID
        fits = [
            fit and one is not None and not (empty and one == "")
            for fit, one in zip(fits, ids.to_pylist(), strict=True)
        ]
    if len(objects) < len(listed) or not all(fits):
        for row in listed:
            if not isinstance(row, dict):
                problems.add_row(row)
        for row, fit in zip(objects, fits, strict=True):
            if not fit:
                problems.add_row(row)
        objects = [row for row, fit in zip(objects, fits, strict=True) if fit]
    return objects


def _standard(
    tops: Mapping[str, Sequence[Any]], nothing: Sequence[Any], layout: Layout, unknown: Unknown
) -> dict[str, Cells]:
    """Return the values of standard columns; add keys that nothing declares to `unknown`."""
    table = layout.table
    cells: dict[str, Cells] = {}
    # The parts that are columns, by the key of their composite value.
    composite: dict[str, list[str]] = {}
    for column in table.columns:
        top, _, key = column.path.partition(".")
        if key:
            composite.setdefault(top, []).append(key)
    parts = {
        top: _parts(tops.get(top, nothing), nothing, top, keys, unknown)
        for top, keys in composite.items()
    }
    for column in table.columns:
        top, _, key = column.path.partition(".")
        values = parts[top][key] if key else tops.get(top, nothing)
        cells[column.name] = (values, layout.kinds[column.name])
        if column.type.parts:
            _leftovers(values, column.name, column.type, unknown)
    declared = {column.path.partition(".")[0] for column in table.columns}
    unknown |= {(top, ""): tops[top] for top in sorted(tops.keys() - declared - {CUSTOM})}
    return cells


def _field_cells(
    values: Sequence[Any], nothing: Sequence[Any], field: Field, unknown: Unknown
) -> dict[str, Cells]:
    """Return the values of the columns of one custom field."""
    if len(field.parts) == 1:
        return {field.code: (values, field.parts[0].type)}
    parts = _parts(values, nothing, field.code, [part.key for part in field.parts], unknown)
    return {column: (parts[part.key], part.type) for column, part in field.columns.items()}


def _parts(
    values: Sequence[Any],
    nothing: Sequence[Any],
    column: str,
    keys: Sequence[str],
    unknown: Unknown,
) -> dict[str, Sequence[Any]]:
    """Return the parts of composite values by key; add those that nothing declares to `unknown`.
    Older rows have the main part alone, without an object around it.
    """
    if all_null(values):
        return dict.fromkeys(keys, nothing)
    if {dict, _NULL}.issuperset(map(type, values)):
        places = [place for place, value in enumerate(values) if value is not None]
    else:
        places = [place for place, value in enumerate(values) if isinstance(value, dict)]
    by_part = by_key([values[place] for place in places])
    if len(places) < len(values):
        for key, part in by_part.items():
            spread: list[Any] = [None] * len(values)
            for place, value in zip(places, part, strict=True):
                spread[place] = value
            by_part[key] = spread
    unknown |= {(column, key): part for key, part in by_part.items() if key not in keys}
    parts = {key: by_part.get(key, nothing) for key in keys}
    if MAIN in keys and len(places) + values.count(None) < len(values):
        bare = [None if isinstance(value, dict) else value for value in values]
        parts[MAIN] = [
            part if one is None else one for one, part in zip(bare, parts[MAIN], strict=True)
        ]
    return parts


def _leftovers(values: Sequence[Any], column: str, kind: Type, unknown: Unknown) -> None:
    """Add keys of listed objects that nothing declares to `unknown`: a list per cell, one item an
    entry.
    """
    known, objects = {name for name, _ in kind.parts}, objects_in(values)
    if objects is not None and known.issuperset(chain.from_iterable(objects)):
        return
    lists = [value if isinstance(value, list) else [] for value in values]
    keys: set[str] = set().union(
        *(entry for entry in chain.from_iterable(lists) if isinstance(entry, dict))
    )
    for key in sorted(keys - known):
        unknown[column, key] = [
            [entry.get(key) if isinstance(entry, dict) else None for entry in entries] or None
            for entries in lists
        ]


def _name_unknown(
    unknown: Unknown, kinds: Collection[str], reserved: Collection[str], problems: Problems
) -> dict[str, pa.Array]:
    """Return a text column for each unknown key; a name that is in use gets underscores until it
    is free.
    """
    named: dict[str, pa.Array] = {}
    for (column, key), values in sorted(
        unknown.items(), key=lambda item: (item[0][1] != "", item[0])
    ):
        name = clean(f"{column}_{key}" if key else column).replace("\0", "\ufffd") or "_"
        while name in kinds or name in reserved or name in named:
            name += "_"
        named[name] = build(values, ANY, partial(problems.add_cell, name))
    return named


def _conform(part: pa.Table, layout: Layout, problems: Problems) -> pa.Table:
    """Return a part with all declared columns, in their order and types, then its other columns."""
    stored = {field.name: field for field in part.schema}
    columns: Columns = {}
    unknown: Unknown = {}
    for field in layout.chosen:
        if len(field.parts) > 1 and field.code in stored and is_unknown(stored[field.code]):
            values = [parsed(value) for value in part[field.code].to_pylist()]
            columns |= build_columns(
                _field_cells(values, [None] * len(values), field, unknown), problems.add_cell
            )
    for name, kind in layout.kinds.items():
        if name in columns:
            continue
        if name not in stored:
            columns[name] = pa.nulls(part.num_rows, kind.storage)
        elif str(stored[name].type) == str(kind.storage):
            columns[name] = part[name]
        else:
            columns[name] = retyped(
                part[name], kind, stored[name], partial(problems.add_cell, name)
            )
    rest = [field for field in part.schema if field.name not in layout.kinds]
    named: dict[str, pa.Array] = {}
    if unknown:
        taken = [*layout.kinds, *(field.name for field in rest)]
        named = _name_unknown(unknown, taken, layout.table.reserved, problems)
    schema = pa.schema([*layout.schema, *rest, *map(_text_field, named)])
    ordered = [columns[name] for name in layout.kinds]
    return pa.Table.from_arrays(
        [*ordered, *(part[field.name] for field in rest), *named.values()], schema=schema
    )


def _fill(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a part all columns of a schema."""
    # A dict, since the server decides how many unknown columns there are: no search by name.
    have = dict(zip(part.column_names, part.columns, strict=True))
    # Columns of one type share their nulls.
    lacking = {field.type for field in schema if field.name not in have}
    nulls = {kind: pa.nulls(part.num_rows, kind) for kind in lacking}
    columns: list[pa.Array | pa.ChunkedArray] = []
    for field in schema:
        column = have.get(field.name)
        if column is None:
            columns.append(nulls[field.type])
        elif column.type == field.type:
            columns.append(column)
        else:
            columns.append(pa.array([text_of(value) for value in column.to_pylist()], pa.string()))
    return pa.Table.from_arrays(columns, schema=schema)


Values = dict[str, Sequence[Any]]


class PageReader:
    """Reads the pages of one list.

    A list sends the same keys with every row. A page with other keys, or with rows that are no
    objects, does not fit the structs and is decoded into dicts; the result is the same. Threads may
    share a reader.

    Parameters
    ----------
    table
        The table.
    fields
        Its field definitions, standard ones included.
    """

    def __init__(self, table: Table, fields: Iterable[Field] = ()) -> None:
        self._table = table
        self._layout = Layout(table, fields)
        self._keys: dict[str, None] = {}
        self._bag_keys: dict[str, None] = {}
        self._slots: _Slots | None = None
        self._learning = threading.Lock()

    def decode(self, body: bytes) -> dict[str, Any] | None:
        """Return the JSON object of an answer with its rows as structs; None where they do not fit,
        or before the first page.
        """
        slots = self._slots  # another thread may learn others meanwhile
        if slots is None:
            return None
        with uncollected():
            try:
                return msgspec.structs.asdict(slots.decoder.decode(body))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return None

    def typed(self, rows: Sequence[Any]) -> tuple[pa.Table, Problems]:
        """Type rows as `to_arrow` does, without the columns of custom fields that have no value:
        `unify` makes them.

        Parameters
        ----------
        rows
            Rows of a page: structs that `decode` made, or parsed JSON objects.
        """
        with uncollected():
            slots = self._slots
            if slots is None or not (rows and isinstance(rows[0], slots.row)):
                # Another thread may have decoded them before other keys replaced the structs.
                outdated = bool(rows) and isinstance(rows[0], msgspec.Struct)
                objects = [_as_dict(row) for row in rows] if outdated else rows
                with self._learning:
                    self._learn(objects)
                return _type_objects(objects, self._layout)
            tops, bags = slots.columns(rows)
            if not all(self._is_key(name, tops) for name in self._table.key):
                return _type_objects([_as_dict(row) for row in rows], self._layout)
            problems = Problems()
            return type_columns(tops, bags, len(rows), self._layout, {}, problems), problems

    def identities(self, rows: Sequence[Any], keys: Collection[object]) -> list[object]:
        """Return what tells each row of a page from others: its key where that is one of `keys`,
        else a digest (bytes) of the values that it has.
        """
        name = self._table.key[0]
        result: list[object] = []
        for row in rows:
            plain = _as_dict(row) if isinstance(row, msgspec.Struct) else row
            key = plain.get(name) if isinstance(plain, dict) else None
            has_key = isinstance(key, int | str) and not isinstance(key, bool) and key in keys
            result.append(key if has_key else _digest(plain))
        return result

    def _learn(self, rows: Sequence[Any]) -> None:
        """Make slots for the keys of these rows and of all earlier ones, in the order of their
        first row.
        """
        known = len(self._keys) + len(self._bag_keys)
        objects = [row for row in rows if isinstance(row, dict)]
        self._keys.update(dict.fromkeys(key for row in objects for key in row))
        self._bag_keys.update(
            dict.fromkeys(
                key for row in objects if isinstance(bag := row.get(CUSTOM), dict) for key in bag
            )
        )
        if len(self._keys) + len(self._bag_keys) == known or (
            CUSTOM in self._keys and not (self._table.field_list or self._layout.chosen)
        ):
            return
        try:
            self._slots = _Slots(list(self._keys), list(self._bag_keys))
        except ValueError:  # a key that JSON must escape, or that UTF-8 cannot hold
            self._slots = None

    def _is_key(self, name: str, tops: Values) -> bool:
        column = self._table.by_name[name]
        values = tops.get(column.path, (None,))
        if column.type is ID:
            return (
                {int}.issuperset(map(type, values))
                and min(values) >= -(2**63)
                and max(values) < 2**63
            )
        return column.type is TEXT_ID and all(isinstance(value, str) and value for value in values)


class _Slots:
    """Structs with a slot for each key of a row, and of its custom fields."""

    def __init__(self, keys: Sequence[str], bag_keys: Sequence[str]) -> None:
        self._keys, self._bag_keys = keys, bag_keys
        self._bag = _slotted("Custom", dict.fromkeys(bag_keys, Any))
        self.row = _slotted(
            "Row", {key: self._bag | None if key == CUSTOM else Any for key in keys}
        )
        self._nothing = msgspec.structs.astuple(self._bag())
        rows = list[self.row]  # type: ignore[name-defined]
        answer = msgspec.defstruct(
            "Answer", [("data", rows), ("success", Any, None), ("additional_data", Any, None)]
        )
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(answer)

    def columns(self, rows: Sequence[Any]) -> tuple[Values, Values]:
        """Return the values of rows and of custom fields by key, one a row."""
        astuple = msgspec.structs.astuple
        tops: Values = dict(zip(self._keys, zip(*map(astuple, rows), strict=True), strict=True))
        if CUSTOM not in tops:
            return tops, {}
        bags = (self._nothing if bag is None else astuple(bag) for bag in tops.pop(CUSTOM))
        return tops, dict(zip(self._bag_keys, zip(*bags, strict=True), strict=False))


def _as_dict(slotted: msgspec.Struct) -> dict[str, Any]:
    """Turn a row and its custom fields into dicts; leave the values of their cells unchanged."""
    values = zip(slotted.__struct_encode_fields__, msgspec.structs.astuple(slotted), strict=True)
    return {
        key: _as_dict(value) if isinstance(value, msgspec.Struct) else value
        for key, value in values
    }


def _digest(row: object) -> object:
    """Return a digest of a row's values, alike from a page in structs and from one in dicts: in
    the order of its keys, without nulls; a row that JSON cannot hold is like no other.
    """
    try:
        values = msgspec.json.encode(_without_nulls(row), order="sorted")
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return object()
    return hashlib.blake2b(values, digest_size=8).digest()


def _without_nulls(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(part) for key, part in value.items() if part is not None}


def _slotted(name: str, kinds: dict[str, Any]) -> type[msgspec.Struct]:
    fields = [(f"k{number}", kind, None) for number, kind in enumerate(kinds.values())]
    names = {f"k{number}": key for number, key in enumerate(kinds)}
    # Without cycles, so the garbage collector need not track them.
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, gc=False)
