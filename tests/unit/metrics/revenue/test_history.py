"""MRR with the history of line items: each month as it was at the time, against the frames of every
look replayed by hand.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import (
    RevenuePolicy,
    committed_mrr,
    drill_through,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    reconcile,
    renewals,
)
from tests.helpers import revenue_frames
from tests.helpers.notices import notes_in, noticed
from tests.helpers.revenue_frames import NO_CANCELLATIONS, days

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

TRACKED = (
    "deal_id",
    "product_id",
    "name",
    "currency",
    "quantity",
    "item_price",
    "discount",
    "discount_type",
    "tax",
    "tax_method",
    "is_enabled",
    "billing_frequency",
    "billing_frequency_cycles",
    "billing_start_date",
)
State = dict[str, Any]
HALF: dict[str, Any] = {"since": "2026-01-01", "until": "2026-07-01"}


def usual(**more: Any) -> State:
    """A line item: 100 a month without end from 1 January 2026, of deal 1."""
    return {
        "deal_id": 1,
        "product_id": 1,
        "name": "Seat",
        "currency": "EUR",
        "quantity": 1.0,
        "item_price": 100.0,
        "discount": 0.0,
        "discount_type": "percentage",
        "tax": 0.0,
        "tax_method": "none",
        "is_enabled": True,
        "billing_frequency": "monthly",
        "billing_frequency_cycles": None,
        "billing_start_date": "2026-01-01",
        **more,
    }


def text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if value == int(value) else repr(value)


def history_of(snapshots: Mapping[str, Mapping[int, State]]) -> pd.DataFrame:
    """What looks at these times tell, as `account.line_history()` writes it; each gives the state
    of every line by id.
    """
    rows, before, earlier = [], {}, None
    for time, lines in snapshots.items():
        for line in sorted({*before, *lines}):
            old, new = before.get(line), lines.get(line)
            common = {"id": line, "deal_id": (new or old)["deal_id"], "time": time, "seen_at": time}
            if old is None:
                reported = [
                    {"column": name, "before": None, "after": text(new[name]), "time_after": None}
                    for name in TRACKED
                    if new[name] is not None
                ]
                source = "first look"
            else:
                reported, source = [], "snapshots"
                if new is None or old.get("gone"):
                    reported.append(
                        {
                            "column": "is_deleted",
                            "before": text(new is not None),
                            "after": text(new is None),
                            "time_after": earlier,
                        }
                    )
                reported += [
                    {
                        "column": name,
                        "before": text(old[name]),
                        "after": text(new[name]),
                        "time_after": earlier,
                    }
                    for name in TRACKED
                    if new is not None and old[name] != new[name]
                ]
                if new is None and old.get("gone"):
                    reported = []
            rows += [{**common, **row, "source": source} for row in reported]
            before[line] = {**old, "gone": True} if new is None else dict(new)
        earlier = time
    frame = pd.DataFrame(
        rows,
        columns=[
            "id",
            "deal_id",
            "column",
            "before",
            "after",
            "time",
            "time_after",
            "source",
            "seen_at",
        ],
    )
    frame = frame.astype(
        {
            "id": "Int64",
            "deal_id": "Int64",
            "column": "str",
            "before": "str",
            "after": "str",
            "source": "category",
        }
    )
    for name in ("time", "time_after", "seen_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    return frame


def frame_of(lines: Mapping[int, State]) -> pd.DataFrame:
    return revenue_frames.lines([{"id": number, **line} for number, line in lines.items()])


def known(
    snapshots: Mapping[str, Mapping[int, State]],
    deals: pd.DataFrame | None = None,
    **arguments: Any,
) -> pd.DataFrame:
    """`mrr_lines` of the last look with the history of all."""
    made = revenue_frames.deals([{}, {}, {}]) if deals is None else deals
    *_, last = snapshots.values()
    return mrr_lines(
        frame_of(last),
        made,
        history=history_of(snapshots),
        **{"cancellations": NO_CANCELLATIONS, **arguments},
    )


def by_month(lines: pd.DataFrame, **window: Any) -> dict[str, float]:
    result = mrr_schedule(lines, **{**HALF, **window})
    return {str(month)[:7]: mrr for month, mrr in zip(result["month"], result["mrr"], strict=True)}


def test_each_month_is_as_it_was_at_the_time() -> None:
    snapshots = {
        "2026-02-10": {1: usual(), 2: usual(deal_id=2, item_price=30.0)},
        "2026-03-20 10:00": {1: usual(item_price=150.0), 2: usual(deal_id=2, item_price=30.0)},
        "2026-05-05": {
            1: usual(item_price=150.0),
            3: usual(deal_id=3, item_price=7.0, billing_start_date="2026-01-15"),
        },
    }
    lines = known(snapshots)
    # 130 up to February; dearer from 20 March on; line 2 was gone on 5 May, and line 3 there, dated
    # back to January.
    assert by_month(lines) == {
        "2026-01": 130,
        "2026-02": 130,
        "2026-03": 180,
        "2026-04": 180,
        "2026-05": 157,
        "2026-06": 157,
    }
    assert lines["id"].tolist() == [1, 1, 3, 2]
    assert days(lines["start"]) == ["2026-01-01", "2026-03-20", "2026-05-05", "2026-01-01"]
    assert days(lines["end"]) == ["2026-03-20", None, None, "2026-05-05"]
    assert lines["end_reason"].tolist() == ["changed", "open", "open", "removed"]
    assert days(lines["known_from"]) == [None, "2026-03-20", "2026-05-05", None]
    assert days(lines["known_until"]) == ["2026-03-20", None, None, "2026-05-05"]
    assert days(lines["agreed_start"]) == ["2026-01-01", "2026-01-01", "2026-01-15", "2026-01-01"]
    assert lines["agreed_end"].isna().all()
    assert lines["agreed_end_reason"].tolist() == ["open"] * 4
    assert lines["item_price"].tolist() == [100, 150, 7, 30]
    # Without the history the past is restated.
    today = mrr_lines(
        frame_of(snapshots["2026-05-05"]),
        revenue_frames.deals([{}, {}, {}]),
        cancellations=NO_CANCELLATIONS,
    )
    assert by_month(today) == {f"2026-{month:02}": 157 for month in range(1, 7)}
    assert list(lines.columns[:23]) == [
        *today.columns[:18],
        "known_from",
        "known_until",
        "agreed_start",
        "agreed_end",
        "agreed_end_reason",
    ]
    assert list(lines.columns[23:]) == list(today.columns[18:])
    assert (
        lines.drop(columns=lines.columns[18:23])
        .drop(columns="end_reason")
        .dtypes.equals(today.drop(columns="end_reason").dtypes)
    )


def test_a_change_is_a_movement_and_leads_to_its_lines() -> None:
    snapshots = {
        "2026-01-10": {1: usual(), 2: usual(billing_frequency_cycles=4, item_price=40.0)},
        "2026-03-20": {
            1: usual(quantity=2.0),
            2: usual(billing_frequency_cycles=6, item_price=40.0),
        },
        "2026-04-20": {
            1: usual(quantity=2.0, is_enabled=False),
            2: usual(billing_frequency_cycles=6, item_price=40.0),
        },
    }
    lines = known(snapshots)
    moved = mrr_movements(lines, since="2026-01-01", until="2026-08-01")
    assert moved["end"].tolist() == [140, 140, 240, 40, 40, 40, 0]
    assert moved["expansion"].tolist() == [0, 0, 100, 0, 0, 0, 0]
    assert moved["contraction"].tolist() == [0, 0, 0, -200, 0, 0, 0]
    # A term that was removed before its end did not expire.
    deleted = known(
        {
            "2026-02-10": {1: usual(), 2: usual(deal_id=2, billing_frequency_cycles=9)},
            "2026-04-20": {1: usual()},
        }
    )
    left = mrr_movements(deleted, **HALF)
    assert (left["churn"].tolist(), left["expired"].tolist()) == ([0, 0, 0, -100, 0, 0], [0] * 6)
    # The version of line 2 that was to end in May was replaced before: nothing expired until July.
    assert (moved["churn"].tolist(), moved["expired"].tolist()) == (
        [0] * 6 + [-40],
        [0] * 6 + [-40],
    )
    months = mrr_customer_months(lines, since="2026-01-01", until="2026-08-01")
    march = drill_through(months.iloc[2], lines)
    assert march[["id", "deal_id", "quantity"]].values.tolist() == [
        [1, 1, 1.0],
        [1, 1, 2.0],
        [2, 1, 1.0],
        [2, 1, 1.0],
    ]


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
@pytest.mark.parametrize("at", ["end", "start"])
@pytest.mark.parametrize("seed", range(2))
def test_every_month_is_that_of_the_frames_of_its_snapshot(seed: int, at: Any) -> None:
    draw, policy = random.Random(seed), RevenuePolicy(at=at)
    deals = revenue_frames.deals(
        [{"org_id": 1 + deal % 3, "won_time": "2024-06-01"} for deal in range(5)]
    )
    months = pd.period_range("2025-01", "2026-06", freq="M")
    lines: dict[int, State] = {}
    removed: dict[int, State] = {}
    snapshots: dict[str, dict[int, State]] = {}
    for month in months:
        for _ in range(draw.randint(1, 4) if snapshots else 20):
            kind, line = draw.random(), draw.choice([*lines] or [0])
            if kind < 0.3 or len(lines) < 8:
                lines[
                    max(
                        [
                            *lines,
                            *removed,
                            *(key for snapshot in snapshots.values() for key in snapshot),
                            0,
                        ]
                    )
                    + 1
                ] = usual(
                    deal_id=draw.randint(1, 5),
                    billing_start_date=(
                        f"202{draw.randint(4, 6)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
                    ),
                    billing_frequency_cycles=draw.choice([None, 3, 12, 24]),
                    item_price=float(draw.randint(1, 400)),
                )
            elif kind < 0.45:
                removed[line] = lines.pop(line)
            elif kind < 0.52 and removed:
                # A deal that is hidden and shown again takes its lines along.
                lines.update([removed.popitem()])
            else:
                column, value = draw.choice(
                    [
                        ("item_price", float(draw.randint(1, 400))),
                        ("quantity", draw.choice([0.5, 2.0, 3.25])),
                        ("product_id", 2),
                        ("billing_frequency_cycles", draw.choice([None, 1, 7])),
                        ("is_enabled", draw.random() < 0.5),
                        (
                            "billing_frequency",
                            draw.choice(["annually", "one-time", "quarterly", "monthly"]),
                        ),
                        (
                            "billing_start_date",
                            draw.choice(["2024-12-31", "2025-06-15", "2026-02-01"]),
                        ),
                        ("discount", 12.5),
                        ("currency", draw.choice(["EUR", "USD"])),
                        ("name", "Other"),
                    ]
                )
                lines[line] = {**lines[line], column: value}
        day = month.end_time if at == "end" else month.start_time
        snapshots[f"{day:%Y-%m-%d} 11:00"] = {key: dict(line) for key, line in lines.items()}
    result = known(snapshots, deals, policy=policy)
    table = {}
    for month, (_, state) in zip(months, snapshots.items(), strict=True):
        window = {"since": month.start_time, "until": month.end_time}
        then = mrr_customer_months(
            mrr_lines(frame_of(state), deals, policy=policy, cancellations=NO_CANCELLATIONS),
            **window,
        )
        now = mrr_customer_months(result, **window)
        keys = ["customer", "currency"]
        expected, ours = (
            frame[frame["mrr"] != 0].set_index(keys)["mrr"].round(6).to_dict()
            for frame in (then, now)
        )
        assert ours == expected, month
        table[month] = expected
    assert sum(map(len, table.values())) > 30
    moved = mrr_movements(result, since="2025-01-01", until="2026-07-01")
    parts = (moved.iloc[:, 2:-1].to_numpy(float) * 1e6).round()
    assert not (parts[:, :-1].sum(axis=1) - parts[:, -1]).any()


def test_a_line_that_arrived_later_counts_from_when_it_was_added() -> None:
    snapshots = {
        "2026-02-10": {1: usual()},
        "2026-05-05": {1: usual(), 2: usual(), 3: usual(), 4: usual()},
    }
    history = history_of(snapshots)
    deals = revenue_frames.deals([{}])
    # Added in March, in January (but not seen in February), and at an unknown time.
    added = ["2025-12-01", "2026-03-31 23:30", "2026-01-15", None]
    frame = revenue_frames.lines(
        [{"id": at + 1, **usual(), "add_time": time} for at, time in enumerate(added)]
    )
    lines = mrr_lines(frame, deals, history=history, cancellations=NO_CANCELLATIONS)
    assert days(lines["known_from"]) == [None, "2026-03-31", "2026-05-05", "2026-05-05"]
    berlin = mrr_lines(
        frame, deals, history=history, cancellations=NO_CANCELLATIONS, tz="Europe/Berlin"
    )
    assert days(berlin["known_from"])[1] == "2026-04-01"
    # One that the history does not tell of, too.
    untold = mrr_lines(
        frame, deals, history=history[history["id"] < 2], cancellations=NO_CANCELLATIONS
    )
    assert days(untold["known_from"]) == [None, "2026-03-31", None, None]
    bare = mrr_lines(
        frame.drop(columns="add_time"), deals, history=history, cancellations=NO_CANCELLATIONS
    )
    assert days(bare["known_from"]) == [None, "2026-05-05", "2026-05-05", "2026-05-05"]


def test_lines_count_from_the_day_on_which_their_deal_was_won() -> None:
    snapshots = {
        "2026-02-10": {1: usual(), 2: usual(deal_id=2, item_price=30.0)},
        "2026-03-20": {1: usual(), 2: usual(deal_id=2, item_price=40.0)},
        "2026-05-20": {1: usual(), 2: usual(deal_id=2, item_price=50.0)},
    }
    won_late = revenue_frames.deals([{}, {"won_time": "2026-04-10 09:00"}])
    lines = known(snapshots, won_late)
    # Deal 2 was won in April: its lines counted nowhere before, though they are billed from January
    # on.
    assert by_month(lines) == {
        "2026-01": 100,
        "2026-02": 100,
        "2026-03": 100,
        "2026-04": 140,
        "2026-05": 150,
        "2026-06": 150,
    }
    of_second = lines[lines["deal_id"] == 2]
    assert days(of_second["start"]) == ["2026-04-10", "2026-04-10", "2026-05-20"]
    assert days(of_second["end"]) == ["2026-04-10", "2026-05-20", None]
    assert days(of_second["agreed_start"]) == ["2026-01-01"] * 3
    moved = mrr_movements(lines, **HALF)
    assert moved["new"].tolist() == [100, 0, 0, 40, 0, 0]
    # Where open deals count too, a deal counts before it is won.
    open_too = known(snapshots, won_late, policy=RevenuePolicy(statuses=("open", "won")))
    assert by_month(open_too) == {
        "2026-01": 130,
        "2026-02": 130,
        "2026-03": 140,
        "2026-04": 140,
        "2026-05": 150,
        "2026-06": 150,
    }


def test_committed_mrr_and_renewals_use_the_versions_known_at_the_time() -> None:
    term = usual(billing_frequency_cycles=6, item_price=10.0)
    snapshots = {
        "2026-02-10": {
            1: usual(billing_start_date="2026-06-01"),
            2: term,
            3: usual(item_price=5.0),
        },
        "2026-03-20": {
            1: usual(billing_start_date="2026-09-01"),
            2: {**term, "billing_frequency_cycles": 12},
        },
    }
    lines = known(snapshots)

    def of(day: str) -> list[list[Any]]:
        result = committed_mrr(lines, as_of=day)
        return [
            [str(row[0])[:7], *row[1:]]
            for row in result[["month", "live", "starting", "ending"]].values.tolist()
            if any(row[2:])
        ]

    before, after = (
        [["2026-06", 15, 100, 0], ["2026-07", 115, 0, -10]],
        [["2026-09", 10, 100, 0], ["2027-01", 110, 0, -10]],
    )
    assert of("2026-01-15") == of("2026-03-19") == before
    assert of("2026-03-20") == of("2026-04-01") == after
    deals = revenue_frames.deals([{}, {}, {}]).assign(add_time=pd.Timestamp("2025-01-01", tz="UTC"))
    ends = {
        day: renewals(lines, deals, as_of=day, within="400D")[["id", "end", "end_reason"]]
        for day in ("2026-03-19", "2026-03-20")
    }
    assert days(ends["2026-03-19"]["end"]) == ["2026-07-01"]
    assert days(ends["2026-03-20"]["end"]) == ["2027-01-01"]
    assert ends["2026-03-19"]["end_reason"].tolist() == ["term"]


def test_reconcile_and_one_time_lines_know_the_current_version_alone() -> None:
    once = usual(billing_frequency="one-time", item_price=900.0)
    snapshots = {
        "2026-02-10": {1: usual(), 2: once, 3: once, 4: usual(item_price=3.0)},
        "2026-03-20": {
            1: usual(item_price=150.0),
            2: {**once, "item_price": 700.0},
            4: {**once, "item_price": 9.0},
        },
    }
    deals = revenue_frames.deals([{"mrr": 150.0, "arr": 1800.0}])
    lines = known(snapshots, deals)
    assert lines[["id", "one_time", "mrr"]].values.tolist() == [
        [1, 0, 100],
        [1, 0, 150],
        [2, 700, 0],
        [4, 0, 3],
        [4, 9, 0],
    ]
    result = reconcile(lines, deals)
    assert (result["mrr"].tolist(), result["reason"].isna().tolist()) == ([150], [True])


def test_lines_of_a_deleted_deal_count_until_its_deletion() -> None:
    snapshots = {
        "2026-01-20": {1: usual(), 2: usual(deal_id=2, item_price=50.0)},
        "2026-04-10": {1: usual()},
    }
    deleted = {"is_deleted": True, "status": "deleted", "update_time": "2026-04-10"}
    deals = revenue_frames.deals([{}, deleted])
    lines = known(snapshots, deals)
    assert list(by_month(lines).values()) == [150, 150, 150, 100, 100, 100]
    assert list(by_month(known(snapshots, deals, deleted="keep")).values()) == [150] * 6
    # account.deal_products(deleted=True) holds the line, too: the same.
    items, history = frame_of(snapshots["2026-01-20"]), history_of(snapshots)
    with_deleted = mrr_lines(items, deals, history=history, cancellations=NO_CANCELLATIONS)
    assert by_month(with_deleted) == by_month(lines)
    assert (
        with_deleted["end_reason"].tolist() == lines["end_reason"].tolist() == ["open", "removed"]
    )
    # Deleted earlier than it was missed; and at a time of which nothing tells.
    earlier = deals.assign(update_time=pd.to_datetime([None, "2026-03-03"], utc=True))
    assert list(by_month(known(snapshots, earlier)).values()) == [150, 150, 100, 100, 100, 100]
    assert list(by_month(known(snapshots, deals.drop(columns="update_time"))).values()) == [100] * 6
    with noticed(
        (r"line items of 1 deals that deals lacks \(2\).*account\.deals\(deleted=True\)"),
    ):
        known(snapshots, revenue_frames.deals([{}]))
    # Deals without a readable id are no reason to fail.
    unreadable = pd.concat([revenue_frames.deals([{}])] * 3, ignore_index=True)
    unreadable["id"] = pd.array([1, None, None], "Int64")
    with noticed(r"deals that deals lacks \(2\)"):
        known(snapshots, unreadable)
    # With some deals and lines of more, there is no warning.
    some = {time: {**lines, 9: usual(deal_id=77)} for time, lines in snapshots.items()}
    known(some, revenue_frames.deals([{}]))


def test_a_cancellation_ends_every_version() -> None:
    snapshots = {"2026-02-10": {1: usual()}, "2026-04-20": {1: usual(item_price=150.0)}}
    cancelled = pd.DataFrame({"deal_id": [1], "date": ["2026-06-10"]})
    lines = known(snapshots, cancellations=cancelled)
    assert list(by_month(lines).values()) == [100, 100, 100, 150, 150, 0]
    assert lines["end_reason"].tolist() == ["changed", "cancelled"]
    early = known(snapshots, cancellations=cancelled.assign(date="2026-03-10"))
    assert list(by_month(early).values()) == [100, 100, 0, 0, 0, 0]
    assert (days(early["start"]), days(early["end"])) == (
        ["2026-01-01", "2026-04-20"],
        ["2026-03-10", "2026-04-20"],
    )
    with noticed("one recurring line without an end counts forever"):
        known(snapshots, cancellations=None)


def test_a_grace_bridges_what_a_removal_leaves() -> None:
    snapshots = {
        "2026-02-10": {1: usual()},
        "2026-03-20": {2: usual(billing_start_date="2026-04-10", item_price=90.0)},
    }
    lines = known(snapshots, policy=RevenuePolicy(renewal_grace="21D"))
    assert list(by_month(lines).values()) == [100, 100, 100, 90, 90, 90]
    assert list(by_month(known(snapshots)).values()) == [100, 100, 0, 90, 90, 90]


def test_lines_in_no_month_are_reported_by_what_they_agreed_on_now() -> None:
    # Edited twice within a month: a version counts in no month, the line does.
    snapshots = {
        "2026-03-01": {1: usual()},
        "2026-03-10": {1: usual(item_price=1.0)},
        "2026-03-20": {1: usual(item_price=2.0)},
    }
    assert list(by_month(known(snapshots)).values()) == [100, 100, 2, 2, 2, 2]
    short = usual(
        billing_frequency="weekly", billing_frequency_cycles=2, billing_start_date="2026-03-02"
    )
    with noticed(r"1 line item begins and ends .* line ids: 1"):
        known({"2026-03-01": {1: short}, "2026-03-20": {1: {**short, "name": "Other"}}})


def test_problems_of_versions_are_reported_once_a_line() -> None:
    snapshots = {
        "2026-03-01": {1: usual(), 2: usual(currency=None)},
        "2026-04-01": {1: usual(billing_frequency_cycles=0), 2: usual(currency=None, name="Other")},
        "2026-05-01": {1: usual(), 2: usual(currency=None)},
    }
    deals = revenue_frames.deals([{"currency": None}])
    with noticed(
        r"2 line items are kept apart .* cycles below 1 \(1: 1\); no currency \(1: 2\)",
    ):
        lines = known(snapshots, deals)
    assert list(by_month(lines).values()) == [100, 100, 100, 0, 100, 100]
    frame = frame_of({1: usual()})
    twice = pd.concat([frame, frame.assign(item_price=7.0)])
    with noticed(r"id occurs twice \(1: 1\)"):
        result = mrr_lines(
            twice,
            revenue_frames.deals([{}]),
            history=history_of({"2026-03-01": {1: usual()}}),
            cancellations=NO_CANCELLATIONS,
        )
    assert result["mrr"].fillna(-1).tolist() == [100, -1]


def test_a_history_in_any_order_and_of_any_reader() -> None:
    snapshots = {
        "2026-02-10": {1: usual(), 2: usual(deal_id=2, item_price=30.5)},
        "2026-03-20": {
            1: usual(item_price=150.25, is_enabled=True, billing_frequency="annually"),
            2: usual(deal_id=2, item_price=30.5),
        },
        "2026-05-05": {1: usual(is_enabled=False)},
    }
    history, deals = history_of(snapshots), revenue_frames.deals([{}, {}])
    frame = frame_of(snapshots["2026-05-05"])
    expected = mrr_lines(frame, deals, history=history, cancellations=NO_CANCELLATIONS)
    assert len(expected) == 3
    for other in (
        history.sample(frac=1, random_state=3),
        history.astype(object),
        history.assign(time=history["time"].astype("str"), id=history["id"].astype("float64")),
        history.convert_dtypes(dtype_backend="pyarrow"),
        history.set_index("column", drop=False),
        history.drop(columns=["deal_id", "time_after", "seen_at"]),
    ):
        result = mrr_lines(frame, deals, history=other, cancellations=NO_CANCELLATIONS)
        pd.testing.assert_frame_equal(result, expected)


def test_an_empty_history_and_frames_that_are_none() -> None:
    frame, deals = frame_of({1: usual()}), revenue_frames.deals([{}])
    without = mrr_lines(frame, deals, cancellations=NO_CANCELLATIONS)
    result = mrr_lines(frame, deals, history=history_of({}), cancellations=NO_CANCELLATIONS)
    assert by_month(result) == by_month(without)
    assert (
        len(mrr_lines(frame_of({}), deals, history=history_of({}), cancellations=NO_CANCELLATIONS))
        == 0
    )
    everything_deleted = known({"2026-02-10": {1: usual()}, "2026-03-20": {}})
    assert list(by_month(everything_deleted).values()) == [100, 100, 0, 0, 0, 0]
    history = history_of({"2026-02-10": {1: usual()}})
    for wrong, message in (
        (
            history.drop(columns="id"),
            r"no column 'id'\. Pass account\.line_history\(\)",
        ),
        (history.drop(columns="after"), r"history has no column 'after'"),
        ({}, "history must be a DataFrame"),
        (history.assign(time="soon"), "'time' holds text"),
    ):
        with pytest.raises(ArgumentError, match=message):
            mrr_lines(frame, deals, history=wrong, cancellations=NO_CANCELLATIONS)
    wild = history_of(
        {"2026-02-10": {1: usual(item_price=5.0)}, "2026-03-20": {1: usual()}}
    ).replace({"after": {"5": "<b>five</b>"}})
    with pytest.warns(DataWarning) as caught:
        mrr_lines(frame, deals, history=wild, cancellations=NO_CANCELLATIONS)
    assert [note.partition(":")[0] for note in notes_in(caught)] == [
        "history",
        "1 line item is kept apart and counts nowhere, line ids by reason",
    ]
    with noticed(
        "history: values that cannot be computed with are read as null: time in 13 rows",
    ) as caught:
        edge = mrr_lines(
            frame,
            deals,
            history=history.assign(time=pd.Timestamp("9999-12-31", tz="UTC")),
            cancellations=NO_CANCELLATIONS,
        )
    assert len(caught) == 1
    assert by_month(edge) == by_month(without)
