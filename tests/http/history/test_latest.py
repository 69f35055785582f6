"""An account keeps the stage visits that it computed last, and never returns old ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import pdframe
from pdframe import sandbox
from pdframe.cache.store import Manifest, Store
from pdframe.errors import CacheError
from pdframe.history.latest import Latest

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
NOW = datetime(2026, 7, 1, tzinfo=UTC)
INPUTS = (
    "deals",
    "stages",
    "deal_changes",
    "deal_changes.parents",
    "history",
    "history.looks",
    "deals.deleted",
)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        max_age=None,
        progress=False,
    ) as account:
        account.sync("deals", "stages")
        account.deal_changes()
        yield account


def without_memory(account: sandbox.SandboxAccount) -> pd.DataFrame:
    """Return the visits that an account computes which has just opened the same cache."""
    with pdframe.connect(
        base_url=account.server.url,
        api_token=account.server.token,
        cache_dir=account.cache_path.parent,
        max_age=None,
        progress=False,
    ) as other:
        return other.stage_visits(refresh=False)


def open_deal(account: sandbox.SandboxAccount) -> int:
    return next(
        int(deal)
        for deal, row in account.company_model.tables["deals"].items()
        if row["status"] == "open" and not row["is_deleted"] and not row["is_archived"]
    )


def new_sync(account: sandbox.SandboxAccount) -> None:
    account.company_model.win_deal(open_deal(account))
    account.sync("deals")


def new_changelogs(account: sandbox.SandboxAccount) -> None:
    account.company_model.win_deal(open_deal(account))
    account.deal_changes(refresh=True)


def new_stages(account: sandbox.SandboxAccount) -> None:
    stages = account.company_model.tables["stages"]
    number = len(account.stages(refresh=False))
    for stage in stages.values():
        stage["order_nr"] = number - stage["order_nr"]
    account.sync("stages", full=True)


def deletion(account: sandbox.SandboxAccount) -> None:
    account.company_model.delete_deal(open_deal(account))
    account.deals(deleted=True, refresh=True)


@pytest.mark.parametrize("change", [new_sync, new_changelogs, new_stages, deletion])
def test_visits_follow_every_change_of_the_cache(
    account: sandbox.SandboxAccount, change: Callable[[sandbox.SandboxAccount], None]
) -> None:
    before = account.stage_visits(refresh=False)
    assert_frame_equal(account.stage_visits(refresh=False), before)
    change(account)
    after = account.stage_visits(refresh=False)
    assert not after.equals(before)
    assert_frame_equal(after, without_memory(account))


def test_an_edit_of_a_frame_does_not_reach_the_next_one(account: sandbox.SandboxAccount) -> None:
    first = account.stage_visits(refresh=False)
    true = first.copy(deep=True)
    first.loc[:, "stage_id"] = 0
    first["left_at"] = first["left_at"].fillna(first["seen_at"])
    first.iloc[0, first.columns.get_loc("entered_at")] = pd.Timestamp(0, tz="UTC")
    first["end"] = first["end"].cat.rename_categories(str.upper)
    assert_frame_equal(account.stage_visits(refresh=False), true)


@pytest.mark.parametrize("table", ["history", "deal_changes"])
def test_a_damaged_file_is_an_error_though_visits_are_kept(
    account: sandbox.SandboxAccount, table: str
) -> None:
    account.stage_visits(refresh=False)
    part = next((account.cache_path / table).glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(CacheError):
        account.stage_visits(refresh=False)


class Counted:
    """Computes a table, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> pa.Table:
        self.times += 1
        return pa.table({"times": [self.times]})


def store_of(path: Path) -> Store:
    store = Store(path, "account")
    store.open()
    for table in INPUTS:
        store.replace(Manifest(table, (), 0, NOW, NOW), pa.table({"id": [1]}))
    return store


@pytest.mark.parametrize("table", INPUTS)
def test_a_change_of_any_input_computes_visits_again(tmp_path: Path, table: str) -> None:
    store, visits, compute = store_of(tmp_path), Latest[pa.Table](), Counted()
    assert visits.get(store, compute) is visits.get(store, compute)
    manifest = store.manifest(table)
    assert manifest is not None
    store.publish(replace(manifest, synced_at=NOW.replace(hour=1)))
    assert visits.get(store, compute)["times"].to_pylist() == [1]
    store.append(manifest, pa.table({"id": [2]}), synced_at=NOW)
    assert visits.get(store, compute)["times"].to_pylist() == [2]
    (store.root / table / "manifest.json").unlink()
    assert visits.get(store, compute)["times"].to_pylist() == [3]


def test_other_arguments_and_a_forked_process_compute_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child has the locks of its parent's threads, which no thread of its own releases."""
    store, latest, compute = store_of(tmp_path), Latest[pa.Table](), Counted()
    for arguments, times in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
        assert latest.get(store, compute, arguments)["times"].to_pylist() == [times]
    number = os.getpid()
    monkeypatch.setattr("os.getpid", lambda: number + 1)
    assert latest.get(store, compute, "a")["times"].to_pylist() == [4]
    latest.clear()
    assert latest.get(store, compute, "a")["times"].to_pylist() == [5]


def test_visits_of_tables_that_change_meanwhile_are_not_kept(tmp_path: Path) -> None:
    store, visits, compute = store_of(tmp_path), Latest[pa.Table](), Counted()

    def compute_during_a_sync() -> pa.Table:
        manifest = store.manifest("deals")
        assert manifest is not None
        store.append(manifest, pa.table({"id": [2]}), synced_at=NOW)
        return compute()

    assert visits.get(store, compute_during_a_sync)["times"].to_pylist() == [1]
    assert visits.get(store, compute)["times"].to_pylist() == [2]
