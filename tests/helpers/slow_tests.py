"""Measure test functions, and write those that take long into tests/slow_tests.txt.

PDFRAME_TIER=test python -m pytest -n 0 -p tests.helpers.slow_tests tests/http/bi

What a run measures replaces what the list said of these files; the other lines remain. Seconds are
those of the processor, of finished child processes too: another process on the machine does not
count. The second figure is what a function shares with others (fixtures of a module): all functions
that share something slow are in the list, because any of them may be the one that waits for it.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Generator, Mapping

import pytest

from tests.helpers import tiers

# Cases of a function in tier `test`, or something that functions share, that take longer are slow.
SECONDS = 0.4
HEAD = f"""\
# Test functions of which tier `test` draws some: their cases took over {SECONDS} seconds together,
# or something that they share did. The seconds of each, then of what it shares.
# tests/helpers/slow_tests.py renews the lines of the files that it measures.
"""

_own: dict[str, float] = defaultdict(float)
_shared: dict[str, dict[tuple[str, str], float]] = {}
_setups: dict[tuple[str, str], float] = defaultdict(float)


def slow(
    own: Mapping[str, float], shared: Mapping[str, Mapping[tuple[str, str], float]]
) -> dict[str, tiers.Seconds]:
    """Return what the slow functions take.

    Parameters
    ----------
    own
        Function -> seconds of its cases.
    shared
        Function -> what it shares with others -> seconds.
    """
    listed = {}
    for name, taken in own.items():
        uses = shared.get(name, {}).values()
        if max(taken, *uses, 0.0) >= SECONDS:
            listed[name] = tiers.Seconds(taken, sum(uses))
    return listed


def write(listed: Mapping[str, tiers.Seconds], measured: set[str]) -> None:
    """Write the list, with what it said of files that were not measured."""
    before = {
        name: taken
        for name, taken in tiers.seconds().items()
        if name.partition("::")[0] not in measured
    }
    lines = [
        f"{name} {max(taken.own, 0.0):.1f} {taken.shared:.1f}\n"
        for name, taken in sorted((before | dict(listed)).items())
    ]
    tiers.SLOW_TESTS.write_text(HEAD + "".join(lines), encoding="utf-8")


def pytest_configure() -> None:
    """Let every function run, whatever its seconds."""
    tiers.SECONDS_OF_SLOW = math.inf


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    began = _processor()
    try:
        return (yield)
    finally:
        if fixturedef.scope != "function":
            _setups[fixturedef.baseid, fixturedef.argname] += _processor() - began


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    began, before = _processor(), sum(_setups.values())
    try:
        return (yield)
    finally:
        name = item.nodeid.partition("[")[0]
        _own[name] += _processor() - began - (sum(_setups.values()) - before)
        used = getattr(item, "fixturenames", ())
        # What the whole suite shares is no reason to draw a test.
        _shared[name] = {
            what: taken
            for what, taken in _setups.items()
            if what[1] in used and what[0].endswith(".py") and item.nodeid.startswith(what[0])
        }


def pytest_sessionfinish() -> None:
    files = {name.partition("::")[0] for name in _own}
    write(slow(_own, _shared), files)


def _processor() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
