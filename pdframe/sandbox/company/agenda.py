"""The discrete-event agenda: what is due when, and the random numbers that life draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

from .catalog import USERS
from .clock import DAY, after_work
from .counts import Counts
from .texts import Texts

T = TypeVar("T")
Handler = Callable[[int], None]


class Agenda:
    """A heap of due things; one source of randomness for all of life, so that the order of draws is
    the order of events. Whatever the company's texts, life draws as often.
    """

    def __init__(self, company: Counts, random: Random, texts: Texts) -> None:
        self.company = company
        self.texts = texts
        self.draw = random.random
        self.gauss = random.gauss
        self._due: list[tuple[int, int, Handler, int]] = []
        self._pushed = 0
        self.reps = [user for user, *_ in USERS[1:]]

    @contextmanager
    def drawing(self, random: Random) -> Iterator[None]:
        """Let what happens in the block draw from other random numbers."""
        usual = self.draw, self.gauss
        self.draw, self.gauss = random.random, random.gauss
        try:
            yield
        finally:
            self.draw, self.gauss = usual

    def pick(self, things: Sequence[T]) -> T:
        """Return one of the things, each as likely."""
        return things[int(self.draw() * len(things))]

    def at(self, t: int, handler: Handler, key: int) -> None:
        """Let `handler(key)` happen at `t`, or as soon after as the clock allows."""
        self._pushed += 1
        heappush(self._due, (t, self._pushed, handler, key))

    def in_days(self, days: float, handler: Handler, key: int) -> None:
        """Let `handler(key)` happen that many days on, in working hours."""
        self.at(after_work(self.company.now + 60, int(days * DAY)), handler, key)

    def run(self, until: int) -> None:
        """Do what is due up to `until`, where the clock then stands."""
        due, company = self._due, self.company
        last = until - 60
        while due and due[0][0] <= last and company.now < last:
            t, _, handler, key = heappop(due)
            with company.lock:
                if t > company.now:
                    company.now = t - 1
                handler(key)
        with company.lock:
            company.now = max(company.now, until)

    def working(self) -> list[int]:
        """Return the reps who have not left."""
        users = self.company.tables["users"]
        return [rep for rep in self.reps if users[rep]["active_flag"]]

    def hand(self, user: int) -> int:
        """Return who writes for the user: the user, or once they have left the one who leads
        sales.
        """
        return user if self.company.tables["users"][user]["active_flag"] else self.company.me

    def living(self, table: str, key: Any) -> bool:
        """Whether the row exists and is not deleted."""
        return key in self.company.tables[table] and (table, key) not in self.company.deleted_at
