"""Functions that processes of a pool import: what they do with an account."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pandas as pd

from pdframe import metrics
from pdframe._warnings import warn
from pdframe.account import Account


class StubbornError(Exception):
    """An error that does not survive pickling."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def deals_and_process(account: Account) -> tuple[int, int]:
    return len(account.deals(labels=False)), os.getpid()


def moment(account: Account) -> int:
    return time.monotonic_ns()


def deals(account: Account) -> pd.DataFrame:
    return account.deals(labels=False, columns=["id", "status", "value"])


def velocity(account: Account) -> pd.DataFrame:
    return metrics.stage_velocity(
        account.stage_visits(), account.stages(), as_of="2026-06-30", tz=account.tz
    )


def fail_in_the_middle(account: Account) -> int:
    warn("noticed")
    raise StubbornError("one", "two")


def unpicklable(account: Account) -> Any:
    return lambda: None


def cannot_unpickle() -> None:
    raise ValueError("made in a worker alone")


class PicklesOnly:
    """A result that pickles, and is not read again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return cannot_unpickle, ()


def pickles_only(account: Account) -> PicklesOnly:
    return PicklesOnly()


def leave(account: Account) -> None:
    sys.exit("has no data")


def die_in_the_company_of_few(account: Account) -> int:
    """End the process of the smaller account, once that of the other has answered."""
    if (count := len(account.deals(labels=False))) > 20:
        return count
    time.sleep(2)
    os._exit(9)


def die_for_the_third(account: Account) -> int:
    """End the process where the account is that of the third user."""
    users = account.users(refresh=True)["id"].to_list()
    if users == [3]:
        os._exit(9)
    return users[0]


def wait_for_ever(account: Account) -> None:
    print("waiting", flush=True)
    time.sleep(3600)
