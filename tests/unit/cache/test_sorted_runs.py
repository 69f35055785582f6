"""Rows in the order of their ids are the same ones, wherever they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from pdframe._files import PartWriter, write_batches
from pdframe.cache.parts import (
    HIGHEST,
    LOWEST,
    Group,
    InArrow,
    InMemory,
    InParquet,
    SortedRun,
    split_key_ranges,
)

IDS = [*range(-2, 90, 2), *range(200, 230)]


def rows(ids: list[int]) -> pa.Table:
    lists = pa.array([[one, None] if one % 3 else None for one in ids], pa.list_(pa.int64()))
    return pa.table(
        {
            "text": pa.array([f"row {one}" for one in ids], pa.string()),
            "id": pa.array(ids, pa.int64()),
            "both": lists,
        }
    )


@pytest.fixture(params=["memory", "parquet", "arrow"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> SortedRun:
    """The rows of `IDS`; where they are in a file, in groups of ten at most, and Parquet has a
    group without rows.
    """
    if request.param == "memory":
        return SortedRun(InMemory(rows(IDS)), "id")
    if request.param == "arrow":
        write_batches(
            tmp_path / "run.arrow", pa.concat_tables([rows(IDS[:17]), rows(IDS[17:])]), 10
        )
        return SortedRun(InArrow(tmp_path / "run.arrow"), "id")
    with PartWriter(tmp_path, "part.parquet", rows([]).schema) as writer:
        for start in range(0, len(IDS), 10):
            writer.add(rows(IDS[start : start + 10]))
            writer.add(rows([]))
    return SortedRun(InParquet(tmp_path / "part.parquet"), "id")


def test_groups_show_their_ids(stored: SortedRun) -> None:
    groups = [group for group in stored.groups if group.rows]
    parts = (
        [IDS] if len(groups) == 1 else [IDS[start : start + 10] for start in range(0, len(IDS), 10)]
    )
    assert groups == [Group(part[0], part[-1], len(part)) for part in parts]
    assert stored.span == (-2, 229)


def test_any_range_is_detected_in_any_order(stored: SortedRun) -> None:
    bounds = [LOWEST, -3, -2, -1, 17, 18, 19, 88, 89, 150, 199, 200, 228, 229, HIGHEST]
    for low in bounds:
        for high in bounds:
            assert stored.between(low, high).equals(
                rows([one for one in IDS if low <= one <= high])
            ), (low, high)


def test_some_columns_of_all_rows_are_read_and_those_that_are_missing_left_out(
    stored: SortedRun,
) -> None:
    assert stored.rows.read(["both", "nothing", "id"]).equals(rows(IDS).select(["both", "id"]))
    assert stored.rows.read([]).num_columns == 0


def test_rows_with_other_values_are_left_out(stored: SortedRun) -> None:
    some = stored.only("text", pa.array(["row 4", "row 228", "row 5"]))
    assert some.between(LOWEST, HIGHEST).equals(rows([4, 228]))
    assert some.between(5, HIGHEST).equals(rows([228]))
    assert some.rows.read(["id"]).equals(rows([4, 228]).select(["id"]))
    assert stored.between(LOWEST, HIGHEST).equals(rows(IDS))


def test_no_rows_have_no_span(tmp_path: Path) -> None:
    write_batches(tmp_path / "run.arrow", rows([]), 10)
    for store in (
        SortedRun(InMemory(rows([])), "id"),
        SortedRun(InArrow(tmp_path / "run.arrow"), "id"),
    ):
        assert store.span == (HIGHEST, LOWEST)
        assert store.between(LOWEST, HIGHEST).equals(rows([]))
        assert list(split_key_ranges([store], 10)) == [(LOWEST, HIGHEST)]


def test_cuts_hold_every_id_once() -> None:
    stores = [SortedRun(InMemory(rows(list(range(start, 400, 7)))), "id") for start in (0, 3)]
    ranges = list(split_key_ranges(stores, 10))
    assert ranges[0][0] == LOWEST
    assert ranges[-1][1] == HIGHEST
    assert all(after[0] == before[1] + 1 for before, after in pairwise(ranges))
    ids = [
        one
        for low, high in ranges
        for store in stores
        for one in store.between(low, high)["id"].to_pylist()
    ]
    assert sorted(ids) == sorted([*range(0, 400, 7), *range(3, 400, 7)])
