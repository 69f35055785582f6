"""The note that a sync is under way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pdframe.cache.store import Store
from pdframe.sync.schedule import UNFINISHED, begin, finish, unfinished_since

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


def opened(cache_dir: Path) -> Store:
    store = Store(cache_dir, "acme")
    store.open()
    return store


def test_a_note_says_when_the_unfinished_sync_began(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert unfinished_since(store) is None
    begin(store, NOW)
    assert unfinished_since(store) == NOW
    finish(store)
    assert unfinished_since(store) is None


def test_a_changed_note_of_an_unfinished_sync_is_ignored(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begin(store, NOW)
    path = store.root / UNFINISHED
    path.write_bytes(path.read_bytes().replace(b"2026", b"2016"))
    assert unfinished_since(store) is None
