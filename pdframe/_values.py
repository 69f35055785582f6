r"""Read one JSON value as one type: one reader a type, for standard and custom columns alike.

A reader takes a value with one possible meaning, whatever its JSON type. It refuses a value with no
meaning or several: the cell is null, and a `DataWarning` counts such cells and shows one.

========  ===================================================  =====================================
type      reads                                                refuses
========  ===================================================  =====================================
integer   5, 5.0, "5", "5.0", "-5", "+5", "05", " 5 ", "1e3"   5.5, "5.5", true, "1,2", "1_000",
                                                               "1,000", "0x10", "NaN", "", "١٢",
                                                               2**63 and beyond, either way
number    the same, and 5.5, "5.5", ".5", "-1.5e-3"            true, NaN, infinities, "1,5", "",
                                                               "0x10"
flag      true, false, 0, 1, 0.0, 1.0, their text in any case  2, "yes", "Y", "on", ""
          ("True", "1", "1.0")
option    what integer reads; where an option's id is true or  2.5, "North"
          false, also true (1), false (0) and their text
day       "2025-03-01", and midnight of it: "2025-03-01        "2025-03-01T12:00:00Z", midnight with
          00:00:00", "2025-03-01T00:00:00.000Z", "+00:00"      another offset (another day in UTC),
                                                               "2025-3-1", "20250301", 1740787200
instant   RFC 3339, also in lower case, with a space for T,    "2025-03-01", "now", 1740787200,
          without seconds, with "+0100" or "+01"; without an   "12:00:60", "24:00:00", "12:00:00,5"
          offset: UTC; digits past microseconds are cut
duration  "26:30", "26:30:15", "26:30:15.5"                    "01:60:00", "-01:00", 90
text      "x", 5 ("5")                                         true, [], {}, NaN
integers  [5, "6"]; a lone 5: [5]; "5,6" and "5, 6": [5, 6]    "5,,6", "5,6,", "5;6", [5, "x"]
========  ===================================================  =====================================

Spaces, tabs and line breaks around a number, flag, day, instant or duration do not matter. Digits
are ASCII.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

FIRST_DAY = -719162
"""0001-01-01 in days since 1970: the first day that Python's dates can show."""
FIRST_INSTANT = FIRST_DAY * 86_400_000_000
_END_OF_TIME = 253_402_300_800_000_000  # 10000-01-01 in microseconds since 1970

MAX_NESTING = 100
"""Levels of lists and objects in a cell; `api.responses` cuts deeper ones off."""

_BLANKS = " \t\r\n"
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_MIDNIGHT = r"(?:[Tt ]00:00(?::00(?:\.0+)?)?(?:[Zz]|[+-]00(?::?00)?)?)?"
_DAY = re.compile(rf"(\d{{4}}-\d\d-\d\d){_MIDNIGHT}", re.ASCII)
_OFFSET = r"(?:[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
_INSTANT = re.compile(rf"\d{{4}}-\d\d-\d\d[Tt ]{_CLOCK}{_OFFSET}", re.ASCII)
_DURATION = re.compile(r"(\d{1,7}):([0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?", re.ASCII)
_FLAGS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnfitError(Exception):
    """A value does not fit its type."""


def clean(value: object) -> str:
    """Return text that UTF-8 can encode: lone surrogates become U+FFFD, and a value of another type
    an empty text.
    """
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else ""


def json_text(value: object) -> str:
    """Return a value as JSON, characters unescaped; `UnfitError` where lists and objects are nested
    more than `MAX_NESTING` levels deep.
    """
    level: list[Any] = [value]
    for _ in range(MAX_NESTING + 1):
        level = [part for part in level if isinstance(part, dict | list)]
        if not level:
            break
        level = [
            item for part in level for item in (part.values() if isinstance(part, dict) else part)
        ]
    else:
        raise UnfitError
    try:
        return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitError from error


def any_text(value: object) -> str:
    """Return any value as text: strings unchanged, everything else as JSON, which has no
    infinities.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UnfitError
    return clean(value) if isinstance(value, str) else json_text(value)


def text(value: object) -> str:
    """Read text; a number becomes the text that JSON writes."""
    if isinstance(value, str):
        return clean(value)
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    ):
        return json_text(value)
    raise UnfitError


def integer(value: object) -> int:
    """Read an integer of 64 bits, except the least; a text never becomes a float in between."""
    if isinstance(value, str):
        value = _exact(value)
    elif isinstance(value, float) and value.is_integer():
        # Beyond 2**53 the digits that JSON writes are what the server meant, not those of the
        # nearest float.
        value = int(value) if abs(value) <= 2**53 else _exact(repr(value))
    # The least integer of 64 bits means null in pandas and NumPy.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    raise UnfitError


def _exact(value: str) -> int | None:
    """Return the integer that a text stands for, None where it stands for none."""
    if _INTEGER.fullmatch(value):
        return int(value)
    value = value.strip(_BLANKS)
    if not _NUMBER.fullmatch(value):
        return None
    exact = Decimal(value)
    # A number past 64 bits may have a million digits.
    integer = int(exact) if exact.adjusted() < 20 else None
    return integer if integer == exact else None


def number(value: object) -> float:
    """Read a finite number."""
    if isinstance(value, str):
        value = value.strip(_BLANKS)
        if not _NUMBER.fullmatch(value):
            raise UnfitError
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError
    try:
        result = float(value)
    except OverflowError as error:
        raise UnfitError from error
    if not math.isfinite(result):
        raise UnfitError
    return result


def flag(value: object) -> bool:
    """Read true or false."""
    if isinstance(value, str):
        word = _FLAGS.get(value.strip(_BLANKS).lower())
        value = number(value) if word is None else word
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise UnfitError


def option(value: object) -> int:
    """Read the id of an option of a field whose options have the ids true and false, which are 1
    and 0.
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and (word := _FLAGS.get(value.strip(_BLANKS).lower())) is not None:
        return int(word)
    return integer(value)


def day(value: object) -> int:
    """Read a date as days since 1970."""
    match = _DAY.fullmatch(value.strip(_BLANKS)) if isinstance(value, str) else None
    if match is None:
        raise UnfitError
    try:
        return date.fromisoformat(match[1]).toordinal() + FIRST_DAY - 1
    except ValueError as error:
        raise UnfitError from error


def instant(value: object) -> int:
    """Read a time as microseconds since 1970; a time without an offset is UTC."""
    written = value.strip(_BLANKS) if isinstance(value, str) else ""
    if not _INSTANT.fullmatch(written):
        raise UnfitError
    try:
        moment = datetime.fromisoformat(written.upper())
        passed = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise UnfitError from error
    micros = (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    if micros < FIRST_INSTANT or micros >= _END_OF_TIME:
        raise UnfitError
    return micros


def duration(value: object) -> int:
    """Read a duration as microseconds; hours may exceed a day."""
    match = _DURATION.fullmatch(value.strip(_BLANKS)) if isinstance(value, str) else None
    if match is None:
        raise UnfitError
    hours, minutes, seconds = (int(digits or 0) for digits in match.groups()[:3])
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + int(
        (match[4] or "")[:6].ljust(6, "0")
    )


def items(value: object) -> list[object]:
    """Return the items of a JSON list, of a text with commas between them, or one value alone."""
    if isinstance(value, list):
        return value
    return list(value.split(",")) if isinstance(value, str) else [value]
