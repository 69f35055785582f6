"""`names=`: names for ids, and what they cost. That they are true is in test_truth."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import DataWarning, sandbox
from pdframe.errors import AccessError, ArgumentError, BudgetError
from pdframe.sandbox.server import ALL_SCOPES, OAuthClient, Server
from tests.helpers.notices import notes_in
from tests.helpers.proxy import altered
from tests.helpers.scripted_server import Reply, fail

# The company deletes options while rows hold them, and loaders say so.
pytestmark = pytest.mark.filterwarnings("ignore:deals, column:pdframe.errors.DataWarning")


def paths(account: sandbox.SandboxAccount) -> list[str]:
    return [entry.template.rpartition("/")[2] for entry in account.server.requests]


def test_only_what_the_columns_need_is_loaded(account: sandbox.SandboxAccount) -> None:
    account.deals(names=False)
    account.server.reset_stats()
    frame = account.deals(names=True, columns=["id", "stage_name"])
    assert list(frame.columns) == ["id", "stage_name"]
    assert paths(account) == ["stages"]
    account.deals(names=True, columns=["id", "title"])
    account.deals(names=True, columns=["stage_name"])
    assert paths(account) == ["stages"]


def test_long_lists_are_loaded_once_and_then_taken_at_any_age() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
        metadata_age=0,
    ) as account:
        account.deals(names=True)
        before = paths(account)
        assert (before.count("persons"), before.count("organizations"), before.count("users")) == (
            1,
            1,
            1,
        )
        account.deals(names=True)
        after = paths(account)
        assert (after.count("persons"), after.count("organizations"), after.count("users")) == (
            1,
            1,
            2,
        )


def test_names_are_as_fresh_as_max_age_says(account: sandbox.SandboxAccount) -> None:
    stage = int(account.deals(names=True)["stage_id"].iloc[0])
    account.company_model.edit("stages", stage, name="Renamed")
    account.sync("stages")
    named = account.deals(names=True).set_index("stage_id")["stage_name"]
    assert set(named[[stage]]) == {"Renamed"}


def test_a_name_that_is_not_known_is_null(account: sandbox.SandboxAccount) -> None:
    deals = account.deals(names=True)
    person = int(deals["person_id"].dropna().iloc[0])
    account.company_model.delete("persons", person)
    account.sync("persons", full=True)
    named = account.deals(names=True)
    assert named.loc[named["person_id"] == person, "person_name"].isna().all()
    assert named.loc[named["person_id"].isna(), "person_name"].isna().all()
    assert named["owner_name"].notna().all()


def test_refresh_false_takes_what_is_cached_and_says_what_is_not(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals(names=False)
    account.users()
    requested = account.server.stats.requests
    with pytest.warns(DataWarning) as said:
        named = account.deals(
            refresh=False, names=True, columns=["owner_name", "stage_name", "pipeline_name"]
        )
    assert account.server.stats.requests == requested
    assert named["owner_name"].notna().all()
    assert named["stage_name"].isna().all()
    assert str(named["stage_name"].dtype) == "str"
    assert [note.split(":")[0] for note in notes_in(said)] == [
        "pipeline_name is null because table 'pipelines' is unavailable",
        "stage_name is null because table 'stages' is unavailable",
    ]


SMALL = ["creator_name", "owner_name", "pipeline_name", "stage_name"]
LARGE = ["person_name", "org_name"]


def names_in(frame: pd.DataFrame) -> list[str]:
    return [column for column in frame.columns if column in {*SMALL, *LARGE}]


def test_the_names_of_small_lists_are_there_by_default(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    assert names_in(deals) == SMALL
    assert sorted(paths(account)[-3:]) == ["pipelines", "stages", "users"]
    assert deals["owner_name"].notna().all()
    users = account.users().set_index("id")["name"]
    assert deals["owner_name"].to_list() == [users[user] for user in deals["owner_id"]]
    pd.testing.assert_frame_equal(account.deals(names=True)[SMALL], deals[SMALL])
    assert "product_name" in account.deal_products()
    assert "pipeline_name" in account.stages()
    assert "board_name" in account.phases()


def test_names_are_added_as_the_account_was_opened_to_add_them() -> None:
    options = {"seed": 3, "deals": 60, "company": "hostile", "burst": 100_000, "progress": False}
    with (
        sandbox.connect(**options, names=False) as none,
        sandbox.connect(**options, names=True) as every,
    ):
        assert names_in(none.deals()) == []
        assert "users" not in paths(none)
        assert sorted(names_in(none.deals(names=True))) == sorted(SMALL + LARGE)
        assert sorted(names_in(every.deals())) == sorted(SMALL + LARGE)
        assert names_in(every.deals(names=False)) == []


def test_names_by_default_cost_the_lists_once_a_day(account: sandbox.SandboxAccount) -> None:
    account.deals(names=False)
    spent = account.tokens_today
    account.deals()
    assert account.tokens_today - spent == 30
    account.deals()
    account.deals(columns=["id", "title"])
    assert account.tokens_today - spent == 30


def test_products_are_read_again_for_their_names_after_metadata_age() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
        metadata_age="1D",
    ) as account:
        account.deal_products()
        account.deal_products()
        requested = [entry.template for entry in account.server.requests]
        assert requested.count("/api/v2/products") == 1


def test_only_what_the_columns_name_is_loaded_by_default(account: sandbox.SandboxAccount) -> None:
    account.deals(names=False)
    account.server.reset_stats()
    account.deals(columns=["id", "title"])
    assert paths(account) == []
    assert list(account.deals(columns=["id", "stage_name"])) == ["id", "stage_name"]
    assert paths(account) == ["stages"]


def test_a_list_that_is_not_cached_costs_its_names_and_no_word_by_default(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals(names=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        warnings.filterwarnings("ignore", "deals, column", DataWarning)
        named = account.deals(refresh=False)
    assert named["owner_name"].isna().all()
    with pytest.warns(DataWarning, match="owner_name is null because table 'users'"):
        account.deals(refresh=False, columns=["owner_name"])


def test_a_list_that_the_api_withholds_is_said_once_with_the_reason(tmp_path: Path) -> None:
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"users:read"})
    with Server(sandbox.Company(seed=3, deals=60), oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as account:
            with pytest.warns(DataWarning) as said:
                deals = account.deals()
            # Options that the company deleted are said in the same warning.
            note, *others = sorted(notes_in(said), key=lambda each: "Names from" not in each)
            assert not any("Names from" in each for each in others)
            assert note.startswith("Names from table 'users', such as owner_name, are null because")
            assert "scope" in note
            assert deals["owner_name"].isna().all()
            assert deals["stage_name"].notna().all()
            # Not again, neither of this table nor of another one; warnings are errors here.
            assert account.deals()["creator_name"].isna().all()
            assert account.activities()["owner_name"].isna().all()
            # What was not asked for is not missed.
            assert "owner_name" not in account.persons(names=False)
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as again:
            assert "owner_name" not in again.organizations(names=False)
            assert again.organizations(columns=["id", "name"])["name"].notna().all()
            with pytest.warns(DataWarning, match="Names from table 'users'"):
                again.organizations()


def test_names_by_default_may_be_older_where_their_lists_cannot_be_read() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        metadata_age=0,
        max_tokens=95,
    ) as account:
        first = account.deals()
        assert account.tokens_today == 82
        pd.testing.assert_frame_equal(account.deals(), first)
        with pytest.raises(BudgetError):
            account.deals(columns=["owner_name"])


def test_deals_without_their_names_are_refused_where_the_names_were_never_read() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, max_tokens=60
    ) as account:
        assert len(account.deals(names=False)) > 0
        with pytest.raises(BudgetError, match=r"account\.deals\(refresh=False\) reads"):
            account.deals()
        assert account.deals(refresh=False)["owner_name"].isna().all()


def test_names_add_the_pages_of_records(account: sandbox.SandboxAccount) -> None:
    deals = account.deals(names=True)
    assert list(deals.columns).index("url") == list(deals.columns).index("stage_name") + 1
    first = deals.iloc[0]
    assert first["url"].endswith(f".pipedrive.com/deal/{first['id']}")
    assert deals["url"].is_unique
    for table, path in (
        ("persons", "person"),
        ("organizations", "organization"),
        ("products", "product"),
        ("projects", "projects"),
    ):
        frame = getattr(account, table)(names=True, columns=["url", "id"])
        assert list(frame.columns) == ["url", "id"]
        assert frame["url"].str.endswith(tuple(f"/{path}/{one}" for one in frame["id"])).all()
        assert "url" not in getattr(account, table)()
    assert list(account.deals(names=True, columns=["title", "url"])) == ["title", "url"]
    assert account.deals(names=True, columns=["url"]).attrs["tz"] == account.tz
    assert "url" not in account.activities(names=True)
    for columns, message in (
        (["url"], "'url' needs names=True"),
        (["url", "url"], "needs names=True"),
    ):
        with pytest.raises(ArgumentError, match=message):
            account.deals(columns=columns)
    with pytest.raises(ArgumentError, match="names one column twice: 'url'"):
        account.deals(names=True, columns=["url", "url"])


def test_long_lists_need_names(account: sandbox.SandboxAccount) -> None:
    for name, table in (("org_name", "organizations"), ("person_name", "persons")):
        with pytest.raises(
            ArgumentError,
            match=f"'{name}' needs names=True: it loads all {table} if they are not cached",
        ):
            account.deals(columns=["id", name])
    with pytest.raises(ArgumentError, match=r"'owner_name' needs names=True\."):
        account.deals(names=False, columns=["id", "owner_name"])
    for wrong in ("no", 1):
        with pytest.raises(ArgumentError, match="names must be True, False or None"):
            account.deals(names=wrong)
    assert account.server.stats.requests == 0


def test_changes_name_their_fields_and_actors(account: sandbox.SandboxAccount) -> None:
    changes = account.deal_changes(names=True)
    fields = account.fields("deals").drop_duplicates("code").set_index("code")["label"]
    for key, name in zip(changes["field_key"], changes["field_name"], strict=True):
        assert fields.get(key) == name or (key not in fields.index and pd.isna(name))
    users = account.users().set_index("id")["name"]
    assert changes["actor_name"].tolist() == [users[user] for user in changes["actor_user_id"]]


@pytest.mark.filterwarnings("ignore:(Names from|The fields of):pdframe.errors.DataWarning")
def test_a_withheld_list_is_requested_again_after_metadata_age_alone(tmp_path: Path) -> None:
    withheld = {"users:read", "admin"}
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - withheld)
    with Server(sandbox.Company(seed=3, deals=60), oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")

        def connect(metadata_age: str) -> pdframe.Account:
            return pdframe.connect(
                oauth=grant,
                base_url=server.url,
                cache_dir=tmp_path,
                progress=False,
                max_age="1D",
                metadata_age=metadata_age,
            )

        def requested(name: str) -> list[int]:
            entries = [entry for entry in server.requests if entry.path.endswith(f"/{name}")]
            return [entry.status for entry in entries]

        with connect("1D") as account:
            account.deals()
            listed = account.fields()
            assert (requested("users"), requested("activityFields")) == ([403], [403])
            before = len(server.requests)
            assert account.fields().equals(listed)
            assert account.deals()["owner_name"].isna().all()
            with pytest.raises(AccessError, match="scope"):
                account.fields("activities")
            assert len(server.requests) == before
            # A call that names the list gets the answer of now.
            with pytest.raises(AccessError, match="scope"):
                account.fields("activities", refresh=True)
            account.sync("users")
            assert (requested("users"), requested("activityFields")) == ([403] * 2, [403] * 2)
        with connect("0D") as account:
            account.fields()
            account.fields()
            assert requested("activityFields") == [403] * 4


@pytest.mark.filterwarnings("ignore:(Names from|The fields of):pdframe.errors.DataWarning")
def test_a_list_that_is_granted_later_is_read_with_refresh() -> None:
    refused = [True]

    def alter(path: str, params: Mapping[str, str], content: Any) -> Reply | None:
        is_refused = refused[0] and path == "/activityFields"
        return fail(403, "Scope and URL mismatch") if is_refused else None

    with (
        sandbox.connect(seed=3, deals=20, burst=100_000, progress=False) as account,
        altered(account, alter) as other,
    ):
        assert "activities" not in set(other.fields()["table"])
        refused[0] = False
        assert "activities" not in set(other.fields()["table"])
        assert len(other.fields("activities", refresh=True))
        assert "activities" in set(other.fields()["table"])
