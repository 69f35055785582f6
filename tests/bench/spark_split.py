"""One account of a million deals: its stage velocity in one process, and in eight parts on Spark.
Seconds and the most memory of each, and whether every cell is the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pyarrow.parquet as pq

from tests.bench.table import peak_memory, report
from tests.helpers.engines import lacks, local_spark
from tests.helpers.large_account import velocity_here, velocity_on_spark, write_large_account

DEALS = 1_000_000
_ORDER = [("pipeline_id", "ascending"), ("stage_id", "ascending")]


def measure(where: str, folder: Path) -> None:
    """Compute the metric, write it, and print seconds and gigabytes; run it in its own process."""
    warnings.simplefilter("ignore")
    if where == "here":
        began = time.perf_counter()
        result = velocity_here(folder)
        spent, most = time.perf_counter() - began, peak_memory()
    else:
        with local_spark() as spark:
            spark.conf.set("spark.sql.session.timeZone", "UTC")
            began = time.perf_counter()
            result = velocity_on_spark(spark, folder)
            spent = time.perf_counter() - began
            most = peak_memory() + sum(map(_peak_of, _descendants(os.getpid())))
    pq.write_table(result.sort_by(_ORDER), folder / f"{where}.parquet")
    print(spent, most / 1e9)


def _descendants(process: int) -> list[int]:
    """Return the processes that a process started, and those that these started: JVM, workers."""
    own = [
        int(child)
        for children in Path(f"/proc/{process}/task").glob("*/children")
        for child in children.read_text().split()
    ]
    return own + [one for child in own for one in _descendants(child)]


def _peak_of(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def spark_split() -> None:
    """Report the account in eight parts beside one process."""
    if missing := lacks("pyspark", java=True):
        print(f"An account on Spark is not measured: it needs {missing}.")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        deals = write_large_account(folder, DEALS)
        visits = pq.read_metadata(folder / "visits.parquet").num_rows
        figures = {}
        for where in ("spark", "here"):
            code = (
                "import sys; from pathlib import Path; from tests.bench.spark_split import measure"
            )
            command = [sys.executable, "-c", f"{code}; measure(sys.argv[1], Path(sys.argv[2]))"]
            done = subprocess.run(
                [*command, where, str(folder)], check=True, capture_output=True, text=True
            )
            figures[where] = [float(figure) for figure in done.stdout.split()[-2:]]
        on_spark, here = (pq.read_table(folder / f"{one}.parquet") for one in ("spark", "here"))
        assert on_spark.equals(here)
    report(
        f"velocity of {deals:,} deals, {visits:,} visits: 8 parts / 1",
        "{:.1f} s, {:.1f} GB".format(*figures["spark"]),
        "{:.1f} s, {:.1f} GB".format(*figures["here"]),
        figures["spark"][0] / figures["here"][0],
    )


if __name__ == "__main__":
    spark_split()
