"""Searches as frames: what is found, what it costs, and what is refused before it costs
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import DataWarning, sandbox
from pdframe.errors import ArgumentError
from tests.helpers import true_cells
from tests.helpers.internals import without_burst_limit
from tests.helpers.notices import notes_in
from tests.helpers.proxy import altered
from tests.helpers.scripted_server import Reply, Scripted, data, fail

NAMES = {
    "deals": "title",
    "persons": "name",
    "organizations": "name",
    "products": "name",
    "projects": "title",
}


@pytest.fixture(scope="module")
def company() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=300, company="hostile", burst=100_000, search_burst=100_000, progress=False
    ) as account:
        yield account


@pytest.fixture
def account(company: sandbox.SandboxAccount) -> sandbox.SandboxAccount:
    company.deals(columns=["id"])
    # The API allows ten searches in two seconds: the tests do not wait for that.
    without_burst_limit(company)
    company.server.reset_stats()
    return company


def holding(account: sandbox.SandboxAccount, term: str) -> set[tuple[str, int]]:
    """Return type and id of every visible row whose name or title contains the term."""
    state = true_cells.fold(account.company_model.events)
    return {
        (table.removesuffix("s"), row["id"])
        for table, column in NAMES.items()
        for row in true_cells.visible(state, table)
        if term in row[column].lower()
    }


def test_every_item_whose_name_contains_the_term_is_returned(
    account: sandbox.SandboxAccount,
) -> None:
    result = account.search("soft", fields=["name", "title"], max_items=5_000)
    assert set(zip(result["type"], result["id"], strict=True)) == holding(account, "soft")
    assert result["score"].is_monotonic_decreasing
    state = true_cells.fold(account.company_model.events)
    for row in result.itertuples():
        table = f"{row.type}s"
        assert row.name == state[table][row.id][NAMES[table]]
    deals = result[result["type"] == "deal"]
    assert deals["stage_id"].tolist() == [state["deals"][deal]["stage_id"] for deal in deals["id"]]
    assert deals["stage_name"].tolist() == [
        state["stages"][stage]["name"] for stage in deals["stage_id"]
    ]
    assert deals["owner_id"].tolist() == [state["deals"][deal]["owner_id"] for deal in deals["id"]]
    assert deals["org_id"].tolist() == [state["deals"][deal]["org_id"] for deal in deals["id"]]


def test_a_search_of_all_types_pages_by_a_hundred_and_is_never_cached(
    account: sandbox.SandboxAccount,
) -> None:
    full = account.search("an", max_items=5_000)
    pages = -(-len(full) // 100)
    assert pages > 1
    assert account.server.stats.tokens == 20 * pages
    account.search("an", max_items=5_000)
    assert account.server.stats.tokens == 40 * pages


def test_one_type_is_searched_by_its_own_search_in_pages_of_500(
    account: sandbox.SandboxAccount,
) -> None:
    result = account.search("deal", "deal", max_items=5_000)
    assert len(result) > 100
    assert [entry.template for entry in account.server.requests] == ["/api/v2/deals/search"]
    assert set(result["type"]) == {"deal"}


def test_most_items_are_reported_when_there_are_more(account: sandbox.SandboxAccount) -> None:
    with pytest.warns(DataWarning, match="more than 7 items"):
        first = account.search("an", max_items=7)
    with pytest.warns(DataWarning, match="more than 150 items"):
        assert len(account.search("an", max_items=150)) == 150
    assert len(first) == 7
    assert account.server.stats.requests == 3
    exact = account.search("an", max_items=5_000)
    assert len(account.search("an", max_items=len(exact))) == len(exact)


def test_filters_of_one_type(account: sandbox.SandboxAccount) -> None:
    state = true_cells.fold(account.company_model.events)
    won = account.search("deal", "deal", status="won", max_items=5_000)
    assert set(won["status"]) == {"won"}
    org = int(won["org_id"].dropna().iloc[0])
    of_one = account.search("deal", "deal", org_id=org)
    assert {state["deals"][deal]["org_id"] for deal in of_one["id"]} == {org}


def test_no_match_keeps_columns_and_dtypes(account: sandbox.SandboxAccount) -> None:
    some, none = account.search("soft", max_items=5_000), account.search("no such thing anywhere")
    assert len(none) == 0
    assert [str(dtype) for dtype in none.dtypes] == [
        str(dtype) for dtype in some[none.columns].dtypes
    ]
    assert str(none["id"].dtype) == "Int64"
    assert len(account.search_field("no such thing", "deal", "title")) == 0


def test_text_of_the_crm_is_as_it_stands_there(account: sandbox.SandboxAccount) -> None:
    name = '=HYPERLINK("x") <b>bold</b> \u202e 地域'
    new = account.company_model.add_person(name)
    result = account.search("hyperlink", "person")
    assert result.loc[result["id"] == new, "name"].tolist() == [name]


@pytest.mark.parametrize("shape", ["schema", "example"])
def test_one_field_is_searched_by_label_or_code_in_either_shape_of_answer(shape: str) -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        field_search=shape,
        search_burst=100_000,
    ) as account:
        fields = account.fields("persons")
        company = account.company_model
        code = company.add_field("person", "Badge number", "varchar")
        new = company.add_person("Ada", custom_fields={code: "Q-17"})
        account.sync("person_fields")
        for field in ("Badge number", code):
            result = account.search_field("Q-17", "person", field)
            assert result[["type", "id", "value"]].values.tolist() == [["person", new, "Q-17"]]
        assert len(account.search_field("q-17", "person", code)) == 0
        assert account.search_field("Q-", "person", code, match="beginning")["id"].tolist() == [new]
        assert account.search_field("-1", "person", code, match="middle")["id"].tolist() == [new]
        assert new in account.search_field("Ada", "person", "name")["id"].tolist()
        assert not fields.empty


Call = Callable[[sandbox.SandboxAccount], pd.DataFrame]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda a: a.search("a"), "two characters"),
        (lambda a: a.search("  a  "), "two characters"),
        (lambda a: a.search("", exact=True), "one character"),
        (lambda a: a.search(17), "must be text"),
        (lambda a: a.search("an", "deals"), r"types must be some of deal.* Did you mean 'deal'\?"),
        (lambda a: a.search("an", types="Companies"), r"Did you mean 'organization'\?"),
        (lambda a: a.search("an", types=["people"]), r"Did you mean 'person'\?"),
        (lambda a: a.search("an", ["deal", "note"]), "'note'"),
        (lambda a: a.search("an", fields="mail"), "fields must be some of.* Did you mean 'email'"),
        (lambda a: a.search("an", "deal", fields="email"), "'email' is of none of these types"),
        (lambda a: a.search("an", max_items=0), "max_items"),
        (lambda a: a.search("an", status="won"), "one type: deal"),
        (lambda a: a.search("an", "deal", status="open "), "'open', 'won' or 'lost'"),
        (lambda a: a.search("an", "product", org_id=3), "one type: deal, person"),
        (lambda a: a.search_field("a", "deal", "title", match="middle"), "two characters"),
        (lambda a: a.search_field("", "deal", "title"), "one character"),
        (lambda a: a.search_field("an", "deals", "title"), "entity must be one of.* mean 'deal'"),
        (lambda a: a.search_field("an", ["deal"], "title"), "entity must be one of"),
        (
            lambda a: a.search_field("an", "deal", ["title"]),
            "must be the label or the code of a field",
        ),
        (lambda a: a.search_field("an", "deal", None), "must be the label or the code of a field"),
        (lambda a: a.search("x" * 70_000), "too long"),
        (lambda a: a.search_field("an", "deal", "title", match="start"), "match must be"),
        (lambda a: a.search_field("an", "deal", "No such field"), "no field 'No such field'"),
        (lambda a: a.search_field("an", "deal", "Region"), "2 fields have the label 'Region'"),
        (
            lambda a: a.search_field("an", "deal", "Причина"),
            "does not search fields of type 'enum'",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_a_token_is_spent(
    account: sandbox.SandboxAccount, call: Call, said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        call(account)
    assert account.server.stats.tokens == 0


def test_leads_have_ids_of_text_and_unknown_columns_are_kept(
    account: sandbox.SandboxAccount,
) -> None:
    item = {
        "id": "adf21080-0e10-11eb-879b-05d71fb426ec",
        "type": "lead",
        "title": "A lead",
        "is_archived": False,
        "heat": {"level": 3},
    }
    rows = [
        {"result_score": 0.5, "item": item},
        {"result_score": 0.4, "item": {"id": 3, "type": "file", "name": "a.txt", "url": "/f"}},
    ]

    def answer(path: str, params: Mapping[str, str], content: Any) -> None:
        if path == "/itemSearch":
            content["data"] = {"items": rows}
            content["additional_data"] = {"next_cursor": None}

    with altered(account, answer) as other:
        result = other.search("lead")
    assert result["lead_id"].tolist()[0] == item["id"]
    assert pd.isna(result["id"][0])
    assert result["id"][1] == 3
    assert result["name"].tolist() == ["A lead", "a.txt"]
    assert result["heat"][0] == '{"level":3}'


def test_a_search_warns_once_of_all_its_columns(account: sandbox.SandboxAccount) -> None:
    strange = {"id": 3, "type": "deal", "value": "much", "is_archived": "perhaps", "stage": 7}
    rows = [{"result_score": "high", "item": strange}] * 3

    def answer(path: str, params: Mapping[str, str], content: Any) -> None:
        if path in ("/itemSearch", "/itemSearch/field"):
            hits = [{"id": 3, "name": 5.5, "result_score": "high"}]
            content["data"] = {"items": rows} if path == "/itemSearch" else hits
            content["additional_data"] = {"next_cursor": None}

    with altered(account, answer) as other:
        with pytest.warns(DataWarning) as said:
            result = other.search("deal", max_items=2)
        assert len(said) == 1
        notes = notes_in(said)
        assert len(notes) > 2
        assert any("more than 2 items match" in note for note in notes)
        assert any("search, column 'score'" in note for note in notes)
        assert result["score"].isna().all()
        # The facts are said once an account, the limit at every call.
        with pytest.warns(DataWarning) as again:
            other.search("deal", max_items=2)
        assert [note for note in notes_in(again) if "column" in note] == []
        with pytest.warns(DataWarning, match="search_field, column 'score'") as field:
            other.search_field("deal", "deal", "title")
        assert len(field) == 1
        assert {"search", "search_field"} <= {*other.warnings()["table"]}


def test_a_field_is_searched_by_code_where_the_list_of_fields_is_withheld(tmp_path: Path) -> None:
    def reply(seen: Any) -> Reply:
        if seen.path.endswith("/users/me"):
            return data({"id": 1, "company_id": 7, "company_name": "Acme", "timezone_name": "UTC"})
        if "Fields" in seen.path:
            return fail(403, "Scope and URL mismatch")
        return data([{"id": 1, "name": "x"}] if "itemSearch" in seen.path else [])

    with Scripted.running() as server:
        server.last = reply
        with pdframe.connect(
            base_url=server.url, api_token="x" * 40, cache_dir=tmp_path, progress=False
        ) as account:
            assert account.search_field("ab", "deal", "title")["id"].tolist() == [1]
