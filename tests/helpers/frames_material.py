"""Fields, rows and short cuts that the tests of frames share."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe.fields import read_fields
from pdframe.frames import to_arrow
from pdframe.schema import TABLES

DEALS, ACTIVITIES, PERSONS = TABLES["deals"], TABLES["activities"], TABLES["persons"]
BUDGET, SPEND = "948c29" + "0" * 34, "eadf62" + "0" * 34
REGION, TAGS, CALL = "1" * 40, "2" * 40, "3" * 40
KINDS = [
    "varchar",
    "varchar_auto",
    "text",
    "phone",
    "double",
    "date",
    "enum",
    "set",
    "user",
    "org",
    "people",
    "monetary",
    "daterange",
    "timerange",
    "time",
    "address",
    "int",
    "boolean",
    "lead",
    "deals",
    "json",
    "novelty",
]


def field(
    code: str, label: str, kind: str, *, options=None, subfields=None, custom: bool = True
) -> dict:
    return {
        "field_code": code,
        "field_name": label,
        "field_type": kind,
        "is_custom_field": custom,
        "options": options,
        "subfields": subfields,
    }


def kinds() -> list[dict]:
    """One custom field of each type, named after it."""
    return [field(f"{number:040x}", kind, kind) for number, kind in enumerate(KINDS)]


REGIONS = [{"id": 30, "label": "South"}, {"id": 10, "label": "North"}, {"id": 20, "label": "South"}]
FIELDS = read_fields(
    [
        field(
            "label",
            "Label",
            "set",
            options=[{"id": "5", "label": "Hot"}, {"id": 6, "label": "Cold"}],
            custom=False,
        ),
        field("channel", "Channel", "enum", options=[{"id": 52, "label": "Fair"}], custom=False),
        field(TAGS, "Tags", "set", options=[{"id": 1, "label": "a"}, {"id": 2, "label": "b"}]),
        field(
            BUDGET,
            "Budget",
            "monetary",
            subfields=[{"field_code": "currency", "field_name": "Currency of Budget"}],
        ),
        field(SPEND, "Budget", "double"),
        field(REGION, "Регион", "enum", options=REGIONS),
        field(CALL, "Call 🚀", "time"),
    ]
)


def typed(rows, table=DEALS, fields=()) -> pa.Table:
    arrow, problems = to_arrow(rows, table, fields)
    assert not problems, problems.messages()
    return arrow


def through_parquet(arrow: pa.Table) -> pa.Table:
    file = io.BytesIO()
    pq.write_table(arrow, file)
    return pq.read_table(io.BytesIO(file.getvalue()))
