"""Which tables of an interrupted sync are left as they are: those that a sync with the same
arguments finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe._progress import NoTick
from pdframe.errors import BudgetError
from pdframe.sync import SyncOptions
from pdframe.sync.plan import dependencies
from tests.helpers.internals import client_of, syncer_of
from tests.helpers.tuning import LONG_LISTS


def spend_up_to(account: sandbox.SandboxAccount, tokens: int | None) -> None:
    """Let an account spend so many tokens more (None: any number)."""
    client_of(account).budget.max_tokens = None if tokens is None else account.tokens_today + tokens


def interrupted(*tables: str, full: bool = False, tokens: int = 60) -> sandbox.SandboxAccount:
    account = sandbox.connect(seed=7, deals=120, progress=False)
    spend_up_to(account, tokens)
    with pytest.raises(BudgetError):
        account.sync(*tables, full=full)
    spend_up_to(account, None)
    return account


@pytest.mark.parametrize("full", [False, True])
def test_a_named_table_is_requested_after_an_interrupted_sync_of_all(full: bool) -> None:
    with interrupted() as account:
        account.deals(names=False)
        account.company_model.edit_deal(1, value=123_456.0)
        done = account.sync("deals", full=full).set_index("table")
        assert done["mode"]["deals"] != "skipped"
        deals = account.deals(refresh=False).set_index("id")
        assert deals["value"][1] == 123_456.0


def test_a_table_that_a_loader_synced_is_requested_by_the_next_sync_of_all() -> None:
    with interrupted() as account:
        account.deals(names=False)
        account.company_model.edit_deal(1, value=123_456.0)
        account.sync()
        assert account.deals(refresh=False).set_index("id")["value"][1] == 123_456.0


def test_a_reload_that_costs_more_than_one_day_ends_on_another() -> None:
    with sandbox.connect(
        seed=7, deals=200, progress=False, max_age="1us", options=SyncOptions(page_size=20)
    ) as account:
        account.sync()
        before = account.tokens_today
        account.sync(full=True)
        cost = account.tokens_today - before
        full_at = account.status().set_index("table")["full_at"]
        begun, finished = pd.Timestamp.now("UTC"), False
        for _ in range(5):
            spend_up_to(account, int(cost * 0.6))
            try:
                account.sync(full=True)
            except BudgetError:
                assert account.estimate(full=True)["tokens"].sum() < cost
                continue
            finished = True
            break
        assert finished
        spend_up_to(account, None)
        reloaded = account.status().set_index("table")["full_at"]
        assert (reloaded[full_at.index] >= begun.floor("s")).all()


def test_a_second_reload_loads_everything_again_once_the_first_is_finished_or_given_up() -> None:
    tables, now = ("persons", "organizations"), [datetime.now(UTC)]
    with sandbox.connect(seed=7, deals=120, progress=False, options=LONG_LISTS) as account:
        syncer, how = syncer_of(account), {"full": True, "max_age": timedelta(0)}
        syncer.now = lambda: now[0]

        def interrupt(days: float) -> None:
            """Interrupt a reload, some days later, after the first of the two tables."""
            now[0] += timedelta(days=days)
            spend_up_to(account, 30)
            with pytest.raises(BudgetError):
                syncer.sync(tables, **how)
            spend_up_to(account, None)

        def reload(days: float) -> list[tuple[str, str]]:
            """Reload, some days later; return how, and what the notes say."""
            now[0] += timedelta(days=days)
            expected = {row.table: row.tokens for row in syncer.estimate(tables, **how)}
            done = {row.table: row for row in syncer.sync(tables, **how)}
            assert {name: row.tokens for name, row in done.items()} == expected
            return [(done[name].mode, done[name].note) for name in tables]

        every = [("full", "")] * 2
        assert reload(0) == every
        interrupt(1)
        since = "what changed since the interrupted sync reloaded it"
        assert reload(1) == [("incremental", since), ("full", "")]
        assert reload(0) == every
        interrupt(1)
        assert reload(4) == every


@pytest.mark.parametrize("name", ["persons", "activities", "deal_products", "products", "tasks"])
def test_a_bar_says_that_a_load_resumes_where_it_does(name: str) -> None:
    said: dict[str, bool] = {}

    @contextmanager
    def opened(table: str, *, resumes: bool = True, **how: object) -> Iterator[NoTick]:
        said[table] = resumes
        yield NoTick()

    with sandbox.connect(
        seed=7, deals=200, progress=False, options=SyncOptions(page_size=10)
    ) as account:
        syncer = syncer_of(account)
        syncer.progress = opened
        for other in dependencies(name):
            syncer.sync([other])
        spend_up_to(account, 25 if name != "deal_products" else 150)
        with pytest.raises(BudgetError):
            syncer.refresh_if_stale(name, max_age=timedelta(days=1))
        spend_up_to(account, None)
        done = {row.table: row for row in syncer.sync([name])}[name]
        resumed = "resumed from" in done.note
        assert said[name] == resumed
        assert done.requests > 1
