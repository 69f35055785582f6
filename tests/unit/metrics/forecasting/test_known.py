"""What was known of deals at a time: states and outcomes by hand, and that later events change
nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics._arguments import NULL
from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._interface import DAY, LOST, OPEN, WON, OpenDeals
from pdframe.metrics.forecasting.known import Known
from tests.helpers.forecast_frames import past
from tests.helpers.other_pipelines import other_company
from tests.helpers.small_frames import DEALS, STAGES, VISITS, frame

STAGE_FRAME = frame(
    STAGES,
    [
        {"id": 1, "pipeline_id": 1, "order_nr": 1, "name": "A"},
        {"id": 2, "pipeline_id": 1, "order_nr": 2, "name": "B"},
        {"id": 3, "pipeline_id": 2, "order_nr": 1, "name": "C"},
    ],
)
HISTORY = {
    "deal_id": "Int64",
    "column": "str",
    "before": "str",
    "after": "str",
    "time": "datetime64[us, UTC]",
    "seen_at": "datetime64[us, UTC]",
}


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def micros(text: str) -> int:
    return int(day(text).value // 1_000)


def visit(deal: int, stage: int, entered: str, left: str | None, end: str, **more: Any) -> Any:
    return {
        "deal_id": deal,
        "pipeline_id": 2 if stage == 3 else 1,
        "stage_id": stage,
        "visit": 1,
        "entered_at": day(entered),
        "left_at": None if left is None else day(left),
        "end": end,
        "source": "changelog",
        "seen_at": day(entered),
        **more,
    }


def deal(number: int, added: str, status: str = "open", **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": number,
        "add_time": day(added),
        "status": status,
        "is_deleted": False,
        "value": 100.0 * number,
        "currency": "EUR",
        "owner_id": 7,
    }
    row |= {name: day(value) if name.endswith("_time") else value for name, value in more.items()}
    return row


def known(
    deals: list[Any], visits: list[Any], as_of: str, history: list[Any] | None = None
) -> Known:
    changes = None if history is None else frame(HISTORY, history)
    return Known.at(frame(DEALS, deals), frame(VISITS, visits), STAGE_FRAME, as_of, changes)


def at(one: Known, when: str) -> OpenDeals:
    return one.open_at([micros(when)])


def test_a_deal_is_in_the_stage_of_its_visit_and_closes_first_at_its_first_closing():
    one = known(
        [deal(1, "2025-01-01", won_time="2025-06-01", status="won")],
        [
            visit(1, 1, "2025-01-01", "2025-01-11", "advanced"),
            visit(1, 2, "2025-01-11", "2025-01-21", "moved back"),
            visit(1, 1, "2025-01-21", "2025-02-01", "lost", visit=2),
            visit(1, 2, "2025-03-01", "2025-06-01", "won", visit=2),
        ],
        "2025-12-31",
    )
    open_then = one.open_at([micros(text) for text in ("2025-01-05", "2025-01-25", "2025-03-02")])
    assert open_then.stage.tolist() == [1, 1, 2]
    assert open_then.entered.tolist() == [
        micros(text) for text in ("2025-01-01", "2025-01-21", "2025-03-01")
    ]
    assert open_then.moves_back.tolist() == [0, 1, 1]
    outcomes = one.outcomes(open_then)
    assert outcomes.kind.tolist() == [LOST, LOST, WON]
    assert outcomes.time.tolist() == [
        micros(text) for text in ("2025-02-01", "2025-02-01", "2025-06-01")
    ]
    assert len(at(one, "2025-02-15")) == len(at(one, "2025-07-01")) == 0
    assert one.wins.time.tolist() == [micros("2025-06-01")]
    assert one.wins.value.tolist() == [100.0]


def test_a_move_between_pipelines_leaves_a_deal_open():
    one = known(
        [deal(1, "2025-01-01")],
        [
            visit(1, 1, "2025-01-01", "2025-02-01", "changed pipeline"),
            visit(1, 3, "2025-02-01", None, "open"),
        ],
        "2025-06-30",
    )
    open_then = one.open_at([micros("2025-01-15"), micros("2025-03-01")])
    assert open_then.pipeline.tolist() == [1, 2]
    assert one.outcomes(open_then).kind.tolist() == [OPEN, OPEN]


def test_a_deal_deleted_while_open_is_lost_and_one_deleted_after_its_win_is_none():
    one = known(
        [
            deal(1, "2025-01-01", "deleted", is_deleted=True),
            deal(2, "2025-01-01", "deleted", is_deleted=True, won_time="2025-02-01"),
        ],
        [
            visit(1, 1, "2025-01-01", "2025-03-01", "deleted"),
            visit(2, 1, "2025-01-01", "2025-02-01", "won"),
            visit(2, 1, "2025-04-01", "2025-04-01", "deleted", visit=2),
        ],
        "2025-06-30",
    )
    open_then = at(one, "2025-01-15")
    assert open_then.deal.tolist() == [1]
    assert one.outcomes(open_then).kind.tolist() == [LOST]
    assert one.wins.deal.tolist() == []
    before = one.before(micros("2025-03-15"))
    assert before.wins.deal.tolist() == [2]


def test_a_win_that_was_undone_is_a_first_closing_and_no_win():
    one = known(
        [deal(1, "2025-01-01", "lost", lost_time="2025-05-01")],
        [
            visit(1, 1, "2025-01-01", "2025-02-01", "won"),
            visit(1, 1, "2025-05-01", "2025-05-01", "lost", visit=2),
        ],
        "2025-06-30",
    )
    assert one.outcomes(at(one, "2025-01-15")).kind.tolist() == [WON]
    assert one.wins.deal.tolist() == []
    assert one.before(micros("2025-03-01")).wins.deal.tolist() == [1]


def test_a_snapshot_shows_a_visit_from_when_it_was_seen():
    seen = {"source": "snapshots", "seen_at": day("2025-02-01")}
    one = known(
        [deal(1, "2025-01-01")],
        [
            visit(1, 1, "2025-01-01", "2025-01-20", "advanced"),
            visit(1, 2, "2025-01-20", None, "open", **seen),
        ],
        "2025-06-30",
    )
    shown = one.open_at([micros("2025-01-25"), micros("2025-02-01")])
    assert shown.stage.tolist() == [1, 2]
    assert shown.entered.tolist() == [micros("2025-01-01"), micros("2025-01-20")]


def test_a_deal_that_no_visit_shows_yet_is_open_in_an_unknown_stage():
    seen = {"source": "snapshots", "seen_at": day("2025-03-01")}
    one = known(
        [deal(1, "2025-01-01"), deal(2, "2025-01-01", "won", won_time="2025-02-01")],
        [
            visit(1, 2, "2025-01-20", None, "open", **seen),
            visit(2, 2, "2025-01-20", "2025-02-01", "won", **seen),
        ],
        "2025-06-30",
    )
    shown = at(one, "2025-01-25")
    assert shown.deal.tolist() == [1, 2]
    assert shown.stage.tolist() == [NO_ID, NO_ID]
    assert one.outcomes(shown).kind.tolist() == [OPEN, WON]
    assert at(one, "2025-02-15").deal.tolist() == [1]


def test_values_are_those_of_the_history_and_unknown_without_it():
    deals = [deal(1, "2025-01-01", update_time="2025-05-01")]
    visits = [visit(1, 1, "2025-01-01", None, "open")]
    rows = [
        {"column": "value", "after": "10", "time": day("2025-01-01"), "seen_at": day("2025-01-01")},
        {
            "column": "value",
            "before": "10",
            "after": "20",
            "time": day("2025-02-01"),
            "seen_at": day("2025-03-01"),
        },
        {
            "column": "expected_close_date",
            "after": "2025-07-15",
            "time": day("2025-02-01"),
            "seen_at": day("2025-02-01"),
        },
    ]
    history = [{"deal_id": 1, **row} for row in rows]
    one = known(deals, visits, "2025-04-01", history)
    times = [micros(text) for text in ("2025-01-15", "2025-02-15", "2025-03-15")]
    shown = one.open_at(times)
    assert shown.value.tolist() == [10.0, 10.0, 20.0]
    close = (pd.Timestamp("2025-07-15") - pd.Timestamp(0)).days
    assert shown.expected_close.tolist() == [NULL, close, close]
    assert shown.owner.tolist() == [NO_ID] * 3
    # Without a history, a frame with later changes does not say what was known.
    bare = known(deals, visits, "2025-04-01")
    assert not bare.knows_values
    assert np.isnan(at(bare, "2025-04-01").value).all()
    # One without later changes does, at its end.
    now = known(deals, visits, "2025-06-01")
    assert now.open_at([now.as_of]).value.tolist() == [100.0]
    assert np.isnan(at(now, "2025-05-15").value).all()


def test_the_probability_of_a_deal_is_known_from_its_first_snapshot():
    visits = [visit(1, 1, "2025-01-01", None, "open")]
    rows = [(None, "60", "2025-03-01"), ("60", "80", "2025-04-01")]
    history = [
        {"deal_id": 1, "column": "probability", "before": before, "after": after}
        | {"time": day(time), "seen_at": day(time), "source": "first look"}
        for before, after, time in rows
    ]
    one = known([deal(1, "2025-01-01", probability=90.0)], visits, "2025-06-30", history)
    times = [micros(f"2025-{month}-15") for month in ("02", "03", "04")]
    shown = one.open_at(times).probability
    assert shown is not None
    assert shown.tolist() == pytest.approx([np.nan, 60.0, 80.0], nan_ok=True)


def test_a_probability_that_changes_later_is_not_known_earlier_than_others():
    visits = [visit(1, 1, "2025-01-01", None, "open")]
    rows = [(None, "60", "2025-01-01"), ("60", "80", "2025-04-01")]
    history = [
        {"deal_id": 1, "column": "probability", "before": before, "after": after}
        | {"time": day(time), "seen_at": day(time), "source": "changelog"}
        for before, after, time in rows
    ]
    one = known([deal(1, "2025-01-01")], visits, "2025-06-30", history)
    shown = one.open_at([micros("2025-03-15"), micros("2025-04-15")]).probability
    assert shown is not None
    assert shown.tolist() == pytest.approx([np.nan, 80.0], nan_ok=True)


def test_the_value_of_a_win_is_that_at_winning_as_far_as_known():
    deals = [deal(1, "2025-01-01", "won", won_time="2025-03-01", update_time="2025-09-01")]
    visits = [visit(1, 1, "2025-01-01", "2025-03-01", "won")]
    rows = [("10", "2025-01-01", "2025-01-01"), ("20", "2025-02-15", "2025-06-01")]
    rows.append(("30", "2025-08-01", "2025-08-01"))
    history = [
        {"deal_id": 1, "column": "value", "after": value, "time": day(time), "seen_at": day(seen)}
        for value, time, seen in rows
    ]
    # What it was worth when it was won is known once a snapshot shows it.
    assert known(deals, visits, "2025-04-01", history).wins.value.tolist() == [10.0]
    assert known(deals, visits, "2025-07-01", history).wins.value.tolist() == [20.0]
    assert known(deals, visits, "2025-12-01", history).wins.value.tolist() == [20.0]


@pytest.mark.parametrize(
    ("won", "before", "value"),
    [
        # The snapshot of April shows the win and the new value.
        ("2025-03-15", None, 20.0),
        # The snapshot of March showed the win, and the old value beside it.
        ("2025-03-01", None, 10.0),
        ("2025-02-15", None, 10.0),
        # An exact time, from a changelog, is later than the win.
        ("2025-03-15", "exact", 10.0),
        ("2025-04-01", "exact", 20.0),
    ],
)
def test_the_value_of_a_win_is_the_one_beside_which_a_snapshot_first_shows_it(
    won: str, before: str | None, value: float
):
    deals = [deal(1, "2025-01-01", "won", won_time=won, update_time="2025-04-01")]
    visits = [visit(1, 1, "2025-01-01", won, "won")]
    rows = [("10", "2025-01-05", None, "first look")]
    rows.append(("20", "2025-04-01", None if before else "2025-03-01", "snapshots"))
    history = [
        {"deal_id": 1, "column": "value", "after": after, "source": source}
        | {"time": day(time), "seen_at": day(time), "time_after": low and day(low)}
        for after, time, low, source in rows
    ]
    assert known(deals, visits, "2025-06-30", history).wins.value.tolist() == [value]
    # What a later snapshot shows is not known earlier.
    if won < "2025-03-31":
        assert known(deals, visits, "2025-03-31", history).wins.value.tolist() == [10.0]


@pytest.mark.parametrize("won", ["2025-02-01T11:57", "2025-02-01T12:01"])
def test_a_value_is_that_of_the_snapshot_though_that_proves_an_earlier_time_alone(won: str):
    """A snapshot of 12:02 proves all deals as of 11:55 and shows the win beside 10."""
    deals = [deal(1, "2025-01-01", "won", won_time=won, update_time="2025-04-01")]
    visits = [visit(1, 1, "2025-01-01", won, "won")]
    rows = [
        ("value", "10", "2025-01-05", None, "2025-01-05", "first look"),
        ("status", "won", won, None, "2025-02-01T12:02", "snapshots"),
        ("value", "20", "2025-04-01", "2025-02-01T11:55", "2025-04-01", "snapshots"),
    ]
    history = [
        {"deal_id": 1, "column": column, "after": after, "source": source, "time": day(time)}
        | {"time_after": low and day(low), "seen_at": day(seen)}
        for column, after, time, low, seen, source in rows
    ]
    assert known(deals, visits, "2025-06-30", history).wins.value.tolist() == [10.0]


def test_changes_of_one_instant_form_a_chain_in_any_order_of_rows():
    when = {"time": day("2025-02-01"), "seen_at": day("2025-02-01")}
    steps = [("3", "1"), ("5", "3"), (None, "5")]
    history = [
        {"deal_id": 1, "column": "value", "before": before, "after": after, **when}
        for before, after in steps
    ]
    visits = [visit(1, 1, "2025-01-01", None, "open")]
    for order in (history, history[::-1]):
        one = known([deal(1, "2025-01-01")], visits, "2025-04-01", order)
        assert at(one, "2025-03-01").value.tolist() == [1.0]


def test_changes_of_one_instant_that_return_to_their_start_change_nothing():
    first, when = day("2025-01-01"), day("2025-02-01")
    steps = [(None, "5", first), ("5", "1", when), ("1", "5", when)]
    history = [
        {"deal_id": 1, "column": "value", "before": before, "after": after}
        | {"time": time, "seen_at": time}
        for before, after, time in steps
    ]
    visits = [visit(1, 1, "2025-01-01", None, "open")]
    for order in (history, history[::-1]):
        one = known([deal(1, "2025-01-01")], visits, "2025-04-01", order)
        assert at(one, "2025-03-01").value.tolist() == [5.0]


def test_a_history_that_cannot_be_counted_with_is_unknown_as_in_the_frame_of_deals():
    began = {"time": day("2025-01-01"), "seen_at": day("2025-01-01"), "before": None}
    cells = [(1, "9999-12-31", "1e300"), (2, "2099-12-31", "5")]
    history = [
        {"deal_id": number, "column": column, "after": after, **began}
        for number, close, value in cells
        for column, after in (("expected_close_date", close), ("value", value))
    ]
    visits = [visit(number, 1, "2025-01-01", None, "open") for number, _, _ in cells]
    rows = [deal(1, "2025-01-01", value=1e300), deal(2, "2025-01-01", update_time="2026-01-01")]
    shown = at(known(rows, visits, "2025-06-30", history), "2025-03-01")
    assert shown.value.tolist() == pytest.approx([np.nan, 5.0], nan_ok=True)
    assert (shown.expected_close == NULL).tolist() == [True, False]


@pytest.mark.parametrize(("source", "value"), [("first look", 10.0), ("changelog", np.nan)])
def test_the_value_in_a_first_snapshot_is_that_of_an_earlier_win(source: str, value: float):
    deals = [deal(1, "2025-01-01", "won", won_time="2025-03-01", update_time="2025-09-01")]
    visits = [visit(1, 1, "2025-01-01", "2025-03-01", "won")]
    rows = [(None, "10", "2025-04-01", source), ("10", "20", "2025-05-01", "snapshots")]
    history = [
        {"deal_id": 1, "column": "value", "before": before, "after": after, "source": source}
        | {"time": day(time), "seen_at": day(time)}
        for before, after, time, source in rows
    ]
    shown = known(deals, visits, "2025-06-30", history).wins.value.tolist()
    assert shown == pytest.approx([value], nan_ok=True)
    assert np.isnan(known(deals, visits, "2025-03-31", history).wins.value).all()


@pytest.mark.parametrize("end", ["lost", "deleted"])
def test_a_lost_deal_that_is_moved_or_deleted_is_not_closed_again(end: str):
    later = visit(1, 2, "2026-02-01", "2026-02-01", end)
    one = known(
        [deal(1, "2025-01-01", "lost", lost_time="2025-01-11"), deal(2, "2025-01-01")],
        [
            visit(1, 1, "2025-01-01", "2025-01-11", "lost"),
            later,
            visit(2, 1, "2025-01-01", None, "open"),
        ],
        "2026-06-30",
    )
    assert one.closing_times.tolist() == [micros("2025-01-11")]
    assert one.lives.tolist() == ([10 * DAY] if end == "lost" else [])


def test_a_move_out_of_the_visits_that_are_given_is_a_loss():
    one = known(
        [deal(1, "2025-01-01")],
        [visit(1, 1, "2025-01-01", "2025-02-01", "changed pipeline")],
        "2025-06-30",
    )
    assert one.outcomes(at(one, "2025-01-15")).kind.tolist() == [LOST]


def test_a_deal_without_visits_is_what_the_frame_says():
    one = known(
        [
            deal(1, "2025-01-01"),
            deal(2, "2025-01-01", "lost", lost_time="2025-02-01"),
            deal(3, "2025-01-01", "won", won_time="2025-02-01"),
            deal(4, "2026-01-01"),
        ],
        [],
        "2025-06-30",
    )
    shown = at(one, "2025-01-15")
    assert shown.deal.tolist() == [1, 2, 3]
    assert one.outcomes(shown).kind.tolist() == [OPEN, LOST, WON]
    assert one.wins.deal.tolist() == [3]
    assert one.created.deal.tolist() == [1, 2, 3]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_what_was_known_before_is_what_is_known_at_that_time(share: float):
    deals, visits, stages = past()
    one = Known.at(deals, visits, stages, "2026-06-30")
    first = int(one.created.added.min())
    when = first + int((one.as_of - first) * share)
    then = one.before(when)
    fresh = Known.at(deals, visits, stages, pd.Timestamp(when, unit="us", tz="UTC"))
    times = when - np.arange(5) * 30 * DAY
    for name in OpenDeals.__slots__:
        left, right = (getattr(k.open_at(times), name) for k in (then, fresh))
        np.testing.assert_array_equal(left, right)
    for left, right in ((then.created, fresh.created), (then.wins, fresh.wins)):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)
    # Later knowledge does not change which deals were open then, nor their stage.
    shown, later = fresh.open_at([when]), one.open_at([when])
    np.testing.assert_array_equal(shown.deal, later.deal)
    np.testing.assert_array_equal(shown.stage, later.stage)
    np.testing.assert_array_equal(shown.entered, later.entered)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("102", 102),
        ("102.0", 102),
        (str(2**53 + 1), 2**53 + 1),
        ("9" * 19, NO_ID),
        ("1e30", NO_ID),
        ("Ann", NO_ID),
        ("", NO_ID),
    ],
)
def test_the_owner_of_a_change_is_an_exact_id_or_none(text: str, owner: int):
    seen = {"time": day("2025-01-01"), "seen_at": day("2025-01-01")}
    history = [{"deal_id": 1, "column": "owner_id", "after": text, **seen}]
    one = known(
        [deal(1, "2025-01-01")], [visit(1, 1, "2025-01-01", None, "open")], "2025-04-01", history
    )
    assert at(one, "2025-02-01").owner.tolist() == [owner]


def _with_changelogs(
    *more: Any, source: str = "changelog"
) -> tuple[list[Any], list[Any], list[Any]]:
    """Three deals of May, worth 10, of owner 7, in stage 2 since June; `source` says how they are
    known. The rows of `more` are added.
    """
    seen = "2025-05-01" if source == "changelog" else "2025-09-01"
    deals, visits, history = [], [], []
    for number in (1, 2, 3):
        deals.append(deal(number, "2025-05-01", value=10.0, update_time="2025-09-01"))
        moved = {"source": source, "seen_at": day(max(seen, "2025-06-01"))}
        visits.append(visit(number, 1, "2025-05-01", "2025-06-01", "advanced", **moved))
        visits.append(visit(number, 2, "2025-06-01", None, "open", **moved))
        word = "changelog" if source == "changelog" else "first look"
        history += [
            {"deal_id": number, "column": column, "before": None, "after": after, "source": word}
            | {"time": day(seen), "seen_at": day(seen)}
            for column, after in (("value", "10"), ("owner_id", "7"))
        ]
    for part, rows in zip((deals, visits, history), more, strict=False):
        part += rows
    return deals, visits, history


DELETED = (
    [deal(4, "2025-05-01", "deleted", is_deleted=True, update_time="2025-08-20", value=10.0)],
    [visit(4, 2, "2025-06-01", "2025-08-20", "deleted", source="snapshots")],
)
SHOWN_LATE = {"source": "snapshots", "seen_at": day("2025-09-01")}


@pytest.mark.parametrize("is_listed", [False, True])
@pytest.mark.parametrize("as_of", ["2025-07-15", "2025-12-31"])
def test_a_deal_that_is_deleted_later_is_known_as_one_that_is_not(as_of: str, is_listed: bool):
    removed = ([DELETED[0][0]], [{**DELETED[1][0], **SHOWN_LATE}])
    rows = [
        {"deal_id": 4, "column": column, "before": None, "after": after, "source": "first look"}
        | {"time": day("2025-09-01"), "seen_at": day("2025-09-01")}
        for column, after in (("value", "10"), ("owner_id", "7"))
    ]
    deals, visits, history = _with_changelogs(*removed, rows if is_listed else [])
    shown = at(known(deals, visits, as_of, history), "2025-07-01")
    assert shown.deal.tolist() == [1, 2, 3, 4]
    assert shown.stage.tolist() == [2] * 4
    assert shown.value.tolist() == [10.0] * 4
    # No changelog shows a currency: it is unknown of all.
    assert shown.currency.tolist() == [None] * 4
    assert shown.owner.tolist() == [7] * 4
    assert len(set(shown.entered.tolist())) == 1
    # Its stage before is unknown: it does not count then.
    assert at(known(deals, visits, as_of, history), "2025-05-15").deal.tolist() == [1, 2, 3]
    assert at(known(deals, visits, "2025-12-31", history), "2025-08-25").deal.tolist() == [1, 2, 3]


@pytest.mark.parametrize("order", [[3, 0, 1, 2], [0, 3, 2, 1], [2, 1, 3, 0]])
def test_which_deals_are_deleted_does_not_depend_on_the_order_of_rows(order: list[int]):
    removed = ([DELETED[0][0]], [{**DELETED[1][0], **SHOWN_LATE}])
    deals, visits, history = _with_changelogs(*removed)
    mixed = [deals[place] for place in order]
    for as_of, when in (("2025-07-15", "2025-07-01"), ("2025-12-31", "2025-08-10")):
        first, other = (at(known(rows, visits, as_of, history), when) for rows in (deals, mixed))
        assert first.deal.tolist() == other.deal.tolist() == [1, 2, 3, 4]
        for name in ("stage", "entered", "added", "value", "owner", "moves_back"):
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name))


def test_without_changelogs_no_deal_is_known_before_the_first_snapshot():
    removed = ([DELETED[0][0]], [{**DELETED[1][0], **SHOWN_LATE}])
    deals, visits, history = _with_changelogs(*removed, source="snapshots")
    shown = at(known(deals, visits, "2025-12-31", history), "2025-07-01")
    assert shown.deal.tolist() == [1, 2, 3, 4]
    assert shown.stage.tolist() == [NO_ID] * 4
    assert np.isnan(shown.value).all()
    assert shown.owner.tolist() == [NO_ID] * 4


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_deals_without_changelog_were_known_before_as_they_are_at_that_time(share: float):
    """Some deals are deleted before the first snapshot, which alone shows them."""
    company = other_company(3, deals=200)
    deals, visits, stages = company.frames
    lost = deals["status"].isin(["lost", "deleted"])
    removed = deals["id"].isin(deals.loc[lost, "id"].iloc[::4])
    deals = deals.assign(
        status=deals["status"].mask(removed, "deleted"),
        is_deleted=removed,
        probability=50.0,
    )
    own = visits["deal_id"].isin(deals.loc[removed, "id"])
    visits = visits.assign(
        source=visits["source"].astype("str").mask(own, "snapshots"),
        seen_at=visits["seen_at"].mask(own, visits["left_at"].max()),
    )
    history = company.history[~company.history["deal_id"].isin(deals.loc[removed, "id"])]
    now = Known.at(deals, visits, stages, company.as_of, history)
    first = int(now.created.added.min())
    when = first + int((now.as_of - first) * share)
    fresh = Known.at(deals, visits, stages, pd.Timestamp(when, unit="us", tz="UTC"), history)
    times = when - np.arange(5) * 30 * DAY
    then = now.before(when).open_at(times)
    assert np.isin(then.deal, deals.loc[removed, "id"]).any()
    for name in ("deal", "at", "stage", "entered", "value", "owner", "probability"):
        np.testing.assert_array_equal(getattr(then, name), getattr(fresh.open_at(times), name))
