"""The record of issued forecasts, against totals and losses written out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics._periods import Frequency
from pdframe.metrics.forecasting.issued import LEVELS, issued_rows, track_record

TALLINN = "Europe/Tallinn"
AS_OF = pd.Timestamp("2026-06-30 12:00", tz="UTC")
# In Tallinn, UTC+3: the second is won on 1 July, the fourth on 1 August.
WINS = [
    (1, "2026-07-15 08:00", 100.0, "EUR", "a"),
    (2, "2026-06-30 21:00", 50.0, "EUR", "b"),
    (3, "2026-06-30 20:59", 7.0, "EUR", "a"),
    (4, "2026-07-31 21:00", 9.0, "USD", "b"),
    (5, "2026-08-10 08:00", None, "EUR", "a"),
]
VISITS = ["deal_id", "pipeline_id", "stage_id", "visit", "entered_at", "left_at", "end", "source"]
VISITS += ["entered_after", "left_after", "seen_at"]


def times(values: list[str | None]) -> pd.Series:
    return pd.to_datetime(pd.Series(values), utc=True).astype("datetime64[us, UTC]")


def deals(*, team: bool = True) -> pd.DataFrame:
    count = len(WINS)
    frame = pd.DataFrame({"id": pd.array([row[0] for row in WINS], "Int64")}).assign(
        status="won",
        add_time=times(["2026-01-05"] * count),
        update_time=times([row[1] for row in WINS]),
        stage_change_time=times(["2026-01-05"] * count),
        won_time=times([row[1] for row in WINS]),
        lost_time=times([None] * count),
        close_time=times([row[1] for row in WINS]),
        pipeline_id=pd.array([1] * count, "Int64"),
        stage_id=pd.array([1] * count, "Int64"),
        owner_id=pd.array([1] * count, "Int64"),
        value=[row[2] for row in WINS],
        currency=[row[3] for row in WINS],
        is_deleted=False,
    )
    frame.attrs["tz"] = TALLINN
    return frame.assign(team=[row[4] for row in WINS]) if team else frame


def visits() -> pd.DataFrame:
    count = len(WINS)
    return pd.DataFrame(
        {
            "deal_id": pd.array([row[0] for row in WINS], "Int64"),
            "pipeline_id": pd.array([1] * count, "Int64"),
            "stage_id": pd.array([1] * count, "Int64"),
            "visit": pd.array([1] * count, "Int64"),
            "entered_at": times(["2026-01-05"] * count),
            "left_at": times([row[1] for row in WINS]),
            "end": "won",
            "source": "changelog",
            "entered_after": times([None] * count),
            "left_after": times([None] * count),
            "seen_at": times(["2026-01-05"] * count),
        }
    )[VISITS]


STAGES = pd.DataFrame({"id": [1], "pipeline_id": [1], "order_nr": [1], "name": ["One"]})


def issued(
    groups: list[str | None] = [None],  # noqa: B006 - never changed
    *,
    freq: str = "M",
    until: str = "2026-09-01",
    rates: dict[str, float] | None = None,
    first: tuple[str, ...] = ("2026-07-01", "2026-08-01"),
) -> pd.DataFrame:
    """A forecast whose draws are 1 to 200 in every period, so that percentile n is 2 n."""
    keys = pd.DataFrame(
        [(group, pd.Timestamp(day)) for group in groups for day in first],
        columns=["team", "period"],
    ).astype({"period": "datetime64[us]"})
    if groups == [None]:
        keys = keys.drop(columns="team")
    table = keys.assign(
        currency="EUR", won_already=0.0, from_open=90.0, from_new=10.0, mean=100.0, p10=20.0,
        p50=100.0, p90=180.0, common_sd=0.2, deals_open=3, deals_new=1.5,
    )  # fmt: skip
    draws = keys.loc[keys.index.repeat(200)].reset_index(drop=True)
    draws["total"] = np.tile(np.arange(1.0, 201.0)[::-1], len(keys))
    rows = issued_rows(
        table, draws, as_of=AS_OF, until=until, frequency=Frequency(freq), rates=rates, tz=TALLINN
    )
    return rows.assign(issue=1, method="hazard")


def record(rows: pd.DataFrame, as_of: str, **how: bool) -> tuple[pd.DataFrame, list[str]]:
    end = pd.Timestamp(as_of, tz="UTC")
    shown = deals(**how)
    past = shown["won_time"] <= end
    return track_record(rows, shown[past], visits()[past], STAGES, as_of=end)


def test_kept_rows_have_the_periods_the_percentiles_and_the_arguments() -> None:
    rows = issued(["a", None], rates={"EUR": 1, "USD": 0.5}, until="2026-08-15")
    assert rows["by"].tolist() == ['["team"]'] * 4
    assert rows["group"].tolist() == ['["a"]', '["a"]', "[null]", "[null]"]
    assert rows["begins"].tolist()[:2] == [
        pd.Timestamp("2026-06-30 21:00", tz="UTC"),
        pd.Timestamp("2026-07-31 21:00", tz="UTC"),
    ]
    # The last period ends where the forecast does.
    assert rows["ends"].tolist()[:2] == [
        pd.Timestamp("2026-07-31 21:00", tz="UTC"),
        pd.Timestamp("2026-08-14 21:00", tz="UTC"),
    ]
    assert json.loads(rows["percentiles"][0]) == [2.0 * level for level in range(1, 100)]
    assert json.loads(rows["rates"][0]) == {"EUR": 1.0, "USD": 0.5}
    assert rows["won_already"].tolist() == [0.0] * 4


def test_actuals_are_the_wins_of_each_local_month_once_it_is_over() -> None:
    rates = {"EUR": 1, "USD": 0.5}
    table, notes = record(issued(rates=rates), "2026-08-01")
    assert table["actual"].tolist()[0] == 150.0
    assert table["actual"].isna().tolist() == [False, True]
    assert table["covered"].tolist() == [True, pd.NA]
    assert notes == []
    table, _ = record(issued(rates=rates), "2026-09-01")
    # 9 USD at .5; the win without a value counts 0.
    assert table["actual"].tolist() == [150.0, 4.5]
    assert table["covered"].tolist() == [True, False]
    quarter, _ = record(
        issued(rates=rates, freq="Q", until="2026-10-01", first=("2026-07-01",)), "2026-10-01"
    )
    assert quarter["actual"].tolist() == [154.5]


def test_losses_are_those_of_the_quantiles_and_of_the_distribution() -> None:
    table, _ = record(issued(rates={"EUR": 1, "USD": 0.5}), "2026-08-01")
    row = table.iloc[0]
    # Actual 150: 130 above P10, 50 above P50, 30 below P90.
    assert (row["pinball_10"], row["pinball_50"]) == pytest.approx((13.0, 25.0))
    assert row["pinball_90"] == pytest.approx(0.1 * 30)
    # Draws are uniform on (0, 200): the integral of (F - 1[x >= 150])^2 is
    # 200 x (.75^3 + .25^3) / 3 = 29.17.
    assert row["crps"] == pytest.approx(200 * (0.75**3 + 0.25**3) / 3, rel=0.03)
    assert len(LEVELS) == 99


def test_groups_are_scored_by_their_own_wins() -> None:
    rows = issued(["a", "b", None], rates={"EUR": 1, "USD": 0.5})
    table, _ = record(rows, "2026-09-01")
    assert table["group"].tolist() == ["(none)", "a", "b"] * 2
    assert table["by"].tolist() == ["team"] * 6
    assert table["actual"].tolist() == [0.0, 100.0, 50.0, 0.0, 0.0, 4.5]


def test_what_cannot_be_scored_is_said_and_costs_no_other_forecast() -> None:
    wrong = issued().assign(issue=2, as_of=AS_OF + pd.Timedelta("1D"))
    right = issued(rates={"EUR": 1, "USD": 0.5})
    table, notes = record(pd.concat([right, wrong], ignore_index=True), "2026-09-01")
    assert table["actual"].isna().tolist() == [False, False, True, True]
    (note,) = notes
    assert note.startswith("The forecast of 2026-07-01 cannot be scored: ")
    assert "EUR" in note
    assert "USD" in note
    table, notes = record(issued(["a"], rates={"EUR": 1, "USD": 1}), "2026-09-01", team=False)
    assert table["actual"].isna().all()
    assert "no column 'team' any more" in notes[0]


def test_wins_of_another_currency_are_no_actual_of_a_forecast_without_rates() -> None:
    # August has wins in USD and one without a value; the forecast is in EUR.
    august = issued(first=("2026-08-01",))
    table, notes = record(august, "2026-09-01")
    assert table["actual"].isna().all()
    assert "Amounts in EUR, USD would be added up" in notes[0]
    table, notes = record(august.assign(currency="USD"), "2026-09-01")
    assert (table["actual"].tolist(), notes) == ([9.0], [])


def test_by_currency_a_win_counts_in_the_currency_in_which_it_was_won() -> None:
    rows = issued(["EUR", "USD"], first=("2026-07-01", "2026-08-01")).assign(
        by='["currency"]', currency=["EUR", "EUR", "USD", "USD"]
    )
    rows["group"] = [f'["{name}"]' for name in rows["currency"]]
    end = pd.Timestamp("2026-09-01", tz="UTC")
    shown = deals()
    # The first deal was won in EUR, and is shown in USD since.
    own = pd.DataFrame(
        {"deal_id": 1, "column": ["currency", "currency"], "before": [None, "EUR"],
         "after": ["EUR", "USD"], "time": times(["2026-01-05", "2026-08-20"])}
    )  # fmt: skip
    history = own.assign(seen_at=own["time"]).astype({"before": "str", "after": "str"})
    shown.loc[0, "currency"] = "USD"
    table, notes = track_record(rows, shown, visits(), STAGES, as_of=end, history=history)
    assert notes == []
    actual = table.set_index(["period", "currency"])["actual"].to_dict()
    assert list(actual.values()) == [150.0, 0.0, 0.0, 9.0]


def test_of_a_group_that_was_renamed_the_actual_is_unknown() -> None:
    rows = issued(["a", "b", "c"], rates={"EUR": 1, "USD": 0.5}, first=("2026-07-01",))
    table, notes = record(rows, "2026-09-01")
    np.testing.assert_array_equal(table["actual"], [100.0, 50.0, np.nan])
    assert table["covered"].tolist() == [True, True, pd.NA]
    assert notes == [
        "The forecast of 2026-06-30 for team 'c' cannot be scored: no deal has team 'c' any more."
    ]


def test_no_forecast_is_an_empty_record_with_every_column() -> None:
    table, notes = record(issued().head(0), "2026-09-01")
    assert (len(table), notes) == (0, [])
    assert list(table.columns) == [
        "as_of", "period", "currency", "by", "group", "method", "won_already", "mean", "p10", "p50",
        "p90", "actual", "covered", "pinball_10", "pinball_50", "pinball_90", "crps",
        "freq",
    ]  # fmt: skip


def test_the_first_forecast_of_a_day_counts() -> None:
    rates = {"EUR": 1, "USD": 0.5}
    first = issued(rates=rates)
    # 23:30 and 00:30 in Tallinn.
    late, after = (
        issued(rates=rates).assign(issue=number, mean=mean, as_of=pd.Timestamp(at, tz="UTC"))
        for number, mean, at in (
            (2, 111.0, "2026-06-30 20:30"),
            (3, 222.0, "2026-06-30 21:30"),
        )
    )
    other = issued(rates=rates).assign(issue=4, method="constant", mean=333.0)
    quarter = issued(rates=rates, freq="Q", until="2026-10-01", first=("2026-07-01",))
    groups = issued(["a"], rates=rates).assign(issue=6, mean=555.0)
    every = [first, late, after, other, quarter.assign(issue=5, mean=444.0), groups]
    table, _ = record(pd.concat(every[::-1], ignore_index=True), "2026-10-01")
    assert sorted(table["mean"]) == [100.0, 100.0, 222.0, 222.0, 333.0, 333.0, 444.0, 555.0, 555.0]
    assert table.loc[table["mean"] == 444.0, "freq"].tolist() == ["Q"]
    # A later forecast counts for the periods that the first one did not reach.
    more = issued(rates=rates, until="2026-10-01", first=("2026-08-01", "2026-09-01"))
    table, _ = record(pd.concat([first, more.assign(issue=2, mean=9.0)]), "2026-10-01")
    assert table["mean"].tolist() == [100.0, 100.0, 9.0]
    assert table["period"].dt.month.tolist() == [7, 8, 9]


def test_a_win_counts_on_the_day_of_the_company() -> None:
    rates = {"EUR": 1, "USD": 0.5}
    shown = deals()
    # By the company's own calendar the first win, of 15 July, is one of 1 September.
    own = shown["won_time"].dt.tz_convert(TALLINN).dt.tz_localize(None).dt.normalize()
    own[0] = pd.Timestamp("2026-09-01")
    shown = shown.assign(local_won_date=own.astype("datetime64[us]"))
    end = pd.Timestamp("2026-10-01", tz="UTC")
    table, _ = track_record(issued(rates=rates), shown, visits(), STAGES, as_of=end)
    assert table["actual"].tolist() == [50.0, 4.5]
    september = issued(rates=rates, until="2026-10-01", first=("2026-09-01",))
    table, _ = track_record(september, shown, visits(), STAGES, as_of=end)
    assert table["actual"].tolist() == [100.0]


def test_a_period_that_ends_within_a_day_has_the_wins_before_its_end() -> None:
    # 00:30 on 1 August in Tallinn, after the win at 00:00.
    for until, actual in (("2026-08-01 00:30", 4.5), ("2026-08-01 00:00", None)):
        rows = issued(rates={"EUR": 1, "USD": 0.5}, until=until, first=("2026-07-01", "2026-08-01"))
        table, _ = record(rows[rows["ends"] > rows["begins"]], "2026-09-01")
        assert table["actual"].tolist() == ([150.0] if actual is None else [150.0, actual])
