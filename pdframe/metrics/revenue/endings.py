"""How subscriptions end: known cancellations, and gaps that a grace bridges."""

from __future__ import annotations

import difflib
import re
import unicodedata
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pdframe._plain import plain_column
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import require_columns
from pdframe.metrics._columns import Flags, Ints, ids
from pdframe.metrics.revenue.periods import NULL, as_dates, days_of

Cancellations = pd.DataFrame | str | None
"""A frame, or the name of a column of deals; None: not known."""


def _folded(text: str) -> str:
    """Text without accents and case."""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


_STEMS = (
    "cancel",
    "churn",
    "terminat",
    "unsubscri",
    "expir",
    "enddate",
    "kündig",
    "storn",
    "beendig",
    "beendet",
    "ablauf",
    "vertragsende",
    "laufzeitende",
    "enddatum",
    "resili",
    "annul",
    "anul",
    "rescis",
    "disdett",
    "recesso",
    "cessazion",
    "encerr",
    "date de fin",
    "opzeg",
    "beëindig",
    "einddatum",
    "uppsäg",
    "avslut",
    "oppsig",
    "opsig",
    "slutdat",
    "rezygnac",
    "wypowiedz",
    "výpověd",
    "zruš",
    "irtisan",
    "peruut",
    "iptal",
    "fesih",
    "отмен",
    "растор",
    "окончан",
    "解約",
    "キャンセル",
    "終了",
    "取消",
    "终止",
    "해지",
    "취소",
)
_WORDS = ("end", "ends", "ended", "ende", "fin", "fim", "einde", "slut", "baja", "koniec", "konec")
_SPEAKS_OF_AN_END = re.compile(
    f"{'|'.join(re.escape(_folded(stem)) for stem in _STEMS)}"
    rf"|(?<![^\W_])(?:{'|'.join(_WORDS)})(?![^\W_])"
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")

_KEYS = ("line_id", "deal_id", "customer")
# Days are far fewer than this, so that one number holds a customer and a day.
_DAYS = 1 << 33


def known_cancellations(cancellations: Cancellations, deals: pd.DataFrame) -> pd.DataFrame | None:
    """Return cancellations as a frame; the name of a column of `deals` becomes one by deal.

    Raises
    ------
    ArgumentError
        `deals` has no such column, or it holds no dates.
    """
    if not isinstance(cancellations, str):
        return cancellations
    deals = require_columns(deals, "deals", ["id"])
    if cancellations not in deals.columns:
        raise ArgumentError(
            f"cancellations={cancellations!r} is not a column of deals."
            f" {_suggested(cancellations, deals)}"
        )
    days = days_of(require_columns(deals, "deals", ["id", cancellations]), cancellations)
    return pd.DataFrame({"deal_id": ids(deals, "id").to_numpy(), "date": as_dates(days)})


def _suggested(name: str, deals: pd.DataFrame) -> str:
    """What to pass instead of a column that deals does not have."""
    by_text = {_folded(str(column)): str(column) for column in deals.columns}
    near = [
        by_text[text]
        for text in difflib.get_close_matches(_folded(name), by_text, n=3, cutoff=0.75)
    ]
    result = list(dict.fromkeys([*near, *end_columns(deals)]))
    if result:
        return f"Did you mean {' or '.join(map(repr, result))}?"
    return (
        "Pass one of its columns of dates, or a frame with a date and one of "
        + ", ".join(_KEYS)
        + "."
    )


def end_columns(deals: pd.DataFrame) -> list[str]:
    """Return the columns of dates of `deals` whose name suggests an end, in one of several
    languages.
    """
    return [
        name
        for name in deals.columns
        if isinstance(name, str)
        and _SPEAKS_OF_AN_END.search(_folded(name))
        and _holds_days(deals[name])
    ]


def _holds_days(column: pd.Series[Any]) -> bool:
    """Return whether a column holds days or times, be it as text (from CSV)."""
    column = plain_column(column)
    if column.dtype.kind == "M":
        return True
    given = column.dropna()
    return bool(len(given)) and all(
        isinstance(value, date) or (isinstance(value, str) and _DAY.match(value))
        for value in given.iloc[:20]
    )


def warn_of_open_lines(lines: pd.DataFrame, deals: pd.DataFrame) -> None:
    """Warn that lines without an end count forever, where no cancellations are given.

    Parameters
    ----------
    lines
        With mrr, end_reason, problem.
    deals
        Whose columns may hold the cancellations.
    """
    open_ = int(
        ((lines["end_reason"] == "open") & (lines["mrr"] != 0) & lines["problem"].isna()).sum()
    )
    if not open_:
        return
    columns = end_columns(deals)
    if columns:
        passed = " or ".join(f"cancellations={name!r}" for name in columns)
        how = (
            f"The {'names' if len(columns) > 1 else 'name'} of the column"
            f"{'s' if len(columns) > 1 else ''} {', '.join(map(repr, columns))} of deals"
            f" {'suggest' if len(columns) > 1 else 'suggests'} an end: pass {passed}"
        )
    else:
        how = "Pass cancellations=, the name of a column of deals or a frame"
    warn(
        "No cancellations are given, so"
        f" {f'{open_:,} recurring lines' if open_ > 1 else 'one recurring line'} without an end"
        f" count{'' if open_ > 1 else 's'} forever. {how}; an empty frame where there are none."
    )


def cancelled_on(lines: pd.DataFrame, start: Ints, cancellations: pd.DataFrame) -> Ints:
    """Return the day on which each line is cancelled, `NULL` where none is known.

    Parameters
    ----------
    lines
        With id, deal_id, customer.
    start
        First day of each line, `NULL` where not known.
    cancellations
        A column `date` and one of line_id, deal_id, customer. By line or deal the earliest date
        counts. By customer, who may return, each line takes the first date after its start. Rows
        without a date or a key are none.

    Raises
    ------
    ArgumentError
        It is no such frame.
    """
    if isinstance(cancellations, pd.DataFrame) and not cancellations.size:
        # An empty frame of any shape says that there are none.
        return np.full(len(lines), NULL)
    wanted = (
        "cancellations must be the name of a column of deals, or a DataFrame with a column date"
        f" and exactly one of {', '.join(_KEYS)}"
    )
    if not isinstance(cancellations, pd.DataFrame):
        raise ArgumentError(f"{wanted}, not {type(cancellations).__name__}.")
    if "date" not in cancellations.columns:
        raise ArgumentError(f"{wanted}; it has no column date.")
    cancellations = require_columns(cancellations, "cancellations", ["date"])
    keys = [name for name in _KEYS if name in cancellations.columns]
    if len(keys) != 1:
        reported = f"has {' and '.join(keys)}" if keys else "has none"
        raise ArgumentError(f"{wanted}; it {reported} of them.")
    key = keys[0]
    days = days_of(cancellations, "date")
    if key == "customer":
        names = pd.Index(cancellations[key].astype("str"))
        whose = pd.Index(lines["customer"])
    else:
        names = pd.Index(ids(cancellations, key))
        whose = pd.Index(ids(lines, "id" if key == "line_id" else key))
    given = (days != NULL) & names.notna()
    names, days = names[given], days[given]
    if not len(names):
        return np.full(len(lines), NULL)
    codes, uniques = pd.factorize(names)
    place = np.asarray(uniques.get_indexer(whose), dtype=np.int64)
    if len(lines) and (place < 0).all() and key == "customer":
        warn(
            f"None of the {len(names):,} cancellations is of a customer of these lines. Customers"
            f" are written like {whose[0]!r}."
        )
    composed = np.sort(codes.astype(np.int64) * _DAYS + days)
    after = (
        np.where(start == NULL, 0, start)
        if key == "customer"
        else np.full(len(lines), -(_DAYS // 2))
    )
    at = np.searchsorted(composed, np.maximum(place, 0) * _DAYS + after, side="right")
    result = composed[np.minimum(at, len(composed) - 1)]
    day = result - np.maximum(place, 0) * _DAYS
    same = (place >= 0) & (at < len(composed)) & (np.abs(day) < _DAYS // 2)
    return np.where(same, day, NULL)


def bridged(customer: Ints, start: Ints, end: Ints, counts: Flags, grace: float) -> Ints:
    """Return the ends of lines, those before a gap of up to `grace` days moved to where the
    customer's next line starts.

    Parameters
    ----------
    customer
        A number per customer, from 0.
    start, end
        Days; an end is `NULL` where there is none.
    counts
        Lines that have a start and an MRR above 0.
    """
    rows = np.flatnonzero(counts & ((end > start) | (end == NULL)))
    if not len(rows) or grace <= 0:
        return end
    whose, begins = customer[rows], start[rows]
    ends = np.where(end[rows] == NULL, _DAYS // 2 - 1, end[rows])
    order = np.lexsort((begins, whose))
    whose, begins, ends = whose[order], begins[order], ends[order]
    # The latest end so far of each customer: a customer's numbers are above those of all customers
    # before it.
    furthest = np.maximum.accumulate(whose * _DAYS + ends)
    first = np.append(True, whose[1:] != whose[:-1])
    gap = np.append(0, whose[1:] * _DAYS + begins[1:] - furthest[:-1])
    at = np.flatnonzero(~first & (gap > 0) & (gap <= grace))
    if not len(at):
        return end
    closing, opening = furthest[at - 1], begins[at]
    own = customer * _DAYS + end
    place = np.minimum(np.searchsorted(closing, own), len(closing) - 1)
    hit = counts & (end != NULL) & (end > start) & (closing[place] == own)
    return np.where(hit, opening[place], end)
