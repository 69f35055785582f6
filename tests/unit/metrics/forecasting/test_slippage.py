"""How often and how far expected closes move."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError
from tests.helpers import small_frames

JUNE: dict[str, Any] = {"since": "2026-06-01", "until": "2026-07-01"}
CLOSE = "expected_close_date"
Change = tuple[str, str | None, str | None, str]


def deal(
    *changes: Change, close: str | None = "2026-06-15", added: str = "2026-03-01", owner: str = "1"
) -> list[Change]:
    first = [("status", None, "open", added), ("owner_id", None, owner, added)]
    dated = [] if close is None else [(CLOSE, None, close, added)]
    return [*first, *dated, *changes]


def frames(*deals: list[Change]) -> tuple[pd.DataFrame, pd.DataFrame]:
    history = small_frames.history(
        [
            {"deal_id": number, "column": c, "before": b, "after": a, "time": t}
            for number, changes in enumerate(deals, 1)
            for c, b, a, t in changes
        ]
    )
    return history, small_frames.deals([{} for _ in deals])


def rows_of(*deals: list[Change], **how: Any) -> pd.DataFrame:
    return metrics.slippage_deals(*frames(*deals), **{**JUNE, **how})


MOVED = deal(
    (CLOSE, "2026-06-15", "2026-06-25", "2026-06-05"),
    (CLOSE, "2026-06-25", "2026-06-20", "2026-06-10"),
    (CLOSE, "2026-06-20", "2026-07-30", "2026-06-18"),
    ("status", "open", "won", "2026-06-28"),
)
EARLY = deal(("status", "open", "won", "2026-06-10"))
LATE = deal(
    (CLOSE, "2026-06-15", "2026-06-30", "2026-06-14"), ("status", "open", "lost", "2026-06-29")
)
STILL = deal(owner="2")


def test_each_deal_says_how_often_it_moved_and_how_far() -> None:
    rows = rows_of(MOVED, EARLY, LATE, STILL)
    assert list(rows.columns) == [
        "deal_id", "title", "first_expected", "last_expected", "moves", "pushed", "pulled",
        "days_pushed", "days_pulled", "net_days", "state", "closed_on", "days_late",
    ]  # fmt: skip
    counted = ["moves", "pushed", "pulled", "days_pushed", "days_pulled", "net_days", "days_late"]
    assert rows[counted].astype(object).where(rows[counted].notna(), None).to_numpy().tolist() == [
        [3, 2, 1, 50, 5, 45, 13],
        [0, 0, 0, 0, 0, 0, -5],
        [1, 1, 0, 15, 0, 15, 14],
        [0, 0, 0, 0, 0, 0, None],
    ]
    assert rows["state"].tolist() == ["won", "won", "lost", "open"]
    assert rows["first_expected"].tolist() == [pd.Timestamp("2026-06-15")] * 4
    assert rows["last_expected"].dt.strftime("%m-%d").tolist() == [
        "07-30", "06-15", "06-30", "06-15",
    ]  # fmt: skip
    assert rows["closed_on"].dt.day.astype("Int64").tolist() == [28, 10, 29, pd.NA]


def test_the_summary_counts_and_averages() -> None:
    result = metrics.slippage(*frames(MOVED, EARLY, LATE, STILL), **JUNE)
    assert len(result) == 1
    assert result.iloc[0].to_dict() == {
        "deals": 4, "moved": 2, "share_moved": 0.5, "moves": 4, "pushed": 3, "pulled": 1,
        "mean_days_pushed": 65 / 3, "mean_days_pulled": 5.0, "median_net_days": 30.0,
        "won": 2, "won_late": 1, "share_won_late": 0.5, "median_days_late": 4.0,
    }  # fmt: skip


def test_a_win_on_the_expected_day_is_not_late() -> None:
    on_time = deal(("status", "open", "won", "2026-06-15 18:00"))
    result = metrics.slippage(*frames(on_time), **JUNE)
    assert result[["won", "won_late", "median_days_late"]].to_numpy().tolist() == [[1, 0, 0.0]]


def test_groups_lead_to_their_deals() -> None:
    history, deals = frames(MOVED, EARLY, LATE, STILL)
    table = metrics.slippage(history, deals, **JUNE, by="owner_id")
    rows = metrics.slippage_deals(history, deals, **JUNE, by="owner_id")
    assert table["owner_id"].tolist() == [1, 2]
    assert table["deals"].tolist() == [3, 1]
    assert table["share_moved"].tolist() == pytest.approx([2 / 3, 0])
    assert table["mean_days_pushed"].isna().tolist() == [False, True]
    for place in range(len(table)):
        assert len(metrics.drill_through(table.iloc[place], rows)) == table["deals"].iloc[place]


def test_what_moved_before_the_window_or_while_closed_is_no_move() -> None:
    before = deal((CLOSE, "2026-06-15", "2026-06-25", "2026-05-20"))
    closed = deal(
        ("status", "open", "won", "2026-06-02"), (CLOSE, "2026-06-15", "2026-09-01", "2026-06-03")
    )
    rows = rows_of(before, closed)
    assert rows["moves"].tolist() == [0, 0]
    assert rows["first_expected"].dt.day.tolist() == [25, 15]


def test_a_deal_that_was_without_a_date_in_between_moved_once() -> None:
    gap = deal((CLOSE, "2026-06-15", None, "2026-06-03"), (CLOSE, None, "2026-06-18", "2026-06-09"))
    rows = rows_of(gap)
    assert rows[["moves", "days_pushed", "net_days"]].to_numpy().tolist() == [[1, 3, 3]]


def test_deals_that_were_never_dated_or_closed_before_do_not_count() -> None:
    undated = deal(close=None)
    over = deal(("status", "open", "lost", "2026-05-01"))
    later = deal((CLOSE, None, "2026-06-20", "2026-06-10"), close=None)
    rows = rows_of(undated, over, later)
    assert rows["deal_id"].tolist() == [3]
    assert rows["moves"].tolist() == [0]


def test_a_reopened_deal_has_the_state_at_the_end() -> None:
    again = deal(("status", "open", "won", "2026-06-02"), ("status", "won", "open", "2026-06-20"))
    rows = rows_of(again)
    assert rows["state"].tolist() == ["open"]
    assert rows["closed_on"].isna().all()


def test_the_day_of_a_win_is_in_the_timezone() -> None:
    won = deal(("status", "open", "won", "2026-06-15 22:00"))
    assert rows_of(won)["days_late"].tolist() == [0]
    assert rows_of(won, tz="Europe/Tallinn")["days_late"].tolist() == [1]


def test_no_deals_are_one_row_of_noughts() -> None:
    history, deals = frames()
    result = metrics.slippage(history, deals, **JUNE)
    assert result[["deals", "moves", "won"]].to_numpy().tolist() == [[0, 0, 0]]
    assert result["share_moved"].isna().all()
    assert metrics.slippage_deals(history, deals, **JUNE).empty


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"since": "soon"}, "since"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"by": "moves"}, "column 'moves' of its own"),
    ],
)
def test_wrong_arguments_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        metrics.slippage(*frames(STILL), **{**JUNE, **how})
