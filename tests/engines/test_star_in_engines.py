"""Every file of a star opens in DuckDB, Spark and Tableau's engine as it was written, with the
totals of pandas to the cent.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import metrics, sandbox
from pdframe.metrics.revenue.prices import UNIT
from tests.helpers.engines import Engine

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}
TYPES = {
    pa.string(): {"VARCHAR", "string", "TEXT"},
    pa.int64(): {"BIGINT", "bigint", "BIG_INT"},
    pa.float64(): {"DOUBLE", "double"},
    pa.bool_(): {"BOOLEAN", "boolean", "BOOL"},
    pa.date32(): {"DATE", "date"},
    pa.timestamp("us", "UTC"): {"TIMESTAMP WITH TIME ZONE", "timestamp", "TIMESTAMP_TZ"},
    pa.decimal128(18, 6): {"DECIMAL(18,6)", "decimal(18,6)", "NUMERIC(18, 6)"},
}


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[sandbox.SandboxAccount, Path]]:
    folder = tmp_path_factory.mktemp("star")
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False
    ) as account:
        account.export(folder, layout="star", rates=RATES, fiscal_start=4)
        yield account, folder


def files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.parquet"))}


def in_utc(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows in an order of their own, as engines give them in any."""
    same = [
        tuple(
            cell.astimezone(datetime.UTC) if isinstance(cell, datetime.datetime) else cell
            for cell in row
        )
        for row in rows
    ]
    return sorted(same, key=repr)


def test_every_file_opens_with_its_types_and_cells(
    exported: tuple[sandbox.SandboxAccount, Path], engine: Engine
) -> None:
    paths = files(exported[1])
    assert len(paths) > 30
    for name, path in paths.items():
        columns = engine.open(name, path)
        table = pq.read_table(path)
        assert [column for column, _ in columns] == table.column_names, name
        for field, (_, kind) in zip(table.schema, columns, strict=True):
            assert kind in TYPES[field.type], f"{name}.{field.name}"
        cells = [column.to_pylist() for column in table.columns]
        rows = engine.rows(f"select * from {name}")
        assert in_utc(rows) == in_utc(list(zip(*cells, strict=True))), name


def test_polars_and_pandas_open_every_file(
    exported: tuple[sandbox.SandboxAccount, Path],
) -> None:
    for name, path in files(exported[1]).items():
        table = pq.read_table(path)
        assert pl.read_parquet(path).rows() == list(
            zip(*(column.to_pylist() for column in table.columns), strict=True)
        ), name
        frame = pd.read_parquet(path)
        assert list(frame.columns) == table.column_names
        assert frame.notna().sum().to_dict() == {
            one: len(table) - table[one].null_count for one in table.column_names
        }, name


def cents(amounts: dict[str, Any]) -> dict[str, Decimal]:
    return {name: round(Decimal(amount), 2) for name, amount in amounts.items()}


def test_totals_are_those_of_pandas_to_the_cent(
    exported: tuple[sandbox.SandboxAccount, Path], engine: Engine
) -> None:
    account, folder = exported
    for name in ("fact_deals", "fact_mrr_by_month"):
        engine.open(name, folder / f"{name}.parquet")
    deals = account.deals()
    rows = engine.rows(
        "select currency_key, sum(value) from fact_deals where value is not null"
        " group by currency_key"
    )
    of_pandas = deals.dropna(subset="value").groupby("currency", observed=True)["value"].sum()
    assert cents(dict(rows)) == cents(of_pandas.to_dict())
    schedule = metrics.mrr_schedule(
        metrics.mrr_lines(account.deal_products(names=False), account.deals(names=False)),
        since=None,
        until="2026-06",
    )
    assert len(schedule) > 20
    rows = engine.rows(
        "select month, currency_key, sum(mrr) from fact_mrr_by_month group by month, currency_key"
    )
    actual = {(str(month), currency): mrr for month, currency, mrr in rows if mrr}
    assert actual == {
        (str(row.month.date()), row.currency): Decimal(round(row.mrr * UNIT)) / UNIT
        for row in schedule.itertuples()
        if row.mrr
    }
