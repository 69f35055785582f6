"""Price plans: how many requests and tokens they take, as far as the cache shows. Nothing is
requested.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow.compute as pc

from pdframe.cache.deleted_deals import WITH_DELETED, DeletedDeals
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError
from pdframe.fields import Field
from pdframe.schema import TABLES, Table
from pdframe.sync import line_items
from pdframe.sync.fetch_state import NO_STATES, load_states
from pdframe.sync.options import SyncOptions
from pdframe.sync.plan import (
    Plan,
    Policy,
    in_order,
    lists_of,
    plan,
    required_rows,
    second_list,
    skip_note,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Requests and tokens that a sync of one table takes; None where the cache does not show it."""

    table: str
    requests: int | None
    tokens: int | None
    basis: str


class Pricing:
    """Price the plans of a sync.

    Parameters
    ----------
    store
        The cache.
    policy, now
        What the sync must reload and may leave, and this machine's clock.
    fields
        Returns the field metadata of a table.
    records_due
        Returns the records of a table that would be requested one by one: those that may have
        changed, or for a full load all of them.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        now: datetime,
        *,
        fields: Callable[[Table], Sequence[Field]],
        records_due: Callable[[Table, bool], Sequence[int]],
    ) -> None:
        self._store = store
        self._policy = policy
        self._options: SyncOptions = policy.options
        self._now = now
        self._fields = fields
        self._records_due = records_due

    def estimate(self, names: Iterable[str]) -> list[Estimate]:
        """Return one row a table that a sync of `names` would touch, in the order of the schema."""
        order = in_order(names)
        result = {name: self._priced(TABLES[name]) for name in order}
        return [result[name] for name in TABLES if name in result]

    def _priced(self, table: Table) -> Estimate:
        manifest = self._store.usable_manifest(table.name)
        note = skip_note(table.name, manifest, self._policy, self._now)
        if note is not None:
            return Estimate(table.name, 0, 0, note)
        planned = self._plan(table, manifest)
        if table.parent is not None:
            return self._of_records(table, planned)
        if table.sources[0].batch is not None:
            return self._of_lines(table, manifest, planned)
        if planned.mode == "incremental":
            return self._of_changes(table, planned)
        result = self._of_list(table, manifest)
        if table.name not in WITH_DELETED:
            return result
        more = sum(source.cost for source in table.sources if source.deletions)
        return replace(
            result,
            basis=f"{result.basis}; {table.name}(deleted=True) reads the lists of deletions too:"
            f" {more} tokens at least",
        )

    def _plan(self, table: Table, manifest: Manifest | None) -> Plan:
        return plan(
            table,
            manifest,
            self._policy,
            self._now,
            schema=self._store.schema(table.name) if manifest is not None else None,
            fields=self._fields(table),
            deletions_merged_at=(
                DeletedDeals(self._store).listed_at(merged=True)
                if table.name in WITH_DELETED
                else None
            ),
        )

    def _of_list(self, table: Table, manifest: Manifest | None) -> Estimate:
        each = table.sources[0].each
        if each is not None:
            records = self._store.usable_manifest(each[1])
            if records is None:
                return _of(table, [1], f"one request at least: {each[1]} are not cached")
            return _of(table, [records.rows], f"one request for each of {records.rows:,} {each[1]}")
        if manifest is None:
            basis = "one page of each list at least: nothing is cached"
            return _of(table, [1] * len(table.sources), basis)
        several, scan_pages = len(table.sources) > 1, self._options.scan_pages
        lists = (
            lists_of(table, self._store.read(table.name, [second_list(table)])) if several else []
        )
        requests = [self._pages(pc.sum(rows).as_py() or 0) for rows in lists] or [
            self._pages(manifest.rows)
        ]
        # A list that is read by ranges ends with one more request; so does the first of several.
        requests = [
            pages + (source.windows and pages > scan_pages)
            for pages, source in zip(requests, table.sources, strict=True)
        ]
        if several and table.incremental and manifest.rows and requests[0] <= scan_pages:
            requests[0] += 1
        return _of(table, requests, f"every page: {manifest.rows:,} rows at the last sync")

    def _of_changes(self, table: Table, planned: Plan) -> Estimate:
        requests = [1 + (source.deletions and planned.reads_deletions) for source in table.sources]
        return _of(table, requests, "what changed: one page of each list at least")

    def _of_lines(self, table: Table, manifest: Manifest | None, planned: Plan) -> Estimate:
        source, (_, size) = table.sources[0], table.sources[0].batch or ("ids", 100)
        if any(self._store.usable_manifest(name) is None for name in required_rows(table.name)):
            return Estimate(
                table.name,
                None,
                None,
                f"{source.cost} tokens for each {size} deals that can have rows: none is cached",
            )
        state = dict(manifest.state) if manifest else {}
        cached = self._store.read(table.name, ["deal_id"]) if manifest else None
        states = NO_STATES
        if planned.mode == "incremental":
            with contextlib.suppress(DamagedError):
                states = load_states(self._store, table.name)
        batches = line_items.plan_lines(
            self._store,
            table.name,
            cached,
            states,
            # A full load is expected to find that the count means what it meant before.
            counts_all=line_items.counts_all(state) or manifest is None,
            now=self._now,
        )
        is_full = not states.num_rows
        in_two_steps = is_full and table.name == "deal_products"
        groups = (
            map(sorted, line_items.by_count(batches.deals, batches.due, cached))
            if in_two_steps
            else [batches.due]
        )
        rows = Counter(cached["deal_id"].to_pylist() if cached is not None else ())
        requests = sum(
            self._pages(sum(rows[deal] for deal in ask[start : start + size]))
            for ask in groups
            for start in range(0, len(ask), size)
        )
        which = "that can have rows" if is_full else "that may have changed"
        what = f"{len(batches.due):,} deals {which}"
        if manifest is None and table.name == "deal_products":
            what += " at least"
        return _of(table, [requests], f"{what}, {size} a request")

    def _of_records(self, table: Table, planned: Plan) -> Estimate:
        parent, cost = table.required_parent, table.sources[0].cost
        if parent.every and self._store.usable_manifest(parent.table) is None:
            basis = f"{cost} tokens for each of the {parent.table}: none is cached"
            return Estimate(table.name, None, None, basis)
        due = len(self._records_due(table, planned.mode == "full"))
        if not parent.every and not due:
            basis = f"requested by id, {cost} tokens each: account.{table.name}(ids)"
            return Estimate(table.name, 0, 0, basis)
        return _of(table, [due], f"one request for each of {due:,} {parent.table}")

    def _pages(self, rows: int) -> int:
        return max(1, -(-rows // self._options.page_size))


def _of(table: Table, requests: Sequence[int], basis: str) -> Estimate:
    tokens = sum(
        number * source.cost for number, source in zip(requests, table.sources, strict=True)
    )
    return Estimate(table.name, sum(requests), tokens, basis)
