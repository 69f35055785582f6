"""Life at a company: one random write after the other, of every kind that a sync has to cope
with.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import note

ENTITY_OF = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "projects": "project",
}
# A value of each type of custom field that a write may set; `n` makes each one new.
VALUES: dict[str, Callable[[int], Any]] = {
    "varchar": lambda n: f"text {n}",
    "text": lambda n: f"long text {n}",
    "phone": lambda n: f"+372 {n}",
    "double": lambda n: n + 0.5,
    "date": lambda n: f"2027-01-{1 + n % 28:02d}",
    "monetary": lambda n: {"value": n, "currency": "USD"},
    "daterange": lambda n: {"value": "2027-02-01", "until": f"2027-03-{1 + n % 28:02d}"},
}
NEW_FIELDS = ("varchar", "double", "date", "monetary", "daterange", "enum", "set")


class Life:
    """Writes on a company by kind; `ValueError` where the company refuses, and nothing where there
    is nothing to write on.

    Parameters
    ----------
    company
        Whose life it is.
    """

    def __init__(self, company: Any) -> None:
        self.company = company
        self.numbers = itertools.count(1)
        self.kinds: dict[str, Callable[[int, int], object]] = {
            **self._deals(),
            **self._lines(),
            **self._fields(),
            **self._records(),
            **self._projects(),
            **self._settings(),
            "a pause": lambda pick, n: self._pause((1, 60, 299, 301, 3_600, 86_400)[pick % 6]),
            "days": lambda pick, n: company.advance(days=(0.2, 1, 3)[pick % 3]),
        }

    def write(self, kind: str, pick: int) -> None:
        """One write of a kind; `pick` chooses on what."""
        self.kinds[kind](pick, next(self.numbers))

    def one_of(
        self, table: str, pick: int, fits: Callable[[dict[str, Any]], bool] = lambda row: True
    ) -> Any:
        """Id of a living row; `ValueError` where there is none."""
        deleted = self.company.deleted_at
        ids = [
            number
            for number, row in self.company.tables[table].items()
            if (table, number) not in deleted and fits(row)
        ]
        return one(ids, pick)

    def _pause(self, seconds: int) -> None:
        with self.company.lock:
            self.company.now += seconds

    def _deals(self) -> dict[str, Callable[[int, int], object]]:
        company, of = self.company, self.one_of

        def deal(pick: int, **wanted: Any) -> Any:
            return of(
                "deals", pick, lambda row: all(row[key] == value for key, value in wanted.items())
            )

        def move(pick: int, n: int) -> None:
            moved = deal(pick, status="open")
            company.move_deal(
                moved,
                of(
                    "stages", n, lambda row: row["id"] != company.tables["deals"][moved]["stage_id"]
                ),
            )

        return {
            "add a deal": lambda pick, n: company.add_deal(
                f"New {n}", value=float(n), currency="EUR"
            ),
            "edit a deal": lambda pick, n: company.edit_deal(deal(pick), title=f"Edited {n}"),
            "plan a deal": lambda pick, n: company.edit_deal(
                deal(pick),
                probability=n % 101,
                expected_close_date=f"2027-05-{1 + n % 28:02d}",
                owner_id=of("users", n),
            ),
            "link a deal": lambda pick, n: company.edit_deal(
                deal(pick), person_id=of("persons", n), org_id=of("organizations", n)
            ),
            "edit many deals": lambda pick, n: company.bulk_edit(
                [
                    number
                    for number in company.tables["deals"]
                    if ("deals", number) not in company.deleted_at
                ],
                title=f"Bulk {n}",
            ),
            "move a deal": move,
            "win a deal": lambda pick, n: company.win_deal(deal(pick, status="open")),
            "lose a deal": lambda pick, n: company.lose_deal(deal(pick, status="open"), "Price"),
            "reopen a deal": lambda pick, n: company.reopen_deal(
                of("deals", pick, lambda row: row["status"] != "open")
            ),
            "archive a deal": lambda pick, n: company.archive_deal(deal(pick, is_archived=False)),
            "unarchive a deal": lambda pick, n: company.unarchive_deal(
                deal(pick, is_archived=True)
            ),
            "delete a deal": lambda pick, n: company.delete_deal(deal(pick)),
            "hide a deal": lambda pick, n: company.hide("deals", deal(pick)),
            "show a deal": lambda pick, n: company.show(
                "deals", one(sorted(row for table, row in company.hidden if table == "deals"), pick)
            ),
            "follow a deal": lambda pick, n: company.follow("deal", deal(pick), of("users", n)),
        }

    def _lines(self) -> dict[str, Callable[[int, int], object]]:
        company, of = self.company, self.one_of

        def line(pick: int) -> Any:
            return of(
                "deal_products",
                pick,
                lambda row: ("deals", row["deal_id"]) not in company.deleted_at,
            )

        def one_time(row: dict[str, Any]) -> bool:
            frequencies = {kept["billing_frequency"] for kept in company.lines_of(row["id"])}
            return frequencies == {"one-time"}

        return {
            "add a line": lambda pick, n: company.add_line(of("deals", pick), of("products", n)),
            "add a disabled line": lambda pick, n: company.add_line(
                of("deals", pick), of("products", n), is_enabled=False
            ),
            "edit a line": lambda pick, n: company.edit_line(line(pick), quantity=float(n)),
            "edit a line's comment": lambda pick, n: company.edit_line(
                line(pick), comments=f"Comment {n}"
            ),
            "disable a line": lambda pick, n: company.edit_line(line(pick), is_enabled=False),
            "enable a line": lambda pick, n: company.edit_line(line(pick), is_enabled=True),
            "bill a line otherwise": lambda pick, n: company.edit_line(
                line(pick),
                billing_frequency=("one-time", "monthly")[n % 2],
                billing_frequency_cycles=None,
            ),
            "remove a line": lambda pick, n: company.remove_line(line(pick)),
            "pay in installments": lambda pick, n: company.set_installments(
                of("deals", pick, one_time),
                [(float(n), "2027-01-01", "First"), (1.0, "2027-02-01", f"Rest {n}")],
            ),
            "pay at once": lambda pick, n: company.set_installments(
                of("deals", pick, lambda row: bool(company.installments_of(row["id"]))), []
            ),
            "discount a deal": lambda pick, n: company.add_discount(of("deals", pick), 10),
        }

    def _fields(self) -> dict[str, Callable[[int, int], object]]:
        company = self.company

        def custom(pick: int, *types: str) -> tuple[str, dict[str, Any]]:
            fields = [
                (entity, field)
                for entity in ENTITY_OF.values()
                for field in company.fields[entity]
                if field["is_custom_field"] and (not types or field["field_type"] in types)
            ]
            return one(fields, pick)

        def add(pick: int, n: int) -> None:
            kind = NEW_FIELDS[n % len(NEW_FIELDS)]
            company.add_field(
                one(list(ENTITY_OF.values()), pick),
                f"Field {n}",
                kind,
                ["One", "Two"] if kind in ("enum", "set") else None,
            )

        def drop(pick: int, n: int) -> None:
            entity, field = custom(pick)
            company.drop_field(entity, field["field_code"])

        def recreate(pick: int, n: int) -> None:
            entity, field = custom(pick)
            company.drop_field(entity, field["field_code"])
            labels = [option["label"] for option in field["options"]] if field["options"] else None
            company.add_field(entity, field["field_name"], field["field_type"], labels)

        def rename(pick: int, n: int) -> None:
            entity, field = custom(pick)
            # Now and then to a label that another field has.
            other = custom(n)[1]["field_name"]
            company.rename_field(
                entity, field["field_code"], other if n % 3 == 0 else f"Renamed {n}"
            )

        def add_option(pick: int, n: int) -> None:
            entity, field = custom(pick, "enum", "set")
            company.add_option(entity, field["field_code"], f"Option {n}")

        def rename_option(pick: int, n: int) -> None:
            entity, field = custom(pick, "enum", "set")
            company.rename_option(
                entity, field["field_code"], one(field["options"], n)["id"], f"Option {n}"
            )

        def remove_option(pick: int, n: int) -> None:
            entity, field = custom(pick, "enum", "set")
            company.remove_option(entity, field["field_code"], one(field["options"], n)["id"])

        def fill(pick: int, n: int) -> None:
            table = one(list(ENTITY_OF), pick)
            fields = [
                f
                for f in company.fields[ENTITY_OF[table]]
                if f["is_custom_field"] and (f["field_type"] in VALUES or f["options"])
            ]
            # The newest ones most often: those that the cache does not know yet.
            field = fields[-1 - n % min(len(fields), 3)] if fields and n % 2 else one(fields, pick)
            kind = field["field_type"]
            if kind in VALUES:
                value = VALUES[kind](n)
            else:
                option = one(field["options"], n)["id"]
                value = [option] if kind == "set" else option
            company.edit(
                table, self.one_of(table, pick), custom_fields={field["field_code"]: value}
            )

        def empty(pick: int, n: int) -> None:
            table = one(list(ENTITY_OF), pick)
            row = company.tables[table][
                self.one_of(table, pick, lambda row: bool(row["custom_fields"]))
            ]
            codes = {field["field_code"] for field in company.fields[ENTITY_OF[table]]}
            company.edit(
                table,
                row["id"],
                custom_fields={
                    one([code for code in row["custom_fields"] if code in codes], n): None
                },
            )

        return {
            "add a field": add,
            "drop a field": drop,
            "re-create a field": recreate,
            "rename a field": rename,
            "add an option": add_option,
            "rename an option": rename_option,
            "remove an option": remove_option,
            "fill a field": fill,
            "empty a field": empty,
        }

    def _records(self) -> dict[str, Callable[[int, int], object]]:
        company, of = self.company, self.one_of
        return {
            "add an activity": lambda pick, n: company.add_activity(
                f"Call {n}", deal_id=of("deals", pick), person_id=of("persons", n)
            ),
            "edit an activity": lambda pick, n: company.edit_activity(
                of("activities", pick), subject=f"Edited {n}"
            ),
            "finish an activity": lambda pick, n: company.edit_activity(
                of("activities", pick, lambda row: not row["done"]), done=True
            ),
            "take an activity up again": lambda pick, n: company.edit_activity(
                of("activities", pick, lambda row: row["done"]), done=False
            ),
            "delete an activity": lambda pick, n: company.delete_activity(of("activities", pick)),
            "add a person": lambda pick, n: company.add_person(
                f"Person {n}", org_id=of("organizations", pick)
            ),
            "edit a person": lambda pick, n: company.edit(
                "persons", of("persons", pick), job_title=f"Job {n}"
            ),
            "delete a person": lambda pick, n: company.delete("persons", of("persons", pick)),
            "add an organization": lambda pick, n: company.add_organization(f"Organization {n}"),
            "edit an organization": lambda pick, n: company.edit(
                "organizations", of("organizations", pick), name=f"Edited {n}"
            ),
            "delete an organization": lambda pick, n: company.delete(
                "organizations", of("organizations", pick)
            ),
            "hide a person": lambda pick, n: company.hide("persons", of("persons", pick)),
            "show a person": lambda pick, n: company.show(
                "persons",
                one(sorted(row for table, row in company.hidden if table == "persons"), pick),
            ),
            "add a product": lambda pick, n: company.add_product(f"Product {n}", price=n),
            "edit a product": lambda pick, n: company.edit(
                "products", of("products", pick), name=f"Edited {n}"
            ),
            "delete a product": lambda pick, n: company.delete("products", of("products", pick)),
        }

    def _projects(self) -> dict[str, Callable[[int, int], object]]:
        company, of = self.company, self.one_of

        def away(row: dict[str, Any]) -> bool:
            return row["archive_time"] is not None

        return {
            "add a project": lambda pick, n: company.add_project(
                f"Project {n}", of("phases", pick), deal_ids=[of("deals", n)]
            ),
            "edit a project": lambda pick, n: company.edit_project(
                of("projects", pick), title=f"Edited {n}"
            ),
            "move a project": lambda pick, n: company.edit_project(
                of("projects", pick), phase_id=of("phases", n)
            ),
            "archive a project": lambda pick, n: company.archive_project(
                of("projects", pick, lambda row: not away(row))
            ),
            "unarchive a project": lambda pick, n: company.unarchive_project(
                of("projects", pick, away)
            ),
            "delete a project": lambda pick, n: company.delete_project(of("projects", pick)),
            "add a task": lambda pick, n: company.add_task(f"Task {n}", of("projects", pick)),
            "edit a task": lambda pick, n: company.edit_task(
                of("tasks", pick), title=f"Edited {n}", is_done=bool(n % 2)
            ),
            "delete a task": lambda pick, n: company.delete("tasks", of("tasks", pick)),
        }

    def _settings(self) -> dict[str, Callable[[int, int], object]]:
        company, of = self.company, self.one_of
        return {
            "add a stage": lambda pick, n: company.add_row(
                "stages",
                name=f"Stage {n}",
                order_nr=100 + n,
                pipeline_id=of("pipelines", pick),
                deal_probability=50,
                is_deal_rot_enabled=False,
            ),
            "rename a stage": lambda pick, n: company.edit(
                "stages", of("stages", pick), name=f"Stage {n}"
            ),
            "delete a stage": lambda pick, n: company.delete("stages", of("stages", -1)),
            "rename a pipeline": lambda pick, n: company.edit(
                "pipelines", of("pipelines", pick), name=f"Pipeline {n}"
            ),
            "rename a user": lambda pick, n: company.edit(
                "users", of("users", pick), name=f"User {n}"
            ),
            "add a board": lambda pick, n: company.add_row(
                "boards", name=f"Board {n}", order_nr=100 + n
            ),
            "rename a board": lambda pick, n: company.edit(
                "boards", of("boards", pick), name=f"Board {n}"
            ),
            "add a phase": lambda pick, n: company.add_row(
                "phases", name=f"Phase {n}", board_id=of("boards", pick), order_nr=100 + n
            ),
            "delete a phase": lambda pick, n: company.delete("phases", of("phases", -1)),
            "edit a template": lambda pick, n: company.edit(
                "project_templates", of("project_templates", pick), title=f"Template {n}"
            ),
        }


def say(text: str) -> None:
    """Note something of an example; threads that ask side by side cannot."""
    if threading.current_thread() is threading.main_thread():
        note(text)


def one(values: Sequence[Any], pick: int) -> Any:
    """One of the values; `ValueError` where there is none."""
    if not values:
        raise ValueError("There is nothing to write on.")
    return values[pick % len(values)]
