"""Merge staged rows into the cached parts of a table: the fourth verb of a sync.

A table is stored in the order of one key: the id of its rows, or the id of their parent where the
API gives rows parent by parent. `Merger.merge` goes through the keys range by range. Of each range
it reads the cached rows and the staged rows, takes out the cached rows whose key was staged or
deleted, puts the staged rows in their place, and counts what that changed. Memory holds one range
at a time, however large the table is. Cached parts that no staged or deleted key concerns are
passed on as they are.

Guarantees: of a key that was staged twice, the later rows count (a table with one row a key); rows
that are deleted and staged are deleted; every row that is added, changed or removed counts once.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._files import Part
from pdframe.cache.parts import HIGHEST, LOWEST, InMemory, SortedRun, newest_rows, split_key_ranges
from pdframe.fields import Field
from pdframe.frames import Problems, is_sorted, storage_schema, unify
from pdframe.schema import Parent, Table
from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions

# By that many rows a merge estimates what a row takes in memory.
SAMPLE_ROWS = 1_000

CachedParts = Sequence[tuple[Part, SortedRun]]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows were added, changed and removed."""

    added: int = 0
    changed: int = 0
    removed: int = 0


NO_CHANGE = Counts()


class Merged(NamedTuple):
    """Rows after a merge, in key order, and what it changed."""

    rows: pa.Table
    counts: Counts


@dataclass(slots=True)
class _Stretch:
    """Keys from `low` to `high`, and the cached parts that hold them: one, or neighbours that share
    a key.
    """

    low: int
    high: int
    parts: list[tuple[Part, SortedRun]]


class Merger:
    """Merge staged rows into one table.

    Parameters
    ----------
    table, fields
        The table, and its field metadata.
    options
        How many bytes of rows a range and a part may hold.

    Attributes
    ----------
    key : str
        The column that rows are stored by: the id of their parent, or else their own.
    part_bytes : int | None
        How many bytes of rows a part may hold; None: the store decides.
    counts : Counts
        How many rows were added, changed and removed, once the merge is read to its end.
    problems : Problems
        Cells of cached and staged rows that do not fit the columns of today.
    """

    def __init__(
        self,
        table: Table,
        fields: Sequence[Field] = (),
        options: SyncOptions = DEFAULT_OPTIONS,
    ) -> None:
        parent = table.parent
        self.key = parent.id if parent else table.key[0]
        self.part_bytes = options.record_part_bytes if parent else None
        self.counts = Counts()
        self.problems = Problems()
        self._table, self._fields = table, fields
        # Of children, several rows have one key: the column that orders them, if any.
        self._order = _order_of(table, parent) if parent else None
        # Children without an id are compared as they are.
        self._identity = ("id" if "id" in table.by_name else None) if parent else self.key
        self._range_bytes = options.record_part_bytes if parent else options.merge_part_bytes
        self._small_bytes = options.small_record_part_bytes

    def staged(self, rows: Sequence[pa.Table]) -> SortedRun:
        """Return staged rows that are in memory as one run."""
        together = arrange(self._table, rows) if rows else self._unify([])
        return SortedRun(InMemory(together, max(1, self._rows_of_range(together) // 4)), self.key)

    def merge(
        self,
        cached: CachedParts,
        staged: Sequence[SortedRun],
        deleted: Collection[Any] = (),
        *,
        complete: bool = False,
    ) -> Iterator[pa.Table | Part]:
        """Yield the table after the merge: rows to write, or a cached part as it is.

        Parameters
        ----------
        cached
            The cached parts, in key order.
        staged
            Staged rows, the earlier runs first.
        deleted
            Keys that go, besides those that staged rows flag as deleted.
        complete
            Whether the staged rows are the complete table: all other cached rows go too.
        """
        runs = [run for _, run in cached]
        columns = self._unify(
            [run.schema.empty_table() for run in (staged if complete else [*staged, *runs])]
        )
        removed = pa.array(sorted(set(deleted)), columns.schema.field(self.key).type)
        if not pa.types.is_integer(removed.type):
            # A field list has codes for keys: it is small, and one range.
            before, new = (
                [run.rows.read(run.schema.names) for run in some] for some in (runs, staged)
            )
            yield self._merge_range(before, [columns, *new], removed, complete).rows
            return
        every = [*staged, *runs]
        some = (run.between(group.low, group.high) for run in every for group in run.groups)
        rows = next((rows for rows in some if rows.num_rows), columns)
        ranges = list(split_key_ranges(every, self._rows_of_range(rows)))
        touched = np.unique(
            np.concatenate(
                [
                    removed.to_numpy(),
                    *(run.rows.read([self.key])[self.key].to_numpy() for run in staged),
                ]
            )
        )
        for stretch in self._stretches(cached):
            is_current = all(
                run.schema.equals(columns.schema, check_metadata=True) for _, run in stretch.parts
            )
            place = int(np.searchsorted(touched, stretch.low, "left"))
            is_touched = place < len(touched) and int(touched[place]) <= stretch.high
            if cached and not complete and is_current and not is_touched:
                yield from (part for part, _ in stretch.parts)
                continue
            inside = [
                (max(low, stretch.low), min(high, stretch.high))
                for low, high in ranges
                if low <= stretch.high and high >= stretch.low
            ]
            for low, high in inside:
                # In order before they get all columns: most of these are null.
                staged_rows = [run.between(low, high) for run in staged]
                merged = self._merge_range(
                    [
                        *([] if complete else [columns]),
                        *(run.between(low, high) for _, run in stretch.parts),
                    ],
                    [columns, *([arrange(self._table, staged_rows)] if staged else [])],
                    removed.filter(
                        pc.and_(pc.greater_equal(removed, low), pc.less_equal(removed, high))
                    ),
                    complete,
                )
                if (
                    stretch.parts
                    and is_current
                    and len(inside) == 1
                    and not complete
                    and merged.counts == NO_CHANGE
                ):
                    yield from (part for part, _ in stretch.parts)
                else:
                    # Writing many small chunks costs more than this copy.
                    yield merged.rows.combine_chunks()
                del merged

    def _merge_range(
        self, before: Sequence[pa.Table], new: Sequence[pa.Table], removed: pa.Array, complete: bool
    ) -> Merged:
        rows = self._unify(new)
        if self._table.incremental and "is_deleted" in rows.column_names:
            if self._order is None:
                rows = newest_rows(rows, self.key)
            flagged = rows.filter(pc.fill_null(rows["is_deleted"], False))[self.key]
            removed = pa.concat_arrays([removed, *flagged.chunks])
        merged = merge_rows(
            # Problems of rows that go are not worth a word.
            self._unify(before, Problems() if complete else self.problems),
            rows,
            removed,
            self.key,
            order=self._order,
            identity=self._identity,
            complete=complete,
        )
        now, more = self.counts, merged.counts
        self.counts = Counts(
            now.added + more.added, now.changed + more.changed, now.removed + more.removed
        )
        return merged

    def _stretches(self, cached: CachedParts) -> list[_Stretch]:
        """Split all keys into stretches, one for each cached part without shared keys."""
        stretches: list[_Stretch] = []
        highest = LOWEST
        for part, run in sorted(cached, key=lambda one: one[1].span):
            low, high = run.span
            if stretches and low > highest:
                stretches[-1].high = low - 1
                stretches.append(_Stretch(low, HIGHEST, []))
            elif not stretches:
                stretches.append(_Stretch(LOWEST, HIGHEST, []))
            stretches[-1].parts.append((part, run))
            highest = max(highest, high)
        if not stretches:
            return [_Stretch(LOWEST, HIGHEST, [])]
        is_full = stretches[-1].parts[-1][0].bytes >= self._small_bytes
        if self._order is not None and is_full and highest < HIGHEST:
            # New parents get a new part.
            stretches[-1].high = highest
            stretches.append(_Stretch(highest + 1, HIGHEST, []))
        return stretches

    def _rows_of_range(self, rows: pa.Table) -> int:
        """Return how many rows a range may have, by some that may lack columns."""
        sample = self._unify([rows.slice(0, SAMPLE_ROWS)], Problems())
        count: int = self._range_bytes * sample.num_rows // max(1, sample.nbytes)
        return max(1, count)

    def _unify(self, parts: Sequence[pa.Table], problems: Problems | None = None) -> pa.Table:
        """Return rows in the columns of today, and count what does not fit these."""
        nothing = storage_schema(self._table, self._fields).empty_table()
        rows, new_problems = unify([nothing, *parts], self._table, self._fields)
        (self.problems if problems is None else problems).merge(new_problems)
        return rows


def merge_rows(
    before: pa.Table,
    new: pa.Table,
    removed: pa.Array,
    key: str,
    *,
    order: str | None = None,
    identity: str | None = "id",
    complete: bool = False,
) -> Merged:
    """Put `new` in the place of the rows of the same keys, and take the keys in `removed` out.

    Parameters
    ----------
    before, new
        The rows before, and the new ones; unless `order` is given, only the last row of a key
        counts.
    removed
        Keys that go.
    key
        The column of keys.
    order
        Where several rows have one key: the column that orders them, or "".
    identity
        The column that identifies a row, to count changed rows; None: rows are compared as they
        are.
    complete
        Whether all other rows go too.
    """
    if order is None:
        new = newest_rows(new, key)
    if len(removed):
        new = new.filter(pc.invert(pc.is_in(new[key], value_set=removed)))
    if not before.num_rows:
        # As in a first load: nothing to compare, and no copy.
        return Merged(_sort(new, key, order), Counts(added=new.num_rows))
    if complete:
        rows, replaced = new, before
    else:
        keys = new[key].combine_chunks()
        is_replaced = pc.or_(
            pc.is_in(before[key], value_set=removed), pc.is_in(before[key], value_set=keys)
        )
        replaced = before.filter(is_replaced)
        rows = pa.concat_tables(
            [before.filter(pc.invert(is_replaced)), new], promote_options="default"
        )
    if identity is None:
        counts = _count_unlike(replaced, new)
    else:
        counts = _count_differences(replaced, new, identity)
    return Merged(_sort(rows, key, order), counts)


def arrange(table: Table, parts: Sequence[pa.Table]) -> pa.Table:
    """Return rows together, in the order in which their table is stored; where it has one row a
    key, the last of each.
    """
    rows = pa.concat_tables(parts, promote_options="default")
    if table.parent is None:
        return newest_rows(rows, table.key[0])
    return _sort(rows, table.parent.id, _order_of(table, table.parent))


def drop_deleted(table: Table, rows: pa.Table, removed: Collection[int]) -> pa.Table:
    """Return the rows that are neither removed nor flagged as deleted; a table whose deleted rows
    the API goes on listing (stages, users) keeps those that are flagged.
    """
    key = table.key[0]
    is_there = pc.invert(
        pc.is_in(rows[key], value_set=pa.array(removed, rows.schema.field(key).type))
    )
    if table.incremental and "is_deleted" in rows.column_names:
        is_there = pc.and_(is_there, pc.invert(pc.fill_null(rows["is_deleted"], False)))
    return rows.filter(is_there)


def _order_of(table: Table, parent: Parent) -> str:
    """Return the column that orders the children of one parent; empty: none does."""
    return parent.order or ("id" if table.key == ("id",) else "")


def _sort(rows: pa.Table, key: str, order: str | None) -> pa.Table:
    """Sort rows by key, and of one key by `order`; equal ones stay in their order. Where the key is
    a code (field lists), the order of the API says something and stays.
    """
    if not pa.types.is_integer(rows.schema.field(key).type):
        return rows
    if order:
        return rows.sort_by([(key, "ascending"), (order, "ascending")])
    return rows if is_sorted(rows[key]) else rows.sort_by(key)


def _count_differences(before: pa.Table, after: pa.Table, key: str) -> Counts:
    """Count rows of `after` that are not in `before`, that have other values there, and rows of
    `before` that are not in `after`.
    """
    at = pc.index_in(after[key], value_set=before[key].combine_chunks())
    removed = pc.sum(
        pc.invert(pc.is_in(before[key], value_set=after[key].combine_chunks()))
    ).as_py()
    is_known = pc.is_valid(at)
    old, new = before.take(at.filter(is_known)), after.filter(is_known)
    differs = pa.repeat(False, new.num_rows)
    for name in dict.fromkeys([*old.column_names, *new.column_names]):
        kind = (old if name in old.column_names else new).schema.field(name).type
        left, right = (
            rows[name].combine_chunks()
            if name in rows.column_names
            else pa.nulls(rows.num_rows, kind)
            for rows in (old, new)
        )
        if left.type != right.type or pa.types.is_nested(kind):
            # Arrow compares neither lists nor values of two types.
            unequal = pa.array(map(operator.ne, left.to_pylist(), right.to_pylist()), pa.bool_())
        else:
            unequal = pc.or_(
                pc.fill_null(pc.not_equal(left, right), False),
                pc.xor(left.is_null(), right.is_null()),
            )
        differs = pc.or_(differs, unequal)
    return Counts(after.num_rows - new.num_rows, pc.sum(differs).as_py() or 0, removed or 0)


def _count_unlike(before: pa.Table, after: pa.Table) -> Counts:
    """Count rows that have no equal on the other side; a null and a missing column are alike."""
    old, new = (
        Counter(
            repr({name: value for name, value in row.items() if value is not None})
            for row in rows.to_pylist()
        )
        for rows in (before, after)
    )
    return Counts((new - old).total(), 0, (old - new).total())
