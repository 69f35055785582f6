"""The record of the syncs that are under way."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pdframe._files import seal, write_atomic
from pdframe.cache.store import Store
from pdframe.sync.schedule import UNFINISHED, begin, finish, finished_tables, note_finished

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


def opened(cache_dir: Path) -> Store:
    store = Store(cache_dir, "acme")
    store.open()
    return store


def test_a_record_names_what_an_unfinished_sync_finished(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert begin(store, "all", NOW) == frozenset()
    note_finished(store, "all", "deals", NOW)
    assert begin(store, "all", NOW) == finished_tables(store, "all", NOW) == {"deals"}
    finish(store, "all", NOW)
    assert finished_tables(store, "all", NOW) == frozenset()
    assert not (store.root / UNFINISHED).exists()


def test_another_request_leaves_the_record_of_the_first_as_it_is(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    assert begin(store, "stages", NOW) == frozenset()
    finish(store, "stages", NOW)
    assert finished_tables(store, "all", NOW) == {"deals"}


def test_a_sync_that_was_not_tried_for_three_days_is_given_up(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    monday, given_up = NOW + timedelta(days=2.9), NOW + timedelta(days=3)
    assert finished_tables(store, "all", monday) == {"deals"}
    assert begin(store, "all", given_up) == frozenset()
    note_finished(store, "all", "stages", given_up)
    assert begin(store, "all", given_up) == {"stages"}


def test_a_sync_that_is_tried_each_day_goes_on_for_as_long_as_deletions_are_listed(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    for day in range(1, 29):
        assert begin(store, "all", NOW + timedelta(days=day)) == {"deals"}
    assert begin(store, "all", NOW + timedelta(days=29)) == frozenset()


def test_a_record_of_an_earlier_version_counts_from_its_beginning(tmp_path: Path) -> None:
    store = opened(tmp_path)
    entry = {"began": NOW.isoformat(), "finished": ["deals"]}
    write_atomic(store.root / UNFINISHED, seal({"syncs": {"all": entry}}))
    assert finished_tables(store, "all", NOW + timedelta(days=2)) == {"deals"}
    assert finished_tables(store, "all", NOW + timedelta(days=4)) == frozenset()


def test_the_record_is_on_disk_before_a_request_and_before_it_counts_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced = opened(tmp_path), []

    def watched(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        synced.append("folder" if path.is_dir() else path.name.split(".")[1])

    monkeypatch.setattr(os, "fsync", watched)
    on_disk = ["unfinished", "folder"]
    begin(store, "all", NOW)
    assert synced == on_disk
    note_finished(store, "all", "deals", NOW)
    assert synced == on_disk * 2
    finish(store, "all", NOW)
    assert synced == [*on_disk * 2, "folder"]


def test_a_changed_record_of_an_unfinished_sync_is_ignored(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    path = store.root / UNFINISHED
    path.write_bytes(path.read_bytes().replace(b"deals", b"users"))
    assert finished_tables(store, "all", NOW) == frozenset()
