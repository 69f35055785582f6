"""One bad cell costs its own row: the edge of time, infinities, taxes that leave nothing, in every
timezone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning
from tests.helpers import revenue_frames, small_frames
from tests.helpers.notices import noticed

ZONES = ["UTC", "Asia/Tokyo", "Europe/Tallinn", "America/Los_Angeles"]
EDGES = ["9999-12-31T23:59:59", "9999-12-31", "9999-12-30T20:00", "0001-01-01", "0001-01-01T23:00"]
YEAR: dict[str, Any] = {"since": "2025-01-01", "until": "2026-01-01"}


def two_wins(edge: str, **more: Any) -> pd.DataFrame:
    """A deal won in March 2025, and one won at the edge of time."""
    won = {"status": "won", "add_time": "2025-01-02 12:00", **more}
    return small_frames.deals(
        [{**won, "won_time": "2025-03-10"}, {**won, "won_time": edge}]
    ).assign(org_id=[1, 2], person_id=1)


@pytest.mark.filterwarnings("ignore:.* are closed without a date:pdframe.errors.DataWarning")
@pytest.mark.filterwarnings(
    "ignore:deals. values that cannot be computed with:pdframe.errors.DataWarning"
)
@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("edge", EDGES)
def test_a_win_at_the_edge_of_time_costs_its_own_row(edge: str, tz: str) -> None:
    deals = two_wins(edge)
    lines = revenue_frames.lines([{"deal_id": 1}, {"deal_id": 2}])
    with pytest.warns(DataWarning) as said:
        assert metrics.win_rate(deals, **YEAR, tz=tz)[["n", "won"]].to_numpy().tolist() == [[1, 1]]
    assert any(
        "won_time in 1 row, for example" in str(one.message) and "(id 2)" in str(one.message)
        for one in said
    )
    with noticed("won_time in 1 row", others="are closed without a date"):
        result = metrics.sales_velocity(deals, **YEAR, tz=tz)
    # From noon of 2 January to 10 March.
    assert result[["opportunities", "won", "mean_days"]].to_numpy().tolist() == [[2, 1, 66.5]]
    with noticed("no start date", others="are closed without a date|won_time in 1 row"):
        assert metrics.mrr_lines(
            lines, deals, tz=tz, cancellations=revenue_frames.NO_CANCELLATIONS
        )["mrr"].fillna(-1).tolist() == [
            100.0,
            -1.0,
        ]
    with noticed("won_time in 1 row", others="are closed without a date"):
        money = metrics.convert(deals, "EUR", {"EUR": 1.0, "USD": 0.9}, on="won_time", tz=tz)
    assert money["value_in_EUR"].tolist() == [100.0, 100.0]
    dated = pd.DataFrame({"currency": ["EUR"], "date": ["2025-01-01"], "rate": [1.0]})
    with noticed("won_time in 1 row", others="are closed without a date"):
        money = metrics.convert(deals, "EUR", dated, on="won_time", tz=tz)
    assert money["value_in_EUR"].fillna(-1).tolist() == [100.0, -1.0]


@pytest.mark.filterwarnings("ignore:.* are closed without a date:pdframe.errors.DataWarning")
@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("sign", [1, -1])
def test_infinity_as_databases_write_it_costs_its_own_row(sign: int, tz: str) -> None:
    """DuckDB hands over `infinity` as the largest number of microseconds or days, far after the
    year 9999.
    """
    deals = two_wins("2025-03-11")
    for kind, name, width in (
        (pa.timestamp("us", tz), "won_time", pa.int64()),
        (pa.date32(), "expected_close_date", pa.int32()),
    ):
        infinity = sign * (2**width.bit_width // 2 - 1)
        values = pa.array([None, infinity], width).cast(kind)
        if name == "won_time":
            values = pa.concat_arrays(
                [pa.array([pd.Timestamp("2025-03-10", tz="UTC")], kind), values.slice(1)]
            )
        deals[name] = pd.array(values, dtype=pd.ArrowDtype(kind))
    with noticed("won_time in 1 row, for example", others="are closed without a date"):
        assert metrics.win_rate(deals, **YEAR, tz=tz)[["n", "won"]].to_numpy().tolist() == [[1, 1]]
    with noticed("expected_close_date in 1 row, for example"):
        result = metrics.deal_aging(
            deals.assign(status="open", won_time=pd.NaT),
            small_frames.visits([]),
            small_frames.stages([{}]),
            as_of="2025-06-30",
            tz=tz,
        )
    assert result["expected_close_date"].isna().tolist() == [True, True]


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("edge", EDGES)
def test_a_visit_at_the_edge_of_time_costs_its_own_row(edge: str, tz: str) -> None:
    rows = [
        {"deal_id": 1, "entered_at": "2025-01-01", "left_at": "2025-01-11"},
        {"deal_id": 2, "entered_at": edge, "left_at": "9999-12-31"},
    ]
    visits, stages = small_frames.visits(rows), small_frames.stages([{}])
    calls: list[Callable[[pd.DataFrame], pd.DataFrame]] = [
        lambda visits: metrics.funnel(visits, stages, as_of="2025-06-30", tz=tz),
        lambda visits: metrics.stage_velocity(visits, stages, as_of="2025-06-30", tz=tz),
        lambda visits: metrics.stage_moves(visits, stages, as_of="2025-06-30", tz=tz),
    ]
    for naive in (False, True):
        # Times without a timezone are in `tz`.
        given = (
            visits.assign(
                **{
                    name: visits[name].dt.tz_localize(None)
                    for name in ("entered_at", "left_at", "seen_at")
                }
            )
            if naive
            else visits
        )
        for call in calls:
            with noticed(r"visits: 1 visits begin or end at the edge of time .* of deal 2"):
                result = call(given)
            pd.testing.assert_frame_equal(result, call(given.iloc[:1]))


def test_an_exit_on_the_last_day_is_none_yet() -> None:
    visits = small_frames.visits(
        [{"deal_id": 1, "entered_at": "2025-01-01", "left_at": "9999-12-31", "end": "won"}]
    )
    result = metrics.stage_velocity(
        visits, small_frames.stages([{}]), as_of="2025-06-30", tz="Asia/Tokyo"
    )
    assert result[["visits", "open"]].to_numpy().tolist() == [[1, 1]]


@pytest.mark.parametrize("edge", ["9999-12-31", "0001-01-01"])
def test_a_line_that_starts_at_the_edge_of_time_is_kept_apart(edge: str) -> None:
    lines = revenue_frames.lines([{"billing_start_date": "2025-03-03"}, {}])
    lines["billing_start_date"] = lines["billing_start_date"].where(
        [True, False], pd.Timestamp(edge).as_unit("us")
    )
    with noticed(r"starts on 31 December 9999 or in year 1 \(1: 2\)"):
        result = metrics.mrr_lines(
            lines, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS
        )
    assert len(metrics.committed_mrr(result, as_of="2026-06-30")) == 1
    assert (
        metrics.mrr_schedule(result, since=None, until="2025-06-01")["mrr"].tolist() == [100.0] * 3
    )


def test_an_end_on_the_last_day_is_none() -> None:
    lines, deals = (
        revenue_frames.lines([{"billing_start_date": "2025-03-03"}]),
        revenue_frames.deals([{}]),
    )
    cancelled = pd.DataFrame({"deal_id": [1], "date": np.array(["9999-12-31"], "M8[us]")})
    open_ = metrics.mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS)
    pd.testing.assert_frame_equal(metrics.mrr_lines(lines, deals, cancellations=cancelled), open_)
    # A ledger from elsewhere writes it where it knows no end.
    reported = open_.assign(end=pd.Timestamp("9999-12-31").as_unit("us")).drop(
        columns=["month_from", "month_until"]
    )
    pd.testing.assert_frame_equal(
        metrics.mrr_schedule(reported, **YEAR), metrics.mrr_schedule(open_, **YEAR)
    )
    assert (metrics.committed_mrr(reported, as_of="2025-06-30")["ending"] == 0).all()


@pytest.mark.parametrize("tax", [-100.0, -250.0])
def test_a_tax_that_leaves_no_price_keeps_its_line_apart(tax: float) -> None:
    lines = revenue_frames.lines(
        [{"tax_method": "inclusive"}, {"tax_method": "inclusive", "tax": tax}]
    ).assign(sum=100.0)
    with pytest.warns(DataWarning) as said:
        result = metrics.mrr_lines(
            lines,
            revenue_frames.deals([{"value": 100.0}]),
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )
    assert result["problem"].fillna("").tolist() == ["", "tax of -100 % or less"]
    assert {one.category for one in said} == {DataWarning}


@pytest.mark.parametrize("dtype", ["float64", "Float64", "double[pyarrow]"])
def test_an_infinite_amount_costs_its_own_row(dtype: str) -> None:
    deals = two_wins("2025-03-10")
    with noticed(r"value in 1 row, for example inf \(id 2\)"):
        result = metrics.sales_velocity(
            deals.assign(value=pd.Series([100.0, np.inf]).astype(dtype)), **YEAR
        )
    assert result["mean_value"].tolist() == [100.0]
    ledger = revenue_frames.ledger({}, {}).assign(mrr=pd.Series([100.0, -np.inf]).astype(dtype))
    with noticed("mrr in 1 row, for example -inf"):
        assert metrics.mrr_schedule(ledger, **YEAR | {"until": "2027-01-01"})["mrr"].max() == 100.0
    plan = pd.DataFrame(
        {
            "id": [1, 2],
            "deal_id": 1,
            "billing_date": pd.to_datetime(["2025-05-01"] * 2),
            "amount": [5.0, np.inf],
        }
    )
    with noticed("1 installments have no date or amount, or one out of range"):
        bills = metrics.billing_schedule(
            revenue_frames.lines([]),
            plan.astype({"amount": dtype}),
            revenue_frames.deals([{}]),
            **YEAR,
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )
    assert bills["amount"].tolist() == [5.0]


HUGE = pd.DataFrame({"deal_id": [1], "id": ["a"], "type": ["percentage"], "amount": [-1e308]})


@pytest.mark.filterwarnings("ignore:.*No cancellations are given:pdframe.errors.DataWarning")
def test_an_amount_that_no_sum_holds_costs_its_own_row() -> None:
    """Each of these ended in a bare RuntimeWarning of numpy."""
    once = revenue_frames.lines([{"billing_frequency": "one-time"}])
    with noticed(r"amount in 1 row, for example -1e\+308 \(deal_id 1\)"):
        assert metrics.mrr_lines(once, revenue_frames.deals([{}]), discounts=HUGE)[
            "one_time"
        ].tolist() == [100.0]
    ledger = revenue_frames.ledger({}, {"customer": 2}).assign(mrr=[100.0, 1e308])
    deals = revenue_frames.deals([{"mrr": 100.0, "arr": 1200.0}, {"mrr": -1e308, "arr": None}])
    with noticed(r"mrr in 1 row, for example 1e\+308 \(id 2\)"):
        result = metrics.reconcile(ledger, deals)
    assert result["difference"].tolist() == [0.0, -1e308]
    assert result["reason"].isna().tolist() == [True, False]
    wins = two_wins("2025-03-10").assign(value=[1e308, 100.0])
    with noticed(r"value in 1 row, for example 1e\+308 \(id 1\)"):
        assert metrics.sales_velocity(wins, **YEAR)["mean_value"].tolist() == [100.0]
    plan = revenue_frames.installments(
        [
            {"billing_date": "2025-05-01", "amount": 5.0},
            {"billing_date": "2025-05-01", "amount": 1e308},
        ]
    )
    with noticed("1 installments have no date or amount, or one out of range"):
        bills = metrics.billing_schedule(
            revenue_frames.lines([]), plan, revenue_frames.deals([{}]), **YEAR
        )
    assert bills["amount"].tolist() == [5.0]


def test_a_lone_surrogate_costs_no_call() -> None:
    stages = small_frames.stages([{}])
    stages["name"] = pd.Series(["a\ud800"], dtype=object)
    visits = small_frames.visits(
        [{"deal_id": 1, "entered_at": "2025-01-01", "left_at": "2025-01-11"}]
    )
    result = metrics.stage_velocity(visits, stages, as_of="2025-06-01")
    assert result["stage"].tolist() == ["a\ufffd"]


def test_a_nan_in_a_nullable_column_is_a_null() -> None:
    kept = pd.arrays.FloatingArray(np.array([100.0, np.nan]), np.array([False, False]))
    result = metrics.sales_velocity(two_wins("2025-03-10").assign(value=kept), **YEAR)
    assert result["mean_value"].tolist() == [100.0]


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        (["True", "False"], 1),
        (["true", "0"], 1),
        ([1, 0], 1),
        ([1.0, None], 2),
        (["TRUE", None], 2),
    ],
)
def test_flags_as_text_or_numbers_are_read(values: list[Any], counted: int) -> None:
    """A disabled line as text was counted as if it were enabled."""
    lines = revenue_frames.lines([{}, {}]).assign(is_enabled=pd.Series(values))
    assert (
        len(
            metrics.mrr_lines(
                lines, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS
            )
        )
        == counted
    )


def test_a_flag_that_is_none_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match="'is_enabled' holds values that are neither true nor false"
    ):
        metrics.mrr_lines(
            revenue_frames.lines([{}]).assign(is_enabled="maybe"),
            revenue_frames.deals([{}]),
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )


def test_two_deals_in_arrow_dtypes_give_what_numpy_gives() -> None:
    at = pd.to_datetime(["2026-01-01"] * 2, utc=True)
    deals = pd.DataFrame(
        {
            "id": [1, 2],
            "status": "won",
            "add_time": at,
            "won_time": at,
            "lost_time": pd.to_datetime([None] * 2, utc=True),
        }
    )
    for rows in (deals, deals.head(1)):
        arrow = rows.convert_dtypes(dtype_backend="pyarrow")
        pd.testing.assert_frame_equal(
            metrics.win_rate(arrow, since=None, until=None),
            metrics.win_rate(rows, since=None, until=None),
        )


def test_days_are_cut_in_the_timezone_that_the_frame_names() -> None:
    late = small_frames.deals([{"status": "won", "won_time": "2025-12-31 23:30"}])
    for tz, won in (("UTC", 1), ("Europe/Tallinn", 0)):
        named = late.copy()
        named.attrs["tz"] = tz
        result = metrics.win_rate(named, **YEAR)
        assert (result.attrs["tz"], result["n"].tolist()) == (tz, [won])
        assert metrics.win_rate(named, **YEAR, tz="UTC").attrs["tz"] == "UTC"
    assert metrics.win_rate(late, **YEAR).attrs["tz"] == "UTC"


def test_a_frame_that_names_no_timezone_of_this_world_is_read_in_utc() -> None:
    deals = small_frames.deals([{"status": "won", "won_time": "2025-12-31 23:30"}])
    deals.attrs["tz"] = "Mars/Olympus"
    with noticed("'Mars/Olympus', a timezone that this machine does not know: UTC is used"):
        assert metrics.win_rate(deals, **YEAR).attrs["tz"] == "UTC"
    with pytest.raises(ArgumentError, match="tz='Mars/Olympus' is not a timezone") as refused:
        metrics.win_rate(deals, **YEAR, tz="Mars/Olympus")
    assert "account.tz" not in str(refused.value)


# The instant between 30 June and 1 July in Tallinn.
MIDNIGHT = pd.Timestamp("2026-06-30 21:00", tz="UTC")
MOMENT = pd.Timedelta(1, "us")


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("since", "until", "counted"),
    [
        # The last moment of June, the first of July.
        ("2026-06-01", "2026-07-01", [True, False]),
        ("2026-06", "2026-06", [True, False]),
        ("2026-Q2", pd.Period("2026-06", "M"), [True, False]),
        (MIDNIGHT - pd.Timedelta(30, "D"), MIDNIGHT, [True, False]),
        ("2026-06-01", "2026-06-30", [False, False]),
        ("2026-06-01", MIDNIGHT + MOMENT, [True, True]),
        ("2026-07-01", "2026-07-02", [False, True]),
        ("2026-07", "2026-07", [False, True]),
        (MIDNIGHT, "2026-Q3", [False, True]),
    ],
)
def test_until_is_exclusive_and_since_inclusive_in_the_zone_of_the_company(
    since: Any, until: Any, counted: list[bool]
) -> None:
    times = [MIDNIGHT - MOMENT, MIDNIGHT]
    window = {"since": since, "until": until, "tz": "Europe/Tallinn"}
    before = pd.Timestamp("2026-01-05", tz="UTC")
    for place, time in enumerate(times):
        for status in ("won", "lost"):
            cells = {"status": status, f"{status}_time": time, "add_time": before}
            deals = small_frames.deals([cells, {"add_time": time}])
            number = int(counted[place])
            sales = metrics.sales_by_period(deals, **window)
            assert sales[[status, "created"]].sum().tolist() == [number, number]
            assert metrics.win_rate(deals, **window)[status].sum() == number
            assert metrics.sales_velocity(deals, **window)["opportunities"].sum() == number
            reasons = metrics.lost_reasons(deals.assign(lost_reason="Price"), **window)
            assert reasons["deals"].sum() == (number if status == "lost" else 0)
        visits = small_frames.visits([{"deal_id": 1, "entered_at": time, "left_at": None}])
        stages = small_frames.stages([{}])
        entered = metrics.funnel(visits, stages, as_of="2026-08-01", **window)
        assert entered["reached"].max() == int(counted[place])


def test_every_docstring_says_the_same_of_until() -> None:
    public = {name: getattr(metrics, name) for name in metrics.__all__}
    public |= {
        "changes of an account": pdframe.Account.changes,
        "forecast": pdframe.Account.forecast,
    }
    seen = 0
    for name, function in public.items():
        if (
            not inspect.isfunction(function)
            or "until" not in inspect.signature(function).parameters
        ):
            continue
        entries = re.findall(
            r"^[\w, ]*\buntil\b[\w, ]*\n((?:    .*\n)+)",
            inspect.getdoc(function) or "",
            re.MULTILINE,
        )
        text = " ".join(entries[0].split())
        seen += 1
        is_said = "exclusive" in text and "taken to its end" in text
        assert is_said or text.startswith("As in `"), name
    assert seen > 20
