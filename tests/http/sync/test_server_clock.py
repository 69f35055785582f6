"""Now and today are those of the server, whichever table was read last, and however."""

from __future__ import annotations

import pytest

from pdframe import sandbox
from pdframe.errors import BudgetError
from pdframe.sync import SyncOptions
from tests.helpers.internals import client_of


def today(account: sandbox.SandboxAccount) -> str:
    """Return the day that a frame of cached deals counts as today."""
    day: str = account.deals(refresh=False, names=False).attrs["today"]
    return day


def test_a_load_that_resumes_a_day_later_knows_the_day_of_the_server() -> None:
    with sandbox.connect(
        seed=7, deals=300, progress=False, max_tokens=200, options=SyncOptions(page_size=20)
    ) as account:
        with pytest.raises(BudgetError):
            account.deals(names=False)
        client_of(account).budget.max_tokens = None
        account.company_model.advance(days=1)
        assert account.deals(names=False).attrs["today"] == "2026-07-01"
        assert len(account.as_of("today")) == len(account.as_of("2026-07-01")) > 0


@pytest.mark.parametrize("load", ["activities", "stages", "deal_changes"])
def test_every_table_that_was_read_says_what_time_it_is(load: str) -> None:
    with sandbox.connect(seed=7, deals=60, progress=False) as account:
        account.deals(names=False)
        assert today(account) == "2026-06-30"
        account.advance(days=7)
        ids = ([1],) if load == "deal_changes" else ()
        getattr(account, load)(*ids, refresh=True, names=False)
        assert today(account) == "2026-07-07"


def test_activities_alone_have_the_day_of_the_server() -> None:
    with sandbox.connect(seed=7, deals=60, progress=False) as account:
        assert account.activities(names=False).attrs["today"] == "2026-06-30"
