"""Organizations and persons as they turn up, and the custom values that rows are born with."""

from __future__ import annotations

from collections import Counter
from typing import Any

from . import catalog
from .agenda import Agenda
from .catalog import CURRENCY_OF_REGION
from .clock import day_text
from .custom_fields import Plan, codes, draw_value, full_address, named
from .ledger import Row

_STAFF = ((2, 50), (50, 500), (500, 20_000))
_SEATS = ((3, 25), (20, 120), (80, 600))


class Contacts:
    """Makes customers; remembers the segment and region of each."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self.segment: dict[int, int] = {}
        self.region: dict[int, int] = {}
        self.people: dict[int, list[int]] = {}
        self._plans = {
            (entity, code): plan
            for entity, plans in agenda.texts.plans.items()
            for code, plan in zip(codes(self._company.seed, entity, plans), plans, strict=True)
        }
        self._seen = -1
        self._open_fields: dict[str, list[tuple[str, Plan, list[int]]]] = {}
        self._namesakes: Counter[tuple[str, ...]] = Counter()
        self.retired: set[int] = set()  # options that no deal chooses any more

    def named(self, entity: str, name: str) -> str:
        """Return the code under which the plan of that name was created."""
        return named(self._company.seed, entity, name)

    def defined(self, entity: str, code: str) -> bool:
        """Whether the field still exists."""
        return code in self._company._codes[entity]

    def option(self, entity: str, code: str, number: int) -> dict[str, int]:
        """Return a custom value: the field's option at that position, nothing where it is gone."""
        for result in self._company.fields[entity]:
            if result["field_code"] == code:
                options = result["options"]
                return {code: options[number]["id"]} if options and number < len(options) else {}
        return {}

    def custom(
        self, entity: str, region: int = 0, org: int | None = None, person: int | None = None
    ) -> dict[str, Any]:
        """Draw the custom values that a new row of the entity gets."""
        if self._seen != self._company._fields_changed:
            self._seen = self._company._fields_changed
            self._open_fields = {
                name: [
                    (
                        f["field_code"],
                        plan,
                        [o["id"] for o in f["options"] or () if o["id"] not in self.retired],
                    )
                    for f in rows
                    if f["is_custom_field"]
                    and (plan := self._plans.get((name, f["field_code"]))) is not None
                    and plan.share
                ]
                for name, rows in self._company.fields.items()
            }
        draw, result = self._agenda.draw, {}
        for code, plan, options in self._open_fields[entity]:
            if draw() < plan.share:
                value = self._value(plan, options, region, org, person)
                if value is not None:
                    result[code] = value
        return result

    def _value(
        self, plan: Plan, options: list[int], region: int, org: int | None, person: int | None
    ) -> Any:
        agenda, kind = self._agenda, plan.kind
        if kind == "enum":
            return (
                options[region]
                if len(options) == 4
                else (agenda.pick(options) if options else None)
            )
        if kind == "set":
            return [o for o in options if agenda.draw() < 0.4] or (options[:1] or None)
        if kind == "user":
            return agenda.pick(agenda.reps)
        if kind == "org":
            return 1 + int(agenda.draw() * org) if org else None
        if kind == "people":
            return person
        return draw_value(kind, self._company.now, agenda.draw, plan.words, agenda.texts.joined)

    def new_organization(self, owner: int) -> int:
        """Add an organization with one to three people."""
        agenda, draw, pick = self._agenda, self._agenda.draw, self._agenda.pick
        texts = agenda.texts
        u = draw()
        segment = 0 if u < 0.55 else (1 if u < 0.87 else 2)
        u = draw()
        region = 0 if u < 0.4 else (1 if u < 0.65 else (2 if u < 0.82 else 3))
        parts = (
            pick(texts.org_heads[region]),
            pick(texts.org_middles),
            pick(texts.org_tails[region]),
        )
        name = texts.org_name(*parts, region, self._namesakes[parts])
        self._namesakes[parts] += 1
        low, high = _STAFF[segment]
        staff = low + int((high - low) * draw() ** 2)
        slug = texts.slug(name)
        row_id = self._company._next["organizations"]
        values: Row = {
            "owner_id": owner,
            "label_ids": [32] if draw() < 0.5 else [],
            "website": f"https://www.{slug}{row_id}.example" if draw() < 0.7 else None,
            "linkedin": (
                f"https://linkedin.example/company/{slug}{row_id}" if draw() < 0.2 else None
            ),
            "industry": 1 + int(draw() * 6) if draw() < 0.6 else None,
            "annual_revenue": staff * 90_000 if draw() < 0.3 else None,
            "employee_count": staff if draw() < 0.8 else None,
            "address": full_address(draw) if draw() < 0.6 else None,
            "visible_to": 3 if draw() < 0.3 else 7,
        }
        custom = self.custom("organization", region, row_id - 1 or None)
        segment_field = self.option("organization", self.named("organization", "Segment"), segment)
        if segment_field.keys() & custom.keys():
            custom |= segment_field
        org = self._company.add_organization(name, actor=owner, custom_fields=custom, **values)
        self.segment[org], self.region[org] = segment, region
        people = [self.new_person(org, region, slug, owner)]
        while len(people) < 3 and draw() < 0.25:
            people.append(self.new_person(org, region, slug, owner))
        self.people[org] = people
        if org % 4 == 1:
            self._company.follow("organization", org, owner)
            if agenda.draw() < 0.3:
                self._company.follow("organization", org, catalog.ME)
        return org

    def new_person(self, org: int | None, region: int, slug: str, owner: int) -> int:
        """Add a person, mostly with a mail address and a telephone number."""
        draw, pick = self._agenda.draw, self._agenda.pick
        texts = self._agenda.texts
        first, last = pick(texts.first_names[region]), pick(texts.last_names[region])
        key = self._company._next["persons"]
        emails = (
            [{"value": texts.email(first, last, key, slug), "primary": True, "label": "work"}]
            if draw() < 0.92
            else []
        )
        if emails and draw() < 0.15:
            emails.append({"value": f"p{key}@home.example", "primary": False, "label": "home"})
        phones = (
            [{"value": f"+372 {5_000_000 + key}", "primary": True, "label": "mobile"}]
            if draw() < 0.7
            else []
        )
        person = self._company.add_person(
            f"{first} {last}",
            actor=owner,
            first_name=first,
            last_name=last,
            owner_id=owner,
            org_id=org,
            emails=emails,
            phones=phones,
            im=(
                [{"value": f"live:{key}", "primary": True, "label": "skype"}]
                if draw() < 0.08
                else []
            ),
            job_title=(
                pick(("CEO", "CFO", "Head of Sales", "IT manager", "Buyer"))
                if draw() < 0.5
                else None
            ),
            birthday=day_text(int(draw() * 12_000)) if draw() < 0.06 else None,
            notes=texts.person_note if draw() < 0.04 else None,
            postal_address=full_address(draw) if draw() < 0.2 else None,
            picture_id=key if draw() < 0.1 else None,
            label_ids=[21] if draw() < 0.1 else [],
            custom_fields=self.custom("person", region, org, person=key - 1 or None),
        )
        if person % 4 == 1:
            self._company.follow("person", person, owner)
            if person % 8 == 1:
                self._company.follow("person", person, catalog.ME)
                self._company.unfollow("person", person, catalog.ME)
        return person

    def currency(self, org: int | None) -> str:
        """Return the currency in which the organization buys, mostly that of its region."""
        if org is None or self._agenda.draw() < 0.06:
            return "EUR"
        return CURRENCY_OF_REGION[self.region.get(org, 0)]

    def seats(self, org: int | None) -> int:
        """Draw how many seats an organization of this size buys."""
        low, high = _SEATS[self.segment.get(org or 0, 0)]
        return low + int((high - low) * self._agenda.draw() ** 2)
