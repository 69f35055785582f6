"""A company that is a few lists of rows, over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pdframe
from tests.helpers.scripted_server import Reply, Scripted, Seen, data

ME = {"id": 1, "name": "Ada", "company_id": 7, "company_name": "Acme", "company_domain": "acme"}
ME |= {"default_currency": "EUR", "timezone_name": "UTC"}


@contextlib.contextmanager
def connected(cache: Path, lists: Mapping[str, Sequence[Any]]) -> Iterator[pdframe.Account]:
    """Connect to a company whose lists hold these rows, by path below /api/v2; other lists are
    empty.
    """

    def answer(seen: Seen) -> Reply:
        if seen.path.endswith("/users/me"):
            return data(ME)
        rows = (
            []
            if seen.params.get("status") == "deleted"
            else lists.get(seen.path.removeprefix("/api/v2/"), [])
        )
        since, until = seen.params.get("updated_since", ""), seen.params.get("updated_until", "~")
        ids = seen.params.get("ids", "").split(",") if "ids" in seen.params else None
        return data(
            [
                row
                for row in rows
                if since <= row.get("update_time", "") < until
                and (ids is None or str(row["id"]) in ids)
            ]
        )

    with Scripted.running() as server:
        server.last = answer
        with pdframe.connect(
            base_url=server.url, api_token="k" * 40, cache_dir=cache, progress=False
        ) as account:
            yield account


def code(number: int) -> str:
    """Return a hash that begins with a digit of its own."""
    return f"{number:040x}"[::-1]


def field(number: int, label: str, kind: str = "varchar", **more: Any) -> dict[str, Any]:
    """Return a custom field; its code is `code(number)`."""
    return {
        "field_code": code(number),
        "field_name": label,
        "field_type": kind,
        "is_custom_field": True,
    } | more


def deal(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Deal {number}",
        "status": "open",
        "update_time": "2026-01-01T00:00:00Z",
    } | more
