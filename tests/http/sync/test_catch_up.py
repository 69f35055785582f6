"""The catch-up after a range scan, where the server does not do what it was asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pdframe.schema import TABLES
from pdframe.sync.catch_up import _crowded_seconds, _read_upwards
from pdframe.sync.fetch import FetchResult

PAGE = 2


@pytest.mark.parametrize(
    "second",
    [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
)
def test_a_server_that_ignores_since_when_it_is_fetched_is_not_requested_ever(
    second: datetime,
) -> None:
    """All rows changed within one second; whatever time is given, the server begins at the first of
    them.
    """
    source, began = TABLES["deals"].sources[0], datetime(2026, 7, 1, tzinfo=UTC)
    seen = dict.fromkeys(range(1, 6), second)
    requested: list[dict[str, Any]] = []

    def paginate(fetched: FetchResult, source: object, params: dict[str, Any]) -> Any:
        requested.append(params)
        assert len(requested) < 5, "requested again and again"
        for first in (1, 3, 5):
            ids = [one for one in (first, first + 1) if one in seen]
            yield (
                pa.table(
                    {
                        "id": ids,
                        "update_time": pa.array([second] * len(ids), pa.timestamp("us", "UTC")),
                    }
                ),
                "c" if first < 5 else None,
            )

    fetcher: Any = SimpleNamespace(table=TABLES["deals"], paginate=paginate)
    fetched = FetchResult(began, watermarks={source.path: "2026-01-01T00:00:00Z"})
    _read_upwards(
        fetcher,
        fetched,
        source,
        datetime(2026, 1, 1, tzinfo=UTC),
        seen,
        _crowded_seconds(seen, PAGE),
    )
    assert 1 <= len(requested) <= 2
