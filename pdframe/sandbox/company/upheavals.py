"""What a market does to a company on a given day: a rep leaves, deals are imported or closed in
bulk.
"""

from __future__ import annotations

from .agenda import Agenda
from .clock import DAY, business_time, day_start
from .housekeeping import Housekeeping
from .process import DEAD_DAYS, Process
from .selling import Selling

__all__ = ["Upheavals"]


class Upheavals:
    """Puts the market's days on the agenda; draws from streams of their own."""

    def __init__(
        self, agenda: Agenda, selling: Selling, housekeeping: Housekeeping, process: Process
    ) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._selling = selling
        self._housekeeping = housekeeping
        self._process = process
        self._leaving, self._importing = process.stream("leave"), process.stream("import")

    def plan(self) -> None:
        """Put on the agenda what the market names."""
        market, agenda = self._process.market, self._agenda
        for day, user in market.rep_leaves:
            time = business_time(day_start(day), 0.5)
            self._process.leaves.append((time, user))
            agenda.at(time, self._leave, user)
        if market.bulk_import is not None:
            day, count = market.bulk_import
            agenda.at(business_time(day_start(day), 0.5), self._import, count)
        if market.bulk_close is not None:
            self._process.dead_at = business_time(day_start(market.bulk_close), 0.5)
            agenda.at(self._process.dead_at, self._close_dead, 0)

    def _leave(self, user: int) -> None:
        if self._company.tables["users"][user]["active_flag"]:
            with self._agenda.drawing(self._leaving):
                self._housekeeping.leave(user)

    def _import(self, count: int) -> None:
        with self._agenda.drawing(self._importing), self._company.same_second():
            for _ in range(count):
                self._selling.open(None, imported=True)

    def _close_dead(self, _: int) -> None:
        before = self._company.now - DEAD_DAYS * DAY
        dead = [
            deal["id"]
            for deal in self._company.tables["deals"].values()
            if deal["status"] == "open"
            and not deal["is_deleted"]
            and self._selling.entered.get(deal["id"], self._company.now) <= before
        ]
        if dead:
            with self._company.same_second():
                for deal_id in dead:
                    self._company.lose_deal(deal_id, "No decision")
