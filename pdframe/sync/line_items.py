"""Sync line items and installments, which the API gives by deal: the children of deals, up to 100
deals a request.

Which deals are due is decided in `plan`, as for all children. This module knows which deals
can have rows at all: requests for the others are saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.checkpoint import Checkpoint, Position
from pdframe.cache.store import Store
from pdframe.frames import storage_schema
from pdframe.sync.fetch import Fetcher, FetchResult, stage_page
from pdframe.sync.fetch_state import (
    NO_STATES,
    Want,
    fingerprints_of,
    keep_parents,
    newest_states,
    states_of_batch,
)
from pdframe.sync.plan import CHILDREN_RESUMABLE_FOR, due_parents, resume_position

# A state of the manifest: a deal has shown that its count leaves no line out.
COUNTS = "products_count"
COUNTS_ALL = "counts disabled lines"
PARENT_ID = "deal_id"
# What must be known of all lines at once.
SHOWN = ("id", PARENT_ID, "is_enabled")


@dataclass(frozen=True, slots=True)
class LinePlan:
    """Which deals can have rows, and which of them to fetch.

    Parameters
    ----------
    deals
        `id` and `products_count` of the cached deals.
    fingerprints
        Their fingerprints.
    possible
        The deals that can have rows, or have some.
    due
        Those whose rows are to fetch.
    """

    deals: pa.Table
    fingerprints: pa.Table
    possible: list[int]
    due: list[int]


def plan_lines(
    store: Store,
    table: str,
    cached: pa.Table | None,
    states: pa.Table,
    *,
    counts_all: bool,
    began: datetime | None = None,
    now: datetime,
) -> LinePlan:
    """Plan a fetch of line items or installments.

    Parameters
    ----------
    store, table
        The cache, and the name of the table.
    cached
        `deal_id` of the cached rows; None: none are cached.
    states
        The fetch states of deals; none where all rows are to fetch.
    counts_all
        Whether `products_count` is known to count disabled lines as well.
    began
        When the fetch began that this one resumes; None: it resumes none.
    now
        This machine's clock.
    """
    columns = ["update_time", "products_count"]
    deals = store.read("deals", ["id", *columns])
    if table == "deal_products":
        can_have = deals_that_count_some(deals) if counts_all else set(deals["id"].to_pylist())
    else:
        lines = store.read("deal_products", [PARENT_ID, "billing_frequency"])
        can_have = _deals_that_can_have_installments(lines)
        # A line can change its frequency without a sign on its deal.
        values = pa.array([deal in can_have for deal in deals["id"].to_pylist()], pa.bool_())
        deals, columns = deals.append_column("possible", values), [*columns, "possible"]
    # A deal that can no longer have rows but has some is requested too: the API has the last word.
    # A row without a readable deal belongs to none.
    with_rows = set(cached[PARENT_ID].drop_null().to_pylist()) if cached is not None else set()
    possible = sorted((can_have | with_rows) & set(deals["id"].to_pylist()))
    fingerprints, want = fingerprints_of(deals, columns), Want(None, now=True, listed=True)
    due = due_parents(possible, states, fingerprints, want, began=began, now=now)
    return LinePlan(deals, fingerprints, possible, due)


class LineItemsScan:
    """Fetch the lines of the deals that are due.

    Parameters
    ----------
    fetcher, store
        Fetches batches of deals, and the cache.
    checkpoint
        Where batches are staged.
    now
        This machine's clock.

    Attributes
    ----------
    states : pa.Table
        The fetch states of all deals that can have lines, after the fetch.
    """

    def __init__(
        self, fetcher: Fetcher, store: Store, checkpoint: Checkpoint, now: Callable[[], datetime]
    ) -> None:
        self.fetcher = fetcher
        self.store = store
        self.checkpoint = checkpoint
        self.now = now
        self.table = fetcher.table
        self.states = NO_STATES

    def fetch(
        self, cached: pa.Table | None, before: pa.Table | None, watermarks: dict[str, str]
    ) -> FetchResult:
        """Fetch the lines of deals whose fingerprint changed, or of all that can have lines.

        Parameters
        ----------
        cached
            Key and `deal_id` of the cached lines; None: none are cached.
        before
            The fetch states of deals; None: fetch all lines.
        watermarks
            The state of the manifest.
        """
        name, fetched = self.table.name, FetchResult(self.now(), watermarks=watermarks)
        saved = self.checkpoint.load()
        resumed = resume_position(saved, self.now(), CHILDREN_RESUMABLE_FOR)
        if saved is not None and resumed is None:
            self.checkpoint.drop()
            saved = None
        began = resumed.began if resumed else None
        self.states = newest_states(before or NO_STATES, *(saved.states if saved else ()))
        plan = plan_lines(
            self.store,
            name,
            cached,
            self.states,
            counts_all=counts_all(watermarks),
            began=began,
            now=self.now(),
        )
        # What was staged of deals that are due, or can no longer have lines, is old.
        usable = {*plan.possible}.difference(plan.due)
        outdated = set(self.states["id"].to_pylist()).difference(usable)
        staged = fetched.resume_children(saved, outdated, PARENT_ID)
        self.states = newest_states(before or NO_STATES, staged)
        replaced = {*plan.due, *staged["id"].to_pylist()}
        if name == "deal_products" and before is None:
            # Those that count some lines may show whether the others can have any.
            first, others = by_count(plan.deals, plan.due, cached)
            self._fetch_deals(first, plan.fingerprints, fetched)
            are_left_out = leaves_out(plan.deals, self._lines(fetched))
            if others and are_left_out is not False:
                self._fetch_deals(others, plan.fingerprints, fetched)
                are_left_out = leaves_out(plan.deals, self._lines(fetched))
            if are_left_out is False:
                watermarks[COUNTS] = COUNTS_ALL
        else:
            self._fetch_deals(plan.due, plan.fingerprints, fetched)
            if counts_all(watermarks) and leaves_out(plan.deals, self._lines(fetched)):
                # The count leaves lines out: request the other deals too.
                del watermarks[COUNTS]
                plan = plan_lines(
                    self.store,
                    name,
                    cached,
                    self.states,
                    counts_all=False,
                    began=fetched.began,
                    now=self.now(),
                )
                self._fetch_deals(plan.due, plan.fingerprints, fetched)
                replaced.update(plan.due)
        if cached is not None and before is not None:
            fetched.deleted = self._removed(cached, plan.deals, replaced, fetched)
        self.states = keep_parents(self.states, pa.array(plan.possible, pa.int64()))
        return fetched

    def _fetch_deals(
        self, deals: Iterable[int], fingerprints: pa.Table, fetched: FetchResult
    ) -> None:
        """Fetch the lines of deals, and stage them batch by batch."""
        before, fetched_states = self.states, []
        batches = self.fetcher.fetch_batches(sorted(deals), fetched, self.now)
        for batch, rows, fetched_at, server_time in batches:
            states = states_of_batch(
                batch,
                fingerprints,
                before,
                fetched_at=[fetched_at] * len(batch),
                server_times=[server_time] * len(batch),
                exists=[True] * len(batch),
            )
            fetched_states.append(states)
            since = fetched.fetched_since or fetched.server_time
            position = Position(fetched.began, server_time=since, problems=fetched.problems)
            options = self.fetcher.options
            stage_page(self.checkpoint, fetched, rows, position, states, options=options)
        self.states = newest_states(before, *fetched_states)

    def _lines(self, fetched: FetchResult) -> pa.Table:
        """Return what must be known of all lines that were fetched."""
        shown = [name for name in SHOWN if name in self.table.by_name]
        nothing = storage_schema(self.table, self.fetcher.fields).empty_table().select(shown)
        return pa.concat_tables([nothing, *fetched.columns(shown)])

    def _removed(
        self, cached: pa.Table, deals: pa.Table, replaced: set[int], fetched: FetchResult
    ) -> list[int]:
        """Return the cached lines of deals that were fetched or deleted, which are not among the
        lines that were fetched.
        """
        key = self.table.key[0]
        is_known = pc.is_in(cached[PARENT_ID], value_set=deals["id"].combine_chunks())
        is_replaced = pc.is_in(cached[PARENT_ID], value_set=pa.array(sorted(replaced), pa.int64()))
        is_deleted = pc.and_(pc.is_valid(cached[PARENT_ID]), pc.invert(is_known))
        is_fetched = pc.is_in(cached[key], value_set=self._lines(fetched)[key].combine_chunks())
        removed: list[int] = cached.filter(
            pc.and_(pc.or_(is_replaced, is_deleted), pc.invert(is_fetched))
        )[key].to_pylist()
        return removed


def counts_all(state: Mapping[str, str]) -> bool:
    """Whether `products_count` is known to count disabled lines as well."""
    return state.get(COUNTS) == COUNTS_ALL


def complete_since(store: Store, table: str, began: datetime) -> datetime:
    """Return since when a load of all lines is complete: no later than the tables are that show
    which deals have any.
    """
    names = ("deals",) if table == "deal_products" else ("deals", "deal_products")
    manifests = [store.manifest(name) for name in names]
    return min(began, *(manifest.full_at for manifest in manifests if manifest is not None))


def deals_that_count_some(deals: pa.Table) -> set[int]:
    """Return the deals whose `products_count` is not 0; one that is missing says nothing."""
    return set(
        deals.filter(pc.fill_null(pc.greater(deals["products_count"], 0), True))["id"].to_pylist()
    )


def by_count(
    deals: pa.Table, due: Sequence[int], cached: pa.Table | None
) -> tuple[set[int], set[int]]:
    """Split deals into those that count lines or had some, and those that can only have lines that
    are not counted.
    """
    had = set(cached[PARENT_ID].to_pylist()) if cached is not None else set()
    some = deals_that_count_some(deals) | had
    return set(due) & some, set(due) - some


def leaves_out(deals: pa.Table, lines: pa.Table) -> bool | None:
    """Whether `products_count` leaves disabled lines out, as the deals that have some show; None:
    none does.

    Where it does, a deal that counts none may have (disabled) lines too.
    """
    counted = pd.Series(
        deals["products_count"].to_pandas().to_numpy("float64", na_value=float("nan")),
        index=deals["id"].to_pandas(),
    )
    fetched = lines[PARENT_ID].to_pandas().value_counts()
    enabled = (
        lines.filter(pc.fill_null(lines["is_enabled"], True))[PARENT_ID]
        .to_pandas()
        .value_counts()
        .reindex(fetched.index, fill_value=0)
    )
    counted, has_disabled = counted.reindex(fetched.index), enabled < fetched
    # More lines than counted is not enough: one may have been added between the two requests.
    votes = (has_disabled & (counted == enabled)).sum()
    against = (has_disabled & (counted == fetched)).sum()
    # A line that was disabled between the two requests votes wrongly; where that leaves it open,
    # asking for too many deals loses nothing.
    return bool(votes >= against) if votes or against else None


def _deals_that_can_have_installments(lines: pa.Table) -> set[int]:
    """Return the deals with a one-time line and none that recurs: an installment needs the one, and
    never goes with the other.
    """
    is_one_time = pc.fill_null(pc.equal(lines["billing_frequency"], "one-time"), True)
    one_time, recurring = (
        set(lines.filter(mask)[PARENT_ID].to_pylist())
        for mask in (is_one_time, pc.invert(is_one_time))
    )
    return one_time - recurring
