"""Stage velocity of a large account beside the same table in DuckDB SQL, from the same Parquet."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from pdframe.metrics import stage_velocity
from tests.bench.table import compared, peak, report

DEALS = 1_000_000
VISITS = 3_000_000
AS_OF = "2026-06-30"

# Kaplan-Meier by stage: counts at each distinct length, the product of 1 - d/n as a sum of
# logarithms, Greenwood's sum, the quantiles, the log-log limits of the median, and the area under
# the curve.
VELOCITY = """
with stays as (
    select pipeline_id, stage_id, left_at is not null and left_at <= $now as over,
           epoch_us(case when left_at <= $now then left_at else $now end) - epoch_us(entered_at)
               as lasted
    from read_parquet($visits)
    where entered_at <= $now and seen_at <= $now
), counts as (
    select pipeline_id, stage_id, lasted, count(*) as gone, count(*) filter (over) as d
        from stays group by all
), risk as (
    select *, sum(gone) over (partition by pipeline_id, stage_id order by lasted desc) as n
        from counts
), curve as (
    select *, lasted / 86400e6 as days, max(case when d = n then 1 else 0 end) over w as emptied,
           sum(case when d < n then ln(1 - d / n) else 0 end) over w as logs,
           sum(case when d < n then d / (n * (n - d)) else 0 end) over w as greenwood,
           lead(lasted) over (partition by pipeline_id, stage_id order by lasted) / 86400e6 as next
    from risk window w as (partition by pipeline_id, stage_id order by lasted)
), steps as (
    select *, case when emptied = 1 then 0 else exp(logs) end as s,
           case when emptied = 0
               and logs < -1e-13
               then exp(logs * exp(1.959963984540054 * sqrt(greenwood) / -logs)) end as low,
           case when emptied = 0
               and logs < -1e-13
               then exp(logs * exp(-1.959963984540054 * sqrt(greenwood) / -logs)) end as high
    from curve
), figures as (
    select pipeline_id, stage_id, sum(gone) as visits, sum(d) as completed, sum(gone) - sum(d)
        as open,
           min(days) filter (s <= 0.5 + 1e-9) as median_days, min(days) filter (low <= 0.5 + 1e-9)
               as low,
           min(days) filter (high <= 0.5 + 1e-9) as high, min(days) filter (s <= 0.75 + 1e-9)
               as p25_days,
           min(days) filter (s <= 0.25 + 1e-9) as p75_days, min(days) filter (s <= 0.1 + 1e-9)
               as p90_days,
           min(days) + coalesce(sum(s * (next - days)), 0) as mean_days
    from steps group by all
)
select s.pipeline_id, s.id as stage_id, s.name as stage, s.order_nr, f.* exclude (pipeline_id,
    stage_id)
from read_parquet($stages) s left join figures f on f.pipeline_id = s.pipeline_id
    and f.stage_id = s.id
order by s.pipeline_id, s.order_nr
"""


def material(folder: Path, deals: int = DEALS, visits: int = VISITS) -> None:
    """Stays of many deals in twelve stages of three pipelines, a fifth of the deals still open."""
    random = np.random.default_rng(1)
    deal = np.sort(random.integers(1, deals + 1, visits))
    deal[:deals] = np.arange(1, deals + 1)
    deal.sort()
    nth = np.arange(visits) - np.searchsorted(deal, deal)
    last = np.append(deal[1:] != deal[:-1], True)
    pipeline = deal % 3 + 1
    begun = (
        np.datetime64("2023-01-01", "us").view(np.int64)
        + random.integers(0, 1_000 * 86_400, deals + 1)[deal] * 1_000_000
    )
    length = (random.exponential(20, visits) * 86_400).astype(np.int64) * 1_000_000
    total = np.cumsum(length)
    left = begun + total - (total - length)[np.searchsorted(deal, deal)]
    still = last & (random.random(deals + 1)[deal] < 0.2)
    entered = left - length
    frame = pd.DataFrame(
        {
            "deal_id": pd.array(deal, "Int64"),
            "pipeline_id": pd.array(pipeline, "Int64"),
            "stage_id": pd.array(pipeline * 10 + np.minimum(nth, 3), "Int64"),
            "visit": pd.array(np.maximum(nth - 3, 0) + 1, "Int64"),
            "entered_at": pd.Series(entered.view("datetime64[us]")).dt.tz_localize("UTC"),
            "left_at": (
                pd.Series(
                    np.where(still, np.iinfo(np.int64).min, left).view("datetime64[us]")
                ).dt.tz_localize("UTC")
            ),
            "end": pd.Categorical.from_codes(
                np.where(still, 2, np.where(last, 1, 0)), ["advanced", "lost", "open"]
            ),
            "source": pd.Categorical.from_codes(
                np.zeros(visits, np.int8), ["changelog", "snapshots", "current"]
            ),
            "entered_after": pd.Series(pd.NaT, index=range(visits), dtype="datetime64[us, UTC]"),
            "left_after": pd.Series(pd.NaT, index=range(visits), dtype="datetime64[us, UTC]"),
            "seen_at": pd.Series(entered.view("datetime64[us]")).dt.tz_localize("UTC"),
        }
    )
    frame.to_parquet(folder / "visits.parquet")
    ids = [10 * pipeline + place for pipeline in (1, 2, 3) for place in range(4)]
    stages = {
        "id": ids,
        "name": [f"Stage {id}" for id in ids],
        "order_nr": [id % 10 for id in ids],
        "pipeline_id": [id // 10 for id in ids],
    }
    pd.DataFrame(stages).astype(
        {"id": "Int64", "order_nr": "Int64", "pipeline_id": "Int64"}
    ).to_parquet(folder / "stages.parquet")


def in_sql(folder: Path) -> pd.DataFrame:
    with duckdb.connect() as base:
        base.execute("set TimeZone = 'UTC'")
        names = {"visits": str(folder / "visits.parquet"), "stages": str(folder / "stages.parquet")}
        now = pd.Timestamp(f"{AS_OF} 23:59:59.999999", tz="UTC").to_pydatetime()
        return base.execute(VELOCITY, {**names, "now": now}).df()


def here(folder: Path) -> pd.DataFrame:
    return stage_velocity(
        pd.read_parquet(folder / "visits.parquet"),
        pd.read_parquet(folder / "stages.parquet"),
        as_of=AS_OF,
    )


def measure() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material(folder)
        visits, stages = (
            pd.read_parquet(folder / "visits.parquet"),
            pd.read_parquet(folder / "stages.parquet"),
        )
        ours, theirs = here(folder), in_sql(folder)
        columns = list(theirs.columns[4:])
        apart = np.nanmax(np.abs(ours[columns].to_numpy(float) - theirs[columns].to_numpy(float)))
        one, sql, ratio = compared(
            lambda: stage_velocity(visits, stages, as_of=AS_OF), lambda: in_sql(folder), 3
        )
        report(
            f"seconds: stage_velocity of {VISITS:,} visits / DuckDB",
            f"{one:.2f} s",
            f"{sql:.2f} s",
            ratio,
        )
        both, sql, ratio = compared(lambda: here(folder), lambda: in_sql(folder), 3)
        report("  with reading the Parquet", f"{both:.2f} s", f"{sql:.2f} s", ratio)
        gigabytes = peak("from tests.bench.velocity import here; here(Path(sys.argv[1]))", folder)
        report(
            "  peak memory; largest difference from DuckDB's table",
            f"{gigabytes:.2f} GB",
            f"{apart:.1e}",
            None,
        )


if __name__ == "__main__":
    measure()
