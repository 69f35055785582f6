"""Values of the wire to typed Arrow columns: a whole column at once where it fits, cell by cell
where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe import _values as read
from pdframe._values import FIRST_DAY, FIRST_INSTANT, UnfitError
from pdframe.schema.types import Type

Cells = tuple[Sequence[Any], Type]
"""JSON values of a column, None for null, and what they should be."""
_Reader = tuple[frozenset[type] | None, Callable[[Sequence[Any], pa.DataType], pa.Array]]

_NULL = type(None)


def _list_of(reader: Callable[[object], int]) -> Callable[[object], list[int | None]]:
    return lambda value: [None if item is None else reader(item) for item in read.items(value)]


def _texts(value: object) -> list[str | None]:
    # A comma is part of a text.
    return [
        None if item is None else read.text(item)
        for item in (value if isinstance(value, list) else [value])
    ]


def _primary(value: object) -> str | None:
    """Value of the first entry that is flagged primary; the column of the list warns of what does
    not fit there.
    """
    entries = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return next(
        (
            read.text(item["value"])
            for item in entries
            if _is_primary(item) and item.get("value") is not None
        ),
        None,
    )


def _is_primary(entry: Mapping[str, Any]) -> bool:
    flagged = entry.get("primary")
    if flagged is None or isinstance(flagged, bool):
        return flagged is True
    try:
        return read.flag(flagged)
    except UnfitError:
        return False


_CELLS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "id": read.integer,
        "count": read.integer,
        "option": read.option,
        "amount": read.number,
        "number": read.number,
        "flag": read.flag,
        "time": read.instant,
        "date": read.day,
        "duration": read.duration,
        "ids": _list_of(read.integer),
        "options": _list_of(read.option),
        "texts": _texts,
        "json": read.json_text,
        "any": read.any_text,
        "primary": _primary,
    }
)
"""The reader of one cell by type; `text` for all others."""


def instants(text: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Times out of their text, not all null; `UnfitError` or Arrow's own where they are not all
    written alike.
    """
    # In bytes: what is no ASCII is no time either, which Arrow tells.
    shortest, longest = pc.min_max(pc.binary_length(text)).values()
    if shortest.as_py() < 19:
        raise UnfitError
    if longest.as_py() == 19:
        moments = pc.assume_timezone(text.cast(pa.timestamp("us")), "UTC")
    elif pc.all(pc.ends_with(text, "Z")).as_py():
        moments = text.cast(storage)
    else:
        raise UnfitError
    if pc.min(moments).value < FIRST_INSTANT:
        raise UnfitError
    return moments


def days(text: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Days out of their text, not all null; `UnfitError` or Arrow's own where one is none."""
    result = text.cast(storage)
    if pc.min(result).value < FIRST_DAY:
        raise UnfitError
    return result


def finite(numbers: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Numbers as they are; `UnfitError` where one is infinite or none."""
    if not pc.all(pc.is_finite(numbers)).as_py():
        raise UnfitError
    return numbers


def _integers_full(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    # Told what they are, Arrow would cut 0.5 to 0 without a word; asked what they are, it tells.
    result = pa.array(values)
    # The least of all means null where integers are counted with.
    if result.type != storage or pc.min(result).as_py() == -(2**63):
        raise UnfitError
    return result


def _of(
    column: Callable[[pa.Array, pa.DataType], pa.Array], wire: pa.DataType
) -> Callable[[Sequence[Any], pa.DataType], pa.Array]:
    """The same for values that are Python's still."""
    return lambda values, storage: column(pa.array(values, wire), storage)


def _full_lists(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    # Arrow would cut 0.5 to 0 without a word.
    if any(type(item) is float for value in values if value for item in value):
        raise UnfitError
    return pa.array(values, storage)


_FULL: Mapping[str, _Reader] = MappingProxyType(
    {
        **dict.fromkeys(("id", "count", "option"), (None, _integers_full)),
        **dict.fromkeys(
            ("amount", "number"), (frozenset({int, float, _NULL}), _of(finite, pa.float64()))
        ),
        **dict.fromkeys(("text", "text_id", "time_of_day", "category", "any"), (None, pa.array)),
        **dict.fromkeys(("ids", "options"), (frozenset({list, _NULL}), _full_lists)),
        "texts": (frozenset({list, _NULL}), pa.array),
        "flag": (None, pa.array),
        "time": (None, _of(instants, pa.string())),
        "date": (None, _of(days, pa.string())),
    }
)
"""Types of values that a column may hold to be converted as a whole, and how; None where Arrow
refuses what does not fit.
"""


def _records(values: Sequence[Any], kind: Type, unfit: Callable[[object], None]) -> pa.Array:
    """Build lists of objects, each part a column of its own, so that one bad part costs that part
    alone.
    """
    items = objects_in(values)
    lists = (
        values
        if items is not None
        else [value if _is_objects(value, unfit) else None for value in values]
    )
    items = list(chain.from_iterable(filter(None, lists))) if items is None else items
    kept, nothing = by_key(items), [None] * len(items)
    parts = [build(kept.get(name, nothing), part, unfit) for name, part in kind.parts]
    flat = pa.StructArray.from_arrays(parts, fields=list(kind.storage.value_type))
    offsets = pa.array(
        accumulate((len(value) if value else 0 for value in lists), initial=0), pa.int32()
    )
    return pa.ListArray.from_arrays(
        offsets,
        flat,
        type=kind.storage,
        mask=pa.array([value is None for value in lists], pa.bool_()),
    )


def objects_in(values: Sequence[Any]) -> list[dict[str, Any]] | None:
    """The objects of all lists, one after the other; None where the values are not all null or
    lists of objects.
    """
    if not {list, _NULL}.issuperset(map(type, values)):
        return None
    objects = list(chain.from_iterable(filter(None, values)))
    return objects if {dict}.issuperset(map(type, objects)) else None


def _is_objects(value: object, unfit: Callable[[object], None]) -> bool:
    """Whether it is a list of objects; what is neither that nor null does not fit."""
    if isinstance(value, list) and {dict}.issuperset(map(type, value)):
        return True
    if value is not None:
        unfit(value)
    return False


def by_key(objects: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """Values of each key, one an object, None where an object lacks it."""
    keys = tuple(objects[0]) if objects else ()
    # Most lists send the same keys in one order with every row: then all are turned at once,
    # several times faster than key by key.
    if set(map(tuple, objects)) == {keys}:
        return dict(zip(keys, zip(*map(dict.values, objects), strict=True), strict=True))
    return {key: [one.get(key) for one in objects] for key in set().union(*objects)}


def build_columns(
    columns: Mapping[str, Cells], unfit: Callable[[str, object], None]
) -> dict[str, pa.Array]:
    """Make typed columns of one length, in any order.

    Those of one type are converted in one go where all of them fit: for a page's few hundred rows
    the calls cost more than the values.

    Parameters
    ----------
    columns
        JSON values, None for null, and what they should be, by column.
    unfit
        Is told each value that does not fit, and its column; its cell is null.
    """
    built: dict[str, pa.Array] = {}
    # By identity: types are few, and comparing Arrow's takes longer than what is done here.
    nothing: dict[int, pa.Array] = {}
    alike: dict[int, dict[str, Sequence[Any]]] = {}
    kinds = {id(kind): kind for _, kind in columns.values()}
    # Many columns may share one list of nulls, which is looked through once.
    empty = {
        number
        for number, values in {id(values): values for values, _ in columns.values()}.items()
        if all_null(values)
    }
    for name, (values, kind) in columns.items():
        if id(values) not in empty:
            alike.setdefault(id(kind), {})[name] = values
        elif (nulls := nothing.get(id(kind))) is not None:
            built[name] = nulls
        else:
            built[name] = nothing[id(kind)] = pa.nulls(len(values), kind.storage)
    for number, group in alike.items():
        kind = kinds[number]
        method = _FULL.get(kind.name)
        flat = list(chain.from_iterable(group.values())) if method and len(group) > 1 else []
        full = _full(flat, kind.storage, method) if flat and method else None
        size = len(flat) // len(group)
        for place, (name, values) in enumerate(group.items()):
            if full is not None:
                built[name] = full.slice(place * size, size)
            else:
                built[name] = build(values, kind, partial(unfit, name))
    return built


def _full(values: Sequence[Any], storage: pa.DataType, method: _Reader) -> pa.Array | None:
    """Values converted in one go; None where they do not all fit."""
    allowed, convert = method
    if allowed is not None and not allowed.issuperset(map(type, values)):
        return None
    try:
        return convert(values, storage)
    except (UnfitError, pa.ArrowException, OverflowError, TypeError, ValueError):
        return None  # some cell does not fit: find out which


def all_null(values: Sequence[Any]) -> bool:
    """Whether there is nothing but nulls, as in most custom columns."""
    # Most that are not begin with something else.
    return not values or (values[0] is None and values.count(None) == len(values))


def build(values: Sequence[Any], kind: Type, unfit: Callable[[object], None]) -> pa.Array:
    """Make one typed column.

    Parameters
    ----------
    values
        JSON values, None for null.
    kind
        What they should be.
    unfit
        Is told each value that does not fit; its cell is null.
    """
    if all_null(values):
        return pa.nulls(len(values), kind.storage)
    if kind.parts:
        return _records(values, kind, unfit)
    method = _FULL.get(kind.name)
    full = _full(values, kind.storage, method) if method else None
    if full is not None:
        return full
    cell = _CELLS.get(kind.name, read.text)
    cells: list[Any] = []
    # Durations and options, above all, are the same few texts again and again.
    known: dict[str | None, Any] = {None: None}
    for value in values:
        if (value is None or isinstance(value, str)) and value in known:
            cells.append(known[value])
            continue
        try:
            cells.append(cell(value))
        except UnfitError:
            unfit(value)
            cells.append(None)
        else:
            if isinstance(value, str):
                known[value] = cells[-1]
    if kind.name in ("time", "duration"):
        return pa.array(cells, pa.int64()).cast(kind.storage)
    return (
        pa.array(cells, pa.int32()).cast(kind.storage)
        if kind.name == "date"
        else pa.array(cells, kind.storage)
    )
