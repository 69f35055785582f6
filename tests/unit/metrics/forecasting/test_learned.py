"""Forecasts that share what was learned are those of separate calls."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.metrics.forecasting.deals import deals_from
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.totals import draws_from, forecast_from
from tests.helpers.forecast_frames import past

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
AS_OF = "2026-06-29"
OLD = pd.DataFrame({"currency": ["EUR"], "date": pd.to_datetime(["2020-01-01"]), "rate": [2.0]})
CHOICES: list[dict[str, Any]] = [
    {"until": "2026-06", "freq": "M"},
    # The cells are the same; the period is longer, and has wins already.
    {"until": "2026-06", "freq": "Q"},
    {"until": "2026-09", "freq": "M", "by": "currency"},
    {"until": "2026-09", "freq": "M", "rates": {"EUR": 1.0}},
    {"until": "2026-09", "freq": "M", "rates": {"EUR": 3.0}},
    {"until": "2026-09", "freq": "M", "rates": OLD},
    {"until": "2026-09", "freq": "M", "rates": OLD, "by": "owner_id"},
    {"until": "2026-09", "freq": "W"},
]


def test_each_choice_is_that_of_a_call_of_its_own() -> None:
    deals, visits, stages = past()
    learned = Learned.at(deals, visits, stages, as_of=AS_OF)
    for choice in CHOICES:
        for one, other in ((metrics.forecast, forecast_from), (metrics.forecast_draws, draws_from)):
            alone = one(deals, visits, stages, as_of=AS_OF, draws=50, **choice)
            shared = other(learned, deals, draws=50, **choice)
            pd.testing.assert_frame_equal(alone, shared, check_exact=True)
            assert alone.attrs == shared.attrs, choice
    alone = metrics.forecast_deals(deals, visits, stages, as_of=AS_OF, horizons=["30D", "2026-09"])
    shared = deals_from(learned, deals, horizons=["30D", "2026-09"])
    pd.testing.assert_frame_equal(alone, shared, check_exact=True)
    assert alone.attrs == shared.attrs


def test_rates_that_are_changed_meanwhile_count_as_they_are_now() -> None:
    deals, visits, stages = past()
    learned = Learned.at(deals, visits, stages, as_of=AS_OF)
    choice: dict[str, Any] = {"until": "2026-09", "draws": 50, "spread": 0.2}
    as_mapping = {"EUR": 1.0}
    as_frame = OLD.assign(rate=[1.0])
    for rates in (as_mapping, as_frame):
        one = forecast_from(learned, deals, rates=rates, **choice)["mean"]
        if isinstance(rates, dict):
            rates["EUR"] = 2.0
        else:
            rates.loc[0, "rate"] = 2.0
        two = forecast_from(learned, deals, rates=rates, **choice)["mean"]
        assert two.to_numpy() == pytest.approx(2 * one.to_numpy(), rel=1e-6)


def test_old_rates_are_noted_every_time() -> None:
    deals, visits, stages = past()
    learned = Learned.at(deals, visits, stages, as_of=AS_OF)
    for _ in range(2):
        table = forecast_from(learned, deals, until="2026-09", rates=OLD, draws=50, spread=0.2)
        assert any("rates are older than" in note for note in table.attrs["notes"])
