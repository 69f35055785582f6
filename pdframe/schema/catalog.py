"""Tables of the catalogue: products, their variations, pipelines and stages."""

from __future__ import annotations

from pdframe.schema.common import BY_ID, added, deleted, key, owner, updated
from pdframe.schema.deals import FREQUENCY
from pdframe.schema.table import Column, NameColumn, Parent, Source, Table
from pdframe.schema.types import AMOUNT, COUNT, FLAG, ID, NUMBER, TEXT, records

_PRICE = {"price": AMOUNT, "currency": TEXT, "cost": AMOUNT, "direct_cost": AMOUNT, "notes": TEXT}
_PRICES = records(product_id=ID, **_PRICE)
_VARIATION_PRICES = records(product_variation_id=ID, **_PRICE)

PRODUCTS = Table(
    "products",
    "one row per product, not the deleted",
    (Source("/products", 10, BY_ID, changes=True),),
    (
        key("product"),
        Column("name", TEXT, "Name of the product"),
        Column("code", TEXT, "Code of the product; null or empty: none"),
        Column("unit", TEXT, "Unit in which it is sold; null or empty: none"),
        Column("tax", NUMBER, "Tax rate", "percent"),
        deleted("product"),
        Column(
            "is_linkable",
            FLAG,
            "Whether it can be added to deals",
            codes=("selectable", "active_flag"),
        ),
        Column("visible_to", ID, "Visibility group of the product"),
        owner("product"),
        added("product"),
        updated("product"),
        Column("description", TEXT, "Description; null or empty: none"),
        Column("category", TEXT, "Category of the product; null: none", options=("category",)),
        Column(
            "billing_frequency",
            FREQUENCY,
            "How often customers are billed; null: a plan below Growth",
        ),
        Column(
            "billing_frequency_cycles",
            COUNT,
            "How many times it is billed; null: one-time, or without end",
            "periods",
        ),
        Column(
            "prices",
            _PRICES,
            "Prices, one entry a currency",
            "the entry's currency",
            codes=("price", "unit_prices"),
        ),
    ),
    field_list="product_fields",
    names=(NameColumn("owner_name", "owner_id", "users"),),
    optional=("url",),
)

PRODUCT_VARIATIONS = Table(
    "product_variations",
    "one row per variation of a product",
    (Source("/products/{id}/variations", 10),),
    (
        Column("product_id", ID, "Product that it is a variation of"),
        key("variation"),
        Column("name", TEXT, "Name of the variation"),
        Column("prices", _VARIATION_PRICES, "Prices, one entry a currency", "the entry's currency"),
    ),
    names=(NameColumn("product_name", "product_id", "products"),),
    parent=Parent("products", "product_id", every=True),
)

STAGES = Table(
    "stages",
    "one row per stage of a pipeline",
    (Source("/stages", 5, BY_ID),),
    (
        key("stage"),
        Column("order_nr", COUNT, "Place of the stage in its pipeline"),
        Column("name", TEXT, "Name of the stage"),
        deleted("stage"),
        Column("deal_probability", NUMBER, "Chance to win of deals in the stage", "percent"),
        Column("pipeline_id", ID, "Pipeline of the stage"),
        Column("is_deal_rot_enabled", FLAG, "Whether deals rot in the stage"),
        Column(
            "days_to_rotten",
            COUNT,
            "After how long without an update a deal is rotten; null: never",
            "days",
        ),
        added("stage"),
        updated("stage"),
    ),
    names=(NameColumn("pipeline_name", "pipeline_id", "pipelines"),),
)

PIPELINES = Table(
    "pipelines",
    "one row per pipeline",
    (Source("/pipelines", 5, BY_ID),),
    (
        key("pipeline"),
        Column("name", TEXT, "Name of the pipeline"),
        Column("order_nr", COUNT, "Place of the pipeline; the lowest is the default one"),
        deleted("pipeline"),
        Column("is_deal_probability_enabled", FLAG, "Whether stages and deals have probabilities"),
        added("pipeline"),
        updated("pipeline"),
    ),
)

CATALOG_TABLES = (PRODUCTS, PRODUCT_VARIATIONS, STAGES, PIPELINES)


__all__ = [
    "CATALOG_TABLES",
    "PIPELINES",
    "PRODUCTS",
    "PRODUCT_VARIATIONS",
    "STAGES",
]
