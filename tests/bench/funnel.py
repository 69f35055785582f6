"""The funnel of a large account beside the same table in DuckDB SQL, from the same Parquet."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pdframe.metrics import funnel
from tests.bench.table import compared, peak, report

DEALS = 1_000_000
AS_OF = pd.Timestamp("2026-06-30", tz="UTC")
STAGES = pd.DataFrame(
    {
        "id": pd.array([11, 12, 13, 14, 15], "Int64"),
        "order_nr": pd.array([1, 2, 3, 4, 5], "Int64"),
        "name": pd.Series(
            ["Qualified", "Discovery", "Demo", "Proposal", "Negotiation"], dtype="str"
        ),
        "pipeline_id": pd.array([1] * 5, "Int64"),
    }
)
HORIZON_DAYS = 60
NULL = np.iinfo(np.int64).min

# One row a deal and stage reached ("implied"), counts, and Aalen-Johansen with its log-log limits
# by window functions over distinct times.
QUERY = """
with seen as (
    select * from read_parquet('{path}')
    where pipeline_id = 1 and entered_at <= timestamptz '{as_of}'
        and (source = 'changelog' or seen_at <= timestamptz '{as_of}')
),
placed as (select v.*, s.order_nr - 1 as place from seen v left join stages s on s.id = v.stage_id),
deal as (
    select deal_id,
        {firsts},
        min(left_at) filter ("end" = 'won' and left_at <= timestamptz '{as_of}') as won,
        arg_max(case when left_at is null or left_at > timestamptz '{as_of}'
            then 'open' else "end" end,
            entered_at) as last_end,
        arg_max(left_at, entered_at) as last_left
    from placed group by deal_id
),
reach as (
    {reaches}
),
state as (
    select place,
        epoch_us(reach_time) as came,
        case when later is not null then 1 when last_end = 'lost' then 2
            when last_end in ('changed pipeline', 'deleted') then 3 else 0 end
            as state,
        case when later is not null then epoch_us(later) when last_end in ('lost',
            'changed pipeline', 'deleted') then epoch_us(last_left)
            else epoch_us(timestamptz '{as_of}') end as state_at,
        case when won is not null then 1 when last_end = 'lost' then 2
            when last_end in ('changed pipeline', 'deleted') then 3 else 0 end
            as outcome,
        case when won is not null then epoch_us(won) when last_end in ('lost', 'changed pipeline',
            'deleted') then epoch_us(last_left)
            else epoch_us(timestamptz '{as_of}') end as outcome_at
    from reach where reach_time is not null
),
counts as (
    select place, count(*) as reached, count(*) filter (state = 1) as advanced, count(*)
        filter (state = 2) as lost,
        count(*) filter (state = 3) as "left", count(*) filter (state = 0) as open
    from state group by place
),
{conversion},
{win}
select id as stage_id, coalesce(name, 'won') as stage, order_nr, counts.* exclude (place),
    conversion_rate.estimate as conversion, conversion_rate.low, conversion_rate.high,
    case when id is not null then {horizon_days}.0 end as horizon_days,
    win_rate.estimate as win, win_rate.low as win_low, win_rate.high as win_high,
    reached / first_value(reached) over (order by counts.place) as share_reached,
    case when id is not null then advanced / (advanced + lost) end as closed_conversion
from counts left join stages on order_nr = counts.place + 1 left join conversion_rate using (place)
    left join win_rate using (place)
order by counts.place
"""

CURVE = """
{name}_step as (
    select place, {state}_at - came as days, count(*) as gone, count(*) filter ({state} = 1) as hit,
        count(*) filter ({state} > 0) as events
    from state where place < 5 group by place, {state}_at - came
),
{name}_risk as (
    select *, sum(gone) over (partition by place order by days desc rows unbounded preceding) as n
        from {name}_step
),
{name}_survival as (
    select *, exp(sum(case when events < n then ln(1 - events / n) else -1000 end)
        over (partition by place order by days rows unbounded preceding)) / greatest(1 - events / n,
            1e-300) as before
    from {name}_risk where days <= {horizon}
),
{name}_curve as (
    select *, sum(before * hit / n) over (partition by place
        order by days rows unbounded preceding) as f,
        case when events < n then events / (n * (n - events)) else 0 end as g
    from {name}_survival
),
{name}_sum as (
    select place, sum(before * hit / n) as estimate,
        power(max(f), 2) * sum(g) - 2 * max(f) * sum(f * g) + sum(f * f * g)
            + sum(before * before * (n - hit) * hit / (n * n * n))
            - 2 * max(f) * sum(before * hit / (n * n)) + 2 * sum(f * before * hit / (n * n))
                as variance
    from {name}_curve group by place
),
{name}_spread as (
    select *, ln(1 - estimate) as log,
        exp(1.959963984540054 * sqrt(variance) / ((1 - estimate) * -ln(1 - estimate))) as spread
    from {name}_sum
),
{name}_rate as (select place, estimate, 1 - exp(log / spread) as low, 1 - exp(log * spread) as high
    from {name}_spread)
"""


def visits(deals: int = DEALS, seed: int = 1) -> pd.DataFrame:
    """Stays in a pipeline of five stages, three a deal, over three years: skips, moves back, deals
    that are lost and opened again.
    """
    rng = np.random.default_rng(seed)
    known_visits = rng.choice([1, 2, 3, 4, 5], deals, p=[0.19, 0.18, 0.2, 0.2, 0.23])
    first = np.repeat(np.cumsum(known_visits) - known_visits, known_visits)
    deal = np.repeat(np.arange(1, deals + 1), known_visits)
    steps = rng.choice([1, 2, -1, 0], len(deal), p=[0.85, 0.08, 0.05, 0.02])
    steps[np.cumsum(known_visits) - known_visits] = 0
    total = np.cumsum(steps)
    place = np.clip(total - total[first], 0, 4)
    length = (rng.exponential(20, len(deal)) * 86_400_000_000).astype(np.int64) + 1
    start = _now() - (rng.uniform(0, 1095, deals) * 86_400_000_000).astype(np.int64)
    spent = np.cumsum(length)
    entered = np.repeat(start, known_visits) + spent - length - (spent - length)[first]
    left = entered + length
    last = np.append(deal[1:] != deal[:-1], True)
    moved = np.append(place[1:] - place[:-1], 0)
    final = np.repeat(rng.choice([3, 4, 5], deals, p=[0.35, 0.6, 0.05]), known_visits)
    ends = np.where(last, final, np.select([moved > 0, moved < 0], [0, 1], 4))
    there = entered <= _now()
    deal, place, entered, left, ends = (
        values[there] for values in (deal, place, entered, left, ends)
    )
    still = left > _now()
    names = ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]
    nothing = _times(np.full(len(deal), NULL))
    frame = pd.DataFrame(
        {
            "deal_id": pd.array(deal, "Int64"),
            "pipeline_id": pd.array(np.ones(len(deal), np.int64), "Int64"),
            "stage_id": pd.array(place + 11, "Int64"),
            "entered_at": _times(entered),
            "left_at": _times(np.where(still, NULL, left)),
            "end": pd.Categorical.from_codes(np.where(still, 6, ends).astype(np.int8), names),
            "source": pd.Categorical.from_codes(
                np.zeros(len(deal), np.int8), ["changelog", "snapshots", "current"]
            ),
            "entered_after": nothing,
            "left_after": nothing,
            "seen_at": _times(entered),
        }
    )
    frame.insert(
        3, "visit", (frame.groupby(["deal_id", "stage_id"]).cumcount() + 1).astype("Int64")
    )
    return frame


def sql(path: Path) -> str:
    """The whole query on the visits in a Parquet file."""
    firsts = ",\n        ".join(
        f"min(entered_at) filter (place = {place}) as v{place}" for place in range(5)
    )
    later = [
        f"least({', '.join([*(f'v{other}' for other in range(place, 5)), 'won'])})"
        for place in range(6)
    ]
    later[5] = "won"
    reaches = "\n    union all ".join(
        f"select {place} as place, {later[place]} as reach_time, {later[min(place + 1, 5)]} as"
        " later, won, last_end, last_left from deal"
        for place in range(6)
    )
    horizon = HORIZON_DAYS * 86_400_000_000
    curves = (
        CURVE.format(name=name, state=state, horizon=horizon)
        for name, state in (("conversion", "state"), ("win", "outcome"))
    )
    conversion, win = curves
    return QUERY.format(
        path=path,
        as_of=AS_OF.isoformat(),
        firsts=firsts,
        reaches=reaches,
        conversion=conversion,
        win=win,
        horizon_days=HORIZON_DAYS,
    )


def material(folder: Path, deals: int = DEALS) -> Path:
    """Write the visits; returns where."""
    path = folder / "visits.parquet"
    visits(deals).astype({"end": "str", "source": "str"}).to_parquet(path, index=False)
    return path


def read(path: Path) -> pd.DataFrame:
    """Read the visits as the loaders give them: closed vocabularies as categories."""
    table = pq.read_table(path, read_dictionary=["end", "source"])
    ids = {pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=ids.get, self_destruct=True, split_blocks=True)


def in_sql(path: Path) -> pd.DataFrame:
    with duckdb.connect() as base:
        base.execute("set timezone = 'UTC'")
        base.register("stages", STAGES)
        return base.execute(sql(path)).df()


def here(path: Path) -> pd.DataFrame:
    return _of(read(path))


def _of(frame: pd.DataFrame) -> pd.DataFrame:
    return funnel(frame, STAGES, as_of=AS_OF, horizon=f"{HORIZON_DAYS}D")


def measure() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = material(Path(name))
        frame, ours, theirs = read(path), here(path), in_sql(path)
        columns = [column for column in ours.columns if column != "stage"]
        apart = np.nanmax(
            np.abs(
                ours[columns].astype("float64").to_numpy()
                - theirs[columns].astype("float64").to_numpy()
            )
        )
        one, base, ratio = compared(lambda: _of(frame), lambda: in_sql(path), 3)
        report(
            f"seconds: funnel of {len(frame):,} visits / DuckDB",
            f"{one:.2f} s",
            f"{base:.2f} s",
            ratio,
        )
        both, base, ratio = compared(lambda: here(path), lambda: in_sql(path), 3)
        report("  with reading the Parquet", f"{both:.2f} s", f"{base:.2f} s", ratio)
        gigabytes = peak("from tests.bench.funnel import here; here(Path(sys.argv[1]))", path)
        report(
            "  peak memory; largest difference from DuckDB's table",
            f"{gigabytes:.2f} GB",
            f"{apart:.1e}",
            None,
        )


def _now() -> int:
    return int(AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64))


def _times(values: np.ndarray) -> pd.Series:
    return pd.Series(values.view("datetime64[us]")).dt.tz_localize("UTC")


if __name__ == "__main__":
    measure()
