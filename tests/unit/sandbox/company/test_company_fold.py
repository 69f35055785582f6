"""The state is the fold of the events, and equal calls give equal events."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from datetime import date

import pytest

from pdframe.sandbox.company import Company, Event, Market, Row, Switches, stamp

FIELD_TABLES = {
    f"{entity}_fields": entity
    for entity in ("deal", "person", "organization", "product", "activity", "project")
}
TOUCHED = {"users": "modified", "discounts": "updated_at"}


def fold(
    events: Iterable[Event],
) -> tuple[dict[str, dict[object, Row]], dict[tuple[str, object], int], set[tuple[str, object]]]:
    state: dict[str, dict[object, Row]] = {}
    deleted: dict[tuple[str, object], int] = {}
    hidden: set[tuple[str, object]] = set()
    for event in events:
        rows = state.setdefault(event.table, {})
        if event.table.endswith("_followers"):
            continue
        if event.action == "create":
            rows[event.id] = dict(event.changes)
        elif event.action == "remove":
            del rows[event.id]
        elif event.action == "hide":
            hidden.add((event.table, event.id))
        elif event.action == "show":
            hidden.remove((event.table, event.id))
        else:
            row, changes = rows[event.id], dict(event.changes)
            custom = changes.pop("custom_fields", {})
            row.update(changes)
            if custom:
                row["custom_fields"] = {
                    k: v for k, v in {**row["custom_fields"], **custom}.items() if v is not None
                }
            if event.touches:
                row[TOUCHED.get(event.table, "update_time")] = stamp(event.table, event.time)
            if event.action == "delete":
                deleted[event.table, event.id] = event.time
            elif event.action == "restore":
                del deleted[event.table, event.id]
    return state, deleted, hidden


def agrees(company: Company) -> None:
    state, deleted, hidden = fold(company.events)
    for name, rows in company.tables.items():
        assert rows == state.get(name, {}), name
        assert list(rows) == list(state.get(name, {}))
    for name, entity in FIELD_TABLES.items():
        assert company.fields[entity] == list(state[name].values())
    assert company.deleted_at == deleted
    assert company.hidden == hidden
    assert [event.seq for event in company.events] == list(range(len(company.events)))
    times = [event.time for event in company.events]
    assert times == sorted(times)
    assert times[-1] <= company.now


def digest(company: Company) -> str:
    text = json.dumps([company.events, company.now], default=list, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_past_is_the_fold_of_its_events(past: Company) -> None:
    agrees(past)
    assert past.now == 1_782_820_800
    assert past.version == len(past.events)


def test_days_after_the_past_are_folded_as_well(grown: Company) -> None:
    agrees(grown)


def test_what_a_market_does_is_folded_as_well() -> None:
    market = Market(
        informative_close_dates=True,
        slipping_close_dates=True,
        rep_leaves=((date(2026, 6, 1), 1014),),
        bulk_import=(date(2026, 7, 6), 20),
        bulk_close=date(2026, 5, 4),
    )
    company = Company(seed=5, deals=100, market=market)
    company.advance(20)
    agrees(company)


@pytest.mark.parametrize("size", [0, 1, 2, 5, 19, 60])
def test_any_size_has_exactly_its_deals(size: int) -> None:
    company = Company(seed=size, deals=size)
    assert len(company.tables["deals"]) == size
    company.advance(20)
    agrees(company)


def test_equal_calls_give_equal_events_whatever_the_hash_seed() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tests/unit/sandbox/company')\nfrom pdframe.sandbox.company"
        " import Company\nfrom test_company_fold import digest\nc = Company(seed=11, deals=150);"
        " c.advance(9); c.lose_deal(next(i for i, d in c.tables['deals'].items() if d['status'] =="
        " 'open' and not d['is_deleted'])); c.advance(9); print(digest(c))"
    )
    result = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(result) == 1


def test_another_seed_is_another_company() -> None:
    assert digest(Company(seed=1, deals=20)) != digest(Company(seed=2, deals=20))


def test_switches_do_not_change_what_happens() -> None:
    plain = Company(seed=5, deals=60)
    turned = Company(
        seed=5,
        deals=60,
        switches=Switches(
            archiving_moves_update_time=False, products_count_includes_disabled=False
        ),
    )
    assert [(e.time, e.table, e.id, e.action) for e in plain.events] == [
        (e.time, e.table, e.id, e.action) for e in turned.events
    ]


def random_write(company: Company, draw: random.Random) -> None:
    deals = list(company.tables["deals"])
    deal = draw.choice(deals)
    lines = list(company.tables["deal_products"]) or [0]
    deal_fields = [f["field_code"] for f in company.fields["deal"] if f["is_custom_field"]]
    enums = [f for f in company.fields["deal"] if f["is_custom_field"] and f["options"]]
    user = draw.choice(list(company.tables["users"]))
    writes = [
        lambda: company.add_deal(
            "New",
            person_id=draw.choice([None, *company.tables["persons"]]),
            value=draw.choice([0, 10.5]),
        ),
        lambda: company.edit_deal(
            deal,
            title=draw.choice("ab"),
            custom_fields={draw.choice(deal_fields): draw.choice([None, "x"])},
        ),
        lambda: company.edit_deal(deal, value=draw.random(), currency=draw.choice(["EUR", "USD"])),
        lambda: company.move_deal(deal, draw.choice(list(company.tables["stages"]))),
        lambda: company.win_deal(deal),
        lambda: company.lose_deal(deal, draw.choice([None, "Price"])),
        lambda: company.reopen_deal(deal),
        lambda: company.archive_deal(deal),
        lambda: company.unarchive_deal(deal),
        lambda: company.delete_deal(deal) if draw.random() < 0.2 else None,
        lambda: company.add_line(
            deal, draw.choice(list(company.tables["products"])), quantity=draw.choice([0, 1, 2.5])
        ),
        lambda: company.edit_line(
            draw.choice(lines), is_enabled=draw.random() < 0.5, discount=draw.choice([0, 12.5])
        ),
        lambda: company.edit_line(
            draw.choice(lines), billing_frequency=draw.choice(["weekly", "monthly", "one-time"])
        ),
        lambda: company.remove_line(draw.choice(lines)),
        lambda: company.set_installments(
            deal, draw.choice([[], [(10, "2026-08-01", "a"), (5, "2026-09-01", "b")]])
        ),
        lambda: company.add_discount(deal, 10, type=draw.choice(["percentage", "amount"])),
        lambda: company.remove_discount(draw.choice(list(company.tables["discounts"]) or ["-"])),
        lambda: company.add_activity("Call", deal_id=deal, done=draw.random() < 0.5),
        lambda: company.edit_activity(
            draw.choice(list(company.tables["activities"])), done=draw.random() < 0.5
        ),
        lambda: company.delete("activities", draw.choice(list(company.tables["activities"]))),
        lambda: company.add_person(
            "Ann Example", org_id=draw.choice([None, *company.tables["organizations"]])
        ),
        lambda: company.edit(
            "persons", draw.choice(list(company.tables["persons"])), name="Re Named"
        ),
        lambda: company.delete(draw.choice(["persons", "organizations"]), draw.randint(1, 20)),
        lambda: company.edit("products", draw.randint(1, 40), name="Other"),
        lambda: company.delete("products", draw.randint(1, 40)) if draw.random() < 0.1 else None,
        lambda: company.follow("deal", deal, user),
        lambda: company.unfollow("deal", deal, user),
        lambda: company.hide("deals", deal),
        lambda: company.show(
            "deals",
            draw.choice([row for table, row in company.hidden if table == "deals"] or [deal]),
        ),
        lambda: company.add_field("deal", "Fresh", draw.choice(["enum", "text"])),
        lambda: company.rename_field("deal", draw.choice(deal_fields), "Renamed"),
        lambda: (
            company.drop_field("deal", draw.choice(deal_fields)) if draw.random() < 0.3 else None
        ),
        lambda: company.add_option("deal", draw.choice(enums)["field_code"], "More"),
        lambda: (lambda f: company.remove_option("deal", f["field_code"], f["options"][0]["id"]))(
            draw.choice(enums)
        ),
        lambda: company.edit(
            "projects",
            draw.choice(list(company.tables["projects"])),
            status=draw.choice(["open", "completed"]),
        ),
        lambda: (
            company.delete("projects", draw.choice(list(company.tables["projects"])))
            if draw.random() < 0.1
            else None
        ),
        lambda: company.delete("stages", draw.randint(1, 12)) if draw.random() < 0.1 else None,
        lambda: company.bulk_edit(draw.sample(deals, 3), owner_id=user),
        lambda: company.patch_deal(deal, status=draw.choice(["open", "won", "lost"])),
        lambda: company.patch_deal(
            deal,
            status=draw.choice(["open", "won", "lost"]),
            stage_id=draw.choice(list(company.tables["stages"])),
        ),
        lambda: company.patch_deal(deal, won_time="2026-05-04T03:02:01Z"),
        lambda: company.patch_deal(deal, lost_time="2026-05-04T03:02:01Z", lost_reason="Price"),
        lambda: company.patch_deal(deal, add_time="2021-05-04T03:02:01Z"),
        lambda: company.add_deal(
            "Imported",
            status="won",
            add_time="2020-01-01T00:00:00Z",
            won_time="2020-02-01T00:00:00Z",
        ),
        lambda: company.merge_deals(deal, draw.choice(deals)) if draw.random() < 0.3 else None,
        lambda: company.undelete_deal(deal),
        lambda: company.move_stage(
            draw.choice(list(company.tables["stages"])),
            draw.choice(list(company.tables["pipelines"])),
        ),
        lambda: company.advance(draw.choice([0, 0.5, 2])),
    ]
    draw.choice(writes)()


@pytest.mark.parametrize("seed", range(4))
def test_a_random_life_keeps_every_invariant(seed: int) -> None:
    company, draw = Company(seed=seed, deals=60), random.Random(seed)
    refused = 0
    for _ in range(600):
        events, now = len(company.events), company.now
        try:
            random_write(company, draw)
        except ValueError:
            refused += 1
            assert (len(company.events), company.now) == (
                events,
                now,
            ), "a refused write leaves no trace"
    assert 0 < refused < 450
    company.advance(15)
    agrees(company)
    rules(company)
    for deal_id, deal in company.tables["deals"].items():
        last = company.truth.deal_states(deal_id)[-1]
        assert last[2:] == (
            "deleted" if deal["is_deleted"] else deal["status"],
            deal["stage_id"],
            deal["pipeline_id"],
        )
        open_visits = [
            (v.stage_id, v.pipeline_id)
            for v in company.truth.stage_visits(deal_id)
            if v.left_at is None
        ]
        assert open_visits == ([last[3:]] if last.status == "open" else [])


def rules(company: Company) -> None:
    tables = company.tables
    for line in tables["deal_products"].values():
        frequency, cycles = line["billing_frequency"], line["billing_frequency_cycles"]
        assert frequency != "weekly" or cycles
        assert frequency != "one-time" or cycles is None
        assert cycles is None or 1 <= cycles <= 208
        assert line["currency"] == tables["deals"][line["deal_id"]]["currency"]
    paid = {row["deal_id"] for row in tables["installments"].values()}
    for deal in paid:
        assert {line["billing_frequency"] for line in company.lines_of(deal)} == {"one-time"}
    for deal_id, deal in tables["deals"].items():
        lines = company.lines_of(deal_id)
        if lines and not company.discounts_of(deal_id):
            assert deal["value"] == pytest.approx(
                sum(line["sum"] for line in lines if line["is_enabled"]), abs=0.01
            )
        assert (
            (deal["mrr"] is None)
            == (deal["arr"] is None)
            == (deal["acv"] is None)
            == (not lines or deal["status"] == "lost")
        )
        won, lost = deal["status"] == "won", deal["status"] == "lost"
        assert (deal["won_time"] is not None) == won == (deal["local_won_date"] is not None)
        assert (deal["lost_time"] is not None) == lost == (deal["local_lost_date"] is not None)
        assert deal["close_time"] == (deal["won_time"] or deal["lost_time"])
        assert (deal["archive_time"] is not None) == deal["is_archived"]
        assert deal["pipeline_id"] == tables["stages"][deal["stage_id"]]["pipeline_id"]
        assert lost or deal["lost_reason"] is None
        assert None not in deal["custom_fields"].values()


def test_the_past_keeps_the_business_rules(past: Company, grown: Company) -> None:
    rules(past)
    rules(grown)
