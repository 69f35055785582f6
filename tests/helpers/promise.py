"""What the contract promises of a cache after a sync, cell by cell, and what the sync may cost: both from the company's past alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from math import ceil
from typing import Any

import pandas as pd
import truth
from annals import BY_DEAL, ENTITY, TABLES, Annals
from cells import Shown

TRACKED = ("deals", "activities", "persons", "organizations")
"""Tables of which the API tells what changed."""
LISTED = ("deals",)
"""Tables of which it lists deletions as well; for any other a full reload finds them."""
FIELDS = {**{table: f"{entity}_fields" for table, entity in ENTITY.items()}, "activities": "activity_fields"}
NEEDS = {
    **{table: (fields,) for table, fields in FIELDS.items()},
    "deal_products": ("deal_fields", "deals"),
    "installments": ("deal_fields", "deals", "deal_products"),
    "phases": ("boards",),
}
COST = {"users": 20, "stages": 5, "pipelines": 5}
LISTS = {
    "deals": ((10, lambda row: not row["is_archived"]), (20, lambda row: row["is_archived"])),
    "projects": ((10, lambda row: row["archive_time"] is None), (10, lambda row: row["archive_time"] is not None)),
}
EVERYTHING = ((10, lambda row: True),)
OVERLAP = 300
KEPT_FOR = 29 * 86_400


def with_needs(tables: Iterable[str]) -> list[str]:
    """Tables, and those that they rest on."""
    asked = set(tables)
    return sorted(asked.union(*(NEEDS.get(table, ()) for table in asked)))


class Window:
    """A sync as the company saw it: the moments at which it began and ended, the same one where nothing happened meanwhile."""

    def __init__(self, began: int, ended: int, full: bool) -> None:
        self.began = began
        self.ended = ended
        self.full = full


class Promise:
    """Follows one cache from sync to sync.

    Attributes
    ----------
    known
        By table and row, the moment since which the cached row may not be older than that; of line items and installments by deal.
    last
        By table, the last sync of it.
    """

    def __init__(self, annals: Annals, page: int) -> None:
        self.annals = annals
        self.page = page
        self.known: dict[str, dict[Any, int]] = {table: {} for table in TABLES}
        self.last: dict[str, Window] = {}
        self._marks: dict[str, list[str]] = {}
        self._all_asked = False
        self._told_apart = False
        self._misread = False
        self._walked: dict[str, int] = {}

    # What must be there

    def check(self, tables: Iterable[str], window: Window, frames: Mapping[str, pd.DataFrame]) -> None:
        """Hold the frames of the tables that a sync brought up to date against the truth; `window.full` as it was asked for each."""
        for table in sorted(tables, key=list(FIELDS.values()).__contains__, reverse=True):
            if table in truth.FIELD_LISTS:
                self._check_fields(table, window, frames[table])
        for table in TABLES:
            if table in tables:
                (self._check_by_deal if table in BY_DEAL else self._check_rows)(table, window, frames[table])
        for table in tables:
            self.last[table] = window

    def _check_fields(self, table: str, window: Window, frame: pd.DataFrame) -> None:
        got = {row["field_code"]: row for row in frame.to_dict("records")}
        assert len(got) == len(frame)
        for code in self.annals.ids(table):
            states = self.annals.between(table, code, window.began, window.ended)
            assert code in got or None in states, (table, code, "is missing")
            if code in got:
                shown = [got[code]["field_name"], got[code]["field_type"], truth.from_json(truth.cell(got[code]["options"]))]
                assert shown in [[s["field_name"], s["field_type"], s["options"]] for s in states if s], (table, code, shown, states)
        assert got.keys() <= set(self.annals.ids(table))

    def _codes(self, table: str, window: Window) -> frozenset[str]:
        """Custom fields that were there all through the sync."""
        if table not in ENTITY:
            return frozenset()
        fields = f"{ENTITY[table]}_fields"
        return frozenset(
            code
            for code in self.annals.ids(fields)
            if all(state and state["is_custom_field"] for state in self.annals.between(fields, code, window.began, window.ended))
        )

    def _check_rows(self, table: str, window: Window, frame: pd.DataFrame) -> None:
        shown = Shown(frame, table, self._codes(table, window))
        if window.full and window.began == window.ended and table in ENTITY:
            custom = {column[:40] for column in frame.columns if len(column) >= 40}
            assert custom == self._codes(table, window), (table, "has other columns than fields")
        assert list(shown.rows) == sorted(shown.rows)
        known = self.known[table]
        for number in self.annals.ids(table):
            states = self.annals.between(table, number, window.began, window.ended)
            whole = window.full or table not in TRACKED
            if None not in states:
                if whole:
                    known[number] = window.began
                else:
                    self._learn(table, number, window)
                assert number in shown.rows or number not in known, (table, number, "is missing")
            elif whole:
                known.pop(number, None)
            if states == [None] and (whole or (table in LISTED and self.annals.deleted(table, number))):
                assert number not in shown.rows, (table, number, "is gone, and still there")
            if number in shown.rows:
                since = window.began if whole else known.get(number, 0)
                self._check_row(shown, number, self.annals.between(table, number, since, window.ended))
        assert shown.rows.keys() <= set(self.annals.ids(table)), (table, "has rows that never were")

    def _learn(self, table: str, number: Any, window: Window) -> None:
        """An incremental sync brings a row whose `update_time` moved since the last one."""
        known, last = self.known[table], self.last[table]
        if self.annals.touched(table, number, last.ended, window.began):
            known[number] = window.began
        elif moved := self.annals.touched(table, number, last.began, window.began):
            # While the last sync was under way: the row came then, or comes now.
            known[number] = max(known.get(number, 0), moved[-1])

    @staticmethod
    def _check_row(shown: Shown, number: Any, states: list[Any]) -> None:
        differences = [shown.differences(number, state) for state in states if state is not None]
        assert {} in differences, (shown.table, number, "is none of the rows that it was", min(differences, key=len, default="never"))

    def _check_by_deal(self, table: str, window: Window, frame: pd.DataFrame) -> None:
        shown = Shown(frame, table, frozenset())
        by_deal: dict[int, set[int]] = {}
        for number, row in shown.rows.items():
            by_deal.setdefault(row["deal_id"], set()).add(number)
        known = self.known[table]
        for deal in self.annals.ids(table):
            states = self.annals.between(table, deal, window.began, window.ended)
            if None not in states:
                if window.full:
                    known[deal] = window.began
                else:
                    self._learn_lines(table, deal, window)
        if table == "deal_products":
            self._tell_apart(window)
        for deal in self.annals.ids(table):
            states = self.annals.between(table, deal, window.began, window.ended)
            got = by_deal.pop(deal, set())
            if self._is_overlooked(table, deal, window):
                known[deal] = 0
                if not got:
                    continue
            if states == [None] and self.annals.deleted("deals", deal):
                assert not got, (table, deal, "is gone, and has rows still")
                continue
            since = known.get(deal, 0)
            possible = self.annals.between(table, deal, since, window.ended)
            problems = []
            for state in possible:
                lines = state or {}
                if lines.keys() != got:
                    problems.append(f"{sorted(got)} instead of {sorted(lines)}")
                elif wrong := {number: found for number, line in lines.items() if (found := shown.differences(number, line))}:
                    problems.append(str(wrong))
                else:
                    break
            else:
                raise AssertionError((table, deal, "has rows that it never had together", problems))
        assert not by_deal, (table, by_deal, "belong to deals that never were")

    def _learn_lines(self, table: str, deal: int, window: Window) -> None:
        """An incremental sync brings the lines of deals whose `update_time` moved, and of those that are seen with another count."""
        known, last, annals = self.known[table], self.last[table], self.annals
        if annals.touched("deals", deal, last.ended, window.began):
            known[deal] = window.began
        elif moved := annals.touched("deals", deal, last.began, window.began):
            known[deal] = max(known.get(deal, 0), moved[-1])
        if self.known["deals"].get(deal) == window.began:
            before = {self._count(row) for row in annals.between("deals", deal, known.get(deal, 0), last.ended)}
            if self._count(annals.at("deals", deal, window.began)) not in before:
                known[deal] = window.began

    def _tell_apart(self, window: Window) -> None:
        """Whether a load of everything showed that `products_count` leaves disabled lines out: by a deal with both kinds."""
        if not window.full:
            # What was found so stays known.
            return
        annals, at = self.annals, window.began
        seen = annals.all_at("deals", at)
        quiet = window.ended == at and all(self.known["deals"].get(deal) == at for deal in seen)
        self._told_apart = quiet and any(map(_is_mixed, annals.all_at("deal_products", at).values()))

    def _is_overlooked(self, table: str, deal: int, window: Window) -> bool:
        """Whether nothing that is cached tells that a deal has rows, so that it need not be asked for.

        It counts no lines, and no other deal has shown that the count leaves some out; or its count changed without a stamp, and the deals
        were not loaded anew. For installments the same of its lines, which tell whether it can have any.
        """
        if table == "installments":
            lines = self.annals.between("deal_products", deal, self.known["deal_products"].get(deal, 0), window.ended)
            return len(lines) > 1 or self._is_overlooked("deal_products", deal, window)
        if self._told_apart:
            return False
        known = self.known["deals"].get(deal, 0)
        counts = [self._count(state) for state in self.annals.between("deals", deal, known, window.ended)]
        if self.annals.company.switches.products_count_includes_disabled:
            return 0 in counts and len(set(counts)) > 1
        return 0 in counts

    @staticmethod
    def _count(row: Any) -> Any:
        return None if row is None else row["products_count"]

    # What it may cost

    def due(self, tables: Iterable[str], window: Window) -> dict[str, int]:
        """The most that a sync may spend on each table; to be asked before `check`."""
        asked = list(tables)
        self._misread = self._misread or self._may_misread(asked, window)
        return {table: self._due(table, window) for table in asked}

    @staticmethod
    def _may_misread(tables: Collection[str], window: Window) -> bool:
        """Whether line items may not fit to the counts of their deals, for these are older: then they seem to leave some out."""
        return window.began != window.ended or (window.full and "deal_products" in tables and "deals" not in tables)

    def _due(self, table: str, window: Window) -> int:
        if table in truth.FIELD_LISTS:
            return self._pages(len(self._seen(table, window))) * 10
        if table == "users":
            return 20
        if table == "phases":
            return 10 * len(self._seen("boards", window))
        if table in BY_DEAL:
            return self._due_by_deal(table, window)
        whole = self._due_whole(table, window)
        if table in LISTS and table in self.last:
            # Rows that are missing now may have moved between the lists: they are asked for, or where that cannot be, the first list is.
            vanished, live = self._vanished(table, window), LISTS[table][0]
            by_id = ceil(vanished / 100) if table in LISTED else self._pages(len(self._seen(table, window, live[1])))
            whole += by_id * live[0] if vanished else 0
        if table not in TRACKED:
            return whole
        if table in LISTS:
            # What moved into the first list while the second was walked is asked for.
            whole += self._due_changes(table, window, self._newest(table, window))[0]
        last = self.last.get(table)
        if window.full or last is None:
            return whole
        changes = sum(self._due_changes(table, window, self._marks[table]))
        if self.annals.clock[window.ended] - self.annals.clock[last.began] > KEPT_FOR:
            # Found by the first answer: deletions are listed for 30 days alone.
            return whole + 10
        fits_a_page = min(len(self.annals.all_at(table, moment)) for moment in range(last.began, last.ended + 1)) <= self.page
        return max(whole, changes) if fits_a_page and table not in LISTS else changes

    def _pages(self, rows: int) -> int:
        return max(1, ceil(rows / self.page))

    def _vanished(self, table: str, window: Window) -> int:
        """How many rows may be cached and missing from a walk: gone since the last walk, or moved from list to list in this one."""
        annals, fits = self.annals, LISTS[table][0][1]
        count = 0
        for number in annals.ids(table):
            states = annals.between(table, number, self._walked.get(table, 0), window.ended)
            lists = {fits(row) for row in annals.between(table, number, window.began, window.ended) if row is not None}
            count += (None in states and states != [None]) or len(lists) > 1
        return count

    def _seen(self, table: str, window: Window, fits: Any = lambda row: True) -> list[list[Any]]:
        """The states of each row that was there at some time of the sync."""
        found = (self.annals.between(table, number, window.began, window.ended) for number in self.annals.ids(table))
        return [states for states in found if any(state is not None and fits(state) for state in states)]

    def _due_whole(self, table: str, window: Window) -> int:
        if table in LISTS:
            return sum(self._pages(len(self._seen(table, window, fits))) * cost for cost, fits in LISTS[table])
        return self._pages(len(self._seen(table, window))) * COST.get(table, 10)

    def _due_changes(self, table: str, window: Window, marks: list[str]) -> list[int]:
        """What changed since the marks, list by list, and the deletions that are listed."""
        tokens = []
        for mark, (cost, fits) in zip(marks, LISTS.get(table, EVERYTHING), strict=True):
            since = _earlier(mark, OVERLAP)
            rows = self._seen(table, window, lambda row, fits=fits, since=since: fits(row) and row["update_time"] >= since)
            # A row that is edited while the list is walked moves to its end, and is met again.
            again = sum(len(states) - 1 for states in rows)
            tokens.append(self._pages(len(rows) + again) * cost)
        if table in LISTED:
            tokens += [self._pages(sum(map(fits, self.annals.deleted_rows(table)))) * cost for cost, fits in LISTS[table]]
        return tokens

    def _newest(self, table: str, window: Window) -> list[str]:
        """Up to when a load of all rows knows of changes: the newest, less the time that it took."""
        annals = self.annals
        moments = range(window.began, window.ended + 1)
        newest = min(max((row["update_time"] for row in annals.all_at(table, moment).values()), default="") for moment in moments)
        took = annals.clock[window.ended] - annals.clock[window.began]
        return [_earlier(newest, took)] * len(LISTS.get(table, EVERYTHING))

    def mark(self, tables: Collection[str], window: Window) -> None:
        """Note up to when the sync must know of changes; to be told after `check`."""
        for table in tables:
            if table == "deal_products":
                anew = window.full or table not in self._walked
                self._misread = self._may_misread(tables, window) or (self._misread and not anew)
                self._all_asked = self._all_asked and not anew
            if window.full or table not in TRACKED:
                self._walked[table] = window.began
            if table not in TRACKED:
                continue
            if window.full or table not in self._marks:
                self._marks[table] = self._newest(table, window)
                continue
            for number, (_, fits) in enumerate(LISTS.get(table, EVERYTHING)):
                moments = range(window.began, window.ended + 1)
                newest = [
                    max((row["update_time"] for row in self.annals.all_at(table, moment).values() if fits(row)), default="")
                    for moment in moments
                ]
                self._marks[table][number] = max(self._marks[table][number], min(newest))

    def _due_by_deal(self, table: str, window: Window) -> int:
        annals, last, first = self.annals, self.last.get(table), window.full or table not in self.last
        counts_all = annals.company.switches.products_count_includes_disabled
        counts_all = counts_all and not self._misread
        changed = []
        for deal in annals.ids("deals"):
            since = self.known["deals"].get(deal, 0)
            states = annals.between("deals", deal, since, window.ended)
            lines = [annals.between(name, deal, min(since, self.known[name].get(deal, 0)), window.ended) for name in BY_DEAL]
            has = max(len(state or ()) for state in lines[BY_DEAL.index(table)])
            if first or last is None:
                moved = True
            else:
                moved = bool(annals.touched("deals", deal, last.began, window.ended)) or len({self._count(row) for row in states}) > 1
                moved = moved or (table == "installments" and len(lines[0]) > 1)
            # Where the count leaves lines out, deals without any are asked for as well.
            possible = any(lines[0]) or any(lines[1]) or not counts_all
            if moved and possible and any(state is not None for state in states):
                changed.append(has)
        requests = ceil(len(changed) / 100) + ceil(sum(changed) / self.page) if changed else 0
        if table == "deal_products" and not counts_all and (first or not self._all_asked):
            # That the count leaves lines out is found once: then every deal is asked for.
            self._all_asked = True
            rows = sum(len(row) for row in annals.all_at(table, window.ended).values())
            requests += ceil(len(annals.ids("deals")) / 100) + ceil(rows / self.page)
        return requests * 10


def _is_mixed(lines: Any) -> bool:
    return bool(lines) and len({line["is_enabled"] for line in lines.values()}) == 2


def _earlier(time: str, seconds: int) -> str:
    if not time:
        return ""
    moment = pd.Timestamp(time) - pd.Timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
