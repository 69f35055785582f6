"""Recurring revenue computed by DuckDB straight from the Parquet of line items and deals: nothing
of pdframe in it.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd

# One row a line that recurs, in whole millionths, with the first month in which it counts and the
# first in which it does no longer.
LINES = """
create or replace temp table counted as
with d as (
    select id, coalesce('organization ' || org_id, 'person ' || person_id, 'deal ' || id)
        as customer,
           coalesce(cast(local_won_date as date), cast(won_time as date)) as won
    from read_parquet($deals) where status = 'won' and not coalesce(is_deleted, false)
), l as (
    select l.*, d.customer, coalesce(cast(l.billing_start_date as date), d.won) as begins,
           greatest(0, quantity * item_price - case discount_type when 'amount' then discount
                    else quantity * item_price * discount / 100 end)
           / case tax_method when 'inclusive' then 1 + tax / 100 else 1 end as net
    from read_parquet($lines) l join d on d.id = l.deal_id
    where is_enabled and billing_frequency <> 'one-time'
), ends as (
    select *, case billing_frequency
                  when 'weekly' then begins + cast(7 * billing_frequency_cycles as integer)
                  when 'monthly' then cast(begins + to_months(cast(billing_frequency_cycles
                      as integer)) as date)
                  when 'quarterly' then cast(begins + to_months(cast(3 * billing_frequency_cycles
                      as integer)) as date)
                  when 'semi-annually' then
                      cast(begins + to_months(
                          cast(6 * billing_frequency_cycles as integer)) as date)
                  else cast(begins + to_months(cast(12 * billing_frequency_cycles as integer))
                      as date) end as term,
              case billing_frequency when 'weekly' then 52 / 12 when 'monthly' then 1
                  when 'quarterly' then 1 / 3
                  when 'semi-annually' then 1 / 6 else 1 / 12 end as a_month
    from l
)
select customer, currency, cast(round_even(net * a_month * 1e6, 0) as bigint) as mrr,
    date_trunc('month', begins) as m0,
       coalesce(date_trunc('month', term), date '9000-01-01') as m1
from ends
"""

# MRR of every customer in every month, from the running sums of what begins and ends.
LEVELS = """
create or replace temp table levels as
with steps as (
    select customer, currency, m, sum(x) as x from (
        select customer, currency, m0 as m, mrr as x from counted where m0 < m1
        union all select customer, currency, m1, -mrr from counted where m0 < m1
    ) group by all
), run as (
    select customer, currency, m, cast(sum(x) over w as bigint) as level, lead(m) over w as next
    from steps window w as (partition by customer, currency order by m)
)
select customer, currency, level as mrr,
       cast(unnest(generate_series(m, least(next, $until::date) - interval 1 month,
           interval 1 month)) as date) as month
from run where level <> 0
"""

SCHEDULE = """
select month, currency, cast(sum(mrr) as bigint) as mrr, count(*) filter (mrr > 0) as customers
from levels where month >= $since::date group by all order by all
"""

MOVEMENTS = """
with firsts as (select customer, currency, min(month) filter (mrr > 0) as began
    from levels group by all),
pairs(month, customer, currency, now, before) as (
    select n.month, n.customer, n.currency, n.mrr, coalesce(p.mrr, 0)
    from levels n left join levels p on p.customer = n.customer and p.currency = n.currency
        and p.month = n.month - interval 1 month
    union all
    select cast(p.month + interval 1 month as date), p.customer, p.currency, 0, p.mrr
    from levels p left join levels n on n.customer = p.customer and n.currency = p.currency
        and n.month = p.month + interval 1 month
    where n.customer is null and p.month + interval 1 month < $until::date
)
select pairs.month, currency, cast(sum(before) as bigint) as start,
       cast(coalesce(sum(now - before) filter (now > 0 and before <= 0 and pairs.month = began), 0)
           as bigint) as new,
       cast(coalesce(sum(now - before) filter (now > 0 and before <= 0 and pairs.month > began), 0)
           as bigint) as reactivation,
       cast(coalesce(sum(now - before) filter ((now > 0) = (before > 0) and now > before), 0)
           as bigint) as expansion,
       cast(coalesce(sum(now - before) filter ((now > 0) = (before > 0) and now < before), 0)
           as bigint) as contraction,
       cast(coalesce(sum(now - before) filter (now <= 0 and before > 0), 0) as bigint) as churn,
       cast(sum(now) as bigint) as "end"
from pairs join firsts using (customer, currency) where pairs.month >= $since::date group by all
    order by all
"""

RETENTION = """
select cast(p.month + to_months($months) as date) as month, p.currency, count(*) as customers,
    sum(coalesce(n.mrr, 0)) / sum(p.mrr) as nrr,
       sum(greatest(least(coalesce(n.mrr, 0), p.mrr), 0)) / sum(p.mrr) as grr, count(*)
           filter (n.mrr > 0) / count(*) as logo_retention
from levels p left join (select customer, currency, month, mrr from levels) n
    on n.customer = p.customer and n.currency = p.currency
        and n.month = p.month + to_months($months)
where p.mrr > 0 and p.month + to_months($months) >= $since::date
    and p.month + to_months($months) < $until::date
group by all order by all
"""


class Base:
    """A DuckDB that has read the two files."""

    def __init__(self, lines: Path | str, deals: Path | str, since: str, until: str) -> None:
        self.window = {"since": since, "until": until}
        self._base = duckdb.connect()
        self._base.execute("set timezone = 'UTC'")
        self._base.execute("set threads = 2")
        self._base.execute("set enable_progress_bar = false")
        self._base.execute(LINES, {"lines": str(lines), "deals": str(deals)})
        self._base.execute(LEVELS, {"until": until})

    def __enter__(self) -> Base:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def schedule(self) -> pd.DataFrame:
        return self._base.execute(SCHEDULE, {"since": self.window["since"]}).df()

    def movements(self) -> pd.DataFrame:
        return self._base.execute(MOVEMENTS, self.window).df()

    def retention(self, months: int = 12) -> pd.DataFrame:
        return self._base.execute(RETENTION, {**self.window, "months": months}).df()
