"""A table put together part by part, in the order of its ids: whatever its size, a few parts of it are in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.fields import Field
from pdframe.files import Part
from pdframe.frames import Problems, storage_schema, unify
from pdframe.ranges import HIGHEST, LOWEST, Sorted, cuts
from pdframe.schema import Table
from pdframe.sync.compare import Merge, latest, replace_all, upsert
from pdframe.sync.pull import Pull

# So many bytes of rows make a part; while it is put together, they are in memory a few times.
PART = 12 * 1024 * 1024


class ByParts:
    """Makes the parts of a table, and counts what differs from what is cached.

    Parameters
    ----------
    table, fields
        The table, and its field metadata.
    look
        Columns to keep of all rows; none: the key.
    """

    def __init__(self, table: Table, fields: Sequence[Field], look: Sequence[str] = ()) -> None:
        self.problems = Problems()
        self._table, self._fields, self._key = table, fields, table.key[0]
        self._look = look
        self._seen: list[pa.Table] = []
        self._added = self._changed = self._removed = 0

    @property
    def merge(self) -> Merge:
        """What was counted, and the columns that were kept."""
        return Merge(pa.concat_tables(self._seen, promote_options="default"), self._added, self._changed, self._removed)

    def whole(self, pull: Pull, old: Sequence[tuple[Part, Sorted]]) -> Iterator[pa.Table]:
        """The rows of a walk as they were last seen, without those that are gone."""
        stores = [*pull.runs, Sorted(latest(self._together(pull.tables), self._key), self._key)]
        every = pa.unify_schemas([store.schema for store in stores]).empty_table()
        for low, high in cuts(stores, int(PART / _width(stores))):
            rows = latest(self._together([every, *(store.between(low, high) for store in stores)]), self._key)
            rows = present(self._table, rows, pull.gone)
            before = self._together([store.between(low, high) for _, store in old]) if old else None
            merge = replace_all(before, rows, self._key)
            del rows, before  # while the part is written, nothing else need be in memory
            yield self._counted(merge)

    def changed(self, pull: Pull, old: Sequence[tuple[Part, Sorted]]) -> Iterator[pa.Table | Part]:
        """What is cached with new rows put on top; parts that none of these concerns as they are."""
        new = latest(self._together(pull.tables), self._key)
        live = present(self._table, new, ())
        flagged = set(new[self._key].to_pylist()).difference(live[self._key].to_pylist())
        gone = pa.array(sorted({*pull.gone, *flagged}), new.schema.field(self._key).type)
        every = self._together([rows.schema.empty_table() for rows in (*(rows for _, rows in old), Sorted(live, self._key))])
        fresh = Sorted(live, self._key)
        starts = [LOWEST, *(rows.groups[0].low for _, rows in old[1:])]
        for (part, rows), low, after in zip(old, starts, [*starts[1:], HIGHEST + 1], strict=True):
            here, left = fresh.between(low, after - 1), gone.filter(pc.and_(pc.greater_equal(gone, low), pc.less_equal(gone, after - 1)))
            if not here.num_rows and not len(left) and rows.schema.equals(every.schema, check_metadata=True):
                self._keep(rows.read(self._look or [self._key]))
                yield part
            else:
                before = self._together([every, rows.between(LOWEST, HIGHEST)])
                yield self._counted(upsert(before, self._together([every, here]), left, self._key))

    def _counted(self, merge: Merge) -> pa.Table:
        self._added += merge.added
        self._changed += merge.changed
        self._removed += merge.removed
        self._keep(merge.table)
        return merge.table

    def _keep(self, rows: pa.Table) -> None:
        self._seen.append(rows.select([name for name in self._look or [self._key] if name in rows.column_names]))

    def _together(self, parts: Sequence[pa.Table]) -> pa.Table:
        rows, problems = unify([storage_schema(self._table, self._fields).empty_table(), *parts], self._table, self._fields)
        self.problems.merge(problems)
        return rows


def _width(stores: Sequence[Sorted]) -> float:
    """About how many bytes a row takes."""
    some = next((store.between(group.low, group.high) for store in stores for group in store.groups), None)
    return max(1.0, some.nbytes / some.num_rows) if some else 1.0


def present(table: Table, rows: pa.Table, gone: Collection[int]) -> pa.Table:
    """Rows that are neither gone nor deleted; a table whose deleted rows the API goes on listing (stages, users) keeps them."""
    there = pc.invert(pc.is_in(rows[table.key[0]], value_set=pa.array(gone, rows.schema.field(table.key[0]).type)))
    if table.incremental and "is_deleted" in rows.column_names:
        there = pc.and_(there, pc.invert(pc.fill_null(rows["is_deleted"], False)))
    return rows if pc.all(there).as_py() else rows.filter(there)
