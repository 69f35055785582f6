"""Faults that hit the requests of one path, whatever other requests are sent meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from pdframe.sandbox import Faults
from pdframe.sandbox.server import Server


def fail_at(server: Server, path: str, number: int = 1, kind: str = "success_false_200") -> None:
    """Spoil the answer to the `number`-th request of a path from now on, and no other.

    `path` is the end of the request's path, such as "/deals/products".
    """
    seen = 0

    def spoil(requested: str, params: Mapping[str, str]) -> None:
        nonlocal seen
        if requested.endswith(path):
            seen += 1
            if seen == number:
                server.before_request, server.faults = None, _Once(server, kind)

    server.before_request = spoil


class _Once(Faults):
    """A fault of one request; afterwards there are none."""

    def __init__(self, server: Server, kind: str) -> None:
        super().__init__(at={1: kind})
        self._server = server

    def next(self) -> str | None:
        """Remove the faults."""
        self._server.faults = None
        return super().next()


@contextmanager
def ctrl_c_interrupts() -> Iterator[None]:
    """Let Ctrl-C interrupt Python, also where the shell started it with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted(server: Server, path: str = "", number: int = 1) -> Iterator[None]:
    """Press Ctrl-C at the `number`-th request of a path: it and all later ones have no answer."""
    seen = 0

    def interrupt(requested: str, params: Mapping[str, str]) -> None:
        nonlocal seen
        seen += requested.endswith(path)
        if seen == number and server.faults is None:
            server.faults = Faults(rate=1.0, kinds=("drop",))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server.before_request = interrupt
    try:
        with ctrl_c_interrupts(), pytest.raises(KeyboardInterrupt):
            yield
    finally:
        server.before_request = server.faults = None
