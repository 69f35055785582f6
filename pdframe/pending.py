"""Pages of a walk, or of a pull of changes, that was interrupted: the next one goes on from there instead of paying for them again."""

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
import pyarrow.parquet as pq

from pdframe.errors import CacheError
from pdframe.files import make_private, seal, unseal, write_atomic, write_part
from pdframe.frames import Problems
from pdframe.frames.problems import warn
from pdframe.schema import Table
from pdframe.store import CHANGES, PENDING, Manifest, Store

FORMAT = 4
WHERE = "walk.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: the next list (`source`) and cursor, and what was known when it began.

    `cursor` is None at the beginning of a list, and where it is walked by `windows`. `began` is this machine's clock, `server_time` the
    server's. `marks` tell up to when each list is complete, of a pull of changes. `problems` are those of the pages so far: their rows do
    not show what did not fit.
    """

    began: datetime
    source: int = 0
    cursor: str | None = None
    windows: Mapping[str, Any] | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    server_time: datetime | None = None
    problems: Problems = field(default_factory=Problems)


def under_way(store: Store) -> list[str]:
    """Names of the tables of which pages are kept to go on from."""
    return sorted({path.parent.parent.name for kind in (PENDING, CHANGES) for path in store.root.glob(f"*/{kind}/{WHERE}")})


class Pending:
    """The unfinished walk of one table, or pull of what changed `since`: a folder of pages and a JSON file that says where it stands.

    The JSON file is written last: pages that it does not count do not exist. Nothing here need survive a power failure: where a page does
    not read back as it was written, all are asked for again.
    """

    def __init__(self, store: Store, table: Table, schema: pa.Schema, since: Manifest | None = None) -> None:
        self._table = table.name
        self._folder = store.root / table.name / (PENDING if since is None else CHANGES)
        # Pages of another schema or asked for in another way do not fit to what comes now, nor do changes since another state.
        told = f"{FORMAT}\n{schema.to_string(show_schema_metadata=False)}\n{table.sources!r}"
        if since is not None:
            told += f"\n{since.full_at}\n{since.synced_at}\n{sorted(since.state.items())}"
        self._signature = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
        self._pages = 0
        # Of all pages, and of all notes, in their order: one that is changed, missing, foreign or of another walk shows.
        self._crc = {"page": 0, "note": 0}

    def load(self) -> tuple[Place, list[pa.Table], list[pa.Table]] | None:
        """Where the last walk stood, its pages, and the notes beside them; None where there is nothing to trust."""
        if not (self._folder / WHERE).exists():
            self.drop()
            return None
        try:
            raw = unseal((self._folder / WHERE).read_bytes())
            if raw["signature"] != self._signature:
                self.drop()
                return None
            place = Place(
                began=datetime.fromisoformat(raw["began"]),
                source=int(raw["source"]),
                cursor=raw["cursor"],
                windows=raw["windows"],
                marks=dict(raw["marks"]),
                server_time=datetime.fromisoformat(raw["server_time"]) if raw["server_time"] else None,
                problems=Problems.from_plain(raw["problems"]),
            )
            self._pages = int(raw["pages"])
            pages = [self._read("page", number) for number in range(self._pages)]
            notes = [self._read("note", number) for number in range(self._pages) if raw["noted"]]
            if self._crc != raw["read_crc32"]:
                raise ValueError("other pages")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
            self.drop()
            warn(f"The saved pages of {self._table!r} are not as they were written: what they held is asked for again.")
            return None
        return place, pages, notes

    def add(self, page: pa.Table, place: Place, note: pa.Table | None = None) -> None:
        """Keep a page that came whole, and where the walk stands behind it."""
        try:
            self._write(page, place, note)
        except OSError as error:
            raise CacheError(
                f"A page could not be saved in {self._folder}: {error.strerror}. Make room, or choose another cache_dir."
            ) from error

    def _write(self, page: pa.Table, place: Place, note: pa.Table | None) -> None:
        make_private(self._folder)
        for kind, rows in (("page", page), ("note", note)):
            if rows is not None:
                part = write_part(self._folder, self._path(kind, self._pages).name, rows, durable=False)
                self._add(kind, part.crc32)
        self._pages += 1
        where: dict[str, Any] = {
            "signature": self._signature,
            "pages": self._pages,
            "noted": note is not None,
            "read_crc32": self._crc,
            "began": place.began.isoformat(),
            "source": place.source,
            "cursor": place.cursor,
            "windows": place.windows,
            "marks": dict(place.marks),
            "server_time": place.server_time.isoformat() if place.server_time else None,
            "problems": asdict(place.problems),
        }
        write_atomic(self._folder / WHERE, seal(where), durable=False)

    def drop(self) -> None:
        """Forget the walk: it was finished, or cannot be gone on with."""
        self._pages = 0
        self._crc = {"page": 0, "note": 0}
        with contextlib.suppress(OSError):
            (self._folder / WHERE).unlink(missing_ok=True)
            for path in self._folder.glob("*.parquet"):
                path.unlink()
            self._folder.rmdir()

    def _read(self, kind: str, number: int) -> pa.Table:
        raw = self._path(kind, number).read_bytes()
        self._add(kind, zlib.crc32(raw))
        return pq.read_table(pa.BufferReader(raw))

    def _add(self, kind: str, crc32: int) -> None:
        self._crc[kind] = zlib.crc32(crc32.to_bytes(4, "big"), self._crc[kind])

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}-{number:06d}.parquet"
