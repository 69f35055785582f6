"""What is known of each record that a table was asked for: when that was, how it looked then, and
whether the API knew it.

It stands beside the table, under `parents_name(table)`: one row a record, or several of which the
last one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError

# Once there are this many rows for each record, the old ones go.
MOST_ROWS_PER_RECORD = 2
_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("asked_at", pa.timestamp("us", "UTC")),
        ("look", pa.string()),
        ("found", pa.bool_()),
        ("server_time", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True, slots=True)
class FetchState:
    """When a record was asked for, how it looked in its own list then (None: unknown), and whether
    the API knew it.

    `fetched_at` is this machine's clock, `server_time` the server's (None: no answer told).
    """

    fetched_at: datetime
    snapshot: str | None
    matches: bool
    server_time: datetime | None = None


def parents_name(table: str) -> str:
    """Name under which the cache keeps what is known of each record."""
    return f"{table}.parents"


def load_fetch_states(store: Store, table: str) -> dict[int, FetchState]:
    """What is known of each record that was ever asked for."""
    if store.manifest(parents_name(table)) is None:
        return {}
    rows = store.read(parents_name(table)).to_pylist()
    return {
        row["id"]: FetchState(row["asked_at"], row["look"], row["found"], row.get("server_time"))
        for row in rows
    }


def add_fetch_states(
    store: Store,
    table: str,
    fresh: Mapping[int, FetchState],
    every: Mapping[int, FetchState],
    at: datetime,
) -> None:
    """Keep what is known of some records, in the place of what was known of these; `every`: what is
    known of all of them then.
    """
    manifest = _manifest(store, table)
    if manifest is None or manifest.rows + len(fresh) > MOST_ROWS_PER_RECORD * len(every):
        replace_fetch_states(store, table, every, at)
    elif fresh:
        store.append(manifest, _rows(fresh), synced_at=at)


def replace_fetch_states(
    store: Store, table: str, every: Mapping[int, FetchState], at: datetime
) -> None:
    """Keep what is known of records, and nothing of any other."""
    manifest = _manifest(store, table)
    number = manifest.next_part if manifest else 1
    store.replace(Manifest(parents_name(table), (), 0, at, at, next_part=number), _rows(every))


def _manifest(store: Store, table: str) -> Manifest | None:
    try:
        return store.manifest(parents_name(table))
    except DamagedError:
        return None


def _rows(states: Mapping[int, FetchState]) -> pa.Table:
    rows = [
        {
            "id": record,
            "asked_at": state.fetched_at,
            "look": state.snapshot,
            "found": state.matches,
            "server_time": state.server_time,
        }
        for record, state in sorted(states.items())
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)
