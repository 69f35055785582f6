"""Every nasty cell of every table at once, over real HTTP, through every loader, metric, chart and export, in three timezones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import every_metric
import hostile
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import pdframe
from pdframe.errors import DataWarning
from pdframe.schema import TABLES

LOADERS = [name for name in TABLES if not name.endswith("_fields")]
ASKED = [1, 4, 7]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pdframe.Account]:
    folder = tmp_path_factory.mktemp("hostile")
    with hostile.running() as server, pdframe.connect(base_url=server.url, api_token="k" * 40, cache_dir=folder, progress=False) as account:
        account._max_age = None
        yield account


@pytest.fixture(scope="module")
def frames(account: pdframe.Account) -> dict[str, pd.DataFrame]:
    """Each table through its loader; warnings about the data are expected, any other is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        for name in LOADERS:
            frame = getattr(account, name)(ASKED) if TABLES[name].parent is not None else getattr(account, name)()
            assert len(frame) >= 30, name
            assert frame.attrs == {"tz": "UTC"}, name
        return every_metric.frames_of(account, "2027-01-01", ASKED)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("tz", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_every_metric_and_chart_computes(frames: dict[str, pd.DataFrame], tz: str) -> None:
    results: dict[str, Any] = {}
    for name, call in every_metric.CALLS.items():
        results[name] = call(frames, tz)
        for frame in results[name] if isinstance(results[name], tuple) else (results[name],):
            assert len(frame) > 0, name
            if name not in ("convert", "as_of") and not name.startswith("drill"):
                for column in frame.select_dtypes("float64").drop(columns="entry_days", errors="ignore"):
                    assert not np.isinf(frame[column]).any(), (name, column)
    for name, chart in every_metric.CHARTS.items():
        chart(results).figure.canvas.draw()
        plt.close("all")
        assert results, name


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_what_good_rows_tell_is_still_told(frames: dict[str, pd.DataFrame]) -> None:
    """The rows with nothing wrong count as if they were alone."""
    deals, lines = frames["deals"], frames["lines"]
    deals = deals[deals["id"].between(1, hostile.GOOD)]
    lines = lines[lines["id"].between(1, hostile.GOOD)]
    # Deals 1, 4, 7, 10, 13 are won and 2, 5, 8, 11 lost; lines 1, 7, 10 recur, 4 and 13 are one-time.
    assert pdframe.metrics.win_rate(deals, since="2025-01-01", until="2026-01-01")[["won", "lost"]].to_numpy().tolist() == [[5, 4]]
    schedule = pdframe.metrics.mrr_schedule(lines, since="2025-12-01", until="2026-01-01")
    assert schedule["mrr"].tolist() == [300.0]


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("format", ["parquet", "csv"])
@pytest.mark.usefixtures("frames")
def test_every_table_is_exported_and_read_back(account: pdframe.Account, format: Any, tmp_path: Path) -> None:
    done = account.export(tmp_path / "files", format=format, refresh=False)
    assert (done["rows"] > 0).all()
    for table, rows, path in zip(done["table"], done["rows"], done["path"], strict=True):
        back = pd.read_parquet(path) if format == "parquet" else pd.read_csv(path, encoding="utf-8-sig", low_memory=False)
        assert len(back) == rows, table
