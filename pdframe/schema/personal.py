"""Columns that name a person, reach one, or hold what somebody wrote: `personal=False` leaves them
out of an export.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pdframe.schema.common import ADDRESS_PARTS
from pdframe.schema.table import Table

_ADDRESS = tuple(f"_{part}" for part, _ in ADDRESS_PARTS)


def _address(name: str) -> tuple[str, ...]:
    return (name, *(f"{name}{part}" for part in _ADDRESS))


PERSONAL_COLUMNS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        table: frozenset(names)
        for table, names in {
            "deals": ("title", "lost_reason", "smart_bcc_email"),
            "deal_products": ("comments",),
            "installments": ("description",),
            "discounts": ("description",),
            "activities": (
                "subject",
                *_address("location"),
                "attendees",
                "conference_meeting_url",
                "conference_meeting_id",
                "public_description",
                "note",
            ),
            "persons": (
                "name",
                "first_name",
                "last_name",
                "emails",
                "primary_email",
                "phones",
                "primary_phone",
                *_address("postal_address"),
                "notes",
                "im",
                "birthday",
                "job_title",
                "smart_bcc_email",
            ),
            "organizations": (*_address("address"), "smart_bcc_email"),
            "products": ("description",),
            "projects": ("title", "description"),
            "project_templates": ("description",),
            "tasks": ("title", "description"),
            "users": ("name", "email", "phone", "icon_url"),
            # The values of any field: titles and free text among them.
            "deal_changes": ("old_value", "new_value"),
            "project_changes": ("old_value", "new_value"),
        }.items()
    }
)
"""Standard columns with names of persons, mail addresses, phones, addresses and free text, by
table. Titles, subjects and reasons for a loss are free text.
"""

PERSONAL_FIELD_TYPES = frozenset(
    {"varchar", "varchar_auto", "varchar_options", "text", "phone", "address"}
)
"""Types of custom fields whose values are free text, phones or addresses."""

_NAMES_OF_PERSONS = frozenset({"persons", "users"})


def is_personal(table: Table, column: str, field_type: str | None = None) -> bool:
    """Whether `personal=False` leaves a column out.

    Parameters
    ----------
    table
        The table of the column.
    column
        Name of the column in the frame.
    field_type
        Type of its custom field; None: a standard column, or one that nothing declares (which is
        text of unknown content, and left out).
    """
    if column in table.by_name:
        return column in PERSONAL_COLUMNS.get(table.name, ())
    for added in table.names:
        if added.name == column:
            return added.table in _NAMES_OF_PERSONS or added.label == "title"
    if column in table.optional:
        return False
    return field_type is None or field_type in PERSONAL_FIELD_TYPES


__all__ = ["PERSONAL_COLUMNS", "PERSONAL_FIELD_TYPES", "is_personal"]
