"""The log of forecasts: every forecast that was issued, append-only.

A forecast cannot be made again as it was: the method, the data and the version of pdframe change.
So each one is appended with its time before the user sees it, and is never changed or deleted.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.quarantine import quarantine
from pdframe.cache.snapshots import kept_parts
from pdframe.cache.store import Store
from pdframe.errors import DamagedError
from pdframe.frames import storage_schema, unify
from pdframe.schema.forecasts import ISSUED_FORECASTS

__all__ = ["IssuedForecasts"]

_NAME = ISSUED_FORECASTS.name


class IssuedForecasts:
    """The forecasts that were issued for one account.

    Parameters
    ----------
    store
        The cache of the account.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self) -> pa.Table:
        """Return every row, in the order in which forecasts were issued.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote a column in a form that this one does not know.
        DamagedError
            A file cannot be trusted.
        """
        parts = kept_parts(
            self._store,
            ISSUED_FORECASTS,
            "It holds the forecasts that were issued, which cannot be made again.",
            "Restore the file from a backup; else the next forecast quarantines it and begins a"
            " new log.",
        )
        return unify(parts, ISSUED_FORECASTS)[0]

    def append(self, rows: pa.Table, *, now: datetime) -> int:
        """Append the rows of one forecast; return its number.

        Parameters
        ----------
        rows
            The columns of `ISSUED_FORECASTS`, without `issue`.
        now
            This machine's clock, for the manifest alone.
        """
        with self._store.lock():
            number = 1 + (pc.max(self._readable()["issue"]).as_py() or 0)
            schema = storage_schema(ISSUED_FORECASTS)
            numbered = rows.append_column("issue", pa.repeat(pa.scalar(number), rows.num_rows))
            manifest = self._store.begun(_NAME, schema.empty_table(), now)
            self._store.append(manifest, numbered.select(schema.names).cast(schema), synced_at=now)
        return number

    def _readable(self) -> pa.Table:
        """Return the rows; quarantine the log where it is damaged."""
        try:
            return self.rows()
        except DamagedError as error:
            suffix = quarantine(self._store, _NAME)
            warn(
                f"The log of forecasts cannot be continued. {error} It is quarantined as"
                f" {_NAME}{suffix} in {self._store.root}, and a new one begins."
            )
            return storage_schema(ISSUED_FORECASTS).empty_table()
