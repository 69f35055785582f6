"""One large account, split in eight by Spark, gives the result of one process, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers import tiers
from tests.helpers.large_account import (
    PARTS,
    velocity_here,
    velocity_on_spark,
    write_large_account,
)

DEALS = 100_000 if tiers.TIER == "check" else 4_000
KEYS = ["pipeline_id", "stage_id"]


@pytest.mark.filterwarnings("ignore")
def test_an_account_in_eight_parts(spark_in_utc: Any, tmp_path: Path) -> None:
    deals = write_large_account(tmp_path, DEALS)
    assert deals >= DEALS
    pipelines = pq.read_table(tmp_path / "visits.parquet", columns=["pipeline_id"])
    parts = {number % PARTS for number in pipelines["pipeline_id"].unique().to_pylist()}
    assert len(parts) == PARTS
    order = [(name, "ascending") for name in KEYS]
    expected = velocity_here(tmp_path).sort_by(order)
    result = velocity_on_spark(spark_in_utc, tmp_path).sort_by(order)
    assert result.schema == expected.schema
    assert len(result) > 10 * PARTS
    assert len(set(expected["median_days"].to_pylist())) > 5 * PARTS
    # A pipeline that no deal visits has its rows of zeros, once.
    assert expected["visits"].to_pylist().count(0) == 2 * PARTS
    assert result.equals(expected)
