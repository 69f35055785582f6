"""Filters: what each lets through, checked against the company's own rows."""

import pytest

from pdframe.sandbox.company import Company
from tests.helpers.server_wire import get, ids, walk

DAY = 86_400


def visible(company, table, archived=None):
    return [
        row
        for i, row in company.tables[table].items()
        if (table, i) not in company.deleted_at
        and not row.get("is_deleted")
        and (table, i) not in company.hidden
        and (
            archived is None or bool(row.get("is_archived") or row.get("archive_time")) is archived
        )
    ]


@pytest.mark.parametrize(
    ("path", "table", "archived", "name", "column"),
    [
        *(
            ("deals", "deals", False, n, n)
            for n in ("owner_id", "person_id", "org_id", "pipeline_id", "stage_id")
        ),
        ("deals/archived", "deals", True, "owner_id", "owner_id"),
        *(
            ("activities", "activities", None, n, n)
            for n in ("owner_id", "deal_id", "person_id", "org_id")
        ),
        ("persons", "persons", None, "owner_id", "owner_id"),
        ("persons", "persons", None, "org_id", "org_id"),
        ("organizations", "organizations", None, "owner_id", "owner_id"),
        ("products", "products", None, "owner_id", "owner_id"),
        ("stages", "stages", None, "pipeline_id", "pipeline_id"),
        ("projects", "projects", False, "phase_id", "phase_id"),
        ("tasks", "tasks", None, "project_id", "project_id"),
    ],
)
def test_filters_by_a_column(company, server, path, table, archived, name, column):
    rows = visible(company, table, archived)
    value = next(row[column] for row in rows[len(rows) // 2 :] + rows if row[column] is not None)
    result = ids(walk(server, path, **{name: value}))
    assert result == [row["id"] for row in rows if row[column] == value]
    assert len(result) > 0
    assert walk(server, path, **{name: 987_654_321}) == []
    assert get(server, path, **{name: "abc"}).status == 400


@pytest.mark.parametrize(
    "path", ["deals", "deals/archived", "activities", "persons", "organizations"]
)
def test_updated_since_is_inclusive_and_updated_until_exclusive(server, path):
    rows = walk(server, path)
    times = sorted(row["update_time"] for row in rows)
    middle = times[len(times) // 2]
    since, until = (
        walk(server, path, updated_since=middle),
        walk(server, path, updated_until=middle),
    )
    assert {row["id"] for row in since} == {
        row["id"] for row in rows if row["update_time"] >= middle
    }
    assert {row["id"] for row in until} == {
        row["id"] for row in rows if row["update_time"] < middle
    }
    assert ids(
        walk(server, path, updated_since=middle, updated_until=times[-1], sort_by="update_time")
    ) == [
        i
        for t, i in sorted((row["update_time"], row["id"]) for row in rows)
        if middle <= t < times[-1]
    ]


def test_times_may_carry_an_offset_but_no_fraction(company, server):
    rows = walk(server, "deals", updated_since="2026-01-01T00:00:00Z")
    assert ids(walk(server, "deals", updated_since="2026-01-01T02:00:00+02:00")) == ids(rows)
    bad = [
        "2025-01-01T00:00:00.123Z",
        "2025-01-01",
        "2025-01-01 00:00:00",
        "2025-02-30T00:00:00Z",
        "x",
        "2025-01-01T00:00:00",
        "0001-01-01T00:00:00+23:00",
    ]
    for text in bad:
        assert get(server, "deals", updated_since=text).status == 400, text


def test_products_know_updated_since_or_refuse_it(serve, new_company):
    product = new_company.add_product("Late")
    server = serve(new_company)
    since = new_company.tables["products"][product]["update_time"]
    assert product in ids(walk(server, "products", updated_since=since))
    assert get(server, "products", updated_until=since).status == 400
    older = serve(new_company, products_updated_since=False)
    assert get(older, "products", updated_since=since).status == 400
    assert product in ids(walk(older, "products"))


def test_status_takes_a_list(company, server):
    for status in ("open", "won", "lost", "won,lost", "lost,open,won"):
        expected = [
            row["id"]
            for row in visible(company, "deals", archived=False)
            if row["status"] in status.split(",")
        ]
        assert ids(walk(server, "deals", status=status)) == expected
    assert get(server, "deals", status="won,gone").status == 400
    for status in ("open", "completed", "canceled"):
        expected = [
            row["id"]
            for row in visible(company, "projects", archived=False)
            if row["status"] == status
        ]
        assert ids(walk(server, "projects", status=status)) == expected


def test_deleted_deals_are_listed_for_30_days(serve, new_company):
    kept, old, fresh, archived = (new_company.add_deal(f"Deal {n}") for n in range(4))
    new_company.archive_deal(archived)
    new_company.delete_deal(old)
    new_company.now += 20 * DAY
    new_company.delete_deal(fresh)
    new_company.delete_deal(archived)
    server = serve(new_company)
    assert ids(walk(server, "deals")) == [kept]
    assert ids(walk(server, "deals", status="deleted")) == [old, fresh]
    assert ids(walk(server, "deals", status="deleted,open")) == [kept, old, fresh]
    assert ids(walk(server, "deals/archived")) == []
    assert ids(walk(server, "deals/archived", status="deleted")) == [archived]
    assert all(row["is_deleted"] for row in walk(server, "deals", status="deleted"))
    new_company.now += 15 * DAY
    assert ids(walk(server, "deals", status="deleted")) == [fresh]
    assert get(server, f"deals/{fresh}").status == 404
    new_company.now += 60 * DAY
    assert walk(server, "deals", status="deleted") == []


def test_hidden_rows_are_nowhere(serve, new_company):
    org = new_company.add_organization("Secret Ltd")
    deal = new_company.add_deal("Secret deal", org_id=org)
    product = new_company.add_product("Thing", 10.0)
    new_company.add_line(deal, product)
    server = serve(new_company)
    assert ids(walk(server, "deals")) == [deal]
    assert len(walk(server, "deals/products", deal_ids=deal)) == 1
    new_company.hide("deals", deal)
    assert walk(server, "deals") == []
    assert walk(server, "deals", ids=deal) == []
    assert walk(server, "deals/products", deal_ids=deal) == []
    assert get(server, f"deals/{deal}").status == 404
    assert get(server, f"deals/{deal}/products").status == 404
    assert get(server, f"/api/v1/deals/{deal}/changelog").status == 404
    assert get(server, "deals/search", term="Secret").data["items"] == []


def test_archived_deals_are_in_their_own_list_alone(serve, new_company):
    deal = new_company.add_deal("Old")
    product = new_company.add_product("Thing", 10.0)
    new_company.add_line(deal, product)
    new_company.archive_deal(deal)
    server = serve(new_company)
    assert walk(server, "deals") == []
    assert ids(walk(server, "deals/archived")) == [deal]
    assert get(server, f"deals/{deal}").data["is_archived"] is True
    assert len(walk(server, "deals/products", deal_ids=deal)) == 1


def test_ids_selects_at_most_100(company, server):
    some = ids(visible(company, "deals", archived=False))[5:60:7]
    assert (
        ids(walk(server, "deals", ids=",".join(map(str, [*some[::-1], 999_999_999])), limit=3))
        == some
    )
    assert get(server, "deals", ids=",".join(map(str, range(1, 102)))).status == 400
    assert get(server, "deals", ids="1,,2").status == 400
    archived = ids(visible(company, "deals", archived=True))[0]
    assert walk(server, "deals", ids=archived) == []


def test_flags_and_links(company, server):
    for done in ("true", "false"):
        expected = [
            row["id"] for row in visible(company, "activities") if row["done"] is (done == "true")
        ]
        assert ids(walk(server, "activities", done=done)) == expected
    assert get(server, "activities", done="yes").status == 400
    tasks = visible(company, "tasks")
    assert ids(walk(server, "tasks", is_done="true")) == [
        row["id"] for row in tasks if row["is_done"]
    ]
    assert ids(walk(server, "tasks", is_milestone="false")) == [
        row["id"] for row in tasks if not row["is_milestone"]
    ]
    assert ids(walk(server, "tasks", parent_task_id="null")) == [
        row["id"] for row in tasks if row["parent_task_id"] is None
    ]
    someone = next(row["assignee_ids"][0] for row in tasks if row["assignee_ids"])
    assert ids(walk(server, "tasks", assignee_id=someone)) == [
        row["id"] for row in tasks if someone in row["assignee_ids"]
    ]
    projects = visible(company, "projects", archived=False)
    deal = next(row["deal_ids"][0] for row in projects if row["deal_ids"])
    assert ids(walk(server, "projects", deal_id=deal)) == [
        row["id"] for row in projects if deal in row["deal_ids"]
    ]
    persons = set(ids(visible(company, "persons")))
    with_person = next(row for row in visible(company, "deals") if row["person_id"] in persons)
    assert ids(walk(server, "persons", deal_id=with_person["id"])) == [with_person["person_id"]]


def test_what_an_operation_does_not_take_is_refused(server):
    for path, name in (
        ("deals", "banana"),
        ("boards", "limit"),
        ("projects", "updated_since"),
        ("tasks", "sort_by"),
        ("stages", "include_fields"),
    ):
        assert get(server, path, **{name: "1"}).status == 400
    assert get(server, "deals/archived", include_option_labels="true").status == 400
    assert get(server, "deals", filter_id="5").status == 400


def test_deleted_projects_are_listed_on_demand(serve):
    company = Company(seed=2, deals=120)
    server = serve(company)
    live = walk(server, "projects")
    deleted = walk(server, "projects", status="deleted")
    assert not set(ids(live)) & set(ids(deleted))
    assert {row["status"] for row in deleted} <= {"deleted"}
    assert "deleted" not in {row["status"] for row in live}


def test_parameters_that_the_api_does_not_have_are_refused_or_ignored(serve, new_company):
    deal = new_company.add_deal("Asked for")
    new_company.add_deal("Another")
    extra = {"page_size": 1, "api_version": "2", "status": "open"}
    for setting in ("refused", "ignored"):
        server = serve(new_company, undeclared_params=setting)
        reply = get(server, "deals", **extra)
        assert reply.status == (200 if setting == "ignored" else 400)
        if setting == "ignored":
            assert len(reply.data) == 2
            assert get(server, f"deals/{deal}", nonsense=1).data["title"] == "Asked for"
            # What is declared is still checked, and what a path needs still required.
            assert get(server, "deals", limit=501, nonsense=1).status == 400
            assert get(server, "phases", nonsense=1).status == 400
            server = serve(new_company, undeclared_params=setting, products_updated_since=False)
            assert get(server, "products", updated_since="2099-01-01T00:00:00Z").status == 200
