"""Random edits of deals and line items between syncs, and what the company's own events say of each
change.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pdframe import sandbox
from pdframe.schema.snapshots import TRACKED_LINE_COLUMNS

DEALS = (
    "stage_id", "pipeline_id", "status", "value", "currency", "expected_close_date", "owner_id",
    "probability", "won_time", "lost_time",
    "is_archived",
)  # fmt: skip
IS_DELETED = "is_deleted"

Changes = dict[tuple[int, str], list[tuple[int, str | None]]]
"""By row and column, when it got which value: the creation first."""


def text(value: Any) -> str | None:
    """A value of the company as a history writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if value == int(value) else repr(value)


def of_deals(company: Any) -> Changes:
    """Every change of a deal, read off the events."""
    return _folded(company, "deals", DEALS)


def of_lines(company: Any) -> Changes:
    """Every change of a line item; one goes with its deal, and comes back with it."""
    result = _folded(company, "deal_products", TRACKED_LINE_COLUMNS)
    deal_of = {
        row: int(rows[0][1] or 0) for (row, column), rows in result.items() if column == "deal_id"
    }
    deals = {
        deal: rows
        for (deal, column), rows in _folded(company, "deals", ()).items()
        if column == IS_DELETED
    }
    for line, deal in deal_of.items():
        own = result.get((line, IS_DELETED), [])
        removed = own[0][0] if own else None
        with_deal = [
            (time, flag) for time, flag in deals.get(deal, []) if removed is None or time < removed
        ]
        if own or with_deal:
            result[line, IS_DELETED] = sorted([*with_deal, *own], key=lambda change: change[0])
    return result


def _folded(company: Any, table: str, columns: tuple[str, ...]) -> Changes:
    result: Changes = {}
    state: dict[int, dict[str, Any]] = {}
    for event in company.events:
        if event.table != table:
            continue
        row = state.setdefault(event.id, {})
        for name in columns:
            if name in event.changes and (name not in row or row[name] != event.changes[name]):
                row[name] = event.changes[name]
                result.setdefault((event.id, name), []).append((event.time, text(row[name])))
        if event.action in ("delete", "remove", "restore"):
            result.setdefault((event.id, IS_DELETED), []).append(
                (event.time, "false" if event.action == "restore" else "true")
            )
    return result


def at(
    changes: list[tuple[int, str | None]], time: float, default: str | None = None
) -> str | None:
    """The value at a time."""
    return next((value for when, value in reversed(changes) if when <= time), default)


def edit(company: Any, chance: random.Random, count: int) -> None:
    """Some edits that the API allows, of deals and line items that are there."""
    deals = [deal for deal, row in company.tables["deals"].items() if not row["is_deleted"]]
    users, stages, products = (
        sorted(company.tables[name]) for name in ("users", "stages", "products")
    )
    for _ in range(count):
        deal = chance.choice(deals)
        row, lines = company.row("deals", deal), company.lines_of(deal)
        if row["is_deleted"]:
            continue
        line = chance.choice(lines)["id"] if lines else None
        kind = chance.randrange(12)
        try:
            if kind == 0 and not lines:
                company.edit_deal(deal, value=chance.choice([100.0, 200.5, 300.0]))
            elif kind == 1:
                company.edit_deal(deal, owner_id=chance.choice(users))
            elif kind == 2:
                company.edit_deal(
                    deal, expected_close_date=chance.choice(["2026-09-01", "2027-01-01", None])
                )
            elif kind == 3:
                company.edit_deal(deal, probability=chance.choice([None, 10, 20]))
            elif kind == 4:
                company.patch_deal(deal, status=chance.choice(["open", "won", "lost"]))
            elif kind == 5:
                company.patch_deal(deal, stage_id=chance.choice(stages))
            elif kind == 6:
                (company.unarchive_deal if row["is_archived"] else company.archive_deal)(deal)
            elif kind == 7 and chance.random() < 0.4:
                company.delete_deal(deal)
            elif kind == 8 and not lines:
                company.edit_deal(deal, currency=chance.choice(["EUR", "USD"]))
            elif kind == 9 and line is not None:
                company.edit_line(
                    line,
                    quantity=chance.choice([1, 2.5, 7]),
                    item_price=chance.choice([10, 99.9, 1234.5]),
                )
            elif kind == 10 and line is not None and chance.random() < 0.5:
                company.remove_line(line)
            elif kind == 11:
                company.add_line(deal, chance.choice(products))
        except ValueError:
            continue  # a rule of the company forbids it


@dataclass
class Witnesses:
    """When deals were looked at, and when the changelog of each was read last (seconds since
    1970).
    """

    snapshots: list[int] = field(default_factory=list)
    read: dict[int, int] = field(default_factory=dict)

    def known_until(self, deal: int, when: float) -> float | None:
        """The time whose state of a deal is known at `when`; None: none is."""
        read = self.read.get(deal, -1)
        if when <= read:
            return when
        snapshot = max((snapshot for snapshot in self.snapshots if snapshot <= when), default=-1)
        return max(snapshot, read) if max(snapshot, read) >= 0 else None


def live(account: sandbox.SandboxAccount, chance: random.Random, steps: int) -> Witnesses:
    """Edits, days, syncs (some of them full) and changelogs of some deals by turns."""
    company, result = account.company_model, Witnesses()
    for step in range(steps):
        if step:
            edit(company, chance, 12)
            if chance.random() < 0.5:
                account.advance(days=chance.randrange(1, 5))
        if chance.random() < 0.7:
            account.sync("deals", full=chance.random() < 0.3)
            result.snapshots.append(company.now)
        if chance.random() < 0.6:
            account.sync("deal_products", full=chance.random() < 0.3)
            result.snapshots.append(company.now)
        if chance.random() < 0.4:
            there = [deal for deal, row in company.tables["deals"].items() if not row["is_deleted"]]
            chosen = chance.sample(there, 8)
            account.deal_changes(chosen, refresh=True)
            result.read.update(dict.fromkeys(chosen, company.now))
    account.sync("deals", "deal_products", "stages")
    result.snapshots.append(company.now)
    return result


def faults(
    history: pd.DataFrame, key: str, truth: Mapping[tuple[int, str], list[tuple[int, str | None]]]
) -> list[tuple[Any, ...]]:
    """The rows of a history that the company's events contradict, and why."""
    result: list[tuple[Any, ...]] = []
    before_it: dict[tuple[int, str], str | None] = {}
    columns = {column for _, column in truth}
    for row in history.itertuples(index=False):
        values = row._asdict()
        name = values["column"]
        where = values[key], name
        before, after = (
            None if pd.isna(values[side]) else values[side] for side in ("before", "after")
        )
        # The API lists a deleted deal with that status, whatever it was.
        if name not in columns or (name == "status" and "deleted" in (before, after)):
            continue
        true, default = truth.get(where, []), "false" if name == IS_DELETED else None
        time, seen = values["time"].timestamp(), values["seen_at"].timestamp()
        # That a deal kept its value since creation, changelogs of others prove: its first look
        # repeats it.
        is_repeated = (
            values["source"] == "first look"
            and name in ("owner_id", "expected_close_date")
            and before_it.get(where) == after
        )
        if where in before_it and before_it[where] != before and not is_repeated:
            result.append(("it does not go on from the row before", *row))
        before_it[where] = after
        is_bounded = not pd.isna(values["time_after"])
        if values["source"] == "first look":
            if before is not None or is_bounded or time != seen or at(true, seen, default) != after:
                result.append(("not what the first look saw", *row))
        elif not is_bounded and (time, after) not in true:
            result.append(("no change at that time", *row))
        elif values["source"] == "snapshots" and at(true, seen, default) != after:
            result.append(("not what the look saw", *row))
        elif is_bounded and not any(
            values["time_after"].timestamp() <= when <= time and value == after
            for when, value in true
        ):
            result.append(("no change within the bounds", *row))
    return result


def forgotten(history: pd.DataFrame, key: str, truth: Changes, now: int) -> list[tuple[Any, ...]]:
    """The columns whose last value in a history is not the company's: of rows that are there, and
    whether a row is there.
    """
    last = history.drop_duplicates([key, "column"], keep="last")
    reported = {
        (row, column): None if pd.isna(after) else after
        for row, column, after in zip(last[key], last["column"], last["after"], strict=True)
    }
    rows = {row for row, _ in reported}
    deleted = {row for row in rows if reported.get((row, IS_DELETED)) == "true"}
    wrong: list[tuple[Any, ...]] = [
        ("gone or not", row)
        for row in rows
        if (row in deleted) != (at(truth.get((row, IS_DELETED), []), now) == "true")
    ]
    return wrong + [
        (column, row, reported.get((row, column)), true[-1][1])
        for (row, column), true in truth.items()
        if row in rows - deleted
        and column != IS_DELETED
        and reported.get((row, column)) != true[-1][1]
    ]
