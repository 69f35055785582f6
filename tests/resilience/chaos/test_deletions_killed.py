"""A sync that finds deals deleted, or missing, is killed before changes of the file system: no kept
row is lost, and none is doubled.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import pdframe
from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.sync import SyncOptions
from tests.helpers import crash
from tests.helpers.cache_files import store_of

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

TABLES = ("deals", "deal_products")
HOUR = 3_600
EVERY = 3
MOST = 1_000


def options_of(full: bool) -> SyncOptions:
    """Small parts are compacted on the way; `full`: short lists are read as a whole, else by what
    changed.
    """
    return SyncOptions(parts_per_level=3, reload_rows=None if full else 0)


def sync_and_die(url: str, token: str, cache: Path, step: int, full: bool) -> None:
    crash.without_fsync()
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with crash.connect(url, token, cache, max_age=0, options=options_of(full)) as account:
        account.status()
        crash.die_at(step)
        account.sync(*TABLES, full=full)


@pytest.mark.parametrize("full", [True, False], ids=["reloads", "changes"])
def test_whatever_step_it_is_killed_at_no_deal_is_lost(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    options = options_of(full)
    company, world = sandbox.Company(seed=3, deals=20), tmp_path / "world"
    first, *rest = [
        deal for deal in company.tables["deals"] if ("deals", deal) not in company.deleted_at
    ][:7]
    hidden = rest.pop()
    with crash.server_of(company) as server:
        with crash.connect(server.url, server.token, world, max_age=0, options=options) as account:
            account.sync(*TABLES)
            for deal in (first, *rest[:3]):
                company.now += HOUR
                company.delete_deal(deal)
                company.now += HOUR
                account.sync(*TABLES, full=full)
        for deal in rest[3:]:
            company.delete_deal(deal)
        lost = {first, *rest}
        if full:  # a pull of what changed does not find these
            company.hide("deals", hidden)
            lost.add(hidden)
        company.now += HOUR
        before = kept(world)
        everyone = {*deals(world), *before["deals.deleted"]["id"].to_pylist()}
        for step in range(0, MOST, EVERY):
            cache = tmp_path / str(step)
            shutil.copytree(world, cache)
            again = crash.killed(sync_and_die, server.url, server.token, cache, step, full)
            for name, rows in kept(cache).items():
                assert rows.slice(0, before[name].num_rows).equals(before[name]), (step, name)
            assert everyone <= {*deals(cache), *kept(cache)["deals.deleted"]["id"].to_pylist()}, (
                step
            )
            with crash.connect(
                server.url, server.token, cache, max_age=0, options=options
            ) as account:
                account.sync(*TABLES, full=full)
                frame = account.deals(deleted=True, refresh=False).set_index("id")
                deleted = frame[frame["status"] == "deleted"]
                assert lost <= {*deleted.index}, step
                for deal in lost:
                    assert deleted.loc[deal, "title"] == company.tables["deals"][deal]["title"], (
                        step,
                        deal,
                    )
                for deal in lost - {hidden}:
                    assert (
                        deleted.loc[deal, "deleted_time"].timestamp()
                        == company.deleted_at["deals", deal]
                    ), (step, deal)
                missed = (
                    SnapshotLog(store_of(account))
                    .rows()
                    .filter(pc.field("gone"))["deal_id"]
                    .to_pylist()
                )
                assert sorted(missed) == sorted(lost), step
                assert max(Counter(kept(cache)["deals.deleted"]["id"].to_pylist()).values()) == 1, (
                    step
                )
            shutil.rmtree(cache)
            if not again:
                break
    assert step > 60


def kept(cache: Path) -> dict[str, pa.Table]:
    return {
        name: crash.store_of(cache).read(name)
        for name in ("history", "history.looks", "line_history", "deals.deleted")
    }


def deals(cache: Path) -> list[int]:
    result: list[int] = crash.store_of(cache).read("deals")["id"].to_pylist()
    return result
