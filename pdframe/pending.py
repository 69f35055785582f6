"""Pages of a walk that was interrupted, kept so that the next one goes on from there instead of paying for them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe.errors import CacheError
from pdframe.frames import Problems
from pdframe.schema import Table
from pdframe.store import Store, make_private, write_atomic, write_part

FORMAT = 2
WHERE = "walk.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: the next list (`source`) and cursor, and what was known when it began.

    `cursor` is None at the beginning of a list. `began` is this machine's clock, `server_time` the server's. `problems` are those of the
    pages so far: their rows do not show what did not fit.
    """

    began: datetime
    source: int = 0
    cursor: str | None = None
    server_time: datetime | None = None
    problems: Problems = field(default_factory=Problems)


def under_way(store: Store) -> list[str]:
    """Names of the tables of which pages are kept to go on from."""
    return sorted(path.parent.parent.name for path in store.root.glob(f"*/pending/{WHERE}"))


class Pending:
    """The unfinished walk of one table: a folder of pages and a JSON file that says where it stands.

    The JSON file is written last: pages that it does not count do not exist. Nothing here need survive a power failure: a page that does
    not read back is asked for again.
    """

    def __init__(self, store: Store, table: Table, schema: pa.Schema) -> None:
        self._folder = store.root / table.name / "pending"
        # Pages of another schema or asked for in another way do not fit to what comes now.
        told = f"{FORMAT}\n{schema.to_string(show_schema_metadata=False)}\n{table.sources!r}"
        self._signature = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
        self._pages = 0

    def load(self) -> tuple[Place, list[pa.Table], list[pa.Table]] | None:
        """Where the last walk stood, its pages, and the notes beside them; None where there is nothing to trust."""
        try:
            raw = json.loads((self._folder / WHERE).read_bytes())
            if raw["signature"] != self._signature:
                raise ValueError("another schema")
            place = Place(
                began=datetime.fromisoformat(raw["began"]),
                source=int(raw["source"]),
                cursor=raw["cursor"],
                server_time=datetime.fromisoformat(raw["server_time"]) if raw["server_time"] else None,
                problems=Problems.from_plain(raw["problems"]),
            )
            self._pages = int(raw["pages"])
            pages = [pq.read_table(self._path("page", number)) for number in range(self._pages)]
            notes = [pq.read_table(path) for number in range(self._pages) if (path := self._path("note", number)).exists()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
            self.drop()
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
                write_part(self._folder, self._path(kind, self._pages).name, rows, durable=False)
        self._pages += 1
        where: dict[str, Any] = {
            "signature": self._signature,
            "pages": self._pages,
            "began": place.began.isoformat(),
            "source": place.source,
            "cursor": place.cursor,
            "server_time": place.server_time.isoformat() if place.server_time else None,
            "problems": asdict(place.problems),
        }
        write_atomic(self._folder / WHERE, json.dumps(where).encode(), durable=False)

    def drop(self) -> None:
        """Forget the walk: it was finished, or cannot be gone on with."""
        self._pages = 0
        with contextlib.suppress(OSError):
            (self._folder / WHERE).unlink(missing_ok=True)
            for path in self._folder.glob("*.parquet"):
                path.unlink()
            self._folder.rmdir()

    def _path(self, kind: str, number: int) -> Path:
        return self._folder / f"{kind}-{number:06d}.parquet"
