"""Apply a function to many accounts, in a pool of processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from pdframe._progress import Bars
from pdframe._warnings import collect_warnings, warn
from pdframe.account import Account
from pdframe.errors import ArgumentError, PdframeError
from pdframe.fleet._accounts import (
    How,
    checked_accounts,
    checked_workers,
    lanes,
    opened,
    same_account,
)
from pdframe.fleet._frames import combined
from pdframe.fleet._names import note_names

_ENDED = (
    "A process of the pool ended before it answered: it was killed, ran out of memory, or could not"
    " import your script. Start a script with if __name__ == '__main__':, and pass fewer workers"
    " where memory is short."
)


class Results(Mapping[str, Any]):
    """What a function returned: a mapping of account to result, in the order that was given.

    Attributes
    ----------
    errors : dict of str to Exception
        By account, the error of each that failed: it has no result.

    Examples
    --------
    >>> from functools import partial
    >>> from operator import methodcaller
    >>> from pdframe import fleet
    >>> clients = {"north": partial(pdframe.sandbox.connect, seed=1, deals=20)}
    >>> results = fleet.apply(methodcaller("pipelines"), clients, workers=1)
    >>> results.errors
    {}
    >>> len(results["north"])
    3
    """

    def __init__(self, results: Mapping[str, Any], errors: Mapping[str, Exception]) -> None:
        self._results = dict(results)
        self.errors = dict(errors)

    def __getitem__(self, account: str) -> Any:
        return self._results[account]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        failed = f", failed: {', '.join(self.errors)}" if self.errors else ""
        return f"<results of {len(self)} accounts: {', '.join(self)}{failed}>"

    def frame(self) -> pd.DataFrame:
        """Combine the results, which must be frames, into one frame.

        Returns
        -------
        DataFrame
            The rows of all accounts, `account` first; columns are combined as in `fleet.load`.

        Raises
        ------
        ArgumentError
            A result is no DataFrame, or has a column `account`.
        PdframeError
            An account failed, so that its rows are missing; delete it from `errors` to combine the
            others.

        Examples
        --------
        >>> from functools import partial
        >>> from operator import methodcaller
        >>> from pdframe import fleet
        >>> clients = {"north": partial(pdframe.sandbox.connect, seed=1, deals=20)}
        >>> results = fleet.apply(methodcaller("pipelines"), clients, workers=1)
        >>> results.frame()[["account", "id"]]
          account  id
        0   north   1
        1   north   2
        2   north   3
        """
        if self.errors:
            name, error = next(iter(self.errors.items()))
            raise PdframeError(
                f"{len(self.errors)} of {len(self) + len(self.errors)} accounts failed:"
                f" {', '.join(self.errors)}. Their rows are missing; {name}: {error} Delete them"
                " from errors to combine the others."
            )
        for name, result in self.items():
            if not isinstance(result, pd.DataFrame):
                raise ArgumentError(
                    f"The result of {name} is no DataFrame but {type(result).__name__}: take it as"
                    f" results[{name!r}]."
                )
        return combined(self)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a worker sends back of one account; its result is pickled."""

    name: str
    result: bytes = b""
    error: Exception | None = None
    notes: tuple[str, ...] = ()
    folder: Path | None = None


def apply(
    function: Callable[[Account], Any],
    accounts: Mapping[str, How],
    workers: int = 4,
    *,
    progress: bool | None = None,
) -> Results:
    """Call a function with each account, several at once, each in a process of its own.

    A worker connects itself, and the account's name is kept for `fleet.load`. Function, arguments
    and results pickle: define the function in a module (not in a notebook, not as a lambda), and
    start a script with `if __name__ == "__main__":`, because each process imports it. Accounts of
    one company whose arguments are given run one after the other. The failure of one account stops
    no other; where a process is killed, the accounts that had not finished are in `errors`.

    Parameters
    ----------
    function
        Takes an account, and returns a frame or anything else that pickles.
    accounts
        By name, the arguments of `pdframe.connect` as a dict, or a function without arguments that
        returns an account.
    workers
        The most processes at once.
    progress
        None: a bar in notebooks and terminals; False: none.

    Returns
    -------
    Results
        A mapping of account to result, with `errors` and `frame()`.

    Warns
    -----
    DataWarning
        What the accounts noticed in their data, and which failed, in one warning.

    Raises
    ------
    ArgumentError
        A name or `workers` is wrong, or something does not pickle.
    PdframeError
        Processes ended before any account was finished.

    Examples
    --------
    >>> from functools import partial
    >>> from operator import methodcaller
    >>> from pdframe import fleet
    >>> clients = {
    ...     "north": partial(pdframe.sandbox.connect, seed=1, deals=20),
    ...     "south": partial(pdframe.sandbox.connect, seed=2, deals=30),
    ... }
    >>> deals = fleet.apply(methodcaller("deals", columns=["id", "status"]), clients, workers=2)
    >>> deals.frame().groupby("account").size()
    account
    north    19
    south    28
    dtype: int64
    """
    accounts, workers = checked_accounts(accounts), checked_workers(workers)
    if not callable(function):
        raise ArgumentError(
            f"function must be a function of one account, not {type(function).__name__}."
        )
    work = _pickled(function, "function")
    tasks = [
        [(name, _pickled(accounts[name], f"account {name!r}")) for name in lane]
        for lane in lanes(accounts)
    ]
    outcomes: dict[str, _Outcome] = {}
    if not tasks:
        return Results({}, {})
    context = multiprocessing.get_context("spawn")
    ended, lifeline = context.Pipe(duplex=False)
    slots = min(workers, len(tasks))
    pool = ProcessPoolExecutor(
        slots,
        mp_context=context,
        initializer=_end_with_parent,
        initargs=(ended,),
    )
    broken: BrokenProcessPool | None = None
    try:
        with Bars(progress)("fleet", unit="accounts") as tick:
            tick.expect(len(accounts))
            running: dict[Future[_Outcome], list[tuple[str, bytes]]] = {}
            waiting = tasks
            while waiting or running:
                # The next account of a lane follows when its last one answered: what a process has
                # finished is here when it is killed. The longest lane goes first, since it ends
                # last; the pool's queue, which knows no lanes, stays empty.
                waiting.sort(key=len, reverse=True)
                free = slots - len(running)
                try:
                    for (name, how), *rest in waiting[:free]:
                        running[pool.submit(_run_one, work, name, how)] = rest
                    waiting = waiting[free:]
                except BrokenProcessPool as error:
                    broken, waiting = error, []
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    rest = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool as error:
                        broken = error
                        continue
                    outcomes[outcome.name] = outcome
                    tick(1)
                    if rest:
                        waiting.append(rest)
        pool.shutdown()
    finally:
        # Where it was interrupted, workers would finish their accounts first.
        lifeline.close()
        pool.shutdown(wait=False, cancel_futures=True)
        ended.close()
    if not outcomes:
        raise PdframeError(_ENDED) from broken
    results: dict[str, Any] = {}
    folders: defaultdict[Path, dict[str, str]] = defaultdict(dict)
    for name in accounts:
        outcome = outcomes.get(name, _Outcome(name, error=PdframeError(_ENDED)))
        if (folder := outcome.folder) is not None and folder.is_dir():
            first = folders[folder.parent].setdefault(folder.name, name)
            if first != name:
                outcome = replace(outcome, error=same_account(name, first, folder))
        if outcome.error is None:
            try:
                results[name] = pickle.loads(outcome.result)  # noqa: S301 - a worker wrote it
            except Exception as error:
                outcome = replace(outcome, error=error)
        outcomes[name] = outcome
    in_order = [outcomes[name] for name in accounts]
    for cache_dir, names in folders.items():
        note_names(cache_dir, names)
    _warn(in_order)
    return Results(
        results,
        {outcome.name: outcome.error for outcome in in_order if outcome.error is not None},
    )


def _end_with_parent(ended: Connection) -> None:
    """End this worker when the process that started it is interrupted or killed."""

    def watch() -> None:
        try:
            ended.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, name="pdframe-parent", daemon=True).start()


def _run_one(work: bytes, name: str, how: bytes) -> _Outcome:
    """Work on an account, in a worker."""
    notes: list[str] = []
    try:
        function = pickle.loads(work)  # noqa: S301 - this process's parent wrote it
        with collect_warnings() as notes, opened(pickle.loads(how)) as account:  # noqa: S301
            result = pickle.dumps(function(account))
            folder = account._opened.root if account._opened is not None else None
    except (Exception, SystemExit) as error:
        return _Outcome(name, error=_portable(error), notes=tuple(map(str, notes)))
    return _Outcome(name, result, notes=tuple(map(str, notes)), folder=folder)


def _portable(error: Exception | SystemExit) -> Exception:
    """Return an error that survives the way to the parent; else one that says what it was."""
    if isinstance(error, SystemExit):
        return PdframeError(f"SystemExit: {error}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:
        return PdframeError(f"{type(error).__name__}: {error}")
    return error


def _pickled(value: object, name: str) -> bytes:
    main = sys.modules["__main__"]
    if getattr(value, "__module__", None) == "__main__" and not hasattr(main, "__file__"):
        raise ArgumentError(
            f"The {name} is defined in a notebook or at a prompt, where other processes cannot"
            " import it. Write it into a module beside the notebook, and import it."
        )
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise ArgumentError(
            f"The {name} cannot be sent to another process ({type(error).__name__}). Define"
            " functions in a module, not as a lambda or inside another function; give pdframe.OAuth"
            " in a function that connects, not as a value."
        ) from None


def _warn(outcomes: Sequence[_Outcome]) -> None:
    """Say in one warning which accounts failed, and what the others noticed."""
    failed = [one for one in outcomes if one.error is not None]
    notes = [f"{one.name} failed: {type(one.error).__name__}: {one.error}" for one in failed]
    notes += [f"{one.name}: {text}" for one in outcomes for text in one.notes]
    if notes:
        more = f"\n{len(notes) - 1} more notes: in .notes of this warning." if notes[1:] else ""
        warn(notes[0].splitlines()[0] + more, notes)


__all__ = ["Results", "apply"]
