"""The funnel of 1,000,000 deals and 3,000,000 visits beside the same table in DuckDB SQL, from the same Parquet."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdframe.metrics import funnel

DEALS = 1_000_000
AS_OF = pd.Timestamp("2026-06-30", tz="UTC")
STAGES = pd.DataFrame(
    {
        "id": pd.array([11, 12, 13, 14, 15], "Int64"),
        "order_nr": pd.array([1, 2, 3, 4, 5], "Int64"),
        "name": pd.Series(["Qualified", "Discovery", "Demo", "Proposal", "Negotiation"], dtype="str"),
        "pipeline_id": pd.array([1] * 5, "Int64"),
    }
)
HORIZON_DAYS = 60

# One row a deal and stage reached ("implied"), then counts, and Aalen-Johansen by window functions over the distinct times.
QUERY = """
with seen as (
    select * from read_parquet('{path}')
    where pipeline_id = 1 and entered_at <= timestamptz '{as_of}' and (source = 'changelog' or seen_at <= timestamptz '{as_of}')
),
placed as (select v.*, s.order_nr - 1 as place from seen v left join stages s on s.id = v.stage_id),
deal as (
    select deal_id,
        {firsts},
        min(left_at) filter ("end" = 'won' and left_at <= timestamptz '{as_of}') as won,
        arg_max(case when left_at is null or left_at > timestamptz '{as_of}' then 'open' else "end" end, entered_at) as last_end,
        arg_max(left_at, entered_at) as last_left
    from placed group by deal_id
),
reach as (
    {reaches}
),
state as (
    select place,
        epoch_us(reach_time) as came,
        case when later is not null then 1 when last_end = 'lost' then 2 when last_end in ('changed pipeline', 'deleted') then 3 else 0 end
            as state,
        case when later is not null then epoch_us(later) when last_end in ('lost', 'changed pipeline', 'deleted') then epoch_us(last_left)
            else epoch_us(timestamptz '{as_of}') end as state_at,
        case when won is not null then 1 when last_end = 'lost' then 2 when last_end in ('changed pipeline', 'deleted') then 3 else 0 end
            as outcome,
        case when won is not null then epoch_us(won) when last_end in ('lost', 'changed pipeline', 'deleted') then epoch_us(last_left)
            else epoch_us(timestamptz '{as_of}') end as outcome_at
    from reach where reach_time is not null
),
counts as (
    select place, count(*) as reached, count(*) filter (state = 1) as advanced, count(*) filter (state = 2) as lost,
        count(*) filter (state = 3) as "left", count(*) filter (state = 0) as open
    from state group by place
),
{conversion},
{win}
select counts.*, conversion_rate.estimate as conversion, conversion_rate.variance as conversion_variance,
    win_rate.estimate as win, win_rate.variance as win_variance
from counts left join conversion_rate using (place) left join win_rate using (place) order by place
"""

CURVE = """
{name}_step as (
    select place, {state}_at - came as days, count(*) as gone, count(*) filter ({state} = 1) as hit, count(*) filter ({state} > 0) as events
    from state where place < 5 group by place, {state}_at - came
),
{name}_risk as (
    select *, sum(gone) over (partition by place order by days desc rows unbounded preceding) as n from {name}_step
),
{name}_survival as (
    select *, exp(sum(case when events < n then ln(1 - events / n) else -1000 end)
        over (partition by place order by days rows unbounded preceding)) / greatest(1 - events / n, 1e-300) as before
    from {name}_risk where days <= {horizon}
),
{name}_curve as (
    select *, sum(before * hit / n) over (partition by place order by days rows unbounded preceding) as f,
        case when events < n then events / (n * (n - events)) else 0 end as g
    from {name}_survival
),
{name}_rate as (
    select place, sum(before * hit / n) as estimate,
        power(max(f), 2) * sum(g) - 2 * max(f) * sum(f * g) + sum(f * f * g) + sum(before * before * (n - hit) * hit / (n * n * n))
            - 2 * max(f) * sum(before * hit / (n * n)) + 2 * sum(f * before * hit / (n * n)) as variance
    from {name}_curve group by place
)
"""


def visits(deals: int = DEALS, seed: int = 1) -> pd.DataFrame:
    """Visits of a pipeline of five stages, about three a deal, over three years."""
    rng = np.random.default_rng(seed)
    stays = rng.integers(1, 6, deals)
    deal = np.repeat(np.arange(1, deals + 1), stays)
    place = np.arange(len(deal)) - np.repeat(np.cumsum(stays) - stays, stays)
    day = 86_400_000_000
    length = (rng.exponential(20, len(deal)) * day).astype(np.int64)
    start = AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64) - (rng.uniform(0, 1095, deals) * day).astype(np.int64)
    total = np.cumsum(length)
    before = np.repeat((total - length)[np.cumsum(stays) - stays], stays)
    entered = np.repeat(start, stays) + total - length - before
    left = entered + length
    last = np.append(deal[1:] != deal[:-1], True)
    won = np.repeat(rng.random(deals) < 0.35, stays)
    now = AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64)
    there = entered <= now
    deal, place, entered, left, last, won = (values[there] for values in (deal, place, entered, left, last, won))
    still = left > now
    names = ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]
    ends = np.where(still, 6, np.where(last, np.where(won, 3, 4), 0)).astype(np.int8)
    return pd.DataFrame(
        {
            "deal_id": pd.array(deal, "Int64"),
            "pipeline_id": pd.array(np.ones(len(deal), np.int64), "Int64"),
            "stage_id": pd.array(place + 11, "Int64"),
            "visit": pd.array(np.ones(len(deal), np.int64), "Int64"),
            "entered_at": _times(entered),
            "left_at": _times(np.where(still, np.iinfo(np.int64).min, left)),
            "end": pd.Categorical.from_codes(ends, names),
            "source": pd.Categorical.from_codes(np.zeros(len(deal), np.int8), ["changelog", "snapshots", "current"]),
            "entered_after": _times(np.full(len(deal), np.iinfo(np.int64).min)),
            "left_after": _times(np.full(len(deal), np.iinfo(np.int64).min)),
            "seen_at": _times(entered),
        }
    )


def sql(path: Path) -> str:
    """The whole query on the visits in a Parquet file."""
    firsts = ",\n        ".join(f"min(entered_at) filter (place = {place}) as v{place}" for place in range(5))
    later = [f"least({', '.join([*(f'v{other}' for other in range(place, 5)), 'won'])})" for place in range(6)]
    later[5] = "won"
    reaches = "\n    union all ".join(
        f"select {place} as place, {later[place]} as reach_time, {later[min(place + 1, 5)]} as later, won, last_end, last_left from deal"
        for place in range(6)
    )
    horizon = HORIZON_DAYS * 86_400_000_000
    curves = (CURVE.format(name=name, state=state, horizon=horizon) for name, state in (("conversion", "state"), ("win", "outcome")))
    conversion, win = curves
    return QUERY.format(path=path, as_of=AS_OF.isoformat(), firsts=firsts, reaches=reaches, conversion=conversion, win=win)


def prepare(folder: Path, deals: int = DEALS) -> Path:
    """Write the visits."""
    path = folder / "visits.parquet"
    frame = visits(deals)
    frame.astype({"end": "str", "source": "str"}).to_parquet(path, index=False)
    return path


def read(path: Path) -> pd.DataFrame:
    """Read the visits as the loaders give them: closed vocabularies as categories."""
    table = pq.read_table(path, read_dictionary=["end", "source"])
    ids = {pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=ids.get, self_destruct=True, split_blocks=True)


def compare(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, row for row."""
    import duckdb

    base = duckdb.connect()
    base.execute("set timezone = 'UTC'")
    base.register("stages", STAGES)
    theirs = base.execute(sql(path)).df()
    ours = funnel(read(path), STAGES, as_of=AS_OF, horizon=f"{HORIZON_DAYS}D")
    return ours, theirs


def peak(path: Path) -> float:
    """Peak memory in GB of a process that reads the visits and makes the funnel."""
    import subprocess

    code = (
        "import sys, resource; sys.path.insert(0, '.'); from pathlib import Path; from tests.bench import funnel as bench\n"
        f"bench.funnel(bench.read(Path({str(path)!r})), bench.STAGES, as_of=bench.AS_OF, horizon='{HORIZON_DAYS}D')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def _times(values: np.ndarray) -> pd.Series:
    return pd.Series(values.view("datetime64[us]")).dt.tz_localize("UTC")
