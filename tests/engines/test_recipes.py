"""Files of a star become tables of Delta Lake and of one .hyper file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pdframe import sandbox
from tests.helpers.engines import need

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("star")
    with sandbox.connect(seed=3, deals=30, burst=100_000, progress=False) as account:
        account.export(folder, layout="star")
    return folder


def test_every_file_becomes_a_table_of_delta_lake(star: Path, tmp_path: Path) -> None:
    need("deltalake")
    from deltalake import DeltaTable, write_deltalake

    paths = sorted(star.glob("*.parquet"))
    assert len(paths) > 20
    for path in paths:
        for _ in range(2):
            write_deltalake(str(tmp_path / path.stem), pq.read_table(path), mode="overwrite")
        table = DeltaTable(str(tmp_path / path.stem))
        assert table.version() == 1
        written = pq.read_table(path)
        read = table.to_pyarrow_table().select(written.column_names)
        assert read.cast(written.schema).to_pylist() == written.to_pylist()


def test_every_file_becomes_a_table_of_one_hyper_file(star: Path, tmp_path: Path) -> None:
    need("tableauhyperapi")
    from tableauhyperapi import Connection, CreateMode, HyperProcess, Telemetry

    paths = sorted(star.glob("*.parquet"))
    made = tmp_path / "star.hyper"
    quiet = Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU
    with HyperProcess(quiet, parameters={"log_dir": str(tmp_path)}) as process:
        with Connection(process.endpoint, made, CreateMode.CREATE_AND_REPLACE) as base:
            for path in paths:
                base.execute_command(
                    f"create table {path.stem} as (select * from external('{path}'))"
                )
        with Connection(process.endpoint, made) as base:
            for path in paths:
                count = base.execute_scalar_query(f"select count(*) from {path.stem}")
                assert count == pq.read_metadata(path).num_rows
            closes = base.execute_scalar_query(
                "select sum(mrr - previous_mrr - amount) from fact_mrr_by_month"
            )
            assert closes == 0
