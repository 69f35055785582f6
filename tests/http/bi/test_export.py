"""An export is what the loaders give, a file a table, put in place together, and replaces nothing
but its own.
"""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import sandbox
from pdframe.bi import _targets
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError, ResponseError
from pdframe.sandbox import Faults
from pdframe.schema import LISTS
from tests.helpers import true_cells
from tests.helpers.proxy import altered, refusing

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
LISTED = [
    "deals", "deal_products", "installments", "persons", "organizations", "users", "products",
    "stages", "pipelines", "activities",
    "projects", "tasks", "boards", "phases", "project_templates", "stage_visits",
]  # fmt: skip


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[sandbox.SandboxAccount, Path, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("export") / "bi"
    with sandbox.connect(
        seed=3, deals=200, company="hostile", burst=100_000, progress=False
    ) as account:
        yield account, folder, account.export(folder)


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def lists(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if str(frame[name].dtype).startswith("list<")]


def as_exported(frame: pd.DataFrame) -> pd.DataFrame:
    """A loader's frame as pandas reads it back: options are text, days dates, durations hours."""
    columns = {}
    for name, values in frame.items():
        if values.dtype == "category":
            values = values.astype("str")
        elif values.dtype == "datetime64[us]":
            days = [None if pd.isna(day) else day.date() for day in values]
            values = pd.Series(days, dtype=object)
        elif values.dtype == "timedelta64[us]":
            name, values = f"{name}_hours", values.dt.total_seconds() / 3600
        columns[name] = values
    return pd.DataFrame(columns)


# Parquet


def test_every_list_and_the_stage_visits_are_exported(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
) -> None:
    _, folder, done = exported
    assert done["table"].tolist() == LISTED
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [".gitignore", "pdframe-export.json", *(f"{table}.parquet" for table in LISTED)]
    )
    assert done["path"].tolist() == [str(folder / f"{table}.parquet") for table in LISTED]
    assert done["bytes"].tolist() == [Path(path).stat().st_size for path in done["path"]]
    assert {name: str(dtype) for name, dtype in done.dtypes.items()} == {
        "table": "str", "rows": "Int64", "path": "str", "bytes": "Int64", "note": "str",
        "missing": "str", "written": "boolean",
    }  # fmt: skip


@pytest.mark.parametrize("table", LISTED)
def test_pandas_reads_back_what_the_loader_gave(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], table: str
) -> None:
    account, folder, _ = exported
    frame = as_exported(getattr(account, table)())
    read = pd.read_parquet(folder / f"{table}.parquet")
    plain = [name for name in frame if name not in lists(frame)]
    pd.testing.assert_frame_equal(read[plain], frame[plain])
    assert list(read) == list(frame)
    raw = pq.read_table(folder / f"{table}.parquet")
    for name in lists(frame):
        assert pa.types.is_list(raw.schema.field(name).type)
        assert raw[name].to_pylist() == pa.array(frame[name]).to_pylist()


def test_duckdb_counts_what_the_company_has(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
) -> None:
    account, folder, _ = exported
    deals = true_cells.visible(true_cells.fold(account.company_model.events), "deals")
    reported = duckdb.sql(
        f"select status, count(*) from '{folder / 'deals.parquet'}' group by 1"
    ).fetchall()
    assert dict(reported) == {
        status: sum(row["status"] == status for row in deals) for status in ("open", "won", "lost")
    }
    lines = true_cells.visible(true_cells.fold(account.company_model.events), "deal_products")
    joined = duckdb.sql(
        f"select count(*) from '{folder / 'deal_products.parquet'}' l join"
        f" '{folder / 'deals.parquet'}' d on d.id = l.deal_id"
    ).fetchall()
    assert joined == [(len(lines),)]


def test_a_table_without_rows_keeps_columns_and_types(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=0, company="hostile", burst=100_000, progress=False
    ) as account:
        account.export(tmp_path, "deals", "activities")
        for table in ("deals", "activities"):
            frame = as_exported(getattr(account, table)())
            read = pd.read_parquet(tmp_path / f"{table}.parquet")
            same = [name for name in frame if name not in lists(frame)]
            pd.testing.assert_frame_equal(read[same], frame[same])
            assert list(read) == list(frame)


def test_names_and_hashes_as_the_loaders_have_them(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "deals", labels=False, names=True)
    assert list(pd.read_parquet(tmp_path / "deals.parquet")) == list(
        account.deals(labels=False, names=True)
    )


def test_followers_are_exported_of_the_records_that_were_requested(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    with pytest.raises(NotCachedError, match=r"account\.deal_followers\(ids\)"):
        account.export(tmp_path, "deal_followers")
    wanted = account.deals()["id"].head(3)
    frame = account.deal_followers(wanted)
    account.export(tmp_path, "deal_followers")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deal_followers.parquet"), frame)


# CSV


def test_a_spreadsheet_gets_no_formula(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    company = account.company_model
    titles = [
        "=1+1",
        "+372 555",
        "-2",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "＝1",
        "\r=1",
        'Say "hi", please\nnow',
        "'quoted",
        "5 - 3",
        "a=b",
        "日本",
    ]
    ids = [company.add_deal(title) for title in titles]
    account.export(tmp_path, "deals", format="csv")
    rows = {int(row["id"]): row for row in cells(tmp_path / "deals.csv")}
    assert [rows[number]["title"] for number in ids] == [
        "'=1+1", "'+372 555", "'-2", "'@SUM(A1)", "'\t=1", "' =1", "'＝1", "'\r=1",
        'Say "hi", please\nnow', "'quoted", "5 - 3", "a=b",
        "日本",
    ]  # fmt: skip
    header = list(rows[ids[0]])
    assert "'=1+1" in header
    assert not [name for name in header if name.lstrip().startswith(("=", "+", "-", "@"))]


def test_values_of_a_csv(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    company = account.company_model
    modules = next(
        field for field in company.fields["deal"] if field["field_name"] == "Modules of interest"
    )
    some = [option["id"] for option in modules["options"][:3:2]]
    deal = company.add_deal(
        "Exact",
        value=1234.5,
        expected_close_date="2026-07-31",
        custom_fields={modules["field_code"]: some},
    )
    activity = company.add_activity(
        "Long call", duration="26:30", due_date="2026-07-01", done=False
    )
    account.export(tmp_path, "deals", "activities", format="csv")
    row = next(row for row in cells(tmp_path / "deals.csv") if row["id"] == str(deal))
    added = true_cells.fold(company.events)["deals"][deal]["add_time"]
    assert {
        name: row[name]
        for name in (
            "title",
            "value",
            "is_archived",
            "expected_close_date",
            "won_time",
            "Modules of interest",
        )
    } == {
        "title": "Exact",
        "value": "1234.5",
        "is_archived": "false",
        "expected_close_date": "2026-07-31",
        "won_time": "",
        "Modules of interest": "Core; Integrations",
    }
    assert row["add_time"] == added.replace("T", " ").removesuffix("Z")
    call = next(row for row in cells(tmp_path / "activities.csv") if row["id"] == str(activity))
    assert (call["duration"], call["due_date"], call["done"]) == ("26:30:00", "2026-07-01", "false")
    attended = [
        json.loads(row["attendees"])
        for row in cells(tmp_path / "activities.csv")
        if row["attendees"]
    ]
    assert attended
    assert all(isinstance(person, dict) for people in attended for person in people)


@pytest.mark.parametrize("table", LISTED)
def test_a_csv_has_every_row_and_column(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], table: str, tmp_path: Path
) -> None:
    account, _, _ = exported
    account.export(tmp_path, table, format="csv")
    frame, rows = getattr(account, table)(), cells(tmp_path / f"{table}.csv")
    assert (tmp_path / f"{table}.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert len(rows) == len(frame)
    assert [name.removeprefix("'") for name in rows[0]] == list(frame)
    filled = {name.removeprefix("'"): sum(row[name] != "" for row in rows) for name in rows[0]}
    for name in frame:
        shown = [value for value in frame[name] if not _blank(value)]
        assert (name, filled[name]) == (name, len(shown))


def _blank(value: Any) -> bool:
    return len(value) == 0 if hasattr(value, "__len__") else bool(pd.isna(value))


# What it costs


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("refresh", [True, "full", None])
def test_what_an_export_asks_again_it_asks_once(tmp_path: Path, refresh: Any, names: bool) -> None:
    age = {"max_age": 0} if refresh is None else {}
    with sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=tmp_path / "cache",
        company="hostile",
        burst=100_000,
        progress=False,
        **age,
    ) as account:
        account.sync()
        due = account.estimate(*LISTS, full=refresh == "full").set_index("table")
        deal = account.company_model.add_deal("New one")
        before = account.server.stats.tokens
        account.export(tmp_path / "bi", refresh=refresh, names=names)
        assert account.server.stats.tokens - before <= due["tokens"].sum()
        assert {"deals", "deal_products", "installments"} <= set(due.index)
        deals = pd.read_parquet(tmp_path / "bi" / "deals.parquet").set_index("id")
        assert deals["title"][deal] == "New one"
        assert deal in pd.read_parquet(tmp_path / "bi" / "stage_visits.parquet")["deal_id"].tolist()
        if names:
            assert deals["owner_name"].notna().all()


def test_one_table_by_name_brings_the_names_it_shows(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "deals", refresh=True, names=True)
    assert pd.read_parquet(tmp_path / "deals.parquet")["stage_name"].notna().all()


def test_within_max_age_an_export_costs_nothing(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.sync()
    requested = account.server.stats.requests
    account.export(tmp_path)
    account.export(tmp_path, format="csv", refresh=False)
    assert account.server.stats.requests == requested


def test_a_table_that_is_refused_now_is_not_exported_from_the_cache(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.sync()
    with altered(account, refusing("/tasks")) as refused:
        done = refused.export(tmp_path, refresh=True).set_index("table")
        assert "The user may not see this." in done.loc["tasks", "note"]
        assert done.loc["tasks", "missing"] == "permission"
        assert not (tmp_path / "tasks.parquet").exists()
        with pytest.raises(AccessError, match="The user may not see this"):
            refused.export(tmp_path, "tasks", refresh=True)


# The folder


def test_what_is_made_is_private(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
) -> None:
    _, folder, _ = exported
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert (folder / ".gitignore").read_text().endswith("*\n")


def test_a_folder_that_is_there_is_left_as_it_is(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    account.export(tmp_path, "stages")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes.txt",
        "pdframe-export.json",
        "stages.parquet",
    ]


def test_the_next_export_replaces_its_own(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    account.export(tmp_path, "deals", "stages")
    deal = account.company_model.add_deal("New one")
    account.export(tmp_path, "deals", refresh=True)
    assert deal in pd.read_parquet(tmp_path / "deals.parquet")["id"].tolist()
    listing = json.loads((tmp_path / "pdframe-export.json").read_text())
    assert listing["account"] == account.cache_path.name
    assert {name: of["rows"] for name, of in listing["files"].items()} == {
        "deals.parquet": len(account.deals()),
        "stages.parquet": 12,
    }


def test_a_file_that_no_export_wrote_is_never_touched(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    (tmp_path / "deals.csv").write_text("mine")
    with pytest.raises(
        ArgumentError,
        match=r"holds deals\.csv, which no export of this account wrote: nothing was changed",
    ):
        account.export(tmp_path, "stages", "deals", format="csv")
    assert account.server.stats.requests == 1  # who one is
    assert [path.name for path in tmp_path.iterdir()] == ["deals.csv"]
    assert (tmp_path / "deals.csv").read_text() == "mine"


def test_two_accounts_do_not_replace_each_other(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "stages")
    kept = (tmp_path / "stages.parquet").read_bytes()
    with (
        sandbox.connect(seed=4, deals=0, company="hostile", burst=100_000, progress=False) as other,
        pytest.raises(ArgumentError, match=r"export of another account, sandbox-seed3-60-user1003"),
    ):
        other.export(tmp_path, "stages")
    assert (tmp_path / "stages.parquet").read_bytes() == kept


@pytest.mark.parametrize("listing", ["", "[]", "{}", '{"account": 1, "files": {}}', "half of"])
def test_a_damaged_listing_means_that_nothing_is_replaced(
    account: sandbox.SandboxAccount, tmp_path: Path, listing: str
) -> None:
    account.export(tmp_path, "stages")
    (tmp_path / "pdframe-export.json").write_text(listing)
    with pytest.raises(ArgumentError, match="which files there may be replaced is unknown"):
        account.export(tmp_path, "stages")


def test_an_export_that_fails_leaves_the_last_one_complete(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "stages", "deals")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    account.company_model.add_deal("New one")
    account.server.faults = Faults(rate=1.0, kinds=("success_false_200",))
    with pytest.raises(ResponseError, match=f"Nothing in {tmp_path} was changed"):
        account.export(tmp_path, "stages", "deals", refresh=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_disk_that_fails_leaves_the_last_one_complete(
    account: sandbox.SandboxAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.export(tmp_path, "persons", "deals")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    account.company_model.add_person("New one")
    account.company_model.add_deal("New one")
    make, staged = _targets.private_file, []

    def full(folder: Path, name: str, **how: Any) -> Any:
        if name == "deals.parquet":
            raise OSError(28, "No space left on device")
        staged.append(name)
        return make(folder, name, **how)

    monkeypatch.setattr(_targets, "private_file", full)
    with pytest.raises(CacheError, match="No space left on device"):
        account.export(tmp_path, "persons", "deals", refresh=True)
    assert staged == ["persons.parquet"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_path_that_is_a_file(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ArgumentError, match="needs a folder"):
            account.export(path, "stages")


# What it refuses


def test_unknown_tables_and_formats(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    for tables, format, said in (
        (("dealz",), "parquet", "Did you mean 'deals'"),
        (("stages", "zzzzz"), "parquet", "Tables: deals, "),
        (("activity_fields",), "parquet", r"account\.fields\('activities'\)"),
        (("stages",), "json", "'parquet', 'csv', 'duckdb' or 'xlsx'"),
    ):
        with pytest.raises(ArgumentError, match=said):
            account.export(tmp_path / "new", *tables, format=format)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="path must be a folder, such as 'bi', not None"):
        account.export(None)  # type: ignore[arg-type]
    assert account.server.stats.requests == 0
    assert not (tmp_path / "new").exists()


def test_nothing_cached_is_the_error_of_the_loaders(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    with pytest.raises(NotCachedError, match="'stages' is not cached"):
        account.export(tmp_path, "stages", refresh=False)
    assert not list(tmp_path.iterdir())


def test_what_the_plan_lacks_is_left_out_of_everything_and_refused_by_name(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", plan="Lite", burst=100_000, progress=False
    ) as account:
        done = account.export(tmp_path).set_index("table")
        assert done.index[done["path"].isna()].tolist() == ["installments"]
        assert done["missing"].dropna().to_dict() == {"installments": "plan"}
        assert "plan" in done["note"]["installments"]
        assert not (tmp_path / "installments.parquet").exists()
        with pytest.raises(AccessError):
            account.export(tmp_path, "installments")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("deals.csv", "='csv'"),
        ("x.Parquet", "='parquet'"),
        ("x.pq", "='parquet'"),
        ("book.xls", "='xlsx'"),
        ("crm.db", "='duckdb'"),
        ("deals.json", ": parquet, csv, duckdb or xlsx"),
        ("backup.zip", ": parquet, csv, duckdb or xlsx"),
    ],
)
def test_a_new_folder_with_the_name_of_a_file_is_refused(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
    tmp_path: Path,
    name: str,
    kind: str,
) -> None:
    account = exported[0]
    with pytest.raises(ArgumentError, match=rf"such as 'bi', and (a )?format{kind}\."):
        account.export(tmp_path / name, "stages")
    assert not [*tmp_path.iterdir()]
    # One that is there is what its owner wants.
    (tmp_path / name).mkdir()
    assert account.export(tmp_path / name, "stages")["rows"].tolist() == [12]
