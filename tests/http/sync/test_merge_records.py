"""Rows that hang on records are changed part by part, and are what a plain list of them would
be.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pdframe import sandbox
from pdframe.cache.store import Manifest, Store
from pdframe.frames import to_arrow
from pdframe.schema import TABLES, Table
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions, fetch_state
from pdframe.sync.merge import Counts, Merger
from tests.helpers.cache_files import store_of

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
CHANGES, VARIATIONS = TABLES["deal_changes"], TABLES["product_variations"]
Row = dict[str, Any]


@pytest.fixture(
    params=[(2_000, 1_000), (600, 0), (10**6, 10**6)], ids=["parts", "many parts", "one part"]
)
def sizes(request: pytest.FixtureRequest) -> SyncOptions:
    return of_sizes(*request.param)


def of_sizes(part: int, small: int) -> SyncOptions:
    return SyncOptions(record_part_bytes=part, small_record_part_bytes=small)


class World:
    """What is cached, and beside it the same in a dict."""

    def __init__(self, folder: Path, table: Table, options: SyncOptions = DEFAULT_OPTIONS) -> None:
        self.store, self.table, self.options = Store(folder, "account"), table, options
        self.store.open()
        self.manifest: Manifest | None = None
        self.rows: dict[int, list[Row]] = {}
        self.parent = table.parent.id if table.parent else ""

    def put(self, received: dict[int, list[Row]]) -> Counts:
        merger, before = Merger(self.table, options=self.options), self.manifest
        rows = [{**row, self.parent: record} for record, some in received.items() for row in some]
        parts = merger.merge(
            self.store.sorted_parts(before, self.parent) if before else [],
            [merger.staged([to_arrow(rows, self.table)[0]])],
            [record for record, some in received.items() if not some],
        )
        named = before or Manifest(self.table.name, (), 0, NOW, NOW)
        self.manifest = self.store.publish(
            self.store.write_parts(named, parts, max_part_bytes=merger.part_bytes)
        )
        self.rows |= received
        assert not merger.problems.cells
        return merger.counts

    def files(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in (self.store.root / self.table.name).glob("part-*")
        }

    def check(self) -> None:
        reported = [
            {**row, self.parent: record}
            for record in sorted(self.rows)
            for row in self.rows[record]
        ]
        cached = [
            {key: value for key, value in row.items() if value is not None}
            for row in self.store.read(self.table.name).to_pylist()
        ]
        assert cached == reported
        assert self.manifest is not None
        assert self.manifest.rows == len(reported)
        assert set(self.files()) == {part.file for part in self.manifest.parts}


def change(draw: random.Random, at: datetime) -> Row:
    return {
        "time": at,
        "field_key": draw.choice(["value", "title"]),
        "new_value": str(draw.random()),
    }


def changes(draw: random.Random) -> list[Row]:
    # Several within one second stay as they came.
    times = sorted(
        NOW + timedelta(seconds=draw.randrange(5)) for _ in range(draw.choice([0, 1, 1, 3, 8]))
    )
    return [change(draw, at) for at in times]


def wire(rows: list[Row]) -> list[Row]:
    return [
        {**row, "time": f"{row['time']:%Y-%m-%dT%H:%M:%SZ}"} if "time" in row else row
        for row in rows
    ]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_the_cache_holds_the_last_answer_of_each_record(
    seed: int, sizes: SyncOptions, tmp_path: Path
) -> None:
    draw, world = random.Random(seed), World(tmp_path, CHANGES, sizes)
    for number in range(25):
        # At first one after the other, as a first load asks for them; then again here and there,
        # and records that are new between these.
        first = (
            range(number * 7, number * 7 + 5)
            if number < 15
            else [draw.randrange(-3, 130) for _ in range(draw.randrange(6))]
        )
        received = {record: changes(draw) for record in first}
        had = {record: world.rows.get(record, []) for record in received}
        kept = [row for record in received for row in received[record] if row in had[record]]
        counts = world.put({record: wire(rows) for record, rows in received.items()})
        world.rows |= received
        assert (counts.added, counts.changed) == (sum(map(len, received.values())) - len(kept), 0)
        assert counts.removed == sum(map(len, had.values())) - len(kept)
        world.check()


@pytest.mark.parametrize("seed", range(4))
def test_rows_with_ids_of_their_own_are_counted_by_these(
    seed: int, sizes: SyncOptions, tmp_path: Path
) -> None:
    draw, world = random.Random(seed), World(tmp_path, VARIATIONS, sizes)
    for _ in range(20):
        received = {}
        for product in {draw.randrange(20) for _ in range(draw.randrange(5))}:
            ids = sorted(draw.sample(range(5), draw.randrange(5)))
            received[product] = [
                {"id": 100 * product + one, "name": draw.choice(["S", "M"])} for one in ids
            ]
        before = {row["id"]: row for product in received for row in world.rows.get(product, ())}
        after = {row["id"]: row for rows in received.values() for row in rows}
        counts = world.put(received)
        assert counts.added == len(after.keys() - before.keys())
        assert counts.removed == len(before.keys() - after.keys())
        assert counts.changed == sum(
            before[one] != after[one] for one in before.keys() & after.keys()
        )
        world.check()


def test_a_save_writes_what_it_concerns_alone(tmp_path: Path) -> None:
    draw, world = random.Random(1), World(tmp_path, CHANGES, of_sizes(10_000, 5_000))
    most = 0
    for start in range(0, 600, 10):
        before = world.files()
        world.put(
            {
                record: wire([change(draw, NOW) for _ in range(4)])
                for record in range(start, start + 10)
            }
        )
        most = max(most, len(world.files().keys() - before.keys()))
        assert len(before.keys() - world.files().keys()) <= 1
    assert most <= 2
    before = world.files()
    assert 10 < len(before) < 40
    world.put({record: wire([change(draw, NOW)]) for record in (300, 301)})
    assert 1 <= len(before.keys() - world.files().keys()) <= 2
    # What came before is as it was, and no file is written.
    before = world.files()
    counts = world.put({300: world.rows[300], 5_000: []})
    assert counts == Counts()
    assert world.files() == before
    # Nor do those that are written together become one.
    world.put({record: wire([change(draw, NOW) for _ in range(4)]) for record in range(600)})
    assert 10 < len(world.files()) < 40


def test_what_nothing_declares_is_kept_when_it_comes_late(tmp_path: Path) -> None:
    world, stamp = World(tmp_path, CHANGES, of_sizes(1_500, 0)), f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    for start in range(0, 60, 10):
        world.put(
            {record: [{"time": stamp, "field_key": "value"}] for record in range(start, start + 10)}
        )
    world.put({70: [{"time": stamp, "field_key": "value", "weather": "fine"}]})
    rows = world.store.read("deal_changes")
    assert rows["weather"].to_pylist() == [None] * 60 + ["fine"]


def test_a_record_whose_rows_earlier_versions_split_over_parts_is_replaced_in_all(
    tmp_path: Path,
) -> None:
    world, draw = World(tmp_path, CHANGES), random.Random(3)
    world.put({record: wire([change(draw, NOW) for _ in range(4)]) for record in range(6)})
    rows = world.store.read("deal_changes")
    pieces = [rows.slice(0, 6), rows.slice(6, 3), rows.slice(9, 15)]  # records 1 and 2 are split
    assert world.manifest is not None
    world.manifest = world.store.publish(
        world.store.write_parts(world.manifest, pieces, max_part_bytes=1)
    )
    assert len(world.manifest.parts) == 3
    first = world.files()[world.manifest.parts[0].file]
    counts = world.put({2: wire([change(draw, NOW)])})
    assert (counts.added, counts.changed, counts.removed) == (1, 0, 4)
    assert len(world.store.read("deal_changes")) == 21
    assert world.store.read("deal_changes")["deal_id"].to_pylist().count(2) == 1
    counts = world.put({1: [], 5: []})
    assert (counts.added, counts.changed, counts.removed) == (0, 0, 8)
    assert set(world.store.read("deal_changes")["deal_id"].to_pylist()) == {0, 2, 3, 4}
    assert first not in world.files().values()


def test_a_table_whose_rows_are_all_missing_is_empty(tmp_path: Path) -> None:
    world = World(tmp_path, VARIATIONS)
    world.put({1: [{"id": 1, "name": "S"}], 2: []})
    assert world.put({1: []}) == Counts(removed=1)
    assert world.store.read("product_variations").num_rows == 0
    assert world.put({3: [{"id": 5, "name": "M"}]}) == Counts(added=1)
    assert world.store.read("product_variations")["id"].to_pylist() == [5]


def test_a_load_in_many_saves_is_the_load_in_one() -> None:
    with sandbox.connect(
        seed=5, deals=120, company="hostile", burst=100_000, progress=False
    ) as account:
        full = {
            name: getattr(account, name)()
            for name in ("deal_changes", "product_variations", "discounts")
        }
        known = {name: fetch_state.load_states(store_of(account), name) for name in full}
    options = SyncOptions(
        save_every_records=3,
        record_part_bytes=3_000,
        small_record_part_bytes=1_500,
        small_part_bytes=2_200,  # what is known of each record, and no part of rows
    )
    with sandbox.connect(
        seed=5, deals=120, company="hostile", burst=100_000, progress=False, options=options
    ) as account:
        for name, frame in full.items():
            assert getattr(account, name)().equals(frame)
            again = fetch_state.load_states(store_of(account), name)
            columns = ["id", "look", "found"]
            assert again.select(columns).equals(known[name].select(columns))
            kept = store_of(account).manifest(fetch_state.state_name(name))
            assert kept is not None
            assert len(kept.parts) < 2 * options.parts_per_level
        assert len(store_of(account).manifest("deal_changes").parts) > 3
        # And so is a second one, from the beginning.
        again = account.deal_changes(refresh="full")
        assert again.equals(full["deal_changes"])
