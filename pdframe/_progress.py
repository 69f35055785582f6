"""Progress bars in notebooks and terminals, for loads of more than a second. A forked process shows
none, because tqdm's lock may be locked there forever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

_RESUMES = "stop any time: it resumes"


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
        Seconds until a bar shows, and between two drawings.
    """

    def __init__(
        self, wanted: bool | None = None, *, delay: float = 1.0, interval: float = 0.1
    ) -> None:
        self._shown = _has_viewer() if wanted is None else wanted
        self._process = os.getpid()
        self._delay, self._interval = delay, interval

    @contextmanager
    def __call__(
        self,
        title: str,
        *,
        place: str = "",
        unit: str = "rows",
        cost: int = 0,
        tokens_left: Callable[[], int | None] = lambda: None,
    ) -> Iterator[Tick]:
        """Show a bar for the time of the block, and yield what moves it.

        Parameters
        ----------
        title
            The table.
        place
            "table 3 of 12", where several are loaded.
        unit
            What is counted.
        cost
            Tokens for each of them, where that is known.
        tokens_left
            Returns the tokens that can be spent today; None: unknown.
        """
        if not self._shown or os.getpid() != self._process:
            yield NoTick()
            return
        name = f"{place}: {title}" if place else title

        def opened(total: int | None) -> Any:
            # Imported here, because tqdm is slow to import and most scripts show no bar.
            from tqdm.auto import tqdm

            return tqdm(
                desc=name,
                total=total,
                leave=False,
                delay=self._delay,
                mininterval=self._interval,
                bar_format=_format(unit, total),
            )

        bar = _Bar(opened, cost, tokens_left)
        try:
            yield bar
        finally:
            bar.close()


class NoTick:
    """Shows nothing."""

    def __call__(self, done: int) -> None:
        """Do nothing."""

    def expect(self, total: int) -> None:
        """Do nothing."""


class _Bar:
    """Moves a bar of tqdm, which opens when the first rows or their total are known, and says what
    is left.
    """

    def __init__(
        self,
        opened: Callable[[int | None], Any],
        cost: int,
        tokens_left: Callable[[], int | None],
    ) -> None:
        self._opened, self._cost, self._tokens_left = opened, cost, tokens_left
        self._bar: Any = None

    def __call__(self, done: int) -> None:
        """Add to what is done."""
        if self._bar is None:
            self._bar = self._opened(None)
        # Before the update, which draws.
        self._bar.set_postfix_str(self._left(self._bar.n + done), refresh=False)
        self._bar.update(done)

    def expect(self, total: int) -> None:
        """Show a total, and the time that is left."""
        if self._bar is None and total:
            self._bar = self._opened(total)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _left(self, done: int) -> str:
        """Return the tokens that the rest costs, and those of today."""
        left, today = (self._bar.total or done) - done, self._tokens_left()
        parts = [f"{left * self._cost:,} tokens to go"] if left > 0 and self._cost else []
        parts += [f"{today:,} tokens left today"] if today is not None else []
        return ", ".join([*parts, _RESUMES])


def _format(unit: str, total: int | None) -> str:
    """Return the format of a bar as tqdm takes it."""
    if total is None:
        return f"{{desc}}: {{n:,}} {unit}, {{elapsed}}{{postfix}}"
    return f"{{desc}}: {{n:,}} of {{total:,}} {unit} |{{bar}}| {{remaining}} left{{postfix}}"


def _has_viewer() -> bool:
    ipython = sys.modules.get("IPython")
    in_notebook = (
        ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
    )
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())


__all__ = ["Bars", "NoTick", "Tick"]
