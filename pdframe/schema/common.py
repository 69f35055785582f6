"""Columns and endpoints that several tables share."""

from __future__ import annotations

from pdframe.schema.table import Column
from pdframe.schema.types import FLAG, ID, TEXT, TIME, records

UTC = "UTC"
NO_OPTION = "null: none chosen"

ADDRESS_PARTS: tuple[tuple[str, str], ...] = (
    ("country", "country"),
    ("admin_area_level_1", "state or province"),
    ("admin_area_level_2", "county"),
    ("locality", "city"),
    ("sublocality", "neighbourhood"),
    ("route", "street"),
    ("street_number", "house number"),
    ("subpremise", "apartment or suite"),
    ("postal_code", "postal code"),
)
"""Parts of an address in column order, without its `value`, each with its meaning."""

CONTACTS = records(value=TEXT, primary=FLAG, label=TEXT)


def address(name: str, of: str) -> tuple[Column, ...]:
    """Return the columns of a flattened address: the full text, then its parts."""
    full = Column(name, TEXT, f"Full {of}; null: none given", path=f"{name}.value")
    parts = (
        Column(
            f"{name}_{part}", TEXT, f"The {words} of the {of}; null: unknown", path=f"{name}.{part}"
        )
        for part, words in ADDRESS_PARTS
    )
    return (full, *parts)


def key(what: str) -> Column:
    """Return the id column."""
    return Column("id", ID, f"Id of the {what}")


def owner(what: str) -> Column:
    """Return the owner's id column."""
    return Column("owner_id", ID, f"User who owns the {what}; null: none", codes=("user_id",))


def added(what: str) -> Column:
    """Return the creation time."""
    return Column("add_time", TIME, f"When the {what} was created", UTC)


def updated(what: str) -> Column:
    """Return the time of the last change."""
    return Column(
        "update_time",
        TIME,
        f"When the {what} last changed, for changes that the API stamps; null: never",
        UTC,
    )


def deleted(what: str) -> Column:
    """Return the deletion flag."""
    return Column("is_deleted", FLAG, f"Whether the {what} is deleted")


def extra(*fields: str) -> tuple[tuple[str, str], ...]:
    """Return the query parameters that request optional columns."""
    return (("include_fields", ",".join(fields)),)


def optional_fields(
    columns: tuple[Column, ...], *, without: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the names that `include_fields` must list for the optional columns, `without` those
    that the endpoint always sends or refuses.
    """
    return tuple(
        dict.fromkeys(
            column.path for column in columns if column.optional and column.name not in without
        )
    )


BY_ID = (("sort_by", "id"),)
"""Sent although it is the default: pages by id neither repeat nor skip a row that exists during
all requests.
"""

__all__ = [
    "ADDRESS_PARTS",
    "BY_ID",
    "CONTACTS",
    "NO_OPTION",
    "UTC",
    "added",
    "address",
    "deleted",
    "extra",
    "key",
    "optional_fields",
    "owner",
    "updated",
]
