"""The six lists of field definitions, which hold labels, options and types of custom fields."""

from __future__ import annotations

from pdframe.schema.table import Column, Source, Table
from pdframe.schema.types import FLAG, JSON, TEXT, TEXT_ID

ENTITIES = ("deal", "person", "organization", "product", "activity", "project")

_COLUMNS = (
    Column("field_code", TEXT_ID, "The only unique key of a field: a hash for custom ones"),
    Column("field_name", TEXT, "Label of the field; may be empty or shared"),
    Column("description", TEXT, "Description of the field; null: none"),
    Column("field_type", TEXT, "Type of the field"),
    Column(
        "options",
        JSON,
        "Options as a JSON list of objects with id and label; null: not a field of options",
    ),
    Column(
        "subfields",
        JSON,
        "Parts of a composite value as a JSON list of objects with field_code and field_name; null:"
        " not composite",
    ),
    Column("is_custom_field", FLAG, "Whether users created it"),
    Column("is_optional_response_field", FLAG, "Whether rows have it only on request"),
)

FIELD_TABLES = tuple(
    Table(
        f"{entity}_fields",
        f"one row per field of {entity} records",
        (Source(f"/{entity}Fields", 10),),
        _COLUMNS,
        key=("field_code",),
    )
    for entity in ENTITIES
)
FIELD_LISTS = frozenset(table.name for table in FIELD_TABLES)


__all__ = [
    "ENTITIES",
    "FIELD_LISTS",
    "FIELD_TABLES",
]
