"""Line items and installments, which the API gives by deal: which deals to ask for, and which
answers still hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.checkpoint import CheckpointState
from pdframe.cache.sorted_runs import SortedRun
from pdframe.cache.store import Manifest, Store
from pdframe.errors import DamagedError
from pdframe.sync.fetch_result import FetchResult

# What is remembered where a deal has shown that its count leaves no line out.
COUNTS = "products_count"
COUNTS_ALL = "counts disabled lines"
# Once the server's clock has moved on by so much, the second of a stamp is over.
A_SECOND = timedelta(seconds=2)
# What must be known of all lines at once.
SHOWN = ("id", "deal_id", "is_enabled")
_COMPARED = ("update_time", "products_count", "possible")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which deals to ask for, and whose cached rows are void: the deals asked for and those that
    are gone.
    """

    ask: list[int]
    void: pa.Array


@dataclass(frozen=True, slots=True)
class Known:
    """What tells which deals can have lines: the cached deals, and for installments the line
    items.
    """

    deals: pa.Table
    items: pa.Table | None


@dataclass(frozen=True, slots=True)
class Basis:
    """How the deals looked when their lines were asked for, and the server's time of that."""

    snapshots: pa.Table
    server_time: datetime | None


def known(store: Store, table: str) -> Known:
    """What is cached of the tables that `table` rests on."""
    items = (
        store.read("deal_products", ["deal_id", "billing_frequency"])
        if table != "deal_products"
        else None
    )
    return Known(store.read("deals", ["id", "update_time", "products_count"]), items)


def requested(
    table: str, known: Known, basis: Basis | None, cached: pa.Table | None, *, counts_all: bool
) -> tuple[pa.Table, Plan]:
    """How the deals look now, and which of them to ask for."""
    snapshots = _snapshots(
        known.deals, deals_that_can_have(table, known.deals, known.items, counts_all=counts_all)
    )
    return snapshots, plan(snapshots, basis.snapshots if basis else None, cached)


def basis(store: Store, table: str) -> Basis | None:
    """How the deals looked when their lines were asked for; None where that is not known."""
    try:
        manifest = store.manifest(basis_name(table))
        snapshots = store.read(basis_name(table)) if manifest else None
    except DamagedError:
        return None
    # Looks of an older version do not tell enough.
    return (
        Basis(snapshots, manifest.server_time)
        if manifest and snapshots is not None and "unsettled" in snapshots.column_names
        else None
    )


def keep_basis(
    store: Store, table: str, snapshots: pa.Table, began: datetime, server_time: datetime | None
) -> None:
    """Keep how the deals looked when their lines were asked for, and the server's time of that."""
    name = basis_name(table)
    try:
        number = before.next_part if (before := store.manifest(name)) else 1
    except DamagedError:
        number = 1
    store.replace(Manifest(name, (), 0, began, began, server_time, next_part=number), snapshots)


def settled(
    snapshots: pa.Table, before: Basis | None, ask: Collection[int], server_time: datetime | None
) -> pa.Table:
    """Looks, where what was asked for again after the second of its stamp is no longer in doubt."""
    if before is None:
        return snapshots
    sure = _same(snapshots, before.snapshots)
    if before.server_time and server_time and server_time - before.server_time >= A_SECOND:
        sure |= _alike(snapshots, before.snapshots) & set(ask)
    doubted = pc.and_(
        snapshots["unsettled"],
        pc.invert(pc.is_in(snapshots["id"], value_set=pa.array(sorted(sure), pa.int64()))),
    )
    return snapshots.set_column(snapshots.column_names.index("unsettled"), "unsettled", doubted)


def counts_all(state: Mapping[str, str]) -> bool:
    """Whether `products_count` is known to count disabled lines as well."""
    return state.get(COUNTS) == COUNTS_ALL


def proven_since(store: Store, table: str, began: datetime) -> datetime:
    """Since when a load of all lines proves completeness: no later than the tables do that tell
    which deals have any.
    """
    manifests = [
        store.manifest(need)
        for need in ("deals", *(("deal_products",) if table != "deal_products" else ()))
    ]
    return min(began, *(manifest.full_at for manifest in manifests if manifest is not None))


def removed(cached: pa.Table, received: pa.Array, void: pa.Array, key: str) -> list[int]:
    """The cached lines of some deals that did not come again."""
    voided = pc.is_in(cached["deal_id"], value_set=void)
    ids: list[int] = cached.filter(
        pc.and_(voided, pc.invert(pc.is_in(cached[key], value_set=received)))
    )[key].to_pylist()
    return ids


def basis_name(table: str) -> str:
    """Name under which the cache keeps how the deals looked when their lines were asked for."""
    return f"{table}.basis"


def deals_that_can_have(
    table: str, deals: pa.Table, lines: pa.Table | None, *, counts_all: bool
) -> set[int]:
    """The deals that can have rows in `table`.

    Line items: the deals whose `products_count` says so, or all as long as it is not known to count
    disabled lines. Installments: those with a one-time line and none that recurs, for an
    installment needs the one and never goes with the other.
    """
    if table == "deal_products":
        return deals_that_count_some(deals) if counts_all else set(deals["id"].to_pylist())
    if lines is None:
        return set(deals["id"].to_pylist())
    one_time = pc.fill_null(pc.equal(lines["billing_frequency"], "one-time"), True)
    return set(lines.filter(one_time)["deal_id"].to_pylist()) - set(
        lines.filter(pc.invert(one_time))["deal_id"].to_pylist()
    )


def deals_that_count_some(deals: pa.Table) -> set[int]:
    """The deals whose `products_count` is not 0; one that is missing says nothing."""
    return set(
        deals.filter(pc.fill_null(pc.greater(deals["products_count"], 0), True))["id"].to_pylist()
    )


def by_count(
    deals: pa.Table, ask: Sequence[int], cached: pa.Table | None
) -> tuple[set[int], set[int]]:
    """The deals to ask for, apart: those that count lines or had some, and those that can only have
    lines that are not counted.
    """
    some = deals_that_count_some(deals) | set(
        cached["deal_id"].to_pylist() if cached is not None else ()
    )
    return set(ask) & some, set(ask) - some


def _snapshots(deals: pa.Table, possible: set[int]) -> pa.Table:
    """One row a deal: `id`, all that tells whether its lines may have changed, and whether they may
    without a sign.

    What happens to a deal later in the second of its stamp leaves none. It can only be one of those
    that changed last: they are `unsettled`, and asked for again until that second is over.
    """
    newest = pc.equal(deals["update_time"], pc.max(deals["update_time"]))
    return pa.table(
        {
            "id": deals["id"],
            "update_time": deals["update_time"],
            "products_count": deals["products_count"],
            "possible": pa.array(
                [deal in possible for deal in deals["id"].to_pylist()], pa.bool_()
            ),
            "unsettled": pc.fill_null(newest, False),
        }
    )


def plan(now: pa.Table, basis: pa.Table | None, cached: pa.Table | None) -> Plan:
    """Compare how the deals look with how they looked: ask for those that look different and can
    have rows, or have some.
    """
    frame = now.to_pandas().set_index("id")
    # A row whose deal could not be read is of none.
    with_rows = set(cached["deal_id"].drop_null().to_pylist()) if cached is not None else set()
    # A deal that can no longer have rows but has some is asked all the same: the API has the last
    # word.
    ask = set(frame.index[frame["possible"] | frame.index.isin(list(with_rows))])
    if basis is None or cached is None:
        return Plan(sorted(ask), pa.array([], pa.int64()))
    ask -= _same(now, basis)
    return Plan(sorted(ask), pa.array(sorted(ask | (with_rows - set(frame.index))), pa.int64()))


def take_saved(
    pull: FetchResult, saved: CheckpointState | None, snapshots: pa.Table, ask: Sequence[int]
) -> set[int]:
    """Add what an interrupted pull left of the deals in `ask` that look as they did then, and
    return those deals.
    """
    notes = [*saved.reported, *saved.notes] if saved else []
    answered = _same(snapshots, pa.concat_tables(notes)) & set(ask) if notes else set()
    if saved is None or not answered:
        return set()
    pull.began, pull.resumed_pages, pull.fetched_since = (
        saved.place.began,
        saved.count,
        saved.place.server_time,
    )
    pull.problems.merge(saved.place.problems)
    # A deal that was asked for again, as it looked different by then, has old lines in what came
    # before.
    later: set[int] = set()
    for covered, note in reversed([*zip([*saved.runs, *saved.pages], notes, strict=True)]):
        deals = set(note["id"].to_pylist())
        wanted = pa.array(sorted((deals & answered) - later), pa.int64())
        later |= deals
        if isinstance(covered, SortedRun):
            pull.runs.insert(0, covered.only("deal_id", wanted))
        else:
            pull.pages.insert(0, covered.filter(pc.is_in(covered["deal_id"], value_set=wanted)))
            pull.notes.insert(0, note.filter(pc.is_in(note["id"], value_set=wanted)))
    pull.buffered_bytes = sum(rows.nbytes for rows in pull.pages)
    return answered


def leaves_out(deals: pa.Table, lines: pa.Table) -> bool | None:
    """Whether `products_count` leaves disabled lines out, as the deals that have some tell; None:
    none does.

    Where it does, a deal that counts none may have (disabled) lines too.
    """
    counted = pd.Series(
        deals["products_count"].to_pandas().to_numpy("float64", na_value=float("nan")),
        index=deals["id"].to_pandas(),
    )
    result = lines["deal_id"].to_pandas().value_counts()
    on = (
        lines.filter(pc.fill_null(lines["is_enabled"], True))["deal_id"]
        .to_pandas()
        .value_counts()
        .reindex(result.index, fill_value=0)
    )
    counted, off = counted.reindex(result.index), on < result
    # More lines than counted is not enough: one may have been added between the two looks.
    votes, against = (off & (counted == on)).sum(), (off & (counted == result)).sum()
    # A line that was disabled between the two looks votes wrongly; where that leaves it open,
    # asking for too many deals loses nothing.
    return bool(votes >= against) if votes or against else None


def _same(now: pa.Table, before: pa.Table) -> set[int]:
    """The deals that look as they did before, and cannot have changed without a sign."""
    return _alike(now, before.filter(pc.invert(before["unsettled"])))


def _alike(now: pa.Table, before: pa.Table) -> set[int]:
    """The deals that look as they did before."""
    frame, old = (
        now.to_pandas().set_index("id"),
        before.to_pandas().drop_duplicates("id", keep="last").set_index("id"),
    )
    old = old.reindex(frame.index)
    same = old["possible"].notna()
    for column in _COMPARED:
        same &= (frame[column] == old[column]) | (frame[column].isna() & old[column].isna())
    return set(frame.index[same])
