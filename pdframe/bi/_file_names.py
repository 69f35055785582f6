"""Names of files that are no names of a folder of an export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from pdframe.errors import ArgumentError

_KINDS: Mapping[str, str | None] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".parquet", ".parq", ".pq"), "parquet"),
    **dict.fromkeys((".xlsx", ".xls", ".xlsm"), "xlsx"),
    **dict.fromkeys((".duckdb", ".ddb", ".db", ".sqlite"), "duckdb"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".html", ".htm", ".sql", ".pdf"), None),
    **dict.fromkeys((".feather", ".arrow", ".orc", ".avro", ".hyper", ".pbix", ".twbx"), None),
    **dict.fromkeys((".zip", ".gz", ".tgz", ".tar", ".7z", ".zst"), None),
}
"""By the ending of a file, the nearest format of an export; None: there is none."""


def refuse_file_name(name: str, exists: Callable[[], bool]) -> None:
    """Raise `ArgumentError` for a new folder with the name of a file: a path of one was meant."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in _KINDS and not exists():
        kind = _KINDS[ending]
        format = f"format={kind!r}" if kind else "a format: parquet, csv, duckdb or xlsx"
        raise ArgumentError(
            f"An export is a folder of files, and {name!r} is named like a file. Pass a folder,"
            f" such as 'bi', and {format}."
        )


__all__ = ["refuse_file_name"]
