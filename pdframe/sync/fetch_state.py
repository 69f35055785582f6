"""Fetch state of parent records: when the children of each were fetched, its fingerprint then, and
whether the API knew it.

Line items, installments and all tables that cost a request a record share this mechanism. It says
which parents are due: those without a state, those whose fingerprint changed or is provisional, and
where the list of parents shows nothing, those whose state is too old. The states are cached beside
the table, one row a parent (`state_name`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.checkpoint import CheckpointState
from pdframe.cache.sorted_runs import SortedRun
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError
from pdframe.schema import TABLES
from pdframe.sync.fetch_result import FetchResult
from pdframe.sync.fingerprints import (
    PROVISIONAL,
    certain,
    is_provisional,
    places_of,
    settle,
)
from pdframe.sync.merge import newest_rows

# An interrupted run resumes for this long; after that, its answers are as old as any other.
RESUMABLE_FOR = timedelta(days=7)
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
        How old a state may be otherwise; None: any age.
    listed
        Whether the cached list of parents is as fresh as that: then fingerprints show which of them
        changed.
    """

    ids: Sequence[int] | None
    full: bool = False
    now: bool = False
    max_age: timedelta | None = None
    listed: bool = False


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
    return states.filter(pc.invert(pc.is_in(states["id"], value_set=_combined(ids))))


def keep_parents(states: pa.Table, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the states of some parents."""
    return states.filter(pc.is_in(states["id"], value_set=_combined(ids)))


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


def due_parents(
    parents: Sequence[int],
    states: pa.Table,
    fingerprints: pa.Table,
    want: Want,
    *,
    began: datetime | None,
    now: datetime,
) -> list[int]:
    """Return the parents whose children are to fetch now.

    Parameters
    ----------
    parents
        The parents that `want` is about.
    states, fingerprints
        Their fetch states, and their fingerprints in the cached list.
    want
        What is wanted.
    began
        When the run began that this one resumes; None: it resumes none.
    now
        This machine's clock.
    """
    ids = pa.array(parents, pa.int64())
    at = places_of(ids, states)
    fetched_at, before = states["asked_at"].take(at), states["look"].take(at)
    fingerprint = fingerprints["fingerprint"].take(places_of(ids, fingerprints))
    is_listed = pc.and_(pc.is_valid(fingerprint), want.listed)
    has_changed = pc.and_(
        is_listed,
        pc.not_equal(certain(pc.fill_null(before, "")), certain(pc.fill_null(fingerprint, ""))),
    )
    if want.full:
        is_due = pa.chunked_array([pa.repeat(True, len(ids))])
    else:
        may_change = is_provisional(pc.fill_null(before, PROVISIONAL))
        is_due = pc.if_else(is_listed, pc.or_(has_changed, may_change), True)
        if not want.now:
            is_due = pc.and_(is_due, pc.invert(_is_fresh(fetched_at, want.max_age, now)))
    if began is not None:
        start = pa.scalar(began, SCHEMA.field("asked_at").type)
        in_this_run = pc.fill_null(pc.greater_equal(fetched_at, start), False)
        is_due = pc.if_else(in_this_run, has_changed, is_due)
    due: list[int] = ids.filter(_combined(pc.or_(is_due, pc.is_null(at)))).to_pylist()
    return due


def resume_children(
    fetched: FetchResult, saved: CheckpointState | None, due: Collection[int], parent_id: str
) -> pa.Table:
    """Add the children that an earlier run staged, and return the fetch states of their parents.

    Parameters
    ----------
    fetched
        What they are added to.
    saved
        The checkpoint; None: there is none.
    due
        Parents whose children are fetched again.
    parent_id
        The column of parents.
    """
    if saved is None or not saved.states:
        return NO_STATES
    # Children that were staged again later, or are fetched again, are old.
    newer = set(due)
    kept: list[tuple[pa.Table | SortedRun, pa.Table]] = []
    for staged, states in reversed([*zip([*saved.runs, *saved.pages], saved.states, strict=True)]):
        states = drop_parents(states, pa.array(sorted(newer), pa.int64()))
        newer.update(states["id"].to_pylist())
        if states.num_rows:
            kept.insert(0, (staged, states))
    if not kept:
        return NO_STATES
    fetched.began, fetched.fetched_since = saved.position.began, saved.position.server_time
    fetched.resumed_pages = saved.page_count
    fetched.problems.merge(saved.position.problems)
    for staged, states in kept:
        parents = states["id"].combine_chunks()
        if isinstance(staged, SortedRun):
            fetched.runs.append(staged.only(parent_id, parents))
        else:
            fetched.pages.append(staged.filter(pc.is_in(staged[parent_id], value_set=parents)))
            fetched.staged_states.append(states)
    fetched.buffered_bytes = sum(rows.nbytes for rows in fetched.pages)
    return newest_states(*(states for _, states in kept))


def _is_fresh(
    fetched_at: pa.ChunkedArray, max_age: timedelta | None, now: datetime
) -> pa.ChunkedArray:
    if max_age is None:
        return pc.is_valid(fetched_at)
    # A time ahead of the clock means that the clock was set: it proves no age.
    oldest, newest = (pa.scalar(at, fetched_at.type) for at in (now - max_age, now + max_age))
    is_fresh = pc.and_(pc.greater(fetched_at, oldest), pc.less_equal(fetched_at, newest))
    return pc.fill_null(is_fresh, False)


def _combined(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
