"""Decode the pages of a list and type their rows.

The first page shows the keys of the rows. From then on rows are decoded into structs with a slot
for each key, which takes half the time of dicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from pdframe.fields import Field
from pdframe.frames.arrow import CUSTOM, Layout, to_arrow, type_columns
from pdframe.frames.data_warnings import Problems
from pdframe.frames.uncollected import uncollected
from pdframe.schema import Table
from pdframe.schema.types import ID, TEXT_ID

Columns = dict[str, Sequence[Any]]


class PageReader:
    """Reads the pages of one list.

    A list sends the same keys with every row. A page with other keys, or with rows that are no
    objects, does not fit the structs and is decoded into dicts; the result is the same.

    Parameters
    ----------
    table
        The table.
    fields
        Its field definitions, standard ones included.
    """

    def __init__(self, table: Table, fields: Iterable[Field] = ()) -> None:
        self._table = table
        self._fields = tuple(fields)
        self._layout = Layout(table, self._fields)
        self._keys: dict[str, None] = {}
        self._bag_keys: dict[str, None] = {}
        self._slots: _Slots | None = None

    def decode(self, body: bytes) -> dict[str, Any] | None:
        """Return the JSON object of an answer with its rows as structs; None where they do not fit,
        or before the first page.
        """
        if self._slots is None:
            return None
        with uncollected():
            return self._slots.decode(body)

    def typed(self, rows: Sequence[Any]) -> tuple[pa.Table, Problems]:
        """Type rows as `to_arrow` does.

        Parameters
        ----------
        rows
            Rows of a page: structs that `decode` made, or parsed JSON objects.
        """
        with uncollected():
            return self._typed(rows)

    def _typed(self, rows: Sequence[Any]) -> tuple[pa.Table, Problems]:
        slots = self._slots
        if slots is None or not slots.made(rows):
            # Another thread may have decoded them before a page with new keys replaced the structs.
            outdated = bool(rows) and isinstance(rows[0], msgspec.Struct)
            objects = [_as_dict(row) for row in rows] if outdated else rows
            self._learn(objects)
            return to_arrow(objects, self._table, self._fields)
        tops, bags = slots.columns(rows)
        if not all(self._is_key(name, tops) for name in self._table.key):
            return to_arrow([_as_dict(row) for row in rows], self._table, self._fields)
        problems = Problems()
        return type_columns(tops, bags, len(rows), self._layout, {}, problems), problems

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
            CUSTOM in self._keys and not (self._table.entity or self._layout.chosen)
        ):
            return
        try:
            self._slots = _Slots(list(self._keys), list(self._bag_keys))
        except ValueError:  # a key that JSON must escape, or that UTF-8 cannot hold
            self._slots = None

    def _is_key(self, name: str, tops: Columns) -> bool:
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
        self._row = _slotted(
            "Row", {key: self._bag | None if key == CUSTOM else Any for key in keys}
        )
        self._nothing = msgspec.structs.astuple(self._bag())
        rows = list[self._row]  # type: ignore[name-defined]
        answer = msgspec.defstruct(
            "Answer", [("data", rows), ("success", Any, None), ("additional_data", Any, None)]
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(answer)

    def decode(self, body: bytes) -> dict[str, Any] | None:
        try:
            return msgspec.structs.asdict(self._decoder.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def made(self, rows: Sequence[Any]) -> bool:
        return bool(rows) and isinstance(rows[0], self._row)

    def columns(self, rows: Sequence[Any]) -> tuple[Columns, Columns]:
        """Return the values of rows and of custom fields by key, one a row."""
        astuple = msgspec.structs.astuple
        tops: Columns = dict(zip(self._keys, zip(*map(astuple, rows), strict=True), strict=True))
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


def _slotted(name: str, kinds: dict[str, Any]) -> type[msgspec.Struct]:
    fields = [(f"k{number}", kind, None) for number, kind in enumerate(kinds.values())]
    names = {f"k{number}": key for number, key in enumerate(kinds)}
    # Without cycles, so the garbage collector need not track them.
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, gc=False)
