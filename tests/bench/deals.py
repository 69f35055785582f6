"""Pages of a large account for the benchmarks: deals with 87 custom fields, most of them null, as many as wanted."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import orjson

from pdframe.sandbox import Company, Server
from pdframe.schema import TABLES

PAGE, FIELDS = 500, 87
# Rows that differ; a larger account repeats them under new ids.
DISTINCT = 2_000
# Of the fields that fill the account up to 87 none is filled.
KINDS = ("varchar", "double", "date", "text", "monetary", "user", "address", "daterange")


def material() -> tuple[list[bytes], list[dict[str, Any]]]:
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
            query = "&".join(f"{name}={value}" for name, value in (*TABLES["deals"].sources[0].params, ("limit", PAGE)))
            request = urllib.request.Request(f"{server.url}/api/v2/deals?{query}{cursor}", headers={"x-api-token": server.token})
            with urllib.request.urlopen(request) as answer:
                page = orjson.loads(answer.read())
            rows += [orjson.dumps(row).split(b",", 1)[1] for row in page["data"]]
            cursor = f"&cursor={page['additional_data']['next_cursor']}"
    finally:
        server.stop()
    return rows[:DISTINCT], company.fields["deal"]


def pages(rows: list[bytes], deals: int) -> Iterator[bytes]:
    """The bodies of a walk over so many deals."""
    for start in range(0, deals, PAGE):
        listed = b",".join(b'{"id":%d,%s' % (number + 1, rows[number % len(rows)]) for number in range(start, start + PAGE))
        cursor = b'"%d"' % (start + PAGE) if start + PAGE < deals else b"null"
        yield b'{"success":true,"data":[%s],"additional_data":{"next_cursor":%s}}' % (listed, cursor)
