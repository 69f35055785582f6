"""Query parameters: how each is read and when it is refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pdframe.sandbox.server.answers import bad_request, shown

Parser = Callable[[str, Sequence[str]], Any]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter of an operation."""

    parse: Parser
    required: bool = False


def read(
    declared: Mapping[str, Param],
    given: Mapping[str, Sequence[str]],
    *,
    ignore_undeclared: bool = False,
) -> dict[str, Any]:
    """Parse the query of a request.

    A parameter that the operation does not have is refused, unless `ignore_undeclared`: that is how
    the older API answers ``updated_since`` on products. An empty value counts as not given.
    """
    unknown = [name for name in given if name not in declared]
    if unknown and not ignore_undeclared:
        raise bad_request(f"unknown parameter {shown(unknown[0])!r}")
    values: dict[str, Any] = {}
    for name, param in declared.items():
        texts = [text for text in given.get(name, ()) if text]
        if texts:
            values[name] = param.parse(name, texts)
        elif param.required:
            raise bad_request(f"{name} is required")
    return values


def text(name: str, values: Sequence[str]) -> str:
    """Read a plain text; a repeated key is refused."""
    if len(values) > 1:
        raise bad_request(f"{name} must be given once")
    return values[0]


def integer(name: str, values: Sequence[str]) -> int:
    """Read an integer."""
    value = text(name, values)
    if not _INTEGER.fullmatch(value):
        raise bad_request(f"{name} must be an integer, not {shown(value)!r}")
    return int(value)


def boolean(name: str, values: Sequence[str]) -> bool:
    """Read true or false, also as 1 or 0."""
    value = text(name, values)
    if value not in ("true", "false", "1", "0"):
        raise bad_request(f"{name} must be true or false, not {shown(value)!r}")
    return value in ("true", "1")


def one_of(*choices: str) -> Parser:
    """A parser for one word of a closed vocabulary."""

    def parse(name: str, values: Sequence[str]) -> str:
        value = text(name, values)
        if value not in choices:
            raise bad_request(f"{name} must be one of {', '.join(choices)}, not {shown(value)!r}")
        return value

    return parse


def some_of(*choices: str) -> Parser:
    """A parser for a comma-separated list of words of a closed vocabulary."""

    def parse(name: str, values: Sequence[str]) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(text(name, values).split(",")))
        for word in words:
            if word not in choices:
                raise bad_request(f"{name} knows {', '.join(choices)}, not {shown(word)!r}")
        return words

    return parse


def keys(most: int) -> Parser:
    """A parser for a comma-separated list of at most ``most`` field keys; keys that the account
    does not have are let through.
    """

    def parse(name: str, values: Sequence[str]) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(word for word in text(name, values).split(",") if word))
        if len(words) > most:
            raise bad_request(f"{name} takes at most {most} keys")
        return words

    return parse


def ids(most: int, *, repeatable: bool = False) -> Parser:
    """A parser for 1 to ``most`` ids, comma-separated or, where ``repeatable``, the key
    repeated.
    """

    def parse(name: str, values: Sequence[str]) -> tuple[int, ...]:
        words = ",".join(values if repeatable else [text(name, values)]).split(",")
        if len(words) > most:
            raise bad_request(f"{name} takes at most {most} ids")
        return tuple(dict.fromkeys(integer(name, [word]) for word in words))

    return parse


def moment(name: str, values: Sequence[str]) -> str:
    """Read an RFC 3339 time, whole seconds only, as UTC text that compares like the wire's own."""
    value = text(name, values)
    if not _MOMENT.fullmatch(value):
        raise bad_request(f"{name} must be an RFC 3339 time of whole seconds, not {shown(value)!r}")
    try:
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise bad_request(f"{name} is no time: {shown(value)!r}") from None


def parent(name: str, values: Sequence[str]) -> int | None:
    """Read an id, or the word ``null`` for rows without a parent."""
    return None if text(name, values) == "null" else integer(name, values)


def between(low: int, high: int) -> Parser:
    """A parser for an integer from ``low`` to ``high``, such as a page size."""

    def parse(name: str, values: Sequence[str]) -> int:
        value = integer(name, values)
        if not low <= value <= high:
            raise bad_request(f"{name} must be from {low} to {high}, not {value}")
        return value

    return parse


def path_id(value: str) -> int:
    """Read the id in a path; what is no integer is refused, not searched for."""
    return integer("id", [value])
