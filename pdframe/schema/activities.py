"""Tables of work: activities, projects, tasks, boards, phases and templates."""

from __future__ import annotations

from pdframe.schema.common import (
    BY_ID,
    NO_OPTION,
    UTC,
    added,
    address,
    deleted,
    extra,
    key,
    optional_fields,
    owner,
    updated,
)
from pdframe.schema.table import Column, NameColumn, Source, Table
from pdframe.schema.types import (
    COUNT,
    DATE,
    DURATION,
    FLAG,
    ID,
    IDS,
    TEXT,
    TEXT_ID,
    TIME,
    TIME_OF_DAY,
    category,
    records,
)

_ATTENDEES = records(
    email=TEXT, name=TEXT, status=TEXT, is_organizer=FLAG, person_id=ID, user_id=ID
)

_ACTIVITIES = (
    key("activity"),
    Column("subject", TEXT, "Subject of the activity"),
    Column("type", TEXT, "Kind of activity, one of the company's own"),
    owner("activity"),
    Column("creator_user_id", ID, "User who created the activity", codes=("created_by_user_id",)),
    deleted("activity"),
    added("activity"),
    updated("activity"),
    Column("deal_id", ID, "Deal of the activity; null: none"),
    Column("lead_id", TEXT_ID, "Lead of the activity; null: none"),
    Column("person_id", ID, "Person of the activity; null: none"),
    Column("org_id", ID, "Organization of the activity; null: none"),
    Column("project_id", ID, "Project of the activity; null: none"),
    Column("due_date", DATE, "Day on which it is due; null: not planned", UTC),
    Column("due_time", TIME_OF_DAY, "Time of day at which it is due; null: all day", UTC),
    Column("duration", DURATION, "How long it takes; null: none given"),
    Column("busy", FLAG, "Whether it blocks the calendar"),
    Column("done", FLAG, "Whether it is done"),
    Column("marked_as_done_time", TIME, "When it was marked as done; null: it is not", UTC),
    *address("location", "location"),
    Column("participants", records(person_id=ID, primary=FLAG), "Persons who take part"),
    Column("attendees", _ATTENDEES, "People invited; null or empty: none", optional=True),
    Column("conference_meeting_client", TEXT, "Conference service; null: none"),
    Column("conference_meeting_url", TEXT, "Link to the conference; null: none"),
    Column("conference_meeting_id", TEXT_ID, "Id of the conference; null: none"),
    Column("public_description", TEXT, "Description that guests see; null: none"),
    Column("priority", ID, f"Priority; {NO_OPTION}", options=("priority",)),
    Column("note", TEXT, "Note, HTML; null: none"),
)

ACTIVITIES = Table(
    "activities",
    "one row per activity, not the deleted",
    (
        Source(
            "/activities",
            10,
            extra(*optional_fields(_ACTIVITIES)) + BY_ID,
            changes=True,
            windows=True,
        ),
    ),
    _ACTIVITIES,
    field_list="activity_fields",
    incremental=True,
    names=(
        NameColumn("owner_name", "owner_id", "users"),
        NameColumn("creator_name", "creator_user_id", "users"),
        NameColumn("person_name", "person_id", "persons"),
        NameColumn("org_name", "org_id", "organizations"),
    ),
)

PROJECTS = Table(
    "projects",
    "one row per project, live or archived, not the deleted",
    (Source("/projects", 10, deletions=True), Source("/projects/archived", 10, deletions=True)),
    (
        key("project"),
        Column("title", TEXT, "Title of the project", codes=("name",)),
        Column("description", TEXT, "Description; null: none"),
        Column(
            "status", category("open", "completed", "canceled", "deleted"), "State of the project"
        ),
        Column("board_id", ID, "Board of the project", codes=("board",)),
        Column("phase_id", ID, "Phase that the project is in", codes=("phase",)),
        owner("project"),
        Column("start_date", DATE, "Day on which it starts; null: none given"),
        Column("end_date", DATE, "Day on which it ends; null: none given"),
        Column("deal_ids", IDS, "Deals of the project; null or empty: none", codes=("deals",)),
        Column(
            "person_ids",
            IDS,
            "Persons of the project; null or empty: none",
            codes=("person_id", "people"),
        ),
        Column(
            "org_ids", IDS, "Organizations of the project; null or empty: none", codes=("org_id",)
        ),
        Column(
            "label_ids",
            IDS,
            "Labels of the project; null or empty: none",
            options=("label_ids", "label", "labels"),
        ),
        Column(
            "health_status", ID, f"Health of the project; {NO_OPTION}", options=("health_status",)
        ),
        added("project"),
        updated("project"),
        Column("status_change_time", TIME, "When the status last changed; null: never", UTC),
        Column("archive_time", TIME, "When it was archived; null: it is not", UTC),
    ),
    field_list="project_fields",
    names=(
        NameColumn("board_name", "board_id", "boards"),
        NameColumn("phase_name", "phase_id", "phases"),
        NameColumn("owner_name", "owner_id", "users"),
    ),
    optional=("url",),
)

# A sync reads every task. `is_done=0` alone would cost a fraction, but the API has neither
# `updated_since` nor an order for tasks: nothing would show which done tasks were edited, deleted
# or added.
TASKS = Table(
    "tasks",
    "one row per task of a project",
    (Source("/tasks", 10),),
    (
        key("task"),
        Column("title", TEXT, "Title of the task"),
        Column("creator_id", ID, "User who created the task"),
        Column("description", TEXT, "Description; null: none"),
        Column("project_id", ID, "Project of the task"),
        Column("is_done", FLAG, "Whether it is done"),
        Column("is_milestone", FLAG, "Whether it is a milestone"),
        Column("due_date", DATE, "Day on which it is due; null: none given"),
        Column("start_date", DATE, "Day on which it starts; null: none given"),
        Column("parent_task_id", ID, "Task that it is a part of; null: none"),
        Column("assignee_ids", IDS, "Users it is assigned to; null or empty: none"),
        Column("priority", ID, "Priority; null: none"),
        added("task"),
        updated("task"),
        Column("marked_as_done_time", TIME, "When it was marked as done; null: it is not", UTC),
    ),
    names=(
        NameColumn("creator_name", "creator_id", "users"),
        NameColumn("project_title", "project_id", "projects", "title"),
    ),
)

BOARDS = Table(
    "boards",
    "one row per active project board",
    (Source("/boards", 10, paged=False),),
    (
        key("board"),
        Column("name", TEXT, "Name of the board"),
        Column("order_nr", COUNT, "Place of the board"),
        added("board"),
        updated("board"),
    ),
)

PHASES = Table(
    "phases",
    "one row per active phase of a project board",
    (Source("/phases", 10, paged=False, each=("board_id", "boards")),),
    (
        key("phase"),
        Column("name", TEXT, "Name of the phase"),
        Column("board_id", ID, "Board of the phase"),
        Column("order_nr", COUNT, "Place of the phase on its board"),
        added("phase"),
        updated("phase"),
    ),
    names=(NameColumn("board_name", "board_id", "boards"),),
)

PROJECT_TEMPLATES = Table(
    "project_templates",
    "one row per project template, not the deleted",
    (Source("/projectTemplates", 10),),
    (
        key("template"),
        Column("title", TEXT, "Title of the template"),
        Column("description", TEXT, "Description; null: none"),
        Column("projects_board_id", ID, "Board on which its projects start"),
        owner("template"),
        added("template"),
        updated("template"),
    ),
    names=(
        NameColumn("board_name", "projects_board_id", "boards"),
        NameColumn("owner_name", "owner_id", "users"),
    ),
)

WORK_TABLES = (ACTIVITIES, PROJECTS, TASKS, BOARDS, PHASES, PROJECT_TEMPLATES)


__all__ = [
    "ACTIVITIES",
    "BOARDS",
    "PHASES",
    "PROJECTS",
    "PROJECT_TEMPLATES",
    "TASKS",
    "WORK_TABLES",
]
