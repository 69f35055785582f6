"""The frames of synthetic companies that the forecast's benches measure, each made once and kept
in a folder as a pickled dict of frames.

    python -m tests.bench.forecast_worlds FOLDER --seeds 1-20 --weekly 1-4
"""

from __future__ import annotations

import argparse
import inspect
import os
import pickle
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

import pdframe
from pdframe.sandbox.company import agenda as agendas
from pdframe.sandbox.company.clock import DAY, END, START

DEALS = 2_000
WEEK = 7 * DAY
LIMITS: dict[str, Any] = {"burst": 10_000_000, "daily_tokens": 1_000_000_000, "progress": False}


@dataclass(frozen=True)
class World:
    """The frames of a company as a user loads them, and its truth.

    Parameters
    ----------
    seed, size
        Which company, of how many deals.
    deals, visits, stages, pipelines, history
        `account.deals(archived=True, deleted=True, names=True)`, `stage_visits()`, `stages()`,
        `pipelines()`, `deal_history()`.
    states
        The company's own record: deal_id, time, status after each write that changed it. It is
        independent of what `pdframe` reads.
    as_of
        The end: the company's clock.
    """

    seed: int
    size: int
    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame
    history: pd.DataFrame
    states: pd.DataFrame
    as_of: pd.Timestamp

    @property
    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """What every forecast takes first."""
        return self.deals, self.visits, self.stages


def world(seed: int, deals: int = DEALS, market: Any = None) -> World:
    """Load everything of a company, every changelog included."""
    with pdframe.sandbox.connect(
        seed=seed, deals=deals, company="hostile", **_market(market), **LIMITS
    ) as account:
        account.sync("deals", "stages", "pipelines", "users")
        account.deal_changes()
        return _frames(account, seed, deals)


def weekly_world(seed: int, deals: int = DEALS) -> World:
    """Load the same company as somebody has it who syncs every week from its first day on and
    loads no changelog.
    """
    with (
        _stopped_at_founding() as clocks,
        pdframe.sandbox.connect(
            seed=seed, deals=deals, company="hostile", max_age=None, **LIMITS
        ) as account,
    ):
        clock = clocks[0]
        account.sync("deals", "stages", "pipelines", "users")
        for until in range(START, END, WEEK):
            clock.run(until)
            account.sync("deals")
        clock.run(END)
        account.sync("deals", "stages", "pipelines", "users")
        return _frames(account, seed, deals)


@contextmanager
def _stopped_at_founding() -> Iterator[list[Any]]:
    """Let the companies of the block begin without their past; give the agendas to run it with."""
    stopped: list[Any] = []
    run = agendas.Agenda.run

    def first_stop(agenda: Any, until: int) -> None:
        if agenda in stopped:
            run(agenda, until)
        else:
            stopped.append(agenda)

    with patch.object(agendas.Agenda, "run", first_stop):
        yield stopped


def _market(market: Any) -> dict[str, Any]:
    return {} if market is None else {"market": market}


def _frames(account: pdframe.sandbox.SandboxAccount, seed: int, size: int) -> World:
    company = account.company_model
    states = pd.DataFrame(
        [
            (state.deal_id, state.time, state.status)
            for deal in company.tables["deals"]
            for state in company.truth.deal_states(deal)
        ],
        columns=["deal_id", "time", "status"],
    )
    states["time"] = pd.to_datetime(states["time"], unit="s", utc=True).astype(
        "datetime64[us, UTC]"
    )
    return World(
        seed,
        size,
        account.deals(archived=True, deleted=True, names=True),
        account.stage_visits(),
        account.stages(),
        account.pipelines(),
        account.deal_history(),
        states,
        pd.Timestamp(company.now, unit="s", tz="UTC"),
    )


def kept(
    folder: Path, seed: int, *, weekly: bool = False, deals: int = DEALS, market: Any = None
) -> World:
    """Return a world from the folder; make it first where it is not there."""
    name = "-".join(
        [
            f"seed{seed}",
            *(["weekly"] if weekly else []),
            *([f"deals{deals}"] if deals != DEALS else []),
            *([_name_of(market)] if market is not None else []),
        ]
    )
    path = folder / f"{name}.pkl"
    if path.exists():
        return World(**pickle.loads(path.read_bytes()))  # noqa: S301, a file of this script
    result = weekly_world(seed, deals) if weekly else world(seed, deals, market)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(pickle.dumps(vars(result), protocol=pickle.HIGHEST_PROTOCOL))
    partial.replace(path)
    return result


def _name_of(market: Any) -> str:
    """Name a market by the fields that differ from their defaults."""
    usual = {name: p.default for name, p in inspect.signature(type(market)).parameters.items()}
    given = {name: getattr(market, name) for name in usual}
    return "-".join(f"{name}{value}" for name, value in given.items() if value != usual[name])


def market_of(shock_sd: float = 0.0, break_days: int = 0) -> Any:
    """Return a market with a shared shock, or with a win rate that halves some days before the
    end; None for neither.
    """
    if not shock_sd and not break_days:
        return None
    broken = datetime.fromtimestamp(END - break_days * DAY, UTC).date() if break_days else None
    return pdframe.sandbox.Market(shock_sd=shock_sd, break_at=broken)


def seeds_of(text: str) -> range:
    """Read "1-20", or "7"."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=seeds_of, default=range(0))
    parser.add_argument("--weekly", type=seeds_of, default=range(0))
    parser.add_argument("--shock", type=float, nargs="*", default=[0.0])
    parser.add_argument("--break-days", type=int, default=0, help="before the end")
    options = parser.parse_args()
    warnings.simplefilter("ignore", pdframe.DataWarning)
    markets = [market_of(shock, options.break_days) for shock in options.shock]
    wanted = [(seed, False, market) for market in markets for seed in options.seeds]
    wanted += [(seed, True, None) for seed in options.weekly]
    for seed, weekly, market in wanted:
        start = time.process_time()
        made = kept(options.folder, seed, weekly=weekly, market=market)
        print(
            f"seed {seed}{' weekly' if weekly else ''} {market or ''}: {len(made.deals):,} deals,"
            f" {len(made.history):,} changes, {time.process_time() - start:.1f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main()
