"""Every nasty cell of every table at once, over real HTTP, through everything that is public.

Only `DataWarning` and `PdframeError` may come out, and clean rows keep their values: they are
compared with those of the same account without the nasty rows.
"""

from __future__ import annotations

import contextlib
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import pdframe
from pdframe import metrics
from pdframe.bi.export import Format
from pdframe.errors import PdframeError
from tests.helpers import every_metric, hostile, hostile_checks
from tests.helpers.hostile_checks import ADDED_UP, LOADERS, SHOWN_BESIDE, ZONES, Loaded

REQUESTED_BESIDE = {
    "as_of",
    "changes",
    "deal",
    "fields",
    "search",
    "search_field",
    "status",
    "estimate",
    "sync",
    "export",
    "report",
    "dashboard",
    "url",
    "warnings",
}
NO_FRAME = {"cache_path", "close", "company", "currency", "tokens_today", "tz", "user"}
ISSUED = {"forecast", "track_record"}
"""What they compute is checked as metrics."""

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with hostile_checks.loaded(tmp_path_factory.mktemp("clean"), nasty=False) as result:
        yield result


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with hostile_checks.loaded(tmp_path_factory.mktemp("hurt"), nasty=True, every=3) as result:
        yield result


def test_no_public_method_is_left_out() -> None:
    public = {name for name in dir(pdframe.Account) if not name.startswith("_")}
    assert public == {*LOADERS, *SHOWN_BESIDE, *REQUESTED_BESIDE, *NO_FRAME, *ISSUED}
    assert every_metric.names_missing() == set()
    assert set(every_metric.CALLS) > ADDED_UP


def test_clean_rows_load_as_they_do_alone(clean: Loaded, hurt: Loaded) -> None:
    hostile_checks.compare_tables(clean, hurt)


@pytest.mark.slow
@pytest.mark.parametrize("tz", ZONES)
def test_every_metric_says_of_clean_rows_what_it_says_of_them_alone(
    clean: Loaded, hurt: Loaded, tz: str
) -> None:
    results = hostile_checks.compare_metrics(clean, hurt, tz)
    if tz == ZONES[1]:
        hostile_checks.draw_charts(results)
        # The names of the nasty stages too.
        own = {"as_of": every_metric.AS_OF, "pipeline_id": hostile.PIPELINE[True], "tz": tz}
        kept = hurt.frames["visits"], hurt.frames["stages"]
        results["funnel"], results["stage_moves"] = (
            metrics.funnel(*kept, **own),
            metrics.stage_moves(*kept, **own),
        )
        hostile_checks.draw_charts(results)


def _rows_of_duckdb(path: str, table: str) -> int:
    with duckdb.connect(path, read_only=True) as connection:
        ((rows,),) = connection.execute(f'select count(*) from "{table}"').fetchall()
    return int(rows)


READ: dict[str, Callable[[str, str], int]] = {
    "parquet": lambda path, table: len(pd.read_parquet(path)),
    "csv": lambda path, table: len(pd.read_csv(path, encoding="utf-8-sig", low_memory=False)),
    "duckdb": _rows_of_duckdb,
    "xlsx": lambda path, table: len(pd.read_excel(path)),
}


@pytest.mark.parametrize(
    ("format", "labels"), [(format, True) for format in typing.get_args(Format)] + [("csv", False)]
)
def test_every_table_is_exported_and_read_back(
    hurt: Loaded, format: Any, labels: bool, tmp_path: Path
) -> None:
    done = hurt.account.export(tmp_path / "files", format=format, labels=labels, refresh=False)
    assert (done["rows"] > 0).all()
    for table, rows, path in zip(done["table"], done["rows"], done["path"], strict=True):
        assert READ[format](path, table) == rows, table


def test_other_methods_answer_or_refuse(hurt: Loaded) -> None:
    account = hurt.account
    assert len(account.as_of("2026-06-30")) > 0
    assert all(
        len(account.fields(name.removesuffix("_fields") + "s")) >= 0
        for name in ("deal_fields", "person_fields")
    )
    assert len(account.status()) > 0
    assert len(account.estimate()) > 0
    assert len(account.warnings()) > 0
    deals = account.deals(refresh=False)
    links = account.url("deals", deals["id"])
    assert links[deals["id"].notna().to_numpy()].str.startswith("https://").all()
    for number in deals.loc[deals["id"] > 0, "id"].iloc[::25]:
        card = account.deal(int(number))
        assert "\x1b" not in str(card)
        assert "<script" not in card._repr_html_()
    assert isinstance(account.changes("2026-06-30 12:00", refresh=False), pd.DataFrame)
    for ask in (
        lambda: account.search("deal"),
        lambda: account.search_field("deal", "deal", "title"),
    ):
        with contextlib.suppress(PdframeError):
            assert isinstance(ask(), pd.DataFrame)
    assert {"table", "note"} <= set(account.sync("deals", "stages").columns)
