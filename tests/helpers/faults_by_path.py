"""Faults that hit the requests of one path, whatever other requests are sent meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

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
