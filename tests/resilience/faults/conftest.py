"""A server that gives canned answers, and a client that does not wait for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken
from pdframe.api.limits import RateLimiter
from tests.helpers.scripted_server import Scripted

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with Scripted.running() as server:
        yield server


@pytest.fixture(scope="module")
def client(scripted: Scripted) -> Iterator[Client]:
    with Client(
        scripted.url,
        ApiToken(TOKEN),
        window=RateLimiter(limit=1_000_000),
        sleep=lambda seconds: None,
    ) as client:
        yield client
