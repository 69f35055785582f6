"""1,000 random ledgers against plain bookkeeping: every movement of every customer, the identity
without residual, windows and groups.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics import (
    RevenuePolicy,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    retention,
)
from tests.helpers.bookkeeping import (
    MOVES,
    Ledger,
    bridged,
    frames,
    later,
    movements,
    random_ledger,
)

pytestmark = [
    # Random lines, and rates at the beginning of a month.
    pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning"),
    pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning"),
    # Names of customers have a test of their own.
    pytest.mark.filterwarnings("ignore:.*Customers have no names:pdframe.errors.DataWarning"),
]

POLICIES = [(at, grace) for at in ("end", "start") for grace in (0, 1, 31, 60)]
LEDGERS = 125
"""Of each policy: 1,000 in all."""
COLUMNS = ["start", *MOVES, "fx", "end", "expired"]


@cache
def ledgers(policy: int) -> tuple[list[Ledger], pd.DataFrame]:
    """Random ledgers under one policy, and the lines of all of them."""
    at, grace = POLICIES[policy]
    made = [random_ledger(policy * LEDGERS + number, at, grace) for number in range(LEDGERS)]
    lines, deals, cancelled = frames(made)
    rules = RevenuePolicy(at=at, renewal_grace=f"{grace}D")  # type: ignore[arg-type]
    return made, mrr_lines(lines, deals, policy=rules, cancellations=cancelled)


def parts(frame: pd.DataFrame, columns: list[str]) -> Any:
    """Amounts as the whole millionths that were added up."""
    return np.rint(frame[columns].to_numpy(float) * 1e6).astype(np.int64)


def rates_of(seed: int, since: date, months: int) -> tuple[dict[str, list[float]], pd.DataFrame]:
    """Rates that move every month; the first counts for all that was before."""
    draw = random.Random(seed)
    kept = {
        currency: [draw.choice([0.5, 1.1, 0.86, draw.uniform(0.1, 2)]) for _ in range(months + 1)]
        for currency in ("USD", "GBP")
    }
    kept["EUR"] = [1.0] * (months + 1)
    rows = [
        (currency, pd.Timestamp(later(since, at - 1)) if at else pd.Timestamp("1990-01-01"), rate)
        for currency, values in kept.items()
        for at, rate in enumerate(values)
    ]
    return kept, pd.DataFrame(rows, columns=["currency", "date", "rate"])


@pytest.mark.slow
@pytest.mark.parametrize("with_rates", [False, True])
@pytest.mark.parametrize("policy", range(len(POLICIES)))
def test_every_movement_of_every_customer_is_that_of_plain_bookkeeping(
    policy: int, with_rates: bool
) -> None:
    made, lines = ledgers(policy)
    draw = random.Random(policy)
    since, width = later(date(2024, 1, 1), draw.randint(-2, 12)), draw.randint(12, 24)
    until = later(since, width)
    window: dict[str, Any] = {"since": since, "until": until}
    given, reported = rates_of(policy, since, width) if with_rates else (None, None)
    for by_product in (False, True):
        groups = ["ledger", *(["product_id"] if by_product else [])]
        expected = {
            ledger.number: movements(bridged(ledger), ledger.at, since, until, given, by_product)
            for ledger in made
        }
        keys = [] if with_rates else ["currency"]
        matches = mrr_customer_months(lines, **window, rates=reported, by=groups)
        assert customers_of(matches, ["customer", *keys, *groups[1:]]) == {
            (number, month, unit): row
            for number, months in expected.items()
            for month, rows in months.items()
            for unit, row in rows.items()
        }
        full = mrr_movements(lines, **window, rates=reported, by=groups)
        amounts = parts(full, COLUMNS)
        assert not (amounts[:, :-2].sum(axis=1) - amounts[:, -2]).any()
        totals: dict[Any, Any] = {}
        for number, months in expected.items():
            for month, rows in months.items():
                for unit, row in rows.items():
                    totals.setdefault((number, month, *unit[1:]), []).append(
                        [row[column] for column in COLUMNS]
                    )
        table = {
            (number, month, *key): row
            for number, month, key, row in zip(
                full["ledger"],
                full["month"].dt.date,
                full[[*keys, *groups[1:]]].astype(str).itertuples(index=False, name=None),
                amounts.tolist(),
                strict=True,
            )
        }
        assert table.keys() >= totals.keys()
        assert all(
            row == np.sum(totals.get(key, [[0] * len(COLUMNS)]), axis=0).tolist()
            for key, row in table.items()
        )
        schedule = mrr_schedule(lines, **window, rates=reported, by=groups)
        np.testing.assert_array_equal(
            parts(schedule, ["mrr", "arr"]), parts(full, ["end"]) * [1, 12]
        )
        active = Counter(
            zip(
                *(matches.loc[matches["mrr"] > 0, name] for name in [*groups, "month", *keys]),
                strict=True,
            )  # no rate makes a mixed one here 0
        )
        counted = schedule.set_index([*groups, "month", *keys])["customers"]
        assert counted[counted > 0].to_dict() == active


def customers_of(matches: pd.DataFrame, names: list[str]) -> dict[Any, dict[str, int]]:
    """Rows of customers and months in the words of the bookkeeping."""
    amounts = parts(matches, ["previous", "amount", "fx", "mrr", "expired"]).tolist()
    moves = matches["movement"].astype(object).where(matches["movement"].notna(), None)
    units = matches[names].astype(str).itertuples(index=False, name=None)
    table = {}
    for number, month, unit, move, row in zip(
        matches["ledger"], matches["month"].dt.date, units, moves, amounts, strict=True
    ):
        previous, amount, fx, mrr, expired = row
        assert previous + amount + fx == mrr
        assert amount == 0 or move is not None
        kept = dict.fromkeys((*MOVES, "expired"), 0) | {
            "start": previous,
            "end": mrr,
            "fx": fx,
            "expired": expired,
        }
        table[number, month, unit] = kept if move is None else kept | {move: amount}
    return table


@pytest.mark.slow
@pytest.mark.parametrize("policy", [0, 5])
def test_any_two_windows_agree_on_the_months_they_share(policy: int) -> None:
    _, lines = ledgers(policy)
    draw = random.Random(policy)
    _, rates = rates_of(policy, date(2023, 6, 1), 40)
    for metric in (mrr_customer_months, mrr_schedule, mrr_movements, retention):
        for arguments in ({}, {"rates": rates}, {"by": "product_id"}):
            full = metric(lines, since="2023-06-01", until="2026-10-01", **arguments)
            for _ in range(5):
                since = later(date(2023, 6, 1), draw.randint(0, 38))
                until = later(
                    since, draw.randint(1, 40 - (since.year - 2023) * 12 - since.month + 6)
                )
                months = full["month"].dt.date
                shared = full[(months >= since) & (months < until)].reset_index(drop=True)
                pd.testing.assert_frame_equal(
                    metric(lines, since=since, until=until, **arguments), shared
                )


@pytest.mark.slow
@pytest.mark.parametrize("policy", range(len(POLICIES)))
def test_slices_sum_to_the_complete_as_far_as_they_can(policy: int) -> None:
    _, lines = ledgers(policy)
    lines = lines.assign(team=lines["customer"].str[-1])
    _, rates = rates_of(policy, date(2024, 3, 1), 18)
    window: dict[str, Any] = {"since": "2024-03-01", "until": "2025-09-01"}
    for arguments in ({}, {"rates": rates}):
        full = mrr_movements(lines, **window, **arguments)
        sums = {
            by: mrr_movements(lines, **window, by=by, **arguments)
            .groupby(["month", "currency"])[COLUMNS]
            .sum()
            .reset_index()
            for by in ("team", "product_id")
        }
        # A team is constant per customer: every movement adds up. A product is not: start and end
        # do, with rates but for the rounding of each customer's part to a millionth.
        assert (parts(sums["team"], COLUMNS) == parts(full, COLUMNS)).all()
        apart = np.abs(
            parts(sums["product_id"], ["start", "fx", "end"]) - parts(full, ["start", "fx", "end"])
        )
        assert apart.max() <= (2 * lines["customer"].nunique() if arguments else 0)
        assert not (parts(sums["product_id"], COLUMNS) == parts(full, COLUMNS)).all()
