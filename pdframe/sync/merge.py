"""A table put together part by part, in the order of its ids: whatever its size, a few parts of it
are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe.cache.sorted_runs import HIGHEST, LOWEST, InMemory, SortedRun, cuts
from pdframe.fields import Field
from pdframe.frames import Problems, storage_schema, unify
from pdframe.schema import Table
from pdframe.sync.compare import Counts, Merge, latest, newest_rows, replace_all, upsert
from pdframe.sync.fetch_result import FetchResult
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions


class ByParts:
    """Makes the parts of a table, and counts what differs from what is cached.

    Parameters
    ----------
    table, fields
        The table, and its field metadata.
    options
        The size of a part.

    Attributes
    ----------
    counts : Counts
        How many rows were added, changed and removed, once all parts are made.
    """

    def __init__(
        self, table: Table, fields: Sequence[Field], options: SyncOptions = DEFAULT_OPTIONS
    ) -> None:
        self.problems = Problems()
        self.counts = Counts()
        self._part_bytes = options.merge_part_bytes
        self._table, self._fields, self._key = table, fields, table.key[0]

    def complete(
        self, pull: FetchResult, old: Sequence[tuple[Part, SortedRun]]
    ) -> Iterator[pa.Table]:
        """The rows of a walk as they were last seen, without those that are gone."""
        stores = self._stores(pull)
        every = pa.unify_schemas([store.schema for store in stores]).empty_table()
        for low, high in cuts(stores, _rows_of_a_part(stores, self._part_bytes)):
            rows = latest(
                self._together([every, *(store.between(low, high) for store in stores)]), self._key
            )
            rows = present(self._table, rows, pull.removed)
            before = self._together([store.between(low, high) for _, store in old]) if old else None
            merge = replace_all(before, rows, self._key)
            del rows, before  # while the part is written, nothing else need be in memory
            yield self._counted(merge)

    def changed(
        self, pull: FetchResult, old: Sequence[tuple[Part, SortedRun]]
    ) -> Iterator[pa.Table | Part]:
        """What is cached with new rows put on top; parts that none of these concerns as they
        are.
        """
        stores = self._stores(pull)
        seen = newest_rows(
            pa.concat_tables(
                [store.read([self._key, "is_deleted"]) for store in stores],
                promote_options="default",
            ),
            self._key,
        )
        flagged = set(seen[self._key].to_pylist()).difference(
            present(self._table, seen, ())[self._key].to_pylist()
        )
        removed = pa.array(sorted({*pull.removed, *flagged}), seen.schema.field(self._key).type)
        every_store = [*stores, *(rows for _, rows in old)]
        every = self._together([rows.schema.empty_table() for rows in every_store])
        ranges = list(cuts(every_store, _rows_of_a_part(every_store, self._part_bytes)))
        starts = [LOWEST, *(rows.groups[0].low for _, rows in old[1:])]
        for (part, rows), low, after in zip(old, starts, [*starts[1:], HIGHEST + 1], strict=True):
            there = [_between(ids, low, after - 1) for ids in (seen[self._key], removed)]
            if not any(map(len, there)) and rows.schema.equals(every.schema, check_metadata=True):
                yield part
                continue
            for first, last in (
                (max(first, low), min(last, after - 1))
                for first, last in ranges
                if first < after and last >= low
            ):
                new = latest(
                    self._together([every, *(store.between(first, last) for store in stores)]),
                    self._key,
                )
                before = self._together([every, rows.between(first, last)])
                yield self._counted(upsert(before, new, _between(removed, first, last), self._key))

    def _stores(self, pull: FetchResult) -> list[SortedRun]:
        """The rows of a pull, the earlier ones first."""
        return [
            *pull.runs,
            SortedRun(InMemory(latest(self._together(pull.tables), self._key)), self._key),
        ]

    def _counted(self, merge: Merge) -> pa.Table:
        self.counts += merge.counts
        return merge.table

    def _together(self, parts: Sequence[pa.Table]) -> pa.Table:
        rows, problems = unify(
            [storage_schema(self._table, self._fields).empty_table(), *parts],
            self._table,
            self._fields,
        )
        self.problems.merge(problems)
        return rows


def _between(ids: pa.Array | pa.ChunkedArray, low: int, high: int) -> pa.Array | pa.ChunkedArray:
    return ids.filter(pc.and_(pc.greater_equal(ids, low), pc.less_equal(ids, high)))


def _rows_of_a_part(stores: Sequence[SortedRun], part_bytes: int) -> int:
    some = (store.between(group.low, group.high) for store in stores for group in store.groups)
    return next(
        (int(part_bytes / max(1.0, rows.nbytes / rows.num_rows)) for rows in some if rows.num_rows),
        part_bytes,
    )


def present(table: Table, rows: pa.Table, removed: Collection[int]) -> pa.Table:
    """Rows that are neither gone nor deleted; a table whose deleted rows the API goes on listing
    (stages, users) keeps them.
    """
    there = pc.invert(
        pc.is_in(
            rows[table.key[0]], value_set=pa.array(removed, rows.schema.field(table.key[0]).type)
        )
    )
    if table.incremental and "is_deleted" in rows.column_names:
        there = pc.and_(there, pc.invert(pc.fill_null(rows["is_deleted"], False)))
    return rows if pc.all(there).as_py() else rows.filter(there)
