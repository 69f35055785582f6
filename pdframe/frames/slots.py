"""Rows of a page as structs with a slot for each key, which decode in half the time of dicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

CUSTOM = "custom_fields"
"""The key of a row's custom fields."""
Values = dict[str, Sequence[Any]]


class Slots:
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


def as_dict(slotted: msgspec.Struct) -> dict[str, Any]:
    """Turn a row and its custom fields into dicts; leave the values of their cells unchanged."""
    values = zip(slotted.__struct_encode_fields__, msgspec.structs.astuple(slotted), strict=True)
    return {
        key: as_dict(value) if isinstance(value, msgspec.Struct) else value for key, value in values
    }


def _slotted(name: str, kinds: dict[str, Any]) -> type[msgspec.Struct]:
    fields = [(f"k{number}", kind, None) for number, kind in enumerate(kinds.values())]
    names = {f"k{number}": key for number, key in enumerate(kinds)}
    # Without cycles, so the garbage collector need not track them.
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, gc=False)


__all__ = ["CUSTOM", "Slots", "Values", "as_dict"]
