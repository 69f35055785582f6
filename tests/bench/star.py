"""A star of a large account, from the frames of its loaders to Parquet files, beside a COPY of the
finished rows by DuckDB: CPU seconds, peak memory beyond the frames, and how both grow.

The forecast is left out: `forecast_speed` measures it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import pdframe
from pdframe.bi import star as module
from pdframe.bi._tables import BiTable
from pdframe.bi.star import star
from pdframe.bi.star_forecast import rate_table
from tests.bench.table import peak_memory, report

SIZES = (250_000, 1_000_000)
DISTINCT = 5_000
"""Deals that differ; a larger account repeats them under new ids."""
VISITS = 3
"""Visits to stages a deal."""
STEP = 1_000_000
"""More than any id of the company that is copied."""
CUSTOM_COLUMNS = 20
_IDS = {
    "deals": ("id", "org_id", "person_id"),
    "deal_products": ("id", "deal_id"),
    "installments": ("id", "deal_id"),
    "activities": ("id", "deal_id", "org_id", "person_id"),
    "persons": ("id", "org_id"),
    "organizations": ("id",),
    "stage_visits": ("deal_id",),
    "deal_history": ("deal_id",),
}
_ONCE = ("products", "stages", "pipelines", "users")
_WITH_FIELDS = ("deals", "activities", "persons", "organizations", "products")


class Copied:
    """An account whose frames are those of a smaller one, repeated under new ids."""

    def __init__(self, account: pdframe.sandbox.SandboxAccount, deals: int) -> None:
        self._copied = account
        frames: dict[str, pd.DataFrame] = {}
        for name in (*_IDS, *_ONCE):
            load = getattr(account, name)
            computed = name in ("stage_visits", "deal_history")
            frames[name] = load() if computed else load(names=False)
        last = list(frames["deals"].columns).index("smart_bcc_email") + 1
        frames["deals"] = frames["deals"].iloc[:, : last + CUSTOM_COLUMNS]
        visits = frames["stage_visits"]
        each = [visits.assign(visit=visits["visit"] + number) for number in range(VISITS)]
        frames["stage_visits"] = pd.concat(each, ignore_index=True)
        copies = -(-deals // len(frames["deals"]))
        self._frames = {
            name: _repeated(frame, _IDS[name], copies) if name in _IDS else frame
            for name, frame in frames.items()
        }
        self._fields = {name: account.fields(name) for name in _WITH_FIELDS}

    def fields(self, table: str, refresh: Any = None) -> pd.DataFrame:
        return self._fields[table]

    def url(self, table: str, ids: pd.Series[int]) -> pd.Series[str]:
        return "https://acme.pipedrive.com/" + table + "/" + ids.astype("str")

    def deal_history(self) -> pd.DataFrame:
        return self._frames["deal_history"]

    def __getattr__(self, name: str) -> Any:
        if name not in self._frames:
            return getattr(self._copied, name)

        def load(columns: Any = None, **how: Any) -> pd.DataFrame:
            frame = self._frames[name]
            return frame if columns is None else frame[list(columns)]

        return load


def _repeated(frame: pd.DataFrame, ids: tuple[str, ...], copies: int) -> pd.DataFrame:
    rows = frame.take(np.tile(np.arange(len(frame)), copies)).reset_index(drop=True)
    number = np.repeat(np.arange(copies), len(frame)) * STEP
    for name in ids:
        rows[name] = rows[name] + number
    rows.attrs = frame.attrs
    return rows


def _no_forecast(building: Any, *others: Any) -> BiTable:
    made = rate_table(building, None)
    return BiTable("fact_forecast", made.table, made.columns)


def measure(deals: int) -> None:
    """Print what one star costs: CPU seconds of it and of COPY, gigabytes, deals, visits."""
    warnings.simplefilter("ignore")
    module.forecast_table = _no_forecast
    with (
        pdframe.sandbox.connect(seed=1, deals=DISTINCT, burst=100_000, progress=False) as account,
        tempfile.TemporaryDirectory() as name,
    ):
        account.sync()
        copied: Any = Copied(account, deals)
        before, folder = peak_memory(), Path(name)
        began, rows = time.process_time(), {}
        for table in star(copied).tables:
            pq.write_table(table.table, folder / f"{table.name}.parquet", compression="zstd")
            rows[table.name] = table.table.num_rows
        ours, used = time.process_time() - began, peak_memory() - before
        database = duckdb.connect()
        database.execute("set enable_progress_bar = false")
        began = time.process_time()
        for table_name in rows:
            database.execute(
                f"copy (from '{folder}/{table_name}.parquet')"
                f" to '{folder}/copy.parquet' (compression zstd)"
            )
        theirs = time.process_time() - began
    print(ours, theirs, used / 1e9, rows["fact_deals"], rows["fact_stage_visits"])


def stars() -> None:
    """Report the stars of two sizes."""
    for size in SIZES:
        command = [sys.executable, "-c", f"from tests.bench.star import measure; measure({size})"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ours, theirs, used, deals, visits = map(float, done.stdout.split())
        report(
            f"CPU: star of {deals:,.0f} deals, {visits:,.0f} visits / COPY",
            f"{ours:.1f} s, {used:.1f} GB",
            f"{theirs:.1f} s",
            ours / theirs,
        )


if __name__ == "__main__":
    stars()
