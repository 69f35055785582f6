"""The largest customers, and the names of customers in every frame that has customers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics import (
    RevenuePolicy,
    billing_schedule,
    drill_through,
    mrr_customer_months,
    mrr_lines,
    mrr_schedule,
    renewals,
    top_customer_lines,
    top_customers,
)
from tests.helpers import revenue_frames
from tests.helpers.notices import noticed
from tests.helpers.revenue_frames import NO_CANCELLATIONS, ledger

JUNE = "2026-06-30"
RATES = {"EUR": 1.0, "USD": 0.5}
ORGANIZATIONS = pd.DataFrame(
    {"id": [1, 2, 3], "name": ["Acme", "Beta", "Acme"], "owner_id": [7, 7, 7]}
)
PERSONS = pd.DataFrame({"id": [1, 9], "name": ["Jo Doe", "Max"]})
NAMED: dict[str, Any] = {"organizations": ORGANIZATIONS, "persons": PERSONS}


def named(*rows: dict[str, Any]) -> pd.DataFrame:
    """Lines whose customers are named after their ids."""
    lines = ledger(*rows)
    return lines.assign(
        customer_name="Customer " + lines["customer"].str.removeprefix("organization ")
    )


def test_the_largest_customers_written_out() -> None:
    lines = named(
        {"customer": 1, "item_price": 50.0, "start": "2025-03-01"},
        {"customer": 1, "item_price": 10.0, "start": "2024-02-10", "billing_frequency_cycles": 1},
        {"customer": 2, "item_price": 30.0, "start": "2026-06-30"},
        {"customer": 3, "item_price": 15.0, "start": "2026-01-01"},
        {"customer": 4, "item_price": 10.0, "start": "2026-01-01"},
        {"customer": 5, "item_price": -5.0, "start": "2026-01-01"},
        # Not yet, no longer, and one-time.
        {"customer": 6, "item_price": 900.0, "start": "2026-07-01"},
        {"customer": 7, "item_price": 900.0, "start": "2026-01-31", "billing_frequency_cycles": 5},
        {"customer": 8, "item_price": 900.0, "billing_frequency": "one-time"},
    )
    result = top_customers(lines, as_of=JUNE, n=2)
    expected = pd.DataFrame(
        {
            "customer": pd.Series(["organization 1", "organization 2", None], dtype="str"),
            "customer_name": pd.Series(["Customer 1", "Customer 2", "3 others"], dtype="str"),
            "currency": pd.Series(["EUR"] * 3, dtype="str"),
            "mrr": [50.0, 30.0, 20.0],
            "arr": [600.0, 360.0, 240.0],
            "share": [0.5, 0.3, 0.2],
            "cumulative_share": [0.5, 0.8, 1.0],
            "since": pd.to_datetime(["2024-02-10", "2026-06-30", None]).astype("datetime64[us]"),
        }
    )
    assert_frame_equal(result, expected)
    # A month is taken to its last day.
    assert_frame_equal(top_customers(lines, as_of="2026-06", n=2), result)
    assert_frame_equal(top_customers(lines, as_of=pd.Period("2026-06", "M"), n=2), result)
    all_of_them = top_customers(lines, as_of=JUNE)
    assert all_of_them["customer_name"].tolist()[-1] == "1 other"
    assert all_of_them["mrr"].tolist() == [50.0, 30.0, 15.0, 10.0, -5.0]


def test_without_others_there_is_no_such_row() -> None:
    lines = named({"customer": 2, "item_price": 5.0}, {"customer": 1, "item_price": 5.0})
    result = top_customers(lines, as_of=JUNE, n=2)
    # Equal ones by customer.
    assert result["customer"].tolist() == ["organization 1", "organization 2"]
    assert result["cumulative_share"].tolist() == [0.5, 1.0]
    none = top_customers(lines, as_of="2020-01-01")
    assert (len(none), none["since"].dtype, none["mrr"].dtype) == (0, "datetime64[us]", "float64")
    credits = top_customers(named({"item_price": -5.0}), as_of=JUNE)
    assert credits["customer"].isna().tolist() == [True]
    assert credits["share"].isna().all()


def random_lines(seed: int) -> pd.DataFrame:
    draw = np.random.default_rng([17, seed])
    return named(
        *(
            {
                "customer": int(draw.integers(1, 30)),
                "currency": str(draw.choice(["EUR", "USD"])),
                "item_price": float(draw.integers(-20, 400)) / 4,
                "start": str((pd.Timestamp("2024-01-01") + pd.Timedelta(days=int(d))).date()),
                "billing_frequency": str(draw.choice(["monthly", "annually", "quarterly"])),
                "billing_frequency_cycles": None if draw.random() < 0.6 else 3,
            }
            for d in draw.integers(0, 1_000, 150)
        )
    )


@pytest.mark.parametrize("rates", [None, RATES])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_the_lines_of_the_day_add_up_to(seed: int, rates: Any) -> None:
    lines = random_lines(seed)
    if rates is None:
        lines = lines[lines["currency"] == "USD"]
    result = top_customers(lines, as_of=JUNE, n=7, rates=rates)
    day = pd.Timestamp(JUNE)
    live = lines[(lines["start"] <= day) & (lines["end"].isna() | (lines["end"] > day))]
    mrr = live["mrr"] * live["currency"].map(rates or {"USD": 1.0})
    sums = mrr.groupby(live["customer"]).sum().sort_values(ascending=False, kind="stable")
    assert len(sums) > 10
    # At rates, each line is rounded to a millionth.
    np.testing.assert_allclose(result["mrr"].iloc[:7], sums.iloc[:7], rtol=0, atol=1e-5)
    assert result["mrr"].iloc[-1] == pytest.approx(sums.iloc[7:].sum(), abs=1e-4)
    begun = lines[(lines["mrr"] > 0) & (lines["start"] <= day)].groupby("customer")["start"].min()
    assert result["since"].iloc[:7].tolist() == begun[result["customer"].iloc[:7]].tolist()
    # The same total as the schedule of that month.
    schedule = mrr_schedule(lines, since="2026-06-01", until="2026-07-01", rates=rates)
    assert result["mrr"].sum() == pytest.approx(schedule["mrr"].sum(), abs=1e-3)
    assert result["currency"].unique().tolist() == ["EUR" if rates else "USD"]
    rows = top_customer_lines(lines, as_of=JUNE, rates=rates)
    assert len(rows) == (live["mrr"] != 0).sum()
    for place in range(len(result)):
        match = drill_through(result.iloc[place], rows)
        assert match["mrr"].sum() == pytest.approx(result["mrr"].iloc[place], abs=1e-4)
        if place < 7:
            assert match["customer_name"].unique().tolist() == [result["customer_name"].iloc[place]]
            assert len(drill_through(result.iloc[place], lines)) >= len(match)
    lost = result.iloc[-1].copy()
    lost.attrs.clear()
    with pytest.raises(ArgumentError, match="pandas lost the record"):
        drill_through(lost, rows)


def test_versions_and_wins_after_the_day_are_unknown() -> None:
    items = revenue_frames.lines([{"deal_id": 1}, {"deal_id": 2, "item_price": 70.0}])
    deals = revenue_frames.deals([{}, {"won_time": "2026-07-05 12:00"}])
    items["billing_start_date"] = pd.Timestamp("2026-01-01")
    lines = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS, **NAMED)
    assert top_customers(lines, as_of=JUNE)["mrr"].tolist() == [100.0]
    assert top_customers(lines, as_of="2026-07-05")["mrr"].tolist() == [100.0, 70.0]


def test_wrong_arguments_say_what_to_do() -> None:
    lines = named({}, {"currency": "USD"})
    with pytest.raises(MixedCurrencyError, match=r"lines\[lines\['currency'\] == 'EUR'\]"):
        top_customers(lines, as_of=JUNE)
    with pytest.raises(ArgumentError, match="`rates` has no rate of USD"):
        top_customers(lines, as_of=JUNE, rates={"EUR": 1.0})
    for n in (0, -1, 2.5, True, "ten"):
        with pytest.raises(ArgumentError, match="must be a number of customers"):
            top_customers(lines, as_of=JUNE, n=n, rates=RATES)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="as_of='now' is not a time"):
        top_customers(lines, as_of="now", rates=RATES)


# Names


def of_each_kind(**more: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lines and deals of two namesakes, a person, a deal by itself, and an unknown organization."""
    deals = revenue_frames.deals(
        [
            {"org_id": 1},
            {"org_id": 3, "person_id": 1},
            {"org_id": None, "person_id": 9},
            {"org_id": None, "title": "Website"},
            {"org_id": 77},
        ]
    ).assign(**more)
    return revenue_frames.lines([{"deal_id": deal} for deal in range(1, 6)]), deals


CUSTOMERS = ["organization 1", "organization 3", "person 9", "deal 4", "organization 77"]
NAMES = ["Acme", "Acme", "Max", "Website", "-"]


def test_names_are_beside_customers_in_every_frame() -> None:
    items, deals = of_each_kind()
    lines = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS, **NAMED)
    months = mrr_customer_months(lines, since="2026-01-01", until="2026-02-01")
    bills = billing_schedule(
        items,
        revenue_frames.installments([{"deal_id": 5, "billing_date": "2026-01-20"}]),
        deals,
        since="2026-01-01",
        until="2026-02-01",
        cancellations=NO_CANCELLATIONS,
        **NAMED,
    )
    ends = pd.DataFrame({"deal_id": [1, 2, 3, 4, 5], "date": ["2026-02-10"] * 5})
    ending = mrr_lines(items, deals, cancellations=ends, **NAMED)
    terms = renewals(ending, deals, as_of="2026-02-01", within="30D")
    top = top_customers(lines, as_of="2026-01-31")
    assert (bills["kind"] == "installment").sum() == 1
    for frame in (lines, months, bills, terms, top, top_customer_lines(lines, as_of="2026-01-31")):
        columns = [*frame.columns]
        assert columns.index("customer_name") == columns.index("customer") + 1
        assert frame["customer_name"].dtype == "str"
        pairs = {*zip(frame["customer"], frame["customer_name"].fillna("-"), strict=True)}
        assert pairs == {*zip(CUSTOMERS, NAMES, strict=True)}
    # Namesakes are two customers.
    assert (months["customer_name"] == "Acme").sum() == 2


def test_nothing_else_changes_by_names() -> None:
    items, deals = of_each_kind()
    plain = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS)
    assert "customer_name" not in plain
    with_names = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS, **NAMED)
    assert_frame_equal(with_names.drop(columns="customer_name"), plain)
    window: dict[str, Any] = {"since": "2026-01-01", "until": "2026-07-01"}
    with noticed("^Customers have no names: pass organizations=account.organizations()"):
        months = mrr_customer_months(plain, **window)
    theirs = mrr_customer_months(with_names, **window)
    assert_frame_equal(theirs.drop(columns="customer_name"), months)
    assert_frame_equal(mrr_schedule(with_names, **window), mrr_schedule(plain, **window))
    # By name, namesakes are one group.
    schedule = mrr_schedule(with_names, **window, by="customer_name")
    assert schedule.loc[schedule["customer_name"] == "Acme", "mrr"].tolist() == [200.0] * 6


def test_without_names_frames_of_customers_say_so_once() -> None:
    items, deals = of_each_kind()
    ends = pd.DataFrame({"deal_id": [1], "date": ["2026-02-10"]})
    # The lines themselves are quiet: their sums need no names.
    lines = mrr_lines(items, deals, cancellations=ends)
    words = "Customers have no names: pass .*persons=account.persons.* to mrr_lines"
    with noticed(words):
        top = top_customers(lines, as_of="2026-01-31", n=4)
    assert top["customer_name"].isna().tolist() == [True] * 4 + [False]
    with noticed(words):
        terms = renewals(lines, deals, as_of="2026-02-01", within="30D")
    assert "customer_name" not in terms
    # Without customers there is nothing to name.
    assert len(mrr_customer_months(lines, since="2020-01-01", until="2020-02-01")) == 0


def test_names_that_deals_have_are_used() -> None:
    more = {"org_name": ["A", "C", None, None, "Z"], "person_name": [None, "J", "M", None, None]}
    items, deals = of_each_kind(**more)
    lines = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS)
    assert lines["customer_name"].tolist() == ["A", "C", "M", "Website", "Z"]
    # A frame that is given comes first, for its own kind.
    lines = mrr_lines(items, deals, cancellations=NO_CANCELLATIONS, organizations=ORGANIZATIONS)
    assert lines["customer_name"].fillna("-").tolist() == ["Acme", "Acme", "M", "Website", "-"]
    own = RevenuePolicy(customer=("Account", "org_id"))
    lines = mrr_lines(
        items,
        deals.assign(Account=[" K-1 ", None, "", "K-2", None]),
        policy=own,
        cancellations=NO_CANCELLATIONS,
        **NAMED,
    )
    assert lines["customer"].tolist()[0] == "Account K-1"
    assert lines["customer_name"].fillna("-").tolist() == ["K-1", "Acme", "Deal", "K-2", "-"]


def test_wrong_frames_of_names_are_named() -> None:
    items, deals = of_each_kind()
    with pytest.raises(ArgumentError, match=r"organizations must be a DataFrame from account\.org"):
        mrr_lines(items, deals, organizations="Acme")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="persons has no column 'name'"):
        mrr_lines(items, deals, persons=PERSONS[["id"]])
    with pytest.raises(ArgumentError, match="organizations holds an id twice"):
        mrr_lines(items, deals, organizations=pd.concat([ORGANIZATIONS] * 2))


@pytest.mark.parametrize("rates", [None, RATES])
def test_a_line_without_a_currency_is_refused_as_in_the_schedule(rates: Any) -> None:
    lines = named(
        {"customer": 1, "item_price": 50.0, "start": "2025-03-01"},
        {"customer": 2, "item_price": 30.0, "start": "2025-03-01"},
    )
    lines.loc[0, "currency"] = None
    with pytest.raises(ArgumentError, match="currency is null in 1 lines that count"):
        top_customers(lines, as_of=JUNE, rates=rates)
    with pytest.raises(ArgumentError, match="currency is null in 1 lines that count"):
        mrr_schedule(lines, since="2026-06", until="2026-06", rates=rates)
