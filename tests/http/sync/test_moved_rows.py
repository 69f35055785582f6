"""A row that moves between two lists of the API while these are walked is in neither, and is not
lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from pdframe import sandbox
from pdframe.sync import SyncOptions
from tests.helpers.server_clock import server_now

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def before_request(
    account: sandbox.SandboxAccount, path: str, act: Callable[[], object]
) -> Callable[[], None]:
    """Let something happen right before a list is asked for; the call that is returned ends
    that.
    """
    todo = [act]

    def before(requested: str, params: Mapping[str, str]) -> None:
        if requested.endswith(f"/v2{path}") and todo:
            todo.pop()()

    def end() -> None:
        account.server.before_request = None
        assert not todo

    account.server.before_request = before
    return end


@pytest.mark.parametrize("stamped", [True, False])
def test_a_deal_that_is_unarchived_after_the_walk_remains(stamped: bool) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=stamped)
    with sandbox.connect(
        seed=1,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        before = account.deals(labels=False, refresh="full")
        account.stages()
        deal = int(before["id"][before["is_archived"]].iloc[0])
        with account.company_model.lock:
            account.company_model.now += 3_600
        end = before_request(
            account, "/deals/archived", lambda: account.company_model.unarchive_deal(deal)
        )
        done = account.sync("deals", full=True).set_index("table").loc["deals"]
        end()
        after = account.deals(refresh=False, labels=False)
        assert after["id"].tolist() == before["id"].tolist()
        assert not after.set_index("id")["is_archived"][deal]
        # A page of each list, and the ids that are in neither.
        assert done["tokens"] == 10 + 20 + 10
        assert len(account.as_of(server_now(account)).query("gone")) == 0


@pytest.mark.parametrize("stamped", [True, False])
def test_a_deal_that_is_unarchived_during_a_refresh_keeps_its_cached_row_until_the_next(
    stamped: bool,
) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=stamped)
    with sandbox.connect(
        seed=1,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
        # Of one page a list, all of it would be cheaper than what changed.
        options=SyncOptions(page_size=7),
    ) as account:
        before = account.deals(labels=False)
        deal = int(before["id"][before["is_archived"]].iloc[0])
        company = account.company_model
        company.edit_deal(deal, title="edited before the refresh")
        # The refresh sees a later change of its list than that one.
        live = int(before["id"][~before["is_archived"]].iloc[0])
        company.edit_deal(live, title="edited later")
        end = before_request(account, "/deals/archived", lambda: company.unarchive_deal(deal))
        account.sync("deals")
        end()
        during = account.deals(refresh=False, labels=False).set_index("id")
        cached = before.set_index("id").loc[deal]
        assert during["title"][deal] == cached["title"] != "edited before the refresh"
        assert during["is_archived"][deal]
        account.sync("deals")
        after = account.deals(refresh=False, labels=False).set_index("id")
        assert after["title"][deal] == "edited before the refresh"
        assert not after["is_archived"][deal]


def test_a_project_that_is_unarchived_after_the_walk_remains() -> None:
    with sandbox.connect(
        seed=1, deals=60, company="hostile", burst=100_000, progress=False, max_age=None
    ) as account:
        company = account.company_model
        project = next(
            number
            for number, row in company.tables["projects"].items()
            if row["status"] != "deleted" and not row["archive_time"]
        )
        company.archive_project(project)
        before = account.projects()["id"].tolist()
        end = before_request(
            account, "/projects/archived", lambda: company.unarchive_project(project)
        )
        account.sync("projects")
        end()
        assert account.projects(refresh=False)["id"].tolist() == before


def test_what_is_missing_is_requested_once(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    deal, hidden = (int(number) for number in deals.loc[~deals["is_archived"], "id"].iloc[:2])
    account.company_model.delete_deal(deal)
    account.company_model.hide("deals", hidden)
    tokens = [
        account.sync("deals", full=True).set_index("table")["tokens"]["deals"] for _ in range(2)
    ]
    assert tokens == [40 + 10, 40]  # the live list's deletions, once
    assert {deal, hidden}.isdisjoint(account.deals(refresh=False)["id"])
    deleted = account.as_of(server_now(account)).set_index("deal_id").loc[[deal, hidden]]
    assert deleted["gone"].all()
    assert deleted["status"].tolist() == ["deleted", deals.set_index("id")["status"][hidden]]


def unarchived_after_the_first_walk(account: sandbox.SandboxAccount) -> tuple[int, int]:
    """The id of a deal that leaves the archive without a stamp while the archive is asked for, and
    the tokens of that first load.
    """
    company = account.company_model
    deal = next(
        row["id"]
        for row in company.tables["deals"].values()
        if row["is_archived"] and not row["is_deleted"]
    )
    account.stages()
    end = before_request(account, "/deals/archived", lambda: company.unarchive_deal(deal))
    tokens = account.sync("deals").set_index("table")["tokens"]["deals"]
    end()
    return deal, int(tokens)


@pytest.mark.parametrize(
    ("deals", "next_id", "tokens"),
    [(60, None, 10 + 20 + 10), (700, None, 20 + 20 + 10), (60, 10**15, 10 + 20 + 10)],
    ids=["a page", "two pages", "a page and an id that is far on"],
)
def test_a_deal_that_is_unarchived_after_the_very_first_walk_is_there(
    deals: int, next_id: int | None, tokens: int
) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=False)
    with sandbox.connect(
        seed=1,
        deals=deals,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        if next_id is not None:
            account.company_model._next["deals"] = next_id
            account.company_model.add_deal("far on")
        deal, spent = unarchived_after_the_first_walk(account)
        assert not account.deals(refresh=False).set_index("id")["is_archived"][deal]
        assert spent == tokens


def test_a_deal_that_is_newest_and_in_neither_list_is_there() -> None:
    switches = sandbox.Switches(archiving_moves_update_time=False)
    with sandbox.connect(
        seed=1,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        company = account.company_model
        newest = company.add_deal("the newest")
        company.archive_deal(newest)
        account.stages()
        end = before_request(account, "/deals/archived", lambda: company.unarchive_deal(newest))
        account.sync("deals")
        end()
        assert newest in set(account.deals(refresh=False)["id"])
