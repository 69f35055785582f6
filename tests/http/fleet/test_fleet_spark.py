"""Spark as the engine: an account a group, or one account split, gives the local result.

pyspark is no dependency: without it, or without Java, these tests are skipped.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe import fleet, metrics
from pdframe.errors import DataWarning
from tests.http.fleet.conftest import Companies

HOW: dict[str, Any] = {"as_of": "2026-06-30", "tz": "UTC"}


def arrow(spark_frame: Any, schema: pa.Schema, keys: list[str]) -> pa.Table:
    """Return a result of Spark in the types of the schema, which no cast may change."""
    table = spark_frame.toArrow()
    order = [(name, "ascending") for name in keys]
    return table.select(schema.names).cast(schema).replace_schema_metadata().sort_by(order)


def local(frame: pd.DataFrame, schema: pa.Schema, keys: list[str]) -> pa.Table:
    categories = [n for n, d in frame.dtypes.items() if isinstance(d, pd.CategoricalDtype)]
    table = pa.Table.from_pandas(
        frame.astype(dict.fromkeys(categories, "str")), schema=schema, preserve_index=False
    )
    return table.replace_schema_metadata().sort_by([(name, "ascending") for name in keys])


@pytest.mark.filterwarnings("ignore")
def test_an_account_a_group_gives_the_result_of_each_account(
    companies: Companies, spark_in_utc: Any
) -> None:
    spark = spark_in_utc
    clients = {
        name: {key: str(value) for key, value in companies.open(name, seed, 40).items()}
        for name, seed in (("north", 1), ("south", 2))
    }
    types = metrics.schema("stage_velocity", **HOW)
    schema = pa.schema([pa.field("account", pa.string()), *types])

    def velocity(rows: pd.DataFrame) -> pd.DataFrame:
        name = rows["account"].iloc[0]
        with pdframe.connect(progress=False, **clients[name]) as account:
            result = metrics.stage_velocity(account.stage_visits(), account.stages(), **HOW)
        return result.assign(account=name)[schema.names]

    names = spark.createDataFrame(pd.DataFrame({"account": list(clients)}))
    spark_schema = spark.createDataFrame(schema.empty_table()).schema
    done = names.groupBy("account").applyInPandas(velocity, spark_schema)
    keys = ["account", "pipeline_id", "stage_id"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        results = [velocity(pd.DataFrame({"account": [name]})) for name in clients]
    assert arrow(done, schema, keys).equals(local(pd.concat(results), schema, keys))


@pytest.mark.filterwarnings("ignore")
def test_one_account_split_gives_its_result(companies: Companies, spark_in_utc: Any) -> None:
    spark = spark_in_utc
    given = companies.open("north", 1, 120)
    fleet.sync({"north": given}, "deals", "stages", "pipelines")
    visits, stages = (
        fleet.load(companies.cache, name, accounts=["north"]).drop(columns="account")
        for name in ("stage_visits", "stages")
    )
    schema = metrics.schema("stage_velocity", visits=visits, stages=stages, **HOW)
    assert json.loads(schema.metadata[b"split_by"]) == ["pipeline_id"]

    assert json.loads(schema.metadata[b"split_frames"]) == {"pipeline_id": ["visits", "stages"]}

    def velocity(visits: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
        return metrics.stage_velocity(visits, stages, **HOW)[schema.names]

    def grouped(frame: pd.DataFrame) -> Any:
        kinds = {n: "str" for n, d in frame.dtypes.items() if isinstance(d, pd.CategoricalDtype)}
        table = pa.Table.from_pandas(frame.astype(kinds), preserve_index=False)
        return spark.createDataFrame(table).groupBy("pipeline_id")

    spark_schema = spark.createDataFrame(schema.empty_table()).schema
    parts = grouped(visits).cogroup(grouped(stages))
    done = parts.applyInPandas(velocity, spark_schema)
    keys = ["pipeline_id", "stage_id"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        expected = metrics.stage_velocity(visits, stages, **HOW)
    assert len(expected) > 3
    assert arrow(done, schema, keys).equals(local(expected, schema, keys))
