"""Which visits were known at a time, and what was known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    FIRST_COUNTABLE,
    NULL,
    check_choice,
    countable,
    micros,
    to_micros,
)
from pdframe.metrics._columns import NO_ID, plain_ids
from pdframe.metrics._states import Deleted
from pdframe.metrics._survival import Flags, Ints

VISITS = (
    "deal_id",
    "pipeline_id",
    "stage_id",
    "entered_at",
    "left_at",
    "end",
    "source",
    "seen_at",
    "entered_after",
    "left_after",
)
"""Columns of visits that say what was known when."""

NEVER = np.iinfo(np.int64).max
"""The time of what did not happen, in microseconds."""

SOURCES = ("changelog", "snapshots", "current")
CHANGELOG, SNAPSHOTS, CURRENT = range(len(SOURCES))
ENDS = ("advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open")
ADVANCED, MOVED_BACK, CHANGED_PIPELINE, WON, LOST, DELETED, OPEN = range(len(ENDS))
UNKNOWN_END = -1
_CLOSED = (WON, LOST)
_ENDED = (*_CLOSED, DELETED)


@dataclass(frozen=True, slots=True)
class KnownVisits:
    """The visits known at a time, by deal and time.

    Parameters
    ----------
    rows
        Row of each in the frame of visits.
    deal
        Id of its deal.
    entered, left
        Microseconds since 1970 UTC; `left` is `NEVER` where the deal was still there, as far as
        known.
    end
        Number in `ENDS`, `UNKNOWN_END` where it left for another stage in an unknown direction.
    seen
        When it was first seen: `entered` where it comes from the changelog.
    source
        Number in `SOURCES`.
    hidden, hidden_deal, hidden_seen
        Rows of the visits that had begun, but that no snapshot showed yet; their deals, and when
        one did.
    in_order
        Whether `rows` are all rows of the frame, in its order.
    became, became_at
        State of the deal since the visit ended (number in `ENDS`), and since when: `end` and
        `left`, except where the closed deal changed later (see `real_visits`).
    closing
        Row of the frame of visits that ends at `became_at`.
    """

    rows: Ints
    deal: Ints
    entered: Ints
    left: Ints
    end: Ints
    seen: Ints
    source: Ints
    hidden: Ints
    hidden_deal: Ints
    hidden_seen: Ints
    in_order: bool
    became: Ints
    became_at: Ints
    closing: Ints

    @property
    def exact(self) -> Flags:
        """Whether it comes from the changelog."""
        return np.asarray(self.source == CHANGELOG, np.bool_)

    @property
    def last(self) -> Flags:
        """Whether it is the last one of its deal."""
        return np.append(self.deal[1:] != self.deal[:-1], np.ones(min(len(self.deal), 1), bool))

    def of(self, values: Any) -> Any:
        """Return the values of the known visits from an array or column with one value per row of
        the frame.
        """
        return values if self.in_order else values.take(self.rows)


def visits_known_at(
    visits: pd.DataFrame, when: pd.Timestamp, tz: str, last_change: pd.Series[Any] | None = None
) -> KnownVisits:
    """Return what was known at `when` (UTC); naive times of the frame are in `tz`.

    A visit known from snapshots alone is known from the first one that shows it (`seen_at`):
    otherwise the deals that advanced before any snapshot would be missing, and the slow ones left.
    A visit from the changelog is known from its beginning. An exit after `when` has not happened. A
    move is known once the next visit is; a frame that was filtered to single stages lacks that
    visit, and then the move counts from its own time. So do a deletion, whose time is that of the
    snapshot that shows it, and a closing, whose time is the server's own.

    Parameters
    ----------
    last_change
        The last snapshot by `when` that shows a deal changed (microseconds), by deal. With it, a
        closing counts once a snapshot shows it.

    Raises
    ------
    ArgumentError
        Visits without a deal or a beginning, that end before they begin or at no time, or that
        occur twice.
    """
    limit = to_micros(when)
    entered, left, seen = (
        micros(visits[name], tz, name) for name in ("entered_at", "left_at", "seen_at")
    )
    _refuse(
        entered == NULL,
        "entered_at of visits is null in {:,} rows: every visit has a beginning. Drop them.",
    )
    source = _codes(visits["source"], SOURCES, "source", optional=False)
    exact = source == CHANGELOG
    deal = plain_ids(visits["deal_id"])
    # An exit on 31 December 9999 has not happened yet; a visit cannot begin there.
    apart = ~countable(entered) | ((left != NULL) & (left < FIRST_COUNTABLE))
    if apart.any():
        row = int(np.flatnonzero(apart)[0])
        warn(
            f"visits: {int(apart.sum()):,} visits begin or end at the edge of time (31 December"
            f" 9999, year 1) and are left out, for example one of deal {deal[row]} from"
            f" {visits['entered_at'].iloc[row]} to {visits['left_at'].iloc[row]}."
        )
    begun = (entered <= limit) & ~apart
    there = begun & (exact | (seen <= limit))
    rows = np.flatnonzero(there)
    hidden = np.flatnonzero(begun & ~there)
    hidden_deal, hidden_seen = deal[hidden], seen[hidden]
    full = len(rows) == len(deal)
    end = _codes(visits["end"], ENDS, "end")
    latest = entered[hidden]
    if not full:
        deal, entered, left, end, seen, source = (
            values[rows] for values in (deal, entered, left, end, seen, source)
        )
    _refuse(deal == NO_ID, "deal_id of visits is null in {:,} rows. Drop them.")
    _refuse(
        (left == NULL) & (end != OPEN) & (end != UNKNOWN_END),
        "left_at of visits is null in {:,} rows whose end is not open.",
    )
    still = (left > limit) | (left == NULL)
    left, end = np.where(still, NEVER, left), np.where(still, OPEN, end)
    _refuse(
        left < entered, "left_at of visits is before entered_at in {:,} rows. Correct or drop them."
    )
    ordered = _ordered(deal, entered, left)
    if not ordered:
        order = by_time(
            deal,
            entered,
            left,
            end,
            plain_ids(visits["visit"])[rows] if "visit" in visits else rows,
        )
        rows, deal, entered, left, end, seen, source = (
            values[order] for values in (rows, deal, entered, left, end, seen, source)
        )
    seen = np.where((source == CHANGELOG) | (seen == NULL), entered, seen)
    result = KnownVisits(
        rows,
        deal,
        entered,
        left,
        end,
        seen,
        source,
        hidden,
        hidden_deal,
        hidden_seen,
        full and ordered,
        end,
        left,
        rows,
    )
    _refuse_twice(visits, result)
    deleted = _moved_unseen(result, latest) if len(hidden) else np.zeros(len(left), bool)
    if last_change is not None:
        deleted |= _closed_unseen(
            result, result.of(micros(visits["left_after"], tz, "left_after")), last_change
        )
    # `became` and `became_at` are the same arrays.
    left[deleted], end[deleted] = NEVER, OPEN
    return result


def real_visits(
    visits: pd.DataFrame, when: pd.Timestamp, tz: str, deleted: Deleted = "drop"
) -> KnownVisits:
    """Return the visits in which deals were open, each with the state of the deal since then.

    A visit of no length after one that ended with a closing or a deletion is a change of a closed
    deal: of its status or its stage, its deletion or its restoration. Such a change is not a real
    visit. The state of the deal after the last of them is `became` of the visit before them: a deal
    that was lost and then set to won is won since that change; one that was only moved while it was
    won is won since its closing.

    Parameters
    ----------
    visits, when, tz
        As in `visits_known_at`.
    deleted
        A deal that was deleted after it was won or lost. "drop": none of its visits is returned
        once the deletion is known. "keep": it remains won or lost. A deal that was open when it was
        deleted keeps its visits in both; its last one became deleted.

    Raises
    ------
    ArgumentError
        As in `visits_known_at`; or `deleted` is neither.
    """
    check_choice("deleted", deleted, get_args(Deleted))
    known_visits = visits_known_at(visits, when, tz)
    change = _changes_of_closed(known_visits)
    # A change that no snapshot showed by then is not a visit either.
    unseen = _no_length(visits, known_visits.hidden, tz)
    unseen &= (
        np.isin(known_visits.hidden_deal, known_visits.deal)
        | pd.Series(known_visits.hidden_deal).duplicated().to_numpy()
    )
    if not change.any() and not unseen.any():
        return known_visits
    became, since, is_deleted = states_of_known(visits, known_visits, change)
    base = np.flatnonzero(~change)
    final = (
        np.append(base[1:], len(change))[: len(base)] - 1
    )  # the last change after each visit, or the visit itself
    there = ~unseen
    if deleted == "drop":
        over = is_deleted[final] & np.isin(became[final], _CLOSED) & known_visits.last[final]
        dropped = known_visits.deal[final[over]]
        kept = ~np.isin(known_visits.deal[base], dropped)
        base, final = base[kept], final[kept]
        there &= ~np.isin(known_visits.hidden_deal, dropped)
    closing = since[final]
    return KnownVisits(
        known_visits.rows[base],
        known_visits.deal[base],
        known_visits.entered[base],
        known_visits.left[base],
        known_visits.end[base],
        known_visits.seen[base],
        known_visits.source[base],
        known_visits.hidden[there],
        known_visits.hidden_deal[there],
        known_visits.hidden_seen[there],
        False,
        became[final],
        known_visits.left[closing],
        known_visits.rows[closing],
    )


def states_of_known(
    visits: pd.DataFrame, known_visits: KnownVisits, change: Flags | None = None
) -> tuple[Ints, Ints, Flags]:
    """Return the state of each deal at the end of each of its visits, as `states_of_visits`
    does.
    """
    change = _changes_of_closed(known_visits) if change is None else change
    stage, pipeline = (
        known_visits.of(plain_ids(visits[name])) for name in ("stage_id", "pipeline_id")
    )
    return states_of_visits(known_visits.end, change, stage, pipeline)


def states_of_visits(
    end: Ints, change: Flags, stage: Ints, pipeline: Ints
) -> tuple[Ints, Ints, Flags]:
    """Return the state of each deal at the end of each of its visits, ignoring a deletion after a
    closing.

    Parameters
    ----------
    end, change, stage, pipeline
        Of visits by deal and time: number in `ENDS`, whether it is a change of a closed deal
        (`changes_of_closed`), ids.

    Returns
    -------
    (array, array, array)
        The state (number in `ENDS`): won or lost also where it was deleted after that; the place of
        the visit since whose end it has that state; whether it was deleted after another end. A
        restoration to the same status and a move while the deal is closed are not a new closing.
    """
    count = np.arange(len(end))
    is_deleted = change & (end == DELETED)
    became = end[_last_where(~is_deleted, count)]
    same = np.zeros(len(count), bool)
    moved = (stage[1:] != stage[:-1]) | (pipeline[1:] != pipeline[:-1])
    same[1:] = change[1:] & (became[1:] == became[:-1]) & (is_deleted[1:] | is_deleted[:-1] | moved)
    return became, _last_where(~same, count), is_deleted


def _last_where(there: Flags, count: Ints) -> Ints:
    """Return the last place, up to each one, where a flag is set."""
    if there.all():
        return count
    result: Ints = np.maximum.accumulate(np.where(there, count, 0))
    return result


def by_time(deal: Ints, entered: Ints, left: Ints, end: Ints, visit: Ints) -> Ints:
    """Return the order of visits by deal and time; `left` is `NEVER` where the deal is still there.

    Of visits of no length at one instant, those that led to another stage precede a closing; of one
    stage, `visit` says which is earlier.
    """
    if _ordered(deal, entered, left, ties=False):
        return np.arange(len(deal))
    return np.lexsort((visit, np.isin(end, _ENDED), left, entered, deal))


def changes_of_closed(deal: Ints, entered: Ints, left: Ints, end: Ints) -> Flags:
    """Return which visits, by deal and time, are changes of a closed deal: of no length, after a
    closing or a deletion.
    """
    result = np.zeros(len(deal), bool)
    ended = np.isin(end, _ENDED)
    result[1:] = ended[1:] & ended[:-1] & (deal[1:] == deal[:-1]) & (left[1:] == entered[1:])
    return result


def _changes_of_closed(known_visits: KnownVisits) -> Flags:
    return changes_of_closed(
        known_visits.deal, known_visits.entered, known_visits.left, known_visits.end
    )


def _no_length(visits: pd.DataFrame, rows: Ints, tz: str) -> Flags:
    """Return which visits ended when they began, with a closing or a deletion."""
    if not len(rows):
        return np.zeros(0, bool)
    some = visits.iloc[rows]
    same = micros(some["entered_at"], tz, "entered_at") == micros(some["left_at"], tz, "left_at")
    return np.asarray(same & np.isin(_codes(some["end"], ENDS, "end"), _ENDED), np.bool_)


def on_show(visits: pd.DataFrame, when: pd.Timestamp, tz: str) -> Flags:
    """Return which visits had begun at `when` and were known."""
    limit = to_micros(when)
    entered, seen = (micros(visits[name], tz, name) for name in ("entered_at", "seen_at"))
    exact = _codes(visits["source"], SOURCES, "source", optional=False) == CHANGELOG
    return np.asarray((entered != NULL) & (entered <= limit) & (exact | (seen <= limit)), np.bool_)


def _codes(
    column: pd.Series[Any], names: tuple[str, ...], what: str, *, optional: bool = True
) -> Ints:
    """Return the number of each value among `names`, -1 for null; raise `ArgumentError` for any
    other, or for null where it is not optional.
    """
    try:
        codes, met = pd.factorize(column)
    except TypeError:
        raise ArgumentError(
            f"{what} of visits holds lists or similar values; it must be one of {', '.join(names)}."
        ) from None
    result = np.append(pd.Index(names).get_indexer(pd.Index(met)), -1).astype(np.int64)
    odd = codes[(result[codes] < 0) & ((codes >= 0) | (not optional))]
    if len(odd):
        value = met[odd[0]] if odd[0] >= 0 else None
        raise ArgumentError(
            f"{what} of visits is {value!r} in {len(odd):,} rows; it must be one of"
            f" {', '.join(names)}."
        )
    return result[codes]


def _refuse(wrong: Flags, message: str) -> None:
    if wrong.any():
        raise ArgumentError(message.format(wrong.sum()))


def _refuse_twice(visits: pd.DataFrame, known_visits: KnownVisits) -> None:
    """Raise `ArgumentError` for visits that occur twice, as after concatenating frames."""
    same = (known_visits.deal[1:] == known_visits.deal[:-1]) & (
        known_visits.entered[1:] == known_visits.entered[:-1]
    )
    pairs = np.flatnonzero(same)
    if not len(pairs) or "visit" not in visits:
        return
    for name in ("stage_id", "visit"):
        values = known_visits.of(plain_ids(visits[name]))
        pairs = pairs[values[pairs + 1] == values[pairs]]
    if len(pairs):
        raise ArgumentError(
            f"visits holds {len(pairs):,} visits twice. Pass the loader's frame, one row per visit."
        )


def _moved_unseen(known_visits: KnownVisits, latest: Ints) -> Flags:
    """Return which moves led to a visit that had begun, at the latest at `latest`, and that no
    snapshot showed.
    """
    moved = (
        known_visits.last
        & (known_visits.left != NEVER)
        & np.isin(known_visits.end, (ADVANCED, MOVED_BACK, CHANGED_PIPELINE, UNKNOWN_END))
    )
    order = np.lexsort((latest, known_visits.hidden_deal))
    deal, latest = known_visits.hidden_deal[order], latest[order]
    final = np.append(deal[1:] != deal[:-1], True)
    deal, latest = deal[final], latest[final]
    place = np.minimum(np.searchsorted(deal, known_visits.deal), len(deal) - 1)
    return np.asarray(
        moved & (deal[place] == known_visits.deal) & (latest[place] >= known_visits.left), np.bool_
    )


def _closed_unseen(
    known_visits: KnownVisits, left_after: Ints, last_change: pd.Series[Any]
) -> Flags:
    """Return which closings of a deal's last visit no snapshot showed: the last one that shows the
    deal changed is earlier.
    """
    closed: Flags = (
        known_visits.last
        & ~known_visits.exact
        & np.isin(known_visits.end, (WON, LOST))
        & (left_after == NULL)
        & (known_visits.seen < known_visits.left)
    )
    result = last_change.reindex(known_visits.deal[closed]).to_numpy(np.float64)
    closed[closed] = result < known_visits.left[closed]
    return closed


def _ordered(deal: Ints, entered: Ints, left: Ints, *, ties: bool = True) -> bool:
    """Whether visits are sorted by deal and time; with `ties`, equal ones may follow each other."""
    step = deal[1:] - deal[:-1]
    if (step < 0).any():
        return False
    same = np.flatnonzero(step == 0)
    if (entered[same + 1] < entered[same]).any():
        return False
    tied = same[entered[same + 1] == entered[same]]
    lasted = left[tied + 1] - left[tied]
    return bool((lasted >= 0 if ties else lasted > 0).all())
