"""Writes on deals: add, edit, move, win, lose, reopen, patch, archive, merge, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .clock import epoch, local_date, wire
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
_STATUSES = ("open", "won", "lost")
# What a change of status writes, in the order of the changelog.
_CLOSING = (
    "won_time",
    "lost_time",
    "close_time",
    "local_won_date",
    "local_lost_date",
    "local_close_date",
    "lost_reason",
)
# Empty columns that the deal which stays takes from the one merged into it.
_FILLED_BY_MERGE = ("person_id", "org_id", "expected_close_date", "probability")
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
                f"{', '.join(sorted(values.keys() - _EDITABLE))} of a deal cannot be set: there is"
                " a method for it, or no such column."
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

    def add_deal(
        self,
        title: str,
        *,
        stage_id: int | None = None,
        status: str = "open",
        add_time: str | None = None,
        won_time: str | None = None,
        lost_time: str | None = None,
        actor: int | None = None,
        source: str = "app",
        **values: Any,
    ) -> int:
        """Add a deal and return its id.

        Without a stage it starts in the first of the first pipeline. An import may create it won or
        lost, and give the times of that and of its creation (RFC 3339, whole seconds, ``Z``).
        """
        with self.lock:
            reason = values.pop("lost_reason", None)
            self._check_deal(values)
            self._check_status(
                status, {"won_time": won_time, "lost_time": lost_time, "lost_reason": reason}
            )
            self._check_times(add_time, won_time, lost_time)
            stage = (
                self._living("stages", stage_id) if stage_id is not None else self._first_stage()
            )
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
                row["custom_fields"] = {
                    key: value for key, value in row["custom_fields"].items() if value is not None
                }
            if self.switches.stage_change_time_if_never_moved == "set":
                row["stage_change_time"] = now
            if status != "open":
                row.update(self._status_changes(row, status, reason))
                row.update(_closed_at(status, won_time or lost_time))
                self._note_first_win(row)
            row["add_time"] = add_time or now
            self._create("deals", row, who, source)
            self._index_deal(row)
            return int(row["id"])

    def _first_stage(self) -> Row:
        pipelines = [p for p in self.tables["pipelines"].values() if not p["is_deleted"]]
        first = min(pipelines, key=lambda p: p["order_nr"])["id"]
        return min(
            (
                s
                for s in self.tables["stages"].values()
                if s["pipeline_id"] == first and not s["is_deleted"]
            ),
            key=lambda s: s["order_nr"],
        )

    def edit_deal(
        self, deal_id: int, *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change columns of a deal, `custom_fields` among them (a mapping code -> value, None
        clears).
        """
        with self.lock:
            self._check_edit(deal_id, changes)
            self._tick()
            self._edit_now(deal_id, changes, actor, source)

    def bulk_edit(
        self, ids: Iterable[int], *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change the same columns of many deals in one second; nothing is written unless all can
        be.
        """
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
            raise ValueError(
                f"Deal {deal_id} is {row['status']}: only a lost deal has a lost_reason."
            )

    def _edit_now(
        self,
        deal_id: int,
        changes: Mapping[str, Any],
        actor: int | None,
        source: str,
        bulk: bool = False,
    ) -> None:
        row = self.tables["deals"][deal_id]
        real = self._real(row, changes)
        if real:
            self._update(
                "deals", deal_id, real, self.me if actor is None else actor, True, source, bulk
            )
            if "person_id" in real or "org_id" in real:
                self._index_deal(row)

    def _with_status(self, deal_id: int, status: str, verb: str) -> Row:
        row = self._living("deals", deal_id)
        if row["status"] != status:
            raise ValueError(f"Deal {deal_id} is {row['status']}: it cannot be {verb}.")
        return row

    def move_deal(
        self, deal_id: int, stage_id: int, *, actor: int | None = None, source: str = "app"
    ) -> None:
        """Move an open deal to a stage; into another pipeline, both columns change in one write."""
        with self.lock:
            row = self._with_status(deal_id, "open", "moved")
            stage = self._living("stages", stage_id)
            if stage_id == row["stage_id"]:
                raise ValueError(f"Deal {deal_id} is in stage {stage_id} already.")
            crosses = self._tick_before_move(row, stage)
            self._update(
                "deals",
                deal_id,
                self._move_changes(row, stage),
                self.me if actor is None else actor,
                True,
                source,
            )
            self._tick_after_move(crosses)

    def _move_changes(self, row: Row, stage: Row) -> Row:
        changes: Row = {"stage_id": stage["id"]}
        if stage["pipeline_id"] != row["pipeline_id"]:
            changes["pipeline_id"] = stage["pipeline_id"]
        changes["stage_change_time"] = wire(self.now)
        return changes

    def _tick_before_move(self, row: Row, stage: Row) -> bool:
        """Tick, once more where the changelog needs an earlier second; say whether the move leaves
        the pipeline.
        """
        crosses: bool = stage["pipeline_id"] != row["pipeline_id"]
        self._tick()
        if crosses and self.switches.pipeline_move_in_changelog == "pipeline earlier":
            self._tick()
        return crosses

    def _tick_after_move(self, crosses: bool) -> None:
        """Let the second of a later changelog row pass, so that no row is of the future."""
        if crosses and self.switches.pipeline_move_in_changelog == "pipeline later":
            self._tick()

    @staticmethod
    def _check_status(status: str, given: Mapping[str, Any]) -> None:
        """Refuse a status that is none, and values that belong to another status."""
        if status not in _STATUSES:
            raise ValueError(
                f"A deal cannot be {status!r}; it can be {', '.join(_STATUSES)}, or be deleted."
            )
        for key, value in given.items():
            if value is not None and status not in (
                ("won", "lost") if key == "close_time" else (key.split("_")[0],)
            ):
                raise ValueError(f"{key} cannot be set on a deal that is {status}.")

    @staticmethod
    def _check_times(*texts: str | None) -> None:
        for text in texts:
            if text is not None and wire(epoch(text)) != text:
                raise ValueError(f"{text!r} is not a time like 2026-06-30T12:00:00Z.")

    def _status_changes(self, row: Row, status: str, reason: str | None = None) -> Row:
        """Return what a change of status writes now; what an earlier close wrote is cleared."""
        closing: Row = dict.fromkeys(_CLOSING) | _closed_at(status, wire(self.now))
        closing["lost_reason"] = reason
        wanted = closing | self._derived({**row, "status": status})
        return {
            "status": status,
            **{key: value for key, value in wanted.items() if row[key] != value},
        }

    def _note_first_win(self, row: Row) -> None:
        if row["status"] == "won":
            self._first_won.setdefault(row["id"], row["won_time"])

    def _set_status(
        self, row: Row, status: str, reason: str | None, actor: int | None, source: str
    ) -> None:
        self._tick()
        touches = status != "open" or self.switches.reopening_moves_update_time
        changes = self._status_changes(row, status, reason)
        self._update(
            "deals", row["id"], changes, self.me if actor is None else actor, touches, source
        )
        self._note_first_win(row)

    def win_deal(self, deal_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Win an open deal."""
        with self.lock:
            self._set_status(self._with_status(deal_id, "open", "won"), "won", None, actor, source)

    def lose_deal(
        self,
        deal_id: int,
        reason: str | None = None,
        *,
        actor: int | None = None,
        source: str = "app",
    ) -> None:
        """Lose an open deal, with or without a reason; its revenue columns empty."""
        with self.lock:
            self._set_status(
                self._with_status(deal_id, "open", "lost"), "lost", reason, actor, source
            )

    def reopen_deal(self, deal_id: int, *, actor: int | None = None, source: str = "app") -> None:
        """Open a won or lost deal again, in the stage where it was closed; what was written at the
        close is cleared.
        """
        with self.lock:
            row = self._living("deals", deal_id)
            if row["status"] == "open":
                raise ValueError(f"Deal {deal_id} is open already.")
            self._set_status(row, "open", None, actor, source)

    def patch_deal(
        self,
        deal_id: int,
        *,
        status: str | None = None,
        stage_id: int | None = None,
        lost_reason: str | None = None,
        won_time: str | None = None,
        lost_time: str | None = None,
        close_time: str | None = None,
        add_time: str | None = None,
        actor: int | None = None,
        source: str = "api",
    ) -> None:
        """Write what the API lets a program write on a deal of any status, all of it in one write.

        Parameters
        ----------
        status
            open, won or lost, whatever the deal is now. What the close before wrote is cleared. A
            change from lost to won is one ``status`` row in the changelog.
        stage_id
            Any stage, also of another pipeline, also of a closed deal.
        lost_reason
            Of a deal that is lost, or is lost by this write.
        won_time, lost_time
            Set by hand (RFC 3339, whole seconds, ``Z``) on a deal that is won or lost, or is so by
            this write. ``close_time`` and the local dates follow. ``first_won_time`` is the first
            ``won_time`` that the deal had: a later one set by hand does not change it.
        close_time
            Set by hand on a closed deal; its local date follows.
        add_time
            Set by hand. The changelog has a row for it, as for the other times.

        Raises
        ------
        ValueError
            The deal is deleted, or a value belongs to another status.
        """
        with self.lock:
            row = self._living("deals", deal_id)
            after = row["status"] if status is None else status
            self._check_status(
                after,
                {
                    "won_time": won_time,
                    "lost_time": lost_time,
                    "close_time": close_time,
                    "lost_reason": lost_reason,
                },
            )
            self._check_times(won_time, lost_time, close_time, add_time)
            stage = self._living("stages", row["stage_id"] if stage_id is None else stage_id)
            crosses = self._tick_before_move(row, stage)
            changes: Row = self._move_changes(row, stage) if stage["id"] != row["stage_id"] else {}
            if after != row["status"]:
                changes |= self._status_changes(row, after)
            by_hand = _closed_at(after, won_time or lost_time)
            if close_time is not None:
                by_hand |= {
                    "close_time": close_time,
                    "local_close_date": local_date(epoch(close_time)),
                }
            by_hand |= {
                key: value
                for key, value in (("lost_reason", lost_reason), ("add_time", add_time))
                if value is not None
            }
            changes |= by_hand
            changes = {key: value for key, value in changes.items() if row[key] != value}
            touches = (
                changes.get("status") != "open"
                or "stage_id" in changes
                or self.switches.reopening_moves_update_time
            )
            if changes:
                self._update(
                    "deals", deal_id, changes, self.me if actor is None else actor, touches, source
                )
            self._note_first_win(row)
            self._tick_after_move(crosses)

    def merge_deals(
        self, deal_id: int, into: int, *, actor: int | None = None, source: str = "app"
    ) -> None:
        """Merge a deal into another: the first is deleted, the second stays.

        All in one second. Activities and followers go to the deal that stays, and it takes the
        merged deal's person, organization, expected close, probability and custom values where it
        has none. Line items stay with the merged deal: what the API does with them is not
        documented. `merged_into` and `Truth.merges` tell which deal went into which.
        """
        with self.lock:
            merged, kept = self._living("deals", deal_id), self._living("deals", into)
            if deal_id == into:
                raise ValueError(f"Deal {deal_id} cannot be merged into itself.")
            filled: Row = {
                key: merged[key]
                for key in _FILLED_BY_MERGE
                if kept[key] is None and merged[key] is not None
            }
            custom = {
                code: value
                for code, value in merged["custom_fields"].items()
                if code in self._codes["deal"] and code not in kept["custom_fields"]
            }
            if custom:
                filled["custom_fields"] = custom
            with self.same_second():
                self._edit_now(into, filled, actor, source)
                for activity in self._activity_ids_of("deal_id", deal_id):
                    self.edit_activity(activity, deal_id=into, actor=actor, source=source)
                following = {row["user_id"] for row in self.followers("deal", into)}
                for row in self.followers("deal", deal_id):
                    if row["user_id"] not in following:
                        self.follow("deal", into, row["user_id"], actor=actor)
                self.delete_deal(deal_id, actor=actor)
            self.merged_into[deal_id] = into

    def move_stage(
        self,
        stage_id: int,
        pipeline_id: int,
        *,
        order_nr: int | None = None,
        actor: int | None = None,
    ) -> None:
        """Move a stage, with every deal in it, to another pipeline, as an admin does in the
        settings.

        It becomes the last stage there unless `order_nr` says where. ``pipeline_id`` of its deals
        changes in the same second, of closed and deleted ones too; ``stage_id`` and
        ``stage_change_time`` do not. Two switches say whether their changelogs and their
        ``update_time`` tell it.
        """
        with self.lock:
            stage, pipeline = (
                self._living("stages", stage_id),
                self._living("pipelines", pipeline_id),
            )
            if stage["pipeline_id"] == pipeline["id"]:
                raise ValueError(f"Stage {stage_id} is in pipeline {pipeline_id} already.")
            living = [row for row in self.tables["stages"].values() if not row["is_deleted"]]
            if sum(row["pipeline_id"] == stage["pipeline_id"] for row in living) == 1:
                raise ValueError(
                    f"Stage {stage_id} is the only one of pipeline {stage['pipeline_id']}."
                )
            if order_nr is None:
                order_nr = 1 + max(
                    (row["order_nr"] for row in living if row["pipeline_id"] == pipeline["id"]),
                    default=0,
                )
            who = self.me if actor is None else actor
            with self.same_second():
                self._update(
                    "stages",
                    stage_id,
                    self._real(stage, {"pipeline_id": pipeline["id"], "order_nr": order_nr}),
                    who,
                )
                for deal in self.tables["deals"].values():
                    if deal["stage_id"] == stage_id:
                        touches = self.switches.moving_stages_moves_update_time
                        self._update(
                            "deals", deal["id"], {"pipeline_id": pipeline["id"]}, who, touches
                        )

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
                raise ValueError(
                    f"Deal {deal_id} is {'archived already' if archived else 'not archived'}."
                )
            self._tick()
            changes = {
                "is_archived": archived,
                "archive_time": wire(self.now) if archived else None,
            }
            self._update(
                "deals",
                deal_id,
                changes,
                self.me if actor is None else actor,
                self.switches.archiving_moves_update_time,
            )

    def delete_deal(self, deal_id: int, *, actor: int | None = None) -> None:
        """Flag a deal as deleted. Its status stays, as do its lines: a server must not show the
        lines of a deleted deal.
        """
        with self.lock:
            self._living("deals", deal_id)
            self._tick()
            self._delete(
                "deals",
                deal_id,
                {"is_deleted": True},
                self.me if actor is None else actor,
                self.switches.deleting_moves_update_time,
            )

    def undelete_deal(self, deal_id: int, *, actor: int | None = None) -> None:
        """Take the deletion of a deal back: the specification lets a program write
        ``is_deleted``.
        """
        with self.lock:
            self.row("deals", deal_id)
            if ("deals", deal_id) not in self.deleted_at:
                raise ValueError(f"Deal {deal_id} is not deleted.")
            self._tick()
            self._restore(
                "deals",
                deal_id,
                {"is_deleted": False},
                self.me if actor is None else actor,
                self.switches.deleting_moves_update_time,
            )
            self.merged_into.pop(deal_id, None)


def _closed_at(status: str, time: str | None) -> Row:
    """Return the columns that say when a deal was won or lost; none for an open one or without a
    time.
    """
    if status == "open" or time is None:
        return {}
    day = local_date(epoch(time))
    return {
        f"{status}_time": time,
        "close_time": time,
        f"local_{status}_date": day,
        "local_close_date": day,
    }
