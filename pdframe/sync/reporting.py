"""Several tables at once: what the threads that work on them have to tell is told by the one that
waits for them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TypeVar

from pdframe._lock import LockHandle
from pdframe._warnings import collect_warnings, warn
from pdframe.api.client import Client
from pdframe.schema import TABLES
from pdframe.sync.options import SyncOptions

Progress = Callable[[str], AbstractContextManager[Callable[[int], None]]]
_Result = TypeVar("_Result")


class AbandonedError(BaseException):
    """Nobody waits for this work any more, as the user interrupted it. Like an interruption, it is
    none that work would deal with.
    """


def tables_at_once(client: Client, options: SyncOptions) -> int:
    """How many tables are worth working on at once, by how far away the server is."""
    return options.tables_at_once if options.min_latency_seconds <= client.soonest < math.inf else 1


class WorkerReporter:
    """Work on several tables, each in a thread: bars and warnings come from the thread that made
    this, warnings last.

    Where that thread is interrupted, it waits for none of the others: each ends at its next page,
    and holds the lock until then.

    Parameters
    ----------
    progress
        Opens a progress bar of that title; the bar is a call that takes the number of rows that
        came.
    held
        The lock that the work is done under.
    """

    def __init__(self, progress: Progress, covered: LockHandle) -> None:
        self._progress = progress
        self._kept = covered
        self._received: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._bars: dict[str, tuple[ExitStack, Callable[[int], None]]] = {}
        self._said: dict[str, list[str]] = {}
        self._reporting_thread = threading.get_ident()
        self._abandoned = False

    def __enter__(self) -> WorkerReporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandoned = True
        for name in list(self._bars):
            self._close(name)
        for name in sorted(self._said, key=list(TABLES).index):
            for message in self._said[name]:
                warn(message)

    def work(self, name: str, do: Callable[[Callable[[int], None]], _Result]) -> _Result:
        """Do the work on one table: called in any thread. `do` gets what it calls with the number
        of rows that came.
        """

        def tick(rows: int) -> None:
            if self._abandoned:
                raise AbandonedError
            self._received.put((name, rows))
            if threading.get_ident() == self._reporting_thread:
                self.flush()

        with self._kept.shared(), collect_warnings() as said:
            self._said[name] = said
            return do(tick)

    def flush(self) -> None:
        """Move the bars."""
        while True:
            try:
                name, rows = self._received.get_nowait()
            except Empty:
                return
            if name not in self._bars:
                bar = ExitStack()
                self._bars[name] = bar, bar.enter_context(self._progress(name))
            self._bars[name][1](rows)

    def done(self, name: str) -> None:
        """Take away the bar of a table."""
        self.flush()
        self._close(name)

    def _close(self, name: str) -> None:
        if name in self._bars:
            self._bars.pop(name)[0].close()
