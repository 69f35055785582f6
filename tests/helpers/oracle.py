"""What was true when: every row of every list after each write, folded from the company's events,
to hold a cache against.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

from pdframe.schema import LISTS
from tests.helpers import true_cells

TABLES = tuple(name for name in LISTS if name not in true_cells.FIELD_LISTS)
BY_DEAL = ("deal_products", "installments")
ENTITY = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "projects": "project",
}
# What no row of another table accounts for: the company makes it up from the id alone, and hands
# out what it made up.
MADE_UP = {
    "next_activity_id",
    "last_activity_id",
    "files_count",
    "notes_count",
    "email_messages_count",
    "participants_count",
    "last_incoming_mail_time",
    "last_outgoing_mail_time",
    "smart_bcc_email",
}


class Version(NamedTuple):
    """A row from a moment on; None: not there, or not to be seen."""

    moment: int
    row: Any


class Annals:
    """The past of a company, moment by moment: a moment is a point between two writes.

    Parameters
    ----------
    company
        Read after each write, by `note`; nothing is written.
    """

    def __init__(self, company: Any) -> None:
        self.company = company
        self.moment = -1
        self.clock: list[int] = []
        self._state: true_cells.State = true_cells.fold(())
        self._taken = 0
        self._versions: dict[str, dict[Any, list[Version]]] = {
            name: {} for name in (*TABLES, *true_cells.FIELD_LISTS)
        }
        self._touches: dict[str, dict[Any, list[int]]] = {name: {} for name in TABLES}
        self.note()

    def note(self) -> int:
        """Take down what the writes since the last moment have changed; the number of the moment
        that it is now.
        """
        self.moment += 1
        self.clock.append(self.company.now)
        for event in self.company.events[self._taken :]:
            true_cells.take(self._state, event)
            if event.table in self._touches and (event.touches or event.action == "create"):
                noted = self._touches[event.table].setdefault(event.id, [])
                if not noted or noted[-1] != self.moment:
                    noted.append(self.moment)
        self._taken = len(self.company.events)
        for table in TABLES:
            self._take_down(table, self._rows(table))
        for table in true_cells.FIELD_LISTS:
            self._take_down(
                table, {code: dict(field) for code, field in self._state[table].items()}
            )
        return self.moment

    # What was true

    def ids(self, table: str) -> list[Any]:
        """Ids of all rows that ever were; of line items and installments, the deals that they are
        on.
        """
        return sorted(self._versions[table])

    def between(self, table: str, row: Any, since: int, until: int) -> list[Any]:
        """What a row was from one moment to another, both included: each state once, None where it
        was not there.
        """
        versions = self._versions[table].get(row, [])
        first = max(bisect_right(versions, since, key=lambda version: version.moment) - 1, 0)
        result = [version.row for version in versions[first:] if version.moment <= until]
        return result if versions and versions[0].moment <= since else [None, *result]

    def at(self, table: str, row: Any, moment: int) -> Any:
        """What a row was at a moment."""
        return self.between(table, row, moment, moment)[-1]

    def all_at(self, table: str, moment: int) -> dict[Any, Any]:
        """All rows that were there at a moment."""
        result = {row: self.at(table, row, moment) for row in self._versions[table]}
        return {number: row for number, row in result.items() if row is not None}

    def touched(self, table: str, row: Any, after: int, until: int) -> list[int]:
        """The moments, after one and up to another, at which the row's `update_time` was set."""
        return [moment for moment in self._touches[table].get(row, []) if after < moment <= until]

    def deleted(self, table: str, row: Any) -> bool:
        """Whether a row is deleted now, and not merely hidden."""
        kept = self._state[table].get(row)
        return kept is not None and bool(kept.get("is_deleted")) and not kept.get("hidden")

    def deleted_rows(self, table: str) -> list[dict[str, Any]]:
        """The rows that are flagged as deleted now and may be seen."""
        return [
            row
            for row in self._state[table].values()
            if row.get("is_deleted") and not row.get("hidden")
        ]

    # Taking it down

    def _take_down(self, table: str, rows: dict[Any, Any]) -> None:
        kept = self._versions[table]
        for number in rows.keys() | kept.keys():
            versions, row = kept.setdefault(number, []), rows.get(number)
            if (versions[-1].row if versions else None) != row:
                versions.append(Version(self.moment, row))

    def _rows(self, table: str) -> dict[Any, Any]:
        rows = true_cells.visible(self._state, table)
        if table in BY_DEAL:
            kept: dict[int, dict[int, Any]] = {
                row["id"]: {} for row in true_cells.visible(self._state, "deals")
            }
            for row in rows:
                if row["deal_id"] in kept:
                    kept[row["deal_id"]][row["id"]] = dict(row)
            return kept
        extras = self._extras(table, [row["id"] for row in rows])
        if table not in ENTITY:
            return {row["id"]: dict(row) for row in rows}
        defined = {
            code
            for code, field in self._state[f"{ENTITY[table]}_fields"].items()
            if field["is_custom_field"]
        }
        return {
            row["id"]: {
                **row,
                **extras.get(row["id"], {}),
                # A server shows the values of fields that are defined.
                "custom_fields": {
                    code: value for code, value in row["custom_fields"].items() if code in defined
                },
            }
            for row in rows
        }

    def _extras(self, table: str, ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The columns that the API counts on request."""
        company = self.company
        if table == "deals":
            counted = true_cells.counted(
                self._state, company.switches.products_count_includes_disabled
            )
            made_up = {number: company.deal_counts(number) for number in ids}
            return {
                number: {**{key: made_up[number][key] for key in MADE_UP}, **counted[number]}
                for number in ids
            }
        if table in ("persons", "organizations"):
            count = company.person_counts if table == "persons" else company.organization_counts
            # Never asked for: a company without the marketing app would refuse the whole request.
            return {
                number: {**count(number), "marketing_status": None, "doi_status": None}
                for number in ids
            }
        return {}
