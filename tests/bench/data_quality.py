"""`data_quality` of a large account beside the same counts in DuckDB SQL, from the same Parquet, in
CPU seconds of one thread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from pdframe.metrics import data_quality
from tests.bench.table import peak, report

DEALS = 1_000_000
AS_OF = "2026-06-30"
NOW = pd.Timestamp(f"{AS_OF} 23:59:59.999999", tz="UTC")
TABLES = ("deals", "visits", "stages", "deal_products")
DAY = 86_400_000_000
NULL = np.iinfo(np.int64).min
CATEGORIES = ["status", "end", "source", "discount_type", "tax_method", "billing_frequency"]

# One row a check: how many it found, among how many. `judged`: not deleted, and unchanged since.
# Lines are added up in four ways; the one that agrees with most deals is the company's.
QUERY = """
with visit as (
    select deal_id, stage_id, pipeline_id, entered_at, left_at, left_after, "end",
        source = 'changelog' as logged, entered_after is null as sharp
    from read_parquet($visits)
    where entered_at <= $now and (source = 'changelog' or seen_at <= $now)
), path as (
    select deal_id, max(entered_at) as moved,
        max(entered_at) filter (not logged and not sharp) is not null as bounded,
        min(entered_at) filter (not logged) as first_unlogged,
        max(entered_at) filter (not logged) as last_unlogged,
        arg_max({s: stage_id, p: pipeline_id, a: left_after, l: left_at, e: "end"}, entered_at)
            as last
    from visit group by deal_id
), deal as (
    select *, case status when 'open' then 0 when 'won' then 1 when 'lost' then 2 end as state,
        case when status = 'won' then won_time when status = 'lost' then lost_time end as ended,
        case when status = 'won' then local_won_date when status = 'lost' then local_lost_date end
            as ended_on,
        update_time <= $now as judged
    from read_parquet($deals)
    where (not is_deleted or update_time > $now) and add_time <= $now
), line as (
    select deal_id, currency, is_enabled, sum,
        billing_frequency is null or billing_frequency = 'one-time' as once,
        case when billing_frequency is null or billing_frequency = 'one-time' then 1
            else coalesce(billing_frequency_cycles, case billing_frequency when 'weekly' then 52
                when 'monthly' then 12 when 'quarterly' then 4 when 'semi-annually' then 2 else 1
                end)
            end as periods,
        greatest(quantity * item_price - case when discount_type = 'amount'
            then coalesce(discount, 0)
            else quantity * item_price * coalesce(discount, 0) / 100 end, 0) as part,
        1 + coalesce(tax, 0) / 100 as taxed, tax_method,
        add_time > $now or update_time > $now as late
    from read_parquet($deal_products)
), total as (
    select l.deal_id, any_value(d.value) as value, bool_or(l.currency <> d.currency) as other,
        count(*) filter (is_enabled) as n, coalesce(sum(periods) filter (is_enabled), 0) as n_term,
        coalesce(sum(sum) filter (is_enabled), 0) as s1,
        coalesce(sum(sum) filter (is_enabled and once), 0) as o1,
        coalesce(sum(net) filter (is_enabled), 0) as s2,
        coalesce(sum(net) filter (is_enabled and once), 0) as o2,
        coalesce(sum(gross) filter (is_enabled), 0) as s3,
        coalesce(sum(gross) filter (is_enabled and once), 0) as o3,
        coalesce(sum(sum * periods) filter (is_enabled), 0) as s4
    from (select *, case when tax_method = 'inclusive' then part / taxed else part end as net,
        case when tax_method = 'exclusive' then part * taxed else part end as gross from line) l
    join deal d on d.id = l.deal_id where d.judged group by l.deal_id having not bool_or(late)
), agree as (
    select other, value is not null and not other as comparable,
        value between s1 - greatest(o1, 0) - 0.005 * (1 + n) - 1e-9 * abs(s1)
            and s1 + 0.005 * (1 + n) + 1e-9 * abs(s1) as a1,
        value between s2 - greatest(o2, 0) - 0.005 * (1 + n) - 1e-9 * abs(s2)
            and s2 + 0.005 * (1 + n) + 1e-9 * abs(s2) as a2,
        value between s3 - greatest(o3, 0) - 0.005 * (1 + n) - 1e-9 * abs(s3)
            and s3 + 0.005 * (1 + n) + 1e-9 * abs(s3) as a3,
        value between s4 - greatest(o1, 0) - 0.005 * (1 + n_term) - 1e-9 * abs(s4)
            and s4 + 0.005 * (1 + n_term) + 1e-9 * abs(s4) as a4
    from total
), lines as (
    select count(*) filter (comparable) as n_value,
        n_value - greatest(count(*) filter (comparable and a1), count(*) filter (comparable and a2),
            count(*) filter (comparable and a3), count(*) filter (comparable and a4)) as value,
        count(*) as n_currency, count(*) filter (other) as currency
    from agree
), amount as (
    select pipeline_id, currency, count(*) as n from deal
    where judged and currency is not null group by all
), currencies as (
    select sum(n) as n, sum(n) filter (place > 1) as other from (select n,
        row_number() over (partition by pipeline_id order by n desc, currency) as place from amount)
), bulk as (
    select sum(n) as n, sum(n) filter (n >= 10) as created
    from (select count(*) as n from deal where add_time is not null
        group by epoch(add_time)::bigint)
), stage as (
    select count(*) as n, count(*) filter (deal_probability = 100) as sure
    from read_parquet($stages) where not is_deleted and add_time <= $now and update_time <= $now
), joined as (
    select d.*, p.moved, p.last.l as last_left, p.last.a as last_after,
        case when p.last.l is null or p.last.l > $now then 0 when p.last.e = 'won' then 1
            when p.last.e = 'lost' then 2 end as told,
        p.last.s as told_stage, p.last.p as told_pipeline,
        p.moved is not null and not p.bounded and (p.first_unlogged is null
            or (p.first_unlogged = d.add_time and p.last_unlogged = d.add_time)) as exact
    from deal d left join path p on p.deal_id = d.id
), counts as (
    select count(*) as n, count(*) filter (judged and state = 0) as n_open,
        count(*) filter (judged and state = 1) as n_won,
        count(*) filter (judged and state in (1, 2)) as n_closed,
        count(*) filter (judged and state = 0 and expected_close_date < $day) as past,
        count(*) filter (judged and state = 0
            and $now - greatest(update_time, moved) > interval 90 days) as untouched,
        count(*) filter (judged and state = 0 and coalesce(value, 0) = 0) as open_zero,
        count(*) filter (judged and state = 1 and coalesce(value, 0) = 0) as won_zero,
        count(*) filter (judged and state in (1, 2) and ended is null and ended_on is null)
            as undated,
        count(*) filter (judged and state in (1, 2) and case when ended is not null
            then ended < add_time else ended_on < add_time::date end) as negative,
        count(*) filter (judged and expected_close_date is not null) as n_expected,
        count(*) filter (judged and expected_close_date < add_time::date) as expected_early,
        count(*) filter (not exact) as inexact,
        count(*) filter (judged and told is not null) as n_told,
        count(*) filter (judged and told is not null and (told <> state
            or coalesce(told_stage <> stage_id, false)
            or coalesce(told_pipeline <> pipeline_id, false))) as disagrees,
        count(*) filter (judged and state in (1, 2) and told = state
            and coalesce(ended, ended_on::timestamptz) is not null and last_left is not null)
            as n_time,
        count(*) filter (judged and state in (1, 2) and told = state and last_left is not null
            and case when ended is not null
            then ended < coalesce(last_after, last_left) - interval 1 minute
                or ended > last_left + interval 1 minute
            else ended_on not between coalesce(last_after, last_left)::date and last_left::date end)
            as time_differs
    from joined
)
select unnest([sure, past, untouched, open_zero, won_zero, undated, negative, expected_early,
        lines.value, lines.currency, currencies.other, inexact, disagrees, time_differs,
        bulk.created])::bigint as "count",
    unnest([stage.n, n_open, n_open, n_open, n_won, n_closed, n_closed, n_expected, n_value,
        n_currency, currencies.n, counts.n, n_told, n_time, bulk.n])::bigint as "among"
from counts, stage, lines, currencies, bulk
"""


def material(folder: Path, deals: int = DEALS, seed: int = 1) -> None:
    """Write an account of many deals, three stage visits and half a line item each; a few in a
    hundred have each defect.
    """
    rng = np.random.default_rng(seed)

    def some(share: float, size: int = deals) -> np.ndarray:
        return rng.random(size) < share

    now = NOW.tz_localize(None).as_unit("us").asm8.view(np.int64)
    id_ = np.arange(1, deals + 1)
    pipeline = id_ % 3 + 1
    length = rng.exponential(20, (deals, 3)) * DAY // 1_000_000 * 1_000_000
    age = rng.integers(100, 1_000 * 86_400, deals) * 1_000_000
    age[some(0.02)] = 40 * DAY
    created = now + 1 - 1_000_000 - age
    left = created[:, None] + np.cumsum(length.astype(np.int64), axis=1)
    entered = np.concatenate([created[:, None], left[:, :-1]], axis=1)
    there = (entered <= now) & (np.arange(3) < rng.integers(1, 4, deals)[:, None] + 1)
    there[:, 0] = True
    last = np.where(there, np.arange(3), 0).max(axis=1)
    end = left[id_ - 1, last]
    is_open = some(0.2) | (end > now)
    is_won = ~is_open & some(0.4)
    status = np.where(is_open, 0, np.where(is_won, 1, 2))
    updated = np.where(is_open, np.minimum(created + 30 * DAY, now), end)
    updated[some(0.005)] = now + DAY
    closed = end + np.where(some(0.02), -3 * DAY, 0)
    day_alone, undated = some(0.02), some(0.01)
    time_of, day_of = (
        {state: np.where((status == state) & ~undated & ~without, values, NULL) for state in (1, 2)}
        for values, without in ((closed, day_alone), (closed // DAY * DAY, np.zeros(deals, bool)))
    )
    value = rng.integers(1, 100_000, deals) / 4
    value[some(0.03)] = 0
    value[some(0.02)] = np.nan
    expected = (created + rng.integers(-3, 200, deals) * DAY) // DAY * DAY

    n_lines = deals // 2
    deal = np.sort(rng.integers(1, deals * 3 // 10, n_lines))
    price = rng.integers(1, 10_000, n_lines) / 4
    frequency = rng.choice([0, 2, 5], n_lines, p=[0.5, 0.4, 0.1])
    enabled = ~some(0.03, n_lines)
    total = np.bincount(deal, np.where(enabled, price * 2, 0), minlength=deals + 1)[1:]
    value = np.where(np.isin(id_, deal) & ~some(0.02), total, value)
    currency = np.where(some(0.03), "USD", np.array(["EUR", "GBP", "EUR"])[pipeline - 1])
    line_currency = np.where(some(0.01, n_lines), "CHF", currency[deal - 1])

    pd.DataFrame(
        {
            "id": pd.array(id_, "Int64"),
            "title": pd.Series(id_).astype("str"),
            "pipeline_id": pd.array(pipeline, "Int64"),
            "stage_id": pd.array(pipeline * 10 + last, "Int64"),
            "value": value,
            "currency": pd.Series(currency, dtype="str"),
            "add_time": _times(created),
            "update_time": _times(updated),
            "is_deleted": pd.array(some(0.01), "boolean"),
            "status": _words(status, ["open", "won", "lost", "deleted"]),
            "won_time": _times(time_of[1]),
            "lost_time": _times(time_of[2]),
            "local_won_date": _days(day_of[1]),
            "local_lost_date": _days(day_of[2]),
            "expected_close_date": _days(np.where(some(0.3), NULL, expected)),
        }
    ).to_parquet(folder / "deals.parquet")

    row, nth = np.nonzero(there)
    final = nth == last[row]
    still = final & is_open[row]
    by_snapshot = some(0.1, len(row))
    wrong = final & some(0.01, len(row))
    stop = left[row, nth]
    pd.DataFrame(
        {
            "deal_id": pd.array(row + 1, "Int64"),
            "pipeline_id": pd.array(pipeline[row], "Int64"),
            "stage_id": pd.array(pipeline[row] * 10 + nth + wrong, "Int64"),
            "visit": pd.array(np.ones(len(row), np.int64), "Int64"),
            "entered_at": _times(entered[row, nth]),
            "left_at": _times(np.where(still, NULL, stop)),
            "end": _words(
                np.where(still, 3, np.where(final, status[row], 0)),
                ["advanced", "won", "lost", "open"],
            ),
            "source": _words(by_snapshot.astype(np.int64), ["changelog", "snapshots", "current"]),
            "entered_after": _times(
                np.where(by_snapshot & (nth > 0), entered[row, nth] - DAY, NULL)
            ),
            "left_after": _times(np.where(by_snapshot & final & ~still, stop - DAY // 2, NULL)),
            "seen_at": _times(entered[row, nth]),
        }
    ).to_parquet(folder / "visits.parquet")

    ids = [10 * pipeline + place for pipeline in (1, 2, 3) for place in range(4)]
    old = _times(np.full(len(ids), now - 1_500 * DAY))
    pd.DataFrame(
        {
            "id": pd.array(ids, "Int64"),
            "pipeline_id": pd.array([id_ // 10 for id_ in ids], "Int64"),
            "deal_probability": [100.0 if id_ % 10 == 3 else 20.0 * (id_ % 10) for id_ in ids],
            "is_deleted": pd.array([id_ == 33 for id_ in ids], "boolean"),
            "add_time": old,
            "update_time": old,
        }
    ).to_parquet(folder / "stages.parquet")

    pd.DataFrame(
        {
            "deal_id": pd.array(deal, "Int64"),
            "sum": price * 2,
            "currency": pd.Series(line_currency, dtype="str"),
            "is_enabled": pd.array(enabled, "boolean"),
            "quantity": np.full(n_lines, 2.0),
            "item_price": price,
            "discount": np.zeros(n_lines),
            "discount_type": _words(np.zeros(n_lines, np.int64), ["percentage", "amount"]),
            "tax": np.where(some(0.5, n_lines), 20.0, 0.0),
            "tax_method": _words(rng.integers(0, 3, n_lines), ["exclusive", "inclusive", "none"]),
            "billing_frequency": _words(
                frequency,
                ["one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually"],
            ),
            "billing_frequency_cycles": pd.array(np.where(frequency == 2, 12, 1), "Int64"),
            "add_time": _times(created[deal - 1]),
            "update_time": _times(np.where(some(0.01, n_lines), now + DAY, created[deal - 1])),
        }
    ).to_parquet(folder / "deal_products.parquet")


def frames(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the frames as the loaders give them: closed vocabularies as categories."""
    return {
        name: pq.read_table(folder / f"{name}.parquet", read_dictionary=CATEGORIES).to_pandas()
        for name in TABLES
    }


def in_sql(folder: Path) -> pd.DataFrame:
    with duckdb.connect() as base:
        base.execute("set timezone = 'UTC'; set threads = 1")
        paths = {name: str(folder / f"{name}.parquet") for name in TABLES}
        day = pd.Timestamp(AS_OF).date()
        return base.execute(QUERY, {**paths, "now": NOW.to_pydatetime(), "day": day}).df()


def here(folder: Path) -> pd.DataFrame:
    return data_quality(**frames(folder), as_of=AS_OF)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material(folder)
        loaded = frames(folder)

        def ours() -> pd.DataFrame:
            return data_quality(**loaded, as_of=AS_OF)

        differ = int((ours()["count"].to_numpy() != in_sql(folder)["count"].to_numpy()).sum())
        for what, work in (
            (f"CPU: data_quality of {DEALS:,} deals / DuckDB", ours),
            ("  with reading the Parquet", lambda: here(folder)),
        ):
            pairs = [(cpu_seconds(work), cpu_seconds(lambda: in_sql(folder))) for _ in range(3)]
            one, sql = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            report(what, f"{one:.2f} s", f"{sql:.2f} s", ratio)
        gigabytes = peak(
            "from tests.bench.data_quality import here; here(Path(sys.argv[1]))", folder
        )
        report(
            "  peak memory; checks that count otherwise than DuckDB",
            f"{gigabytes:.2f} GB",
            f"{differ}",
            None,
        )


def _times(values: np.ndarray) -> pd.Series:
    return _days(values).dt.tz_localize("UTC")


def _days(values: np.ndarray) -> pd.Series:
    return pd.Series(values.astype(np.int64).view("datetime64[us]"))


def _words(codes: np.ndarray, names: list[str]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes, names)


if __name__ == "__main__":
    measure()
