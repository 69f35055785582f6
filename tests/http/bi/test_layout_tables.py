"""`layout="tables"`: types and names that BI tools read, and exports without personal data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError
from tests.helpers.no_names import no_names_by_default as no_names_by_default
from tests.helpers.served_lists import code, connected, deal, field

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
PLAIN = {
    pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.date32(), pa.timestamp("us", "UTC")
}  # fmt: skip
SNAKE = re.compile(r"[a-z][a-z0-9_]{0,59}")


def test_every_column_has_a_plain_type_and_lists_are_lists(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path)
    kinds = {
        (path.stem, name): kind
        for path in tmp_path.glob("*.parquet")
        for name, kind in zip(pq.read_schema(path).names, pq.read_schema(path).types, strict=True)
    }
    lists = {key: kind for key, kind in kinds.items() if pa.types.is_list(kind)}
    assert {kind for key, kind in kinds.items() if key not in lists} == PLAIN
    assert ("persons", "emails") in lists
    assert ("deals", "label_ids") in lists
    assert kinds["deals", "expected_close_date"] == pa.date32()
    assert kinds["activities", "duration_hours"] == pa.float64()
    assert ("activities", "duration") not in kinds
    assert kinds["deals", "status"] == pa.string()


def test_hours_are_those_of_the_durations(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    call = account.company_model.add_activity("Call", duration="26:30", due_date="2026-07-01")
    account.export(tmp_path, "activities", refresh=True)
    path = tmp_path / "activities.parquet"
    rows = duckdb.sql(f"select duration_hours from '{path}' where id = {call}").fetchall()
    assert rows == [(26.5,)]
    ((total,),) = duckdb.sql(f"select sum(duration_hours) from '{path}'").fetchall()
    assert total == pytest.approx(account.activities()["duration"].sum() / pd.Timedelta("1h"))


def test_a_label_that_is_the_name_of_the_hours_takes_its_hash(tmp_path: Path) -> None:
    activities = [{"id": 1, "subject": "Call", "duration": "01:30", code(1): "x"}]
    fields = [field(1, "Duration_Hours")]
    with connected(
        tmp_path / "cache", {"activities": activities, "activityFields": fields}
    ) as account:
        for naming in ("labels", "snake"):
            account.export(tmp_path / naming, "activities", naming=naming)
    labels = pq.read_schema(tmp_path / "labels/activities.parquet").names
    assert labels.count("duration_hours") == 1
    assert len({name.casefold() for name in labels}) == len(labels)
    if any(name.startswith("Duration_Hours") for name in labels):
        assert "Duration_Hours (100000)" in labels


HARD = [
    field(1, "Deal size", "double"), field(2, "Бюджет"), field(3, "🚀 Launch"), field(4, ""),
    field(5, "x" * 180), field(6, "Region"), field(7, "REGION"), field(8, "2024 budget"),
    field(9, "Order"), field(10, "title_"),
    field(11, "Cost", "monetary", subfields=[
    {"field_code": "currency", "field_name": "Currency of Cost", "field_type": "varchar"}]),
]  # fmt: skip


@pytest.mark.parametrize("labels", [True, False])
def test_snake_names_are_unique_and_independent_of_the_order_of_fields(
    tmp_path: Path, labels: bool
) -> None:
    cells: dict[str, Any] = {one["field_code"]: "v" for one in HARD}
    cells |= {code(1): 7.5, code(11): {"value": 3, "currency": "EUR"}}
    rows = [deal(1, custom_fields=cells), deal(2)]
    names = {}
    for order, fields in {"as is": HARD, "reversed": HARD[::-1]}.items():
        with connected(tmp_path / order, {"deals": rows, "dealFields": fields}) as account:
            account.export(tmp_path / order / "bi", "deals", naming="snake", labels=labels)
        table = pq.read_table(tmp_path / order / "bi/deals.parquet")
        assert all(SNAKE.fullmatch(name) for name in table.column_names)
        assert len(set(table.column_names)) == table.num_columns
        names[order] = {name: table[name].to_pylist() for name in table.column_names}
    assert names["as is"] == names["reversed"]
    if labels:
        made = names["as is"]
        assert made["deal_size"] == [7.5, None]
        assert made["cost"] == [3.0, None]
        assert made["currency_of_cost"] == ["EUR", None]
        assert {"launch", "n_2024_budget", "order_900000", "title_a00000"} & set(made) >= {
            "launch", "n_2024_budget", "order_900000"
        }  # fmt: skip
        assert {"region_600000", "region_700000"} <= set(made)
        assert [name for name in made if name.endswith("_200000")] == ["field_200000"]


def test_every_table_has_snake_names_that_sql_takes_without_quotes(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    done = account.export(tmp_path, naming="snake")
    for path in done["path"]:
        names = pq.read_schema(path).names
        assert all(SNAKE.fullmatch(name) for name in names)
        assert len(set(names)) == len(names)
        columns = ", ".join(names)
        rows = duckdb.sql(f"select count(*) from (select {columns} from '{path}')").fetchall()
        assert rows == [(len(polars.read_parquet(path)),)]
        assert polars.read_parquet(path).columns == names
    # Under the names that a star gives them.
    for table, name in (("stage_visits", "visit_end"), ("deal_products", "line_sum")):
        assert name in pq.read_schema(tmp_path / f"{table}.parquet").names


# Without personal data


def test_an_export_without_personal_data_names_no_person_and_has_no_free_text(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path / "all", naming="labels", names=True)
    secrets = set()
    for table, columns in {
        "persons": (
            "name",
            "first_name",
            "last_name",
            "primary_email",
            "primary_phone",
            "job_title",
        ),
        "users": ("name", "email"),
        "deals": ("title", "smart_bcc_email", "person_name"),
        "activities": ("subject", "note"),
    }.items():
        frame = pd.read_parquet(tmp_path / "all" / f"{table}.parquet")
        for column in columns:
            secrets |= {text for text in frame[column].dropna() if len(text) > 12}
    assert len(secrets) > 100
    done = account.export(tmp_path / "less", personal=False, names=True)
    assert done["rows"].tolist() == [
        len(pd.read_parquet(tmp_path / "all" / f"{table}.parquet")) for table in done["table"]
    ]
    for path in done["path"]:
        table = pq.read_table(path)
        for name in table.column_names:
            cells = set(map(str, table[name].to_pylist()))
            assert not cells & secrets, (path, name)
    deals = pq.read_schema(tmp_path / "less/deals.parquet").names
    assert {"id", "value", "status", "owner_id", "add_time", "stage_name"} <= set(deals)
    assert not {"title", "owner_name", "person_name", "lost_reason"} & set(deals)


def test_templates_without_personal_data_have_no_description(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "project_templates", personal=False)
    names = set(pq.read_schema(tmp_path / "project_templates.parquet").names)
    assert {"id", "title", "owner_id"} <= names
    assert "description" not in names


def test_changelogs_without_personal_data_have_no_values_of_fields(tmp_path: Path) -> None:
    """These are the values of any field: titles, reasons for a loss, custom texts."""
    tables = ("deal_changes", "project_changes")
    with sandbox.connect(seed=7, deals=40, company="hostile", progress=False) as account:
        changes = account.deal_changes()
        account.project_changes()
        reasons = set(account.deals()["lost_reason"].dropna()) & set(changes["new_value"])
        account.export(tmp_path, *tables, personal=False, refresh=False)
    assert reasons
    for table in tables:
        exported = pq.read_table(tmp_path / f"{table}.parquet")
        assert {"time", "field_key", "actor_user_id"} <= set(exported.column_names)
        assert not {"old_value", "new_value"} & set(exported.column_names)
        for name in exported.column_names:
            assert not reasons & set(map(str, exported[name].to_pylist()))


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"layout": "snowflake"}, "layout must be 'tables' or 'star', not 'snowflake'"),
        ({"naming": "camel"}, "naming must be 'labels' or 'snake', not 'camel'"),
        ({"personal": "no"}, "personal must be True or False, not 'no'"),
        ({"fiscal_start": 4}, "of the star alone: choose layout 'star'"),
        ({"fiscal_start": True}, "must be a month from 1 to 12"),
        ({"rates": {"EUR": 1}}, "are for layout='star'"),
        ({"max_rows": 0}, "max_rows must be a number of rows"),
        ({"layout": "star"}, "leave 'stages' out"),
        ({"layout": "star", "format": "xlsx"}, "format of a star must be"),
        ({"layout": "star", "naming": "labels"}, "meta_columns has their labels"),
        ({"refresh": "soon"}, "refresh must be"),
    ],
)
def test_wrong_arguments_are_refused_before_any_request(
    account: sandbox.SandboxAccount, tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        account.export(tmp_path / "bi", "stages", **how)
    assert account.server.stats.requests == 0
    assert not (tmp_path / "bi").exists()


def test_no_path_and_a_list_of_tables_are_answered_with_what_works(
    account: sandbox.SandboxAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="path is empty"):
        account.export("")
    with pytest.raises(ArgumentError, match=r"account\.export\(path, 'deals', 'stages'\)"):
        account.export("bi", ["deals", "stages"])  # type: ignore[arg-type]
    assert account.server.stats.requests == 0
    assert not [*tmp_path.iterdir()]
