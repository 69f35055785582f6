"""The table of operations: path, cost, parameters, scopes, handler; copied from the specification
once, by hand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pdframe.sandbox.server import lists, search, v1
from pdframe.sandbox.server import params as p
from pdframe.sandbox.server.call import Handler
from pdframe.sandbox.server.params import Param, Parser

Params = Mapping[str, Parser | Param]


@dataclass(frozen=True, slots=True)
class Operation:
    """One GET: its path template below the origin, its cost in tokens, and what it takes. Any one
    of ``scopes`` opens it.
    """

    template: str
    cost: int
    handler: Handler
    params: Mapping[str, Param]
    scopes: frozenset[str]
    search: bool = False
    growth: bool = False


class Router:
    """Finds the operation of a path; written parts go before ``{…}``."""

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        self.operations = operations
        self._plain = {op.template: op for op in operations if "{" not in op.template}
        self._patterns = [
            (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", op.template)), op)
            for op in operations
            if "{" in op.template
        ]

    def find(self, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation and the parts of its path, None where there is none."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for pattern, operation in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return operation, match.groupdict()
        return None


_COUNTS = (
    "next_activity_id last_activity_id email_messages_count activities_count done_activities_count"
    " undone_activities_count files_count notes_count followers_count smart_bcc_email"
)
_DEAL_EXTRAS = tuple(
    f"{_COUNTS} first_won_time products_count participants_count last_incoming_mail_time"
    " last_outgoing_mail_time source_lead_id".split()
)
_CONTACT_COUNTS = (
    f"{_COUNTS} open_deals_count related_open_deals_count closed_deals_count"
    " related_closed_deals_count won_deals_count related_won_deals_count lost_deals_count"
    " related_lost_deals_count"
)
_PERSON_EXTRAS = tuple(
    f"{_CONTACT_COUNTS} participant_open_deals_count participant_closed_deals_count"
    " last_incoming_mail_time last_outgoing_mail_time marketing_status doi_status".split()
)
_ORGANIZATION_EXTRAS = tuple(f"{_CONTACT_COUNTS} people_count".split())


def operations() -> tuple[Operation, ...]:
    """Every GET of the v2 specification, and the v1 reads that v2 lacks."""
    return (
        *_deals(),
        *_contacts(),
        *_products(),
        *_projects(),
        *_fields(),
        *_searches(),
        *_rest(),
        *_v1(),
    )


def _op(
    path: str,
    cost: int,
    handler: Handler,
    scopes: str,
    *groups: Params,
    search: bool = False,
    growth: bool = False,
) -> Operation:
    """An operation of v2, or of v1 where the path says so; its parameters come in groups."""
    declared = {
        name: parse if isinstance(parse, Param) else Param(parse)
        for group in groups
        for name, parse in group.items()
    }
    template = path if path.startswith("/") else f"/api/v2/{path}"
    return Operation(template, cost, handler, declared, frozenset(scopes.split()), search, growth)


def _paged(most: int = 500) -> Params:
    return {"limit": p.between(1, most), "cursor": p.text}


def _sorted(*fields: str) -> Params:
    return {"sort_by": p.one_of(*fields), "sort_direction": p.one_of("asc", "desc")}


def _integers(*names: str) -> Params:
    return dict.fromkeys(names, p.integer)


def _updated() -> Params:
    return {"updated_since": p.moment, "updated_until": p.moment}


def _shape(*extras: str) -> Params:
    """Parameters that choose the columns of a row."""
    return {"include_fields": p.some_of(*extras), "custom_fields": p.keys(15)}


def _labels() -> Params:
    return {"include_option_labels": p.boolean, "include_labels": p.boolean}


def _deals() -> tuple[Operation, ...]:
    scopes, lines = "deals:read deals:full", "products:read products:full deals:read deals:full"
    deals = {
        **_integers("filter_id", "owner_id", "person_id", "org_id", "pipeline_id", "stage_id"),
        "ids": p.ids(100),
        "status": p.some_of("open", "won", "lost", "deleted"),
        **_updated(),
        **_sorted("id", "update_time", "add_time"),
        **_shape(*_DEAL_EXTRAS),
        **_paged(),
    }
    batch: Params = {"deal_ids": Param(p.ids(100, repeatable=True), required=True), **_paged()}
    return (
        _op("deals", 10, lists.listing("deals", archived=False), scopes, deals, _labels()),
        _op("deals/archived", 20, lists.listing("deals", archived=True), scopes, deals),
        _op("deals/{id}", 1, lists.single("deals"), scopes, _shape(*_DEAL_EXTRAS), _labels()),
        _op(
            "deals/products",
            10,
            lists.parts("deal_products"),
            lines,
            batch,
            _sorted("id", "deal_id", "add_time", "update_time", "order_nr"),
        ),
        _op(
            "deals/{id}/products",
            10,
            lists.deal_products,
            lines,
            _paged(),
            _sorted("id", "add_time", "update_time", "order_nr"),
        ),
        _op(
            "deals/installments",
            10,
            lists.parts("installments"),
            scopes,
            batch,
            _sorted("id", "billing_date", "deal_id"),
            growth=True,
        ),
        _op("deals/{id}/discounts", 10, lists.discounts, scopes),
        *_followed("deals", "deal", scopes),
        _op("deals/{id}/convert/status/{conversion_id}", 1, lists.nothing_there("deals"), scopes),
        _op(
            "leads/{id}/convert/status/{conversion_id}",
            1,
            lists.nothing_there(None),
            "leads:read leads:full",
        ),
    )


def _followed(table: str, entity: str, scopes: str) -> tuple[Operation, ...]:
    return (
        _op(f"{table}/{{id}}/followers", 10, lists.followers(entity, table), scopes, _paged()),
        _op(
            f"{table}/{{id}}/followers/changelog",
            10,
            lists.follower_changes(entity, table),
            scopes,
            _paged(),
        ),
    )


def _contacts() -> tuple[Operation, ...]:
    scopes = "contacts:read contacts:full"
    both = {
        "ids": p.ids(100),
        **_updated(),
        **_sorted("id", "update_time", "add_time"),
        **_labels(),
        **_paged(),
    }
    persons, organizations = _shape(*_PERSON_EXTRAS), _shape(*_ORGANIZATION_EXTRAS)
    return (
        _op(
            "persons",
            10,
            lists.listing("persons"),
            scopes,
            _integers("filter_id", "owner_id", "org_id", "deal_id"),
            persons,
            both,
        ),
        _op("persons/{id}", 1, lists.single("persons"), scopes, persons, _labels()),
        _op("persons/{id}/picture", 1, lists.nothing_there("persons"), scopes),
        *_followed("persons", "person", scopes),
        _op(
            "organizations",
            10,
            lists.listing("organizations"),
            scopes,
            _integers("filter_id", "owner_id"),
            organizations,
            both,
        ),
        _op(
            "organizations/{id}", 1, lists.single("organizations"), scopes, organizations, _labels()
        ),
        *_followed("organizations", "organization", scopes),
    )


def _products() -> tuple[Operation, ...]:
    scopes = "products:read products:full"
    return (
        _op(
            "products",
            10,
            lists.listing("products"),
            scopes,
            _integers("filter_id", "owner_id"),
            {"ids": p.ids(100)},
            {"updated_since": p.moment},
            {"custom_fields": p.keys(15)},
            _sorted("id", "name", "add_time", "update_time"),
            _paged(),
        ),
        _op("products/{id}", 1, lists.single("products"), scopes),
        _op("products/{id}/variations", 10, lists.variations, scopes, _paged()),
        _op("products/{id}/images", 10, lists.nothing_there("products"), scopes),
        *_followed("products", "product", scopes),
    )


def _projects() -> tuple[Operation, ...]:
    scopes = "projects:read projects:full"
    both = {
        **_integers("filter_id", "phase_id"),
        "status": p.some_of("open", "completed", "canceled", "deleted"),
        **_paged(),
    }
    return (
        _op(
            "projects",
            10,
            lists.listing("projects", archived=False),
            scopes,
            both,
            _integers("deal_id", "person_id", "org_id"),
        ),
        _op("projects/archived", 10, lists.listing("projects", archived=True), scopes, both),
        _op("projects/{id}", 1, lists.single("projects"), scopes),
        _op("projects/{id}/permittedUsers", 5, lists.permitted_users, scopes),
        _op("projects/{id}/changelog", 10, lists.project_changes, scopes, _paged()),
        _op("projectTemplates", 10, lists.listing("project_templates"), scopes, _paged()),
        _op("projectTemplates/{id}", 1, lists.single("project_templates"), scopes),
        _op(
            "tasks",
            10,
            lists.listing("tasks"),
            scopes,
            {"is_done": p.boolean},
            {"is_milestone": p.boolean},
            {"parent_task_id": p.parent},
            _integers("assignee_id", "project_id"),
            _paged(),
        ),
        _op("tasks/{id}", 1, lists.single("tasks"), scopes),
        _op("boards", 10, lists.boards, scopes),
        _op("boards/{id}", 10, lists.single("boards"), scopes),
        _op("phases", 10, lists.phases, scopes, {"board_id": Param(p.integer, required=True)}),
        _op("phases/{id}", 10, lists.single("phases"), scopes),
    )


def _fields() -> tuple[Operation, ...]:
    contacts = "contacts:read contacts:full admin contact-fields:full"
    scopes = {
        "activity": "admin",
        "deal": "deals:read deals:full admin deal-fields:full",
        "person": contacts,
        "organization": contacts,
        "product": "products:read products:full product-fields:full",
        "project": "projects:read projects:full project-fields:full",
    }
    visibility: Params = {"include_fields": p.some_of("ui_visibility")}
    rules: Params = {
        "include_fields": p.some_of("ui_visibility", "important_fields", "required_fields")
    }
    extras = {
        "activity": visibility,
        "product": visibility,
        "deal": rules,
        "person": rules,
        "organization": rules,
        "project": {},
    }
    return tuple(
        operation
        for entity, scope in scopes.items()
        for operation in (
            _op(f"{entity}Fields", 10, lists.field_list(entity), scope, extras[entity], _paged()),
            _op(
                f"{entity}Fields/{{field_code}}",
                1,
                lists.field_single(entity),
                scope,
                extras[entity],
            ),
        )
    )


def _searches() -> tuple[Operation, ...]:
    own = {
        "deal": (
            "deals",
            "deals:read deals:full",
            {
                "include_fields": p.some_of("deal.cc_email"),
                "status": p.one_of("open", "won", "lost"),
            },
        ),
        "person": (
            "persons",
            "contacts:read contacts:full",
            {"include_fields": p.some_of("person.picture")},
        ),
        "organization": ("organizations", "contacts:read contacts:full", {}),
        "product": (
            "products",
            "products:read products:full",
            {"include_fields": p.some_of("product.price")},
        ),
        "lead": ("leads", "leads:read leads:full", {"include_fields": p.some_of("lead.was_seen")}),
        "project": ("projects", "projects:read projects:full", {}),
    }
    linked = {
        "deal": ("person_id", "organization_id"),
        "lead": ("person_id", "organization_id"),
        "person": ("organization_id",),
    }
    linked["project"] = linked["deal"]
    return (
        *(
            _op(
                f"{path}/search",
                20,
                search.entity_search(entity),
                f"{scopes} search:read",
                {"term": Param(p.text, required=True)},
                {"exact_match": p.boolean},
                {"fields": p.some_of(*search.FIELDS[entity])},
                extras,
                _integers(*linked.get(entity, ())),
                _paged(),
                search=True,
            )
            for entity, (path, scopes, extras) in own.items()
        ),
        _op(
            "itemSearch",
            20,
            search.item_search,
            "search:read",
            {"term": Param(p.text, required=True)},
            {"exact_match": p.boolean},
            {"item_types": p.some_of(*search.ITEM_TYPES)},
            {"fields": p.some_of(*search.ITEM_FIELDS)},
            {"search_for_related_items": p.boolean},
            {"include_fields": p.some_of("deal.cc_email", "person.picture", "product.price")},
            _paged(100),
            search=True,
        ),
        _op(
            "itemSearch/field",
            20,
            search.field_search,
            "search:read",
            {"term": Param(p.text, required=True)},
            {"entity_type": Param(p.one_of(*search.FIELDS), required=True)},
            {"field": Param(p.text, required=True)},
            {"match": p.one_of("exact", "beginning", "middle")},
            _paged(),
            search=True,
        ),
    )


def _rest() -> tuple[Operation, ...]:
    activities, pipelines = "activities:read activities:full", "deals:read deals:full admin"
    attendees = p.some_of("attendees")
    return (
        _op(
            "activities",
            10,
            lists.listing("activities"),
            activities,
            _integers("filter_id", "owner_id", "deal_id", "person_id", "org_id"),
            {"ids": p.ids(100)},
            {"lead_id": p.text},
            {"done": p.boolean},
            {"include_fields": attendees},
            _updated(),
            _sorted("id", "update_time", "add_time", "due_date"),
            _paged(),
        ),
        _op(
            "activities/{id}",
            1,
            lists.single("activities"),
            activities,
            {"include_fields": attendees},
        ),
        _op(
            "stages",
            5,
            lists.listing("stages"),
            pipelines,
            {"pipeline_id": p.integer},
            _sorted("id", "update_time", "add_time", "order_nr"),
            _paged(),
        ),
        _op("stages/{id}", 1, lists.single("stages"), pipelines),
        _op(
            "pipelines",
            5,
            lists.listing("pipelines"),
            pipelines,
            _sorted("id", "update_time", "add_time"),
            _paged(),
        ),
        _op("pipelines/{id}", 1, lists.single("pipelines"), pipelines),
        _op("users/{id}/followers", 10, lists.followers("user", "users"), "users:read", _paged()),
    )


def _v1() -> tuple[Operation, ...]:
    offset: Params = {"start": p.between(0, 10**9), "limit": p.between(1, 500)}
    times = ("expected_close_date", "next_activity_id", "add_time", "update_time")
    sort = p.one_of("id", "title", "owner_id", "creator_id", "was_seen", *times)
    leads = {
        **offset,
        **_integers("owner_id", "person_id", "organization_id", "filter_id"),
        "sort": sort,
    }
    return (
        _op("/api/v1/users", 20, v1.users, "users:read"),
        _op("/api/v1/users/me", 2, v1.me, "base"),
        _op("/api/v1/deals/{id}/changelog", 20, v1.deal_changelog, "recents:read", _paged()),
        _op(
            "/api/v1/deals/{id}/flow",
            40,
            v1.deal_flow,
            "recents:read",
            offset,
            {"all_changes": p.text},
            {"items": p.text},
        ),
        _op("/api/v1/currencies", 20, v1.currencies, "base", {"term": p.text}),
        _op(
            "/api/v1/activityTypes", 20, v1.activity_types, "activities:read activities:full admin"
        ),
        _op("/api/v1/leadLabels", 10, v1.lead_labels, "leads:read leads:full"),
        _op(
            "/api/v1/leads",
            20,
            v1.leads,
            "leads:read leads:full",
            leads,
            {"updated_since": p.moment},
        ),
        _op("/api/v1/leads/archived", 40, v1.leads, "leads:read leads:full", leads),
    )
