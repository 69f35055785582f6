"""Writes on deals: add, edit, move, win, lose, reopen, archive, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .clock import local_date, wire
from .ledger import Row
from .line_writes import LineWrites
from .rows import BLANK
from .switches import Switches

_EDITABLE = frozenset(
    (
        "title",
        "owner_id",
        "value",
        "person_id",
        "org_id",
        "currency",
        "probability",
        "lost_reason",
        "visible_to",
        "expected_close_date",
        "label_ids",
        "origin",
        "origin_id",
        "channel",
        "channel_id",
        "source_lead_id",
        "custom_fields",
    )
)
_LINKS = (("owner_id", "users"), ("person_id", "persons"), ("org_id", "organizations"))


class DealWrites(LineWrites):
    """Line writes and the life of a deal."""

    def __init__(self, now: int, seed: int, me: int, switches: Switches) -> None:
        super().__init__(now, seed, me, switches)
        self._first_won: dict[int, str] = {}
        self._deals_of: dict[tuple[str, int], list[int]] = {}

    def _check_deal(self, values: Mapping[str, Any]) -> None:
        if not values.keys() <= _EDITABLE:
            raise ValueError(
                f"{', '.join(sorted(values.keys() - _EDITABLE))} of a deal cannot be set: there is a method for it, or no such column."
            )
        custom = values.get("custom_fields")
        if custom:
            self._check_custom("deal", custom)
        for key, table in _LINKS:
            if key in values:
                self._refer(table, values[key])

    def _index_deal(self, row: Row) -> None:
        for key in ("person_id", "org_id"):
            if row[key] is not None:
                self._deals_of.setdefault((key, row[key]), []).append(row["id"])

    def add_deal(self, title: str, *, stage_id: int | None = None, actor: int | None = None, source: str = "app", **values: Any) -> int:
        """Add an open deal and return its id; without a stage it starts in the first of the first pipeline."""
        with self.lock:
            self._check_deal(values)
            stage = self._living("stages", stage_id) if stage_id is not None else self._first_stage()
            who = values.get("owner_id") or self.me if actor is None else actor
            self._tick()
            now = wire(self.now)
            row = BLANK["deals"].copy()
            row.update(
                id=self._new_id("deals"),
                title=title,
                creator_user_id=who,
                owner_id=who,
                value=0,
                currency="EUR",
                stage_id=stage["id"],
                pipeline_id=stage["pipeline_id"],
                add_time=now,
                update_time=now,
                status="open",
                is_archived=False,
                is_deleted=False,
                visible_to=7,
                label_ids=[],
                origin="ManuallyCreated",
                custom_fields={},
            )
            row.update(values)
            if None in row["custom_fields"].values():
                row["custom_fields"] = {key: value for key, value in row["custom_fields"].items() if value is not None}
            if self.switches.stage_change_time_if_never_moved == "set":
                row["stage_change_time"] = now
            self._create("deals", row, who, source)
            self._index_deal(row)
            return int(row["id"])

    def _first_stage(self) -> Row:
        pipelines = [p for p in self.tables["pipelines"].values() if not p["is_deleted"]]
        first = min(pipelines, key=lambda p: p["order_nr"])["id"]
        return min(
            (s for s in self.tables["stages"].values() if s["pipeline_id"] == first and not s["is_deleted"]), key=lambda s: s["order_nr"]
        )

    def edit_deal(self, deal_id: int, *, actor: int | None = None, source: str = "app", **changes: Any) -> None:
        """Change columns of a deal, `custom_fields` among them (a mapping code -> value, None clears)."""
        with self.lock:
            self._check_edit(deal_id, changes)
            self._tick()
            self._edit_now(deal_id, changes, actor, source)

    def bulk_edit(self, ids: Iterable[int], *, actor: int | None = None, source: str = "app", **changes: Any) -> None:
        """Change the same columns of many deals in one second; nothing is written unless all can be."""
        with self.lock:
            ids = list(ids)
            for deal_id in ids:
                self._check_edit(deal_id, changes)
            with self.same_second():
                for deal_id in ids:
                    self._edit_now(deal_id, changes, actor, source, bulk=True)

    def _check_edit(self, deal_id: int, changes: Mapping[str, Any]) -> None:
        row = self._living("deals", deal_id)
        self._check_deal(changes)
        if deal_id in self._lines_of:
            if "value" in changes and changes["value"] != row["value"]:
                raise ValueError(f"The value of deal {deal_id} comes from its line items.")
            if "currency" in changes and changes["currency"] != row["currency"]:
                raise ValueError(f"The currency of deal {deal_id} is that of its line items.")
        if changes.get("lost_reason") is not None and row["status"] != "lost":
            raise ValueError(f"Deal {deal_id} is {row['status']}: only a lost deal has a lost_reason.")

    def _edit_now(self, deal_id: int, changes: Mapping[str, Any], actor: int | None, source: str, bulk: bool = False) -> None:
        row = self.tables["deals"][deal_id]
        real = self._real(row, changes)
        if real:
            self._update("deals", deal_id, real, self.me if actor is None else actor, True, source, bulk)
            if "person_id" in real or "org_id" in real:
                self._index_deal(row)

    def _with_status(self, deal_id: int, status: str, verb: str) -> Row:
        row = self._living("deals", deal_id)
        if row["status"] != status:
            raise ValueError(f"Deal {deal_id} is {row['status']}: it cannot be {verb}.")
        return row

    def move_deal(self, deal_id: int, stage_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Move an open deal to a stage; into another pipeline, both columns change in one write."""
        with self.lock:
            row = self._with_status(deal_id, "open", "moved")
            stage = self._living("stages", stage_id)
            if stage_id == row["stage_id"]:
                raise ValueError(f"Deal {deal_id} is in stage {stage_id} already.")
            self._tick()
            changes: Row = {"stage_id": stage_id}
            if stage["pipeline_id"] != row["pipeline_id"]:
                changes["pipeline_id"] = stage["pipeline_id"]
            changes["stage_change_time"] = wire(self.now)
            self._update("deals", deal_id, changes, self.me if actor is None else actor, True, source)

    def win_deal(self, deal_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Win an open deal."""
        with self.lock:
            self._with_status(deal_id, "open", "won")
            self._tick()
            now, day = wire(self.now), local_date(self.now)
            changes = {"status": "won", "won_time": now, "close_time": now, "local_won_date": day, "local_close_date": day}
            self._first_won.setdefault(deal_id, now)
            self._update("deals", deal_id, changes, self.me if actor is None else actor, True, source)

    def lose_deal(self, deal_id: int, reason: str | None = None, *, actor: int | None = None, source: str = "app") -> None:
        """Lose an open deal, with or without a reason; its revenue columns empty."""
        with self.lock:
            row = self._with_status(deal_id, "open", "lost")
            self._tick()
            now, day = wire(self.now), local_date(self.now)
            changes: Row = {"status": "lost", "lost_time": now, "close_time": now, "local_lost_date": day, "local_close_date": day}
            if reason is not None:
                changes["lost_reason"] = reason
            if row["mrr"] is not None:
                changes |= {"acv": None, "arr": None, "mrr": None}
            self._update("deals", deal_id, changes, self.me if actor is None else actor, True, source)

    def reopen_deal(self, deal_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Open a won or lost deal again, in the stage where it was closed; what was written at the close is cleared."""
        with self.lock:
            row = self._living("deals", deal_id)
            if row["status"] == "open":
                raise ValueError(f"Deal {deal_id} is open already.")
            self._tick()
            closed = ("won_time", "lost_time", "close_time", "local_won_date", "local_lost_date", "local_close_date", "lost_reason")
            changes: Row = {"status": "open", **{key: None for key in closed if row[key] is not None}}
            derived = self._derived({**row, "status": "open"})
            changes |= {key: value for key, value in derived.items() if row[key] != value}
            self._update("deals", deal_id, changes, self.me if actor is None else actor, self.switches.reopening_moves_update_time, source)

    def archive_deal(self, deal_id: int, *, actor: int | None = None) -> None:
        """Archive a deal of any status."""
        self._set_archived(deal_id, True, actor)

    def unarchive_deal(self, deal_id: int, *, actor: int | None = None) -> None:
        """Take a deal out of the archive."""
        self._set_archived(deal_id, False, actor)

    def _set_archived(self, deal_id: int, archived: bool, actor: int | None) -> None:
        with self.lock:
            row = self._living("deals", deal_id)
            if row["is_archived"] == archived:
                raise ValueError(f"Deal {deal_id} is {'archived already' if archived else 'not archived'}.")
            self._tick()
            changes = {"is_archived": archived, "archive_time": wire(self.now) if archived else None}
            self._update("deals", deal_id, changes, self.me if actor is None else actor, self.switches.archiving_moves_update_time)

    def delete_deal(self, deal_id: int, *, actor: int | None = None) -> None:
        """Flag a deal as deleted. Its status stays, as do its lines: a server must not show the lines of a deleted deal."""
        with self.lock:
            self._living("deals", deal_id)
            self._tick()
            self._delete(
                "deals", deal_id, {"is_deleted": True}, self.me if actor is None else actor, self.switches.deleting_moves_update_time
            )
