"""Stage visits and subscriptions, against a second reading of the changelog and of the lines."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from pdframe.sandbox.company import Company, Switches


def seconds(text: str) -> int:
    return int(
        datetime.fromisoformat(text.replace(" ", "T").removesuffix("Z") + "+00:00").timestamp()
    )


def test_visits_follow_each_other_without_overlap(past: Company, grown: Company) -> None:
    for company in (past, grown):
        before: dict[int, int] = {}
        for visit in company.truth.stage_visits():
            assert visit.entered_at >= before.get(visit.deal_id, 0)
            assert (visit.left_at is None) == (visit.end == "open")
            left = visit.left_at if visit.left_at is not None else 1 << 40
            assert left >= visit.entered_at
            before[visit.deal_id] = left


def test_visits_agree_with_the_deals_as_they_are_now(past: Company) -> None:
    still = {v.deal_id: v.stage_id for v in past.truth.stage_visits() if v.left_at is None}
    assert still == {
        i: d["stage_id"]
        for i, d in past.tables["deals"].items()
        if d["status"] == "open" and not d["is_deleted"]
    }


def test_visits_equal_the_changelog(past: Company) -> None:
    order = {s["id"]: s["order_nr"] for s in past.tables["stages"].values()}
    ends: Counter[str] = Counter()
    for deal_id, deal in past.tables["deals"].items():
        log = [
            r
            for r in past.deal_changelog(deal_id)
            if r["field_key"] in ("stage_id", "pipeline_id", "status")
        ]
        first = next(
            (r["old_value"] for r in log if r["field_key"] == "stage_id"), str(deal["stage_id"])
        )
        stage, inside, entered = int(first), True, seconds(deal["add_time"])
        reported: list[tuple[int, int, int | None, str]] = []
        for row in log:
            t = seconds(row["time"])
            if row["field_key"] == "stage_id":
                new = int(row["new_value"])
                crossed = any(
                    r["field_key"] == "pipeline_id" and r["time"] == row["time"] for r in log
                )
                reported.append(
                    (
                        stage,
                        entered,
                        t,
                        "changed pipeline"
                        if crossed
                        else ("advanced" if order[new] > order[stage] else "moved back"),
                    )
                )
                stage, entered = new, t
            elif row["field_key"] == "status":
                if row["new_value"] != "open":
                    # A change of a deal that is closed already is a stay of no length.
                    reported.append((stage, entered if inside else t, t, row["new_value"]))
                inside, entered = row["new_value"] == "open", t
        if inside:
            reported.append((stage, entered, None, "open"))
        assert reported == [
            (v.stage_id, v.entered_at, v.left_at, v.end) for v in past.truth.stage_visits(deal_id)
        ]
        ends.update(end for *_, end in reported)
    assert set(ends) == {
        "advanced",
        "moved back",
        "changed pipeline",
        "won",
        "lost",
        "deleted",
        "open",
    }


def test_a_visit_is_counted_by_deal_and_stage(small: Company) -> None:
    deal = small.add_deal("Around", stage_id=7)
    for stage in (3, 7, 3):
        small.move_deal(deal, stage)
    small.lose_deal(deal)
    small.reopen_deal(deal)
    small.move_deal(deal, 6)
    small.delete_deal(deal)
    visits = small.truth.stage_visits(deal)
    assert [(v.stage_id, v.visit, v.end) for v in visits] == [
        (7, 1, "advanced"),
        (3, 1, "moved back"),
        (7, 2, "advanced"),
        (3, 2, "lost"),
        (3, 3, "changed pipeline"),
        (6, 1, "deleted"),
    ]
    assert visits[-1].pipeline_id == 1


def test_a_move_between_pipelines_is_two_changelog_rows_of_one_second(small: Company) -> None:
    deal = small.add_deal("Across", stage_id=7)
    small.move_deal(deal, 6)
    assert [
        (r["field_key"], r["old_value"], r["new_value"]) for r in small.deal_changelog(deal)
    ] == [
        ("stage_id", "7", "6"),
        ("pipeline_id", "2", "1"),
    ]
    assert len({r["time"] for r in small.deal_changelog(deal)}) == 1


def test_the_changelog_chains_old_to_new_values(past: Company) -> None:
    for deal_id in list(past.tables["deals"])[:400]:
        last: dict[str, str | None] = {}
        for row in past.deal_changelog(deal_id):
            assert row["old_value"] != row["new_value"]
            if row["field_key"] in last:
                assert row["old_value"] == last[row["field_key"]]
            last[row["field_key"]] = row["new_value"]


def test_creation_is_in_the_changelog_only_where_switched_on() -> None:
    for on in (False, True):
        company = Company(seed=3, deals=0, switches=Switches(changelog_has_creation=on))
        log = company.deal_changelog(company.add_deal("Born", stage_id=7, value=12.5))
        assert [r["new_value"] for r in log if r["field_key"] == "stage_id"] == (
            ["7"] if on else []
        )
        assert [(r["old_value"], r["new_value"]) for r in log if r["field_key"] == "value"] == (
            [(None, "12.5")] if on else []
        )


def test_the_changelog_of_custom_values_has_a_row_a_part(small: Company) -> None:
    code = small.add_field("deal", "Frame", "daterange")
    deal = small.add_deal("Dated")
    small.edit_deal(deal, custom_fields={code: {"value": "2026-07-01", "until": "2026-08-01"}})
    small.bulk_edit([deal], custom_fields={code: None})
    rows = [
        (r["field_key"], r["old_value"], r["new_value"], r["is_bulk_update_flag"])
        for r in small.deal_changelog(deal)
    ]
    assert rows == [
        (code, None, "2026-07-01", False),
        (f"{code}_until", None, "2026-08-01", False),
        (code, "2026-07-01", None, True),
        (f"{code}_until", "2026-08-01", None, True),
    ]


def test_subscriptions_start_and_end_as_their_lines_say(small: Company) -> None:
    product = small.add_product("Seat", 10, billing_frequency="monthly")
    deal = small.add_deal("Subscribed", org_id=1)
    term = small.add_line(
        deal,
        product,
        quantity=3,
        billing_frequency_cycles=1,
        billing_start_date="2026-01-31",
        tax=22,
        tax_method="inclusive",
        item_price=12.2,
    )
    endless = small.add_line(deal, product, quantity=2, discount=50)
    weekly = small.add_line(deal, product, billing_frequency="weekly", billing_frequency_cycles=12)
    small.add_line(deal, product, is_enabled=False)
    assert deal not in {s.deal_id for s in small.truth.subscriptions()}
    small.win_deal(deal)
    won = date.fromisoformat(small.tables["deals"][deal]["local_won_date"])
    result = {s.line_id: s for s in small.truth.subscriptions() if s.deal_id == deal}
    assert list(result) == [term, endless, weekly]
    assert (result[term].start, result[term].end, result[term].end_reason) == (
        date(2026, 1, 31),
        date(2026, 2, 28),
        "term",
    )
    assert round(result[term].monthly, 9) == 30.0
    assert (
        result[endless].start,
        result[endless].end,
        result[endless].end_reason,
        result[endless].monthly,
    ) == (won, None, "open", 10.0)
    assert result[weekly].monthly == 10 * 52 / 12
    code = next(
        f["field_code"] for f in small.fields["deal"] if f["field_name"] == "Cancellation date"
    )
    small.edit_deal(deal, custom_fields={code: "2026-09-15"})
    ended = {
        s.line_id: (s.end, s.end_reason) for s in small.truth.subscriptions() if s.deal_id == deal
    }
    assert ended[term][1] == "term"
    assert ended[endless] == (date(2026, 9, 15), "cancelled")
    small.delete_deal(deal)
    assert deal not in {s.deal_id for s in small.truth.subscriptions()}


def test_customers_renew_grow_shrink_leave_and_come_back(past: Company) -> None:
    reasons = Counter(s.end_reason for s in past.truth.subscriptions())
    assert min(reasons["term"], reasons["cancelled"], reasons["open"]) > 20
    code = next(f["field_code"] for f in past.fields["deal"] if f["field_name"] == "Deal type")
    options = {
        o["id"]: o["label"]
        for f in past.fields["deal"]
        if f["field_code"] == code
        for o in f["options"]
    }
    kinds = Counter(
        options[d["custom_fields"][code]]
        for d in past.tables["deals"].values()
        if code in d["custom_fields"]
    )
    assert set(kinds) == {
        "New business",
        "Renewal",
        "Expansion",
        "Contraction",
        "Win-back",
        "Services",
    }
    # Somebody lost all subscriptions and started again later.
    spans: dict[int, list[tuple[date, date]]] = {}
    for s in past.truth.subscriptions():
        if s.org_id is not None:
            spans.setdefault(s.org_id, []).append((s.start, s.end or date.max))
    gaps = 0
    for kept in spans.values():
        kept.sort()
        reach = kept[0][1]
        for start, end in kept[1:]:
            gaps += start > reach
            reach = max(reach, end)
    assert gaps >= 3


def test_local_dates_are_those_of_the_company(past: Company) -> None:
    from zoneinfo import ZoneInfo

    for deal in past.tables["deals"].values():
        if deal["won_time"]:
            moment = datetime.fromtimestamp(seconds(deal["won_time"]), UTC).astimezone(
                ZoneInfo(past.info["timezone_name"])
            )
            assert deal["local_won_date"] == deal["local_close_date"] == moment.date().isoformat()


def test_a_renewal_renews_what_ends_and_no_contract_that_was_cancelled() -> None:
    renewals = 0
    for seed in (1, 2, 3):
        company = Company(seed=seed, deals=1_000)
        deals = company.tables["deals"]
        cancelled = company._life._customers._cancellation
        when = {
            e.id: e.time
            for e in company.events
            if e.table == "deals" and cancelled in e.changes.get("custom_fields", {})
        }
        offered: dict[int, list[object]] = {}
        for event in company.events:
            if event.table == "deal_products" and event.action == "create":
                deal_id = int(event.changes["deal_id"])
                if (
                    event.time - seconds(deals[deal_id]["add_time"]) < 30
                    and event.changes["billing_frequency"] != "one-time"
                ):
                    offered.setdefault(deal_id, []).append(
                        event.changes["billing_frequency_cycles"]
                    )
        for deal_id, (kind, base) in company._life._customers.kind.items():
            if kind == "renewal":
                renewals += 1
                assert when.get(base, 1 << 40) > seconds(deals[deal_id]["add_time"]), (
                    "nobody renews what was cancelled"
                )
                # One line may be a product that the customer takes on top.
                assert offered.get(deal_id, []).count(None) <= 1, "what runs on is not sold again"
    assert renewals > 60
