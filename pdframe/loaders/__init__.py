"""The loaders of an account: a method a table, and the searches."""

from pdframe.loaders.base import Refresh
from pdframe.loaders.lists import ListLoaders
from pdframe.loaders.per_record import RecordLoaders
from pdframe.loaders.search import Searches

__all__ = ["ListLoaders", "RecordLoaders", "Refresh", "Searches"]
