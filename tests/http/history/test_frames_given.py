"""Frames from elsewhere: stage visits read what can be read, and refuse the rest."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.history import stage_visits

DEALS: dict[str, list[Any]] = {
    "id": [1, 2],
    "stage_id": [5.0, None],
    "pipeline_id": [1, 1],
    "status": ["open", "open"],
    "stage_change_time": ["2026-01-02T00:00:00Z", None],
    "add_time": ["2026-01-01", "2026-01-01"],
}


def test_text_and_floats_are_read() -> None:
    visits = stage_visits(pd.DataFrame(DEALS))
    assert visits["stage_id"].tolist() == [5, pd.NA]
    assert visits["entered_at"].astype(str).tolist() == [
        "2026-01-02 00:00:00+00:00",
        "2026-01-01 00:00:00+00:00",
    ]


@pytest.mark.parametrize("dtype", ["object", "float64", "str"])
def test_a_frame_without_rows_has_no_visits_whatever_its_dtypes(dtype: str) -> None:
    empty = pd.DataFrame({name: pd.Series([], dtype=dtype) for name in DEALS})
    log = pd.DataFrame(
        {
            name: pd.Series([], dtype=dtype)
            for name in ("deal_id", "time", "field_key", "old_value", "new_value")
        }
    )
    visits = stage_visits(empty, None, log)
    assert len(visits) == 0
    assert str(visits["entered_at"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": [1, None]}, "'id' of deals in every row: 1 lack it"),
        ({"id": ["one", "two"]}, "cannot read the column 'id' of deals"),
        ({"stage_id": [1.5, 2.0]}, "cannot read the column 'stage_id' of deals"),
        ({"add_time": ["long ago", "yesterday"]}, "cannot read the column 'add_time' of deals"),
    ],
)
def test_what_cannot_be_read_gives_a_warning(bad: dict[str, list[Any]], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        stage_visits(pd.DataFrame(DEALS | bad))
