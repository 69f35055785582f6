"""Random lives of deals that are deleted, restored, hidden and shown: `account.deals(deleted=True)`
tells them as they were.
"""

from __future__ import annotations

import os
import random
from functools import partial

import pandas as pd
import pytest

from pdframe.sync import DEFAULT_OPTIONS
from tests.helpers.deletions import DAY, company, deleted_of, time
from tests.helpers.tuning import LONG_LISTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

LIVES = max(1, int(os.environ.get("PDFRAME_LIFE_EXAMPLES", "1")) // 10)


OPTIONS = {"reloads": DEFAULT_OPTIONS, "changes": LONG_LISTS}


@pytest.fixture(params=["reloads", "changes"])
def how(request: pytest.FixtureRequest) -> str:
    """Short lists are read as a whole, long ones by what changed."""
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(LIVES))
def test_a_random_life_is_reported_as_it_was(how: str, seed: int) -> None:
    """Each deal that any look found, or any list named, and that is gone, is there once, with a
    possible time.
    """
    draw = random.Random(seed)
    with company(options=OPTIONS[how], deleting_moves_update_time=draw.random() < 0.7) as account:
        model = account.company_model
        deleted_at = {
            deal: at for (table, deal), at in model.deleted_at.items() if table == "deals"
        }
        result: set[int] = set()
        named: set[int] = set()
        snapshots: list[int] = []

        def listed() -> set[int]:
            return {
                deal
                for (table, deal), at in model.deleted_at.items()
                if table == "deals" and model.now - at <= 30 * DAY
            }

        def snapshot(*, full: bool) -> None:
            account.deals(refresh="full" if full else True)
            result.update(deal for deal in model.tables["deals"] if deal not in deleted_at)
            named.update(listed())
            snapshots.extend([model.now] * full)

        snapshot(full=True)
        for _ in range(12):
            model.now += draw.choice([60, DAY, 3 * DAY])
            deal = draw.choice(sorted(model.tables["deals"]))
            if draw.random() < 0.3:
                deal = model.add_deal("New", currency="EUR", value=10.0)
            if deal in deleted_at:
                model.show("deals", deal) if (
                    "deals",
                    deal,
                ) in model.hidden else model.undelete_deal(deal)
                del deleted_at[deal]
                # What comes back and goes again before any look was never away.
                snapshot(full=True)
                continue
            (model.delete_deal if draw.random() < 0.8 else partial(model.hide, "deals"))(deal)
            deleted_at[deal] = model.now
            if draw.random() < 0.5:
                snapshot(full=draw.random() < 0.7)
        model.now += DAY
        snapshot(full=True)
        frame = account.deals(deleted=True)
        deleted = deleted_of(frame)
        assert frame["id"].is_unique
        surely = (result | listed()) & set(deleted_at)
        assert surely <= set(deleted.index) <= surely | (named & set(deleted_at))
        for deal in surely:
            reported = deleted.loc[deal, "deleted_time"]
            # A deal that was added and deleted between two snapshots is first in the list at the
            # end.
            seen = (
                min(now for now in snapshots if now >= deleted_at[deal])
                if deal in result
                else model.now
            )
            assert time(deleted_at[deal]) <= reported <= time(seen)
            if ("deals", deal) not in model.deleted_at:
                assert pd.isna(deleted.loc[deal, "is_deleted"])
