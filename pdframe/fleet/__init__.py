"""Many accounts at once: bring them up to date, load a table of all, apply a function to each.

Accounts are a dict of names and how to connect: the arguments of `pdframe.connect`, or a function
that returns an account. What runs where and when is left to cron, Airflow, Dagster or Spark, one
account a task.

>>> from pdframe import fleet
>>> clients = {"north": {"company": "north", "api_token": "..."}}
>>> fleet.sync(clients)
>>> deals = fleet.load("cache", "deals")
"""

from __future__ import annotations

from typing import NoReturn

from pdframe._advice import explain_functions, unknown_name
from pdframe.fleet.apply import Results, apply
from pdframe.fleet.load import load
from pdframe.fleet.sync import estimate, sync

__all__ = ["Results", "apply", "estimate", "load", "sync"]

explain_functions(globals(), ["apply", "estimate", "load", "sync"])


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(
        name,
        "function for many accounts",
        __all__,
        groups={"many accounts": ("sync", "load", "apply", "estimate")},
        every="dir(pdframe.fleet)",
    )
