"""Putting small parts together is killed before each change of the file system, while other
processes read: no row is lost.
"""

from __future__ import annotations

import itertools
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import pdframe
from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.cache.store import MANIFEST, Store
from pdframe.sandbox.server import Server
from pdframe.schema.snapshots import HISTORIES
from tests.helpers import crash
from tests.helpers.cache_files import store_of, write_part

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

KEPT = tuple(
    table.name for history in HISTORIES.values() for table in (history.rows, history.snapshots)
)
TABLES = ("deals", "deal_products", "stages")
NAMES = (*TABLES, "deal_changes", *KEPT)
ROUNDS = 40
# Of each table: enough to be put together.
PARTS = 11


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with crash.server_of(sandbox.Company(seed=3, deals=20)) as server:
        yield server


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose tables and kept histories are in many parts."""
    cache = tmp_path_factory.mktemp("world") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        with crash.connect(server.url, server.token, cache) as account:
            account.sync(*TABLES)
            account.deal_changes(account.deals()["id"].tolist()[:5])
            in_parts(store_of(account))
    return cache


def in_parts(store: Store) -> None:
    for name in NAMES:
        manifest, rows = store.manifest(name), store.read(name)
        assert manifest is not None
        size, first = max(1, rows.num_rows // PARTS), manifest.next_part
        parts = [
            write_part(
                store.root / name, f"part-{first + number:06d}.parquet", rows.slice(start, size)
            )
            for number, start in enumerate(range(0, rows.num_rows, size))
        ]
        store.publish(replace(manifest, parts=tuple(parts), next_part=first + len(parts)))


def rows_of(store: Store) -> dict[str, pa.Table]:
    return {name: store.read(name) for name in NAMES}


def prepare_and_die(cache: Path, step: int) -> None:
    os.fsync = lambda file: None  # type: ignore[assignment]
    store = crash.store_of(cache)
    with store.lock():
        crash.die_at(step)
        store.prepare()


def sync_and_die(url: str, token: str, cache: Path, step: int) -> None:
    os.fsync = lambda file: None  # type: ignore[assignment]
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with crash.connect(url, token, cache, max_age=0) as account:
        account.status()
        crash.die_at(step)
        account.sync(*TABLES)


def test_whatever_step_it_is_killed_at_every_row_is_there_in_its_order(
    world: Path, tmp_path: Path
) -> None:
    full, old = rows_of(crash.store_of(world)), manifests(crash.store_of(world))
    seen: dict[str, set[str]] = {name: set() for name in NAMES}
    for step in itertools.count():
        cache = tmp_path / str(step)
        shutil.copytree(world, cache)
        again = crash.killed(prepare_and_die, cache, step)
        store = crash.store_of(cache)
        for name, rows in rows_of(store).items():
            assert rows.equals(full[name]), (step, name)
            seen[name].add("old" if manifests(store)[name] == old[name] else "new")
        # The next one completes it, and leaves no other file.
        with store.lock():
            store.prepare()
        assert rows_of(store) == full
        for name in NAMES:
            manifest = store.manifest(name)
            assert manifest is not None
            assert len(manifest.parts) <= PARTS
            there = {
                path.name
                for path in (store.root / name).iterdir()
                if path.suffix != ".tmp" and path.is_file()
            }
            assert there - {"moved"} >= {MANIFEST, *(part.file for part in manifest.parts)}
        shutil.rmtree(cache)
        if not again:
            break
    assert step > 50
    assert all(
        reported == {"old", "new"} for name, reported in seen.items() if len(full[name]) > PARTS
    ), seen


def manifests(store: Store) -> dict[str, bytes]:
    return {name: (store.root / name / MANIFEST).read_bytes() for name in NAMES}


def test_a_sync_that_is_killed_midway_loses_no_kept_row(
    world: Path, server: Server, tmp_path: Path
) -> None:
    full = rows_of(crash.store_of(world))
    for step in itertools.count(0, 11):
        cache = tmp_path / str(step)
        shutil.copytree(world, cache)
        again = crash.killed(sync_and_die, server.url, server.token, cache, step)
        store = crash.store_of(cache)
        for name in KEPT:
            assert store.read(name).slice(0, full[name].num_rows).equals(full[name]), (step, name)
        with crash.connect(server.url, server.token, cache, max_age=0) as account:
            account.sync(*TABLES)
            for name in (*TABLES, "deal_changes"):
                assert store_of(account).read(name).equals(full[name]), (step, name)
            for history in HISTORIES.values():
                kept = full[history.rows.name]
                assert SnapshotLog(store_of(account), history).rows().equals(kept)
        shutil.rmtree(cache)
        if not again:
            break
    assert step > 22


def split_and_prepare(cache: Path, rounds: int) -> None:
    """Split tables into many parts and put them together, again and again."""
    os.fsync = lambda file: None  # type: ignore[assignment]
    store = crash.store_of(cache)
    for _ in range(rounds):
        with store.lock():
            in_parts(store)
            store.prepare()


def test_readers_in_other_processes_read_complete_tables_meanwhile(
    world: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(world, cache)
    store, full = crash.store_of(cache), rows_of(crash.store_of(world))
    workers = [
        crash.processes().Process(target=split_and_prepare, args=(cache, ROUNDS // 2))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    read = 0
    while any(worker.is_alive() for worker in workers):
        assert rows_of(store) == full
        read += 1
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert read > 3
