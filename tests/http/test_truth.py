"""Every value of every table equals the company's truth, cell by cell, as its events tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pdframe import sandbox
from pdframe.schema import LISTS, TABLES, NameColumn
from tests.helpers import true_cells
from tests.helpers.cell_by_cell import ENTITY, LOADED, columns_of_fields, frame, wrong_cells

# Every switch the other way, and each way to compute recurring revenue.
OTHER_METHOD = sandbox.Switches(
    archiving_moves_update_time=False,
    deleting_moves_update_time=False,
    reopening_moves_update_time=False,
    line_edits_move_update_time=False,
    stage_change_time_if_never_moved="set",
    changelog_has_creation=True,
    products_count_includes_disabled=False,
    revenue_formula="term",
    date_ahead_seconds=90,
)
# Imports and bulk closings in one second, expected closes that move, a rep who leaves.
MARKET = sandbox.Market(
    shock_sd=0.5,
    informative_close_dates=True,
    slipping_close_dates=True,
    capacity=8,
    rep_leaves=((date(2026, 6, 1), 1014),),
    bulk_import=(date(2026, 4, 6), 30),
    bulk_close=date(2026, 5, 4),
)
COMPANIES = {
    **{f"seed {seed}": (seed, 250, sandbox.Switches()) for seed in range(1, 6)},
    "empty": (1, 0, sandbox.Switches()),
    "other way": (2, 250, OTHER_METHOD),
    "market": (4, 250, sandbox.Switches()),
    "calendar": (
        3,
        250,
        replace(OTHER_METHOD, revenue_formula="calendar", products_count_includes_disabled=True),
    ),
}


@pytest.fixture(scope="module", params=COMPANIES)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[sandbox.SandboxAccount, true_cells.State]]:
    seed, deals, switches = COMPANIES[request.param]
    with sandbox.connect(
        seed=seed,
        deals=deals,
        switches=switches,
        market=MARKET if request.param == "market" else None,
        cache_dir=tmp_path_factory.mktemp("cache"),
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        account.sync()
        yield account, true_cells.fold(account.company_model.events)


@pytest.mark.parametrize("table", LOADED)
def test_every_cell_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str
) -> None:
    account, state = loaded
    wrong = wrong_cells(account, account.company_model, state, table)
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("table", sorted(ENTITY))
def test_every_custom_value_has_a_column(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str
) -> None:
    account, state = loaded
    got = frame(account, table, labels=False, names=False)
    for row in true_cells.visible(state, table):
        for code, value in row["custom_fields"].items():
            wanted = {
                code if part == "value" else f"{code}_{part}"
                for part in (value if isinstance(value, dict) else ["value"])
            }
            assert wanted <= set(got.columns)
    for field in columns_of_fields(state, table):
        assert field["field_code"] in got.columns


@pytest.mark.parametrize("table", sorted(ENTITY))
def test_every_option_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str
) -> None:
    account, state = loaded
    hashes, labels = frame(account, table, labels=False), frame(account, table)
    assert len(hashes.columns) == len(labels.columns)
    for field in columns_of_fields(state, table):
        at = hashes.columns.get_loc(field["field_code"])
        ids, shown = hashes.iloc[:, at], labels.iloc[:, at]
        if field["field_type"] in ("enum", "set"):
            options = true_cells.options_of(field)
            assert [true_cells.cell(value) for value in shown] == [
                true_cells.labelled(true_cells.cell(value), options) for value in ids
            ]
        else:
            assert [true_cells.cell(value) for value in shown] == [
                true_cells.cell(value) for value in ids
            ]


STANDARD_OPTIONS = [
    ("deals", "label_ids"), ("deals", "channel"), ("persons", "label_ids"),
    ("organizations", "label_ids"), ("organizations", "industry"),
    ("products", "category"), ("activities", "priority"), ("projects", "label_ids"),
    ("projects", "health_status"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), STANDARD_OPTIONS)
def test_every_standard_option_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str, column: str
) -> None:
    account, state = loaded
    got = frame(account, table)[column]
    options = true_cells.options_of(state[f"{ENTITY[table]}_fields"][column])
    assert [true_cells.cell(value) for value in got] == [
        true_cells.labelled(row[column], options) for row in true_cells.visible(state, table)
    ]
    if column == "label_ids":
        assert str(got.dtype) == "list<item: string>[pyarrow]"
    else:
        assert got.cat.categories.tolist()[: len(options)] == list(options.values())


@pytest.mark.parametrize("table", sorted(true_cells.FIELD_LISTS))
def test_every_field_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str
) -> None:
    account, state = loaded
    (part,) = (account.cache_path / table).glob("*.parquet")
    got = pq.read_table(part).to_pylist()
    assert [row["field_code"] for row in got] == list(state[table])
    for row, field in zip(got, state[table].values(), strict=True):
        for column in ("field_name", "field_type", "is_custom_field"):
            assert row[column] == field[column]
        assert true_cells.from_json(row["options"]) == field["options"]
        assert true_cells.from_json(row["subfields"]) == field["subfields"]


PAGES = ("deals", "persons", "organizations", "products", "projects")
NAMED = [(name, added) for name in LISTS for added in TABLES[name].names]


@pytest.mark.parametrize(
    ("table", "added"), NAMED, ids=[f"{name}.{added.name}" for name, added in NAMED]
)
def test_every_name_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str, added: NameColumn
) -> None:
    account, state = loaded
    got = frame(account, table, names=True, columns=[added.id, added.name])
    assert str(got[added.name].dtype) == "str"
    known = {row["id"]: row[added.label] for row in true_cells.visible(state, added.table)}
    wanted = [known.get(true_cells.cell(number)) for number in got[added.id]]
    assert [true_cells.cell(name) for name in got[added.name]] == wanted
    assert not wanted or any(wanted) or table == "deals"


def test_names_stand_between_the_standard_and_the_custom_columns(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State],
) -> None:
    account, _ = loaded
    for table in LOADED:
        plain, named = (
            list(frame(account, table, labels=False, names=False).columns),
            list(frame(account, table, labels=False, names=True).columns),
        )
        standard, added = (
            len(TABLES[table].columns),
            [column.name for column in TABLES[table].names],
        )
        if table in PAGES:
            added.append("url")
        assert named == plain[:standard] + added + plain[standard:]


PARENTS = {name: table for name, table in TABLES.items() if table.parent}


@pytest.mark.parametrize("table", PARENTS)
def test_every_cell_by_record_is_true(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State], table: str
) -> None:
    account, state = loaded
    parent = PARENTS[table].parent
    assert parent is not None
    records = [row["id"] for row in true_cells.visible(state, parent.table)]
    ids = {} if parent.every else {"ids": records}
    got = frame(account, table, **ids, names=False)
    rows = true_cells.by_record(account.company_model, table, parent.id, records)
    assert len(got) == len(rows)
    assert list(got.columns) == [column.name for column in PARENTS[table].columns]
    wrong = []
    for column in got.columns:
        for row, value in zip(rows, got[column], strict=True):
            shown, wanted = (
                true_cells.cell(value),
                true_cells.expected(row[column], got[column].dtype),
            )
            if table == "project_changes" and column == "time":
                shown = shown.replace(microsecond=0)
            if shown != wanted:
                wrong.append((row[parent.id], column, shown, row[column]))
    assert not wrong, wrong[:5]
    if account.company_model.size:
        assert rows


def test_changes_of_deals_lead_to_what_deals_are(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State],
) -> None:
    account, state = loaded
    changes = frame(account, "deal_changes")
    for key in ("stage_id", "pipeline_id", "status"):
        last = changes[changes["field_key"] == key].groupby("deal_id")["new_value"].last()
        alive = {row["id"]: row for row in true_cells.visible(state, "deals")}
        assert all(str(alive[deal][key]) == value for deal, value in last.items() if deal in alive)
    assert changes["deal_id"].is_monotonic_increasing
    assert all(times.is_monotonic_increasing for _, times in changes.groupby("deal_id")["time"])


def test_no_table_of_a_living_company_is_empty(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State],
) -> None:
    account, _ = loaded
    sizes = {table: len(frame(account, table)) for table in LOADED}
    if account.company_model.size:
        assert all(sizes.values()), sizes
    else:
        assert {table for table, size in sizes.items() if size} == {
            "users",
            "stages",
            "pipelines",
            "boards",
            "phases",
            "project_templates",
        }


def test_without_rows_a_frame_keeps_columns_and_dtypes(tmp_path: Path) -> None:
    dtypes = {}
    for deals in (0, 120):
        with sandbox.connect(
            seed=2,
            deals=deals,
            cache_dir=tmp_path / str(deals),
            company="hostile",
            burst=100_000,
            progress=False,
        ) as account:
            dtypes[deals] = {
                name: frame(account, name, labels=False, names=True).dtypes.astype("str")
                for name in LOADED
            }
            for name, table in PARENTS.items():
                ids = frame(account, table.parent.table)["id"][:9]
                dtypes[deals][name] = frame(account, name, ids=ids, names=True).dtypes.astype("str")
    for name in (*LOADED, *PARENTS):
        assert dtypes[0][name].to_dict() == dtypes[120][name].to_dict()


def test_the_api_s_own_view_leaves_the_archived_out(
    loaded: tuple[sandbox.SandboxAccount, true_cells.State],
) -> None:
    account, state = loaded
    live = [row["id"] for row in true_cells.visible(state, "deals") if not row["is_archived"]]
    assert frame(account, "deals", archived=False)["id"].tolist() == live
    live = [
        row["id"] for row in true_cells.visible(state, "projects") if row["archive_time"] is None
    ]
    assert frame(account, "projects", archived=False)["id"].tolist() == live
