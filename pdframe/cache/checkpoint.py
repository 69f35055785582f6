"""The checkpoint of a table: pages of an unfinished fetch on disk, and where the fetch stands.

A sync stages each page here before it requests the next one. An interrupted sync resumes by reading
the checkpoint, whatever it fetched: a complete list, changes, or the children of parent records.
This is the only way to resume. Once the table is committed, the checkpoint is dropped.

Many pages are compacted into one run, whose rows are in key order: memory does not grow with the
fetch. Both lack the columns of custom fields that have no value in them. Beside pages and runs
stand the fetch states of the parents whose children they hold.

Guarantees: the position is written last, and what it does not count does not exist. Each page adds
a line to the file of positions, of which the last complete one counts: to replace that file with
each page would make three new files a page instead of one. Nothing here need survive a power
failure: where a file does not read back as it was written, the checkpoint is dropped with a
warning, and its pages are fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pdframe._files import (
    make_private,
    seal,
    unseal,
    write_atomic,
    write_batches,
    write_in_place,
    write_plain,
)
from pdframe._warnings import warn
from pdframe.cache.parts import InArrow, SortedRun
from pdframe.cache.store import Manifest, Store, reported_write_errors
from pdframe.frames import Problems
from pdframe.schema import Table

# The folders of a checkpoint: of all rows or children of a table, and of its changes.
PENDING, CHANGES = "pending", "changes"
FORMAT = 8
POSITION_FILE = "walk.json"
# Kinds of files, by the first part of their names.
PAGE, PAGE_STATES, RUN, RUN_STATES = KINDS = ("page", "note", "run", "run_note")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a fetch stands.

    Parameters
    ----------
    began
        This machine's clock when the fetch began.
    source
        Number of the list that is next.
    cursor
        Cursor of its next page; None: at its beginning, or it is read by `ranges`.
    ranges
        State of the range scan of a long list.
    marks
        Watermarks of the lists, of a fetch of changes; which parents a fetch of children is about.
    server_time
        The server's clock at the first page.
    problems
        Cells and rows that could not be kept: the staged rows do not show them.
    """

    began: datetime
    source: int = 0
    cursor: str | None = None
    ranges: Mapping[str, Any] | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    problems: Problems = field(default_factory=Problems)


def in_flight(store: Store) -> list[str]:
    """Return the names of the tables that have a checkpoint."""
    return sorted(
        {
            path.parent.parent.name
            for kind in (PENDING, CHANGES)
            for path in store.root.glob(f"*/{kind}/{POSITION_FILE}")
        }
    )


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What an unfinished fetch staged.

    Parameters
    ----------
    position
        Where it stands.
    runs, run_states
        Compacted pages, the earlier first, and the fetch states of each run, if any.
    pages, page_states
        Pages after these in their order, and the fetch states of each, if any.
    page_count
        How many pages it fetched.
    """

    position: Position
    runs: list[SortedRun]
    run_states: list[pa.Table]
    pages: list[pa.Table]
    page_states: list[pa.Table]
    page_count: int

    @property
    def states(self) -> list[pa.Table]:
        """The fetch states of runs and pages, the earlier first."""
        return [*self.run_states, *self.page_states]


@dataclass(slots=True)
class _Staged:
    """Which files are staged: pages from `first` to `pages`, of `page_bytes` bytes, and `runs`.

    `crc` is a checksum of all files of a kind, in their order: one that is changed, missing or
    foreign shows.
    """

    first: int = 0
    pages: int = 0
    runs: int = 0
    page_bytes: int = 0
    has_run_states: bool = False
    crc: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


class Checkpoint:
    """The checkpoint of one table: of a fetch of all of it, or of what changed `since` it was
    cached.

    Parameters
    ----------
    store, table
        The cache, and the table.
    schema
        The columns of its pages: pages of another schema are dropped.
    since
        The manifest whose changes are fetched; None: all of the table, or children.
    """

    def __init__(
        self, store: Store, table: Table, schema: pa.Schema, since: Manifest | None = None
    ) -> None:
        self.table = table
        self._key = table.parent.id if table.parent else table.key[0]
        self._batch_rows = store.options.batch_rows
        self._folder = store.root / table.name / (PENDING if since is None else CHANGES)
        # Pages of another schema, of other requests or since another state are of no use.
        signed = f"{FORMAT}\n{schema.to_string(show_schema_metadata=False)}\n{table.sources!r}"
        if since is not None:
            signed += f"\n{since.full_at}\n{since.synced_at}\n{sorted(since.state.items())}"
        self._signature = hashlib.sha256(signed.encode("utf-8", "replace")).hexdigest()
        self._staged = _Staged()
        # Whether this object wrote the last line of the file of positions, and can add one.
        self._appends = False

    def position(self) -> Position | None:
        """Return where the fetch stands, without its pages; None where that cannot be read."""
        try:
            raw = _last_line((self._folder / POSITION_FILE).read_bytes())
            return _position_from(raw) if raw["signature"] == self._signature else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def load(self) -> CheckpointState | None:
        """Return what was staged; None where nothing is, or nothing that can be used."""
        if not (self._folder / POSITION_FILE).exists():
            self.drop()
            return None
        try:
            raw = _last_line((self._folder / POSITION_FILE).read_bytes())
            if raw["signature"] != self._signature:
                self.drop()
                return None
            position = _position_from(raw)
            self._staged, self._appends = _Staged(), False
            self._staged.first, self._staged.pages, self._staged.runs = (
                int(raw[name]) for name in ("first", "pages", "runs")
            )
            pages, runs = range(self._staged.first, self._staged.pages), range(self._staged.runs)
            numbers = {
                PAGE: pages,
                PAGE_STATES: pages if raw["has_page_states"] else (),
                RUN: runs,
                RUN_STATES: runs if raw["has_run_states"] else (),
            }
            for kind in KINDS:
                for number in numbers[kind]:
                    content = self._path(kind, number).read_bytes()
                    self._count(kind, zlib.crc32(content), len(content))
            if self._staged.crc != raw["files_crc32"]:
                raise ValueError("other pages")
            tables = {
                kind: [self._read(kind, number) for number in numbers[kind]]
                for kind in (PAGE, PAGE_STATES, RUN_STATES)
            }
            sorted_runs = [self._run(number) for number in runs]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
            self.drop()
            warn(
                f"The saved pages of {self.table.name!r} are not as they were written: they are"
                " fetched again."
            )
            return None
        self._staged.has_run_states = bool(tables[RUN_STATES])
        return CheckpointState(
            position,
            sorted_runs,
            tables[RUN_STATES],
            tables[PAGE],
            tables[PAGE_STATES],
            self._staged.pages,
        )

    def append(self, page: pa.Table, position: Position, states: pa.Table | None = None) -> int:
        """Stage a page, and where the fetch stands after it; return the size of the pages since the
        last run, about that of their rows in memory.

        Parameters
        ----------
        page
            Its rows.
        position
            Where the fetch stands.
        states
            The fetch states of the parents whose children they are.
        """
        with reported_write_errors("A page", self._folder):
            make_private(self._folder)
            for kind, rows in ((PAGE, page), (PAGE_STATES, states)):
                if rows is not None:
                    self._count(kind, *write_plain(self._path(kind, self._staged.pages), rows))
            self._staged.pages += 1
            self._write(position, has_page_states=states is not None)
        return self._staged.page_bytes

    def compact(
        self, rows: pa.Table, position: Position, states: pa.Table | None = None
    ) -> SortedRun:
        """Replace the pages since the last run by one run, and their fetch states by one table.

        Parameters
        ----------
        rows
            The rows of these pages, in key order.
        position
            Where the fetch stands: where it stood.
        states
            The fetch states of these pages.
        """
        with reported_write_errors("A page", self._folder):
            number = self._staged.runs
            self._count(RUN, write_batches(self._path(RUN, number), rows, self._batch_rows))
            if states is not None:
                self._count(RUN_STATES, *write_plain(self._path(RUN_STATES, number), states))
                self._staged.has_run_states = True
            compacted = range(self._staged.first, self._staged.pages)
            self._staged.runs, self._staged.first = number + 1, self._staged.pages
            self._staged.crc |= {PAGE: 0, PAGE_STATES: 0}
            self._staged.page_bytes, self._appends = 0, False
            self._write(position, has_page_states=False)
            for page in compacted:
                for kind in (PAGE, PAGE_STATES):
                    self._path(kind, page).unlink(missing_ok=True)
        return self._run(number)

    def rewind(self, position: Position) -> None:
        """Drop all pages, which are committed, and keep the position of the unfinished fetch."""
        self.drop()
        with reported_write_errors("A page", self._folder):
            make_private(self._folder)
            self._write(position, has_page_states=False)

    def drop(self) -> None:
        """Drop the checkpoint: the fetch is committed, or cannot resume."""
        self._staged, self._appends = _Staged(), False
        with contextlib.suppress(OSError):
            (self._folder / POSITION_FILE).unlink(missing_ok=True)
            for path in self._folder.glob("*.arrow"):
                path.unlink()
            self._folder.rmdir()

    def _write(self, position: Position, *, has_page_states: bool) -> None:
        time = position.server_time
        content: dict[str, Any] = {
            "signature": self._signature,
            "first": self._staged.first,
            "pages": self._staged.pages,
            "runs": self._staged.runs,
            "has_page_states": has_page_states,
            "has_run_states": self._staged.has_run_states,
            "files_crc32": self._staged.crc,
            "began": position.began.isoformat(),
            "source": position.source,
            "cursor": position.cursor,
            "ranges": position.ranges,
            "marks": dict(position.marks),
            "server_time": time.isoformat() if time else None,
            "problems": asdict(position.problems),
        }
        path, line = self._folder / POSITION_FILE, seal(content, indent=None) + b"\n"
        appends, self._appends = self._appends, False  # after an error, part of a line may be there
        if appends:
            write_in_place(path, line, append=True)
        else:
            write_atomic(path, line, durable=False)
        self._appends = True

    def _run(self, number: int) -> SortedRun:
        return SortedRun(InArrow(self._path(RUN, number)), self._key)

    def _read(self, kind: str, number: int) -> pa.Table:
        return pa.ipc.open_stream(self._path(kind, number).read_bytes()).read_all()

    def _count(self, kind: str, crc32: int, size: int = 0) -> None:
        self._staged.crc[kind] = zlib.crc32(crc32.to_bytes(4, "big"), self._staged.crc[kind])
        self._staged.page_bytes += size if kind == PAGE else 0

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}-{number:06d}.arrow"


def _last_line(raw: bytes) -> dict[str, Any]:
    """Return the last complete line of a file of positions; `ValueError` where one line is not what
    was written. What was added last can be cut short. Earlier versions wrote one line without end.
    """
    return [unseal(line) for line in raw.split(b"\n")[:-1] or [raw]][-1]


def _position_from(raw: Mapping[str, Any]) -> Position:
    return Position(
        began=datetime.fromisoformat(raw["began"]),
        source=int(raw["source"]),
        cursor=raw["cursor"],
        ranges=raw["ranges"],
        marks=dict(raw["marks"]),
        server_time=datetime.fromisoformat(raw["server_time"]) if raw["server_time"] else None,
        problems=Problems.from_plain(raw["problems"]),
    )
