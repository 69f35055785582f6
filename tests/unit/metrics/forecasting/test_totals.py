"""Forecasts of revenue of a small account, with stated probabilities where figures are by hand."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, InsufficientDataError, MixedCurrencyError
from pdframe.metrics.forecasting.methods import METHODS
from tests.helpers.forecast_frames import END, FIRST_ID, past
from tests.helpers.forecast_totals import ByHand

Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]
COMING: dict[str, Any] = {"as_of": END, "until": "2026-Q3", "draws": 2_000, "common_sd": 0.2}
# The deals that are open at END, and their values.
OPEN = {900110: 300, 900111: 400, 900114: 700, 900117: 100, 900118: 200, 900119: 300, 900120: 400}
COLUMNS = [
    "period",
    "currency",
    "won_already",
    "from_open",
    "from_new",
    "mean",
    "p10",
    "p50",
    "p90",
    "common_sd",
    "deals_open",
    "deals_new",
]

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """State probabilities; return the arguments that use them, without a common factor."""

    def state(chance: dict[int, float], after: dict[int, float] | None = None) -> dict[str, Any]:
        methods = {**METHODS, "by hand": ByHand(chance, after)}
        monkeypatch.setattr("pdframe.metrics.forecasting.methods.METHODS", methods)
        return {"method": "by hand", "common_sd": 0.0}

    return state


def changed(column: str, values: dict[int, Any]) -> Frames:
    """The past, with other cells in some deals."""
    deals, visits, stages = past()
    for deal, value in values.items():
        deals.loc[deals["id"] == deal, column] = value
    return deals, visits, stages


def history_of(deals: pd.DataFrame) -> pd.DataFrame:
    """Values, currencies and owners of deals as their changelogs give them: never changed."""
    parts = [
        pd.DataFrame(
            {
                "deal_id": deals["id"],
                "column": column,
                "before": None,
                "after": deals[column].astype("str"),
                "time": deals["add_time"],
                "seen_at": deals["add_time"],
                "source": "changelog",
            }
        )
        for column in ("value", "currency", "owner_id")
    ]
    return pd.concat(parts, ignore_index=True)


def without_open(frames: Frames, kept: int | None = None) -> Frames:
    """The same account without its open deals, or with one of them."""
    deals, visits, stages = frames
    dropped = [deal for deal in OPEN if deal != kept]
    return deals[~deals["id"].isin(dropped)], visits[~visits["deal_id"].isin(dropped)], stages


def test_columns_and_types() -> None:
    table = metrics.forecast(*past(), **COMING)
    assert list(table.columns) == COLUMNS
    assert table["period"].dtype == "datetime64[us]"
    assert table["deals_open"].dtype == "Int64"
    assert [str(table[name].dtype) for name in COLUMNS[2:10]] == ["float64"] * 8
    assert [f"{day:%Y-%m-%d}" for day in table["period"]] == [
        "2026-06-01",
        "2026-07-01",
        "2026-08-01",
        "2026-09-01",
    ]
    assert set(table["deals_open"]) == {7}
    assert set(table["currency"]) == {"EUR"}
    assert table.attrs["keys"] == ["period"]
    draws = metrics.forecast_draws(*past(), **COMING)
    assert list(draws.columns) == [
        "period",
        "currency",
        "draw",
        "won_already",
        "from_open",
        "from_new",
        "total",
    ]
    assert len(draws) == 4 * 2_000


def test_expected_revenue_of_stated_probabilities(by_hand: Any) -> None:
    how = by_hand({900110: 0.8, 900114: 0.5, 900120: 0.25}, {900114: 40})
    table = metrics.forecast(*past(), **COMING | how)
    # 40 days after 30 June is in August; the others can be won from the first day on.
    assert table["from_open"].tolist() == [0.8 * 300 + 0.25 * 400, 0, 0.5 * 700, 0]
    assert (
        table["mean"] - table["won_already"] - table["from_open"] - table["from_new"]
    ).abs().max() < 1e-6


def test_what_is_won_in_a_period_that_is_partly_over() -> None:
    deals, visits, stages = past()
    won = deals[deals["won_time"] >= "2026-04-01"]
    assert won["value"].sum() > 0
    table = metrics.forecast(deals, visits, stages, **COMING, freq="Q")
    assert table["won_already"].tolist() == [won["value"].sum(), 0]
    assert (table["p10"] >= table["won_already"]).all()
    # END is the first instant of the last day: its own end is the quarter's end.
    later = metrics.forecast(deals, visits, stages, **COMING | {"as_of": "2026-06-30"}, freq="Q")
    assert later["won_already"].tolist() == [0]
    # The company's own day of winning counts.
    deals["local_won_date"] = deals["won_time"].dt.tz_localize(None).dt.normalize()
    deals.loc[deals["id"] == won["id"].iloc[0], "local_won_date"] = pd.Timestamp("2026-03-31")
    table = metrics.forecast(deals, visits, stages, **COMING, freq="Q")
    assert table["won_already"].iloc[0] == won["value"].iloc[1:].sum()


def test_periods_groups_and_currencies_sum_exactly() -> None:
    deals, visits, stages = past()
    deals["value"] = deals["value"] * 1.000123
    deals["team"] = np.where(deals["id"] % 3 == 0, "north", None)
    parts = ["won_already", "from_open", "from_new", "mean"]

    def exact(**how: Any) -> pd.DataFrame:
        table = metrics.forecast(deals, visits, stages, **COMING | how)
        return table.assign(**{name: (table[name] * 1e6).round().astype("int64") for name in parts})

    by_month = exact()
    of_quarter = by_month.groupby(by_month["period"].dt.to_period("Q"))[parts].sum()
    by_quarter = exact(freq="Q")[parts]
    # The quarter's wins so far are also those of April and May, which are over.
    assert (by_quarter[parts[1:3]].to_numpy() == of_quarter[parts[1:3]].to_numpy()).all()
    assert (by_quarter.iloc[1].to_numpy() == of_quarter.iloc[1].to_numpy()).all()
    for by in ("team", "owner_id", ["team", "owner_id"], "currency"):
        assert (
            exact(by=by).groupby("period")[parts].sum() == by_month.set_index("period")[parts]
        ).all(axis=None)
    assert exact(by="team")["team"].isna().sum() == 4

    def drawn(**how: Any) -> pd.Series[Any]:
        rows = metrics.forecast_draws(deals, visits, stages, **COMING | how)
        rows["quarter"] = rows["period"].dt.to_period("Q")
        rows["total"] -= rows["won_already"]
        return (
            rows.assign(total=(rows["total"] * 1e6).round())
            .groupby(["quarter", "draw"])["total"]
            .sum()
        )

    assert drawn().equals(drawn(freq="Q"))
    assert drawn().equals(drawn(by="team"))


def test_the_table_is_of_its_draws() -> None:
    table = metrics.forecast(*past(), **COMING, freq="Q")
    rows = metrics.forecast_draws(*past(), **COMING, freq="Q")
    for place, (_, own) in enumerate(rows.groupby("period")):
        totals = np.sort(own["total"].to_numpy())
        assert table[["p10", "p50", "p90"]].iloc[place].tolist() == [
            totals[199],
            totals[999],
            totals[1799],
        ]
        error = 3 * totals.std() / 2_000**0.5
        assert abs(totals.mean() - table["mean"].iloc[place]) <= error


def test_two_currencies_need_rates_and_those_of_as_of_suffice(by_hand: Any) -> None:
    frames = changed("currency", {900110: "USD"})
    how = by_hand({900110: 0.5, 900114: 0.5})
    with pytest.raises(MixedCurrencyError, match="EUR, USD"):
        metrics.forecast(*frames, **COMING | how)
    rates = pd.DataFrame(
        {
            "currency": ["EUR", "USD", "USD"],
            "date": pd.to_datetime(["2026-06-30", "2026-06-30", "2026-07-15"]),
            "rate": [1.0, 0.9, 5.0],
        }
    )
    table = metrics.forecast(*frames, **COMING | how, rates=rates)
    assert table["from_open"].tolist() == [0.5 * 300 * 0.9 + 0.5 * 700, 0, 0, 0]
    assert set(table["currency"]) == {"EUR"}
    apart = metrics.forecast(*frames, **COMING | how, by="currency")
    first = apart[apart["period"] == "2026-06-01"].set_index("currency")["from_open"]
    assert first.to_dict() == {"EUR": 350.0, "USD": 150.0}
    with pytest.raises(ArgumentError, match="by='currency'"):
        metrics.forecast(*frames, **COMING, rates=rates, by="currency")
    with pytest.raises(ArgumentError, match="USD"):
        metrics.forecast(*frames, **COMING, rates={"EUR": 1.0})


@pytest.mark.parametrize("value", [None, 0.0])
def test_no_deal_has_a_value(value: float | None) -> None:
    deals, visits, stages = past()
    deals["value"] = pd.Series([value] * len(deals), dtype="float64")
    table = metrics.forecast(deals, visits, stages, **COMING)
    assert (table[["won_already", "from_open", "from_new", "mean", "p10", "p90"]] == 0).all(
        axis=None
    )
    assert (table["deals_new"] > 0).all()
    named = any("7 of 7 open deals have no known value" in note for note in table.attrs["notes"])
    assert named == (value is None)


def test_a_null_value_counts_nothing_and_is_counted(by_hand: Any) -> None:
    how = by_hand({900110: 0.5, 900114: 0.5})
    table = metrics.forecast(*changed("value", {900114: np.nan}), **COMING | how)
    assert table["from_open"].sum() == 150
    assert any("1 of 7 open deals" in note for note in table.attrs["notes"])


def test_credits_lower_the_total(by_hand: Any) -> None:
    how = by_hand({900110: 0.5, 900114: 1.0})
    frames = changed("value", {900110: -500.0})
    table = metrics.forecast(*frames, **COMING | how).iloc[0]
    assert table["from_open"] == 700 - 250
    assert (table["p10"], table["p90"]) == (200, 700)


def test_one_whale_is_shown_with_and_without_it(by_hand: Any) -> None:
    how = by_hand(dict.fromkeys(OPEN, 0.5) | {900114: 0.3})
    with pytest.warns(DataWarning) as issued:
        table = metrics.forecast(
            *changed("value", {900114: 1e6}), **COMING | how | {"until": "2026-07-01"}
        )
    assert len(issued) == 1
    assert str(issued[0].message).count("\n") == 1
    [note] = [note for note in table.attrs["notes"] if "900114" in note]
    others = 0.5 * (sum(OPEN.values()) - 700)
    new = table["from_new"].sum()
    already = table["won_already"].sum()
    assert f"mean {300_000 + others + new + already:,.0f}," in note
    assert f"Without it: mean {others + new + already:,.0f}," in note
    assert "With it" in note
    p90_with, p90_without = (part.split("P90 ")[1] for part in note.split("Without"))
    assert p90_with.startswith("1,00")
    assert float(p90_without.rstrip(".").replace(",", "")) <= sum(OPEN.values())
    small = metrics.forecast(*past(), **COMING | how)
    assert not any("Without it" in note for note in small.attrs["notes"])


def test_the_figure_of_one_deal(by_hand: Any) -> None:
    how = COMING | by_hand({900110: 0.5})
    frames = without_open(past(), kept=900110)
    table = metrics.forecast(*frames, **how)
    # Of 300, as likely as not, in the first period.
    assert table["from_open"].tolist() == [150.0, 0.0, 0.0, 0.0]
    assert table["deals_open"].tolist() == [1, 1, 1, 1]
    draws = metrics.forecast_draws(*frames, **how)
    first = draws.loc[draws["period"] == draws["period"].min(), "from_open"]
    assert sorted(first.unique()) == [0.0, 300.0]
    # 3 standard errors of one half in 2,000 draws.
    assert (first == 300).mean() == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(2_000))
    # On the last day of June no new deal is won: P10 and P90 are without the deal and with it.
    june = metrics.forecast(*frames, **how | {"until": "2026-07-01"}).iloc[0]
    assert june["from_new"] == pytest.approx(0, abs=1)
    assert june["p10"] == june["won_already"]
    assert june["p90"] == june["won_already"] + 300


def test_an_expected_close_in_the_past_or_in_2099_is_due_in_no_period() -> None:
    closes = dict.fromkeys(OPEN, pd.Timestamp("2020-01-01"))
    closes |= {900111: pd.Timestamp("2099-12-31"), 900114: pd.Timestamp("2026-08-15")}
    frames = changed("expected_close_date", closes)
    weighted = metrics.forecast(*frames, **COMING, method="weighted")
    # Stages give 100 %: 700 in August, nothing of the others.
    assert weighted["from_open"].tolist() == [0.0, 0.0, 700.0, 0.0]
    learned = metrics.forecast(*frames, **COMING)
    # Other methods count every deal, at most in full.
    assert 0 < learned["from_open"].sum() < sum(OPEN.values())


def test_what_is_won_of_deals_in_a_deleted_stage_of_another_pipeline_or_of_a_new_owner(
    by_hand: Any,
) -> None:
    how = COMING | by_hand(dict.fromkeys(OPEN, 0.5))
    deals, visits, stages = past()
    # The second stage is no longer listed.
    table = metrics.forecast(deals, visits, stages.head(1), **how)
    assert table["from_open"].sum() == sum(OPEN.values()) / 2
    # One deal, of 700, moved to another pipeline.
    moved = deals.copy()
    moved.loc[moved["id"] == 900114, ["pipeline_id", "stage_id"]] = [950, 951]
    by_pipeline = metrics.forecast(moved, visits, stages, **how, by="pipeline_id")
    assert by_pipeline.groupby("pipeline_id")["from_open"].sum().to_dict() == {
        900: (2_400 - 700) / 2,
        950: 350.0,
    }
    # Owner 8 left, and owner 7 has the open deals; what was won stays with owner 8.
    handed = deals.copy()
    handed.loc[handed["id"].isin(OPEN), "owner_id"] = 7
    by_owner = metrics.forecast(handed, visits, stages, **how, by="owner_id")
    assert by_owner.groupby("owner_id")["from_open"].sum().to_dict() == {7: 1_200.0, 8: 0.0}
    assert by_owner.groupby("owner_id")["deals_open"].max().to_dict() == {7: 7, 8: 0}


def test_before_the_kept_history_open_deals_count_without_values(by_hand: Any) -> None:
    deals, visits, stages = past(300)
    # The first sync was on 15 January.
    first = pd.Timestamp("2026-01-15", tz="UTC")
    visits = visits.assign(source="snapshots", seen_at=visits["entered_at"].clip(lower=first))
    how = {"as_of": "2025-12-31", "until": "2026-01", "draws": 200}
    table = metrics.forecast(deals, visits, stages, **COMING | how)
    assert table["deals_open"].tolist() == [17]
    assert table["from_open"].tolist() == [0.0]
    assert "17 of 17 open deals have no known value: they count 0." in table.attrs["notes"]


def test_a_whale_is_one_of_its_own_currency(by_hand: Any) -> None:
    how = by_hand(dict.fromkeys(OPEN, 0.5)) | {"until": "2026-07-01", "by": "currency"}
    deals, visits, stages = changed("value", {900114: 1e6, 900117: 4e6, 900118: 2e6})
    deals.loc[deals["id"].isin([900114, 900117, 900118]), "currency"] = "JPY"
    table = metrics.forecast(deals, visits, stages, **COMING | how)
    [note] = [note for note in table.attrs["notes"] if "Without it" in note]
    yen = table[table["currency"] == "JPY"]
    # 2 of the 3.5 million yen that are expected.
    assert note.startswith("Deal 900117 is 5")
    assert " of the amounts in JPY. With it: mean" in note
    assert f"With it: mean {yen['mean'].sum():,.0f}," in note
    assert f"Without it: mean {yen['mean'].sum() - 2e6:,.0f}," in note
    # In each currency: beside these yen, half a million euros would be no half of anything.
    deals.loc[deals["id"] == 900110, "value"] = 5e5
    table = metrics.forecast(deals, visits, stages, **COMING | how)
    named = [note[:11] for note in table.attrs["notes"] if "Without it" in note]
    assert named == ["Deal 900110", "Deal 900117"]


def test_no_open_deals_and_one() -> None:
    table = metrics.forecast(*without_open(past()), **COMING)
    assert (table["from_open"] == 0).all()
    assert set(table["deals_open"]) == {0}
    assert (table["from_new"].iloc[1:] > 0).all()
    one = metrics.forecast(*without_open(past(), kept=900110), **COMING)
    assert set(one["deals_open"]) == {1}
    assert 0 < one["from_open"].sum() < 300


def test_a_young_account_and_one_that_never_won_are_refused_with_counts() -> None:
    with pytest.raises(InsufficientDataError, match="11 were closed and 3 won by 2026-06-30"):
        metrics.forecast(*past(12), **COMING)
    deals, visits, stages = past()
    lost = deals["status"] == "won"
    deals.loc[lost, "lost_time"], deals.loc[lost, "won_time"] = deals["won_time"], pd.NaT
    deals.loc[lost, "status"] = "lost"
    visits.loc[visits["end"] == "won", "end"] = "lost"
    with pytest.raises(InsufficientDataError, match="and 0 won"):
        metrics.forecast(deals, visits, stages, **COMING)
    with pytest.raises(InsufficientDataError, match="the longest horizon"):
        metrics.forecast(*past(), **COMING | {"until": "2031"})


def test_what_happens_later_changes_no_cell() -> None:
    deals, visits, stages = past()
    when = COMING | {"as_of": "2026-03-15", "until": "2026-05", "common_sd": None}
    then = pd.Timestamp("2026-03-16", tz="UTC")
    first = metrics.forecast(deals, visits, stages, **when, history=history_of(deals))
    assert first["from_open"].iloc[0] > 0
    known = deals[deals["add_time"] < then]
    closed = known[(known["won_time"] < then) | (known["lost_time"] < then)]
    later = deals.assign(
        value=deals["value"].where(deals["id"].isin(closed["id"]), 1e9),
        won_time=deals["won_time"].where(deals["won_time"] < then),
        lost_time=deals["lost_time"].where(deals["lost_time"] < then, END),
        status=deals["status"].astype("str").where(deals["id"].isin(closed["id"]), "lost"),
        update_time=END,
    )
    shown = visits[visits["entered_at"] < then]
    shown = shown.assign(
        end=shown["end"].astype("str").where(shown["left_at"] < then, "lost"),
        left_at=shown["left_at"].where(shown["left_at"] < then, END),
    )
    order = np.random.default_rng(0)
    mixed = [frame.sample(frac=1, random_state=order.integers(99)) for frame in (later, shown)]
    again = metrics.forecast(*mixed, stages, **when, history=history_of(deals))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert first.attrs["notes"] == again.attrs["notes"]


def test_rows_in_any_order_give_the_same_bytes() -> None:
    first = metrics.forecast_draws(*past(), **COMING | {"draws": 200}, by="owner_id")
    mixed = [frame.sample(frac=1, random_state=3) for frame in past()]
    again = metrics.forecast_draws(*mixed, **COMING | {"draws": 200}, by="owner_id")
    pd.testing.assert_frame_equal(first, again, check_exact=True)


_DIGEST = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")
from tests.unit.metrics.forecasting.test_totals import digest
print(digest())
"""


def digest() -> str:
    """Return a digest of a forecast and its draws."""
    frames = past(400)
    table = metrics.forecast(*frames, **COMING | {"common_sd": None}, by="owner_id")
    rows = metrics.forecast_draws(*frames, **COMING)
    numbers = pd.concat([table["mean"], table["p90"], table["common_sd"], rows["total"]])
    return hashlib.sha256(numbers.to_numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_one_thread_and_eight_give_the_same_bytes() -> None:
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    results = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env=os.environ
            | dict.fromkeys(threads, number)
            | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "8")
    }
    assert len(results) == 1


def test_the_seed_decides() -> None:
    one, same, other = (metrics.forecast_draws(*past(), **COMING, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert (one["from_open"] != other["from_open"]).any()
    assert (one["from_new"] != other["from_new"]).any()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"until": "2026-06-30"}, "not after as_of"),
        ({"freq": "D"}, "freq must be"),
        ({"draws": 0}, "draws=0"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"common_sd": -1}, "common_sd=-1"),
        ({"method": "oracle"}, "'hazard'"),
        ({"by": "period"}, "of its own"),
        ({"by": "ownr_id"}, "Did you mean 'owner_id'"),
        ({"until": "2099"}, "the limit is"),
        ({"as_of": "soon"}, "as_of='soon'"),
    ],
)
def test_wrong_arguments_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        metrics.forecast(*past(), **COMING | how)


def test_owner_means_the_name_where_that_is_there() -> None:
    deals, visits, stages = past()
    deals["owner_name"] = deals["owner_id"].map({7: "Ada", 8: "Bo"}).astype("str")
    table = metrics.forecast(deals, visits, stages, **COMING, by="owner", freq="Y")
    assert table["owner_name"].tolist() == ["Ada", "Bo"]


def test_ids_begin_where_the_helper_says() -> None:
    deals = past()[0]
    assert dict(zip(deals["id"], deals["value"], strict=True)).items() >= OPEN.items()
    assert set(deals.loc[deals["status"] == "open", "id"]) == set(OPEN)
    assert min(OPEN) > FIRST_ID


def test_wins_that_no_longer_stand_are_not_won_already() -> None:
    deals, visits, stages = past()
    won = deals[deals["won_time"] >= "2026-04-01"]
    deleted, reopened = won["id"].iloc[:2]
    deals["deleted_time"] = pd.Series([pd.NaT] * len(deals), dtype="datetime64[us, UTC]")
    rows = deals["id"] == deleted
    deals.loc[rows, "is_deleted"] = True
    deals.loc[rows, "deleted_time"] = END
    rows = deals["id"] == reopened
    deals["status"] = deals["status"].astype("str")
    deals.loc[rows, "status"], deals.loc[rows, "won_time"] = "open", pd.NaT
    last = visits[visits["deal_id"] == reopened].iloc[[-1]]
    back = last.assign(entered_at=last["left_at"], seen_at=last["left_at"], visit=2)
    back = back.assign(left_at=pd.Series([pd.NaT], back.index, "datetime64[us, UTC]"), end="open")
    ended = visits[visits["deal_id"] == deleted].iloc[[-1]]
    removal = ended.assign(entered_at=ended["left_at"], left_at=END, seen_at=END, visit=2)
    more = pd.concat([visits, back, removal.assign(entered_at=END, end="deleted")])
    table = metrics.forecast(deals, more, stages, **COMING, freq="Q")
    kept = won[~won["id"].isin([deleted, reopened])]
    assert len(kept) > 0
    assert table["won_already"].tolist() == [kept["value"].sum(), 0]
    assert set(table["deals_open"]) == {8}


def test_an_archived_open_deal_and_an_owner_who_left_count() -> None:
    deals, visits, stages = past()
    deals["is_archived"] = deals["id"] == 900114
    deals["owner_name"] = np.where(deals["id"] == 900114, "left", "here")
    table = metrics.forecast(deals, visits, stages, **COMING, by="owner_name", freq="Y")
    assert table.set_index("owner_name")["deals_open"].to_dict() == {"here": 6, "left": 1}
    assert table.set_index("owner_name")["from_open"]["left"] > 0


def wide(table: pd.DataFrame) -> list[str]:
    return [note for note in table.attrs["notes"] if "wide" in note]


def test_a_wide_range_is_said_of_all_groups_together_alone() -> None:
    calm = {**COMING, "freq": "Q", "until": "2027-Q2", "common_sd": 0.05}
    total = metrics.forecast(*past(400), **calm)
    by_title = metrics.forecast(*past(400), **calm, by="title")
    assert (total["p90"].tail(3) <= 5 * total["p10"].tail(3)).all()
    assert (by_title["p90"] > 5 * by_title["p10"]).sum() > 100
    # The second quarter of 2026 has an hour left.
    assert wide(total) == wide(by_title) == []
    wild = metrics.forecast(*past(), **{**COMING, "common_sd": 1.5}, by="owner_id")
    sums = metrics.forecast(*past(), **{**COMING, "common_sd": 1.5})
    rows = np.flatnonzero((sums["p90"] > 5 * sums["p10"]) & (sums["p90"] > 0))
    first = sums.iloc[rows[0]]
    [note] = wide(wild)
    assert note == (
        f"The range of all groups together is wide in {len(rows)} of {len(sums)} periods: P90 is"
        f" more than 5 times P10, first in the one from {first['period']:%Y-%m-%d}"
        f" ({first['p10']:,.0f} to {first['p90']:,.0f} EUR)."
    )
    assert wide(sums) == [note.replace(" of all groups together", "")]
    apart = metrics.forecast(*past(), **{**COMING, "common_sd": 1.5}, by="currency")
    assert wide(apart) == wide(sums)


@pytest.mark.parametrize(("days", "is_said"), [(29, False), (31, True)])
def test_frames_that_are_long_out_of_date_are_said_once(days: int, is_said: bool) -> None:
    deals, visits, stages = past()
    times = [deals[name] for name in ("add_time", "update_time")]
    newest = max(each.max() for each in [*times, visits["entered_at"], visits["left_at"]])
    late = {**COMING, "as_of": newest + pd.Timedelta(days=days), "until": "2026-Q4"}
    with pytest.warns(DataWarning) as issued:
        table = metrics.forecast(deals, visits, stages, **late, by="owner_id")
    assert len(issued) == 1
    said = [note for note in table.attrs["notes"] if "nothing changed" in note]
    assert len(said) == is_said
    if is_said:
        assert f"in the {days} days before as_of" in said[0]
        assert f"{newest:%Y-%m-%d}" in said[0]


def test_a_value_without_a_currency_counts_nothing_and_is_counted(by_hand: Any) -> None:
    how = by_hand({900114: 0.5, 900117: 0.5})
    deals, visits, stages = changed("currency", {900117: None})
    table = metrics.forecast(deals, visits, stages, **COMING | how, rates={"EUR": 2.0})
    assert table["from_open"].sum() == pytest.approx(0.5 * 700 * 2)
    said = [note for note in table.attrs["notes"] if "no currency" in note]
    assert said == [
        "1 open deals have a value and no currency, so that `rates` cannot convert them: they"
        " count 0."
    ]
    won = deals.loc[deals["status"] == "won", "id"].iloc[0]
    table = metrics.forecast(*changed("currency", {won: None}), **COMING, rates={"EUR": 1.0})
    assert any("1 won deals have a value and no currency" in note for note in table.attrs["notes"])
