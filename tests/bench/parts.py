"""What small parts cost a reader: thousands of them, beside what a sync puts together."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pdframe._files import make_private
from pdframe.cache.store import Manifest, Store
from pdframe.frames import storage_schema
from pdframe.schema.snapshots import OF_DEALS
from tests.bench.table import report, seconds
from tests.helpers.cache_files import write_part

PARTS = 3_000


def many_parts() -> None:
    """Read a kept history of one row a part, put it together, and read it again."""
    name, now = OF_DEALS.rows.name, datetime.now(UTC)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), "account")
        store.open()
        make_private(store.root / name)
        row = pa.Table.from_pylist(
            [{"deal_id": 1, "look": 1, "seen_at": now}], storage_schema(OF_DEALS.rows)
        )
        synced, os.fsync = os.fsync, lambda file: None
        try:
            parts = tuple(
                write_part(store.root / name, f"part-{number:06d}.parquet", row)
                for number in range(1, PARTS + 1)
            )
        finally:
            os.fsync = synced
        manifest = Manifest(name, (), 0, now, now, next_part=PARTS + 1)
        store.publish(replace(manifest, parts=parts, rows=PARTS))
        before = seconds(lambda: store.read(name))
        together = seconds(store.prepare)
        after = seconds(lambda: store.read(name))
        report(
            f"seconds: {PARTS:,} parts put together / read as they are",
            f"{together:.2f} s",
            f"{before:.2f} s",
            together / before,
        )
        report(
            f"seconds: read after that / {PARTS:,} parts",
            f"{after:.3f} s",
            f"{before:.2f} s",
            after / before,
        )
