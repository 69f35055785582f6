"""A second synthetic company that shares no code and no process with the sandbox, to see that a
forecast is not tuned to it.

Every open deal lives through days of 24 hours. Each day it may be won, lost, moved on, moved back,
moved to the other pipeline or deleted, with hazards of its own:

- losing grows with the age of the deal: what is stale dies;
- a fifth of the deals are slow for good, and seen from outside nothing says which;
- deals may be won from every stage, the early ones seldom;
- winning has a season (none in August, much in December and at quarter ends), a shock that all
  deals of a month share, and depends on the owner; large deals win less and slower;
- the expected close is a guess of the real one, and slips once it has passed;
- an import brings 150 deals in one second, a quarter of them dead, lost together a year later;
- 6 % of the lost deals are reopened, some wins are undone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

DAY = 86_400_000_000
BEGIN = int(np.datetime64("2022-01-03", "us").astype(np.int64))
END = pd.Timestamp("2025-03-31 20:00", tz="UTC")
DAYS = int((np.datetime64("2025-04-01") - np.datetime64("2022-01-03")).astype(int))
PIPELINES = {1: (11, 12, 13, 14, 15), 2: (21, 22, 23)}
WIN = {11: 0.0006, 12: 0.0012, 13: 0.004, 14: 0.012, 15: 0.03, 21: 0.002, 22: 0.014, 23: 0.04}
LOSE = {11: 0.009, 12: 0.007, 13: 0.006, 14: 0.006, 15: 0.004, 21: 0.004, 22: 0.006, 23: 0.004}
MOVE = {11: 0.05, 12: 0.04, 13: 0.03, 14: 0.025, 15: 0.0, 21: 0.06, 22: 0.03, 23: 0.0}
SEASON = (0.8, 0.9, 1.3, 0.9, 1.0, 1.3, 0.7, 0.4, 1.2, 1.0, 1.1, 1.5)
SKILL = {1: 1.5, 2: 1.2, 3: 1.0, 4: 0.8, 5: 0.6}
IMPORT_DAY, CLEANING_DAY = 260, 640


@dataclass(frozen=True)
class OtherCompany:
    """Frames as the loaders give them, changelogs included, and the true outcomes.

    Parameters
    ----------
    deals, visits, stages, history
        As `account.deals(deleted=True)`, `stage_visits()`, `stages()`, `deal_history()`.
    states
        deal_id, time, status after each change: the truth.
    as_of
        The end.
    """

    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    history: pd.DataFrame
    states: pd.DataFrame
    as_of: pd.Timestamp = END

    @property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """What every forecast takes first."""
        return self.deals, self.visits, self.stages


@dataclass
class _Log:
    """What happened: (deal, time, column, before, after), in the order of time."""

    rows: list[tuple[int, int, str, object, object]] = field(default_factory=list)

    def note(self, deal: int, time: int, column: str, before: object, after: object) -> None:
        self.rows.append((deal, time, column, before, after))


def other_company(seed: int, deals: int = 1_500, shock_sd: float = 0.0) -> OtherCompany:
    """Live three and a quarter years of business."""
    random = np.random.default_rng([20_250_331, seed])
    arrivals = _arrivals(random, deals)
    size = len(arrivals)
    log = _Log()
    pipeline = np.where(random.random(size) < 0.7, 1, 2)
    stage = np.array([PIPELINES[p][0] for p in pipeline])
    owner = random.integers(1, 6, size)
    value = np.round(np.exp(random.normal(8.2, 1.3, size)), 2)
    value[random.random(size) < 0.04] = np.nan
    slow = random.random(size) < 0.2
    dead = (arrivals // DAY == IMPORT_DAY) & (random.random(size) < 0.25)
    # What no column shows: how good the deal is.
    quality = np.exp(
        random.normal(0, 0.5, size) - 0.18 * (np.nan_to_num(np.log(value), nan=8.2) - 8.2)
    )
    shock = np.exp(shock_sd * random.normal(size=DAYS // 28 + 2) - shock_sd**2 / 2)
    guess = arrivals // DAY + np.round(
        np.exp(random.normal(4.3, 0.6, size)) / np.sqrt(quality)
    ).astype(int)
    guess = np.where(random.random(size) < 0.75, guess, -1)
    status = np.full(size, "", object)
    for day in range(DAYS):
        born = np.flatnonzero(arrivals // DAY == day)
        for deal in born.tolist():
            at = int(arrivals[deal])
            status[deal] = "open"
            for column, now in (
                ("stage_id", stage[deal]), ("pipeline_id", pipeline[deal]), ("status", "open"),
                ("value", value[deal]), ("currency", "EUR"), ("owner_id", owner[deal]),
                ("expected_close_date", guess[deal]),
            ):  # fmt: skip
                log.note(deal, at, column, None, now)
        live = np.flatnonzero((status == "open") & (arrivals // DAY < day))
        _live_a_day(
            random, log, day, live, pipeline, stage, owner, value, slow, dead, quality,
            float(shock[day // 28]), guess, status, arrivals,
        )  # fmt: skip
    return _frames(log)


def _arrivals(random: np.random.Generator, deals: int) -> np.ndarray:
    """Return the microsecond since the beginning at which each deal is created, ascending."""
    trend = np.linspace(0.8, 1.3, DAYS)
    trend[(np.arange(DAYS) + 0) % 7 >= 5] *= 0.1
    count = random.poisson(trend / trend.sum() * (deals - 150))
    day = np.repeat(np.arange(DAYS), count)
    at = day * DAY + random.integers(7 * 3_600, 17 * 3_600, len(day)) * 1_000_000
    imported = np.full(150, IMPORT_DAY * DAY + 9 * 3_600_000_000)
    return np.sort(np.concatenate([at, imported]))


def _live_a_day(
    random: np.random.Generator, log: _Log, day: int, live: np.ndarray, pipeline: np.ndarray,
    stage: np.ndarray, owner: np.ndarray, value: np.ndarray, slow: np.ndarray, dead: np.ndarray,
    quality: np.ndarray, shock: float, guess: np.ndarray, status: np.ndarray, arrivals: np.ndarray,
) -> None:  # fmt: skip
    """Let each live deal pass one day; at most one thing happens to its stage or status."""
    date = np.datetime64("2022-01-03") + day
    month = int(str(date)[5:7])
    closing_rush = 1.8 if month % 3 == 0 and int(str(date)[8:10]) >= 24 else 1.0
    age = day - arrivals[live] // DAY
    skill = np.array([SKILL[o] for o in owner[live].tolist()])
    pace = np.where(slow[live], 0.25, 1.0)
    due = (guess[live] >= 0) & (np.abs(guess[live] - day) <= 10)
    win = np.array([WIN[s] for s in stage[live].tolist()]) * SEASON[month - 1] * closing_rush
    win *= skill * pace * quality[live] * shock * np.where(due, 2.0, 1.0) * ~dead[live]
    lose = np.array([LOSE[s] for s in stage[live].tolist()]) * (0.5 + age / 120) / quality[live]
    lose *= np.where(slow[live], 0.5, 1.0) * ~dead[live]
    move = np.array([MOVE[s] for s in stage[live].tolist()]) * pace * ~dead[live]
    back = np.full(len(live), 0.0015) * ~dead[live]
    across, delete, reprice = 0.0004, 0.0003, 0.004
    chance = np.column_stack(
        [win, lose, move, back, np.full(len(live), across), np.full(len(live), delete)]
    )
    draw = random.random(len(live))
    what = (draw[:, None] > np.cumsum(np.minimum(chance, 0.3), axis=1)).sum(axis=1)
    second = random.integers(7 * 3_600, 17 * 3_600, len(live))
    changed_value, kicked = random.random(len(live)) < reprice, random.random(len(live)) < 0.25
    factor = np.exp(random.normal(-0.05, 0.3, len(live)))
    slip = 10 + random.exponential(35, len(live)).astype(int)
    for number, deal in enumerate(live.tolist()):
        at = int(day * DAY + second[number] * 1_000_000)
        if changed_value[number] and not np.isnan(value[deal]):
            new = round(float(value[deal] * factor[number]), 2)
            log.note(deal, at, "value", value[deal], new)
            value[deal] = new
        if 0 <= guess[deal] < day and kicked[number]:
            log.note(deal, at + 1_000_000, "expected_close_date", guess[deal], day + slip[number])
            guess[deal] = day + slip[number]
        kind, stages = what[number], PIPELINES[int(pipeline[deal])]
        if dead[deal] and day == CLEANING_DAY:
            kind, at = 1, int(day * DAY + 10 * 3_600_000_000)
        if kind in (0, 1):
            status[deal] = "won" if kind == 0 else "lost"
            log.note(deal, at + 2_000_000, "status", "open", status[deal])
        elif kind in (2, 3):
            place = stages.index(int(stage[deal])) + (1 if kind == 2 else -1)
            if 0 <= place < len(stages):
                log.note(deal, at + 2_000_000, "stage_id", stage[deal], stages[place])
                stage[deal] = stages[place]
        elif kind == 4:
            other = 3 - int(pipeline[deal])
            log.note(deal, at + 2_000_000, "stage_id", stage[deal], PIPELINES[other][0])
            log.note(deal, at + 2_000_000, "pipeline_id", pipeline[deal], other)
            pipeline[deal], stage[deal] = other, PIPELINES[other][0]
        elif kind == 5:
            status[deal] = "deleted"
            log.note(deal, at + 2_000_000, "status", "open", "deleted")
    closed = np.flatnonzero((status == "lost") | (status == "won"))
    again = random.random(len(closed)) < np.where(status[closed] == "lost", 0.0004, 0.00006)
    for deal in closed[again].tolist():
        at = int(day * DAY + 18 * 3_600_000_000)
        log.note(deal, at, "status", status[deal], "open")
        status[deal] = "open"


def _frames(log: _Log) -> OtherCompany:
    events = pd.DataFrame(log.rows, columns=["deal", "at", "column", "before", "after"])
    limit = END.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64) - BEGIN
    events = events[events["at"] <= limit].reset_index(drop=True)
    events = events.sort_values(["deal", "at"], kind="stable").reset_index(drop=True)
    events["deal"] += 1
    state: dict[int, dict[str, object]] = {}
    visits: list[list[object]] = []
    states: list[tuple[int, int, str]] = []
    where: dict[int, list[object]] = {}
    counts: dict[tuple[int, object], int] = {}

    def enter(deal: int, at: int) -> None:
        now = state[deal]
        key = (deal, now["stage_id"])
        counts[key] = counts.get(key, 0) + 1
        where[deal] = [deal, now["pipeline_id"], now["stage_id"], counts[key], at, None, "open"]
        visits.append(where[deal])

    for deal, group in events.groupby("deal", sort=True):
        deal = int(deal)
        state[deal] = {"won_time": None, "lost_time": None, "deleted_time": None}
        for at, rows in group.groupby("at", sort=True):
            at, now = int(at), state[deal]
            before = dict(now)
            for column, after in zip(rows["column"], rows["after"], strict=True):
                now[column] = after
            now["update_time"] = at
            if "status" not in before:
                now["add_time"] = at
                states.append((deal, at, "open"))
                enter(deal, at)
                continue
            if now["status"] != before["status"]:
                states.append((deal, at, str(now["status"])))
                if now["status"] == "open":
                    now["won_time"] = now["lost_time"] = None
                    enter(deal, at)
                else:
                    name = {"won": "won_time", "lost": "lost_time"}.get(
                        str(now["status"]), "deleted_time"
                    )
                    now[name] = at
                    where[deal][5:] = [at, now["status"]]
            elif now["stage_id"] != before["stage_id"]:
                end = (
                    "changed pipeline"
                    if now["pipeline_id"] != before["pipeline_id"]
                    else "advanced"
                    if int(now["stage_id"]) > int(before["stage_id"])
                    else "moved back"
                )
                where[deal][5:] = [at, end]
                now["stage_change_time"] = at
                enter(deal, at)
    return OtherCompany(
        _deals(state), _visits(visits), _stages(), _history(events), _states(states)
    )


def _times(values: object) -> pd.Series:
    numbers = pd.Series(values, dtype="Int64") + BEGIN
    plain = numbers.to_numpy(np.int64, na_value=np.iinfo(np.int64).min)
    return pd.Series(plain.view("datetime64[us]")).dt.tz_localize("UTC")


def _dates(values: object) -> pd.Series:
    days = np.array([-1 if value is None else int(value) for value in values], np.int64)
    result = np.datetime64("2022-01-03", "us") + (days * DAY).view("timedelta64[us]")
    return pd.Series(result).mask(days < 0)


def _deals(state: dict[int, dict[str, object]]) -> pd.DataFrame:
    ids = list(state)

    def column(name: str) -> list[object]:
        return [state[deal].get(name) for deal in ids]

    status = pd.Categorical(column("status"), ["open", "won", "lost", "deleted"])
    owner = pd.array(column("owner_id"), "Int64")
    won, lost = _times(column("won_time")), _times(column("lost_time"))
    return pd.DataFrame(
        {
            "id": pd.array(ids, "Int64"),
            "title": pd.Series([f"Deal {deal}" for deal in ids], dtype="str"),
            "owner_id": owner,
            "owner_name": pd.Series([f"Rep {number}" for number in owner], dtype="str"),
            "pipeline_id": pd.array(column("pipeline_id"), "Int64"),
            "stage_id": pd.array(column("stage_id"), "Int64"),
            "value": np.array(column("value"), np.float64),
            "currency": pd.Series(["EUR"] * len(ids), dtype="str"),
            "add_time": _times(column("add_time")),
            "update_time": _times(column("update_time")),
            "stage_change_time": _times(column("stage_change_time")),
            "is_deleted": pd.array(status == "deleted", "boolean"),
            "deleted_time": _times(column("deleted_time")),
            "is_archived": pd.array([False] * len(ids), "boolean"),
            "status": status,
            "probability": np.full(len(ids), np.nan),
            "won_time": won,
            "lost_time": lost,
            "local_won_date": won.dt.tz_localize(None).dt.normalize(),
            "local_lost_date": lost.dt.tz_localize(None).dt.normalize(),
            "expected_close_date": _dates(column("expected_close_date")),
        }
    )


def _visits(rows: list[list[object]]) -> pd.DataFrame:
    deal, pipeline, stage, visit, entered, left, end = zip(*rows, strict=True)
    nothing = _times([None] * len(rows))
    return pd.DataFrame(
        {
            "deal_id": pd.array(deal, "Int64"),
            "pipeline_id": pd.array([int(number) for number in pipeline], "Int64"),
            "stage_id": pd.array([int(number) for number in stage], "Int64"),
            "visit": pd.array(visit, "Int64"),
            "entered_at": _times(entered),
            "left_at": _times(left),
            "end": pd.Categorical(
                end,
                ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"],
            ),
            "source": pd.Categorical(
                ["changelog"] * len(rows), ["changelog", "snapshots", "current"]
            ),
            "entered_after": nothing,
            "left_after": nothing,
            "seen_at": _times(entered),
        }
    )


def _stages() -> pd.DataFrame:
    rows = [
        (stage, pipeline, order)
        for pipeline, own in PIPELINES.items()
        for order, stage in enumerate(own, start=1)
    ]
    return pd.DataFrame(
        {
            "id": pd.array([row[0] for row in rows], "Int64"),
            "order_nr": pd.array([row[2] for row in rows], "Int64"),
            "name": pd.Series([f"Stage {row[0]}" for row in rows], dtype="str"),
            "is_deleted": pd.array([False] * len(rows), "boolean"),
            "deal_probability": [100.0 * row[2] / len(PIPELINES[row[1]]) for row in rows],
            "pipeline_id": pd.array([row[1] for row in rows], "Int64"),
            "is_deal_rot_enabled": pd.array([False] * len(rows), "boolean"),
            "days_to_rotten": pd.array([None] * len(rows), "Int64"),
        }
    )


def _history(events: pd.DataFrame) -> pd.DataFrame:
    days = events["column"] == "expected_close_date"

    def text(side: str) -> pd.Series:
        def written(value: object, is_day: bool) -> object:
            if value is None or (isinstance(value, float) and np.isnan(value)):
                return None
            if is_day:
                return None if int(value) < 0 else str(np.datetime64("2022-01-03") + int(value))
            return str(value)

        values = [written(v, d) for v, d in zip(events[side], days, strict=True)]
        return pd.Series(values, dtype="str")

    at = _times(events["at"])
    rows = pd.DataFrame(
        {
            "deal_id": pd.array(events["deal"], "Int64"),
            "column": events["column"].astype("str"),
            "before": text("before"),
            "after": text("after"),
            "time": at,
            "time_after": _times([None] * len(events)),
            "source": pd.Categorical(["changelog"] * len(events)),
            "seen_at": at,
        }
    )
    return rows[rows["before"].notna() | rows["after"].notna()].reset_index(drop=True)


def _states(rows: list[tuple[int, int, str]]) -> pd.DataFrame:
    deal, at, status = zip(*rows, strict=True)
    return pd.DataFrame({"deal_id": deal, "time": _times(at), "status": list(status)})


__all__ = ["OtherCompany", "other_company"]
