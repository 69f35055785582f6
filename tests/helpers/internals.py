"""What no option and no public name of an account sets or shows. Only this module names private
attributes of an account and its client (`tests/contract/test_words.py` checks it).
"""

from __future__ import annotations

from typing import Any

import pdframe
from pdframe.api.client import Client
from pdframe.api.limits import RateLimiter
from pdframe.sync import Syncer
from tests.helpers.scripted_server import FakeTime


def client_of(account: pdframe.Account) -> Client:
    """Return the HTTP client of an account."""
    return account._client


def syncer_of(account: pdframe.Account) -> Syncer:
    """Return what syncs the tables of an account."""
    return account._syncer


def show_progress_on(account: pdframe.Account, bars: Any) -> None:
    """Replace the progress bars of an account."""
    account._bars = bars


def without_waiting(account: pdframe.Account) -> FakeTime:
    """Let the account's waits pass at once, on a clock that counts them."""
    time = FakeTime()
    client = account._client
    client._clock, client._sleep = time.clock, time.sleep
    client.window._clock, client.window._sleep = time.clock, time.sleep
    return time


def without_burst_limit(account: pdframe.Account) -> None:
    """Let the account send as many requests and searches at once as it can."""
    account._client.window = RateLimiter(limit=1_000_000, search_limit=1_000_000)


def set_retries(account: pdframe.Account, retries: int) -> None:
    """Set how often a request is sent again."""
    account._client._retries = retries


def set_timeout(account: pdframe.Account, seconds: float) -> None:
    """Set how long an account that has sent requests waits for the next bytes of an answer."""
    opened = account._client._opened
    assert opened is not None
    opened.timeout = seconds


def locks_of(account: pdframe.Account) -> list[Any]:
    """Return the locks that requests of an account take."""
    client = account._client
    return [client._opening, client.window._lock, client.budget._lock]
