"""Writes on projects and their tasks."""

from __future__ import annotations

from typing import Any

from .clock import wire_millis
from .deal_writes import DealWrites
from .ledger import Row
from .rows import blank

_STATUSES = ("open", "completed", "canceled")


class ProjectWrites(DealWrites):
    """Deal writes, projects and tasks."""

    def add_project(
        self,
        title: str,
        phase_id: int,
        *,
        actor: int | None = None,
        source: str = "app",
        **values: Any,
    ) -> int:
        """Add an open project in a phase, and so on its board; return its id."""
        with self.lock:
            phase = self.row("phases", phase_id)
            self._columns("projects", values)
            self._links(values)
            self._tick()
            who = values.get("owner_id") or self.me if actor is None else actor
            row = blank(
                "projects",
                id=self._new_id("projects"),
                title=title,
                status="open",
                board_id=phase["board_id"],
                phase_id=phase_id,
                owner_id=who,
            )
            row.update(
                deal_ids=[],
                person_ids=[],
                org_ids=[],
                label_ids=[],
                custom_fields={},
                status_change_time=wire_millis(self.now),
            )
            row.update(values)
            self._create("projects", row, who, source)
            return int(row["id"])

    def _links(self, values: Row) -> None:
        for key, table in (
            ("deal_ids", "deals"),
            ("person_ids", "persons"),
            ("org_ids", "organizations"),
        ):
            for linked in values.get(key) or ():
                self._refer(table, linked)

    def edit_project(
        self, project_id: int, *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change a project; a phase brings its board with it, a status its time."""
        with self.lock:
            row = self._living("projects", project_id)
            self._columns("projects", changes)
            self._links(changes)
            if "status" in changes and changes["status"] not in _STATUSES:
                raise ValueError(
                    f"The status of a project is {', '.join(_STATUSES)}, not {changes['status']!r}."
                )
            if "phase_id" in changes:
                board = self.row("phases", changes["phase_id"])["board_id"]
                if changes.setdefault("board_id", board) != board:
                    raise ValueError(
                        f"Phase {changes['phase_id']} is not on board {changes['board_id']}."
                    )
            elif changes.get("board_id", row["board_id"]) != row["board_id"]:
                raise ValueError("A project goes to another board with one of its phases.")
            self._tick()
            real = self._real(row, changes)
            if "status" in real:
                real["status_change_time"] = wire_millis(self.now)
            if real:
                self._update(
                    "projects", project_id, real, self.me if actor is None else actor, True, source
                )

    def archive_project(self, project_id: int, *, actor: int | None = None) -> None:
        """Archive a project."""
        with self.lock:
            if self._living("projects", project_id)["archive_time"] is not None:
                raise ValueError(f"Project {project_id} is archived already.")
            self._tick()
            self._update(
                "projects",
                project_id,
                {"archive_time": wire_millis(self.now)},
                self.me if actor is None else actor,
            )

    def unarchive_project(self, project_id: int, *, actor: int | None = None) -> None:
        """Take a project out of the archive."""
        with self.lock:
            if self._living("projects", project_id)["archive_time"] is None:
                raise ValueError(f"Project {project_id} is not archived.")
            self._tick()
            self._update(
                "projects", project_id, {"archive_time": None}, self.me if actor is None else actor
            )

    def delete_project(self, project_id: int, *, actor: int | None = None) -> None:
        """Delete a project: its row says so by its status."""
        with self.lock:
            self._living("projects", project_id)
            self._tick()
            self._delete(
                "projects",
                project_id,
                {"status": "deleted", "status_change_time": wire_millis(self.now)},
                self.me if actor is None else actor,
            )

    def add_task(
        self,
        title: str,
        project_id: int,
        *,
        actor: int | None = None,
        source: str = "app",
        **values: Any,
    ) -> int:
        """Add a task to a project and return its id."""
        with self.lock:
            self._living("projects", project_id)
            self._columns("tasks", values)
            if values.get("parent_task_id") is not None:
                self._refer("tasks", values["parent_task_id"])
            self._tick()
            who = self.me if actor is None else actor
            row = blank(
                "tasks",
                id=self._new_id("tasks"),
                title=title,
                creator_id=who,
                project_id=project_id,
                is_done=False,
                is_milestone=False,
            )
            row.update(assignee_ids=[])
            row.update(values)
            if row["is_done"]:
                row["marked_as_done_time"] = wire_millis(self.now)
            self._create("tasks", row, who, source)
            return int(row["id"])

    def edit_task(
        self, task_id: int, *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change a task; setting or clearing `is_done` keeps marked_as_done_time."""
        with self.lock:
            row = self._living("tasks", task_id)
            self._columns("tasks", changes)
            if "project_id" in changes:
                self._living("projects", changes["project_id"])
            self._tick()
            real = self._real(row, changes)
            if "is_done" in real:
                real["marked_as_done_time"] = wire_millis(self.now) if real["is_done"] else None
            if real:
                self._update(
                    "tasks", task_id, real, self.me if actor is None else actor, True, source
                )
