"""The engines that open what an export wrote."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.engines import DuckDB, Engine, Spark, local_hyper, need


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
