"""Requests side by side: how near a load of changelogs comes to the plan's burst limit, with 100 ms on the way to the server."""

from __future__ import annotations

import pdframe
from tests.bench.table import report, seconds

RECORDS, LATENCY = 200, 0.1
WINDOW_SECONDS = 2.0


def side_by_side_requests() -> None:
    for burst in (20, 120):
        with pdframe.sandbox.connect(seed=1, deals=RECORDS + 100, burst=burst, latency=LATENCY, progress=False) as account:
            ids = account.deals()["id"].head(RECORDS).tolist()
            account.server.reset_stats()
            taken = seconds(lambda account=account, ids=ids: account.deal_changes(ids))  # type: ignore[misc]
            requests, fullest = account.server.stats.requests, account.server.stats.fullest_window
        bound = requests / (burst / WINDOW_SECONDS)
        what = f"seconds: {requests} requests at {LATENCY * 1000:.0f} ms, burst {burst} / the limit itself"
        report(what, f"{taken:.2f} s", f"{bound:.2f} s", taken / bound)
        report("  fullest 2 s as the server counts them", f"{fullest}", f"{burst}", fullest / burst)


if __name__ == "__main__":
    side_by_side_requests()
