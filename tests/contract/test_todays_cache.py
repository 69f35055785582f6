"""A cache that version 0.1.1 wrote is read as that version read it; a sync keeps its history."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe import sandbox
from tests.contract import cache_archive

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

CONTENT = cache_archive.expected()
EXPECTED: dict[str, Any] = CONTENT["frames"]
HISTORIES = ("deal_history", "line_history")
# Version 0.1.1 gave the owner and the expected close since creation only where they changed later.
# Where changelogs show such changes at all, a deal without one has had its value since creation.
SINCE_CREATION = {4: "2024-07-23", 5: "2025-02-09", 19: "2026-07-23"}


@pytest.fixture(scope="module")
def server() -> Iterator[sandbox.Server]:
    """The company in the state in which the cache was left."""
    company = sandbox.Company(seed=cache_archive.SEED, deals=cache_archive.DEALS)
    cache_archive.live(company, lambda day: None)
    with cache_archive.serve(company) as server:
        yield server
        assert not server.crashes


@pytest.fixture
def account(server: sandbox.Server, tmp_path: Path) -> Iterator[pdframe.Account]:
    cache_archive.unpack(tmp_path)
    with cache_archive.account_of(server, tmp_path) as account:
        assert account.cache_path.name == CONTENT["key"]
        server.reset_stats()
        yield account


def assert_shows(frame: pd.DataFrame, name: str) -> None:
    """Assert every cell and dtype that version 0.1.1 showed; columns may be added."""
    dtypes = EXPECTED[name]["dtypes"]
    assert {column: str(frame[column].dtype) for column in dtypes} == dtypes, name
    assert cache_archive.rows(frame[list(dtypes)]) == EXPECTED[name]["rows"], name


def test_it_is_read_without_a_request(account: pdframe.Account, server: sandbox.Server) -> None:
    frames = cache_archive.shown(account)
    assert set(frames) == set(EXPECTED)
    history = frames["deal_history"]
    is_added = (
        history["column"].eq("expected_close_date")
        & history["source"].eq("changelog")
        & history["before"].isna()
        & history["deal_id"].isin(list(SINCE_CREATION))
    )
    added = history[is_added].set_index("deal_id")
    assert added["after"].to_dict() == SINCE_CREATION
    created = frames["deals with deleted"].set_index("id")["add_time"]
    assert (added["time"] == created[added.index]).all()
    # What the version showed is all there, in its order.
    frames["deal_history"] = history[~is_added]
    for name, frame in frames.items():
        assert_shows(frame, name)
    assert server.stats.requests == 0


@pytest.mark.parametrize("full", [False, True])
def test_a_sync_keeps_its_history(
    account: pdframe.Account, server: sandbox.Server, full: bool
) -> None:
    company = server.company
    before = len(company.events)
    # Both cases share the company: each adds a week to it.
    company.advance(days=7)
    assert len(company.events) > before
    account.sync(full=full)

    for name in HISTORIES:
        now = getattr(account, name)()
        assert missing(EXPECTED[name]["rows"], now, name) == []
        assert len(now) > len(EXPECTED[name]["rows"]), name
    for when in cache_archive.AS_OF:
        assert_shows(account.as_of(when), f"as_of {when}")
    finished = [row for row in EXPECTED["stage_visits"]["rows"] if "left_at" in row]
    assert missing(finished, account.stage_visits(refresh=False), "stage_visits") == []
    deleted = [row for row in EXPECTED["deals with deleted"]["rows"] if "deleted_time" in row]
    now = account.deals(deleted=True, refresh=False)
    times = dict(zip(now["id"], now["deleted_time"].astype("str"), strict=True))
    assert {row["id"]: row["deleted_time"] for row in deleted}.items() <= times.items()
    # Last: of deals whose changelog is loaded later, it tells the exact time of what a sync saw.
    changes = account.deal_changes(cache_archive.CHANGES_OF, refresh=True)
    assert missing(EXPECTED["deal_changes"]["rows"], changes, "deal_changes") == []


def missing(rows: list[dict[str, Any]], frame: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """Return those of the expected rows that a frame lacks; columns may be added."""
    present = cache_archive.rows(frame[list(EXPECTED[name]["dtypes"])])
    return [row for row in rows if row not in present]


# The expected frames are those of the files: what pyarrow alone reads of the archive agrees.


@pytest.fixture(scope="module")
def files() -> dict[str, pa.Table]:
    """The rows of each folder of the archive, read without pdframe."""
    tables = {}
    with tarfile.open(cache_archive.ARCHIVE) as archive:
        names = [entry.name for entry in archive if entry.name.endswith("/manifest.json")]
        for name in names:
            manifest = archive.extractfile(name)
            assert manifest is not None
            parts = []
            for part in json.load(manifest)["parts"]:
                content = archive.extractfile(f"{Path(name).parent}/{part['file']}")
                assert content is not None
                parts.append(pq.read_table(pa.BufferReader(content.read())))
            if parts:
                tables[Path(name).parent.name] = pa.concat_tables(parts, promote_options="default")
    return tables


def test_the_expected_rows_are_those_of_the_files(files: dict[str, pa.Table]) -> None:
    for name in ("deals", "persons", "activities", "deal_products", "stages", "projects"):
        ids = sorted(row["id"] for row in EXPECTED[name]["rows"])
        assert ids == sorted(files[name]["id"].to_pylist()), name
    deals = {row["id"]: row for row in EXPECTED["deals"]["rows"]}
    for row in files["deals"].to_pylist():
        for column in ("title", "value", "status", "stage_id"):
            assert deals[row["id"]].get(column) == row[column], column
    deleted = {row["id"] for row in EXPECTED["deals with deleted"]["rows"]} - set(deals)
    assert deleted == set(files["deals.deleted"]["id"].to_pylist())


def test_the_archive_holds_every_kind_of_what_is_kept(files: dict[str, pa.Table]) -> None:
    sources = {row["source"] for row in EXPECTED["deal_history"]["rows"]}
    assert sources == {"first look", "changelog", "snapshots"}
    visits = EXPECTED["stage_visits"]["rows"]
    assert {row["source"] for row in visits} == {"changelog", "snapshots", "current"}
    assert {"deleted", "won", "lost", "open", "advanced"} <= {row["end"] for row in visits}
    # Small parts of both histories were put together: fewer parts than syncs.
    syncs = cache_archive.DAYS + 1
    with tarfile.open(cache_archive.ARCHIVE) as archive:
        for name in ("history", "line_history", "history.looks"):
            manifest = archive.extractfile(f"{CONTENT['key']}/{name}/manifest.json")
            assert manifest is not None
            assert 1 < len(json.load(manifest)["parts"]) < syncs, name
            assert files[name].num_rows > 0
    assert cache_archive.ARCHIVE.stat().st_size + cache_archive.EXPECTED.stat().st_size < 150_000
