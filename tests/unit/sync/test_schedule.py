"""The record of the syncs that are under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def test_a_record_of_a_month_ago_is_ignored(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    assert finished_tables(store, "all", NOW + timedelta(days=28)) == {"deals"}
    assert begin(store, "all", NOW + timedelta(days=30)) == frozenset()
    note_finished(store, "all", "stages", NOW + timedelta(days=30))
    assert finished_tables(store, "all", NOW + timedelta(days=31)) == {"stages"}


def test_a_changed_record_of_an_unfinished_sync_is_ignored(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, "all", NOW)
    note_finished(store, "all", "deals", NOW)
    path = store.root / UNFINISHED
    path.write_bytes(path.read_bytes().replace(b"deals", b"users"))
    assert finished_tables(store, "all", NOW) == frozenset()
