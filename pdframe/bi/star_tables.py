"""From the frame of a loader to a table of a star: keys for ids, days beside times, a bridge for
each list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.bi._names import STANDARD_NAMES, snake
from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import (
    NONE,
    NONE_KEY,
    UNKNOWN,
    UNKNOWN_KEY,
    Building,
    Description,
    Dictionary,
    Flags,
    Ints,
    Keys,
    TableBuilder,
    date_key_name,
    day_name,
    flattened,
    hours_name,
    joined,
    pairs,
    plain,
)
from pdframe.schema.personal import is_personal

DEALS, DEAL_KEY = "dim_deal", "deal_key"
OWNERS, OWNER_KEY = "dim_owner", "owner_key"
PERSONS, PERSON_KEY = "dim_person", "person_key"
ORGANIZATIONS, ORGANIZATION_KEY = "dim_organization", "organization_key"
PIPELINES, PIPELINE_KEY = "dim_pipeline", "pipeline_key"
STAGES, STAGE_KEY = "dim_stage", "stage_key"
PRODUCTS, PRODUCT_KEY = "dim_product", "product_key"

REFERENCES: Mapping[str, tuple[str, tuple[str, str]]] = MappingProxyType(
    {
        "deal_id": (DEAL_KEY, (DEALS, DEAL_KEY)),
        "owner_id": (OWNER_KEY, (OWNERS, OWNER_KEY)),
        "creator_user_id": ("creator_key", (OWNERS, OWNER_KEY)),
        "user_id": ("user_key", (OWNERS, OWNER_KEY)),
        "person_id": (PERSON_KEY, (PERSONS, PERSON_KEY)),
        "org_id": (ORGANIZATION_KEY, (ORGANIZATIONS, ORGANIZATION_KEY)),
        "pipeline_id": (PIPELINE_KEY, (PIPELINES, PIPELINE_KEY)),
        "stage_id": (STAGE_KEY, (STAGES, STAGE_KEY)),
        "product_id": (PRODUCT_KEY, (PRODUCTS, PRODUCT_KEY)),
    }
)
"""Columns with the ids of a dimension: the column of their keys, and the key they point to."""

_CUSTOM_TARGETS: Mapping[str | None, tuple[str, str]] = MappingProxyType(
    {
        "user": (OWNERS, OWNER_KEY),
        "people": (PERSONS, PERSON_KEY),
        "org": (ORGANIZATIONS, ORGANIZATION_KEY),
    }
)
"""Types of custom fields whose values are ids of a dimension."""

_JOINED_PART: Mapping[str, str] = MappingProxyType(
    {
        "emails": "value",
        "phones": "value",
        "im": "value",
        "prices": "currency",
        "access": "app",
        "attendees": "email",
        "participants": "person_id",
    }
)
"""The part of a list of objects that the joined text shows."""
POSITION = "position"


def add_columns(
    building: Building,
    builder: TableBuilder,
    frame: pd.DataFrame,
    dictionary: Dictionary,
    key: tuple[str, str],
    *,
    named: str | None = None,
    skip: Iterable[str] = (),
    last: Iterable[str] = (),
    kept: Iterable[str] = (),
    days: Mapping[str, pa.ChunkedArray] = MappingProxyType({}),
) -> list[BiTable]:
    """Add the columns of a frame to a table, in their order.

    Parameters
    ----------
    building, builder
        The star and its table.
    frame
        As the loader of `dictionary.table` gives it, without names of ids.
    dictionary
        What is known of its columns.
    key
        The table and column that bridges refer to: the key made of `id`.
    named
        The column that names a row: "(none)" and "(unknown)" in the extra rows.
    skip
        Columns that the caller adds.
    last
        Names of columns that the caller adds; no custom field takes them.
    kept
        Columns from which the caller removed what is personal.
    days
        The days of times where the API says them.

    Returns
    -------
    list of BiTable
        A bridge for each column of lists.
    """
    table, left_out = dictionary.table, {"id", *skip}
    custom = [name for name in frame.columns if name not in table.reserved]
    standard = [name for name in frame.columns if name in table.reserved and name != "id"]
    names = {name: _standard_name(name) for name in standard}
    made_of_standard = {made for name in standard for made in _made_of(names[name], frame[name])}
    reserved = {key[1], "currency_key", *names.values(), *made_of_standard, *last, *skip}
    reserved |= {reference for reference, _ in REFERENCES.values()}
    codes = dict(pairs(custom, dictionary))
    # A field without a label is named by its hash in the frame.
    chosen = snake(
        [
            ("" if name == code and dictionary[name].label == "" else name, code)
            for name, code in codes.items()
        ],
        reserved=reserved,
    )
    names |= {name: chosen[code] for name, code in codes.items()}
    lists = [name for name in names if _is_list(frame[name]) and name not in left_out]
    bridges = snake([(f"bridge {table.name} {names[name]}", name) for name in lists])
    ids = plain(frame["id"]).combine_chunks() if lists else pa.array([], pa.int64())
    made: list[BiTable] = []
    for name, column in names.items():
        known = dictionary[name]
        if name in left_out:
            continue
        is_left_out = not building.personal and name not in kept
        if is_left_out and is_personal(table, name, known.field_type):
            continue
        values = frame[name]
        if name in lists:
            content = plain(values)
            builder.put(column, joined(content, _part(name, content)), _as_text(known))
            made.append(_bridge(building, bridges[name], ids, content, known, key))
        else:
            _add(building, builder, name, column, values, known, name == named, days.get(name))
    return made


def _add(
    building: Building,
    builder: TableBuilder,
    name: str,
    column: str,
    values: pd.Series[Any],
    known: Description,
    is_name: bool,
    days: pa.ChunkedArray | None,
) -> None:
    is_standard = known.field_type is None
    if is_standard and name in REFERENCES:
        key, target = REFERENCES[name]
        keys = building.keys.get(target[0])
        if keys is not None:
            builder.reference(key, keys.of(values), target, known)
            return
    if known.field_type in _CUSTOM_TARGETS and pd.api.types.is_integer_dtype(values.dtype):
        target = _CUSTOM_TARGETS[known.field_type]
        keys = building.keys.get(target[0])
        # A dimension that is made later (the persons, for organizations) is not known yet.
        if keys is not None:
            builder.reference(column, keys.of(values), target, known, active=False)
            return
    if _is_time(values):
        builder.time(column, values, known, days)
    elif is_standard and name == "currency":
        builder.currency("currency_key", plain(values), known)
    elif pd.api.types.is_datetime64_dtype(values.dtype):
        # Days of custom fields slice no facts.
        builder.date(column, plain(values), known, with_key=is_standard)
    elif pd.api.types.is_timedelta64_dtype(values.dtype):
        builder.put(hours_name(column), plain(values), known._replace(unit="hours"))
    else:
        extra = (NONE, UNKNOWN) if is_name else (None, None)
        builder.put(column, plain(values), known, extra=extra)


def _made_of(name: str, values: pd.Series[Any]) -> list[str]:
    """Return the other names that a column of the API may have or give in a star: its day, the key
    of that day, its hours.
    """
    if _is_time(values):
        return [day_name(name), date_key_name(day_name(name))]
    if pd.api.types.is_datetime64_dtype(values.dtype):
        return [date_key_name(name)]
    return [hours_name(name)] if pd.api.types.is_timedelta64_dtype(values.dtype) else []


def _standard_name(name: str) -> str:
    return STANDARD_NAMES.get(name, name)


def _is_time(values: pd.Series[Any]) -> bool:
    return isinstance(values.dtype, pd.DatetimeTZDtype)


def _is_list(values: pd.Series[Any]) -> bool:
    kind = values.dtype
    return isinstance(kind, pd.ArrowDtype) and pa.types.is_list(kind.pyarrow_dtype)


def _part(name: str, lists: pa.ChunkedArray) -> str | None:
    """Return the part of the objects of a list that the joined text shows; None: no objects."""
    kind = lists.type.value_type
    return (_JOINED_PART.get(name) or kind.field(0).name) if pa.types.is_struct(kind) else None


def _as_text(known: Description) -> Description:
    return known._replace(
        meaning=f"{known.meaning}; joined by '; '", null_means=known.null_means or "none"
    )


def _bridge(
    building: Building,
    name: str,
    ids: pa.Array,
    lists: pa.ChunkedArray,
    known: Description,
    key: tuple[str, str],
) -> BiTable:
    """Return a bridge: one row an item of a list."""
    values, lengths = flattened(lists)
    parent = np.repeat(np.arange(len(lengths)), lengths)
    first: Ints = np.cumsum(lengths) - lengths
    builder = TableBuilder(building, name)
    builder.reference(key[1], ids.take(pa.array(parent)), key, Description(meaning="The record"))
    place = np.arange(len(parent)) - first[parent] + 1
    builder.put(POSITION, place, Description(meaning="Place in the list, from 1"))
    if not pa.types.is_struct(values.type):
        builder.put("value", _text(values), known._replace(null_means="an empty item"))
        return builder.finish()
    for place_of, part in enumerate(values.type):
        column = pc.struct_field(values, [place_of])
        own = _standard_name(part.name)
        meaning = f"{known.meaning}: {part.name}"
        about = Description(known.label, known.code, meaning, None, "not given")
        if part.name == "currency":
            builder.currency("currency_key", pa.chunked_array([_text(column)]), about)
        elif part.name in REFERENCES:
            reference, target = REFERENCES[part.name]
            if reference == key[1]:
                continue  # the record itself
            known_keys = building.keys.get(target[0], Keys(pa.chunked_array([[]], pa.int64())))
            keys = known_keys.of(pa.chunked_array([column]))
            builder.reference(reference, keys, target, about, active=False)
        else:
            builder.put(own, _text(column), about)
    return builder.finish()


def _text(values: pa.Array) -> pa.Array:
    """Return an array in a type of the star: text is `string`."""
    return values.cast(pa.string()) if pa.types.is_large_string(values.type) else values


def has_own_key(ids: pd.Series[Any]) -> Flags:
    """Return where an id is none of the keys -1 and -2, which no record in Pipedrive has."""
    result: Flags = (~ids.isin([NONE_KEY, UNKNOWN_KEY])).to_numpy(bool)
    return result


def dimension(
    building: Building,
    frame: pd.DataFrame,
    dictionary: Dictionary,
    key: tuple[str, str],
    *,
    named: str = "name",
    url: pd.Series[Any] | None = None,
    kept: Sequence[str] = (),
) -> list[BiTable]:
    """Return a dimension with all columns of a frame, and its bridges."""
    taken = has_own_key(frame["id"])
    if not taken.all():
        building.note(f"{key[0]} leaves out {(~taken).sum():,} rows whose id is -1 or -2.")
        frame = frame[taken].reset_index(drop=True)
        url = None if url is None else url[taken]
    building.keys[key[0]] = Keys(frame["id"])
    builder = TableBuilder(building, key[0], is_dimension=True)
    builder.key(key[1], plain(frame["id"]), f"Id in Pipedrive; -1: {NONE}, -2: {UNKNOWN}")
    bridges = add_columns(
        building, builder, frame, dictionary, key, named=named, kept=kept, last=["url"]
    )
    if url is not None:
        builder.put("url", plain(url), Description(meaning="Page in Pipedrive"))
    return [builder.finish(), *bridges]


__all__ = [
    "DEALS",
    "DEAL_KEY",
    "ORGANIZATIONS",
    "ORGANIZATION_KEY",
    "OWNERS",
    "OWNER_KEY",
    "PERSONS",
    "PERSON_KEY",
    "PIPELINES",
    "PIPELINE_KEY",
    "POSITION",
    "PRODUCTS",
    "PRODUCT_KEY",
    "REFERENCES",
    "STAGES",
    "STAGE_KEY",
    "add_columns",
    "dimension",
    "has_own_key",
]
