"""The choices that vendors make differently, as one frozen value: statuses, weeks per month,
customers, sampling, tax, discount, grace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import span

_STATUSES = ("open", "won", "lost")


@dataclass(frozen=True, kw_only=True)
class RevenuePolicy:
    """Every choice that changes a figure of recurring revenue.

    Attributes
    ----------
    statuses
        Statuses of deals whose lines count; those of deleted deals never do.
    weekly
        Months' worth of one weekly billing: 52 / 12, so that a year holds 52 of them.
    customer
        Columns of deals that say who the customer is; the first that is not null counts, else the
        deal is a customer of its own.
    at
        On which day a month is sampled: "end": a line counts in the months on whose last day it is
        active; "start": on whose first day.
    tax
        "excluded": amounts are net of tax. "included": tax is added where it is exclusive, and
        remains where it is inclusive.
    discount
        "deducted": the line's own discount is taken off. "ignored": amounts at list price.
    renewal_grace
        Up to this long, a time without any line of a customer between two lines is bridged: the
        lines that ended at its beginning still count until the next one starts. The columns `start`
        and `end` are as agreed.

    Raises
    ------
    ArgumentError
        A value is none of those.

    Examples
    --------
    >>> policy = metrics.RevenuePolicy(renewal_grace="14D")
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, policy=policy)
    >>> policy.at, len(lines)
    ('end', 80)
    """

    statuses: tuple[str, ...] = ("won",)
    weekly: float = 52 / 12
    customer: tuple[str, ...] = ("org_id", "person_id")
    at: Literal["end", "start"] = "end"
    tax: Literal["excluded", "included"] = "excluded"
    discount: Literal["deducted", "ignored"] = "deducted"
    renewal_grace: str | pd.Timedelta = "0D"

    def __post_init__(self) -> None:
        for name in ("statuses", "customer"):
            kept = getattr(self, name)
            names = (
                (kept,)
                if isinstance(kept, str)
                else tuple(kept)
                if isinstance(kept, tuple | list)
                else (None,)
            )
            if not all(isinstance(part, str) for part in names):
                raise ArgumentError(f"{name}={kept!r} must be a name or a tuple of names.")
            object.__setattr__(self, name, names)
        if not self.statuses or not set(self.statuses) <= set(_STATUSES):
            raise ArgumentError(
                f"statuses={self.statuses!r}: each must be one of {', '.join(_STATUSES)}."
            )
        if (
            isinstance(self.weekly, bool)
            or not isinstance(self.weekly, int | float)
            or not 0 < self.weekly < math.inf
        ):
            raise ArgumentError(
                f"weekly={self.weekly!r} must be a number above 0, such as 52 / 12."
            )
        for name, words in (
            ("at", ("end", "start")),
            ("tax", ("excluded", "included")),
            ("discount", ("deducted", "ignored")),
        ):
            if getattr(self, name) not in words:
                raise ArgumentError(
                    f"{name}={getattr(self, name)!r} must be {words[0]!r} or {words[1]!r}."
                )
        span(self.renewal_grace, "renewal_grace")

    @property
    def grace_days(self) -> float:
        """The grace in days."""
        return span(self.renewal_grace, "renewal_grace")

    @classmethod
    def paddle(cls) -> RevenuePolicy:
        """As Paddle reports: 4.33 weeks a month ("How is Monthly Recurring Revenue (MRR)
        calculated?", Paddle help centre, 2021).
        """
        return cls(weekly=4.33)

    @classmethod
    def four_weeks(cls) -> RevenuePolicy:
        """A month of four weeks, as in many spreadsheets: a year then has 48 of them."""
        return cls(weekly=4.0)


def chosen(policy: RevenuePolicy | None) -> RevenuePolicy:
    """Return the policy, the default where there is none; `ArgumentError` where it is something
    else.
    """
    if policy is not None and not isinstance(policy, RevenuePolicy):
        raise ArgumentError(
            "policy must be a RevenuePolicy, such as RevenuePolicy(weekly=4), not"
            f" {type(policy).__name__}."
        )
    return policy or RevenuePolicy()


__all__ = ["RevenuePolicy", "chosen"]
