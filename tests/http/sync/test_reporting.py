"""Tables side by side: the same rows for the same requests, told by one thread, and given up
cleanly.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe._progress import NoTick, Tick
from pdframe.cache.store import Manifest, Store
from pdframe.errors import BlockedError, DataWarning, ResponseError
from pdframe.sandbox.server import ALL_SCOPES, Faults, OAuthClient, Server
from pdframe.schema import LISTS, TABLES
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.plan import dependencies
from pdframe.sync.reporting import WorkerReporter
from tests.helpers.cache_files import store_of
from tests.helpers.internals import show_progress_on
from tests.helpers.notices import notes_in
from tests.helpers.proxy import through_proxy
from tests.helpers.scripted_server import Reply, fail

# Far enough away to be worth it, near enough for a test.
AWAY = 0.03


@pytest.fixture(scope="module")
def company() -> sandbox.Company:
    return sandbox.Company(seed=3, deals=60)


@pytest.fixture
def server(company: sandbox.Company) -> Iterator[Server]:
    with Server(company, burst=100_000, latency=AWAY) as server:
        yield server


def connect(server: Server, cache_dir: Path, **options: Any) -> pdframe.Account:
    return pdframe.connect(
        base_url=server.url,
        api_token=server.token,
        cache_dir=cache_dir,
        **{"progress": False, **options},
    )


def cached(account: pdframe.Account) -> dict[str, pd.DataFrame]:
    return {
        name: store_of(account).read(name).to_pandas()
        for name in LISTS
        if store_of(account).manifest(name)
    }


def assert_same(ours: dict[str, pd.DataFrame], theirs: dict[str, pd.DataFrame]) -> None:
    assert ours.keys() == theirs.keys()
    for name, frame in ours.items():
        pd.testing.assert_frame_equal(frame, theirs[name], obj=name)


@pytest.fixture
def one_by_one(server: Server, tmp_path: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame], int]:
    """What a sync tells, keeps and pays that works on one table after the other."""
    options = SyncOptions(workers=1)
    with connect(server, tmp_path / "one by one", options=options) as account:
        reported = account.sync(*LISTS)
        return reported, cached(account), server.stats.tokens


class Bars:
    """Progress bars that note who moves them, and which are open at once."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self.threads: set[int] = set()
        self.rows: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.places: list[str] = []

    @contextmanager
    def __call__(self, title: str, **how: Any) -> Iterator[Tick]:
        self.open.add(title)
        self.places.append(how["place"])
        self.together.add(frozenset(self.open))

        class Counting(NoTick):
            def __call__(tick, done: int) -> None:  # noqa: N805
                assert title in self.open
                self.threads.add(threading.get_ident())
                self.rows[title] = self.rows.get(title, 0) + done

            def expect(tick, total: int) -> None:  # noqa: N805
                self.totals[title] = total

        yield Counting()
        self.open.remove(title)


def test_the_same_rows_are_kept_for_the_same_requests(
    server: Server, one_by_one: tuple[pd.DataFrame, dict[str, pd.DataFrame], int], tmp_path: Path
) -> None:
    reported, rows, tokens = one_by_one
    server.reset_stats()
    bars = Bars()
    with connect(server, tmp_path / "abreast") as account:
        show_progress_on(account, bars)
        ours = account.sync(*LISTS)
        assert_same(cached(account), rows)
    assert server.stats.tokens == tokens
    pd.testing.assert_frame_equal(ours.drop(columns="seconds"), reported.drop(columns="seconds"))
    assert max(map(len, bars.together)) > 1
    assert bars.threads == {threading.get_ident()}
    assert not bars.open
    full = reported.set_index("table")
    assert all(bars.rows[name] >= full["rows"][name] for name in bars.rows)
    assert {name for name in full.index if full["rows"][name]} <= set(bars.rows)


def test_a_table_waits_for_all_that_it_needs(server: Server, tmp_path: Path) -> None:
    with connect(server, tmp_path) as account:
        account.sync("installments", "phases", "persons", "deals")
    first: dict[str, int] = {}
    for number, entry in enumerate(server.requests):
        first.setdefault(entry.template, number)
    last = {entry.template: number for number, entry in enumerate(server.requests)}
    order = [
        f"/api/{TABLES[name].sources[0].api}{TABLES[name].sources[0].path}"
        for name in ("deal_fields", "deals", "deal_products", "installments")
    ]
    for before, after in pairwise(order):
        assert last[before] < first[after], (before, after)
    assert last["/api/v2/boards"] < first["/api/v2/phases"]


def test_near_servers_are_fetched_table_by_table(company: sandbox.Company, tmp_path: Path) -> None:
    bars = Bars()
    options = SyncOptions(min_latency_seconds=60.0)
    with (
        Server(company, burst=100_000) as server,
        connect(server, tmp_path, options=options) as account,
    ):
        show_progress_on(account, bars)
        account.sync(*LISTS)
    assert max(map(len, bars.together)) == 1
    count = len({*LISTS} | {other for name in LISTS for other in dependencies(name)})
    assert {place.rpartition(" ")[2] for place in bars.places} == {str(count)}
    places = [int(place.split(" ")[1]) for place in bars.places]
    assert places == sorted(set(places))


def test_records_have_a_total(server: Server, tmp_path: Path) -> None:
    bars = Bars()
    with connect(server, tmp_path) as account:
        show_progress_on(account, bars)
        account.deal_changes([1, 2, 3])
        assert (bars.totals, bars.rows) == ({"deal_changes": 3}, {"deal_changes": 3})
        rows = account.sync("deal_changes").set_index("table")["requests"]["deal_changes"]
    assert bars.totals["deal_changes"] == rows
    assert bars.rows["deal_changes"] == 3 + rows


def test_an_error_is_raised_after_running_tables_are_kept_and_before_others_start(
    server: Server, tmp_path: Path
) -> None:
    def fail_one(path: str, params: Mapping[str, str], content: Any) -> Reply | None:
        if path == "/pipelines":
            time.sleep(5 * AWAY)
        return fail(400, "made up") if path == "/stages" and failing else None

    failing = True
    with (
        through_proxy(server, fail_one) as origin,
        pdframe.connect(
            base_url=origin, api_token=server.token, cache_dir=tmp_path, progress=False
        ) as account,
    ):
        account.company  # noqa: B018 - by now it is known how far away the server is
        with pytest.raises(ResponseError, match="made up") as caught:
            account.sync("pipelines", "stages", "installments", "users")
        kept = set(cached(account))
        assert "pipelines" in kept
        assert "stages" not in kept
        assert "installments" not in kept
        assert "pipelines" in caught.value.kept.split(" as of now")[0]
        failing = False
        reported = account.sync("pipelines", "stages", "installments", "users").set_index("table")
        # What was finished before the error is not paid for again.
        assert reported["mode"]["pipelines"] == "skipped"
        assert reported["mode"]["stages"] == "full"


def test_where_a_list_is_withheld_the_others_load(company: sandbox.Company, tmp_path: Path) -> None:
    app = OAuthClient(
        "app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"projects:read", "projects:full"}
    )
    with Server(company, oauth_clients=[app], burst=100_000, latency=AWAY) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as account:
            done = account.sync("phases", "stages", "users").set_index("table")["mode"].to_dict()
    assert done == {"stages": "full", "users": "full", "boards": "unavailable", "phases": "skipped"}


def test_warnings_come_last_in_the_order_of_the_schema_and_point_at_the_users_line(
    server: Server, tmp_path: Path
) -> None:
    with connect(server, tmp_path) as account:
        account.sync(*LISTS)
        damaged = [name for name in TABLES if name in ("stages", "persons", "users", "pipelines")]
        for name in damaged:
            next((account.cache_path / name).glob("*.parquet")).write_bytes(b"no parquet")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            account.sync(*LISTS)
        said = [warning for warning in caught if issubclass(warning.category, DataWarning)]
        assert [
            next(name for name in damaged if f"'{name}'" in note) for note in notes_in(said)
        ] == damaged
        assert {one.filename for one in said} == {__file__}
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataWarning)
            next((account.cache_path / "stages").glob("*.parquet")).write_bytes(b"no parquet")
            with pytest.raises(DataWarning, match="stages"):
                account.sync(*LISTS)
        # It was loaded all the same.
        assert len(account.stages(refresh=False)) > 0


# An interruption between the opening of a file and the `with` that closes it leaves it to the
# interpreter, which warns and closes it.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_interruption_does_not_wait_and_nothing_is_written_after_it(
    server: Server,
    one_by_one: tuple[pd.DataFrame, dict[str, pd.DataFrame], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Interrupted at any moment; the lock is held as long as anything is written.

    Python itself swallows an interruption that arrives in a weak reference's callback: the sync
    then goes on to its end, and `sys.unraisablehook` hears of it.
    """
    _, rows, tokens = one_by_one
    swallowed: list[Any] = []
    reported = sys.unraisablehook

    def unraisable(failure: Any) -> None:
        if isinstance(failure.exc_value, KeyboardInterrupt):
            swallowed.append(failure.exc_type)
        else:
            reported(failure)

    locked, written_without, lock, publish = [0], [], Store.lock, Store.publish

    @contextmanager
    def noting(self: Store) -> Iterator[Any]:
        with lock(self) as kept:
            locked[0] += 1
            release = kept.unlock

            def released() -> None:
                locked[0] -= 1
                release()

            kept.unlock = released
            yield kept

    def writing(self: Store, manifest: Manifest) -> Manifest:
        if not locked[0]:
            written_without.append(manifest)
        return publish(self, manifest)

    # A job in the background ignores interruptions.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(Store, "lock", noting)
    monkeypatch.setattr(Store, "publish", writing)
    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    interrupted = 0
    for moment in range(6):
        server.reset_stats()
        with connect(server, tmp_path / str(moment)) as account:
            account.company  # noqa: B018 - by now it is known how far away the server is
            timer = threading.Timer(AWAY * (0.4 + 2 * moment), _thread.interrupt_main)
            timer.start()
            try:
                account.sync(*LISTS)
            except KeyboardInterrupt:
                interrupted += 1
            timer.cancel()
            try:
                timer.join()
                time.sleep(0)
            except KeyboardInterrupt:
                interrupted += 1
            account.sync(*LISTS)
            assert_same(cached(account), rows)
        # Nothing is asked for more than twice, and what was finished only once.
        assert server.stats.tokens < 2 * tokens
        assert locked == [0]
    assert interrupted + len(swallowed) == 6
    assert interrupted >= 4
    assert written_without == []


def test_cancelled_work_ends_at_its_next_page(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not send requests for an account that was interrupted."""
    tell, reported = WorkerReporter.flush, [0]

    def interrupting(self: WorkerReporter) -> None:
        tell(self)
        reported[0] += 1
        if reported[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(WorkerReporter, "flush", interrupting)
    with connect(server, tmp_path, options=SyncOptions(page_size=2)) as account:
        account.company  # noqa: B018 - by now it is known how far away the server is
        with pytest.raises(KeyboardInterrupt):
            account.sync(*LISTS)
        requested = server.stats.requests
        with store_of(account).lock():
            ended = server.stats.requests
        time.sleep(5 * AWAY)
        assert server.stats.requests == ended <= requested + 2 * DEFAULT_OPTIONS.tables_at_once


def test_a_warning_of_a_loader_points_at_the_users_line(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3,
        deals=20,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
    ) as account:
        account.stages()
        next((account.cache_path / "stages").glob("*.parquet")).write_bytes(b"no parquet")
        with pytest.warns(DataWarning, match="stages") as caught:
            account.stages()
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("burst", [7, 30])
def test_the_burst_limit_is_kept_by_tables_side_by_side(
    company: sandbox.Company, burst: int, tmp_path: Path
) -> None:
    with Server(company, burst=burst, latency=AWAY) as server, connect(server, tmp_path) as account:
        account.sync(*LISTS)
        assert server.stats.fullest_window <= burst
        assert 429 not in server.stats.statuses


def test_a_blocked_token_is_not_used_on(server: Server, tmp_path: Path) -> None:
    with connect(server, tmp_path) as account:
        account.company  # noqa: B018 - by now it is known how far away the server is
        server.faults = Faults(rate=1.0, kinds=["html_403"])
        with pytest.raises(BlockedError):
            account.sync(*LISTS)
        requested = server.stats.requests
        assert requested <= 1 + DEFAULT_OPTIONS.tables_at_once
        with pytest.raises(BlockedError):
            account.sync(*LISTS)
        assert server.stats.requests == requested
