"""The life of a deal: it enters a stage, waits, moves, slips, is won or lost, comes back, is
archived or deleted.
"""

from __future__ import annotations

from collections import Counter
from math import exp, log

from . import catalog
from .agenda import Agenda
from .catalog import GROWTH, NEW, PIPELINES, SERVICES, Pipeline
from .clock import DAY, after_work, day_text, epoch
from .close_dates import CloseDates
from .contacts import Contacts
from .customers import Customers, Kind, Opportunity
from .diary import Diary
from .ledger import Row
from .offers import Offers
from .process import (
    DELETED,
    DELETED_AFTER,
    DELETED_MEAN,
    FORGOTTEN,
    PLACES,
    SILENT_LOSS,
    SKIPPED,
    SLIPS,
    Conditions,
    Process,
)

_DEAL_TYPE = {
    "new": 0,
    "renewal": 1,
    "expansion": 2,
    "contraction": 3,
    "win-back": 4,
    "services": 5,
}


class Selling:
    """Opens deals and drives them through their pipelines."""

    def __init__(
        self,
        agenda: Agenda,
        contacts: Contacts,
        offers: Offers,
        diary: Diary,
        customers: Customers,
        process: Process,
    ) -> None:
        self._agenda = agenda
        self._company = agenda.company
        self._contacts = contacts
        self._offers = offers
        self._diary = diary
        self._customers = customers
        self._process = process
        self._dates = CloseDates(agenda, process)
        self._races, self._breaks = process.stream("race"), process.stream("break")
        self._race_won: dict[int, bool] = {}
        self._working: dict[int, int] = {}
        self._loads: Counter[int] = Counter()
        self.entered: dict[int, int] = {}
        self._deal_type = contacts.named("deal", "Deal type")

    def open(self, opportunity: Opportunity | None, imported: bool = False) -> int:
        """Open a deal: for the opportunity, else with somebody new; an imported one in any
        stage.
        """
        agenda, draw, company = self._agenda, self._agenda.draw, self._company
        reps = agenda.working() or agenda.reps
        owner = agenda.pick(reps)
        base: Row | None = None
        kind: Kind = "new"
        org: int | None
        if opportunity is not None:
            kind, org, base = (
                opportunity.kind,
                opportunity.org_id,
                company.tables["deals"][opportunity.base_deal],
            )
            if base["owner_id"] in reps and draw() < 0.8:
                owner = base["owner_id"]
        else:
            known = len(company.tables["organizations"])
            kind = "services" if draw() < 0.07 else "new"
            u = draw()
            org = (
                None
                if u < 0.03
                else (
                    1 + int(draw() * known)
                    if u < 0.2 and known
                    else self._contacts.new_organization(owner)
                )
            )
            if org is not None and not agenda.living("organizations", org):
                org = None
        people = [p for p in self._contacts.people.get(org or 0, ()) if agenda.living("persons", p)]
        person = agenda.pick(people) if people and draw() < 0.93 else None
        pipeline = next(
            p
            for p in PIPELINES
            if p.id
            == (
                SERVICES if kind == "services" else (NEW if kind in ("new", "win-back") else GROWTH)
            )
        )
        stages = [s.id for s in pipeline.stages if agenda.living("stages", s.id)]
        if not stages:
            return 0
        stage = stages[1] if draw() < 0.08 and len(stages) > 1 else stages[0]
        if imported:
            stage = agenda.pick(stages)
        value, currency = (
            self._size(org),
            base["currency"] if base else self._contacts.currency(org),
        )
        web = draw() < 0.14 and not imported
        custom = self._contacts.custom("deal", self._contacts.region.get(org or 0, 0), org, person)
        if draw() < 0.7:
            custom |= self._contacts.option("deal", self._deal_type, _DEAL_TYPE[kind])
        deal_id = company.add_deal(
            self._title(kind, org),
            stage_id=stage,
            actor=owner if not web else catalog.ME,
            source="web_form" if web else ("app" if draw() < 0.85 else "mobile"),
            owner_id=owner,
            person_id=person,
            org_id=org,
            value=value,
            currency=currency,
            probability=5 * int(1 + draw() * 18)
            if pipeline.has_probability and draw() < 0.12
            else None,
            expected_close_date=day_text(company.now // DAY + 20 + int(draw() * 90))
            if draw() < 0.72
            else None,
            label_ids=[11 + int(draw() * 5)] if draw() < 0.25 else [],
            visible_to=3 if draw() < 0.2 else 7,
            origin="WebForm" if web else ("ManuallyCreated" if draw() < 0.9 else "API"),
            origin_id=f"form-{1 + int(draw() * 9)}" if web else None,
            channel=51 + int(draw() * 5) if draw() < 0.3 else None,
            channel_id=agenda.pick(agenda.texts.channel_ids) if draw() < 0.12 else None,
            source_lead_id=self._diary.uuid() if draw() < 0.07 else None,
            custom_fields=custom,
        )
        deal = company.tables["deals"][deal_id]
        self._customers.kind[deal_id] = (kind, base["id"] if base else deal_id)
        if deal_id % 3 == 1:
            company.follow("deal", deal_id, owner)
            if deal_id % 9 == 1 and owner != catalog.ME:
                company.follow("deal", deal_id, catalog.ME)
                if deal_id % 18 == 1:
                    company.unfollow("deal", deal_id, catalog.ME)
        self._first_offer(deal, kind, base)
        if draw() < DELETED:
            days = DELETED_AFTER - DELETED_MEAN * log(1 - draw())
            agenda.in_days(days, self._delete, deal_id)
        self._enter(deal)
        return deal_id

    def _size(self, org: int | None) -> int | float:
        segment = self._contacts.segment.get(org or 0, 0)
        u = self._agenda.draw()
        if u < 0.05:
            return 0
        amount = (900, 6_000, 32_000)[segment] * exp(self._agenda.gauss(0, 0.8))
        return round(amount, 2) if u < 0.15 else int(amount / 50) * 50

    def _title(self, kind: Kind, org: int | None) -> str:
        draw = self._agenda.draw
        texts = self._agenda.texts
        if draw() < 0.03:
            return self._agenda.pick(texts.odd_titles)
        row = self._company.tables["organizations"].get(org)
        name = row["name"] if row is not None else texts.enquiry
        return texts.title(name, kind, self._company.now // DAY, draw() >= 0.8)

    def _first_offer(self, deal: Row, kind: Kind, base: Row | None) -> None:
        draw = self._agenda.draw
        if kind == "services":
            self._offers.offer(deal, True)
        elif base is not None and kind in ("renewal", "contraction"):
            lines = self._company.lines_of(base["id"])
            if kind == "renewal":
                # What runs on needs no renewal: offered again, it would be billed twice.
                lines = [line for line in lines if line["billing_frequency_cycles"] is not None]
            u = draw()
            factor = (
                (0.5 + draw() * 0.4)
                if kind == "contraction" or u < 0.14
                else (1.1 + draw() * 0.6 if u < 0.4 else 1.0)
            )
            end, _ = self._customers.contract_end(base)
            start = end.isoformat() if end is not None and kind == "renewal" else None
            if kind == "contraction":
                start = day_text(self._company.now // DAY + 60 + int(draw() * 30))
            self._offers.copy(deal, lines, start, factor, grow=kind == "renewal" and draw() < 0.15)
        elif kind in ("expansion", "win-back") or draw() < 0.3:
            self._offers.offer(deal, False)

    def _enter(self, deal: Row) -> None:
        """Plan how long the deal stays where it is now."""
        self.entered[deal["id"]] = self._company.now
        result = PLACES.get(deal["stage_id"])
        if result is None or self._agenda.hand(deal["owner_id"]) != deal["owner_id"]:
            return
        pipeline, rank = result
        agenda, draw, process = self._agenda, self._agenda.draw, self._process
        if draw() < 0.42:
            self._diary.plan(deal)
        if (
            deal["id"] not in self._company._lines_of
            and rank >= 2
            and pipeline.id == NEW
            and draw() < 0.55
        ):
            self._offers.offer(deal, False)
        if pipeline.id == SERVICES and rank == 2 and draw() < 0.75:
            self._offers.instalments(deal)
        if draw() < FORGOTTEN:
            agenda.in_days(30 + draw() * 60, self._slip, deal["id"])
            if draw() < 0.05:
                agenda.in_days(120 + draw() * 200, self._archive, deal["id"])
            return
        conditions = self._conditions(deal, pipeline, rank)
        days = (
            process.median(conditions)
            * exp(agenda.gauss(0, process.spread(conditions.segment)))
            / process.pace.get(conditions.owner, 1.0)
        )
        slower = self._start(deal["id"], conditions.owner)
        start = self._company.now + 60
        due = after_work(start, int(days * slower * DAY))
        if process.races and conditions.last:
            due, self._race_won[deal["id"]] = process.race(
                conditions, start, start, slower, self._races
            )
        agenda.at(due, self._step, deal["id"])
        self._dates.entered(deal, conditions, due)

    def _conditions(self, deal: Row, pipeline: Pipeline, rank: int) -> Conditions:
        born = epoch(deal["add_time"]) if self._process.market.losses_by_age else 0
        segment = self._contacts.segment.get(deal["org_id"] or 0, 0)
        return Conditions(pipeline, rank, deal["owner_id"], segment, born)

    def _start(self, deal_id: int, owner: int) -> float:
        """Count the deal among those that its owner works on; return how much slower they are."""
        if self._process.market.capacity is None:
            return 1.0
        self._stop(deal_id)
        self._working[deal_id] = owner
        self._loads[owner] += 1
        self._process.note_load(owner, self._company.now, self._loads[owner])
        return self._process.slower(owner, self._loads[owner])

    def _stop(self, deal_id: int) -> None:
        owner = self._working.pop(deal_id, None)
        if owner is not None:
            self._loads[owner] -= 1
            self._process.note_load(owner, self._company.now, self._loads[owner])

    def _open_deal(self, deal_id: int) -> Row | None:
        """Return the deal if somebody still works on it: what a rep who left was not passed on
        stands still.
        """
        deal = self._company.tables["deals"].get(deal_id)
        if deal is None or deal["status"] != "open" or deal["is_deleted"]:
            return None
        return deal if self._agenda.hand(deal["owner_id"]) == deal["owner_id"] else None

    def _step(self, deal_id: int) -> None:
        """The stay is over: lose, go back, win or advance."""
        race_won = self._race_won.pop(deal_id, None)
        self._stop(deal_id)
        self._dates.ended(deal_id)
        deal = self._open_deal(deal_id)
        result = PLACES.get(deal["stage_id"]) if deal else None
        if deal is None or result is None:
            return
        pipeline, rank = result
        agenda, draw, company, owner = (
            self._agenda,
            self._agenda.draw,
            self._company,
            deal["owner_id"],
        )
        self._diary.settle(deal)
        self._touch_up(deal)
        conditions = self._conditions(deal, pipeline, rank)
        ending = self._process.ending(conditions, company.now, draw(), self._breaks, race_won)
        if ending == "lost":
            company.lose_deal(
                deal_id,
                agenda.pick(agenda.texts.lost_reasons) if draw() < 0.85 else None,
                actor=owner,
            )
            self._customers.lost(deal)
            if draw() < 0.05:
                agenda.in_days(10 + draw() * 90, self._reopen, deal_id)
            if draw() < 0.12:
                agenda.in_days(60 + draw() * 150, self._archive, deal_id)
            return
        if ending == "won":
            self._win(deal)
            return
        skips = ending == "advanced" and draw() < SKIPPED
        pipeline, rank = self._process.following(conditions, ending, skips)
        target = pipeline.stages[rank].id
        if agenda.living("stages", target):
            company.move_deal(deal_id, target, actor=owner)
            self._enter(deal)

    def _touch_up(self, deal: Row) -> None:
        """What a rep puts right on the occasion: dates, probability, value, a custom field, the
        offer.
        """
        draw, company = self._agenda.draw, self._company
        deal_id, owner = deal["id"], deal["owner_id"]
        expected, today = deal["expected_close_date"], day_text(company.now // DAY)
        changes: Row = {}
        passed = expected is not None and expected < today and draw() < 0.7
        if passed and not self._process.market.informative_close_dates:
            changes["expected_close_date"] = day_text(company.now // DAY + 7 + int(draw() * 50))
        if draw() < 0.05 and deal["pipeline_id"] != GROWTH:
            changes["probability"] = 5 * int(1 + draw() * 19)
        if draw() < 0.08 and deal_id not in company._lines_of:
            changes["value"] = self._size(deal["org_id"])
        if draw() < 0.1:
            drawn = self._contacts.custom(
                "deal",
                self._contacts.region.get(deal["org_id"] or 0, 0),
                deal["org_id"],
                deal["person_id"],
            )
            if drawn:
                changes["custom_fields"] = drawn
        if changes:
            company.edit_deal(
                deal_id, actor=owner, source="app" if draw() < 0.8 else "mobile", **changes
            )
        if draw() < 0.08:
            self._offers.haggle(deal)

    def _win(self, deal: Row) -> None:
        company, draw, owner = self._company, self._agenda.draw, deal["owner_id"]
        if draw() < 0.5:
            start = day_text((company.now // DAY) + 1 + int(draw() * 30))
            for line in company.lines_of(deal["id"]):
                if line["billing_start_date"] is None and line["is_enabled"] and draw() < 0.85:
                    company.edit_line(line["id"], billing_start_date=start, actor=owner)
        company.win_deal(deal["id"], actor=owner)
        self._customers.won(deal)
        if draw() < 0.012:
            self._agenda.in_days(1 + draw() * 12, self._reopen, deal["id"])
        if draw() < 0.04:
            self._agenda.in_days(100 + draw() * 250, self._archive, deal["id"])

    def _slip(self, deal_id: int) -> None:
        """A forgotten deal: its date slips, and in the end it is not even moved."""
        deal = self._open_deal(deal_id)
        if deal is None:
            return
        draw = self._agenda.draw
        if deal["expected_close_date"] is not None and deal["expected_close_date"] < day_text(
            self._company.now // DAY
        ):
            later = day_text(self._company.now // DAY + 14 + int(draw() * 60))
            self._company.edit_deal(deal_id, expected_close_date=later, actor=deal["owner_id"])
        u = draw()
        if u < SILENT_LOSS:
            self._company.lose_deal(deal_id, "Went silent", actor=deal["owner_id"])
        elif u < SLIPS:
            self._agenda.in_days(30 + draw() * 60, self._slip, deal_id)

    def _reopen(self, deal_id: int) -> None:
        deal = self._company.tables["deals"].get(deal_id)
        if deal is not None and deal["status"] != "open" and not deal["is_deleted"]:
            self._company.reopen_deal(deal_id, actor=self._agenda.hand(deal["owner_id"]))
            self._enter(deal)

    def _archive(self, deal_id: int) -> None:
        deal = self._company.tables["deals"].get(deal_id)
        if deal is None or deal["is_deleted"] or deal["is_archived"]:
            return
        self._company.archive_deal(deal_id, actor=self._agenda.hand(deal["owner_id"]))
        if self._agenda.draw() < 0.05:
            self._agenda.in_days(2 + self._agenda.draw() * 20, self._unarchive, deal_id)

    def _unarchive(self, deal_id: int) -> None:
        deal = self._company.tables["deals"].get(deal_id)
        if deal is not None and deal["is_archived"] and not deal["is_deleted"]:
            self._company.unarchive_deal(deal_id, actor=self._agenda.hand(deal["owner_id"]))

    def _delete(self, deal_id: int) -> None:
        if self._agenda.living("deals", deal_id):
            self._company.delete_deal(
                deal_id, actor=self._agenda.hand(self._company.tables["deals"][deal_id]["owner_id"])
            )
