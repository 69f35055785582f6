"""The extra columns that a list returns only when asked for, counted on demand."""

from __future__ import annotations

from collections.abc import Iterable

from .clock import epoch, wire
from .ledger import Row
from .writes import Writes


class Counts(Writes):
    """Writes, and what can be counted around a row."""

    def deal_counts(self, deal_id: int) -> Row:
        """Return the include_fields of a deal."""
        deal = self.row("deals", deal_id)
        lines = self.lines_of(deal_id)
        everything = self.switches.products_count_includes_disabled
        people = {
            p["person_id"]
            for a in self._activity_rows([("deal_id", deal_id)])
            for p in a["participants"]
        }
        return {
            **self._activity_counts([("deal_id", deal_id)]),
            "products_count": len(lines)
            if everything
            else sum(1 for line in lines if line["is_enabled"]),
            "participants_count": len(people | ({deal["person_id"]} - {None})),
            "first_won_time": self._first_won.get(deal_id),
            "source_lead_id": deal["source_lead_id"],
            **self._mail("deal", deal),
        }

    def person_counts(self, person_id: int) -> Row:
        """Return the include_fields of a person, but those that are columns of its row."""
        person = self.row("persons", person_id)
        return {
            **self._activity_counts([("person_id", person_id)]),
            **self._deal_counts_of([("person_id", person_id)]),
            **{
                f"related_{key}": count
                for key, count in self._deal_counts_of([("org_id", person["org_id"])]).items()
            },
            "participant_open_deals_count": 0,
            "participant_closed_deals_count": 0,
            "marketing_status": ("no_consent", "subscribed", "unsubscribed")[person_id % 3],
            "doi_status": 1 + person_id % 3,
            **self._mail("person", person),
        }

    def organization_counts(self, organization_id: int) -> Row:
        """Return the include_fields of an organization, but those that are columns of its row."""
        row = self.row("organizations", organization_id)
        rows = self.tables["persons"]
        people = [
            p
            for p in dict.fromkeys(self._persons_of_org.get(organization_id, ()))
            if rows[p]["org_id"] == organization_id and not rows[p]["is_deleted"]
        ]
        result = {
            **self._activity_counts([("org_id", organization_id)]),
            **self._deal_counts_of([("org_id", organization_id)]),
            **{
                f"related_{key}": count
                for key, count in self._deal_counts_of([("person_id", p) for p in people]).items()
            },
            "people_count": len(people),
            **self._mail("organization", row),
        }
        del result["last_incoming_mail_time"], result["last_outgoing_mail_time"]
        return result

    def _activity_rows(self, keys: Iterable[tuple[str, int]]) -> list[Row]:
        rows = self.tables["activities"]
        return [
            rows[i] for i in dict.fromkeys(i for key in keys for i in self._activity_ids_of(*key))
        ]

    def _activity_counts(self, keys: Iterable[tuple[str, int]]) -> Row:
        rows = self._activity_rows(keys)
        done = [a for a in rows if a["done"]]
        undone = [a for a in rows if not a["done"]]
        return {
            "next_activity_id": min(
                undone, key=lambda a: (a["due_date"] or "9999", a["due_time"] or "", a["id"])
            )["id"]
            if undone
            else None,
            "last_activity_id": max(done, key=lambda a: (a["marked_as_done_time"], a["id"]))["id"]
            if done
            else None,
            "activities_count": len(rows),
            "done_activities_count": len(done),
            "undone_activities_count": len(undone),
        }

    def _deal_counts_of(self, keys: Iterable[tuple[str, int]]) -> Row:
        rows = self.tables["deals"]
        result = dict.fromkeys(
            i for key in keys for i in self._deals_of.get(key, ()) if rows[i][key[0]] == key[1]
        )
        states = [rows[i]["status"] for i in result if not rows[i]["is_deleted"]]
        won, lost = states.count("won"), states.count("lost")
        return {
            "open_deals_count": len(states) - won - lost,
            "closed_deals_count": won + lost,
            "won_deals_count": won,
            "lost_deals_count": lost,
        }

    def _mail(self, entity: str, row: Row) -> Row:
        """Return mail, files and notes, of which there are no rows: fixed functions of the id."""
        key: int = row["id"]
        born = epoch(row["add_time"])
        mails = key * 7 % 5
        incoming, outgoing = born + 3_600 * (1 + key % 50), born + 3_600 * (2 + key % 50)
        return {
            "files_count": key * 5 % 3,
            "notes_count": key * 3 % 4,
            "email_messages_count": mails,
            "followers_count": len(self.followers(entity, key)),
            "last_incoming_mail_time": wire(incoming)
            if mails > 1 and incoming <= self.now
            else None,
            "last_outgoing_mail_time": wire(outgoing) if mails and outgoing <= self.now else None,
            "smart_bcc_email": f"sandbox-seed{self.seed}+{entity}{key}@pipedrivemail.com",
        }
