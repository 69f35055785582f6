"""A sync of everything leaves young lists of metadata and of deletions unread, and misses nothing
that a row shows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import ResponseError
from pdframe.schema import LISTS
from pdframe.sync.metadata import METADATA
from tests.helpers.cache_files import store_of
from tests.helpers.faults_by_path import fail_at
from tests.helpers.proxy import altered, refusing
from tests.helpers.tuning import LONG_LISTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a company after a sync of everything: `account` has a copy."""
    cache = tmp_path_factory.mktemp("synced") / "cache"
    with connect(cache) as account:
        account.sync()
    return cache


@pytest.fixture
def account(synced: Path, tmp_path: Path) -> Iterator[sandbox.SandboxAccount]:
    shutil.copytree(synced, tmp_path / "cache")
    with connect(tmp_path / "cache") as account:
        yield account


def connect(cache: Path) -> sandbox.SandboxAccount:
    return sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=cache,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    )


def modes(account: sandbox.SandboxAccount) -> pd.Series:
    return account.sync().set_index("table")["mode"]


def move_to_new_stage(account: sandbox.SandboxAccount) -> int:
    """Move a deal into a stage that the cached list lacks; return the deal."""
    company = account.company_model
    deal = next(
        row
        for row in company.tables["deals"].values()
        if row["status"] == "open" and not row["is_deleted"] and not row["is_archived"]
    )
    stage = company.add_row("stages", name="Brand new", pipeline_id=deal["pipeline_id"])
    company.move_deal(deal["id"], stage)
    return int(deal["id"])


def stage_name(account: sandbox.SandboxAccount, deal: int) -> str:
    deals = account.deals(names=True, columns=["id", "stage_name"])
    return str(deals.set_index("id")["stage_name"][deal])


def test_a_sync_of_everything_where_nothing_changed_costs_130_tokens_at_most() -> None:
    with sandbox.connect(
        seed=7, deals=2_000, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        account.sync()  # reads the lists of deletions
        expected = int(account.estimate()["tokens"].sum())
        before = account.server.stats.tokens
        done = account.sync()
        assert account.server.stats.tokens - before == expected == done["tokens"].sum() <= 130
        assert set(done.loc[done["mode"] == "skipped", "table"]) == METADATA
        assert (
            done["note"][done["mode"] == "skipped"]
            .eq("up to date: younger than metadata_age")
            .all()
        )


def test_what_is_named_or_reloaded_is_read_at_any_age(account: sandbox.SandboxAccount) -> None:
    for done in (account.sync(*LISTS), account.sync(full=True)):
        assert set(done["mode"]) <= {"full", "incremental"}
    stage = int(account.stages()["id"].iloc[0])
    account.company_model.edit("stages", stage, name="Renamed")
    assert "Renamed" not in account.stages()["name"].tolist()
    assert "Renamed" in account.stages(refresh=True)["name"].tolist()


def test_ages_of_zero_read_everything(account: sandbox.SandboxAccount) -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        metadata_age=0,
        deletions_age=0,
    ) as always:
        always.sync()
        assert set(modes(always)) <= {"full", "incremental"}


def test_a_row_with_an_unknown_stage_reads_the_stages_at_once_and_only_once(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deal = next(
        row["id"]
        for row in company.tables["deals"].values()
        if row["status"] == "open" and not row["is_deleted"] and not row["is_archived"]
    )
    company.edit_deal(deal, title="touched")
    assert modes(account)["stages"] == "skipped"
    pipeline = company.tables["deals"][deal]["pipeline_id"]
    stage = company.add_row("stages", name="Brand new", pipeline_id=pipeline)
    assert modes(account)["stages"] == "skipped"  # no row shows it yet
    company.move_deal(deal, stage)
    done = modes(account)
    assert (done["stages"], done["users"]) == ("full", "skipped")
    assert "Brand new" in account.stages(refresh=False)["name"].tolist()
    company.hide("stages", stage)
    account.sync("stages")
    for title, mode in (("once", "full"), ("twice", "skipped"), ("again", "skipped")):
        company.edit_deal(deal, title=title)
        assert modes(account)["stages"] == mode, title


def test_a_row_with_an_unknown_field_reads_the_list_of_fields_at_once(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deal = int(account.deals(refresh=False, archived=False)["id"].iloc[0])
    code = company.add_field("deal", "Brand new", "double")
    company.edit_deal(deal, custom_fields={code: 4.5})
    assert modes(account)["deal_fields"] == "full"
    assert account.deals(refresh=False).set_index("id")["Brand new"][deal] == 4.5
    assert modes(account)["deal_fields"] == "skipped"


def test_a_row_with_an_unknown_option_reads_the_list_of_fields_at_once(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    code = company.add_field("deal", "Colour", "set", ["red"])
    deal = int(account.deals(refresh=True, archived=False)["id"].iloc[0])
    red = company.field("deal", code)["options"][0]["id"]
    company.edit_deal(deal, custom_fields={code: [red]})
    modes(account)
    company.edit_deal(deal, title="touched")
    assert modes(account)["deal_fields"] == "skipped"
    blue = company.add_option("deal", code, "blue")
    company.edit_deal(deal, custom_fields={code: [red, blue]})
    assert modes(account)["deal_fields"] == "full"
    assert account.deals(refresh=False).set_index("id")["Colour"][deal] == ["red", "blue"]


@pytest.mark.parametrize("moves", [True, False])
def test_a_deletion_that_moves_update_time_is_seen_though_the_list_of_deletions_is_young(
    moves: bool,
) -> None:
    switches = sandbox.Switches(deleting_moves_update_time=moves)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        account.sync()
        account.sync()
        deals = account.deals(refresh=False)
        deal = int(deals.loc[~deals["is_archived"], "id"].iloc[0])
        account.company_model.delete_deal(deal)
        account.server.reset_stats()
        row = account.sync().set_index("table").loc["deals"]
        assert (row["mode"], row["removed"]) == ("incremental", int(moves))
        assert not [
            entry for entry in account.server.requests if entry.params.get("status") == "deleted"
        ]
        known = account.deals(deleted=True, refresh=False).set_index("id")["status"]
        assert (known[deal] == "deleted") == moves
        # A named table reads the lists of deletions.
        assert account.sync("deals").set_index("table")["removed"]["deals"] == int(not moves)


def test_a_restored_deal_comes_back_though_the_list_of_deletions_is_young() -> None:
    switches = sandbox.Switches(deleting_moves_update_time=True)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        account.sync()
        account.sync()
        deals = account.deals(refresh=False)
        deal = int(deals.loc[~deals["is_archived"], "id"].iloc[0])
        account.company_model.delete_deal(deal)
        account.sync()
        assert deal not in account.deals(refresh=False)["id"].tolist()
        account.company_model.undelete_deal(deal)
        account.sync()
        assert deal in account.deals(refresh=False)["id"].tolist()


@pytest.mark.parametrize("how", ["sync", "refresh"])
def test_a_table_that_is_synced_by_name_reads_the_stages_that_it_lacks(
    account: sandbox.SandboxAccount, how: str
) -> None:
    deal = move_to_new_stage(account)
    if how == "sync":
        done = account.sync("deals").set_index("table")["mode"]
        assert done["stages"] == "full"
        assert "users" not in done
    else:
        account.deals(refresh=True)
    assert stage_name(account, deal) == "Brand new"


def test_stages_that_were_not_read_because_a_sync_broke_off_are_read_by_the_next_one(
    account: sandbox.SandboxAccount,
) -> None:
    deal = move_to_new_stage(account)
    fail_at(account.server, "/stages")
    with pytest.raises(ResponseError):
        account.sync()
    done = account.sync().set_index("table")
    assert done["note"]["deals"] == "up to date since the interrupted sync"
    assert done["mode"]["stages"] == "full"
    assert stage_name(account, deal) == "Brand new"


def test_stages_that_a_loader_could_not_read_are_read_by_the_next_sync(
    account: sandbox.SandboxAccount,
) -> None:
    deal = move_to_new_stage(account)
    fail_at(account.server, "/stages")
    with pytest.raises(ResponseError):
        account.deals(refresh=True)
    assert modes(account)["stages"] == "full"
    assert stage_name(account, deal) == "Brand new"


def test_a_loader_returns_its_rows_where_the_list_that_they_need_is_withheld() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
        max_age=0,
    ) as account:
        account.sync()
        deal = move_to_new_stage(account)
        with altered(account, refusing("/stages"), max_age=0, options=LONG_LISTS) as refused:
            assert deal in refused.deals()["id"].tolist()


def test_two_tables_that_show_the_same_unknown_user_read_the_users_once(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deals = account.deals(refresh=False, archived=False).set_index("id")
    activities = account.activities(refresh=False)
    activity = activities[activities["deal_id"].isin(deals.index)].iloc[0]
    deal, owner = int(activity["deal_id"]), int(activity["owner_id"])
    company.edit_deal(deal, owner_id=owner)
    del company.tables["users"][owner]
    account.sync("users")
    seen = []
    for number in range(3):
        company.edit_deal(deal, title=f"title {number}")
        seen.append(modes(account)["users"])
        company.edit("activities", int(activity["id"]), subject=f"subject {number}")
        seen.append(modes(account)["users"])
    assert seen == ["full", *["skipped"] * 5]


def test_deletions_that_only_deals_deleted_read_are_read_again_by_a_sync() -> None:
    switches = sandbox.Switches(deleting_moves_update_time=False)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        account.sync()
        account.sync()
        deals = account.deals(refresh=False)
        deal = int(deals.loc[~deals["is_archived"], "id"].iloc[0])
        account.company_model.delete_deal(deal)
        store = store_of(account)
        manifest = store.manifest("deals.deleted")
        a_day_ago = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
        store.publish(replace(manifest, state=dict.fromkeys(manifest.state, a_day_ago)))
        assert deal in account.deals(deleted=True)["id"].tolist()
        assert account.sync().set_index("table")["removed"]["deals"] == 1
        assert deal not in account.deals(refresh=False)["id"].tolist()


def test_deals_of_one_page_cost_what_is_due_of_their_changes_and_deletions() -> None:
    switches = sandbox.Switches(deleting_moves_update_time=False)
    with sandbox.connect(
        seed=3, deals=60, company="hostile", switches=switches, burst=100_000, progress=False
    ) as account:
        account.sync()

        def synced() -> tuple[str, int, int]:
            """How the next sync loads deals, the rows that it removes, and its tokens."""
            row = account.sync().set_index("table").loc["deals"]
            return row["mode"], int(row["removed"]), int(row["tokens"])

        def expected() -> int:
            return int(account.estimate().set_index("table")["tokens"]["deals"])

        def let_a_day_pass() -> None:
            store = store_of(account)
            a_day_ago = datetime.now(UTC) - timedelta(hours=25)
            store.publish(replace(store.manifest("deals"), full_at=a_day_ago))
            # A full load reads them where it lacks a cached row.
            deleted = store.manifest("deals.deleted")
            if deleted is not None:
                aged = dict.fromkeys(deleted.state, a_day_ago.isoformat())
                store.publish(replace(deleted, state=aged))

        assert (expected(), synced()) == (30, ("incremental", 0, 30))
        let_a_day_pass()
        # Both lists and the second look at the first cost less than changes and deletions.
        assert (expected(), synced()) == (40, ("full", 0, 40))
        assert (expected(), synced()) == (30, ("incremental", 0, 30))
        deal = int(account.deals(refresh=False, archived=False)["id"].iloc[0])
        account.company_model.delete_deal(deal)
        assert synced() == ("incremental", 0, 30)
        let_a_day_pass()
        assert synced()[:2] == ("full", 1)


def test_deletions_that_no_list_shows_any_more_make_a_sync_by_name_reload() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
        full_every=None,
        deletions_age=None,
    ) as account:
        account.sync()
        account.sync()
        store, long_ago = store_of(account), datetime.now(UTC) - timedelta(days=40)
        store.publish(replace(store.manifest("deals"), full_at=long_ago))
        deleted = store.manifest("deals.deleted")
        store.publish(replace(deleted, state=dict.fromkeys(deleted.state, long_ago.isoformat())))
        assert modes(account)["deals"] == "incremental"
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"]) == (
            "full",
            "reloaded: deletions are listed for 30 days alone",
        )


def test_a_deal_that_its_status_alone_shows_as_deleted_leaves_the_table(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync()
    company = account.company_model
    deal = int(account.deals(refresh=False, archived=False)["id"].iloc[0])
    company.edit_deal(deal, title="touched")
    company.tables["deals"][deal]["status"] = "deleted"
    row = account.sync().set_index("table").loc["deals"]
    assert (row["mode"], row["removed"]) == ("incremental", 1)
    assert deal not in account.deals(refresh=False)["id"].tolist()
    known = account.deals(deleted=True, refresh=False).set_index("id")
    assert (known["status"][deal], known["is_deleted"][deal]) == ("deleted", True)


def test_refresh_reads_what_describes_the_rows_so_a_rename_shows_at_once(
    account: sandbox.SandboxAccount,
) -> None:
    deal = int(account.deals(refresh=False)["id"].iloc[0])
    company = account.company_model
    company.edit("stages", company.tables["deals"][deal]["stage_id"], name="Renamed")
    assert stage_name(account, deal) != "Renamed"
    deals = account.deals(refresh=True, names=True)
    assert deals.set_index("id")["stage_name"][deal] == "Renamed"
