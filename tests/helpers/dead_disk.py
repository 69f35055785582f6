"""A disk that changes no more from some moment on, as if the process had been killed then."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

CHANGES = ("open", "rename", "replace", "unlink", "remove", "mkdir", "rmdir")


class DeadDisk:
    """Let `after` changes of the file system happen, and fail every later one.

    Whatever cleans up then fails too, so that what is left is what a killed process leaves.
    """

    def __init__(self, after: int) -> None:
        self._left = after
        self.is_dead = False
        self.changes: list[str] = []

    def insert(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the functions that change files."""
        for name in CHANGES:
            patch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **options: Any) -> Any:
            # A file that is opened to be read changes nothing.
            if name != "open" or args[1] & os.O_CREAT:
                self._left -= 1
                self.is_dead |= self._left < 0
                if self.is_dead:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self.changes.append(f"{name} {args[0]}")
            return change(*args, **options)

        return changing
