"""Requests that do not rest on one another, side by side: a load is as fast as the plan's burst
window, not as the way to the server.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from pdframe.sync.options import DEFAULT_OPTIONS

# How often what is done meanwhile is done.
EVERY_SECONDS = 0.1
_END: Any = object()
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ordered(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int = DEFAULT_OPTIONS.workers,
) -> Iterator[tuple[_Item, _Result]]:
    """Do some work on each item, `workers` at a time in threads, and yield item and result in the order
    of the items.

    Where the work on one fails, no further one is begun; what was under way is yielded first, for
    it is paid for, and then the error is raised. An interruption by the user waits for nothing:
    only what has come by then is yielded.

    Parameters
    ----------
    work
        What to do; it is called from several threads.
    items
        On what.
    workers
        How many threads.
    """
    if len(items) < 2 or workers < 2:
        yield from ((item, work(item)) for item in items)
        return
    pool = ThreadPoolExecutor(min(workers, len(items)), thread_name_prefix="pdframe")
    waiting, broken = iter(items), threading.Event()

    def attempt(item: _Item) -> _Result:
        try:
            return work(item)
        except BaseException:
            broken.set()  # known at once, though its turn may come later
            raise

    in_flight = deque((item, pool.submit(attempt, item)) for item in islice(waiting, workers))
    failed: BaseException | None = None
    try:
        while in_flight:
            item, future = in_flight.popleft()
            if failed is not None and _is_lost(future, failed):
                continue
            try:
                result = future.result()
            except BaseException as error:  # raised below, when what is under way has come
                failed = failed or error
                continue
            yield item, result
            if not broken.is_set():
                in_flight.extend((item, pool.submit(attempt, item)) for item in islice(waiting, 1))
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def map_unordered(
    work: Callable[[_Item], _Result],
    ready: Callable[[int], Sequence[_Item]],
    lanes: Callable[[], int],
    meanwhile: Callable[[], None] | None = None,
    *,
    workers: int = DEFAULT_OPTIONS.workers,
) -> Iterator[tuple[_Item, _Result]]:
    """Do some work on items that come to be known on the way, and yield item and result as they
    come.

    Failures and interruptions are dealt with as in `map_ordered`. One item alone is worked on in
    this thread.

    Parameters
    ----------
    work
        What to do; it is called from several threads.
    ready
        Called with how many more items may be begun, before each wait: hands out that many at most.
        None under way and none handed out is the end.
    lanes
        How many may be under way, `workers` at most.
    meanwhile
        Called in this thread now and then while it waits.
    workers
        How many threads.
    """
    pool: ThreadPoolExecutor | None = None
    in_flight: dict[Future[_Result], _Item] = {}
    failed: BaseException | None = None
    try:
        while True:
            free = min(lanes(), workers) - len(in_flight)
            items = ready(free) if failed is None and free > 0 else ()
            if len(items) == 1 and not in_flight:
                yield items[0], work(items[0])
                continue
            if items:
                pool = pool or ThreadPoolExecutor(workers, thread_name_prefix="pdframe")
                in_flight |= {pool.submit(work, item): item for item in items}
            if not in_flight:
                break
            future = _first_of(in_flight, meanwhile)
            item = in_flight.pop(future)
            try:
                result = future.result()
            except BaseException as error:  # raised below, when what is under way has come
                failed = failed or error
                continue
            yield item, result
        if failed is not None:
            raise failed
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def prefetch(items: Iterator[_Item]) -> Iterator[_Item]:
    """The items, each made in a thread while what is done with the one before it is under way.

    Whoever is interrupted, or wants no more of them, waits for the one that is being made.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="pdframe") as pool:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield item
            del item  # while the next one is waited for, nobody holds it


def _first_of(
    in_flight: Iterable[Future[_Result]], meanwhile: Callable[[], None] | None
) -> Future[_Result]:
    """One that is done, once there is one."""
    while not (done := wait(in_flight, EVERY_SECONDS if meanwhile else None, FIRST_COMPLETED).done):
        if meanwhile:
            meanwhile()
    return next(iter(done))


def _is_lost(future: Future[_Result], failed: BaseException) -> bool:
    """Whether a result is not waited for any more: it was not begun, or the user is waiting."""
    return future.cancel() or not (isinstance(failed, Exception) or future.done())
