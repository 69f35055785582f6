"""Wrong arguments of loaders are refused before any request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError
from tests.helpers.server_clock import server_now


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("labels", lambda account, value: account.deals(labels=value)),
        ("labels", lambda account, value: account.deal_changes([1], labels=value)),
        ("names", lambda account, value: account.stages(names=value)),
        ("archived", lambda account, value: account.deals(archived=value)),
        ("archived", lambda account, value: account.projects(archived=value)),
        ("deleted", lambda account, value: account.deal_products(deleted=value)),
    ],
)
def test_a_flag_is_true_or_false(
    name: str,
    load: Callable[[sandbox.SandboxAccount, object], object],
    account: sandbox.SandboxAccount,
) -> None:
    nullable = name == "names"
    values = "True, False or None" if nullable else "True or False"
    for value in ("no", 0) if nullable else ("no", 0, None):
        with pytest.raises(ArgumentError, match=f"{name} must be {values}, not {value!r}"):
            load(account, value)
    assert account.server.stats.requests == 0


def test_an_export_takes_flags_too(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    for name in ("labels", "names"):
        with pytest.raises(ArgumentError, match=f"{name} must be True(, False)? or .*, not 'no'"):
            account.export(tmp_path, "stages", **{name: "no"})
    assert account.server.stats.requests == 0


def test_deals_as_of_the_future_are_refused_with_the_date_of_the_server(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deals")
    # A day ends at the company's midnight: today is no future, whatever the time.
    assert len(account.as_of("2026-06-30")) > 0
    for later in ("2026-07-01", server_now(account) + pd.Timedelta("1D")):
        with pytest.raises(ArgumentError, match="after the server's today, 2026-06-30"):
            account.as_of(later)
    account.advance(days=1)
    account.sync("deals")
    assert len(account.as_of("2026-07-01")) > 0
