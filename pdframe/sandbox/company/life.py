"""Three years of business, and whatever days come after: deals arrive, everything else follows from
the agenda.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import exp
from random import Random

from .agenda import Agenda
from .catalog import LEAVERS, SEASON
from .clock import DAY, END, START, business_time, day_text
from .contacts import Contacts
from .counts import Counts
from .customers import Customers
from .delivery import Delivery
from .diary import Diary
from .housekeeping import Housekeeping
from .offers import Offers
from .process import Process, poisson
from .selling import Selling
from .texts import Texts
from .upheavals import Upheavals

_GROWTH = 0.6
_WEEKDAYS = (1.1, 1.15, 1.1, 1.05, 0.85, 0.08, 0.05)
_DAYS = (END - START) // DAY


def _weight(day: int) -> float:
    """Return how busy a day is: growth, season, weekday."""
    since = min(day - START // DAY, _DAYS)
    return (
        exp(_GROWTH * since / 365.25)
        * SEASON[int(day_text(day)[5:7]) - 1]
        * _WEEKDAYS[(day + 3) % 7]
    )


class Life:
    """Drives the company's writes from the agenda."""

    def __init__(
        self, company: Counts, random: Random, size: int, process: Process, texts: Texts
    ) -> None:
        self._company = company
        self._size = size
        self.agenda = Agenda(company, random, texts)
        self.contacts = Contacts(self.agenda)
        offers = Offers(self.agenda, self.contacts)
        delivery = Delivery(self.agenda, self.contacts)
        self._customers = Customers(self.agenda, self.contacts, delivery)
        self._selling = Selling(
            self.agenda, self.contacts, offers, Diary(self.agenda), self._customers, process
        )
        self._housekeeping = Housekeeping(self.agenda, self.contacts, size == 0)
        self._process = process
        self._upheavals = Upheavals(self.agenda, self._selling, self._housekeeping, process)
        self._daily = [*accumulate(_weight(START // DAY + i) for i in range(_DAYS + 1))]
        self._arrived = 0
        self._arrivals = process.stream("arrivals") if process.market.poisson_arrivals else None
        self._shares: list[float] = []  # of the flow of the history, where each deal arrives

    def history(self) -> None:
        """Live from the start to the end of the generated past, with exactly as many deals as the
        company was asked for.
        """
        agenda = self.agenda
        agenda.at(START + 9 * DAY, self._housekeeping.visit, 0)
        for user, day in zip(LEAVERS, (430, 790), strict=True):
            time = business_time(START + day * DAY, agenda.draw())
            self._process.leaves.append((time, user))
            agenda.at(time, self._housekeeping.leave, user)
        for days_ago, per_mille in ((75, 3), (20, 4)):
            agenda.at(
                business_time(END - days_ago * DAY, agenda.draw()),
                self._housekeeping.clean,
                per_mille,
            )
        if self._size:
            self._upheavals.plan()
            if self._arrivals is not None:
                self._shares = sorted(self._arrivals.random() for _ in range(self._size))
            self._next_arrival()
            agenda.at((END // DAY + 1) * DAY, self._day, END // DAY + 1)
        agenda.run(END)

    def _next_arrival(self) -> None:
        """Put the next arrival of the history on the agenda: drawn within the n-th n-th of the flow
        of deals, or one of a Poisson process.
        """
        if self._arrived < self._size:
            draw = self.agenda.draw
            share = (self._arrived + draw()) / self._size
            if self._shares:
                share = self._shares[self._arrived]
            flow = share * self._daily[-1]
            day = min(bisect_right(self._daily, flow), _DAYS)
            t = (START // DAY + day) * DAY + int(DAY * draw())
            if draw() < 0.9:
                # Most are typed in by reps, the rest comes from web forms at any hour.
                t = (START // DAY + day) * DAY + 21_600 + int(draw() * 36_000)
            self.agenda.at(min(t, END - 7_200), self._arrive, 1)

    def _arrive(self, planned: int) -> None:
        opportunity = self._customers.due() if self.agenda.draw() < 0.9 else None
        self._selling.open(opportunity)
        if planned:
            self._arrived += 1
            self._next_arrival()

    def _day(self, day: int) -> None:
        """After the history: draw how many deals a day brings, at the pace that the history ended
        with.
        """
        draw = self.agenda.draw
        expected = self._size * _weight(day) / self._daily[-1]
        count = int(expected + draw())
        if self._arrivals is not None:
            count = poisson(expected, self._arrivals)
        for _ in range(count):
            self.agenda.at(day * DAY + 21_600 + int(draw() * 36_000), self._arrive, 0)
        self.agenda.at((day + 1) * DAY, self._day, day + 1)
