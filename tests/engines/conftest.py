"""Spark and Tableau's engine, one of each for all tests that a process runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.engines import DuckDB, Engine, Spark, local_hyper, local_spark, need


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    need("pyspark", java=True)
    with local_spark() as session:
        yield session


@pytest.fixture(scope="session")
def hyper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    need("tableauhyperapi")
    with local_hyper(tmp_path_factory.mktemp("hyper")) as engine:
        yield engine


@pytest.fixture(params=["duckdb", "spark", "hyper"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An engine, with its default settings."""
    if request.param == "duckdb":
        return DuckDB()
    made = request.getfixturevalue(request.param)
    return Spark(made) if request.param == "spark" else made
