"""A real HTTP server that gives canned answers in order, for servers that are odd on purpose."""

import contextlib
import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    drop: str = (
        ""  # "before": hang up without an answer; "within": hang up in the middle of the body
    )
    pause: threading.Event | None = None


@dataclass
class Seen:
    method: str
    path: str
    params: dict
    headers: dict
    body: bytes


def data(rows, cursor=None, status=200, **headers):
    body = json.dumps(
        {"success": True, "data": rows, "additional_data": {"next_cursor": cursor}}
    ).encode()
    return Reply(
        status,
        body,
        {"content-type": "application/json", "date": "Tue, 30 Jun 2026 12:00:00 GMT"}
        | dashed(headers),
    )


def fail(status, error="", **headers):
    return Reply(
        status,
        json.dumps({"success": False, "error": error}).encode(),
        {"content-type": "application/json"} | dashed(headers),
    )


def html(status, title="Just a moment..."):
    return Reply(
        status,
        f"<!DOCTYPE html><html><title>{title}</title></html>".encode(),
        {"content-type": "text/html"},
    )


def zipped(reply, cut=0):
    body = gzip.compress(reply.body)
    return Reply(
        reply.status, body[: len(body) - cut], reply.headers | {"content-encoding": "gzip"}
    )


def grant(access="access-1", refresh="refresh-2", expires_in=3600, **more):
    fields = {
        "access_token": access,
        "refresh_token": refresh,
        "expires_in": expires_in,
        "token_type": "bearer",
    } | more
    return Reply(200, json.dumps(fields).encode(), {"content-type": "application/json"})


def dashed(headers):
    return {name.replace("_", "-"): str(value) for name, value in headers.items()}


class Scripted(ThreadingHTTPServer):
    """Gives `replies` one by one (callables get the request), then `last` for ever."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.last, self.seen, self.lock = (
            [],
            fail(500, "the script is over"),
            [],
            threading.Lock(),
        )

    @classmethod
    @contextlib.contextmanager
    def running(cls):
        """One that answers until the block is left."""
        with cls() as server:
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
            )
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def next_reply(self, seen):
        with self.lock:
            self.seen.append(seen)
            reply = self.replies.pop(0) if self.replies else self.last
        return reply(seen) if callable(reply) else reply

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the play


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        params = {name: values[0] for name, values in parse_qs(url.query).items()}
        reply = self.server.next_reply(
            Seen(self.command, url.path, params, dict(self.headers.items()), body)
        )
        if reply.pause is not None:
            reply.pause.wait(10)
        if reply.drop == "before":
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not {"content-length", "transfer-encoding"} & reply.headers.keys():
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        if reply.drop == "within":
            self.wfile.write(reply.body[: len(reply.body) // 2])
            self.close_connection = True
            return
        self.wfile.write(reply.body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *args):
        pass


class FakeTime:
    """A clock that only moves when somebody sleeps."""

    def __init__(self, now=1_782_820_800.0):  # 2026-06-30T12:00:00Z
        self.now, self.naps = now, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds
