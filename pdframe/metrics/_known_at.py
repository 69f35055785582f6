"""Which stays were known at a time, and what of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import FIRST_COUNTABLE, NULL, countable, micros, to_micros, warn
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
"""Columns of visits that tell what was known when."""

NEVER = np.iinfo(np.int64).max
"""The time, in microseconds, of what did not happen."""

SOURCES = ("changelog", "snapshots", "current")
CHANGELOG, SNAPSHOTS, CURRENT = range(len(SOURCES))
ENDS = ("advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open")
ADVANCED, MOVED_BACK, CHANGED_PIPELINE, WON, LOST, DELETED, OPEN = range(len(ENDS))
UNKNOWN_END = -1
_CLOSED = (WON, LOST)
_ENDED = (*_CLOSED, DELETED)


@dataclass(frozen=True, slots=True)
class Known:
    """The stays known at a time, by deal and time.

    Parameters
    ----------
    rows
        Where each is in the frame of visits.
    deal
        Id of its deal.
    entered, left
        Microseconds since 1970 UTC; `left` is `NEVER` where the deal was still there, as far as was
        known.
    end
        Number in `ENDS`, `UNKNOWN_END` where it left for another stage and nothing tells whether
        forward or back.
    seen
        When it was first seen: `entered` where the changelog tells it.
    source
        Number in `SOURCES`.
    hidden, hidden_deal, hidden_seen
        Rows of the stays that had begun, but that no look had found yet; their deals, and when one
        did.
    in_order
        Whether `rows` are all rows of the frame, in its order.
    became, became_at
        How the deal stands since the stay ended (number in `ENDS`), and since when: `end` and
        `left`, except where `visited` found that the closed deal changed later.
    closing
        Row of the frame of visits that tells `became_at`.
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
        """Whether the changelog tells it."""
        return np.asarray(self.source == CHANGELOG, np.bool_)

    @property
    def last(self) -> Flags:
        """Whether it is its deal's last."""
        return np.append(self.deal[1:] != self.deal[:-1], np.ones(min(len(self.deal), 1), bool))

    def of(self, values: Any) -> Any:
        """What an array or column, one value a row of the frame, holds of the known stays."""
        return values if self.in_order else values.take(self.rows)


def known(
    visits: pd.DataFrame, when: pd.Timestamp, tz: str, observed: pd.Series[Any] | None = None
) -> Known:
    """Leave out what was not known at `when` (UTC); naive times of the frame are in `tz`.

    A stay that only looks tell is known from the first look that found it (`seen_at`): without
    that, the deals that moved on before anybody looked would be missing, and the slow ones left. A
    stay that the changelog tells is known from its beginning. An exit after `when` had not
    happened. A move is known once the stay that it led to is; a frame that was cut down to single
    stages does not hold that one, and then the move counts from its own time. So do a deletion,
    whose time is that of the look that found it, and a closing, whose time is the server's own
    stamp.

    Parameters
    ----------
    looked
        The last look by `when` that found a deal changed (microseconds), by deal. With it, a
        closing counts once a look had found it.

    Raises
    ------
    ArgumentError
        Stays without a deal or a beginning, that end before they begin, or at no time, or that come
        twice.
    """
    limit = to_micros(when)
    entered, left, seen = (
        micros(visits[name], tz, name) for name in ("entered_at", "left_at", "seen_at")
    )
    _refuse(
        entered == NULL,
        "entered_at of visits is null in {:,} rows: a stay begins somewhere. Drop them.",
    )
    source = _codes(visits["source"], SOURCES, "source", optional=False)
    exact = source == CHANGELOG
    deal = plain_ids(visits["deal_id"])
    # An exit on 31 December 9999 is one that did not happen yet; a stay cannot begin there.
    apart = ~countable(entered) | ((left != NULL) & (left < FIRST_COUNTABLE))
    if apart.any():
        row = int(np.flatnonzero(apart)[0])
        warn(
            f"visits: {int(apart.sum()):,} stays begin or end at the edge of time (31 December"
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
    result = Known(
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
    if observed is not None:
        deleted |= _closed_unseen(
            result, result.of(micros(visits["left_after"], tz, "left_after")), observed
        )
    # `became` and `became_at` are the same arrays.
    left[deleted], end[deleted] = NEVER, OPEN
    return result


def visited(visits: pd.DataFrame, when: pd.Timestamp, tz: str, deleted: Deleted = "drop") -> Known:
    """Return the stays in which deals were open, each with how the deal stands since.

    A stay of no length after one that ended with a closing or a deletion is a change of a closed
    deal: of its status, its stage, its deletion or its restoration. Such a change is no visit. What
    the deal has become by the last of them is `became` of the visit before them: a deal that was
    lost and then set to won is won since that change; one that was only moved while it was won is
    won since before.

    Parameters
    ----------
    visits, when, tz
        As in `known`.
    deleted
        A deal that was deleted after it was won or lost. "drop": none of its stays is returned once
        the deletion is known. "keep": it stays won or lost. A deal that was open when it was
        deleted keeps its stays in both; its last one became deleted.

    Raises
    ------
    ArgumentError
        As in `known`; or `deleted` is neither.
    """
    if not isinstance(deleted, str) or deleted not in get_args(Deleted):
        raise ArgumentError(
            f"deleted is one of {', '.join(map(repr, get_args(Deleted)))}, not {deleted!r}."
        )
    known_visits = known(visits, when, tz)
    change = _changes_of_closed(known_visits)
    # A change that no look had found by then is no visit either.
    unseen = _no_length(visits, known_visits.hidden, tz)
    unseen &= (
        np.isin(known_visits.hidden_deal, known_visits.deal)
        | pd.Series(known_visits.hidden_deal).duplicated().to_numpy()
    )
    if not change.any() and not unseen.any():
        return known_visits
    became, since, is_deleted = standing(visits, known_visits, change)
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
    return Known(
        known_visits.rows[base], known_visits.deal[base], known_visits.entered[base], known_visits.left[base], known_visits.end[base], known_visits.seen[base], known_visits.source[base],
        known_visits.hidden[there], known_visits.hidden_deal[there], known_visits.hidden_seen[there], False, became[final], known_visits.left[closing],
        known_visits.rows[closing],
    )  # fmt: skip


def standing(
    visits: pd.DataFrame, known_visits: Known, change: Flags | None = None
) -> tuple[Ints, Ints, Flags]:
    """Return what each deal was at the end of each of its stays, as `stands` has it."""
    change = _changes_of_closed(known_visits) if change is None else change
    stage, pipeline = (
        known_visits.of(plain_ids(visits[name])) for name in ("stage_id", "pipeline_id")
    )
    return stands(known_visits.end, change, stage, pipeline)


def stands(end: Ints, change: Flags, stage: Ints, pipeline: Ints) -> tuple[Ints, Ints, Flags]:
    """Return what each deal was at the end of each of its stays, a deletion after a closing aside.

    Parameters
    ----------
    end, change, stage, pipeline
        Of stays by deal and time: number in `ENDS`, whether it is a change of a closed deal
        (`changes_of_closed`), ids.

    Returns
    -------
    (array, array, array)
        How it stood (number in `ENDS`): won or lost also where it was deleted after that; the place
        of the stay since whose end it stands so; whether it was deleted after it had ended
        otherwise. A restoration to the same status and a move while the deal is closed are no new
        closing.
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
    """Return the order of stays by deal and time; `left` is `NEVER` where the deal is still there.

    Of visits of no length at one instant, those that led to another stage precede a closing; of one
    stage, `visit` says which is earlier.
    """
    if _ordered(deal, entered, left, ties=False):
        return np.arange(len(deal))
    return np.lexsort((visit, np.isin(end, _ENDED), left, entered, deal))


def changes_of_closed(deal: Ints, entered: Ints, left: Ints, end: Ints) -> Flags:
    """Return which stays, by deal and time, are changes of a closed deal: of no length, after a
    closing or a deletion.
    """
    result = np.zeros(len(deal), bool)
    ended = np.isin(end, _ENDED)
    result[1:] = ended[1:] & ended[:-1] & (deal[1:] == deal[:-1]) & (left[1:] == entered[1:])
    return result


def _changes_of_closed(known_visits: Known) -> Flags:
    return changes_of_closed(
        known_visits.deal, known_visits.entered, known_visits.left, known_visits.end
    )


def _no_length(visits: pd.DataFrame, rows: Ints, tz: str) -> Flags:
    """Whether stays ended when they began, with a closing or a deletion."""
    if not len(rows):
        return np.zeros(0, bool)
    some = visits.iloc[rows]
    same = micros(some["entered_at"], tz, "entered_at") == micros(some["left_at"], tz, "left_at")
    return np.asarray(same & np.isin(_codes(some["end"], ENDS, "end"), _ENDED), np.bool_)


def on_show(visits: pd.DataFrame, when: pd.Timestamp, tz: str) -> Flags:
    """Whether each stay had begun at `when` and was known."""
    limit = to_micros(when)
    entered, seen = (micros(visits[name], tz, name) for name in ("entered_at", "seen_at"))
    exact = _codes(visits["source"], SOURCES, "source", optional=False) == CHANGELOG
    return np.asarray((entered != NULL) & (entered <= limit) & (exact | (seen <= limit)), np.bool_)


def _codes(
    column: pd.Series[Any], names: tuple[str, ...], what: str, *, optional: bool = True
) -> Ints:
    """Number of each value among `names`, -1 for null; `ArgumentError` for any other, or for null
    where it is not optional.
    """
    try:
        codes, met = pd.factorize(column)
    except TypeError:
        raise ArgumentError(
            f"{what} of visits holds lists or the like; it is one of {', '.join(names)}."
        ) from None
    result = np.append(pd.Index(names).get_indexer(pd.Index(met)), -1).astype(np.int64)
    odd = codes[(result[codes] < 0) & ((codes >= 0) | (not optional))]
    if len(odd):
        value = met[odd[0]] if odd[0] >= 0 else None
        raise ArgumentError(
            f"{what} of visits is {value!r} in {len(odd):,} rows; it is one of {', '.join(names)}."
        )
    return result[codes]


def _refuse(wrong: Flags, message: str) -> None:
    if wrong.any():
        raise ArgumentError(message.format(wrong.sum()))


def _refuse_twice(visits: pd.DataFrame, known_visits: Known) -> None:
    """Refuse stays that come twice, as where frames were put together."""
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
            f"visits holds {len(pairs):,} stays twice. Pass the loader's frame, one row a stay."
        )


def _moved_unseen(known_visits: Known, latest: Ints) -> Flags:
    """Moves to a stay that had begun, at the latest at `latest`, and that nobody had seen."""
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


def _closed_unseen(known_visits: Known, left_after: Ints, observed: pd.Series[Any]) -> Flags:
    """Closings of a deal's last stay that no look had found: the last one that found the deal
    changed was before it.
    """
    closed: Flags = (
        known_visits.last
        & ~known_visits.exact
        & np.isin(known_visits.end, (WON, LOST))
        & (left_after == NULL)
        & (known_visits.seen < known_visits.left)
    )
    result = observed.reindex(known_visits.deal[closed]).to_numpy(np.float64)
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
