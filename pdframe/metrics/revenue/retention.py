"""How much of the earlier MRR remains: retention over a number of months, and cohorts by the month
of the first MRR.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pdframe.metrics._arguments import keyed, keys
from pdframe.metrics._columns import Flags, Floats, Ints, ratio
from pdframe.metrics._notes import noted
from pdframe.metrics.currency import RateTable
from pdframe.metrics.revenue.ledger import ledger
from pdframe.metrics.revenue.months import Moment, full_months
from pdframe.metrics.revenue.periods import as_months, month_window
from pdframe.metrics.revenue.prices import in_units
from pdframe.metrics.revenue.units import Units, above_and_below, by_month, is_active, units

RETENTION = ("month", "currency", "customers", "nrr", "grr", "logo_retention")
COHORTS = ("cohort", "currency", "age", "customers", "mrr", "nrr", "month")


@noted
def retention(
    lines: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment,
    months: int = 12,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """Net and gross revenue retention, and that of customers: one row a month and currency (and
    group).

    Parameters
    ----------
    lines, since, until, by, rates
        As in `mrr_customer_months`.
    months
        Number of months between the two observations of a customer.

    Returns
    -------
    DataFrame
        By group, month and currency. The columns of `by`, then month (the later observation),
        currency, customers (active `months` earlier), nrr (sum of their MRR now / then), grr (sum
        of max(0, min(now, then)) / then), logo_retention (share of them active now). Shares of 1;
        null where no customer was active then. grr is in [0, 1]; nrr has no upper bound, and is
        below 0 where credits exceed the rest.

    Raises
    ------
    ArgumentError
        As in `mrr_customer_months`; `months` is not a whole number above 0.

    Notes
    -----
    Both observations use the rates of the later month, so that rates alone change nothing. Events
    between them do not count: 100, then 150, then 100 again is a gross retention of 1.

    Customers whose MRR was 0 or below `months` earlier (credits exceed their lines) were not active
    and count nowhere. One whose MRR is below 0 now has lost all of it, and no more than that: its
    credit does not reduce the retention of other customers.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> months = {"since": "2026-05-01", "until": "2026-07-01"}
    >>> metrics.retention(lines, **months, rates=rates)
           month currency  customers       nrr       grr  logo_retention
    0 2026-05-01      EUR         11  1.879198  0.919362        0.727273
    1 2026-06-01      EUR         12  0.050426  0.048897        0.666667
    """
    names = keys(by, RETENTION, lines)
    lag = full_months(months)
    covered = units(ledger(lines, names), rates)
    first, end = month_window(since, until, covered.ledger.earliest)
    width = end - first
    unit, month, then, now, was_active, active = _snapshots(covered, first, end, lag)
    unit, month, then, now = (values[was_active] for values in (unit, month, then, now))

    def total(amount: Ints) -> Ints:
        return covered.total(unit, month, amount, first, width)

    customers, base = total(np.ones(len(unit), np.int64)), total(then)
    columns: dict[str, Ints | Floats] = {
        "customers": customers,
        "nrr": ratio(total(now), base),
        "grr": ratio(total(np.maximum(np.minimum(now, then), 0)), base),
        "logo_retention": ratio(total(active[was_active].astype(np.int64)), customers),
    }
    covered.warn_of_stale()
    return keyed(
        covered.grid(first, width, columns),
        ["month", *([] if rates is not None else ["currency"]), *names],
    )


def _snapshots(
    covered: Units, first: int, end: int, lag: int
) -> tuple[Ints, Ints, Ints, Ints, Flags, Flags]:
    """Return unit, month, MRR `lag` months earlier and now at the month's rates, and whether it was
    and is active.
    """
    parts = []
    for shift in (lag, 0):
        rows = covered.ledger.rows(first - shift, end - shift)
        there = rows.now != 0
        slice, month, level = rows.slice[there], rows.month[there] + shift, rows.now[there]
        parts.append(
            (
                covered.unit[slice],
                month,
                [
                    covered.at_rates(slice, month, level),
                    *(above_and_below(level) if covered.rates else []),
                ],
            )
        )
    (unit_then, month_then, then), (unit_now, month_now, now) = parts

    early = [np.concatenate([amount, np.zeros(len(unit_now), np.int64)]) for amount in then]
    late = [np.concatenate([np.zeros(len(unit_then), np.int64), amount]) for amount in now]
    (unit, month), sums = by_month(
        np.concatenate([unit_then, unit_now]), np.concatenate([month_then, month_now]), early + late
    )
    if covered.rates is None:
        return unit, month, sums[0], sums[1], sums[0] > 0, sums[1] > 0
    return unit, month, sums[0], sums[3], is_active(*sums[:3]), is_active(*sums[3:])


@noted
def revenue_cohorts(
    lines: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """What customers who began together are worth as they age: one row a cohort, currency (and
    group) and age in months.

    Parameters
    ----------
    lines, by, rates
        As in `mrr_customer_months`.
    since, until
        Cohorts by the first day of their month, since inclusive, until exclusive, followed up to
        `until`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.

    Returns
    -------
    DataFrame
        By group, currency, cohort and age. The columns of `by`, then cohort (month of the first
        MRR), currency, age (months since, from 0), customers (active at that age), mrr, nrr (mrr /
        that of age 0, both at the rates of the month; shares of 1), month (cohort + age). Every
        cohort has as many ages as the oldest; customers, mrr and nrr are null where `until` had not
        is not over: immature.

    Raises
    ------
    ArgumentError
        As in `mrr_customer_months`.

    Notes
    -----
    A customer who returns counts in the cohort of its first MRR.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> months = {"since": "2026-01-01", "until": "2026-07-01"}
    >>> cohorts = metrics.revenue_cohorts(lines, **months, rates=rates)
    >>> cohorts.pivot(index="cohort", columns="age", values="nrr").round(2).iloc[:2, :4]
    age           0    1    2    3
    cohort
    2026-01-01  1.0  1.0  1.0  1.0
    2026-02-01  1.0  1.0  1.0  1.0
    """
    names = keys(by, COHORTS, lines)
    covered = units(ledger(lines, names), rates)
    first, end = month_window(since, until, covered.ledger.earliest)
    begun = covered.first_active(end)
    inside = (begun >= first) & (begun < end)
    block, cell = np.unique(
        covered.series[inside] * (end - first) + begun[inside] - first, return_inverse=True
    )
    number = np.zeros(len(begun), np.int64)
    number[inside] = cell
    series, cohort = np.divmod(block, end - first)
    cohort = cohort + first
    ages = int(end - cohort.min()) if len(block) else 0

    def table(unit: Ints, month: Ints, amount: Ints) -> Ints:
        total = np.zeros(len(block) * ages, np.int64)
        np.add.at(total, number[unit] * ages + month - cohort[number[unit]], amount)
        return total

    rows = covered.ledger.rows(first, end, inside[covered.unit])
    stated = covered.stated(rows)
    counted = stated.month >= begun[stated.unit]
    unit, month = stated.unit[counted], stated.month[counted]
    mrr = table(unit, month, stated.now[counted])
    customers = table(unit, month, stated.active[counted].astype(np.int64))
    base = table(*_bases(covered, begun, inside, first, end))
    age = np.tile(np.arange(ages), len(block))
    place = np.repeat(np.arange(len(block)), ages)
    mature = cohort[place] + age < end
    order = np.lexsort((age, cohort[place], series[place], covered.group[series[place]]))
    result = covered.keys[names].take(series[place][order]).reset_index(drop=True)
    result["cohort"] = as_months(cohort[place][order])
    result["currency"] = pd.Series(
        covered.keys["currency"].to_numpy()[series[place][order]], dtype="str"
    )
    result["age"] = pd.array(age[order], dtype="Int64")
    result["customers"] = pd.array(customers[order], dtype="Int64")
    result["mrr"], result["nrr"] = in_units(mrr)[order], ratio(mrr, base)[order]
    result["month"] = as_months((cohort[place] + age)[order])
    result.loc[~mature[order], ["customers", "mrr", "nrr"]] = pd.NA
    covered.warn_of_stale()
    return keyed(result, ["cohort", "month", *([] if rates is not None else ["currency"]), *names])


def _bases(
    covered: Units, begun: Ints, inside: Flags, first: int, end: int
) -> tuple[Ints, Ints, Ints]:
    """Return unit, month and the MRR of its first month at this month's rates, for every month from
    then to the end.
    """
    rows = covered.ledger.rows(first, end, inside[covered.unit])
    at_start = (rows.month == begun[covered.unit[rows.slice]]) & (rows.now != 0)
    slice, level, month = rows.slice[at_start], rows.now[at_start], rows.month[at_start]
    count = end - month
    step = np.repeat(np.arange(len(count)), count)
    months = month[step] + np.arange(len(step)) - np.repeat(np.cumsum(count) - count, count)
    return covered.unit[slice[step]], months, covered.at_rates(slice[step], months, level[step])


__all__ = ["retention", "revenue_cohorts"]
