"""An account of one stage in which deals are worked on by weeks: what was done, and what a deal
sells, may decide whether it is won.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tests.helpers.forecast_frames import BEGIN, END, PIPELINE, STAGE_IDS
from tests.helpers.small_frames import DAY, DEALS, LINES, STAGES, TIME, VISITS, frame

ACTIVITIES = {
    "id": "Int64", "deal_id": "Int64", "type": "str", "add_time": TIME, "update_time": TIME,
    "due_date": DAY, "done": "boolean", "marked_as_done_time": TIME,
}  # fmt: skip
PRODUCTS = (71, 72)


class WorkedDeals(NamedTuple):
    """Frames as the loaders give them at `END`."""

    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    activities: pd.DataFrame
    deal_products: pd.DataFrame

    @property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """What every forecast takes first."""
        return self.deals, self.visits, self.stages


def worked_deals(
    seed: int, count: int = 700, *, activity_matters: bool = True, product_matters: bool = True
) -> WorkedDeals:
    """Let deals live week by week until `END`.

    Each week a deal may turn from worked on to idle and back. One that is worked on has an activity
    in four weeks of five, an idle one in one of twenty. Where activity matters, the first is won
    six times as often; where the product does, the first product is won four times as often. Deals
    are lost at the same rate, whatever happens.
    """
    random = np.random.default_rng([77, seed])
    week = pd.Timedelta(days=7)
    deals: list[dict[str, Any]] = []
    visits: list[dict[str, Any]] = []
    activities: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for number in range(count):
        deal = number + 1
        added = at = (BEGIN + (END - BEGIN) * number / count).floor("s")
        product = int(random.integers(2))
        lines.append({"deal_id": deal, "product_id": PRODUCTS[product], "add_time": added})
        worked, end = bool(random.random() < 0.5), "open"
        while end == "open" and at + week <= END:
            worked ^= bool(random.random() < 0.1)
            if random.random() < (0.8 if worked else 0.05):
                planned = at + pd.Timedelta(days=1)
                done = at + pd.Timedelta(days=4)
                activities.append(
                    {"deal_id": deal, "add_time": planned, "marked_as_done_time": done}
                )
            at += week
            chance = (0.09 if worked else 0.015) if activity_matters else 0.04
            chance *= (1.6, 0.4)[product] if product_matters else 1.0
            draw = random.random()
            end = "won" if draw < chance else "lost" if draw < chance + 0.03 else "open"
        closed = None if end == "open" else at
        row = {
            "id": deal, "title": f"Deal {deal}", "owner_id": 1, "value": 100.0, "currency": "EUR",
            "pipeline_id": PIPELINE, "stage_id": STAGE_IDS[0], "is_deleted": False, "status": end,
            "add_time": added, "update_time": closed or added,
        }  # fmt: skip
        deals.append(row | ({} if closed is None else {f"{end}_time": closed}))
        visit = {"deal_id": deal, "pipeline_id": PIPELINE, "stage_id": STAGE_IDS[0], "visit": 1}
        times = {"entered_at": added, "left_at": closed, "seen_at": added}
        visits.append(visit | times | {"end": end, "source": "changelog"})
    for table in (activities, lines):
        for place, row in enumerate(table):
            row["id"] = place + 1
    stages = frame(
        STAGES,
        [{"id": STAGE_IDS[0], "order_nr": 1, "name": "Talk", "pipeline_id": PIPELINE}],
        deal_probability=100.0,
    )
    return WorkedDeals(
        frame(DEALS, deals),
        frame(VISITS, visits),
        stages,
        frame(ACTIVITIES, activities, done=True, type="call"),
        frame(LINES | {"product_id": "Int64"}, lines),
    )
