"""The frames of an account with enough of a past to forecast from: two stages, 120 deals."""

from __future__ import annotations

from random import Random
from typing import Any

import pandas as pd

from tests.helpers.small_frames import DEALS, STAGES, VISITS, frame

FIRST_ID = 900_001
"""Ids begin here, so that the deals can stand beside those of another account."""
STAGE_IDS, PIPELINE = (901, 902), 900
BEGIN, END = pd.Timestamp("2024-07-01", tz="UTC"), pd.Timestamp("2026-06-30", tz="UTC")


def past(count: int = 120, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Deals, visits and stages: a deal every few days until `END`, of which a good third is won."""
    draw = Random(seed)
    deals: list[dict[str, Any]] = []
    visits: list[dict[str, Any]] = []
    for number in range(count):
        added = BEGIN + (END - BEGIN) * number / count
        _add(draw, FIRST_ID + number, added.floor("s"), deals, visits)
    stages = frame(
        STAGES,
        [
            {"id": stage, "order_nr": order, "name": name, "deal_probability": 100.0}
            for order, (stage, name) in enumerate(zip(STAGE_IDS, ("Talk", "Offer"), strict=True), 1)
        ],
        pipeline_id=PIPELINE,
        is_deleted=False,
        is_deal_rot_enabled=False,
    )
    return frame(DEALS, deals), frame(VISITS, visits), stages


def with_past(
    deals: pd.DataFrame, visits: pd.DataFrame, stages: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The frames of an account, and the past under them, in the account's columns and dtypes."""
    return tuple(
        pd.concat([own, more.reindex(columns=own.columns).astype(own.dtypes)], ignore_index=True)
        for own, more in zip((deals, visits, stages), past(), strict=True)
    )  # type: ignore[return-value]


def _add(
    draw: Random,
    deal: int,
    added: pd.Timestamp,
    deals: list[dict[str, Any]],
    visits: list[dict[str, Any]],
) -> None:
    """Let a deal live: some days in each stage, after each of which it may be lost."""
    at, end, stage = added, "open", STAGE_IDS[0]
    for stage, lost in zip(STAGE_IDS, (0.4, 0.3), strict=True):
        left = (at + pd.Timedelta(days=draw.expovariate(1 / 25))).floor("s")
        u = draw.random()
        end = "lost" if u < lost else ("won" if stage == STAGE_IDS[1] else "advanced")
        is_open = left > END
        visits.append(
            {
                "deal_id": deal,
                "pipeline_id": PIPELINE,
                "stage_id": stage,
                "visit": 1,
                "entered_at": at,
                "left_at": None if is_open else left,
                "end": "open" if is_open else end,
                "source": "changelog",
                "seen_at": at,
            }
        )
        if is_open:
            end = "open"
        if end != "advanced":
            break
        at = left
    closed = end in ("won", "lost")
    deals.append(
        {
            "id": deal,
            "title": f"Deal {deal}",
            "owner_id": 7 + deal % 2,
            "pipeline_id": PIPELINE,
            "stage_id": stage,
            "value": float(100 * (1 + deal % 9)),
            "currency": "EUR",
            "add_time": added,
            "update_time": left if closed else at,
            "is_deleted": False,
            "status": end,
            "won_time": left if end == "won" else None,
            "lost_time": left if end == "lost" else None,
            "expected_close_date": added.tz_localize(None).normalize() + pd.Timedelta(days=60),
        }
    )


__all__ = ["END", "FIRST_ID", "PIPELINE", "STAGE_IDS", "past", "with_past"]
