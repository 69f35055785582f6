"""How subscriptions end: cancellations that somebody knows of, and gaps that a grace bridges."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics.columns import Flags, Ints, ids
from pdframe.metrics.inputs import need, warn
from pdframe.metrics.revenue.periods import NULL, days_of

_KEYS = ("line_id", "deal_id", "customer")
# Days are far fewer than this, so that one number holds a customer and a day.
_DAYS = 1 << 33


def cancelled_on(lines: pd.DataFrame, start: Ints, cancellations: pd.DataFrame) -> Ints:
    """Return the day on which each line is cancelled, `NULL` where none is known.

    Parameters
    ----------
    lines
        With id, deal_id, customer.
    start
        First day of each line, `NULL` where not known.
    cancellations
        A column `date` and one of line_id, deal_id, customer. By line or deal the earliest date counts. By customer, who may come back,
        each line takes the first date after its start. Rows without a date or a key are none.

    Raises
    ------
    ArgumentError
        It is no such frame.
    """
    cancellations = need(cancellations, "cancellations", ["date"])
    keys = [name for name in _KEYS if name in cancellations.columns]
    if len(keys) != 1:
        told = f"has {' and '.join(keys)}" if keys else "has none"
        raise ArgumentError(f"cancellations is to have a column date and exactly one of {', '.join(_KEYS)}; it {told} of them.")
    key = keys[0]
    days = days_of(cancellations, "date")
    if key == "customer":
        names = pd.Index(cancellations[key].astype("str"))
        whose = pd.Index(lines["customer"])
    else:
        names = pd.Index(ids(cancellations, key))
        whose = pd.Index(ids(lines, "id" if key == "line_id" else key))
    given = (days != NULL) & names.notna()
    names, days = names[given], days[given]
    if not len(names):
        return np.full(len(lines), NULL)
    codes, uniques = pd.factorize(names)
    place = np.asarray(uniques.get_indexer(whose), dtype=np.int64)
    if len(lines) and (place < 0).all() and key == "customer":
        warn(f"None of the {len(names):,} cancellations is of a customer of these lines. Customers are written like {whose[0]!r}.")
    composed = np.sort(codes.astype(np.int64) * _DAYS + days)
    after = np.where(start == NULL, 0, start) if key == "customer" else np.full(len(lines), -(_DAYS // 2))
    at = np.searchsorted(composed, np.maximum(place, 0) * _DAYS + after, side="right")
    found = composed[np.minimum(at, len(composed) - 1)]
    day = found - np.maximum(place, 0) * _DAYS
    same = (place >= 0) & (at < len(composed)) & (np.abs(day) < _DAYS // 2)
    return np.where(same, day, NULL)


def bridged(customer: Ints, start: Ints, end: Ints, counts: Flags, grace: float) -> Ints:
    """Return the ends of lines, those before a gap of up to `grace` days moved to where the customer's next line starts.

    Parameters
    ----------
    customer
        A number a customer, from 0.
    start, end
        Days; an end is `NULL` where there is none.
    counts
        Lines that have a start and an MRR above 0.
    """
    rows = np.flatnonzero(counts & ((end > start) | (end == NULL)))
    if not len(rows) or grace <= 0:
        return end
    whose, begins = customer[rows], start[rows]
    ends = np.where(end[rows] == NULL, _DAYS // 2 - 1, end[rows])
    order = np.lexsort((begins, whose))
    whose, begins, ends = whose[order], begins[order], ends[order]
    # The furthest end so far of each customer: a customer's numbers lie above those of all before it.
    furthest = np.maximum.accumulate(whose * _DAYS + ends)
    first = np.append(True, whose[1:] != whose[:-1])
    gap = np.append(0, whose[1:] * _DAYS + begins[1:] - furthest[:-1])
    at = np.flatnonzero(~first & (gap > 0) & (gap <= grace))
    if not len(at):
        return end
    closing, opening = furthest[at - 1], begins[at]
    own = customer * _DAYS + end
    place = np.minimum(np.searchsorted(closing, own), len(closing) - 1)
    hit = counts & (end != NULL) & (end > start) & (closing[place] == own)
    return np.where(hit, opening[place], end)
