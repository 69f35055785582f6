"""Work side by side: in order, a few at a time, and nothing lost that was paid for."""

import threading
import time
from collections.abc import Iterator

import pytest

from pdframe import sandbox
from pdframe.sync import DEFAULT_OPTIONS
from pdframe.sync.concurrency import map_ordered, prefetch


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 * (number % 3))
        return number * number

    assert list(map_ordered(work, range(20))) == [(number, number * number) for number in range(20)]
    assert list(map_ordered(work, [])) == []
    assert list(map_ordered(work, [7])) == [(7, 49)]


def test_as_many_are_in_progress_as_there_are_lanes_and_no_more() -> None:
    all_there = threading.Barrier(DEFAULT_OPTIONS.workers)
    at_work, most, lock = [0], [0], threading.Lock()

    def work(number: int) -> int:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        all_there.wait(timeout=30)
        with lock:
            at_work[0] -= 1
        return number

    assert (
        len(list(map_ordered(work, range(3 * DEFAULT_OPTIONS.workers))))
        == 3 * DEFAULT_OPTIONS.workers
    )
    assert most == [DEFAULT_OPTIONS.workers]


def collected(results: Iterator[tuple[int, int]], error: type[BaseException]) -> list[int]:
    received: list[int] = []
    with pytest.raises(error):  # noqa: PT012
        for item, _ in results:
            received.append(item)
    return received


def test_where_one_fails_running_ones_finish_and_no_further_one_starts() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            failed.set()
            raise ValueError(number)
        if number > 2:
            failed.wait(timeout=30)
            time.sleep(0.05)
        return number

    received = collected(map_ordered(work, range(100)), ValueError)
    assert received == [number for number in sorted(begun) if number != 2]
    assert len(begun) <= 2 + DEFAULT_OPTIONS.workers


def test_an_interruption_does_not_wait() -> None:
    released = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            raise KeyboardInterrupt
        released.wait(timeout=30)
        return number

    start = time.monotonic()
    assert collected(map_ordered(work, range(20)), KeyboardInterrupt) == []
    assert time.monotonic() - start < 10
    released.set()


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_line_items_and_changelogs_are_requested_side_by_side_within_the_burst_window() -> None:
    with sandbox.connect(
        seed=3, deals=600, company="hostile", burst=10, latency=0.05, progress=False
    ) as account:
        deals = account.deals()["id"].head(25).tolist()
        account.deal_products()
        together = account.deal_changes(deals)
        stats = account.server.stats
        assert stats.fullest_window <= 10
        assert 429 not in stats.statuses
        one_by_one = [account.deal_changes(deal, refresh=True) for deal in deals]
    assert sum(map(len, one_by_one)) == len(together)


def numbers(made: list[int], upto: int, *, error: Exception | None = None) -> Iterator[int]:
    for number in range(upto):
        made.append(number)
        yield number
    if error:
        raise error


def test_one_item_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    for number in prefetch(numbers(made, 10)):
        deadline = time.monotonic() + 30
        while len(made) < min(number + 2, 10) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) == min(number + 2, 10)
    assert made == list(range(10))
    assert list(prefetch(iter([None, 0, ""]))) == [None, 0, ""]
    assert list(prefetch(iter([]))) == []


def test_an_error_of_the_iterator_is_raised_after_its_items() -> None:
    received = []
    with pytest.raises(ValueError, match="broken"):  # noqa: PT012
        for number in prefetch(numbers([], 3, error=ValueError("broken"))):
            received.append(number)
    assert received == [0, 1, 2]


def test_a_consumer_that_stops_leaves_no_thread_running() -> None:
    made: list[int] = []
    before = threading.active_count()
    ahead = prefetch(numbers(made, 10))
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
    assert made == [0, 1]
