"""The status by which a deal counts reads no more than it needs."""

from __future__ import annotations

import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics._states import counted_status

DEALS = pd.DataFrame(
    {"id": [1, 2], "status": ["open", "deleted"], "update_time": ["some day", "another"]}
)


def test_without_as_of_an_odd_time_of_update_is_not_read() -> None:
    assert counted_status(DEALS, "UTC").isna().tolist() == [False, True]


def test_with_as_of_it_is_an_error_that_names_the_column() -> None:
    with pytest.raises(ArgumentError, match="update_time"):
        counted_status(DEALS, "UTC", as_of=pd.Timestamp("2026-01-01", tz="UTC"))
