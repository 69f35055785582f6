"""Requests side by side: how near a load comes to the plan's burst limit, with 100 ms on the way to
the server.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
from typing import Any

import pdframe
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions
from tests.bench.large import PAGE, serving
from tests.bench.table import report, seconds

RECORDS, LATENCY = 200, 0.1
DEALS = 400
PAGES, BULK = 300, 10_000
WINDOW_SECONDS = 2.0


def reported(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/counts") as answer:
        counted: dict[str, Any] = json.loads(answer.read())
        return counted


def long_lists() -> None:
    """A first load of a list of 300 pages, with an import of 10,000 rows in one second among them,
    and without.
    """
    for burst in (20, 120):
        for bulk in (0, BULK):
            with (
                serving(PAGES * PAGE, "activities", bulk=bulk, burst=burst, latency=LATENCY) as url,
                tempfile.TemporaryDirectory() as cache,
                pdframe.connect(
                    base_url=url, api_token="bench", cache_dir=cache, progress=False
                ) as account,
            ):
                account.fields("activities")
                time.sleep(WINDOW_SECONDS)
                busy = time.process_time()
                taken = seconds(lambda account=account: account.sync("activities"))
                busy, counted = time.process_time() - busy, reported(url)
            bound = max(counted["requests"] / (burst / WINDOW_SECONDS), busy)
            what = (
                f"{PAGES} pages at {LATENCY * 1000:.0f} ms, burst"
                f" {burst}{f', {bulk:,} rows in one second' if bulk else ''}"
            )
            report(
                f"seconds: {what} / the limit", f"{taken:.2f} s", f"{bound:.2f} s", taken / bound
            )
            report(
                "  requests / pages",
                f"{counted['requests']}",
                f"{PAGES}",
                counted["requests"] / PAGES,
            )
            report(
                "  fullest 2 s as the server counts them",
                f"{counted['fullest']}",
                f"{burst}",
                counted["fullest"] / burst,
            )


def side_by_side_requests() -> None:
    for burst in (20, 120):
        with pdframe.sandbox.connect(
            seed=1,
            deals=RECORDS + 100,
            company="hostile",
            burst=burst,
            latency=LATENCY,
            progress=False,
        ) as account:
            ids = account.deals()["id"].head(RECORDS).tolist()
            account.server.reset_stats()
            taken = seconds(lambda account=account, ids=ids: account.deal_changes(ids))
            requests, fullest = account.server.stats.requests, account.server.stats.fullest_window
        bound = requests / (burst / WINDOW_SECONDS)
        what = (
            f"seconds: {requests} requests at {LATENCY * 1000:.0f} ms, burst {burst} / the limit"
            " itself"
        )
        report(what, f"{taken:.2f} s", f"{bound:.2f} s", taken / bound)
        report("  fullest 2 s as the server counts them", f"{fullest}", f"{burst}", fullest / burst)


def independent_tables() -> None:
    """A first sync of everything, its tables side by side, over the same one table after the
    other.
    """
    for burst in (20, 120):
        taken: dict[int, float] = {}
        for at_once in (1, DEFAULT_OPTIONS.tables_at_once):
            with pdframe.sandbox.connect(
                seed=1,
                deals=DEALS,
                company="hostile",
                burst=burst,
                latency=LATENCY,
                progress=False,
                options=SyncOptions(tables_at_once=at_once),
            ) as account:
                account.company  # noqa: B018 - by now it is known how far away the server is
                time.sleep(WINDOW_SECONDS)
                account.server.reset_stats()
                taken[at_once] = seconds(lambda account=account: account.sync())
                requests, fullest = (
                    account.server.stats.requests,
                    account.server.stats.fullest_window,
                )
        alone, together = taken.values()
        what = f"seconds: sync of {DEALS} deals, {requests} requests, burst {burst} / one by one"
        report(what, f"{together:.2f} s", f"{alone:.2f} s", together / alone)
        report("  fullest 2 s as the server counts them", f"{fullest}", f"{burst}", fullest / burst)


if __name__ == "__main__":
    long_lists()
    independent_tables()
    side_by_side_requests()
