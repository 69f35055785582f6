"""What people ask of other programs on a Monday: DuckDB, Spark, Excel, cron, twenty accounts. The
first guess works, or the answer leads to what does.

Every figure is held against the events of the company.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pandas as pd
import pytest

from pdframe import fleet, sandbox
from pdframe.cli import main
from pdframe.errors import ArgumentError
from tests.helpers import true_cells

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:openpyxl"),
]
TODAY = datetime.date(2026, 6, 30)


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=150, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.fixture(scope="module")
def folder(account: sandbox.SandboxAccount, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bi")
    account.export(folder)
    return folder


@pytest.fixture(scope="module")
def by_status(account: sandbox.SandboxAccount) -> dict[str, int]:
    counts = true_deals(account)["status"].value_counts()
    return {str(status): int(count) for status, count in counts.items()}


def true_deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    """What the company's events lead to."""
    state = true_cells.fold(account.company_model.events)
    return pd.DataFrame(true_cells.visible(state, "deals"))


def test_status_in_duckdb_however_it_is_written(
    account: sandbox.SandboxAccount, folder: Path, by_status: dict[str, int]
) -> None:
    """`select Status` took the field of the company's own that has this label."""
    own = account.fields("deals")
    assert "Status" in set(own.loc[own["is_custom"], "label"])
    for name in ("status", "Status", "STATUS"):
        rows = duckdb.sql(f"select {name}, count(*) from '{folder}/deals.parquet' group by 1")
        assert dict(rows.fetchall()) == by_status, name


@pytest.mark.exhaustive
def test_every_file_in_spark(spark: Any, folder: Path, by_status: dict[str, int]) -> None:
    """`deals.parquet` was refused: two names differed by case alone."""
    rows = spark.read.parquet(str(folder / "deals.parquet")).groupBy("status").count().collect()
    assert {row["status"]: row["count"] for row in rows} == by_status
    for path in folder.glob("*.parquet"):
        assert spark.read.parquet(str(path)).count() == len(pd.read_parquet(path)), path


def test_recurring_revenue_of_each_rep_by_month_in_sql(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, layout="star", format="duckdb", cancellations="Cancellation date")
    with duckdb.connect(tmp_path / "star.duckdb", read_only=True) as base:
        rows = base.execute(
            """
            select d.year_month, o.name, f.currency_key, sum(f.mrr)
            from fact_mrr_by_month f
            join dim_date d on d.date_key = f.month_date_key
            join dim_owner o using (owner_key)
            where d.year_month = '2026-06'
            group by all having sum(f.mrr) <> 0
            """
        ).fetchall()
    deals = true_deals(account).set_index("id")
    state = true_cells.fold(account.company_model.events)
    users = {user["id"]: user["name"] for user in true_cells.visible(state, "users")}
    expected: dict[tuple[str, str], float] = {}
    for one in account.company_model.truth.subscriptions():
        if one.start <= TODAY and (one.end is None or one.end > TODAY):
            key = (users[deals.loc[one.deal_id, "owner_id"]], str(one.currency))
            expected[key] = expected.get(key, 0) + float(one.monthly)
    shown = {(owner, currency): mrr for _, owner, currency, mrr in rows}
    assert len(shown) > 3
    assert all(isinstance(mrr, Decimal) for mrr in shown.values())
    assert {key: float(mrr) for key, mrr in shown.items()} == pytest.approx(expected, abs=0.01)


def test_deals_in_excel(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="or 'xlsx', not 'excel'"):
        account.export(tmp_path, "deals", format="excel")  # type: ignore[arg-type]
    account.export(tmp_path, "deals", format="xlsx")
    header, *rows = openpyxl.load_workbook(tmp_path / "deals.xlsx").active.values
    values = {row[header.index("id")]: row[header.index("value")] for row in rows}
    deals = true_deals(account)
    assert values == deals.set_index("id")["value"].to_dict()


def test_at_night_from_cron(
    account: sandbox.SandboxAccount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "cache"))
    deals = len(true_deals(account))
    bi = tmp_path / "bi"
    for command in (["sync"], ["export", str(bi), "deals", "users"]):
        assert main([*command, "--json"]) == 0
        printed = capsys.readouterr().out
        done = json.loads(printed)
        assert printed.count("\n") == 1
        rows = {row["table"]: row["rows"] for row in done["rows"]}
        assert (rows["deals"], done["exit_code"], done["error"]) == (deals, 0, None)
        assert account.server.token not in printed
    assert len(pd.read_parquet(bi / "deals.parquet")) == deals
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "0" * 40)
    assert main(["sync", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "AccessError"


def test_deals_of_several_accounts_in_one_frame(tmp_path: Path) -> None:
    sizes = {"north": 20, "south": 30, "west": 12}
    opened = {
        name: sandbox.connect(seed=seed, deals=deals, burst=100_000, progress=False)
        for seed, (name, deals) in enumerate(sizes.items())
    }
    accounts = {
        name: {
            "base_url": one.server.url,
            "api_token": one.server.token,
            "cache_dir": tmp_path,
        }
        for name, one in opened.items()
    }
    done = fleet.sync(accounts, "deals", "users", "stages", "pipelines")
    assert done["error"].isna().all()
    deals = fleet.load(tmp_path, "deals")
    assert deals.columns[0] == "account"
    assert not deals.columns.duplicated().any()
    shown = deals.groupby(["account", "status"], observed=True)["value"].agg(["size", "sum"])
    for name, one in opened.items():
        truth = true_deals(one).groupby("status")["value"].agg(["size", "sum"])
        assert shown.loc[name]["size"].to_dict() == truth["size"].to_dict()
        assert shown.loc[name]["sum"].to_dict() == pytest.approx(truth["sum"].to_dict())
        one.close()
