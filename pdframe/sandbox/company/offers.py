"""What reps put into a deal: line items, discounts, installments, and how they haggle over them."""

from __future__ import annotations

from .agenda import Agenda
from .clock import DAY, day_text
from .contacts import Contacts
from .ledger import Row

_TAX_METHODS = ("exclusive", "exclusive", "exclusive", "inclusive", "none")
_REDUCTIONS = (5, 10, 15, 20, 33.3)


class Offers:
    """Writes line items on behalf of reps; it leaves a deal with installments alone."""

    def __init__(self, agenda: Agenda, contacts: Contacts) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._contacts = contacts

    def _products(self, one_time: bool) -> list[Row]:
        return [
            p
            for p in self._company.tables["products"].values()
            if not p["is_deleted"]
            and p["is_linkable"]
            and (p["billing_frequency"] == "one-time") == one_time
        ]

    def offer(self, deal: Row, services: bool) -> None:
        """Put the first line items on a deal."""
        draw, deal_id = self._agenda.draw, deal["id"]
        if deal_id in self._company._installments_of:
            return
        recurring = [] if services else self._products(False)
        for _ in range(0 if services else 1 + (draw() < 0.4) + (draw() < 0.15)):
            if recurring:
                # The core plans sell best.
                self._line(
                    deal,
                    recurring[int(draw() ** 1.6 * len(recurring))],
                    self._contacts.seats(deal["org_id"]),
                )
        single = self._products(True)
        for _ in range(1 + (draw() < 0.5) if services else int(draw() < 0.3)):
            if single:
                self._line(deal, self._agenda.pick(single), 1 + int(draw() * 5))
        if draw() < (0.15 if services else 0.06):
            amount, kind = (
                (self._agenda.pick(_REDUCTIONS), "percentage")
                if draw() < 0.7
                else (100 + int(draw() * 20) * 10, "amount")
            )
            self._company.add_discount(
                deal_id,
                amount,
                type=kind,
                description="Year-end" if draw() < 0.5 else f"{amount} off",
                actor=deal["owner_id"],
            )

    def _line(self, deal: Row, product: Row, quantity: float) -> None:
        draw = self._agenda.draw
        values: Row = {"quantity": quantity, "tax_method": self._agenda.pick(_TAX_METHODS)}
        if draw() < 0.25:
            values["discount"] = self._agenda.pick(_REDUCTIONS)
            if draw() < 0.3:
                values |= {"discount": 25 + int(draw() * 8) * 5, "discount_type": "amount"}
        if draw() < 0.06:
            values["is_enabled"] = False
        if draw() < 0.03:
            values["quantity"] = quantity + 0.5
        if draw() < 0.05:
            values["comments"] = "As discussed"
        if product["id"] % 5 == 1 and draw() < 0.3:
            variations = [
                v
                for v in self._company.tables["product_variations"].values()
                if v["product_id"] == product["id"]
            ]
            if variations:
                values["product_variation_id"] = variations[-1]["id"]
        frequency = product["billing_frequency"]
        if frequency == "monthly" and draw() < 0.45:
            values["billing_frequency_cycles"] = self._agenda.pick((6, 12, 12, 24))
        elif frequency == "annually" and draw() < 0.2:
            values["billing_frequency_cycles"] = self._agenda.pick((1, 1, 2, 3, None))
        self._company.add_line(deal["id"], product["id"], actor=deal["owner_id"], **values)

    def haggle(self, deal: Row) -> None:
        """Change, disable or drop a line of a deal in negotiation."""
        if deal["id"] in self._company._installments_of:
            return
        lines = self._company.lines_of(deal["id"])
        if not lines:
            return
        draw, line, actor = self._agenda.draw, self._agenda.pick(lines), deal["owner_id"]
        u = draw()
        if u < 0.5:
            self._company.edit_line(
                line["id"],
                quantity=max(1, int(line["quantity"] * (0.7 + draw() * 0.7))),
                actor=actor,
            )
        elif u < 0.8:
            self._company.edit_line(
                line["id"],
                discount=self._agenda.pick(_REDUCTIONS),
                discount_type="percentage",
                actor=actor,
            )
        elif u < 0.9:
            self._company.edit_line(line["id"], is_enabled=not line["is_enabled"], actor=actor)
        elif len(lines) > 1:
            self._company.remove_line(line["id"], actor=actor)

    def instalments(self, deal: Row) -> None:
        """Split a services deal into two to four installments."""
        lines = self._company.lines_of(deal["id"])
        if (
            not lines
            or any(line["billing_frequency"] != "one-time" for line in lines)
            or deal["value"] <= 0
        ):
            return
        count = 2 + int(self._agenda.draw() * 3)
        share = round(deal["value"] / count, 2)
        today = self._company.now // DAY
        amounts = [share] * (count - 1) + [round(deal["value"] - share * (count - 1), 2)]
        plan = [
            (amount, day_text(today + 20 + 30 * i), f"Part {i + 1} of {count}")
            for i, amount in enumerate(amounts)
        ]
        self._company.set_installments(deal["id"], plan, actor=deal["owner_id"])

    def copy(
        self, deal: Row, base: list[Row], start: str | None, factor: float, grow: bool = False
    ) -> None:
        """Offer the recurring lines of an earlier deal again, quantities times `factor`, from
        `start` on.
        """
        for line in base:
            product = self._company.tables["products"][line["product_id"]]
            if (
                product["is_deleted"]
                or line["billing_frequency"] == "one-time"
                or not line["is_enabled"]
            ):
                continue
            self._company.add_line(
                deal["id"],
                product["id"],
                actor=deal["owner_id"],
                quantity=max(1, round(line["quantity"] * factor)),
                item_price=line["item_price"]
                if self._agenda.draw() < 0.6
                else round(line["item_price"] * 1.05, 2),
                tax=line["tax"],
                tax_method=line["tax_method"],
                billing_frequency=line["billing_frequency"],
                billing_frequency_cycles=line["billing_frequency_cycles"],
                billing_start_date=start,
            )
        if grow:
            products = self._products(False)
            if products:
                self._line(deal, self._agenda.pick(products), self._contacts.seats(deal["org_id"]))
