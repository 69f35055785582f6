"""Convert JSON values to typed Arrow columns: a column at once where all its values fit, else cell
by cell. `Problems` counts the values and rows that do not fit, with one example a column. JSON is
decoded and converted while the garbage collector is paused (`uncollected`).
"""

from __future__ import annotations

import contextlib
import gc
import reprlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe import _values as read
from pdframe._forks import call_after_fork
from pdframe._values import FIRST_DAY, FIRST_INSTANT, UnfitError
from pdframe._warnings import MISFIT, ROW, Fact, warn
from pdframe.schema.types import Type

Cells = tuple[Sequence[Any], Type]
"""JSON values of a column, None for null, and their type."""
_ColumnReader = tuple[frozenset[type] | None, Callable[[Sequence[Any], pa.DataType], pa.Array]]

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
    """Return the value of the first entry that is flagged primary; the column of the list warns of
    what does not fit.
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
    """Convert texts, not all null, to times; `UnfitError` or an error of Arrow's where they are
    not all written alike.
    """
    # In bytes: a text that is not ASCII is no time, and Arrow refuses it.
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
    """Convert texts, not all null, to days; `UnfitError` or an Arrow error where one is no day."""
    dates = text.cast(storage)
    if pc.min(dates).value < FIRST_DAY:
        raise UnfitError
    return dates


def finite(numbers: pa.Array | pa.ChunkedArray, storage: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return the numbers; `UnfitError` where one is infinite or not a number."""
    if not pc.all(pc.is_finite(numbers)).as_py():
        raise UnfitError
    return numbers


def _integers(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    # Without a type: with one, Arrow cuts 0.5 to 0 and reports nothing.
    integers = pa.array(values)
    # The least integer of 64 bits means null in pandas and NumPy.
    if integers.type != storage or pc.min(integers).as_py() == -(2**63):
        raise UnfitError
    return integers


def _of(
    column: Callable[[pa.Array, pa.DataType], pa.Array], wire: pa.DataType
) -> Callable[[Sequence[Any], pa.DataType], pa.Array]:
    """Return the same converter for Python values."""
    return lambda values, storage: column(pa.array(values, wire), storage)


def _lists(values: Sequence[Any], storage: pa.DataType) -> pa.Array:
    # Arrow cuts 0.5 to 0 and reports nothing.
    if any(type(item) is float for value in values if value for item in value):
        raise UnfitError
    return pa.array(values, storage)


_COLUMN_READERS: Mapping[str, _ColumnReader] = MappingProxyType(
    {
        **dict.fromkeys(("id", "count", "option"), (None, _integers)),
        **dict.fromkeys(
            ("amount", "number"), (frozenset({int, float, _NULL}), _of(finite, pa.float64()))
        ),
        **dict.fromkeys(("text", "text_id", "time_of_day", "category", "any"), (None, pa.array)),
        **dict.fromkeys(("ids", "options"), (frozenset({list, _NULL}), _lists)),
        "texts": (frozenset({list, _NULL}), pa.array),
        "flag": (None, pa.array),
        "time": (None, _of(instants, pa.string())),
        "date": (None, _of(days, pa.string())),
    }
)
"""The reader of a column at once, by type: the types of values that it takes (None: Arrow refuses
what does not fit), and the conversion.
"""


def _records(values: Sequence[Any], kind: Type, unfit: Callable[[object], None]) -> pa.Array:
    """Build lists of objects, each part as a column, so that a value that does not fit costs its
    part alone.
    """
    items = objects_in(values)
    lists = (
        values
        if items is not None
        else [value if _is_objects(value, unfit) else None for value in values]
    )
    items = list(chain.from_iterable(filter(None, lists))) if items is None else items
    columns, nulls = by_key(items), [None] * len(items)
    parts = [build(columns.get(name, nulls), part, unfit) for name, part in kind.parts]
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
    """Return the objects of all lists, in their order; None where a value is neither null nor a
    list of objects.
    """
    if not {list, _NULL}.issuperset(map(type, values)):
        return None
    objects = list(chain.from_iterable(filter(None, values)))
    return objects if {dict}.issuperset(map(type, objects)) else None


def _is_objects(value: object, unfit: Callable[[object], None]) -> bool:
    """Tell whether a value is a list of objects; what is neither that nor null does not fit."""
    if isinstance(value, list) and {dict}.issuperset(map(type, value)):
        return True
    if value is not None:
        unfit(value)
    return False


def by_key(objects: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """Return the values of each key, one an object, None where an object lacks it."""
    keys = tuple(objects[0]) if objects else ()
    # Most lists send the same keys in one order with every row: then one zip makes all columns,
    # several times faster than key by key.
    if set(map(tuple, objects)) == {keys}:
        return dict(zip(keys, zip(*map(dict.values, objects), strict=True), strict=True))
    return {key: [one.get(key) for one in objects] for key in set().union(*objects)}


def build_columns(
    columns: Mapping[str, Cells], unfit: Callable[[str, object], None]
) -> dict[str, pa.Array]:
    """Make typed columns of one length, in any order.

    The columns of one type are converted at once where all their values fit: for a page of a few
    hundred rows the calls cost more than the values.

    Parameters
    ----------
    columns
        JSON values, None for null, and their type, by column.
    unfit
        Called with the column and the value of each cell that does not fit; the cell is null.
    """
    built: dict[str, pa.Array] = {}
    # By identity: comparing Arrow types costs more than all that follows.
    nulls_of: dict[int, pa.Array] = {}
    groups: dict[int, dict[str, Sequence[Any]]] = {}
    kinds = {id(kind): kind for _, kind in columns.values()}
    # Many columns may share one list of nulls, which is checked once.
    empty = {
        number
        for number, values in {id(values): values for values, _ in columns.values()}.items()
        if all_null(values)
    }
    for name, (values, kind) in columns.items():
        if id(values) not in empty:
            groups.setdefault(id(kind), {})[name] = values
        elif (nulls := nulls_of.get(id(kind))) is not None:
            built[name] = nulls
        else:
            built[name] = nulls_of[id(kind)] = pa.nulls(len(values), kind.storage)
    for number, group in groups.items():
        kind = kinds[number]
        reader = _COLUMN_READERS.get(kind.name)
        flat: list[Any] = []
        if reader and len(group) > 1:
            for values in group.values():
                flat += values  # several times as fast as `chain`
        column = _at_once(flat, kind.storage, reader) if flat and reader else None
        size = len(flat) // len(group)
        for place, (name, values) in enumerate(group.items()):
            if column is not None:
                built[name] = column.slice(place * size, size)
            else:
                built[name] = build(values, kind, partial(unfit, name))
    return built


def _at_once(values: Sequence[Any], storage: pa.DataType, reader: _ColumnReader) -> pa.Array | None:
    """Convert a column at once; None where not all values fit."""
    types, convert = reader
    if types is not None and not types.issuperset(map(type, values)):
        return None
    try:
        return convert(values, storage)
    except (UnfitError, pa.ArrowException, OverflowError, TypeError, ValueError):
        return None  # some cell does not fit: cell by cell shows which


def all_null(values: Sequence[Any]) -> bool:
    """Tell whether all values are null, as in most custom columns."""
    # The first value decides for most columns that have others.
    return not values or (values[0] is None and values.count(None) == len(values))


def build(values: Sequence[Any], kind: Type, unfit: Callable[[object], None]) -> pa.Array:
    """Make one typed column.

    Parameters
    ----------
    values
        JSON values, None for null.
    kind
        Their type.
    unfit
        Called with each value that does not fit; its cell is null.
    """
    if all_null(values):
        return pa.nulls(len(values), kind.storage)
    if kind.parts:
        return _records(values, kind, unfit)
    reader = _COLUMN_READERS.get(kind.name)
    column = _at_once(values, kind.storage, reader) if reader else None
    if column is not None:
        return column
    cell = _CELLS.get(kind.name, read.text)
    cells: list[Any] = []
    # Durations and options repeat few texts.
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


_EXAMPLE = reprlib.Repr()
_EXAMPLE.maxstring = _EXAMPLE.maxother = _EXAMPLE.maxlong = 60
_EXAMPLE.maxlevel = 2
_EXAMPLE.maxdict = _EXAMPLE.maxlist = 3


def shorten(value: object) -> str:
    """Return one printable line, at most 120 characters, that shows a value."""
    try:
        return _EXAMPLE.repr(value)[:120]
    except (ValueError, RecursionError):  # integers past Python's limit of digits
        return f"{type(value).__name__} too long to print"


@dataclass
class Problems:
    """Values and rows of one table that did not fit.

    Parameters
    ----------
    cells
        For each storage column, how many of its cells are null for that reason, and one example.
    rows
        How many rows were left out: they are no objects, or lack the table's key.
    row_example
        One of these rows.
    without_key
        Digests of the rows without a key that a fetch counted: a later page may repeat them.
    """

    cells: dict[str, tuple[int, str]] = field(default_factory=dict)
    rows: int = 0
    row_example: str = ""
    without_key: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.cells or self.rows)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> Problems:
        """Read problems from what `dataclasses.asdict` made of them; `KeyError`, `TypeError` or
        `ValueError` where `raw` is something else.
        """
        cells = {
            str(column): (int(count), str(example))
            for column, (count, example) in raw["cells"].items()
        }
        # Earlier versions did not note the rows without a key.
        without_key = [bytes.fromhex(one).hex() for one in raw.get("without_key", ())]
        return cls(cells, int(raw["rows"]), str(raw["row_example"]), without_key)

    def add_cell(self, column: str, value: object) -> None:
        """Count one value that does not fit its column."""
        count, example = self.cells.get(column) or (0, shorten(value))
        self.cells[column] = (count + 1, example)

    def add_row(self, row: object) -> None:
        """Count one row that is left out."""
        self.row_example = self.row_example or shorten(row)
        self.rows += 1

    def merge(self, other: Problems) -> None:
        """Add the problems of another part."""
        for column, (count, example) in other.cells.items():
            before, first = self.cells.get(column, (0, example))
            self.cells[column] = (before + count, first)
        self.rows += other.rows
        self.row_example = self.row_example or other.row_example
        self.without_key += other.without_key

    def merge_repeated(self, other: Problems) -> None:
        """Add the problems of rows that were counted before: those of columns that had none then,
        since a row may have been edited.
        """
        self.cells |= {name: cell for name, cell in other.cells.items() if name not in self.cells}
        if not self.rows:
            self.rows, self.row_example = other.rows, other.row_example

    def messages(self, names: Mapping[str, str] | None = None) -> list[str]:
        """Describe each problem in a sentence; `names` maps storage columns to labels."""
        messages = [
            f"column {shorten((names or {}).get(column, column))}: {count}"
            f" {'value does' if count == 1 else 'values do'} not fit the declared type and"
            f" {'is' if count == 1 else 'are'} null, for example {example}."
            for column, (count, example) in self.cells.items()
        ]
        if self.rows:
            what = (
                "row has no id or is no object and is"
                if self.rows == 1
                else "rows have no id or are no objects and are"
            )
            messages.append(f"{self.rows} {what} left out, for example {self.row_example}.")
        return messages

    def warn(self, table: str, names: Mapping[str, str] | None = None) -> None:
        """Issue one `DataWarning` for each column, and one for the rows."""
        facts = [
            Fact(table, (names or {}).get(column, column), MISFIT, count, example, column)
            for column, (count, example) in self.cells.items()
        ]
        if self.rows:
            facts.append(Fact(table, "", ROW, self.rows, self.row_example))
        for message, fact in zip(self.messages(names), facts, strict=True):
            warn(f"{table}, {message}", fact=fact)


_lock = threading.Lock()
_reading = 0
_was_on = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector until the last thread leaves this context; then restore it.

    JSON has no cycles, and the search for them takes a sixth of the time of its decoding.
    """
    global _reading, _was_on
    with _lock:
        if not _reading:
            _was_on = gc.isenabled()
            gc.disable()
        _reading += 1
    try:
        yield
    finally:
        with _lock:
            _reading -= 1
            if not _reading and _was_on:
                gc.enable()


def _after_fork() -> None:
    """Restore the garbage collector in a forked process, which has none of the threads that paused
    it.
    """
    global _lock, _reading
    _lock = threading.Lock()
    if _reading and _was_on:
        gc.enable()
    _reading = 0


call_after_fork(_after_fork)
