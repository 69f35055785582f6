"""How much of the suite runs: `make test` samples what is exhaustive, `make check` runs all of it.

In tier `test` a test function with many sets of parameters runs a few of them (all of them where it
is marked `every_case`), a property draws fewer examples, and a function marked `exhaustive` runs
only where its file has no other test: each test file runs at least one case. The sample is drawn
from a seed that the header of the run prints; `PDFRAME_SAMPLE_SEED` repeats it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

__all__ = [
    "CASES_PER_FUNCTION",
    "SEED_VARIABLE",
    "TIER",
    "TIER_VARIABLE",
    "examples",
    "places",
    "sample_seed",
    "sampled",
]

TIER_VARIABLE = "PDFRAME_TIER"
SEED_VARIABLE = "PDFRAME_SAMPLE_SEED"
TIER = os.environ.get(TIER_VARIABLE, "check")
if TIER not in ("test", "check"):
    raise ValueError(f"{TIER_VARIABLE} must be 'test' or 'check', not {TIER!r}.")
CASES_PER_FUNCTION = 2
# Sets of parameters that the mark `slow` has: one of them stands for all.
CASES_PER_SLOW_FUNCTION = 1


def examples(count: int) -> int:
    """Return how many examples of a property are drawn, of `count` in tier `check`."""
    return count if TIER == "check" else max(3, count // 8)


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


def sampled(items: Sequence[pytest.Item], seed: int) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split collected tests into those that tier `test` runs and the rest, both in their order."""
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen: set[pytest.Item] = set()
    for name, cases in functions.items():
        if cases[0].get_closest_marker("every_case") is not None:
            chosen.update(cases)
        elif cases[0].get_closest_marker("exhaustive") is None:
            slow = cases[0].get_closest_marker("slow") is not None
            count = CASES_PER_SLOW_FUNCTION if slow else CASES_PER_FUNCTION
            draw = random.Random(f"{seed} {name}")
            chosen.update(draw.sample(cases, min(count, len(cases))))
    # A file of which nothing was chosen runs one case.
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    for name, cases in files.items():
        if chosen.isdisjoint(cases):
            chosen.add(random.Random(f"{seed} {name}").choice(cases))
    return [item for item in items if item in chosen], [
        item for item in items if item not in chosen
    ]
