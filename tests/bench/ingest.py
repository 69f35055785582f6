"""100,000 deals from bytes to a frame, beside parsing the same bytes and `json_normalize`; into the
cache and out of it again.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import msgspec
import orjson
import pandas as pd

import pdframe
from pdframe.fields import read_fields
from pdframe.frames import PageReader, to_frame, unify
from pdframe.schema import TABLES
from tests.bench.large import material, pages, serving
from tests.bench.table import map_ordered, peak_memory, report

DEALS = 100_000
ROUNDS = 3


def ours(deals: int) -> tuple[float, int]:
    """Seconds, and bytes that came; the making of the pages is not counted."""
    rows, raw = material()
    table, fields = TABLES["deals"], read_fields(raw)
    reader, taken, size, parts = PageReader(table, fields), 0.0, 0, []
    for body in pages(rows, deals):
        start = time.perf_counter()
        payload = reader.decode(body) or msgspec.json.decode(body)
        parts.append(reader.typed(payload["data"])[0])
        taken += time.perf_counter() - start
        size += len(body)
    start = time.perf_counter()
    frame = to_frame(unify(parts, table, fields)[0], table, fields)
    assert len(frame) == deals
    return taken + time.perf_counter() - start, size


def parsed(deals: int) -> tuple[float, int]:
    rows, _ = material()
    taken, size = 0.0, 0
    for body in pages(rows, deals):
        start = time.perf_counter()
        orjson.loads(body)
        taken += time.perf_counter() - start
        size += len(body)
    return taken, size


def normalized(deals: int) -> tuple[float, int]:
    rows, _ = material()
    taken, size, listed = 0.0, 0, []
    for body in pages(rows, deals):
        start = time.perf_counter()
        listed += json.loads(body)["data"]
        taken += time.perf_counter() - start
        size += len(body)
    start = time.perf_counter()
    assert len(pd.json_normalize(listed)) == deals
    return taken + time.perf_counter() - start, size


METHODS: dict[str, Callable[[int], tuple[float, int]]] = {
    "ours": ours,
    "parsed": parsed,
    "normalized": normalized,
}


def loaded(url: str) -> None:
    """Load a whole account over HTTP, make a frame of it, and say what memory that took; then time
    reading.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        pdframe.connect(
            base_url=url, api_token="bench", cache_dir=cache, progress=False
        ) as account,
    ):
        deals = account.deals()
        peak = peak_memory()
        five = ["id", "title", "value", "status", deals.columns[100]]
        files = sorted((account.cache_path / "deals").glob("*.parquet"))
        del deals
        everything, plain, ratio = map_ordered(
            lambda: account.deals(refresh=False), lambda: pd.read_parquet(files)
        )
        few, full, part = map_ordered(
            lambda: account.deals(refresh=False, columns=five), lambda: account.deals(refresh=False)
        )
    print(peak, everything, plain, ratio, few, full, part)


def activities(url: str) -> None:
    """Load all activities over HTTP, make a frame of them, and say how many seconds a row took, and
    the peak of memory until the frame.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        pdframe.connect(base_url=url, api_token="b", cache_dir=cache, progress=False) as account,
    ):
        account.fields("activities")  # connected, and what a session does once is done
        start = time.perf_counter()
        account.sync("activities")
        peak = peak_memory()
        rows = len(account.activities(refresh=False))
        print((time.perf_counter() - start) / rows, peak)


def alone(*arguments: str) -> list[float]:
    """What one way of this module prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bench.ingest", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(word) for word in done.stdout.split()]


def ingest() -> None:
    # In turn, so that a slow minute of the machine hits all three.
    runs = [{method: alone(method, str(DEALS)) for method in METHODS} for _ in range(ROUNDS)]
    seconds = {method: statistics.median(run[method][0] for run in runs) for method in METHODS}
    what = f"{DEALS:,} deals, {runs[0]['ours'][1] / 1e6:.0f} MB of JSON"
    for other, reported in (("parsed", "orjson.loads"), ("normalized", "json_normalize")):
        ratio = statistics.median(run["ours"][0] / run[other][0] for run in runs)
        report(
            f"seconds: {what} to a frame / {reported}",
            f"{seconds['ours']:.2f} s",
            f"{seconds[other]:.2f} s",
            ratio,
        )
    with serving(DEALS) as url:
        peak, everything, plain, ratio, few, full, part = alone("loaded", url)
    report(f"peak memory: {DEALS:,} deals over HTTP to a frame", f"{peak / 1e6:.0f} MB", "", None)
    report(
        "seconds: cached deals() / pandas.read_parquet",
        f"{everything:.3f} s",
        f"{plain:.3f} s",
        ratio,
    )
    report("seconds: five columns of cached deals() / all", f"{few:.3f} s", f"{full:.3f} s", part)
    costs, peaks = [], []
    for count in (10_000, 1_000_000):
        with serving(count, "activities") as url:
            cost, peak = alone("activities", url)
        costs.append(cost * 1e6)
        peaks.append(peak / 1e6)
    report(
        "microseconds a row: 1,000,000 / 10,000 activities over HTTP",
        f"{costs[1]:.1f}",
        f"{costs[0]:.1f}",
        costs[1] / costs[0],
    )
    report("  peak memory of the sync", f"{peaks[1]:.0f} MB", f"{peaks[0]:.0f} MB", None)


if __name__ == "__main__":
    if sys.argv[1] in ("loaded", "activities"):
        (loaded if sys.argv[1] == "loaded" else activities)(sys.argv[2])
    else:
        print(*METHODS[sys.argv[1]](int(sys.argv[2])))
