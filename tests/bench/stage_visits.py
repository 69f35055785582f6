"""Stage visits of a large account beside the plain part of them in DuckDB SQL, from the same
Parquet, in CPU seconds, each on one thread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import pdframe
from pdframe.cache.store import Store
from pdframe.frames import storage_schema
from pdframe.schema import TABLES
from pdframe.sync.fetch_state import SCHEMA, save_states, state_name
from tests.bench.table import report

COPIES = 20
DEALS = 5_000 * COPIES
ROUNDS = 5
SMALL = 1_000_000  # more than any id of the company that is copied
CHANGES = ("stage_id", "pipeline_id", "status")

# One row a stage that a deal entered, by its changelog: lead() over creation, moves, closings and
# reopenings. Neither moves of stages, deletions and snapshots nor contradictions are in it.
PLAIN = """
with changes as (
    select deal_id, time, field_key, old_value, new_value
    from read_parquet($changes) where field_key in ('stage_id', 'status')
), first_stage as (
    select deal_id, arg_min(old_value, time)::bigint as stage_id
    from changes where field_key = 'stage_id' group by deal_id
), events as (
    select d.id as deal_id, d.add_time as time, coalesce(f.stage_id, d.stage_id) as stage_id,
           'open' as status
    from read_parquet($deals) d left join first_stage f on f.deal_id = d.id
    union all
    select deal_id, time, case when field_key = 'stage_id' then new_value::bigint end,
           case when field_key = 'status' then new_value end
    from changes
), states as (
    select deal_id, time, status,
           last_value(stage_id ignore nulls) over w as stage_id,
           last_value(status ignore nulls) over w as status_then,
           lead(time) over w as left_at, lead(stage_id) over w as next_stage,
           lead(status) over w as next_status
    from events window w as (partition by deal_id order by time)
)
select v.deal_id, s.pipeline_id, v.stage_id,
       row_number() over (partition by v.deal_id, v.stage_id order by v.time) as visit,
       v.time as entered_at, v.left_at,
       case when v.next_status is not null then v.next_status
            when v.next_stage is null then 'open'
            when n.pipeline_id <> s.pipeline_id then 'changed pipeline'
            when n.order_nr > s.order_nr then 'advanced' else 'moved back' end as "end"
from states v left join read_parquet($stages) s on s.id = v.stage_id
left join read_parquet($stages) n on n.id = v.next_stage
where v.status_then = 'open'
order by v.deal_id, v.time
"""


@contextmanager
def large_account(copies: int = COPIES) -> Iterator[tuple[pdframe.sandbox.SandboxAccount, Path]]:
    """Open an account of `copies` times 5,000 deals, every changelog loaded, and its folder."""
    with (
        tempfile.TemporaryDirectory() as name,
        pdframe.sandbox.connect(
            seed=1,
            deals=5_000,
            cache_dir=name,
            company="hostile",
            burst=100_000,
            daily_tokens=10_000_000,
            progress=False,
        ) as account,
    ):
        account.sync("deals", "stages")
        folder = next(path for path in Path(name).iterdir() if path.is_dir())
        store = Store(Path(name), folder.name)
        _copy(store, "deals", ("id",), copies)
        _copy(store, "history", ("deal_id",), copies)
        _add_changelogs(store, account.company_model, copies)
        yield account, folder


def _copy(store: Store, table: str, keys: tuple[str, ...], copies: int) -> None:
    """Put several copies of a table's rows in its place, each under ids of its own."""
    manifest = store.manifest(table)
    assert manifest is not None
    store.replace(replace(manifest, parts=(), rows=0), _copied(store.read(table), keys, copies))


def _copied(rows: pa.Table, keys: tuple[str, ...], copies: int) -> pa.Table:
    pieces = []
    for number in range(copies):
        piece = rows
        for key in keys:
            shifted = pc.add(rows[key], number * SMALL)
            piece = piece.set_column(rows.column_names.index(key), rows.schema.field(key), shifted)
        pieces.append(piece)
    return pa.concat_tables(pieces)


def _add_changelogs(store: Store, company: Any, copies: int) -> None:
    manifest = store.manifest("deals")
    assert manifest is not None
    assert manifest.server_time is not None
    ids = sorted({deal % SMALL for deal in store.read("deals", ["id"])["id"].to_pylist()})
    rows = [{"deal_id": deal, **row} for deal in ids for row in company.deal_changelog(deal)[::-1]]
    frame = pd.DataFrame(rows)
    frame["time"] = pd.to_datetime(frame["time"], utc=True).astype("datetime64[us, UTC]")
    schema = storage_schema(TABLES["deal_changes"])
    changes = pa.Table.from_pandas(frame[schema.names], schema, preserve_index=False)
    changes = _copied(changes, ("deal_id",), copies)
    at = manifest.server_time
    store.replace(replace(manifest, table="deal_changes", parts=(), rows=0, state={}), changes)
    deals = [deal + number * SMALL for number in range(copies) for deal in ids]
    columns = zip(*((deal, manifest.synced_at, None, True, at) for deal in deals), strict=True)
    states = pa.table(
        [pa.array(column, type) for column, type in zip(columns, SCHEMA.types, strict=True)],
        schema=SCHEMA,
    )
    save_states(store, "deal_changes", states, at)
    assert store.manifest(state_name("deal_changes")) is not None


def in_sql(folder: Path) -> pd.DataFrame:
    with duckdb.connect() as base:
        base.execute("set TimeZone = 'UTC'; set threads = 1")
        names = {
            "changes": str(folder / "deal_changes" / "*.parquet"),
            "deals": str(folder / "deals" / "*.parquet"),
            "stages": str(folder / "stages" / "*.parquet"),
        }
        return base.execute(PLAIN, names).df()


def computed(account: pdframe.sandbox.SandboxAccount) -> pd.DataFrame:
    """Return the visits of an account that has just been opened: it has computed none."""
    with pdframe.connect(
        base_url=account.server.url,
        api_token=account.server.token,
        cache_dir=account.cache_path.parent,
        progress=False,
    ) as other:
        return other.stage_visits(refresh=False)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(copies: int = COPIES) -> None:
    pa.set_cpu_count(1)
    with large_account(copies) as (account, folder):
        changes = Store(folder.parent, folder.name).read("deal_changes", ["field_key"])["field_key"]
        count = int(np.isin(changes.to_numpy(), CHANGES).sum())
        ours, theirs = account.stage_visits(refresh=False), in_sql(folder)
        rounds = [
            (
                cpu_seconds(lambda: computed(account)),
                cpu_seconds(lambda: in_sql(folder)),
                cpu_seconds(lambda: account.stage_visits(refresh=False)),
            )
            for _ in range(ROUNDS)
        ]
    first, sql, again = (statistics.median(column) for column in zip(*rounds, strict=True))
    report(
        f"CPU s: stage_visits, {count:,} changes / DuckDB, plain part",
        f"{first:.2f} s",
        f"{sql:.2f} s",
        statistics.median(one / other for one, other, _ in rounds),
    )
    report("  rows", f"{len(ours):,}", f"{len(theirs):,}", len(ours) / len(theirs))
    report(
        "  a second call / the first",
        f"{again:.3f} s",
        f"{first:.2f} s",
        statistics.median(second / one for one, _, second in rounds),
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    measure()
