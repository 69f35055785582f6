"""Which deals closed in a window, and the warnings of those whose closing cannot be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._columns import Flags, ids
from pdframe.metrics._states import LOST, WON, States

_NAMED = 20


def between(
    instants: pd.Series[Any], start: pd.Timestamp | None, end: pd.Timestamp | None
) -> Flags:
    """Return which times are in the window; null is not."""
    inside = instants.notna()
    if start is not None:
        inside &= instants >= start
    if end is not None:
        inside &= instants < end
    return inside.to_numpy(np.bool_)


def warn_of_undated(known: States) -> None:
    """Warn of deals that are closed without a date."""
    warn_of_left_out(int(known.undated(WON, LOST).sum()), "are closed without a date")


def warn_of_early_ends(deals: pd.DataFrame, how: str, where: str) -> None:
    """Warn of these deals, which ended before they were created."""
    if len(deals):
        named = ", ".join(map(str, ids(deals, "id").iloc[:_NAMED])) + (
            ", ..." if len(deals) > _NAMED else ""
        )
        warn(
            f"{len(deals)} deals were {how} before they were created, as after an import or where a"
            f" date was set by hand: they are left out of {where}. Their ids: {named}. data_quality"
            " lists them as closed_before_created."
        )


def warn_of_left_out(count: int, what: str) -> None:
    """Warn of deals that are left out because their time is unknown."""
    if count:
        warn(
            f"{count} deals {what}: they are left out, since their time is unknown. data_quality"
            " lists them."
        )


__all__ = ["between", "warn_of_early_ends", "warn_of_left_out", "warn_of_undated"]
