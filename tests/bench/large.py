"""A large table for the benchmarks: pages of it (deals with 87 custom fields, most of them null, or activities), and a server for them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from pdframe.sandbox import Company, Server
from pdframe.schema import TABLES

PAGE, FIELDS = 500, 87
# Rows that differ; a larger table repeats them under new ids.
DISTINCT = 2_000
ME = {"id": 1, "name": "Bench", "email": "", "company_id": 1, "company_name": "Bench", "company_domain": "bench", "timezone_name": "UTC"}
# Of the fields that fill the account up to 87 none is filled.
KINDS = ("varchar", "double", "date", "text", "monetary", "user", "address", "daterange")


def material(table: str = "deals") -> tuple[list[bytes], list[dict[str, Any]]]:
    """The rows of a sandbox as JSON, each without its id, and its field list."""
    company = Company(seed=1, deals=DISTINCT + 300)
    have = sum(field["is_custom_field"] for field in company.fields["deal"])
    for number in range(FIELDS - have):
        company.add_field("deal", f"Seldom filled {number}", KINDS[number % len(KINDS)])
    server = Server(company, burst=100_000)
    server.start()
    rows: list[bytes] = []
    try:
        cursor = ""
        while len(rows) < DISTINCT:
            query = "&".join(f"{name}={value}" for name, value in (*TABLES[table].sources[0].params, ("limit", PAGE)))
            request = urllib.request.Request(f"{server.url}/api/v2/{table}?{query}{cursor}", headers={"x-api-token": server.token})
            with urllib.request.urlopen(request) as answer:
                page = orjson.loads(answer.read())
            rows += [orjson.dumps(row).split(b",", 1)[1] for row in page["data"]]
            cursor = f"&cursor={page['additional_data']['next_cursor']}"
    finally:
        server.stop()
    return rows[:DISTINCT], company.fields[TABLES[table].entity or ""]


def pages(rows: list[bytes], count: int) -> Iterator[bytes]:
    """The bodies of a walk over so many rows."""
    for start in range(0, count, PAGE):
        yield page(rows, start, count)


def page(rows: list[bytes], start: int, count: int) -> bytes:
    """The body that begins with the row number `start` of so many."""
    end = min(start + PAGE, count)
    listed = b",".join(b'{"id":%d,%s' % (number + 1, rows[number % len(rows)]) for number in range(start, end))
    cursor = b'"%d"' % end if end < count else b"null"
    return b'{"success":true,"data":[%s],"additional_data":{"next_cursor":%s}}' % (listed, cursor)


@contextlib.contextmanager
def serving(count: int, table: str = "deals") -> Iterator[str]:
    """The URL of a server, in a process of its own, that holds so many rows of a table and nothing else."""
    with subprocess.Popen([sys.executable, "-m", "tests.bench.large", table, str(count)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def _serve(table: str, count: int) -> None:
    rows, fields = material(table)
    listed = f"{TABLES[table].entity}Fields"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query))
            name = url.path.rsplit("/api/", 1)[1][3:]
            if name == table and not query.keys() & {"status", "updated_since", "ids"}:
                body = page(rows, int(query.get("cursor", 0)), count)
            else:
                data = {"users/me": ME, listed: fields}.get(name, [])
                body = orjson.dumps({"success": True, "data": data, "additional_data": {"next_cursor": None}})
            self.send_response(200)
            for header, value in (("content-type", "application/json"), ("content-length", len(body)), ("x-ratelimit-limit", 1_000_000)):
                self.send_header(header, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
