"""A star as files: what describes it is true, it is replaced as one, and it runs in DuckDB."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe import sandbox
from pdframe.bi import export as export_module
from pdframe.bi import sets
from pdframe.errors import ArgumentError, CacheError
from tests.helpers import tiers
from tests.helpers.dead_disk import DeadDisk
from tests.helpers.stars import without_forecast

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
META = ("meta_columns", "meta_relationships", "meta_files", "meta_export")
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[sandbox.SandboxAccount, Path, pd.DataFrame]]:
    folder = tmp_path_factory.mktemp("star")
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False
    ) as account:
        done = account.export(folder / "parquet", layout="star", rates=RATES, fiscal_start=4)
        account.export(
            folder / "duckdb", layout="star", rates=RATES, fiscal_start=4, format="duckdb"
        )
        yield account, folder, done


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


def test_what_describes_a_star_names_every_file_and_column(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
) -> None:
    account, folder, done = exported[0], exported[1] / "parquet", exported[2]
    assert set(META) <= set(done["table"])
    parquet = {path.name: path for path in folder.glob("*.parquet")}
    assert {f"{name}.parquet" for name in done["table"]} == set(parquet)
    files = read(folder, "meta_files").set_index("file")
    texts = {"views.sql", "duckdb.sql", "schema.yml"}
    assert set(files.index) == {*parquet, *texts} - {"meta_files.parquet"}
    for name, path in parquet.items():
        if name != "meta_files.parquet":
            metadata = pq.read_metadata(path)
            assert files.loc[name, "rows"] == metadata.num_rows
            assert files.loc[name, "content_id"] == metadata.metadata[b"pdframe.content"].decode()
    columns = read(folder, "meta_columns")
    described = columns.groupby("table_name")["column_name"].agg(list).to_dict()
    assert described == {
        name.removesuffix(".parquet"): pq.read_schema(path).names
        for name, path in parquet.items()
        if not name.startswith("meta_")
    }
    with duckdb.connect() as database:
        pointing = database.execute(
            f"select table_name, column_name, refers_to from '{folder}/meta_columns.parquet'"
            " where refers_to is not null"
        ).fetchall()
    related = read(folder, "meta_relationships")
    assert sorted(pointing) == sorted(
        (one.from_table, one.from_column, f"{one.to_table}.{one.to_column}")
        for one in related.itertuples()
    )
    assert columns["references"].equals(columns["refers_to"])
    for one in related.itertuples():
        assert one.from_column in described[one.from_table]
        assert one.to_column in described[one.to_table]
    export = read(folder, "meta_export")
    assert len(export) == 1
    row = export.iloc[0]
    assert row["account"] == account.cache_path.name
    assert (row["tz"], row["currency"]) == (account.tz, account.currency)
    assert row["version"] == pdframe.__version__
    # The sandbox has a clock of its own.
    assert row["as_of"].strftime("%Y-%m") == "2026-06"
    assert row["as_of_date"] == row["as_of"].tz_convert(account.tz).date()


def with_keys(folder: Path) -> tuple[duckdb.DuckDBPyConnection, list[str]]:
    """Return a database with the tables of `meta_relationships`, each of its rows a foreign key
    that the engine enforces, and their names, each after those that it refers to. A table that
    refers to itself has no such key: DuckDB would want its rows in an order.
    """
    related = read(folder, "meta_relationships")
    database, made = duckdb.connect(), list[str]()
    unique = related.groupby("to_table")["to_column"].agg(set).to_dict()
    waiting = {*related["from_table"], *related["to_table"]}
    while waiting:
        for name in sorted(waiting):
            own = related[related["from_table"] == name]
            if {*own["to_table"]} & (waiting - {name}):
                continue
            columns = database.execute(f"describe from '{folder}/{name}.parquet'").fetchall()
            declared = [
                *(f"{column} {kind}" for column, kind, *_ in columns),
                *(f"unique ({column})" for column in sorted(unique.get(name, ()))),
                *(
                    f"foreign key ({one.from_column}) references {one.to_table} ({one.to_column})"
                    for one in own.itertuples()
                    if one.to_table != name
                ),
            ]
            database.execute(f"create table {name} ({', '.join(declared)})")
            waiting.discard(name)
            made.append(name)
            break
        else:
            raise AssertionError(f"refer to each other: {waiting}")
    return database, made


def test_an_engine_that_enforces_the_relationships_takes_every_row(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
) -> None:
    folder = exported[1] / "parquet"
    related = read(folder, "meta_relationships")
    assert len(related) > 40
    database, tables = with_keys(folder)
    with database:
        assert {*tables} == {*related["from_table"], *related["to_table"]}
        for name in tables:
            database.execute(f"insert into {name} from '{folder}/{name}.parquet'")
            ((count,),) = database.execute(f"select count(*) from {name}").fetchall()
            assert count == pq.read_metadata(folder / f"{name}.parquet").num_rows, name
        keys = database.execute(
            "select count(*) from duckdb_constraints() where constraint_type = 'FOREIGN KEY'"
        ).fetchall()
        of_itself = related["from_table"] == related["to_table"]
        assert keys == [(len(related) - of_itself.sum(),)]
        for one in related[of_itself].itertuples():
            orphans = database.execute(
                f"select count(*) from {one.from_table} f anti join {one.to_table} t"
                f" on f.{one.from_column} = t.{one.to_column}"
            ).fetchall()
            assert orphans == [(0,)], one
        # It does enforce them.
        for one in related[~of_itself].itertuples():
            row = pq.read_table(folder / f"{one.from_table}.parquet").slice(0, 1)
            # Not refused for the keys of the row itself.
            keys_of_row = {*related[related["to_table"] == one.from_table]["to_column"]}
            orphan = row
            for column in {one.from_column, *keys_of_row}:
                kind = row.schema.field(column).type
                new = {"string": "nowhere", "int64": -9, "date32[day]": date(1900, 1, 1)}[str(kind)]
                place = row.column_names.index(column)
                orphan = orphan.set_column(place, column, pa.array([new], kind))
            database.register("orphan", orphan)
            with pytest.raises(duckdb.ConstraintException, match="foreign key"):
                database.execute(f"insert into {one.from_table} from orphan")


def test_views_run_over_the_files_and_are_in_the_duckdb_file(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported[1]
    sql = (folder / "parquet/views.sql").read_text("utf-8")
    views = re.findall(r"CREATE (?:OR REPLACE )?VIEW (\w+)", sql)
    assert len(views) > 5
    with (
        duckdb.connect() as files,
        duckdb.connect(str(folder / "duckdb/star.duckdb"), read_only=True) as base,
    ):
        monkeypatch.chdir(folder / "parquet")
        files.execute((folder / "parquet/duckdb.sql").read_text("utf-8"))
        files.execute(sql)
        names = {
            name for (name,) in base.execute("select table_name from duckdb_tables()").fetchall()
        }
        assert names == {path.stem for path in (folder / "parquet").glob("*.parquet")}
        for name in [*views, *sorted(names - {"meta_files", "meta_export"})]:
            counts = [
                one.execute(f"select count(*) from {name}").fetchall() for one in (files, base)
            ]
            assert counts[0] == counts[1], name
        (value,), (same,) = (
            one.execute("select sum(value) from fact_deals").fetchall()[0] for one in (files, base)
        )
        assert value == same == pytest.approx(exported[0].deals()["value"].sum())


@pytest.mark.parametrize(("format", "max_rows"), [("csv", 10**6), ("csv", 20), ("parquet", 20)])
def test_duckdb_opens_text_and_parts_with_the_types_of_the_star(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    max_rows: int,
) -> None:
    """Without rates or a second sync, some columns of dates have no value at all."""
    exported[0].export(tmp_path, layout="star", format=format, max_rows=max_rows)
    assert (tmp_path / f"fact_deals.{format}").is_dir() == (max_rows == 20)
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as database:
        for name in ("duckdb.sql", "views.sql"):
            database.execute((tmp_path / name).read_text("utf-8"))
        every = database.execute("select view_name from duckdb_views() where not internal")
        for (name,) in every.fetchall():
            database.execute(f"create or replace temp table every as select * from {name}")
        with duckdb.connect(str(exported[1] / "duckdb/star.duckdb"), read_only=True) as base:
            for query in (
                "select count(*), count(distinct deal_key), sum(value) from fact_deals",
                "select sum(mrr) from fact_mrr_by_month",
                "select count(*), min(date_key), max(date_key) from dim_date",
                "select count(name), max(length(name)) from dim_owner",
            ):
                assert database.execute(query).fetchall() == base.execute(query).fetchall(), query


def test_a_second_export_writes_nothing_and_a_change_only_what_changed(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], tmp_path: Path
) -> None:
    account = exported[0]
    how: dict[str, Any] = {"layout": "star", "rates": RATES, "fiscal_start": 4}
    folder = tmp_path / "star"
    shutil.copytree(exported[1] / "parquet", folder)
    before = stamps(folder)
    again = account.export(folder, **how)
    assert stamps(folder) == before
    assert not again["written"].any()
    pd.testing.assert_frame_equal(
        again.drop(columns=["written", "path"]), exported[2].drop(columns=["written", "path"])
    )
    # Computed again, because nothing is known of other arguments, the content is the same.
    account.export(folder, **how, max_rows=10**6)
    after = stamps(folder)
    assert {name for name in before if before[name] != after[name]} == {"pdframe-export.json"}


def test_after_a_sync_without_changes_no_star_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync writes down that it looked, and an export at night comes after one."""

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("made again")

    with sandbox.connect(seed=3, deals=30, burst=100_000, progress=False) as account:
        account.sync()
        account.export(tmp_path, layout="star")
        account.sync()
        account.export(tmp_path, layout="star")
        before = stamps(tmp_path)
        account.sync()
        monkeypatch.setattr("pdframe.bi.export.star", refuse)
        assert not account.export(tmp_path, layout="star")["written"].any()
        assert stamps(tmp_path) == before
        account.company_model.add_deal("New one")
        account.sync()
        with pytest.raises(AssertionError, match="made again"):
            account.export(tmp_path, layout="star")


def test_a_star_asks_for_its_own_tables_alone(tmp_path: Path) -> None:
    with sandbox.connect(seed=3, deals=20, burst=100_000, progress=False) as account:
        account.export(tmp_path, layout="star")
        loaded = set(account.status()["table"])
    assert loaded >= {"deals", "deal_products", "installments", "activities", "stages", "users"}
    assert not loaded & {"projects", "tasks", "boards", "phases", "project_templates"}


def test_a_star_of_another_format_needs_a_folder_of_its_own(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], tmp_path: Path
) -> None:
    """Both have `views.sql`, `duckdb.sql` and `schema.yml`: one would read the other's files."""
    account, folder = exported[0], tmp_path / "star"
    shutil.copytree(exported[1] / "parquet", folder)
    before = stamps(folder)
    with pytest.raises(ArgumentError, match=r"star with format='parquet'.*one folder a format"):
        account.export(folder, layout="star", format="csv")
    assert stamps(folder) == before
    # A DuckDB file has all in one, and tables have no such texts.
    account.export(folder, layout="star", format="duckdb")
    account.export(folder, "stages", format="csv")
    with duckdb.connect() as database:
        sql = (folder / "duckdb.sql").read_text("utf-8").replace("FROM '", f"FROM '{folder}/")
        database.execute(sql)
        (count,) = database.execute("select count(*) from fact_deals").fetchone()
    assert count == len(account.deals())
    assert pdframe.export_check(folder)


def test_a_star_that_another_export_wrote_meanwhile_is_not_mixed(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = exported[0]

    @contextlib.contextmanager
    def waiting(*arguments: Any) -> Iterator[sets.SetWriter]:
        monkeypatch.undo()
        account.export(tmp_path, layout="star")
        with sets.writing(*arguments) as writer:
            yield writer

    monkeypatch.setattr(export_module, "writing", waiting)
    with pytest.raises(ArgumentError, match="star with format='parquet'"):
        account.export(tmp_path, layout="star", format="csv")
    assert not list(tmp_path.glob("*.csv"))
    assert pdframe.export_check(tmp_path)


def test_a_new_row_writes_its_tables_and_what_describes_the_set(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=40, company="hostile", burst=100_000, progress=False
    ) as account:
        account.export(tmp_path, layout="star")
        before, export = stamps(tmp_path), read(tmp_path, "meta_export")
        organization = account.company_model.add_organization("New one")
        done = account.export(tmp_path, layout="star", refresh=True).set_index("table")
        after = stamps(tmp_path)
        assert organization in read(tmp_path, "dim_organization")["organization_key"].tolist()
        changed = {name for name in after if after[name] != before[name]}
        assert {"dim_organization.parquet", "meta_export.parquet", "meta_files.parquet"} <= changed
        assert not {"dim_person.parquet", "dim_stage.parquet", "dim_date.parquet"} & changed
        assert set(done.index[done["written"]]) == {
            name.removesuffix(".parquet") for name in changed if name.endswith(".parquet")
        }
        assert read(tmp_path, "meta_export")["export_id"][0] != export["export_id"][0]
        # A list column that is renamed is another bridge, and the old one is deleted.
        bridges = {path.stem for path in tmp_path.glob("bridge_deals_*.parquet")}
        field = next(
            one for one in account.company_model.fields["deal"]
            if one["field_name"] == "Modules of interest"
        )  # fmt: skip
        account.company_model.rename_field("deal", field["field_code"], "Wishes")
        account.sync("deal_fields")
        account.export(tmp_path, layout="star")
        renamed = {path.stem for path in tmp_path.glob("bridge_deals_*.parquet")}
        assert bridges - renamed == {"bridge_deals_modules_of_interest"}
        assert renamed - bridges == {"bridge_deals_wishes"}
        assert pdframe.export_check(tmp_path)


def test_a_day_later_what_changed_is_written_alone(tmp_path: Path) -> None:
    day = 86_400
    with (
        without_forecast(),
        sandbox.connect(
            seed=3, deals=40, company="hostile", burst=100_000, progress=False, max_age=0
        ) as account,
    ):
        model = account.company_model
        # Out of the last day of a month: revenue has a row a month.
        model.now += 2 * day
        account.sync()
        account.sync()
        account.export(tmp_path, layout="star")

        def written() -> set[str]:
            before = stamps(tmp_path)
            account.sync()
            account.export(tmp_path, layout="star")
            after = stamps(tmp_path)
            assert before.keys() == after.keys()
            return {name.partition(".")[0] for name in after if before[name] != after[name]}

        model.now += day
        assert written() == set()
        # When the star is of, and the lists of the files.
        always = {"meta_export", "meta_files", "pdframe-export"}
        living = (row for row in model.tables["deals"].values() if not row["is_deleted"])
        deal = next(row["id"] for row in living if row["status"] == "open")
        model.now += day
        model.edit_deal(deal, title="Another title")
        assert written() == always | {"dim_deal", "fact_deals"}
        model.now += day
        model.edit_deal(deal, probability=7)
        # The visits of a deal come from snapshots once two of these differ.
        assert written() == always | {"fact_deals", "fact_deal_history", "fact_stage_visits"}
        model.now += 28 * day
        assert written() >= always | {"fact_mrr_by_month"}


def test_a_label_may_be_the_name_of_a_column_that_the_star_makes(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=5, company="hostile", burst=100_000, progress=False
    ) as account:
        made = {
            account.company_model.add_field("activity", label, "double"): name
            for label, name in (
                ("Duration hours", "duration_hours"),
                ("Due date key", "due_date_key"),
                ("Add date", "add_date"),
                ("Add date key", "add_date_key"),
                ("Currency key", "currency_key"),
            )
        }
        account.export(tmp_path, layout="star")
        columns = read(tmp_path, "meta_columns")
        own = columns[columns["table_name"] == "fact_activities"].set_index("code")["column_name"]
        assert own[[*made]].to_dict() == {code: f"{name}_{code[:6]}" for code, name in made.items()}


def test_killed_at_any_change_of_a_file_the_next_export_gives_one_star(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sandbox.connect(
        seed=3, deals=15, company="hostile", burst=100_000, progress=False
    ) as account:
        account.export(tmp_path / "old", layout="star")
        account.company_model.add_deal("New one", value=100)
        account.sync()
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        disk = DeadDisk(10**6)
        with monkeypatch.context() as patch:
            disk.insert(patch)
            account.export(tmp_path / "new", layout="star", refresh=False)
        renames = [
            os.path.basename(change.split()[1])
            for change in disk.changes
            if change.startswith("replace") and ".tmp" not in change
        ]
        assert renames[-1] == "meta_files.parquet"
        assert renames.index("pdframe-journal.json") == 0
        assert len(renames) > 5
        for step in tiers.places(range(len(disk.changes)), 4):
            folder = tmp_path / str(step)
            shutil.copytree(tmp_path / "old", folder)
            with monkeypatch.context() as patch:
                DeadDisk(step).insert(patch)
                with contextlib.suppress(CacheError):
                    account.export(folder, layout="star", refresh=False)
            assert bool(pdframe.export_check(folder)) is is_as_described(folder), step
            account.export(folder, layout="star", refresh=False)
            assert is_as_described(folder)
            new = files_of(tmp_path / "new")
            # They name the time of the export.
            for name in ("meta_export.parquet", "meta_files.parquet"):
                new.pop(name)
            present = files_of(folder)
            assert {name: present[name] for name in new} == new
            assert pdframe.export_check(folder)
            assert not [name for name in os.listdir(folder) if name.startswith(".pdframe")]


def is_as_described(folder: Path) -> bool:
    """Whether the files are those of `meta_files`, as a BI job can ask."""
    for row in read(folder, "meta_files").itertuples():
        path = folder / row.file
        if not path.is_file():
            return False
        if path.suffix == ".parquet":
            content = pq.read_metadata(path).metadata[b"pdframe.content"].decode()
        else:
            content = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        if content != row.content_id:
            return False
    return True


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith((".", "pdframe-"))
    }


def test_a_star_without_personal_data(
    exported: tuple[sandbox.SandboxAccount, Path, pd.DataFrame], tmp_path: Path
) -> None:
    account = exported[0]
    account.export(tmp_path, layout="star", personal=False, format="csv")
    everything = "".join(path.read_text("utf-8-sig") for path in tmp_path.glob("*.csv"))
    persons = account.persons()
    for text in [*persons["primary_email"].dropna(), *account.users()["email"]]:
        assert text not in everything
