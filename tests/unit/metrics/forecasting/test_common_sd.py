"""The spread of the common factor, from months that were worse or better than expected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics.forecasting import common_sd
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.arrivals import new_wins
from pdframe.metrics.forecasting.common_sd import Expected, PastTotals, Then, estimate, responses
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import METHODS
from tests.helpers.forecast_frames import past as of_past
from tests.helpers.forecast_totals import BEGIN


class Months:
    """What was expected of months by cutoff: 100 wins each, in draws of a stated chance."""

    def __init__(
        self, chance: float, scored: int = 24, mean: float = 100.0, response: float = 1.0
    ) -> None:
        self._noise = np.exp(chance * np.random.default_rng(0).standard_normal(4_000))
        self._noise *= mean / self._noise.mean()
        self._first = pd.Timestamp("2026-07-01") - pd.DateOffset(months=scored)
        self._mean, self._response = mean, response

    def expected(self, known: Any, cutoff: int) -> Expected | None:
        start = pd.Timestamp(cutoff + 1, unit="us")
        if start < self._first:
            return None
        edges = [start + pd.DateOffset(months=n) for n in range(4)]
        day = np.array([edge.value // 86_400_000_000_000 for edge in edges])
        end = np.array([edge.value // 1_000 for edge in edges[1:]])
        draws = np.tile(self._noise, (3, 1))
        return Expected(day, end, np.full(3, self._mean), draws, np.full(3, self._response))


def past(wins: Any) -> Any:
    """An account with these numbers of wins in the months up to June 2026."""
    months = pd.date_range("2026-07-01", periods=len(wins) + 1, freq="-1MS")[1:][::-1]
    days = np.array([month.value // 86_400_000_000_000 + 5 for month in months])
    return SimpleNamespace(
        as_of=BEGIN - 1,
        tz="UTC",
        created=SimpleNamespace(added=np.array([0])),
        wins=SimpleNamespace(day=np.repeat(days, np.rint(wins).astype(np.int64))[::-1]),
    )


def spread(wins: Any, months: Months) -> Any:
    return estimate(past(wins), months)  # type: ignore[arg-type]


def test_months_as_expected_leave_the_floor_of_the_prior() -> None:
    result = spread([100.0] * 24, Months(0.2))
    assert (result.cutoffs, result.estimated) == (24, True)
    # (24 x 0 + 6 x .15^2) / 30
    assert result.value == pytest.approx(0.15 * (6 / 30) ** 0.5)


def test_what_chance_explains_is_no_common_factor() -> None:
    random = np.random.default_rng(1)
    chance = 100 * np.exp(0.3 * random.standard_normal(24) - 0.045)
    assert spread(chance, Months(0.3)).value < 0.2
    # Were there no chance, it would be one: (24 x variance + 6 x .15^2) / 30.
    square = float((np.log(chance / 100) ** 2).mean())
    expected = ((24 * square + 6 * 0.15**2) / 30) ** 0.5
    assert spread(chance, Months(0.0)).value == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("sd", "shrunk"), [(0.3, 0.28), (0.6, 0.54)])
def test_a_shared_shock_is_recovered_less_what_is_shrunk(sd: float, shrunk: float) -> None:
    values = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        factor = np.exp(sd * random.standard_normal(24) - sd**2 / 2)
        noise = np.exp(0.2 * random.standard_normal(24) - 0.02)
        values.append(spread(100 * factor * noise, Months(0.2)).value)
    assert np.mean(values) == pytest.approx(shrunk, abs=0.03)


def test_fewer_than_six_cutoffs_are_no_evidence() -> None:
    assert spread([100.0] * 24, Months(0.2, scored=5)) == (0.2, 5, False)
    assert spread([100.0] * 24, Months(0.2, scored=6)).estimated


def test_a_month_without_a_win_counts_once_clipped() -> None:
    """Of 24 months one is empty: its residual of -1 counts for 3 of 69 months ahead."""
    one = spread([100.0] * 12 + [0.0] + [100.0] * 11, Months(0.0))
    assert one.value == pytest.approx(((24 * 3 / 69 + 6 * 0.15**2) / 30) ** 0.5, abs=0.02)
    assert spread([0.0] * 24, Months(0.2)).value <= 1
    wild = spread([100.0] * 12 + [1e5] + [100.0] * 11, Months(0.0))
    assert wild.value == pytest.approx(one.value)


def test_months_of_which_nothing_was_expected_are_left_out() -> None:
    assert spread([100.0] * 24, Months(0.2, mean=0.0)) == (0.2, 0, False)


def test_where_months_respond_less_the_factor_must_have_varied_more() -> None:
    random = np.random.default_rng(2)
    wins = 100 * np.exp(0.2 * random.standard_normal(24))
    square = float((np.log(np.rint(wins) / 100) ** 2).mean())
    for response in (1.0, 0.5):
        expected = ((24 * square / response**2 + 6 * 0.15**2) / 30) ** 0.5
        result = spread(wins, Months(0.0, response=response)).value
        assert result == pytest.approx(expected, rel=0.05)


def test_wins_grow_by_the_response_as_the_hazards_do() -> None:
    """The spread of the conditional mean, by drawing the factor, against the power of it."""
    chance = np.array([[0.1, 0.2, 0.3], [0.5, 0.8, 0.9], [0.0, 0.02, 0.3], [1.0, 1.0, 1.0]])
    new = SimpleNamespace(
        created=np.array([4.0, 0.0, 2.0]),
        chances=lambda: np.array([[0.1, 0.3, 0.4], [0.0, 0.0, 0.0], [0.0, 0.0, 0.2]]),
    )
    result = responses(chance, new)  # type: ignore[arg-type]
    factor = np.exp(0.3 * np.random.default_rng(3).standard_normal(20_000))
    with np.errstate(divide="ignore"):
        hazards = [-np.log1p(-each)[..., None] for each in (chance, new.chances())]
    opened, created = (np.diff(1 - np.exp(-h * factor), axis=1, prepend=0.0) for h in hazards)
    mean = opened.sum(axis=0) + (created * new.created[:, None, None]).sum(axis=0)
    assert np.log(mean).std(axis=1) / 0.3 == pytest.approx(np.maximum(result, 0.2), abs=0.03)
    # Deals that are rarely won gain in proportion.
    new.created = np.zeros(3)
    rare = responses(chance * 1e-6, new)  # type: ignore[arg-type]
    assert rare == pytest.approx(np.ones(3))


class Counted:
    """A method that remembers when it was fitted."""

    def __init__(self, name: str) -> None:
        self.name, self._method = name, METHODS[name]
        self.times: list[int] = []

    def fit(self, known: Known, seed: int) -> Fitted:
        self.times.append(known.as_of)
        return self._method.fit(known, seed)


def test_methods_that_share_what_was_known_estimate_what_each_does_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Known.at(*of_past(400), "2026-06-30")
    names = ("aalen-johansen", "constant")
    alone = [estimate(known, PastTotals(METHODS[name], 0)) for name in names]
    counted: list[int] = []
    monkeypatch.setattr(
        common_sd, "new_wins", lambda *a: (counted.append(a[0].as_of), new_wins(*a))[1]
    )
    then: dict[int, Then] = {}
    methods = [Counted(name) for name in names]
    pasts = [PastTotals(method, 0, then) for method in methods]
    # The beginning of a half year, at which they would be fitted.
    at = int(pd.Timestamp("2026-01-01", tz="UTC").value // 1_000) - 1
    for each in pasts:
        each.learn(at, each.method.fit(known.before(at), 0))
    assert [estimate(known, each) for each in pasts] == alone
    assert alone[0].estimated
    assert alone[0].value != alone[1].value
    assert len(counted) == len(set(counted)) == len(then) >= alone[0].cutoffs
    assert all(method.times.count(at) == 1 < len(method.times) for method in methods)
