"""Field metadata: the types and parts of custom fields, the names of their columns, the labels of their options."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa

from pdframe.schema.common import ADDRESS_PARTS
from pdframe.schema.table import Column, Table
from pdframe.schema.types import AMOUNT, ANY, COUNT, DATE, FLAG, ID, IDS, NUMBER, TEXT, TEXT_ID, TIME_OF_DAY, Type

SUFFIX_DIGITS = 6
MAIN = "value"
"""Key of a composite's main part, on the wire and in the metadata's subfields."""

_TYPES: Mapping[str, Type] = MappingProxyType(
    {
        **dict.fromkeys(("varchar", "varchar_auto", "text", "phone", "varchar_options", "status", "billing_frequency"), TEXT),
        **dict.fromkeys(("enum", "user", "org", "people", "deal", "project", "stage", "activity", "visible_to"), ID),
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
    """One option of a field: its id (an integer wherever it reads as one) and its label."""

    id: int | str
    label: str


@dataclass(frozen=True)
class Part:
    """One value of a field: its key in a composite, its type, and the name that the metadata gives it, if any."""

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
        What users call it, stripped; may be empty.
    type
        The metadata's word for its type.
    is_custom
        Whether users created it.
    parts
        Its values, the main one first; one for plain fields.
    options
        Its options in order; None where the metadata lists none.
    """

    code: str
    label: str
    type: str
    is_custom: bool
    parts: tuple[Part, ...]
    options: tuple[Option, ...] | None = None

    @property
    def columns(self) -> dict[str, Part]:
        """Storage columns: the code for the main part, `<code>_<key>` for the others."""
        return {self.code if part is self.parts[0] else f"{self.code}_{part.key}": part for part in self.parts}

    @property
    def has_options(self) -> bool:
        """Whether its values are option ids."""
        return self.type in ("enum", "set")


def clean(value: object) -> str:
    """Text that UTF-8 can hold: lone surrogates become U+FFFD; what is no text becomes empty."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else ""


def option_id(value: object) -> int | str | None:
    """Id of an option in its one form: built-in ones come as text, which compares equal to the number it shows."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if not isinstance(value, str):
        return None
    return int(value) if re.fullmatch("-?[0-9]{1,18}", value, re.ASCII) else clean(value)


def _objects(value: object) -> list[Mapping[str, Any]] | None:
    """List of objects out of wire JSON or of the cache's JSON text; None where there is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else None


def _read_parts(kind: str, subfields: list[Mapping[str, Any]]) -> tuple[Part, ...]:
    named = {clean(sub.get("field_code")): sub for sub in reversed(subfields)}
    names = {key: clean(sub.get("field_name")).strip() for key, sub in named.items()}
    types = {key: _TYPES.get(str(sub.get("field_type")), ANY) for key, sub in named.items()}
    known = dict(_PARTS.get(kind, ()))
    order = [*known, *(clean(sub.get("field_code")) for sub in subfields)]
    rest = [Part(key, known.get(key) or types[key], names.get(key, "")) for key in dict.fromkeys(order) if key not in ("", MAIN)]
    return (Part(MAIN, _TYPES.get(kind) or types.get(MAIN, ANY)), *rest)


def read_fields(rows: Iterable[object]) -> tuple[Field, ...]:
    """Read field definitions, standard and custom, in metadata order.

    Parameters
    ----------
    rows
        Rows of a field list, as the API sends them or as the cache keeps them (`options` and `subfields` as JSON text).

    Returns
    -------
    tuple of Field
        Rows without a code are skipped; of two rows with one code the first counts.
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
        fields[code] = Field(
            code,
            clean(row.get("field_name")).strip(),
            kind,
            row.get("is_custom_field") is True,
            _read_parts(kind, _objects(row.get("subfields")) or []),
            None if listed is None else tuple(options.values()),
        )
    return tuple(fields.values())


def custom_fields(fields: Iterable[Field], reserved: Collection[str] = ()) -> tuple[Field, ...]:
    """Fields that get columns of their own: the custom ones whose storage columns clash with nothing before them."""
    taken = set(reserved)
    chosen = []
    for field in fields:
        columns = field.columns.keys()
        if field.is_custom and taken.isdisjoint(columns):
            taken |= columns
            chosen.append(field)
    return tuple(chosen)


def _own_names(field: Field) -> dict[str, str]:
    """Names of a field's columns before any other field is looked at: unique within the field."""
    columns = field.columns
    if not field.label:
        return {column: column for column in columns}
    plain = {column: field.label if column == field.code else f"{field.label} ({part.key})" for column, part in columns.items()}
    names = {column: part.name or plain[column] for column, part in columns.items()} | {field.code: field.label}
    while True:
        counts = Counter(names.values())
        shared = [column for column, name in names.items() if counts[name] > 1 and name != plain[column]]
        if not shared:
            return names
        names |= {column: plain[column] for column in shared}


def _digits(code: str) -> str:
    """Digits that tell a field apart: its hash; where a code holds more than letters and digits, a hash of it, which no code equals."""
    return code if re.fullmatch(r"[0-9A-Za-z_]+", code) else hashlib.sha256(code.encode()).hexdigest() + "-"


def _suffix(digits: str, level: int) -> str:
    """Return the suffix at a level: none at 0, then one digit more each time, then the whole hash again and again."""
    if level == 0:
        return ""
    length = SUFFIX_DIGITS + level - 1
    return f" ({digits[:length]})" + f" ({digits})" * max(0, length - max(len(digits), SUFFIX_DIGITS))


def name_columns(fields: Iterable[Field], reserved: Collection[str]) -> dict[str, str]:
    """Name the columns of custom fields.

    A column is named by its field's label, a part of a composite by the metadata's name for it, else `Label (part)`. Where
    such a name is shared by two fields or is reserved, the fields concerned take ` (` + the first six digits of their hash,
    more until unique, + `)` on each of their columns. All fields are decided at once, round by round, so that their order
    cannot matter.

    Parameters
    ----------
    fields
        Field definitions; standard ones are ignored.
    reserved
        Names that no custom column may take (`Table.reserved`).

    Returns
    -------
    dict
        Storage column (`<hash>`, `<hash>_<part>`) to name, in metadata order; names are unique.
    """
    chosen = custom_fields(fields, reserved)
    own = {field.code: _own_names(field) for field in chosen}
    digits = {field.code: _digits(field.code) for field in chosen}
    levels = dict.fromkeys(own, 0)
    taken = frozenset(reserved)
    while True:
        holders: dict[str, set[str]] = defaultdict(set)
        for code, names in own.items():
            suffix = _suffix(digits[code], levels[code])
            for name in names.values():
                holders[name + suffix].add(code)
        concerned = {code for name, codes in holders.items() if len(codes) > 1 or name in taken for code in codes}
        if not concerned:
            return {column: name + _suffix(digits[code], levels[code]) for code, names in own.items() for column, name in names.items()}
        for code in concerned:
            levels[code] += 1


def option_labels(field: Field) -> dict[int | str, str]:
    """Label of each option id, in option order; options that share a label read `Label (id)`, so that labels are unique."""
    labels = {option.id: option.label for option in field.options or ()}
    while True:
        counts = Counter(labels.values())
        shared = {number: f"{label} ({number})" for number, label in labels.items() if counts[label] > 1}
        if not shared:
            return labels
        labels |= shared


def undefined_label(number: object, defined: Collection[str]) -> str:
    """Return what an option reads that the metadata does not define (any more): `#9999`, told apart from a label of that wording."""
    label = f"#{number}"
    while label in defined:
        label = f"{label} ({number})"
    return label


def labelling_field(column: Column, fields: Iterable[Field]) -> Field | None:
    """Return the field whose options label a standard column; None where the metadata has none."""
    by_code = {field.code: field for field in fields if not field.is_custom}
    return next((by_code[code] for code in column.options if code in by_code), None)


def _standard_columns(code: str, table: Table) -> list[tuple[str, str | None]]:
    """Columns of a frame that a standard field's code speaks of, each with its subfield."""
    found = [
        column
        for column in table.columns
        if code in (column.name, column.path.partition(".")[0], *column.codes) or (code in column.options and code not in table.by_name)
    ]
    plain = {"primary", "records"}
    return [
        (column.name, None if column.name == code or column.type.name in plain or len(found) == 1 else column.path.rpartition(".")[2])
        for column in found
    ]


def fields_frame(fields: Sequence[Field], table: Table) -> pd.DataFrame:
    """List the fields of a table.

    Parameters
    ----------
    fields
        Field definitions of the table's entity.
    table
        The table whose frame they appear in.

    Returns
    -------
    DataFrame
        One row per field and frame column of it, in metadata order: column (name in a labelled frame; null: the frame has
        none), label, code, type, is_custom, options (labels in option order; null: no field of options) and subfield (key
        of a part of a composite value; null on the main part and where the value is not composite).
    """
    names = name_columns(fields, table.reserved)
    rows: list[tuple[str | None, Field, str | None]] = []
    for field in fields:
        if field.is_custom:
            columns = field.columns
            rows += [(names.get(column), field, None if part is field.parts[0] else part.key) for column, part in columns.items()]
        else:
            rows += [(column, field, part) for column, part in _standard_columns(field.code, table)] or [(None, field, None)]
    options = [None if field.options is None else list(option_labels(field).values()) for _, field, _ in rows]
    return pd.DataFrame(
        {
            "column": pd.Series([column for column, _, _ in rows], dtype="str"),
            "label": pd.Series([field.label for _, field, _ in rows], dtype="str"),
            "code": pd.Series([field.code for _, field, _ in rows], dtype="str"),
            "type": pd.Series([field.type for _, field, _ in rows], dtype="str"),
            "is_custom": pd.Series([field.is_custom for _, field, _ in rows], dtype="boolean"),
            "options": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(options, pa.list_(pa.string())))),
            "subfield": pd.Series([part for _, _, part in rows], dtype="str"),
        }
    )
