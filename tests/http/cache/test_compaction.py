"""Small parts are put together before they are many: no row and no order is lost, and little is
written again.
"""

from __future__ import annotations

import math
import os
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe import sandbox
from pdframe._files import Part, make_private
from pdframe.cache import parts
from pdframe.cache.options import DEFAULT_CACHE_OPTIONS, CacheOptions
from pdframe.cache.parts import InParquet
from pdframe.cache.snapshots import SnapshotLog
from pdframe.cache.store import Manifest, Store, small_runs
from pdframe.errors import CacheError, NewerCacheError
from pdframe.schema.snapshots import HISTORIES
from tests.helpers.cache_files import store_of, write_part
from tests.helpers.tiers import examples

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
SIZES = DEFAULT_CACHE_OPTIONS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    store = Store(tmp_path / "cache", "acme-user1")
    store.open()
    return store


def rows(first: int, count: int = 1) -> pa.Table:
    ids = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "text": pa.array([f"row {number}" for number in ids], pa.string()),
        }
    )


def in_parts(
    store: Store, table: str, complete: pa.Table, sizes: list[int], **beside: object
) -> Manifest:
    """Cache a table in parts of these sizes, as a version without compaction left it."""
    make_private(store.root / table)
    parts, start = [], 0
    for number, size in enumerate(sizes, 1):
        parts.append(
            write_part(
                store.root / table, f"part-{number:06d}.parquet", complete.slice(start, size)
            )
        )
        start += size
    assert start == complete.num_rows
    before = store.manifest(table) or Manifest(table, (), 0, NOW, NOW)
    return store.publish(
        replace(before, parts=tuple(parts), rows=start, next_part=len(parts) + 1, **beside)
    )


def part(rows: int, size: int | None = None) -> Part:
    return Part("part", rows, 2_000 + 10 * rows if size is None else size, 0)


def runs_of(sizes: list[Part]) -> list[range]:
    return small_runs(sizes, SIZES)


def test_ten_neighbours_of_one_size_belong_together_and_nine_do_not() -> None:
    assert runs_of([part(1)] * 9) == []
    assert runs_of([part(1)] * 10) == [range(10)]
    # A large part takes no part in it, and small ones on both sides of it are no neighbours.
    assert runs_of([part(9)] * 5 + [part(SIZES.small_part_rows + 1)] + [part(9)] * 5) == []
    assert runs_of([part(9)] * 5 + [part(9, SIZES.small_part_bytes + 1)] + [part(9)] * 5) == []
    # 9 parts of 10 rows and more are not written again for 9 of fewer; a tenth takes what lies
    # between along.
    assert runs_of([part(50)] * 9 + [part(1)] * 9) == []
    assert runs_of([part(50)] * 9 + [part(1)] * 9 + [part(10)]) == [range(19)]
    assert runs_of([part(700)] + [part(1)] * 10) == [range(1, 11)]


@settings(max_examples=examples(60), deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([1, 3, 12, 60, 150, 2_000, 9_000]), max_size=120))
def test_stretches_are_neighbours_in_order_and_never_overlap(sizes: list[int]) -> None:
    runs = small_runs([part(size) for size in sizes], SIZES)
    places = [place for run in runs for place in run]
    assert places == sorted(set(places))
    assert all(
        len(run) >= SIZES.parts_per_level
        and all(sizes[place] <= SIZES.small_part_rows for place in run)
        for run in runs
    )


def test_a_table_that_grows_row_by_row_has_few_parts_and_writes_each_row_a_few_times(
    store: Store,
) -> None:
    written = 0
    manifest = store.replace(Manifest("looks", (), 0, NOW, NOW), rows(0, 0))
    for number in range(350):
        before = {part.file for part in manifest.parts}
        manifest = store.append(manifest, rows(number), synced_at=NOW)
        written += sum(part.rows for part in manifest.parts if part.file not in before)
        assert len(manifest.parts) <= SIZES.parts_per_level * math.ceil(math.log10(number + 2)) + 1
    assert store.read("looks").equals(rows(0, 350))
    assert store.manifest("looks") == manifest
    # Each row once as it came, and once for each level below its own.
    assert written <= 350 * 3
    assert {path.name for path in (store.root / "looks").glob("part-*")} == {
        part.file for part in manifest.parts
    }


@pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")
def test_the_next_sync_compacts_thousands_of_parts_and_changes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, tables by record and both snapshot logs in one part a row; it needs no request."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    with sandbox.connect(
        seed=5,
        deals=60,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age="1D",
    ) as account:
        account.sync()
        account.deal_changes(account.deals()["id"].tolist()[:20])
        store = store_of(account)
        kept = [
            table.name
            for history in HISTORIES.values()
            for table in (history.rows, history.snapshots)
        ]
        names = ["deals", "deal_products", "deal_changes", *kept]
        complete = {name: store.read(name) for name in names}
        frames = {
            "deals": account.deals(refresh=False),
            "visits": account.stage_visits(refresh=False),
        }
        for name in names:
            in_parts(store, name, complete[name], [1] * complete[name].num_rows)
        assert sum(len(store.manifest(name).parts) for name in names) > 400
        before = account.server.stats.requests
        # As they are, they are read too.
        assert {name: store.read(name) for name in names} == complete
        assert [SnapshotLog(store, history).rows() for history in HISTORIES.values()] == [
            complete[name] for name in kept[::2]
        ]
        assert account.deals(refresh=False).equals(frames["deals"])
        assert account.stage_visits(refresh=False).equals(frames["visits"])
        assert account.server.stats.requests == before
        store.prepare()
        assert account.server.stats.requests == before
        for name in names:
            manifest = store.manifest(name)
            assert len(manifest.parts) <= 2 * SIZES.parts_per_level, name
            assert store.read(name).equals(complete[name]), name
            assert {path.name for path in (store.root / name).glob("part-*")} == {
                part.file for part in manifest.parts
            }
        for name in names:
            in_parts(store, name, complete[name], [1] * complete[name].num_rows)
        account.sync("deals")
        assert all(len(store.manifest(name).parts) <= 2 * SIZES.parts_per_level for name in names)
        for name in kept:
            assert store.read(name).slice(0, complete[name].num_rows).equals(complete[name]), name


def test_parts_of_other_columns_remain_apart_and_columns_that_arrived_later_are_null_before(
    store: Store,
) -> None:
    """An undeclared text must not become a declared one, nor a number a text."""
    later = rows(20, 10).append_column("more", pa.array([1.5] * 10))
    other = rows(30, 10).set_column(
        0, pa.field("id", pa.int64(), metadata={"pdframe": "unknown"}), [pa.array(range(30, 40))]
    )
    text = rows(40, 10).set_column(0, "id", [pa.array([str(number) for number in range(40, 50)])])
    make_private(store.root / "deals")
    tables = [
        table.slice(start, 1)
        for table in (rows(0, 20), later, other, text)
        for start in range(table.num_rows)
    ]
    parts = [
        write_part(store.root / "deals", f"part-{number:06d}.parquet", table)
        for number, table in enumerate(tables, 1)
    ]
    manifest = store.publish(Manifest("deals", tuple(parts), 50, NOW, NOW, next_part=51))
    done = store.compact(manifest)
    assert [part.rows for part in done.parts] == [30, 10, 10]
    schemas = [InParquet(store.root / "deals" / part.file).schema for part in done.parts]
    assert schemas[0].names == ["id", "text", "more"]
    assert [schema.field("id").type for schema in schemas] == [pa.int64(), pa.int64(), pa.string()]
    assert [schema.field("id").metadata is None for schema in schemas] == [True, False, True]
    first = next(store.read_parts(done, ["more"]))
    assert first["more"].to_pylist() == [None] * 20 + [1.5] * 10
    with pytest.raises(NewerCacheError, match=r"cannot read it.*incompatible types"):
        store.read("deals")
    # Where nothing can be put together, nothing is written.
    assert store.compact(done) is done


def test_what_would_not_become_fewer_parts_is_not_written_again(store: Store) -> None:
    store.options = CacheOptions(compacted_bytes=1)
    manifest = in_parts(store, "deals", rows(0, 30), [1] * 30)
    assert store.compact(manifest) is manifest
    assert store.manifest("deals") == manifest
    assert store.read("deals").equals(rows(0, 30))


def test_a_damaged_part_is_left_to_whoever_reads_its_table(store: Store) -> None:
    manifest = in_parts(store, "deals", rows(0, 30), [1] * 30)
    in_parts(store, "stages", rows(0, 30), [1] * 30)
    (store.root / "deals" / manifest.parts[7].file).write_bytes(b"PAR1")
    store.prepare()
    assert store.manifest("deals") == manifest
    assert len(store.manifest("stages").parts) == 1


def test_an_unreadable_part_stops_no_sync_of_other_tables(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = in_parts(store, "deals", rows(0, 30), [1] * 30)
    in_parts(store, "stages", rows(0, 30), [1] * 30)
    forbidden, read_bytes = store.root / "deals" / manifest.parts[7].file, Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == forbidden:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        store.prepare()
        with pytest.raises(CacheError, match=r"cannot be read: Permission denied"):
            store.read("deals")
    assert store.manifest("deals") == manifest
    assert len(store.manifest("stages").parts) == 1


def test_a_reader_with_the_old_manifest_reads_the_new_parts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = in_parts(store, "deals", rows(0, 30), [1] * 30)
    left = [12]

    def compacted_meanwhile(*arguments: Any) -> object:
        left[0] -= 1
        if left[0] == 0:
            Store(store.cache_dir, store.root.name).compact(manifest)
        return parts.open_part(*arguments)

    monkeypatch.setattr("pdframe.cache.store.open_part", compacted_meanwhile)
    assert store.read("deals").equals(rows(0, 30))
    assert left[0] < 0
    assert len(store.manifest("deals").parts) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a list of open files")
def test_a_table_of_more_parts_than_a_process_can_open_files_is_read_by_ranges(
    store: Store,
) -> None:
    manifest = in_parts(store, "deals", rows(0, 60), [1] * 60)
    before = len(os.listdir("/proc/self/fd"))
    ranges = store.sorted_parts(manifest, "id")
    assert len(os.listdir("/proc/self/fd")) == before
    assert [result.between(0, 100)["id"].to_pylist() for _, result in ranges] == [
        [number] for number in range(60)
    ]


def test_a_full_disk_leaves_the_old_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = in_parts(store, "deals", rows(0, 30), [1] * 30)
    there = sorted(path.name for path in (store.root / "deals").iterdir())

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(
            CacheError, match=r"No space left on device.*What was cached before is kept"
        ):
            store.prepare()
    assert store.manifest("deals") == manifest
    assert sorted(path.name for path in (store.root / "deals").iterdir()) == there


def test_random_appends_and_replacements_keep_rows_and_order(store: Store) -> None:
    draw, expected = random.Random(7), rows(0, 0)
    manifest = store.replace(Manifest("looks", (), 0, NOW, NOW), expected)
    for _ in range(60):
        more = rows(expected.num_rows, draw.choice([1, 1, 1, 2, 15, 120]))
        expected = pa.concat_tables([expected, more])
        manifest = store.append(manifest, more, synced_at=NOW)
    assert store.read("looks").equals(expected)
    shutil.rmtree(store.root)
