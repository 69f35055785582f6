"""Recurring revenue of a synthetic company, loaded over HTTP, against its true subscriptions and
against SQL on its Parquet.
"""

from __future__ import annotations

import warnings
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import DataWarning
from pdframe.metrics import (
    RevenuePolicy,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    reconcile,
    renewals,
    retention,
)
from pdframe.sandbox.company import Company, Switches
from pdframe.sandbox.company.lines import revenue
from tests.helpers import revenue_frames
from tests.helpers.bookkeeping import MOVES, ActiveLine, movements
from tests.helpers.revenue_sql import Base

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

SINCE, UNTIL = date(2023, 7, 1), date(2027, 1, 1)
WINDOW: dict[str, Any] = {"since": SINCE, "until": UNTIL}
DEALS = 1_500
NO_BURST = 100_000


class Loaded(NamedTuple):
    company: Company
    deals: pd.DataFrame
    lines: pd.DataFrame
    discounts: pd.DataFrame


def load(**switches: Any) -> Loaded:
    with sandbox.connect(
        seed=11,
        deals=DEALS,
        company="hostile",
        burst=NO_BURST,
        daily_tokens=10**9,
        progress=False,
        switches=Switches(**switches),
    ) as account:
        company = account.company_model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            deals = account.deals()
        cut = sorted(
            {row["deal_id"] for row in company.tables["discounts"].values()} & set(deals["id"])
        )
        return Loaded(company, deals, account.deal_products(), account.discounts(cut))


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load()


def cancellations(deals: pd.DataFrame) -> pd.DataFrame:
    return deals[["id", "Cancellation date"]].set_axis(["deal_id", "date"], axis=1)


def truth(company: Company, known: bool) -> list[ActiveLine]:
    """What the customers really owe, in millionths a month."""
    result = []
    for row in company.truth.subscriptions(cancellations=known):
        customer = f"deal {row.deal_id}"
        for word, key in (("person", row.person_id), ("organization", row.org_id)):
            customer = customer if key is None else f"{word} {key}"
        result.append(
            ActiveLine(
                customer,
                row.currency,
                row.product_id,
                round(row.monthly * 1e6),
                row.start,
                row.end or date.max,
                row.end_reason,
            )
        )
    return result


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["cancellations known", "unknown"])
def test_every_line_lives_as_it_truly_does(loaded: Loaded, known: bool) -> None:
    lines = mrr_lines(
        loaded.lines,
        loaded.deals,
        discounts=loaded.discounts,
        cancellations="Cancellation date" if known else revenue_frames.NO_CANCELLATIONS,
    )
    assert lines["problem"].isna().all()
    recurring = lines[lines["billing_frequency"] != "one-time"]
    result = zip(
        recurring["id"],
        recurring["deal_id"],
        np.rint(recurring["mrr"] * 1e6),
        recurring["start"].dt.date,
        recurring["end"].dt.date.where(recurring["end"].notna(), None),
        recurring["end_reason"],
        strict=True,
    )
    expected = [
        (row.line_id, row.deal_id, round(row.monthly * 1e6), row.start, row.end, row.end_reason)
        for row in loaded.company.truth.subscriptions(cancellations=known)
    ]
    assert list(result) == expected
    reasons = recurring["end_reason"].value_counts()
    assert reasons["term"] > 100
    assert (reasons["cancelled"] > 20) == known


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["cancellations known", "unknown"])
@pytest.mark.parametrize("at", ["end", "start"])
def test_every_movement_of_every_customer_is_the_true_one(
    loaded: Loaded, known: bool, at: Any
) -> None:
    lines = mrr_lines(
        loaded.lines,
        loaded.deals,
        policy=RevenuePolicy(at=at),
        discounts=loaded.discounts,
        cancellations=cancellations(loaded.deals) if known else revenue_frames.NO_CANCELLATIONS,
    )
    result = mrr_customer_months(lines, **WINDOW)
    expected = movements(truth(loaded.company, known), at, SINCE, UNTIL)
    columns = ["previous", "amount", "mrr", "expired"]
    table = {}
    for month, customer, currency, move, amounts in zip(
        result["month"].dt.date,
        result["customer"],
        result["currency"],
        result["movement"].astype(object),
        np.rint(result[columns].to_numpy() * 1e6).astype(np.int64).tolist(),
        strict=True,
    ):
        row = dict.fromkeys(MOVES, 0) | {
            "start": amounts[0],
            "end": amounts[2],
            "fx": 0,
            "expired": amounts[3],
        }
        table.setdefault(month, {})[customer, currency] = (
            row if pd.isna(move) else row | {move: amounts[1]}
        )
    assert table == {month: rows for month, rows in expected.items() if rows}
    counts = result["movement"].value_counts()
    assert (len(counts), counts.min() > 0) == (5, True), counts
    assert (result.loc[result["movement"] == "churn", "expired"] == 0).any() == known


@pytest.mark.slow
def test_the_same_as_sql_on_the_parquet(loaded: Loaded, tmp_path: Path) -> None:
    loaded.lines.to_parquet(tmp_path / "lines.parquet")
    loaded.deals[
        ["id", "status", "is_deleted", "org_id", "person_id", "won_time", "local_won_date"]
    ].to_parquet(tmp_path / "deals.parquet")
    lines = mrr_lines(
        loaded.lines,
        loaded.deals,
        discounts=loaded.discounts,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    with Base(
        tmp_path / "lines.parquet", tmp_path / "deals.parquet", str(SINCE), str(UNTIL)
    ) as base:
        for theirs, ours in (
            (base.schedule(), mrr_schedule(lines, **WINDOW)),
            (base.movements(), mrr_movements(lines, **WINDOW)),
            (base.retention(12), retention(lines, **WINDOW)),
            (base.retention(3), retention(lines, **WINDOW, months=3)),
        ):
            assert len(theirs) > 60
            both = ours.merge(
                theirs.astype({"month": "datetime64[us]"}),
                on=["month", "currency"],
                how="left",
                suffixes=("", "_sql"),
            )
            assert both[theirs.columns[2] + "_sql"].notna().sum() == len(theirs)
            for column in theirs.columns[2:]:
                unit = 1 if column in ("customers", "nrr", "grr", "logo_retention") else 1e6
                # What SQL has no row of is nothing: no MRR, or no customer to retain.
                expected = both[f"{column}_sql"].astype("float64") / unit
                nothing = 0.0 if unit == 1e6 or column == "customers" else np.nan
                np.testing.assert_allclose(
                    both[column].astype("float64"), expected.fillna(nothing), rtol=1e-12, atol=0
                )


EXPLAINED = {"twelve-month": None, "term": "term under 12 months", "calendar": "weekly factor"}


@pytest.mark.slow
@pytest.mark.parametrize("formula", EXPLAINED)
def test_reconcile_names_what_each_formula_counts_differently_and_nothing_else(
    formula: Any,
) -> None:
    kept = load(revenue_formula=formula)
    company = kept.company
    lines = mrr_lines(
        kept.lines, kept.deals, discounts=kept.discounts, cancellations=cancellations(kept.deals)
    )
    result = reconcile(lines, kept.deals, deal_products=kept.lines)
    planted = {}
    for deal in company.tables["deals"].values():
        own, discounts = company.lines_of(deal["id"]), company.discounts_of(deal["id"])
        if deal["status"] == "won" and not deal["is_deleted"] and own:
            ours = revenue(own, discounts, "twelve-month")["mrr"]
            assert deal["mrr"] == revenue(own, discounts, formula)["mrr"]
            if deal["mrr"] != ours:
                planted[deal["id"]] = (EXPLAINED[formula], round(deal["mrr"] - ours, 2))
    flagged = result[result["reason"].notna()]
    assert flagged.set_index("deal_id")["reason"].to_dict() == {
        deal: reason for deal, (reason, _) in planted.items()
    }
    for row in flagged.to_dict("records"):
        assert row["difference"] == pytest.approx(
            planted[row["deal_id"]][1], abs=0.0101
        )  # both sides were rounded to a cent
    assert (len(planted) > 20) == (formula != "twelve-month")
    assert len(result) > 150


@pytest.mark.slow
def test_every_true_renewal_is_detected_on_the_day_before_the_term_ends(loaded: Loaded) -> None:
    lines = mrr_lines(
        loaded.lines,
        loaded.deals,
        discounts=loaded.discounts,
        cancellations=cancellations(loaded.deals),
    )
    won = loaded.deals[loaded.deals["status"] == "won"].set_index("id")["local_won_date"]
    renewed: dict[int, list[int]] = {}
    for deal, (kind, base) in loaded.company._life._customers.kind.items():
        if kind == "renewal" and deal in won.index:
            renewed.setdefault(base, []).append(deal)
    ended = lines[(lines["end_reason"] == "term") & (lines["mrr"] > 0)]
    last = ended.groupby("deal_id")["end"].max()
    result = 0
    for end in sorted(ended["end"].unique()):
        day = end - pd.Timedelta(days=1)
        for row in renewals(lines, loaded.deals, as_of=str(day.date()), within="1D").to_dict(
            "records"
        ):
            # A deal is renewed as a whole, when the last of its terms ends.
            true = [deal for deal in renewed.get(row["deal_id"], []) if won[deal] <= day]
            if true and row["end_reason"] == "term" and row["end"] == last[row["deal_id"]]:
                assert (row["successor"] in true, row["successor_status"]) == (True, "won")
                result += 1
    assert result > 10
