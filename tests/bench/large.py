"""A large table for the benchmarks: its pages (deals with 87 custom fields, most of them null, or
activities), and a server for them.

Its rows were updated one after the other in three years, more and more of them each month.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from pdframe.sandbox import Company, Server
from pdframe.schema import TABLES

PAGE, FIELDS = 500, 87
# Rows that differ; a larger table repeats them under new ids.
DISTINCT = 2_000
ME = {
    "id": 1,
    "name": "Bench",
    "email": "",
    "company_id": 1,
    "company_name": "Bench",
    "company_domain": "bench",
    "timezone_name": "UTC",
}
# Of the fields that fill the account up to 87 none is filled.
FIRST, SPAN, GROWTH = 1_688_000_000, 3 * 365 * 86_400, 3.0
Row = tuple[bytes, bytes]
KINDS = ("varchar", "double", "date", "text", "monetary", "user", "address", "daterange")


def material(table: str = "deals") -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows of a sandbox as JSON, each without its id and cut at its `update_time`, and
    its field list.
    """
    company = Company(seed=1, deals=DISTINCT + 300)
    have = sum(field["is_custom_field"] for field in company.fields["deal"])
    for number in range(FIELDS - have):
        company.add_field("deal", f"Seldom filled {number}", KINDS[number % len(KINDS)])
    server = Server(company, burst=100_000)
    server.start()
    rows: list[Row] = []
    try:
        cursor = ""
        while len(rows) < DISTINCT:
            query = "&".join(
                f"{name}={value}"
                for name, value in (*TABLES[table].sources[0].params, ("limit", PAGE))
            )
            request = urllib.request.Request(
                f"{server.url}/api/v2/{table}?{query}{cursor}",
                headers={"x-api-token": server.token},
            )
            with urllib.request.urlopen(request) as answer:
                page = orjson.loads(answer.read())
            rows += [_cut(row) for row in page["data"]]
            cursor = f"&cursor={page['additional_data']['next_cursor']}"
    finally:
        server.stop()
    return rows[:DISTINCT], company.fields[(TABLES[table].field_list or "").removesuffix("_fields")]


def _cut(row: dict[str, Any]) -> Row:
    head, tail = (
        orjson.dumps({**row, "update_time": "here"})
        .split(b",", 1)[1]
        .split(b'"update_time":"here"')
    )
    return head, tail


def times(count: int, bulk: int = 0) -> list[int]:
    """Return when each of `count` rows was updated, in seconds since 1970; `bulk` of them, in the
    middle, at the same time.
    """
    listed = [
        FIRST + int(math.log1p(number / count * math.expm1(GROWTH)) / GROWTH * SPAN)
        for number in range(count)
    ]
    start = (count - bulk) // 2
    listed[start : start + bulk] = [listed[count // 2]] * bulk
    return sorted(listed)


def pages(rows: list[Row], count: int) -> Iterator[bytes]:
    """Yield the bodies of all pages of `count` rows."""
    at = times(count)
    for start in range(0, count, PAGE):
        end = min(start + PAGE, count)
        yield page(rows, at, range(start, end), str(end) if end < count else None)


def page(rows: list[Row], at: list[int], numbers: range, cursor: str | None) -> bytes:
    """Return the body of a page with the rows of some numbers."""
    listed = []
    for number in numbers:
        head, tail = rows[number % len(rows)]
        stamp = f"{datetime.fromtimestamp(at[number], UTC):%Y-%m-%dT%H:%M:%SZ}".encode()
        listed.append(b'{"id":%d,%s"update_time":"%s"%s' % (number + 1, head, stamp, tail))
    more = b"null" if cursor is None else b'"%s"' % cursor.encode()
    return b'{"success":true,"data":[%s],"additional_data":{"next_cursor":%s}}' % (
        b",".join(listed),
        more,
    )


@contextlib.contextmanager
def serving(
    count: int, table: str = "deals", *, bulk: int = 0, burst: int = 1_000_000, latency: float = 0.0
) -> Iterator[str]:
    """Run a server in its own process that has `count` rows of a table and nothing else; yield its
    URL.

    Its path `/counts` returns the requests for rows so far, and the most requests of any kind in
    two seconds.
    """
    command = [
        sys.executable,
        "-m",
        "tests.bench.large",
        table,
        *map(str, (count, bulk, burst, latency)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


class _List:
    """The rows in order of their times, and the pages of a query."""

    def __init__(self, rows: list[Row], at: list[int]) -> None:
        self.rows, self.at = rows, at

    def answer(self, query: dict[str, str]) -> bytes:
        low = self._place(query["updated_since"]) if "updated_since" in query else 0
        high = self._place(query["updated_until"]) if "updated_until" in query else len(self.at)
        if query.get("sort_direction") == "desc":
            high = int(query.get("cursor", high))
            start = max(high - PAGE, low)
            return page(
                self.rows,
                self.at,
                range(high - 1, start - 1, -1),
                str(start) if start > low else None,
            )
        low = int(query.get("cursor", low))
        end = min(low + PAGE, high)
        return page(self.rows, self.at, range(low, end), str(end) if end < high else None)

    def _place(self, moment: str) -> int:
        return bisect_left(self.at, datetime.fromisoformat(moment).timestamp())


def _serve(table: str, count: int, bulk: int, burst: int, latency: float) -> None:
    rows, fields = material(table)
    listed, requested, guard = _List(rows, times(count, bulk)), list[float](), threading.Lock()
    entity = (TABLES[table].field_list or "").removesuffix("_fields")
    field_list, requests = f"{entity}Fields", [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            name = url.path.rpartition("/api/")[2][3:]
            if url.path == "/counts":
                self._send(orjson.dumps({"requests": requests[0], "fullest": fullest(requested)}))
                return
            with guard:
                requested.append(time.monotonic())
                requests[0] += name == table
            time.sleep(latency)
            if name == table and not query.keys() & {"status", "ids"}:
                self._send(listed.answer(query))
            else:
                data = {"users/me": ME, field_list: fields}.get(name, [])
                self._send(
                    orjson.dumps(
                        {"success": True, "data": data, "additional_data": {"next_cursor": None}}
                    )
                )

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            for header, value in (
                ("content-type", "application/json"),
                ("content-length", len(body)),
                ("x-ratelimit-limit", burst),
            ):
                self.send_header(header, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def fullest(requested: list[float]) -> int:
    """Return the most requests in any two seconds."""
    return max(
        (bisect_left(requested, start + 2.0) - place for place, start in enumerate(requested)),
        default=0,
    )


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
