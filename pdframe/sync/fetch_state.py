"""Fetch state of parent records: when the children of each were fetched, its fingerprint then, and
whether the API knew it. Which parents are due is decided in `plan`.

Line items, installments and all tables that cost a request a record share this mechanism. The
states are cached beside the table, one row a parent (`state_name`).

A fingerprint is made of the values in the list of parents that move when their children may have
changed. A change later in the same second leaves no sign. It can only be in the records that
changed last: their fingerprints are provisional, and their children are fetched again until that
second is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.parts import newest_rows
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError
from pdframe.schema import TABLES

# One row a parent: when its children were requested by this machine's clock, its fingerprint then
# (null: unknown), whether the API knew it, and the server's clock at the answer (null: none said).
# The names of the columns are those of the first version.
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("asked_at", pa.timestamp("us", "UTC")),
        ("look", pa.string()),
        ("found", pa.bool_()),
        ("server_time", pa.timestamp("us", "UTC")),
    ]
)
NO_STATES = SCHEMA.empty_table()


@dataclass(frozen=True, slots=True)
class Want:
    """Which parents to fetch children of.

    Parameters
    ----------
    ids
        The parents; None: every one.
    full
        Fetch all of them, whatever their state.
    now
        Fetch without regard to age.
    max_age
        How old a state may be otherwise; None: any age, whatever the cached list shows.
    listed
        Whether the cached list of parents is as fresh as that: then fingerprints show which of them
        changed.
    most
        Fetch at most that many, those with the highest ids; None: all.
    """

    ids: Sequence[int] | None
    full: bool = False
    now: bool = False
    max_age: timedelta | None = None
    listed: bool = False
    most: int | None = None


def state_name(table: str) -> str:
    """Return the name under which the cache keeps the fetch states of a table."""
    return f"{table}.basis" if TABLES[table].sources[0].batch else f"{table}.parents"


def load_states(store: Store, table: str) -> pa.Table:
    """Return the fetch states of all parents, one row a parent, sorted by id; none where they
    cannot be read as states.
    """
    if store.manifest(state_name(table)) is None:
        return NO_STATES
    rows = store.read(state_name(table))
    if not {"id", "asked_at", "look", "found"}.issubset(rows.column_names):
        # Another version wrote them: the children are fetched again.
        return NO_STATES
    if "server_time" not in rows.column_names:
        rows = rows.append_column("server_time", pa.nulls(rows.num_rows, SCHEMA.types[-1]))
    return newest_rows(rows.select(SCHEMA.names).cast(SCHEMA), "id")


def save_states(store: Store, table: str, states: pa.Table, at: datetime) -> None:
    """Replace the fetch states of a table."""
    name = state_name(table)
    try:
        before = store.manifest(name)
    except DamagedError:
        before = None
    number = before.next_part if before else 1
    store.replace(Manifest(name, (), 0, at, at, next_part=number), newest_states(states))


def newest_states(*states: pa.Table) -> pa.Table:
    """Return one state a parent, the last one."""
    return newest_rows(pa.concat_tables([NO_STATES, *states]), "id")


def drop_parents(states: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the states of all other parents."""
    return states.filter(pc.invert(pc.is_in(states["id"], value_set=combined(ids))))


def keep_parents(states: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the states of some parents."""
    return states.filter(pc.is_in(states["id"], value_set=combined(ids)))


def states_of_batch(
    ids: Sequence[int],
    fingerprints: pa.Table,
    before: pa.Table,
    *,
    fetched_at: Sequence[datetime],
    server_times: Sequence[datetime | None],
    exists: Sequence[bool],
) -> pa.Table:
    """Return the states of parents whose children were fetched.

    Parameters
    ----------
    ids
        The parents.
    fingerprints, before
        Fingerprints of parents as far as they are known, and their states before, sorted by id.
    fetched_at, server_times, exists
        Of each parent: this machine's clock before the request, the server's at the answer, and
        whether the API knew it.
    """
    parents, times = pa.array(ids, pa.int64()), pa.array(server_times, SCHEMA.types[-1])
    fingerprint = fingerprints["fingerprint"].take(places_of(parents, fingerprints))
    columns = {
        "id": parents,
        "asked_at": pa.array(fetched_at, SCHEMA.field("asked_at").type),
        "look": settle(fingerprint, before.take(places_of(parents, before)), times),
        "found": pa.array(exists, pa.bool_()),
        "server_time": times,
    }
    return newest_states(pa.table(columns, schema=SCHEMA))


def combined(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return values in one piece."""
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


# What a provisional fingerprint begins with.
PROVISIONAL = "?"
# Once the server's clock moved by this much, the second of a stamp is over.
SECOND_IS_OVER = timedelta(seconds=2)
NO_FINGERPRINTS = pa.schema(
    [("id", pa.int64()), ("fingerprint", pa.string()), ("update_time", SCHEMA.types[-1])]
).empty_table()


def fingerprints_of(records: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return the `id`, `fingerprint` and `update_time` of records; the fingerprint is made of some
    of their columns.

    Parameters
    ----------
    records
        All records of their list, with `id` and `update_time`.
    columns
        The columns that move when children may have changed.
    """
    texts = [pc.fill_null(records[name].cast(pa.string()), "") for name in columns]
    fingerprints = pc.binary_join_element_wise(*texts, "|")
    newest = pc.max(records["update_time"])
    is_provisional = pc.fill_null(pc.equal(records["update_time"], newest), False)
    fingerprints = pc.if_else(
        is_provisional, pc.binary_join_element_wise(PROVISIONAL, fingerprints, ""), fingerprints
    )
    columns_of = {"id": records["id"], "fingerprint": fingerprints}
    return pa.table({**columns_of, "update_time": records["update_time"]}).sort_by("id")


def places_of(ids: pa.Array, table: pa.Table) -> pa.Array:
    """Return where each id is in a table that is sorted by `id`; null where it is not there."""
    known, wanted = table["id"].to_numpy(), ids.to_numpy()
    places = np.searchsorted(known, wanted)
    inside = np.minimum(places, max(0, len(known) - 1))
    is_there = known[inside] == wanted if len(known) else np.zeros(len(wanted), np.bool_)
    return pa.array(inside, pa.int64(), mask=~is_there)


def is_provisional(fingerprints: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether fingerprints are provisional."""
    return pc.starts_with(fingerprints, PROVISIONAL)


def certain(fingerprints: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return fingerprints without the sign that they are provisional."""
    return pc.utf8_ltrim(fingerprints, PROVISIONAL)


def settle(
    fingerprints: pa.ChunkedArray, before: pa.Table, server_times: pa.Array
) -> pa.ChunkedArray:
    """Return fingerprints that are no longer provisional where they are as at an earlier
    fetch, and the second of its stamp was over at this one.

    Parameters
    ----------
    fingerprints
        Fingerprints of records whose children were fetched now.
    before
        `look` (the fingerprint) and `server_time` of an earlier fetch of each; null where there
        was none.
    server_times
        The server's time of each answer; null where it is unknown.
    """
    is_alike = pc.equal(certain(before["look"]), certain(fingerprints))
    was_certain = pc.fill_null(pc.invert(is_provisional(before["look"])), False)
    over = pc.add(before["server_time"], pa.scalar(SECOND_IS_OVER, pa.duration("us")))
    is_over = pc.fill_null(pc.less_equal(over, server_times), False)
    is_settled = pc.fill_null(pc.and_(is_alike, pc.or_(was_certain, is_over)), False)
    return pc.if_else(is_settled, certain(fingerprints), fingerprints)
