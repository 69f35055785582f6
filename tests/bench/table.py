"""The table that the benchmarks print, and how two ways are timed beside each other."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compared(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS
) -> tuple[float, float, float]:
    """Median seconds of both, taken in turn, and the median of the ratios pair by pair."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second, statistics.median(a / b for a, b in pairs)


def peak(code: str, path: Path) -> float:
    """Gigabytes that a process of its own needs at most, pandas and the frames included; `path` is
    its `sys.argv[1]`.
    """
    reported = "from tests.bench.table import peak_memory; print(peak_memory())"
    command = [
        sys.executable,
        "-c",
        f"import sys; from pathlib import Path; {code}; {reported}",
        str(path),
    ]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e9


def peak_memory() -> int:
    """Bytes that this process held at most."""
    # Not ru_maxrss, which a child takes over from its parent.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def report(what: str, ours: str, theirs: str, ratio: float | None) -> None:
    print(
        f"{what:<58} {ours:>16} {theirs:>26} {'' if ratio is None else f'{ratio:8.2f}'}", flush=True
    )
