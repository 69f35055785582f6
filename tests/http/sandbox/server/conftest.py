import pytest

from pdframe.sandbox.company import Company
from pdframe.sandbox.server import Server


@pytest.fixture(scope="session")
def company():
    """A company that no test changes."""
    return Company(seed=3, deals=300)


@pytest.fixture(scope="session")
def server(company):
    """A server that no test changes, without a burst limit in practice."""
    with Server(company, burst=1_000_000, search_burst=1_000_000, daily_tokens=10**9) as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def serve():
    """Start servers of a test's own; a mistake of theirs fails the test."""
    started = []

    def start(company, **options):
        options = {"burst": 1_000_000, "search_burst": 1_000_000, **options}
        started.append(Server(company, **options).start())
        return started[-1]

    yield start
    for running in started:
        running.stop()
        assert running.crashes == []


@pytest.fixture
def new_company():
    """A company without deals, for tests that write."""
    return Company(seed=1, deals=0)
