"""How much the forecast of single deals knows, held against the companies' own record of what
happened.

One row of figures per run (company, way of loading, horizon, method) and per bin of calibration;
`table` pools them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pdframe import metrics
from pdframe.errors import InsufficientDataError
from tests.bench.forecast_worlds import World, kept

HORIZONS = (30, 60, 90, 180)
DAYS_BEFORE = (360, 270, 180, 90, 30)
METHODS = ("hazard", "aalen-johansen")
SMALL, SAMPLES = 120, 3
"""Deals of a company that had about 100 of them 90 days before its end; samples of 100 deals."""

KEYS = ["part", "method", "horizon"]


def happened(states: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the first closing after the cutoff of each row, by the company's own record: kind and
    time, and whether the deal was open at the cutoff.
    """
    wanted = rows[["deal_id", "cutoff"]].astype({"deal_id": "int64"}).reset_index()
    wanted = wanted.sort_values("cutoff", kind="stable")
    states = states.sort_values("time", kind="stable")
    by: dict[str, Any] = {"left_on": "cutoff", "right_on": "time", "by": "deal_id"}
    before = pd.merge_asof(wanted, states, **by).set_index("index")["status"]
    closings = states[states["status"] != "open"]
    after = pd.merge_asof(
        wanted, closings, **by, direction="forward", allow_exact_matches=False
    ).set_index("index")
    result = pd.DataFrame({"kind": after["status"], "time": after["time"]})
    return result.assign(was_open=before == "open").reindex(rows.index)


def score(
    part: str, seed: int, record: pd.DataFrame, states: pd.DataFrame, end: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return sums over the forecasts whose horizon is over, by method and horizon, and by bin."""
    truth = happened(states, record)
    over = (record["cutoff"] + record["horizon"] <= end) & record["p_won"].notna()
    p = record["p_won"].to_numpy(float)
    won = (
        (truth["kind"] == "won") & (truth["time"] <= record["cutoff"] + record["horizon"])
    ).to_numpy(bool)
    rows = pd.DataFrame(
        {
            "part": part,
            "seed": seed,
            "method": record["method"],
            "horizon": record["horizon"].dt.days,
            "bin": np.minimum((np.nan_to_num(p) * 10).astype(int), 9),
            "n": 1,
            "wins": won.astype(int),
            "expected": p,
            "squares": (p - won) ** 2,
            "variance": p * (1 - p),
            "closed_then": (~truth["was_open"]).astype(int),
            "differs": (record["won"].fillna(False).to_numpy(bool) != won).astype(int),
        }
    )[over.to_numpy(bool)]
    by = ["part", "seed", "method", "horizon"]
    sums = rows.drop(columns="bin").groupby(by, as_index=False).sum()
    bins = rows.groupby([*by, "bin"], as_index=False)[["n", "wins", "expected"]].sum()
    return sums, bins


def cutoffs_of(world: Any) -> list[pd.Timestamp]:
    return [world.as_of - pd.Timedelta(days=days) for days in DAYS_BEFORE]


def lengths(days: Sequence[int] = HORIZONS) -> list[pd.Timedelta]:
    return [pd.Timedelta(days=number) for number in days]


def of_company(
    part: str, seed: int, world: Any, methods: Sequence[str] = METHODS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score one company at the five cutoffs."""
    record = metrics.backtest_deals(
        *world.frames, cutoffs=cutoffs_of(world), horizons=lengths(), methods=methods,
        as_of=world.as_of, history=world.history,
    )  # fmt: skip
    return score(part, seed, record, world.states, world.as_of)


def from_changelogs_and_snapshots(
    seed: int, world: World, weekly: World
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the deals that both ways of loading a company have."""
    records = [
        metrics.backtest_deals(
            *one.frames,
            cutoffs=cutoffs_of(world),
            horizons=lengths(),
            methods=METHODS,
            as_of=world.as_of,
            history=one.history,
        )
        for one in (world, weekly)
    ]
    common = ["cutoff", "deal_id", "method", "horizon"]
    both = [one.merge(other[common], on=common) for one, other in (records, records[::-1])]
    results = [
        score(part, seed, record, world.states, world.as_of)
        for part, record in zip(("changelogs", "weekly"), both, strict=True)
    ]
    scores, bins = zip(*results, strict=True)
    return pd.concat(scores), pd.concat(bins)


def of_short_history(seed: int, world: World, small: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score a company of about 100 deals at the cutoff, and samples of 100 deals of a large one."""
    random = np.random.default_rng([100, seed])
    runs: list[tuple[str, World, list[pd.DataFrame]]] = [
        ("small company", small, [*small.frames, small.history])
    ]
    cutoff = world.as_of - pd.Timedelta(days=90)
    for _ in range(SAMPLES):
        created = world.deals.loc[world.deals["add_time"] <= cutoff, "id"].to_numpy(np.int64)
        some = random.choice(created, 100, replace=False)
        runs.append(
            (
                "100 deals",
                world,
                [
                    world.deals[world.deals["id"].isin(some)],
                    world.visits[world.visits["deal_id"].isin(some)],
                    world.stages,
                    world.history[world.history["deal_id"].isin(some)],
                ],
            )
        )
    results = []
    for part, source, (deals, visits, stages, history) in runs:
        try:
            record = metrics.backtest_deals(
                deals, visits, stages, cutoffs=source.as_of - pd.Timedelta(days=90),
                horizons="90D", methods=METHODS, as_of=source.as_of, history=history,
            )  # fmt: skip
        except InsufficientDataError:
            refused = pd.DataFrame({"part": [f"{part}, refused"], "seed": [seed], "n": [1]})
            results.append((refused, pd.DataFrame()))
            continue
        results.append(score(part, seed, record, source.states, source.as_of))
    scores, bins = zip(*results, strict=True)
    return pd.concat(scores), pd.concat(bins)


def measure_seed(
    seed: int, folder: Path, parts: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Score one company in the parts asked for; also return the CPU seconds."""
    world = kept(folder, seed)
    begin = time.process_time()
    results = []
    if "skill" in parts:
        results.append(of_company("skill", seed, world))
    if "short" in parts:
        results.append(of_short_history(seed, world, kept(folder, seed, deals=SMALL)))
    if "weekly" in parts:
        results.append(from_changelogs_and_snapshots(seed, world, kept(folder, seed, weekly=True)))
    sums, bins = (pd.concat(frames) for frames in zip(*results, strict=True))
    return sums, bins, time.process_time() - begin


def table(sums: pd.DataFrame, bins: pd.DataFrame) -> pd.DataFrame:
    """Pool the runs: one row per part, horizon and method."""
    sums = sums[sums["method"].notna()]
    pooled = sums.groupby(KEYS, as_index=False).sum(numeric_only=True)
    pooled["brier"] = pooled["squares"] / pooled["n"]
    constant = pooled[pooled["method"] == "constant"].set_index(["part", "horizon"])["brier"]
    at = pd.MultiIndex.from_frame(pooled[["part", "horizon"]])
    pooled["skill"] = 1 - pooled["brier"] / constant.reindex(at).to_numpy()
    pooled["bias"] = pooled["expected"] / pooled["wins"] - 1
    own = sums.pivot_table("squares", ["part", "seed", "horizon"], "method")
    better = own.lt(own["stage climatology"], axis=0).groupby(["part", "horizon"]).sum()
    pooled["better_than_stage"] = [
        int(better.loc[(row.part, row.horizon), row.method]) for row in pooled.itertuples()
    ]
    pooled["companies"] = [
        int(
            (sums[["part", "horizon", "method"]] == [r.part, r.horizon, r.method]).all(axis=1).sum()
        )
        for r in pooled.itertuples()
    ]
    off = bins.groupby([*KEYS, "bin"], as_index=False)[["n", "wins", "expected"]].sum()
    off = off[off["n"] >= 300]
    off["off"] = (off["wins"] / off["n"] - off["expected"] / off["n"]).abs()
    worst = off.groupby(KEYS)["off"].max()
    pooled["calibration_off"] = worst.reindex(pd.MultiIndex.from_frame(pooled[KEYS])).to_numpy()
    columns = [*KEYS, "companies", "n", "wins", "expected", "bias", "brier", "skill"]
    columns += ["better_than_stage", "calibration_off", "closed_then", "differs"]
    return pooled[columns].sort_values(["part", "horizon", "method"], ignore_index=True)


__all__ = ["measure_seed", "of_company", "table"]
