"""Puts small parts of a table together before their number makes each look at the table slow.

Every sync adds small parts to some tables: each look at the deals adds one to the kept history.
Opening a part costs about a millisecond, whatever is in it, so thousands of them cost seconds.

The rule is the one of log-structured stores. A part is small up to `small_part_rows` rows and
`small_part_bytes` bytes. Its level is the number of digits of its rows: 1 to 9 rows, 10 to 99, and so
on. `parts_per_level` neighbours of one level become one part of a higher level; smaller ones that
lie between them join it. So a row is written again at most once a level, which is four times, and a
table has at most some 40 small parts beside its large ones. Only neighbours are put together: the
order of the rows stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pdframe._files import Part
from pdframe.cache.options import CacheOptions


def small_runs(parts: Sequence[Part], options: CacheOptions) -> list[range]:
    """The stretches of neighbours that belong together, as places in `parts`; they do not
    overlap.
    """
    levels = [
        len(str(part.rows))
        if part.rows <= options.small_part_rows and part.bytes <= options.small_part_bytes
        else None
        for part in parts
    ]
    taken: list[range] = []
    for level in sorted({level for level in levels if level is not None}, reverse=True):
        for run in _stretches(levels, level):
            if sum(levels[place] == level for place in run) >= options.parts_per_level and not any(
                run[0] in other for other in taken
            ):
                taken.append(run)
    return sorted(taken, key=lambda run: run[0])


def _stretches(levels: Sequence[int | None], highest: int) -> Iterator[range]:
    """The longest stretches of small parts of at most this level."""
    start = 0
    for place, level in enumerate([*levels, None]):
        if level is None or level > highest:
            if place > start:
                yield range(start, place)
            start = place + 1


def compacted(
    parts: Sequence[Part], read: Callable[[Part], pa.Table], options: CacheOptions
) -> Iterator[Part | pa.Table]:
    """The rows of a table in as few parts as the rule wants: a part that stays, or the rows of
    several that become one.

    Parameters
    ----------
    parts
        The parts of the table, in order.
    read
        Reads the rows of one.
    options
        Which parts are small, and how large one may become.
    """
    inside = {
        place: number for number, run in enumerate(small_runs(parts, options)) for place in run
    }
    group = _Group(options.compacted_bytes)
    for place, part in enumerate(parts):
        if place not in inside:
            yield from group.take()
            yield part
            continue
        rows = read(part)
        if not group.fits(rows, inside[place]):
            yield from group.take()
        group.add(part, rows, inside[place])
    yield from group.take()


class _Group:
    """Neighbours that are read and become one part."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._begin()

    def _begin(self) -> None:
        self._parts: list[Part] = []
        self._tables: list[pa.Table] = []
        self._fields: dict[str, pa.Field] = {}
        self._bytes = 0
        self._run = -1

    def fits(self, rows: pa.Table, run: int) -> bool:
        """Whether more rows can join: they are of the same stretch and not too many, and no column
        has another type.
        """
        if not self._parts:
            return True
        if run != self._run or self._bytes + rows.nbytes > self._most_bytes:
            return False
        if self._tables[-1].schema.equals(rows.schema, check_metadata=True):
            return True
        return all(
            self._fields.get(field.name, field).equals(field, check_metadata=True)
            for field in rows.schema
        )

    def add(self, part: Part, rows: pa.Table, run: int) -> None:
        """Add the rows of a part."""
        self._parts.append(part)
        if not self._tables or not self._tables[-1].schema.equals(rows.schema, check_metadata=True):
            self._fields |= {field.name: field for field in rows.schema}
        self._tables.append(rows)
        self._bytes += rows.nbytes
        self._run = run

    def take(self) -> Iterator[Part | pa.Table]:
        """What was added, as one table; a part that is alone stays as it is."""
        if len(self._parts) == 1:
            yield self._parts[0]
        elif self._parts:
            full = pa.concat_tables(self._tables, promote_options="default")
            yield full.combine_chunks()
        self._begin()
