"""The closed set of column types: the Arrow type of each in the cache, its dtype in a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd
import pyarrow as pa


@dataclass(frozen=True)
class Type:
    """One kind of value.

    Parameters
    ----------
    name
        The kind, which selects the conversion.
    storage
        Arrow type in the cache. Options are stored as ids, closed vocabularies as text.
    vocabulary
        The closed vocabulary of a category, in its natural order; empty for other kinds.
    parts
        Keys and types of the objects in a list of records; empty for other kinds.
    """

    name: str
    storage: pa.DataType
    vocabulary: tuple[str, ...] = ()
    parts: tuple[tuple[str, Type], ...] = ()

    def dtype(self, *, labelled: bool = False) -> object:
        """Dtype in a frame; `labelled`: option ids are shown as labels."""
        if pa.types.is_list(self.storage):
            return pd.ArrowDtype(pa.list_(pa.string()) if labelled else self.storage)
        return pd.CategoricalDtype() if labelled else _DTYPES[self.name]


_STR = pd.StringDtype(na_value=float("nan"))
_DTYPES: Mapping[str, object] = MappingProxyType(
    {
        "id": pd.Int64Dtype(),
        "text_id": _STR,
        "count": pd.Int64Dtype(),
        "option": pd.Int64Dtype(),
        "amount": pd.api.types.pandas_dtype("float64"),
        "number": pd.api.types.pandas_dtype("float64"),
        "flag": pd.BooleanDtype(),
        "text": _STR,
        "time": pd.DatetimeTZDtype("us", "UTC"),
        "date": pd.api.types.pandas_dtype("datetime64[us]"),
        "duration": pd.api.types.pandas_dtype("timedelta64[us]"),
        "time_of_day": _STR,
        "category": pd.CategoricalDtype(),
        "json": _STR,
        "any": _STR,
        "primary": _STR,
    }
)

ID = Type("id", pa.int64())
TEXT_ID = Type("text_id", pa.string())
COUNT = Type("count", pa.int64())
AMOUNT = Type("amount", pa.float64())
NUMBER = Type("number", pa.float64())
FLAG = Type("flag", pa.bool_())
TEXT = Type("text", pa.string())
TIME = Type("time", pa.timestamp("us", "UTC"))
DATE = Type("date", pa.date32())
DURATION = Type("duration", pa.duration("us"))
TIME_OF_DAY = Type("time_of_day", pa.string())
JSON = Type("json", pa.string())
"""JSON text of any value: strings are quoted."""
ANY = Type("any", pa.string())
"""Values without a declaration: strings unchanged, everything else as JSON text."""
PRIMARY = Type("primary", pa.string())
"""The value of the entry that is flagged primary in a list such as `emails`."""
OPTION = Type("option", pa.int64())
"""Id of an option, for fields whose options have the ids true and false: 1 and 0."""
OPTIONS = Type("options", pa.list_(pa.int64()))
IDS = Type("ids", pa.list_(pa.int64()))
TEXTS = Type("texts", pa.list_(pa.string()))


def category(*values: str) -> Type:
    """Return the type of text from a closed vocabulary, in this order."""
    return Type("category", pa.string(), values)


def records(**parts: Type) -> Type:
    """Return the type of a list of objects with these keys."""
    return Type(
        "records",
        pa.list_(pa.struct([(name, part.storage) for name, part in parts.items()])),
        parts=tuple(parts.items()),
    )


__all__ = [
    "AMOUNT",
    "ANY",
    "COUNT",
    "DATE",
    "DURATION",
    "FLAG",
    "ID",
    "IDS",
    "JSON",
    "NUMBER",
    "OPTION",
    "OPTIONS",
    "PRIMARY",
    "TEXT",
    "TEXTS",
    "TEXT_ID",
    "TIME",
    "TIME_OF_DAY",
    "Type",
    "category",
    "records",
]
