"""Decide how each table is brought up to date. No other module decides it.

`plan` answers for one table, from what the cache holds of it, and reads nothing itself: `sync()`
runs plans and `estimate()` prices them (`plan_costs`), so the two cannot disagree.

1. `skip_note`: a table that the interrupted sync finished, or a list of metadata that is young
   enough, is left as it is.
2. `lacking`: a table whose ids come from another one is skipped where that is unavailable.
3. `plan`: full or incremental, and whether the lists of deletions are read.
4. `resume_position`: after a crash, a full fetch continues at the position that its checkpoint
   saved, unless that is too old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.checkpoint import CheckpointState, Position
from pdframe.cache.store import Manifest, Stored
from pdframe.fields import Field
from pdframe.schema import TABLES, Table
from pdframe.sync.fetch_result import DELETIONS_LISTED_FOR, can_fetch_changes
from pdframe.sync.metadata import METADATA
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

UP_TO_DATE = "up to date since the interrupted sync"
WITHIN_METADATA_AGE = "up to date: younger than metadata_age"
CURRENT_NOTES = frozenset({UP_TO_DATE, WITHIN_METADATA_AGE})
"""Notes of tables that a sync skipped because they are up to date."""

# How long the tables of an interrupted sync count as up to date where the account has no `max_age`.
INTERRUPTED_FOR = timedelta(minutes=15)
ALWAYS = timedelta(0)


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
    unfinished_since : datetime or None
        When the interrupted sync began; None: the last one was finished.
    in_flight : frozenset of str
        Tables of which pages are staged.
    finished_age : timedelta or None
        How old a table may be that the interrupted sync finished; None: `INTERRUPTED_FOR`.
    options : SyncOptions
        Page size and thresholds.
    """

    reload: frozenset[str] = frozenset()
    full_every: timedelta | None = None
    metadata_age: timedelta | None = ALWAYS
    deletions_age: timedelta | None = ALWAYS
    unfinished_since: datetime | None = None
    in_flight: frozenset[str] = frozenset()
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
    if policy.unfinished_since is not None and _is_finished(name, manifest, policy, now):
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
    if manifest is None or table.name in policy.reload:
        return Plan("full")
    if table.parent is not None:
        return Plan("incremental")
    if policy.full_every is not None and is_old(manifest.full_at, policy.full_every, now):
        # A time ahead of the clock means that the clock was set: it proves nothing.
        return Plan(
            "full", f"reloaded: the last full load is {_days(abs(now - manifest.full_at))} old"
        )
    if table.sources[0].batch is not None:
        return Plan("incremental")
    if (table.incremental and is_cheaper_to_reload(table, manifest.rows, policy.options)) or (
        schema is None or not can_fetch_changes(table, schema, fields, manifest.state)
    ):
        return Plan("full")
    reads_deletions = deletions_merged_at is None or is_old(
        deletions_merged_at, policy.deletions_age, now
    )
    known_to = manifest.synced_at
    if reads_deletions and deletions_merged_at is not None:
        # Syncs since then left the lists of deletions unread.
        known_to = min(known_to, max(manifest.full_at, deletions_merged_at))
    if now - known_to > DELETIONS_LISTED_FOR:
        return Plan("full", "reloaded: deletions are listed for 30 days alone")
    return Plan("incremental", reads_deletions=reads_deletions)


def resume_position(saved: CheckpointState | None, began: datetime) -> Position | None:
    """Return where a full fetch continues after an interruption; None: it starts again.

    Deletions since the saved pages must still be listed when it ends.
    """
    if saved is None or began - saved.position.began >= DELETIONS_LISTED_FOR:
        return None
    return saved.position


def is_old(time: datetime, age: timedelta | None, now: datetime) -> bool:
    """Whether a time is `age` ago or longer (None: never), or that far ahead of the clock: then the
    clock was set, and says nothing about age.
    """
    return age is not None and (now - time >= age or now - time < -age)


def is_cheaper_to_reload(table: Table, rows: int, options: SyncOptions) -> bool:
    """Whether the complete table costs no more than its changes and deletions, and proves more."""
    full = sum(source.cost for source in table.sources) + (
        table.sources[0].cost if len(table.sources) > 1 else 0
    )
    changes = sum(source.cost * (1 + source.deletions) for source in table.sources)
    most = options.page_size if options.reload_rows is None else options.reload_rows
    return rows <= most and full <= changes


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


def with_dependencies(names: Iterable[str]) -> set[str]:
    """Return tables together with those that they depend on."""
    requested = set(names)
    return requested.union(*(dependencies(name) for name in requested))


def required_rows(name: str) -> list[str]:
    """Return the tables without whose rows `name` cannot be requested; a field list is not one."""
    return [other for other in dependencies(name) if TABLES[other].key == ("id",)]


def full_reload_set(names: Iterable[str]) -> frozenset[str]:
    """Return the tables that a full load of `names` reloads: also those whose rows say what to
    request.
    """
    return frozenset().union(*([name, *required_rows(name)] for name in names))


def topological_order(names: Iterable[str]) -> Sequence[str]:
    """Return tables in an order in which each comes after those that it depends on."""
    return sorted(names, key=lambda name: (len(dependencies(name)), list(TABLES).index(name)))


def lacking(name: str, rows: Mapping[str, int | None], unavailable: Iterable[str]) -> list[str]:
    """Return the tables that `name` requires and that have no rows in the cache (`rows`: None), or
    were `unavailable` in this sync.
    """
    refused = set(unavailable)
    return [other for other in required_rows(name) if rows[other] is None or other in refused]


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


def _is_finished(name: str, manifest: Manifest, policy: Policy, now: datetime) -> bool:
    """Whether the interrupted sync finished a table, and not too long ago."""
    since = policy.unfinished_since
    # A table that is fetched record by record may be published while it is still incomplete.
    if since is None or name in policy.in_flight or manifest.synced_at < since:
        return False
    if name in policy.reload and manifest.full_at < since:
        return False
    # No `max_age` says that a loader never refreshes by itself; a sync was requested.
    age = INTERRUPTED_FOR if policy.finished_age is None else policy.finished_age
    return now - manifest.synced_at < age


def _days(age: timedelta) -> str:
    return (
        f"{age.days} day{'s' if age.days != 1 else ''}"
        if age.days
        else f"{age.total_seconds() / 3600:.1f} hours"
    )
