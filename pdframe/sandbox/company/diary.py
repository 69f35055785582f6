"""Activities: planned when a deal enters a stage, done when it moves on, sometimes forgotten."""

from __future__ import annotations

from uuid import UUID

from .agenda import Agenda
from .clock import DAY, day_text, working_day
from .custom_fields import full_address
from .ledger import Row

_TYPES = ("call", "call", "meeting", "email", "task", "demo", "lunch", "deadline")


class Diary:
    """Keeps at most one planned activity a deal."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._planned: dict[int, int] = {}

    def plan(self, deal: Row) -> None:
        """Plan the next activity of a deal."""
        agenda, draw, company = self._agenda, self._agenda.draw, self._company
        kind = agenda.pick(_TYPES)
        owner, person = deal["owner_id"], deal["person_id"]
        timed = draw() < 0.7
        values: Row = {
            "type": kind,
            "owner_id": owner if draw() < 0.95 else agenda.pick(agenda.working() or agenda.reps),
            "deal_id": deal["id"],
            "person_id": person,
            "org_id": deal["org_id"],
            "due_date": day_text(working_day(company.now // DAY + 1 + int(draw() * 12)))
            if draw() < 0.95
            else None,
            "due_time": f"{8 + int(draw() * 9):02}:{int(draw() * 4) * 15:02}:00" if timed else None,
            "duration": agenda.pick(agenda.texts.durations) if timed and draw() < 0.8 else None,
            "busy": timed and draw() < 0.5,
            "participants": [{"person_id": person, "primary": True}] if person is not None else [],
        }
        if kind in ("meeting", "demo", "lunch"):
            if draw() < 0.6:
                values["location"] = full_address(draw)
            else:
                meeting = f"m-{company._next['activities']:x}"
                values |= {
                    "conference_meeting_client": "google_meet",
                    "conference_meeting_id": meeting,
                }
                values["conference_meeting_url"] = f"https://meet.example/{meeting}"
            values["attendees"] = self._attendees(owner, person)
            values["public_description"] = "Agenda: see the offer" if draw() < 0.4 else None
        if draw() < 0.25:
            values["priority"] = 261 + int(draw() * 3)
        if draw() < 0.3:
            values["note"] = agenda.pick(agenda.texts.activity_notes)
        if draw() < 0.04:
            values["lead_id"] = self.uuid()
        if company.switches.activities_have_custom_fields:
            values["custom_fields"] = self._custom_values(company._next["activities"])
        self._planned[deal["id"]] = company.add_activity(
            agenda.pick(agenda.texts.subjects[kind]), actor=owner, **values
        )

    def _custom_values(self, activity_id: int) -> Row:
        """Return the custom values of an activity: a function of its id, so that no draw of the
        company changes.
        """
        values: Row = {}
        for number, field in enumerate(
            f for f in self._company.fields["activity"] if f["is_custom_field"]
        ):
            options = [option["id"] for option in field["options"] or ()]
            lot = activity_id * 31 + number * 7
            if lot % 3 == 0:
                continue
            if field["field_type"] == "enum" and options:
                values[field["field_code"]] = options[lot % len(options)]
            elif field["field_type"] == "double":
                values[field["field_code"]] = lot % 400 + (0.5 if lot % 4 else 0)
        return values

    def uuid(self) -> str:
        """Draw the id of a lead."""
        return str(
            UUID(
                int=int(self._agenda.draw() * 2**53) << 70 | int(self._agenda.draw() * 2**53),
                version=4,
            )
        )

    def _attendees(self, owner: int, person: int | None) -> list[Row]:
        tables = self._company.tables
        user = tables["users"][owner]
        result: list[Row] = [
            {
                "email": user["email"],
                "name": user["name"],
                "status": "accepted",
                "is_organizer": True,
                "person_id": None,
                "user_id": owner,
            }
        ]
        contact = tables["persons"].get(person) if person is not None else None
        if contact and contact["emails"]:
            result.append(
                {
                    "email": contact["emails"][0]["value"],
                    "name": contact["name"],
                    "status": "noreply",
                    "is_organizer": False,
                    "person_id": person,
                    "user_id": None,
                }
            )
        return result

    def settle(self, deal: Row) -> None:
        """Mark what was planned for the deal as done; now and then it is deleted or stays undone
        for ever.
        """
        planned = self._planned.pop(deal["id"], None)
        if planned is None or not self._agenda.living("activities", planned):
            return
        u = self._agenda.draw()
        if u < 0.8:
            self._company.edit_activity(planned, done=True, actor=deal["owner_id"])
        elif u < 0.84:
            self._company.delete_activity(planned, actor=deal["owner_id"])
