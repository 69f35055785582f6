"""The HTTP client: one GET at a time over HTTPS, within the limits of the API, with bounded
retries; each failure is a typed error.

httpx is imported here alone.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import logging
import math
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

from pdframe._forks import renew_after_fork
from pdframe.api.credentials import Credentials, Secret
from pdframe.api.limits import (
    READ_BYTES,
    Bounds,
    ExchangeLimits,
    RateLimiter,
    RefusedError,
    TokenBudget,
)
from pdframe.api.origin import LOOPBACK_HOSTS, checked_origin, granted_origin, origin_of
from pdframe.api.responses import (
    BLOCK_SECONDS,
    Answer,
    Context,
    Decode,
    Page,
    Retryable,
    Usable,
    classify_response,
    excerpt,
    http_date,
    is_charged,
    next_cursor,
    parse,
)
from pdframe.api.retry import Failed, backoff_seconds, gave_up, may_retry
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BlockedError,
    PdframeError,
    ResponseError,
    TransportError,
)

__all__ = ["Answer", "Client", "Page", "origin_of"]

logger = logging.getLogger("pdframe")

# httpx takes no longer URL, and no server a much longer one.
MAX_QUERY_CHARACTERS = 60_000
# Requests under way at once; more wait.
MAX_CONNECTIONS = 16
TOKEN_ATTEMPTS = 3

_HEADERS_OF_ANSWER = ("content-type", "date", "retry-after", "x-request-id")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+")


@dataclass(frozen=True, slots=True)
class _Raw:
    """A complete answer, its content encoding removed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Client:
    """Sends requests to one Pipedrive company.

    Threads may share a client, and it works inside a running event loop. A forked process makes its
    own connections, and leaves those of its parent alone.

    A request is sent at most `1 + retries` times; no retry starts 300 s after the first attempt.
    The client retries burst 429s, 5xx, dropped connections and bodies that are cut short, after a
    random time that doubles (0.5 s to 15 s), or what `retry-after` asks for up to 30 s. It never
    retries an HTML 403, which closes the client for ten minutes.

    Proxies and certificates come from the environment (HTTPS_PROXY, SSL_CERT_FILE), as company
    networks need them; a server on this machine is reached without a proxy. The client never reads
    `.netrc`, keeps no cookies and follows no redirects.

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
        Seconds to connect, and to wait for the next bytes.
    retries
        Most attempts after the first one.
    limits
        Time and bytes of one exchange, headers included.
    clock, sleep
        Epoch seconds, and how to wait.
    transport
        How requests travel; None: over the network.

    Attributes
    ----------
    soonest : float
        Seconds of the fastest usable answer so far, from sending the request to its end; infinite
        before the first.
    server_clock : tuple of datetime, or None
        The `Date` of the last answer that had one, and this machine's clock at that answer.

    Raises
    ------
    ArgumentError
        The origin is none, or the environment's proxy settings are unusable.
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
        limits: ExchangeLimits | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._origin = None if origin is None else checked_origin(origin)
        self.credentials = credentials
        self.budget = TokenBudget() if budget is None else budget
        self.window = RateLimiter() if window is None else window
        self._retries = retries
        self._limits = ExchangeLimits() if limits is None else limits
        self._clock = clock
        self._sleep = sleep
        self._blocked_until = float("-inf")
        self._answered = False
        self.soonest = math.inf
        self.server_clock: tuple[datetime, datetime] | None = None
        self._make = partial(_http, timeout, transport)
        self._opened: httpx.Client | None = self._make()
        self._opening = threading.Lock()
        self._closed = False
        # The open connections, and the bounds of the exchange that each thread is in.
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._here = threading.local()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Close the copies of the parent's connections, which does not close them there; the next
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
        """The server's origin; None before an OAuth grant has named it."""
        return self._origin

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    def _reopen(self) -> httpx.Client:
        """Make the connections of a forked process."""
        with self._opening:
            self._opened = self._opened or self._make()
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
        """Send a request and return the data of its answer; parameters and errors as in `get`.

        Raises
        ------
        ResponseError
            Also where the answer has no `data`, or leaves open whether a next page exists.
        """
        answer = self.get(path, params, cost=cost, api=api, decode=decode)
        template = _where(path, api)
        if "data" not in answer.payload:
            raise ResponseError(
                f"{template} was answered without data. Check base_url: this may be no Pipedrive"
                " server.",
                status=200,
            )
        cursor = next_cursor(answer.payload, template)
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
        """Send a request until there is a usable answer, or an error that says why there is none.

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
            Gets the body first: what it returns is the payload. Where it returns None, the body is
            decoded as any JSON.

        Raises
        ------
        AccessError, ArgumentError, BlockedError, BudgetError, CredentialsError, RateLimitError,
        ResponseError, TransportError
            As the module `pdframe.errors` describes them.
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
            generation, name, secret = self.credentials.prepare(self._post, self._clock())
            attempt += 1
            outcome = self._attempt(
                path,
                query,
                where,
                {name: secret},
                cost=cost,
                api=api,
                search=search,
                decode=decode,
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
            wait = backoff_seconds(attempt, outcome)
            taken = self._clock() - start
            if isinstance(outcome, Retryable) and outcome.burst:
                self.window.pause(wait)  # every thread, even where this one gives up
            if not may_retry(
                outcome, attempt, taken + wait, retries=self._retries, answered=self._answered
            ):
                raise gave_up(where, outcome, attempt, taken, self._origin)
            logger.debug("%s: %s, again in %.1f s", where, outcome.reason, wait)
            self._sleep(wait)

    def _attempt(
        self,
        path: str,
        query: httpx.QueryParams,
        where: str,
        headers: Mapping[str, Secret],
        *,
        cost: int,
        api: str,
        search: bool,
        decode: Decode | None,
    ) -> Answer | Retryable | Failed | PdframeError:
        """Send a request once, count it, and return its outcome."""
        request = (self._opened or self._reopen()).build_request(
            "GET", f"{self._origin or self._granted_origin()}/api/{api}{path}", params=query
        )
        for name, secret in headers.items():
            request.headers[name] = secret.reveal()
        with self.window.slot(search=search):
            if self._clock() < self._blocked_until:
                raise self._blocked(where)  # another thread was, while this one waited
            self.budget.spend(cost)
            started = self._clock()
            raw = self._exchange(request)
            taken = self._clock() - started
            if isinstance(raw, _Raw):
                self.window.update_from_headers(raw.headers, search=search)
        if isinstance(raw, Failed):
            logger.debug("%s: %s after %.3f s", where, raw.reason, taken)
            if not raw.charged:
                self.budget.refund(cost)
            return raw
        self._answered = True
        logger.debug("%s: HTTP %d, %d bytes, %.3f s", where, raw.status, len(raw.body), taken)
        self.budget.update_from_headers(raw.headers)
        context = Context(where, self._clock(), self.credentials)
        verdict = classify_response(raw.status, raw.headers, raw.body, context, decode)
        if not isinstance(verdict, Usable):
            if not is_charged(raw.status, verdict):
                self.budget.refund(cost)
            return verdict
        self.soonest = min(self.soonest, taken)
        shown = {
            key: value for key in _HEADERS_OF_ANSWER if (value := raw.headers.get(key)) is not None
        }
        server_time = http_date(raw.headers.get("date"))
        if server_time is not None:
            self.server_clock = server_time, datetime.fromtimestamp(started + taken, UTC)
        return Answer(
            raw.status,
            raw.body,
            shown,
            server_time,
            cost,
            verdict.payload,
            taken,
        )

    def _exchange(self, request: httpx.Request) -> _Raw | Failed:
        """Send a request and read the complete answer. Errors of httpx end here: their frames hold
        the headers.
        """
        request.extensions["trace"] = self._on_trace
        self._here.bounds = bounds = Bounds(self._limits, self._clock, self._clock())
        try:
            response = (self._opened or self._reopen()).send(request, stream=True)
            bounds.in_body = True
            try:
                zipped = response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip")
                inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
                parts, size = [], 0
                for chunk in response.iter_raw():
                    part = inflate.decompress(chunk) if zipped else chunk
                    parts.append(part)
                    size += len(part)
                    bounds.count_body(size)
            finally:
                response.close()
            if zipped and parts and not inflate.eof:
                return Failed("a gzip body that was cut short")
            return _Raw(response.status_code, response.headers, b"".join(parts))
        except RefusedError as error:
            return error.failed
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.ProxyError,
            httpx.UnsupportedProtocol,
        ) as error:
            reason = f"no connection ({self._excerpt(error)})"
            return Failed(
                reason,
                charged=False,
                connected=False,
                final="CERTIFICATE_VERIFY_FAILED" in str(error),
            )
        except httpx.TimeoutException:
            return Failed("no answer in time")
        except (httpx.TransportError, zlib.error) as error:
            return Failed(f"a broken answer ({self._excerpt(error)})")
        except RuntimeError:
            if not self._closed:
                raise
            return Failed("the account was closed meanwhile", charged=False, final=True)

    def _on_trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Apply the bounds of the exchanges to a new connection: httpx has no timeout for a
        complete answer.

        This is httpx's `trace` extension: httpx calls it at each step of a request. A connection
        through a proxy, or over TLS, is two streams, one inside the other.
        """
        bounds: Bounds = self._here.bounds
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
        bounds: Bounds = self._here.bounds
        left = bounds.seconds_left()
        try:
            # More than httpcore asks for: each piece of a body passes through three libraries.
            wanted = max(max_bytes, READ_BYTES)
            raw = read(wanted, timeout=left if timeout is None else min(timeout, left))
        except Exception:
            bounds.seconds_left()
            raise
        bounds.count(raw)
        return raw

    def _post(self, url: str, form: dict[str, Secret], basic: Secret) -> tuple[int, Any]:
        """Post a form to the OAuth endpoint; retry what may pass."""
        for attempt in range(1, TOKEN_ATTEMPTS + 1):
            request = (self._opened or self._reopen()).build_request(
                "POST", url, data={key: value.reveal() for key, value in form.items()}
            )
            request.headers["authorization"] = f"Basic {basic.reveal()}"
            raw = self._exchange(request)
            failed: Failed | Retryable
            if isinstance(raw, Failed):
                failed = raw
            elif raw.status >= 500 or raw.status == 429:
                failed = Retryable(
                    f"HTTP {raw.status}", raw.status, wait=2.0 if raw.status == 429 else 0.0
                )
            else:
                try:
                    return raw.status, parse(raw.body)
                except ValueError:
                    return raw.status, None
            if attempt < TOKEN_ATTEMPTS:
                self._sleep(backoff_seconds(attempt, failed))
        raise TransportError(
            f"The OAuth token endpoint could not be reached in {TOKEN_ATTEMPTS} attempts:"
            f" {failed.reason}. Check the network and try again.",
            attempts=TOKEN_ATTEMPTS,
        )

    def _granted_origin(self) -> str:
        domain = self.credentials.api_domain
        if domain is None:
            raise ResponseError(
                "The OAuth token endpoint does not name the company's API domain. Nothing was"
                ' sent to any. Give the company\'s name, such as "acme" for'
                " https://acme.pipedrive.com, or base_url=."
            )
        self._origin = granted_origin(domain)
        return self._origin

    def _blocked(self, where: str) -> BlockedError:
        until = datetime.fromtimestamp(self._blocked_until, UTC)
        return BlockedError(
            f"{where} was not sent: Pipedrive's firewall blocked the company's token traffic,"
            f" and further requests prolong the block. Try again after {until:%H:%M} UTC.",
            until=until,
        )

    def _excerpt(self, error: Exception) -> str:
        return excerpt(str(error), self.credentials.secrets()) or type(error).__name__


def _http(timeout: float, transport: httpx.BaseTransport | None) -> httpx.Client:
    """Make the HTTP client; the mounts keep requests to this machine off any proxy."""
    # Slow to import, and needed by no one who reads the cache alone.
    from importlib.metadata import PackageNotFoundError, version

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
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_CONNECTIONS,
                keepalive_expiry=30.0,
            ),
            follow_redirects=False,
            # httpx would parse the target of a redirect, though it never follows it, and fail on
            # what is no URL.
            event_hooks={"response": [lambda answer: answer.headers.pop("location", None)]},
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


def _where(path: str, api: str) -> str:
    """Return how messages name a request, with its ids taken out, such as
    "GET /api/v2/deals/{id}/discounts"; refuse a path that would leave the API.
    """
    if (
        _PATH.fullmatch(path) is None
        or any(part in ("", ".", "..") for part in path.split("/")[1:])
        or api not in ("v1", "v2")
    ):
        raise ArgumentError(
            'A path is a list of names and ids below the API, such as "/deals/17/discounts", and'
            ' the API is "v1" or "v2".'
        )
    template = re.sub(r"(?<=/)(?:\d+|[0-9a-fA-F-]{36})(?=/|$)", "{id}", path)
    return f"GET /api/{api}{template}"


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
    if query and not 0 < length <= MAX_QUERY_CHARACTERS:
        raise ArgumentError(
            "The request cannot be sent: a parameter is too long, or holds half of a character (a"
            " lone surrogate)."
        )
    return requested
