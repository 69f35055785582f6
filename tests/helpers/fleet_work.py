"""Functions that processes of a pool import: what they do with an account."""

from __future__ import annotations

import os
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
