"""What the clock of a sandbox's server shows."""

from __future__ import annotations

import pandas as pd

from pdframe import sandbox


def server_now(account: sandbox.SandboxAccount) -> pd.Timestamp:
    """Return the time at the company, which advances only where a test says so."""
    return pd.Timestamp(account.company_model.now, unit="s", tz="UTC")
