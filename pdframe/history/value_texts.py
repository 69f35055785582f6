"""Values of the cache and of changelogs as one text each: the texts of equal values are equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_YEAR_9999 = 253_370_764_800_000_000


def column_texts(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return the values of a column as texts; equal values share one text."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    words = np.array([*_words(encoded.dictionary), None], object)
    texts: NDArray[Any] = words[
        pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
    ]
    return texts


def _words(values: pa.Array) -> list[str]:
    kind = values.type
    if pa.types.is_timestamp(kind) and len(values):
        # Most columns of times hold whole seconds after 1970: Arrow formats these at once.
        micros = values.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        within = pc.and_(pc.greater_equal(micros, 0), pc.less(micros, _YEAR_9999))
        seconds = pc.divide(micros, 1_000_000)
        if pc.all(pc.and_(within, pc.equal(pc.multiply(seconds, 1_000_000), micros))).as_py():
            words: list[str] = pc.strftime(
                seconds.cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%SZ"
            ).to_pylist()
            return words
    if pa.types.is_integer(kind):
        return values.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return [_word(value) for value in values.to_pylist()]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _plain(Decimal(repr(value)))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _plain(number: Decimal) -> str:
    """Return a number without exponent and trailing zeros."""
    if not number.is_finite():
        return str(number).lower()
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _plain_number(text: str) -> str:
    number = Decimal(text)
    # A text of a few characters must not become one of a million.
    return _plain(number) if number.is_finite() and abs(number.adjusted()) < 400 else text


def _time(text: str) -> str:
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return _word(time if time.tzinfo else time.replace(tzinfo=UTC))


_FORMS: Mapping[str, Callable[[str], str]] = {
    **dict.fromkeys(("stage_id", "pipeline_id", "owner_id", "value", "probability"), _plain_number),
    "expected_close_date": lambda text: datetime.fromisoformat(text).date().isoformat(),
    **dict.fromkeys(("won_time", "lost_time"), _time),
}


def logged_text(column: str, text: str | None) -> str | None:
    """Return a value of a changelog as the text that the same value has in a snapshot; return a
    value that cannot be read unchanged.
    """
    if text is None or text == "" or column not in _FORMS:
        return text or None
    try:
        return _FORMS[column](text.strip())
    except (ValueError, InvalidOperation, OverflowError):
        return text


__all__ = ["column_texts", "logged_text"]
