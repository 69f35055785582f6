"""A disk that is full, and a machine that goes off: what is written, in which order, and what is
left when a write fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pdframe import _files, sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.cache.store import Manifest, Store
from pdframe.errors import CacheError
from tests.helpers import crash, tiers
from tests.helpers.cache_files import store_of
from tests.helpers.scale import SCALE

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

NOW = datetime(2026, 6, 30, tzinfo=UTC)
# In `make test` every third write is the one that fails.
STRIDE = (3 if tiers.TIER == "check" else 9) if SCALE == 1 else 1
TABLES = ("deals", "deal_products", "stages", "discounts")


class FullDisk:
    """Lets some files be made, and no more."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.failed = False
        self._make = tempfile.mkstemp

    def mkstemp(self, *args: Any, **options: Any) -> tuple[int, str]:
        handle, name = self._make(*args, **options)
        if "ledger" in Path(name).name:
            return handle, name
        self.left -= 1
        if self.left >= 0:
            return handle, name
        # The file is there, and takes no byte.
        self.failed = True
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), name


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("meanwhile", [False, True], ids=["a first load", "a refresh after a week"])
def test_a_disk_that_is_full_at_any_write_costs_nothing_that_was_there(
    meanwhile: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the k-th file of a sync, for every k: one typed error, every table is the old one or the
    new one, and the next sync completes.
    """
    connect = partial(crash.connect, options=crash.SHORT_PAGES)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    company, start = sandbox.Company(seed=3, deals=60), tmp_path / "start"
    with crash.server_of(company) as server:
        with connect(server.url, server.token, start) as account:
            assert account.company
            if meanwhile:
                account.sync(*TABLES)
                company.advance(days=7)
            before, log = crash.cached(account, TABLES), SnapshotLog(store_of(account)).rows()
        shutil.copytree(start, tmp_path / "whole")
        with connect(server.url, server.token, tmp_path / "whole") as account:
            account.sync(*TABLES)
            full = crash.cached(account, TABLES)
        for number in range(STRIDE - 1, 500, STRIDE):
            disk = FullDisk(number)
            shutil.copytree(start, tmp_path / str(number))
            with connect(server.url, server.token, tmp_path / str(number)) as account:
                with monkeypatch.context() as patch:
                    patch.setattr(tempfile, "mkstemp", disk.mkstemp)
                    try:
                        account.sync(*TABLES)
                    except CacheError as error:
                        reported = str(error)
                        assert "No space left on device" in reported
                        assert (
                            reported.count("What was cached before is kept")
                            + reported.count("as it was cached before")
                            == 1
                        )
                if not disk.failed:
                    break
                assert reported
                for name, rows in crash.cached(account, TABLES).items():
                    assert same(rows, before[name]) or same(rows, full[name]), name
                assert not list(account.cache_path.rglob("*.tmp"))
                assert SnapshotLog(store_of(account)).rows().slice(0, log.num_rows).equals(log)
                account.sync(*TABLES)
                for name, rows in crash.cached(account, TABLES).items():
                    assert same(rows, full[name]), name
            shutil.rmtree(tmp_path / str(number))
        else:
            pytest.fail("the sync never came to its end")
        assert number > 15


def same(one: pa.Table | None, other: pa.Table | None) -> bool:
    return one is other is None or (one is not None and other is not None and one.equals(other))


def test_what_is_renamed_is_on_disk_and_what_names_it_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes, then their name, then the folder; parts before the manifest that names them, and the
    old parts go last of all.
    """
    calls: list[tuple[str, str]] = []
    store = Store(tmp_path, "acme")
    store.open()

    def watched(
        what: str, call: Callable[..., Any], name: Callable[..., str]
    ) -> Callable[..., Any]:
        def reported(*args: Any, **options: Any) -> Any:
            calls.append((what, name(*args)))
            return call(*args, **options)

        return reported

    def of_handle(handle: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        return "folder" if path.is_dir() else path.name.split(".")[1]

    manifest = Manifest("deals", (), 0, NOW, NOW)
    first = store.replace(manifest, pa.table({"id": [1, 2]}))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched("sync", os.fsync, of_handle))
        patch.setattr(
            Path,
            "replace",
            watched("rename", Path.replace, lambda source, target: target.name.split(".")[0]),
        )
        patch.setattr(
            Path,
            "unlink",
            watched("delete", Path.unlink, lambda path, **options: path.name.split(".")[0]),
        )
        store.replace(first, pa.table({"id": [1, 2, 3]}))
    assert calls == [
        ("sync", "part-000002"), ("rename", "part-000002"), ("sync", "folder"),
        ("sync", "manifest"), ("rename", "manifest"), ("sync", "folder"),
        ("delete", "part-000001"),
    ]  # fmt: skip


def test_a_new_folder_is_on_disk_before_anything_in_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, synced = Store(tmp_path, "acme"), []
    store.open()
    monkeypatch.setattr(_files, "sync_folder", lambda folder: synced.append(folder))
    store.replace(Manifest("deals", (), 0, NOW, NOW), pa.table({"id": [1]}))
    assert synced == [store.root, store.root / "deals", store.root / "deals"]
