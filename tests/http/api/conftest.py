"""A scripted server, a fake clock, and clients made of both."""

import pytest

from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken
from pdframe.api.limits import RateLimiter, TokenBudget
from tests.helpers.scripted_server import FakeTime, Scripted

TOKEN = "5ecret0123456789abcdef0123456789abcdef99"


@pytest.fixture
def token():
    return TOKEN


@pytest.fixture
def time():
    return FakeTime()


def _serve():
    with Scripted.running() as server:
        yield server


@pytest.fixture
def server():
    yield from _serve()


@pytest.fixture
def other_server():
    yield from _serve()


@pytest.fixture
def make_client(server, time):
    """Make clients of the scripted server that are closed at the end."""
    made = []

    def make(credentials=None, origin="scripted", **options):
        options.setdefault("budget", TokenBudget(clock=time.clock))
        options.setdefault("window", RateLimiter(clock=time.clock, sleep=time.sleep))
        options.setdefault("clock", time.clock)
        options.setdefault("sleep", time.sleep)
        made.append(
            Client(
                server.url if origin == "scripted" else origin,
                credentials or ApiToken(TOKEN),
                **options,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()
