"""One large account as Parquet files of its frames, and its metrics in parts on Spark.

The account is a small company copied under new ids, into eight sets of pipelines.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdframe import metrics, sandbox

PARTS = 8
STEP = 1_000_000
"""More than any id of the company that is copied."""
HOW: dict[str, Any] = {"as_of": "2026-06-30", "tz": "UTC"}
_COPIES_A_GROUP = 100


def write_large_account(folder: Path, deals: int) -> int:
    """Write visits.parquet and stages.parquet; return the number of deals."""
    with sandbox.connect(seed=1, deals=400, burst=100_000, progress=False) as account:
        account.deal_changes()
        visits, stages = account.stage_visits(), account.stages()
    each = visits["deal_id"].nunique()
    # Every part gets as many copies.
    copies = -(-deals // each // PARTS) * PARTS
    writer = None
    for start in range(0, copies, _COPIES_A_GROUP):
        numbers = np.arange(start, min(start + _COPIES_A_GROUP, copies))
        table = plain(_copied(visits, numbers))
        if writer is None:
            writer = pq.ParquetWriter(folder / "visits.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    # Every part has a pipeline that no deal visits, too: its rows of zeros must be there once.
    idle = stages.head(2)
    idle = idle.assign(
        id=idle["id"] + stages["id"].max(), pipeline_id=stages["pipeline_id"].max() + 1
    )
    stages = pd.concat([stages, idle], ignore_index=True)
    every = [
        stages.assign(
            id=stages["id"] * PARTS + part, pipeline_id=stages["pipeline_id"] * PARTS + part
        )
        for part in range(PARTS)
    ]
    pq.write_table(plain(pd.concat(every, ignore_index=True)), folder / "stages.parquet")
    return each * copies


def _copied(visits: pd.DataFrame, numbers: np.ndarray[Any, Any]) -> pd.DataFrame:
    rows = visits.take(np.tile(np.arange(len(visits)), len(numbers))).reset_index(drop=True)
    number = np.repeat(numbers, len(visits))
    rows["deal_id"] = rows["deal_id"] + number * STEP
    for name in ("pipeline_id", "stage_id"):
        rows[name] = rows[name] * PARTS + number % PARTS
    # Or all parts have the same durations, and one that took another's rows would not show.
    shift = pd.to_timedelta(number % 997, unit="m").as_unit("us")
    for name in ("entered_at", "entered_after"):
        rows[name] = rows[name] - shift
    return rows


def plain(frame: pd.DataFrame) -> pa.Table:
    """Return a frame with the types that every engine reads."""
    categories = [n for n, d in frame.dtypes.items() if isinstance(d, pd.CategoricalDtype)]
    table = pa.Table.from_pandas(
        frame.astype(dict.fromkeys(categories, "str")), preserve_index=False
    )
    schema = pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
            for field in table.schema
        ]
    )
    return table.cast(schema).replace_schema_metadata()


def velocity_here(folder: Path) -> pa.Table:
    """Return the stage velocity of the account, computed in this process."""
    visits, stages = (pd.read_parquet(folder / f"{n}.parquet") for n in ("visits", "stages"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = metrics.stage_velocity(visits, stages, **HOW)
    return plain(result)


def velocity_on_spark(spark: Any, folder: Path) -> pa.Table:
    """Return the stage velocity of the account, computed by Spark in eight parts. A part has all
    rows of a pipeline, as `split_by` of the schema allows.
    """
    from pyspark.sql.functions import col

    how = HOW
    schema = metrics.schema(
        "stage_velocity", stages=pd.read_parquet(folder / "stages.parquet"), **how
    )
    assert json.loads(schema.metadata[b"split_by"]) == ["pipeline_id"]
    split = json.loads(schema.metadata[b"split_frames"])["pipeline_id"]
    names = schema.names

    def velocity(visits: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
        warnings.simplefilter("ignore")
        return metrics.stage_velocity(visits, stages, **how)[names]

    visits, stages = (
        spark.read.parquet(str(folder / f"{name}.parquet")).groupBy(
            (col("pipeline_id") % PARTS).alias("part")
        )
        for name in split
    )
    done = visits.cogroup(stages).applyInPandas(
        velocity, spark.createDataFrame(schema.empty_table()).schema
    )
    return done.toArrow().select(names).cast(schema).replace_schema_metadata()


__all__ = ["PARTS", "plain", "velocity_here", "velocity_on_spark", "write_large_account"]
