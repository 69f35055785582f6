"""Expected closes that know something: set from the true end of a visit, moved on when they pass.

Off unless the market turns it on.
"""

from __future__ import annotations

from math import exp

from .agenda import Agenda
from .clock import DAY, day_text, epoch
from .ledger import Row
from .process import Conditions, Process

__all__ = ["CloseDates"]

# Share of later stages at which a rep sets the date again, and of passed dates that are moved on.
_REVISED, _MOVED_ON = 0.6, 0.9


class CloseDates:
    """Sets and moves expected closes, with random numbers of its own."""

    def __init__(self, agenda: Agenda, process: Process) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._process = process
        self._random = process.stream("close dates")
        self._left: dict[int, tuple[int, float]] = {}
        self._seen: set[int] = set()

    def entered(self, deal: Row, conditions: Conditions, due: int) -> None:
        """Set the date of a deal whose visit began now and ends at `due`."""
        market, deal_id = self._process.market, deal["id"]
        if not (market.informative_close_dates or market.slipping_close_dates):
            return
        later = sum(
            self._process.median(conditions._replace(rank=rank))
            for rank in range(conditions.rank + 1, len(conditions.pipeline.stages))
        ) / self._process.pace.get(conditions.owner, 1.0)
        self._left[deal_id] = due, later
        first = deal_id not in self._seen
        self._seen.add(deal_id)
        if deal["expected_close_date"] is None:
            return
        if market.informative_close_dates and (first or self._random.random() < _REVISED):
            self._set(deal)
        self._watch(deal)

    def ended(self, deal_id: int) -> None:
        """Forget when the visit of a deal ends."""
        self._left.pop(deal_id, None)

    def _set(self, deal: Row) -> None:
        due, later = self._left[deal["id"]]
        now, market = self._company.now, self._process.market
        if market.informative_close_dates:
            error = exp(self._random.gauss(0, market.close_date_sd))
            days = max((due - now) / DAY + later, 1.0) * error
        else:
            days = 7 + self._random.random() * 50
        day = day_text(now // DAY + 1 + min(int(days), 3_000))
        if day != deal["expected_close_date"]:
            self._company.edit_deal(deal["id"], expected_close_date=day, actor=deal["owner_id"])

    def _watch(self, deal: Row) -> None:
        if self._process.market.slipping_close_dates:
            end = epoch(f"{deal['expected_close_date']}T06:00:00Z") + DAY
            seconds = int(self._random.random() * 5 * DAY)
            start = max(end, self._company.now)
            self._agenda.at(start + seconds, self._passed, deal["id"])

    def _passed(self, deal_id: int) -> None:
        deal = self._company.tables["deals"].get(deal_id)
        if deal is None or deal_id not in self._left or deal["status"] != "open":
            return
        expected = deal["expected_close_date"]
        if deal["is_deleted"] or expected is None or expected >= day_text(self._company.now // DAY):
            return
        working = self._agenda.hand(deal["owner_id"]) == deal["owner_id"]
        if working and self._random.random() < _MOVED_ON:
            self._set(deal)
            self._watch(deal)
