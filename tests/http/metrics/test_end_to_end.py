"""From an account to every metric in a clean process, as a user would, held against the company's
own truth by code of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

import pdframe

SEED, DEALS = 11, 400
DAY = 86_400
SINCE, UNTIL = date(2025, 1, 1), date(2026, 1, 1)

USER = f"""
import json, sys, warnings
import pandas as pd
import pdframe
from pdframe import metrics

warnings.simplefilter("ignore", pdframe.DataWarning)
exact = sys.argv[1] == "exact"
with pdframe.sandbox.connect(
    seed={SEED}, deals={DEALS}, company="hostile", burst=100_000, progress=False
) as account:
    if exact:
        account.deal_changes()
    deals, visits = account.deals(), account.stage_visits()
    stages, lines = account.stages(), account.deal_products()
    now = pd.Timestamp(account.company_model.now, unit="s", tz="UTC")
    tz, window = account.tz, dict(since="{SINCE}", until="{UNTIL}")
    out, drilled = {{"now": now.timestamp(), "tz": tz, "deals": deals["id"].tolist()}}, []
    for mode in ("implied", "touched", "strict"):
        table = pd.concat(
            metrics.funnel(visits, stages, as_of=now, pipeline_id=p, skipped=mode)
            .assign(pipeline_id=p)
            for p in (1, 2)
        )
        out["funnel " + mode] = json.loads(table.to_json(orient="records"))
    by = dict(as_of=now, pipeline_id=1, by="owner_id", deals=deals)
    for _, row in (one := metrics.funnel(visits, stages, **by)).iterrows():
        level = metrics.funnel_deals(visits, stages, **by)
        row.attrs = one.attrs
        drilled.append((int(row["reached"]), len(metrics.drill_through(row, level))))
        if len(drilled) == 30:
            break
    out["drilled"] = drilled
    results = {{
        "velocity": metrics.stage_velocity(visits, stages, as_of=now),
        "survival": metrics.stage_survival(visits, stages, as_of=now),
        "closed": metrics.win_rate(deals, **window, tz=tz, by="owner_id"),
        "created": metrics.win_rate(
            deals, **window, tz=tz, basis="created", as_of=now, horizon="120D"
        ),
        "sales": metrics.sales_velocity(deals, **window, tz=tz, by="currency"),
        "aging": metrics.deal_aging(deals, visits, stages, as_of=now, tz=tz),
        "quality": metrics.data_quality(
            deals, visits, stages, lines, as_of=now, tz=tz, pipelines=account.pipelines()
        ),
        "then": metrics.as_of(deals, visits, now, account.as_of(now), tz=tz)[0],
    }}
    for name, frame in results.items():
        frame = frame.loc[:, ~frame.columns.duplicated()]
        text = frame.to_json(orient="records", date_unit="ms", double_precision=15)
        out[name] = json.loads(text)
print(json.dumps(out))
"""


def as_user(how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", USER, how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    matches: dict[str, Any] = json.loads(done.stdout)
    return matches


@pytest.fixture(scope="module")
def company() -> Any:
    return pdframe.sandbox.Company(seed=SEED, deals=DEALS)


@pytest.fixture(scope="module")
def exact() -> dict[str, Any]:
    return as_user("exact")


@pytest.fixture(scope="module")
def current() -> dict[str, Any]:
    return as_user("current")


def incidence(days: Any, causes: Any, horizon: float) -> float:
    """Cumulative incidence of cause 1 up to a horizon, as statsmodels has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the errors it also computes
        theirs = CumIncidenceRight(np.array(days), np.array(causes))
    return float(theirs.cinc[0][np.searchsorted(theirs.times, horizon + 1e-9, side="right") - 1])


def stamp(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def places(company: Any, pipeline: int) -> dict[int, int]:
    rows = [
        row
        for row in company.tables["stages"].values()
        if row["pipeline_id"] == pipeline and not row["is_deleted"]
    ]
    return {
        row["id"]: place for place, row in enumerate(sorted(rows, key=lambda row: row["order_nr"]))
    }


def methods(
    company: Any, matches: dict[str, Any], pipeline: int, mode: str
) -> Iterable[tuple[int, float, str, float]]:
    """Of each deal and stage reached: the place, when, what became of it (as `state`), and when;
    from the company's true stays.
    """
    order, now, visible = places(company, pipeline), matches["now"], set(matches["deals"])
    by_deal: dict[int, list[Any]] = {}
    for visit in company.truth.stage_visits():
        if visit.deal_id in visible:
            by_deal.setdefault(visit.deal_id, []).append(visit)
    ended = ("won", "lost", "deleted")
    for every in by_deal.values():
        # What changes of a closed deal is no visit.
        visits = [
            visit
            for number, visit in enumerate(every)
            if not (
                number
                and every[number - 1].end in ended
                and visit.end in ended
                and visit.entered_at == visit.left_at
            )
        ]
        known_visits = [visit for visit in visits if visit.pipeline_id == pipeline]
        if not known_visits or (every[-1].end == "deleted" and every[-1] is not visits[-1]):
            continue
        stands = visits[-1] is known_visits[-1]
        went: dict[int, float] = {}
        for visit in known_visits:
            if visit.stage_id in order:
                went.setdefault(order[visit.stage_id], visit.entered_at)
        won = every[-1].left_at if stands and every[-1].end == "won" else None
        end = {"lost": "lost", "deleted": "left"}.get(every[-1].end, "open") if stands else "left"
        for place in range(len(order) + 1):
            ahead = [at for other, at in went.items() if other > place] + (
                [won] if won is not None else []
            )
            earlier = [went.get(other) for other in range(min(place + 1, len(order)))]
            own = won if place == len(order) else went.get(place)
            if mode == "implied":
                own = min([*ahead, *([] if own is None else [own])], default=None)
            elif mode == "strict":
                own = (
                    None
                    if own is None or None in earlier
                    else max([own, *(at for at in earlier if at is not None)])
                )
            if own is None:
                continue
            if ahead:
                yield place, own, "advanced", max(own, min(ahead))
            else:
                yield place, own, end, now if end == "open" else known_visits[-1].left_at


@pytest.mark.parametrize("mode", ["implied", "touched", "strict"])
def test_the_funnel_is_that_of_the_company(company: Any, exact: dict[str, Any], mode: str) -> None:
    checked = 0
    for pipeline in (1, 2):
        table = [row for row in exact[f"funnel {mode}"] if row["pipeline_id"] == pipeline]
        truth = list(methods(company, exact, pipeline, mode))
        for place, row in enumerate(table):
            mine = [(state, (until - at) / DAY) for own, at, state, until in truth if own == place]
            states = [state for state, _ in mine]
            counts = [
                len(mine),
                *(states.count(state) for state in ("advanced", "lost", "left", "open")),
            ]
            assert [
                row[name] for name in ("reached", "advanced", "lost", "left", "open")
            ] == counts, row
            if row["stage"] == "won" or len(mine) < 20 or "advanced" not in states:
                continue
            cause = {"advanced": 1, "lost": 2, "left": 2, "open": 0}
            truth_of_it = incidence(
                [days for _, days in mine], [cause[state] for state in states], row["horizon_days"]
            )
            assert row["conversion"] == pytest.approx(truth_of_it, abs=1e-9)
            checked += 1
    assert checked > 5


def test_groups_lead_to_their_deals(exact: dict[str, Any], current: dict[str, Any]) -> None:
    for matches in (exact, current):
        assert len(matches["drilled"]) == 30
        assert all(counted == led for counted, led in matches["drilled"])


def test_one_snapshot_has_the_stages_that_deals_are_in(
    company: Any, current: dict[str, Any]
) -> None:
    """Without changelogs: a deal in a stage came through those before it, and nothing is said of
    rates or durations.
    """
    rows = [company.tables["deals"][deal] for deal in current["deals"]]
    for pipeline in (1, 2):
        order = places(company, pipeline)
        table = [row for row in current["funnel implied"] if row["pipeline_id"] == pipeline]
        mine = [row for row in rows if row["pipeline_id"] == pipeline]
        won = {row["id"] for row in mine if row["status"] == "won"}
        for place, line in enumerate(table[:-1]):
            ahead = [row["id"] in won or order[row["stage_id"]] > place for row in mine]
            here = [
                row
                for row, on in zip(mine, ahead, strict=True)
                if not on and order[row["stage_id"]] == place
            ]
            lost = sum(row["status"] == "lost" for row in here)
            assert [line[n] for n in ("reached", "advanced", "lost", "left", "open")] == [
                sum(ahead) + len(here),
                sum(ahead),
                lost,
                0,
                len(here) - lost,
            ]
        assert table[-1]["reached"] == len(won)
        assert all(line["conversion"] is None for line in table if line["reached"] > 20)
    for line in current["velocity"]:
        assert line["basis"] in ("current", None)
        assert line["median_days"] is None
        assert line["mean_days"] is None
    assert current["survival"] == []


def test_stage_velocity_is_that_of_the_company(company: Any, exact: dict[str, Any]) -> None:
    visible, now = set(exact["deals"]), exact["now"]
    known_visits = [visit for visit in company.truth.stage_visits() if visit.deal_id in visible]
    for line in exact["velocity"]:
        mine = [visit for visit in known_visits if visit.stage_id == line["stage_id"]]
        over = np.array([visit.left_at is not None for visit in mine])
        assert (line["visits"], line["completed"], line["basis"]) == (
            len(mine),
            over.sum(),
            "changelog",
        )
        days = np.array([((visit.left_at or now) - visit.entered_at) / DAY for visit in mine])
        theirs = SurvfuncRight(np.maximum(days, 1e-9), over)
        for name, p in (("p25_days", 0.25), ("median_days", 0.5), ("p75_days", 0.75)):
            at = np.flatnonzero(theirs.surv_prob <= 1 - p + 1e-9)
            assert line[name] == (
                pytest.approx(theirs.surv_times[at[0]], abs=1e-6) if len(at) else None
            )


def test_sales_figures_are_those_of_the_company(
    company: Any, exact: dict[str, Any], current: dict[str, Any]
) -> None:
    zone, now = ZoneInfo(exact["tz"]), exact["now"]
    rows = [company.tables["deals"][deal] for deal in exact["deals"]]

    def within(text: str | None) -> bool:
        moment = stamp(text)
        return (
            moment is not None
            and SINCE <= datetime.fromtimestamp(moment, UTC).astimezone(zone).date() < UNTIL
        )

    for matches in (exact, current):
        closed = [
            row
            for row in rows
            if row["status"] in ("won", "lost") and within(row[f"{row['status']}_time"])
        ]
        for line in matches["closed"]:
            mine = [row["status"] for row in closed if row["owner_id"] == line["owner_id"]]
            assert (line["n"], line["won"]) == (len(mine), mine.count("won"))
        assert sum(line["n"] for line in matches["closed"]) == len(closed) > 50
        created = [row for row in rows if within(row["add_time"])]
        status = np.array([{"won": 1, "lost": 2, "open": 0}[row["status"]] for row in created])
        ends = [
            stamp(row[f"{row['status']}_time"]) if row["status"] != "open" else now
            for row in created
        ]
        days = np.array(
            [
                ((end or now) - (stamp(row["add_time"]) or 0)) / DAY
                for end, row in zip(ends, created, strict=True)
            ]
        )
        assert matches["created"][0]["n"] == len(created)
        assert matches["created"][0]["win_rate"] == pytest.approx(
            incidence(days, status, 120), abs=1e-9
        )
        for line in matches["sales"]:
            mine = [row for row in rows if row["currency"] == line["currency"]]
            wins = [row for row in mine if row["status"] == "won" and within(row["won_time"])]
            losses = [row for row in mine if row["status"] == "lost" and within(row["lost_time"])]
            assert (line["opportunities"], line["won"], line["lost"]) == (
                sum(within(row["add_time"]) for row in mine),
                len(wins),
                len(losses),
            )
            if wins:
                value = sum(row["value"] for row in wins) / len(wins)
                took = (
                    sum(
                        (stamp(row["won_time"]) or 0) - (stamp(row["add_time"]) or 0)
                        for row in wins
                    )
                    / DAY
                    / len(wins)
                )
                rate = len(wins) / (len(wins) + len(losses))
                assert line["velocity"] == pytest.approx(
                    line["opportunities"] * rate * value / took, rel=1e-9
                )


def test_open_deals_and_their_days_in_stage_are_those_of_the_company(
    company: Any, exact: dict[str, Any], current: dict[str, Any]
) -> None:
    visible, now = set(exact["deals"]), exact["now"]
    known_visits = [visit for visit in company.truth.stage_visits() if visit.deal_id in visible]
    there = {visit.deal_id: visit for visit in known_visits if visit.left_at is None}
    # A loss that was taken back leaves no trace in the deal itself: one look takes both stays for
    # one.
    ended = {(visit.deal_id, visit.left_at) for visit in known_visits}
    first = {visit.deal_id: visit for visit in reversed(known_visits)}
    opened_again = {
        d
        for d, visit in there.items()
        if first[d] is not visit and (d, visit.entered_at) not in ended
    }
    assert len(opened_again) < len(there) / 10
    for matches in (exact, current):
        assert sorted(line["deal_id"] for line in matches["aging"]) == sorted(there)
        for line in matches["aging"]:
            visit = there[line["deal_id"]]
            assert (line["pipeline_id"], line["stage_id"]) == (visit.pipeline_id, visit.stage_id)
            if matches is exact or (
                line["days_in_stage"] is not None and line["deal_id"] not in opened_again
            ):
                assert line["days_in_stage"] == pytest.approx(
                    (now - visit.entered_at) / DAY, abs=1e-6
                )
        assert [line["id"] for line in matches["then"]] == matches["deals"]
    counts = [
        {line["check"]: line["count"] for line in matches["quality"]}
        for matches in (exact, current)
    ]
    assert counts[0].pop("stage_history_inexact") == 0
    assert counts[1].pop("stage_history_inexact") > 100
    assert counts[0] == counts[1]
