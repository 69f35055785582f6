"""Answers that belong to another request, and lists that never bring anything new: typed errors,
and what was cached is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pdframe
from pdframe.api.pagination import MAX_REPEATED_PAGES
from pdframe.errors import PdframeError, ResponseError
from pdframe.sync import DEFAULT_OPTIONS
from tests.helpers.internals import without_burst_limit
from tests.helpers.scripted_server import Reply, Scripted, Seen, data
from tests.helpers.tuning import LONG_LISTS

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ME = {
    "id": 1,
    "name": "Ada",
    "company_name": "Acme",
    "company_domain": "acme",
    "default_currency": "EUR",
    "timezone_name": "UTC",
}
RESULT = [{"result_score": 1.0, "item": {"id": 5, "type": "deal", "title": "Deal"}}]
STAMP = "2026-01-02T03:04:05Z"


def deal(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Deal {number}",
        "status": "open",
        "stage_id": 1,
        "pipeline_id": 1,
        "update_time": STAMP,
    } | more


TABLES: dict[str, list[dict[str, Any]]] = {
    "/api/v2/deals": [deal(1), deal(2)],
    "/api/v2/deals/archived": [],
    "/api/v2/dealFields": [
        {
            "field_code": "title",
            "field_name": "Title",
            "field_type": "varchar",
            "is_custom_field": False,
        }
    ],
    "/api/v2/stages": [
        {"id": 1, "name": "First", "pipeline_id": 1},
        {"id": 2, "name": "Second", "pipeline_id": 1},
    ],
    "/api/v2/pipelines": [{"id": 1, "name": "Sales"}],
    "/api/v1/users": [{"id": 1, "name": "Ada"}],
    "/api/v1/deals/1/changelog": [
        {"field_key": "value", "old_value": "1", "new_value": "2", "time": "2026-01-01 00:00:00"}
    ],
    "/api/v2/deals/1/followers": [{"user_id": 1, "add_time": STAMP}],
    "/api/v2/deals/products": [{"id": 7, "deal_id": 1, "name": "P", "sum": 1}],
    "/api/v2/deals/search": RESULT,
    "/api/v2/itemSearch": RESULT,
    "/api/v2/itemSearch/field": [{"id": 5, "title": "Deal"}],
}


class Company:
    """A server that has a few rows in each list; `other` answers some paths instead."""

    def __init__(self, scripted: Scripted) -> None:
        self.scripted, self.other = scripted, dict[str, Callable[[Seen], Reply]]()
        scripted.replies, scripted.last = [], self.answer
        scripted.seen.clear()

    def answer(self, seen: Seen) -> Reply:
        if seen.path in self.other:
            return self.other[seen.path](seen)
        if seen.path == "/api/v1/users/me":
            return data(ME)
        rows = TABLES.get(seen.path, [])
        if seen.params.get("status") == "deleted":
            rows = []
        return data({"items": rows} if "earch" in seen.path else rows)

    def requested(self, path: str) -> int:
        return sum(seen.path == path for seen in self.scripted.seen)


@pytest.fixture
def company(scripted: Scripted) -> Company:
    return Company(scripted)


@pytest.fixture
def account(
    company: Company, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[pdframe.Account]:
    with pdframe.connect(
        base_url=company.scripted.url,
        api_token=TOKEN,
        cache_dir=tmp_path,
        progress=False,
        metadata_age=0 if "field list" in request.node.name else "1D",
        options=LONG_LISTS if "long_lists" in request.fixturenames else DEFAULT_OPTIONS,
    ) as account:
        without_burst_limit(account)
        yield account


LOADS: dict[str, tuple[str, Callable[[pdframe.Account, Any], Any]]] = {
    "list": ("/api/v2/stages", lambda account, refresh: account.stages(refresh=refresh)),
    "v1 list": ("/api/v1/users", lambda account, refresh: account.users(refresh=refresh)),
    "several lists": ("/api/v2/deals", lambda account, refresh: account.deals(refresh=refresh)),
    "archived list": (
        "/api/v2/deals/archived",
        lambda account, refresh: account.deals(refresh=refresh),
    ),
    "field list": ("/api/v2/dealFields", lambda account, refresh: account.fields("deals")),
    "changes": (
        "/api/v1/deals/1/changelog",
        lambda account, refresh: account.deal_changes([1], refresh=refresh),
    ),
    "followers": (
        "/api/v2/deals/1/followers",
        lambda account, refresh: account.deal_followers([1], refresh=refresh),
    ),
    "line items": (
        "/api/v2/deals/products",
        lambda account, refresh: account.deal_products(refresh=refresh),
    ),
    "search": ("/api/v2/deals/search", lambda account, refresh: account.search("deal", "deal")),
    "search of all types": ("/api/v2/itemSearch", lambda account, refresh: account.search("deal")),
    "search of a field": (
        "/api/v2/itemSearch/field",
        lambda account, refresh: account.search_field("deal", "deal", "title"),
    ),
}
# Rows as other lists have them; each lacks what tells a row of the list that was asked.
ANOTHERS = {
    "of a search": RESULT,
    "without anything": [{}, {}],
    "of a changelog": [{"field": "x", "old": 1, "new": 2}],
    "with an id that is null": [{"id": None, "name": "x"}],
}


@pytest.mark.parametrize(
    ("load", "rows"),
    [
        (load, rows)
        for load in LOADS
        for rows in ANOTHERS
        if rows != "of a search" or "search" not in load
    ],
)
def test_a_page_of_another_list_is_an_error_and_never_reaches_the_cache(
    company: Company, account: pdframe.Account, load: str, rows: str
) -> None:
    path, ask = LOADS[load]
    before = ask(account, True)
    company.other[path] = lambda seen: data(
        {"items": ANOTHERS[rows]} if "earch" in path else ANOTHERS[rows]
    )
    with pytest.raises(ResponseError, match="the answer of another list"):
        ask(account, "full" if load in ("changes", "followers", "line items") else True)
    del company.other[path]
    if "earch" not in path:
        kept = ask(account, False)
        assert kept.equals(before)
        assert len(kept) == len(before)


def test_a_search_that_is_answered_with_another_type_is_another_request_s(
    company: Company, account: pdframe.Account
) -> None:
    company.other["/api/v2/persons/search"] = lambda seen: data({"items": RESULT})
    with pytest.raises(ResponseError, match="a requested type"):
        account.search("deal", "person")


def test_line_items_of_deals_that_were_not_requested_are_another_request_s(
    company: Company, account: pdframe.Account
) -> None:
    company.other["/api/v2/deals/products"] = lambda seen: data(
        [{"id": 8, "deal_id": 77, "name": "Q"}]
    )
    with pytest.raises(ResponseError, match="deals that were requested"):
        account.deal_products()


def test_deletions_of_another_list_are_an_error(
    company: Company, account: pdframe.Account, long_lists: None
) -> None:
    before = account.deals()
    company.other["/api/v2/deals"] = lambda seen: data(
        RESULT if seen.params.get("status") == "deleted" else TABLES["/api/v2/deals"]
    )
    with pytest.raises(ResponseError, match="another list"):
        account.deals(refresh=True)
    assert account.deals(refresh=False).equals(before)


def test_one_row_without_an_id_among_many_is_left_out_and_reported(
    company: Company, account: pdframe.Account
) -> None:
    company.other["/api/v2/stages"] = lambda seen: data(
        [*TABLES["/api/v2/stages"], {"name": "no id"}]
    )
    with pytest.warns(pdframe.DataWarning, match="1 row has no id"):
        assert account.stages()["id"].tolist() == [1, 2]


@pytest.mark.parametrize("load", LOADS)
def test_a_list_that_brings_nothing_new_ends_after_a_few_pages(
    company: Company, account: pdframe.Account, load: str
) -> None:
    path, ask = LOADS[load]
    rows = TABLES[path] or [deal(3, is_archived=True)]
    turns = iter(range(10_000))
    company.other[path] = lambda seen: data(
        {"items": rows} if "earch" in path else rows, f"c{next(turns)}"
    )
    with pytest.raises(ResponseError, match="with a new cursor"):
        ask(account, True)
    # A long list is read from both ends, each of which ends by itself.
    assert company.requested(path) <= 4 * (MAX_REPEATED_PAGES + 1)


def test_a_cell_nested_beyond_all_reason_is_null_and_reported(
    company: Company, account: pdframe.Account
) -> None:
    deep = '{"deeper": [' * 2_500 + "]}" * 2_500
    body = json.dumps(
        {"success": True, "data": TABLES["/api/v2/stages"], "additional_data": None}
    ).replace('"Second"', f'"Second", "odd": {deep}')
    company.other["/api/v2/stages"] = lambda seen: Reply(
        200, b"\xef\xbb\xbf" + body.encode(), {"content-type": "application/json"}
    )
    with pytest.warns(pdframe.DataWarning, match="'odd': 1 value does not fit"):
        stages = account.stages()
    assert stages["name"].tolist() == ["First", "Second"]
    assert stages["odd"].isna().all()


@pytest.mark.parametrize("depth", [99, 100, 101, 149, 150, 151, 400, 900, 990, 1_100, 5_000])
def test_no_limit_of_recursion_decides_what_is_kept(
    company: Company, account: pdframe.Account, depth: int
) -> None:
    """A page of more rows than one is read into slots from the second page on: both ways give the
    same.
    """
    deep = "[" * depth + "]" * depth

    def page(seen: Seen) -> Reply:
        first = "cursor" not in seen.params
        rows = [
            {"id": number, "name": f"S{number}", "odd": "DEEP"}
            for number in ((1, 2) if first else (3, 4))
        ]
        body = json.dumps(
            {
                "success": True,
                "data": rows,
                "additional_data": {"next_cursor": "c" if first else None},
            }
        )
        return Reply(
            200, body.replace('"DEEP"', deep).encode(), {"content-type": "application/json"}
        )

    company.other["/api/v2/stages"] = page
    if depth <= 100:
        assert account.stages()["odd"].tolist() == [deep] * 4
    else:
        with pytest.warns(pdframe.DataWarning, match="'odd': 4 values do not fit"):
            assert account.stages()["odd"].isna().all()


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:04Z",
        "0999-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
    ],
)
@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0100 00:00:00 GMT",
        "Tue, 30 Jun 2026 12:00:00 GMT",
    ],
)
def test_times_at_the_edge_of_time_never_stop_a_refresh(
    company: Company, account: pdframe.Account, long_lists: None, time: str, date: str
) -> None:
    rows = [deal(1, update_time=time), deal(2, update_time=time)]
    ticks = iter(range(10_000))

    def page(seen: Seen) -> Reply:
        shown = data([] if seen.params.get("status") == "deleted" else rows)
        when = date.replace("23:59:59", f"23:{next(ticks) % 60:02}:59")
        return Reply(200, shown.body, shown.headers | {"date": when})

    company.other["/api/v2/deals"] = page
    for _ in range(3):
        try:
            deals = account.deals(refresh=True)
        except PdframeError as error:
            pytest.fail(f"{type(error).__name__}: {error}")
        assert deals["id"].tolist() == [1, 2]
