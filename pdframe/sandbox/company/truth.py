"""What really happened, for tests: every stay of a deal in a stage and every subscription's life.
Never served over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal, NamedTuple

from .clock import epoch
from .futures import Futures, WinProbability
from .ledger import Event, Ledger, Row
from .lines import monthly, term_end

VisitEnd = Literal["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]


class StageVisit(NamedTuple):
    """One stay of a deal in a stage, counted from 1 by deal and stage; times in epoch seconds UTC,
    `left_at` None while it is there.
    """

    deal_id: int
    pipeline_id: int
    stage_id: int
    visit: int
    entered_at: int
    left_at: int | None
    end: VisitEnd


class DealState(NamedTuple):
    """What a deal is from `time` on (epoch seconds UTC): status is open, won, lost or deleted,
    stage and pipeline are its own.
    """

    deal_id: int
    time: int
    status: str
    stage_id: int
    pipeline_id: int


class Merge(NamedTuple):
    """Deal `deal_id` was merged into deal `into`, and deleted, at `time` (epoch seconds UTC)."""

    deal_id: int
    into: int
    time: int


class Subscription(NamedTuple):
    """One recurring line of a won deal, in force on [start, end); `monthly` is net of tax and
    discount, weekly lines at 52/12.
    """

    org_id: int | None
    person_id: int | None
    product_id: int
    deal_id: int
    line_id: int
    start: date
    end: date | None
    end_reason: Literal["term", "cancelled", "open"]
    monthly: float
    currency: str


class Truth:
    """Reads the ledger's events and rows, and the rules of the company's life."""

    def __init__(self, ledger: Ledger, cancellation_code: str, futures: Futures) -> None:
        self._ledger = ledger
        self._futures = futures
        self._cancellation = cancellation_code

    def stage_visits(self, deal_id: int | None = None) -> list[StageVisit]:
        """Return the stays of all deals, or of one, by deal and time.

        The first stay begins at the ``add_time`` that the deal was created with; an ``add_time``
        set by hand afterwards changes no stay, nor does a ``won_time`` or ``lost_time``. A deal
        created won or lost has one stay, which ends at the ``close_time`` that it was created with.
        A stage moved to another pipeline ends the stays in it as changed pipeline, and begins them
        again there. What changes of a deal that is won, lost or deleted (its status, its stage, its
        deletion, its restoration) is a stay of no length in the stage that it has then, which ends
        in the status that it has then; a move and a change of status in one second are one.
        """
        ledger = self._ledger
        logs = ledger._logs["deals"]
        wanted = logs if deal_id is None else {deal_id: logs[deal_id]}
        order = {key: row["order_nr"] for key, row in ledger.tables["stages"].items()}
        return [visit for log in wanted.values() for visit in self._visits(log, order)]

    @staticmethod
    def _visits(log: list[Event], order: dict[int, int]) -> list[StageVisit]:
        first = log[0]
        deal = int(first.id)
        stage, pipeline, status = (
            first.changes["stage_id"],
            first.changes["pipeline_id"],
            first.changes["status"],
        )
        entered: int | None = epoch(first.changes["add_time"])
        counts: dict[int, int] = {}
        result: list[StageVisit] = []

        def leave(t: int | None, end: VisitEnd) -> None:
            nonlocal entered
            if entered is not None:
                counts[stage] = counts.get(stage, 0) + 1
                result.append(StageVisit(deal, pipeline, stage, counts[stage], entered, t, end))
                entered = None

        def note(t: int, end: VisitEnd) -> None:
            """Add a stay of no length."""
            nonlocal entered
            entered = t
            leave(t, end)

        ended: VisitEnd | None = None if status == "open" else status
        if ended is not None:
            leave(epoch(first.changes["close_time"]), ended)
        moves: list[StageVisit] = []  # of the closed deal, in the last second
        deleted = False
        for event in log[1:]:
            changes = event.changes
            moves = [visit for visit in moves if visit.entered_at == event.time]
            if "stage_id" in changes or "pipeline_id" in changes:
                new = changes.get("stage_id", stage)
                inside = entered is not None
                if "pipeline_id" in changes:
                    leave(event.time, "changed pipeline")
                else:
                    leave(event.time, "advanced" if order[new] > order[stage] else "moved back")
                stage, pipeline, entered = (
                    new,
                    changes.get("pipeline_id", pipeline),
                    event.time if inside else None,
                )
                if ended is not None:
                    note(event.time, ended)
                    moves.append(result[-1])
            status = changes.get("status", status)
            deleted = event.action == "delete" or (deleted and event.action != "restore")
            now: VisitEnd | None = "deleted" if deleted else None if status == "open" else status
            if now == ended:
                continue
            for _ in moves:
                counts[result.pop().stage_id] -= 1
            moves = []
            if ended is None:
                leave(event.time, now or "open")
            elif now is None:
                entered = event.time
            else:
                note(event.time, now)
            ended = now
        leave(None, "open")
        return result

    def deal_states(self, deal_id: int) -> list[DealState]:
        """Return what the deal was after its creation and after each write that changed it, oldest
        first.

        Times are those of the writes, whatever dates were set by hand.
        """
        result: list[DealState] = []
        status, deleted = "", False
        stage = pipeline = 0
        for event in self._ledger._logs["deals"][deal_id]:
            status = event.changes.get("status", status)
            stage, pipeline = (
                event.changes.get("stage_id", stage),
                event.changes.get("pipeline_id", pipeline),
            )
            deleted = event.action == "delete" or (deleted and event.action != "restore")
            state = DealState(
                deal_id, event.time, "deleted" if deleted else status, stage, pipeline
            )
            if not result or result[-1][2:] != state[2:]:
                result.append(state)
        return result

    def win_probabilities(
        self,
        as_of: int,
        horizons: Sequence[float],
        deal_ids: Iterable[int] | None = None,
        *,
        futures: int = 1_000,
    ) -> list[WinProbability]:
        """Return the true probabilities of deals that were open at a time, given their states then.

        They are what a perfect forecast knows that sees stage, time in it, owner, customer's
        segment and age, and knows the rules and all that the market names: of a forecast's error,
        only what is above theirs can be saved. Neither the expected close nor how long a forgotten
        deal has been silent is part of the state. With a `capacity`, later visits of a deal last as
        long as the owner's load at `as_of` makes them.

        Parameters
        ----------
        as_of
            Epoch seconds UTC, not after the company's clock.
        horizons
            Days from `as_of`.
        deal_ids
            Which deals; None: all that were open then.
        futures
            Number of simulated futures of each deal. The standard error of a probability p is
            sqrt(p (1 - p) / futures): at most .016 for 1,000.

        Returns
        -------
        list of WinProbability
            One row a deal and horizon, by deal id and in the order of the horizons. Equal calls
            give equal numbers, whichever other deals are wanted.
        """
        if as_of > self._ledger.now:
            raise ValueError("as_of must not be after the company's clock.")
        if not horizons or min(horizons) <= 0 or futures < 1:
            raise ValueError("horizons must be positive numbers of days, futures at least 1.")
        return self._futures.win_probabilities(as_of, horizons, deal_ids, futures)

    def merges(self) -> list[Merge]:
        """Return one row a merged deal that was not undeleted since, by time."""
        deleted = self._ledger.deleted_at
        merged = [
            Merge(deal, into, deleted["deals", deal])
            for deal, into in self._ledger.merged_into.items()
        ]
        return sorted(merged, key=lambda merge: merge.time)

    def subscriptions(self, *, cancellations: bool = True) -> list[Subscription]:
        """Return one row a recurring, enabled line of a won deal that is not deleted, by line id.

        A line starts at its billing_start_date, else on the won date; it ends with its term or,
        where earlier, on the deal's cancellation date. Without `cancellations`, as somebody sees it
        who does not know of any.
        """
        deals: dict[int, Row] = self._ledger.tables["deals"]
        result = []
        for line in self._ledger.tables["deal_products"].values():
            deal = deals[line["deal_id"]]
            if (
                deal["status"] != "won"
                or deal["is_deleted"]
                or not line["is_enabled"]
                or line["billing_frequency"] == "one-time"
            ):
                continue
            start = date.fromisoformat(line["billing_start_date"] or deal["local_won_date"])
            end = term_end(start, line["billing_frequency"], line["billing_frequency_cycles"])
            reason: Literal["term", "cancelled", "open"] = "open" if end is None else "term"
            cancelled = deal["custom_fields"].get(self._cancellation) if cancellations else None
            if cancelled is not None and (end is None or date.fromisoformat(cancelled) < end):
                end, reason = max(start, date.fromisoformat(cancelled)), "cancelled"
            result.append(
                Subscription(
                    deal["org_id"],
                    deal["person_id"],
                    line["product_id"],
                    deal["id"],
                    line["id"],
                    start,
                    end,
                    reason,
                    monthly(line),
                    line["currency"],
                )
            )
        return result
