"""What a sync would cost, reckoned from the cache: nothing is asked of the API."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow.compute as pc

from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError
from pdframe.schema import TABLES, Table
from pdframe.sync import line_items
from pdframe.sync.deletions import keeps_deleted
from pdframe.sync.dependencies import dependencies, full_reload_set, topological_order
from pdframe.sync.fetch_state import NO_STATES, load_states
from pdframe.sync.options import SyncOptions
from pdframe.sync.plan import full_reload_reason, lists_of, second_list


@dataclass(frozen=True, slots=True)
class Estimate:
    """Requests and tokens that bringing one table up to date takes; None where the cache does not
    tell.
    """

    table: str
    requests: int | None
    tokens: int | None
    basis: str


def estimate(
    store: Store,
    names: Iterable[str],
    *,
    full: bool,
    now: datetime,
    full_every: timedelta | None,
    options: SyncOptions,
    records_due: Callable[[Table, bool], Sequence[int]],
) -> list[Estimate]:
    """One row a table that a sync of `names` would touch, in the order of the schema.

    Parameters
    ----------
    store
        The cache.
    names, full
        As for a sync.
    now
        This machine's clock.
    full_every
        How old the last full load may be.
    options
        Page size and thresholds of the sync.
    records_due
        Of a table that is asked for record by record: the records that would be asked for, or for a
        full load all of them.
    """
    requested = set(names)
    reloaded = full_reload_set(requested) if full else set()
    result = {}
    for name in topological_order(requested.union(*(dependencies(name) for name in requested))):
        table, manifest = TABLES[name], _manifest(store, name)
        complete = (
            name in reloaded
            or manifest is None
            or full_reload_reason(table, manifest, now, full_every, options) is not None
        )
        if table.parent is not None:
            result[name] = _of_records(store, table, complete, records_due)
        elif table.sources[0].batch is not None:
            result[name] = _of_lines(store, table, manifest, complete, options, now)
        elif manifest is not None and not complete and table.incremental and manifest.state:
            result[name] = _of_changes(table)
        else:
            result[name] = _of_list(store, table, manifest, options)
            if keeps_deleted(table):
                more = sum(source.cost for source in table.sources if source.deletions)
                basis = (
                    f"{result[name].basis}; {name}(deleted=True) reads the lists of deletions too:"
                    f" {more} tokens at least"
                )
                result[name] = replace(result[name], basis=basis)
    return [result[name] for name in TABLES if name in result]


def _of_list(
    store: Store, table: Table, manifest: Manifest | None, options: SyncOptions
) -> Estimate:
    each = table.sources[0].each
    if each is not None:
        records = _manifest(store, each[1])
        if records is None:
            return _priced(table, [1], f"one request at least: {each[1]} are not cached")
        return _priced(table, [records.rows], f"one request for each of {records.rows:,} {each[1]}")
    if manifest is None:
        return _priced(
            table, [1] * len(table.sources), "one page of each list at least: nothing is cached"
        )
    several = len(table.sources) > 1
    lists = lists_of(table, store.read(table.name, [second_list(table)])) if several else []
    requests = [_pages(pc.sum(rows).as_py() or 0, options) for rows in lists] or [
        _pages(manifest.rows, options)
    ]
    # A list that is walked by windows is closed with one more look; so is the first of several.
    requests = [
        pages + (source.windows and pages > options.scan_pages)
        for pages, source in zip(requests, table.sources, strict=True)
    ]
    if several and table.incremental and manifest.rows and requests[0] <= options.scan_pages:
        requests[0] += 1
    return _priced(table, requests, f"every page: {manifest.rows:,} rows when last seen")


def _of_changes(table: Table) -> Estimate:
    requests = len(table.sources) + sum(source.deletions for source in table.sources)
    tokens = sum(source.cost * (1 + source.deletions) for source in table.sources)
    return Estimate(table.name, requests, tokens, "what changed: one page of each list at least")


def _of_lines(
    store: Store,
    table: Table,
    manifest: Manifest | None,
    complete: bool,
    options: SyncOptions,
    now: datetime,
) -> Estimate:
    source, (_, size) = table.sources[0], table.sources[0].batch or ("ids", 100)
    if any(
        _manifest(store, need) is None
        for need in dependencies(table.name)
        if TABLES[need].key == ("id",)
    ):
        return Estimate(
            table.name,
            None,
            None,
            f"{source.cost} tokens for each {size} deals that can have rows: none is cached",
        )
    state = dict(manifest.state) if manifest else {}
    cached = store.read(table.name, ["deal_id"]) if manifest else None
    states = NO_STATES
    if not complete:
        with contextlib.suppress(DamagedError):
            states = load_states(store, table.name)
    plan = line_items.plan_lines(
        store,
        table.name,
        cached,
        states,
        # What a full load finds of the count is taken to be as it was.
        counts_all=line_items.counts_all(state) or manifest is None,
        now=now,
    )
    is_full = not states.num_rows
    apart = is_full and table.name == "deal_products"
    groups = map(sorted, line_items.by_count(plan.deals, plan.due, cached)) if apart else [plan.due]
    rows = Counter(cached["deal_id"].to_pylist() if cached is not None else ())
    batches = [ask[start : start + size] for ask in groups for start in range(0, len(ask), size)]
    requests = sum(_pages(sum(rows[deal] for deal in batch), options) for batch in batches)
    what = (
        f"{len(plan.due):,} deals that can have rows"
        if is_full
        else f"{len(plan.due):,} deals that may have changed"
    )
    if manifest is None and table.name == "deal_products":
        what += " at least"
    return Estimate(table.name, requests, requests * source.cost, f"{what}, {size} a request")


def _of_records(
    store: Store, table: Table, complete: bool, records_due: Callable[[Table, bool], Sequence[int]]
) -> Estimate:
    parent, cost = table.required_parent, table.sources[0].cost
    if parent.every and _manifest(store, parent.table) is None:
        return Estimate(
            table.name, None, None, f"{cost} tokens for each of the {parent.table}: none is cached"
        )
    due = len(records_due(table, complete))
    if not parent.every and not due:
        return Estimate(
            table.name, 0, 0, f"asked for by id, {cost} tokens each: account.{table.name}(ids)"
        )
    return Estimate(table.name, due, due * cost, f"one request for each of {due:,} {parent.table}")


def _priced(table: Table, requests: Sequence[int], basis: str) -> Estimate:
    tokens = sum(
        number * source.cost for number, source in zip(requests, table.sources, strict=True)
    )
    return Estimate(table.name, sum(requests), tokens, basis)


def _pages(rows: int, options: SyncOptions) -> int:
    return max(1, -(-rows // options.page_size))


def _manifest(store: Store, name: str) -> Manifest | None:
    try:
        return store.manifest(name)
    except DamagedError:
        return None
