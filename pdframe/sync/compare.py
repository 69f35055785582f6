"""Putting new rows in the place of old ones, and counting what that changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.frames import is_sorted


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows were added, changed and removed; false where none."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def __add__(self, more: Counts) -> Counts:
        return Counts(
            self.added + more.added, self.changed + more.changed, self.removed + more.removed
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Merge(NamedTuple):
    """A table after new rows came in: its rows in key order, and what that changed."""

    table: pa.Table
    counts: Counts


def keep(table: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """The rows where `mask` is true. Where it is true of all, nothing is copied: a table may be as
    large as the memory.
    """
    return table if pc.all(mask).as_py() else table.filter(mask)


def newest_rows(table: pa.Table, key: str) -> pa.Table:
    """One row a key, the last one: where a row was seen twice in a walk, the later look counts."""
    repeated = pd.Index(table[key].to_pandas()).duplicated(keep="last")
    return table.filter(pa.array(~repeated)) if repeated.any() else table


def latest(table: pa.Table, key: str) -> pa.Table:
    """One row a key, the last one, in the order of keys, which are whole numbers: with one copy,
    for there may be many.
    """
    ids = table[key].to_numpy()
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    return table.take(order[np.append(ids[1:] != ids[:-1], True)]) if len(order) else table


def replace_all(old: pa.Table | None, new: pa.Table, key: str) -> Merge:
    """What a full reload leaves: the new rows and nothing else."""
    new = _in_order(newest_rows(new, key), key)
    if old is None:
        return Merge(new, Counts(added=new.num_rows))
    deleted = pc.sum(pc.invert(pc.is_in(old[key], value_set=_keys(new, key)))).as_py() or 0
    added, changed = _differences(old, new, key)
    return Merge(new, Counts(added, changed, deleted))


def upsert(old: pa.Table, new: pa.Table, removed: pa.Array, key: str) -> Merge:
    """Put `new` in the place of the old rows of the same keys and take the keys in `removed`
    away.
    """
    new = newest_rows(new, key)
    new = keep(new, pc.invert(pc.is_in(new[key], value_set=removed)))
    deleted = pc.is_in(old[key], value_set=removed)
    kept = old.filter(pc.invert(pc.or_(deleted, pc.is_in(old[key], value_set=_keys(new, key)))))
    added, changed = _differences(old, new, key)
    merged = pa.concat_tables([kept, new], promote_options="default")
    return Merge(_in_order(merged, key), Counts(added, changed, pc.sum(deleted).as_py() or 0))


def _in_order(table: pa.Table, key: str) -> pa.Table:
    """Rows by id; where the key is a code (field lists), the API's own order says something and is
    kept.
    """
    if not pa.types.is_integer(table.schema.field(key).type) or is_sorted(table[key]):
        return table
    return table.sort_by(key)


def _keys(table: pa.Table, key: str) -> pa.Array:
    return table[key].combine_chunks()


def _differences(old: pa.Table, new: pa.Table, key: str) -> tuple[int, int]:
    """How many rows of `new` are not in `old`, and how many are there with other values."""
    at = pc.index_in(new[key], value_set=_keys(old, key))
    known = pc.is_valid(at)
    before, after = old.take(at.filter(known)), new.filter(known)
    differ = pa.repeat(False, after.num_rows)
    left, right = (
        dict(zip(rows.column_names, rows.itercolumns(), strict=True)) for rows in (before, after)
    )
    for name in left | right:
        differ = pc.or_(differ, _column_differs(left.get(name), right.get(name)))
    return new.num_rows - after.num_rows, pc.sum(differ).as_py() or 0


def _column_differs(before: pa.ChunkedArray | None, after: pa.ChunkedArray | None) -> pa.Array:
    if before is None or after is None:
        there = after if before is None else before
        assert there is not None
        return there.combine_chunks().is_valid()
    left, right = before.combine_chunks(), after.combine_chunks()
    if left.type != right.type or pa.types.is_nested(left.type):
        # Arrow compares neither lists nor values of two types.
        return pa.array(map(_unequal, left.to_pylist(), right.to_pylist()), pa.bool_())
    return pc.or_(
        pc.fill_null(pc.not_equal(left, right), False), pc.xor(left.is_null(), right.is_null())
    )


def _unequal(left: Any, right: Any) -> bool:
    return bool(left != right)
