"""How much of the suite runs: `make test` samples what is exhaustive, `make check` runs all of it.

In tier `test` a test function with many sets of parameters runs a few of them (all of them where it
is marked `every_case`), a property draws fewer examples, and a function marked `exhaustive` does
not run. The functions in tests/slow_tests.txt take long, alone or with an account that they share:
of their files, those run that a draw finds within `SECONDS_OF_SLOW`. Functions that catch one of
tests/mutants.txt always run. A file of which nothing would be left runs one case, of its quickest
function. The sample is drawn from a seed that the header of the run prints; `PDFRAME_SAMPLE_SEED`
repeats it.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = [
    "CASES_PER_FUNCTION",
    "SECONDS_OF_SLOW",
    "SEED_VARIABLE",
    "SLOW_TESTS",
    "TIER",
    "TIER_VARIABLE",
    "Seconds",
    "caught",
    "drawn",
    "examples",
    "places",
    "sample_seed",
    "sampled",
    "seconds",
]

TIER_VARIABLE = "PDFRAME_TIER"
SEED_VARIABLE = "PDFRAME_SAMPLE_SEED"
TIER = os.environ.get(TIER_VARIABLE, "check")
if TIER not in ("test", "check"):
    raise ValueError(f"{TIER_VARIABLE} must be 'test' or 'check', not {TIER!r}.")
CASES_PER_FUNCTION = 2
# Sets of parameters that the mark `slow` has: one of them stands for all.
CASES_PER_SLOW_FUNCTION = 1
SLOW_TESTS = Path(__file__).parents[1] / "slow_tests.txt"
MUTANTS = Path(__file__).parents[1] / "mutants.txt"
# What the slow functions of a run may take together, of the seconds in their list.
SECONDS_OF_SLOW = 150.0


def examples(count: int, least: int = 3) -> int:
    """Return how many examples of a property are drawn, of `count` in tier `check`."""
    return count if TIER == "check" else max(least, count // 8)


def places(every: range, count: int = 6) -> Sequence[int]:
    """Return the requests, files or steps at which something goes wrong: in tier `test` the last
    and a sample of the others, drawn from the seed of the run; in tier `check` all of them.
    """
    if TIER == "check" or len(every) <= count:
        return every
    draw = random.Random(f"{sample_seed()} {every}")
    return [*sorted(draw.sample(every[:-1], count - 1)), every[-1]]


def sample_seed() -> int:
    """Return the seed of the sample; where the environment names none, draw one and put it there.

    The processes of xdist inherit the environment, so all of them draw the same sample.
    """
    return int(os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(10**6))))


class Seconds(NamedTuple):
    """What a slow function takes: its cases, and what it shares with others of its file."""

    own: float
    shared: float


def seconds() -> dict[str, Seconds]:
    """Return the functions in the list of slow ones, and what each takes."""
    lines = SLOW_TESTS.read_text(encoding="utf-8").splitlines()
    named = (line.split(" ") for line in lines if line.startswith("tests/"))
    return {name: Seconds(float(own), float(shared)) for name, own, shared in named}


def caught() -> set[str]:
    """Return the functions that catch mutants."""
    lines = MUTANTS.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line.startswith("tests/")}


def drawn(seed: int) -> set[str]:
    """Draw files whose slow functions take `SECONDS_OF_SLOW` together at most.

    A file is drawn with all of its slow functions, because they share accounts.
    """
    files: dict[str, list[Seconds]] = defaultdict(list)
    always = caught()
    for name, function in seconds().items():
        if name not in always:
            files[_file(name)].append(function)
    left, chosen = SECONDS_OF_SLOW, set()
    order = sorted(files)
    random.Random(seed).shuffle(order)
    for file in order:
        taken = sum(function.own for function in files[file])
        taken += max(function.shared for function in files[file])
        if taken <= left:
            left -= taken
            chosen.add(file)
    return chosen


def _file(name: str) -> str:
    return name.partition("::")[0]


def sampled(items: Sequence[pytest.Item], seed: int) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split collected tests into those that tier `test` runs and the rest, both in their order."""
    slow, always, files_drawn = seconds(), caught(), drawn(seed)
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen: set[pytest.Item] = set()
    for name, cases in functions.items():
        draw = random.Random(f"{seed} {name}")
        is_drawn = name not in slow or name in always or _file(name) in files_drawn
        if cases[0].get_closest_marker("every_case") is not None:
            if is_drawn:
                chosen.update(cases)
        elif is_drawn and cases[0].get_closest_marker("exhaustive") is None:
            is_slow = cases[0].get_closest_marker("slow") is not None
            count = CASES_PER_SLOW_FUNCTION if is_slow else CASES_PER_FUNCTION
            chosen.update(draw.sample(cases, min(count, len(cases))))
    # A file of which nothing was chosen runs one case.
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_file(item.nodeid), []).append(item)
    for file, cases in files.items():
        if chosen.isdisjoint(cases):
            names = sorted({item.nodeid.partition("[")[0] for item in cases})
            quickest = min(names, key=lambda name: sum(slow.get(name, ())))
            chosen.add(random.Random(f"{seed} {file}").choice(functions[quickest]))
    return [item for item in items if item in chosen], [
        item for item in items if item not in chosen
    ]
