"""Deals, their line items and their installments."""

from __future__ import annotations

from pdframe.schema.common import (
    BY_ID,
    UTC,
    added,
    deleted,
    extra,
    key,
    optional_fields,
    owner,
    updated,
)
from pdframe.schema.table import Column, NameColumn, Parent, Source, Table
from pdframe.schema.types import (
    AMOUNT,
    COUNT,
    DATE,
    FLAG,
    ID,
    IDS,
    NUMBER,
    TEXT,
    TEXT_ID,
    TIME,
    category,
)

FREQUENCY = category("one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually")
DEAL_CURRENCY = "deal's currency"
DAY = "company's timezone"
GROWTH = "null: no products, or a plan below Growth"

_DEALS = (
    key("deal"),
    Column("title", TEXT, "Title of the deal"),
    Column("creator_user_id", ID, "User who created the deal; null: unknown"),
    owner("deal"),
    Column("person_id", ID, "Person linked to the deal; null: none"),
    Column("org_id", ID, "Organization linked to the deal; null: none"),
    Column("pipeline_id", ID, "Pipeline that the deal is in", codes=("pipeline",)),
    Column("stage_id", ID, "Stage that the deal is in, or was in when it closed"),
    Column("value", AMOUNT, "Value of the deal", DEAL_CURRENCY),
    Column("currency", TEXT, "Currency of the deal's amounts, ISO 4217", codes=("value",)),
    added("deal"),
    updated("deal"),
    Column(
        "stage_change_time", TIME, "When the deal last changed stage; null: never, or unknown", UTC
    ),
    deleted("deal"),
    Column("is_archived", FLAG, "Whether the deal is archived"),
    Column("archive_time", TIME, "When the deal was archived; null: it is not", UTC),
    Column("status", category("open", "won", "lost", "deleted"), "State of the deal"),
    Column(
        "probability",
        NUMBER,
        "Probability of winning that a user set; null: not set, the stage's applies",
        "percent",
    ),
    Column("lost_reason", TEXT, "Reason for the loss; null: not lost, or none given"),
    Column("visible_to", ID, "Visibility group of the deal"),
    Column("close_time", TIME, "When the deal was won or lost; null: open", UTC),
    Column("won_time", TIME, "When the deal was won; null: not won", UTC),
    Column("lost_time", TIME, "When the deal was lost; null: not lost", UTC),
    Column("local_won_date", DATE, "Day on which the deal was won; null: not won", DAY),
    Column("local_lost_date", DATE, "Day on which the deal was lost; null: not lost", DAY),
    Column("local_close_date", DATE, "Day on which the deal was won or lost; null: open", DAY),
    Column(
        "expected_close_date",
        DATE,
        "Day on which the owner expects the deal to close; null: none given",
    ),
    Column(
        "label_ids", IDS, "Labels of the deal; null or empty: none", options=("label_ids", "label")
    ),
    Column("origin", TEXT, "How the deal was created"),
    Column("origin_id", TEXT_ID, "What created the deal, such as an integration; null: unknown"),
    Column("channel", ID, "Marketing channel of the deal; null: none", options=("channel",)),
    Column("channel_id", TEXT_ID, "Finer name of the channel; null: none"),
    Column(
        "source_lead_id",
        TEXT_ID,
        "Lead that the deal was converted from; null: none",
        optional=True,
    ),
    Column("arr", AMOUNT, f"Annual recurring revenue; {GROWTH}", DEAL_CURRENCY),
    Column("mrr", AMOUNT, f"Monthly recurring revenue; {GROWTH}", f"{DEAL_CURRENCY} a month"),
    Column("acv", AMOUNT, f"Annual contract value; {GROWTH}", DEAL_CURRENCY),
    Column("next_activity_id", ID, "Next planned activity; null: none", optional=True),
    Column("last_activity_id", ID, "Last activity done; null: none", optional=True),
    Column(
        "first_won_time",
        TIME,
        "When the deal was won for the first time; null: never",
        UTC,
        optional=True,
    ),
    Column("products_count", COUNT, "Line items of the deal", "line items", optional=True),
    Column("files_count", COUNT, "Files of the deal", "files", optional=True),
    Column("notes_count", COUNT, "Notes on the deal", "notes", optional=True),
    Column("followers_count", COUNT, "Users who follow the deal", "users", optional=True),
    Column("email_messages_count", COUNT, "Mails linked to the deal", "mails", optional=True),
    Column("activities_count", COUNT, "Activities of the deal", "activities", optional=True),
    Column(
        "done_activities_count",
        COUNT,
        "Activities of the deal that are done",
        "activities",
        optional=True,
    ),
    Column(
        "undone_activities_count",
        COUNT,
        "Activities of the deal still to do",
        "activities",
        optional=True,
    ),
    Column(
        "participants_count", COUNT, "Persons who take part in the deal", "persons", optional=True
    ),
    Column(
        "last_incoming_mail_time",
        TIME,
        "When the last mail arrived; null: none",
        UTC,
        optional=True,
    ),
    Column(
        "last_outgoing_mail_time",
        TIME,
        "When the last mail was sent; null: none",
        UTC,
        optional=True,
    ),
    Column("smart_bcc_email", TEXT, "Address that files mails under the deal", optional=True),
)
_DEAL_PARAMS = extra(*optional_fields(_DEALS)) + BY_ID

DEALS = Table(
    "deals",
    "one row per deal, live or archived, not the deleted",
    (
        Source("/deals", 10, _DEAL_PARAMS, changes=True, windows=True, deletions=True, ids=100),
        Source("/deals/archived", 20, _DEAL_PARAMS, changes=True, windows=True, deletions=True),
    ),
    _DEALS,
    field_list="deal_fields",
    incremental=True,
    names=(
        NameColumn("creator_name", "creator_user_id", "users"),
        NameColumn("owner_name", "owner_id", "users"),
        NameColumn("person_name", "person_id", "persons"),
        NameColumn("org_name", "org_id", "organizations"),
        NameColumn("pipeline_name", "pipeline_id", "pipelines"),
        NameColumn("stage_name", "stage_id", "stages"),
    ),
    # The column of `deleted=True` (`DEALS_AND_DELETED`); metrics read it by this name.
    optional=("deleted_time", "url"),
)

DEAL_PRODUCTS = Table(
    "deal_products",
    "one row per line item of a deal",
    (Source("/deals/products", 10, BY_ID, batch=("deal_ids", 100)),),
    (
        key("line item"),
        Column("sum", AMOUNT, "Sum of the line item", "line's currency"),
        Column("tax", NUMBER, "Tax rate", "percent"),
        Column("deal_id", ID, "Deal that the line item belongs to"),
        Column("name", TEXT, "Name of the product"),
        Column("product_id", ID, "Product that is sold"),
        Column("product_variation_id", ID, "Variation of the product; null: none"),
        Column("order_nr", COUNT, "Place of the line in the deal; null: not ordered"),
        added("line item"),
        updated("line item"),
        Column("comments", TEXT, "Comments on the line; null or empty: none"),
        Column("currency", TEXT, "Currency of the line's amounts, ISO 4217"),
        Column(
            "discount",
            NUMBER,
            "Discount on the line, read with `discount_type`",
            "percent or line's currency",
        ),
        Column("discount_type", category("percentage", "amount"), "What `discount` is"),
        Column("quantity", NUMBER, "Quantity sold"),
        Column("item_price", AMOUNT, "Price of one item", "line's currency"),
        Column(
            "tax_method",
            category("exclusive", "inclusive", "none"),
            "Whether `item_price` holds the tax",
        ),
        Column("is_enabled", FLAG, "Whether the line counts in the deal's value"),
        Column(
            "billing_frequency",
            FREQUENCY,
            "How often the customer is billed; null: a plan below Growth",
        ),
        Column(
            "billing_frequency_cycles",
            COUNT,
            "How many times it is billed; null: one-time, or without end",
            "periods",
        ),
        Column("billing_start_date", DATE, "Day on which billing starts; null: none given"),
    ),
    names=(NameColumn("product_name", "product_id", "products"),),
)

INSTALLMENTS = Table(
    "installments",
    "one row per installment of a deal",
    (Source("/deals/installments", 10, BY_ID, batch=("deal_ids", 100)),),
    (
        key("installment"),
        Column("amount", AMOUNT, "Amount to be paid", DEAL_CURRENCY),
        Column("billing_date", DATE, "Day on which it is charged"),
        Column("description", TEXT, "Name of the installment; null: none"),
        Column("deal_id", ID, "Deal that is paid in installments"),
    ),
)

DISCOUNTS = Table(
    "discounts",
    "one row per discount on a deal",
    (Source("/deals/{id}/discounts", 10, paged=False),),
    (
        Column("deal_id", ID, "Deal that the discount is on"),
        Column("id", TEXT_ID, "Id of the discount"),
        Column("type", category("percentage", "amount"), "What `amount` is"),
        Column("amount", AMOUNT, "The discount, read with `type`", f"percent or {DEAL_CURRENCY}"),
        Column("description", TEXT, "Name of the discount; null or empty: none"),
        Column("created_at", TIME, "When the discount was created", UTC),
        Column("created_by", ID, "User who created it"),
        Column("updated_at", TIME, "When the discount last changed", UTC),
        Column("updated_by", ID, "User who last changed it"),
    ),
    names=(
        NameColumn("created_by_name", "created_by", "users"),
        NameColumn("updated_by_name", "updated_by", "users"),
    ),
    parent=Parent(
        "deals",
        "deal_id",
        every=True,
        fingerprint_columns=("update_time", "value", "products_count"),
    ),
)

DEAL_TABLES = (DEALS, DEAL_PRODUCTS, INSTALLMENTS, DISCOUNTS)


__all__ = [
    "DAY",
    "DEALS",
    "DEAL_CURRENCY",
    "DEAL_PRODUCTS",
    "DEAL_TABLES",
    "DISCOUNTS",
    "FREQUENCY",
    "GROWTH",
    "INSTALLMENTS",
]
