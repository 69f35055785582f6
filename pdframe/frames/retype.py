"""Give stored values the type that is declared now, as if the API had just sent them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pdframe._values import UnfitError, any_text
from pdframe.frames.convert import build
from pdframe.schema.types import JSON, Type


def parsed(text: str | None) -> Any:
    """Return the list or object that a text of an unknown column stands for, else the text itself:
    a number stays text, since a float is not exact.
    """
    if text is None or not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def retyped(
    column: pa.ChunkedArray, kind: Type, stored: pa.Field, unfit: Callable[[object], None]
) -> pa.Array | pa.ChunkedArray:
    """Return a stored column in the type that is declared now, with the readers for values of the
    API.
    """
    if not pa.types.is_string(stored.type):
        # A cast to a flag or a time guesses (7 as true), and so does a cast from one to a number.
        guesses = any(
            pa.types.is_boolean(one) or pa.types.is_temporal(one)
            for one in (stored.type, kind.storage)
        )
        if pa.types.is_string(kind.storage) or not guesses:
            with contextlib.suppress(pa.ArrowException):
                return column.cast(kind.storage)
        return build(
            [None if value is None else plain(value) for value in column.to_pylist()], kind, unfit
        )
    values = column.to_pylist()
    return build(
        values
        if kind.name != JSON.name and pa.types.is_string(kind.storage)
        else [parsed(value) for value in values],
        kind,
        unfit,
    )


def plain(value: Any) -> Any:
    """Return a stored value as a JSON value."""
    return value if isinstance(value, bool | int | float | str | list | dict) else str(value)


def text_of(value: Any) -> str | None:
    """Return a stored value as the text of a column that nothing declares."""
    try:
        return None if value is None else any_text(plain(value))
    except UnfitError:
        return str(value)


__all__ = ["parsed", "plain", "retyped", "text_of"]
