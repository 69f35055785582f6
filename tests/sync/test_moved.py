"""A row that moves between two lists of the API while these are walked is in neither, and is not lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pdframe import sandbox

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def before_request(account: sandbox.SandboxAccount, path: str, act: Callable[[], object]) -> Callable[[], None]:
    """Let something happen right before a list is asked for; the call that is returned ends that."""
    ask, todo = account._client.get_json, [act]

    def living(asked: str, *arguments: Any, **options: Any) -> Any:
        if asked == path and todo:
            todo.pop()()
        return ask(asked, *arguments, **options)

    def end() -> None:
        account._client.get_json = ask  # type: ignore[method-assign]
        assert not todo

    account._client.get_json = living  # type: ignore[method-assign]
    return end


@pytest.mark.parametrize("stamped", [True, False])
def test_a_deal_that_is_unarchived_behind_the_walk_stays(stamped: bool) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=stamped)
    with sandbox.connect(seed=1, deals=60, switches=switches, burst=100_000, progress=False, max_age=None) as account:
        before = account.deals(labels=False, refresh="full")
        account.stages()
        deal = int(before["id"][before["is_archived"]].iloc[0])
        with account.company_model.lock:
            account.company_model.now += 3_600
        end = before_request(account, "/deals/archived", lambda: account.company_model.unarchive_deal(deal))
        done = account.sync("deals", full=True).set_index("table").loc["deals"]
        end()
        after = account.deals(refresh=False, labels=False)
        assert after["id"].tolist() == before["id"].tolist()
        assert not after.set_index("id")["is_archived"][deal]
        # A page of each list, what changed in the first, and where the deal left no stamp, the deal by its id.
        assert done["tokens"] == 10 + 20 + 10 + (0 if stamped else 10)
        assert len(account.as_of("2100-01-01").query("gone")) == 0


def test_a_project_that_is_unarchived_behind_the_walk_stays() -> None:
    with sandbox.connect(seed=1, deals=60, burst=100_000, progress=False, max_age=None) as account:
        company = account.company_model
        project = next(
            number for number, row in company.tables["projects"].items() if row["status"] != "deleted" and not row["archive_time"]
        )
        company.archive_project(project)
        before = account.projects()["id"].tolist()
        end = before_request(account, "/projects/archived", lambda: company.unarchive_project(project))
        account.sync("projects")
        end()
        assert account.projects(refresh=False)["id"].tolist() == before


def test_what_is_gone_is_asked_for_once(account: sandbox.SandboxAccount) -> None:
    deal = int(account.deals()["id"].iloc[0])
    account.company_model.delete_deal(deal)
    tokens = [account.sync("deals", full=True).set_index("table")["tokens"]["deals"] for _ in range(2)]
    assert tokens == [50, 40]
    assert deal not in set(account.deals(refresh=False)["id"])
