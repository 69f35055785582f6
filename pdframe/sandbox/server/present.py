"""Stored records as the rows that the wire carries."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pdframe.sandbox.server.paging import Row
from pdframe.sandbox.server.settings import Settings
from pdframe.sandbox.server.views import Views

if TYPE_CHECKING:
    from pdframe.sandbox.company import Company

_COLUMNS = {
    "deals": (
        "id title creator_user_id owner_id value person_id org_id stage_id pipeline_id currency"
        " archive_time add_time update_time stage_change_time status is_archived is_deleted"
        " probability lost_reason visible_to close_time won_time lost_time local_won_date"
        " local_lost_date local_close_date expected_close_date label_ids origin origin_id channel"
        " channel_id acv arr mrr custom_fields"
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
        " location participants conference_meeting_client conference_meeting_url"
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
COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {table: tuple(names.split()) for table, names in _COLUMNS.items()}
)
# Keys seen missing instead of null on live rows, or looking as nullable as those.
_SOMETIMES_ABSENT = {
    "deals": (
        "person_id org_id archive_time stage_change_time probability lost_reason close_time"
        " won_time lost_time local_won_date local_lost_date local_close_date expected_close_date"
        " origin_id channel channel_id"
    ),
    "deal_products": "product_variation_id billing_start_date",
    "products": "category billing_frequency_cycles",
    "activities": (
        "deal_id lead_id person_id org_id project_id marked_as_done_time location priority"
    ),
    "persons": "org_id picture_id postal_address birthday job_title",
    "organizations": "address website linkedin industry annual_revenue employee_count",
    "projects": "description start_date end_date health_status",
    "tasks": "description due_date start_date parent_task_id priority marked_as_done_time",
}
_SALTS: Mapping[str, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        table: tuple((key, crc32(f"{table}.{key}".encode()) % 3 + 1) for key in keys.split())
        for table, keys in _SOMETIMES_ABSENT.items()
    }
)
ENTITY: Mapping[str, str] = MappingProxyType(
    {
        "deals": "deal",
        "persons": "person",
        "organizations": "organization",
        "products": "product",
        "projects": "project",
    }
)


class Presenter:
    """Makes wire rows; every method is called with the company's lock held."""

    def __init__(self, company: "Company", views: Views, settings: Settings) -> None:
        self._company = company
        self._views = views
        self._settings = settings

    def rows(
        self, table: str, rows: Iterable[Row], params: Mapping[str, Any] = MappingProxyType({})
    ) -> list[Row]:
        """Present rows of a table.

        ``params`` are the parsed ``include_fields``, ``custom_fields``, ``include_option_labels``
        and ``include_labels``. Row ids that leave 1 when divided by 4 lose some null keys, those
        that leave 2 and 3 others, the fourth kind none: each key is on some row.
        """
        columns = COLUMNS[table]
        salts = _SALTS.get(table, ())
        custom = table in ENTITY or (
            table == "activities" and self._company.switches.activities_have_custom_fields
        )
        chosen: Sequence[str] = params.get("custom_fields", ())
        empty = self._empty(table, chosen) if custom else {}
        options = self._options(table) if params.get("include_option_labels") else None
        labels = self._labels(table) if params.get("include_labels") else None
        include: Sequence[str] = params.get("include_fields", ())
        lite = table == "deals" and self._settings.plan == "Lite"
        out = []
        for row in rows:
            wire = dict(zip(columns, map(row.get, columns), strict=True))
            if custom:
                kept = row.get("custom_fields") or {}
                values = {**empty, **kept}
                if len(values) != len(empty):
                    values = {key: kept.get(key) for key in empty}
                if options is not None:
                    for key in options.keys() & kept.keys() & values.keys():
                        values[key] = _labelled(kept[key], options[key])
                wire["custom_fields"] = values
            if lite:
                self._without_revenue(wire)
            if salts and row["id"] % 4:
                lot = row["id"] % 4
                for key, salt in salts:
                    if salt == lot and wire[key] is None:
                        del wire[key]
            if include:
                wire |= self._extra(table, row, include)
            if labels is not None:
                wire["labels"] = [
                    {"id": i, "label": labels.get(i)} for i in row.get("label_ids") or ()
                ]
            out.append(wire)
        if table == "projects":
            self._mark_deleted(out)
        return out

    @staticmethod
    def _entity(table: str) -> str:
        return "activity" if table == "activities" else ENTITY[table]

    def _mark_deleted(self, projects: list[Row]) -> None:
        deleted = self._company.deleted_at
        for wire in projects:
            if ("projects", wire["id"]) in deleted:
                wire["status"] = "deleted"

    def _without_revenue(self, wire: Row) -> None:
        for key in ("mrr", "arr", "acv"):
            if self._settings.lite_revenue == "absent":
                del wire[key]
            else:
                wire[key] = None

    def _empty(self, table: str, chosen: Sequence[str]) -> dict[str, None]:
        """Every custom hash of the account in metadata order, or the chosen ones that exist."""
        hashes: dict[str, None] = self._views.keep(
            ("hashes", table),
            lambda: dict.fromkeys(
                f["field_code"]
                for f in self._company.fields[self._entity(table)]
                if f["is_custom_field"]
            ),
        )
        return {key: None for key in chosen if key in hashes} if chosen else hashes

    def _options(self, table: str) -> dict[str, dict[Any, str]]:
        """Labels of the options of every custom single and multiple option field."""
        return {
            f["field_code"]: {o["id"]: o["label"] for o in f["options"] or ()}
            for f in self._company.fields[self._entity(table)]
            if f["is_custom_field"] and f["field_type"] in ("enum", "set")
        }

    def _labels(self, table: str) -> dict[Any, str]:
        for field in self._company.fields[self._entity(table)]:
            if field["field_code"] in ("label", "label_ids"):
                return {int(o["id"]): o["label"] for o in field.get("options") or ()}
        return {}

    def _extra(self, table: str, row: Row, include: Sequence[str]) -> Row:
        """The optional columns asked for; one that the company does not know is null."""
        if table == "activities":
            return {key: row.get(key) for key in include}
        company = self._company
        counts: Mapping[str, Any]
        if table == "deals":
            counts = company.deal_counts(row["id"])
        elif table == "persons":
            counts = company.person_counts(row["id"])
        else:
            counts = company.organization_counts(row["id"])
        return {key: counts.get(key) for key in include}


def _labelled(value: Any, options: Mapping[Any, str]) -> Any:
    """Option ids with their labels; a deleted option has none."""
    if isinstance(value, list):
        return [{"id": i, "label": options.get(i)} for i in value]
    return {"id": value, "label": options.get(value)}
