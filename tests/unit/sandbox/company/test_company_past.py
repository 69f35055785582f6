"""The generated past has everything that a loader or a metric will have to cope with."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from statistics import median

import pytest

from pdframe.sandbox.company import Company, stamp

DAY = 86_400
CREATABLE = {"varchar", "text", "double", "phone", "date", "daterange", "time", "timerange"}
CREATABLE |= {"set", "enum", "varchar_auto", "address", "monetary", "org", "people", "user"}


def customs(company: Company, entity: str = "deal") -> list[dict[str, object]]:
    return [f for f in company.fields[entity] if f["is_custom_field"]]


def test_a_new_account_has_structure_and_no_records() -> None:
    company = Company(seed=1, deals=0)
    full = {
        "users": 13,
        "pipelines": 3,
        "stages": 12,
        "boards": 2,
        "phases": 7,
        "project_templates": 3,
    }
    assert {name: len(rows) for name, rows in company.tables.items()} == {
        name: full.get(name, 0) for name in company.tables
    }
    assert len(customs(company)) >= 25
    company.advance(60)
    assert not company.tables["deals"]


@pytest.mark.parametrize(("seed", "deals"), [(1, 400), (3, 60), (7, 2_000)])
def test_options_that_were_deleted_are_kept_by_some_deals_and_those_that_are_there_by_most(
    seed: int, deals: int
) -> None:
    company = Company(seed=seed, deals=deals)
    field = next(f for f in customs(company) if f["field_name"] == "Competitor")
    labels = {option["id"]: option["label"] for option in field["options"]}
    assert len(set(labels.values())) == len(labels) == 5
    kept = [
        value
        for deal in company.tables["deals"].values()
        if (value := deal["custom_fields"].get(field["field_code"])) is not None
    ]
    assert 0 < sum(value not in labels for value in kept) < len(kept) / 2


def test_life_brings_new_options_and_new_labels(small: Company) -> None:
    field = next(f for f in customs(small) if f["field_name"] == "Competitor")
    before = {option["id"]: option["label"] for option in field["options"]}
    seen = len(small.events)
    small.advance(150)
    after = {o["id"]: o["label"] for o in small.field("deal", str(field["field_code"]))["options"]}
    assert before.keys() - after.keys()
    assert after.keys() - before.keys()
    names = [
        e.changes["field_name"]
        for e in small.events[seen:]
        if e.table == "deal_fields" and "field_name" in e.changes
    ]
    assert len(set(names)) >= 2


def test_stages_and_pipelines(past: Company) -> None:
    stages = list(past.tables["stages"].values())
    for pipeline in past.tables["pipelines"]:
        ordered = [
            s["id"]
            for s in sorted(stages, key=lambda s: s["order_nr"])
            if s["pipeline_id"] == pipeline
        ]
        assert 3 <= len(ordered) <= 5
        assert ordered != sorted(ordered)
    assert Counter(p["is_deal_probability_enabled"] for p in past.tables["pipelines"].values()) == {
        True: 2,
        False: 1,
    }


def test_reps_differ_and_two_have_left(past: Company) -> None:
    users = past.tables["users"]
    assert sum(not u["active_flag"] for u in users.values()) == 2
    assert [u["id"] for u in users.values() if u["is_you"]] == [past.me]
    closed: dict[int, list[bool]] = {}
    for deal in past.tables["deals"].values():
        if deal["status"] != "open":
            closed.setdefault(deal["owner_id"], []).append(deal["status"] == "won")
    rates = [sum(won) / len(won) for won in closed.values() if len(won) >= 40]
    assert max(rates) - min(rates) > 0.2
    assert any(e.bulk and "owner_id" in e.changes for e in past.events)


def test_a_cancelled_worker_does_nothing_more(past: Company, grown: Company) -> None:
    for company in (past, grown):
        left: dict[int, int] = {}
        for event in company.events:
            assert event.actor not in left, event
            if event.table == "users" and event.changes.get("active_flag") is False:
                left[int(event.id)] = event.time
            if event.action == "create" and event.table in ("deals", "activities", "projects"):
                assert event.changes["owner_id"] not in left, event
        assert len(left) == 2
        forgotten = [
            d
            for d in company.tables["deals"].values()
            if d["owner_id"] in left and d["status"] == "open" and not d["is_deleted"]
        ]
        assert forgotten, "some deals of a rep who left are forgotten"


def test_about_a_third_of_the_deals_are_open_at_the_end(past: Company) -> None:
    deals = [d for d in past.tables["deals"].values() if not d["is_deleted"]]
    assert 0.28 < sum(d["status"] == "open" for d in deals) / len(deals) < 0.39


def test_visits_are_skewed_and_longer_for_larger_customers(past: Company) -> None:
    code = next(
        f["field_code"] for f in customs(past, "organization") if f["field_name"] == "Segment"
    )
    segment = {i: o["custom_fields"].get(code) for i, o in past.tables["organizations"].items()}
    visits: dict[object, list[float]] = {}
    for visit in past.truth.stage_visits():
        if visit.end == "advanced":
            org = past.tables["deals"][visit.deal_id]["org_id"]
            visits.setdefault(segment.get(org), []).append((visit.left_at - visit.entered_at) / DAY)
    options = [
        o["id"]
        for f in customs(past, "organization")
        if f["field_code"] == code
        for o in f["options"]
    ]
    assert median(visits[options[0]]) < median(visits[options[1]]) < median(visits[options[2]])
    assert sum(visits[options[0]]) / len(visits[options[0]]) > 1.1 * median(visits[options[0]])


def test_work_is_spread_over_the_working_week(past: Company) -> None:
    moves = Counter(
        (e.time // DAY + 3) % 7
        for e in past.events
        if e.table == "deals" and {"stage_id", "status"} & e.changes.keys()
    )
    total = sum(moves.values())
    for weekday in range(5):
        assert 0.13 < moves[weekday] / total < 0.27
    assert (moves[5] + moves[6]) / total < 0.1
    due = [
        date.fromisoformat(a["due_date"])
        for a in past.tables["activities"].values()
        if a["due_date"]
    ]
    assert all(day.weekday() < 5 for day in due)


def test_stages_are_skipped_and_dates_slip(past: Company) -> None:
    order = {s["id"]: s["order_nr"] for s in past.tables["stages"].values()}
    where: dict[object, int] = {}
    skipped = slipped = 0
    for event in past.events:
        if event.table != "deals":
            continue
        if "stage_id" in event.changes:
            if event.action == "update" and "pipeline_id" not in event.changes:
                skipped += order[event.changes["stage_id"]] - order[where[event.id]] > 1
            where[event.id] = event.changes["stage_id"]
        slipped += event.action == "update" and "expected_close_date" in event.changes
    assert skipped > 50
    assert slipped > 300


def test_deals_are_archived_and_deleted_lately_and_long_ago(past: Company) -> None:
    ages = [(past.now - t) / DAY for (table, _), t in past.deleted_at.items() if table == "deals"]
    assert sum(age < 30 for age in ages) >= 5
    assert sum(age > 30 for age in ages) >= 20
    archived = Counter(d["status"] for d in past.tables["deals"].values() if d["is_archived"])
    assert set(archived) == {"open", "won", "lost"}


def test_standard_values_vary_and_are_mostly_sparse(past: Company) -> None:
    deals = list(past.tables["deals"].values())
    assert {d["currency"] for d in deals} == {"EUR", "USD", "GBP"}
    off = {
        p["id"] for p in past.tables["pipelines"].values() if not p["is_deal_probability_enabled"]
    }
    assert 0.03 < sum(d["probability"] is not None for d in deals) / len(deals) < 0.4
    assert all(d["probability"] is None for d in deals if d["pipeline_id"] in off)
    assert len({d["lost_reason"] for d in deals}) > 6
    assert any(d["expected_close_date"] is None for d in deals)
    titles = {d["title"] for d in deals}
    assert "=SUM(A1)" in titles
    assert any("<script>" in t for t in titles)
    assert any("\n" in t for t in titles)
    assert any(not t.isascii() for t in titles)


def test_line_items_are_of_every_kind(past: Company) -> None:
    lines = list(past.tables["deal_products"].values())
    assert len(past.tables["products"]) == 40
    assert {line["billing_frequency"] for line in lines} == {
        "one-time",
        "annually",
        "semi-annually",
        "quarterly",
        "monthly",
        "weekly",
    }
    assert {line["tax_method"] for line in lines} == {"exclusive", "inclusive", "none"}
    assert {line["discount_type"] for line in lines if line["discount"]} == {"percentage", "amount"}
    assert {line["is_enabled"] for line in lines} == {True, False}
    recurring = [line for line in lines if line["billing_frequency"] not in ("one-time", "weekly")]
    assert {line["billing_frequency_cycles"] is None for line in recurring} == {True, False}
    assert any(line["product_variation_id"] for line in lines)
    assert {line["billing_start_date"] is None for line in lines} == {True, False}
    assert past.tables["installments"]
    assert {d["type"] for d in past.tables["discounts"].values()} == {"percentage", "amount"}


def test_activities_and_projects_are_of_every_kind(past: Company) -> None:
    activities = list(past.tables["activities"].values())
    assert {a["done"] for a in activities} == {a["is_deleted"] for a in activities} == {True, False}
    for key in (
        "lead_id",
        "location",
        "due_time",
        "duration",
        "priority",
        "note",
        "conference_meeting_url",
        "public_description",
    ):
        assert {a[key] is None for a in activities} == {True, False}, key
    assert any(len(a["attendees"]) > 1 for a in activities)
    projects = list(past.tables["projects"].values())
    assert {p["status"] for p in projects} == {"open", "completed", "canceled", "deleted"}
    assert {p["archive_time"] is None for p in projects} == {True, False}
    assert {p["board_id"] for p in projects} == set(past.tables["boards"])
    tasks = list(past.tables["tasks"].values())
    assert {t["is_done"] for t in tasks} == {t["is_milestone"] for t in tasks} == {True, False}
    assert any(t["parent_task_id"] for t in tasks)
    assert past.project_changelog(projects[0]["id"])


@pytest.mark.parametrize(
    ("entity", "table"),
    [
        ("deal", "deals"),
        ("person", "persons"),
        ("organization", "organizations"),
        ("product", "products"),
    ],
)
def test_somebody_follows_among_the_first_rows(entity: str, table: str) -> None:
    for company in (Company(seed=2, deals=60), Company(seed=9, deals=3)):
        ids = list(company.tables[f"{entity}s"])[:40]
        assert any(company.followers(entity, i) for i in ids)
        assert any(company.follower_changes(entity, i) for i in ids)


def test_custom_fields_are_of_every_type_and_awkwardly_named(past: Company) -> None:
    fields = customs(past)
    names = [str(f["field_name"]) for f in fields]
    assert {f["field_type"] for f in fields} == CREATABLE
    assert len(past.fields["deal"]) > 100
    assert names.count("Region") == names.count("Budget") == 2
    assert {
        "title",
        "value",
        "Status",
        "",
        " ",
        "  Padded label  ",
        "<script>alert('hi')</script>",
        "=1+1",
    } <= set(names)
    assert 180 in map(len, names)
    codes = [str(f["field_code"]) for f in fields]
    assert len(set(codes)) == len(codes)
    assert {len(code) for code in codes} == {40}
    assert len({code[:6] for code in codes}) == len(codes) - 1
    assert any(f["field_type"] == "daterange" and f["subfields"] is None for f in fields)


def test_custom_values_are_sparse_and_in_the_shape_of_their_type(past: Company) -> None:
    deals = list(past.tables["deals"].values())
    assert sum(len(d["custom_fields"]) for d in deals) / len(deals) < 0.25 * len(customs(past))
    codes = [f["field_code"] for f in customs(past)]
    values = {
        code: [d["custom_fields"][code] for d in deals if code in d["custom_fields"]]
        for code in codes
    }
    kinds = {f["field_code"]: f["field_type"] for f in customs(past)}
    filled = {kinds[code] for code, kept in values.items() if kept}
    assert filled == CREATABLE
    assert sum(not kept for kept in values.values()) >= 10
    shapes = {
        "monetary": lambda v: v.keys() == {"value", "currency"},
        "daterange": lambda v: (
            v.keys() == {"value", "until"}
            and date.fromisoformat(v["value"]) < date.fromisoformat(v["until"])
        ),
        "timerange": lambda v: v.keys() == {"value", "until", "timezone_name"},
        "time": lambda v: isinstance(v, str) or v.keys() == {"value", "timezone_name"},
        "address": lambda v: "value" in v,
        "set": lambda v: isinstance(v, list) and v,
        "enum": lambda v: isinstance(v, int),
        "date": date.fromisoformat,
    }
    for code, kept in values.items():
        assert all(shapes.get(str(kinds[code]), lambda v: v is not None)(v) for v in kept)
    times = next(kept for code, kept in values.items() if kinds[code] == "time")
    assert {type(v) for v in times} == {str, dict}
    addresses = next(kept for code, kept in values.items() if kinds[code] == "address")
    assert {"route" in v for v in addresses} == {True, False}
    assert any(None in v.values() for v in addresses)


def test_options_are_deleted_while_rows_hold_them_and_some_share_a_label(past: Company) -> None:
    deleted = 0
    for field in customs(past):
        if field["field_type"] == "enum":
            ids = {o["id"] for o in field["options"]}
            deleted += sum(
                d["custom_fields"].get(field["field_code"], next(iter(ids))) not in ids
                for d in past.tables["deals"].values()
            )
    assert deleted > 5
    assert any(
        len({o["label"] for o in f["options"]}) < len(f["options"])
        for f in customs(past)
        if f["options"]
    )


def test_rows_of_a_table_share_one_shape_and_are_plain_json(past: Company) -> None:
    for table, rows in past.tables.items():
        shapes = {tuple(row) for row in rows.values()}
        assert len(shapes) == 1, table
    json.dumps(past.tables)


def test_days_bring_every_kind_of_change() -> None:
    company = Company(seed=7, deals=2_000)
    before = len(company.events)
    company.advance(60)
    seen = company.events[before:]
    deals = [e for e in seen if e.table == "deals"]
    status = {e.changes.get("status") for e in deals if e.action == "update"}
    assert {"won", "lost", "open"} <= status
    assert {"create", "update", "delete"} <= {e.action for e in deals}
    assert any(e.changes.get("is_archived") for e in deals)
    assert any(
        "field_name" in e.changes for e in seen if e.table == "deal_fields" and e.action == "update"
    )
    assert {"deal_products", "activities", "persons", "organizations", "projects", "tasks"} <= {
        e.table for e in seen
    }
    assert company.now == 1_782_820_800 + 60 * DAY


def test_a_week_in_pieces_is_a_week() -> None:
    full, pieces = Company(seed=6, deals=300), Company(seed=6, deals=300)
    full.advance(7)
    for _ in range(7):
        pieces.advance(1)
    assert full.now == pieces.now
    assert len(full.tables["deals"]) == len(pieces.tables["deals"])


def test_no_time_is_ahead_of_the_clock(past: Company, grown: Company) -> None:
    for company in (past, grown):
        now = stamp("deals", company.now)
        counts = {"deals": company.deal_counts, "persons": company.person_counts}
        for table, count in counts.items():
            for row_id in company.tables[table]:
                result = count(row_id)
                for key in ("last_incoming_mail_time", "last_outgoing_mail_time", "first_won_time"):
                    assert result.get(key) is None or result[key] <= now, (table, row_id, key)
        for user in company.tables["users"].values():
            assert user["last_login"] <= (
                stamp("users", company.now) if user["active_flag"] else user["modified"]
            )
