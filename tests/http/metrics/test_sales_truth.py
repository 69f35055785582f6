"""The questions of a sales team, as first written, against the rows that the company itself has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from pdframe import metrics, plot, sandbox

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
QUARTER: dict[str, Any] = {"since": "2026-Q2", "until": "2026-Q2"}
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}


@pytest.fixture(scope="module", params=["showcase", "hostile"])
def account(request: pytest.FixtureRequest) -> Iterator[sandbox.SandboxAccount]:
    made: Any = {"seed": 5, "deals": 300, "burst": 100_000, "progress": False}
    with sandbox.connect(**made, company=request.param) as account:
        yield account


def rows(account: sandbox.SandboxAccount, table: str) -> list[dict[str, Any]]:
    return [row for row in account.company_model.tables[table].values() if not row["is_deleted"]]


def names(account: sandbox.SandboxAccount, table: str) -> dict[int, str]:
    return {key: row["name"] for key, row in account.company_model.tables[table].items()}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def month(text: str, account: sandbox.SandboxAccount) -> tuple[int, int]:
    day = time(text).astimezone(ZoneInfo(account.tz))
    return day.year, day.month


def test_what_was_won_by_month_and_owner(account: sandbox.SandboxAccount) -> None:
    result = metrics.sales_by_period(account.deals(), **QUARTER, by="owner")
    users = names(account, "users")
    won, value, created, lost = Counter[Any](), Counter[Any](), Counter[Any](), Counter[Any]()
    for deal in rows(account, "deals"):
        who = users[deal["owner_id"]], deal["currency"]
        if deal["status"] == "won":
            day = date.fromisoformat(deal["local_won_date"])
            won[*who, day.year, day.month] += 1
            value[*who, day.year, day.month] += deal["value"]
        elif deal["status"] == "lost":
            day = date.fromisoformat(deal["local_lost_date"])
            lost[*who, day.year, day.month] += 1
        created[*who, *month(deal["add_time"], account)] += 1
    assert len(result) > 20
    for row in result.to_dict("records"):
        key = row["owner_name"], row["currency"], row["period"].year, row["period"].month
        assert (row["won"], row["lost"], row["created"]) == (won[key], lost[key], created[key])
        assert row["won_value"] == pytest.approx(value[key])
    totals = [
        sum(count for (*_, year, at), count in counts.items() if year == 2026 and 4 <= at <= 6)
        for counts in (won, lost, created)
    ]
    assert result[["won", "lost", "created"]].sum().tolist() == totals
    # What is open now is open at the end of the last month.
    last = result[result["period"] == "2026-06-01"]
    still = [deal for deal in rows(account, "deals") if deal["status"] == "open"]
    assert last["open_at_end"].sum() == len(still) > 50


def test_the_leaderboard_and_win_rates_by_quarter(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    board = metrics.sales_by_period(deals, **QUARTER, freq="Q", by="owner", rates=RATES)
    rate = metrics.win_rate(deals, **QUARTER, by="owner", freq="Q").set_index("owner_name")
    assert board["owner_name"].is_unique
    assert len(board) >= 5
    for row in board.to_dict("records"):
        if row["won"] + row["lost"]:
            assert rate.loc[row["owner_name"], "win_rate"] == pytest.approx(row["win_rate"])
    ax = plot.sales_by_period(board)
    best = board.sort_values("won_value", ascending=False)["won_value"].iloc[0]
    assert ax.patches[0].get_width() == pytest.approx(best)


def test_why_deals_were_lost(account: sandbox.SandboxAccount) -> None:
    year: dict[str, Any] = {"since": "2025-07-01", "until": "2026-07-01"}
    result = metrics.lost_reasons(account.deals(), **year)
    stages = names(account, "stages")
    expected = Counter[Any]()
    for deal in rows(account, "deals"):
        if deal["status"] == "lost" and "2025-07-01" <= deal["local_lost_date"] < "2026-07-01":
            reason = (deal["lost_reason"] or "").strip().casefold() or None
            expected[reason, stages[deal["stage_id"]], deal["currency"]] += 1
    ours = Counter[Any]()
    for row in result.to_dict("records"):
        reason = None if pd.isna(row["reason"]) else row["reason"].casefold()
        ours[reason, row["stage"].strip(), row["currency"]] += row["deals"]
    assert ours == Counter({(a, b.strip(), c): n for (a, b, c), n in expected.items()})
    assert sum(ours.values()) > 20
    assert result["share"].sum() == pytest.approx(1.0)
    assert len({key[0] for key in ours}) == len(result["reason"].drop_duplicates())


def test_what_was_planned_and_done(account: sandbox.SandboxAccount) -> None:
    june: dict[str, Any] = {"since": "2026-06", "until": "2026-06", "as_of": "2026-06-30"}
    result = metrics.activity_summary(account.activities(), account.deals(), **june, by="type")
    zone, now = ZoneInfo(account.tz), datetime(2026, 6, 30, 23, 59, 59, 999_999)
    planned, done, overdue = Counter[str](), Counter[str](), Counter[str]()
    for row in rows(account, "activities"):
        over = row["done"] and time(row["marked_as_done_time"]).astimezone(zone)
        if over and (over.year, over.month) == (2026, 6):
            done[row["type"]] += 1
        if row["due_date"] is None:
            continue
        limit = datetime.fromisoformat(row["due_date"])
        if row["due_time"] is not None:
            limit = time(f"{row['due_date']}T{row['due_time']}Z").astimezone(zone)
        if (limit.year, limit.month) == (2026, 6):
            planned[row["type"]] += 1
            late = limit.replace(tzinfo=None) <= now
            if row["due_time"] is None:
                late = limit.day < 30
            overdue[row["type"]] += late and not over
    for row in result.to_dict("records"):
        key = row["type"]
        assert (row["planned"], row["done"], row["overdue"]) == (
            planned[key],
            done[key],
            overdue[key],
        )
    assert result["planned"].sum() == planned.total() > 15
    winners = sum(
        deal["status"] == "won" and deal["local_won_date"][:7] == "2026-06"
        for deal in rows(account, "deals")
    )
    assert result["won"].tolist() == [winners] * len(result)


def test_the_largest_customers_by_name(account: sandbox.SandboxAccount) -> None:
    contacts = {"organizations": account.organizations(), "persons": account.persons()}
    column = next(name for name in account.deals() if name.startswith("Cancellation date"))
    lines = metrics.mrr_lines(
        account.deal_products(), account.deals(), cancellations=column, **contacts
    )
    result = metrics.top_customers(lines, as_of="2026-06-30", n=5, rates=RATES)
    orgs, persons = names(account, "organizations"), names(account, "persons")
    day, sums = date(2026, 6, 30), Counter[str]()
    called: dict[str, str] = {}
    for each in account.company_model.truth.subscriptions():
        if each.start <= day and (each.end is None or each.end > day):
            if each.org_id is not None:
                key, name = f"organization {each.org_id}", orgs[each.org_id]
            else:
                key, name = f"person {each.person_id}", persons[each.person_id]
            sums[key] += each.monthly * RATES[each.currency]
            called[key] = name
    best = sums.most_common(5)
    assert result["customer"].tolist()[:5] == [key for key, _ in best]
    for row, (key, mrr) in zip(result.to_dict("records"), best, strict=False):
        assert row["mrr"] == pytest.approx(mrr, rel=1e-4)
        if not pd.isna(row["customer_name"]):
            assert row["customer_name"].strip() == " ".join(called[key].split()) or (
                row["customer_name"] == called[key]
            )
    assert result["mrr"].sum() == pytest.approx(sum(sums.values()), rel=1e-4)
    assert result["customer_name"].iloc[5] == f"{len(sums) - 5} others"
