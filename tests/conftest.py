"""Accounts of small synthetic companies over real HTTP."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from pdframe import sandbox
from tests.helpers import tiers
from tests.helpers.tuning import LONG_LISTS

# Far above any plan's, so that tests never wait for the burst window; tests of the window itself
# set their own.
NO_BURST = 100_000


def pytest_configure(config: pytest.Config) -> None:
    if tiers.TIER == "test":
        tiers.sample_seed()


def pytest_report_header() -> str:
    if tiers.TIER == "check":
        return "tier: check (every case)"
    return f"tier: test (a sample; repeat it with {tiers.SEED_VARIABLE}={tiers.sample_seed()})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if tiers.TIER == "test":
        items[:], left_out = tiers.sampled(items, tiers.sample_seed())
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def no_credentials_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PIPEDRIVE_COMPANY",
        "PIPEDRIVE_API_TOKEN",
        "PIPEDRIVE_BASE_URL",
        "PDFRAME_CACHE_DIR",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def one_set_of_certificates() -> Iterator[None]:
    """Read the certificates once: a client reads them again each time, for 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests survive no power cut; those of what is written to disk, and when, watch `os.fsync`."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> Iterator[sandbox.SandboxAccount]:
    """A company of 60 deals, nothing loaded yet."""
    options = {"options": LONG_LISTS} if "long_lists" in request.fixturenames else {}
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=NO_BURST, progress=False, **options
    ) as account:
        yield account


@pytest.fixture
def long_lists() -> None:
    """Lists of `account` count as longer than a page, so that a refresh asks for their changes."""


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """The one Spark of this process; the test is skipped where pyspark or Java is missing."""
    from tests.helpers.engines import local_spark, need

    need("pyspark", java=True)
    with local_spark() as session:
        yield session


@pytest.fixture
def spark_in_utc(spark: Any) -> Iterator[Any]:
    """The same, with times of UTC in the functions of Python that it calls."""
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    yield spark
    spark.conf.unset("spark.sql.session.timeZone")
