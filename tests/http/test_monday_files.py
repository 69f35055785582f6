"""Everyday tasks whose answer is a file, a job or a page: exports, cron, twenty accounts, a board
page, a dashboard. Figures are compared with the company's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pdframe import fleet, sandbox
from pdframe.cli import main
from tests.helpers import true_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=150, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.fixture(scope="module")
def true_deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return visible_deals(account)


def visible_deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    """The deals that the API shows, from the company's own events."""
    state = true_cells.fold(account.company_model.events)
    return pd.DataFrame(true_cells.visible(state, "deals"))


def test_a_file_for_duckdb_and_spark(
    account: sandbox.SandboxAccount, true_deals: pd.DataFrame, tmp_path: Path
) -> None:
    """`select status from 'deals.parquet'`, where a custom field is called Status, too."""
    duckdb = pytest.importorskip("duckdb")
    account.export(tmp_path, "deals", naming="snake")
    (file,) = tmp_path.glob("deals.parquet")
    columns = duckdb.sql(f"select * from '{file}' limit 0").columns
    # Engines that ignore case read every column as the one that it is.
    assert len({name.casefold() for name in columns}) == len(columns)
    counted = duckdb.sql(f"select Status, count(*) from '{file}' group by all").fetchall()
    assert dict(counted) == true_deals["status"].value_counts().to_dict()


def test_a_workbook(
    account: sandbox.SandboxAccount, true_deals: pd.DataFrame, tmp_path: Path
) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("xlsxwriter")
    account.export(tmp_path, "deals", "stages", format="xlsx")
    rows = {}
    for file in tmp_path.glob("*.xlsx"):
        book = openpyxl.load_workbook(file, read_only=True)
        rows |= {sheet.title: sum(1 for _ in sheet.iter_rows()) - 1 for sheet in book.worksheets}
    assert rows["deals"] == len(true_deals)
    assert rows["stages"] == len(account.stages())


def test_a_job_for_cron(
    account: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path))
    assert main(["sync", "stages", "pipelines", "--json"]) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    shown: dict[str, Any] = json.loads(line)
    assert shown["error"] is None
    synced = {row["table"]: row["rows"] for row in shown["rows"]}
    assert synced["stages"] == len(account.stages())
    assert account.server.token not in out + err


@pytest.mark.exhaustive
def test_several_accounts_as_one_frame(tmp_path: Path) -> None:
    with (
        sandbox.connect(seed=1, deals=20, burst=100_000, progress=False) as first,
        sandbox.connect(seed=2, deals=20, burst=100_000, progress=False) as second,
    ):
        clients = {
            name: {
                "base_url": opened.server.url,
                "api_token": opened.server.token,
                "cache_dir": tmp_path,
            }
            for name, opened in (("north", first), ("south", second))
        }
        done = fleet.sync(clients)
        assert done["error"].isna().all()
        together = fleet.load(tmp_path, "deals")
        assert together.columns[0] == "account"
        counts = together.groupby("account")["id"].count().to_dict()
        expected = {"north": len(visible_deals(first)), "south": len(visible_deals(second))}
        assert counts == expected


@pytest.mark.exhaustive
def test_one_page_for_the_board(
    account: sandbox.SandboxAccount, true_deals: pd.DataFrame, tmp_path: Path
) -> None:
    page = account.report(tmp_path / "board.html", period="2026-Q2").read_text("utf-8")
    assert account.company in page
    # It needs no network, and holds no credential.
    assert not re.findall(r"""(?:src|href)=["']https?://(?!\S+\.pipedrive\.com)""", page)
    assert account.server.token not in page
    won = pd.to_datetime(true_deals["won_time"], utc=True).dt.tz_convert(account.tz)
    in_quarter = won.dt.strftime("%Y-%m").isin(["2026-04", "2026-05", "2026-06"])
    count = int((in_quarter & (true_deals["status"] == "won")).sum())
    assert count > 0
    assert re.search(rf"(?i)won.{{0,400}}?\b{count}\b|\b{count}\b.{{0,400}}?won", page, re.DOTALL)


@pytest.mark.exhaustive
def test_a_dashboard(account: sandbox.SandboxAccount) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    board = account.dashboard()
    assert isinstance(board, ipywidgets.Widget)
    board.close()
