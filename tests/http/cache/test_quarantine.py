"""Copies of damaged tables that were moved aside: the newest stays for 30 days, history for good,
and nothing else is deleted.
"""

from __future__ import annotations

import os
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import PdframeError
from pdframe.schema import TABLES
from pdframe.sync.repair import LOADED_AGAIN

pytestmark = pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")


def damage(account: sandbox.SandboxAccount, name: str) -> None:
    for path in (account.cache_path / name).glob("part-*.parquet"):
        path.write_bytes(b"torn")


def break_and_repair(account: sandbox.SandboxAccount, name: str) -> None:
    """Damage a table, or what stands beside it, and let the loader of the table meet that."""
    damage(account, name)
    with pytest.warns(DataWarning, match=rf"{name}.* is moved aside as {name}\.aside-"):
        account.sync(name.partition(".")[0])


def grow_old(folder: Path, days: float) -> None:
    moved = time.time() - timedelta(days=days).total_seconds()
    for path in (folder, *folder.iterdir()):
        os.utime(path, (moved, moved))


def lying(account: sandbox.SandboxAccount) -> list[str]:
    return sorted(path.name for path in account.cache_path.iterdir() if ".aside" in path.name)


@pytest.mark.parametrize(
    "name",
    ["deals", "deal_fields", "stages", "discounts", "discounts.parents", "deal_changes.parents"],
)
def test_a_table_that_is_loaded_again_keeps_its_newest_copy_alone(
    account: sandbox.SandboxAccount, name: str
) -> None:
    account.sync(name.partition(".")[0])
    for number in (1, 2, 3):
        break_and_repair(account, name)
        assert lying(account) == [f"{name}.aside-{number}"]
    assert (account.cache_path / f"{name}.aside-3").stat().st_mode & 0o777 == 0o700
    assert all(
        path.stat().st_mode & 0o777 == 0o600
        for path in (account.cache_path / f"{name}.aside-3").iterdir()
    )


@pytest.mark.parametrize("by", ["sync", "refresh"])
def test_the_newest_copy_remains_until_it_is_30_days_old(
    account: sandbox.SandboxAccount, by: str
) -> None:
    def bring() -> object:
        return account.sync("stages") if by == "sync" else account.stages(refresh=True)

    account.deals()
    break_and_repair(account, "deals")
    # The folder was last written a while before it was moved.
    copy = account.cache_path / "deals.aside-1"
    os.utime(copy, (0, 0))
    bring()
    assert lying(account) == ["deals.aside-1"]
    grow_old(copy, 29.9)
    bring()
    assert lying(account) == ["deals.aside-1"]
    grow_old(copy, 30.1)
    account.stages()
    assert lying(account) == ["deals.aside-1"]
    bring()
    assert lying(account) == []


def test_a_copy_of_old_files_is_as_young_as_its_move(account: sandbox.SandboxAccount) -> None:
    account.deals()
    grow_old(account.cache_path / "deals", 300)
    break_and_repair(account, "deals")
    account.sync("deals")
    assert lying(account) == ["deals.aside-1"]


def test_pages_and_temporary_files_in_a_copy_go_with_it(account: sandbox.SandboxAccount) -> None:
    account.deals()
    for kind in ("pages", "temporary"):
        folder = account.cache_path / f"deals.aside-{1 if kind == 'pages' else 2}"
        folder.mkdir()
        (folder / ".manifest.json.abc_12.tmp").touch()
        (folder / "pending").mkdir()
        for name in (
            "walk.json",
            "page-000000.arrow",
            "told-000000.arrow",
            "run-000000.parquet",
            ".walk.json.x.tmp",
        ):
            (folder / "pending" / name).touch()
    account.sync("stages")
    assert lying(account) == ["deals.aside-2"]


def test_history_is_never_swept(account: sandbox.SandboxAccount) -> None:
    account.deal_changes()
    kept = []
    for number in (1, 2):
        break_and_repair(account, "deal_changes")
        damage(account, "history")
        with pytest.warns(DataWarning, match="set aside as history.aside-"):
            account.sync("deals")
        kept += [f"{name}.aside-{number}" for name in ("deal_changes", "history", "history.looks")]
    for name in kept:
        grow_old(account.cache_path / name, 4_000)
    account.sync("deals", "deal_changes")
    account.deals(refresh=True)
    assert lying(account) == sorted(kept)
    assert SnapshotLog(account._store).rows().num_rows > 0


def test_no_table_of_history_is_taken_for_one_that_is_loaded_again() -> None:
    assert LOADED_AGAIN.isdisjoint(
        {"history", "history.looks", "deal_changes", "project_changes", "deal_follower_changes"}
    )
    assert {
        "deals",
        "deal_fields",
        "deal_products.basis",
        "deal_followers",
        "deal_changes.parents",
    } <= LOADED_AGAIN
    assert len(LOADED_AGAIN & TABLES.keys()) == len(TABLES) - 6


def test_what_has_another_name_is_left_alone(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.deals()
    break_and_repair(account, "deals")
    root, elsewhere = account.cache_path, tmp_path / "elsewhere"
    foreign = [
        "deals.aside", "deals.aside-", "deals.aside-0", "deals.aside-01", "deals.aside-1.aside-1", "deals.aside-x", "mine.aside-1",
        "deals.aside-1 (copy)", "Deals.aside-1", "deals_aside-1",
    ]  # fmt: skip
    for folder in (elsewhere, *(root / name for name in foreign)):
        folder.mkdir(exist_ok=True)
        (folder / "part-000001.parquet").write_bytes(b"mine")
    (root / "stages.aside-1").symlink_to(elsewhere)
    (root / "users.aside-1").write_bytes(b"mine")
    for name in ("notes.txt", "part-000001.parquet.bak", "part-1.parquet", "manifest.json.old"):
        (root / "deals.aside-1" / name).write_bytes(b"mine")
    (root / "deals.aside-1" / "saved").mkdir()
    (root / "deals.aside-1" / "pending").symlink_to(elsewhere)
    for folder in root.glob("*.aside*"):
        if folder.is_dir():
            grow_old(folder, 400)
    account.sync("stages")
    assert sorted(path.name for path in (root / "deals.aside-1").iterdir()) == [
        "manifest.json.old", "notes.txt", "part-000001.parquet.bak", "part-1.parquet", "pending", "saved",
    ]  # fmt: skip
    assert all((root / name / "part-000001.parquet").read_bytes() == b"mine" for name in foreign)
    assert (elsewhere / "part-000001.parquet").read_bytes() == b"mine"
    assert (root / "users.aside-1").read_bytes() == b"mine"
    # What lies there is in nobody's way.
    break_and_repair(account, "deals")
    assert (root / "deals.aside-2" / "manifest.json").exists()


def test_a_link_is_no_newer_copy(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    account.deals()
    break_and_repair(account, "deals")
    (account.cache_path / "deals.aside-7").symlink_to(tmp_path)
    account.sync("stages")
    assert lying(account) == ["deals.aside-1", "deals.aside-7"]


def test_a_copy_that_cannot_be_deleted_costs_no_sync(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deals()
    break_and_repair(account, "deals")
    grow_old(account.cache_path / "deals.aside-1", 31)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        assert account.sync("stages")["mode"].tolist() == ["full"]
    assert lying(account) == ["deals.aside-1"]
    account.sync("stages")
    assert lying(account) == []


def test_a_sync_that_fails_sweeps_nothing_and_the_next_one_does(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    break_and_repair(account, "deals")
    grow_old(account.cache_path / "deals.aside-1", 31)
    account.server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
    with pytest.raises(PdframeError):
        account.sync("stages")
    assert lying(account) == ["deals.aside-1"]
    account.server.faults = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(account.sync("stages"), pd.DataFrame)
    assert lying(account) == []
