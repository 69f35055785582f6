"""A changed win rate: z by hand, when it is said, and whether a common factor would explain it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.metrics.forecasting._interface import DAY, OpenDeals, Probabilities
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.common_sd import ASSUMED, CommonSd, PastTotals, estimate
from pdframe.metrics.forecasting.drift import Drift, alarm_limit, drift, drift_note, drift_notes
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import METHODS
from tests.helpers.forecast_frames import END, past


class Half:
    """A method that gives every deal one half."""

    name = "half"

    def fit(self, known: Known, seed: int) -> Fitted:
        return self

    def predict(self, deals: OpenDeals, horizons: np.ndarray) -> Probabilities:
        chance = np.full((len(deals), len(horizons)), 0.5)
        return Probabilities(chance, np.zeros_like(chance))


def test_z_is_what_was_won_less_what_was_expected_over_the_spread():
    deals, visits, stages = past()
    known = Known.at(deals, visits, stages, "2026-06-30")
    result = drift(known, Half(), 90 * DAY, 0)
    limit = known.as_of - 90 * DAY
    added = deals["add_time"].astype("int64")
    ended = deals["won_time"].fillna(deals["lost_time"]).astype("int64")
    never = deals["status"] == "open"
    open_then = (added <= limit) & ((ended > limit) | never)
    won = int((open_then & (deals["status"] == "won")).sum())
    count = int(open_then.sum())
    assert result is not None
    assert (result.deals, result.won, result.expected) == (count, won, count / 2)
    assert result.z == pytest.approx((won - count / 2) / np.sqrt(count / 4))


def test_a_past_that_is_too_short_says_nothing():
    known = Known.at(*past(), "2026-06-30")
    assert drift(known, Half(), 700 * DAY, 0) is None


@pytest.mark.parametrize(
    ("won", "said"),
    [
        (31, None),
        (15, "15.0% were won since, and 30.0% were expected (z -3.3). A factor common to all"),
        (0, "would not explain it"),
    ],
)
def test_the_warning_has_both_rates_and_says_what_would_explain_it(won: int, said: str | None):
    spread = 21.0
    z = (won - 30) / np.sqrt(spread)
    note = Drift(90 * DAY, 100, won, 30.0, spread, z).note(common_sd=0.2)
    assert (note is None) == (said is None)
    if said is not None and note is not None:
        assert said in note
    if won == 15:
        # 2.6 times the root of 21 + (.2 x 30) squared is 19.6, more than the 15 that are missing.
        assert str(note).endswith("of 20%, would explain it.")


@pytest.mark.parametrize(("horizons", "limit"), [(1, 2.6), (2, 2.831), (4, 3.043)])
def test_more_horizons_must_be_further_off(horizons: int, limit: float):
    # The quantiles of .00466 / horizons of a normal distribution, from a table.
    assert alarm_limit(horizons) == pytest.approx(limit, abs=0.005)
    low, high = (Drift(90 * DAY, 100, 15, 30.0, 21.0, -limit + by) for by in (-0.01, 0.01))
    assert low.note(limit=alarm_limit(horizons)) is not None
    assert high.note(limit=alarm_limit(horizons)) is None


def test_what_one_horizon_shows_may_be_chance_of_two(monkeypatch: pytest.MonkeyPatch):
    def weak(known: Known, method: Any, horizon: int, seed: int) -> Drift:
        return Drift(horizon, 100, 18, 30.0, 20.0, -2.7)

    monkeypatch.setattr("pdframe.metrics.forecasting.drift.drift", weak)
    known, totals = Known.at(*past(100), "2026-06-30"), PastTotals(METHODS["hazard"], 0)
    assert len(drift_notes(known, totals, np.array([90 * DAY]), 0.2)) == 1
    assert drift_notes(known, totals, np.array([30 * DAY, 90 * DAY]), 0.2) == []


@pytest.mark.parametrize("is_own", [True, False])
def test_the_warning_takes_the_spread_that_the_account_had_before(
    is_own: bool, monkeypatch: pytest.MonkeyPatch
):
    known = Known.at(*past(1000), "2026-06-30")
    moments = []

    def stated(then: Known, *_: object) -> CommonSd:
        moments.append(then.as_of)
        return CommonSd(1.5, 9, True) if is_own else CommonSd(ASSUMED, 2, False)

    monkeypatch.setattr("pdframe.metrics.forecasting.drift.estimate", stated)
    # Of 64 deals, 14 were won, and 32 would be: z is -4.5. Over 90 days, z is -1.3.
    assert drift_note(known, PastTotals(Half(), 0), 90 * DAY) is None
    assert moments == []
    note = str(drift_note(known, PastTotals(Half(), 0), 30 * DAY))
    assert moments == [known.as_of - 30 * DAY]
    # 2.6 times the root of 16 + (.2 x 32) squared is 19.6, more than the 18 that are missing.
    words = ", of 150% as in the account's earlier months, would explain it."
    assert note.endswith(words if is_own else ", of 20%, would explain it.")


def test_the_account_s_own_spread_is_estimated_from_its_wins():
    known = Known.at(*past(1000), "2026-06-30")
    note = str(drift_note(known, PastTotals(Half(), 0), 30 * DAY))
    own = estimate(known.before(known.as_of - 30 * DAY), PastTotals(Half(), 0))
    assert own.estimated
    assert f"of {own.value:.0%} as in the account's earlier months" in note


@pytest.fixture(scope="module")
def broken() -> tuple[pd.DataFrame, ...]:
    """An account that won nothing in the last 60 days: what was won is lost."""
    deals, visits, stages = past(700)
    late = (deals["won_time"] > END - pd.Timedelta(days=60)).to_numpy()
    lost = deals.loc[late, "id"]
    deals.loc[late, "lost_time"] = deals.loc[late, "won_time"]
    deals.loc[late, "won_time"], deals.loc[late, "status"] = pd.NaT, "lost"
    visits.loc[visits["deal_id"].isin(lost) & (visits["end"] == "won"), "end"] = "lost"
    return deals, visits, stages


def warned(result: pd.DataFrame) -> list[str]:
    return [note for note in result.attrs["notes"] if "the win rate changed" in note]


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
@pytest.mark.parametrize("method", ["hazard", "aalen-johansen"])
def test_a_further_horizon_silences_no_warning(broken: Any, method: str):
    how = {"as_of": END, "method": method}
    [note] = warned(metrics.forecast_deals(*broken, horizons="60D", **how))
    # Nothing of what was open 60 days before was won.
    assert " deals open 60 days before, 0.0% were won since" in note
    # Most that were open 400 days before were closed before the win rate changed.
    assert warned(metrics.forecast_deals(*broken, horizons="400D", **how)) == []
    for horizons in (["60D", "400D"], ["400D", "60D"]):
        assert warned(metrics.forecast_deals(*broken, horizons=horizons, **how)) == [note]


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
@pytest.mark.parametrize("method", ["hazard", "aalen-johansen"])
def test_a_forecast_of_revenue_warns_too(broken: Any, method: str):
    how: dict[str, Any] = {"as_of": END, "until": "2026-08-29", "draws": 50, "common_sd": 0.2}
    [note] = warned(metrics.forecast(*broken, **how, method=method))
    assert " deals open 60 days before, 0.0% were won since" in note
    assert warned(metrics.forecast(*past(700), **how, method=method)) == []


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_baselines_are_not_judged(broken: Any):
    for method in ("constant", "stage climatology", "weighted"):
        result = metrics.forecast_deals(*broken, as_of=END, horizons="60D", method=method)
        assert warned(result) == []


@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_a_given_common_factor_is_not_estimated(broken: Any, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("estimated")

    monkeypatch.setattr("pdframe.metrics.forecasting.drift.estimate", refuse)
    how: dict[str, Any] = {"as_of": END, "until": "2026-08-29", "draws": 50}
    [note] = warned(metrics.forecast(*broken, **how, common_sd=0.3))
    assert "A factor common to all deals, of 30%, would" in note
    with pytest.raises(AssertionError, match="estimated"):
        metrics.forecast_deals(*broken, as_of=END, horizons="60D")
