"""The manifest of a cached table: which part files are the table, how fresh it is, what it cost.

A manifest is a small JSON file with a checksum of its content. It is replaced in one step after its
parts are on disk, so a table is always the old one or the new one. A part that no manifest names
does not count.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pdframe._files import WRITTEN_BY, Part, seal, unseal

__all__ = ["FORMAT", "Manifest", "from_json", "to_json"]

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the cache holds of one table.

    Times are aware and in UTC. `synced_at` is this machine's clock at the last sync of the table,
    `full_at` the same at the last full load, `server_time` the server's clock at the last sync.
    `state` is what the next sync must know: for each list that the API can filter by change, the
    watermark, which is the newest `update_time` up to which the list is complete. `tokens` is what
    the last sync cost.
    """

    table: str
    parts: tuple[Part, ...]
    rows: int
    synced_at: datetime
    full_at: datetime
    server_time: datetime | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0
    next_part: int = 1

    @property
    def bytes(self) -> int:
        """Size of the table's Parquet files."""
        return sum(part.bytes for part in self.parts)


def to_json(manifest: Manifest) -> bytes:
    """Return the manifest as JSON with a checksum."""
    server_time = manifest.server_time
    parts = [
        {"file": part.file, "rows": part.rows, "bytes": part.bytes, "crc32": part.crc32}
        for part in manifest.parts
    ]
    return seal(
        {
            "format": FORMAT,
            # The package imports this module, so this module cannot import the package.
            WRITTEN_BY: sys.modules["pdframe"].__version__,
            "table": manifest.table,
            "rows": manifest.rows,
            "synced_at": manifest.synced_at.isoformat(),
            "full_at": manifest.full_at.isoformat(),
            "server_time": server_time.isoformat() if server_time else None,
            "state": dict(manifest.state),
            "tokens": manifest.tokens,
            "next_part": manifest.next_part,
            "parts": parts,
        }
    )


def from_json(content: bytes, table: str) -> Manifest:
    """Read a manifest of `table`; raise `ValueError` where it is not what pdframe wrote."""
    raw = unseal(content)
    try:
        return _parse(raw, table)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("a value is missing or has another type") from error


def _parse(raw: Mapping[str, Any], table: str) -> Manifest:
    if raw["format"] != FORMAT or raw["table"] != table:
        raise ValueError("another format or table")
    parts = tuple(
        Part(str(part["file"]), int(part["rows"]), int(part["bytes"]), int(part["crc32"]))
        for part in raw["parts"]
    )
    if not parts or any(Path(part.file).name != part.file for part in parts):
        raise ValueError("parts outside the table's folder")
    server_time = raw["server_time"]
    return Manifest(
        table=table,
        parts=parts,
        rows=int(raw["rows"]),
        synced_at=datetime.fromisoformat(raw["synced_at"]),
        full_at=datetime.fromisoformat(raw["full_at"]),
        server_time=datetime.fromisoformat(server_time) if server_time else None,
        state={str(name): str(value) for name, value in raw["state"].items()},
        tokens=int(raw["tokens"]),
        next_part=int(raw["next_part"]),
    )
