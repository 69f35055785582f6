"""Wire definitions of the standard fields of every entity, and of the parts of composite types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .ledger import Row

# code|label|type; a trailing * marks a field that a list returns only when asked for.
_DEAL = """id|ID|int
title|Title|varchar
creator_user_id|Creator|user
owner_id|Owner|user
value|Value|monetary
weighted_value|Weighted value|monetary*
currency|Currency of Value|varchar_options
probability|Probability|int
org_id|Organization|org
person_id|Contact person|people
pipeline|Pipeline|int
stage_id|Stage|stage
label_ids|Label|set
status|Status|status
lost_reason|Lost reason|varchar_options
visible_to|Visible to|visible_to
add_time|Deal created|date
update_time|Update time|date
stage_change_time|Last stage change|date
close_time|Deal closed on|date
won_time|Won time|date
lost_time|Lost time|date
expected_close_date|Expected close date|date
archive_time|Archive time|date
is_archived|Archived|boolean
is_deleted|Deleted|boolean
local_won_date|Won date (local)|date
local_lost_date|Lost date (local)|date
local_close_date|Close date (local)|date
origin|Source origin|varchar
origin_id|Source origin ID|varchar
channel|Source channel|enum
channel_id|Source channel ID|varchar
source_lead_id|Source lead|lead*
mrr|MRR|double
arr|ARR|double
acv|ACV|double
products_count|Products count|int*
next_activity_id|Next activity|activity*
last_activity_id|Last activity|activity*
activities_count|Total activities|int*
done_activities_count|Done activities|int*
undone_activities_count|Activities to do|int*
email_messages_count|Email messages count|int*
files_count|Files count|int*
notes_count|Notes count|int*
followers_count|Followers count|int*
participants_count|Participants count|int*
first_won_time|First won time|date*
last_incoming_mail_time|Last email received|date*
last_outgoing_mail_time|Last email sent|date*
smart_bcc_email|Smart BCC email|varchar*
products|Products|json*
score|Score|int*"""

_CONTACT_COUNTS = """next_activity_id|Next activity|activity*
last_activity_id|Last activity|activity*
activities_count|Total activities|int*
done_activities_count|Done activities|int*
undone_activities_count|Activities to do|int*
open_deals_count|Open deals|int*
closed_deals_count|Closed deals|int*
won_deals_count|Won deals|int*
lost_deals_count|Lost deals|int*
related_open_deals_count|Related open deals|int*
related_closed_deals_count|Related closed deals|int*
related_won_deals_count|Related won deals|int*
related_lost_deals_count|Related lost deals|int*
files_count|Files count|int*
notes_count|Notes count|int*
followers_count|Followers count|int*
email_messages_count|Email messages count|int*
smart_bcc_email|Smart BCC email|varchar*"""

_PERSON = f"""id|ID|int
name|Name|varchar
first_name|First name|varchar
last_name|Last name|varchar
label_ids|Labels|set
phone|Phone|phone
email|Email|varchar
org_id|Organization|org
owner_id|Owner|user
visible_to|Visible to|visible_to
add_time|Person created|date
update_time|Update time|date
is_deleted|Deleted|boolean
picture_id|Profile picture|picture
notes|Notes|text
im|Instant messenger|varchar
postal_address|Postal address|address
birthday|Birthday|date
job_title|Job title|varchar
marketing_status|Marketing status|varchar_options*
doi_status|Double opt-in|int*
last_incoming_mail_time|Last email received|date*
last_outgoing_mail_time|Last email sent|date*
{_CONTACT_COUNTS}"""

_ORGANIZATION = f"""id|ID|int
name|Name|varchar
label_ids|Labels|set
address|Address|address
owner_id|Owner|user
visible_to|Visible to|visible_to
add_time|Organization created|date
update_time|Update time|date
is_deleted|Deleted|boolean
website|Website|varchar
linkedin|LinkedIn profile|varchar
industry|Industry|enum
annual_revenue|Annual revenue|double
employee_count|Number of employees|int
people_count|People|int*
{_CONTACT_COUNTS}"""

_PRODUCT = """id|ID|int
name|Name|varchar
code|Product code|varchar
description|Description|text
unit|Unit|varchar
tax|Tax|double
category|Category|enum
is_linkable|Active|boolean
is_deleted|Deleted|boolean
visible_to|Visible to|visible_to
owner_id|Owner|user
add_time|Created at|date
update_time|Update time|date
billing_frequency|Billing frequency|billing_frequency
billing_frequency_cycles|Billing cycles|int
prices|Unit prices|price_list
followers_count|Followers count|int*"""

_ACTIVITY = """id|ID|int
subject|Subject|varchar
type|Type|enum
owner_id|Assigned to user|user
creator_user_id|Creator|user
deal_id|Deal|deal
lead_id|Lead|lead
person_id|Contact person|people
org_id|Organization|org
project_id|Project|project
due_date|Due date|date
due_time|Due time|time
duration|Duration|time
busy|Free/busy|boolean
done|Done|boolean
marked_as_done_time|Marked as done time|date
location|Location|address
participants|Participants|json
attendees|Attendees|json*
conference_meeting_client|Conference meeting client|varchar
conference_meeting_url|Conference meeting URL|varchar
conference_meeting_id|Conference meeting ID|varchar
public_description|Public description|text
priority|Priority|enum
note|Note|text
is_deleted|Deleted|boolean
add_time|Add time|date
update_time|Update time|date"""

_PROJECT = """id|ID|int
title|Title|varchar
description|Description|text
status|Status|status
board_id|Board|projects_board
phase_id|Phase|projects_phase
owner_id|Owner|user
start_date|Start date|date
end_date|End date|date
deal_ids|Deals|deals
person_ids|People|people
org_ids|Organizations|org
label_ids|Labels|set
health_status|Health status|enum
add_time|Project created|date
update_time|Update time|date
status_change_time|Status change time|date
archive_time|Archive time|date"""

_VISIBLE = (
    ("1", "Owner & followers"),
    ("3", "Entire company"),
    ("5", "Owner's visibility group"),
    ("7", "Owner's visibility group and sub-groups"),
)
_CURRENCIES = (("EUR", "Euro"), ("GBP", "Pound sterling"), ("USD", "United States dollar"))
Options = Mapping[tuple[str, str], Iterable[tuple[int | str, str]]]
_OPTIONS: Options = {
    ("deal", "status"): (
        ("open", "Open"),
        ("won", "Won"),
        ("lost", "Lost"),
        ("deleted", "Deleted"),
    ),
    ("deal", "currency"): _CURRENCIES,
    ("deal", "label_ids"): (
        (11, "Hot"),
        (12, "Warm"),
        (13, "Cold"),
        (14, "Key account"),
        (15, "Strategic"),
    ),
    ("deal", "channel"): (
        (51, "Outbound"),
        (52, "Campaigns"),
        (53, "Web forms"),
        (54, "Partners"),
        (55, "Events"),
    ),
    ("deal", "lost_reason"): tuple(
        (x, x)
        for x in (
            "Price",
            "Chose a competitor",
            "No budget",
            "No decision",
            "Missing feature",
            "Went silent",
            "Timing",
        )
    ),
    ("person", "label_ids"): ((21, "Champion"), (22, "Blocker"), (23, "Customer")),
    ("person", "marketing_status"): (
        ("subscribed", "Subscribed"),
        ("unsubscribed", "Unsubscribed"),
        ("no_consent", "No consent"),
    ),
    ("organization", "label_ids"): ((31, "Customer"), (32, "Prospect"), (33, "Former customer")),
    ("organization", "industry"): (
        (1, "Software"),
        (2, "Finance"),
        (3, "Manufacturing"),
        (4, "Retail"),
        (5, "Healthcare"),
        (6, "Logistics"),
    ),
    ("product", "category"): (
        ("1", "Subscription"),
        ("2", "Add-on"),
        ("3", "Service"),
        ("4", "Hardware"),
    ),
    ("product", "billing_frequency"): tuple(
        (x, x) for x in ("one-time", "annually", "semi-annually", "quarterly", "monthly", "weekly")
    ),
    ("activity", "type"): (
        ("call", "Call"),
        ("meeting", "Meeting"),
        ("task", "Task"),
        ("deadline", "Deadline"),
        ("email", "Email"),
        ("lunch", "Lunch"),
        ("demo", "Demo"),
    ),
    ("activity", "priority"): ((261, "Low"), (262, "Medium"), (263, "High")),
    ("project", "status"): (
        ("open", "Open"),
        ("completed", "Completed"),
        ("canceled", "Canceled"),
        ("deleted", "Deleted"),
    ),
    ("project", "label_ids"): ((41, "Fast track"), (42, "At risk")),
    ("project", "health_status"): ((10, "On track"), (20, "At risk"), (30, "Off track")),
}
_ADDRESS = (
    ("value", "Address value"),
    ("street_number", "House number"),
    ("route", "Street/road name"),
    ("subpremise", "Apartment/suite"),
    ("sublocality", "City/town/village/locality"),
    ("locality", "District"),
    ("admin_area_level_1", "State/province"),
    ("admin_area_level_2", "County"),
    ("country", "Country"),
    ("postal_code", "Postal code"),
    ("formatted_address", "Formatted address"),
)


def subfields(kind: str, name: str) -> list[Row] | None:
    """Return the metadata of a composite's parts; None for a simple type."""
    parts: dict[str, tuple[tuple[str, str, str], ...]] = {
        "monetary": (("value", "Amount", "double"), ("currency", "Currency", "varchar")),
        "daterange": (("value", "Start date", "date"), ("until", "End date", "date")),
        "timerange": (
            ("value", "Start time", "time"),
            ("until", "End time", "time"),
            ("timezone_name", "Timezone", "varchar"),
        ),
        "time": (("value", "Time", "time"), ("timezone_name", "Timezone", "varchar")),
        "address": tuple((code, label, "varchar") for code, label in _ADDRESS),
    }
    if kind not in parts:
        return None
    return [
        {"field_code": code, "field_name": f"{label} of {name}", "field_type": part}
        for code, label, part in parts[kind]
    ]


def definition(
    entity: str,
    code: str,
    name: str,
    kind: str,
    options: list[Row] | None = None,
    *,
    custom: bool = False,
    optional: bool = False,
    parts: bool = True,
) -> Row:
    """Build the wire's definition of one field, with all that include_fields can ask for."""
    field: dict[str, Any] = {"field_name": name, "field_code": code}
    if entity in ("deal", "activity"):
        field["description"] = None if custom else f"The {name.lower()} of the {entity}"
    field |= {
        "field_type": kind,
        "options": options,
        "subfields": subfields(kind, name) if parts else None,
        "is_custom_field": custom,
        "is_optional_response_field": optional,
        "ui_visibility": {"add_visible_flag": not optional, "details_visible_flag": True},
        "important_fields": {"enabled": False, "stage_ids": []},
        "required_fields": {"enabled": code in ("title", "name", "subject")},
    }
    if entity == "deal":
        field["ui_visibility"] |= {
            "projects_detail_visible_flag": False,
            "show_in_pipelines": {"show_in_all": True, "pipeline_ids": []},
        }
        field["required_fields"] |= {"stage_ids": [], "statuses": {}}
    elif entity == "person":
        field["ui_visibility"]["show_in_add_deal_dialog"] = {"show": False, "order": None}
    elif entity == "organization":
        field["ui_visibility"] |= {
            "org_detail_visible_flag": True,
            "person_detail_visible_flag": False,
            "deal_detail_visible_flag": False,
            "show_in_add_deal_dialog": {"show": False, "order": None},
            "show_in_add_person_dialog": {"show": False, "order": None},
        }
    return field


def standard(entity: str, other_options: Options) -> list[Row]:
    """Return the definitions of the entity's built-in fields; `other_options` replaces the options
    of some.
    """
    text = {
        "deal": _DEAL,
        "person": _PERSON,
        "organization": _ORGANIZATION,
        "product": _PRODUCT,
        "activity": _ACTIVITY,
        "project": _PROJECT,
    }[entity]
    result = []
    for line in text.split("\n"):
        code, name, kind = line.split("|")
        key = (entity, code)
        options = _VISIBLE if code == "visible_to" else other_options.get(key, _OPTIONS.get(key))
        # The ids of built-in options are text, also where rows hold numbers.
        rows = [{"id": str(key), "label": label} for key, label in options] if options else None
        result.append(
            definition(entity, code, name, kind.rstrip("*"), rows, optional=kind.endswith("*"))
        )
    return result


CREATABLE = (
    "varchar",
    "text",
    "double",
    "phone",
    "date",
    "daterange",
    "time",
    "timerange",
    "set",
    "enum",
    "varchar_auto",
    "address",
    "monetary",
    "org",
    "people",
    "user",
)
