"""The examples of docstrings: the account on which they run, and the names that they use."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import pandas as pd

import pdframe
from pdframe import Account, fleet, metrics, plot, sandbox

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_objects() -> dict[str, Any]:
    """Return every public function, method and class that a user calls, by its name."""
    objects: dict[str, Any] = {
        "connect": pdframe.connect,
        "sandbox.connect": sandbox.connect,
        "has": pdframe.has,
        "export_check": pdframe.export_check,
    }
    objects |= {f"metrics.{name}": getattr(metrics, name) for name in metrics.__all__}
    objects |= {f"fleet.{name}": getattr(fleet, name) for name in fleet.__all__}
    objects |= {f"plot.{name}": getattr(plot, name) for name in plot.__all__}
    names = [name for name in dir(Account) if not name.startswith("_")]
    return objects | {f"Account.{name}": inspect.getattr_static(Account, name) for name in names}


@contextlib.contextmanager
def example_account() -> Iterator[sandbox.SandboxAccount]:
    """Open a company of 200 deals, synced twice in a week, with the changelogs of all deals."""
    made = sandbox.connect(
        seed=7, deals=200, company="hostile", burst=100_000, max_age=None, progress=False
    )
    with made, warnings.catch_warnings():
        warnings.simplefilter("ignore", pdframe.DataWarning)
        made.sync()
        made.advance(days=7)
        made.sync()
        made.deal_changes()
        yield made


def run_example(name: str, text: str, account: sandbox.SandboxAccount) -> dict[str, Any]:
    """Run the examples of a docstring; return the names that they define.

    Raises
    ------
    AssertionError
        There is no example with an output, or an output differs.
    """
    given = {"account": account, "pdframe": pdframe, "metrics": metrics, "plot": plot, "pd": pd}
    test = doctest.DocTestParser().get_doctest(text, given, name, None, None)
    assert any(example.want for example in test.examples), f"{name} has no example with an output"
    report = io.StringIO()
    with pd.option_context("display.width", 80), warnings.catch_warnings():
        warnings.simplefilter("ignore", pdframe.DataWarning)
        runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
        runner.run(test, out=report.write, clear_globs=False)
    for value in test.globs.values():
        if isinstance(value, Account) and value is not account:
            value.close()
    assert not runner.failures, report.getvalue()
    return test.globs
