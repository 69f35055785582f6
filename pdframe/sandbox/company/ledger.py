"""The company's memory: tables, the events that made them, one clock, one lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple

from .clock import wire, wire_millis, wire_v1

Row = dict[str, Any]
RowId = int | str

TABLES = (
    "deals",
    "deal_products",
    "installments",
    "discounts",
    "products",
    "product_variations",
    "activities",
    "persons",
    "organizations",
    "stages",
    "pipelines",
    "users",
    "projects",
    "tasks",
    "boards",
    "phases",
    "project_templates",
)
ENTITIES = ("deal", "person", "organization", "product", "activity", "project")
MILLIS = frozenset({"projects", "tasks", "boards", "phases", "project_templates"})
# Where a row keeps the time of its last touch; None: nowhere.
TOUCHED: Mapping[str, str | None] = {
    "discounts": "updated_at",
    "users": "modified",
    "installments": None,
    "product_variations": None,
}
CREATED: Mapping[str, str | None] = {
    "discounts": "created_at",
    "users": "created",
    "installments": None,
    "product_variations": None,
}
# Tables whose rows keep their own list of events, for the changelogs.
LOGGED = frozenset({"deals", "projects"})


class Event(NamedTuple):
    """One write to one row.

    `changes` holds every stored key that got a new value, the derived ones included; the time of
    the touch is not among them: it is `time` where `touches`. A ``custom_fields`` in it is merged
    into the row's, None clears. `action` is create, update, delete (flagged), restore (flag taken
    away), remove (gone), hide or show. Field metadata uses the tables ``deal_fields`` and so on
    with the field's code as `id`; followers use ``deal_followers`` and so on with the followed
    row's id. `source` and `bulk` are what the changelog tells of the way it was made.
    """

    seq: int
    time: int
    table: str
    id: RowId
    action: str
    changes: Mapping[str, Any]
    actor: int
    touches: bool
    source: str
    bulk: bool


def stamp(table: str, t: int) -> str:
    """Return `t` in the spelling that the table's times have."""
    if table in MILLIS:
        return wire_millis(t)
    return wire_v1(t) if table == "users" else wire(t)


def merge(row: Row, changes: Mapping[str, Any]) -> None:
    """Apply an event's changes to a row; lists and custom values are replaced, never edited in
    place.
    """
    custom = changes.get("custom_fields")
    if custom is None:
        row.update(changes)
        return
    kept = {**row["custom_fields"], **custom}
    row.update(changes)
    row["custom_fields"] = {key: value for key, value in kept.items() if value is not None}


class Ledger:
    """Tables and events; every change of state passes through `_create`, `_update`, `_delete`,
    `_restore`, `_remove` or `hide`.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self.lock = RLock()
        self.tables: dict[str, dict[Any, Row]] = {name: {} for name in TABLES}
        self.fields: dict[str, list[Row]] = {name: [] for name in ENTITIES}
        self.events: list[Event] = []
        self.deleted_at: dict[tuple[str, RowId], int] = {}
        self.merged_into: dict[int, int] = {}
        self.hidden: set[tuple[str, RowId]] = set()
        self._logs: dict[str, dict[RowId, list[Event]]] = {name: {} for name in sorted(LOGGED)}
        self._next: dict[str, int] = dict.fromkeys(TABLES, 1)
        self._frozen = 0

    @property
    def version(self) -> int:
        """Number of writes so far: what a cache of sorted rows is valid for."""
        return len(self.events)

    @contextmanager
    def same_second(self) -> Iterator[int]:
        """Let all writes of the block share one second of the company's clock, and give that
        second.
        """
        with self.lock:
            if not self._frozen:
                self.now += 1
            self._frozen += 1
            try:
                yield self.now
            finally:
                self._frozen -= 1

    def _tick(self) -> int:
        if not self._frozen:
            self.now += 1
        return self.now

    def _log(
        self,
        table: str,
        row_id: RowId,
        action: str,
        changes: Mapping[str, Any],
        actor: int,
        touches: bool = False,
        source: str = "app",
        bulk: bool = False,
    ) -> None:
        event = Event(
            len(self.events), self.now, table, row_id, action, changes, actor, touches, source, bulk
        )
        self.events.append(event)
        if table in LOGGED:
            self._logs[table].setdefault(row_id, []).append(event)

    def _new_id(self, table: str, step: int = 1) -> int:
        new = self._next[table]
        self._next[table] = new + step
        return new

    def _create(self, table: str, row: Row, actor: int, source: str = "app") -> Row:
        """Add a complete row, stamped now."""
        text = stamp(table, self.now)
        for key in (CREATED.get(table, "add_time"), TOUCHED.get(table, "update_time")):
            if key is not None and row.get(key) is None:
                row[key] = text
        self.tables[table][row["id"]] = row
        self._log(table, row["id"], "create", row.copy(), actor, False, source)
        return row

    def _update(
        self,
        table: str,
        row_id: RowId,
        changes: Mapping[str, Any],
        actor: int,
        touches: bool = True,
        source: str = "app",
        bulk: bool = False,
    ) -> None:
        row = self.tables[table][row_id]
        merge(row, changes)
        key = TOUCHED.get(table, "update_time")
        touches = touches and key is not None
        if touches and key is not None:
            row[key] = stamp(table, self.now)
        self._log(table, row_id, "update", changes, actor, touches, source, bulk)

    def _delete(
        self,
        table: str,
        row_id: RowId,
        changes: Mapping[str, Any],
        actor: int,
        touches: bool = True,
    ) -> None:
        """Flag a row as deleted; it stays in its table."""
        row = self.tables[table][row_id]
        row.update(changes)
        if touches:
            row[TOUCHED.get(table) or "update_time"] = stamp(table, self.now)
        self.deleted_at[table, row_id] = self.now
        self._log(table, row_id, "delete", changes, actor, touches)

    def _restore(
        self,
        table: str,
        row_id: RowId,
        changes: Mapping[str, Any],
        actor: int,
        touches: bool = True,
    ) -> None:
        """Take the flag of deletion off a row."""
        row = self.tables[table][row_id]
        row.update(changes)
        if touches:
            row[TOUCHED.get(table) or "update_time"] = stamp(table, self.now)
        del self.deleted_at[table, row_id]
        self._log(table, row_id, "restore", changes, actor, touches)

    def _remove(self, table: str, row_id: RowId, actor: int) -> None:
        """Take a row out of its table for good."""
        del self.tables[table][row_id]
        self._log(table, row_id, "remove", {}, actor)

    def row(self, table: str, row_id: RowId) -> Row:
        """Return the stored row, deleted ones included; ValueError where there is none."""
        rows = self.tables.get(table)
        if rows is None:
            raise ValueError(f"There is no table {table!r}; there are {', '.join(TABLES)}.")
        row = rows.get(row_id)
        if row is None:
            raise ValueError(f"{table} has no row {row_id!r}.")
        return row

    def _living(self, table: str, row_id: RowId) -> Row:
        row = self.row(table, row_id)
        if (table, row_id) in self.deleted_at:
            raise ValueError(f"{table} {row_id} is deleted: it cannot be changed.")
        return row

    def hide(self, table: str, row_id: RowId) -> None:
        """Take the row out of the sight of the token's user, as a change of visibility does."""
        with self.lock:
            self.row(table, row_id)
            if (table, row_id) in self.hidden:
                return
            self._tick()
            self.hidden.add((table, row_id))
            self._log(table, row_id, "hide", {}, 0)

    def show(self, table: str, row_id: RowId) -> None:
        """Bring a hidden row back into sight."""
        with self.lock:
            self.row(table, row_id)
            if (table, row_id) not in self.hidden:
                return
            self._tick()
            self.hidden.discard((table, row_id))
            self._log(table, row_id, "show", {}, 0)
