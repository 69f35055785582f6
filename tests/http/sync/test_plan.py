"""When a table that could list its changes is reloaded all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError
from pdframe.sandbox import Switches
from pdframe.sync import SyncOptions
from tests.helpers.cache_files import store_of
from tests.helpers.server_clock import server_now
from tests.helpers.tuning import LONG_LISTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def grow_old(account: sandbox.SandboxAccount, table: str, by: timedelta) -> None:
    manifest = store_of(account).manifest(table)
    assert manifest is not None
    store_of(account).publish(replace(manifest, full_at=manifest.full_at - by))


def synced(account: sandbox.SandboxAccount, table: str) -> pd.Series:
    return account.sync(table).set_index("table").loc[table]


@pytest.mark.usefixtures("long_lists")
@pytest.mark.parametrize("table", ["deals", "deal_products"])
def test_an_old_proof_of_completeness_is_renewed(
    account: sandbox.SandboxAccount, table: str
) -> None:
    getattr(account, table)()
    grow_old(account, table, timedelta(days=6, hours=23))
    assert synced(account, table)["mode"] == "incremental"
    grow_old(account, table, timedelta(hours=2))
    row = synced(account, table)
    assert (row["mode"], row["note"]) == ("full", "reloaded: the last full load is 7 days old")
    assert pd.Timestamp.now("UTC") - account.status().set_index("table")["full_at"][
        table
    ] < pd.Timedelta("1min")
    assert synced(account, table)["mode"] == "incremental"


def test_what_no_list_shows_is_detected_by_the_full_load(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=4,
        deals=700,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        full_every="2d",
    ) as account:
        activities = account.activities()
        assert len(activities) > 500
        deleted = int(activities["id"].iloc[0])
        account.company_model.delete_activity(deleted)
        assert deleted in account.activities(refresh=True)["id"].tolist()
        grow_old(account, "activities", timedelta(days=3))
        assert deleted not in account.activities(refresh=True)["id"].tolist()


def test_a_load_within_max_age_is_none_however_old_the_last_full_one() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False
    ) as account:
        account.deals()
        grow_old(account, "deals", timedelta(days=400))
        requested = account.server.stats.requests
        account.deals()
        assert account.server.stats.requests == requested


def test_never_by_itself() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        full_every=None,
        options=LONG_LISTS,
    ) as account:
        account.deals()
        synced(account, "deals")  # it reads the lists of deletions
        grow_old(account, "deals", timedelta(days=400))
        assert synced(account, "deals")["mode"] == "incremental"


def test_a_table_of_one_page_is_read_complete_at_the_price_of_its_changes(
    account: sandbox.SandboxAccount,
) -> None:
    persons = account.persons()
    deleted = int(persons["id"].iloc[0])
    account.company_model.delete("persons", deleted)
    row = synced(account, "persons")
    assert (row["mode"], row["removed"], row["tokens"]) == ("full", 1, 10)


def test_a_small_account_pays_no_more_for_a_refresh_of_deals_than_for_a_reload(
    account: sandbox.SandboxAccount,
) -> None:
    deals = account.deals()
    company = account.company_model
    assert synced(account, "deals")["tokens"] == 10 + 20 + 10
    deleted, hidden = (int(number) for number in deals.loc[~deals["is_archived"], "id"].iloc[:2])
    company.delete_deal(deleted)
    company.hide("deals", hidden)
    row = synced(account, "deals")
    # What is gone is looked up among the deletions of its list, so that the history still tells
    # which deal was deleted.
    assert (row["mode"], row["removed"], row["tokens"]) == ("full", 2, 40 + 10)
    assert (
        account.as_of(server_now(account)).set_index("deal_id").loc[[deleted, hidden], "status"]
        == "deleted"
    ).tolist() == [True, False]
    assert synced(account, "deals")["tokens"] == 40


def test_a_deletion_is_not_missed_where_a_short_table_grows(tmp_path: Path) -> None:
    """While it is short, its lists of deletions may stay unread; deletions are listed for 30 days
    alone.
    """
    with sandbox.connect(
        seed=3,
        deals=100,
        cache_dir=tmp_path,
        burst=100_000,
        progress=False,
        deletions_age=None,
        full_every=None,
        switches=Switches(deleting_moves_update_time=False),
        options=SyncOptions(reload_rows=110),
    ) as account:
        account.sync()
        deleted = int(account.deals(refresh=False)["id"].iloc[0])
        account.company_model.delete_deal(deleted)
        for _ in range(4):
            account.advance(days=10)
            modes = account.sync().set_index("table")["mode"]
            assert modes["deals"] == "incremental"  # without deletions, which a refresh reads
            grow_old(account, "deals", timedelta(days=10))
        # When the table has become long, the deletion is no longer listed.
        for number in range(15):
            account.company_model.add_deal(f"new {number}")
        account.sync()
        assert deleted not in account.deals(refresh=True)["id"].tolist()


@pytest.mark.parametrize("wrong", ["7", "-1D", "soon", True, 5, float("nan")])
def test_garbage_is_refused(wrong: object) -> None:
    with pytest.raises(ArgumentError, match="full_every must be a length of time"):
        sandbox.connect(seed=3, deals=0, company="hostile", full_every=wrong, progress=False)
