"""Progress bars in notebooks and terminals, for loads and forecasts of more than a second. A forked
process shows none, because tqdm's lock may be locked there forever.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

_RESUMES = "stop any time: it resumes"
_WAITING = "{{desc}}: waiting for the first {unit}{{postfix}}"
_COMPUTING = "{desc}: computing"


class Tick(Protocol):
    """Moves a bar."""

    def __call__(self, done: int) -> None:
        """Add rows, or records of a table that is loaded record by record."""

    def expect(self, total: int) -> None:
        """Say how many there are."""


class Bars:
    """Shows a bar a table.

    Parameters
    ----------
    wanted
        None: in a terminal or a notebook. False: never. True: always, on standard error.
    delay, interval
        Seconds until a bar shows, and between two drawings. Bars that follow one another within
        `delay` are one load: it is the load that must take so long. So must each bar that opens
        while others are open.
    clock
        Tells the seconds.
    """

    def __init__(
        self,
        wanted: bool | None = None,
        *,
        delay: float = 1.0,
        interval: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = _has_viewer() if wanted is None else wanted
        self._process = os.getpid()
        self._delay, self._interval, self._clock = delay, interval, clock
        self._open = 0
        self._load_began = self._last_closed = float("-inf")
        self._cell_output: Any = None  # of a notebook

    @contextmanager
    def __call__(
        self,
        title: str,
        *,
        place: str = "",
        unit: str = "rows",
        cost: int = 0,
        tokens_left: Callable[[], int | None] = lambda: None,
        resumes: bool = True,
        computes: bool = False,
    ) -> Iterator[Tick]:
        """Show a bar for the time of the block, and yield what moves it.

        Parameters
        ----------
        title
            The table, or what is computed.
        place
            "table 3 of 12", where several are loaded.
        unit
            What is counted.
        cost
            Tokens for each of them, where that is known.
        tokens_left
            Returns the tokens that can be spent today; None: unknown.
        resumes
            Whether the same call resumes what is interrupted: the bar says so.
        computes
            Whether this is no load: the bar does not say that it waits for rows.
        """
        if not self._shown or os.getpid() != self._process:
            yield NoTick()
            return
        name = f"{place}: {title}" if place else title
        now = self._clock()
        if not self._open and now - self._last_closed > self._delay:
            self._load_began = now
        # Of tables that load at once, one shows that the load goes on, and the slow ones join it.
        delay = self._delay if self._open else max(0.0, self._load_began + self._delay - now)

        def opened(total: int | None, postfix: str) -> Any:
            return self._bar(
                desc=name,
                total=total,
                postfix=postfix,
                leave=False,
                delay=delay,
                mininterval=self._interval,
                miniters=1,
                bar_format=_COMPUTING if computes else _WAITING.format(unit=unit),
            )

        bar = _Bar(opened, unit, cost, tokens_left, _RESUMES if resumes else "")
        self._open += 1
        try:
            if not delay:
                bar.open()
            yield bar
        finally:
            bar.close()
            self._open -= 1
            self._last_closed = self._clock()

    def _bar(self, **options: Any) -> Any:
        """Open a bar of tqdm; imported here, because most scripts show none."""
        if not _in_notebook():
            from tqdm import tqdm

            return tqdm(**options)
        from pdframe._notebook_bars import CellOutput, NotebookBar

        if self._cell_output is None:
            self._cell_output = CellOutput()
        return NotebookBar(self._cell_output, **options)


class NoTick:
    """Shows nothing."""

    def __call__(self, done: int) -> None:
        """Do nothing."""

    def expect(self, total: int) -> None:
        """Do nothing."""


class _Bar:
    """Moves a bar of tqdm, and says what is left."""

    def __init__(
        self,
        opened: Callable[[int | None, str], Any],
        unit: str,
        cost: int,
        tokens_left: Callable[[], int | None],
        resumes: str,
    ) -> None:
        self._opened, self._unit, self._cost = opened, unit, cost
        self._tokens_left, self._resumes = tokens_left, resumes
        self._bar: Any = None

    def __call__(self, done: int) -> None:
        """Add to what is done."""
        self.open()
        # Before the update, which draws.
        total = self._bar.total
        self._bar.bar_format = _format(self._unit, total)
        left = self._left(self._bar.n + done, total)
        self._bar.set_postfix_str(left, refresh=False)
        is_first = self._bar.n == 0
        if not self._bar.update(done) and is_first and not self._bar.delay:
            # It still says that it waits for them.
            self._bar.refresh()

    def expect(self, total: int) -> None:
        """Show a total, and the time that is left."""
        if total and self._bar is None:
            self.open(total)
        elif total and self._bar.total is None:
            self._bar.total = total

    def open(self, total: int | None = None) -> None:
        """Show the bar, once the load has taken long enough."""
        if self._bar is None:
            self._bar = self._opened(total, self._left(0, total))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _left(self, done: int, total: int | None) -> str:
        """Return the tokens that the rest costs, and those of today."""
        left, today = (total or done) - done, self._tokens_left()
        parts = [f"{left * self._cost:,} tokens to go"] if left > 0 and self._cost else []
        parts += [f"{today:,} tokens left today"] if today is not None else []
        return ", ".join(filter(None, [*parts, self._resumes]))


def _format(unit: str, total: int | None) -> str:
    """Return the format of a bar as tqdm takes it."""
    if total is None:
        return f"{{desc}}: {{n:,}} {unit}, {{elapsed}}{{postfix}}"
    return f"{{desc}}: {{n:,}} of {{total:,}} {unit} |{{bar}}| {{remaining}} left{{postfix}}"


def _has_viewer() -> bool:
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


__all__ = ["Bars", "NoTick", "Tick"]
