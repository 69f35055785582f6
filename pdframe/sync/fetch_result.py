"""What a fetch returned for a table, and the watermarks that say how far it is complete."""

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
from pdframe.frames import Problems, is_unknown, storage_schema
from pdframe.schema import Table

# The API lists deletions for 30 days: past that, only a full reload finds them.
DELETIONS_LISTED_FOR = timedelta(days=29)
# The server's clock may wander by this much; further back, it is not the account that was cached.
CLOCK_SKEW = timedelta(minutes=10)
# Changes are requested from this time on: an earlier one is a mistake of the server.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class RestartRequiredError(Exception):
    """The fetch cannot continue from what is cached or staged: the table must be fetched from the
    beginning. Never leaves `sync`.
    """


@dataclass(slots=True)
class FetchResult:
    """Rows that were fetched for a table, keys that were deleted, and what the next fetch must
    know.

    Of a row that was fetched twice, the later counts.

    Parameters
    ----------
    began
        This machine's clock at the first request, of an earlier run where this one resumes it.
    pages
        Rows in memory, in the order of their fetch; later than those in `runs`.
    runs
        Rows on disk, each run in key order.
    staged_states
        The fetch states that were staged with `pages`, if they are children.
    buffered_bytes
        Size of `pages`.
    problems
        Cells and rows that could not be kept as they are.
    deleted
        Keys of deleted rows.
    watermarks
        For each list that reports changes, the `update_time` up to which it is complete.
    server_time, seen_at
        The server's clock at the first and at the last answer.
    fetched_since
        The server's clock at the first page that an earlier run staged; None: none, or unknown.
    newest
        The newest `update_time` of all rows.
    resumed_pages
        How many pages an earlier run had staged.
    first_list_reread
        Whether all rows of the first list were seen again at the end.
    deletion_lists
        Paths of the lists whose deletions were read.
    """

    began: datetime
    pages: list[pa.Table] = field(default_factory=list)
    runs: list[SortedRun] = field(default_factory=list)
    staged_states: list[pa.Table] = field(default_factory=list)
    buffered_bytes: int = 0
    problems: Problems = field(default_factory=Problems)
    deleted: list[Any] = field(default_factory=list)
    watermarks: dict[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    seen_at: datetime | None = None
    fetched_since: datetime | None = None
    newest: datetime | None = None
    resumed_pages: int = 0
    first_list_reread: bool = False
    deletion_lists: set[str] = field(default_factory=set)

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a page."""
        self.pages.append(rows)
        self.buffered_bytes += rows.get_total_buffer_size()
        self._track_newest(rows)

    def move_to_run(self, run: SortedRun) -> None:
        """Replace the rows in memory by the run that holds them."""
        # In one step: an interruption can happen anywhere, and rows must not be in both.
        self.runs, self.pages, self.staged_states, self.buffered_bytes = (
            [*self.runs, run],
            [],
            [],
            0,
        )

    def resume(self, saved: CheckpointState) -> None:
        """Add the rows that an earlier run staged."""
        self.runs, self.pages = list(saved.runs), list(saved.pages)
        self.resumed_pages = saved.page_count
        self.buffered_bytes = sum(rows.get_total_buffer_size() for rows in self.pages)
        self.problems.merge(saved.position.problems)
        for rows in self.columns(["update_time"]):
            self._track_newest(rows)

    def columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of all rows, the earlier rows first; where rows lack a column, it is
        left out.
        """
        for run in self.runs:
            yield run.read(names)
        for rows in self.pages:
            yield rows.select([name for name in names if name in rows.column_names])

    def _track_newest(self, rows: pa.Table) -> None:
        if "update_time" in rows.column_names:
            times = (pc.max(rows["update_time"]).as_py(), self.newest)
            self.newest = max(filter(None, times), default=None)


def can_fetch_changes(
    table: Table, stored: pa.Schema, fields: Sequence[Field], watermarks: Mapping[str, str]
) -> bool:
    """Whether changes can be merged into what is stored: every list has a watermark, and no column
    changed its type.

    Text that was stored before its field was known is typed when it is merged.
    """
    if not table.incremental or any(source.path not in watermarks for source in table.sources):
        return False
    wanted = storage_schema(table, fields)
    return all(
        name not in stored.names
        or stored.field(name).type == wanted.field(name).type
        or is_unknown(stored.field(name))
        for name in wanted.names
    )


def watermarks_after(table: Table, fetched: FetchResult) -> dict[str, str]:
    """Return the watermark of each list after a full fetch: the newest `update_time` that was seen,
    less the duration of the fetch.

    A row that is edited during the fetch gets an `update_time` after its start, so the next
    incremental sync fetches it. The server's clock says how long the fetch took, but not when it
    began: it may run ahead of the clock that stamps rows.
    """
    if (
        not table.incremental
        or fetched.server_time is None
        or fetched.seen_at is None
        or fetched.newest is None
    ):
        return {}
    duration = max(fetched.seen_at - fetched.server_time, timedelta(0))
    newest = earlier(min(fetched.newest, fetched.seen_at), duration)
    return {
        source.path: watermark(newest, fetched.server_time)
        for source in table.sources
        if source.changes
    }


def watermark(newest: datetime, server_time: datetime | None) -> str:
    """Return a watermark: the newest time of a list, but never ahead of the server's clock, lest
    one odd row hide all that follow.
    """
    return format_time(min(newest, server_time) if server_time else newest)


def check_clock(page: Page, not_before: datetime | None) -> None:
    """Raise `RestartRequiredError` where the server's clock is before the last sync, or too long
    after it to learn of all deletions.
    """
    if not_before is None or page.server_time is None:
        return
    if page.server_time < not_before - CLOCK_SKEW:
        raise RestartRequiredError(
            f"the server's clock went back to {page.server_time:%Y-%m-%d %H:%M}"
        )
    if page.server_time - not_before > DELETIONS_LISTED_FOR:
        raise RestartRequiredError("deletions are listed for 30 days alone")


def parse_time(time: str) -> datetime:
    """Return a watermark as a time; the earliest one for a year of fewer than four digits, as
    earlier versions wrote it.
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
    utc = max(time, EARLIEST).astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='seconds')}Z"
