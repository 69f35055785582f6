"""What came over the wire for a table, and up to when that is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Page
from pdframe.cache.checkpoint import CheckpointState
from pdframe.cache.sorted_runs import SortedRun
from pdframe.fields import Field
from pdframe.frames import Problems, is_unknown, storage_schema, unify
from pdframe.schema import Table

# The API lists deletions for 30 days: past that, only a full reload finds them.
DELETIONS_KEPT = timedelta(days=29)
# The server's clock may wander by this much; further back, it is not the account that was cached.
CLOCK_SLACK = timedelta(minutes=10)
# No list is asked for what changed before: a time that is earlier is a mistake of the server's.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class RestartRequiredError(Exception):
    """What is cached or saved cannot be gone on with: the table must be loaded from the beginning.
    Never leaves `sync`.
    """


@dataclass(slots=True)
class FetchResult:
    """What came over the wire for a table: rows, keys that are gone, and what the next pull must
    know.

    The rows are in `runs` on disk, each in the order of its ids, and in the `tables` that came
    after these; of a row that is there twice, the later counts. Those in memory take `covered` bytes;
    `notes` stand beside them.

    `began` is this machine's clock when the first of these rows was asked for; `saved` how many
    pages an earlier walk had left. `server_time` is the server's clock at the first answer,
    `seen_at` at the last, `newest` the newest `update_time` of all rows. `fetched_since` is the
    server's clock when the first of the saved pages came; None: none is saved, or it is not known.
    `first_list_reread` says that all rows of the first list were met at last. `listed` names the lists
    whose deletions were read.
    """

    began: datetime
    tables: list[pa.Table] = field(default_factory=list)
    runs: list[SortedRun] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    removed: list[Any] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    seen_at: datetime | None = None
    fetched_since: datetime | None = None
    newest: datetime | None = None
    saved: int = 0
    first_list_reread: bool = False
    listed: set[str] = field(default_factory=set)
    covered: int = 0
    notes: list[pa.Table] = field(default_factory=list)

    def add(self, rows: pa.Table) -> None:
        """Add rows that came."""
        self.tables.append(rows)
        self.covered += rows.nbytes
        self._note(rows)

    def settled(self, run: SortedRun) -> None:
        """Let go of the rows in memory: they are in a run."""
        self.runs.append(run)
        self.tables.clear()
        self.notes.clear()
        self.covered = 0

    def go_on(self, saved: CheckpointState) -> None:
        """Add what an earlier walk left."""
        self.runs, self.tables, self.saved = list(saved.runs), list(saved.pages), saved.count
        self.covered = sum(rows.nbytes for rows in self.tables)
        self.problems.merge(saved.place.problems)
        for rows in self.columns(["update_time"]):
            self._note(rows)

    def columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of all rows, the earlier rows first; one that is missing in some rows is
        left out there.
        """
        for run in self.runs:
            yield run.read(names)
        for rows in self.tables:
            yield rows.select([name for name in names if name in rows.column_names])

    def rows(self, table: Table, fields: Sequence[Field]) -> pa.Table:
        """The rows in memory as one Arrow table, with every column that is declared."""
        rows, problems = unify(
            [storage_schema(table, fields).empty_table(), *self.tables], table, fields
        )
        self.problems.merge(problems)
        return rows

    def _note(self, rows: pa.Table) -> None:
        if "update_time" in rows.column_names:
            self.newest = max(
                filter(None, (pc.max(rows["update_time"]).as_py(), self.newest)), default=None
            )


def can_fetch_changes(
    table: Table, stored: pa.Schema, fields: Sequence[Field], state: Mapping[str, str]
) -> bool:
    """Whether changes can be put on top of what is stored: every list knows where it stood, and no
    column changed its type.

    Values that came before their field was known are typed from what is stored.
    """
    if not table.incremental or any(source.path not in state for source in table.sources):
        return False
    wanted = storage_schema(table, fields)
    return all(
        name not in stored.names
        or stored.field(name).type == wanted.field(name).type
        or is_unknown(stored.field(name))
        for name in wanted.names
    )


def marks(table: Table, pull: FetchResult) -> dict[str, str]:
    """How far each list is complete after a walk: the newest `update_time` that came, less the time
    that the walk took.

    What is edited behind the walk's back is stamped after its beginning, so the next look finds it.
    The server's own clock tells how long the walk took, but not when it began: it may run ahead of
    the one that stamps rows.
    """
    if (
        not table.incremental
        or pull.server_time is None
        or pull.seen_at is None
        or pull.newest is None
    ):
        return {}
    took = max(pull.seen_at - pull.server_time, timedelta(0))
    newest = earlier(min(pull.newest, pull.seen_at), took)
    return {
        source.path: mark(newest, pull.server_time) for source in table.sources if source.changes
    }


def mark(newest: datetime, server_time: datetime | None) -> str:
    """How far a list is complete: its newest time, but never ahead of the server's clock, lest one
    odd row hide all that follow.
    """
    return format_time(min(newest, server_time) if server_time else newest)


def check_clock(page: Page, not_before: datetime | None) -> None:
    """Raise `RestartRequiredError` where the server's clock stands before the last look, or too far
    behind it to learn of all deletions.
    """
    if not_before and page.server_time and page.server_time < not_before - CLOCK_SLACK:
        raise RestartRequiredError(
            f"the server's clock went back to {page.server_time:%Y-%m-%d %H:%M}"
        )
    if not_before and page.server_time and page.server_time - not_before > DELETIONS_KEPT:
        raise RestartRequiredError("deletions are listed for 30 days alone")


def parse_time(time: str) -> datetime:
    """Return a mark as a time; the earliest one for a year of fewer than four digits, as earlier
    versions wrote it.
    """
    try:
        return datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return EARLIEST


def earlier(time: datetime, by: timedelta) -> datetime:
    """Return a time moved back, but no further than to the earliest one."""
    return time - by if time - EARLIEST > by else EARLIEST


def format_time(time: datetime) -> str:
    """Return a time as the API takes it: in whole seconds, no earlier than the earliest one."""
    return (
        f"{max(time, EARLIEST).astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
    )
