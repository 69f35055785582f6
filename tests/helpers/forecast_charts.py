"""Frames of the forecast metrics, written by hand for charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

TOTALS = ["period", "currency", "won_already", "from_open", "from_new", "mean", "p10", "p50", "p90"]
MOVES = [
    "created",
    "moved_in",
    "pulled_in",
    "value_up",
    "value_down",
    "pushed_out",
    "undated",
    "dated",
    "moved_out",
    "reopened",
    "won",
    "lost",
    "deleted",
]
CHANGES = ["new", "won", "lost", "moved", "aged", "repriced", "model"]


def days(*texts: str) -> pd.Series:
    return pd.Series(pd.to_datetime(list(texts))).astype("datetime64[us]")


def totals(*rows: tuple[str, float, float, float, float], currency: str = "EUR") -> pd.DataFrame:
    """A forecast: first day, won already, P10, P50, P90 of each period."""
    frame = pd.DataFrame(
        [
            (first, currency, won, p50 - won, 0.0, p50, p10, p50, p90)
            for first, won, p10, p50, p90 in rows
        ],
        columns=TOTALS,
    )
    return frame.assign(period=days(*frame["period"])).astype({"currency": "str"})


def record(*rows: tuple[str, str, float, float, float, float | None]) -> pd.DataFrame:
    """A track record: as_of, first day, P10, P50, P90, actual of each forecast."""
    frame = pd.DataFrame(rows, columns=["as_of", "period", "p10", "p50", "p90", "actual"])
    frame = frame.astype({"actual": "float64"})
    return frame.assign(as_of=days(*frame["as_of"]), period=days(*frame["period"]), currency="EUR")


def bins(*rows: tuple[int, int, float, float], width: float = 0.1) -> pd.DataFrame:
    """Calibration: days of the horizon, deals, mean probability and share won of each bin."""
    return pd.DataFrame(
        [
            (pd.Timedelta(days=length), int(mean * 10) + 1, n, mean, share, share - width,
             share + width)
            for length, n, mean, share in rows
        ],
        columns=["horizon", "bin", "n", "p_mean", "share", "low", "high"],
    ).assign(method="hazard")[
        ["method", "horizon", "bin", "n", "p_mean", "share", "low", "high"]
    ]  # fmt: skip


def scores(*rows: tuple[str, int, str, int, float]) -> pd.DataFrame:
    """A backtest: cutoff, days of the horizon, method, deals, Brier score."""
    frame = pd.DataFrame(rows, columns=["cutoff", "horizon", "method", "n", "brier"])
    return frame.assign(
        cutoff=days(*frame["cutoff"]), horizon=pd.to_timedelta(frame["horizon"], unit="D")
    )


def movements(
    start: float, moves: dict[str, float], *, first: str | None = "2026-09-01"
) -> pd.DataFrame:
    """One period of pipeline movements; those that are not named are 0."""
    row: dict[str, Any] = {name: moves.get(name, 0.0) for name in MOVES}
    row = {"period": first, "currency": "EUR", "start": start, **row}
    frame = pd.DataFrame([row | {"end": start + sum(moves.values())}])
    return frame.assign(period=pd.to_datetime(frame["period"]).astype("datetime64[us]"))


def changes(before: float, amounts: Sequence[float]) -> pd.DataFrame:
    """What changed a forecast, in the order of `CHANGES`."""
    row: dict[str, Any] = {"currency": "EUR", "expected_before": before}
    row |= dict(zip(CHANGES, amounts, strict=True))
    return pd.DataFrame([row | {"expected_after": before + sum(amounts)}])
