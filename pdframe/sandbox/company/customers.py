"""What becomes of a won deal: contracts that renew, grow, shrink, lapse, and customers who come
back.
"""

from __future__ import annotations

from datetime import date
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from .agenda import Agenda
from .clock import DAY, day_text, epoch
from .contacts import Contacts
from .delivery import Delivery
from .ledger import Row
from .lines import term_end

Kind = Literal["new", "renewal", "expansion", "contraction", "win-back", "services"]
KINDS: tuple[Kind, ...] = ("new", "renewal", "expansion", "contraction", "win-back", "services")


class Opportunity(NamedTuple):
    """A reason to open a deal with a customer, from `due` on."""

    due: int
    number: int
    kind: Kind
    org_id: int
    base_deal: int


class Customers:
    """Holds the opportunities with customers; a new deal takes the first that is due."""

    def __init__(self, agenda: Agenda, contacts: Contacts, delivery: Delivery) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._contacts = contacts
        self._delivery = delivery
        self._waiting: list[Opportunity] = []
        self._numbered = 0
        self._handled: set[int] = set()
        self.kind: dict[int, tuple[Kind, int]] = {}
        self._cancellation = contacts.named("deal", "Cancellation date")

    def _wait(self, due: int, kind: Kind, org: int, base: int) -> None:
        self._numbered += 1
        heappush(self._waiting, Opportunity(due, self._numbered, kind, org, base))

    def due(self) -> Opportunity | None:
        """Take the opportunity that has waited longest, if one is due."""
        while self._waiting and self._waiting[0].due <= self._company.now:
            result = heappop(self._waiting)
            if not self._agenda.living("organizations", result.org_id) or not self._agenda.living(
                "deals", result.base_deal
            ):
                continue
            if result.kind in ("win-back", "services") or not self._cancelled(
                self._company.tables["deals"][result.base_deal]
            ):
                return result
        return None

    def contract_end(self, deal: Row) -> tuple[date | None, bool]:
        """Return the last end of the deal's finite recurring lines, and whether it has any that
        runs on.
        """
        end, endless = None, False
        for line in self._company.lines_of(deal["id"]):
            if not line["is_enabled"] or line["billing_frequency"] == "one-time":
                continue
            start = date.fromisoformat(
                line["billing_start_date"]
                or deal["local_won_date"]
                or day_text(self._company.now // DAY)
            )
            line_end = term_end(start, line["billing_frequency"], line["billing_frequency_cycles"])
            if line_end is None:
                endless = True
            elif end is None or line_end > end:
                end = line_end
        return end, endless

    def won(self, deal: Row) -> None:
        """Begin what follows a win, once a deal."""
        deal_id, org = deal["id"], deal["org_id"]
        if deal_id in self._handled:
            return
        self._handled.add(deal_id)
        kind, base = self.kind.get(deal_id, ("new", deal_id))
        draw = self._agenda.draw
        if kind == "contraction" and base != deal_id:
            starts = [
                line["billing_start_date"]
                for line in self._company.lines_of(deal_id)
                if line["billing_start_date"]
            ]
            self._cancel(base, min(starts, default=deal["local_won_date"]))
        if draw() < {"new": 0.4, "services": 0.5, "win-back": 0.25}.get(kind, 0.03):
            self._delivery.start(deal, kind == "services")
        if org is None or not self._agenda.living("organizations", org):
            return
        self._label(org, 31)
        if draw() < 0.2:
            self._wait(self._company.now + int((20 + draw() * 200) * DAY), "services", org, deal_id)
        end, endless = self.contract_end(deal)
        if end is not None:
            ahead = int((20 + draw() * 40) * DAY)
            self._agenda.at(
                max(self._company.now + DAY, epoch(f"{end}T08:00:00Z") - ahead),
                self._review_term,
                deal_id,
            )
        if endless:
            self._agenda.in_days(60 + draw() * 330, self._review_endless, deal_id)

    def _label(self, org: int, label: int) -> None:
        row = self._company.tables["organizations"][org]
        if label not in row["label_ids"]:
            kept = [x for x in row["label_ids"] if x not in (31, 32, 33)]
            self._company.edit(
                "organizations",
                org,
                label_ids=[*kept, label],
                actor=self._agenda.hand(row["owner_id"]),
            )

    def _still_customer(self, deal_id: int) -> Row | None:
        deal = self._company.tables["deals"].get(deal_id)
        if deal is None or deal["status"] != "won" or deal["is_deleted"] or deal["org_id"] is None:
            return None
        return deal

    def _cancelled(self, deal: Row) -> bool:
        return deal["custom_fields"].get(self._cancellation) is not None

    def _review_term(self, deal_id: int) -> None:
        """Some weeks before a term ends: renew, as before or larger or smaller, or let it run
        out.
        """
        deal = self._still_customer(deal_id)
        if deal is None or self._cancelled(deal):
            return
        u, org = self._agenda.draw(), deal["org_id"]
        if u < 0.82:
            self._wait(self._company.now, "renewal", org, deal_id)
        else:
            self._leave(deal)

    def _review_endless(self, deal_id: int) -> None:
        """Once in a while a running contract grows, shrinks, is cancelled or stays."""
        deal = self._still_customer(deal_id)
        if deal is None or self._cancelled(deal):
            return
        u, org = self._agenda.draw(), deal["org_id"]
        if u < 0.4:
            self._wait(self._company.now, "expansion", org, deal_id)
        elif u < 0.56:
            self._wait(self._company.now, "contraction", org, deal_id)
        elif u < 0.8:
            self._cancel(
                deal_id, day_text(self._company.now // DAY + int(self._agenda.draw() * 60))
            )
            self._leave(deal)
            return
        self._agenda.in_days(90 + self._agenda.draw() * 270, self._review_endless, deal_id)

    def _cancel(self, deal_id: int, day: str) -> None:
        deal = self._company.tables["deals"].get(deal_id)
        if (
            deal is None
            or deal["is_deleted"]
            or not self._contacts.defined("deal", self._cancellation)
        ):
            return
        if deal["custom_fields"].get(self._cancellation) is None:
            actor = self._agenda.hand(deal["owner_id"])
            self._company.edit_deal(deal_id, custom_fields={self._cancellation: day}, actor=actor)

    def _leave(self, deal: Row) -> None:
        if self._agenda.living("organizations", deal["org_id"]):
            self._label(deal["org_id"], 33)
        if self._agenda.draw() < 0.8:
            self._wait(
                self._company.now + int((30 + self._agenda.draw() * 150) * DAY),
                "win-back",
                deal["org_id"],
                deal["id"],
            )

    def lost(self, deal: Row) -> None:
        """After a lost renewal the customer is gone, perhaps not for ever."""
        kind, base = self.kind.get(deal["id"], ("new", 0))
        if kind == "renewal":
            kept = self._still_customer(base)
            if kept is not None:
                self._leave(kept)
