"""A cache that version 0.1.0 wrote is read as it was, and the next sync loses nothing that it
kept.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.schema import LISTS
from tests.helpers import cache_0_1, crash, random_edits, true_cells
from tests.helpers.cache_files import store_of
from tests.helpers.cell_by_cell import wrong_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

EXPECTED = json.loads(gzip.decompress((cache_0_1.FOLDER / cache_0_1.EXPECTED).read_bytes()))
TABLES = (*LISTS, "deal_changes")


@pytest.fixture
def company() -> sandbox.Company:
    """The company in the state in which the cache was left."""
    company = sandbox.Company(seed=cache_0_1.SEED, deals=cache_0_1.DEALS)
    cache_0_1.live(company, lambda number: None)
    return company


@pytest.fixture
def account(company: sandbox.Company, tmp_path: Path) -> Iterator[pdframe.Account]:
    """An account of that company over a copy of the cache: git keeps no private modes."""
    for folder in cache_0_1.FOLDER.iterdir():
        if folder.is_dir():
            shutil.copytree(folder, tmp_path / folder.name)
    with (
        crash.server_of(company) as server,
        crash.connect(server.url, server.token, tmp_path) as account,
    ):
        assert account.cache_path.name == EXPECTED["key"]
        server.reset_stats()
        yield account
        assert not server.crashes


def assert_shows(frame: pd.DataFrame, name: str) -> None:
    """Every cell and dtype that version 0.1.0 showed; more columns are no loss."""
    reported = EXPECTED["frames"][name]
    assert {column: str(frame[column].dtype) for column in reported["dtypes"]} == reported[
        "dtypes"
    ], name
    assert cache_0_1.text(frame[list(reported["dtypes"])]) == reported["rows"], name


def test_it_is_read_without_a_request(account: pdframe.Account, company: sandbox.Company) -> None:
    for name in TABLES:
        assert_shows(cache_0_1.table_of(account, name), name)
    history = SnapshotLog(store_of(account))
    assert_shows(history.rows().to_pandas(), "history")
    assert_shows(history.snapshots().to_pandas(), "looks")
    deals = {row["deal_id"] for row in EXPECTED["frames"]["history"]["rows"]}
    assert set(account.stage_visits(refresh=False)["deal_id"]) == deals
    # The deals that it found deleted are there, as its history has them.
    last = {row["deal_id"]: row for row in EXPECTED["frames"]["history"]["rows"]}
    deleted = (
        account.deals(deleted=True, refresh=False).query("status == 'deleted'").set_index("id")
    )
    assert set(deleted.index) == {deal for deal, row in last.items() if row["gone"]} != set()
    assert all(
        deleted.loc[deal, "deleted_time"] == pd.Timestamp(last[deal]["seen_at"])
        for deal in deleted.index
    )
    for when in cache_0_1.AS_OF:
        name = f"as_of {when}"
        reported = EXPECTED["frames"][name]["rows"]
        # Of deals whose changelog is loaded, more is known since than the looks tell.
        seen = cache_0_1.shown_at(account, when).query("deal_id not in @cache_0_1.CHANGES_OF")
        assert cache_0_1.text(seen) == [
            row for row in reported if row["deal_id"] not in cache_0_1.CHANGES_OF
        ]
        assert cache_0_1.shown_at(account, when)["deal_id"].tolist() == [
            row["deal_id"] for row in reported
        ]
    deal_history = account.deal_history()
    assert random_edits.faults(deal_history, "deal_id", random_edits.of_deals(company)) == []
    assert set(deal_history["deal_id"]) == deals
    assert {*deal_history["source"]} == {"changelog", "snapshots", "first look"}
    # That version kept no look at line items.
    assert account.line_history().empty
    sizes = account.status().set_index("table")["rows"].dropna()
    assert sizes.to_dict() == {
        row["table"]: row["rows"] for row in EXPECTED["status"] if "rows" in row
    }


@pytest.mark.parametrize("full", [False, True])
def test_a_sync_on_top_of_it_loses_nothing(
    account: pdframe.Account, company: sandbox.Company, full: bool
) -> None:
    company.advance(days=7)
    company.edit_deal(
        max(EXPECTED["frames"]["deals"]["rows"], key=lambda row: row["id"])["id"], probability=81
    )
    account.sync(full=full)
    account.deal_changes(list(cache_0_1.CHANGES_OF))
    state = true_cells.fold(company.events)
    for name in LISTS:
        if name not in true_cells.FIELD_LISTS:
            assert not wrong_cells(account, company, state, name, refresh=False), name
    history = SnapshotLog(store_of(account))
    for rows, name in ((history.rows(), "history"), (history.snapshots(), "looks")):
        kept = EXPECTED["frames"][name]["rows"]
        assert_shows(rows.slice(0, len(kept)).to_pandas(), name)
        assert rows.num_rows > len(kept)
    assert (
        random_edits.faults(account.deal_history(), "deal_id", random_edits.of_deals(company)) == []
    )
    lines = account.line_history()
    assert random_edits.faults(lines, "id", random_edits.of_lines(company)) == []
    assert set(lines["id"]) == set(account.deal_products(refresh=False, labels=False)["id"])
    changelogs = cache_0_1.text(store_of(account).read("deal_changes").to_pandas())
    assert all(row in changelogs for row in EXPECTED["frames"]["deal_changes"]["rows"])
    quarantined = account.cache_path / f"{cache_0_1.DAMAGED}.aside-1"
    assert [path.name for path in quarantined.glob("*.parquet")] == ["part-000003.parquet"]


def test_the_expected_frames_are_those_of_the_files() -> None:
    """The oracle is the files: read without pdframe, they hold as many rows as the frames show."""
    import pyarrow.parquet as pq

    root = cache_0_1.FOLDER / EXPECTED["key"]

    def rows(name: str) -> int:
        manifest: dict[str, Any] = json.loads((root / name / "manifest.json").read_bytes())
        files = [root / name / part["file"] for part in manifest["parts"]]
        return sum(pq.ParquetFile(file).metadata.num_rows for file in files)

    for name in TABLES:
        assert rows(name) == len(EXPECTED["frames"][name]["rows"]), name
    assert rows("history") == len(EXPECTED["frames"]["history"]["rows"])
