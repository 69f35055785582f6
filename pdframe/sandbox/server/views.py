"""Sorted and grouped looks at the company's tables, remade only when the company has changed."""

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pdframe.sandbox.server.paging import Entry, Row

if TYPE_CHECKING:
    from pdframe.sandbox.company import Company

Kept = TypeVar("Kept")


class Views:
    """Caches over one company; every method is called with the company's lock held."""

    def __init__(self, company: "Company") -> None:
        self._company = company
        self._version: int | None = None
        self._kept: dict[tuple[Any, ...], Any] = {}

    def keep(self, key: tuple[Any, ...], make: Callable[[], Kept]) -> Kept:
        """Return what ``make`` gives, the same object until the company changes."""
        if self._version != self._company.version:
            self._kept.clear()
            self._version = self._company.version
        if key not in self._kept:
            self._kept[key] = make()
        kept: Kept = self._kept[key]
        return kept

    def rows(self, table: str) -> dict[Any, Row]:
        """Every stored row of a table by id, deleted and hidden ones included."""
        return self._company.tables[table]

    def removed(self, table: str, row: Row) -> bool:
        """Whether a row is deleted."""
        return bool(row.get("is_deleted")) or (table, row["id"]) in self._company.deleted_at

    def find(self, table: str, row_id: Any) -> Row | None:
        """The row as the token's user can open it, None where it is deleted, hidden or was never
        there.
        """
        row = self.rows(table).get(row_id)
        if row is None or (table, row_id) in self._company.hidden or self.removed(table, row):
            return None
        return row

    def listed(self, table: str, row: Row, archived: bool | None, deleted: bool) -> bool:
        """Whether a list shows a row: not a hidden one, a deleted one only where asked, of an
        archive or a live list its own.
        """
        if (table, row["id"]) in self._company.hidden or (
            archived is not None and is_archived(row) is not archived
        ):
            return False
        return deleted or not self.removed(table, row)

    def sorted(
        self, table: str, field: str, *, archived: bool | None = None, deleted: bool = False
    ) -> list[Entry]:
        """The places of a table's visible rows in order of ``field``; ``deleted`` lets deleted rows
        in.
        """
        return self.keep(
            ("sorted", table, field, archived, deleted),
            lambda: self._sort(table, field, archived, deleted),
        )

    def _sort(self, table: str, field: str, archived: bool | None, deleted: bool) -> list[Entry]:
        entries = [
            place(row, field)
            for row in self.rows(table).values()
            if self.listed(table, row, archived, deleted)
        ]
        entries.sort()
        return entries

    def group(self, table: str, column: str) -> dict[Any, list[Row]]:
        """The visible rows of a table by a column's value, in id order."""
        return self.keep(("group", table, column), lambda: self._group(table, column))

    def _group(self, table: str, column: str) -> dict[Any, list[Row]]:
        groups: defaultdict[Any, list[Row]] = defaultdict(list)
        hidden = self._company.hidden
        for row_id, row in self.rows(table).items():
            if (table, row_id) not in hidden and not self.removed(table, row):
                groups[row.get(column)].append(row)
        return dict(groups)


def place(row: Row, field: str) -> Entry:
    """Where a row stands in a list sorted by ``field``."""
    value = row.get(field)
    return Entry(value is not None, value, row["id"])


def is_archived(row: Row) -> bool:
    """Whether a deal or project is archived; projects have no flag but the time."""
    return bool(row.get("is_archived")) or row.get("archive_time") is not None
