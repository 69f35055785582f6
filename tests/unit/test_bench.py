"""Benches run on small companies: `make bench` is run too seldom to notice that one is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import dashboard, exports, fleet_of_many, forecast_speed
from tests.bench.forecast_worlds import world


def test_the_bench_of_the_dashboard_prints_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dashboard, "BARS", {60: (2.0, 1.0)})
    dashboard.measure((60,))
    first, other, learning = capsys.readouterr().out.splitlines()
    assert "60 deals, first view" in first
    assert "another choice" in other
    assert "in the background" in learning
    assert all(re.search(r"\d\.\d\d s", row) for row in (first, other, learning))


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_the_bench_of_exports_prints_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exports, "DEALS", 30)
    exports.exports()
    unchanged, later, changed = capsys.readouterr().out.splitlines()
    assert "star of 30 deals again, unchanged" in unchanged
    assert "0 files" in unchanged
    count = int(re.search(r"(\d+) files", later)[1])  # type: ignore[index]
    names = changed.partition(": ")[2].split(", ")
    assert len(names) == count
    assert {"meta_export.parquet", "meta_files.parquet"} <= {*names}


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_the_bench_of_many_accounts_prints_plan_tokens_and_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fleet_of_many, "COMPANIES", 2)
    monkeypatch.setattr(fleet_of_many, "DEALS", 4)
    monkeypatch.setattr(fleet_of_many, "LATENCY_SECONDS", 0.0)
    fleet_of_many.thousand_accounts(4, (1, 2))
    first, *days = capsys.readouterr().out.splitlines()
    tokens, of_all = re.findall(r"([\d,]+) (?:tokens|of)", first)
    assert int(of_all.replace(",", "")) == 4 * int(tokens.replace(",", ""))
    for workers, (plan, most, synced) in zip((1, 2), (days[:3], days[3:]), strict=True):
        planned = re.fullmatch(
            rf"{workers} workers, planned in \d+ s: ([\d,]+) requests, ([\d,]+) tokens;"
            r" of (\d+) tables unknown",
            plan,
        )
        assert planned
        assert int(planned[1].replace(",", "")) > 0
        assert most.startswith("  most: ")
        spent = re.fullmatch(
            r"  synced: ([\d,]+) tokens in \d+ s, [\d.]+ accounts a second; 0 errors", synced
        )
        assert spent
        assert int(spent[1].replace(",", "")) > 0


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_the_bench_of_the_forecast_prints_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    company = world(1, 150)

    def kept(folder: Path, seed: int) -> object:
        return company

    monkeypatch.setattr(forecast_speed, "kept", kept)
    monkeypatch.setattr(forecast_speed, "DRAWS", 100)
    monkeypatch.setattr(forecast_speed, "MONTHS", ["2026-01", "2026-02"])
    forecast_speed.measure(tmp_path, sizes=(1,))
    rows = capsys.readouterr().out.splitlines()
    assert [row.partition(",")[0].split()[1] for row in rows] == ["100", "fit", "backtest"]
    assert "100 draws x" in rows[0]
    assert f"{len(company.deals)} deals; forecast_deals" in rows[1]
    assert "backtest of 2 cutoffs" in rows[2]
