"""Benches run on small companies: `make bench` is run too seldom to notice that one is broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench import dashboard, forecast_speed
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
