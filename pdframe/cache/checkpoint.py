"""Pages of a walk, or of a pull of changes, that was interrupted: the next one goes on from there
instead of paying for them again.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pdframe._files import make_private, seal, unseal, write_atomic, write_batches, write_plain
from pdframe._warnings import warn
from pdframe.cache.sorted_runs import InArrow, SortedRun
from pdframe.cache.store import CHANGES, PENDING, Manifest, Store
from pdframe.errors import CacheError
from pdframe.frames import Problems
from pdframe.schema import Table

FORMAT = 7
WHERE = "walk.json"
KINDS = ("page", "note", "run", "told")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk stands: the next list (`source`) and cursor, and what was known when it began.

    `cursor` is None at the beginning of a list, and where it is walked by `windows`. `began` is
    this machine's clock, `server_time` the server's. `marks` tell up to when each list is complete,
    of a pull of changes. `problems` are those of the pages so far: their rows do not show what did
    not fit.
    """

    began: datetime
    source: int = 0
    cursor: str | None = None
    windows: Mapping[str, Any] | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    problems: Problems = field(default_factory=Problems)


def in_flight(store: Store) -> list[str]:
    """Names of the tables of which pages are kept to go on from."""
    return sorted(
        {
            path.parent.parent.name
            for kind in (PENDING, CHANGES)
            for path in store.root.glob(f"*/{kind}/{WHERE}")
        }
    )


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What an unfinished walk left: where it stood, its last pages in the order in which they came,
    and runs before.

    Beside pages and runs stand `notes` and what the runs are `reported` by, or nothing. `count` is how
    many pages it took.
    """

    place: Position
    pages: list[pa.Table]
    notes: list[pa.Table]
    runs: list[SortedRun]
    reported: list[pa.Table]
    count: int


class Checkpoint:
    """The unfinished walk of one table, or pull of what changed `since`: a folder of pages and a
    JSON file that says where it stands.

    Many pages are put together to a run, whose rows are in the order of their ids: what is held in
    memory of a walk does not grow with it.

    The JSON file is written last: what it does not count does not exist. Nothing here need survive
    a power failure: where a page does not read back as it was written, all are asked for again.
    """

    def __init__(
        self, store: Store, table: Table, schema: pa.Schema, since: Manifest | None = None
    ) -> None:
        self._table = table.name
        self._batch_rows = store.options.batch_rows
        self.key = table.key[0]
        self._folder = store.root / table.name / (PENDING if since is None else CHANGES)
        # Pages of another schema or asked for in another way do not fit to what comes now, nor do
        # changes since another state.
        reported = f"{FORMAT}\n{schema.to_string(show_schema_metadata=False)}\n{table.sources!r}"
        if since is not None:
            reported += f"\n{since.full_at}\n{since.synced_at}\n{sorted(since.state.items())}"
        self._signature = hashlib.sha256(reported.encode("utf-8", "replace")).hexdigest()
        self._begin()

    def _begin(self) -> None:
        self._first = self._pages = self._runs = 0
        self._reported = False
        # Of all files of a kind, in their order: one that is changed, missing, foreign or of
        # another walk shows.
        self._crc = dict.fromkeys(KINDS, 0)

    def load(self) -> CheckpointState | None:
        """What the last walk left; None where there is nothing to trust."""
        if not (self._folder / WHERE).exists():
            self.drop()
            return None
        try:
            raw = unseal((self._folder / WHERE).read_bytes())
            if raw["signature"] != self._signature:
                self.drop()
                return None
            place = Position(
                began=datetime.fromisoformat(raw["began"]),
                source=int(raw["source"]),
                cursor=raw["cursor"],
                windows=raw["windows"],
                marks=dict(raw["marks"]),
                server_time=datetime.fromisoformat(raw["server_time"])
                if raw["server_time"]
                else None,
                problems=Problems.from_plain(raw["problems"]),
            )
            self._begin()
            self._first, self._pages, self._runs = (
                int(raw["first"]),
                int(raw["pages"]),
                int(raw["runs"]),
            )
            after, runs = range(self._first, self._pages), range(self._runs)
            there = {
                "page": after,
                "note": after if raw["noted"] else (),
                "run": runs,
                "told": runs if raw["told"] else (),
            }
            for kind, numbers in there.items():
                for number in numbers:
                    self._add(kind, zlib.crc32(self._path(kind, number).read_bytes()))
            if self._crc != raw["read_crc32"]:
                raise ValueError("other pages")
            pages, notes, reported = (
                [self._read(kind, number) for number in there[kind]]
                for kind in ("page", "note", "told")
            )
            sorted_runs = [
                SortedRun(InArrow(self._path("run", number)), self.key) for number in runs
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
            self.drop()
            warn(
                f"The saved pages of {self._table!r} are not as they were written: what they held is asked for again."
            )
            return None
        self._reported = bool(reported)
        return CheckpointState(place, pages, notes, sorted_runs, reported, self._pages)

    def add(self, page: pa.Table, place: Position, note: pa.Table | None = None) -> None:
        """Keep a page that came whole, and where the walk stands behind it."""
        with self._making_room():
            make_private(self._folder)
            for kind, rows in (("page", page), ("note", note)):
                if rows is not None:
                    self._add(kind, write_plain(self._path(kind, self._pages), rows))
            self._pages += 1
            self._write(place, noted=note is not None)

    def settle(self, rows: pa.Table, place: Position, note: pa.Table | None = None) -> SortedRun:
        """Keep rows in the order of their ids, in the place of the pages since the last run, and
        one note in the place of theirs.

        The walk stands where it stood.
        """
        with self._making_room():
            path = self._path("run", self._runs)
            self._add("run", write_batches(path, rows, self._batch_rows))
            if note is not None:
                self._add("told", write_plain(self._path("told", self._runs), note))
                self._reported = True
            before = range(self._first, self._pages)
            self._runs, self._first = self._runs + 1, self._pages
            self._crc |= {"page": 0, "note": 0}
            self._write(place, noted=False)
            for number in before:
                for kind in ("page", "note"):
                    self._path(kind, number).unlink(missing_ok=True)
        return SortedRun(InArrow(path), self.key)

    @contextlib.contextmanager
    def _making_room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"A page could not be saved in {self._folder}: {error.strerror}. Make room, or choose another cache_dir."
            ) from error

    def _write(self, place: Position, *, noted: bool) -> None:
        where: dict[str, Any] = {
            "signature": self._signature,
            "first": self._first,
            "pages": self._pages,
            "runs": self._runs,
            "noted": noted,
            "told": self._reported,
            "read_crc32": self._crc,
            "began": place.began.isoformat(),
            "source": place.source,
            "cursor": place.cursor,
            "windows": place.windows,
            "marks": dict(place.marks),
            "server_time": place.server_time.isoformat() if place.server_time else None,
            "problems": asdict(place.problems),
        }
        write_atomic(self._folder / WHERE, seal(where, indent=None), durable=False)

    def drop(self) -> None:
        """Forget the walk: it was finished, or cannot be gone on with."""
        self._begin()
        with contextlib.suppress(OSError):
            (self._folder / WHERE).unlink(missing_ok=True)
            for path in (path for kind in KINDS for path in self._folder.glob(f"{kind}-*")):
                path.unlink()
            self._folder.rmdir()

    def _read(self, kind: str, number: int) -> pa.Table:
        return pa.ipc.open_stream(self._path(kind, number).read_bytes()).read_all()

    def _add(self, kind: str, crc32: int) -> None:
        self._crc[kind] = zlib.crc32(crc32.to_bytes(4, "big"), self._crc[kind])

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}-{number:06d}.arrow"
