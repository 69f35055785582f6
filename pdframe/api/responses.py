"""What an answer of the API means: a page of rows, another attempt, or an error.

Pure functions of status, headers and body. `classify_response` says which of the three it is,
`is_charged` whether it cost tokens, `next_cursor` whether another page exists.
"""

from __future__ import annotations

import contextlib
import email.utils
import html
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pdframe.api.credentials import Credentials, Secret
from pdframe.errors import (
    AccessError,
    BlockedError,
    BudgetError,
    PdframeError,
    ResponseError,
)

__all__ = [
    "Answer",
    "Context",
    "Decode",
    "Page",
    "Retryable",
    "Usable",
    "classify_response",
    "excerpt",
    "http_date",
    "is_charged",
    "next_cursor",
    "parse",
]

# A retry-after up to this is a burst, short enough to wait for; a longer one is the daily budget.
MAX_WAIT_SECONDS = 30.0
# After the firewall's 403, the client sends nothing for this long.
BLOCK_SECONDS = 600.0

_EXCERPT_CHARACTERS = 160
_REDACTED = "<secret>"
# Python refuses to read whole numbers of more than 4,300 digits, and no column holds one of more
# than 19.
_MAX_DIGITS = 400
# Levels of lists and objects in an answer. A cell of a table may have fewer: one that reaches this
# is null, with a warning (`_values.MAX_NESTING`).
MAX_NESTING = 150
_BOM = b"\xef\xbb\xbf"
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


Decode = Callable[[bytes], dict[str, Any] | None]
"""A decoder of the body that it expects: returns the JSON object, or None for any other body."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a message needs: the request's path template, the time, and the credentials, which say
    what to check, and which secrets it must not show.
    """

    where: str
    now: float
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Usable:
    """An answer with data: the decoded JSON object."""

    payload: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Retryable:
    """An answer that another attempt may improve: why, its status, how long the server asks to
    wait, and whether the reason is the burst limit.
    """

    reason: str
    status: int
    wait: float = 0.0
    burst: bool = False


def classify_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    context: Context,
    decode: Decode | None = None,
) -> Usable | Retryable | PdframeError:
    """Classify an answer. An error is returned, not raised: the caller first corrects the count of
    tokens.
    """
    is_html = (
        headers.get("content-type", "").lower().startswith("text/html") or body.lstrip()[:1] == b"<"
    )
    if status == 200:
        return _classify_success(is_html, body, context, decode)
    payload = None
    if not is_html:
        with contextlib.suppress(ValueError):
            payload = parse(body)
    message = _server_message(payload, body, context.credentials.secrets())
    at = f"{context.where} was answered with HTTP {status}{message}"
    if 300 <= status < 400:
        return ResponseError(
            f"{at}: a redirect, which is never followed with credentials. Check the company's name"
            " or base_url.",
            status=status,
        )
    if status == 401:
        return AccessError(
            f"{at}: the credentials are not accepted. {context.credentials.advice}",
            status=status,
            missing="credentials",
        )
    if status == 402:
        return AccessError(
            f"{at}: the company's plan does not include this. Leave the table out, or upgrade the"
            " plan.",
            status=status,
            missing="plan",
        )
    if status == 403:
        return _classify_forbidden(payload, at, context)
    if status == 429:
        return _classify_too_many(headers, payload, at, context)
    if status >= 500:
        return Retryable(
            f"HTTP {status}{message}",
            status,
            wait=min(_retry_after(headers, context.now) or 0.0, MAX_WAIT_SECONDS),
        )
    if status == 404:
        remedy = (
            "Check the id."
            if payload is not None
            else "Check the company's name or base_url: this may be no Pipedrive server."
        )
        return ResponseError(f"{at}: not found. {remedy}", status=status)
    if status == 400:
        return ResponseError(
            f"{at}: the server refuses a parameter. Check the filters.", status=status
        )
    return ResponseError(f"{at}, a status that pdframe does not know.", status=status)


def parse(body: bytes) -> Any:
    """Decode JSON; an odd value never costs a page.

    A byte-order mark at the start is skipped. Lone surrogates and bytes that are not UTF-8 become
    U+FFFD, numbers beyond Python's limit infinity. A value that is nested too deeply for the
    decoder is null from level `MAX_NESTING` on.

    Raises
    ------
    ValueError
        It is no complete JSON.
    """
    body = body.removeprefix(_BOM)
    for prepared in (bytes, _cut):
        content = prepared(body)
        with contextlib.suppress(RecursionError):
            try:
                return msgspec.json.decode(content)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return _without_surrogates(
                    json.loads(
                        content.decode("utf-8", "replace"),
                        parse_constant=lambda name: None,
                        parse_int=_integer,
                    )
                )
    raise ValueError("JSON nested too deeply")


def _cut(body: bytes) -> bytes:
    """Replace values that are nested more than `MAX_NESTING` levels deep by null."""
    depth, start, kept, pieces = 0, 0, 0, []
    for token in _STRING_OR_BRACKET.finditer(body):
        mark = body[token.start()]
        if mark in _OPENING:
            depth += 1
            if depth == MAX_NESTING + 1:
                start = token.start()
        elif mark in _CLOSING:
            if depth == MAX_NESTING + 1:
                pieces += [body[kept:start], b"null"]
                kept = token.end()
            depth -= 1
    return b"".join([*pieces, body[kept:]])


def excerpt(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return a text as a message may show it: one short line without control characters and without
    any secret, encoded ones included.
    """
    struck, decoded = text, html.unescape(urllib.parse.unquote(text)).replace("\\/", "/")
    for secret in secrets:
        pattern = re.compile(re.escape(secret.reveal()), re.IGNORECASE)
        struck, decoded = pattern.sub(_REDACTED, struck), pattern.sub(_REDACTED, decoded)
    line = " ".join(
        (decoded if decoded.count(_REDACTED) > struck.count(_REDACTED) else struck).split()
    )
    line = "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii")
        for mark in line[: _EXCERPT_CHARACTERS * 2]
    )
    return line if len(line) <= _EXCERPT_CHARACTERS else f"{line[: _EXCERPT_CHARACTERS - 1]}…"


def http_date(text: str | None) -> datetime | None:
    """Return an HTTP date in UTC, None where it is missing or makes no sense."""
    if text is None:
        return None
    try:
        time = email.utils.parsedate_to_datetime(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _classify_success(
    is_html: bool, body: bytes, context: Context, decode: Decode | None
) -> Usable | Retryable | PdframeError:
    if (
        decode
        and (expected := decode(body.removeprefix(_BOM))) is not None
        and expected.get("success") is True
    ):
        return Usable(expected)
    if is_html:
        said = _server_message(None, body, context.credentials.secrets())
        return ResponseError(
            f"{context.where} was answered with a web page{said} instead of JSON. Check the"
            " company's name or base_url, and that no login page of your network intervenes.",
            status=200,
        )
    try:
        payload = parse(body)
    except ValueError:
        return Retryable("a body that is no complete JSON", 200)
    if not isinstance(payload, dict):
        return ResponseError(
            f"{context.where} was answered with JSON that is no object. Check base_url: this may be"
            " no Pipedrive server.",
            status=200,
        )
    if payload.get("success") is False:
        message = _server_message(payload, body, context.credentials.secrets())
        return ResponseError(
            f"{context.where} was answered with success: false{message}. None of it is used; try"
            " again later.",
            status=200,
        )
    return Usable(payload)


def _classify_forbidden(payload: Any, at: str, context: Context) -> PdframeError:
    if not isinstance(payload, dict):
        until = datetime.fromtimestamp(context.now + BLOCK_SECONDS, UTC)
        return BlockedError(
            f"{at} that is no answer of the API: Pipedrive's firewall blocks the company's token"
            f" traffic, or a proxy does. Nothing is sent before {until:%H:%M} UTC, since more"
            " requests prolong the block. Stop other integrations that run into 429s.",
            until=until,
        )
    text = json.dumps(payload).lower()
    if "scope" in text:
        missing, remedy = (
            "scope",
            (
                "The app's OAuth scopes do not include it, or this API does not have the path. Add"
                " the scope in the Developer Hub."
            ),
        )
    elif re.search(r"\b(plan|upgrade|subscription|feature)", text):
        missing, remedy = (
            "plan",
            "The company's plan does not include this. Leave the table out, or upgrade the plan.",
        )
    else:
        missing, remedy = (
            "permission",
            "The user may not see this. Ask an administrator of the company for the permission.",
        )
    return AccessError(f"{at}. {remedy}", status=403, missing=missing)


def _classify_too_many(
    headers: Mapping[str, str], payload: Any, at: str, context: Context
) -> Retryable | PdframeError:
    wait = _retry_after(headers, context.now)
    text = str(payload.get("error", "")) if isinstance(payload, dict) else ""
    if (
        "daily" in text.lower()
        or headers.get("x-daily-ratelimit-token-remaining") == "0"
        or (wait or 0.0) > MAX_WAIT_SECONDS
    ):
        known = wait is not None and MAX_WAIT_SECONDS < wait < timedelta(days=7).total_seconds()
        resume_at = datetime.fromtimestamp(context.now + (wait or 0.0), UTC) if known else None
        when = (
            f"Continue after {resume_at:%Y-%m-%d %H:%M} UTC"
            if resume_at
            else "Continue when the budget is renewed, at midnight in Pipedrive's time"
        )
        return BudgetError(
            f"{at}: the company's daily budget of API tokens is used up. {when}; all integrations"
            " share it.",
            resume_at=resume_at,
        )
    if wait is None:
        reset = headers.get("x-ratelimit-reset", "")
        wait = (
            min(float(reset), MAX_WAIT_SECONDS)
            if reset.isascii() and reset.isdigit() and len(reset) < 6
            else 2.0
        )
    return Retryable("HTTP 429", 429, wait=max(wait, 1.0), burst=True)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    date = http_date(text or None)
    return None if date is None else max(0.0, date.timestamp() - now)


def _server_message(payload: Any, body: bytes, secrets: tuple[Secret, ...]) -> str:
    """Return the server's message, as ' ("…")', or an empty text."""
    if isinstance(payload, dict):
        texts = [payload.get(key) for key in ("error", "message", "error_info")]
        text = "; ".join(dict.fromkeys(text for text in texts if isinstance(text, str) and text))
    else:
        title = re.search(rb"<title[^>]*>([^<]{0,500})", body[:20_000], re.IGNORECASE)
        text = title[1].decode("utf-8", "replace") if title else ""
    line = excerpt(text, secrets)
    return f' ("{line}")' if line else ""


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which no file format takes."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(part) for key, part in value.items()}
    return value


def is_charged(status: int, verdict: Retryable | PdframeError) -> bool:
    """Tell whether the server charges tokens for an answer that is not usable: it does where it
    carried out the operation, not where it refused the request first.
    """
    return (
        (200 <= status < 300 or 400 <= status < 500)
        and status not in (401, 429)
        and not isinstance(verdict, BlockedError)
    )


# As it stands in a query. A cursor of Pipedrive has some hundred characters.
MAX_CURSOR_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer.

    `payload` is the decoded body, `tokens` what the request cost, `server_time` the answer's Date
    (None where it has none). `seconds` passed from sending the request to the end of the answer.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    server_time: datetime | None
    tokens: int
    payload: dict[str, Any] = field(repr=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """The data of an answer.

    `next_cursor` is None on the last page; `size` is the body's bytes, `path` the path's template.
    """

    data: Any = field(repr=False)
    next_cursor: str | None = field(repr=False)
    server_time: datetime | None
    size: int
    tokens: int
    path: str
    seconds: float = 0.0

    @property
    def rows(self) -> list[Any]:
        """The data as rows, or the `items` of a search; no rows where it is null. Each row is what
        the decoder made, or a dict.

        Raises
        ------
        ResponseError
            The data is no list of objects.
        """
        data = self.data
        if isinstance(data, dict) and isinstance(data.get("items"), list):
            data = data["items"]
        rows = [] if data is None else data
        if not isinstance(rows, list) or not all(
            issubclass(kind, (dict, msgspec.Struct)) for kind in set(map(type, rows))
        ):
            raise ResponseError(
                f"{self.path} was answered without a list of rows. None of it is used.",
                status=200,
            )
        return rows


def next_cursor(payload: Mapping[str, Any], where: str) -> str | None:
    """Return the cursor of the next page, None after the last one; refuse an answer that leaves
    open which of the two it is.
    """
    more = payload.get("additional_data") or {}
    if not isinstance(more, dict):
        raise ResponseError(
            f"{where} was answered with additional_data that is no object. None of it is used.",
            status=200,
        )
    cursor = more.get("next_cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ResponseError(
            f"{where} was answered with a cursor that is no text. None of it is used.",
            status=200,
        )
    if cursor and len(urllib.parse.quote_plus(cursor, errors="replace")) > MAX_CURSOR_CHARACTERS:
        raise ResponseError(
            f"{where} was answered with a cursor of {len(cursor):,} characters, which no request"
            " can carry. None of it is used; load it again.",
            status=200,
        )
    older = more.get("pagination")  # v1 announced further pages like this before it had cursors
    if not cursor and any(
        listed.get("more_items_in_collection") is True
        for listed in (more, older)
        if isinstance(listed, dict)
    ):
        raise ResponseError(
            f"{where} has more rows than it gave, and gave no cursor for them. None of it is used.",
            status=200,
        )
    return cursor or None
