"""Whether deals are won as often as before: the wins of the last horizon against those that a
forecast one horizon ago would have expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._survival import Ints
from pdframe.metrics.forecasting._checks import is_young
from pdframe.metrics.forecasting._interface import DAY, WON
from pdframe.metrics.forecasting._method import Method
from pdframe.metrics.forecasting.common_sd import PastTotals, estimate
from pdframe.metrics.forecasting.scores import surprise

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

ALARM = 2.6
"""|z| above which a changed win rate is reported, where one horizon is judged."""

JUDGED = frozenset({"hazard", "aalen-johansen"})
"""Names of the methods whose expectation of wins is compared with what came."""

USUAL_SPREAD = 0.2
"""Standard deviation of the logarithm of a common factor, where an account's own is unknown."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What one earlier forecast expected, and what came.

    Parameters
    ----------
    horizon
        Microseconds from that forecast to `as_of`.
    deals, won
        Deals open then, and those of them won within the horizon.
    expected, variance
        Sums of p and of p (1 - p).
    z
        (won - expected) / sqrt(variance), as if deals were independent; NaN where nothing was
        expected.
    """

    horizon: int
    deals: int
    won: int
    expected: float
    variance: float
    z: float

    def is_alarm(self, limit: float = ALARM) -> bool:
        """Return whether the win rate has changed, were deals independent."""
        return abs(self.z) > limit

    def note(
        self, common_sd: float = USUAL_SPREAD, *, is_own: bool = False, limit: float = ALARM
    ) -> str | None:
        """Return the warning of a changed win rate, None where |z| is at most `limit`.

        Parameters
        ----------
        common_sd
            Standard deviation of the logarithm of the account's common factor.
        is_own
            Whether it is estimated from the account's past.
        """
        if not self.is_alarm(limit):
            return None
        usual = np.sqrt(self.variance + (common_sd * self.expected) ** 2)
        explained = abs(self.won - self.expected) <= limit * usual
        of_what = " as in the account's earlier months" if is_own else ""
        why = (
            f"A factor common to all deals, of {common_sd:.0%}{of_what},"
            f" would{'' if explained else ' not'} explain it."
        )
        return (
            f"the win rate changed: of {self.deals:,} deals open {self.horizon / DAY:.0f} days"
            f" before, {self.won / self.deals:.1%} were won since, and"
            f" {self.expected / self.deals:.1%} were expected (z {self.z:+.1f}). {why}"
        )


def drift_notes(
    known: Known, past: PastTotals, horizons: Ints, common_sd: float | None = None
) -> list[str]:
    """Return the warning of a changed win rate for the shortest horizon that shows one, if any
    does. With more horizons each must be further off, so that a forecast of several raises no more
    false alarms than one (Bonferroni).

    `common_sd` is as in `drift_note`.

    The baselines are not judged: they are simple on purpose, and what they miss would pass for a
    change.
    """
    if past.method.name not in JUDGED:
        return []
    limit = alarm_limit(len(horizons))
    for horizon in sorted(horizons.tolist()):
        text = drift_note(known, past, horizon, common_sd, limit)
        if text is not None:
            return [text]
    return []


def alarm_limit(horizons: int) -> float:
    """Return the |z| above which one of several horizons is reported; `ALARM` for one."""
    usual = NormalDist()
    return ALARM if horizons <= 1 else -usual.inv_cdf(usual.cdf(-ALARM) / horizons)


def drift_note(
    known: Known,
    past: PastTotals,
    horizon: int,
    common_sd: float | None = None,
    limit: float = ALARM,
) -> str | None:
    """Return the warning of a changed win rate; None where there is nothing to warn of.

    Parameters
    ----------
    known
        What is known.
    past
        Of the method and the seed; one object serves all times of an account.
    horizon
        Microseconds.
    common_sd
        Of the common factor; None: the account's own, as it was known at the earlier forecast.
    limit
        As in `Drift.note`.
    """
    changed = drift(known, past.method, horizon, past.seed)
    if changed is None or not changed.is_alarm(limit):
        return None
    if common_sd is not None:
        return changed.note(common_sd, limit=limit)
    spread = estimate(known.before(known.as_of - horizon), past)
    return changed.note(spread.value, is_own=spread.estimated, limit=limit)


def drift(known: Known, method: Method, horizon: int, seed: int) -> Drift | None:
    """Compare what a forecast one horizon before `as_of` expects with what came; None where too
    little was known then.
    """
    then = known.before(known.as_of - horizon)
    if is_young(then):
        return None
    deals = then.open_at([then.as_of])
    if not len(deals):
        return None
    p = method.fit(then, seed).predict(deals, np.array([horizon], np.int64)).won[:, 0]
    outcomes = known.outcomes(deals)
    won = (outcomes.kind == WON) & (outcomes.time - deals.at <= horizon)
    return Drift(
        horizon,
        len(deals),
        int(won.sum()),
        float(p.sum()),
        float((p * (1 - p)).sum()),
        surprise(won, p),
    )


__all__ = ["ALARM", "USUAL_SPREAD", "Drift", "alarm_limit", "drift", "drift_note", "drift_notes"]
