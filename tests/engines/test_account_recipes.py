"""The recipes of docs/how-to/many-accounts.md, run as they stand there: an account a task of Spark
and of Dask, and one account in parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pdframe import metrics, sandbox
from tests.helpers.engines import need
from tests.helpers.large_account import plain
from tests.helpers.readme import recipe

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = "many-accounts.md"
AS_OF = "2026-06-30"
KEYS = ["account", "pipeline_id", "stage_id"]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    connect = partial(
        sandbox.connect,
        deals=40,
        burst=100_000,
        cache_dir=tmp_path_factory.mktemp("cache"),
        progress=False,
    )
    return {"north": partial(connect, seed=1), "south": partial(connect, seed=2)}


@pytest.fixture
def names(clients: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the blocks of the page before a recipe define."""
    monkeypatch.chdir(tmp_path)
    return {"clients": clients, "metrics": metrics, "__name__": "recipe"}


@pytest.fixture(scope="module")
def expected(clients: dict[str, Any]) -> pa.Table:
    """The velocity of each account, computed here."""
    results = []
    for name, connect in clients.items():
        with connect() as account, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            own = metrics.stage_velocity(
                account.stage_visits(), account.stages(), as_of=AS_OF, tz=account.tz
            )
        results.append(own.assign(account=name))
    return in_order(plain(pd.concat(results)), KEYS)


@pytest.fixture
def timezone(spark: Any) -> Iterator[None]:
    yield
    spark.conf.unset("spark.sql.session.timeZone")


def in_order(table: pa.Table, keys: list[str]) -> pa.Table:
    """Return rows and columns in an order of their own."""
    own = table.select(sorted(table.column_names))
    return own.sort_by([(name, "ascending") for name in keys])


def test_spark_one_account_a_task(spark: Any, names: dict[str, Any], expected: pa.Table) -> None:
    exec(recipe(PAGE, '"account": list(clients)'), names)
    result = in_order(names["of_all"].toArrow(), KEYS)
    assert result.cast(expected.schema).equals(expected)
    assert len(set(expected["account"].to_pylist())) == 2


def test_spark_one_account_in_parts(
    spark: Any, names: dict[str, Any], clients: dict[str, Any], timezone: None
) -> None:
    how = {"as_of": AS_OF, "tz": "Europe/Tallinn"}
    with clients["north"]() as account:
        account.export("bi", "stage_visits", "stages")
        visits, stages = account.stage_visits(), account.stages()
    exec(recipe(PAGE, "% 8"), names)
    own = metrics.stage_velocity(visits, stages, **how)
    # A pipeline without visits is in no part.
    own = own[own["pipeline_id"].isin(visits["pipeline_id"])]
    expected = in_order(plain(own), KEYS[1:])
    assert len(set(expected["pipeline_id"].to_pylist())) > 1
    result = in_order(names["of_parts"].toArrow(), KEYS[1:]).cast(expected.schema)
    pd.testing.assert_frame_equal(result.to_pandas(), expected.to_pandas(), rtol=1e-12)


def test_dask_one_account_a_task(names: dict[str, Any], expected: pa.Table) -> None:
    need("dask")
    exec(recipe(PAGE, "dask.delayed"), names)
    assert in_order(plain(names["of_all"]), KEYS).equals(expected)
