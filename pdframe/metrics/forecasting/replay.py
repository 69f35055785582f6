"""Replay forecasts at past times: what was known then, what each method said, and what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError, InsufficientDataError
from pdframe.metrics._arguments import DAY, NULL, countable, micros, span, to_micros, zone_of
from pdframe.metrics._periods import known_by
from pdframe.metrics._survival import Flags, Ints
from pdframe.metrics.forecasting._checks import check_seed, refuse_young
from pdframe.metrics.forecasting._interface import WON, OpenDeals, Outcomes, Probabilities
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import METHODS

BASELINES = ("constant", "stage climatology", "weighted")
"""Methods that every backtest has, whichever others it was asked for."""

_NEWEST = {
    "deals": ("add_time", "update_time"),
    "visits": ("entered_at", "seen_at"),
    "history": ("seen_at",),
}
"""The columns whose newest time is the end of what frames know."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One cutoff: the deals that were open, what each method said, and what happened.

    Parameters
    ----------
    at
        The cutoff (microseconds).
    known
        What was known then.
    deals
        The open deals, and how they ended as far as known today.
    forecasts
        Probabilities of each method, deals by horizons.
    fitted
        The methods as they were fitted then.
    """

    at: int
    known: Known
    deals: OpenDeals
    outcomes: Outcomes
    forecasts: dict[str, Probabilities]
    fitted: dict[str, Fitted]

    def won_within(self, horizon: int) -> Flags:
        """Return which deals were won within the horizon."""
        ended = self.outcomes.time - self.deals.at <= horizon
        return np.asarray((self.outcomes.kind == WON) & ended, np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """The arguments of a backtest, read, and what was noticed."""

    known: Known
    cutoffs: Ints
    horizons: Ints
    methods: tuple[str, ...]
    seed: int
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        deals: pd.DataFrame,
        visits: pd.DataFrame,
        stages: pd.DataFrame,
        cutoffs: Any,
        horizons: Any,
        methods: Any,
        as_of: Any,
        history: pd.DataFrame | None,
        activities: pd.DataFrame | None,
        deal_products: pd.DataFrame | None,
        seed: int,
        tz: str | None,
    ) -> Replay:
        """Read the arguments of `backtest_deals`."""
        check_seed(seed)
        tz = zone_of(tz, deals, visits, stages, history)
        end = (
            newest(tz, deals=deals, visits=visits, history=history)
            if as_of is None
            else known_by(as_of, tz, "as_of")
        )
        times = sorted({known_by(value, tz, "cutoffs") for value in several(cutoffs)})
        if not times:
            raise ArgumentError("cutoffs is empty: give at least one past time.")
        if times[-1] >= end:
            raise ArgumentError(
                f"cutoffs: {times[-1]:%Y-%m-%d %H:%M} UTC is not before {end:%Y-%m-%d %H:%M} UTC,"
                " the end of what is known."
            )
        lengths = sorted({round(span(value, "horizons") * DAY) for value in several(horizons)})
        if not lengths or lengths[0] <= 0:
            raise ArgumentError("horizons must be one or more lengths of time above 0.")
        known = Known.at(
            deals, visits, stages, end, history=history, activities=activities,
            deal_products=deal_products, tz=tz,
        )  # fmt: skip
        return cls(
            known,
            np.array([to_micros(time) for time in times], np.int64),
            np.array(lengths, np.int64),
            method_names(methods),
            seed,
        )

    def scenes(self) -> Iterator[Scene]:
        """Forecast at each cutoff, oldest first; leave out those with too short a past."""
        refused: list[tuple[int, InsufficientDataError]] = []
        for at in self.cutoffs.tolist():
            then = self.known.before(at)
            try:
                refuse_young(then)
                fitted = {name: METHODS[name].fit(then, self.seed) for name in self.methods}
            except InsufficientDataError as error:
                refused.append((at, error))
                continue
            deals = then.open_at(np.array([at], np.int64))
            forecasts = {
                name: method.predict(deals, self.horizons) for name, method in fitted.items()
            }
            for forecast in forecasts.values():
                for part in forecast:
                    part[:, self.horizons > then.followed] = np.nan
            yield Scene(at, then, deals, self.known.outcomes(deals), forecasts, fitted)
        if len(refused) == len(self.cutoffs):
            raise refused[-1][1]
        if refused:
            last = pd.Timestamp(refused[-1][0], unit="us", tz="UTC")
            self.notes.append(
                f"{len(refused)} of {len(self.cutoffs)} cutoffs are left out, the last of them"
                f" {last:%Y-%m-%d}: {refused[-1][1]}"
            )

    def over(self, scene: Scene) -> Flags:
        """Return which horizons are over at the end of what is known."""
        return np.asarray(scene.at + self.horizons <= self.known.as_of, np.bool_)


def several(values: Any) -> list[Any]:
    """Return an argument that is one value or several as a list."""
    if isinstance(values, str | date | pd.Period | np.datetime64 | np.timedelta64):
        return [values]
    if isinstance(values, pd.Timedelta) or not hasattr(values, "__iter__"):
        return [values]
    return list(values)


def method_names(methods: Any, baselines: Sequence[str] = BASELINES) -> tuple[str, ...]:
    """Return the names of methods, without repetition, then the baselines.

    Raises
    ------
    ArgumentError
        There is no such method.
    """
    names = [*several(methods), *baselines]
    for name in names:
        if name not in METHODS:
            close = get_close_matches(str(name), METHODS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ArgumentError(
                f"methods: there is no method {name!r}.{hint} They are"
                f" {', '.join(map(repr, METHODS))}."
            )
    return tuple(dict.fromkeys(names))


def newest(tz: str, **frames: pd.DataFrame | None) -> pd.Timestamp:
    """Return the newest creation, update, visit or snapshot in the frames."""
    times = [
        int(values[countable(values)].max(initial=NULL))
        for name, frame in frames.items()
        if isinstance(frame, pd.DataFrame)
        for column in _NEWEST[name]
        if column in frame.columns
        for values in (micros(frame[column], tz, column),)
    ]
    if max(times, default=NULL) == NULL:
        raise ArgumentError("The frames hold no time. Pass as_of=, when they were loaded.")
    return pd.Timestamp(max(times), unit="us", tz="UTC")


__all__ = ["BASELINES", "Replay", "Scene"]
