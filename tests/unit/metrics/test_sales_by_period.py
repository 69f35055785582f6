"""Sales by period: a table written out, DuckDB's SQL, and the deals behind each number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import (
    drill_through,
    sales_by_period,
    sales_by_period_deals,
    sales_velocity,
    win_rate,
)
from tests.helpers import small_frames

QUARTER: dict[str, Any] = {"since": "2026-01-01", "until": "2026-04-01"}
RATES = {"EUR": 1.0, "USD": 0.5, "GBP": 2.0}
COUNTS = ["created", "won", "lost", "open_at_end"]
SUMS = ["created_value", "won_value", "lost_value", "open_value_at_end"]


def won(day: str, **more: Any) -> dict[str, Any]:
    return {"status": "won", "won_time": day, **more}


def lost(day: str, **more: Any) -> dict[str, Any]:
    return {"status": "lost", "lost_time": day, **more}


def written() -> pd.DataFrame:
    """Three months of two currencies, by hand."""
    return small_frames.deals(
        [
            won("2026-02-11 00:00", add_time="2026-01-02", value=100.0, owner_name="Ann"),
            won("2026-02-28 23:00", add_time="2026-02-08 23:00", value=None, owner_name="Ann"),
            lost("2026-03-05", add_time="2025-12-31", value=40.25, owner_name="Bo"),
            {"add_time": "2026-01-31 23:59:59", "value": 7.5, "owner_name": "Bo"},
            {"add_time": "2026-04-01", "value": 1_000.0, "owner_name": "Bo"},
            won("2026-01-20", add_time="2026-01-10", value=9.0, currency="USD", owner_name=None),
        ]
    )


def test_three_months_written_out() -> None:
    with pytest.warns(DataWarning, match=r"^sales_by_period: 1 deals have no value: they count 0"):
        result = sales_by_period(written(), **QUARTER)
    nan = np.nan
    months = pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01"])
    expected = pd.DataFrame(
        {
            "period": np.repeat(months, 2).astype("datetime64[us]"),
            "currency": pd.Series(["EUR", "USD"] * 3, dtype="str"),
            "created": [2, 1, 1, 0, 0, 0],
            "created_value": [107.5, 9.0, 0.0, 0.0, 0.0, 0.0],
            "won": [0, 1, 2, 0, 0, 0],
            "won_value": [0.0, 9.0, 100.0, 0.0, 0.0, 0.0],
            "lost": [0, 0, 0, 0, 1, 0],
            "lost_value": [0.0, 0.0, 0.0, 0.0, 40.25, 0.0],
            "win_rate": [nan, 1.0, 1.0, nan, 0.0, nan],
            # The second win has no value.
            "average_won_value": [nan, 9.0, 100.0, nan, nan, nan],
            # 40 and 20 days.
            "average_days": [nan, 10.0, 30.0, nan, nan, nan],
            "open_at_end": [3, 0, 2, 0, 1, 0],
            "open_value_at_end": [147.75, 0.0, 47.75, 0.0, 7.5, 0.0],
        }
    ).astype(dict.fromkeys(COUNTS, "Int64"))
    assert_frame_equal(result, expected)
    assert result.attrs["tz"] == "UTC"
    assert result.attrs["notes"] == ["1 deals have no value: they count 0."]


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_leaderboard_is_by_owner() -> None:
    board = sales_by_period(written(), **QUARTER, freq="Q", by="owner")
    assert list(board.columns[:3]) == ["owner_name", "period", "currency"]
    best = board.sort_values("won_value", ascending=False).iloc[0]
    assert (best["owner_name"], best["won"], best["won_value"]) == ("Ann", 2, 100.0)
    # Deals without an owner are a group; the deal of April is in none.
    assert board["owner_name"].isna().tolist() == [False, False, True]
    assert board["created"].tolist() == [2, 1, 1]


def random_deals(seed: int, size: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng([5, seed])
    start = datetime(2025, 6, 1, tzinfo=UTC)
    rows = []
    for _ in range(size):
        added = start + timedelta(days=float(draw.uniform(0, 420)))
        status = str(draw.choice(["open", "won", "lost"], p=[0.3, 0.4, 0.3]))
        ended = added + timedelta(days=float(draw.exponential(50)) - 2)
        local = pd.Timestamp(ended).tz_convert("Europe/Tallinn").normalize().tz_localize(None)
        rows.append(
            {
                "status": status,
                "add_time": added,
                "update_time": ended,
                "won_time": ended if status == "won" else None,
                "lost_time": ended if status == "lost" else None,
                "local_won_date": local if status == "won" and draw.random() < 0.5 else None,
                "value": float(draw.integers(0, 10_000)) / 4,
                "currency": [None, "EUR", "USD", "GBP"][int(draw.integers(0, 4))],
                "team": [None, "north", "south"][int(draw.integers(0, 3))],
            }
        )
    return small_frames.deals(rows)


SQL = """
with zoned as (
    select id, team, currency, value, status,
        timezone('Europe/Tallinn', add_time) as added,
        timezone('Europe/Tallinn', coalesce(won_time, lost_time)) as ended,
        epoch(coalesce(won_time, lost_time) - add_time) / 86400 as days
    from deals
),
closed as (
    -- The company's own day counts where there is one; it agrees with the time here.
    select * exclude (days), days < 0 as early,
        case when days >= 0 then days end as days
    from zoned
),
periods as (
    select unnest(generate_series(timestamp '2025-10-01', timestamp '2026-04-01',
        interval '1 {unit}')) as period
),
ends as (
    select period, least(period + interval '1 {unit}', timestamp '2026-04-20') as stop from periods
),
events as (
    select id, team, currency, value, date_trunc('{unit}', added) as period, 'created' as event,
        null as days
    from closed where added >= timestamp '2025-10-01' and added < timestamp '2026-04-20'
    union all
    select id, team, currency, value, date_trunc('{unit}', ended), status,
        days
    from closed where status <> 'open'
        and ended >= timestamp '2025-10-01' and ended < timestamp '2026-04-20'
    union all
    select id, team, currency, value, period, 'open', null
    from closed join ends on added < stop and (ended is null or ended >= stop)
        and not (early is not null and early)
),
kept as (select distinct team, currency from events),
grid as (select * from kept cross join periods)
select grid.team, grid.period, grid.currency,
    count(id) filter (event = 'created') as created,
    coalesce(sum(value) filter (event = 'created'), 0) as created_value,
    count(id) filter (event = 'won') as won,
    coalesce(sum(value) filter (event = 'won'), 0) as won_value,
    count(id) filter (event = 'lost') as lost,
    coalesce(sum(value) filter (event = 'lost'), 0) as lost_value,
    won / nullif(won + lost, 0) as win_rate,
    avg(value) filter (event = 'won') as average_won_value,
    avg(days) filter (event = 'won') as average_days,
    count(id) filter (event = 'open') as open_at_end,
    coalesce(sum(value) filter (event = 'open'), 0) as open_value_at_end
from grid left join events on events.period = grid.period
    and events.team is not distinct from grid.team
    and events.currency is not distinct from grid.currency
group by all
order by grid.team nulls last, grid.period, grid.currency nulls last
"""


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("freq", ["M", "Q"])
@pytest.mark.parametrize("seed", range(3))
def test_the_table_is_that_of_sql(seed: int, freq: str) -> None:
    deals = random_deals(seed)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("deals", deals.astype({"status": "str"}))
        unit = {"M": "month", "Q": "quarter"}[freq]
        theirs = connection.execute(SQL.format(unit=unit)).df()
    ours = sales_by_period(
        deals,
        since="2025-10-01",
        until="2026-04-20",
        freq=freq,
        by="team",
        tz="Europe/Tallinn",
    )
    assert list(ours.columns) == list(theirs.columns)
    assert len(ours) == len(theirs) > 20
    for name in ours.columns:
        if name in ("team", "currency"):
            assert ours[name].fillna("-").tolist() == theirs[name].fillna("-").tolist()
        elif name == "period":
            assert (ours[name] == theirs[name]).all()
        else:
            numbers = (frame[name].astype("float64").to_numpy() for frame in (ours, theirs))
            np.testing.assert_allclose(*numbers, rtol=1e-12, atol=1e-9, err_msg=name)
    assert (ours[COUNTS].sum() > 30).all()


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("rates", [None, RATES])
@pytest.mark.parametrize("by", [None, "team", ["team", "owner_id"]])
def test_each_number_leads_to_its_deals(by: Any, rates: Any) -> None:
    deals = random_deals(11)
    arguments: dict[str, Any] = {**QUARTER, "by": by, "rates": rates, "tz": "America/New_York"}
    result = sales_by_period(deals, **arguments)
    rows = sales_by_period_deals(deals, **arguments)
    events = dict(zip(COUNTS, ["created", "won", "lost", "open at end"], strict=True))
    for place in range(len(result)):
        row = result.iloc[place]
        match = drill_through(row, rows)
        for (name, event), total in zip(events.items(), SUMS, strict=True):
            part = match[match["event"] == event]
            assert len(part) == row[name]
            assert part["deal_id"].is_unique
            assert part["value"].sum() == pytest.approx(row[total], abs=1e-6)
        days = match.loc[match["event"] == "won", "days"]
        assert days.mean() == pytest.approx(row["average_days"], nan_ok=True)
    assert result[COUNTS].sum().sum() == len(rows) > 200
    ordered = rows.sort_values(["period", "event", "deal_id"], ignore_index=True)
    assert ordered["deal_id"].equals(rows["deal_id"])


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_it_agrees_with_win_rate_and_sales_velocity() -> None:
    deals = random_deals(4)
    deals = deals[deals["currency"].notna()]
    each: dict[str, Any] = {**QUARTER, "freq": "M"}
    ours = sales_by_period(deals, **each, rates=RATES)
    rate = win_rate(deals, **each)
    assert_frame_equal(
        ours[["period", "won", "lost", "win_rate"]], rate[["period", "won", "lost", "win_rate"]]
    )
    speed = sales_velocity(deals, **each, rates=RATES)
    np.testing.assert_allclose(ours["average_won_value"], speed["mean_value"], rtol=1e-9)
    np.testing.assert_allclose(ours["average_days"], speed["mean_days"], rtol=1e-9)
    assert ours["created"].tolist() == speed["opportunities"].tolist()


def test_what_is_open_changes_by_what_comes_and_goes() -> None:
    deals = random_deals(6)
    # None ends before it begins.
    ended = deals["won_time"].fillna(deals["lost_time"])
    deals = deals[~(ended < deals["add_time"]) & deals["currency"].eq("EUR")]
    result = sales_by_period(deals, since=None, until="2030-01-01", freq="W")
    change = result["created"] - result["won"] - result["lost"]
    assert result["open_at_end"].tolist() == change.cumsum().tolist()
    assert result["open_at_end"].iloc[-1] == (deals["status"] == "open").sum() > 20


def test_rates_are_those_of_the_day() -> None:
    deals = small_frames.deals(
        [won("2026-02-10", add_time="2026-01-31 12:00", value=100.0, currency="USD")]
    )
    days = ["2026-01-25", "2026-01-31", "2026-02-10", "2026-02-28"]
    rates = pd.DataFrame({"currency": "USD", "date": days, "rate": [9.0, 0.5, 0.25, 0.125]})
    euro = pd.DataFrame({"currency": ["EUR"], "date": ["2020-01-01"], "rate": [1.0]})
    result = sales_by_period(
        deals, since="2026-01-01", until="2026-03-01", rates=pd.concat([rates, euro])
    )
    # Created, and open, on the last of January; at the win, another rate.
    assert result["created_value"].tolist() == [50.0, 0.0]
    assert result["open_value_at_end"].tolist() == [50.0, 0.0]
    assert result["won_value"].tolist() == [0.0, 25.0]
    assert result["currency"].tolist() == ["EUR", "EUR"]
    assert "currency" not in result.attrs["keys"]


def test_what_happened_after_as_of_is_unknown() -> None:
    deals = small_frames.deals(
        [
            won("2026-02-11", add_time="2026-01-05"),
            lost("2026-01-20", add_time="2026-01-06"),
            {"add_time": "2026-02-01"},
        ]
    )
    result = sales_by_period(deals, since="2026-01-01", until="2027-01-01", as_of="2026-01-31")
    assert result["period"].dt.month.tolist() == [1]
    assert result[COUNTS].to_numpy().tolist() == [[2, 0, 1, 1]]
    later = sales_by_period(deals, since="2026-01-01", until="2027-01-01", as_of="2026-02-10")
    assert later[COUNTS].to_numpy().tolist() == [[2, 0, 1, 1], [1, 0, 0, 2]]
    # Without it, periods to come show what is open now.
    every = sales_by_period(deals, since="2026-01-01", until="2026-12-31")
    assert (len(every), every["open_at_end"].iloc[-1]) == (12, 1)
    with pytest.raises(ArgumentError, match=r"since='2026-03-01' is after as_of='2026-02-28'"):
        sales_by_period(deals, since="2026-03-01", until=None, as_of="2026-02-28")


def test_deals_that_were_deleted() -> None:
    deals = small_frames.deals(
        [
            won("2026-01-10", add_time="2026-01-02", is_deleted=True),
            {"add_time": "2026-01-03", "status": "deleted", "is_deleted": True},
        ]
    ).assign(deleted_time=pd.Timestamp("2026-02-10", tz="UTC"))
    result = sales_by_period(deals, **QUARTER)
    # One that was open is open until its deletion; one that was won is no deal any more.
    assert result[COUNTS].to_numpy().tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    then = sales_by_period(deals, **QUARTER, as_of="2026-01-31")
    assert then[COUNTS].to_numpy().tolist() == [[2, 1, 0, 1]]
    kept = sales_by_period(deals, **QUARTER, deleted="keep")
    assert kept["won"].tolist() == [1, 0, 0]


def test_what_cannot_be_counted_is_said_in_one_warning() -> None:
    deals = small_frames.deals(
        [
            {"status": "won"},
            {"add_time": None},
            won("2026-01-05", add_time="2026-02-01", currency=None),
            won("2026-02-05", add_time="2026-01-01", value=1e15),
        ]
    )
    with pytest.warns(DataWarning) as caught:
        result = sales_by_period(deals, **QUARTER, rates=RATES)
    assert len(caught) == 1
    assert str(caught[0].message).count("\n") == 1
    notes = result.attrs["notes"]
    assert len(notes) == 6
    for words in (
        "value in 1 row",
        "1 deals are closed without a date",
        "1 deals have no time of creation",
        "1 deals were won before they were created",
        "1 deals have no value",
        "1 deals have a value and no currency",
    ):
        assert any(words in text for text in notes), words
    assert result["won"].tolist() == [1, 1, 0]
    assert result["open_at_end"].tolist() == [1, 0, 0]


def test_no_deals_at_all() -> None:
    none = written().iloc[:0]
    result = sales_by_period(none, **QUARTER, by="owner")
    assert len(result) == 0
    assert result.dtypes.astype(str).to_dict()["period"] == "datetime64[us]"
    assert len(sales_by_period(none, since=None, until=None, rates=RATES)) == 0
    three = sales_by_period(none, **QUARTER, rates=RATES)
    assert three["currency"].tolist() == ["EUR"] * 3
    assert three[COUNTS].to_numpy().sum() == 0
    rows = sales_by_period_deals(none, **QUARTER, by="owner")
    assert list(rows.columns) == [
        "deal_id",
        "title",
        "owner_name",
        "period",
        "event",
        "currency",
        "value",
        "days",
    ]


def test_wrong_arguments_say_what_to_do() -> None:
    deals = random_deals(0, 20)
    with pytest.raises(ArgumentError, match="the result has a column 'won' of its own"):
        sales_by_period(deals.assign(won=1), **QUARTER, by="won")
    with pytest.raises(ArgumentError, match="give one of the two"):
        sales_by_period(deals, **QUARTER, by="currency", rates=RATES)
    with pytest.raises(ArgumentError, match=r"deals has no column 'teams'. Did you mean 'team'\?"):
        sales_by_period(deals, **QUARTER, by="teams")
    with pytest.raises(ArgumentError, match="freq must be one of"):
        sales_by_period(deals, **QUARTER, freq="fortnight")
    # The currency is a key of every row: naming it changes nothing.
    assert_frame_equal(
        sales_by_period(deals, **QUARTER, by="currency"), sales_by_period(deals, **QUARTER)
    )
