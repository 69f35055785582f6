"""The client: one GET at a time over HTTPS, within the limits, with bounded retries, each failure a
typed error.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import logging
import math
import random
import re
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

import httpx
import msgspec

from pdframe._forks import renew_after_fork
from pdframe.api.budget import RateLimiter, TokenBudget
from pdframe.api.credentials import Credentials, Secret
from pdframe.api.origin import LOOPBACK_HOSTS, checked_origin, granted_origin, origin_of
from pdframe.api.responses import (
    BLOCK_SECONDS,
    LONGEST_WAIT,
    Context,
    Decode,
    Retryable,
    Usable,
    classify_response,
    excerpt,
    http_date,
    parse,
    template_of,
)
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BlockedError,
    PdframeError,
    RateLimitError,
    ResponseError,
    TransportError,
)

__all__ = ["Answer", "Client", "Page", "origin_of"]

logger = logging.getLogger("pdframe")

# A server that drips, or an answer without end, must not hold a notebook for ever.
LONGEST_ANSWER_SECONDS = 120.0
LONGEST_BODY = 256 * 1024 * 1024
# Bytes before a body: headers, and interim answers (1xx), of which there may be any number.
LONGEST_HEAD = 1024 * 1024
# httpx takes no longer URL, and no server a much longer one.
LONGEST_QUERY = 60_000
# As it stands in a query. A cursor of Pipedrive has some hundred characters.
LONGEST_CURSOR = 16_384
# No retry starts when a request has taken this long in all.
PATIENCE_SECONDS = 300.0
# As many requests may be under way; more wait.
CONNECTIONS = 16
# Until a server has answered once, a failure to connect is more likely a wrong name than a bad
# moment.
FIRST_RETRIES = 2
TOKEN_RETRIES = 3

# The most bytes that one read of a connection brings; some may belong to the body.
_READ_BYTES = 64 * 1024
_BACKOFF_BASE = 0.5
_BACKOFF_CAP = 15.0
_KEPT_HEADERS = ("content-type", "date", "retry-after", "x-request-id")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer: `payload` is the body decoded; `tokens` what it cost; `server_time` its Date
    (None where it has none).

    `seconds` passed from sending the request to its end.
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
    """The data of an answer: `next_cursor` is None on the last page; `size` is the body's bytes,
    `path` its template.
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
        """The data as rows: none for null, the `items` of a search; each as the decoder made it, or
        a dict.

        Raises
        ------
        ResponseError
            Where the data is no list of objects.
        """
        data = self.data
        if isinstance(data, dict) and isinstance(data.get("items"), list):
            data = data["items"]
        rows = [] if data is None else data
        if not isinstance(rows, list) or not all(
            issubclass(kind, (dict, msgspec.Struct)) for kind in set(map(type, rows))
        ):
            raise ResponseError(
                f"{self.path} was answered without the list of rows it is known for. Nothing of it"
                " is used.",
                status=200,
            )
        return rows


@dataclass(frozen=True, slots=True)
class _Raw:
    """An answer as it came, its content encoding taken off."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Failed:
    """No whole answer came: why, whether the server may have charged it, and whether another try
    makes sense.
    """

    reason: str
    charged: bool = True
    connected: bool = True
    final: bool = False


class _RefusedError(Exception):
    """An answer that must not be read on: it takes too much time or too many bytes, or was not
    asked for. Never leaves this module.
    """

    def __init__(self, lost: _Failed) -> None:
        super().__init__(lost.reason)
        self.lost = lost


class _Bounds:
    """The time and the bytes that one exchange may take, from sending the request to the last byte
    of the answer.

    Parameters
    ----------
    clock
        Seconds.

    Attributes
    ----------
    in_body : bool
        Whether the headers of the final answer have been read.
    unanswered : bool
        Whether a request was sent, and no byte has been read since.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadline = clock() + LONGEST_ANSWER_SECONDS
        self._bytes = 0
        self.in_body = self.unanswered = False

    def seconds_left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        _RefusedError
            None are.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise _RefusedError(
                _Failed(f"an answer that was not whole after {LONGEST_ANSWER_SECONDS:.0f} s")
            )
        return left

    def take(self, raw: bytes) -> None:
        """Take note of bytes of the answer, as they are on the wire.

        Raises
        ------
        _RefusedError
            They are too many, or go on with an answer that began before the request.
        """
        if self.unanswered and raw[:5] != b"HTTP/"[: len(raw)]:
            self.refuse_early()
        self.unanswered = False
        self._bytes += len(raw)
        if not self.in_body and self._bytes > LONGEST_HEAD + _READ_BYTES:
            raise _RefusedError(
                _Failed(
                    f"headers or interim answers of more than {LONGEST_HEAD:,} bytes", final=True
                )
            )
        if self._bytes > LONGEST_BODY + LONGEST_HEAD:
            raise _RefusedError(
                _Failed(f"an answer of more than {LONGEST_BODY:,} bytes", final=True)
            )

    @staticmethod
    def refuse_early() -> NoReturn:
        """Refuse an answer that came before its request: from then on each request would get the
        answer before its own.
        """
        raise _RefusedError(_Failed("an answer that came before the request was sent"))


class Client:
    """Asks one Pipedrive company; threads may share it, and it works inside a running event loop.

    A forked process makes connections of its own, and leaves those of its parent alone.

    A request is sent at most `1 + retries` times; no retry starts 300 s after the first. Retried
    are burst 429s, 5xx, dropped connections and bodies that are cut short, after a random time that
    doubles (0.5 s to 15 s), or what `retry-after` asks for up to 30 s. An HTML 403 is never
    retried, and closes the client for ten minutes.

    Proxies and certificates are taken from the environment (HTTPS_PROXY, SSL_CERT_FILE), as company
    networks need them, but for this machine, which is asked directly. `.netrc` is never read,
    cookies are never kept, redirects never followed.

    Parameters
    ----------
    origin
        As `origin_of` returns it; None takes the `api_domain` that comes with an OAuth grant, which
        must be one of Pipedrive's.
    credentials
        An `ApiToken` or an `OAuth`.
    budget, window
        The day's tokens and the burst window; new ones where not given.
    timeout
        Seconds to connect, and to wait for the next bytes; a whole answer, headers included, may
        take 120 s.
    retries
        How often a request is sent again.
    clock, sleep
        Epoch seconds, and how to wait.
    transport
        How requests travel; None: over the network.

    Attributes
    ----------
    soonest : float
        Seconds of the usable answer that came soonest so far, from sending the request to its end;
        infinite before the first.

    Raises
    ------
    ArgumentError
        Where the origin is none, or the environment's proxy settings are unusable.
    """

    def __init__(
        self,
        origin: str | None,
        credentials: Credentials,
        *,
        budget: TokenBudget | None = None,
        window: RateLimiter | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._origin = None if origin is None else checked_origin(origin)
        self.credentials = credentials
        self.budget = TokenBudget() if budget is None else budget
        self.window = RateLimiter() if window is None else window
        self._retries = retries
        self._clock = clock
        self._sleep = sleep
        self._blocked_until = float("-inf")
        self._answered = False
        self.soonest = math.inf
        self._make = partial(_http, timeout, transport)
        self._opened: httpx.Client | None = self._make()
        self._opening = threading.Lock()
        self._closed = False
        # The connections that are open, and the bounds of the exchange that each thread is in.
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._here = threading.local()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Close the copies of the parent's connections, which does not end them there; the next
        request makes its own.
        """
        for stream in list(self._streams):
            with contextlib.suppress(Exception):
                stream.close()
        self._streams = weakref.WeakSet()
        self._opened = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"Client({self._origin!r}, {self.credentials!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a Client is never pickled or copied: it holds credentials and connections. Connect"
            " again instead."
        )

    @property
    def origin(self) -> str | None:
        """The origin that is asked; None before an OAuth grant has named it."""
        return self._origin

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    @property
    def _http(self) -> httpx.Client:
        with self._opening:
            if self._opened is None:
                self._opened = self._make()
            return self._opened

    def get_json(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        cost: int,
        api: str = "v2",
        decode: Decode | None = None,
    ) -> Page:
        """Ask once and return the data; parameters and errors as `get`.

        Raises
        ------
        ResponseError
            Also where the answer has no `data`, or does not say where its next page is.
        """
        answer = self.get(path, params, cost=cost, api=api, decode=decode)
        template = _where(path, api)
        if "data" not in answer.payload:
            raise ResponseError(
                f"{template} was answered without data. Check base_url: this may be no Pipedrive"
                " server.",
                status=200,
            )
        cursor = _next_cursor(answer.payload, template)
        return Page(
            answer.payload["data"],
            cursor,
            answer.server_time,
            len(answer.body),
            answer.tokens,
            template,
            answer.seconds,
        )

    def get(
        self,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        cost: int,
        api: str = "v2",
        decode: Decode | None = None,
    ) -> Answer:
        """Ask until there is a usable answer, or an error that says why there is none.

        Parameters
        ----------
        path
            Below the API, such as "/deals/17/discounts".
        params
            The query; None values are left out, lists are joined by commas.
        cost
            Tokens of the operation.
        api
            "v2" or "v1".
        decode
            Is shown the body first: what it makes of it is the payload. Where it returns None, the
            body is decoded as any JSON.

        Raises
        ------
        AccessError, ArgumentError, BlockedError, BudgetError, CredentialsError, RateLimitError,
        ResponseError, TransportError
            As the module `pdframe.errors` tells.
        """
        where = _where(path, api)
        query = _query(params)
        search = path.startswith("/itemSearch") or path.endswith("/search")
        if self._closed:
            raise ArgumentError(
                f"{where} was not sent: this account is closed. Connect again, or load inside its"
                " `with` block."
            )
        start, attempt, renewed = self._clock(), 0, False
        while True:
            generation = self.credentials.prepare(self._post, self._clock())
            attempt += 1
            outcome = self._once(
                path, query, where, cost=cost, api=api, search=search, decode=decode
            )
            if isinstance(outcome, Answer):
                return outcome
            if isinstance(outcome, PdframeError):
                if isinstance(outcome, AccessError) and outcome.status == 401 and not renewed:
                    renewed = True
                    if self.credentials.renew(self._post, self._clock(), generation):
                        continue
                if isinstance(outcome, BlockedError):
                    self._blocked_until = self._clock() + BLOCK_SECONDS
                raise outcome
            wait = _backoff(attempt, outcome)
            taken = self._clock() - start
            if isinstance(outcome, Retryable) and outcome.burst:
                self.window.hold(wait)  # every thread, even where this one gives up
            if attempt > self._retries_for(outcome) or taken + wait > PATIENCE_SECONDS:
                raise self._given_up(where, outcome, attempt, taken)
            logger.debug("%s: %s, again in %.1f s", where, outcome.reason, wait)
            self._sleep(wait)

    def _once(
        self,
        path: str,
        query: httpx.QueryParams,
        where: str,
        *,
        cost: int,
        api: str,
        search: bool,
        decode: Decode | None,
    ) -> Answer | Retryable | _Failed | PdframeError:
        """Send a request, count it, and return what came of it."""
        request = self._http.build_request(
            "GET", f"{self._known_origin()}/api/{api}{path}", params=query
        )
        name, secret = self.credentials.header()
        request.headers[name] = secret.reveal()
        with self.window.slot(search=search):
            self._check_open(where)  # another thread may have been blocked while this one waited
            self.budget.spend(cost)
            started = self._clock()
            raw = self._exchange(request)
            taken = self._clock() - started
            if isinstance(raw, _Raw):
                self.window.update_from_headers(raw.headers, search=search)
        if isinstance(raw, _Failed):
            logger.debug("%s: %s after %.3f s", where, raw.reason, taken)
            if not raw.charged:
                self.budget.refund(cost)
            return raw
        self._answered = True
        logger.debug("%s: HTTP %d, %d bytes, %.3f s", where, raw.status, len(raw.body), taken)
        self.budget.update_from_headers(raw.headers)
        context = Context(where, self._clock(), self.credentials.advice, self.credentials.secrets())
        verdict = classify_response(raw.status, raw.headers, raw.body, context, decode)
        if not _charged(raw.status, verdict):
            self.budget.refund(cost)
        if not isinstance(verdict, Usable):
            return verdict
        self.soonest = min(self.soonest, taken)
        headers = {
            key: value for key in _KEPT_HEADERS if (value := raw.headers.get(key)) is not None
        }
        return Answer(
            raw.status,
            raw.body,
            headers,
            http_date(raw.headers.get("date")),
            cost,
            verdict.payload,
            taken,
        )

    def _exchange(self, request: httpx.Request) -> _Raw | _Failed:
        """Send a request and read the whole answer. Errors of httpx end here: their frames hold the
        headers.
        """
        request.extensions["trace"] = self._on_trace
        self._here.bounds = bounds = _Bounds(self._clock)
        try:
            response = self._http.send(request, stream=True)
            bounds.in_body = True
            try:
                return self._read(response, bounds)
            finally:
                response.close()
        except _RefusedError as error:
            return error.lost
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.ProxyError,
            httpx.UnsupportedProtocol,
        ) as error:
            reason = f"no connection ({self._said(error)})"
            return _Failed(
                reason,
                charged=False,
                connected=False,
                final="CERTIFICATE_VERIFY_FAILED" in str(error),
            )
        except httpx.TimeoutException:
            return _Failed("no answer in time")
        except (httpx.TransportError, zlib.error) as error:
            return _Failed(f"a broken answer ({self._said(error)})")
        except RuntimeError:
            if not self._closed:
                raise
            return _Failed("the account was closed meanwhile", charged=False, final=True)

    def _on_trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Hold a new connection to the bounds of the exchanges over it: httpx has no timeout for an
        answer as a whole.

        httpx calls this as it goes on with a request: it is its `trace` extension. A connection
        through a proxy, or over TLS, is two streams, one inside the other.
        """
        bounds: _Bounds = self._here.bounds
        if event == "http11.send_request_headers.started":
            bounds.unanswered = True
        elif event == "http11.receive_response_headers.complete" and bounds.unanswered:
            bounds.refuse_early()
        elif event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            stream = info["return_value"]
            self._streams.add(stream)
            stream.read = partial(self._read_stream, stream.read)

    def _read_stream(
        self, read: Callable[..., bytes], max_bytes: int, timeout: float | None = None
    ) -> bytes:
        bounds: _Bounds = self._here.bounds
        left = bounds.seconds_left()
        try:
            raw = read(max_bytes, timeout=left if timeout is None else min(timeout, left))
        except Exception:
            bounds.seconds_left()
            raise
        bounds.take(raw)
        return raw

    def _read(self, response: httpx.Response, bounds: _Bounds) -> _Raw | _Failed:
        zipped = response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip")
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        parts, size = [], 0
        for chunk in response.iter_raw():
            part = inflate.decompress(chunk) if zipped else chunk
            parts.append(part)
            size += len(part)
            if size > LONGEST_BODY:
                return _Failed(f"a body of more than {LONGEST_BODY:,} bytes", final=True)
            bounds.seconds_left()
        if zipped and parts and not inflate.eof:
            return _Failed("a gzip body that was cut short")
        return _Raw(response.status_code, response.headers, b"".join(parts))

    def _post(self, url: str, form: dict[str, Secret], basic: Secret) -> tuple[int, Any]:
        """Post a form to the OAuth endpoint, again on what passes by itself."""
        for attempt in range(1, TOKEN_RETRIES + 1):
            request = self._http.build_request(
                "POST", url, data={key: value.reveal() for key, value in form.items()}
            )
            request.headers["authorization"] = f"Basic {basic.reveal()}"
            raw = self._exchange(request)
            lost: _Failed | Retryable
            if isinstance(raw, _Failed):
                lost = raw
            elif raw.status >= 500 or raw.status == 429:
                lost = Retryable(
                    f"HTTP {raw.status}", raw.status, wait=2.0 if raw.status == 429 else 0.0
                )
            else:
                try:
                    return raw.status, parse(raw.body)
                except ValueError:
                    return raw.status, None
            if attempt < TOKEN_RETRIES:
                self._sleep(_backoff(attempt, lost))
        raise TransportError(
            f"The OAuth token endpoint could not be reached in {TOKEN_RETRIES} attempts:"
            f" {lost.reason}. Check the network and try again.",
            attempts=TOKEN_RETRIES,
        )

    def _retries_for(self, outcome: Retryable | _Failed) -> int:
        if isinstance(outcome, Retryable) or (outcome.connected and not outcome.final):
            return self._retries
        return (
            0
            if outcome.final
            else self._retries
            if self._answered
            else min(self._retries, FIRST_RETRIES)
        )

    def _known_origin(self) -> str:
        if self._origin is None:
            domain = self.credentials.api_domain
            if domain is None:
                raise ResponseError(
                    "The OAuth token endpoint does not name the company's API domain. Nothing was"
                    ' sent to any. Give the company\'s name, such as "acme" for'
                    " https://acme.pipedrive.com, or base_url=."
                )
            self._origin = granted_origin(domain)
        return self._origin

    def _check_open(self, where: str) -> None:
        if self._clock() < self._blocked_until:
            until = datetime.fromtimestamp(self._blocked_until, UTC)
            raise BlockedError(
                f"{where} was not sent: Pipedrive's firewall blocked the company's token traffic,"
                f" and asking on prolongs it. Try again after {until:%H:%M} UTC.",
                until=until,
            )

    def _given_up(
        self, where: str, outcome: Retryable | _Failed, attempts: int, taken: float
    ) -> PdframeError:
        tried = f"{attempts} attempt{'s' if attempts > 1 else ''} over {taken:.0f} s"
        if isinstance(outcome, Retryable):
            if outcome.burst:
                return RateLimitError(
                    f"{where} ran into the burst limit (HTTP 429) in {tried}: others use this token"
                    " at the same time. Wait a minute and stop what else runs with it."
                )
            return TransportError(
                f"{where} got no usable answer in {tried}, last {outcome.reason}. Try again later.",
                status=outcome.status,
                attempts=attempts,
            )
        if not outcome.connected:
            return TransportError(
                f"{where}: {self._origin} could not be reached in {tried}: {outcome.reason}. "
                "Check the company's name or base_url, the network and the proxy.",
                attempts=attempts,
            )
        return TransportError(
            f"{where} got no whole answer in {tried}, last {outcome.reason}. Try again later.",
            attempts=attempts,
        )

    def _said(self, error: Exception) -> str:
        return excerpt(str(error), self.credentials.secrets()) or type(error).__name__


def _http(timeout: float, transport: httpx.BaseTransport | None) -> httpx.Client:
    """Make the HTTP client; the mounts keep this machine off any proxy."""
    from importlib.metadata import (
        PackageNotFoundError,
        version,
    )  # takes a while, and only who connects needs it

    try:
        program = f"pdframe/{version('pdframe')}"
    except PackageNotFoundError:
        program = "pdframe"
    problem = None
    try:
        return httpx.Client(
            headers={
                "accept": "application/json",
                "accept-encoding": "gzip",
                "user-agent": program,
            },
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=30.0,
            ),
            follow_redirects=False,
            event_hooks={"response": [_forget_location]},
            cookies=http.cookiejar.CookieJar(
                http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
            ),
            mounts={
                f"all://{f'[{host}]' if ':' in host else host}": transport
                for host in LOOPBACK_HOSTS
            },
            transport=transport,
            trust_env=True,
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        problem = type(error).__name__
    raise ArgumentError(
        f"The environment's proxy or certificate settings cannot be used ({problem}). "
        "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR."
    )


def _forget_location(response: httpx.Response) -> None:
    """Drop where a redirect leads: httpx would parse it though it is never followed, and fail on
    what is no URL.
    """
    response.headers.pop("location", None)


def _where(path: str, api: str) -> str:
    """Return how messages name a request; refuse a path that would leave the API."""
    if (
        _PATH.fullmatch(path) is None
        or any(part in ("", ".", "..") for part in path.split("/")[1:])
        or api not in ("v1", "v2")
    ):
        raise ArgumentError(
            'A path is a list of names and ids below the API, such as "/deals/17/discounts", and'
            ' the API is "v1" or "v2".'
        )
    return f"GET /api/{api}{template_of(path)}"


def _next_cursor(payload: Mapping[str, Any], where: str) -> str | None:
    """Return the cursor of the next page, None behind the last one; refuse what leaves open which
    of the two it is.
    """
    more = payload.get("additional_data") or {}
    if not isinstance(more, dict):
        raise ResponseError(
            f"{where} was answered with additional_data that is no object. Nothing of it is used.",
            status=200,
        )
    cursor = more.get("next_cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ResponseError(
            f"{where} was answered with a cursor that is no text. Nothing of it is used.",
            status=200,
        )
    if cursor and len(str(httpx.QueryParams({"cursor": cursor}))) > LONGEST_CURSOR:
        raise ResponseError(
            f"{where} was answered with a cursor of {len(cursor):,} characters, which no request"
            " can carry. Nothing of it is used; load it again.",
            status=200,
        )
    older = more.get("pagination")  # how v1 told of further pages before it had cursors
    if not cursor and any(
        reported.get("more_items_in_collection") is True
        for reported in (more, older)
        if isinstance(reported, dict)
    ):
        raise ResponseError(
            f"{where} has more rows than it gave, and gave no cursor for them. Nothing of it is"
            " used.",
            status=200,
        )
    return cursor or None


def _query(params: Mapping[str, Any] | None) -> httpx.QueryParams:
    query: dict[str, str] = {}
    for name, value in (params or {}).items():
        if isinstance(value, bool):
            query[name] = "true" if value else "false"
        elif isinstance(value, list | tuple):
            query[name] = ",".join(str(part) for part in value)
        elif value is not None:
            query[name] = str(value)
    requested = httpx.QueryParams(query)
    try:
        length = len(str(requested))
    except UnicodeEncodeError:
        length = 0
    if query and not 0 < length <= LONGEST_QUERY:
        raise ArgumentError(
            "The request cannot be sent: a parameter is too long, or holds half of a character (a"
            " lone surrogate)."
        )
    return requested


def _backoff(attempt: int, outcome: Retryable | _Failed) -> float:
    """Return how long to wait: anything up to a bound that doubles, after what the server asks
    for.
    """
    requested = min(outcome.wait, LONGEST_WAIT) if isinstance(outcome, Retryable) else 0.0
    return requested + random.uniform(0.0, min(_BACKOFF_CAP, _BACKOFF_BASE * 2 ** (attempt - 1)))


def _charged(status: int, verdict: Usable | Retryable | PdframeError) -> bool:
    """Tell whether the server charges such an answer: what an operation has dealt with, not what
    was refused before it.
    """
    return (
        (200 <= status < 300 or 400 <= status < 500)
        and status not in (401, 429)
        and not isinstance(verdict, BlockedError)
    )
