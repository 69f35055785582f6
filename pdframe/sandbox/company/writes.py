"""All writes of the company: the methods by table, and `edit` and `delete` for any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .ledger import RowId
from .project_writes import ProjectWrites


class Writes(ProjectWrites):
    """Every write method there is."""

    def edit(
        self,
        table: str,
        row_id: Any,
        *,
        actor: int | None = None,
        source: str = "app",
        **changes: Any,
    ) -> None:
        """Change columns of a row of any table, by the same rules as the table's own method."""
        own: Mapping[str, Callable[..., None]] = {
            "deals": self.edit_deal,
            "deal_products": self.edit_line,
            "activities": self.edit_activity,
            "projects": self.edit_project,
            "tasks": self.edit_task,
        }
        if table in own:
            own[table](row_id, actor=actor, source=source, **changes)
            return
        if table in ("installments", "discounts"):
            raise ValueError(f"{table} are replaced, not edited.")
        with self.lock:
            self._edit_row(table, row_id, changes, actor, source)

    def delete(self, table: str, row_id: Any, *, actor: int | None = None) -> None:
        """Delete a row: flagged where the table has a flag, gone where it has none."""
        own: Mapping[str, Callable[..., None]] = {
            "deals": self.delete_deal,
            "deal_products": self.remove_line,
            "discounts": self.remove_discount,
            "activities": self.delete_activity,
            "projects": self.delete_project,
        }
        if table in own:
            own[table](row_id, actor=actor)
            return
        with self.lock:
            row = self._living(table, row_id)
            if table == "installments":
                kept = [
                    (i["amount"], i["billing_date"], i["description"])
                    for i in self.installments_of(row["deal_id"])
                    if i is not row
                ]
                self.set_installments(row["deal_id"], kept, actor=actor)
                return
            self._check_unused(table, row_id)
            self._tick()
            who = self.me if actor is None else actor
            if "is_deleted" in row:
                changes = {"is_deleted": True} | (
                    {"active_flag": False} if table == "users" else {}
                )
                self._delete(table, row_id, changes, who)
            else:
                self._remove(table, row_id, who)

    def _check_unused(self, table: str, row_id: RowId) -> None:
        users: Mapping[str, tuple[tuple[str, str], ...]] = {
            "stages": (("deals", "stage_id"),),
            "pipelines": (("deals", "pipeline_id"),),
            "phases": (("projects", "phase_id"),),
            "boards": (
                ("projects", "board_id"),
                ("phases", "board_id"),
                ("project_templates", "projects_board_id"),
            ),
            "tasks": (("tasks", "parent_task_id"),),
            "product_variations": (("deal_products", "product_variation_id"),),
        }
        for table_of_user, key in users.get(table, ()):
            for row in self.tables[table_of_user].values():
                if row[key] == row_id:
                    raise ValueError(
                        f"{table} {row_id} cannot be deleted: {table_of_user} {row['id']} is in it."
                    )
