"""The searches."""

import pytest

from pdframe.sandbox.company import Company
from tests.helpers.server_wire import get, ids


@pytest.fixture
def world(serve):
    company = Company(seed=1, deals=0)
    code = company.add_field("deal", "Remark", "text")
    org = company.add_organization("Aurora Works", address={"value": "Dabas, Hungary"})
    person = company.add_person(
        "Jane Aurora",
        org_id=org,
        emails=[{"value": "jane@aurora.example", "primary": True, "label": "work"}],
    )
    deals = [
        company.add_deal(title, org_id=org, person_id=person)
        for title in ("aurora", "Aurora renewal", "The AURORA deal", "Other")
    ]
    company.edit_deal(deals[3], custom_fields={code: "mentions aurora"})
    product = company.add_product("Aurora Box", 5.0)
    return (
        company,
        serve(company),
        {"org": org, "person": person, "deals": deals, "product": product, "code": code},
    )


def matches(reply):
    return [entry["item"]["id"] for entry in reply.data["items"]]


def test_deals_are_detected_by_title_and_custom_text_best_first(world):
    _, server, made = world
    reply = get(server, "deals/search", term="AuroRA")
    assert matches(reply) == made["deals"]
    scores = [entry["result_score"] for entry in reply.data["items"]]
    assert scores == sorted(scores, reverse=True)
    item = reply.data["items"][-1]["item"]
    assert item["custom_fields"] == ["mentions aurora"]
    assert item["organization"] == {
        "id": made["org"],
        "name": "Aurora Works",
        "address": "Dabas, Hungary",
    }
    assert matches(get(server, "deals/search", term="aurora", fields="title")) == made["deals"][:3]
    assert (
        matches(get(server, "deals/search", term="aurora", exact_match="true")) == made["deals"][:1]
    )
    assert matches(get(server, "deals/search", term="aurora", status="won")) == []
    assert (
        matches(get(server, "deals/search", term="aurora", person_id=made["person"]))
        == made["deals"]
    )
    assert matches(get(server, "deals/search", term="aurora", organization_id=999)) == []


def test_searches_page(world):
    _, server, made = world
    first = get(server, "deals/search", term="aurora", limit=3)
    rest = get(server, "deals/search", term="aurora", limit=3, cursor=first.cursor)
    assert matches(first) + matches(rest) == made["deals"]
    assert rest.cursor is None


def test_each_kind_has_its_search(world):
    _, server, made = world
    assert matches(get(server, "persons/search", term="jane@", fields="email")) == [made["person"]]
    assert matches(get(server, "organizations/search", term="dabas")) == [made["org"]]
    assert matches(get(server, "products/search", term="box", include_fields="product.price")) == [
        made["product"]
    ]
    assert matches(get(server, "leads/search", term="aurora")) == []
    assert get(server, "projects/search", term="aurora").status == 200
    assert get(server, "persons/search", term="jane", fields="title").status == 400


def test_terms_have_a_least_length(world):
    _, server, _ = world
    for path in ("deals/search", "itemSearch"):
        assert get(server, path).status == 400
        assert get(server, path, term="x").status == 400
        assert get(server, path, term=" x ").status == 400
        assert get(server, path, term="x", exact_match="true").status == 200
    assert get(server, "itemSearch", term="xy", limit=101).status == 400
    assert get(server, "deals/search", term="xy", limit=500).status == 200


def test_item_search_mixes_kinds(world):
    _, server, made = world
    reply = get(server, "itemSearch", term="aurora")
    kinds = {(entry["item"]["type"], entry["item"]["id"]) for entry in reply.data["items"]}
    assert {
        ("organization", made["org"]),
        ("person", made["person"]),
        ("product", made["product"]),
    } < kinds
    assert reply.data["related_items"] == []
    people = get(
        server,
        "itemSearch",
        term="aurora",
        item_types="person,organization",
        search_for_related_items="true",
    )
    assert {entry["item"]["type"] for entry in people.data["items"]} == {"person", "organization"}
    assert [entry["item"]["id"] for entry in people.data["related_items"]] == made["deals"][::-1]
    assert get(server, "itemSearch", term="aurora", item_types="note").status == 400


def test_field_search_tells_cases_apart(world):
    _, server, made = world

    def search(**params):
        return [
            entry["item"]
            for entry in get(server, "itemSearch/field", entity_type="deal", **params).data
        ]

    assert ids(search(field="title", term="aurora")) == made["deals"][:1]
    assert ids(search(field="title", term="Aurora", match="beginning")) == [made["deals"][1]]
    assert ids(search(field=made["code"], term="aurora", match="middle")) == [made["deals"][3]]
    assert get(server, "itemSearch/field", term="aurora", field="title").status == 400
    assert (
        get(server, "itemSearch/field", term="aurora", field="nothing", entity_type="deal").status
        == 400
    )
    assert (
        get(
            server, "itemSearch/field", term="a", field="title", entity_type="deal", match="middle"
        ).status
        == 400
    )
    server.settings.field_search = "example"
    assert get(
        server, "itemSearch/field", term="aurora", field="title", entity_type="deal"
    ).data == [{"id": made["deals"][0], "name": "aurora"}]
