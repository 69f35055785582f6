"""Stars of synthetic accounts, and what holds of every star."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn
from unittest import mock

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.bi import star_forecast
from pdframe.bi._names import RESERVED
from pdframe.bi._tables import BiTable, Relationship
from pdframe.bi.star import star
from pdframe.errors import InsufficientDataError
from tests.helpers import tiers

PLAIN = frozenset(
    {
        pa.string(),
        pa.int64(),
        pa.float64(),
        pa.bool_(),
        pa.date32(),
        pa.timestamp("us", "UTC"),
        pa.decimal128(18, 6),
    }
)
"""The types of columns that every BI tool opens."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
SEEDS = range(20)


@dataclasses.dataclass(frozen=True)
class Star:
    """A star with all its tables."""

    tables: Mapping[str, BiTable]
    relationships: Sequence[Relationship]
    notes: Sequence[str]

    def frame(self, name: str) -> pd.DataFrame:
        """A table as pandas reads it."""
        return self.tables[name].table.to_pandas(types_mapper=_nullable, date_as_object=False)

    def arrow(self, name: str) -> pa.Table:
        """A table."""
        return self.tables[name].table

    def database(self) -> duckdb.DuckDBPyConnection:
        """All tables in DuckDB."""
        database = duckdb.connect()
        for name, table in self.tables.items():
            database.register(name, table.table)
        return database


def star_of(account: Any, **how: Any) -> Star:
    """Make the star of an account."""
    made = star(account, **how)
    tables: dict[str, BiTable] = {}
    for table in made.tables:
        assert table.name not in tables
        tables[table.name] = table
    return Star(tables, made.relationships, made.notes)


@contextlib.contextmanager
def without_forecast() -> Iterator[None]:
    """Let a star have no rows in `fact_forecast`, as that of a young account: to learn a forecast
    takes longer than all its other tables.
    """

    def refused(*arguments: Any, **options: Any) -> NoReturn:
        raise InsufficientDataError("These tests look at no forecast.")

    with mock.patch.object(star_forecast, "forecast", refused):
        yield


@contextlib.contextmanager
def with_spread(common_sd: float | None) -> Iterator[None]:
    """Let a star forecast with a `common_sd`: to learn it takes longer than the rest of a forecast;
    None learns it, as every star of an account does.
    """
    given = functools.partial(star_forecast.forecast, common_sd=common_sd)
    with mock.patch.object(star_forecast, "forecast", given):
        yield


def check_plain(made: Star) -> None:
    """Every column has a plain type, a unique name that SQL takes unquoted, and a note."""
    for name, table in made.tables.items():
        assert NAME.fullmatch(name)
        assert name not in RESERVED
        names = table.table.column_names
        assert len(set(names)) == len(names)
        assert [note.column_name for note in table.columns] == names
        for column, note in zip(table.table.schema, table.columns, strict=True):
            place = f"{name}.{column.name}"
            assert column.type in PLAIN, place
            assert NAME.fullmatch(column.name), place
            assert column.name not in RESERVED, place
            assert note.meaning, place
            # What null says is told of every column that has nulls.
            extra = 2 if name.startswith("dim_") and name != "dim_date" else 0
            assert table.table[column.name].null_count <= extra or note.null_means, place


def check_relationships(made: Star) -> None:
    """No orphan: each key that is not null has one row in its table."""
    noted = {
        (table.name, note.column_name): note.references
        for table in made.tables.values()
        for note in table.columns
        if note.references
    }
    assert noted == {
        (one.from_table, one.from_column): f"{one.to_table}.{one.to_column}"
        for one in made.relationships
    }
    assert len(noted) == len(made.relationships)
    for one in made.relationships:
        keys = made.arrow(one.to_table)[one.to_column]
        assert keys.null_count == 0
        assert len(keys.unique()) == len(keys), one
        own = made.arrow(one.from_table)[one.from_column]
        if one.to_table != "dim_date":
            assert own.null_count == 0, one
        known = pc.is_in(pc.drop_null(own), value_set=keys.combine_chunks())
        assert pc.all(known, min_count=0).as_py(), one
    # A tool refuses two active targets from one table to another.
    targets: dict[str, list[str]] = {}
    for one in made.relationships:
        if one.active:
            targets.setdefault(one.from_table, []).append(one.to_table)
    for table in targets:
        reached, next_ones = [], list(targets[table])
        while next_ones:
            reached.append(next_ones.pop())
            next_ones += targets.get(reached[-1], [])
        assert len(set(reached)) == len(reached), table


def seeds(count: int = 2) -> Sequence[int]:
    """Return the seeds of companies: all in tier `check`."""
    return tiers.places(SEEDS, count)


def _nullable(kind: pa.DataType) -> Any:
    return {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}.get(kind)


__all__ = [
    "PLAIN",
    "SEEDS",
    "Star",
    "check_plain",
    "check_relationships",
    "seeds",
    "star_of",
    "with_spread",
    "without_forecast",
]
