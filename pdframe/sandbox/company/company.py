"""The synthetic company: its tables, its clock, its writes, and the passing of days."""

from __future__ import annotations

import gc
from random import Random
from typing import Literal

from .changelog import deal_changelog, project_changelog
from .clock import DAY, FOUNDED
from .counts import Counts
from .custom_fields import named
from .founding import info, matches
from .futures import Futures
from .ledger import Row
from .life import Life
from .market import Market
from .process import Process
from .switches import Switches
from .texts import TEXTS
from .truth import Truth

__all__ = ["Company"]


class Company(Counts):
    """A B2B software vendor with three years behind it, deterministic in seed, size and the calls
    made on it.

    Parameters
    ----------
    seed
        Which company.
    deals
        Deals in the history, deleted and archived ones included. 0 is a new account: people,
        pipelines, fields and boards, and not one record.
    switches
        Behaviour that Pipedrive does not document.
    market
        What makes its business harder to forecast; None: nothing.
    texts
        Which names, labels and texts its rows have. "hostile": labels that several fields share,
        that are empty or very long, options that were removed, text in many alphabets, with markup
        and control characters; what tests take. "showcase": those of an ordinary customer. Deals,
        times and amounts of a seed are the same in both.

    Attributes
    ----------
    market
        What it was made with.
    now
        The company's clock in epoch seconds UTC; 2026-06-30T12:00:00Z after construction. Each
        write moves it on by at least a second.
    tables
        Rows by table and id, in id order, deleted and archived ones included, under the wire's
        names. Treat them as read-only: write by methods.
    fields
        Field definitions by entity, in metadata order.
    events
        Every write so far; the state of every table is their fold.
    deleted_at, hidden
        When a row was flagged as deleted; rows that the token's user cannot see any more.
    merged_into
        Deals that were merged into another, which deleted them.
    truth
        Stage visits and subscriptions as they really were, and the true probabilities of deals.
    """

    def __init__(
        self,
        seed: int = 7,
        deals: int = 2_000,
        switches: Switches | None = None,
        market: Market | None = None,
        texts: Literal["hostile", "showcase"] = "hostile",
    ) -> None:
        if deals < 0:
            raise ValueError(f"A company cannot have {deals} deals.")
        if texts not in TEXTS:
            raise ValueError(f"A company's texts are {' or '.join(TEXTS)}, not {texts!r}.")
        random = Random(f"{seed}/{deals}")
        me = 1003
        super().__init__(FOUNDED, seed, me, switches or Switches())
        self.size = deals
        self.market = market or Market()
        words = TEXTS[texts]
        self.info = info(seed, deals, self.market, words)
        process = Process(self.market, f"{seed}/{deals}/market")
        # Millions of small, long-lived objects without cycles: the collector would only walk them
        # again and again.
        collecting = gc.isenabled()
        gc.disable()
        try:
            matches(self, random, deals > 0, words)
            self._life = Life(self, random, deals, process, words)
            self.truth = Truth(
                self,
                named(seed, "deal", "Cancellation date"),
                Futures(self, process, self._life.contacts.segment),
            )
            self._life.history()
        finally:
            if collecting:
                gc.enable()

    def advance(self, days: float = 7) -> None:
        """Let life go on for that many days: new deals, moves, edits, wins, losses, reopenings,
        archiving, deletions, renamed fields.
        """
        if days < 0:
            raise ValueError("Time does not go back.")
        if self._frozen:
            raise ValueError("No days pass within one second.")
        self._life.agenda.run(self.now + int(days * DAY))

    def deal_changelog(self, deal_id: int) -> list[Row]:
        """Return the v1 changelog rows of a deal, oldest first."""
        self.row("deals", deal_id)
        return deal_changelog(self._logs["deals"][deal_id], self.switches)

    def project_changelog(self, project_id: int) -> list[Row]:
        """Return the v2 changelog rows of a project, oldest first."""
        self.row("projects", project_id)
        return project_changelog(self._logs["projects"][project_id])
