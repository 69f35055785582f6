"""Measure the start of the command line: CPU time of `pdframe --help` beside `python -c pass`.

The runs alternate, so that a change of the machine's speed meets both; CPU time of the child (user
and system) does not count the time that it waits for a core.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 15


def cpu_seconds(*arguments: str) -> float:
    """Run Python with these arguments and return the CPU time of the child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def startup(runs: int = RUNS) -> tuple[float, float, float]:
    """Return the median CPU seconds of `pdframe --help`, of an empty program, and their ratio."""
    ours, empty = [], []
    for _ in range(runs):
        ours.append(cpu_seconds("-m", "pdframe", "--help"))
        empty.append(cpu_seconds("-c", "pass"))
    help_time, empty_time = statistics.median(ours), statistics.median(empty)
    return help_time, empty_time, help_time / empty_time


if __name__ == "__main__":
    help_time, empty_time, ratio = startup()
    print(f"pdframe --help {help_time:.3f} s CPU / python -c pass {empty_time:.3f} s: {ratio:.1f}")
