"""Line items and installments, which the API gives by deal: which deals to ask for, and which answers still hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.pending import Place
from pdframe.sync.lists import Pull

# What is remembered where a count smaller than the lines that came has been seen.
LEAVES_OUT = "products_count"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which deals to ask for, and whose cached rows are void: the deals asked for and those that are gone."""

    ask: list[int]
    void: pa.Array


def basis_name(table: str) -> str:
    """Name under which the cache keeps how the deals looked when their lines were asked for."""
    return f"{table}.basis"


def deals_that_can_have(table: str, deals: pa.Table, lines: pa.Table | None, *, count_leaves_out: bool) -> set[int]:
    """The deals that can have rows in `table`.

    Line items: the deals whose `products_count` says so, or all where that count was seen to leave lines out. Installments: those with a
    one-time line and none that recurs, for an installment needs the one and never goes with the other.
    """
    if table == "deal_products":
        if count_leaves_out:
            return set(deals["id"].to_pylist())
        # A count that is missing says nothing: ask.
        return set(deals.filter(pc.fill_null(pc.greater(deals["products_count"], 0), True))["id"].to_pylist())
    if lines is None:
        return set(deals["id"].to_pylist())
    one_time = pc.fill_null(pc.equal(lines["billing_frequency"], "one-time"), True)
    return set(lines.filter(one_time)["deal_id"].to_pylist()) - set(lines.filter(pc.invert(one_time))["deal_id"].to_pylist())


def looks(deals: pa.Table, possible: set[int]) -> pa.Table:
    """One row a deal: `id` and all that tells whether its lines may have changed."""
    return pa.table(
        {
            "id": deals["id"],
            "update_time": deals["update_time"],
            "products_count": deals["products_count"],
            "possible": pa.array([deal in possible for deal in deals["id"].to_pylist()], pa.bool_()),
        }
    )


def plan(now: pa.Table, basis: pa.Table | None, cached: pa.Table | None) -> Plan:
    """Compare how the deals look with how they looked: ask for those that look different and can have rows, or have some."""
    frame = now.to_pandas().set_index("id")
    if basis is None or cached is None:
        return Plan(sorted(frame.index[frame["possible"]]), pa.array([], pa.int64()))
    with_rows = set(cached["deal_id"].to_pylist())
    # A deal that can no longer have rows but has some is asked all the same: the API has the last word.
    ask = set(frame.index[frame["possible"] | frame.index.isin(list(with_rows))]) - _same(now, basis)
    return Plan(sorted(ask), pa.array(sorted(ask | (with_rows - set(frame.index))), pa.int64()))


def take_saved(pull: Pull, saved: tuple[Place, list[pa.Table], list[pa.Table]] | None, looks: pa.Table, ask: Sequence[int]) -> set[int]:
    """Add what an interrupted pull left of the deals in `ask` that look as they did then, and return those deals."""
    if saved is None or not saved[2]:
        return set()
    place, pages, notes = saved
    answered = _same(looks, pa.concat_tables(notes)) & set(ask)
    wanted = pa.array(sorted(answered), pa.int64())
    pull.tables += [page.filter(pc.is_in(page["deal_id"], value_set=wanted)) for page in pages]
    pull.began, pull.saved = place.began, len(pages)
    return answered


def count_leaves_out(deals: pa.Table, lines: pa.Table) -> bool:
    """Whether `products_count` counts enabled lines alone: then a deal that counts none may have (disabled) lines too."""
    counted = pd.Series(deals["products_count"].to_pandas().to_numpy("float64", na_value=float("nan")), index=deals["id"].to_pandas())
    found = lines["deal_id"].to_pandas().value_counts()
    on = lines.filter(pc.fill_null(lines["is_enabled"], True))["deal_id"].to_pandas().value_counts().reindex(found.index, fill_value=0)
    counted, off = counted.reindex(found.index), on < found
    # More lines than counted is not enough: one may have been added between the two looks.
    return bool((off & (counted == on)).any() and not (off & (counted == found)).any())


def _same(now: pa.Table, before: pa.Table) -> set[int]:
    """The deals that look as they did before."""
    frame, old = now.to_pandas().set_index("id"), before.to_pandas().drop_duplicates("id", keep="last").set_index("id")
    old = old.reindex(frame.index)
    same = old["possible"].notna()
    for column in frame:
        same &= (frame[column] == old[column]) | (frame[column].isna() & old[column].isna())
    return set(frame.index[same])
