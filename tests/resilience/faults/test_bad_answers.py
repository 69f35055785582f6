"""Servers that answer badly at random: every table arrives whole and true, within bounded retries,
or one typed error says why not.
"""

from __future__ import annotations

import threading
from itertools import groupby
from pathlib import Path

import pytest

import pdframe
from pdframe import sandbox
from pdframe.api.limits import ExchangeLimits
from pdframe.api.responses import BLOCK_SECONDS, MAX_WAIT_SECONDS
from pdframe.api.retry import PATIENCE_SECONDS
from pdframe.errors import BlockedError, PdframeError, RateLimitError, ResponseError, TransportError
from pdframe.sandbox.server import Server
from pdframe.sandbox.server.faults import KINDS
from pdframe.sync import SyncOptions
from tests.helpers import true_cells
from tests.helpers.cell_by_cell import LOADED, wrong_cells
from tests.helpers.internals import client_of, set_timeout, without_waiting
from tests.helpers.scale import SCALE, SEED

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

ATTEMPTS = 6
FINAL = {"html_403": BlockedError, "success_false_200": ResponseError, "redirect": ResponseError}
GIVEN_UP = {"rate_429": RateLimitError, "rate_429_retry_after": RateLimitError}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2 * SCALE))
def test_fifteen_in_a_hundred_answers_are_bad_and_every_table_is_true(
    number: int,
) -> None:
    options = SyncOptions(page_size=40)
    with sandbox.connect(
        seed=3 + number,
        deals=150,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age="1h",
        options=options,
    ) as account:
        time = without_waiting(account)
        faults = sandbox.Faults(rate=0.15, seed=SEED + number, kinds=KINDS, slow_seconds=0.01)
        # A refresh cannot see every change, a reload can.
        for reload in (False, True):
            account.server.faults = faults
            for _ in range(100):
                account.server.reset_stats()
                try:
                    account.sync(full=reload)
                    break
                except (BlockedError, ResponseError):
                    # What no retry mends ends the sync; the next one goes on from there.
                    time.sleep(BLOCK_SECONDS)
                finally:
                    sent = [
                        (entry.path, tuple(entry.params.items()))
                        for entry in account.server.requests
                    ]
                    assert (
                        max((len(list(same)) for _, same in groupby(sent)), default=0) <= ATTEMPTS
                    )
            else:
                pytest.fail("no sync came to its end")
            account.server.faults = None
            state = true_cells.fold(account.company_model.events)
            wrong = {
                table: wrong_cells(account, account.company_model, state, table, refresh=False)
                for table in LOADED
            }
            assert not any(wrong.values()), {
                table: cells[:3] for table, cells in wrong.items() if cells
            }
            account.advance(days=7)
        assert not account.server.crashes


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_never_recovers_ends_in_one_typed_error_in_the_stated_time(
    kind: str, tmp_path: Path
) -> None:
    """At most six requests, no retry later than 300 s after the first, and no wait longer than what
    the server may ask for.
    """
    with Server(sandbox.Company(seed=3, deals=20), burst=100_000) as server:
        with pdframe.connect(
            base_url=server.url, api_token=server.token, cache_dir=tmp_path, progress=False
        ) as account:
            before = account.deals()
            time = without_waiting(account)
            set_timeout(account, 0.1)
            server.faults = sandbox.Faults(rate=1.0, kinds=(kind,), slow_seconds=0.4)
            server.reset_stats()
            began = time.now
            with pytest.raises(PdframeError, match="What was cached before is kept") as caught:
                account.deals(refresh=True)
            assert type(caught.value) is {**FINAL, **GIVEN_UP}.get(kind, TransportError)
            assert server.token not in str(caught.value)
            assert server.stats.requests <= (1 if kind in FINAL else ATTEMPTS)
            assert (
                time.now - began <= PATIENCE_SECONDS + MAX_WAIT_SECONDS + ExchangeLimits().seconds
            )
            server.faults = None
            assert account.deals(refresh=False).equals(before)
        for thread in threading.enumerate():
            # What the slow server still has to say is said before it goes.
            if thread.name.startswith("Thread-"):
                thread.join(1)


@pytest.mark.slow
@pytest.mark.parametrize("burst", [20, 120])
def test_threads_that_share_a_client_never_fill_the_window(burst: int, tmp_path: Path) -> None:
    """As the server counts: no window of 2 s is fuller than the plan allows, none of its answers is
    a 429, let alone an HTML 403.
    """
    server = Server(sandbox.Company(seed=3, deals=60), burst=burst, block_after=1)
    with (
        server,
        pdframe.connect(
            base_url=server.url, api_token=server.token, cache_dir=tmp_path, progress=False
        ) as account,
    ):
        deals = account.deals()["id"].tolist()
        requested = (deals * 5)[: 2 * burst]
        failures: list[BaseException] = []

        def work(mine: list[int]) -> None:
            try:
                for deal in mine:
                    client_of(account).get_json(f"/deals/{deal}", cost=1)
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(requested[number::8],)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        assert len(server.requests) > 2 * burst
        assert server.stats.fullest_window <= burst
        assert set(server.stats.statuses) == {200}
