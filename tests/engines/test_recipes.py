"""The recipes of docs/how-to, run as they stand there: a star becomes a .hyper file and tables of
Delta Lake and Iceberg.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pdframe import sandbox
from tests.helpers.engines import need
from tests.helpers.readme import recipe

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = "export-to-bi.md"
NEW = "custom_of_today"
"""A custom field that the next export has."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A star, one table of which is a folder of parts."""
    folder = tmp_path_factory.mktemp("star")
    with sandbox.connect(seed=3, deals=30, burst=100_000, progress=False) as account:
        account.export(folder, layout="star", max_rows=200)
    assert [path for path in folder.glob("*.parquet") if path.is_dir()]
    return folder


@pytest.fixture
def star(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files, as a job finds them in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "star").symlink_to(exported)
    paths = sorted(Path("star").glob("*.parquet"))
    assert len(paths) > 20
    return paths


def a_day_later(exported: Path) -> pa.Table:
    """Export into `star`, of which `dim_deal` has one more column and lacks another."""
    Path("star").unlink()
    Path("star").mkdir()
    rows = pq.read_table(exported / "dim_deal.parquet")
    rows = rows.append_column(NEW, pa.array(range(len(rows)), pa.int64()))
    rows = rows.drop_columns([rows.column_names[3]])
    pq.write_table(rows, "star/dim_deal.parquet")
    return rows


def check_lake(
    run: Callable[[], Any], read: Callable[[str], pa.Table], star: list[Path], exported: Path
) -> None:
    """Run a recipe twice, then on the export of the next day: its tables are the files."""
    for _ in range(2):
        run()
    for path in star:
        written = pq.read_table(path)
        assert rows_of(read(path.stem), written) == rows_of(written, written), path
    assert stat.S_IMODE(Path("lake").stat().st_mode) == 0o700
    later = a_day_later(exported)
    run()
    assert rows_of(read("dim_deal"), later) == rows_of(later, later)


def rows_of(table: pa.Table, like: pa.Table) -> list[str]:
    """Return rows, which a lake keeps in any order."""
    cells = table.select(like.column_names).cast(like.schema.remove_metadata()).to_pylist()
    return sorted(map(repr, cells))


def test_every_file_becomes_a_table_of_delta_lake(star: list[Path], exported: Path) -> None:
    need("deltalake")
    from deltalake import DeltaTable

    code = recipe(PAGE, "write_deltalake")
    check_lake(
        lambda: exec(code, {}),
        lambda name: DeltaTable(f"lake/{name}").to_pyarrow_table(),
        star,
        exported,
    )
    assert DeltaTable("lake/dim_deal").version() == 2


def test_every_file_becomes_a_table_of_iceberg(star: list[Path], exported: Path) -> None:
    need("pyiceberg", "sqlalchemy")
    code = recipe(PAGE, "pyiceberg")
    names: dict[str, Any] = {}

    def run() -> None:
        exec(code, names)

    def read(name: str) -> pa.Table:
        return names["catalog"].load_table(f"star.{name}").scan().to_arrow()

    check_lake(run, read, star, exported)
    # A column that is no longer there stays, without values.
    lost = pq.read_schema(exported / "dim_deal.parquet").names[3]
    assert read("dim_deal")[lost].null_count == len(read("dim_deal"))


def test_every_file_becomes_a_table_of_one_hyper_file(star: list[Path], tmp_path: Path) -> None:
    need("tableauhyperapi")
    from tableauhyperapi import Connection, HyperProcess, Telemetry

    code = recipe(PAGE, "tableauhyperapi")
    for _ in range(2):
        exec(code, {})
    made = tmp_path / "star.hyper"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    quiet = Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU
    with (
        HyperProcess(quiet, parameters={"log_dir": str(tmp_path)}) as process,
        Connection(process.endpoint, made) as base,
    ):
        for path in star:
            count = base.execute_scalar_query(f"select count(*) from {path.stem}")
            assert count == len(pq.read_table(path)), path
        closes = base.execute_scalar_query(
            "select sum(mrr - previous_mrr - amount) from fact_mrr_by_month"
        )
        assert closes == 0
