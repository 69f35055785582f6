"""Decide how each table is brought up to date, and what is fetched again after a crash. No other
module decides it.

`plan` answers for one table, from what the cache holds of it, and reads nothing itself: `sync()`
runs plans and `estimate()` prices them (`plan_costs`), so the two cannot disagree.

1. `skip_note`: a table that the interrupted sync finished, or a list of metadata that is young
   enough, is left as it is.
2. `required_rows`: a table whose ids come from another one is skipped where that is unavailable.
3. `plan`: full or incremental, and whether the lists of deletions are read.
4. `due_parents`: of children, whose rows are fetched.

After a crash, a sync loads the checkpoint of each table: the pages that were staged, and the
position that they reached. What is staged is not fetched again, but for this:

======================  ============================================================================
of a fetch of           fetched again after a crash
======================  ============================================================================
a table that was done   by a sync with the same arguments: nothing, for a while (`skip_note`), then
                        what changed, also where all tables are reloaded (`plan`); everything where
                        that sync was not tried for three days (`schedule.GIVEN_UP_AFTER`)
a complete list         what changed since the fetch began; where that is 29 days ago, everything:
                        deletions are listed for 30 days (`resume_position`)
a short list, of a      all of it: its pages are not staged (`Fetcher.fetch_list`)
table without changes
changes                 the changes of the lists that were done, and the lists of deletions
                        (`resume_changes`)
line items,             the deals whose fingerprint changed since; where the fetch began 7 days ago,
installments            everything (`resume_position`, `due_parents`)
children by record      the records whose fingerprint changed since; everything where the fetch
                        began 7 days ago, or was about other records (`resume_records`)
======================  ============================================================================

Staged children of a parent that is fetched again do not count (`usable_children`). Two things are
decided before these rules: `Checkpoint.load` drops pages of other columns, of other requests or
since another state of the table, and `TableSync` starts again where the API refuses a saved cursor.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.checkpoint import CheckpointState, Position
from pdframe.cache.deleted_deals import DELETIONS_LISTED_FOR
from pdframe.cache.parts import SortedRun
from pdframe.cache.store import Manifest, Stored
from pdframe.fields import Field
from pdframe.frames import is_unknown, storage_schema
from pdframe.schema import TABLES, Table
from pdframe.sync.fetch_state import (
    PROVISIONAL,
    SCHEMA,
    Want,
    certain,
    combined,
    drop_parents,
    is_provisional,
    places_of,
)
from pdframe.sync.metadata import METADATA
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

UP_TO_DATE = "up to date since the interrupted sync"
WITHIN_METADATA_AGE = "up to date: younger than metadata_age"
RELOADED = "what changed since the interrupted sync reloaded it"
CURRENT_NOTES = frozenset({UP_TO_DATE, WITHIN_METADATA_AGE})
"""Notes of tables that a sync skipped because they are up to date."""

# How long the tables of an interrupted sync count as up to date where the account has no `max_age`.
INTERRUPTED_FOR = timedelta(minutes=15)
ALWAYS = timedelta(0)
# The lists have every deletion of so long, and a day less for clocks that differ: past that, only a
# full reload finds all.
DELETIONS_COMPLETE_FOR = DELETIONS_LISTED_FOR - timedelta(days=1)
# An interrupted fetch of children resumes for this long; then its answers are as old as any other.
CHILDREN_RESUMABLE_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a sync must reload, and what it may leave as it is.

    Attributes
    ----------
    reload : frozenset of str
        Tables that are loaded in full.
    full_every : timedelta or None
        How old the last full load of a table may be; None: any age.
    metadata_age : timedelta or None
        How old a list of metadata may be; None: any age.
    deletions_age : timedelta or None
        How old the last reading of the lists of deletions may be; None: any age.
    finished : frozenset of str
        Tables that the interrupted sync with the same arguments finished.
    finished_age : timedelta or None
        How old a table may be that the interrupted sync finished; None: `INTERRUPTED_FOR`.
    options : SyncOptions
        Page size and thresholds.
    """

    reload: frozenset[str] = frozenset()
    full_every: timedelta | None = None
    metadata_age: timedelta | None = ALWAYS
    deletions_age: timedelta | None = ALWAYS
    finished: frozenset[str] = frozenset()
    finished_age: timedelta | None = None
    options: SyncOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True)
class Plan:
    """How one table is brought up to date, and why; `reads_deletions`: whether the lists of
    deletions are read.
    """

    mode: Literal["full", "incremental"]
    note: str = ""
    reads_deletions: bool = True


def skip_note(name: str, manifest: Manifest | None, policy: Policy, now: datetime) -> str | None:
    """Return why a table is left as it is; None where it is not."""
    if manifest is None:
        return None
    # No `max_age` says that a loader never refreshes by itself; a sync was requested.
    age = INTERRUPTED_FOR if policy.finished_age is None else policy.finished_age
    if name in policy.finished and now - manifest.synced_at < age:
        return UP_TO_DATE
    if (
        name in METADATA
        and name not in policy.reload
        and not is_old(manifest.synced_at, policy.metadata_age, now)
    ):
        return WITHIN_METADATA_AGE
    return None


def plan(
    table: Table,
    manifest: Manifest | None,
    policy: Policy,
    now: datetime,
    *,
    schema: pa.Schema | None = None,
    fields: Sequence[Field] = (),
    deletions_merged_at: datetime | None = None,
) -> Plan:
    """Plan how a table is brought up to date.

    Parameters
    ----------
    table, manifest
        The table, and what is cached of it; None: nothing usable.
    policy
        What must be reloaded, and what may stay.
    now
        This machine's clock.
    schema, fields
        The cached columns, and the field metadata.
    deletions_merged_at
        When a sync last read the lists of deletions; None: never, or unknown.
    """
    if manifest is None or table.name in policy.reload - policy.finished:
        return Plan("full")
    note = RELOADED if table.name in policy.reload else ""
    if table.parent is not None:
        return Plan("incremental", note)
    if policy.full_every is not None and is_old(manifest.full_at, policy.full_every, now):
        # A time ahead of the clock means that the clock was set: it proves nothing.
        return Plan(
            "full", f"reloaded: the last full load is {_days(abs(now - manifest.full_at))} old"
        )
    if table.sources[0].batch is not None:
        return Plan("incremental", note)
    if schema is None or not table.incremental:
        return Plan("full")
    reload_rows = policy.options.reload_rows
    is_short = manifest.rows <= (policy.options.page_size if reload_rows is None else reload_rows)
    # A full load has no row that was deleted before it began.
    cleared_at = max(manifest.full_at, deletions_merged_at or manifest.full_at)
    if is_short:
        reads_deletions = is_old(cleared_at, policy.deletions_age, now)
    else:
        reads_deletions = deletions_merged_at is None or is_old(
            deletions_merged_at, policy.deletions_age, now
        )
    full = sum(source.cost for source in table.sources) + (
        table.sources[0].cost if len(table.sources) > 1 else 0
    )
    changes = sum(
        source.cost * (1 + (source.deletions and reads_deletions)) for source in table.sources
    )
    if is_short and full <= changes:
        # The complete table costs no more than what is read of its changes and deletions, and
        # proves more.
        return Plan("full")
    if any(source.path not in manifest.state for source in table.sources):
        return Plan("full")
    for field in storage_schema(table, fields):
        # Changes cannot be merged into a column of another type. Text that was stored before its
        # field was known is typed when it is merged.
        stored = schema.field(field.name) if field.name in schema.names else field
        if stored.type != field.type and not is_unknown(stored):
            return Plan("full")
    known_to = manifest.synced_at
    if reads_deletions and any(source.deletions for source in table.sources):
        # Syncs since then left the lists of deletions unread.
        known_to = min(known_to, cleared_at)
    if now - known_to > DELETIONS_COMPLETE_FOR:
        return Plan("full", "reloaded: deletions are listed for 30 days alone")
    return Plan("incremental", note, reads_deletions)


def resume_position(
    saved: CheckpointState | None,
    began: datetime,
    resumable_for: timedelta = DELETIONS_COMPLETE_FOR,
) -> Position | None:
    """Return where a fetch that begins now continues after an interruption; None: it starts again.

    Of a complete list, deletions since the saved pages must still be listed when it ends.
    """
    if saved is None or began - saved.position.began >= resumable_for:
        return None
    return saved.position


def resume_changes(saved: CheckpointState) -> tuple[Position, bool]:
    """Return where an interrupted fetch of changes continues, and whether it reads the lists of
    deletions.

    The lists before the position are requested again from their saved watermarks. The staged pages
    may have been requested without deleted rows.
    """
    return saved.position, True


@dataclass(frozen=True, slots=True)
class RecordsPosition:
    """Where a fetch of children by record stands.

    Parameters
    ----------
    position
        The position to stage with its pages.
    began
        When the fetch began that it resumes; None: it resumes none.
    is_of_others
        Whether `position` is the one of an unfinished fetch of other records, which keeps its
        checkpoint.
    """

    position: Position
    began: datetime | None = None
    is_of_others: bool = False


def resume_records(
    saved: Position | None,
    want: Want,
    parents: Sequence[int],
    states: pa.Table,
    *,
    every_at: datetime | None,
    now: datetime,
) -> RecordsPosition:
    """Return where a fetch of children by record continues after an interruption.

    Parameters
    ----------
    saved
        The position in the checkpoint; None: there is none.
    want, parents
        What is wanted, and the records that it is about.
    states
        Their cached fetch states.
    every_at
        When the children of all records were fetched last; None: never.
    now
        This machine's clock.
    """
    ids = ",".join(map(str, parents))
    about = "every" if want.ids is None else f"{zlib.crc32(ids.encode()):08x}"
    marks = {"parents": about, "full": "yes" if want.full else "no"}
    fresh = RecordsPosition(Position(now, marks=marks))
    if saved is None or not timedelta(0) <= now - saved.began < CHILDREN_RESUMABLE_FOR:
        return fresh
    is_same = saved.marks.get("parents") == about
    # A process that was killed after its commit left the checkpoint of a finished fetch.
    if about == "every":
        is_finished = every_at is not None and every_at >= saved.began
    else:
        start = pa.scalar(saved.began, SCHEMA.field("asked_at").type)
        recent = states.filter(pc.greater_equal(states["asked_at"], start))
        is_finished = is_same and set(parents).issubset(recent["id"].to_pylist())
    if is_finished:
        return fresh
    if is_same and (not want.full or saved.marks.get("full") == "yes"):
        return RecordsPosition(saved, saved.began)
    return RecordsPosition(saved, is_of_others=True) if want.ids is not None else fresh


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

    Without an age (`max_age=None`), what was fetched once is not fetched again by itself.

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
    if not (want.now or want.full) and want.max_age is None:
        never_fetched: list[int] = ids.filter(combined(pc.is_null(at))).to_pylist()
        return never_fetched
    is_listed = pc.and_(pc.is_valid(fingerprint), want.listed)
    is_other = pc.not_equal(
        certain(pc.fill_null(before, "")), certain(pc.fill_null(fingerprint, ""))
    )
    has_changed = pc.and_(is_listed, is_other)
    if want.full:
        is_due = pa.chunked_array([pa.repeat(True, len(ids))])
    else:
        may_change = is_provisional(pc.fill_null(before, PROVISIONAL))
        is_due = pc.if_else(is_listed, pc.or_(has_changed, may_change), True)
        if not want.now and want.max_age is not None:
            is_due = pc.and_(is_due, pc.invert(_is_fresh(fetched_at, want.max_age, now)))
            # Rows that the cache shows to be out of date are not returned, however young they are.
            updated_at = fingerprints["update_time"].take(places_of(ids, fingerprints))
            is_newer = pc.greater(updated_at, states["server_time"].take(at))
            was_compared = pc.and_(pc.is_valid(before), pc.is_valid(fingerprint))
            is_outdated = pc.if_else(was_compared, is_other, pc.fill_null(is_newer, False))
            is_due = pc.or_(is_due, is_outdated)
    if began is not None:
        start = pa.scalar(began, SCHEMA.field("asked_at").type)
        in_this_run = pc.fill_null(pc.greater_equal(fetched_at, start), False)
        is_due = pc.if_else(in_this_run, has_changed, is_due)
    due: list[int] = ids.filter(combined(pc.or_(is_due, pc.is_null(at)))).to_pylist()
    return due


def usable_children(
    saved: CheckpointState | None, outdated: Collection[int]
) -> list[tuple[pa.Table | SortedRun, pa.Table]]:
    """Return the staged children that count, each with the fetch states of its parents.

    Children that were staged again later do not, nor those of `outdated` parents, which are fetched
    again or are no parents any more.
    """
    if saved is None or not saved.states:
        return []
    newer = set(outdated)
    usable: list[tuple[pa.Table | SortedRun, pa.Table]] = []
    for staged, states in reversed([*zip([*saved.runs, *saved.pages], saved.states, strict=True)]):
        states = drop_parents(states, pa.array(sorted(newer), pa.int64()))
        newer.update(states["id"].to_pylist())
        if states.num_rows:
            usable.insert(0, (staged, states))
    return usable


def is_old(time: datetime, age: timedelta | None, now: datetime) -> bool:
    """Whether a time is `age` ago or longer (None: never), or that far ahead of the clock: then the
    clock was set, and says nothing about age.
    """
    return age is not None and (now - time >= age or now - time < -age)


def dependencies(name: str) -> list[str]:
    """Return the tables that `name` depends on: its field list; for line items the deals (for
    installments the line items too); the list that its ids come from.
    """
    table = TABLES[name]
    if table.sources[0].batch is not None:
        return ["deal_fields", "deals", *(["deal_products"] if name == "installments" else [])]
    if table.parent is not None:
        return [*dependencies(table.parent.table), table.parent.table] if table.parent.every else []
    if table.sources[0].each is not None:
        return [table.sources[0].each[1]]
    return [table.field_list] if table.field_list else []


def required_rows(name: str) -> list[str]:
    """Return the tables without whose rows `name` cannot be requested; a field list is not one."""
    return [other for other in dependencies(name) if TABLES[other].key == ("id",)]


def full_reload_set(names: Iterable[str]) -> frozenset[str]:
    """Return the tables that a full load of `names` reloads: also those whose rows say what to
    request.
    """
    return frozenset().union(*([name, *required_rows(name)] for name in names))


def in_order(names: Iterable[str]) -> Sequence[str]:
    """Return tables together with those that they depend on, each after these."""
    requested = set(names)
    every = requested.union(*(dependencies(name) for name in requested))
    return sorted(every, key=lambda name: (len(dependencies(name)), list(TABLES).index(name)))


def lists_of(table: Table, cached: pa.Table | Stored) -> list[pa.Array]:
    """Return which of the cached rows are in each of the lists that a table is made of."""
    if len(table.sources) == 1:
        return [pa.repeat(True, cached.num_rows)]
    column = cached[second_list(table)]
    second = pc.fill_null(column, False) if pa.types.is_boolean(column.type) else column.is_valid()
    return [pc.invert(second), second]


def second_list(table: Table) -> str:
    """Return the column that shows whether a cached row is in the second list of its table."""
    return "is_archived" if "is_archived" in table.by_name else "archive_time"


def _days(age: timedelta) -> str:
    return (
        f"{age.days} day{'s' if age.days != 1 else ''}"
        if age.days
        else f"{age.total_seconds() / 3600:.1f} hours"
    )


def _is_fresh(fetched_at: pa.ChunkedArray, max_age: timedelta, now: datetime) -> pa.ChunkedArray:
    # A time ahead of the clock means that the clock was set: it proves no age.
    oldest, newest = (pa.scalar(at, fetched_at.type) for at in (now - max_age, now + max_age))
    is_fresh = pc.and_(pc.greater(fetched_at, oldest), pc.less_equal(fetched_at, newest))
    return pc.fill_null(is_fresh, False)
