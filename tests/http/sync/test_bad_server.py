"""Servers that answer badly: each is a typed error with the way out, and nothing that was cached is
lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import (
    AccessError,
    BlockedError,
    BudgetError,
    DataWarning,
    PdframeError,
    ResponseError,
)
from pdframe.sandbox.server import ALL_SCOPES, OAuthClient, Server
from tests.helpers.internals import without_waiting
from tests.helpers.proxy import altered
from tests.helpers.scripted_server import Reply, Scripted, data, html
from tests.helpers.tuning import LONG_LISTS

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ME = data(
    {
        "id": 1,
        "name": "Ada",
        "company_name": "Acme",
        "company_domain": "acme",
        "default_currency": "EUR",
        "timezone_name": "UTC",
    }
)


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted.running() as server:
        server.replies = [ME]
        yield server


@pytest.fixture
def account(server: Scripted, tmp_path: Path) -> Iterator[pdframe.Account]:
    with pdframe.connect(
        base_url=server.url, api_token=TOKEN, cache_dir=tmp_path, progress=False
    ) as account:
        yield account


def failed(status: int, error: str) -> Reply:
    return Reply(
        status,
        json.dumps({"success": False, "error": error}).encode(),
        {"content-type": "application/json"},
    )


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (html(200, "Welcome"), ResponseError, "base_url"),
        (html(403), BlockedError, "firewall"),
        (failed(200, "something odd"), ResponseError, "something odd"),
        (failed(402, "upgrade"), AccessError, "plan"),
        (failed(403, "Scope and URL mismatch"), AccessError, "scope"),
        (
            Reply(302, b"", {"location": "http://127.0.0.1:9/elsewhere"}),
            ResponseError,
            "(?i)redirect",
        ),
        (
            Reply(200, b'{"success": true}', {"content-type": "application/json"}),
            ResponseError,
            "without data",
        ),
        (data({"not": "a list"}), ResponseError, "list of rows"),
        (data([1, 2, 3]), ResponseError, "list of rows"),
    ],
)
def test_a_bad_answer_is_a_typed_error(
    account: pdframe.Account, server: Scripted, reply: Reply, kind: type[PdframeError], said: str
) -> None:
    server.replies.append(reply)
    with pytest.raises(kind, match=said) as caught:
        account.pipelines()
    assert str(caught.value).endswith("What was cached before is kept.")
    assert TOKEN not in str(caught.value)


def test_a_cursor_that_comes_back_twice_is_an_error_not_a_table(
    account: pdframe.Account, server: Scripted
) -> None:
    server.replies += [data([{"id": 1}], "again"), data([{"id": 2}], "again")]
    with pytest.raises(ResponseError, match="same cursor twice"):
        account.pipelines()
    assert "pipelines" not in set(account.status()["table"])


def test_a_complete_list_that_has_a_cursor_is_read_to_its_end(
    account: pdframe.Account, server: Scripted
) -> None:
    server.replies += [data([{"id": 1, "name": "a"}], "more"), data([{"id": 2, "name": "b"}])]
    assert account.users()["name"].tolist() == ["a", "b"]
    assert [seen.params for seen in server.seen[1:]] == [{}, {"cursor": "more"}]


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_list_of_deletions_that_holds_odd_ids_costs_no_refresh() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        deals = account.deals()
        deleted = int(deals["id"].iloc[0])

        def odd(path: str, params: Mapping[str, str], content: Any) -> None:
            if path == "/deals" and params.get("status") == "deleted":
                content["data"] = [{"id": str(deleted)}, {"id": None}, {}]

        with altered(account, odd, options=LONG_LISTS) as other:
            assert set(deals["id"]) - set(other.deals(refresh=True)["id"]) == {deleted}


@pytest.mark.parametrize(
    "odd",
    [
        {"id": True},
        {"id": 5, "default_currency": 3, "timezone_name": 5, "company_name": None},
        {"id": None},
    ],
)
def test_an_odd_answer_about_the_user_is_no_answer(
    server: Scripted, tmp_path: Path, odd: dict[str, object]
) -> None:
    server.replies = [data(odd)]
    with pdframe.connect(
        base_url=server.url, api_token=TOKEN, cache_dir=tmp_path, progress=False
    ) as account:
        assert (account.user, account.currency, account.tz, account.company) == (
            None,
            None,
            "UTC",
            "127.0.0.1",
        )
        assert account.cache_path.name.startswith("127.0.0.1-")


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "Europe", "x" * 5_000])
def test_a_timezone_that_this_machine_does_not_know_gives_one_warning(
    server: Scripted, tmp_path: Path, name: str
) -> None:
    server.replies = [data({"id": 5, "timezone_name": name}), data([{"id": 1, "name": "Sales"}])]
    with pdframe.connect(
        base_url=server.url, api_token=TOKEN, cache_dir=tmp_path, progress=False
    ) as account:
        with pytest.warns(
            DataWarning, match=r"does not know the timezone .* days are cut in UTC"
        ) as said:
            assert account.pipelines().attrs["tz"] == "UTC"
        assert "account.tz" not in str(said[0].message)
        assert len(said) == 1
        # A second warning would be an error here.
        assert account.tz == "UTC"
        assert account.pipelines(refresh=False).attrs["tz"] == "UTC"


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_null_on_a_list_is_an_empty_table(
    account: pdframe.Account, server: Scripted, api: str
) -> None:
    server.replies.append(data(None))
    frame = account.users() if api == "v1" else account.pipelines()
    assert len(frame) == 0
    assert str(frame["id"].dtype) == "Int64"


def test_what_was_cached_survives_a_failed_reload(
    account: pdframe.Account, server: Scripted
) -> None:
    server.replies += [
        data([{"id": 1, "name": "Sales"}]),
        data([{"id": 1, "name": "Changed"}], "more"),
        html(403),
    ]
    before = account.pipelines()
    with pytest.raises(BlockedError):
        account.pipelines(refresh="full")
    assert account.pipelines(refresh=False).equals(before)


def test_where_users_me_is_refused_the_cache_is_named_by_host(
    server: Scripted, tmp_path: Path
) -> None:
    server.replies = [failed(403, "Scope and URL mismatch"), data([{"id": 1, "name": "Sales"}])]
    with pdframe.connect(
        base_url=server.url, api_token=TOKEN, cache_dir=tmp_path, progress=False
    ) as account:
        assert len(account.pipelines()) == 1
        assert account.cache_path.name.startswith("127.0.0.1-")
        assert (account.user, account.currency, account.tz) == (None, None, "UTC")


def test_values_and_columns_of_no_schema_are_kept_with_a_warning(
    account: pdframe.Account, server: Scripted
) -> None:
    server.replies.append(
        data([{"id": 1, "order_nr": "third", "colour": {"hex": "#fff"}}, {"id": 2, "order_nr": 2}])
    )
    with pytest.warns(
        pdframe.DataWarning, match=r"pipelines, column 'order_nr': 1 value does not fit .* 'third'"
    ):
        frame = account.pipelines()
    assert frame["order_nr"].tolist()[1] == 2
    assert frame["order_nr"].isna()[0]
    assert frame["colour"][0] == '{"hex":"#fff"}'


def test_a_ceiling_stops_before_the_request_and_says_when_to_go_on() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, max_tokens=100
    ) as account:
        with pytest.raises(BudgetError, match=r"max_tokens=100.*Kept: .*deal_fields") as caught:
            account.sync()
        assert caught.value.resume_at is not None
        assert account.server.stats.tokens <= 100
        assert account.status().set_index("table")["rows"]["deal_fields"] > 0


def test_the_account_s_own_budget_stops_with_what_is_kept() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, daily_tokens=60
    ) as account:
        with pytest.raises(BudgetError) as caught:
            account.sync()
        assert caught.value.resume_at is not None
        assert "Kept: " in caught.value.kept


def test_activities_load_where_their_fields_are_withheld(tmp_path: Path) -> None:
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"admin"})
    with Server(sandbox.Company(seed=3, deals=60), oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as account:
            done = account.sync("activities").set_index("table")["mode"].to_dict()
            assert done == {"activities": "full", "activity_fields": "unavailable"}
            with pytest.warns(pdframe.DataWarning, match="priority"):
                assert len(account.activities(refresh=False)) > 0
            # Said once; a warning is an error here.
            assert len(account.activities()) > 0
            before = account.tokens_today
            account.activities()
            assert account.tokens_today == before
            with pytest.raises(AccessError, match="scope"):
                account.fields("activities")


def test_fifteen_in_a_hundred_answers_are_bad_and_every_row_arrives() -> None:
    with sandbox.connect(
        seed=3, deals=300, company="hostile", burst=100_000, progress=False
    ) as account:
        faults = sandbox.Faults(
            rate=0.15,
            seed=1,
            kinds=("html_502", "html_503", "drop", "truncate", "cut_gzip", "rate_429_retry_after"),
        )
        without_waiting(account)
        account.server.faults = faults
        done = account.sync("stages", "pipelines", "deals", "products").set_index("table")["rows"]
        company = account.company_model
        assert done["deals"] == sum(
            not row["is_deleted"] for row in company.tables["deals"].values()
        )
        assert done["products"] == sum(
            not row["is_deleted"] for row in company.tables["products"].values()
        )
