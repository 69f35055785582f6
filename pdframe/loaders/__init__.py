"""The loaders of tables and the searches: functions that `Account` has as methods."""

from pdframe.loaders import fields, lists, noticed, per_record, records, search, single, urls
from pdframe.loaders.base import Columns, Connected, Refresh

__all__ = [
    "Columns",
    "Connected",
    "Refresh",
    "fields",
    "lists",
    "noticed",
    "per_record",
    "records",
    "search",
    "single",
    "urls",
]
