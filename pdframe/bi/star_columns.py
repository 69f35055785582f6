"""Columns of a star: from frames of the loaders to plain Arrow columns with a note on each.

One declaration feeds all: what a column means, its unit and what null says come from
`pdframe.schema` or from the field list; names are the API's, and of custom fields their label in
snake case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.bi._tables import BiTable, ColumnNote, Relationship
from pdframe.bi.calendar import DATE_KEY, DATES, Calendar, type_name
from pdframe.metrics._arguments import local_date
from pdframe.schema import Table

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NONE_KEY, UNKNOWN_KEY = -1, -2
"""Keys of no row, and of an id without a row."""
NONE, UNKNOWN = "(none)", "(unknown)"
CURRENCIES, CURRENCY_KEY = "dim_currency", "currency_key"
JOINT = "; "

MAX_CHUNK_BYTES = 1 << 30
_NULL_IN_MEANING = re.compile(r"(?s)(.*?); null(?: or empty)?: (.*)")
_MICROS_PER_HOUR = 3_600_000_000
_UNKNOWN = "unknown"
_TIME_ENDING = re.compile(r"_(?:time|at)$")


class Description(NamedTuple):
    """What is known of a column of a frame."""

    label: str | None = None
    code: str | None = None
    meaning: str | None = None
    unit: str | None = None
    null_means: str | None = None
    field_type: str | None = None


class Dictionary:
    """What is known of the columns of a table, from its declaration and its field list.

    Parameters
    ----------
    table
        The declaration.
    fields
        As `account.fields(table.name)` gives it; None: the table has no fields, or they are
        unavailable.
    """

    def __init__(self, table: Table, fields: pd.DataFrame | None = None) -> None:
        self.table = table
        self._labels: dict[str, tuple[str, str, str]] = {}
        self._options: dict[str, list[str] | None] = {}
        if fields is not None:
            named = fields[fields["column"].notna()].drop_duplicates("column")
            parts = named["subfield"].astype(object).where(named["subfield"].notna(), None)
            for name, label, code, kind, part in zip(
                named["column"], named["label"], named["code"], named["type"], parts, strict=True
            ):
                stored = code if part is None or name in table.by_name else f"{code}_{part}"
                self._labels[name] = (label, stored, kind)
            self._options = dict(zip(named["column"], named["options"], strict=True))

    def __getitem__(self, column: str) -> Description:
        """What is known of a column of the frame."""
        label, code, kind = self._labels.get(column, (None, None, None))
        declared = self.table.by_name.get(column)
        if declared is not None:
            meaning, null_means = split_meaning(declared.meaning)
            return Description(
                label, code or column, meaning, declared.unit, null_means or _UNKNOWN, None
            )
        if code is None:
            meaning = "A column that the API sends and nothing declares, as text"
            return Description(code=column, meaning=meaning, null_means="not sent")
        part = "" if column == label else f", part {column!r}"
        meaning = f"Custom field {label!r}{part}"
        unit = f"see the currency of {label!r}" if kind == "monetary" and not part else None
        return Description(label, code, meaning, unit, "not filled in", kind)

    def options(self, column: str) -> list[str]:
        """Return the labels of the options of a field, none where it has no options."""
        options = self._options.get(column)
        return list(options) if isinstance(options, Iterable) else []


def split_meaning(meaning: str) -> tuple[str, str | None]:
    """Return the meaning of a declared column, and what null says in it."""
    match = _NULL_IN_MEANING.fullmatch(meaning)
    return (match[1], match[2]) if match else (meaning, None)


def plain(values: pd.Series[Any]) -> pa.ChunkedArray:
    """Return a column of a frame in Arrow: text for categories, date32 for days, hours for
    durations; lists stay lists.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        categories = pa.array(values.cat.categories.astype(object), pa.string(), from_pandas=True)
        codes = values.cat.codes.to_numpy()
        return pa.chunked_array([categories.take(pa.array(codes, mask=codes < 0))])
    made = pa.array(values, from_pandas=True)
    column = made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])
    kind = column.type
    if pa.types.is_large_string(kind):
        return _short_strings(column)
    if pa.types.is_duration(kind):
        return pc.divide(column.cast(pa.int64()).cast(pa.float64()), float(_MICROS_PER_HOUR))
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return column.cast(pa.date32())
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    return column


def _short_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return large strings as strings, in chunks that 32 bits can address."""
    chunks: list[pa.Array] = []
    for chunk in column.chunks:
        count = 1 + chunk.nbytes // MAX_CHUNK_BYTES
        size = -(-len(chunk) // count) or 1
        parts = [chunk.slice(start, size) for start in range(0, len(chunk), size)]
        # A part of a long chunk keeps the offsets of the whole: `take` makes them its own.
        kept = parts if count == 1 else [part.take(pa.array(range(len(part)))) for part in parts]
        chunks += [part.cast(pa.string()) for part in kept]
    return pa.chunked_array(chunks, pa.string())


def days_of(times: pd.Series[Any], tz: str) -> pa.ChunkedArray:
    """Return the day of each time in a timezone, as date32."""
    return plain(local_date(times, tz))


class Keys:
    """The ids that have a row in a dimension."""

    def __init__(self, ids: pa.ChunkedArray | pd.Series[Any]) -> None:
        known = ids if isinstance(ids, pa.ChunkedArray) else plain(ids)
        self.ids: Ints = np.unique(pc.drop_null(known).to_numpy())

    def of(self, ids: pd.Series[Any] | pa.ChunkedArray) -> Ints:
        """Return the key of each id: -1 where it is null, -2 where it has no row."""
        column = ids if isinstance(ids, pa.ChunkedArray) else plain(ids)
        missing = pc.is_null(column).to_numpy()
        own = pc.fill_null(column.cast(pa.int64()), NONE_KEY).to_numpy()
        return np.where(missing, NONE_KEY, np.where(self.places(own) < 0, UNKNOWN_KEY, own))

    def places(self, ids: Ints) -> Ints:
        """Return the place of each id among the known ones, -1 where it is none of them."""
        if not len(self.ids):
            return np.full(len(ids), -1)
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, place, -1)


@dataclass
class Building:
    """What the tables of one star share while they are made.

    Parameters
    ----------
    tz
        The company's timezone.
    as_of
        The day of the export.
    personal
        Whether columns with personal data are written.
    calendar
        The days of facts.
    relationships, notes
        Of the tables made so far.
    keys
        Ids with a row, by dimension.
    currencies
        Currencies of the facts made so far.
    """

    tz: str
    as_of: date
    personal: bool
    calendar: Calendar
    relationships: list[Relationship] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keys: dict[str, Keys] = field(default_factory=dict)
    currencies: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


class TableBuilder:
    """One table in the making.

    Parameters
    ----------
    building
        What the tables of the star share.
    name
        Name of the table.
    is_dimension
        Whether it has the rows -1 "(none)" and -2 "(unknown)", first.
    active_date
        The date whose relationship to the calendar is active; the others are not.
    """

    def __init__(
        self,
        building: Building,
        name: str,
        *,
        is_dimension: bool = False,
        active_date: str | None = None,
    ) -> None:
        self.name = name
        self._building = building
        self._is_dimension = is_dimension
        self._active_date = active_date
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._notes: list[ColumnNote] = []

    def put(
        self,
        name: str,
        values: pa.ChunkedArray | pa.Array | Ints,
        known: Description = Description(),  # noqa: B008 - immutable
        *,
        references: str | None = None,
        extra: tuple[Any, Any] = (None, None),
    ) -> None:
        """Add a column; `extra` are its values in the rows -1 and -2 of a dimension."""
        if name in self._columns:
            raise ValueError(f"{self.name} has two columns {name!r}")
        column = pa.array(values) if isinstance(values, np.ndarray) else values
        if not isinstance(column, pa.ChunkedArray):
            column = pa.chunked_array([column])
        if self._is_dimension:
            column = pa.chunked_array([pa.array(extra, column.type), *column.chunks], column.type)
        self._columns[name] = column
        self._notes.append(
            ColumnNote(
                name,
                type_name(column.type),
                known.label,
                known.code,
                known.meaning,
                known.unit,
                known.null_means,
                references,
            )
        )

    def key(self, name: str, ids: pa.ChunkedArray | Ints, meaning: str) -> None:
        """Add the key of the table."""
        self.put(name, ids, Description(code="id", meaning=meaning), extra=(NONE_KEY, UNKNOWN_KEY))

    def reference(
        self,
        name: str,
        keys: Ints | pa.ChunkedArray,
        target: tuple[str, str],
        known: Description = Description(),  # noqa: B008 - immutable
        *,
        active: bool = True,
    ) -> None:
        """Add the key of another table; of a fact, the column that is named like the key is
        active.
        """
        table, column = target
        known = known._replace(
            meaning=f"{known.meaning or f'Row of {table}'}; -1: none, -2: without a row there",
            null_means=None,
        )
        self.put(name, keys, known, references=f"{table}.{column}", extra=(NONE_KEY, UNKNOWN_KEY))
        # Relationships between dimensions would give a second way from a fact to one of them.
        self._relate(name, table, column, active and not self._is_dimension and name == column)

    def currency(
        self,
        name: str,
        codes: pa.ChunkedArray,
        known: Description = Description(),  # noqa: B008 - immutable
    ) -> None:
        """Add the key of a currency: its code, "(none)" where it is null."""
        codes = pc.fill_null(codes, NONE)
        self._building.currencies.update(pc.unique(codes).to_pylist())
        self.put(
            name,
            codes,
            Description(
                known.label,
                known.code,
                known.meaning or "Currency of the amounts of the row, ISO 4217",
            ),
            references=f"{CURRENCIES}.{CURRENCY_KEY}",
            extra=(NONE, UNKNOWN),
        )
        active = not self._is_dimension and name == CURRENCY_KEY
        self._relate(name, CURRENCIES, CURRENCY_KEY, active)

    def time(
        self,
        name: str,
        times: pd.Series[Any],
        known: Description,
        days: pa.ChunkedArray | None = None,
    ) -> None:
        """Add a time, its day in the company's zone (`days` where the API says it), and of a fact
        the key of that day.
        """
        self.put(name, plain(times), known)
        self.date(
            day_name(name),
            days_of(times, self._building.tz) if days is None else days,
            Description(
                meaning=f"{known.meaning}: the day, {self._building.tz}",
                null_means=known.null_means,
            ),
            # Bounds of a time are no dates to slice by.
            with_key=not name.endswith("_after"),
        )

    def date(
        self, name: str, days: pa.ChunkedArray, known: Description, *, with_key: bool = True
    ) -> None:
        """Add a day, and of a fact its key in the calendar."""
        self.put(name, days, known)
        if self._is_dimension or not with_key:
            return
        key = date_key_name(name)
        null_means = f"{known.null_means or 'no date'}, or outside the calendar"
        self.put(
            key,
            self._building.calendar.keys(days),
            Description(meaning=f"Row of {DATES}, of {name}", null_means=null_means),
            references=f"{DATES}.{DATE_KEY}",
        )
        self._relate(key, DATES, DATE_KEY, name == self._active_date)

    def finish(self) -> BiTable:
        """Return the table."""
        return BiTable(self.name, pa.table(self._columns), tuple(self._notes))

    def _relate(self, name: str, table: str, column: str, active: bool) -> None:
        self._building.relationships.append(Relationship(self.name, name, table, column, active))


def day_name(time: str) -> str:
    """Return the name of the day of a time: `add_time` has `add_date`, `entered_at`
    `entered_date`.
    """
    return f"{_TIME_ENDING.sub('', time)}_date"


def date_key_name(day: str) -> str:
    """Return the name of the key of a day: `won_date` has `won_date_key`, `month`
    `month_date_key`.
    """
    return f"{day}_key" if day.endswith("_date") else f"{day}_date_key"


def hours_name(duration: str) -> str:
    """Return the name of a duration in hours."""
    return f"{duration}_hours"


def decimals(millionths: Ints) -> pa.Array:
    """Return whole millionths as decimal(18, 6), exactly."""
    words = np.empty((len(millionths), 2), np.int64)
    words[:, 0], words[:, 1] = millionths, millionths >> 63
    kind = pa.decimal128(18, 6)
    return pa.Array.from_buffers(kind, len(millionths), [None, pa.py_buffer(words)])


def joined(lists: pa.ChunkedArray, part: str | None = None) -> pa.ChunkedArray:
    """Return the items of each list (or a part of them) as one text, null where there are none."""
    values, lengths = flattened(lists)
    if part is not None:
        values = pc.struct_field(values, part)
    texts = pc.fill_null(values.cast(pa.string()), "")
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    made = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)
    text = pc.binary_join(made, JOINT)
    return pa.chunked_array([pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)])


def flattened(lists: pa.ChunkedArray) -> tuple[pa.Array, Ints]:
    """Return all items of lists, and how many each has."""
    array = lists.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], lists.type)
    lengths: Ints = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64)
    return pc.list_flatten(array), lengths


def pairs(columns: Iterable[str], dictionary: Dictionary) -> Sequence[tuple[str, str]]:
    """Return each column with the hash (or name) of its field, as `snake` takes them."""
    return [(name, dictionary[name].code or name) for name in columns]


__all__ = [
    "CURRENCIES",
    "CURRENCY_KEY",
    "NONE",
    "NONE_KEY",
    "UNKNOWN",
    "UNKNOWN_KEY",
    "Building",
    "Description",
    "Dictionary",
    "Keys",
    "TableBuilder",
    "date_key_name",
    "day_name",
    "days_of",
    "decimals",
    "flattened",
    "hours_name",
    "joined",
    "pairs",
    "plain",
    "split_meaning",
]
