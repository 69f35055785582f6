"""Field metadata: types and parts of custom fields, names of their columns, option labels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa

from pdframe._values import UnfitError, clean, integer
from pdframe.schema.common import ADDRESS_PARTS
from pdframe.schema.table import Table
from pdframe.schema.types import (
    AMOUNT,
    ANY,
    COUNT,
    DATE,
    FLAG,
    ID,
    IDS,
    NUMBER,
    OPTION,
    OPTIONS,
    TEXT,
    TEXT_ID,
    TIME_OF_DAY,
    Type,
)

SUFFIX_DIGITS = 6
OPTION_TYPES = ("enum", "set")
"""Types of fields whose values are ids of options."""
MAIN = "value"
"""Key of the main part of a composite, in the API's rows and in the subfields of the metadata."""

_TYPES: Mapping[str, Type] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "varchar",
                "varchar_auto",
                "text",
                "phone",
                "varchar_options",
                "status",
                "billing_frequency",
            ),
            TEXT,
        ),
        **dict.fromkeys(
            ("enum", "user", "org", "people", "deal", "project", "stage", "activity", "visible_to"),
            ID,
        ),
        **dict.fromkeys(("projects_board", "projects_phase"), ID),
        **dict.fromkeys(("set", "deals"), IDS),
        "double": NUMBER,
        "int": COUNT,
        "boolean": FLAG,
        "lead": TEXT_ID,
        "monetary": AMOUNT,
        "date": DATE,
        "daterange": DATE,
        "time": TIME_OF_DAY,
        "timerange": TIME_OF_DAY,
        "address": TEXT,
    }
)
_PARTS: Mapping[str, tuple[tuple[str, Type], ...]] = MappingProxyType(
    {
        "monetary": (("currency", TEXT),),
        "daterange": (("until", DATE),),
        "time": (("timezone_name", TEXT),),
        "timerange": (("until", TIME_OF_DAY), ("timezone_name", TEXT)),
        "address": tuple((part, TEXT) for part, _ in ADDRESS_PARTS),
    }
)


@dataclass(frozen=True)
class Option:
    """One option of a field: its id (see `option_id`) and its label."""

    id: int | str
    label: str


@dataclass(frozen=True)
class Part:
    """One value of a field: its key in a composite, its type, its name in the metadata, if any."""

    key: str
    type: Type
    name: str = ""


@dataclass(frozen=True)
class Field:
    """One field definition.

    Parameters
    ----------
    code
        Its unique key: a hash for custom fields.
    label
        Its label for users, stripped; may be empty.
    type
        Its type in the metadata.
    is_custom
        Whether users created it.
    parts
        Its values, the main one first; one for plain fields.
    options
        Its options in order; None if the metadata has no list.
    columns
        Its parts by storage column: the code for the main part, `<code>_<key>` for the others.
    """

    code: str
    label: str
    type: str
    is_custom: bool
    parts: tuple[Part, ...]
    options: tuple[Option, ...] | None
    columns: Mapping[str, Part] = dataclasses.field(compare=False)


@lru_cache(maxsize=10_000)  # the same labels are compared for every frame
def fold(name: str) -> str:
    """Return the form in which names are compared: names of the same form are equal.

    Many programs (DuckDB, SQLite, Power BI, Hive) ignore case. The composition of a character and
    the width of a blank are invisible, and CSV has no control characters: these are ignored too.
    """
    if name.isascii() and name.isprintable() and "  " not in name:
        return name.strip().lower()
    words = " ".join(name.split())
    visible = "".join(sign for sign in words if unicodedata.category(sign) != "Cc")
    decomposed = unicodedata.normalize("NFD", " ".join(visible.split()))
    return unicodedata.normalize("NFD", decomposed.casefold())


def option_id(value: object) -> int | str | None:
    """Return the normal form of an option's id: an integer if it can be read as one, else text.

    The API sends the ids of built-in fields as text. The ids true and false are 1 and 0.
    """
    try:
        return int(value) if isinstance(value, bool) else integer(value)
    except UnfitError:
        return clean(value) if isinstance(value, str) else None


def _objects(value: object) -> list[Mapping[str, Any]] | None:
    """Return the objects of a list in the API's JSON or the cache's JSON text; None: no list."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return (
        [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else None
    )


def _read_parts(
    kind: str, subfields: list[Mapping[str, Any]], options: Iterable[Mapping[str, Any]]
) -> tuple[Part, ...]:
    named = {clean(sub.get("field_code")): sub for sub in reversed(subfields)}
    names = {key: clean(sub.get("field_name")).strip() for key, sub in named.items()}
    types = {key: _TYPES.get(str(sub.get("field_type")), ANY) for key, sub in named.items()}
    known = dict(_PARTS.get(kind, ()))
    order = [*known, *(clean(sub.get("field_code")) for sub in subfields)]
    rest = [
        Part(key, known.get(key) or types[key], names.get(key, ""))
        for key in dict.fromkeys(order)
        if key not in ("", MAIN)
    ]
    main = _TYPES.get(kind) or types.get(MAIN, ANY)
    if kind in OPTION_TYPES and any(isinstance(item.get("id"), bool) for item in options):
        main = OPTION if main is ID else OPTIONS
    return (Part(MAIN, main), *rest)


def read_fields(rows: Iterable[object]) -> tuple[Field, ...]:
    """Read field definitions, standard and custom, in metadata order.

    Parameters
    ----------
    rows
        Rows of a field list, from the API or from the cache (`options` and `subfields` as JSON
        text).

    Returns
    -------
    tuple of Field
        Rows without a code are skipped; of two rows with the same code the first counts.
    """
    fields: dict[str, Field] = {}
    for row in rows:
        code = clean(row.get("field_code")) if isinstance(row, Mapping) else ""
        if not isinstance(row, Mapping) or not code or code in fields:
            continue
        kind = clean(row.get("field_type"))
        listed = _objects(row.get("options"))
        options: dict[int | str, Option] = {}
        for item in listed or ():
            number = option_id(item.get("id"))
            if number is not None:
                options.setdefault(number, Option(number, clean(item.get("label"))))
        parts = _read_parts(kind, _objects(row.get("subfields")) or [], listed or [])
        fields[code] = Field(
            code,
            clean(row.get("field_name")).strip(),
            kind,
            row.get("is_custom_field") is True,
            parts,
            None if listed is None else tuple(options.values()),
            {code if part is parts[0] else f"{code}_{part.key}": part for part in parts},
        )
    return tuple(fields.values())


def custom_fields(fields: Iterable[Field], reserved: Collection[str] = ()) -> tuple[Field, ...]:
    """Return the fields that get columns: the custom ones whose storage columns are not taken."""
    taken = set(reserved)
    chosen = []
    for field in fields:
        columns = field.columns.keys()
        if field.is_custom and taken.isdisjoint(columns):
            taken |= columns
            chosen.append(field)
    return tuple(chosen)


def undeclared_parts(columns: Iterable[str], fields: Sequence[Field]) -> dict[str, dict[str, str]]:
    """Return the columns of parts that neither the specification nor the metadata declares.

    Parameters
    ----------
    columns
        Storage columns, declared or not.
    fields
        The fields that get columns (`custom_fields`).

    Returns
    -------
    dict
        Code of each composite field with such columns: storage column to the key of the part.
    """
    declared = {column for field in fields for column in field.columns}
    composite = {field.code for field in fields if len(field.parts) > 1}
    lengths = sorted(set(map(len, composite)), reverse=True)
    undeclared: dict[str, dict[str, str]] = {}
    for column in columns:
        codes = (column[:length] for length in lengths if column[length : length + 1] == "_")
        code = next((code for code in codes if code in composite), None)
        # A declared name with a trailing _ is another key that collided with that name.
        if code is not None and column.rstrip("_") not in declared:
            undeclared.setdefault(code, {})[column] = column[len(code) + 1 :]
    return undeclared


def _own_names(field: Field, undeclared: Mapping[str, str]) -> dict[str, str]:
    """Name the columns of a field, with its undeclared parts, independent of other fields."""
    keys = {column: part.key for column, part in field.columns.items()} | dict(undeclared)
    if fold(field.label):
        given = {
            column: part.name for column, part in field.columns.items() if column != field.code
        }
        plain = {column: f"{field.label} ({key})" for column, key in keys.items()} | {
            field.code: field.label
        }
    else:
        given, plain = {}, {column: column for column in keys}
    names = {column: given.get(column) or name for column, name in plain.items()}
    length = SUFFIX_DIGITS
    while True:
        counts = Counter(map(fold, names.values()))
        shared = [
            column
            for column, name in names.items()
            if column != field.code and counts[fold(name)] > 1
        ]
        if not shared:
            return names
        # Names from the metadata change first. Then digits distinguish keys that differ only by
        # case.
        yielding = {
            column: plain[column]
            for column in shared
            if names[column] == given.get(column) != plain[column]
        }
        if not yielding:
            yielding = {
                column: f"{plain[column]} ({_digest(keys[column])[:length]})" for column in shared
            }
            length += 1
        names |= yielding


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _suffix(digits: str, level: int) -> str:
    """Return the suffix at a level: none at 0, then one digit more each time, then the full hash
    repeatedly.
    """
    if level == 0:
        return ""
    length = SUFFIX_DIGITS + level - 1
    return f" ({digits[:length]})" + f" ({digits})" * max(
        0, length - max(len(digits), SUFFIX_DIGITS)
    )


def name_columns(
    fields: Iterable[Field], reserved: Collection[str], stored: Iterable[str] = ()
) -> dict[str, str]:
    """Name the columns of custom fields.

    A column has its field's label as name; a part of a composite its name in the metadata, else
    `Label (part)`. If two fields share a name, or a name is reserved, the columns of these fields
    get ` (` + the first six digits of their hash, more until unique, + `)`. Names that differ only
    by case are equal (`fold`). All fields are named together, round by round, so that their order
    does not matter.

    Parameters
    ----------
    fields
        Field definitions; standard ones are ignored.
    reserved
        Names that no custom column may take (`Table.reserved`).
    stored
        Columns of the stored rows: undeclared parts of fields among them are named too.

    Returns
    -------
    dict
        Storage column (`<hash>`, `<hash>_<part>`) to name, in metadata order; names are unique.
    """
    chosen = custom_fields(fields, reserved)
    undeclared = undeclared_parts(stored, chosen)
    own = {field.code: _own_names(field, undeclared.get(field.code, {})) for field in chosen}
    # The digits that identify a field: its code, or a hash of a code that has other characters than
    # a hash; no code equals it.
    digits = {
        code: code if re.fullmatch(r"[0-9a-z_]+", code) else _digest(code) + "-" for code in own
    }
    levels = dict.fromkeys(own, 0)
    folded = {code: tuple(map(fold, names.values())) for code, names in own.items()}
    taken = frozenset(map(fold, reserved))
    while True:
        holders: dict[str, set[str]] = defaultdict(set)
        for code, names_folded in folded.items():
            suffix = _suffix(digits[code], levels[code])
            for name in names_folded:
                holders[name + suffix].add(code)
        concerned = {
            code
            for name, codes in holders.items()
            if len(codes) > 1 or name in taken
            for code in codes
        }
        if not concerned:
            return {
                column: name + _suffix(digits[code], levels[code])
                for code, names in own.items()
                for column, name in names.items()
            }
        for code in concerned:
            levels[code] += 1


def optioned_fields(fields: Sequence[Field], table: Table) -> dict[str, Field]:
    """Return the field whose options label a storage column, by column: of standard columns, then
    of custom ones. A standard column for which the metadata has no field is left out.
    """
    by_code = {field.code: field for field in fields if not field.is_custom}
    standard = {
        column.name: by_code[code]
        for column in table.columns
        for code in reversed(column.options)
        if code in by_code
    }
    return standard | {
        field.code: field
        for field in custom_fields(fields, table.reserved)
        if field.type in OPTION_TYPES
    }


def option_labels(field: Field) -> dict[int | str, str]:
    """Return the label of each option id, in option order; options that share a label get
    `Label (id)`, so that labels are unique.
    """
    labels = {option.id: option.label for option in field.options or ()}
    while True:
        counts = Counter(labels.values())
        shared = {
            number: f"{label} ({number})" for number, label in labels.items() if counts[label] > 1
        }
        if not shared:
            return labels
        labels |= shared


def undefined_label(number: object, defined: Collection[str]) -> str:
    """Return the label of an option that the metadata does not define: `#9999`, different from
    every label.
    """
    label = f"#{number}"
    while label in defined:
        label = f"{label} ({number})"
    return label


def column_types(table: Table, fields: Sequence[Field]) -> dict[str, Type]:
    """Return the types of the standard columns; the ids of options may be true and false."""
    labelling = optioned_fields(fields, table) if fields else {}
    types = {}
    for column in table.columns:
        kind, field = column.type, labelling.get(column.name)
        if kind in (ID, IDS) and field is not None and field.parts[0].type in (OPTION, OPTIONS):
            kind = OPTION if kind is ID else OPTIONS
        types[column.name] = kind
    return types


def _standard_columns(code: str, table: Table) -> list[tuple[str, str | None]]:
    """Return the frame columns of a standard field's code, each with its subfield."""
    columns = [
        column
        for column in table.columns
        if code in (column.name, column.path.partition(".")[0], *column.codes)
        or (code in column.options and code not in table.by_name)
    ]
    plain = {"primary", "records"}
    return [
        (
            column.name,
            None
            if column.name == code or column.type.name in plain or len(columns) == 1
            else column.path.rpartition(".")[2],
        )
        for column in columns
    ]


def fields_frame(fields: Sequence[Field], table: Table, stored: Sequence[str] = ()) -> pd.DataFrame:
    """List the fields of a table.

    Parameters
    ----------
    fields
        Field definitions of the table's entity.
    table
        The table whose frame they appear in.
    stored
        Columns of its stored rows, for undeclared parts of fields.

    Returns
    -------
    DataFrame
        One row per field and frame column of it, in metadata order: column (name in a labelled
        frame; null: not in the frame), label, code, type, is_custom, options (labels in option
        order; null: a field without options) and subfield (key of a part of a composite value;
        null: the main part, or not composite).
    """
    names = name_columns(fields, table.reserved, stored)
    undeclared = undeclared_parts(stored, custom_fields(fields, table.reserved))
    rows: list[tuple[str | None, Field, str | None]] = []
    for field in fields:
        if field.is_custom:
            keys: dict[str, str | None] = {
                column: part.key for column, part in field.columns.items()
            }
            keys |= {field.code: None, **undeclared.get(field.code, {})}
            rows += [(names.get(column), field, key) for column, key in keys.items()]
        else:
            rows += [
                (column, field, part) for column, part in _standard_columns(field.code, table)
            ] or [(None, field, None)]
    options = [
        None if field.options is None else list(option_labels(field).values())
        for _, field, _ in rows
    ]
    return pd.DataFrame(
        {
            "column": pd.Series([column for column, _, _ in rows], dtype="str"),
            "label": pd.Series([field.label for _, field, _ in rows], dtype="str"),
            "code": pd.Series([field.code for _, field, _ in rows], dtype="str"),
            "type": pd.Series([field.type for _, field, _ in rows], dtype="str"),
            "is_custom": pd.Series([field.is_custom for _, field, _ in rows], dtype="boolean"),
            "options": pd.Series(
                pd.arrays.ArrowExtensionArray(pa.array(options, pa.list_(pa.string())))
            ),
            "subfield": pd.Series([part for _, _, part in rows], dtype="str"),
        }
    )


__all__ = [
    "MAIN",
    "OPTION_TYPES",
    "SUFFIX_DIGITS",
    "Field",
    "Option",
    "Part",
    "column_types",
    "custom_fields",
    "fields_frame",
    "fold",
    "name_columns",
    "option_id",
    "option_labels",
    "optioned_fields",
    "read_fields",
    "undeclared_parts",
    "undefined_label",
]
