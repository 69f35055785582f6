"""The total of the line items of a deal, and whether the deal's value agrees.

Pipedrive's rules: a disabled line does not count; a discount on the deal cuts its one-time part
alone. It does not publish whether the value includes tax, nor whether it counts one period of a
recurring line or all of them. So four methods of adding up are tried, and the one that agrees with
most deals counts as the company's; of equally good ones, the first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe.metrics._columns import Flags, Floats, Ints, amounts, equals, places, plain_ids

METHODS = ("sum", "net", "gross", "term")
"""Lines as the API sums them up; without tax; with tax; as the API sums them up, over all their
periods (a year where they have no end).
"""

_YEAR = {"weekly": 52.0, "monthly": 12.0, "quarterly": 4.0, "semi-annually": 2.0, "annually": 1.0}
_HALF_A_CENT = 0.005


def differs(
    deal: Ints, value: Floats, lines: pd.DataFrame, discounts: pd.DataFrame | None
) -> Flags:
    """Return which deals have a value that is not the total of their lines.

    Parameters
    ----------
    deal
        Ids of the deals, each once.
    value
        Their values.
    lines
        Line items; those of other deals are ignored.
    discounts
        Discounts on whole deals, percentages each of the full one-time part. None: unknown; then a
        value that is below the lines by no more than their one-time part counts as discounted.
    """
    # Infinite amounts agree with nothing, so these deals are reported.
    with np.errstate(invalid="ignore", over="ignore"):
        return _differs(deal, value, lines, discounts)


def _differs(
    deal: Ints, value: Floats, lines: pd.DataFrame, discounts: pd.DataFrame | None
) -> Flags:
    place = places(deal, plain_ids(lines["deal_id"]))
    counted = (place >= 0) & ~equals(lines, "is_enabled", False)
    once = (
        equals(lines, "billing_frequency", "one-time")
        | lines["billing_frequency"].isna().to_numpy()
    )
    periods, reported, (net, gross) = _periods(lines, once), amounts(lines, "sum"), _taxed(lines)
    parts = [part[counted] for part in (reported, net, gross, reported * periods)]
    place, once, periods = place[counted], once[counted], periods[counted]
    count, count_of_periods = (
        _total(each, place, len(deal)) for each in (np.ones(len(place)), periods)
    )
    best: tuple[int, Flags] = (-1, np.zeros(len(deal), dtype=np.bool_))
    for method, part in zip(METHODS, parts, strict=True):
        single = _total(np.where(once, part, 0.0), place, len(deal))
        full = _total(part, place, len(deal))
        # Every line may have been rounded to a cent, and the sum once more; 1e-9 is the rounding of
        # floats.
        roundings = 1 + (count_of_periods if method == "term" else count)
        slack = _HALF_A_CENT * roundings + 1e-9 * np.abs(full)
        least, most = _after_discounts(deal, full, single, discounts)
        agrees = (value >= least - slack) & (value <= most + slack)
        if int(agrees.sum()) > best[0]:
            best = int(agrees.sum()), ~agrees & ~np.isnan(full)
    return best[1]


def _after_discounts(
    deal: Ints, full: Floats, once: Floats, discounts: pd.DataFrame | None
) -> tuple[Floats, Floats]:
    """Return the least and the most that a deal can be worth."""
    most = np.maximum(once, 0.0)
    if discounts is None:
        return full - most, full
    place = places(deal, plain_ids(discounts["deal_id"]))
    rows = discounts[place >= 0]
    place = place[place >= 0]
    amount = amounts(rows, "amount")
    cut = _total(
        np.where(equals(rows, "type", "percentage"), amount * once[place] / 100, amount),
        place,
        len(deal),
    )
    left = full - np.minimum(cut, most)
    return left, left


def after_discount(lines: pd.DataFrame) -> Floats:
    """Return one period of each line after its own discount, which takes nothing below zero, but
    for a price that is negative itself.
    """
    full = amounts(lines, "quantity") * amounts(lines, "item_price")
    discount = np.nan_to_num(amounts(lines, "discount"))
    is_amount = equals(lines, "discount_type", "amount")
    left = full - np.where(is_amount, discount, full * discount / 100)
    return np.where(full >= 0, np.maximum(left, 0.0), left)


def _taxed(lines: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return one period of each line after its own discount, without tax and with it."""
    left, tax = after_discount(lines), 1 + np.nan_to_num(amounts(lines, "tax")) / 100
    # A tax of -100 % inside a price, or less, leaves no price without it.
    net = np.where(
        equals(lines, "tax_method", "inclusive"), left / np.where(tax > 0, tax, np.nan), left
    )
    return net, np.where(equals(lines, "tax_method", "exclusive"), left * tax, left)


def _periods(lines: pd.DataFrame, once: Flags) -> Floats:
    """Return how often a line is billed, for a year where it has no end."""
    codes, words = pd.factorize(lines["billing_frequency"].astype("str"))
    year = np.array([*(_YEAR.get(word, np.nan) for word in words), np.nan])[codes]
    cycles = amounts(lines, "billing_frequency_cycles")
    return np.where(once, 1.0, np.where(np.isnan(cycles), year, cycles))


def _total(part: Floats, place: Ints, size: int) -> Floats:
    return np.asarray(np.bincount(place, part, minlength=size), dtype=np.float64)
