"""Random lives of deals, each seen by snapshots and its changelog, and what plain Python makes of
them.

A world holds some deals and a few steps, a day apart. In a step every deal may change once: its
status, its stage, both in one write, its deletion or its restoration; an admin may move a stage to
another pipeline. After every step there is a look at all deals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pyarrow as pa

from pdframe.cache.snapshots import SnapshotLog
from pdframe.cache.store import Store
from pdframe.frames import storage_schema
from pdframe.history import stage_visits
from pdframe.history.deal_history import deal_history
from pdframe.metrics import as_of, data_quality, funnel, win_rate
from pdframe.metrics._change_rows import states_at
from pdframe.schema.snapshots import HISTORY, TRACKED_COLUMNS
from tests.helpers import small_frames

DAY_0 = datetime(2026, 1, 5, tzinfo=UTC)
PIPELINE_OF = {11: 1, 12: 1, 13: 1, 14: 1, 21: 2, 22: 2, 23: 2, 31: 3}
PARKED = 1_000
"""Deals from this id on stay open in one stage each: they tell when it is moved to another
pipeline.
"""
CLOSED = ("won", "lost")
ROWS = ("together", "pipeline later", "pipeline earlier", "stage only", "pipeline only")
"""What the changelog has of a move to another pipeline."""
_TIMES = (
    "add_time",
    "update_time",
    "stage_change_time",
    "won_time",
    "lost_time",
    "first_won_time",
    "deleted_time",
)
_FIELDS = ("stage_id", "pipeline_id", "status", "is_deleted")


@dataclass(frozen=True)
class State:
    """What a deal is from `time` on."""

    time: datetime
    status: str
    stage: int
    pipeline: int
    deleted: bool

    @property
    def is_open(self) -> bool:
        return self.status == "open" and not self.deleted

    @property
    def end(self) -> str:
        """How its last stay reads."""
        return "deleted" if self.deleted else self.status


@dataclass
class Deal:
    """A deal's row, its states oldest first, and its changelog oldest first: time, column, old and
    new value.
    """

    row: dict[str, Any]
    states: list[State] = field(default_factory=list)
    log: list[tuple[datetime, str, str | None, str | None]] = field(default_factory=list)

    def at(self, when: datetime) -> State | None:
        """What it was at a time; None: it was not there yet."""
        past = [state for state in self.states if state.time <= when]
        return past[-1] if past else None


@dataclass(frozen=True)
class Visit:
    """A time in which a deal was open in a stage, and how the deal stood after it.

    `became` is open, won, lost, left or dropped: the deal was deleted once it was closed.
    """

    stage: int
    pipeline: int
    became: str


class World:
    """Deals and their lives.

    Parameters
    ----------
    seed
        Of all that is random.
    path
        Folder for the kept history.
    deals, steps
        How many of each.
    """

    def __init__(self, seed: int, path: Path, *, deals: int, steps: int = 9) -> None:
        self.random = Random(seed)
        self.rows_of_moves = ROWS[seed % len(ROWS)]
        self.has_creation = self.random.random() < 0.5
        self.moved_is_null = self.random.random() < 0.5
        self.pipeline_of = dict(PIPELINE_OF)
        self.order = {stage: number for number, stage in enumerate(PIPELINE_OF)}
        self.deals: dict[int, Deal] = {}
        self.observed: list[datetime] = []
        self._store = Store(path, f"world-{seed}")
        self._store.open()
        self._history = SnapshotLog(self._store)
        for place, stage in enumerate(PIPELINE_OF):
            self._create(PARKED + place, stage, "open", DAY_0)
        for step in range(steps):
            start = DAY_0 + timedelta(days=step + 1)
            for number in range(1, deals + 1):
                time = start + timedelta(seconds=self.random.randrange(20_000))
                if number not in self.deals:
                    if step == 0 or self.random.random() < 0.3:
                        self._create(
                            number,
                            self.random.choice([*PIPELINE_OF]),
                            self.random.choice(("open",) * 6 + CLOSED),
                            time,
                        )
                else:
                    self._change(self.deals[number], time)
            self._snapshot(start + timedelta(hours=6))
            if self.random.random() < 0.25 and self.rows_of_moves != "pipeline only":
                self._move_stage(start + timedelta(hours=8))
                self._snapshot(start + timedelta(hours=12))

    def _create(self, number: int, stage: int, status: str, time: datetime) -> None:
        pipeline = self.pipeline_of[stage]
        row: dict[str, Any] = dict.fromkeys((*TRACKED_COLUMNS, "deleted_time"))
        row |= {
            "id": number,
            "stage_id": stage,
            "pipeline_id": pipeline,
            "status": status,
            "value": 10.0,
            "currency": "EUR",
        }
        row |= {"is_archived": False, "is_deleted": False, "add_time": time, "update_time": time}
        row["stage_change_time"] = None if self.moved_is_null else time
        deal = Deal(row)
        if status in CLOSED:
            # An import: created with the time of its closing.
            deal.states.append(State(time, "open", stage, pipeline, False))
            row[f"{status}_time"] = time + timedelta(minutes=5)
            row["first_won_time"] = row["won_time"]
        deal.states.append(
            State(
                row[f"{status}_time"] if status in CLOSED else time, status, stage, pipeline, False
            )
        )
        if self.has_creation:
            deal.log += [
                (time, key, None, str(row[key])) for key in ("stage_id", "pipeline_id", "status")
            ]
        self.deals[number] = deal

    def _change(self, deal: Deal, time: datetime) -> None:
        """One write, or none."""
        random, row, now = self.random, deal.row, deal.states[-1]
        if now.deleted:
            if random.random() < 0.4:
                self._write(deal, time, replace(now, deleted=False))
            return
        kind = random.choices(("none", "status", "stage", "both", "delete"), (3, 4, 4, 1, 1))[0]
        status, stage = row["status"], row["stage_id"]
        if kind in ("status", "both"):
            status = random.choice([one for one in ("open", *CLOSED) if one != status])
        if kind in ("stage", "both"):
            crossed = self.rows_of_moves == "pipeline only" and any(
                key == "pipeline_id" and old for _, key, old, _ in deal.log
            )
            stages = [
                one
                for one in PIPELINE_OF
                if one != stage and not (crossed and self.pipeline_of[one] != row["pipeline_id"])
            ]
            stage = random.choice(stages) if stages else stage
        if kind != "none":
            self._write(
                deal, time, State(time, status, stage, self.pipeline_of[stage], kind == "delete")
            )

    def _write(self, deal: Deal, time: datetime, to: State) -> None:
        row, now = deal.row, deal.states[-1]
        to = replace(to, time=time)
        if to == replace(now, time=time):
            return
        if to.stage != now.stage:
            row["stage_change_time"] = time
            rows = [(time, "stage_id", str(now.stage), str(to.stage))]
            if to.pipeline != now.pipeline:
                rows = self._crossing(time, rows[0], (str(now.pipeline), str(to.pipeline)))
            deal.log += rows
        old, new = ("deleted" if state.deleted else state.status for state in (now, to))
        if old != new:
            deal.log.append((time, "status", old, new))
        if to.status != now.status:
            row["won_time"], row["lost_time"] = (
                time if to.status == status else None for status in CLOSED
            )
            row["first_won_time"] = row["first_won_time"] or row["won_time"]
        row |= {
            "stage_id": to.stage,
            "pipeline_id": to.pipeline,
            "status": to.status,
            "is_deleted": to.deleted,
            "update_time": time,
        }
        row["deleted_time"] = time if to.deleted else None
        deal.states.append(to)

    def _crossing(self, time: datetime, stage_row: Any, pipelines: tuple[str, str]) -> list[Any]:
        second = {"pipeline later": 1, "pipeline earlier": -1}.get(self.rows_of_moves, 0)
        pipeline_row = (time + timedelta(seconds=second), "pipeline_id", *pipelines)
        kept = {"stage only": [stage_row], "pipeline only": [pipeline_row]}
        return sorted(
            kept.get(self.rows_of_moves, [stage_row, pipeline_row]), key=lambda row: row[0]
        )

    def _move_stage(self, time: datetime) -> None:
        """An admin moves a stage, with its deals, to another pipeline."""
        stage = self.random.choice((13, 14, 22, 23))
        pipeline = self.random.choice([one for one in (1, 2, 3) if one != self.pipeline_of[stage]])
        old, self.pipeline_of[stage] = self.pipeline_of[stage], pipeline
        self.order[stage] = 1 + max(self.order.values())
        for deal in self.deals.values():
            if deal.row["stage_id"] == stage:
                deal.row |= {"pipeline_id": pipeline, "update_time": time}
                deal.log.append((time, "pipeline_id", str(old), str(pipeline)))
                deal.states.append(replace(deal.states[-1], time=time, pipeline=pipeline))

    def _snapshot(self, time: datetime) -> None:
        self.observed.append(time)
        kind = self.random.choice(("full", "incremental"))
        there = [deal.row for deal in self.deals.values() if not deal.row["is_deleted"]]
        removed = [number for number, deal in self.deals.items() if deal.row["is_deleted"]]
        schema = storage_schema(HISTORY)
        columns = {
            name: pa.array([row[name] for row in there], schema.field(name).type)
            for name in TRACKED_COLUMNS
        }
        stamps = {
            name: pa.array([row[name] for row in there], pa.timestamp("us", "UTC"))
            for name in ("update_time",)
        }
        table = pa.table(
            {"id": pa.array([row["id"] for row in there], pa.int64()), **columns, **stamps}
        )
        newest = max(row["update_time"] for row in there)
        self._history.append(
            [table], kind, seen_at=time, complete_to=newest, now=time, deleted=removed
        )  # type: ignore[arg-type]

    # Frames

    @property
    def history(self) -> pd.DataFrame:
        return self._history.rows().to_pandas()

    def frame(self, *, deleted: bool) -> pd.DataFrame:
        """Deals as they are at the end; the deleted ones as `account.deals(deleted=True)` adds
        them.
        """
        rows = [
            dict(deal.row) for deal in self.deals.values() if deleted or not deal.row["is_deleted"]
        ]
        for row in rows:
            row["status"] = "deleted" if row["is_deleted"] else row["status"]
        frame = pd.DataFrame(
            rows, columns=["id", *TRACKED_COLUMNS, "update_time", "is_deleted", "deleted_time"]
        )
        for name in _TIMES:
            frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
        frame["expected_close_date"] = pd.to_datetime(frame["expected_close_date"])
        ids = ("id", "stage_id", "pipeline_id", "owner_id")
        return frame.astype(
            {
                **dict.fromkeys(ids, "Int64"),
                "probability": "Float64",
                "status": "str",
                "currency": "str",
            }
        )

    @property
    def stages(self) -> pd.DataFrame:
        frame = pd.DataFrame({"id": [*PIPELINE_OF]}, dtype="Int64")
        frame["order_nr"] = frame["id"].map(self.order).astype("Int64")
        frame["pipeline_id"] = frame["id"].map(self.pipeline_of).astype("Int64")
        frame["name"] = frame["id"].astype("str")
        times = pd.Series(pd.Timestamp(DAY_0), frame.index, dtype="datetime64[us, UTC]")
        return frame.assign(deal_probability=50, add_time=times, update_time=times)

    @property
    def changes(self) -> pd.DataFrame:
        rows = [(number, *row) for number, deal in self.deals.items() for row in reversed(deal.log)]
        frame = pd.DataFrame(
            rows, columns=["deal_id", "time", "field_key", "old_value", "new_value"]
        )
        return frame.assign(time=pd.to_datetime(frame["time"], utc=True))

    def visits(self, witness: str) -> pd.DataFrame:
        """Stays as `witness` tells them: looks, changelog, or both."""
        reported = (
            {}
            if witness == "changelog"
            else {"history": self._history.rows(), "snapshots": self._history.snapshots()}
        )
        if witness != "looks":
            reported |= {
                "changes": self.changes,
                "loaded": dict.fromkeys(self.deals, self.observed[-1]),
            }
        deals = self.frame(deleted=witness == "changelog")
        return stage_visits(deals, stages=self.stages, seen_at=self.observed[-1], **reported)

    # What plain Python makes of the lives

    def life(self, number: int, when: datetime, deleted: str) -> list[Visit]:
        """The visits of a deal up to a time; none where it was deleted after it was closed and does
        not count.
        """
        result: list[Visit] = []
        before: State | None = None
        for state in self.deals[number].states:
            if state.time > when:
                break
            entered = state.stage != getattr(before, "stage", None) or state.pipeline != getattr(
                before, "pipeline", None
            )
            was_open = before is not None and before.is_open
            if state.is_open and (entered or not was_open):
                result.append(Visit(state.stage, state.pipeline, "open"))
            elif not state.is_open and was_open and entered:
                result.append(
                    Visit(state.stage, state.pipeline, "open")
                )  # moved and closed by one write
            if state.deleted:
                became = (
                    "left"
                    if state.status == "open"
                    else state.status
                    if deleted == "keep"
                    else "dropped"
                )
            else:
                became = state.status
            result[-1] = replace(result[-1], became=became)
            before = state
        return [] if result and result[-1].became == "dropped" else result

    def funnel(
        self, pipeline: int, when: datetime, deleted: str, skipped: str
    ) -> list[tuple[str, int, int, int, int, int]]:
        """Stage, reached, advanced, lost, left, open of every stage, then of the win."""
        own = sorted(
            (stage for stage, of in self.pipeline_of.items() if of == pipeline),
            key=self.order.__getitem__,
        )
        counts = {
            name: dict.fromkeys(("advanced", "lost", "left", "open"), 0)
            for name in [*map(str, own), "won"]
        }
        for number in self.deals:
            visits = self.life(number, when, deleted)
            inside = [visit for visit in visits if visit.pipeline == pipeline]
            if not inside:
                continue
            state = "left" if visits[-1] is not inside[-1] else visits[-1].became
            visited = [any(visit.stage == stage for visit in inside) for stage in own]
            for place, stage in enumerate(own):
                later = any(visited[place + 1 :]) or state == "won"
                reached = {
                    "implied": visited[place] or later,
                    "touched": visited[place],
                    "strict": all(visited[: place + 1]),
                }[skipped]
                if reached:
                    counts[str(stage)]["advanced" if later else state] += 1
            if state == "won" and (skipped != "strict" or all(visited)):
                counts["won"]["advanced"] += 1
        return [(name, sum(row.values()), *row.values()) for name, row in counts.items()]

    def closed(self, when: datetime, deleted: str) -> tuple[int, int]:
        """How many deals are won and lost at a time."""
        states = [
            state
            for deal in self.deals.values()
            if (state := deal.at(when)) is not None and (deleted == "keep" or not state.deleted)
        ]
        return sum(state.status == "won" for state in states), sum(
            state.status == "lost" for state in states
        )

    def states(self, when: datetime) -> dict[int, tuple[str, int, int]]:
        """Status, stage and pipeline of every deal that there was, the deleted ones too."""
        result = {number: deal.at(when) for number, deal in self.deals.items()}
        return {
            number: (state.end, state.stage, state.pipeline)
            for number, state in result.items()
            if state is not None
        }


def worlds(seed: int, path: Path, sequences: int, deals: int = 40) -> Iterator[World]:
    """Worlds of that many lives in all."""
    for number in range(-(-sequences // deals)):
        yield World(seed + number, path, deals=deals)


def last_states(visits: pd.DataFrame) -> dict[int, tuple[str, int, int]]:
    """Status, stage and pipeline by deal, as the last stay tells them."""
    last = visits.drop_duplicates("deal_id", keep="last")
    values: Sequence[Iterable[Any]] = (
        last["end"].astype("str"),
        last["stage_id"].fillna(-1),
        last["pipeline_id"].fillna(-1),
    )
    return {
        int(deal): (end, int(stage), int(pipeline))
        for deal, end, stage, pipeline in zip(last["deal_id"], *values, strict=True)
    }


def check(world: World) -> None:
    """Hold the witnesses of a world against plain Python: last states, `as_of`, and the counts of
    `funnel` and `win_rate`.
    """
    end, deals = world.observed[-1], world.frame(deleted=True)
    living, stages, history = world.frame(deleted=False), world.stages, world.history
    for name in ("drop", "keep"):
        assert _closed(
            win_rate(deals, since=None, until=None, as_of=end, deleted=name)
        ) == world.closed(end, name)  # type: ignore[arg-type]
    assert _closed(win_rate(living, since=None, until=None)) == world.closed(end, "drop")
    for witness in ("looks", "changelog", "both"):
        visits = world.visits(witness)
        said = f"{witness}, {world.rows_of_moves}"
        last, true = last_states(visits), world.states(end)
        # Where a stage went while a deal in it was deleted, no look sees.
        assert {number: state for number, state in last.items() if state[0] != "deleted"} == {
            number: state for number, state in true.items() if state[0] != "deleted"
        }, said
        assert {number: state[:2] for number, state in last.items()} == {
            number: state[:2] for number, state in true.items()
        }, said
        if witness != "looks" and world.rows_of_moves == "pipeline only" and not world.has_creation:
            # Whether the deal moved to another pipeline or its stage did, such a changelog does not
            # tell.
            continue
        for when in world.observed[2::3]:
            known, _ = as_of(
                living,
                visits,
                when + timedelta(minutes=1),
                None if witness == "changelog" else history,
            )
            true = {
                number: state
                for number, state in world.states(when).items()
                if state[0] != "deleted"
            }
            rows = zip(
                known["id"], known["status"], known["stage_id"], known["pipeline_id"], strict=True
            )
            assert {number: state for number, *state in rows} == {
                number: [*state] for number, state in true.items()
            }, (said, when)
            assert _closed(win_rate(known, since=None, until=None)) == world.closed(when, "drop"), (
                said,
                when,
            )
            for pipeline, deleted, skipped in (
                (1, "drop", "implied"),
                (1, "keep", "touched"),
                (2, "drop", "strict"),
                (2, "keep", "implied"),
            ):
                table = funnel(
                    visits,
                    stages,
                    as_of=when + timedelta(minutes=1),
                    pipeline_id=pipeline,
                    deleted=deleted,
                    skipped=skipped,  # type: ignore[arg-type]
                )
                counts = table[["stage", "reached", "advanced", "lost", "left", "open"]].itertuples(
                    index=False, name=None
                )
                assert [*counts] == world.funnel(pipeline, when, deleted, skipped), (
                    said,
                    when,
                    pipeline,
                    deleted,
                    skipped,
                )


def check_history(world: World) -> None:
    """Hold `deal_history`, as looks and changelogs tell it together, against plain Python: what
    each deal was at any time.
    """
    rows = _history_rows(world)
    # Of a move that leaves a row of the pipeline alone, looks tell the stage, and nothing of the
    # time between them. The two rows of one move may lie a second apart.
    times = {state.time for deal in world.deals.values() for state in deal.states}
    exact = [
        time + timedelta(seconds=2)
        for time in sorted(times)
        if times.isdisjoint(time + timedelta(seconds=s) for s in (1, 2, 3))
    ]
    for when in sorted(
        {*world.observed, *(exact[::7] if world.rows_of_moves != "pipeline only" else [])}
    ):
        states = states_at(
            rows, "deal_id", ("stage_id", "pipeline_id", "status"), pd.Timestamp(when), "UTC"
        )
        values = zip(
            states.index, states["status"], states["stage_id"], states["pipeline_id"], strict=True
        )
        result = {number: tuple(state) for number, *state in values}
        true = {
            number: state for number, state in world.states(when).items() if state[0] != "deleted"
        }
        # A deal that was created closed is so a few minutes later: its changelog says at once.
        first = 0 if when in world.observed else 1
        assert {number: result[number][first:] for number in true} == {
            number: state[first:] for number, state in true.items()
        }, (
            world.rows_of_moves,
            when,
        )


def _history_rows(world: World) -> pd.DataFrame:
    changes = pa.Table.from_pandas(
        world.changes.astype({"time": "datetime64[us, UTC]"}), preserve_index=False
    )
    loaded = dict.fromkeys(world.deals, world.observed[-1])
    return deal_history(
        world._history.rows(), world._history.snapshots(), changes, loaded, world.pipeline_of
    )


def disagreeing(
    world: World, witness: str, deals: pd.DataFrame, visits: pd.DataFrame
) -> tuple[list[int], list[int]]:
    """Ids that `data_quality` finds by `stage_history_disagrees` and by `close_time_disagrees`."""
    result = data_quality(
        deals, visits, world.stages, small_frames.lines([]), as_of=world.observed[-1]
    )
    ids = result.set_index("check")["ids"]
    return [*ids["stage_history_disagrees"]], [*ids["close_time_disagrees"]]


def check_disagreement(world: World) -> None:
    """Corrupt one witness of some deals, and demand that `data_quality` names these deals alone."""
    random, deals = world.random, world.frame(deleted=False)
    for witness in ("looks", "changelog", "both"):
        visits = world.visits(witness)
        assert disagreeing(world, witness, deals, visits) == ([], []), witness
        for what in ("status", "won_time", "stage_id", "pipeline_id", "visits"):
            corrupt, reported = deals.copy(), visits
            closed = deals["status"].isin(CLOSED)
            among = deals["id"][closed] if what == "won_time" else deals["id"]
            chosen = sorted(random.sample([*among], 5))
            rows = deals["id"].isin(chosen)
            if what == "status":
                # From open to won and back, or from one closing to the other: the row alone says
                # so.
                status = deals["status"].map({"open": "won", "won": "lost", "lost": "open"})
                corrupt["status"] = corrupt["status"].mask(rows, status)
                for name in CLOSED:
                    own = rows & (corrupt["status"] == name)
                    corrupt[f"{name}_time"] = (
                        corrupt[f"{name}_time"].mask(rows, pd.NaT).mask(own, corrupt["update_time"])
                    )
            elif what == "won_time":
                for name in CLOSED:
                    corrupt[f"{name}_time"] = corrupt[f"{name}_time"].mask(
                        rows, corrupt[f"{name}_time"] - pd.Timedelta(days=40)
                    )
            elif what == "visits":
                # A changelog that was read before the last changes: the last stays are missing.
                last = ~visits["deal_id"].duplicated(keep="last")
                reported = visits.assign(
                    stage_id=visits["stage_id"].mask(last & visits["deal_id"].isin(chosen), 99)
                )
            else:
                other = (
                    {stage: 11 if stage != 11 else 12 for stage in PIPELINE_OF}
                    if what == "stage_id"
                    else {1: 2, 2: 3, 3: 1}
                )
                corrupt[what] = corrupt[what].mask(rows, deals[what].map(other).astype("Int64"))
            expected = ([], chosen) if what == "won_time" else (chosen, [])
            assert disagreeing(world, witness, corrupt, reported) == expected, (witness, what)


def _closed(table: pd.DataFrame) -> tuple[int, int]:
    return int(table["won"].sum()), int(table["lost"].sum())
