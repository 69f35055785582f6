import pandas as pd
import pyarrow as pa
import pytest

from pdframe.schema import TABLES, describe

EXPECTED = {
    "deals",
    "deal_products",
    "installments",
    "products",
    "activities",
    "projects",
    "stages",
    "pipelines",
    "users",
    "persons",
    "organizations",
    "tasks",
    "boards",
    "phases",
    "project_templates",
    "discounts",
    "product_variations",
    "deal_changes",
    "project_changes",
    *(f"{entity}_followers" for entity in ("deal", "person", "organization", "product", "user")),
    *(f"{entity}_follower_changes" for entity in ("deal", "person", "organization", "product")),
    "deal_fields",
    "person_fields",
    "organization_fields",
    "product_fields",
    "activity_fields",
    "project_fields",
}


def test_all_tables_are_declared() -> None:
    assert set(TABLES) == EXPECTED
    assert all(name == table.name for name, table in TABLES.items())


def test_the_declarations_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TABLES["deals"] = TABLES["users"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        TABLES["deals"].name = "x"  # type: ignore[misc]


def test_costs_are_those_of_the_specification() -> None:
    costs = {
        (source.api, source.path): source.cost
        for table in TABLES.values()
        for source in table.sources
    }
    assert costs["v2", "/deals"] == 10
    assert costs["v2", "/deals/archived"] == 20
    assert costs["v2", "/stages"] == costs["v2", "/pipelines"] == 5
    assert costs["v1", "/users"] == 20
    assert costs["v2", "/deals/products"] == costs["v2", "/dealFields"] == 10
    assert (
        costs["v2", "/boards"]
        == costs["v2", "/phases"]
        == costs["v2", "/tasks"]
        == costs["v2", "/deals/{id}/discounts"]
        == 10
    )
    assert costs["v1", "/deals/{id}/changelog"] == 20


def test_line_items_are_requested_by_a_hundred_deals() -> None:
    for name in ("deal_products", "installments"):
        assert [source.batch for source in TABLES[name].sources] == [("deal_ids", 100)]


def test_optional_columns_are_requested_and_nothing_else_is() -> None:
    for name in ("deals", "activities", "organizations"):
        table = TABLES[name]
        optional = {column.name for column in table.columns if column.optional}
        for source in table.sources:
            assert set(dict(source.params)["include_fields"].split(",")) == optional
    requested = dict(TABLES["persons"].sources[0].params)["include_fields"].split(",")
    assert "marketing_status" not in requested  # refused where the company has no marketing app
    assert "doi_status" not in requested


def test_names_true_columns_are_reserved() -> None:
    assert TABLES["deals"].reserved >= {
        "title",
        "local_won_date",
        "products_count",
        "owner_name",
        "stage_name",
        "pipeline_name",
        "person_name",
        "org_name",
    }
    assert TABLES["activities"].reserved >= {"location", "location_country", "owner_name"}
    assert TABLES["projects"].reserved >= {"board_name", "phase_name"}
    assert "product_name" in TABLES["deal_products"].reserved


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_declaration_is_sound(table) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert all(column.meaning for column in table.columns)
    assert all(added.id in names and added.name not in names for added in table.names)
    assert table.field_list is None or table.field_list in TABLES
    optioned = [column.type.storage for column in table.columns if column.options]
    assert all(
        pa.types.is_integer(kind) or pa.types.is_list(kind) or pa.types.is_string(kind)
        for kind in optioned
    )


def test_describe_follows_from_the_declaration() -> None:
    frame = describe(TABLES["activities"])
    assert list(frame["column"]) == [column.name for column in TABLES["activities"].columns]
    rows = frame.set_index("column")
    assert rows.loc["duration", "dtype"] == "timedelta64[us]"
    assert rows.loc["priority", "dtype"] == "category"
    assert rows.loc["location_country", "source"] == "location.country"
    assert rows.loc["attendees", "optional"]
    assert pd.isna(rows.loc["subject", "unit"])
