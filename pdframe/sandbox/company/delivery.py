"""Onboarding and service projects of won deals, from the first task to the archive."""

from __future__ import annotations

from . import catalog
from .agenda import Agenda
from .clock import DAY, day_text
from .contacts import Contacts
from .ledger import Row


class Delivery:
    """Runs projects through the phases of their board."""

    def __init__(self, agenda: Agenda, contacts: Contacts) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._contacts = contacts
        self._tasks_of: dict[int, list[int]] = {}

    def start(self, deal: Row, services: bool) -> None:
        """Open a project for a won deal."""
        agenda, draw, company = self._agenda, self._agenda.draw, self._company
        board = catalog.BOARDS[1 if services else 0][0]
        phases = self._phases(board)
        if not phases:
            return
        owner, today = agenda.pick(agenda.working() or agenda.reps), company.now // DAY
        org = company.tables["organizations"].get(deal["org_id"])
        project = company.add_project(
            f"{'Delivery' if services else 'Onboarding'}: {org['name'] if org else deal['title']}",
            phases[0],
            actor=owner,
            owner_id=owner,
            description="Opened when the deal was won." if draw() < 0.5 else None,
            start_date=day_text(today + int(draw() * 14)) if draw() < 0.9 else None,
            end_date=day_text(today + 30 + int(draw() * 60)) if draw() < 0.6 else None,
            deal_ids=[deal["id"]],
            person_ids=[deal["person_id"]] if deal["person_id"] is not None else [],
            org_ids=[deal["org_id"]] if deal["org_id"] is not None else [],
            label_ids=[41] if draw() < 0.15 else [],
            health_status=agenda.pick((10, 10, 20, 30)) if draw() < 0.6 else None,
            custom_fields=self._contacts.custom("project"),
        )
        parent = None
        for number, title in enumerate(catalog.TASKS[: 2 + int(draw() * 4)]):
            task = company.add_task(
                title,
                project,
                actor=owner,
                description="See the handbook" if draw() < 0.3 else None,
                is_milestone=number == 0 and draw() < 0.4,
                due_date=day_text(today + 7 * (number + 1)) if draw() < 0.7 else None,
                start_date=day_text(today + 1) if draw() < 0.3 else None,
                parent_task_id=parent,
                assignee_ids=[owner] if draw() < 0.8 else [],
                priority=1 + int(draw() * 3) if draw() < 0.2 else None,
            )
            self._tasks_of.setdefault(project, []).append(task)
            parent = task if number == 0 and draw() < 0.5 else None
        agenda.in_days(3 + draw() * 15, self._step, project)

    def _phases(self, board: int) -> list[int]:
        rows = [p for p in self._company.tables["phases"].values() if p["board_id"] == board]
        return [p["id"] for p in sorted(rows, key=lambda p: p["order_nr"])]

    def _step(self, project_id: int) -> None:
        """Take a project to its next phase, or end it."""
        agenda, draw, company = self._agenda, self._agenda.draw, self._company
        if not agenda.living("projects", project_id):
            return
        project = company.tables["projects"][project_id]
        if project["status"] != "open":
            return
        owner = agenda.hand(project["owner_id"])
        u = draw()
        if u < 0.01:
            company.delete_project(project_id, actor=owner)
            return
        if u < 0.025:
            company.edit_project(project_id, status="canceled", actor=owner)
            agenda.in_days(20 + draw() * 60, self._shelve, project_id)
            return
        todo = [t["id"] for t in self._tasks(project_id) if not t["is_done"]]
        if todo:
            company.edit_task(todo[0], is_done=True, actor=owner)
        phases = self._phases(project["board_id"])
        place = phases.index(project["phase_id"]) if project["phase_id"] in phases else 0
        if place + 1 < len(phases):
            changes: Row = {"phase_id": phases[place + 1]}
            if draw() < 0.15:
                changes["health_status"] = agenda.pick((10, 20, 30))
            company.edit_project(project_id, actor=owner, **changes)
            agenda.in_days(4 + draw() * 18, self._step, project_id)
            return
        for task in todo[1:]:
            company.edit_task(task, is_done=True, actor=owner)
        company.edit_project(
            project_id, status="completed", end_date=day_text(company.now // DAY), actor=owner
        )
        if draw() < 0.5:
            agenda.in_days(20 + draw() * 90, self._shelve, project_id)

    def _tasks(self, project_id: int) -> list[Row]:
        rows = self._company.tables["tasks"]
        return [rows[i] for i in self._tasks_of.get(project_id, ()) if i in rows]

    def _shelve(self, project_id: int) -> None:
        if (
            self._agenda.living("projects", project_id)
            and self._company.tables["projects"][project_id]["archive_time"] is None
        ):
            owner = self._company.tables["projects"][project_id]["owner_id"]
            self._company.archive_project(project_id, actor=self._agenda.hand(owner))
            if self._agenda.draw() < 0.04:
                self._company.unarchive_project(project_id)
