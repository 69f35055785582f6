"""The columns that a loader accepts, and the cost of refusing an unknown one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import DataWarning, sandbox
from pdframe.errors import ArgumentError, CacheError
from tests.helpers.scripted_server import Scripted, data

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def spent(account: sandbox.SandboxAccount) -> list[str]:
    """Return the lists that were requested since the last call."""
    paths = [event.template for event in account.server.requests]
    account.server.reset_stats()
    return paths


@pytest.fixture
def known(account: sandbox.SandboxAccount) -> sandbox.SandboxAccount:
    """An account that has requested `/users/me`, and nothing else."""
    assert account.tz
    spent(account)
    return account


def test_a_name_that_the_schema_does_not_have_costs_nothing(known: sandbox.SandboxAccount) -> None:
    for refresh in (None, True, "full"):
        with pytest.raises(ArgumentError, match=r"no column 'nmae'\. Did you mean 'name'"):
            known.stages(refresh=refresh, columns=["id", "nmae"])  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="no column 'tme'"):
            known.deal_changes([1], refresh=refresh, columns=["tme"])  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="names one column twice"):
            known.pipelines(refresh=refresh, columns=["id", "id"])  # type: ignore[arg-type]
    assert spent(known) == []


def test_a_label_that_there_is_not_costs_the_list_of_fields_alone_and_nothing_once_that_is_cached(
    known: sandbox.SandboxAccount,
) -> None:
    for _ in range(2):
        with pytest.raises(ArgumentError, match="no column 'Regoin'"):
            known.deals(columns=["id", "Regoin"])
    assert spent(known) == ["/api/v2/dealFields"]
    known.deals(columns=["id", "title"])
    spent(known)
    with pytest.raises(ArgumentError, match="no column 'Regoin'"):
        known.deals(columns=["id", "Regoin"])
    assert spent(known) == []
    with pytest.raises(ArgumentError, match="no column 'Regoin'"):
        known.deals(columns=["id", "Regoin"], refresh="full")
    assert spent(known) == ["/api/v2/dealFields"]


def test_an_unknown_column_is_one_error_without_another_before_it(
    known: sandbox.SandboxAccount,
) -> None:
    known.deals()
    with pytest.raises(ArgumentError, match="no column 'Regoin'") as caught:
        known.deals(columns=["Regoin"])
    assert caught.value.__context__ is None


def test_a_new_field_is_a_column(known: sandbox.SandboxAccount) -> None:
    known.deals()
    known.company_model.add_field("deal", "Fresh from the office", "varchar")
    with pytest.raises(ArgumentError, match="no column 'Fresh from the office'"):
        known.deals(columns=["Fresh from the office"])
    assert list(known.deals(columns=["Fresh from the office"], refresh=True).columns) == [
        "Fresh from the office"
    ]


def test_a_damaged_list_of_fields_is_loaded_again(known: sandbox.SandboxAccount) -> None:
    known.deals()
    label = known.fields("deals").query("is_custom")["column"].iloc[0]
    for part in (known.cache_path / "deal_fields").glob("*.parquet"):
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(CacheError, match="deal_fields"):
        known.deals(columns=["id", label], refresh=False)
    with pytest.warns(DataWarning, match="files of 'deal_fields' are deleted"):
        assert list(known.deals(columns=["id", label]).columns) == ["id", label]


def test_columns_may_come_in_any_iterable(known: sandbox.SandboxAccount) -> None:
    forms: list[Any] = [
        ["name", "id"],
        ("name", "id"),
        pd.Index(["name", "id"]),
        {"name": 1, "id": 2},
        (name for name in ("name", "id")),
    ]
    for form in forms:
        assert list(known.stages(columns=form).columns) == ["name", "id"]
    assert known.stages(columns=[]).shape == (len(known.stages()), 0)


@pytest.mark.parametrize("columns", ["id", b"id", 5, [1], [["id"]], [None], object()])
def test_what_is_no_list_of_names_is_refused(known: sandbox.SandboxAccount, columns: Any) -> None:
    for loader in (known.deals, known.stages, known.deal_changes):
        with pytest.raises(ArgumentError, match="columns must be a list of names"):
            loader(columns=columns)
    assert spent(known) == []


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted.running() as server:
        yield server


def test_a_column_that_nothing_declares_can_be_requested_once_it_is_cached(
    server: Scripted, tmp_path: Path
) -> None:
    server.replies = [
        data({"id": 1, "name": "Ada", "company_domain": "acme"}),
        data([{"id": 1, "colour": "red"}]),
    ]
    with pdframe.connect(
        base_url=server.url, api_token="0" * 40, cache_dir=tmp_path, progress=False
    ) as account:
        assert "colour" in account.pipelines()
        assert account.pipelines(columns=["colour"])["colour"].tolist() == ["red"]


@pytest.mark.parametrize("refresh", [None, False])
@pytest.mark.parametrize(
    "columns", [["id", "id", "url"], ["url", "id", "url"], ["owner_name", "id", "owner_name"]]
)
def test_a_column_that_is_named_twice_is_refused(
    account: sandbox.SandboxAccount, columns: list[str], refresh: bool | None
) -> None:
    account.deals(names=True)
    repeated = max(columns, key=columns.count)
    with pytest.raises(ArgumentError, match=f"names one column twice: '{repeated}'"):
        account.deals(refresh=refresh, names=True, columns=columns)
