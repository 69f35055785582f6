"""The HTTP server: sockets, keep-alive, compression, and the spoiling of answers."""

import contextlib
import gzip
import os
import secrets
import socket
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pdframe.sandbox.server.answers import JSON_TYPE, Answer, Refusal, encode, refused
from pdframe.sandbox.server.app import App, BeforeRequest, Request
from pdframe.sandbox.server.auth import Auth, OAuthClient
from pdframe.sandbox.server.faults import Faults
from pdframe.sandbox.server.log import Logged, Stats
from pdframe.sandbox.server.settings import PLANS, TOKENS_PER_SEAT, Settings

if TYPE_CHECKING:
    from pdframe.sandbox.company import Company

_LARGEST_BODY = 65_536
_WORTH_GZIP = 500
_IDLE_SECONDS = 300.0


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: "_HTTPServer"

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            self.close_connection = True
            self._send(refused(Refusal(413, "Request body is too large", "Send less.")))
            return
        if self.server.app.settings.latency:
            time.sleep(self.server.app.settings.latency)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(self.server.app.answer(Request(self.command, self.path, headers, body)))

    # The standard library's names.
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _read_body(self) -> bytes | None:
        """The request's body, None where it is too large or of unknown length."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not (
            length.isascii() and length.isdigit() and len(length) < 10
        ):
            return None
        return self.rfile.read(int(length)) if int(length) <= _LARGEST_BODY else None

    def _send(self, answer: Answer) -> None:
        """Write an answer in one piece."""
        if answer.mangle == "drop":
            self.close_connection = True
            return
        body, zipped = answer.body, False
        accepted = self.headers.get("accept-encoding", "") if hasattr(self, "headers") else ""
        if "gzip" in accepted and (len(body) >= _WORTH_GZIP or answer.mangle == "cut_gzip"):
            body, zipped = gzip.compress(body, compresslevel=1, mtime=0), True
        length = len(body)
        if answer.mangle is not None:
            body = body[: max(1, len(body) // 2)]
            if answer.mangle == "cut_gzip" and zipped:
                length = len(body)
            else:
                self.close_connection = True
        if answer.status == 405 or answer.status >= 500:
            self.close_connection = True
        lines = [
            f"HTTP/1.1 {answer.status} {_phrase(answer.status)}",
            f"Date: {self.server.app.date()}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in answer.headers),
            *(("Content-Encoding: gzip", "Vary: Accept-Encoding") if zipped else ()),
            "Connection: close"
            if self.close_connection and answer.mangle is None
            else "Connection: keep-alive",
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library refuses before a request is made of it: in short JSON,
        never with the request's text.
        """
        del message, explain
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(
                refused(
                    Refusal(405, "Method not allowed", "This server is read-only."),
                    (("allow", "GET"),),
                )
            )
        else:
            self._send(Answer(code, encode({"success": False, "error": _phrase(code)}), JSON_TYPE))

    def log_message(self, *args: Any) -> None:
        """Keep quiet: the server has a log of its own."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class _HTTPServer(ThreadingHTTPServer):
    """Listens on loopback, remembers its connections so that they can be closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, app: App) -> None:
        self.app = app
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        _listening.add(self)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let callers hang up; keep anything else where tests see it."""
        del request, client_address
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.app.crashes.append(repr(error))

    def close_connections(self) -> None:
        """Hang up on every caller."""
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


_listening: weakref.WeakSet[_HTTPServer] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Close a forked process's copies of the sockets: no thread serves there, and a caller must see
    when the parent hangs up.
    """
    for httpd in list(_listening):
        for copy in (httpd.socket, *httpd._open):
            with contextlib.suppress(OSError):
                os.close(copy.detach())  # files that were made of a socket would keep it open


# Windows cannot fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _stop(httpd: _HTTPServer, thread: threading.Thread, owner: int) -> None:
    if os.getpid() != owner:
        return
    if threading.current_thread() is thread:
        # The garbage collector may find a forgotten server in that server's own thread, which
        # cannot wait for its own end.
        threading.Thread(target=_stop, args=(httpd, thread, owner), daemon=True).start()
        return
    httpd.shutdown()
    httpd.server_close()
    httpd.close_connections()
    thread.join(timeout=5)


class Server:
    """A company's wire API on a free port of 127.0.0.1.

    Parameters
    ----------
    company
        Whose rows are served.
    token
        The API token; random where None.
    plan, seats, daily_tokens
        Plan (Lite, Growth, Premium, Ultimate) and seats decide limits and the daily budget, unless
        ``daily_tokens`` is given.
    burst, search_burst
        Requests in 2 s a token, searches on their own; ``burst=None``: the plan's.
    latency
        Seconds that every answer is held back.
    faults
        What goes wrong; may be replaced while the server runs.
    oauth_clients
        Apps that may refresh access tokens at ``/oauth/token``.
    access_token_seconds, rotate_refresh_tokens
        Life of an access token in real time, and whether a refresh ends the refresh token that it
        used.
    **switches
        Further `Settings`: ``daily_headers``, ``burst_retry_after``, ``daily_retry_after``,
        ``block_after``, ``lite_status``, ``lite_revenue``, ``products_updated_since``,
        ``query_token``, ``undeclared_params``, ``field_search``.
    """

    def __init__(
        self,
        company: "Company",
        *,
        token: str | None = None,
        plan: Literal["Lite", "Growth", "Premium", "Ultimate"] = "Growth",
        seats: int = 12,
        daily_tokens: int | None = None,
        burst: int | None = None,
        search_burst: int = 10,
        latency: float = 0.0,
        faults: Faults | None = None,
        oauth_clients: Sequence[OAuthClient] | None = None,
        access_token_seconds: float = 3600.0,
        rotate_refresh_tokens: bool = True,
        **switches: Any,
    ) -> None:
        self.token = token if token is not None else secrets.token_hex(20)
        self.settings = Settings(
            plan=plan, burst=burst, search_burst=search_burst, latency=latency, **switches
        )
        self.settings.daily_tokens = (
            TOKENS_PER_SEAT * PLANS[plan] * seats if daily_tokens is None else daily_tokens
        )
        auth = Auth(
            self.token,
            oauth_clients or (),
            access_seconds=access_token_seconds,
            rotate=rotate_refresh_tokens,
        )
        self._app = App(company, self.settings, auth, faults)
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._url = ""

    def __repr__(self) -> str:
        return f"Server({self._url or 'not started'})"

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> "Server":
        """Listen; a second call changes nothing. The server stops by itself at exit, or when no
        reference to it is left.
        """
        if self._finalizer is None:
            httpd = _HTTPServer(self._app)
            self._url = self._app.origin = f"http://127.0.0.1:{httpd.server_port}"
            thread = threading.Thread(
                target=httpd.serve_forever, args=(0.05,), name="pdframe-sandbox", daemon=True
            )
            thread.start()
            self._finalizer = weakref.finalize(self, _stop, httpd, thread, os.getpid())
        return self

    def stop(self) -> None:
        """Close the port and every connection; a second call changes nothing."""
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None

    @property
    def company(self) -> "Company":
        """The company that is served."""
        return self._app.company

    @property
    def url(self) -> str:
        """The origin, such as ``http://127.0.0.1:40123``; empty before the start."""
        return self._url

    @property
    def faults(self) -> Faults | None:
        """What goes wrong."""
        return self._app.faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        self._app.faults = faults

    @property
    def before_request(self) -> BeforeRequest | None:
        """Called with path and parameters before each request is answered; None: nothing is.

        It may write to the company and replace the faults: that is how a test lets something happen
        between two requests of a sync. Credentials are not among the parameters.
        """
        return self._app.before_request

    @before_request.setter
    def before_request(self, call: BeforeRequest | None) -> None:
        self._app.before_request = call

    @property
    def stats(self) -> Stats:
        """Requests, tokens and the fullest window since the start or the last reset."""
        return self._app.log.stats

    @property
    def requests(self) -> list[Logged]:
        """Every answered request since the start or the last reset, without credentials."""
        return self._app.log.entries

    @property
    def remaining_tokens(self) -> int:
        """What is left of the daily budget."""
        return self._app.limits.remaining

    @property
    def crashes(self) -> list[str]:
        """Tracebacks of mistakes of the server's own: empty, or a bug."""
        return self._app.crashes

    def reset_stats(self) -> None:
        """Count from zero again; limits and budget go on."""
        self._app.log.reset()

    def expire_cursors(self) -> None:
        """Refuse every cursor given out so far."""
        self._app.cursors.expire()

    def expire_access_tokens(self) -> None:
        """End every OAuth access token given out so far."""
        self._app.auth.expire_access()

    def revoke_oauth(self) -> None:
        """End every OAuth refresh and access token, as an uninstalled app's."""
        self._app.auth.revoke()

    def new_day(self) -> None:
        """Refill the daily budget, as midnight does."""
        self._app.limits.new_day()

    def unblock(self) -> None:
        """End the HTML 403 that too many 429s earned."""
        self._app.limits.unblock()
