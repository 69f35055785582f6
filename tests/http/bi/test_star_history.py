"""What a star knows of the past and the future: states of deals, rates, the forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import pytest

from pdframe import metrics, sandbox
from pdframe.errors import ArgumentError
from tests.helpers.deletions import open_deals
from tests.helpers.stars import (
    SEEDS,
    Star,
    check_plain,
    check_relationships,
    seeds,
    star_of,
    with_spread,
    without_forecast,
)

STATE = ("status", "value", "currency", "expected_close_date", "probability", "is_archived")
IDS = {"stage_id": "stage_key", "pipeline_id": "pipeline_key", "owner_id": "owner_key"}
FIGURES = ("won_already", "from_open", "from_new", "mean", "p10", "p50", "p90", "common_sd")
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


class Past(NamedTuple):
    """An account, its star, the deals that each sync saw with the server's time then, and the
    `common_sd` that the star was given; None where it learned it.
    """

    account: sandbox.SandboxAccount
    made: Star
    seen: Sequence[tuple[pd.Timestamp, pd.DataFrame]]
    common_sd: float | None


def companies() -> Iterator[Any]:
    for seed in seeds(1):
        for company in ("showcase", "hostile"):
            yield pytest.param((company, seed), id=f"{company}-{seed}")


@pytest.fixture(scope="module", params=companies())
def past(request: pytest.FixtureRequest) -> Iterator[Past]:
    company, seed = request.param
    with sandbox.connect(
        seed=seed, deals=120, company=company, burst=100_000, progress=False, max_age=0
    ) as account:
        seen = []
        account.sync()
        for days in (0, 9, 23, 40):
            if days:
                account.advance(days=days)
                for deal in open_deals(account, 2):
                    account.company_model.delete_deal(deal)
            deals = account.deals(refresh=True, names=False)
            snapshots = account.deal_history()["seen_at"]
            seen.append((snapshots.max(), deals))
        account.deal_changes(seen[0][1]["id"].head(30).to_list())
        account.deals(refresh=True, names=False)
        # To learn it is most of the time: of each company, the last account does, which every
        # sample has. The others have a value of their own, so that no star has another's.
        common_sd = None if seed == SEEDS[-1] else 0.1 + seed / 100
        with with_spread(common_sd):
            made = star_of(account, refresh=False, rates=RATES)
        yield Past(account, made, seen, common_sd)


def test_it_is_a_star(past: Past) -> None:
    check_plain(past.made)
    check_relationships(past.made)
    assert past.made.frame("fact_deal_history")["valid_to"].notna().sum() > 20


def test_rows_of_a_deal_follow_each_other(past: Past) -> None:
    states = past.made.frame("fact_deal_history")
    following = states.groupby("deal_id")["valid_from"].shift(-1)
    assert states["valid_to"].equals(following)
    assert (states["valid_to"].isna() == states["is_current"]).all()
    assert not (states["valid_to"] <= states["valid_from"]).any()


def test_states_are_those_that_syncs_saw(past: Past) -> None:
    states = past.made.frame("fact_deal_history")
    for time, deals in past.seen:
        valid = states[
            (states["valid_from"] <= time) & ~(states["valid_to"] <= time) & ~states["is_deleted"]
        ].set_index("deal_id")
        assert set(valid.index) == set(deals["id"])
        deals = deals.set_index("id").loc[valid.index]
        for name in STATE:
            own = "currency_key" if name == "currency" else name
            actual, expected = (
                [None if pd.isna(one) else one for one in column.astype(object)]
                for column in (valid[own], deals[name])
            )
            assert actual == expected, name
        for name, key in IDS.items():
            known = set(past.made.arrow(f"dim_{key.removesuffix('_key')}")[key].to_pylist())
            expected = [-1 if pd.isna(one) else one if one in known else -2 for one in deals[name]]
            assert valid[key].to_list() == expected


def test_deleted_deals_have_no_row(past: Past) -> None:
    states = past.made.frame("fact_deal_history")
    there = set(past.made.arrow("fact_deals")["deal_key"].to_pylist())
    deleted = ~states["deal_id"].isin(there)
    assert deleted.any()
    assert (states.loc[deleted, "deal_key"] == -2).all()
    assert (states.loc[deleted, "organization_key"] == -2).all()
    assert (states.loc[~deleted, "deal_key"] == states.loc[~deleted, "deal_id"]).all()


def test_the_forecast_is_that_of_the_metric(past: Past) -> None:
    account, actual = past.account, past.made.frame("fact_forecast")
    now = pd.Timestamp(account.company_model.now, unit="s", tz="UTC")
    today = now.tz_convert(account.tz).date()
    expected = metrics.forecast(
        account.deals(refresh=False, deleted=True, names=False),
        account.stage_visits(refresh=False),
        account.stages(refresh=False),
        as_of=str(today),
        until=f"{pd.Period(today, 'M') + 3}",
        rates=RATES,
        history=account.deal_history(),
        common_sd=past.common_sd,
    )
    assert len(actual) == len(expected) == 4
    assert actual["period"].to_list() == expected["period"].to_list()
    assert set(actual["currency_key"]) == {"EUR"}
    for name in FIGURES:
        assert actual[name].to_list() == expected[name].to_list()
    assert expected["mean"].gt(0).all()
    assert any(note.startswith("fact_forecast: ") for note in past.made.notes)


def test_a_forecast_keeps_currencies_apart_without_rates() -> None:
    with sandbox.connect(seed=7, deals=200, burst=100_000, progress=False) as account:
        made = star_of(account)
        deals = account.deals(deleted=True, names=False)
        expected = metrics.forecast(
            deals,
            account.stage_visits(),
            account.stages(),
            as_of="2026-06-30",
            until="2026-09",
            by="currency",
            history=account.deal_history(),
        )
    actual = made.frame("fact_forecast")
    assert len(actual) == len(expected) > 0
    assert actual["period"].to_list() == expected["period"].to_list()
    assert actual["currency_key"].to_list() == expected["currency"].to_list()
    for name in FIGURES:
        assert actual[name].to_list() == expected[name].to_list()


def test_a_refused_forecast_has_no_rows_and_a_note() -> None:
    with sandbox.connect(seed=7, deals=20, burst=100_000, progress=False) as account:
        made = star_of(account)
    assert len(made.arrow("fact_forecast")) == 0
    assert [note for note in made.notes if note.startswith("fact_forecast has no rows: ")]
    check_plain(made)


def test_rates_of_a_mapping_hold_on_every_day() -> None:
    with (
        sandbox.connect(seed=7, deals=20, burst=100_000, progress=False) as account,
        without_forecast(),
    ):
        made = star_of(account, rates=RATES)
        with pytest.raises(ArgumentError, match="rate"):
            star_of(account, rates={"EUR": 1, "USD": -3})
    rows = made.arrow("fact_rates").to_pylist()
    assert [(row["currency_key"], row["to_currency_key"], row["rate"]) for row in rows] == [
        ("EUR", "EUR", 1.0),
        ("GBP", "EUR", 1.15),
        ("USD", "EUR", 0.9),
    ]
    assert {row["rate_date"] for row in rows} == {None}
    check_relationships(made)


def test_rates_by_day_hold_until_the_next_one() -> None:
    rates = pd.DataFrame(
        {
            "currency": ["USD", "EUR", "USD", "USD"],
            "date": pd.to_datetime(["2026-03-01", "2020-01-01", "2026-01-01", "1999-01-04"]),
            "rate": [0.92, 1.0, 0.9, 0.85],
        }
    )
    with (
        sandbox.connect(seed=7, deals=20, burst=100_000, progress=False) as account,
        without_forecast(),
    ):
        made = star_of(account, rates=rates)
    rows = made.arrow("fact_rates").to_pylist()
    assert [
        (row["currency_key"], str(row["rate_date"]), str(row["rate_until"]), row["rate"])
        for row in rows
    ] == [
        ("EUR", "2020-01-01", "None", 1.0),
        ("USD", "1999-01-04", "2026-01-01", 0.85),
        ("USD", "2026-01-01", "2026-03-01", 0.9),
        ("USD", "2026-03-01", "None", 0.92),
    ]
    # More than ten years before: the day is kept, and has no row in the calendar.
    assert [str(row["rate_date_key"]) for row in rows][:2] == ["2020-01-01", "None"]
    check_relationships(made)
    check_plain(made)
