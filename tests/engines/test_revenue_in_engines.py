"""Recurring revenue of a star closes exactly in DuckDB, Spark and Tableau's engine: by month,
currency and any slice of deals.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import metrics, sandbox
from pdframe.metrics.revenue.prices import UNIT
from tests.helpers.engines import Engine
from tests.helpers.stars import seeds, without_forecast

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.slow,
]
MONTH = "2026-06"
"""The month of every new company."""
MOVEMENTS = ("new", "reactivation", "expansion", "contraction", "churn")
OF_FACTS = ("owner_key", "pipeline_key", "organization_key", "customer", "deal_key")


@pytest.fixture(scope="module", params=seeds(1))
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sandbox.SandboxAccount, Path]]:
    seed = request.param
    folder = tmp_path_factory.mktemp("star")
    company = ("showcase", "hostile")[seed % 2]
    with sandbox.connect(
        seed=seed, deals=60, company=company, burst=100_000, progress=False
    ) as account:
        with without_forecast():
            account.export(folder, layout="star")
        yield account, folder


def slices(folder: Path) -> dict[str, str]:
    """Return the columns that slice revenue, and what they are in a query."""
    texts = [
        column.name
        for column in pq.read_schema(folder / "dim_deal.parquet")
        if column.type in (pa.string(), pa.bool_())
    ]
    return {name: f"d.{name}" for name in texts} | {name: f"f.{name}" for name in OF_FACTS}


def months(engine: Engine, columns: dict[str, str]) -> str:
    """Return SQL: what is open in the months of each slice, part of it and currency."""
    named = ", ".join(f"'{one}'" for one in ("none", *MOVEMENTS))
    return f"""
        with cut as (
            select s.name as slice, coalesce(s.value, '') as part, f.month, f.currency_key,
                f.previous_mrr, f.mrr, f.movement, f.amount
            from fact_mrr_by_month f join dim_deal d on d.deal_key = f.deal_key
                {engine.pairs(columns)}
        ),
        months as (
            select slice, part, month, currency_key, sum(previous_mrr) as started,
                sum(mrr) as ended, sum(amount) as moved,
                sum(case when movement in ({named}) then amount else 0 end) as named
            from cut group by slice, part, month, currency_key
        )
        select count(*) as rows_of_all, count(distinct m.slice) as slices,
            sum(case when m.started + m.moved <> m.ended or m.moved <> m.named
                then 1 else 0 end) as open_months,
            -- What a month ends with, the next one starts with.
            sum(case when m.started <> coalesce(o.ended, 0) then 1 else 0 end) as gaps
        from months m left join months o
            on o.slice = m.slice and o.part = m.part and o.currency_key = m.currency_key
            and o.month + interval '1' month = m.month
    """


def test_every_slice_closes_month_by_month(
    exported: tuple[sandbox.SandboxAccount, Path], engine: Engine
) -> None:
    for name in ("fact_mrr_by_month", "dim_deal"):
        engine.open(name, exported[1] / f"{name}.parquet")
    columns = slices(exported[1])
    assert len(columns) > 50
    ((rows, counted, open_months, gaps),) = engine.rows(months(engine, columns))
    assert counted == len(columns)
    assert rows > 500
    assert (open_months, gaps) == (0, 0)


def test_movements_are_those_of_the_metric(
    exported: tuple[sandbox.SandboxAccount, Path], engine: Engine
) -> None:
    account, folder = exported
    engine.open("fact_mrr_by_month", folder / "fact_mrr_by_month.parquet")
    sums = ", ".join(
        f"sum(case when movement = '{name}' then amount else 0 end)" for name in MOVEMENTS
    )
    rows = engine.rows(
        f"select month, currency_key, sum(previous_mrr), {sums}, sum(mrr) from fact_mrr_by_month"
        " group by month, currency_key"
    )
    actual = {(str(month), currency): amounts for month, currency, *amounts in rows}
    lines = metrics.mrr_lines(account.deal_products(names=False), account.deals(names=False))
    expected = metrics.mrr_movements(lines, since=None, until=MONTH)
    assert len(expected) >= len(actual) > 0
    for row in expected.itertuples():
        amounts = [exact(getattr(row, name)) for name in ("start", *MOVEMENTS, "end")]
        shown: list[Any] = actual.pop((str(row.month.date()), row.currency), [0] * 7)
        assert shown == amounts
    assert not actual


def test_movements_of_customers_are_those_of_the_metric(
    exported: tuple[sandbox.SandboxAccount, Path], engine: Engine
) -> None:
    account, folder = exported
    engine.open("fact_mrr_by_month", folder / "fact_mrr_by_month.parquet")
    rows = engine.rows(
        "select month, customer, currency_key, sum(previous_mrr), sum(amount), sum(mrr),"
        " min(movement), max(movement) from fact_mrr_by_month"
        " group by month, customer, currency_key having sum(mrr) <> 0 or sum(previous_mrr) <> 0"
    )
    lines = metrics.mrr_lines(account.deal_products(names=False), account.deals(names=False))
    expected = metrics.mrr_customer_months(lines, since=None, until=MONTH)
    assert len(expected) > 20
    assert {(str(month), *row) for month, *row in rows} == {
        (
            str(row.month.date()), row.customer, row.currency,
            *(exact(amount) for amount in (row.previous, row.amount, row.mrr)),
            *["none" if pd.isna(row.movement) else row.movement] * 2,
        )
        for row in expected.itertuples()
    }  # fmt: skip


def exact(amount: float) -> Decimal:
    return Decimal(round(amount * UNIT)) / UNIT
