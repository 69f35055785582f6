"""Damaged tables: what the API can give again is deleted and loaded again, the rest is quarantined.

Quarantined copies of what cannot be collected again stay for good. Copies of other tables, which
earlier versions made, are deleted after 30 days, and nothing else is.
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
from pdframe.cache.quarantine import IRREPLACEABLE
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import DamagedError, PdframeError
from pdframe.schema import TABLES
from tests.helpers.cache_files import store_of

pytestmark = pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")

REPLACEABLE = [
    "deals",
    "deal_fields",
    "stages",
    "discounts",
    "discounts.parents",
    "deal_changes.parents",
]


def damage(account: sandbox.SandboxAccount, name: str) -> None:
    for path in (account.cache_path / name).glob("part-*.parquet"):
        path.write_bytes(b"torn")


def copy_of_earlier_version(account: sandbox.SandboxAccount, name: str, number: int = 1) -> Path:
    """Rename a table, as earlier versions did with a damaged one, and load it again."""
    folder = account.cache_path / name
    (folder / "moved").touch(mode=0o600)
    copy = folder.rename(account.cache_path / f"{name}.aside-{number}")
    account.sync(name.partition(".")[0])
    return copy


def grow_old(folder: Path, days: float) -> None:
    moved = time.time() - timedelta(days=days).total_seconds()
    for path in (folder, *folder.iterdir()):
        os.utime(path, (moved, moved))


def copies(account: sandbox.SandboxAccount) -> list[str]:
    return sorted(path.name for path in account.cache_path.iterdir() if ".aside" in path.name)


@pytest.mark.parametrize("name", REPLACEABLE)
def test_a_table_that_the_api_gives_again_is_deleted_and_loaded_again(
    name: str, account: sandbox.SandboxAccount
) -> None:
    account.sync(name.partition(".")[0])
    rows = store_of(account).read(name)
    for _ in range(2):
        damage(account, name)
        with pytest.warns(DataWarning, match=rf"cannot be trusted.*files of '{name}' are deleted"):
            account.sync(name.partition(".")[0])
        assert copies(account) == []
        files = {path.name for path in (account.cache_path / name).iterdir() if path.is_file()}
        parts = {part.file for part in store_of(account).manifest(name).parts}
        assert files == {"manifest.json", *parts}
    again = store_of(account).read(name)
    times = {"asked_at", "server_time"} & {*rows.column_names}
    key = next(column for column in ("id", "deal_id", "field_code") if column in rows.column_names)
    for left in times:
        again, rows = again.drop_columns([left]), rows.drop_columns([left])
    assert again.sort_by(key).equals(rows.sort_by(key))


def test_the_warning_names_the_file_and_what_is_done_and_kept(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deals")
    damage(account, "stages")
    damage(account, "deal_fields")
    with pytest.warns(DataWarning) as warned:
        account.sync("deals")
    (message,) = (str(one.message) for one in warned if "deal_fields" in str(one.message))
    (part,) = (account.cache_path / "deal_fields").glob("part-*.parquet")
    assert message == (
        f"The cached file {part} cannot be trusted: it has 4 bytes, and"
        f" {part.stat().st_size:,} were written. The cached files of 'deal_fields' are deleted, and"
        " its next load requests what the API has. All other tables are kept."
    )


def test_the_warning_of_what_is_requested_record_by_record_promises_no_load_of_all(
    account: sandbox.SandboxAccount,
) -> None:
    first, second = account.deals()["id"].iloc[:2].tolist()
    account.deal_changes([first, second])
    for name in ("deal_changes.parents", "deal_changes"):
        damage(account, name)
        account.server.reset_stats()
        with pytest.warns(
            DataWarning, match="each of its records is requested again by the next call that asks"
        ):
            account.deal_changes([first])
        # The other one is not loaded again before it is asked for.
        assert len(account.server.requests) == 1
        account.deal_changes([second])
        assert len(account.server.requests) == 2


def test_nothing_is_deleted_without_the_api(account: sandbox.SandboxAccount) -> None:
    account.deals()
    damage(account, "deals")
    before = sorted(path for path in account.cache_path.rglob("*") if path.name != ".lock")
    with pytest.raises(DamagedError, match="full=True"):
        account.deals(refresh=False)
    assert sorted(path for path in account.cache_path.rglob("*") if path.name != ".lock") == before


def test_a_copy_of_an_earlier_version_remains_until_it_is_30_days_old(
    account: sandbox.SandboxAccount,
) -> None:
    for refresh in (lambda: account.sync("stages"), lambda: account.stages(refresh=True)):
        account.deals()
        copy = copy_of_earlier_version(account, "deals")
        # The folder was last written a while before it was renamed.
        os.utime(copy, (0, 0))
        refresh()
        assert copies(account) == ["deals.aside-1"]
        grow_old(copy, 29.9)
        refresh()
        assert copies(account) == ["deals.aside-1"]
        grow_old(copy, 30.1)
        account.stages()
        assert copies(account) == ["deals.aside-1"]
        refresh()
        assert copies(account) == []


def test_pages_and_temporary_files_in_an_old_copy_are_deleted_with_it(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    folder = account.cache_path / "deals.aside-1"
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
    os.utime(folder, (0, 0))
    account.sync("stages")
    assert copies(account) == []


def test_what_cannot_be_collected_again_is_quarantined_and_never_deleted(
    account: sandbox.SandboxAccount,
) -> None:
    account.deal_changes()
    kept = []
    for number in (1, 2):
        for name in ("deal_changes", "history"):
            damage(account, name)
            with pytest.warns(
                DataWarning, match=rf"{name}.* quarantined as {name}\.aside-{number}"
            ):
                account.sync("deal_changes")
        kept += [f"{name}.aside-{number}" for name in ("deal_changes", "history", "history.looks")]
    for name in kept:
        parts = list((account.cache_path / name).glob("part-*.parquet"))
        assert {path.read_bytes() == b"torn" for path in parts} == {
            not name.startswith("history.l")
        }
        grow_old(account.cache_path / name, 4_000)
    account.sync("deals", "deal_changes")
    account.deals(refresh=True)
    assert copies(account) == sorted(kept)
    assert SnapshotLog(store_of(account)).rows().num_rows > 0


def test_tables_that_may_hold_rows_of_deleted_records_cannot_be_collected_again() -> None:
    assert {"history", "history.looks", "line_history", "line_history.looks"} < IRREPLACEABLE
    assert {"deals.deleted", "deal_changes", "project_changes"} < IRREPLACEABLE
    assert IRREPLACEABLE.isdisjoint(REPLACEABLE)
    assert len(TABLES.keys() - IRREPLACEABLE) == len(TABLES) - 6


def test_what_has_another_name_is_left_alone(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.deals()
    copy_of_earlier_version(account, "deals")
    root, elsewhere = account.cache_path, tmp_path / "elsewhere"
    foreign = [
        "deals.aside",
        "deals.aside-",
        "deals.aside-0",
        "deals.aside-01",
        "deals.aside-1.aside-1",
        "deals.aside-x",
        "mine.aside-1",
        "deals.aside-1 (copy)",
        "Deals.aside-1",
        "deals_aside-1",
    ]
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
        "manifest.json.old",
        "notes.txt",
        "part-000001.parquet.bak",
        "part-1.parquet",
        "pending",
        "saved",
    ]
    assert all((root / name / "part-000001.parquet").read_bytes() == b"mine" for name in foreign)
    assert (elsewhere / "part-000001.parquet").read_bytes() == b"mine"
    assert (root / "users.aside-1").read_bytes() == b"mine"


def test_a_quarantined_copy_takes_the_next_free_number(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.deal_changes()
    (account.cache_path / "deal_changes.aside-7").symlink_to(tmp_path)
    damage(account, "deal_changes")
    with pytest.warns(DataWarning, match=r"quarantined as deal_changes\.aside-8"):
        account.sync("deal_changes")
    assert (account.cache_path / "deal_changes.aside-8" / "manifest.json").exists()
    assert (account.cache_path / "deal_changes.aside-8").stat().st_mode & 0o777 == 0o700


def test_an_old_copy_that_cannot_be_deleted_stops_no_sync(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deals()
    grow_old(copy_of_earlier_version(account, "deals"), 31)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        assert account.sync("stages")["mode"].tolist() == ["full"]
    assert copies(account) == ["deals.aside-1"]
    account.sync("stages")
    assert copies(account) == []


def test_damaged_files_that_cannot_be_deleted_are_quarantined(
    account: sandbox.SandboxAccount,
) -> None:
    rows = account.stages()
    part = next((account.cache_path / "stages").glob("part-*.parquet"))
    part.unlink()
    part.mkdir()
    with pytest.warns(DataWarning, match=r"stages.* quarantined as stages\.aside-1"):
        account.sync("stages")
    pd.testing.assert_frame_equal(account.stages(refresh=False), rows)


def test_a_sync_that_fails_deletes_no_copy_and_the_next_one_does(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    grow_old(copy_of_earlier_version(account, "deals"), 31)
    assert copies(account) == ["deals.aside-1"]
    account.server.faults = sandbox.Faults(rate=1.0, kinds=("success_false_200",))
    with pytest.raises(PdframeError):
        account.sync("stages")
    assert copies(account) == ["deals.aside-1"]
    account.server.faults = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(account.sync("stages"), pd.DataFrame)
    assert copies(account) == []
