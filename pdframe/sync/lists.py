"""Bringing a list of the API up to date: the whole of it, or what changed since the last look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client, Page
from pdframe.api.walk import walk
from pdframe.errors import ResponseError
from pdframe.fields import Field
from pdframe.frames import Problems, storage_schema, to_arrow, unify
from pdframe.schema import Source, Table

BAD_REQUEST = 400
# Asked again at each incremental pull, since the clocks of the servers that stamp `update_time` need not agree.
OVERLAP = timedelta(minutes=5)
# The API lists deletions for 30 days: past that, only a full reload finds them.
DELETIONS_KEPT = timedelta(days=29)
# The server's clock may wander by this much; further back, it is not the account that was cached.
CLOCK_SLACK = timedelta(minutes=10)


class StartAgainError(Exception):
    """What is cached cannot be brought up to date: the table must be loaded as a whole. Never leaves `sync`."""


@dataclass(slots=True)
class Pull:
    """What came over the wire for a table: rows, keys that are gone, and what the next pull must know."""

    tables: list[pa.Table] = field(default_factory=list)
    problems: Problems = field(default_factory=Problems)
    gone: list[Any] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)
    server_time: datetime | None = None

    def rows(self, table: Table, fields: Sequence[Field]) -> pa.Table:
        """All rows as one Arrow table, with every column that is declared."""
        rows, problems = unify([storage_schema(table, fields).empty_table(), *self.tables], table, fields)
        self.problems.merge(problems)
        return rows


class Puller:
    """Pulls lists: turns pages into Arrow as they come.

    Parameters
    ----------
    client
        Who asks.
    tick
        Called with the number of rows after each page, for a progress bar.
    """

    def __init__(self, client: Client, tick: Callable[[int], None]) -> None:
        self.client = client
        self.tick = tick

    def all_of(self, table: Table, fields: Sequence[Field]) -> Pull:
        """The whole table: every page of every list it is made of."""
        pull = Pull()
        if table.incremental:
            newest = self._newest(table.sources[0], pull)
            if newest is not None:
                pull.state = {source.path: newest for source in table.sources if source.changes}
        for source in table.sources:
            self._take(pull, table, fields, source, dict(source.params))
        return pull

    def changes_of(self, table: Table, fields: Sequence[Field], state: Mapping[str, str], last: datetime | None) -> Pull:
        """The rows whose `update_time` moved since the last look, and the keys of those that the API lists as deleted.

        Rows come in the order of `update_time`: a row that is edited while the walk is under way moves towards the end and is seen
        there, so the newest time seen is where the next look may begin.

        Raises
        ------
        StartAgainError
            The server's clock stands before the last look: this is not the account, or not the past, that was cached.
        """
        pull = Pull(state=dict(state))
        for source in table.sources:
            since = _parse(state[source.path]) - OVERLAP
            params = {**dict(source.params), "updated_since": _format(since), "sort_by": "update_time", "sort_direction": "asc"}
            self._take(pull, table, fields, source, params, not_before=last)
            newest = max((str(row) for part in pull.tables for row in _newest_times(part)), default=state[source.path])
            pull.state[source.path] = max(state[source.path], newest)
        for source in table.sources:
            if source.deletions:
                for page in walk(self.client, source.path, {"status": "deleted"}, cost=source.cost, api=source.api):
                    pull.gone += [row[table.key[0]] for row in page.rows if isinstance(row, dict) and table.key[0] in row]
                    self.tick(len(page.rows))
        return pull

    def batches_of(self, table: Table, ids: Sequence[int]) -> Pull:
        """The rows that belong to `ids`, asked for as many at a time as the API takes."""
        pull = Pull()
        source = table.sources[0]
        name, size = source.batch or ("ids", 100)
        for start in range(0, len(ids), size):
            wanted = ",".join(map(str, ids[start : start + size]))
            self._take(pull, table, (), source, {**dict(source.params), name: wanted})
        return pull

    def _newest(self, source: Source, pull: Pull) -> str | None:
        """The newest `update_time` of a list before it is walked.

        A row that is edited behind the walk's back gets a later time, so the next look finds it. The server's own clock would not
        do: it may run ahead of the one that stamps rows.
        """
        params = {"limit": 1, "sort_by": "update_time", "sort_direction": "desc"}
        page = self.client.get_json(source.path, params, cost=source.cost, api=source.api)
        pull.server_time = page.server_time
        times = [row.get("update_time") for row in page.rows if isinstance(row, dict)]
        return times[0] if times and isinstance(times[0], str) else None

    def _take(
        self,
        pull: Pull,
        table: Table,
        fields: Sequence[Field],
        source: Source,
        params: Mapping[str, Any],
        *,
        not_before: datetime | None = None,
    ) -> None:
        """Add the rows of one list to a pull. A cursor that is refused on the way has expired: the list is walked once more."""
        walked = Pull()
        try:
            self._walk(walked, table, fields, source, params, not_before)
        except ResponseError as error:
            if error.status != BAD_REQUEST or not walked.tables:
                raise
            walked = Pull()
            self._walk(walked, table, fields, source, params, not_before)
        pull.tables += walked.tables
        pull.problems.merge(walked.problems)
        pull.server_time = pull.server_time or walked.server_time

    def _walk(
        self, walked: Pull, table: Table, fields: Sequence[Field], source: Source, params: Mapping[str, Any], not_before: datetime | None
    ) -> None:
        for page in self._pages(source, params):
            walked.server_time = walked.server_time or page.server_time
            if not_before and page.server_time and page.server_time < not_before - CLOCK_SLACK:
                raise StartAgainError(f"the server's clock went back to {page.server_time:%Y-%m-%d %H:%M}")
            rows, problems = to_arrow(page.rows, table, fields)
            walked.tables.append(rows)
            walked.problems.merge(problems)
            self.tick(len(page.rows))

    def _pages(self, source: Source, params: Mapping[str, Any]) -> Iterable[Page]:
        if source.paged:
            return walk(self.client, source.path, params, cost=source.cost, api=source.api)
        return [self.client.get_json(source.path, params, cost=source.cost, api=source.api)]


def can_pull_changes(table: Table, stored: pa.Schema, fields: Sequence[Field], state: Mapping[str, str]) -> bool:
    """Whether changes can be put on top of what is stored: every list knows where it stood, and no column changed its type."""
    if not table.incremental or any(source.path not in state for source in table.sources):
        return False
    wanted = storage_schema(table, fields)
    return all(name not in stored.names or stored.field(name).type == wanted.field(name).type for name in wanted.names)


def _newest_times(part: pa.Table) -> list[str]:
    newest = pc.max(part["update_time"]).as_py() if part.num_rows else None
    return [_format(newest)] if newest else []


def _parse(time: str) -> datetime:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC)


def _format(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
