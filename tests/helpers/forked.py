"""Scripts that fork, each run in a process of its own: a test runner is not to be forked.

    python forked.py NAME [ARGUMENTS]

Each prints one JSON object. Children end with `os._exit`, but where a script says that they do not.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import io
import json
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pdframe
from pdframe import sandbox
from pdframe.cache.store import Store
from pdframe.frames.convert import uncollected
from pdframe.sync import SyncOptions
from tests.helpers.internals import client_of, locks_of, without_waiting

KINDS = ("person", "deal", "organization", "product")


class Child:
    """A forked process that does some work and tells what it returned."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                reported = {"result": work()}
            except BaseException as error:
                reported = {"error": f"{type(error).__name__}: {error}"}
            with contextlib.suppress(BaseException):
                os.write(writing, json.dumps(reported).encode())
            os._exit(0)
        os.close(writing)

    def result(self, seconds: float = 60) -> Any:
        """What it returned; "hangs" where it does not end."""
        raw, deadline = b"", time.monotonic() + seconds
        os.set_blocking(self.reading, False)
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                part = os.read(self.reading, 65_536)
                if not part:
                    os.waitpid(self.pid, 0)
                    return json.loads(raw)
                raw += part
            time.sleep(0.01)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        return "hangs"


def rounds(number: str, requests: str, folder: str) -> dict[str, Any]:
    """Children ask while the parent syncs: how many answers were another request's, what failed,
    and which rows are missing.
    """
    options = SyncOptions(page_size=20)
    wrong, failed, lost = 0, [], []
    with sandbox.connect(
        seed=7,
        deals=120,
        cache_dir=folder,
        company="hostile",
        burst=100_000,
        search_burst=100_000,
        progress=False,
        options=options,
    ) as account:
        ids = account.deals()["id"].tolist()
        for _ in range(int(number)):
            account.company_model.advance(days=1)
            broken: list[str] = []

            def sync(broken: list[str] = broken) -> None:
                try:
                    account.sync(
                        "deals", "persons", "organizations", "stages", "activities", full=True
                    )
                except BaseException as error:
                    broken.append(repr(error))

            syncing = threading.Thread(target=sync)
            syncing.start()

            def ask(kind: int) -> dict[str, int]:
                mixed = 0
                for turn in range(int(requests)):
                    if turn % 5 == kind:
                        match = account.search("an", [KINDS[kind]])
                        mixed += bool(set(match["type"].astype(str)) - {KINDS[kind]})
                    else:
                        one = ids[(turn * 7 + kind) % len(ids)]
                        try:
                            mixed += (
                                client_of(account).get_json(f"/deals/{one}", cost=1).data["id"]
                                != one
                            )
                        except pdframe.PdframeError as error:
                            if getattr(error, "status", None) != 404:
                                raise
                return {"wrong": mixed, "rows": len(account.stages(refresh=False))}

            children = []
            for kind in range(4):
                children.append(Child(lambda kind=kind: ask(kind)))  # type: ignore[misc]
                time.sleep(0.01)
            for child in children:
                reported = child.result(120)
                if isinstance(reported, dict) and "result" in reported:
                    wrong += reported["result"]["wrong"]
                else:
                    failed.append(reported)
            syncing.join(120)
            failed += broken
            state = {
                row["id"]
                for row in account.company_model.tables["deals"].values()
                if not row["is_deleted"]
            }
            lost += sorted(state ^ set(account.deals(refresh=False)["id"].tolist()))
        tokens, served = account.tokens_today, account.server.stats.tokens
    return {"wrong": wrong, "failed": failed, "lost": lost, "tokens": tokens, "served": served}


def covered(folder: str) -> dict[str, Any]:
    """Children forked while other threads hold every lock that there is: none may wait for them."""
    reported: dict[str, Any] = {}
    with sandbox.connect(
        seed=7, deals=20, cache_dir=folder, company="hostile", burst=100_000, progress=True
    ) as account:
        # On a slow machine the bar appears.
        with contextlib.redirect_stderr(io.StringIO()):
            account.deals()
        stop = threading.Event()

        def hold(lock: Any) -> None:
            with lock:
                ready.wait()
                stop.wait()

        from tqdm.auto import tqdm

        locks = [
            *locks_of(account),
            tqdm.get_lock(),
            uncollected(),
        ]
        ready = threading.Barrier(len(locks) + 1)
        threads = [threading.Thread(target=hold, args=(lock,), daemon=True) for lock in locks]
        for thread in threads:
            thread.start()
        ready.wait()
        child = Child(
            lambda: [len(account.deals(refresh=True)), account.tokens_today > 0, gc.isenabled()]
        )
        reported["deals"] = child.result(30)
        stop.set()
        for thread in threads:
            thread.join()
    return reported


def busy_window(folder: str) -> dict[str, Any]:
    """A child forked while the parent's requests under way take every place in the burst window."""
    with sandbox.connect(
        seed=7, deals=20, cache_dir=folder, company="hostile", progress=False
    ) as account:
        account.stages()
        window = client_of(account).window
        with contextlib.ExitStack() as places:
            for _ in range(window.limit):
                places.enter_context(window.slot())
            return {"rows": Child(lambda: len(account.stages(refresh=True))).result(30)}


def leaving() -> dict[str, Any]:
    """Children that end in every way: the parent's server, its cache and its connections stay."""
    account = sandbox.connect(seed=7, deals=20, company="hostile", burst=100_000, progress=False)
    folder, before = account.cache_path, len(account.deals())
    reported: dict[str, Any] = {}

    def closes() -> str:
        account.close()
        return "closed"

    def leaves_the_block() -> str:
        with account:
            account.stages(refresh=True)
        return "left"

    reported["closes"] = Child(closes).result(20)
    reported["block"] = Child(leaves_the_block).result(20)
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        account.deals(refresh=True)
        sys.exit(0)  # as any script ends: with everything that is called at exit
    deadline = time.monotonic() + 30
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    reported["exit"] = ended[1] if ended[0] else "hangs"
    if not ended[0]:
        os.kill(pid, 9)
    reported["folder"] = folder.is_dir()
    reported["rows"] = [before, len(account.deals(refresh=True))]
    account.close()
    reported["gone"] = not folder.is_dir()
    return reported


def stopped_server(folder: str) -> dict[str, Any]:
    """A server that its parent stops is stopped, though a child that has copies of its sockets
    lives on.
    """
    account = sandbox.connect(
        seed=7, deals=20, cache_dir=folder, company="hostile", burst=100_000, progress=False
    )
    account.stages()
    reading, writing = os.pipe()
    child = Child(lambda: os.read(reading, 1).decode())
    url, token = account.server.url, account.server.token
    account.close()
    began = time.monotonic()
    other = pdframe.connect(
        base_url=url, api_token=token, cache_dir=Path(folder) / "other", progress=False
    )
    without_waiting(other)
    try:
        other.stages()
        reported = "answered"
    except pdframe.errors.TransportError:
        reported = "refused"
    soon = time.monotonic() - began < 5
    os.write(writing, b"x")
    return {"answer": reported, "soon": soon, "child": child.result(20)}


def lock_of_a_dead_parent(folder: str) -> dict[str, Any]:
    """A parent that is killed in the middle of a sync, with a child that lives on: the lock of the
    cache is free.
    """
    ready, alive = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        with Store(Path(folder).parent, Path(folder).name).lock():
            forked = threading.Event()

            def fork() -> None:
                if not os.fork():
                    os.write(ready[1], b"x")
                    os.read(alive[0], 1)
                    os._exit(0)
                forked.set()

            threading.Thread(target=fork).start()
            forked.wait()
            time.sleep(60)
    os.read(ready[0], 1)
    waiting = Child(lambda: _locks(folder))
    early = waiting.result(0.5)  # the parent has it
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    free = Child(lambda: _locks(folder)).result(10)
    os.write(alive[1], b"x")
    return {"early": early, "free": free}


def _locks(folder: str) -> str:
    with Store(Path(folder).parent, Path(folder).name).lock():
        return "locked"


def _ask(kind: str) -> int:
    match = ACCOUNT.search("an", [kind])
    return len(set(match["type"].astype(str)) - {kind})


ACCOUNT: Any = None


def pools(folder: str) -> dict[str, Any]:
    """What multiprocessing and concurrent.futures make of it, as joblib's multiprocessing backend
    does.
    """
    global ACCOUNT
    ACCOUNT = sandbox.connect(
        seed=7,
        deals=120,
        cache_dir=folder,
        company="hostile",
        burst=100_000,
        search_burst=100_000,
        progress=False,
    )
    ACCOUNT.search("an", ["person"])
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        by_pool = sum(pool.map(_ask, KINDS * 6))
    with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as executor:
        by_executor = sum(executor.map(_ask, KINDS * 6))
    rows = len(ACCOUNT.search("an", ["person"]))
    ACCOUNT.close()
    return {"pool": by_pool, "executor": by_executor, "rows": rows > 0}


if __name__ == "__main__":
    # Python 3.12 warns of any fork beside threads.
    warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
    warnings.simplefilter("ignore", pdframe.DataWarning)
    script = {
        one.__name__: one
        for one in (
            rounds,
            covered,
            busy_window,
            leaving,
            stopped_server,
            lock_of_a_dead_parent,
            pools,
        )
    }[sys.argv[1]]
    print(json.dumps(script(*sys.argv[2:])))
