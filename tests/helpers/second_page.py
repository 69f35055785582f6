"""A list whose second page is any bytes, and what must come of it by a reader that is not ours: the
standard library's.
"""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pdframe import sandbox
from pdframe.api.client import Client
from pdframe.errors import DataWarning, PdframeError
from pdframe.fields import Field, read_fields
from pdframe.frames import storage_schema, to_frame, unify
from pdframe.schema import TABLES
from pdframe.sync.fetch import Fetcher
from pdframe.sync.full import FullScan
from tests.helpers.internals import client_of

BEGAN = datetime(2026, 7, 1, tzinfo=UTC)
EMPTY = b'{"success": true, "data": [], "additional_data": {"next_cursor": null}}'
# With custom fields and lists in cells, with neither, and with text as key.
NAMES = ("persons", "stages", "deal_fields")
ROWS = 6


@cache
def genuine(name: str) -> tuple[list[dict[str, Any]], tuple[Field, ...]]:
    """Rows of a list as the sandbox gives them, and its fields."""
    table = TABLES[name]
    with sandbox.connect(
        seed=5, deals=40, company="hostile", burst=100_000, progress=False
    ) as account:
        get = client_of(account).get_json
        rows = get(table.sources[0].path, dict(table.sources[0].params), cost=0).data
        fields = (
            get(TABLES[table.field_list].sources[0].path, cost=0).data if table.field_list else []
        )
    return rows[: 2 * ROWS], read_fields(fields)


def code_of(name: str) -> bytes:
    """That of a custom field of the list, if it has any."""
    return next((field.code for field in genuine(name)[1] if field.is_custom), "none").encode()


def page(rows: list[Any], cursor: str | None) -> bytes:
    return json.dumps(
        {"success": True, "data": rows, "additional_data": {"next_cursor": cursor}},
        ensure_ascii=False,
    ).encode()


def first_page(name: str) -> bytes:
    return page(genuine(name)[0][:ROWS], "second")


def second_page(name: str) -> bytes:
    return page(genuine(name)[0][ROWS:], None)


def answers(name: str, body: bytes) -> dict[str | None, bytes]:
    """What a server says behind each cursor."""
    return {None: first_page(name), "second": body}


def check(client: Client, name: str, body: bytes) -> str:
    """Walk the list over a client whose server gives `answers`, hold what came against the standard
    library's reading, and say what came.

    A page is taken whole, or refused with a typed error; what any reader takes for a page is not
    refused.
    """
    table, fields = TABLES[name], genuine(name)[1]
    key = table.key[0]
    first = {row[key] for row in genuine(name)[0][:ROWS]}
    keys = keys_of(body, key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            fetched = FullScan(Fetcher(client, table, fields, lambda rows: None), None).fetch(BEGAN)
            nothing = storage_schema(table, fields).empty_table()
            full, _ = unify([nothing, *fetched.pages], table, fields)
        except PdframeError as error:
            refusal = str(error)
            if keys is None and refusal.isprintable():
                return "refused"
            raise
        received = full[key].to_pylist()
        assert first <= set(received)
        if keys is not None:
            assert first | keys <= set(received), body
        frame = to_frame(full, table, fields)
        assert len(frame) == len(received)
        assert len(repr(frame)) > 0
    return "taken"


def keys_of(body: bytes, key: str) -> set[Any] | None:
    """The keys of the rows on a page; None where it is none, where none of its rows has one, or
    where it says that more follows.
    """
    try:
        # Python reads no whole number of more than 4,300 digits; no key has as many.
        content = json.loads(body.decode(), parse_int=lambda digits: int(digits[:400]))
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(content, dict)
        or content.get("success") is not True
        or not isinstance(content.get("data"), list)
    ):
        return None
    more = content.get("additional_data", {})
    if (
        not isinstance(more, dict)
        or more.get("next_cursor") not in (None, "")
        or more.keys() & {"pagination", "more_items_in_collection"}
    ):
        return None
    if not all(isinstance(row, dict) for row in content["data"]):
        return None
    result = [row.get(key) for row in content["data"]]
    if key == "id":
        keys = {one for one in result if type(one) is int and abs(one) < 2**63}
    else:
        keys = {one for one in result if isinstance(one, str) and one and one.isprintable()}
    return keys if keys or not result else None
