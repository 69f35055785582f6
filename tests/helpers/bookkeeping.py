"""Recurring revenue of a small ledger in plain Python, day by day and customer by customer: the
slow way, sharing no code with pdframe.
"""

from __future__ import annotations

import calendar
import random
from collections import defaultdict
from datetime import date, timedelta
from fractions import Fraction
from typing import NamedTuple

import pandas as pd

MOVES = ("new", "reactivation", "expansion", "contraction", "churn")
_MONTHS = {"monthly": 1, "quarterly": 3, "semi-annually": 6, "annually": 12}


class Line(NamedTuple):
    """A line item as somebody wrote it down."""

    id: int
    deal: int
    customer: str
    currency: str
    cents: int
    frequency: str
    cycles: int | None
    start: date
    product: int


class ActiveLine(NamedTuple):
    """What a customer owes a month on [start, end), in millionths; date.max is no end."""

    customer: str
    currency: str
    product: int
    parts: int
    start: date
    end: date
    reason: str


class Ledger(NamedTuple):
    """Lines, the day on which each cancelled deal was, and the policy; deals and customers are its
    own alone.
    """

    number: int
    lines: list[Line]
    cancelled: dict[int, date]
    at: str
    grace: int


def random_ledger(seed: int, at: str, grace: int) -> Ledger:
    """One to nine lines of up to three customers in up to three currencies, begun over two years,
    some cancelled, some credits.
    """
    draw = random.Random(seed)
    first_deal = 5 * seed + 1
    currencies = draw.sample(["EUR", "USD", "GBP"], draw.randint(1, 3))
    lines = []
    for number in range(1, draw.randint(1, 9) + 1):
        deal = first_deal + draw.randint(0, 4)
        frequency = draw.choice(
            ["monthly", "monthly", "weekly", "quarterly", "semi-annually", "annually"]
        )
        cycles = (
            draw.randint(1, 60) if frequency == "weekly" else draw.choice([None, 1, 1, 2, 3, 6])
        )
        cents = draw.choice(
            [
                10_000,
                10_000,
                5_000,
                59_995,
                33,
                1,
                draw.randint(1, 10**6),
                -10_000,
                -draw.randint(1, 10**5),
            ]
        )
        start = date(2024, 1, 1) + timedelta(
            days=draw.choice([30, 31, 58, 59, draw.randint(0, 730)])
        )
        customer = f"organization {customer_of(deal)}"
        lines.append(
            Line(
                10 * seed + number,
                deal,
                customer,
                draw.choice(currencies),
                cents,
                frequency,
                cycles,
                start,
                draw.randint(1, 2),
            )
        )
    cancelled = {
        first_deal + at: date(2024, 1, 1) + timedelta(days=draw.randint(0, 900))
        for at in range(5)
        if draw.random() < 0.3
    }
    return Ledger(seed, lines, cancelled, at, grace)


def customer_of(deal: int) -> int:
    """The organization of a deal: three to a ledger of five deals."""
    return (deal - 1) // 5 * 3 + (deal - 1) % 5 % 3 + 1


def later(start: date, months: int) -> date:
    """Count months from a day, the day of the month cut to the month's length."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, calendar.monthrange(year, month + 1)[1]))


def a_month(line: Line) -> int:
    """Millionths a month, rounded half to even."""
    share = Fraction(52, 12) if line.frequency == "weekly" else Fraction(1, _MONTHS[line.frequency])
    return round(line.cents * 10_000 * share)


def terms(ledger: Ledger) -> list[tuple[Line, date, str]]:
    """The end of every line with its reason; date.max where it is open."""
    match = []
    for line in ledger.lines:
        end, reason = date.max, "open"
        if line.cycles is not None:
            end = (
                line.start + timedelta(weeks=line.cycles)
                if line.frequency == "weekly"
                else later(line.start, line.cycles * _MONTHS[line.frequency])
            )
            reason = "term"
        cancelled = ledger.cancelled.get(line.deal, date.max)
        if cancelled < end:
            end, reason = max(cancelled, line.start), "cancelled"
        match.append((line, end, reason))
    return match


def bridged(ledger: Ledger) -> list[ActiveLine]:
    """What the customers owe, lines before a gap within the grace counting on until the next
    one.
    """
    covered = terms(ledger)
    result = []
    for line, end, reason in covered:
        own = [
            (other.start, until)
            for other, until, _ in covered
            if other.customer == line.customer and other.cents > 0 and other.start < until
        ]
        counted = end
        if (
            line.cents > 0
            and line.start < end < date.max
            and not any(start <= end < until for start, until in own)
        ):
            following = min((start for start, _ in own if start > end), default=date.max)
            if (following - end).days <= ledger.grace:
                counted = following
        result.append(
            ActiveLine(
                line.customer,
                line.currency,
                line.product,
                a_month(line),
                line.start,
                counted,
                reason,
            )
        )
    return result


def sampled(month: date, at: str) -> date:
    """The day that stands for a month."""
    return date(
        month.year,
        month.month,
        calendar.monthrange(month.year, month.month)[1] if at == "end" else 1,
    )


Key = tuple[str, ...]


def movements(
    covered: list[ActiveLine],
    at: str,
    since: date,
    until: date,
    rates: dict[str, list[float]] | None = None,
    by_product: bool = False,
) -> dict[date, dict[Key, dict[str, int]]]:
    """What moved in each month of the window, by unit: (customer, currency), with rates
    (customer,), by product one more.

    `rates` hold the value of a unit by currency and month of the window, with the month before it
    at first; before that, the first.
    """
    first = min([line.start for line in covered] + [since]).replace(day=1)
    months = [
        later(first, n) for n in range((until.year - first.year) * 12 + until.month - first.month)
    ]
    window = [month for month in months if month >= since]

    def rate(currency: str, month: date) -> float:
        if rates is None:
            return 1.0
        return rates[currency][
            max((month.year - since.year) * 12 + month.month - since.month + 1, 0)
        ]

    def levels(month: date) -> dict[Key, dict[str, int]]:
        day = sampled(month, at)
        match: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for line in covered:
            if line.start <= day < line.end:
                key: Key = (line.customer,) if rates is not None else (line.customer, line.currency)
                match[(*key, str(line.product)) if by_product else key][line.currency] += line.parts
        return match

    def stated(local: dict[str, int], month: date) -> int:
        return sum(
            round(amount * rate(currency, month)) if rates is not None else amount
            for currency, amount in local.items()
        )

    def active(local: dict[str, int], month: date) -> bool:
        return stated(local, month) > 0

    seen: set[Key] = set()
    result = {}
    before: dict[Key, dict[str, int]] = {}
    for month in months:
        now, previous = levels(month), later(month, -1)
        rows = {}
        for unit in {*now, *before}:
            here, there = now.get(unit, {}), before.get(unit, {})
            end, start = stated(here, month), stated(there, previous)
            kept = stated(there, month)
            is_active, was_active = active(here, month), active(there, previous)
            row = dict.fromkeys((*MOVES, "expired"), 0) | {
                "start": start,
                "end": end,
                "fx": kept - start,
            }
            change = end - kept
            if is_active and not was_active:
                move = "reactivation" if unit in seen else "new"
            elif was_active and not is_active:
                move = "churn"
            else:
                move = "expansion" if change > 0 else "contraction"
            row[move] = change
            if move == "churn":
                day, last = sampled(month, at), sampled(previous, at)
                deleted: dict[str, int] = defaultdict(int)
                for line in covered:
                    key = (line.customer,) if rates is not None else (line.customer, line.currency)
                    own = (*key, str(line.product)) if by_product else key
                    if (
                        own == unit
                        and line.reason == "term"
                        and line.start <= last < line.end <= day
                    ):
                        deleted[line.currency] += line.parts
                row["expired"] = min(max(-stated(deleted, month), change), 0)
            if is_active:
                seen.add(unit)
            if any(here.values()) or any(there.values()):
                rows[unit] = row
        before = now
        if month in window:
            result[month] = rows
    return result


def frames(ledgers: list[Ledger]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Line items (with the number of their ledger), deals and cancellations as frames."""
    covered = [(ledger.number, line) for ledger in ledgers for line in ledger.lines]
    rows = [line for _, line in covered]
    deal_ids = [5 * ledger.number + 1 + at for ledger in ledgers for at in range(5)]
    cancelled = {deal: day for ledger in ledgers for deal, day in ledger.cancelled.items()}
    lines = pd.DataFrame(
        {
            "id": pd.array([line.id for line in rows], "Int64"),
            "deal_id": pd.array([line.deal for line in rows], "Int64"),
            "product_id": pd.array([line.product for line in rows], "Int64"),
            "currency": [line.currency for line in rows],
            "quantity": 1.0,
            "item_price": [line.cents / 100 for line in rows],
            "discount": 0.0,
            "discount_type": "percentage",
            "tax": 0.0,
            "tax_method": "none",
            "is_enabled": True,
            "billing_frequency": [line.frequency for line in rows],
            "billing_frequency_cycles": pd.array([line.cycles for line in rows], "Int64"),
            "billing_start_date": pd.to_datetime([line.start for line in rows]),
            "ledger": [number for number, _ in covered],
        }
    )
    deals = pd.DataFrame(
        {
            "id": pd.array(deal_ids, "Int64"),
            "status": "won",
            "org_id": pd.array([customer_of(deal) for deal in deal_ids], "Int64"),
            "person_id": pd.array([None] * len(deal_ids), "Int64"),
            "won_time": pd.Timestamp("2024-01-01", tz="UTC"),
        }
    )
    return (
        lines,
        deals,
        pd.DataFrame(
            {
                "deal_id": pd.array(list(cancelled), "Int64"),
                "date": pd.to_datetime(list(cancelled.values())),
            }
        ),
    )
