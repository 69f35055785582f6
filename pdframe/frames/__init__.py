"""Type the JSON rows of the API as Arrow tables, and turn Arrow tables into labelled frames."""

from __future__ import annotations

from pdframe.frames.arrow import PageReader, is_unknown, storage_schema, to_arrow, unify
from pdframe.frames.convert import Problems
from pdframe.frames.frame import Lookup, Rows, empty_frame, is_sorted, to_frame

__all__ = [
    "Lookup",
    "PageReader",
    "Problems",
    "Rows",
    "empty_frame",
    "is_sorted",
    "is_unknown",
    "storage_schema",
    "to_arrow",
    "to_frame",
    "unify",
]
