"""What a sync is said to cost before it runs, against what the server then counts."""

from __future__ import annotations

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError
from pdframe.schema import LISTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def spent(account: sandbox.SandboxAccount, *tables: str, full: bool = False) -> pd.Series:
    return account.sync(*tables, full=full).set_index("table")["tokens"]


def said(account: sandbox.SandboxAccount, *tables: str, full: bool = False) -> pd.Series:
    return account.estimate(*tables, full=full).set_index("table")["tokens"]


def test_a_full_load_of_what_is_cached_costs_the_estimate() -> None:
    with sandbox.connect(
        seed=1, deals=1_200, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        requested = account.server.stats.requests
        before = account.estimate(full=True)
        assert account.server.stats.requests == requested
        assert before["table"].tolist() == list(LISTS)
        done = account.sync(full=True)
        pd.testing.assert_series_equal(before["tokens"], done["tokens"])
        pd.testing.assert_series_equal(before["requests"], done["requests"])
        assert account.server.stats.requests - requested == before["requests"].sum()


def test_a_refresh_where_nothing_changed_costs_the_estimate() -> None:
    with sandbox.connect(
        seed=1, deals=1_200, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        before = said(account)
        # The last five minutes are asked for again, so the deals of these are asked for their lines
        # only where they changed.
        pd.testing.assert_series_equal(before, spent(account))


def test_an_empty_cache_has_a_short_status_with_nulls(
    account: sandbox.SandboxAccount,
) -> None:
    rows = account.estimate(
        "deals", "deal_products", "deal_changes", "phases", "deal_followers"
    ).set_index("table")
    assert account.server.stats.requests == 1  # /users/me, which opens the cache
    assert rows["tokens"].dropna().to_dict() == {
        "deal_fields": 10,
        "deals": 30,
        "boards": 10,
        "phases": 10,
        "deal_followers": 0,
    }
    assert rows.index[rows["tokens"].isna()].tolist() == ["deal_products", "deal_changes"]
    assert "at least" in rows["basis"]["deals"]
    assert "none is cached" in rows["basis"]["deal_changes"]


def test_tables_that_cost_a_request_a_record_say_how_many(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    assert said(account, "deal_changes")["deal_changes"] == 20 * len(deals)
    account.deal_changes()
    moved = deals.loc[deals["status"] == "open", "id"].iloc[:3].tolist()
    for deal in moved:
        account.company_model.edit_deal(deal, title="touched")
    account.deals(refresh=True)
    assert (
        said(account, "deal_changes")["deal_changes"]
        == spent(account, "deal_changes")["deal_changes"]
        >= 60
    )
    account.deal_followers(moved[:2])
    assert said(account, "deal_followers")["deal_followers"] == 20


def test_an_unknown_table_is_refused(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'deals'"):
        account.estimate("dealz")
