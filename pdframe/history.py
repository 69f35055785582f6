"""The kept history: what each look at the deals found changed, appended for good, since nobody can collect it later."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.aside import move_aside
from pdframe.errors import DamagedError
from pdframe.frames import storage_schema, unify
from pdframe.frames.problems import warn
from pdframe.schema import Table
from pdframe.schema.kept import HISTORY, LOOKS, REMEMBERED
from pdframe.store import Manifest, Store

Kind = Literal["full", "resumed", "incremental"]
# A server's clock may wander by this much; further back, what is kept is the past of another account.
CLOCK_SLACK = timedelta(minutes=10)
# Every look that finds something adds a part; from this many on they are put together.
MANY_PARTS = 100

_COMPARED = (*REMEMBERED, "gone")


class History:
    """The history of one account: two tables of the store, `history` (deals as they changed) and `history.looks`.

    A look's rows are written before the look itself, and both before the table of deals: whatever a crash leaves is true, and the next
    look adds what is missing. Rows are only ever added.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self) -> pa.Table:
        """Every row kept, in the order of the looks; `CacheError` where a file cannot be trusted."""
        return self._all(HISTORY)

    def looks(self) -> pa.Table:
        """Every look, in order; `CacheError` where a file cannot be trusted."""
        return self._all(LOOKS)

    def look(
        self,
        deals: pa.Table,
        kind: Kind,
        *,
        seen_at: datetime | None,
        complete_to: datetime | None,
        now: datetime,
        deleted: Collection[int] = (),
    ) -> int:
        """Keep what a look at the deals found changed since the last one.

        Parameters
        ----------
        deals
            All deals there are, as they were found, in the columns of the cache.
        kind
            How they were looked at.
        seen_at
            The server's time at the end of the look; None: no answer told. Then the newest time in the data stands for it, and is marked.
        complete_to
            The newest `update_time` up to which every stamped change was found.
        now
            This machine's clock, for the manifests alone.
        deleted
            Deals that the API listed as deleted. An incremental look misses no others.

        Returns
        -------
        int
            How many rows were added: none where nothing changed.
        """
        kept, looks = self._of_this_past(seen_at)
        number = 1 + max(pc.max(kept["look"]).as_py() or 0, pc.max(looks["look"]).as_py() or 0)
        last_time = max(filter(None, (pc.max(kept["seen_at"]).as_py(), pc.max(looks["seen_at"]).as_py())), default=None)
        time = seen_at or _newest(deals) or now
        time = max(time, last_time) if last_time else time
        found = _changes(latest(kept), deals, deleted=None if kind == "incremental" else deleted)
        if found.num_rows:
            # Rows are compared with what is kept, so a look that is repeated after a crash adds nothing.
            found = _with(found, {"seen_at": time, "is_server_time": seen_at is not None, "look": number}, HISTORY)
            self._append(HISTORY, found, now)
        row = {
            "look": number,
            "seen_at": time,
            "is_server_time": seen_at is not None,
            "kind": kind,
            "complete_to": complete_to,
            "deals": deals.num_rows,
            "changed": found.num_rows,
        }
        if not _says_nothing_new(row, looks):
            self._append(LOOKS, pa.Table.from_pylist([row], storage_schema(LOOKS)), now)
        added: int = found.num_rows
        return added

    def _of_this_past(self, seen_at: datetime | None) -> tuple[pa.Table, pa.Table]:
        """What is kept, after setting aside what cannot be read or belongs to another past."""
        try:
            kept, looks = self.rows(), self.looks()
        except DamagedError as error:
            return self._set_aside(f"The kept history of deals cannot be read on. {error}")
        told = pc.max(looks.filter(looks["is_server_time"])["seen_at"]).as_py()
        if seen_at and told and seen_at < told - CLOCK_SLACK:
            return self._set_aside(f"The kept history of deals reaches to {told:%Y-%m-%d %H:%M}, and the server's clock is behind it.")
        return kept, looks

    def _set_aside(self, why: str) -> tuple[pa.Table, pa.Table]:
        suffix = move_aside(self._store, HISTORY.name, LOOKS.name)
        warn(f"{why} It is set aside as {HISTORY.name}{suffix} in {self._store.root}, and a new one begins.")
        return storage_schema(HISTORY).empty_table(), storage_schema(LOOKS).empty_table()

    def _all(self, table: Table) -> pa.Table:
        with _said_of(table):
            if self._store.manifest(table.name) is None:
                self._store.check_manifest(table.name)
                return storage_schema(table).empty_table()
            whole, _ = unify([self._store.read(table.name)], table)
            return whole

    def _append(self, table: Table, rows: pa.Table, now: datetime) -> None:
        before = self._store.manifest(table.name)
        if before is None:
            before = self._store.replace(Manifest(table.name, (), 0, now, now), storage_schema(table).empty_table())
        if len(before.parts) < MANY_PARTS:
            self._store.append(before, rows, synced_at=now)
        else:
            self._store.replace(before, pa.concat_tables([self._all(table), rows]))


def latest(rows: pa.Table) -> pa.Table:
    """One row a deal, the last one, in the order of deals."""
    repeated = pd.Index(rows["deal_id"].to_pandas()).duplicated(keep="last")
    return rows.filter(pa.array(~repeated)).sort_by("deal_id")


def known_at(rows: pa.Table, when: datetime) -> pa.Table:
    """One row a deal that was seen by `when`, as the last look until then found it."""
    return latest(rows.filter(pc.less_equal(rows["seen_at"], pa.scalar(when, pa.timestamp("us", "UTC")))))


def _changes(before: pa.Table, deals: pa.Table, *, deleted: Collection[int] | None) -> pa.Table:
    """Deals that are new, changed, gone or back, in the columns of the history; a row that is gone keeps what was seen last.

    Of those that are gone, the `deleted` (None: all) are told to be that.
    """
    schema = storage_schema(HISTORY)
    columns = {"deal_id": deals["id"], "gone": pa.repeat(False, deals.num_rows)}
    for name in REMEMBERED:
        columns[name] = deals[name] if name in deals.column_names else pa.nulls(deals.num_rows, schema.field(name).type)
    now = pa.table({name: columns[name] for name in ("deal_id", *_COMPARED)})
    at = pc.index_in(now["deal_id"], value_set=before["deal_id"].combine_chunks())
    then = before.take(at)
    differs = pc.is_null(at)
    for name in _COMPARED:
        left, right = then[name], now[name]
        differs = pc.or_(differs, pc.or_(pc.fill_null(pc.not_equal(left, right), False), pc.xor(left.is_null(), right.is_null())))
    missing = pc.invert(pc.is_in(before["deal_id"], value_set=now["deal_id"].combine_chunks()))
    gone = before.filter(pc.and_(missing, pc.invert(before["gone"]))).select(now.column_names)
    gone = gone.set_column(gone.column_names.index("gone"), "gone", pa.repeat(True, gone.num_rows))
    # The API lists what was deleted; of any other deal a look only sees that it is not there.
    listed = (
        pa.repeat(True, gone.num_rows) if deleted is None else pc.is_in(gone["deal_id"], value_set=pa.array(sorted(deleted), pa.int64()))
    )
    gone = gone.set_column(gone.column_names.index("status"), "status", pc.if_else(listed, "deleted", gone["status"]))
    return pa.concat_tables([now.filter(differs), gone], promote_options="permissive").sort_by("deal_id")


def _with(rows: pa.Table, values: dict[str, object], table: Table) -> pa.Table:
    schema = storage_schema(table)
    for name, value in values.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, schema.field(name).type), rows.num_rows))
    return rows.select(schema.names).cast(schema)


def _newest(deals: pa.Table) -> datetime | None:
    times = [pc.max(deals[name]).as_py() for name in ("update_time", "add_time") if name in deals.column_names]
    return max(filter(None, times), default=None)


def _says_nothing_new(row: dict[str, object], looks: pa.Table) -> bool:
    if row["changed"] or not looks.num_rows:
        return False
    last = looks.slice(looks.num_rows - 1).to_pylist()[0]
    return all(last[name] == row[name] for name in ("seen_at", "kind", "complete_to", "deals"))


@contextmanager
def _said_of(table: Table) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        raise DamagedError(
            f"{str(error.args[0]).partition(' The CRM is untouched')[0]} It belongs to the kept history ({table.name}), which cannot be "
            "loaded again. Put the file back from a backup; else the next sync of deals sets the history aside and begins a new one.",
            table=error.table,
        ) from error
