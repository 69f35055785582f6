"""The searches: plain containment over names and custom text, with deterministic scores."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pdframe.sandbox.server.answers import bad_request, shown
from pdframe.sandbox.server.call import Call, Handler, page
from pdframe.sandbox.server.paging import Row
from pdframe.sandbox.server.present import ENTITY

TABLE: Mapping[str, str] = MappingProxyType({entity: table for table, entity in ENTITY.items()})
# What the searches can look into; leads, files and mails are known types that this company has none
# of.
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deal": ("custom_fields", "notes", "title"),
        "person": ("custom_fields", "email", "notes", "phone", "name"),
        "organization": ("address", "custom_fields", "notes", "name"),
        "product": ("code", "custom_fields", "name"),
        "lead": ("custom_fields", "notes", "title"),
        "project": ("custom_fields", "notes", "title", "description"),
    }
)
ITEM_TYPES = (
    "deal",
    "person",
    "organization",
    "product",
    "lead",
    "file",
    "mail_attachment",
    "project",
)
ITEM_FIELDS = (
    "address",
    "code",
    "custom_fields",
    "email",
    "name",
    "notes",
    "phone",
    "title",
    "description",
)
_SEARCHABLE = frozenset(
    {"address", "varchar", "text", "varchar_auto", "double", "monetary", "phone"}
)
_RELATED = 100
AnyHit = TypeVar("AnyHit")


class Hit(NamedTuple):
    """A found row, its score and the custom texts that matched."""

    score: float
    row: Row
    custom: list[str]


def entity_search(entity: str) -> Handler:
    """The operation that searches one kind of item."""

    def read(call: Call) -> dict[str, Any]:
        hits = _hits(call, entity, call.params.get("fields", FIELDS[entity]))
        items = [
            {"result_score": hit.score, "item": _item(call, entity, hit)}
            for hit in _cut(call, hits)
        ]
        return page({"items": items}, _mark(call, len(hits)))

    return read


def item_search(call: Call) -> dict[str, Any]:
    """``/itemSearch``: every kind of item at once, the best first."""
    fields = call.params.get("fields", ITEM_FIELDS)
    matches = [
        (entity, hit)
        for entity in ("deal", "person", "organization", "product", "project")
        if entity in call.params.get("item_types", ITEM_TYPES)
        for hit in _hits(call, entity, fields)
    ]
    matches.sort(key=lambda pair: -pair[1].score)
    shown_pairs = _cut(call, matches)
    items = [
        {"result_score": hit.score, "item": _item(call, entity, hit)} for entity, hit in shown_pairs
    ]
    data: dict[str, Any] = {"items": items, "related_items": []}
    if call.params.get("search_for_related_items"):
        data["related_items"] = [
            {"result_score": 0, "item": item} for item in _related(call, shown_pairs)
        ]
    return page(data, _mark(call, len(matches)))


def field_search(call: Call) -> dict[str, Any]:
    """``/itemSearch/field``: rows by the value of one field; this one search tells cases apart."""
    entity, key, match = (
        call.params["entity_type"],
        call.params["field"],
        call.params.get("match", "exact"),
    )
    term: str = call.params["term"]
    if len(term) < (1 if match == "exact" else 2):
        raise bad_request("term is too short")
    table = TABLE.get(entity)
    if table is not None and not any(
        field["field_code"] == key for field in call.company.fields[entity]
    ):
        raise bad_request(f"{entity} has no field {shown(key)!r}")
    tests: Mapping[str, Callable[[str], bool]] = {
        "exact": lambda text: text == term,
        "beginning": lambda text: text.startswith(term),
        "middle": lambda text: term in text,
    }
    matches = []
    for row in _visible(call, table) if table else ():
        value = row["custom_fields"].get(key) if key in row["custom_fields"] else row.get(key)
        texts = [text for text in _texts(value) if tests[match](text)]
        if texts:
            matches.append({"id": row["id"], "name" if key in ("name", "title") else key: texts[0]})
    rows: list[Any] = _cut(call, matches)
    if call.settings.field_search == "schema":
        rows = [{"result_score": 1.0, "item": item} for item in rows]
    return page(rows, _mark(call, len(matches)))


def _start(call: Call) -> int:
    cursor = call.params.get("cursor")
    value = 0 if cursor is None else call.cursors.read(cursor, call.place, "position", "asc")[0]
    if not isinstance(value, int) or value < 0:
        raise bad_request("cursor is not valid")
    return value


def _cut(call: Call, matches: list[AnyHit]) -> list[AnyHit]:
    start = _start(call)
    return matches[start : start + call.limit]


def _mark(call: Call, total: int) -> str | None:
    end = _start(call) + call.limit
    return call.cursors.make(call.place, "position", "asc", end, None) if end < total else None


def _visible(call: Call, table: str) -> Iterator[Row]:
    rows = call.views.rows(table)
    return (rows[entry.id] for entry in call.views.sorted(table, "id"))


def _hits(call: Call, entity: str, fields: Iterable[str]) -> list[Hit]:
    """Found rows of one kind, the best first, then by id."""
    params = call.params
    term: str = params["term"].strip().lower()
    exact: bool = params.get("exact_match", False)
    if len(term) < (1 if exact else 2):
        raise bad_request("term must have at least 2 characters, or 1 with exact_match")
    table = TABLE.get(entity)
    if table is None:
        return []
    wanted = set(fields) & set(FIELDS[entity])
    searchable = {
        field["field_code"]
        for field in call.company.fields[entity]
        if field["is_custom_field"] and field["field_type"] in _SEARCHABLE
    }
    hits = []
    for row in _visible(call, table):
        if not _linked(row, entity, params):
            continue
        score = max(
            (_score(text, term, exact, name) for name, text in _standard(row, wanted)), default=0.0
        )
        custom: list[str] = []
        if "custom_fields" in wanted:
            kept = row["custom_fields"] or {}
            custom = [
                t
                for key, value in kept.items()
                if key in searchable
                for t in _texts(value)
                if _score(t, term, exact, "custom")
            ]
        if score or custom:
            hits.append(Hit(score or 0.3, row, custom))
    hits.sort(key=lambda hit: -hit.score)
    return hits


def _score(text: str, term: str, exact: bool, field: str) -> float:
    low = text.lower()
    if low == term:
        return 1.5
    if exact or term not in low:
        return 0.0
    if field not in ("title", "name"):
        return 0.3
    return 1.0 if low.startswith(term) else 0.6


def _linked(row: Row, entity: str, params: Mapping[str, Any]) -> bool:
    """Whether a row passes the search's filters."""
    for name, column in (("person_id", "person_id"), ("organization_id", "org_id")):
        if name in params:
            kept = row.get(f"{column}s") or () if entity == "project" else (row.get(column),)
            if params[name] not in kept:
                return False
    return "status" not in params or row["status"] == params["status"]


def _standard(row: Row, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """The standard texts of a row that a search looks into."""
    for name in ("title", "name", "code", "description"):
        if name in wanted and row.get(name):
            yield name, row[name]
    if "email" in wanted:
        yield from (("email", mail["value"]) for mail in row["emails"] or () if mail["value"])
    if "phone" in wanted:
        yield from (("phone", phone["value"]) for phone in row["phones"] or () if phone["value"])
    if "address" in wanted and (row["address"] or {}).get("value"):
        yield "address", row["address"]["value"]
    if "notes" in wanted and isinstance(row.get("notes"), str):
        yield "notes", row["notes"]


def _texts(value: Any) -> list[str]:
    """A stored value as the texts that a search compares."""
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    if value is None or isinstance(value, bool):
        return []
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [str(value)]


def _item(call: Call, entity: str, hit: Hit) -> Row:
    """A found row in the search's own shape."""
    row, include = hit.row, call.params.get("include_fields", ())
    item: Row = {"id": row["id"], "type": entity}
    if entity in ("deal", "project"):
        item["title"] = row["title"]
    else:
        item["name"] = row["name"]
    if entity != "project":
        item["visible_to"] = row["visible_to"]
    item["owner"] = {"id": row["owner_id"]}
    if entity == "deal":
        # The schema types a found deal's value as an integer, unlike the deal's own.
        value = row["value"]
        item |= {
            "value": None if value is None else round(value),
            "currency": row["currency"],
            "status": row["status"],
        }
        item |= {
            "stage": _named(call, "stages", row["stage_id"]),
            "is_archived": row["is_archived"],
        }
        item |= _links(call, row["person_id"], row["org_id"])
        if "deal.cc_email" in include:
            item["cc_email"] = call.company.deal_counts(row["id"]).get("smart_bcc_email")
    elif entity == "person":
        item |= {
            "phones": [phone["value"] for phone in row["phones"] or ()],
            "emails": [mail["value"] for mail in row["emails"] or ()],
        }
        item["organization"] = _organization(call, row["org_id"])
        if "person.picture" in include:
            item["picture"] = None
    elif entity == "organization":
        item["address"] = (row["address"] or {}).get("value")
    elif entity == "product":
        item["code"] = row["code"]
        if "product.price" in include:
            item["prices"] = row["prices"]
    else:
        item |= {
            "status": row["status"],
            "board_id": row["board_id"],
            "phase": _named(call, "phases", row["phase_id"]),
        }
        item |= _links(
            call, next(iter(row["person_ids"] or ()), None), next(iter(row["org_ids"] or ()), None)
        )
        deal_ids = row["deal_ids"] or []
        item |= {
            "deal": _named(call, "deals", next(iter(deal_ids), None), "title"),
            "deal_count": len(deal_ids),
        }
        item |= {"description": row["description"], "end_date": row["end_date"]}
    item["custom_fields"] = hit.custom
    if entity != "product":
        item["notes"] = []
    return item


def _named(call: Call, table: str, row_id: Any, column: str = "name") -> Row | None:
    row = call.views.find(table, row_id)
    return None if row is None else {"id": row_id, column: row[column]}


def _organization(call: Call, row_id: Any) -> Row | None:
    row = call.views.find("organizations", row_id)
    return (
        None
        if row is None
        else {"id": row_id, "name": row["name"], "address": (row["address"] or {}).get("value")}
    )


def _links(call: Call, person_id: Any, org_id: Any) -> Row:
    return {
        "person": _named(call, "persons", person_id),
        "organization": _organization(call, org_id),
    }


def _related(call: Call, matches: Iterable[tuple[str, Hit]]) -> Iterator[Row]:
    """The newest deals of each found person and organization, and the newest persons of each
    organization.
    """
    wanted = {
        "person": (("deal", "person_id"),),
        "organization": (("deal", "org_id"), ("person", "org_id")),
    }
    seen = {(entity, hit.row["id"]) for entity, hit in matches}
    for entity, hit in matches:
        for kind, column in wanted.get(entity, ()):
            for row in call.views.group(TABLE[kind], column).get(hit.row["id"], [])[
                : -_RELATED - 1 : -1
            ]:
                if (kind, row["id"]) not in seen:
                    seen.add((kind, row["id"]))
                    yield _item(call, kind, Hit(0.0, row, []))
