"""Independent work in threads: a load is as fast as the plan's burst window allows, however far
away the server is.

`map_ordered`, `map_unordered` and `prefetch` are three views of one loop, `_run`. Where the work on
an item fails, no further item is begun; what is in flight is yielded first, because it is paid for,
and then the error is raised. An interruption by the user waits for nothing: only finished results
are yielded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, TypeVar

from pdframe.sync.options import DEFAULT_OPTIONS

# Threads of a pool: it starts as many as there are items in flight.
_MOST = 256
# How often `meanwhile` is called.
EVERY_SECONDS = 0.1
_END: Any = object()
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ordered(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    workers: int = DEFAULT_OPTIONS.workers,
) -> Iterator[tuple[_Item, _Result]]:
    """Work on each item, and yield item and result in the order of the items.

    Parameters
    ----------
    work
        What to do; it is called from several threads.
    items
        The items.
    workers
        The most items in flight, one a thread.
    """
    waiting, most = iter(items), max(1, min(workers, len(items)))
    return _run(work, lambda free: list(islice(waiting, free)), lambda: most, in_order=True)


def map_unordered(
    work: Callable[[_Item], _Result],
    ready: Callable[[int], Sequence[_Item]],
    wanted: Callable[[], int],
    meanwhile: Callable[[], None] | None = None,
    *,
    workers: int = DEFAULT_OPTIONS.workers,
) -> Iterator[tuple[_Item, _Result]]:
    """Work on items that become known on the way, and yield item and result as they finish.

    Parameters
    ----------
    work
        What to do; it is called from several threads.
    ready
        Called before each wait with the number of items that may be begun; returns that many at
        most. The end is when it returns none and none is in flight.
    wanted
        Returns how many items should be in flight.
    meanwhile
        Called in this thread at intervals while it waits.
    workers
        The most items in flight, one a thread.
    """
    return _run(work, ready, lambda: min(wanted(), workers), meanwhile=meanwhile)


def prefetch(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items, each made in a thread while the caller works on the one before it.

    Where the caller is interrupted, or stops, it waits for the one that is being made.
    """
    made = _run(lambda _: next(items, _END), lambda free: [None] * free, lambda: 1, ahead=True)
    try:
        for _, item in made:
            if item is _END:
                return
            yield item
            del item  # frees its memory while the next one is made
    finally:
        made.close()


def _run(
    work: Callable[[_Item], _Result],
    ready: Callable[[int], Sequence[_Item]],
    wanted: Callable[[], int],
    *,
    in_order: bool = False,
    ahead: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Generator[tuple[_Item, _Result]]:
    """Work on items in threads, and yield item and result; one item alone is worked on in this
    thread.

    Parameters
    ----------
    work, ready, wanted, meanwhile
        As in `map_unordered`.
    in_order
        Whether results are yielded in the order in which their items were begun.
    ahead
        Whether the next items are begun before a result is yielded, and waited for at the end.
    """
    pool: ThreadPoolExecutor | None = None
    in_flight: dict[Future[_Result], _Item] = {}
    broken = threading.Event()
    failed: BaseException | None = None

    def attempt(item: _Item) -> _Result:
        try:
            return work(item)
        except BaseException:
            broken.set()  # known at once, though its turn may come later
            raise

    def next_items() -> Sequence[_Item]:
        free = wanted() - len(in_flight)
        return ready(free) if free > 0 and not broken.is_set() else ()

    def begin(items: Sequence[_Item]) -> None:
        nonlocal pool
        if items:
            pool = pool or ThreadPoolExecutor(thread_name_prefix="pdframe", max_workers=_MOST)
            in_flight.update((pool.submit(attempt, item), item) for item in items)

    try:
        while True:
            items = next_items()
            if len(items) == 1 and not in_flight and not ahead:
                yield items[0], work(items[0])
                continue
            begin(items)
            if not in_flight:
                break
            future = next(iter(in_flight)) if in_order else _first_of(in_flight, meanwhile)
            item = in_flight.pop(future)
            if failed is not None and _is_lost(future, failed):
                continue
            try:
                result = future.result()
            except BaseException as error:  # raised below, after what is in flight
                failed = failed or error
                continue
            if ahead:
                begin(next_items())
            yield item, result
            del result, future
        if failed is not None:
            raise failed
    finally:
        if pool is not None:
            pool.shutdown(wait=ahead, cancel_futures=not ahead)


def _first_of(
    in_flight: dict[Future[_Result], _Item], meanwhile: Callable[[], None] | None
) -> Future[_Result]:
    """Wait for the first that is finished."""
    while not (done := wait(in_flight, EVERY_SECONDS if meanwhile else None, FIRST_COMPLETED).done):
        if meanwhile:
            meanwhile()
    return next(iter(done))


def _is_lost(future: Future[_Result], failed: BaseException) -> bool:
    """Whether a result is not waited for: its work was not begun, or the user interrupted it."""
    return future.cancel() or not (isinstance(failed, Exception) or future.done())
