"""The visits that are computed for all simple deals at once are those that `Timeline` gives each
deal by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.history.inputs import NONE
from pdframe.history.simple_visits import SimpleLives
from pdframe.history.stage_visits import Knowledge, visits_frame
from pdframe.sandbox import Company, Switches
from tests.helpers import visits_oracle
from tests.helpers.scale import SCALE, SEED
from tests.helpers.two_witnesses import World

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAGES = pd.DataFrame(
    {
        "id": [1, 2, 3, 4, 5],
        "order_nr": [1, 2, 3, 1, None],
        "pipeline_id": [10, 10, 10, 20, 20],
    }
)
# Rows far apart, in one second, and as far apart as two rows of one write may be.
STEPS = (0, 0, 1, 2, 3, 60, 86_400)


def check_equal(known: Knowledge) -> int:
    """Compare with `Timeline`; return how many changelogs count as simple."""
    assert_frame_equal(visits_frame(known.visits()), visits_frame(known.visits_one_by_one()))
    read = known.read.of_deals(known.observed.ids)
    return len(SimpleLives.of(known.observed, known.changelogs, read).ids)


def pick(random: Random, usual: Any, *others: Any) -> Any:
    """Return the usual value nine times out of ten."""
    return usual if random.random() < 0.9 else random.choice(others)


def written_log(random: Random, deal: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a deal as it is and its changelog, oldest first: mostly in order, with some rows wrong
    or missing.
    """
    time, stage, status = START, random.choice((1, 2, 3, 4, 5)), "open"
    pipeline = 20 if stage > 3 else 10
    rows: list[dict[str, Any]] = []
    row: dict[str, Any] = dict.fromkeys(
        ("stage_change_time", "won_time", "lost_time", "first_won_time")
    )
    row |= {"id": deal, "add_time": pick(random, time, None, time + timedelta(days=1))}
    has_creation = random.random() < 0.3

    def add(key: str, old: Any, new: Any) -> None:
        if random.random() < 0.97:
            values = (pick(random, old, None, "7", "x"), pick(random, new, old, None, "3.0"))
            at = pick(random, time, time + timedelta(seconds=random.choice(STEPS)))
            rows.append({"deal_id": deal, "time": at, "field_key": key} | dict(zip(
                ("old_value", "new_value"), values, strict=True
            )))  # fmt: skip

    if has_creation:
        status = pick(random, "open", "won", "lost", "deleted")
        for key, value in (("stage_id", stage), ("pipeline_id", pipeline), ("status", status)):
            add(key, None, str(value))
    elif random.random() < 0.1:
        status = random.choice(("won", "lost"))
    for _ in range(random.choice((0, 1, 1, 2, 3, 4))):
        time += timedelta(seconds=random.choice(STEPS))
        if random.random() < 0.6 and (status == "open" or random.random() < 0.2):
            then = random.choice((1, 2, 3, 4, 5))
            add("stage_id", str(stage), str(then))
            crossed = 20 if then > 3 else 10
            if crossed != pipeline:
                add("pipeline_id", str(pipeline), str(crossed))
            stage, pipeline = then, crossed
            row["stage_change_time"] = time
        else:
            then = random.choice(("won", "lost", "deleted")) if status == "open" else "open"
            add("status", status, then)
            status = then
    if status in ("won", "lost"):
        row[f"{status}_time"] = pick(random, time, None, START - timedelta(days=1))
        row["first_won_time"] = row["won_time"]
    row["first_won_time"] = pick(random, row["first_won_time"], START, time)
    row["lost_time"] = pick(random, row["lost_time"], time + timedelta(seconds=1))
    row |= {"stage_id": pick(random, stage, None), "pipeline_id": pipeline, "status": status}
    return row | {"is_deleted": status == "deleted"}, rows


@pytest.mark.parametrize("number", range(6 * SCALE))
def test_random_changelogs_give_the_visits_of_the_timeline(number: int) -> None:
    random = Random(f"{SEED}-{number}")
    deals, changes, loaded = [], [], {}
    for deal in range(1, 401):
        row, rows = written_log(random, deal)
        deals.append(row)
        changes += rows if number % 2 else rows[::-1]
        if random.random() < 0.9:
            loaded[deal] = pick(random, START + timedelta(days=9), START + timedelta(days=1))
    if number % 3 == 2:
        random.shuffle(changes)
    frame = pd.DataFrame(deals)
    times = [name for name in frame.columns if name.endswith("_time")]
    frame[times] = frame[times].apply(pd.to_datetime, utc=True)
    frame["stage_id"] = frame["stage_id"].astype("Int64")
    known = Knowledge.of(
        frame,
        changes=pd.DataFrame(changes),
        stages=STAGES,
        loaded=loaded,
        seen_at=START + timedelta(days=8),
    )
    assert check_equal(known) > 50
    # Without changelogs, each deal is observed once.
    check_equal(Knowledge.of(frame, stages=STAGES, seen_at=START + timedelta(days=8)))


@pytest.mark.parametrize("has_creation", [False, True])
@pytest.mark.parametrize("never_moved", ["null", "set"])
def test_most_deals_of_a_company_are_simple(has_creation: bool, never_moved: Any) -> None:
    company = Company(
        seed=SEED,
        deals=200,
        switches=Switches(
            changelog_has_creation=has_creation, stage_change_time_if_never_moved=never_moved
        ),
    )
    now = pd.Timestamp(company.now, unit="s", tz="UTC")
    known = Knowledge.of(
        visits_oracle.state_of(company),
        changes=visits_oracle.changelog(company),
        stages=pd.DataFrame(company.tables["stages"].values()),
        loaded=dict.fromkeys(company.tables["deals"], now),
        seen_at=now,
    )
    assert check_equal(known) > 0.9 * len(company.tables["deals"])


@pytest.mark.parametrize("number", range(5 * SCALE))
def test_changelog_and_snapshots_give_the_visits_of_the_timeline(
    number: int, tmp_path: Path
) -> None:
    world = World(SEED + number, tmp_path, deals=30)
    random = Random(SEED + number)
    loaded = {deal: random.choice(world.observed) for deal in world.deals if random.random() < 0.8}
    changes = world.changes
    limit = changes["deal_id"].map({deal: pd.Timestamp(time) for deal, time in loaded.items()})
    changes = changes[(changes["time"] <= limit) | limit.isna()]
    for deleted in (False, True):
        check_equal(
            Knowledge.of(
                world.frame(deleted=deleted),
                world._history.rows(),
                changes,
                world.stages,
                world._history.snapshots(),
                loaded,
                world.observed[-1],
            )
        )


def test_no_deals_have_no_visits() -> None:
    frame = pd.DataFrame(
        columns=["id", "stage_id", "pipeline_id", "status", "stage_change_time", "add_time"]
    )
    known = Knowledge.of(frame)
    assert check_equal(known) == 0
    assert (known.visits().deal == NONE).sum() == 0
