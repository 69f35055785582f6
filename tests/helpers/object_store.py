"""A file system of pyarrow that tells a test of each request before it is carried out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.fs as pafs

READ, CHANGE = "read", "change"


class Store(pafs.FileSystemHandler):
    """An object store on this disk, or on another file system.

    `before` is called with the kind of each request, "read" or "change", and what it is; what it
    raises is the store's answer.
    """

    def __init__(
        self, files: Path | pafs.FileSystem, before: Callable[[str, str], None] | None = None
    ) -> None:
        if isinstance(files, Path):
            files.mkdir(exist_ok=True)
            files = pafs.SubTreeFileSystem(str(files), pafs.LocalFileSystem())
        self._files = files
        self._before = before
        self.changes: list[str] = []

    def system(self) -> pafs.PyFileSystem:
        return pafs.PyFileSystem(self)

    def _read(self, path: object) -> None:
        if self._before is not None:
            self._before(READ, f"read {path}")

    def _change(self, what: str, path: str) -> None:
        if self._before is not None:
            self._before(CHANGE, f"{what} {path}")
        self.changes.append(f"{what} {path}")

    def get_type_name(self) -> str:
        return "store"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        self._read(paths)
        return self._files.get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        self._read(selector.base_dir)
        return self._files.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._files.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._change("delete", path)
        self._files.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise NotImplementedError

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        self._change("delete", path)
        self._files.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        raise NotImplementedError  # of an object store it is no single step

    def copy_file(self, src: str, dest: str) -> None:
        self._change("copy", dest)
        self._files.copy_file(src, dest)

    def open_input_stream(self, path: str) -> Any:
        self._read(path)
        return self._files.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        self._read(path)
        return self._files.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._change("write", path)
        return self._files.open_output_stream(path)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError


class Turns:
    """Let threads go on one at a time, in an order that follows from a seed.

    `stickiness` is the probability that the same thread goes on.
    """

    def __init__(self, names: list[str], seed: int, stickiness: float) -> None:
        self._random = Random(seed)
        self._stickiness = stickiness
        self._left = set(names)
        self._waiting: set[str] = set()
        self._turn: str | None = None
        self._last = names[0]
        self._changed = threading.Condition()

    def take(self, name: str) -> None:
        """Wait for the turn of a thread."""
        with self._changed:
            self._waiting.add(name)
            self._choose()
            assert self._changed.wait_for(lambda: self._turn == name, timeout=120), "deadlock"
            self._turn = None
            self._waiting.remove(name)

    def leave(self, name: str) -> None:
        """End a thread."""
        with self._changed:
            self._left.discard(name)
            self._choose()

    def _choose(self) -> None:
        if self._turn is None and self._waiting == self._left and self._left:
            is_same = self._last in self._waiting and self._random.random() < self._stickiness
            self._last = self._last if is_same else self._random.choice(sorted(self._waiting))
            self._turn = self._last
            self._changed.notify_all()


def failing(after: int, answer: str) -> Callable[[str, str], None]:
    """Let so many changes happen, and answer each later one with an error."""
    left = after

    def before(kind: str, _: str) -> None:
        nonlocal left
        left -= kind == CHANGE
        if left < 0 and kind == CHANGE:
            raise OSError(answer)

    return before


__all__ = ["CHANGE", "READ", "Store", "Turns", "failing"]
