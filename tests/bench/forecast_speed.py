"""CPU seconds of the forecast: draws beside a plain NumPy loop of the same ones, fitting and
predicting accounts of several sizes, and a backtest.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pdframe
from pdframe import metrics
from pdframe.metrics._periods import Frequency
from pdframe.metrics.forecasting.cells import cells_between
from pdframe.metrics.forecasting.draws import common_factors, generator, recentred
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import METHODS
from pdframe.metrics.forecasting.money import Money
from pdframe.metrics.forecasting.revenue import revenue_of
from pdframe.metrics.forecasting.winning_values import WinningValues
from tests.bench.forecast_skill import HORIZONS, lengths
from tests.bench.forecast_totals import RATES
from tests.bench.forecast_worlds import kept
from tests.bench.table import report

COLUMNS = (
    "id", "title", "owner_id", "owner_name", "pipeline_id", "stage_id", "value", "currency",
    "add_time", "update_time", "is_deleted", "deleted_time", "is_archived", "status",
    "probability", "won_time", "lost_time", "local_won_date", "local_lost_date",
    "expected_close_date",
)  # fmt: skip
SHIFT = 1_000_000
DRAWS, PERIODS, OPEN_DEALS = 10_000, 3, 5_000
MONTHS = [f"2025-{month:02}" for month in range(3, 13)] + ["2026-01", "2026-02"]


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def side_by_side(folder: Path, companies: int, seeds: Sequence[int]) -> tuple[list[Any], Any]:
    """Return the frames of several companies as those of one account, and its history."""
    parts: list[list[pd.DataFrame]] = [[], [], []]
    for number in range(companies):
        world = kept(folder, seeds[number % len(seeds)])
        for part, frame, key in (
            (parts[0], world.deals[list(COLUMNS)], "id"),
            (parts[1], world.visits, "deal_id"),
            (parts[2], world.history, "deal_id"),
        ):
            part.append(frame.assign(**{key: frame[key] + number * SHIFT}))
    deals, visits, history = (pd.concat(part, ignore_index=True) for part in parts)
    return [deals, visits, world.stages], history


def plain_loop(chance: np.ndarray, value: np.ndarray, common_sd: float) -> np.ndarray:
    """Draw the same totals deal by deal and period by period."""
    factors = common_factors(0, DRAWS, common_sd)
    hazards = recentred(chance, common_sd)
    total = np.zeros((PERIODS, DRAWS))
    for deal in range(len(chance)):
        time_of = generator(0, 0, deal + 1).standard_exponential(DRAWS) / factors
        before = np.zeros(DRAWS, bool)
        for period in range(PERIODS):
            now = time_of < hazards[deal, period]
            total[period] += value[deal] * (now & ~before)
            before = now
    return total


def draws(folder: Path, seeds: Sequence[int]) -> None:
    frames, history = side_by_side(folder, 8, seeds)
    known = Known.at(*frames, "2026-06-30", history=history)
    fitted = METHODS["hazard"].fit(known, 0)
    until = pd.Timestamp("2026-09-30 21:00", tz="UTC")
    cells = cells_between(known.as_of, until, Frequency("M"), known.tz)
    money = Money(RATES, pd.Timestamp("2026-06-30"))
    revenue = revenue_of(known, fitted, cells, money, WinningValues.fit(known, money))
    some = np.arange(len(revenue.open_deal)) < OPEN_DEALS
    part = dataclasses.replace(
        revenue,
        open_deal=revenue.open_deal[some],
        chance=revenue.chance[some],
        worth=revenue.worth.take(np.flatnonzero(some)),
    )
    ours, _ = cpu(lambda: part.drawn(DRAWS, 0, 0.2))
    value = part.worth.value.astype(float)
    theirs, _ = cpu(lambda: plain_loop(part.chance, value, 0.2))
    report(
        f"CPU: {DRAWS:,} draws x {some.sum():,} open deals x {PERIODS} / a loop",
        f"{ours:.2f} s",
        f"{theirs:.2f} s",
        ours / theirs,
    )


def fitting(folder: Path, seeds: Sequence[int], sizes: Sequence[int] = (1, 5, 50)) -> None:
    spans = np.array([days * 86_400_000_000 for days in HORIZONS])
    for companies in sizes:
        frames, history = side_by_side(folder, companies, seeds)
        reading, known = cpu(lambda f=frames, h=history: Known.at(*f, "2026-06-30", history=h))

        def work(known: Known = known) -> Any:
            fitted = METHODS["hazard"].fit(known, 0)
            return fitted.predict(known.open_at([known.as_of]), spans)

        ours, _ = cpu(work)
        public, _ = cpu(
            lambda f=frames, h=history: metrics.forecast_deals(
                *f, as_of="2026-06-30", horizons=lengths(), history=h
            )
        )
        report(
            f"CPU: fit and predict, {len(frames[0]):,} deals; forecast_deals",
            f"{ours:.2f} s",
            f"{public:.2f} s (reading {reading:.2f})",
            None,
        )


def backtest(folder: Path, seeds: Sequence[int]) -> None:
    world = kept(folder, seeds[0])
    arguments = {
        "cutoffs": MONTHS, "horizons": lengths(), "as_of": world.as_of,
        "history": world.history, "rates": RATES,
    }  # fmt: skip
    deals, _ = cpu(lambda: metrics.backtest(*world.frames, **arguments, until_months=0))
    both, _ = cpu(lambda: metrics.backtest(*world.frames, **arguments))
    report(
        f"CPU: backtest of {len(MONTHS)} cutoffs, 2,000 deals; deals alone",
        f"{both:.1f} s",
        f"{deals:.1f} s",
        None,
    )


def measure(folder: Path | None = None, sizes: Sequence[int] = (1, 5, 50)) -> None:
    """Print the figures; companies are made where the folder lacks them."""
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) if folder is None else folder
        seeds = range(1, 9)
        draws(place, seeds)
        fitting(place, seeds, sizes)
        backtest(place, seeds)


if __name__ == "__main__":
    import sys

    measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
