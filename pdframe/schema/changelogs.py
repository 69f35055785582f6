"""Tables of changes: changelogs of deals and projects, followers, and changes of followers."""

from __future__ import annotations

from pdframe.schema.common import UTC
from pdframe.schema.table import Column, NameColumn, Parent, Source, Table
from pdframe.schema.types import ANY, FLAG, ID, TEXT, TIME, category

_ENTITIES = (
    ("deal", "deals", "deal_id"),
    ("person", "persons", "person_id"),
    ("organization", "organizations", "org_id"),
    ("product", "products", "product_id"),
)
_SOURCE = (
    Column(
        "change_source", TEXT, 'Where the change was made, such as "app" or "api"; null: unknown'
    ),
    Column("change_source_user_agent", TEXT, "Program that made the change; null: unknown"),
)


def _actor(did: str) -> Column:
    return Column("actor_user_id", ID, f"User who {did}")


def _followers(entity: str, records: str, parent: str) -> Table:
    return Table(
        f"{entity}_followers",
        f"one row per {entity} and user who follows it",
        (Source(f"/{records}/{{id}}/followers", 10),),
        (
            Column(parent, ID, f"The {entity} that is followed"),
            Column("user_id", ID, "User who follows"),
            Column("add_time", TIME, "When the user began to follow", UTC),
        ),
        key=(parent, "user_id"),
        names=(NameColumn("user_name", "user_id", "users"),),
        parent=Parent(records, parent, order="add_time"),
    )


def _follower_changes(entity: str, records: str, parent: str) -> Table:
    return Table(
        f"{entity}_follower_changes",
        f"one row per user who began or stopped following a {entity}",
        (Source(f"/{records}/{{id}}/followers/changelog", 10),),
        (
            Column(parent, ID, f"The {entity} that is or was followed"),
            Column("time", TIME, "When that happened", UTC),
            Column(
                "action",
                category("added", "removed"),
                "Whether the user began or stopped following",
            ),
            Column("follower_user_id", ID, "User who follows or followed"),
            _actor("made the change"),
        ),
        key=(parent,),
        names=(
            NameColumn("follower_name", "follower_user_id", "users"),
            NameColumn("actor_name", "actor_user_id", "users"),
        ),
        parent=Parent(records, parent, order="time", history=True),
    )


DEAL_CHANGES = Table(
    "deal_changes",
    "one row per change of a field of a deal",
    (Source("/deals/{id}/changelog", 20, api="v1"),),
    (
        Column("deal_id", ID, "Deal that changed"),
        Column("time", TIME, "When it changed", UTC),
        Column(
            "field_key", TEXT, "Code of the field; `<hash>_<part>` for a part of a composite value"
        ),
        Column("old_value", ANY, "Value before, as text; null: none"),
        Column("new_value", ANY, "Value after, as text; null: none"),
        _actor("changed it"),
        *_SOURCE,
        Column("is_bulk_update_flag", FLAG, "Whether many deals were changed at once"),
    ),
    key=("deal_id",),
    names=(
        NameColumn("field_name", "field_key", "deal_fields", "field_name"),
        NameColumn("actor_name", "actor_user_id", "users"),
    ),
    parent=Parent(
        "deals",
        "deal_id",
        order="time",
        every=True,
        # Not only `update_time`: which changes update it is not documented.
        fingerprint_columns=(
            "update_time",
            "stage_id",
            "pipeline_id",
            "status",
            "value",
            "currency",
            "owner_id",
            "expected_close_date",
            "is_archived",
        ),
        history=True,
        newest_first=True,
    ),
)

PROJECT_CHANGES = Table(
    "project_changes",
    "one row per change of a field of a project",
    (Source("/projects/{id}/changelog", 10),),
    (
        Column("project_id", ID, "Project that changed"),
        Column("time", TIME, "When it changed", UTC),
        Column("field_key", TEXT, "Code of the field; null: the change has no field"),
        Column(
            "old_value", ANY, "Value before: text unchanged, other values as JSON text; null: none"
        ),
        Column(
            "new_value", ANY, "Value after: text unchanged, other values as JSON text; null: none"
        ),
        _actor("changed it"),
        *_SOURCE,
    ),
    key=("project_id",),
    names=(
        NameColumn("field_name", "field_key", "project_fields", "field_name"),
        NameColumn("actor_name", "actor_user_id", "users"),
    ),
    parent=Parent(
        "projects",
        "project_id",
        order="time",
        every=True,
        fingerprint_columns=("update_time", "status", "board_id", "phase_id", "archive_time"),
        history=True,
        newest_first=True,
        by_field=True,
    ),
)

CHANGE_TABLES = (
    DEAL_CHANGES,
    PROJECT_CHANGES,
    *(_followers(*entity) for entity in _ENTITIES),
    _followers("user", "users", "followed_user_id"),
    *(_follower_changes(*entity) for entity in _ENTITIES),
)


__all__ = [
    "CHANGE_TABLES",
    "DEAL_CHANGES",
    "PROJECT_CHANGES",
]
