"""What moved MRR from month to month: new, reactivation, expansion, contraction, churn, and
exchange rates.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pdframe.metrics._arguments import keyed, keys
from pdframe.metrics._columns import Flags, Ints
from pdframe.metrics._notes import noted
from pdframe.metrics.currency import RateTable
from pdframe.metrics.revenue.ledger import ledger
from pdframe.metrics.revenue.months import MOVEMENTS, Moment, expired, kinds
from pdframe.metrics.revenue.periods import month_window
from pdframe.metrics.revenue.prices import in_units
from pdframe.metrics.revenue.units import units

COLUMNS = ("month", "currency", "start", *MOVEMENTS, "fx", "end", "expired")


@noted
def mrr_movements(
    lines: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """What moved MRR in every month: one row a month and currency (and group).

    Parameters
    ----------
    lines, since, until, by, rates
        As in `mrr_customer_months`.

    Returns
    -------
    DataFrame
        By group, month and currency, every month of the window for all that ever had MRR. The
        columns of `by`, then month, currency, start (the month before, as stated then), new,
        reactivation, expansion, contraction, churn (losses negative), fx (0 without `rates`), end,
        expired: the part of churn whose lines expired without a known cancellation.

    Raises
    ------
    ArgumentError
        As in `mrr_customer_months`.

    Notes
    -----
    end = start + new + reactivation + expansion + contraction + churn + fx, exactly in millionths
    (see `mrr_customer_months`). With `by`, start, end and their difference add up to those without
    `by` (with `rates` except for the rounding of each unit's part to a millionth); single movements
    do so only where `by` is constant per customer: a product that replaces another is an expansion
    of its customer, but new and churn by product. A customer below 0 (credits alone) is not active;
    the movement below 0 is a contraction, and back an expansion.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> months = {"since": "2026-05-01", "until": "2026-07-01"}
    >>> moves = metrics.mrr_movements(lines, **months, rates=rates)
    >>> moves[["month", "start", "new", "expansion", "churn", "end"]]
           month          start          new   expansion      churn            end
    0 2026-05-01  116907.834743  2283.509197  170.779372      0.000  119362.123312
    1 2026-06-01  119362.123312     0.000000    5.520000 -76096.976   43270.667312
    """
    names = keys(by, COLUMNS, lines)
    kept = units(ledger(lines, names), rates)
    first, end = month_window(since, until, kept.ledger.earliest)
    months, width = kept.months(first, end), end - first
    kind = kinds(months, kept.first_active(end))
    change = months.now - months.before - months.fx

    def total(amount: Ints, rows: Flags | None = None) -> Ints:
        if rows is None:
            return kept.total(months.unit, months.month, amount, first, width)
        return kept.total(months.unit[rows], months.month[rows], amount[rows], first, width)

    columns = {
        "start": total(months.before),
        **{name: total(change, kind == code) for code, name in enumerate(MOVEMENTS)},
        "fx": total(months.fx),
        "end": total(months.now),
        "expired": total(expired(months, kind)),
    }
    result = kept.grid(first, width, {name: in_units(parts) for name, parts in columns.items()})
    kept.warn_of_stale()
    return keyed(result, ["month", *([] if rates is not None else ["currency"]), *names])


__all__ = ["mrr_movements"]
