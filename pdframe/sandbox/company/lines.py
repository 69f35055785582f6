"""The arithmetic of line items: what a line costs, what a deal is worth, and three guesses at mrr,
arr and acv.

Nothing here is published by Pipedrive beyond its rules; where the help centre is silent, this
company chooses:

- ``sum`` of a line is quantity x price less the line's discount, never below zero for a price that
  is not negative, with tax on top where the tax is exclusive, for one billing period.
- A deal's value is the sum of its enabled lines, less the deal's discounts on the one-time part of
  it. It is not multiplied by cycles.
- ``mrr``, ``arr`` and ``acv`` are net of tax and count enabled lines; deal discounts cut the
  one-time part that is in ``acv``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from .clock import add_months
from .ledger import Row
from .switches import RevenueFormula

MONTHS_A_PERIOD = {"monthly": 1, "quarterly": 3, "semi-annually": 6, "annually": 12}
PERIODS_A_YEAR = {"weekly": 52, "monthly": 12, "quarterly": 4, "semi-annually": 2, "annually": 1}
FREQUENCIES = ("one-time", *PERIODS_A_YEAR)
MAX_CYCLES = 208


def number(value: float) -> int | float:
    """Round to cents; a whole amount is an integer, as JSON from Pipedrive has it."""
    value = round(value, 2)
    return int(value) if value == int(value) else value


def discounted(line: Row) -> float:
    """Quantity x price less the line's discount, for one period, tax as entered."""
    full = float(line["quantity"] * line["item_price"])
    cut = float(
        full * line["discount"] / 100 if line["discount_type"] == "percentage" else line["discount"]
    )
    return max(0.0, full - cut) if full >= 0 else full - cut


def net(line: Row) -> float:
    """One period of the line without tax."""
    amount = discounted(line)
    return amount / (1 + line["tax"] / 100) if line["tax_method"] == "inclusive" else amount


def line_sum(line: Row) -> int | float:
    """Return the line's ``sum``."""
    amount = discounted(line)
    return number(amount * (1 + line["tax"] / 100) if line["tax_method"] == "exclusive" else amount)


def monthly(line: Row) -> float:
    """Net amount a month: weekly 52/12, quarterly 1/3 and so on; 0 for one-time lines."""
    return net(line) * PERIODS_A_YEAR.get(line["billing_frequency"], 0) / 12


def deal_value(lines: Iterable[Row], discounts: Iterable[Row]) -> int | float:
    """Value of a deal that has lines."""
    once = recurring = 0.0
    for line in lines:
        if line["is_enabled"]:
            if line["billing_frequency"] == "one-time":
                once += line["sum"]
            else:
                recurring += line["sum"]
    return number(once - one_time_cut(once, discounts) + recurring)


def one_time_cut(once: float, discounts: Iterable[Row]) -> float:
    """Return what the deal's discounts take off a one-time part, at most all of it."""
    cut = float(
        sum(
            once * d["amount"] / 100 if d["type"] == "percentage" else d["amount"]
            for d in discounts
        )
    )
    return min(max(once, 0.0), cut)


def revenue(
    lines: Iterable[Row], discounts: Iterable[Row], formula: RevenueFormula
) -> dict[str, int | float]:
    """Return mrr, arr and acv by one of three formulae.

    twelve-month
        mrr: every recurring line's amount a month whatever its term, weekly x 52/12. arr: 12 x mrr.
        acv: what is billed in the first twelve months.
    term
        mrr: what is billed in the first twelve months / 12, so a term of six months counts half.
        arr: 12 x mrr. acv: the same plus one-time.
    calendar
        As twelve-month with a month of four weeks; acv: arr plus one-time.
    """
    mrr = once = first_year = 0.0
    for line in lines:
        if not line["is_enabled"]:
            continue
        amount, frequency = net(line), line["billing_frequency"]
        if frequency == "one-time":
            once += amount
            continue
        per_year = PERIODS_A_YEAR[frequency]
        if formula == "calendar" and frequency == "weekly":
            per_year = 48
        cycles = line["billing_frequency_cycles"]
        billed = amount * (per_year if cycles is None else min(cycles, per_year))
        first_year += billed
        mrr += billed / 12 if formula == "term" else amount * per_year / 12
    once -= one_time_cut(once, discounts)
    acv = once + (mrr * 12 if formula == "calendar" else first_year)
    return {"acv": number(acv), "arr": number(mrr * 12), "mrr": number(mrr)}


def term_end(start: date, frequency: str, cycles: int | None) -> date | None:
    """Return the first day after the term, counted from its start; None where cycles are open."""
    if cycles is None:
        return None
    if frequency == "weekly":
        return start + timedelta(weeks=cycles)
    return add_months(start, cycles * MONTHS_A_PERIOD[frequency])


def check_billing(frequency: str, cycles: int | None) -> None:
    """Hold Pipedrive's rules of frequency and cycles."""
    if frequency not in FREQUENCIES:
        raise ValueError(f"billing_frequency {frequency!r} is none of {', '.join(FREQUENCIES)}.")
    if frequency == "one-time" and cycles is not None:
        raise ValueError("A one-time line has no cycles.")
    if frequency == "weekly" and cycles is None:
        raise ValueError("Weekly billing needs cycles.")
    if cycles is not None and not 1 <= cycles <= MAX_CYCLES:
        raise ValueError(f"billing_frequency_cycles is 1 to {MAX_CYCLES}, not {cycles}.")
