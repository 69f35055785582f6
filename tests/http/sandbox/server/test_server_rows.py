"""Rows: their columns, custom values, labels and extras."""

import pytest

from pdframe.sandbox.company import Company, Switches
from tests.helpers.server_wire import get, ids, walk


def custom_fields(company, entity):
    return [field for field in company.fields[entity] if field["is_custom_field"]]


@pytest.mark.parametrize(
    ("path", "table", "entity"),
    [
        ("deals", "deals", "deal"),
        ("persons", "persons", "person"),
        ("organizations", "organizations", "organization"),
        ("products", "products", "product"),
        ("projects", "projects", "project"),
    ],
)
def test_custom_fields_hold_every_hash_and_null_where_empty(company, server, path, table, entity):
    hashes = [field["field_code"] for field in custom_fields(company, entity)]
    for row in walk(server, path):
        kept = company.tables[table][row["id"]]["custom_fields"]
        assert row["custom_fields"] == {code: kept.get(code) for code in hashes}


@pytest.mark.parametrize(
    "table",
    [
        "deals",
        "persons",
        "organizations",
        "products",
        "activities",
        "stages",
        "pipelines",
        "projects",
        "tasks",
    ],
)
def test_rows_equal_the_companys_where_a_key_is_missing_it_is_null(company, server, table):
    result = walk(server, table)
    assert result
    for wire in result:
        row = company.tables[table][wire["id"]]
        for key, value in wire.items():
            if key != "custom_fields":
                assert value == row[key], key
        for key in row.keys() - wire.keys() - {"attendees", "source_lead_id"}:
            assert row[key] is None, key
    assert walk(server, table) == result


def test_open_deals_have_null_and_absent_times(server):
    rows = walk(server, "deals", status="open")
    for key in ("won_time", "lost_time"):
        assert {key in row for row in rows} == {True, False}
        assert not any(row.get(key) for row in rows)


def test_single_reads_give_the_same_row(server):
    for path in (
        "deals",
        "persons",
        "organizations",
        "products",
        "activities",
        "stages",
        "pipelines",
        "projects",
        "tasks",
    ):
        row = walk(server, path)[-1]
        assert get(server, f"{path}/{row['id']}").data == row
    for path in ("boards", "projectTemplates"):
        row = get(server, path).data[0]
        assert get(server, f"{path}/{row['id']}").data == row
    field = walk(server, "dealFields")[-1]
    assert get(server, f"dealFields/{field['field_code']}").data == field
    assert get(server, "dealFields/nothing").status == 404


def test_custom_fields_selects_up_to_15_hashes(company, server):
    hashes = [field["field_code"] for field in custom_fields(company, "deal")]
    some = hashes[3:6]
    for path in ("deals", f"deals/{walk(server, 'deals')[0]['id']}"):
        data = get(server, path, custom_fields=",".join([*some, "f" * 40])).data
        assert list((data[0] if isinstance(data, list) else data)["custom_fields"]) == some
    assert get(server, "deals", custom_fields=",".join(hashes[:15])).status == 200
    assert (
        get(server, "deals", custom_fields=",".join(f"{n:040x}" for n in range(16))).status == 400
    )


def test_option_labels_replace_ids_and_deleted_options_have_none(company, server):
    fields = {
        f["field_code"]: {o["id"]: o["label"] for o in f["options"]}
        for f in custom_fields(company, "deal")
        if f["field_type"] in ("enum", "set")
    }
    kinds = set()
    for row in walk(server, "deals", include_option_labels="true"):
        kept = company.tables["deals"][row["id"]]["custom_fields"]
        for code, value in row["custom_fields"].items():
            if code not in fields or kept.get(code) is None:
                assert value == kept.get(code)
                continue
            raw = kept[code]
            expected = (
                [{"id": i, "label": fields[code].get(i)} for i in raw]
                if isinstance(raw, list)
                else {"id": raw, "label": fields[code].get(raw)}
            )
            assert value == expected
            kinds.add(type(value))
    assert kinds == {list, dict}
    assert get(server, "products", include_option_labels="true").status == 400


def test_include_labels_names_the_labels_of_a_row(company, server):
    rows = walk(server, "deals", include_labels="true")
    assert all([label["id"] for label in row["labels"]] == (row["label_ids"] or []) for row in rows)
    assert any(label["label"] for row in rows for label in row["labels"])
    assert all("labels" not in row for row in walk(server, "deals"))


def test_include_fields_adds_columns_and_refuses_unknown_ones(company, server):
    names = "products_count,activities_count,next_activity_id,source_lead_id,first_won_time"
    for row in walk(server, "deals", include_fields=names):
        counts = company.deal_counts(row["id"])
        assert {name: row[name] for name in names.split(",")} == {
            name: counts[name] for name in names.split(",")
        }
    plain = walk(server, "deals")
    assert not any(name in row for row in plain for name in names.split(","))
    assert get(server, "deals", include_fields="products_count,nothing").status == 400
    assert "attendees" not in walk(server, "activities")[0]
    assert all("attendees" in row for row in walk(server, "activities", include_fields="attendees"))
    assert "people_count" in walk(server, "organizations", include_fields="people_count")[0]
    assert "won_deals_count" in walk(server, "persons", include_fields="won_deals_count")[0]


def test_field_lists_add_namespaces_on_demand(server):
    extra = {"ui_visibility", "important_fields", "required_fields"}
    assert not any(extra & set(field) for field in walk(server, "dealFields"))
    full = walk(server, "dealFields", include_fields="ui_visibility,required_fields")
    assert any("ui_visibility" in field for field in full)
    assert not any("important_fields" in field for field in full)
    assert get(server, "activityFields", include_fields="required_fields").status == 400


def test_a_dropped_field_leaves_the_rows_and_a_new_one_is_null(serve, new_company):
    code = new_company.add_field("deal", "Colour", "varchar")
    deal = new_company.add_deal("Deal", custom_fields={code: "red"})
    server = serve(new_company)
    assert get(server, f"deals/{deal}").data["custom_fields"][code] == "red"
    new_company.drop_field("deal", code)
    assert code not in get(server, f"deals/{deal}").data["custom_fields"]
    fresh = new_company.add_field("deal", "Size", "double")
    assert get(server, f"deals/{deal}").data["custom_fields"][fresh] is None


def test_lite_has_no_installments_and_no_revenue(serve):
    company = Company(seed=1, deals=60)
    lite = serve(company, plan="Lite")
    refusal = get(lite, "deals/installments", deal_ids="1")
    assert (refusal.status, refusal.json["success"]) == (402, False)
    assert all(row["mrr"] is row["arr"] is row["acv"] is None for row in walk(lite, "deals"))
    bare = serve(company, plan="Lite", lite_status=403, lite_revenue="absent")
    assert get(bare, "deals/installments", deal_ids="1").status == 403
    assert not any({"mrr", "arr", "acv"} & set(row) for row in walk(bare, "deals"))
    growth = serve(company)
    assert get(growth, "deals/installments", deal_ids="1").status == 200
    assert any(row["mrr"] for row in walk(growth, "deals"))


def test_an_account_without_anything(serve, new_company):
    server = serve(new_company)
    for path in (
        "deals",
        "deals/archived",
        "persons",
        "organizations",
        "products",
        "activities",
        "projects",
        "tasks",
    ):
        reply = get(server, path)
        assert reply.data == []
        assert reply.cursor is None
    assert ids(walk(server, "stages"))
    assert walk(server, "dealFields")


@pytest.mark.parametrize(
    "entity", ["deal", "person", "organization", "product", "activity", "project"]
)
def test_option_ids_are_text_where_built_in_and_numbers_where_custom(server, entity):
    kinds = {True: set(), False: set()}
    for field in walk(server, f"{entity}Fields"):
        kinds[field["is_custom_field"]] |= {type(option["id"]) for option in field["options"] or ()}
    assert kinds[False] == {str}
    assert kinds[True] <= {int}
    assert entity == "activity" or kinds[True]


def test_labels_requested_have_numbers_although_the_options_have_text(server):
    rows = [row for row in walk(server, "deals", include_labels="true") if row["label_ids"]]
    names = {
        option["id"]: option["label"]
        for f in walk(server, "dealFields")
        if f["field_code"] == "label_ids"
        for option in f["options"]
    }
    assert rows
    for row in rows:
        assert row["labels"] == [{"id": i, "label": names[str(i)]} for i in row["label_ids"]]


@pytest.mark.parametrize("on", [True, False])
def test_activities_are_served_with_custom_fields_where_switched_on(serve, on):
    company = Company(seed=3, deals=40, switches=Switches(activities_have_custom_fields=on))
    server = serve(company)
    codes = [
        field["field_code"] for field in walk(server, "activityFields") if field["is_custom_field"]
    ]
    rows = walk(server, "activities")
    assert len(codes) == 2
    assert all(list(row.get("custom_fields", ())) == (codes if on else []) for row in rows)
    if on:
        stored = company.tables["activities"]
        kept = [
            {key: value for key, value in row["custom_fields"].items() if value is not None}
            for row in rows
        ]
        assert kept == [stored[row["id"]]["custom_fields"] for row in rows]
        assert any(kept)
        assert get(server, f"activities/{rows[0]['id']}").data == rows[0]
