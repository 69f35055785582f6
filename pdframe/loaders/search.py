"""Searches as frames, methods of `Account`. No result is cached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from pdframe._warnings import warn
from pdframe.api.pagination import another_list, paginate
from pdframe.errors import ArgumentError
from pdframe.fields import Field, name_columns
from pdframe.frames import to_arrow, to_frame
from pdframe.loaders.base import Connected, refresh_fields
from pdframe.schema import TABLES, Column, Source, Table
from pdframe.schema.types import (
    AMOUNT,
    ANY,
    COUNT,
    DATE,
    FLAG,
    ID,
    NUMBER,
    TEXT,
    TEXT_ID,
    TEXTS,
    category,
)

COST = 20
ITEM_PAGE, PAGE = 100, 500
_ITEM_TYPES = (
    "deal",
    "person",
    "organization",
    "product",
    "lead",
    "file",
    "mail_attachment",
    "project",
)
_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deal": ("title", "notes", "custom_fields"),
        "person": ("name", "email", "phone", "notes", "custom_fields"),
        "organization": ("name", "address", "notes", "custom_fields"),
        "product": ("name", "code", "custom_fields"),
        "lead": ("title", "notes", "custom_fields"),
        "project": ("title", "description", "notes", "custom_fields"),
        "file": ("name",),
        "mail_attachment": ("name",),
    }
)
# Types with a search of their own; files can only be searched together with all types.
_TABLES: Mapping[str, str] = MappingProxyType(
    {kind: f"{kind}s" for kind in ("deal", "person", "organization", "product", "lead", "project")}
)
_FILTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deal": ("status", "person_id", "org_id"),
        "person": ("org_id",),
        "lead": ("person_id", "org_id"),
        "project": ("person_id", "org_id"),
    }
)
# What people call a type.
_OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("company", "companies", "customer", "customers"), "organization"),
        **dict.fromkeys(("contact", "contacts", "people"), "person"),
    }
)
_SEARCHABLE = frozenset(
    {"address", "varchar", "text", "varchar_auto", "double", "monetary", "phone"}
)
_TYPE = Column("type", category(*_ITEM_TYPES), "Type of the item")
_ID = Column("id", ID, "Id of the item; null: a lead")
_LEAD_ID = Column("lead_id", TEXT_ID, "Id of the lead; null: another type")
_SCORE = Column(
    "score", NUMBER, "How well it fits, as the API judges; null: none", path="result_score"
)

_ITEMS = Table(
    "search",
    "one row per item",
    (Source("/itemSearch", COST),),
    (
        _TYPE,
        _ID,
        _LEAD_ID,
        Column("name", TEXT, "Name or title of the item"),
        _SCORE,
        Column("owner_id", ID, "User who owns it", path="owner.id"),
        Column("visible_to", ID, "Visibility group"),
        Column("status", TEXT, "State of a deal or project"),
        Column("value", AMOUNT, "Value of a deal or lead, rounded by the API", "its currency"),
        Column("currency", TEXT, "Its currency"),
        Column("is_archived", FLAG, "Whether a deal or lead is archived"),
        Column("stage_id", ID, "Stage of a deal", path="stage.id"),
        Column("stage_name", TEXT, "Its name", path="stage.name"),
        Column("person_id", ID, "Person of the item", path="person.id"),
        Column("person_name", TEXT, "Name of that person", path="person.name"),
        Column("org_id", ID, "Organization of the item", path="organization.id"),
        Column("org_name", TEXT, "Name of that organization", path="organization.name"),
        Column("org_address", TEXT, "Address of that organization", path="organization.address"),
        Column("deal_id", ID, "Deal of a project or file", path="deal.id"),
        Column("deal_title", TEXT, "Its title", path="deal.title"),
        Column("deal_count", COUNT, "Deals of a project", "deals"),
        Column("board_id", ID, "Board of a project"),
        Column("phase_id", ID, "Phase of a project", path="phase.id"),
        Column("phase_name", TEXT, "Its name", path="phase.name"),
        Column("end_date", DATE, "Day on which a project ends"),
        Column("description", TEXT, "Description of a project"),
        Column("address", TEXT, "Address of an organization"),
        Column("emails", TEXTS, "Mail addresses of a person or lead"),
        Column("phones", TEXTS, "Phone numbers of a person"),
        Column("code", TEXT, "Code of a product"),
        Column("url", TEXT, "Path of a file"),
        Column(
            "custom_fields",
            TEXTS,
            "Texts of custom fields that hold the term",
            path="found_custom_fields",
        ),
        Column("notes", TEXTS, "Texts of notes that hold the term"),
    ),
    key=("type",),
)
_VALUES = Table(
    "search_field",
    "one row per item",
    (Source("/itemSearch/field", COST),),
    (_TYPE, _ID, _LEAD_ID, Column("value", ANY, "Value of the field"), _SCORE),
    key=("type",),
)


def search(
    self: Connected,
    term: str,
    types: str | Iterable[str] | None = None,
    *,
    fields: str | Iterable[str] | None = None,
    exact: bool = False,
    status: Literal["open", "won", "lost"] | None = None,
    person_id: int | None = None,
    org_id: int | None = None,
    max_items: int = 500,
) -> pd.DataFrame:
    """Search the account: one row an item, the best first. Source: /itemSearch; for one type its
    own search (/deals/search).

    Never cached. A page costs 20 tokens and holds 100 items, or 500 of one type.

    Parameters
    ----------
    term
        The term, not case-sensitive: at least two characters, one with `exact`.
    types
        One or more of deal, person, organization, product, lead, file, mail_attachment,
        project; None: all.
    fields
        The fields to search: title, name, email, phone, address, code, description, notes,
        custom_fields; None: all.
    exact
        Whether the complete value must equal the term.
    status, person_id, org_id
        Filters for a search of one type: deals of that status; items of that person or
        organization.
    max_items
        Maximum number of items.

    Returns
    -------
    DataFrame
        type, id (null for leads, which have a `lead_id`), name (or title), score, and the API's
        other values of such items; text is unchanged.

    Raises
    ------
    ArgumentError
        The term is too short, or a type or field does not exist: raised before any request.

    Warns
    -----
    DataWarning
        Once a call: more than `max_items` items match; values do not fit their columns.

    Examples
    --------
    >>> items = account.search("stein", ["organization", "person"])
    >>> items[["type", "id", "score"]].head(3)
               type  id  score
    0  organization   3    1.0
    1  organization   4    1.0
    2  organization  12    1.0
    """
    kinds = _some_of(types, _ITEM_TYPES, "types")
    wanted = _some_of(
        fields,
        tuple(dict.fromkeys(name for names in _FIELDS.values() for name in names)),
        "fields",
    )
    _check_term(
        term, len(term.strip()) if isinstance(term, str) else 0, 1 if exact else 2, "exact=True"
    )
    _check_most(max_items)
    reach = {name for kind in kinds or _ITEM_TYPES for name in _FIELDS[kind]}
    if useless := [name for name in wanted if name not in reach]:
        raise ArgumentError(
            f"The field {useless[0]!r} is of none of these types: {', '.join(kinds)} have"
            f" {', '.join(sorted(reach))}."
        )
    filters = {"status": status, "person_id": person_id, "org_id": org_id}
    given = [name for name, value in filters.items() if value is not None]
    if status is not None and status not in ("open", "won", "lost"):
        raise ArgumentError(f"status must be 'open', 'won' or 'lost', not {status!r}.")
    if given and (len(kinds) != 1 or any(name not in _FILTERS.get(kinds[0], ()) for name in given)):
        able = ", ".join(kind for kind, names in _FILTERS.items() if set(given) <= set(names))
        raise ArgumentError(f"{' and '.join(given)} filter a search of one type: {able}.")
    params: dict[str, Any] = {
        "term": term,
        "fields": wanted or None,
        "exact_match": exact or None,
    }
    if len(kinds) == 1 and kinds[0] in _TABLES:
        path, size = f"/{_TABLES[kinds[0]]}/search", PAGE
        params |= {"status": status, "person_id": person_id, "organization_id": org_id}
    else:
        path, size = "/itemSearch", ITEM_PAGE
        params["item_types"] = kinds or None
    with self._data_warnings.one_a_call(_ITEMS.name):
        rows = _read_rows(
            self,
            path,
            params,
            size,
            max_items,
            lambda row: _is_item(_flat(row), kinds),
            "an id and a requested type",
        )
        return _frame(map(_flat, rows), _ITEMS)


def search_field(
    self: Connected,
    term: str,
    entity: str,
    field: str,
    *,
    match: Literal["exact", "beginning", "middle"] = "exact",
    max_items: int = 500,
) -> pd.DataFrame:
    """Search one field: one row an item. Source: /itemSearch/field, 20 tokens per 500 items;
    never cached.

    Parameters
    ----------
    term
        The term, case-sensitive: at least two characters, one with `match="exact"`.
    entity
        deal, lead, person, organization, product or project.
    field
        The field, by label or code. Its list of fields is refreshed under `max_age` (10 tokens
        if it is not cached).
    match
        Whether the value equals the term, begins with it, or contains it.
    max_items
        Maximum number of items.

    Returns
    -------
    DataFrame
        type, id (null for leads, which have a `lead_id`), value, score (null: none).

    Raises
    ------
    ArgumentError
        The term is too short, or the entity or match does not exist: raised before any request.
        The field does not exist, has a label that several fields share, or cannot be searched:
        raised before the search.

    Warns
    -----
    DataWarning
        Once a call: more than `max_items` items match; values do not fit their columns.

    Examples
    --------
    >>> items = account.search_field("Stein", "organization", "name", match="beginning")
    >>> items[["type", "id"]].head(3)
               type  id
    0  organization   3
    1  organization   4
    2  organization  12
    """
    if not isinstance(entity, str) or entity not in _TABLES:
        raise ArgumentError(
            f"entity must be one of {', '.join(_TABLES)}, not {entity!r}.{_meant(entity, _TABLES)}"
        )
    if match not in ("exact", "beginning", "middle"):
        raise ArgumentError(f"match must be 'exact', 'beginning' or 'middle', not {match!r}.")
    _check_term(
        term,
        len(term) if isinstance(term, str) else 0,
        1 if match == "exact" else 2,
        'match="exact"',
    )
    _check_most(max_items)
    # Leads have the fields of deals.
    table = TABLES["deals" if entity == "lead" else _TABLES[entity]]
    with self._data_warnings.one_a_call(_VALUES.name):
        if table.field_list is not None:
            refresh_fields(self, table.field_list, None)
        code = _code(field, self._syncer.fields(table), table)
        params = {"term": term, "entity_type": entity, "field": code, "match": match}
        rows = _read_rows(
            self,
            "/itemSearch/field",
            params,
            PAGE,
            max_items,
            lambda row: _is_item(_value(row, entity, code), ()),
            "an id",
        )
        return _frame((_value(row, entity, code) for row in rows), _VALUES)


def _read_rows(
    account: Connected,
    path: str,
    params: Mapping[str, Any],
    size: int,
    most: int,
    fits: Callable[[dict[str, Any]], bool],
    lacking: str,
) -> list[dict[str, Any]]:
    """Return the first `most` rows of a search, with a warning if there are more.

    A page on which no row fits raises `ResponseError`.
    """
    limit = min(size, most)

    def rows() -> Iterator[dict[str, Any]]:
        for page in paginate(account._client, path, params, cost=COST, limit=limit):
            if page.rows and not any(map(fits, page.rows)):
                raise another_list(page.path, page.rows, lacking)
            more[0] = page.next_cursor is not None
            yield from page.rows

    more = [False]
    items = rows()
    result = list(islice(items, most))
    # The rest of the current page costs no further request.
    if len(result) == most and (more[0] or next(items, None) is not None):
        warn(
            f"{path}: more than {most:,} items match, and these are the first. Pass"
            " max_items=... for more."
        )
    return result


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Flatten an item to a row: its title is its name, the id of a lead has its own column."""
    item = dict(row["item"]) if isinstance(row.get("item"), dict) else {}
    rest = {key: value for key, value in row.items() if key != "item"}
    if "title" in item:
        item["name"] = item.pop("title")
    if "custom_fields" in item:
        item["found_custom_fields"] = item.pop("custom_fields")
    return _with_id({**item, **rest})


def _value(row: dict[str, Any], entity: str, code: str) -> dict[str, Any]:
    """Flatten a value to a row; the API sends it bare, or as an item with a score, under the
    field's code or as a name.
    """
    item = dict(row["item"]) if isinstance(row.get("item"), dict) else {}
    flat = {**item, **{key: value for key, value in row.items() if key != "item"}, "type": entity}
    for key in (code, "name", "title"):
        if key in flat:
            flat["value"] = flat.pop(key)
            break
    return _with_id(flat)


def _with_id(row: dict[str, Any]) -> dict[str, Any]:
    return (
        {**{key: value for key, value in row.items() if key != "id"}, "lead_id": row.get("id")}
        if row.get("type") == "lead"
        else row
    )


def _is_item(row: dict[str, Any], kinds: Sequence[str]) -> bool:
    """Whether a flat row is an item, of one of these types if any are given."""
    kind = row.get("type")
    return (
        row.get("lead_id" if kind == "lead" else "id") is not None
        and kind is not None
        and (not kinds or kind in kinds)
    )


def _frame(rows: Iterable[dict[str, Any]], table: Table) -> pd.DataFrame:
    arrow, problems = to_arrow(rows, table)
    problems.warn(table.name)
    return to_frame(arrow, table)


def _some_of(given: str | Iterable[str] | None, known: tuple[str, ...], name: str) -> list[str]:
    try:
        values = [] if given is None else [given] if isinstance(given, str) else list(given)
    except TypeError:
        values = [str(given)]
    for value in values:
        if value not in known:
            raise ArgumentError(
                f"{name} must be some of {', '.join(known)}, not {value!r}.{_meant(value, known)}"
            )
    return list(dict.fromkeys(values))


def _meant(given: object, known: Collection[str]) -> str:
    """Return the nearest of the known names as a question; nothing where none is near."""
    text = str(given).strip().casefold()
    word = _OTHER_WORDS.get(text)
    close = [word] if word in known else get_close_matches(text, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_term(term: object, length: int, least: int, otherwise: str) -> None:
    if not isinstance(term, str):
        raise ArgumentError(f"The search term must be text, not {term!r}.")
    if length < least:
        hint = f", or one with {otherwise}" if least > 1 else ""
        raise ArgumentError(
            f"The search term {term!r} is too short: it needs at least"
            f" {'two characters' if least > 1 else 'one character'}{hint}."
        )


def _check_most(most: object) -> None:
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ArgumentError(f"max_items must be an integer of at least 1, not {most!r}.")


def _code(name: str, fields: tuple[Field, ...], table: Table) -> str:
    """Return the code of a field that is given by code or by label."""
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"field must be the label or the code of a field, not {name!r}.")
    if not fields:
        # The API withholds the list of fields: the search itself checks the code.
        return name
    names = name_columns(fields, table.reserved)
    by_code = {field.code: field for field in fields}
    matching = {
        field.code: field for field in fields if name in (field.label, names.get(field.code))
    }
    if name in by_code:
        matching = {name: by_code[name]}
    elif exact := [code for code in matching if names.get(code) == name]:
        matching = {exact[0]: by_code[exact[0]]}
    if not matching:
        raise ArgumentError(
            f"There is no field {name!r}: account.fields({table.name!r}) lists labels and codes."
        )
    if len(matching) > 1:
        raise ArgumentError(
            f"{len(matching)} fields have the label {name!r}; pass one of their codes:"
            f" {', '.join(matching)}."
        )
    field = next(iter(matching.values()))
    if field.is_custom and field.type not in _SEARCHABLE:
        raise ArgumentError(
            f"The API does not search fields of type {field.type!r}, such as {name!r}; only"
            f" {', '.join(sorted(_SEARCHABLE))}."
        )
    return field.code


__all__ = ["search", "search_field"]
