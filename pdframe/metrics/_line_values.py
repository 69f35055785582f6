"""What the line items of a deal add up to, and whether the deal's value agrees.

Pipedrive's rules: a disabled line does not count; a discount on the deal cuts its one-time part
alone. What it does not publish is whether the value holds tax and whether it counts one period of a
recurring line or all of them. So four ways of adding up are tried, and the one that agrees with
most deals is taken for the company's; of equally good ones, the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe.metrics._columns import Flags, Floats, Ints, amounts, equals, ids

METHODS = ("sum", "net", "gross", "term")
"""Lines as the API sums them up; without tax; with tax; as the API sums them up, over all their
periods (a year where they have no end).
"""

_YEAR = {"weekly": 52.0, "monthly": 12.0, "quarterly": 4.0, "semi-annually": 2.0, "annually": 1.0}
_HALF_A_CENT = 0.005


def differs(
    deal: pd.Series[Any], value: Floats, lines: pd.DataFrame, discounts: pd.DataFrame | None
) -> Flags:
    """Return which deals have a value that is not what their lines add up to.

    Parameters
    ----------
    deal
        Ids of the deals (Int64).
    value
        Their values.
    lines
        Line items; those of other deals are ignored.
    discounts
        Discounts on whole deals, percentages each of the full one-time part; None: not known, then
        a value that lies below the lines by no more than their one-time part is taken for
        discounted.
    """
    # Infinite amounts agree with nothing, and are found.
    with np.errstate(invalid="ignore", over="ignore"):
        return _differs(deal, value, lines, discounts)


def _differs(
    deal: pd.Series[Any], value: Floats, lines: pd.DataFrame, discounts: pd.DataFrame | None
) -> Flags:
    place = np.asarray(pd.Index(deal).get_indexer(pd.Index(ids(lines, "deal_id"))), dtype=np.int64)
    counted = (place >= 0) & ~equals(lines, "is_enabled", False)
    lines, place = lines[counted], place[counted]
    once = (
        equals(lines, "billing_frequency", "one-time")
        | lines["billing_frequency"].isna().to_numpy()
    )
    periods = _periods(lines, once)
    reported, (net, gross) = amounts(lines, "sum"), _taxed(lines)
    best: tuple[int, Flags] = (-1, np.zeros(len(deal), dtype=np.bool_))
    for method, part in zip(METHODS, (reported, net, gross, reported * periods), strict=True):
        single = _total(np.where(once, part, 0.0), place, len(deal))
        full = _total(part, place, len(deal))
        # Every line may have been rounded to a cent, and the sum once more; 1e-9 is the rounding of
        # floats.
        slack = _HALF_A_CENT * (
            1 + _total(periods if method == "term" else np.ones(len(place)), place, len(deal))
        ) + 1e-9 * np.abs(full)
        least, most = _after_discounts(deal, full, single, discounts)
        agrees = (value >= least - slack) & (value <= most + slack)
        if int(agrees.sum()) > best[0]:
            best = int(agrees.sum()), ~agrees & ~np.isnan(full)
    return best[1]


def _after_discounts(
    deal: pd.Series[Any], full: Floats, once: Floats, discounts: pd.DataFrame | None
) -> tuple[Floats, Floats]:
    """The least and the most that a deal can be worth."""
    most = np.maximum(once, 0.0)
    if discounts is None:
        return full - most, full
    place = np.asarray(
        pd.Index(deal).get_indexer(pd.Index(ids(discounts, "deal_id"))), dtype=np.int64
    )
    rows = discounts[place >= 0]
    place = place[place >= 0]
    amount = amounts(rows, "amount")
    cut = _total(
        np.where(equals(rows, "type", "percentage"), amount * once[place] / 100, amount),
        place,
        len(deal),
    )
    return full - np.minimum(cut, most), full - np.minimum(cut, most)


def _taxed(lines: pd.DataFrame) -> tuple[Floats, Floats]:
    """One period of each line after its own discount, without tax and with it."""
    full = amounts(lines, "quantity") * amounts(lines, "item_price")
    discount, tax = (
        np.nan_to_num(amounts(lines, "discount")),
        1 + np.nan_to_num(amounts(lines, "tax")) / 100,
    )
    left = full - np.where(
        equals(lines, "discount_type", "amount"), discount, full * discount / 100
    )
    # A discount takes nothing below zero, but for a price that is negative itself.
    left = np.where(full >= 0, np.maximum(left, 0.0), left)
    # A tax of -100 % inside a price, or less, leaves no price without it.
    net = np.where(
        equals(lines, "tax_method", "inclusive"), left / np.where(tax > 0, tax, np.nan), left
    )
    return net, np.where(equals(lines, "tax_method", "exclusive"), left * tax, left)


def _periods(lines: pd.DataFrame, once: Flags) -> Floats:
    """How many times a line is billed, a year's worth where that has no end."""
    year = lines["billing_frequency"].astype("str").map(_YEAR).to_numpy(np.float64)
    cycles = amounts(lines, "billing_frequency_cycles")
    return np.where(once, 1.0, np.where(np.isnan(cycles), year, cycles))


def _total(part: Floats, place: Ints, size: int) -> Floats:
    return np.asarray(np.bincount(place, part, minlength=size), dtype=np.float64)
