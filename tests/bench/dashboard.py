"""The dashboard: CPU seconds until the first view, and until new figures after a control changed.

The first forecast of an account learns from the past, once. A dashboard that is shown does that in
the background; that work is a row of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pdframe
from pdframe.dashboard.views import VIEWS
from pdframe.dashboard.widgets import Dashboard
from tests.bench.table import report

BARS = {2_000: (2.0, 1.0), 100_000: (None, 3.0)}
"""Deals -> seconds that the first view, and another choice, may take."""


def measure(sizes: tuple[int, ...] = tuple(BARS)) -> None:
    """Print the rows of the table."""
    for deals in sizes:
        with pdframe.sandbox.connect(
            seed=7, deals=deals, burst=10**6, progress=False, max_age=None
        ) as account:
            account.sync("deals", "deal_products", "stages", "pipelines", "users")
            _measure(account, deals)


def _measure(account: pdframe.sandbox.SandboxAccount, deals: int) -> None:
    most, bar = BARS[deals]
    boards: list[Dashboard] = []
    first = _cpu(lambda: boards.append(account.dashboard()))
    beside, ratio = ("", None) if most is None else (f"<= {most:g} s", first / most)
    report(f"CPU: dashboard of {deals:,} deals, first view", f"{first:.2f} s", beside, ratio)
    board = boards[0]
    view, owner = board.children[3], board.children[2].children[2]
    slowest = "", 0.0
    learning = _cpu(lambda: board.prepare().join())
    for key, (title, _) in VIEWS.items():

        def show(key: str = key) -> None:
            view.value = key

        taken = _cpu(show)
        if key == "forecast":
            slowest = max(slowest, (title, taken), key=lambda pair: pair[1])
        for _, number in owner.options[1:3]:

            def choose(number: int = number) -> None:
                owner.value = number

            slowest = max(slowest, (title, _cpu(choose)), key=lambda pair: pair[1])
        owner.value = ""
        assert board.error is None
    what = f"CPU: dashboard of {deals:,} deals, another choice: {slowest[0]}"
    report(what, f"{slowest[1]:.2f} s", f"<= {bar:g} s", slowest[1] / bar)
    what = f"CPU: dashboard of {deals:,} deals, learning in the background"
    report(what, f"{learning:.2f} s", "", None)


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    measure(tuple(map(int, sys.argv[1:])) or tuple(BARS))
