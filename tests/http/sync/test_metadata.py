"""A sync of everything leaves young lists of metadata and of deletions unread, and misses nothing
that a row shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.schema import LISTS
from pdframe.sync.metadata import METADATA
from tests.helpers.tuning import LONG_LISTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=60, burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        account.sync()
        yield account


def modes(account: sandbox.SandboxAccount) -> pd.Series:
    return account.sync().set_index("table")["mode"]


def test_a_sync_of_everything_where_nothing_changed_costs_130_tokens_at_most() -> None:
    with sandbox.connect(seed=7, deals=2_000, burst=100_000, progress=False) as account:
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
        seed=3, deals=60, burst=100_000, progress=False, metadata_age=0, deletions_age=0
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
        seed=3, deals=60, switches=switches, burst=100_000, progress=False, options=LONG_LISTS
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
        seed=3, deals=60, switches=switches, burst=100_000, progress=False, options=LONG_LISTS
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
