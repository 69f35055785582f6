"""The accuracy of the forecast on synthetic companies, beside the bars that it must meet.

    python -m tests.bench.forecast_accuracy --seeds 1-20 --worlds FOLDER --csv FOLDER

Every run is a row of the CSV files. The companies are made where the folder lacks them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

import pdframe
from tests.bench import forecast_skill as skill
from tests.bench import forecast_totals as totals
from tests.bench import forecast_truth as truth
from tests.bench.forecast_worlds import seeds_of
from tests.helpers.other_pipelines import other_company

PARTS = ("skill", "short", "weekly", "totals", "break", "other", "truth")
SHOCKS = (0.0, 0.3, 0.8)
OTHER_CUTOFFS = ("2024-03-31", "2024-06-30", "2024-08-31", "2024-10-31", "2024-12-31")


def of_seed(
    seed: int,
    folder: Path,
    parts: Sequence[str],
    weekly: Sequence[int],
    shocks: Sequence[float] = SHOCKS,
) -> tuple[dict[str, pd.DataFrame], float]:
    """Measure one company in all parts."""
    warnings.simplefilter("ignore", pdframe.DataWarning)
    results: dict[str, list[pd.DataFrame]] = {"skill": [], "bins": [], "totals": []}
    spent = 0.0
    own = [part for part in ("skill", "short") if part in parts]
    own += ["weekly"] if "weekly" in parts and seed in weekly else []
    if own:
        sums, bins, seconds = skill.measure_seed(seed, folder, own)
        results["skill"].append(sums)
        results["bins"].append(bins)
        spent += seconds
    if "truth" in parts:
        rows, seconds = truth.measure_seed(seed, folder, shocks)
        results["truth"] = [rows]
        spent += seconds
    shocks = shocks if "totals" in parts else ()
    if shocks or "break" in parts:
        rows, seconds = totals.measure_seed(seed, folder, shocks, "break" in parts)
        results["totals"].append(rows)
        spent += seconds
    if "other" in parts:
        begin = time.process_time()
        for part, shock in (("other", 0.0), ("other, shock .3", 0.3)):
            company = other_company(seed, shock_sd=shock)
            sums, bins = skill.of_company(part, seed, company)
            results["skill"].append(sums)
            results["bins"].append(bins)
            results["totals"].append(totals.of_totals(part, seed, company, OTHER_CUTOFFS))
        spent += time.process_time() - begin
    return {name: pd.concat(frames) for name, frames in results.items() if frames}, spent


def measured(
    seeds: Sequence[int],
    folder: Path,
    parts: Sequence[str],
    weekly: Sequence[int],
    shocks: Sequence[float] = SHOCKS,
    processes: int = 1,
) -> tuple[dict[str, pd.DataFrame], float]:
    """Measure all companies; return the rows of every run, and the CPU seconds."""
    one: Callable[[int], Any] = partial(
        of_seed, folder=folder, parts=parts, weekly=weekly, shocks=shocks
    )
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            runs = list(pool.map(one, seeds))
    else:
        runs = [one(seed) for seed in seeds]
    names = dict.fromkeys(name for frames, _ in runs for name in frames)
    joined = {
        name: pd.concat([frames[name] for frames, _ in runs if name in frames], ignore_index=True)
        for name in names
    }
    return joined, sum(seconds for _, seconds in runs)


def show(runs: dict[str, pd.DataFrame]) -> None:
    """Print the pooled figures."""
    with pd.option_context(
        "display.width", 250, "display.max_columns", 30, "display.max_rows", 200,
        "display.float_format", "{:.4f}".format,
    ):  # fmt: skip
        if "skill" in runs:
            print(skill.table(runs["skill"], runs["bins"]).to_string(index=False))
            refused = runs["skill"][runs["skill"]["method"].isna()]
            if len(refused):
                print("refused:", refused.groupby("part")["n"].sum().to_dict())
        if "totals" in runs:
            if runs["totals"]["month"].notna().any():
                print(totals.table(runs["totals"]).to_string(index=False))
            print(totals.alarms(runs["totals"]).to_string(index=False))
        if "truth" in runs:
            print(truth.table(runs["truth"], runs.get("totals")).to_string(index=False))


def measure() -> None:
    """Print the figures of two companies, for `make bench`."""
    with tempfile.TemporaryDirectory() as folder:
        runs, seconds = measured(
            range(1, 3), Path(folder), ("skill", "totals", "other"), (), (0.0,)
        )
        print(f"Accuracy of the forecast, 2 companies of 2,000 deals ({seconds:.0f} CPU s)")
        show(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 21))
    parser.add_argument("--weekly", type=seeds_of, default=range(0), help="seeds loaded weekly")
    parser.add_argument("--worlds", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--shocks", type=float, nargs="+", default=SHOCKS, help="of the totals")
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2))
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    runs, seconds = measured(
        options.seeds,
        options.worlds,
        options.parts,
        options.weekly,
        options.shocks,
        options.processes,
    )
    if options.csv is not None:
        options.csv.mkdir(parents=True, exist_ok=True)
        for name, rows in runs.items():
            rows.to_csv(options.csv / f"{name}.csv", index=False)
    print(
        f"seeds {options.seeds[0]}-{options.seeds[-1]}, parts {' '.join(options.parts)}:"
        f" {seconds:.0f} CPU s"
    )
    show(runs)


if __name__ == "__main__":
    main()
