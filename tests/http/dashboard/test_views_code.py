"""The code of a view, run as pasted on the account, gives the frames that the view shows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.dashboard import _forecast
from pdframe.dashboard._data import Data, collect
from pdframe.dashboard._overview import figures_of, totals
from pdframe.dashboard.state import EMPTY, State, filtered, period_of
from pdframe.dashboard.views import VIEWS, main_currency, view
from pdframe.errors import DataWarning

RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}


@pytest.fixture(scope="module")
def showcase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=7, deals=400, cache_dir=tmp_path_factory.mktemp("cache"), burst=100_000, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.fixture(scope="module")
def data(showcase: sandbox.SandboxAccount) -> Data:
    return collect(showcase)


CHOICES: dict[str, dict[str, Any]] = {
    "all": {},
    "pipeline": {"pipeline_id": 2},
    "owner": {"owner_id": "most"},
    "option": {"field": "Region", "value": "DACH"},
    "item of a list": {"field": "Modules of interest", "value": "most"},
    "number": {"field": "Onboarding hours", "value": "most"},
    "day": {"field": "Launch date", "value": "most"},
    "empty": {"field": "Competitor", "value": EMPTY},
    "empty list": {"field": "Modules of interest", "value": EMPTY},
    "all of them": {"pipeline_id": 2, "owner_id": "most", "field": "Region", "value": "DACH"},
    "a quota in dollars": {"currency": "USD", "quota": 20_000.0},
    "an owner's quota": {"owner_id": "most", "quota": 20_000.0},
}


def run(code: str, **names: Any) -> dict[str, Any]:
    """Run code as a reader pastes it, and return its names. It warns of what the view notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        exec(compile(code, "<pasted>", "exec"), names)
    return names


def state_of(data: Data, **chosen: Any) -> State:
    """Return a state of the second quarter; "most" is the commonest value."""
    if chosen.get("owner_id") == "most":
        chosen["owner_id"] = int(data.deals["owner_id"].value_counts().index[0])
    if chosen.get("value") == "most":
        chosen["value"] = data.deals[chosen["field"]].explode().value_counts().index[0]
    period = period_of("2026-Q2", data.now, data.tz)
    return State(period, **{"currency": main_currency(data)} | chosen)


@pytest.mark.parametrize("key", VIEWS)
@pytest.mark.parametrize("choice", CHOICES)
def test_code_gives_the_frames_of_its_view(
    showcase: sandbox.SandboxAccount, data: Data, key: str, choice: str
) -> None:
    one = view(key, data, state_of(data, **CHOICES[choice]))
    if not one.code:
        assert one.notes
        return
    ran = run(one.code, account=showcase)

    for name, shown in one.frames.items():
        again = ran[name].drop(columns="chosen", errors="ignore").reset_index(drop=True)
        pd.testing.assert_frame_equal(again, shown)
    if key == "forecast":
        low, high = ran["expected_range"]
        assert one.figures[0].range == f"P10 {round(low):,} to P90 {round(high):,}"
    for number in one.counted:
        again, shown = run(number.code, **ran)["counted"], number.rows()
        assert sorted(again["deal_id"]) == sorted(shown["deal_id"])


@pytest.mark.parametrize("key", VIEWS)
def test_rates_are_in_the_code(showcase: sandbox.SandboxAccount, key: str) -> None:
    data = collect(showcase, rates=RATES)
    one = view(key, data, state_of(data))
    ran = run(one.code, account=showcase)

    for name, shown in one.frames.items():
        pd.testing.assert_frame_equal(ran[name].reset_index(drop=True), shown)


@pytest.mark.parametrize("has_rates", [False, True])
def test_who_changes_a_frame_of_the_forecast_changes_no_other_view(
    showcase: sandbox.SandboxAccount, has_rates: bool
) -> None:
    """Views of all deals share one computation."""
    data = collect(showcase, rates=RATES if has_rates else None)
    state = state_of(data)
    first = view("forecast", data, state)
    before = {name: frame.copy() for name, frame in first.frames.items()}
    for frame in first.frames.values():
        for column in frame.select_dtypes("float64").columns:
            frame.loc[:, column] = 0.0
        frame["own"] = "changed"
        frame.attrs.clear()
    for name, shown in view("forecast", data, state).frames.items():
        pd.testing.assert_frame_equal(shown, before[name])
        assert shown.attrs == before[name].attrs


@pytest.mark.parametrize("has_rates", [False, True])
def test_the_movements_of_a_month_add_up_to_its_end(
    showcase: sandbox.SandboxAccount, has_rates: bool
) -> None:
    changing = [
        ("EUR", "2020-01-01", 1.0),
        ("USD", "2020-01-01", 0.9),
        ("GBP", "2020-01-01", 1.15),
        *(("USD", f"2026-{month:02}-01", 0.9 - month / 50) for month in range(1, 7)),
    ]
    rates = pd.DataFrame(changing, columns=["currency", "date", "rate"])
    data = collect(showcase, rates=rates if has_rates else None)
    (rows,) = view("revenue", data, state_of(data)).tables
    shown = rows.rows.set_index("Month").map(lambda text: float(text.replace(",", "")))

    # Each amount is rounded.
    difference = shown.drop(columns="End").sum(axis=1) - shown["End"]
    assert difference.abs().max() <= shown.shape[1] / 2
    assert ("FX" in shown) == has_rates
    assert not has_rates or shown["FX"].abs().max() > shown.shape[1]


def test_a_large_account_has_fewer_draws_in_its_figures_and_its_code(
    showcase: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = collect(showcase)
    every = view("forecast", data, state_of(data))
    monkeypatch.setattr(_forecast, "MANY_OPEN", 10)
    one = view("forecast", data, state_of(data))
    ran = run(one.code, account=showcase)

    assert "draws=2000" in one.code
    assert "draws=" not in every.code
    pd.testing.assert_frame_equal(ran["months"].reset_index(drop=True), one.frames["months"])
    # The mean is exact, whatever is drawn.
    assert (one.frames["months"]["mean"] == every.frames["months"]["mean"]).all()
    assert (one.frames["months"]["p90"] != every.frames["months"]["p90"]).any()


@pytest.mark.parametrize("choice", CHOICES)
def test_key_figures_are_sums_of_what_the_code_returns(
    showcase: sandbox.SandboxAccount, data: Data, choice: str
) -> None:
    state = state_of(data, **CHOICES[choice])
    one = view("overview", data, state)
    figures = {figure.label: figure for figure in one.figures}
    ran = run(one.code, account=showcase)

    sales, before = ran["sales"], ran["before"]
    for label, column in (("New deals", "created"), ("Deals won", "won")):
        assert figures[label].value == f"{sales[column].sum():,}"
        assert figures[label].before == f"{before[column].sum():,}"
    of_currency = sales[sales["currency"] == state.currency]
    won = figures[f"Won, {state.currency}"].value
    assert won == f"{of_currency['won_value'].sum():,.0f}"


def test_deals_open_at_the_end_are_those_of_the_last_month(data: Data) -> None:
    closed = data.deals[data.deals["status"].isin(["won", "lost"])].reset_index(drop=True)
    closed.attrs = dict(data.deals.attrs)
    one = view("overview", replace(data, deals=closed), state_of(data))
    counted = next(number for number in one.counted if number.label == "Deals open at the end")
    ran = run(f"{one.code}{counted.code}", account=SimpleNamespace(deals=lambda deleted: closed))

    assert next(f.value for f in one.figures if f.label == "Deals open") == "0"
    assert ran["sales"]["open_at_end"].sum() > 0
    assert counted.rows().empty
    assert ran["counted"].empty


@pytest.mark.parametrize("choice", CHOICES)
def test_a_filter_keeps_the_deals_that_have_the_value(data: Data, choice: str) -> None:
    state = state_of(data, **CHOICES[choice])
    kept = set(filtered(data.deals, state)["id"])

    expected = set()
    for row in data.deals.to_dict("records"):
        fits = state.pipeline_id in (None, row["pipeline_id"])
        fits &= state.owner_id in (None, row["owner_id"])
        if state.field is not None:
            cell = row[state.field]
            items = (
                list(cell) if hasattr(cell, "__iter__") and not isinstance(cell, str) else [cell]
            )
            items = [item for item in items if not pd.isna(item)]
            fits &= not items if state.value is EMPTY else state.value in items
        if fits:
            expected.add(row["id"])
    assert kept == expected
    assert expected
    now, before = totals(data, state, filtered(data.deals, state))
    assert figures_of(now, before, state.currency)
