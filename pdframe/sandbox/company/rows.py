"""A blank row of every table: all keys of the wire's row, in its order, empty."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

_KEYS = {
    "deals": (
        "id title creator_user_id owner_id value person_id org_id stage_id pipeline_id currency"
        " archive_time add_time update_time stage_change_time status is_archived is_deleted"
        " probability lost_reason visible_to close_time won_time lost_time local_won_date"
        " local_lost_date local_close_date expected_close_date label_ids origin origin_id channel"
        " channel_id source_lead_id acv arr mrr custom_fields"
    ),
    "deal_products": (
        "id sum tax deal_id name product_id product_variation_id order_nr add_time update_time"
        " comments currency discount quantity item_price tax_method discount_type is_enabled"
        " billing_frequency billing_frequency_cycles billing_start_date"
    ),
    "installments": "id amount billing_date deal_id description",
    "discounts": "id description amount type deal_id created_at created_by updated_at updated_by",
    "products": (
        "id name code description unit tax category is_linkable is_deleted visible_to owner_id"
        " add_time update_time billing_frequency billing_frequency_cycles prices custom_fields"
    ),
    "product_variations": "id name product_id prices",
    "activities": (
        "id subject type owner_id creator_user_id is_deleted add_time update_time deal_id lead_id"
        " person_id org_id project_id due_date due_time duration busy done marked_as_done_time"
        " location participants attendees conference_meeting_client conference_meeting_url"
        " conference_meeting_id public_description priority note"
    ),
    "persons": (
        "id name first_name last_name owner_id org_id add_time update_time emails phones is_deleted"
        " visible_to label_ids picture_id postal_address notes im birthday job_title custom_fields"
    ),
    "organizations": (
        "id name owner_id add_time update_time is_deleted visible_to address label_ids website"
        " linkedin industry annual_revenue employee_count custom_fields"
    ),
    "stages": (
        "id order_nr name is_deleted deal_probability pipeline_id is_deal_rot_enabled"
        " days_to_rotten add_time update_time"
    ),
    "pipelines": "id name order_nr is_deleted is_deal_probability_enabled add_time update_time",
    "users": (
        "id name default_currency locale lang email phone activated last_login created modified"
        " has_created_company access active_flag timezone_name timezone_offset role_id icon_url"
        " is_you is_deleted"
    ),
    "projects": (
        "id title description status board_id phase_id owner_id start_date end_date deal_ids"
        " person_ids org_ids label_ids health_status add_time update_time status_change_time"
        " archive_time custom_fields"
    ),
    "tasks": (
        "id title creator_id description project_id is_done is_milestone due_date start_date"
        " parent_task_id assignee_ids priority add_time update_time marked_as_done_time"
    ),
    "boards": "id name order_nr add_time update_time",
    "phases": "id name board_id order_nr add_time update_time",
    "project_templates": "id title description projects_board_id owner_id add_time update_time",
}
BLANK: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {table: dict.fromkeys(keys.split()) for table, keys in _KEYS.items()}
)
ADDRESS_PARTS = (
    "value",
    "country",
    "admin_area_level_1",
    "admin_area_level_2",
    "locality",
    "sublocality",
    "route",
    "street_number",
    "subpremise",
    "postal_code",
)


def blank(table: str, **values: Any) -> dict[str, Any]:
    """Return a new row of the table with these values, the rest None; ValueError for a key that the
    row does not have.
    """
    row = BLANK[table].copy()
    row.update(values)
    if len(row) != len(BLANK[table]):
        raise ValueError(
            f"{table} has no column {', '.join(sorted(row.keys() - BLANK[table].keys()))}."
        )
    return row
