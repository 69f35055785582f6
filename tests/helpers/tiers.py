"""How much of the suite runs: `make test` samples what is exhaustive, `make check` runs all of it.

In tier `test` a test function with many sets of parameters runs a few of them, a property draws
fewer examples, and a function marked `exhaustive` runs only where its file has no other test: each
test file runs at least one case. The sample is drawn from a seed that the header of the run prints;
`PDFRAME_SAMPLE_SEED` repeats it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

__all__ = ["CASES_PER_FUNCTION", "SEED_VARIABLE", "TIER", "examples", "sample_seed", "sampled"]

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
        if cases[0].get_closest_marker("exhaustive") is None:
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
