"""Writes on line items, deal discounts and installments, and what follows from them on the deal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from .clock import wire
from .ledger import Row
from .lines import check_billing, deal_value, line_sum, number, revenue
from .record_writes import RecordWrites
from .rows import BLANK
from .switches import Switches

_LINE_KEYS = frozenset(
    (
        "name",
        "product_variation_id",
        "order_nr",
        "comments",
        "discount",
        "discount_type",
        "quantity",
        "item_price",
        "tax",
        "tax_method",
        "is_enabled",
        "billing_frequency",
        "billing_frequency_cycles",
        "billing_start_date",
    )
)
_TAX_METHODS = ("exclusive", "inclusive", "none")
_DISCOUNT_TYPES = ("percentage", "amount")


class LineWrites(RecordWrites):
    """Record writes and everything that hangs on a deal's products."""

    def __init__(self, now: int, seed: int, me: int, switches: Switches) -> None:
        super().__init__(now, seed, me, switches)
        self._lines_of: dict[int, list[int]] = {}
        self._installments_of: dict[int, list[int]] = {}
        self._discounts_of: dict[int, list[str]] = {}

    def lines_of(self, deal_id: int) -> list[Row]:
        """Return the deal's line items, oldest first."""
        rows = self.tables["deal_products"]
        return [rows[i] for i in self._lines_of.get(deal_id, ())]

    def installments_of(self, deal_id: int) -> list[Row]:
        """Return the deal's installments, in the order given."""
        rows = self.tables["installments"]
        return [rows[i] for i in self._installments_of.get(deal_id, ())]

    def discounts_of(self, deal_id: int) -> list[Row]:
        """Return the deal's own discounts, oldest first."""
        rows = self.tables["discounts"]
        return [rows[i] for i in self._discounts_of.get(deal_id, ())]

    def _derived(self, deal: Row) -> Row:
        """Return what the deal's lines say of its value and revenue; a deal without lines keeps its
        value and has no revenue.
        """
        lines = self.lines_of(deal["id"])
        result: Row = {}
        if lines:
            discounts = self.discounts_of(deal["id"])
            result["value"] = deal_value(lines, discounts)
            if deal["status"] != "lost":
                result |= revenue(lines, discounts, self.switches.revenue_formula)
        if "mrr" not in result:
            result |= {"acv": None, "arr": None, "mrr": None}
        return result

    def _revalue(self, deal: Row, actor: int, source: str = "app") -> None:
        """Bring the deal in line with its products, in the second of the write that changed
        them.
        """
        touches = self.switches.line_edits_move_update_time
        real = {key: value for key, value in self._derived(deal).items() if deal[key] != value}
        if real or touches:
            self._update("deals", deal["id"], real, actor, touches, source)

    def _check_line(self, line: Row) -> None:
        check_billing(line["billing_frequency"], line["billing_frequency_cycles"])
        if line["tax_method"] not in _TAX_METHODS:
            raise ValueError(
                f"tax_method {line['tax_method']!r} is none of {', '.join(_TAX_METHODS)}."
            )
        if line["discount_type"] not in _DISCOUNT_TYPES:
            raise ValueError(
                f"discount_type {line['discount_type']!r} is none of {', '.join(_DISCOUNT_TYPES)}."
            )
        if line["billing_start_date"] is not None:
            date.fromisoformat(line["billing_start_date"])
        if line["quantity"] < 0 or line["discount"] < 0 or line["tax"] < 0:
            raise ValueError("A line's quantity, discount and tax are not negative.")
        if line["discount_type"] == "percentage" and line["discount"] > 100:
            raise ValueError("A percentage discount is at most 100.")

    def _check_mix(self, deal_id: int, lines: Iterable[Row], with_installments: bool) -> None:
        if not with_installments:
            return
        frequencies = [line["billing_frequency"] for line in lines]
        if any(f != "one-time" for f in frequencies):
            raise ValueError(
                f"Deal {deal_id} has installments: it cannot have recurring products as well."
            )
        if "one-time" not in frequencies:
            raise ValueError(f"Deal {deal_id} has installments: they need a one-time product.")

    def add_line(
        self,
        deal_id: int,
        product_id: int,
        *,
        actor: int | None = None,
        source: str = "app",
        **values: Any,
    ) -> int:
        """Attach a product to a deal and return the line's id.

        Left out, price, tax and billing are the product's own: its price in the deal's currency,
        else its first price.
        """
        with self.lock:
            deal = self._living("deals", deal_id)
            product = self._living("products", product_id)
            if not values.keys() <= _LINE_KEYS:
                raise ValueError(
                    "deal_products has no settable column"
                    f" {', '.join(sorted(values.keys() - _LINE_KEYS))}."
                )
            if values.get("product_variation_id") is not None:
                self._refer("product_variations", values["product_variation_id"])
            row = BLANK["deal_products"].copy()
            row.update(
                id=self._next["deal_products"],
                deal_id=deal_id,
                name=product["name"],
                product_id=product_id,
                tax=product["tax"],
                order_nr=len(self._lines_of.get(deal_id, ())) + 1,
                comments="",
                currency=deal["currency"],
                discount=0,
                quantity=1,
                tax_method="exclusive",
                discount_type="percentage",
                is_enabled=True,
                billing_frequency=product["billing_frequency"],
            )
            if "item_price" not in values:
                price = next(
                    (p["price"] for p in product["prices"] if p["currency"] == deal["currency"]),
                    None,
                )
                row["item_price"] = (
                    price
                    if price is not None
                    else (product["prices"][0]["price"] if product["prices"] else 0)
                )
            if (
                values.get("billing_frequency", row["billing_frequency"])
                == product["billing_frequency"]
            ):
                row["billing_frequency_cycles"] = product["billing_frequency_cycles"]
            row.update(values)
            self._check_line(row)
            if deal_id in self._installments_of:
                self._check_mix(deal_id, [*self.lines_of(deal_id), row], True)
            row["sum"] = line_sum(row)
            who = self.me if actor is None else actor
            self._tick()
            new = self._new_id("deal_products")
            self._create("deal_products", row, who, source)
            self._lines_of.setdefault(deal_id, []).append(new)
            self._revalue(deal, who, source)
            return new

    def edit_line(
        self, line_id: int, *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change a line item; `sum` and the deal follow."""
        with self.lock:
            row = self.row("deal_products", line_id)
            deal = self._living("deals", row["deal_id"])
            if not changes.keys() <= _LINE_KEYS:
                raise ValueError(
                    "deal_products has no settable column"
                    f" {', '.join(sorted(changes.keys() - _LINE_KEYS))}."
                )
            after = {**row, **changes}
            self._check_line(after)
            self._check_mix(
                deal["id"],
                [after if line is row else line for line in self.lines_of(deal["id"])],
                deal["id"] in self._installments_of,
            )
            after["sum"] = line_sum(after)
            who = self.me if actor is None else actor
            self._tick()
            real = self._real(row, after)
            if real:
                self._update("deal_products", line_id, real, who, True, source)
                self._revalue(deal, who, source)

    def remove_line(self, line_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Detach a product; the row is gone. A deal that loses its last line keeps its value and
        has no revenue.
        """
        with self.lock:
            row = self.row("deal_products", line_id)
            deal = self._living("deals", row["deal_id"])
            self._check_mix(
                deal["id"],
                [line for line in self.lines_of(deal["id"]) if line is not row],
                deal["id"] in self._installments_of,
            )
            who = self.me if actor is None else actor
            self._tick()
            self._remove("deal_products", line_id, who)
            self._lines_of[deal["id"]].remove(line_id)
            if not self._lines_of[deal["id"]]:
                del self._lines_of[deal["id"]]
            self._revalue(deal, who, source)

    def set_installments(
        self,
        deal_id: int,
        installments: Iterable[Mapping[str, Any] | tuple[float, str, str]],
        *,
        actor: int | None = None,
    ) -> list[int]:
        """Replace the deal's installments by these, each a mapping or tuple of amount,
        billing_date, description; return their ids.

        They need a one-time product and exclude recurring ones. None at all clears them.
        """
        with self.lock:
            deal = self._living("deals", deal_id)
            wanted: list[Row] = [
                (
                    dict(zip(("amount", "billing_date", "description"), i, strict=True))
                    if isinstance(i, tuple)
                    else dict(i)
                )
                for i in installments
            ]
            for item in wanted:
                if item.keys() != {"amount", "billing_date", "description"}:
                    raise ValueError("An installment has amount, billing_date and description.")
                date.fromisoformat(item["billing_date"])
            self._check_mix(deal_id, self.lines_of(deal_id), bool(wanted))
            who = self.me if actor is None else actor
            self._tick()
            had = self._installments_of.pop(deal_id, [])
            for old in had:
                self._remove("installments", old, who)
            made = []
            for item in wanted:
                new = self._new_id("installments")
                row = {
                    "id": new,
                    "amount": number(item["amount"]),
                    "billing_date": item["billing_date"],
                    "deal_id": deal_id,
                    "description": item["description"],
                }
                self._create("installments", row, who)
                made.append(new)
            if made:
                self._installments_of[deal_id] = made
            if (made or had) and self.switches.line_edits_move_update_time:
                self._update("deals", deal["id"], {}, who)
            return made

    def add_discount(
        self,
        deal_id: int,
        amount: float,
        *,
        type: str = "percentage",
        description: str = "",
        actor: int | None = None,
    ) -> str:
        """Give the deal a discount, which cuts its one-time part; return the discount's id."""
        with self.lock:
            deal = self._living("deals", deal_id)
            if type not in _DISCOUNT_TYPES:
                raise ValueError(
                    f"The type of a discount is {' or '.join(_DISCOUNT_TYPES)}, not {type!r}."
                )
            if amount < 0 or (type == "percentage" and amount > 100):
                raise ValueError(f"A discount of {amount} {type} cannot be.")
            who = self.me if actor is None else actor
            self._tick()
            number_ = self._new_id("discounts")
            new = str(
                UUID(
                    int=(self.seed * 0x9E3779B97F4A7C15 + number_ * 0xD1B54A32D192ED03)
                    * 0x94D049BB133111EB
                    % 2**128,
                    version=4,
                )
            )
            row = {
                "id": new,
                "description": description,
                "amount": amount,
                "type": type,
                "deal_id": deal_id,
                "created_at": None,
                "created_by": who,
            }
            row |= {"updated_at": wire(self.now), "updated_by": who}
            self._create("discounts", row, who)
            self._discounts_of.setdefault(deal_id, []).append(new)
            self._revalue(deal, who)
            return new

    def remove_discount(self, discount_id: str, *, actor: int | None = None) -> None:
        """Take a discount off its deal."""
        with self.lock:
            row = self.row("discounts", discount_id)
            deal = self._living("deals", row["deal_id"])
            who = self.me if actor is None else actor
            self._tick()
            self._remove("discounts", discount_id, who)
            self._discounts_of[deal["id"]].remove(discount_id)
            if not self._discounts_of[deal["id"]]:
                del self._discounts_of[deal["id"]]
            self._revalue(deal, who)
