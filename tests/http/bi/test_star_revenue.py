"""Recurring revenue of a star closes exactly in SQL: by month, currency and any slice of deals, and
movements are those of `mrr_movements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from pdframe import metrics, sandbox
from pdframe.bi.star_columns import decimals
from pdframe.metrics.revenue.prices import UNIT
from tests.helpers.served_lists import connected, deal
from tests.helpers.stars import (
    Star,
    check_plain,
    check_relationships,
    seeds,
    star_of,
    without_forecast,
)

MONTH = "2026-06"
"""The month of every new company."""
MOVEMENTS = ("new", "reactivation", "expansion", "contraction", "churn")
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def companies() -> Iterator[Any]:
    for seed in seeds(1):
        for company in ("showcase", "hostile"):
            yield pytest.param((company, seed), id=f"{company}-{seed}")


@pytest.fixture(scope="module", params=companies())
def account(request: pytest.FixtureRequest) -> Iterator[sandbox.SandboxAccount]:
    company, seed = request.param
    with sandbox.connect(
        seed=seed, deals=150, company=company, burst=100_000, progress=False
    ) as account:
        account.sync()
        yield account


def cancellations(account: sandbox.SandboxAccount) -> str | None:
    fields = account.fields("deals")
    own = fields[fields["label"].str.contains("Cancellation", na=False)]
    return None if own.empty else str(own["column"].iloc[0])


@pytest.fixture(scope="module")
def made(account: sandbox.SandboxAccount) -> Star:
    with without_forecast():
        return star_of(account, cancellations=cancellations(account))


@pytest.fixture(scope="module")
def database(made: Star) -> duckdb.DuckDBPyConnection:
    return made.database()


@pytest.fixture(scope="module")
def lines(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return metrics.mrr_lines(
        account.deal_products(names=False),
        account.deals(names=False),
        cancellations=cancellations(account),
    )


def exact(amount: float) -> Decimal:
    return Decimal(round(amount * UNIT)) / UNIT


def test_it_is_a_star(made: Star) -> None:
    check_plain(made)
    check_relationships(made)
    assert len(made.arrow("fact_mrr_by_month")) > 50
    for name in ("mrr", "previous_mrr", "amount"):
        assert made.arrow("fact_mrr_by_month").schema.field(name).type == pa.decimal128(18, 6)


def test_a_row_is_a_month_of_a_deal_of_a_customer(database: duckdb.DuckDBPyConnection) -> None:
    assert database.execute(
        "select count(*) - count(distinct (month, customer, currency_key, deal_key)),"
        " count(*) filter (mrr = 0 and previous_mrr = 0), count(*) filter (deal_key < 0),"
        " count(*) filter (amount <> mrr - previous_mrr)"
        " from fact_mrr_by_month"
    ).fetchone() == (0, 0, 0, 0)


def slices(made: Star) -> list[str]:
    """Texts and flags of deals, and the keys that facts carry."""
    schema = made.arrow("dim_deal").schema
    texts = [column.name for column in schema if column.type in (pa.string(), pa.bool_())]
    return [*texts, "owner_key", "pipeline_key", "organization_key", "customer", "deal_key"]


def test_every_slice_closes_month_by_month(made: Star, database: duckdb.DuckDBPyConnection) -> None:
    movements = ", ".join(
        f"sum(case when movement = '{name}' then amount else 0 end) as moved_{name}"
        for name in (*MOVEMENTS, "none")
    )
    total = " + ".join(f"m.moved_{name}" for name in (*MOVEMENTS, "none"))
    for column in slices(made):
        months = f"""
            select month, currency_key, {column} as slice, sum(previous_mrr) as start_mrr,
                sum(mrr) as end_mrr, {movements}
            from fact_mrr_by_month join dim_deal using (deal_key)
            group by all
        """
        counts = database.execute(
            f"""
            with months as ({months})
            select count(*),
                count(*) filter (m.start_mrr + {total} <> m.end_mrr),
                -- What a month ends with, the next one starts with.
                count(*) filter (m.start_mrr <> coalesce(o.end_mrr, 0))
            from months m left join (select *, month + interval 1 month as next from months) o
                on o.next = m.month and o.currency_key = m.currency_key
                and o.slice is not distinct from m.slice
            """
        ).fetchone()
        assert counts is not None
        assert counts[0] > 0
        assert counts[1:] == (0, 0), column


def test_movements_are_those_of_the_metric(
    database: duckdb.DuckDBPyConnection, lines: pd.DataFrame
) -> None:
    expected = metrics.mrr_movements(lines, since=None, until=MONTH)
    sums = ", ".join(f"coalesce(sum(amount) filter (movement = '{name}'), 0)" for name in MOVEMENTS)
    rows = database.execute(
        f"select month, currency_key, sum(previous_mrr), {sums}, sum(mrr)"
        " from fact_mrr_by_month group by all"
    ).fetchall()
    actual = {(str(month), currency): amounts for month, currency, *amounts in rows}
    assert len(expected) >= len(actual) > 0
    for row in expected.itertuples():
        amounts = [exact(getattr(row, name)) for name in ("start", *MOVEMENTS, "end")]
        key = (f"{row.month:%Y-%m-%d}", row.currency)
        assert actual.get(key, [0] * len(amounts)) == amounts, key


def test_movements_of_customers_are_those_of_the_metric(
    database: duckdb.DuckDBPyConnection, lines: pd.DataFrame
) -> None:
    expected = metrics.mrr_customer_months(lines, since=None, until=MONTH)
    rows = database.execute(
        "select month, customer, currency_key, sum(previous_mrr), sum(amount), sum(mrr),"
        " min(movement), max(movement) from fact_mrr_by_month group by all"
        " having sum(mrr) <> 0 or sum(previous_mrr) <> 0"
    ).fetchall()
    actual = {(str(month), customer, currency): rest for month, customer, currency, *rest in rows}
    assert len(actual) == len(expected)
    for row in expected.itertuples():
        movement = "none" if pd.isna(row.movement) else row.movement
        key = (f"{row.month:%Y-%m-%d}", row.customer, row.currency)
        assert actual[key] == [
            exact(row.previous),
            exact(row.amount),
            exact(row.mrr),
            movement,
            movement,
        ], key


def test_names_of_customers_are_personal(account: sandbox.SandboxAccount, made: Star) -> None:
    names = made.frame("fact_mrr_by_month")
    assert names["customer_name"].notna().any()
    with without_forecast():
        other = star_of(account, personal=False)
    assert "customer_name" not in other.arrow("fact_mrr_by_month").column_names


def test_amounts_are_exact_decimals() -> None:
    millionths = [0, 1, -1, 999_999, -1_000_000, 123_456_789_012_345_678, -(10**18) + 1]
    array = decimals(pd.Series(millionths, dtype="int64").to_numpy())
    array.validate(full=True)
    assert array.to_pylist() == [Decimal(one).scaleb(-6) for one in millionths]


def test_a_company_without_lines_has_no_rows(tmp_path: Path) -> None:
    with connected(tmp_path, {"deals": [deal(1)]}) as account:
        made = star_of(account)
    check_plain(made)
    check_relationships(made)
    assert len(made.arrow("fact_mrr_by_month")) == 0


def large_lines(count: int) -> dict[str, list[Any]]:
    """Return won deals of one customer with a line of 9e11 a month each, and a small one."""
    won = {"status": "won", "won_time": "2026-01-15T12:00:00Z", "org_id": 1, "currency": "IDR"}
    deals = [deal(number, **won) for number in range(1, count + 1)]
    deals.append(deal(90, **(won | {"org_id": 2})))
    lines = [
        {
            "id": row["id"],
            "deal_id": row["id"],
            "product_id": 1,
            "currency": "IDR",
            "quantity": 1,
            "item_price": 10.5 if row["id"] == 90 else 9e11,
            "is_enabled": True,
            "billing_frequency": "monthly",
            "update_time": "2026-01-01T00:00:00Z",
        }
        for row in deals
    ]
    # Two lines of one deal are more than 1e12.
    lines.append(lines[0] | {"id": 99})
    return {"deals": deals, "deals/products": lines}


def test_amounts_of_too_many_digits_cost_their_customer(tmp_path: Path) -> None:
    with connected(tmp_path, large_lines(1)) as account:
        made = star_of(account, as_of=date(2026, 3, 31))
    rows = made.arrow("fact_mrr_by_month").select(["customer", "mrr"]).to_pylist()
    assert rows == [{"customer": "organization 2", "mrr": Decimal("10.5")}] * 3
    assert any("leaves out 1 customers" in note for note in made.notes)


def test_more_money_than_adds_up_exactly_leaves_no_rows(tmp_path: Path) -> None:
    with connected(tmp_path, large_lines(6)) as account:
        made = star_of(account, as_of=date(2026, 3, 31))
    check_plain(made)
    assert len(made.arrow("fact_mrr_by_month")) == 0
    assert any("too large to be added up" in note for note in made.notes)
