"""What happens beside selling: renamed fields, options that come and go, corrected contacts, reps
who leave, spring cleaning.
"""

from __future__ import annotations

from .agenda import Agenda
from .clock import wire_v1
from .contacts import Contacts
from .process import PASSED_ON

_EVERY_DAYS = 6
# Of how many rounds one brings a new competitor and takes the oldest away; deals go on holding it.
_ROUNDS = 8


class Housekeeping:
    """An administrator who looks in every few days."""

    def __init__(self, agenda: Agenda, contacts: Contacts, new_account: bool) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._texts = agenda.texts
        self._contacts = contacts
        self._new_account = new_account
        self._visits = 0

    def visit(self, _: int) -> None:
        """Do one thing to the fields in turn, correct some records, come back later."""
        swap = self._visits // 6 % _ROUNDS == _ROUNDS // 2
        add, remove = (
            (self._add_competitor, self._remove_competitor)
            if swap
            else (self._reword_procurement, self._reword_procurement)
        )
        actions = (
            self._rename_field,
            add,
            self._correct,
            remove,
            self._correct,
            self._rename_competitor,
        )
        actions[self._visits % len(actions)]()
        self._visits += 1
        if not self._new_account:
            self._correct()
        self._agenda.in_days(_EVERY_DAYS + self._agenda.draw(), self.visit, 0)

    def _rename_field(self) -> None:
        code = self._contacts.named("deal", "Use case")
        if self._contacts.defined("deal", code):
            name = self._company.field("deal", code)["field_name"]
            names = self._texts.use_cases
            following = names[(names.index(name) + 1) % len(names)] if name in names else names[0]
            self._company.rename_field("deal", code, following)

    def _options(self, name: str) -> tuple[str, list[tuple[int, str]]]:
        """Return a field's code and its options; none where the field is gone."""
        code = self._contacts.named("deal", name)
        if not self._contacts.defined("deal", code):
            return code, []
        options = self._company.field("deal", code)["options"]
        retired = self._contacts.retired
        return code, [(o["id"], o["label"]) for o in options if o["id"] not in retired]

    def _add_competitor(self) -> None:
        code, options = self._options("Competitor")
        names = self._texts.competitors
        if options and len(options) < len(names):
            last = options[-1][1].removesuffix(self._texts.company_ending)
            following = names.index(last) + 1 if last in names else 0
            self._company.add_option("deal", code, names[following % len(names)])

    def _remove_competitor(self) -> None:
        code, options = self._options("Competitor")
        if len(options) > 5:
            option, label = options[0]
            if self._texts.removes_options:
                self._company.remove_option("deal", code, option)
            else:
                self._contacts.retired.add(option)
                self._company.rename_option("deal", code, option, label)

    def _rename_competitor(self) -> None:
        self._reword("Competitor", -1, self._texts.company_ending)

    def _reword_procurement(self) -> None:
        self._reword("Procurement", 0, self._texts.status_ending)

    def _reword(self, name: str, which: int, ending: str) -> None:
        """Give an option of a field an ending, or take it away again."""
        code, options = self._options(name)
        if options:
            option, label = options[which]
            self._company.rename_option(
                "deal",
                code,
                option,
                label.removesuffix(ending) if label.endswith(ending) else label + ending,
            )

    def _correct(self) -> None:
        """Put a person, an organization and a product right; now and then a duplicate goes."""
        agenda, draw, tables = self._agenda, self._agenda.draw, self._company.tables
        if self._new_account:
            return
        if tables["persons"]:
            person = (
                agenda.pick(list(tables["persons"]))
                if len(tables["persons"]) < 500
                else 1 + int(draw() * len(tables["persons"]))
            )
            if agenda.living("persons", person):
                if draw() < 0.25 and len(tables["persons"]) > 40:
                    self._company.delete("persons", person)
                else:
                    self._company.edit(
                        "persons",
                        person,
                        job_title=agenda.pick(self._texts.later_jobs),
                    )
        if tables["organizations"]:
            org = 1 + int(draw() * len(tables["organizations"]))
            if agenda.living("organizations", org):
                if draw() < 0.1 and len(tables["organizations"]) > 40:
                    self._company.delete("organizations", org)
                else:
                    self._company.edit("organizations", org, employee_count=5 + int(draw() * 900))
        if tables["products"] and draw() < 0.4:
            product = 1 + int(draw() * 40)
            if agenda.living("products", product):
                prices = [
                    {**p, "price": round(p["price"] * 1.01, 2)}
                    for p in tables["products"][product]["prices"]
                ]
                self._company.edit("products", product, prices=prices)

    def leave(self, user: int) -> None:
        """A rep leaves: most of the open deals go to a colleague in one bulk edit, some are
        forgotten.
        """
        last = wire_v1(self._company.now - 3_600)
        self._company.edit("users", user, active_flag=False, activated=False, last_login=last)
        heirs = self._agenda.working()
        deals = [
            d["id"]
            for d in self._company.tables["deals"].values()
            if d["owner_id"] == user and d["status"] == "open" and not d["is_deleted"]
        ]
        passed = [d for d in deals if self._agenda.draw() < PASSED_ON]
        if passed and heirs:
            self._company.bulk_edit(passed, owner_id=self._agenda.pick(heirs))

    def clean(self, per_mille: int) -> None:
        """Delete some open deals that have not been touched for long."""
        deals = self._company.tables["deals"]
        wanted = max(1, int(len(deals) * per_mille / 1000)) if len(deals) >= 20 else 0
        for deal_id in list(deals)[: len(deals) // 2]:
            if (
                wanted
                and deals[deal_id]["status"] == "open"
                and not deals[deal_id]["is_deleted"]
                and self._agenda.draw() < 0.2
            ):
                self._company.delete_deal(deal_id)
                wanted -= 1
