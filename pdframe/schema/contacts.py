"""Persons, organizations and users."""

from __future__ import annotations

from pdframe.schema.common import (
    BY_ID,
    CONTACTS,
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
    AMOUNT,
    COUNT,
    DATE,
    FLAG,
    ID,
    IDS,
    PRIMARY,
    TEXT,
    TEXT_ID,
    TIME,
    records,
)

SYNC = "null: none, or contact sync is off"


def _activity_columns(what: str, deals: tuple[tuple[str, str], ...]) -> tuple[Column, ...]:
    """Return the optional columns of persons and organizations, with the counts of `deals`."""
    return (
        Column("next_activity_id", ID, "Next planned activity; null: none", optional=True),
        Column("last_activity_id", ID, "Last activity done; null: none", optional=True),
        *(Column(name, COUNT, meaning, "deals", optional=True) for name, meaning in deals),
        Column(
            "email_messages_count", COUNT, f"Mails linked to the {what}", "mails", optional=True
        ),
        Column("activities_count", COUNT, f"Activities of the {what}", "activities", optional=True),
        Column(
            "done_activities_count",
            COUNT,
            f"Activities of the {what} that are done",
            "activities",
            optional=True,
        ),
        Column(
            "undone_activities_count",
            COUNT,
            f"Activities of the {what} still to do",
            "activities",
            optional=True,
        ),
        Column("files_count", COUNT, f"Files of the {what}", "files", optional=True),
        Column("notes_count", COUNT, f"Notes on the {what}", "notes", optional=True),
        Column("followers_count", COUNT, f"Users who follow the {what}", "users", optional=True),
        Column(
            "smart_bcc_email", TEXT, f"Address that files mails under the {what}", optional=True
        ),
    )


_OWN_DEALS = tuple(
    (f"{state}_deals_count", f"{state.capitalize()} deals")
    for state in ("open", "closed", "won", "lost")
)
_RELATED_DEALS = tuple(
    (f"related_{state}_deals_count", f"{state.capitalize()} deals of linked records")
    for state in ("open", "closed", "won", "lost")
)
_PARTICIPANT_DEALS = tuple(
    (f"participant_{state}_deals_count", f"{state.capitalize()} deals as a participant")
    for state in ("open", "closed")
)

_PERSONS = (
    key("person"),
    Column("name", TEXT, "Full name of the person"),
    Column("first_name", TEXT, "First name; null: none"),
    Column("last_name", TEXT, "Last name; null: none"),
    owner("person"),
    Column("org_id", ID, "Organization of the person; null: none"),
    added("person"),
    updated("person"),
    Column("emails", CONTACTS, "Mail addresses; null or empty: none", codes=("email",)),
    Column(
        "primary_email",
        PRIMARY,
        "Mail address that is flagged primary; null: none is",
        path="emails",
        codes=("email", "emails"),
    ),
    Column("phones", CONTACTS, "Phone numbers; null or empty: none", codes=("phone",)),
    Column(
        "primary_phone",
        PRIMARY,
        "Phone number that is flagged primary; null: none is",
        path="phones",
        codes=("phone", "phones"),
    ),
    deleted("person"),
    Column("visible_to", ID, "Visibility group of the person"),
    Column(
        "label_ids",
        IDS,
        "Labels of the person; null or empty: none",
        options=("label_ids", "label"),
    ),
    Column("picture_id", ID, "Picture of the person; null: none", codes=("picture",)),
    *address("postal_address", "postal address"),
    Column("notes", TEXT, f"Notes from contact sync; {SYNC}"),
    Column("im", CONTACTS, f"Messenger accounts; {SYNC}"),
    Column("birthday", DATE, f"Birthday; {SYNC}"),
    Column("job_title", TEXT, f"Job title; {SYNC}"),
    *_activity_columns("person", _OWN_DEALS + _RELATED_DEALS + _PARTICIPANT_DEALS),
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
    Column(
        "marketing_status",
        TEXT,
        "Consent to marketing mails; null: no marketing app",
        optional=True,
    ),
    Column("doi_status", TEXT, "State of the double opt-in; null: no marketing app", optional=True),
)

# The API refuses requests for these two unless the company has the marketing app.
_MARKETING = ("marketing_status", "doi_status")

PERSONS = Table(
    "persons",
    "one row per person, not the deleted",
    (
        Source(
            "/persons",
            10,
            extra(*optional_fields(_PERSONS, without=_MARKETING)) + BY_ID,
            changes=True,
            windows=True,
        ),
    ),
    _PERSONS,
    field_list="person_fields",
    incremental=True,
    names=(
        NameColumn("owner_name", "owner_id", "users"),
        NameColumn("org_name", "org_id", "organizations"),
    ),
    optional=("url",),
)

_ORGANIZATIONS = (
    key("organization"),
    Column("name", TEXT, "Name of the organization"),
    owner("organization"),
    added("organization"),
    updated("organization"),
    deleted("organization"),
    Column("visible_to", ID, "Visibility group of the organization"),
    *address("address", "address"),
    Column(
        "label_ids",
        IDS,
        "Labels of the organization; null or empty: none",
        options=("label_ids", "label"),
    ),
    Column("website", TEXT, "Website; null: none"),
    Column("linkedin", TEXT, "LinkedIn profile; null: none"),
    Column("industry", ID, "Industry; null: none", options=("industry",)),
    Column("annual_revenue", AMOUNT, "Annual revenue; null: unknown", "not stated by the API"),
    Column("employee_count", COUNT, "Employees; null: unknown", "persons"),
    *_activity_columns("organization", _OWN_DEALS + _RELATED_DEALS),
    Column("people_count", COUNT, "Persons of the organization", "persons", optional=True),
)

ORGANIZATIONS = Table(
    "organizations",
    "one row per organization, not the deleted",
    (
        Source(
            "/organizations",
            10,
            extra(*optional_fields(_ORGANIZATIONS)) + BY_ID,
            changes=True,
            windows=True,
        ),
    ),
    _ORGANIZATIONS,
    field_list="organization_fields",
    incremental=True,
    names=(NameColumn("owner_name", "owner_id", "users"),),
    optional=("url",),
)

USERS = Table(
    "users",
    "one row per user of the company, deactivated ones included",
    (Source("/users", 20, paged=False, api="v1"),),
    (
        key("user"),
        Column("name", TEXT, "Name of the user"),
        Column("default_currency", TEXT, "Currency the user works in, ISO 4217"),
        Column("locale", TEXT, "Locale of the user"),
        Column("lang", ID, "Language of the user"),
        Column("email", TEXT, "Mail address of the user"),
        Column("phone", TEXT, "Phone number of the user; null: none"),
        Column("activated", FLAG, "Whether the user is activated"),
        Column("last_login", TIME, "When the user last logged in; null: never", UTC),
        Column("created", TIME, "When the user was created", UTC),
        Column("modified", TIME, "When the user last changed; null: never", UTC),
        Column("has_created_company", FLAG, "Whether the user created the company's account"),
        Column(
            "access",
            records(app=TEXT, admin=FLAG, permission_set_id=TEXT_ID),
            "Rights of the user, one entry an app",
        ),
        Column("active_flag", FLAG, "Whether the user is active"),
        Column("timezone_name", TEXT, "Timezone of the user, IANA"),
        Column(
            "timezone_offset", TEXT, "Offset of that timezone at the time of the request", "+HH:MM"
        ),
        Column("role_id", ID, "Role of the user"),
        Column("icon_url", TEXT, "Picture of the user; null: none"),
        Column("is_you", FLAG, "Whether the credentials are this user's"),
        Column("is_deleted", FLAG, "Whether the user is deleted from the company"),
    ),
)

PEOPLE_TABLES = (PERSONS, ORGANIZATIONS, USERS)


__all__ = [
    "ORGANIZATIONS",
    "PEOPLE_TABLES",
    "PERSONS",
    "SYNC",
    "USERS",
]
