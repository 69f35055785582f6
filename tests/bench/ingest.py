"""From the bytes of 100,000 deals to a typed, labelled frame, beside parsing the same bytes and beside `pandas.json_normalize`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import orjson
import pandas as pd

from pdframe.fields import read_fields
from pdframe.frames import PageReader, to_frame, unify
from pdframe.schema import TABLES
from tests.bench.deals import material, pages
from tests.bench.table import report

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


WAYS: dict[str, Callable[[int], tuple[float, int]]] = {"ours": ours, "parsed": parsed, "normalized": normalized}


def alone(way: str) -> tuple[float, int, int]:
    """Seconds, bytes that came, and peak memory of one way in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.ingest", way, str(DEALS)], check=True, capture_output=True, text=True)
    taken, size, peak = done.stdout.split()
    return float(taken), int(size), int(peak)


def ingest() -> None:
    runs = {way: [alone(way) for _ in range(ROUNDS)] for way in WAYS}
    seconds = {way: min(run[0] for run in of) for way, of in runs.items()}
    size, peak = runs["ours"][0][1], max(run[2] for run in runs["ours"])
    what = f"{DEALS:,} deals, {size / 1e6:.0f} MB of JSON, to a frame"
    report(f"seconds: {what} / orjson.loads", f"{seconds['ours']:.2f} s", f"{seconds['parsed']:.2f} s", seconds["ours"] / seconds["parsed"])
    report(
        f"seconds: {what} / json_normalize",
        f"{seconds['ours']:.2f} s",
        f"{seconds['normalized']:.2f} s",
        seconds["ours"] / seconds["normalized"],
    )
    report(f"peak memory: {what}", f"{peak / 1e6:.0f} MB", "", None)


if __name__ == "__main__":
    found = WAYS[sys.argv[1]](int(sys.argv[2]))
    print(*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
