"""Addresses of records in Pipedrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import ArgumentError

HOME = "https://sandbox-seed3-60.pipedrive.com"


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("deals", "deal"),
        ("deal", "deal"),
        ("persons", "person"),
        ("organizations", "organization"),
        ("products", "product"),
        ("projects", "projects"),
        ("project", "projects"),
    ],
)
def test_each_table_of_records_has_its_pages(
    account: sandbox.SandboxAccount, table: str, path: str
) -> None:
    assert account.url(table, 17) == f"{HOME}/{path}/17"


def test_a_column_of_ids_gives_a_column_with_its_index(account: sandbox.SandboxAccount) -> None:
    ids = pd.Series([4, None, 2**60], [9, 8, 7], dtype="Int64", name="org_id")
    result = account.url("organizations", ids)
    assert result.name == "url"
    assert result.index.to_list() == [9, 8, 7]
    assert result.isna().to_list() == [False, True, False]
    assert result[7] == f"{HOME}/organization/{2**60}"
    assert account.url("deals", [1, 2]).to_list() == [f"{HOME}/deal/1", f"{HOME}/deal/2"]
    assert account.url("deals", ids.astype("Float64").head(2)).isna().to_list() == [False, True]
    assert account.url("deals", []).dtype == "str"


def test_the_known_account_sends_no_request(account: sandbox.SandboxAccount) -> None:
    account.url("deals", 1)
    account.server.reset_stats()
    account.url("deals", range(1, 1000))
    assert not account.server.requests


@pytest.mark.parametrize(
    ("table", "ids", "message"),
    [
        ("dealz", 1, "Did you mean 'deals'?"),
        ("activities", 1, r"account\.url\('deals', frame\['deal_id'\]\)"),
        (3, 1, "table must be one of deals, persons"),
        ("deals", "one", "ids must be an id or a column of ids"),
        ("deals", None, "ids must be an id or a column of ids"),
        ("deals", True, "ids must be an id or a column of ids"),
        ("deals", 1.5, "ids must be an id or a column of ids"),
        ("deals", ["a/../b"], "ids must be an id or a column of ids"),
    ],
)
def test_what_has_no_page_is_an_error(
    account: sandbox.SandboxAccount, table: Any, ids: Any, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        account.url(table, ids)


@pytest.mark.parametrize("domain", [None, "evil.example/x", "a b", "javascript:alert(1)//", "-"])
def test_a_domain_that_is_none_is_not_put_into_a_link(
    account: sandbox.SandboxAccount, domain: Any, tmp_path: Path
) -> None:
    account.company_model.info["company_domain"] = domain
    server = account.server
    with pdframe.connect(base_url=server.url, api_token=server.token, cache_dir=tmp_path) as other:
        assert other.url("deals", 1) == f"{server.url}/deal/1"
