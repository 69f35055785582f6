"""Visits and stages written by hand in days, as the loaders' frames, and a funnel in plain loops
and fractions to hold ours against.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import pandas as pd

DAY_0 = pd.Timestamp("2026-01-01", tz="UTC")
ENDS = ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]
SOURCES = ["changelog", "snapshots", "current"]
PIPELINE_OF = {"A": 1, "B": 1, "C": 1, "D": 2, "E": 2, "X": 1}
"""X is a stage of pipeline 1 that was deleted."""
ID_OF = {"A": 11, "B": 12, "C": 13, "D": 21, "E": 22, "X": 99}
PLACES = ["A", "B", "C"]


def day(number: float | None) -> pd.Timestamp | None:
    return None if number is None else DAY_0 + pd.Timedelta(days=number)


def stages() -> pd.DataFrame:
    """Not in their order, of two pipelines."""
    rows = [("E", 2), ("C", 7), ("A", 1), ("D", 1), ("B", 3)]
    return pd.DataFrame(
        {
            "id": pd.array([ID_OF[name] for name, _ in rows], "Int64"),
            "order_nr": pd.array([order for _, order in rows], "Int64"),
            "name": pd.Series([name for name, _ in rows], dtype="str"),
            "pipeline_id": pd.array([PIPELINE_OF[name] for name, _ in rows], "Int64"),
            "is_deleted": pd.array([False] * len(rows), "boolean"),
        }
    )


def known_visits(
    *rows: tuple[Any, ...], source: str = "changelog", seen: float | None = None
) -> pd.DataFrame:
    """Rows of deal, stage, day entered, day left (None: there), end; of one source, seen when they
    began or on a day.
    """
    counts: dict[tuple[int, str], int] = {}
    visit = []
    for deal, stage, *_ in rows:
        counts[deal, stage] = counts.get((deal, stage), 0) + 1
        visit.append(counts[deal, stage])
    return pd.DataFrame(
        {
            "deal_id": pd.array([row[0] for row in rows], "Int64"),
            "pipeline_id": pd.array([PIPELINE_OF[row[1]] for row in rows], "Int64"),
            "stage_id": pd.array([ID_OF[row[1]] for row in rows], "Int64"),
            "visit": pd.array(visit, "Int64"),
            "entered_at": times(row[2] for row in rows),
            "left_at": times(row[3] for row in rows),
            "end": pd.Categorical([row[4] for row in rows], ENDS),
            "source": pd.Categorical([source] * len(rows), SOURCES),
            "entered_after": times(None for _ in rows),
            "left_after": times(None for _ in rows),
            "seen_at": times((row[2] if seen is None else max(seen, row[2])) for row in rows),
        }
    )


def times(days: Iterable[float | None]) -> pd.Series[Any]:
    return pd.Series([day(number) for number in days], dtype="datetime64[us, UTC]")


def incidence(rows: Sequence[tuple[Fraction, int]], horizon: Fraction) -> Fraction:
    """Aalen-Johansen of cause 1 at a horizon: times and causes (0: censored), event by event."""
    matches, left = Fraction(0), Fraction(1)
    for time in sorted({time for time, _ in rows}):
        if time > horizon:
            break
        at_risk = sum(other >= time for other, _ in rows)
        deleted = [cause for other, cause in rows if other == time and cause]
        matches += left * Fraction(sum(cause == 1 for cause in deleted), at_risk)
        left *= 1 - Fraction(len(deleted), at_risk)
    return matches


def plain_funnel(
    rows: Sequence[tuple[Any, ...]], until: int, skipped: str, window: tuple[int, int] | None = None
) -> list[tuple[Any, ...]]:
    """Deal by deal, the funnel of pipeline 1 (A, B, C): stage, reached, advanced, lost, left, open,
    conversion, horizon, win.

    `rows` are as those of `known_visits`, in whole days,
    in the order in which they happened; all is known
    up to `until`.
    """
    table: dict[str, list[tuple[str, int, str, int]]] = {name: [] for name in [*PLACES, "won"]}
    for deal in sorted({row[0] for row in rows}):
        every = _visits_of([row for row in rows if row[0] == deal and row[2] <= until], until)
        mine = [row for row in every if PIPELINE_OF[row[1]] == 1]
        if not mine or (window and not window[0] <= mine[0][2] < window[1]):
            continue
        went = {
            name: min((row[2] for row in mine if row[1] == name), default=None) for name in PLACES
        }
        number = max(place for place, row in enumerate(every) if PIPELINE_OF[row[1]] == 1)
        # A win or loss counts while the deal stays so: one that was opened again elsewhere has
        # left.
        final, final_at = (
            ("left", every[number + 1][2]) if number + 1 < len(every) else every[number][3:]
        )
        won = final_at if final == "won" else None
        passed: int | None = 0
        for number, name in enumerate(PLACES):
            later = _least([*(went[other] for other in PLACES[number + 1 :]), won])
            passed = None if passed is None or went[name] is None else max(passed, went[name] or 0)
            at = {"implied": _least([went[name], later]), "touched": went[name], "strict": passed}[
                skipped
            ]
            if at is None:
                continue
            state, state_at = (final, final_at) if later is None else ("advanced", max(later, at))
            outcome, outcome_at = (final, final_at) if won is None else ("won", max(won, at))
            table[name].append((state, max(state_at - at, 0), outcome, max(outcome_at - at, 0)))
        if won is not None and (skipped != "strict" or passed is not None):
            table["won"].append(("advanced", 0, "won", 0))
    return [_row(name, matches) for name, matches in table.items()]


def _visits_of(rows: Sequence[tuple[Any, ...]], until: int) -> list[tuple[Any, ...]]:
    """Visits of a deal, each with how it stands since: (deal, stage, entered, state, since); none
    of a deal deleted once closed.

    A row of no length after a closing or a deletion is a change of the closed deal, and no visit.
    """
    matches: list[tuple[Any, ...]] = []
    state, since, deleted, stage_before = "open", until, False, ""
    for deal, stage, at, left, end in rows:
        over = left is not None and left <= until
        if (
            matches
            and at == left
            and state in ("won", "lost", "deleted")
            and end in ("won", "lost", "deleted")
        ):
            if end == "deleted":
                deleted = deleted or state != "deleted"
            else:
                if end != state or not (deleted or stage != stage_before):
                    state, since = end, left
                deleted = False
            matches[-1] = (*matches[-1][:3], state, since)
        else:
            state, since, deleted = (end if over else "open"), (left if over else until), False
            matches.append((deal, stage, at, state, since))
        stage_before = stage
    if deleted:
        return []
    names = {"changed pipeline": "left", "deleted": "left", "won": "won", "lost": "lost"}
    return [
        (deal, stage, at, names.get(state, "open"), since if state in names else until)
        for deal, stage, at, state, since in matches
    ]


def _least(values: Iterable[int | None]) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _row(name: str, matches: list[tuple[str, int, str, int]]) -> tuple[Any, ...]:
    states = [state for state, *_ in matches]
    counts = (
        len(matches),
        *(states.count(state) for state in ("advanced", "lost", "left", "open")),
    )
    if name == "won" or not matches:
        return (name, *counts, None, None, None)
    least = 10 if len(matches) >= 100 else -(-len(matches) // 10)
    horizon = sorted((days for _, days, _, _ in matches), reverse=True)[least - 1]
    cause = {"advanced": 1, "won": 1, "lost": 2, "left": 2, "open": 0}
    going = incidence(
        [(Fraction(days), cause[state]) for state, days, _, _ in matches], Fraction(horizon)
    )
    winning = incidence(
        [(Fraction(days), cause[outcome]) for _, _, outcome, days in matches], Fraction(horizon)
    )
    return (name, *counts, going, horizon, winning)
