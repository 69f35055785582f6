"""Work on a cache in processes of their own, that may be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pyarrow as pa

import pdframe
from pdframe.cache.store import Store
from pdframe.errors import NotCachedError
from pdframe.sandbox.server import Server
from pdframe.sync import SyncOptions
from tests.helpers import cache_files
from tests.helpers.tuning import WIDE

# Lists of many pages.
PAGE_ROWS = 40
SHORT_PAGES = SyncOptions(page_size=PAGE_ROWS)
# And saves of few records, in many parts.
SAVED_EVERY = 5
SMALL_SAVES = replace(
    SHORT_PAGES,
    save_every_records=SAVED_EVERY,
    record_part_bytes=6_000,
    small_record_part_bytes=4_000,
)


def processes() -> ForkServerContext:
    """How to start processes that have pandas and pdframe imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pdframe.sandbox", "pdframe.sync"])
    return context


def connect(url: str, token: str, cache_dir: Path, **options: object) -> pdframe.Account:
    return pdframe.connect(
        base_url=url, api_token=token, cache_dir=cache_dir, progress=False, **options
    )  # type: ignore[arg-type]


def without_fsync() -> None:
    """A process is killed, the machine is not: what is written is there."""
    os.fsync = lambda file: None  # type: ignore[assignment]


def sync(url: str, token: str, cache_dir: Path, tables: Sequence[str], wide: bool = False) -> None:
    """Bring tables up to date; run in a process of its own."""
    without_fsync()
    options = replace(SMALL_SAVES, **WIDE) if wide else SMALL_SAVES
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with connect(url, token, cache_dir, options=options) as account:
        account.sync(*tables)


def sync_often(url: str, token: str, cache_dir: Path, tables: Sequence[str], rounds: int) -> None:
    """Refresh and reload tables by turns; run in a process of its own."""
    without_fsync()
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with connect(url, token, cache_dir, max_age=0, options=SMALL_SAVES) as account:
        for number in range(rounds):
            account.sync(*tables, full=number % 2 == 0)


def load_and_die(url: str, token: str, cache_dir: Path, table: str, step: int) -> None:
    """Load a table, and be killed before the file system is changed for the `step`-th time; run in
    a process of its own.
    """
    without_fsync()
    warnings.simplefilter("ignore", pdframe.DataWarning)
    left = step

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **options: Any) -> Any:
            nonlocal left
            # A file that is opened to be read changes nothing.
            if change is not opening or args[1] & os.O_CREAT:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return changing

    with connect(url, token, cache_dir, max_age="1h", options=SMALL_SAVES) as account:
        account.status()
        opening = os.open
        for name in ("open", "rename", "replace", "unlink", "mkdir", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        getattr(account, table)()


def cached(account: pdframe.Account, tables: Sequence[str]) -> dict[str, pa.Table | None]:
    """The tables as they are cached, None where they are not; each can be read as a frame."""
    rows: dict[str, pa.Table | None] = {}
    for name in tables:
        try:
            rows[name] = cache_files.store_of(account).read(name)
            if not name.endswith("_fields"):
                getattr(account, name)(refresh=False)
        except NotCachedError:
            rows[name] = None
    return rows


def server_of(company: object) -> Server:
    return Server(company, burst=100_000)  # type: ignore[arg-type]


def store_of(cache: Path) -> Store:
    """The store of the only account in a cache."""
    return Store(cache, next(path.name for path in cache.iterdir() if path.is_dir()))


def die_at(step: int) -> None:
    """Be killed before the file system is changed for the `step`-th time from now on."""
    left, opening = step, os.open

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **options: Any) -> Any:
            nonlocal left
            # A file that is opened to be read changes nothing.
            if change is not opening or args[1] & os.O_CREAT:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return changing

    for name in ("open", "rename", "replace", "unlink", "mkdir", "rmdir", "write"):
        setattr(os, name, counted(getattr(os, name)))


def killed(target: Callable[..., None], *arguments: object) -> bool:
    """Run a function in a process of its own; return whether it was killed."""
    process = processes().Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0
