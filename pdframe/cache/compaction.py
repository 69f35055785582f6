"""Combine small parts of a table before their number makes each read slow.

Each sync adds small parts to some tables: each snapshot of deals adds one to the snapshot log.
Opening a part costs about a millisecond, whatever is in it, so thousands of them cost seconds.

The rule is the one of log-structured stores. A part is small up to `small_part_rows` rows and
`small_part_bytes` bytes. Its level is the number of digits of its rows: 1 to 9 rows, 10 to 99, and
so on. `parts_per_level` neighbours of one level become one part of a higher level; smaller ones
that lie between them join it. So a row is written again at most once a level, which is four times,
and a table has at most some 40 small parts beside its large ones. Only neighbours are combined: the
order of the rows stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pdframe._files import Part
from pdframe.cache.options import CacheOptions

__all__ = ["compacted", "small_runs"]


def small_runs(parts: Sequence[Part], options: CacheOptions) -> list[range]:
    """Return the runs of neighbours to combine, as places in `parts`; they do not overlap."""
    levels = [_level(part, options) for part in parts]
    chosen: list[range] = []
    for level in sorted({level for level in levels if level is not None}, reverse=True):
        for run in _runs_up_to(level, levels):
            is_full = sum(levels[place] == level for place in run) >= options.parts_per_level
            if is_full and not any(run[0] in other for other in chosen):
                chosen.append(run)
    return sorted(chosen, key=lambda run: run[0])


def _level(part: Part, options: CacheOptions) -> int | None:
    if part.rows > options.small_part_rows or part.bytes > options.small_part_bytes:
        return None
    return len(str(part.rows))


def _runs_up_to(highest: int, levels: Sequence[int | None]) -> Iterator[range]:
    """Yield the longest runs of small parts of at most this level."""
    start = 0
    for place, level in enumerate([*levels, None]):
        if level is None or level > highest:
            if place > start:
                yield range(start, place)
            start = place + 1


def compacted(
    parts: Sequence[Part], read: Callable[[Part], pa.Table], options: CacheOptions
) -> Iterator[Part | pa.Table]:
    """Yield the parts that stay, and the rows of those that are combined, in order.

    Parameters
    ----------
    parts
        The parts of the table, in order.
    read
        Reads the rows of one.
    options
        Which parts are small, and how large one may become.
    """
    runs = enumerate(small_runs(parts, options))
    run_of = {place: number for number, run in runs for place in run}
    group = _Group(options.compacted_bytes)
    for place, part in enumerate(parts):
        if place not in run_of:
            yield from group.take()
            yield part
            continue
        rows = read(part)
        if not group.fits(rows, run_of[place]):
            yield from group.take()
        group.add(part, rows, run_of[place])
    yield from group.take()


class _Group:
    """Neighbours that become one part of at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._clear()

    def _clear(self) -> None:
        self._parts: list[Part] = []
        self._tables: list[pa.Table] = []
        self._fields: dict[str, pa.Field] = {}
        self._bytes = 0
        self._run = -1

    def fits(self, rows: pa.Table, run: int) -> bool:
        """Return whether rows can join: same run, room left, and no column of another type."""
        if not self._parts:
            return True
        if run != self._run or self._bytes + rows.nbytes > self._max_bytes:
            return False
        return self._has_schema(rows) or all(
            self._fields.get(field.name, field).equals(field, check_metadata=True)
            for field in rows.schema
        )

    def add(self, part: Part, rows: pa.Table, run: int) -> None:
        """Add the rows of a part."""
        if not self._has_schema(rows):
            self._fields |= {field.name: field for field in rows.schema}
        self._parts.append(part)
        self._tables.append(rows)
        self._bytes += rows.nbytes
        self._run = run

    def take(self) -> Iterator[Part | pa.Table]:
        """Yield the rows of the group as one table, or its only part; clear the group."""
        if len(self._parts) == 1:
            yield self._parts[0]
        elif self._parts:
            yield pa.concat_tables(self._tables, promote_options="default").combine_chunks()
        self._clear()

    def _has_schema(self, rows: pa.Table) -> bool:
        """Return whether the last rows have the same columns."""
        last = self._tables[-1:]
        return bool(last) and last[0].schema.equals(rows.schema, check_metadata=True)
