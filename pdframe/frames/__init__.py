"""Wire rows to Arrow tables, and Arrow tables to labelled frames."""

from __future__ import annotations

from pdframe.frames.arrow import is_unknown, storage_schema, to_arrow, unify
from pdframe.frames.frame import Lookup, empty_frame, to_frame
from pdframe.frames.problems import Problems

__all__ = ["Lookup", "Problems", "empty_frame", "is_unknown", "storage_schema", "to_arrow", "to_frame", "unify"]
