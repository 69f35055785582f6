"""Report on tables that are synced at once: progress and warnings of all threads come from one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TypeVar

from pdframe._files import LockHandle
from pdframe._progress import Tick
from pdframe._warnings import collect_warnings, warn, warn_beside
from pdframe.api.client import Client
from pdframe.schema import TABLES
from pdframe.sync.options import SyncOptions

_Result = TypeVar("_Result")


class AbandonedError(BaseException):
    """The user interrupted the thread that waits for this work. Like an interruption itself, no
    work handles it.
    """


def tables_at_once(client: Client, options: SyncOptions) -> int:
    """Return how many tables to sync at once: several only if the server is far away."""
    return options.tables_at_once if options.min_latency_seconds <= client.soonest < math.inf else 1


class WorkerReporter:
    """Sync several tables, each in a thread: bars and warnings come from the thread that created
    this, warnings last.

    Where that thread is interrupted, it does not wait for the others: each ends at its next page,
    and shares the lock until then.

    Parameters
    ----------
    open_bar
        Opens the progress bar of a table.
    lock
        The lock of the cache, which every thread shares.
    """

    def __init__(
        self, open_bar: Callable[[str], AbstractContextManager[Tick]], lock: LockHandle
    ) -> None:
        self._open_bar = open_bar
        self._lock = lock
        # The table, and what was done, or the total that is expected.
        self._ticks: SimpleQueue[tuple[str, int, bool]] = SimpleQueue()
        self._bars: dict[str, tuple[ExitStack, Tick]] = {}
        self._messages: dict[str, list[str]] = {}
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
        for name in sorted(self._messages, key=list(TABLES).index):
            for message in self._messages[name]:
                if error is None:
                    warn(message)
                else:
                    warn_beside(error, message)

    def work(self, name: str, do: Callable[[Tick], _Result]) -> _Result:
        """Do the work on one table, in any thread; `do` calls its argument with the rows of each
        page.
        """
        with self._lock.shared(), collect_warnings() as messages:
            self._messages[name] = messages
            return do(_WorkerTick(lambda count, is_total: self._note(name, count, is_total)))

    def _note(self, name: str, count: int, is_total: bool) -> None:
        if self._abandoned:
            raise AbandonedError
        self._ticks.put((name, count, is_total))
        if threading.get_ident() == self._reporting_thread:
            self.flush()

    def flush(self) -> None:
        """Move the bars by the rows that threads have reported."""
        while True:
            try:
                name, count, is_total = self._ticks.get_nowait()
            except Empty:
                return
            if name not in self._bars:
                bar = ExitStack()
                self._bars[name] = bar, bar.enter_context(self._open_bar(name))
            tick = self._bars[name][1]
            tick.expect(count) if is_total else tick(count)

    def done(self, name: str) -> None:
        """Close the bar of a table."""
        self.flush()
        self._close(name)

    def _close(self, name: str) -> None:
        if name in self._bars:
            self._bars.pop(name)[0].close()


@dataclass(frozen=True, slots=True)
class _WorkerTick:
    """Moves the bar of a table from any thread."""

    note: Callable[[int, bool], None]

    def __call__(self, done: int) -> None:
        """Add to what is done."""
        self.note(done, False)

    def expect(self, total: int) -> None:
        """Say how many there are."""
        self.note(total, True)
