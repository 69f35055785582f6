"""Snapshots and changelogs of one account, over HTTP, agree on each deal: closed twice, moved
across pipelines, merged, dated by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.metrics import as_of, data_quality, funnel, win_rate
from pdframe.sandbox import Switches
from tests.helpers.cache_files import store_of

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

FIRST, SECOND, ELSEWHERE, MOVABLE = 7, 9, 6, 12
WHEN = "2030-01-01"


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Callable[..., sandbox.SandboxAccount]]:
    accounts: list[sandbox.SandboxAccount] = []

    def connect(**switches: Any) -> sandbox.SandboxAccount:
        accounts.append(
            sandbox.connect(
                seed=1,
                deals=0,
                switches=Switches(**switches),
                cache_dir=tmp_path,
                company="hostile",
                burst=100_000,
                progress=False,
            )
        )
        return accounts[-1]

    yield connect
    for account in accounts:
        account.close()


def after_every_write(
    account: sandbox.SandboxAccount, witness: str, *writes: Callable[[], Any]
) -> pd.DataFrame:
    """Return the stage visits after some writes, from snapshots after each or the changelog."""
    account.sync("deals", "stages")
    for write in writes:
        account.company_model.now += 3_600
        write()
        if witness == "snapshots":
            account.sync("deals", "stages")
    if witness == "changelog":
        account.sync("deals", "stages")
        account.deal_changes()
    visits = account.stage_visits(refresh=False)
    assert set(visits["source"]) <= (
        {"changelog"} if witness == "changelog" else {"snapshots", "current"}
    )
    return visits


def ends_of(visits: pd.DataFrame, deal: int) -> list[list[Any]]:
    mine = visits[visits["deal_id"] == deal]
    return mine[["stage_id", "pipeline_id", "end"]].astype({"end": "str"}).to_numpy(object).tolist()


@pytest.mark.parametrize("witness", ["snapshots", "changelog"])
@pytest.mark.parametrize(("first", "then"), [("lost", "won"), ("won", "lost")])
def test_a_change_between_two_closed_statuses(
    connected: Any, first: str, then: str, witness: str
) -> None:
    account = connected()
    company = account.company_model
    deal = company.add_deal("Closed twice", stage_id=FIRST)
    visits = after_every_write(
        account,
        witness,
        lambda: company.move_deal(deal, SECOND),
        lambda: company.patch_deal(deal, status=first),
        lambda: company.patch_deal(deal, status=then),
    )
    assert ends_of(visits, deal) == [[FIRST, 2, "advanced"], [SECOND, 2, first], [SECOND, 2, then]]
    last, before = visits.iloc[-1], visits.iloc[-2]
    assert last["entered_at"] == last["left_at"]
    assert (last["left_at"] - before["left_at"]) >= pd.Timedelta(hours=1)
    deals, stages = account.deals(refresh=False, labels=False), account.stages(refresh=False)
    table = funnel(visits, stages, as_of=WHEN, pipeline_id=2).set_index("stage")
    counts = table[table["stage_id"] == SECOND][["reached", "advanced", "lost"]].to_numpy().tolist()
    assert counts == [[1, int(then == "won"), int(then == "lost")]]
    assert table.loc["won", "reached"] == int(then == "won")
    # At the time of the first closing, that one stands.
    earlier = funnel(
        visits, stages, as_of=before["left_at"] + pd.Timedelta(minutes=1), pipeline_id=2
    ).set_index("stage")
    assert earlier.loc["won", "reached"] == int(first == "won")
    history = None if witness == "changelog" else store_of(account).read("history").to_pandas()
    assert as_of(deals, visits, WHEN, history)[0]["status"].tolist() == [then]
    assert deals["status"].tolist() == [then]
    assert win_rate(deals, since=None, until=None)[["won", "lost"]].to_numpy().tolist() == [
        [int(then == "won"), int(then == "lost")]
    ]


@pytest.mark.parametrize(
    ("witness", "rows"),
    [
        ("snapshots", "together"),
        ("changelog", "together"),
        ("changelog", "pipeline later"),
        ("changelog", "pipeline earlier"),
        ("changelog", "stage only"),
    ],
)
def test_the_pipeline_of_a_visit_is_that_of_its_stage(
    connected: Any, witness: str, rows: Any
) -> None:
    account = connected(pipeline_move_in_changelog=rows)
    company = account.company_model
    deal = company.add_deal("Across", stage_id=FIRST)
    visits = after_every_write(account, witness, lambda: company.move_deal(deal, ELSEWHERE))
    assert ends_of(visits, deal) == [[FIRST, 2, "changed pipeline"], [ELSEWHERE, 1, "open"]]


def test_a_move_that_left_a_row_of_the_pipeline_alone(connected: Any) -> None:
    """Its changelog has the stage in which the deal was created."""
    account = connected(pipeline_move_in_changelog="pipeline only", changelog_has_creation=True)
    company = account.company_model
    deal = company.add_deal("Across", stage_id=FIRST)
    visits = after_every_write(account, "changelog", lambda: company.move_deal(deal, ELSEWHERE))
    assert ends_of(visits, deal) == [[FIRST, 2, "changed pipeline"], [ELSEWHERE, 1, "open"]]


@pytest.mark.parametrize("witness", ["snapshots", "changelog"])
def test_a_stage_moved_in_the_settings_ends_the_visits_in_it_and_begins_them_again(
    connected: Any, witness: str
) -> None:
    account = connected()
    company = account.company_model
    here, won = (company.add_deal(name, stage_id=MOVABLE) for name in ("Here", "Won"))
    visits = after_every_write(
        account, witness, lambda: company.win_deal(won), lambda: company.move_stage(MOVABLE, 1)
    )
    assert ends_of(visits, here) == [[MOVABLE, 2, "changed pipeline"], [MOVABLE, 1, "open"]]
    assert ends_of(visits, won) == [[MOVABLE, 2, "won"], [MOVABLE, 1, "won"]]
    # The won deal was won in the pipeline that its stage was in then.
    stages = account.stages(refresh=False)
    assert [
        int(funnel(visits, stages, as_of=WHEN, pipeline_id=p)["reached"].iloc[-1]) for p in (1, 2)
    ] == [0, 1]


def test_a_deal_merged_after_its_win_counts_until_then(connected: Any) -> None:
    account = connected()
    company = account.company_model
    merged, kept = (company.add_deal(name, stage_id=FIRST) for name in ("Twice", "Once"))
    visits = after_every_write(
        account,
        "snapshots",
        lambda: company.win_deal(merged),
        lambda: company.merge_deals(merged, kept),
    )
    assert ends_of(visits, merged) == [[FIRST, 2, "won"], [FIRST, 2, "deleted"]]
    deals, stages = account.deals(refresh=False, labels=False), account.stages(refresh=False)
    won = visits.loc[visits["end"] == "won", "left_at"].iloc[0]

    def wins(when: Any, **more: Any) -> int:
        return int(funnel(visits, stages, as_of=when, pipeline_id=2, **more)["reached"].iloc[-1])

    assert [wins(won + pd.Timedelta(minutes=5)), wins(WHEN), wins(WHEN, deleted="keep")] == [
        1,
        0,
        1,
    ]
    assert win_rate(deals, since=None, until=None)["n"].tolist() == [0]
    then = as_of(
        deals, visits, won + pd.Timedelta(minutes=5), store_of(account).read("history").to_pandas()
    )[0]
    assert win_rate(then, since=None, until=None)["won"].tolist() == [1]


@pytest.mark.parametrize("witness", ["snapshots", "changelog"])
def test_a_closing_dated_back_by_hand_is_named(connected: Any, witness: str) -> None:
    account = connected()
    company = account.company_model
    by_hand, as_clicked = (
        company.add_deal(name, stage_id=FIRST) for name in ("By hand", "As clicked")
    )
    visits = after_every_write(
        account,
        witness,
        lambda: company.win_deal(by_hand),
        lambda: company.win_deal(as_clicked),
        lambda: company.patch_deal(by_hand, won_time="2025-11-03T09:00:00Z"),
    )
    # The visit has the time of the event; the date in the deal was typed by hand.
    assert ends_of(visits, by_hand) == [[FIRST, 2, "won"]]
    result = data_quality(
        account.deals(refresh=False, labels=False),
        visits,
        account.stages(refresh=False),
        account.deal_products(),
        as_of=WHEN,
    ).set_index("check")["ids"]
    assert [*result["close_time_disagrees"]] == [by_hand]
    assert [*result["stage_history_disagrees"]] == []
