"""A thousand small accounts: what a day's refresh of all of them is planned to cost, what it costs,
and how long it takes with some numbers of workers. Printed, not judged.

Twenty small companies, each behind a server that takes a tenth of a second a request, have fifty
caches each: every one is an account of its own, with its own plan, requests and tokens. Accounts of
one server share a lane, as those of one company do, so that at most twenty run at once.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from pdframe import fleet, sandbox

COMPANIES = 20
DEALS = 15
LATENCY_SECONDS = 0.1
_OPTIONS: dict[str, Any] = {"burst": 100_000, "daily_tokens": 10**9, "progress": False}


def thousand_accounts(count: int, workers: tuple[int, ...]) -> None:
    """Print the first load, the plan of the next day, and that day with each number of workers."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        opened = [
            stack.enter_context(
                sandbox.connect(
                    seed=seed, deals=DEALS, cache_dir=root / f"loaded{seed}", **_OPTIONS
                )
            )
            for seed in range(COMPANIES)
        ]
        first = [account.sync() for account in opened]
        for account in opened:
            account.sync()
            account.server.settings.latency = LATENCY_SECONDS
        each = sum(int(done["tokens"].sum()) for done in first) / COMPANIES
        print(
            f"first load: {each:,.0f} tokens an account, {each * count:,.0f} of {count:,} accounts"
        )
        for number in workers:
            for account in opened:
                account.advance(days=1)
            accounts = _copies(opened, root, count)
            began = time.perf_counter()
            plan = fleet.estimate(accounts, workers=number, progress=False)
            planned = time.perf_counter() - began
            _print_plan(plan, planned, number)
            began = time.perf_counter()
            done = fleet.sync(accounts, workers=number, progress=False)
            seconds = time.perf_counter() - began
            print(
                f"  synced: {done['tokens'].sum():,} tokens in {seconds:,.0f} s,"
                f" {count / seconds:.1f} accounts a second; {done['error'].notna().sum()} errors"
            )
            for account in opened:
                account.sync()


def _copies(opened: list[sandbox.SandboxAccount], root: Path, count: int) -> dict[str, Any]:
    """Return accounts: each has a copy of the cache of its company."""
    shutil.rmtree(root / "caches", ignore_errors=True)
    accounts = {}
    for number in range(count):
        account = opened[number % COMPANIES]
        cache = root / "caches" / f"{number:04}"
        shutil.copytree(account.cache_path.parent, cache)
        server = account.server
        accounts[f"client{number:04}"] = {
            "base_url": server.url,
            "api_token": server.token,
            "cache_dir": cache,
        }
    return accounts


def _print_plan(plan: pd.DataFrame, seconds: float, workers: int) -> None:
    totals = plan.groupby("table")[["requests", "tokens"]].sum()
    unknown = int(plan["tokens"].isna().sum())
    print(
        f"{workers} workers, planned in {seconds:,.0f} s: {int(totals['requests'].sum()):,}"
        f" requests, {int(totals['tokens'].sum()):,} tokens; of {unknown:,} tables unknown"
    )
    largest = totals.sort_values("tokens", ascending=False).head(5)
    print("  most: " + ", ".join(f"{name} {int(row.tokens):,}" for name, row in largest.iterrows()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--accounts", type=int, default=1_000)
    options.add_argument("--workers", default="4,16", help="numbers, with commas")
    given = options.parse_args()
    thousand_accounts(given.accounts, tuple(int(one) for one in given.workers.split(",")))
