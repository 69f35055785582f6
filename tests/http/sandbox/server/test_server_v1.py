"""The reads that exist only in v1."""

from tests.helpers.server_wire import get, ids, walk


def test_users_are_all_there(company, server):
    rows = get(server, "/api/v1/users").data
    assert ids(rows) == list(company.tables["users"])
    assert [row["id"] for row in rows if row["is_you"]] == [company.me]
    assert {row["active_flag"] for row in rows} == {True, False}


def test_me_knows_the_company(company, server):
    me = get(server, "/api/v1/users/me").data
    assert me["id"] == company.me
    for key, value in company.info.items():
        assert me[key] == value


def test_empty_lists_are_null(serve, new_company):
    server = serve(new_company)
    deal = new_company.add_deal("Fresh")
    assert get(server, f"/api/v1/deals/{deal}/changelog").json["data"] is None
    assert get(server, "/api/v1/leads").json["data"] is None
    assert get(server, "/api/v1/leads/archived").json["data"] is None
    assert get(server, "/api/v1/currencies", term="nothing").json["data"] is None
    assert get(server, "/api/v1/deals/999999999/changelog").status == 404


def test_the_changelog_equals_the_companys(company, server):
    for deal in ids(walk(server, "deals"))[:40]:
        assert (
            walk(server, f"/api/v1/deals/{deal}/changelog", limit=9)
            == company.deal_changelog(deal)[::-1]
        )


def test_flow_pages_by_offset(company, server):
    deal = next(i for i in ids(walk(server, "deals")) if len(company.deal_changelog(i)) > 3)
    full = get(server, f"/api/v1/deals/{deal}/flow", limit=500, all_changes="1").json
    assert not full["additional_data"]["more_items_in_collection"]
    times = [row["timestamp"] for row in full["data"]]
    assert times == sorted(times, reverse=True)
    first = get(server, f"/api/v1/deals/{deal}/flow", limit=2, all_changes="1").json
    assert first["additional_data"]["more_items_in_collection"]
    rest = get(server, f"/api/v1/deals/{deal}/flow", limit=500, start=2, all_changes="1").json
    assert first["data"] + rest["data"] == full["data"]
    changes = get(
        server, f"/api/v1/deals/{deal}/flow", limit=500, items="dealChange", all_changes="1"
    ).data
    assert len(changes) == len(company.deal_changelog(deal))


def test_vocabularies(company, server):
    assert {row["code"] for row in get(server, "/api/v1/currencies").data} == {"EUR", "USD", "GBP"}
    types = {row["key_string"] for row in get(server, "/api/v1/activityTypes").data}
    assert {row["type"] for row in company.tables["activities"].values()} <= types
    assert len(get(server, "/api/v1/leadLabels").data) == 3
