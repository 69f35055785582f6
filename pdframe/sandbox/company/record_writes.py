"""Writes on contacts, products, activities, followers and every other table that has no life of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .clock import wire
from .field_writes import FieldWrites
from .ledger import Row, RowId
from .rows import BLANK, blank
from .switches import Switches

_ENTITY_OF = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "projects": "project",
}
TABLE_OF = {
    "deal": "deals",
    "person": "persons",
    "organization": "organizations",
    "product": "products",
    "user": "users",
}
_FIXED = frozenset(
    {
        "id",
        "add_time",
        "update_time",
        "created",
        "modified",
        "is_deleted",
        "marked_as_done_time",
        "status_change_time",
        "archive_time",
    }
)


class RecordWrites(FieldWrites):
    """Field writes and the plain records, with the indexes that counts are read from."""

    def __init__(self, now: int, seed: int, me: int, switches: Switches) -> None:
        super().__init__(now, seed, me)
        self.switches = switches
        self._activities_of: dict[tuple[str, int], list[int]] = {}
        self._follows: dict[tuple[str, RowId], list[tuple[str, int, int, int]]] = {}
        self._persons_of_org: dict[int, list[int]] = {}

    def _refer(self, table: str, row_id: Any) -> None:
        if row_id is not None and row_id not in self.tables[table]:
            raise ValueError(f"There is no row {row_id} in {table} to link to.")

    def _real(self, row: Row, changes: Mapping[str, Any]) -> Row:
        """Keep those changes that change something."""
        kept = {
            key: value
            for key, value in changes.items()
            if key != "custom_fields" and row[key] != value
        }
        custom = changes.get("custom_fields")
        if custom:
            covered = row["custom_fields"]
            custom = {key: value for key, value in custom.items() if covered.get(key) != value}
            if custom:
                kept["custom_fields"] = custom
        return kept

    def _columns(
        self, table: str, changes: Mapping[str, Any], fixed: frozenset[str] = _FIXED
    ) -> None:
        unknown = changes.keys() - BLANK[table].keys()
        entity = _ENTITY_OF.get(table)
        if table == "activities" and self.switches.activities_have_custom_fields:
            unknown, entity = unknown - {"custom_fields"}, "activity"
        if unknown:
            raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}.")
        if changes.keys() & fixed:
            raise ValueError(
                f"{', '.join(sorted(changes.keys() & fixed))} of {table} cannot be set: the company"
                " keeps it."
            )
        if entity is not None and "custom_fields" in changes:
            self._check_custom(entity, changes["custom_fields"])
        for key, target in (
            ("owner_id", "users"),
            ("org_id", "organizations"),
            ("person_id", "persons"),
        ):
            if key in changes:
                self._refer(target, changes[key])

    def add_row(
        self, table: str, *, actor: int | None = None, source: str = "app", **values: Any
    ) -> int:
        """Add a row of any table that is not a deal, a line, an installment, a discount or an
        activity; return its id.

        Left-out columns take a plausible default or stay empty.
        """
        with self.lock:
            if table in ("deals", "deal_products", "installments", "discounts", "activities"):
                raise ValueError(f"{table} has a write method of its own.")
            if table not in self.tables:
                raise ValueError(f"There is no table {table!r}.")
            self._columns(table, values, frozenset({"add_time", "update_time", "is_deleted"}))
            self._tick()
            given = values.pop("id", None)
            if given is not None and given < self._next[table]:
                raise ValueError(
                    f"{table}: ids are given in order, the next is {self._next[table]} or more, not"
                    f" {given}."
                )
            new = given if given is not None else self._new_id(table)
            self._next[table] = max(self._next[table], int(new) + 1)
            row = blank(table, id=new)
            for key, value in (
                ("is_deleted", False),
                ("visible_to", 7),
                ("owner_id", self.me),
                ("custom_fields", {}),
                ("label_ids", []),
                ("emails", []),
                ("phones", []),
                ("im", []),
                ("prices", []),
            ):
                if key in row:
                    row[key] = value
            row.update(values)
            if table == "persons" and row["org_id"] is not None:
                self._persons_of_org.setdefault(row["org_id"], []).append(new)
            self._create(table, row, self.me if actor is None else actor, source)
            return int(new)

    def add_person(self, name: str, **values: Any) -> int:
        """Add a person; first and last name are cut from `name` unless given."""
        first, _, last = name.partition(" ")
        return self.add_row(
            "persons", **{"name": name, "first_name": first, "last_name": last or None, **values}
        )

    def add_organization(self, name: str, **values: Any) -> int:
        """Add an organization."""
        return self.add_row("organizations", name=name, **values)

    def add_product(self, name: str, price: float = 0, currency: str = "EUR", **values: Any) -> int:
        """Add a product with one price, unless `prices` gives them."""
        with self.lock:
            prices = [
                {
                    "product_id": self._next["products"],
                    "price": price,
                    "currency": currency,
                    "cost": 0,
                    "direct_cost": None,
                    "notes": "",
                }
            ]
            plain = {
                "name": name,
                "tax": 0,
                "unit": "",
                "is_linkable": True,
                "billing_frequency": "one-time",
                "prices": prices,
            }
            return self.add_row("products", **{**plain, **values})

    def _edit_row(
        self, table: str, row_id: RowId, changes: Mapping[str, Any], actor: int | None, source: str
    ) -> None:
        row = self._living(table, row_id)
        self._columns(
            table, changes, _FIXED | ({"pipeline_id"} if table == "stages" else frozenset())
        )
        self._write(table, row, changes, actor, source)
        if table == "persons" and changes.get("org_id") is not None:
            self._persons_of_org.setdefault(changes["org_id"], []).append(row["id"])

    def _write(
        self,
        table: str,
        row: Row,
        changes: Mapping[str, Any],
        actor: int | None,
        source: str,
        bulk: bool = False,
    ) -> None:
        """Write what really changes; a write that changes nothing leaves no trace but the tick."""
        self._tick()
        real = self._real(row, changes)
        if real:
            self._update(
                table, row["id"], real, self.me if actor is None else actor, True, source, bulk
            )

    # Activities

    def add_activity(
        self, subject: str, *, actor: int | None = None, source: str = "app", **values: Any
    ) -> int:
        """Add an activity; one that is added as done is done now. It takes `custom_fields` where
        the switch is on.
        """
        with self.lock:
            self._columns("activities", values)
            self._refer("deals", values.get("deal_id"))
            self._tick()
            who = self.me if actor is None else actor
            new = self._new_id("activities")
            row = BLANK["activities"].copy()
            row.update(
                id=new,
                subject=subject,
                type="call",
                owner_id=who,
                creator_user_id=who,
                is_deleted=False,
                busy=False,
                done=False,
                participants=[],
                attendees=[],
            )
            if self.switches.activities_have_custom_fields:
                row["custom_fields"] = {}
            row.update(values)
            if row["done"]:
                row["marked_as_done_time"] = wire(self.now)
            self._create("activities", row, who, source)
            self._index_activity(row)
            return new

    def _index_activity(self, row: Row) -> None:
        for key in ("deal_id", "person_id", "org_id"):
            if row[key] is not None:
                covered = self._activities_of.setdefault((key, row[key]), [])
                if row["id"] not in covered[-8:]:
                    covered.append(row["id"])

    def edit_activity(
        self, activity_id: int, *, actor: int | None = None, source: str = "app", **changes: Any
    ) -> None:
        """Change an activity; setting or clearing `done` keeps marked_as_done_time."""
        with self.lock:
            row = self._living("activities", activity_id)
            self._columns("activities", changes)
            self._refer("deals", changes.get("deal_id"))
            self._tick()
            real = self._real(row, changes)
            if "done" in real:
                real["marked_as_done_time"] = wire(self.now) if real["done"] else None
            if real:
                self._update(
                    "activities",
                    activity_id,
                    real,
                    self.me if actor is None else actor,
                    True,
                    source,
                )
                self._index_activity(row)

    def delete_activity(self, activity_id: int, *, actor: int | None = None) -> None:
        """Flag an activity as deleted."""
        with self.lock:
            self._living("activities", activity_id)
            self._tick()
            self._delete(
                "activities", activity_id, {"is_deleted": True}, self.me if actor is None else actor
            )

    def _activity_ids_of(self, key: str, row_id: int) -> list[int]:
        """Return the ids of the living activities that `key` links to the row, oldest link
        first.
        """
        rows = self.tables["activities"]
        result = dict.fromkeys(
            i for i in self._activities_of.get((key, row_id), ()) if rows[i][key] == row_id
        )
        return [i for i in result if not rows[i]["is_deleted"]]

    # Followers

    def follow(self, entity: str, row_id: RowId, user_id: int, *, actor: int | None = None) -> None:
        """Let a user follow a row; ValueError where they already do."""
        self._change_follower(entity, row_id, user_id, "added", actor)

    def unfollow(
        self, entity: str, row_id: RowId, user_id: int, *, actor: int | None = None
    ) -> None:
        """End a user's following; ValueError where they do not follow."""
        self._change_follower(entity, row_id, user_id, "removed", actor)

    def _change_follower(
        self, entity: str, row_id: RowId, user_id: int, action: str, actor: int | None
    ) -> None:
        with self.lock:
            if entity not in TABLE_OF:
                raise ValueError(f"{entity!r} has no followers; {', '.join(TABLE_OF)} have.")
            self._living(TABLE_OF[entity], row_id)
            self._refer("users", user_id)
            following = any(f["user_id"] == user_id for f in self.followers(entity, row_id))
            if following == (action == "added"):
                raise ValueError(
                    f"User {user_id} {'already follows' if following else 'does not follow'}"
                    f" {entity} {row_id}."
                )
            self._tick()
            who = self.me if actor is None else actor
            self._follows.setdefault((entity, row_id), []).append((action, who, user_id, self.now))
            self._log(
                f"{entity}_followers",
                row_id,
                "create" if action == "added" else "remove",
                {"user_id": user_id},
                who,
            )

    def followers(self, entity: str, row_id: RowId) -> list[Row]:
        """Return who follows the row now, in the order in which they began."""
        result: dict[int, Row] = {}
        for action, _, user, t in self._follows.get((entity, row_id), ()):
            if action == "added":
                result[user] = {"user_id": user, "add_time": wire(t)}
            else:
                result.pop(user, None)
        return list(result.values())

    def follower_changes(self, entity: str, row_id: RowId) -> list[Row]:
        """Return who began and ended following the row, oldest first."""
        return [
            {"action": action, "actor_user_id": who, "follower_user_id": user, "time": wire(t)}
            for action, who, user, t in self._follows.get((entity, row_id), ())
        ]
