"""Rows that hang on records, cached in parts in the order of these: a change costs the parts that
it concerns, however large the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe.cache.sorted_runs import HIGHEST, LOWEST, SortedRun
from pdframe.cache.store import Manifest, Store
from pdframe.frames import Problems, storage_schema, unify
from pdframe.schema import Table
from pdframe.sync.compare import Counts
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions


class RecordParts:
    """Puts rows in the place of those that are cached of the same records, and counts what differs.

    Parameters
    ----------
    store
        Where they are kept.
    table
        Their table; it has a `parent`.
    options
        The sizes of parts.
    """

    def __init__(self, store: Store, table: Table, options: SyncOptions = DEFAULT_OPTIONS) -> None:
        self.counts = Counts()
        self.problems = Problems()
        self._options = options
        self._store, self._table, self._record = store, table, table.hangs_on.id
        self._order = table.hangs_on.order or ("id" if table.key == ("id",) else "")

    def put(
        self, manifest: Manifest, before: Manifest | None, new: pa.Table, records: Collection[int]
    ) -> Manifest:
        """Write the rows of some records.

        Parameters
        ----------
        manifest
            As it is to be written, but for its parts and rows.
        before
            As it is written; None: nothing is cached.
        new
            All rows of the records, of each in the order in which they came.
        records
            The records; what is cached of them goes.

        Returns
        -------
        Manifest
            As written. Where the rows are those that are cached, these stay.
        """
        received = pa.array(sorted(records), pa.int64())
        old = self._store.sorted_parts(before, self._record) if before else []
        new = self._in_order(self._together([*(rows.schema.empty_table() for _, rows in old), new]))
        replaced = [_rows_of(rows, self._record, received) for _, rows in old]
        counts = _differences(self._together(replaced), new)
        self.counts += counts
        if before is not None and not counts:
            return self._store.touch(manifest)
        parts = [
            (part, rows, was.num_rows > 0) for (part, rows), was in zip(old, replaced, strict=True)
        ]
        return self._store.name(
            self._store.write(
                manifest,
                self._changed(parts, new, received),
                at_most=self._options.record_part_bytes,
            )
        )

    def _changed(
        self, old: Sequence[tuple[Part, SortedRun, bool]], new: pa.Table, received: pa.Array
    ) -> Iterator[pa.Table | Part]:
        """What is cached (each part with whether it holds anything of what came) with new rows in
        their places.
        """
        for place, (part, rows, is_touched) in enumerate(old, 1):
            # A record belongs into the first part that does not end before it, or behind them all.
            grows = place == len(old) and part.bytes < self._options.small_record_part_bytes
            here = pc.less_equal(new[self._record], HIGHEST if grows else rows.span[1])
            mine, new = new.filter(here), new.filter(pc.invert(here))
            if (
                not is_touched
                and not mine.num_rows
                and rows.schema.equals(new.schema, check_metadata=True)
            ):
                yield part
                continue
            covered, problems = unify(
                [new.schema.empty_table(), rows.between(LOWEST, HIGHEST)], self._table
            )
            self.problems.merge(problems)
            kept = covered.filter(pc.invert(pc.is_in(covered[self._record], value_set=received)))
            yield from self._cut(self._in_order(pa.concat_tables([kept, mine])))
        if new.num_rows or not old:
            yield from self._cut(new)

    def _cut(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Rows in pieces that make a part at most."""
        most = self._options.record_part_bytes
        size = max(1, most * rows.num_rows // max(most, rows.nbytes))
        yield from (rows.slice(start, size) for start in range(0, max(1, rows.num_rows), size))

    def _together(self, parts: Sequence[pa.Table]) -> pa.Table:
        return unify([storage_schema(self._table).empty_table(), *parts], self._table)[0]

    def _in_order(self, rows: pa.Table) -> pa.Table:
        """Rows by record; of one record by time or id, and of one time as they came (Arrow's sort
        is stable).
        """
        return rows.sort_by(
            [(self._record, "ascending"), *([(self._order, "ascending")] if self._order else [])]
        )


def _rows_of(rows: SortedRun, record: str, ids: pa.Array) -> pa.Table:
    """The rows of some records."""
    first, last = rows.span
    inside = ids.filter(pc.and_(pc.greater_equal(ids, first), pc.less_equal(ids, last)))
    if not len(inside):
        return rows.schema.empty_table()
    # To its end: what is read of it is not held then.
    result = rows.between(inside[0].as_py(), HIGHEST)
    return result.filter(pc.is_in(result[record], value_set=inside))


def _differences(old: pa.Table, new: pa.Table) -> Counts:
    """What differs between two states of the rows of some records."""
    if not old.num_rows:
        return Counts(new.num_rows)
    before, after = old.to_pylist(), new.to_pylist()
    if "id" in old.column_names:
        was, now = {row["id"]: row for row in before}, {row["id"]: row for row in after}
        changed = sum(_plain(was[key]) != _plain(now[key]) for key in was.keys() & now.keys())
        return Counts(len(now.keys() - was.keys()), changed, len(was.keys() - now.keys()))
    had, has = Counter(map(repr, map(_plain, before))), Counter(map(repr, map(_plain, after)))
    return Counts((has - had).total(), 0, (had - has).total())


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its nulls: a column that a part lacks and one that is null are alike."""
    return {key: value for key, value in row.items() if value is not None}
