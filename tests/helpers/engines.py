"""Engines that read what pdframe writes: a Spark of this process, and Tableau's, Hyper.

Neither is a dependency of pdframe: `make engines` installs their packages, Spark needs Java beside.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pytest

import pdframe
from pdframe.bi._targets import RemoteFolder

SPARK_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
"""None of them changes what Spark reads or computes."""
OLDEST_JAVA = 17
"""What Spark 4 runs on."""
MOTO_VARIABLE = "PDFRAME_MOTO_PYTHON"
"""A Python with moto, elsewhere than where `make engines` puts it."""


def lacks(*packages: str, java: bool = False) -> str:
    """Return what is missing here; nothing, if all is there."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            return f"the Python package {package} (make engines)"
    if java and not _has_java():
        return f"Java {OLDEST_JAVA} or newer (on Debian: apt install default-jre-headless)"
    return ""


@functools.cache
def _has_java() -> bool:
    """Whether the Java that Spark takes runs, and is new enough for it."""
    home = os.environ.get("JAVA_HOME")
    command = [f"{home}/bin/java" if home else "java", "-version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    # Java 8 called itself 1.8.
    version = re.search(r'version "(\d+)', done.stderr)
    return not done.returncode and version is not None and int(version[1]) >= OLDEST_JAVA


def need(*packages: str, java: bool = False) -> None:
    """Skip the test, or the module that is imported, where something is missing."""
    if missing := lacks(*packages, java=java):
        pytest.skip(f"this test needs {missing}", allow_module_level=True)


@contextlib.contextmanager
def local_spark() -> Iterator[Any]:
    """Run a Spark of two threads that listens on 127.0.0.1 alone; its workers run this Python.

    A process has one: tests get it from the fixture `spark`.
    """
    from pyspark.sql import SparkSession

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local[2]")
        for name, value in SPARK_SETTINGS.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        try:
            session.sparkContext.setLogLevel("OFF")
            yield session
        finally:
            session.stop()


class Engine(Protocol):
    """What answers SQL over Parquet files."""

    def open(self, name: str, path: Path) -> list[tuple[str, str]]:
        """Give a file, or the files of a folder, a name; return names and types of its columns."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, in values of Python."""

    def pairs(self, texts: Mapping[str, str]) -> str:
        """Return what a `from` clause ends with, so that each of its rows comes once a text: its
        name is `s.name`, its value `s.value`.
        """


class DuckDB:
    """DuckDB, in memory."""

    def __init__(self) -> None:
        self._base = duckdb.connect()

    def open(self, name: str, path: Path) -> list[tuple[str, str]]:
        """Make a view of a file."""
        self._base.execute(f"create or replace view {name} as from read_parquet('{path}')")
        return [(row[0], row[1]) for row in self._base.execute(f"describe {name}").fetchall()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return _rows(self._base.sql(sql).to_arrow_table())

    def pairs(self, texts: Mapping[str, str]) -> str:
        """Return a lateral join."""
        return _lateral(texts)


class Spark:
    """Spark SQL."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def open(self, name: str, path: Path) -> list[tuple[str, str]]:
        """Make a view of a file."""
        frame = self._session.read.parquet(str(path))
        frame.createOrReplaceTempView(name)
        return list(frame.dtypes)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, times in UTC."""
        return _rows(self._session.sql(sql).toArrow())

    def pairs(self, texts: Mapping[str, str]) -> str:
        """Return a lateral view: a union of many queries is planned for minutes."""
        structs = [
            f"struct('{name}' as name, cast({text} as string) as value)"
            for name, text in texts.items()
        ]
        return f"lateral view inline(array({', '.join(structs)})) s as name, value"


class Hyper:
    """Tableau's engine."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def open(self, name: str, path: Path) -> list[tuple[str, str]]:
        """Make a temporary table of a file."""
        self._connection.execute_command(f"drop table if exists {name}")
        self._connection.execute_command(
            f"create temporary table {name} as (select * from external('{path}'))"
        )
        with self._connection.execute_query(f"select * from {name} limit 0") as result:
            columns = result.schema.columns
            return [(column.name.unescaped, str(column.type)) for column in columns]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        listed: Sequence[Sequence[Any]] = self._connection.execute_list_query(sql)
        return [tuple(_python(value) for value in row) for row in listed]

    def pairs(self, texts: Mapping[str, str]) -> str:
        """Return a lateral join."""
        return _lateral(texts)


@contextlib.contextmanager
def local_hyper(folder: Path) -> Iterator[Hyper]:
    """Run Tableau's engine, which sends nothing to anyone; its log goes to a folder."""
    from tableauhyperapi import Connection, HyperProcess, Telemetry

    parameters = {"log_dir": str(folder)}
    quiet = Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU
    with (
        HyperProcess(quiet, parameters=parameters) as process,
        Connection(process.endpoint) as connection,
    ):
        yield Hyper(connection)


def moto_python() -> str:
    """Return the Python that has moto; skip the test where there is none."""
    named = os.environ.get(MOTO_VARIABLE)
    python = Path(named) if named else Path(sys.prefix) / "moto" / "bin" / "python"
    if not _has_moto(python):
        pytest.skip("this test needs moto in an environment of its own (make engines)")
    return str(python)


def _has_moto(python: Path) -> bool:
    """Whether a Python has moto: an installation that was interrupted leaves one without it."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('moto.server') is None)"
    with contextlib.suppress(OSError):
        return not subprocess.run([python, "-c", code], capture_output=True).returncode
    return False


def free_port() -> int:
    """Return a port of 127.0.0.1 that no one listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def export_and_die(
    url: str, token: str, cache_dir: Path, to: str, tables: Sequence[str], step: int
) -> None:
    """Export, and be killed before the target is changed for the `step`-th time; run in a process
    of its own.
    """
    left = step

    def counted(change: Any) -> Any:
        def changing(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return changing

    for name in ("create", "move", "delete"):
        setattr(RemoteFolder, name, counted(getattr(RemoteFolder, name)))
    warnings.simplefilter("ignore")
    with pdframe.connect(
        base_url=url, api_token=token, cache_dir=cache_dir, progress=False
    ) as account:
        account.export(to, *tables, names=True)


def _lateral(texts: Mapping[str, str]) -> str:
    pairs = [f"('{name}', cast({text} as varchar(9999)))" for name, text in texts.items()]
    return f"cross join lateral (values {', '.join(pairs)}) as s(name, value)"


def _rows(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _python(value: Any) -> Any:
    """Return a value of Hyper as one of Python."""
    if type(value).__name__ == "Timestamp":
        return value.to_datetime().astimezone(datetime.UTC)
    return value.to_date() if type(value).__name__ == "Date" else value


__all__ = [
    "DuckDB",
    "Engine",
    "Hyper",
    "Spark",
    "export_and_die",
    "free_port",
    "lacks",
    "local_hyper",
    "local_spark",
    "moto_python",
    "need",
]
