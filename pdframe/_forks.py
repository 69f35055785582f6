"""Replace connections and locks in a forked process.

A child has the parent's sockets: two processes that read one socket get each other's answers. It
also has the parent's locks as they were at the fork. A lock of another thread is never released,
because that thread does not exist in the child.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["Renewed", "call_after_fork", "renew_after_fork"]


class Renewed(Protocol):
    """An object that holds connections or locks."""

    def after_fork(self) -> None:
        """Replace them. Runs in the child, in its only thread, before anything else there.

        It must wait for nothing.
        """


_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_after_fork(one: Renewed) -> None:
    """Call the object's `after_fork` in each process that is forked while the object lives."""
    _renewed.add(one)


def call_after_fork(renew: Callable[[], None]) -> None:
    """Call a function of a module in each process that is forked from now on."""
    # Windows cannot fork.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def _renew_all() -> None:
    for one in list(_renewed):
        one.after_fork()


call_after_fork(_renew_all)
