"""A sync that is killed at any moment leaves a cache that opens, and the next one completes it
without paying twice.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow as pa
import pytest

from pdframe import sandbox
from pdframe.sandbox.server import Server
from pdframe.sandbox.server.log import Logged
from pdframe.schema import LISTS, TABLES
from pdframe.sync.schedule import UNFINISHED
from tests.helpers import crash, random_edits, tiers, true_cells
from tests.helpers.cell_by_cell import wrong_cells
from tests.helpers.scale import SCALE, SEED
from tests.helpers.tuning import WIDE

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")]

MOMENTS = (20 if tiers.TIER == "check" else 12) * SCALE
# How many requests are under way at once.
IN_FLIGHT = crash.SHORT_PAGES.workers
# Walks that cannot say what changed meanwhile: where they were interrupted, they start again.
FROM_THE_START = [
    name for name in LISTS if not TABLES[name].incremental and not TABLES[name].sources[0].batch
]
NEVER = 120.0


@pytest.mark.parametrize(
    ("meanwhile", "wide"),
    [(False, False), (True, False), (False, True)],
    ids=["a first load", "a refresh after a week", "a first load by windows"],
)
def test_a_sync_that_is_killed_leaves_a_cache_that_the_next_one_completes(
    meanwhile: bool, wide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    options = replace(crash.SHORT_PAGES, **WIDE) if wide else crash.SHORT_PAGES
    connect = partial(crash.connect, options=options)
    company = sandbox.Company(seed=4, deals=150)
    draw, context = random.Random(f"{SEED} {meanwhile}"), crash.processes()
    with crash.server_of(company) as server:
        start = tmp_path / "start"
        with connect(server.url, server.token, start) as account:
            account.company  # noqa: B018 - /users/me is asked for, and nothing else
            if meanwhile:
                account.sync(*LISTS)
                company.advance(days=7)
            before = crash.cached(account, LISTS)
        shutil.copytree(start, tmp_path / "whole")
        with connect(server.url, server.token, tmp_path / "whole") as account:
            server.reset_stats()
            account.sync(*LISTS)
            full, requests = crash.cached(account, LISTS), server.stats.requests
            if not meanwhile:
                state = true_cells.fold(company.events)
                assert not any(
                    wrong_cells(account, company, state, name, refresh=False)
                    for name in LISTS
                    if name not in true_cells.FIELD_LISTS
                )
        killed = 0
        of_deals, of_lines = random_edits.of_deals(company), random_edits.of_lines(company)
        for moment in range(MOMENTS // 2):
            cache = tmp_path / str(moment)
            shutil.copytree(start, cache)
            server.reset_stats()
            process = context.Process(
                target=crash.sync, args=(server.url, server.token, cache, LISTS, wide)
            )
            process.start()
            kill(process, server, after=draw.randrange(requests), delay=draw.uniform(0, 0.03))
            killed += process.exitcode != 0
            paid = server.requests
            server.reset_stats()
            with connect(server.url, server.token, cache) as account:
                assert set(account.status()["table"]) <= set(TABLES)
                unfinished = (account.cache_path / UNFINISHED).exists()
                for name, rows in crash.cached(account, LISTS).items():
                    assert same(rows, before[name]) or same(rows, full[name]), name
                account.sync(*LISTS)
                for name, rows in crash.cached(account, LISTS).items():
                    assert same(rows, full[name]), name
                finished = all(
                    same(rows, full[name]) for name, rows in crash.cached(account, LISTS).items()
                )
                if meanwhile:
                    # No change is lost, and none is reported twice.
                    for history, key, true in (
                        (account.deal_history(), "deal_id", of_deals),
                        (account.line_history(), "id", of_lines),
                    ):
                        assert random_edits.faults(history, key, true) == []
                        assert random_edits.forgotten(history, key, true, company.now) == []
            if unfinished:
                assert len(twice(paid, server.requests)) <= IN_FLIGHT, (
                    paid[-1],
                    twice(paid, server.requests),
                )
            else:
                # It had not begun, or had come to its end: then the next sync is another one.
                assert not paid or finished
            shutil.rmtree(cache)
        assert killed > 0
        assert not server.crashes


def test_records_that_were_finished_before_a_kill_are_not_requested_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    tables = ("deal_changes", "product_variations")
    templates = {
        f"/api/{source.api}{source.path}" for name in tables for source in TABLES[name].sources
    }
    company = sandbox.Company(seed=4, deals=90)
    draw, context = random.Random(SEED), crash.processes()
    with crash.server_of(company) as server:
        start = tmp_path / "start"
        with crash.connect(server.url, server.token, start) as account:
            account.sync("deals", "products")
        shutil.copytree(start, tmp_path / "whole")
        with crash.connect(server.url, server.token, tmp_path / "whole") as account:
            server.reset_stats()
            account.sync(*tables)
            full, requests = crash.cached(account, tables), server.stats.requests
            records = sum(entry.template in templates for entry in server.requests)
        killed = 0
        for moment in range(MOMENTS // 4):
            cache = tmp_path / str(moment)
            shutil.copytree(start, cache)
            server.reset_stats()
            process = context.Process(
                target=crash.sync, args=(server.url, server.token, cache, tables)
            )
            process.start()
            kill(process, server, after=draw.randrange(requests), delay=draw.uniform(0, 0.03))
            killed += process.exitcode != 0
            with crash.connect(server.url, server.token, cache) as account:
                crash.cached(account, tables)
                account.sync(*tables)
                for name, rows in crash.cached(account, tables).items():
                    assert same(rows, full[name]), name
            requested = Counter(
                entry.path for entry in server.requests if entry.template in templates
            )
            assert len(requested) == records
            assert sum(times > 1 for times in requested.values()) <= crash.SAVED_EVERY + IN_FLIGHT
            shutil.rmtree(cache)
        assert killed > 0


def kill(process: BaseProcess, server: Server, *, after: int, delay: float) -> None:
    """Kill a process some time after the server has answered so many requests, unless it has come
    to its end by then.
    """
    end = time.monotonic() + NEVER
    while process.is_alive() and server.stats.requests < after:
        assert time.monotonic() < end
        time.sleep(0.001)
    process.join(delay)
    process.kill()
    process.join()


def same(one: pa.Table | None, other: pa.Table | None) -> bool:
    return one is other is None or (one is not None and other is not None and one.equals(other))


def twice(first: list[Logged], second: Iterable[Logged]) -> list[tuple[str, dict[str, str]]]:
    """The pages that two runs paid for, but for those that close a gap and those of a walk that
    starts again where it was killed.
    """
    in_flight = first[-IN_FLIGHT:]
    lists_of = {
        name: {f"/api/{source.api}{source.path}" for source in TABLES[name].sources}
        for name in FROM_THE_START
    }
    again = set().union(
        *(
            paths
            for paths in lists_of.values()
            if any(entry.template in paths for entry in in_flight)
        )
    )
    batches = {entry.params["deal_ids"] for entry in in_flight if "deal_ids" in entry.params}

    def pages(entries: Iterable[Logged]) -> Counter[tuple[str, tuple[tuple[str, str], ...]]]:
        return Counter(
            (entry.path, tuple(sorted(entry.params.items())))
            for entry in entries
            # The first page of what changed is asked for again to close a gap.
            if not ("updated_since" in entry.params and "cursor" not in entry.params)
            and "ids" not in entry.params
            and entry.params.get("status") != "deleted"
            and entry.template not in again
            # A batch of deals is kept when all of its pages are there.
            and entry.params.get("deal_ids") not in batches
        )

    return [(path, dict(params)) for path, params in (pages(first) & pages(second)).elements()]


@pytest.mark.parametrize("rounds", [10 * SCALE])
def test_two_processes_sync_while_a_third_reads_complete_tables(
    rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ("deals", "deal_products", "stages")
    company = sandbox.Company(seed=3, deals=60)
    context = crash.processes()
    with crash.server_of(company) as server:
        with crash.connect(server.url, server.token, tmp_path) as account:
            account.sync(*tables)
            full = crash.cached(account, tables)
        arguments = (server.url, server.token, tmp_path, tables, rounds)
        workers = [context.Process(target=crash.sync_often, args=arguments) for _ in range(2)]
        for worker in workers:
            worker.start()
        read = 0
        with crash.connect(server.url, server.token, tmp_path) as account:
            while any(worker.is_alive() for worker in workers):
                for name, rows in crash.cached(account, tables).items():
                    assert same(rows, full[name]), name
                read += 1
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert read > 0
        assert not server.crashes
