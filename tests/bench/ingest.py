"""Measure 100,000 deals from bytes to a frame, compared with `orjson.loads` of the same bytes and
with `json_normalize`: in memory, and over HTTP through the cache.
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
from tests.bench.table import compared, peak_memory, report

DEALS = 100_000
ROUNDS = 3


def ours(deals: int) -> tuple[float, int]:
    """Return seconds, and the bytes of the pages; making the pages is not counted."""
    from tests.bench.large import material, pages

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
    return _parse(deals, time.perf_counter)


def parsed_cpu(deals: int) -> tuple[float, int]:
    return _parse(deals, time.process_time)


def _parse(deals: int, clock: Callable[[], float]) -> tuple[float, int]:
    from tests.bench.large import material, pages

    rows, _ = material()
    taken, size = 0.0, 0
    for body in pages(rows, deals):
        start = clock()
        orjson.loads(body)
        taken += clock() - start
        size += len(body)
    return taken, size


def normalized(deals: int) -> tuple[float, int]:
    from tests.bench.large import material, pages

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
    "parsed_cpu": parsed_cpu,
    "normalized": normalized,
}


def loaded(url: str) -> None:
    """Load all deals over HTTP into a cache and a frame; print CPU seconds and the peak of memory.
    Then time reads of the cache.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        pdframe.connect(
            base_url=url, api_token="bench", cache_dir=cache, progress=False
        ) as account,
    ):
        account.fields("deals")  # connected; what a session does once is done
        start = time.process_time()
        deals = account.deals()
        cpu, peak = time.process_time() - start, peak_memory()
        five = ["id", "title", "value", "status", deals.columns[100]]
        files = sorted((account.cache_path / "deals").glob("*.parquet"))
        del deals
        everything, plain, ratio = compared(
            lambda: account.deals(refresh=False), lambda: pd.read_parquet(files)
        )
        few, full, part = compared(
            lambda: account.deals(refresh=False, columns=five), lambda: account.deals(refresh=False)
        )
    print(cpu, peak, everything, plain, ratio, few, full, part)


def activities(url: str) -> None:
    """Load all activities over HTTP and make a frame of them; print the seconds a row, and the peak
    of memory until the frame.
    """
    with (
        tempfile.TemporaryDirectory() as cache,
        pdframe.connect(base_url=url, api_token="b", cache_dir=cache, progress=False) as account,
    ):
        account.fields("activities")  # connected; what a session does once is done
        start = time.perf_counter()
        account.sync("activities")
        peak = peak_memory()
        rows = len(account.activities(refresh=False))
        print((time.perf_counter() - start) / rows, peak)


def alone(*arguments: str) -> list[float]:
    """Return what a function of this module prints, run in its own process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bench.ingest", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(word) for word in done.stdout.split()]


def ingest() -> None:
    # Imported here: a process that measures its own memory must not load the sandbox.
    from tests.bench.large import serving

    # In turn, so that a slow minute of the machine affects all three.
    timed = ("ours", "parsed", "normalized")
    runs = [{method: alone(method, str(DEALS)) for method in timed} for _ in range(ROUNDS)]
    seconds = {method: statistics.median(run[method][0] for run in runs) for method in timed}
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
        loads = [(alone("loaded", url), alone("parsed_cpu", str(DEALS))[0]) for _ in range(ROUNDS)]
    report(
        f"CPU seconds: {DEALS:,} deals over HTTP to a frame / orjson.loads",
        f"{statistics.median(load[0] for load, _ in loads):.2f} s",
        f"{statistics.median(parse for _, parse in loads):.2f} s",
        statistics.median(load[0] / parse for load, parse in loads),
    )
    _, peak, everything, plain, ratio, few, full, part = (
        statistics.median(column) for column in zip(*(load for load, _ in loads), strict=True)
    )
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
