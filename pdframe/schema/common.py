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
"""Parts of an address beside its `value`, in column order, each with what it holds."""

CONTACTS = records(value=TEXT, primary=FLAG, label=TEXT)


def address(name: str, of: str) -> tuple[Column, ...]:
    """Columns of a flattened address: the full text, then its parts."""
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
    return Column("owner_id", ID, f"User who owns the {what}; null: nobody", codes=("user_id",))


def added(what: str) -> Column:
    """Return the creation time."""
    return Column("add_time", TIME, f"When the {what} was created", UTC)


def updated(what: str) -> Column:
    """Return the time of the last change."""
    return Column(
        "update_time",
        TIME,
        f"When the {what} last changed in a way that the API stamps; null: never",
        UTC,
    )


def deleted(what: str) -> Column:
    """Return the deletion flag."""
    return Column("is_deleted", FLAG, f"Whether the {what} is deleted")


def extra(*fields: str) -> tuple[tuple[str, str], ...]:
    """Query parameters that ask for optional columns."""
    return (("include_fields", ",".join(fields)),)


def requested(columns: tuple[Column, ...], *, besides: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names that `include_fields` must list to get the optional columns, `besides` those the
    endpoint sends or refuses.
    """
    return tuple(
        dict.fromkeys(
            column.path for column in columns if column.optional and column.name not in besides
        )
    )


BY_ID = (("sort_by", "id"),)
"""Stated, though it is the default: keyset paging by id neither repeats nor skips a row that exists
throughout.
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
    "owner",
    "requested",
    "updated",
]
