"""Frames of stays and stages written by hand: days since 2026-01-01 instead of times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

DTYPES = {
    **dict.fromkeys(("deal_id", "pipeline_id", "stage_id", "visit"), "Int64"),
    "entered_at": "datetime64[us, UTC]",
    "left_at": "datetime64[us, UTC]",
    "end": pd.CategoricalDtype(
        ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]
    ),
    "source": pd.CategoricalDtype(["changelog", "snapshots", "current"]),
    "entered_after": "datetime64[us, UTC]",
    "left_after": "datetime64[us, UTC]",
    "seen_at": "datetime64[us, UTC]",
}
TIMES = ("entered_at", "left_at", "entered_after", "left_after", "seen_at")


def day(number: float | None) -> pd.Timestamp | None:
    return (
        None
        if number is None
        else pd.Timestamp("2026-01-01", tz="UTC").as_unit("us") + pd.Timedelta(days=number)
    )


def one_visit(
    deal: int,
    stage: int,
    entered: float,
    left: float | None = None,
    end: str | None = None,
    *,
    pipeline: int = 1,
    visit: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """One stay, from the changelog unless `more` says otherwise."""
    return {
        "deal_id": deal,
        "pipeline_id": pipeline,
        "stage_id": stage,
        "visit": visit,
        "entered_at": entered,
        "left_at": left,
        "end": end or ("open" if left is None else "advanced"),
        "source": "changelog",
        "entered_after": None,
        "left_after": None,
        "seen_at": entered,
        **more,
    }


def frame_of(known_visits: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Stays as `account.stage_visits()` gives them."""
    rows = [{**row, **{name: day(row[name]) for name in TIMES}} for row in known_visits]
    more = [name for name in (rows[0] if rows else {}) if name not in DTYPES]
    frame = pd.DataFrame(rows, columns=[*DTYPES, *more])
    return frame.astype(DTYPES)


def stages_of(*rows: tuple[int, int, int, str]) -> pd.DataFrame:
    """Stages of (id, pipeline_id, order_nr, name)."""
    frame = pd.DataFrame(rows, columns=["id", "pipeline_id", "order_nr", "name"])
    return frame.astype({"id": "Int64", "pipeline_id": "Int64", "order_nr": "Int64", "name": "str"})
