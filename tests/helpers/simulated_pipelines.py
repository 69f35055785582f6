"""Simulated pipelines of known probabilities and stay distributions, as visits, with their true
rates in closed form.

Every stage ends after an exponential time, whatever its end; a deal advances (from the last stage:
is won) with a fixed probability, else it is lost. Deals come in uniformly over the time before
`as_of`. So the truth within a horizon is known:

- to advance: p (1 - exp(-h / mean));
- to be won: the product of the p of all stages to come, times the probability that the sum of their
  exponential times is at most h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq

AS_OF = pd.Timestamp("2026-06-30", tz="UTC")
DAY = 86_400_000_000


@dataclass(frozen=True)
class Design:
    """Mean days to advance and to be lost and probability to advance of each stage; deals of a
    pipeline, days over which they came.
    """

    means: tuple[float, ...] = (12.0, 20.0, 30.0)
    lost_means: tuple[float, ...] = (20.0, 12.0, 15.0)
    advance: tuple[float, ...] = (0.7, 0.6, 0.5)
    deals: int = 300
    entries_days: float = 180.0
    horizon_days: float = 40.0

    def true_conversion(self) -> np.ndarray:
        """Of each stage."""
        return np.array(self.advance) * -np.expm1(-self.horizon_days / np.array(self.means))

    def true_win(self) -> np.ndarray:
        """Of each stage: distribution of a sum of exponentials of different means
        (hypoexponential).
        """
        result = []
        for place in range(len(self.means)):
            means = np.array(self.means[place:])
            weights = [
                np.prod([mean / (mean - other) for other in means if other != mean])
                for mean in means
            ]
            within = 1 - sum(
                weight * np.exp(-self.horizon_days / mean)
                for weight, mean in zip(weights, means, strict=True)
            )
            result.append(np.prod(self.advance[place:]) * within)
        return np.array(result)

    def true_median(self) -> np.ndarray:
        """Days that half of the stays in each stage last, whatever their end."""
        return np.array(
            [
                brentq(
                    lambda t, p=p, a=a, b=b: p * np.exp(-t / a) + (1 - p) * np.exp(-t / b) - 0.5,
                    0,
                    1_000,
                )
                for p, a, b in zip(self.advance, self.means, self.lost_means, strict=True)
            ]
        )

    def stages(self) -> pd.DataFrame:
        count = len(self.means)
        return pd.DataFrame(
            {
                "id": pd.array(range(1, count + 1), "Int64"),
                "order_nr": pd.array(range(1, count + 1), "Int64"),
                "name": pd.Series(
                    [f"Stage {number}" for number in range(1, count + 1)], dtype="str"
                ),
                "pipeline_id": pd.array([1] * count, "Int64"),
            }
        )

    def visits(self, simulations: int, seed: int) -> pd.DataFrame:
        """Visits of many independent pipelines, numbered in the column `simulation`; what would
        come after `as_of` is cut off.
        """
        rng = np.random.default_rng(seed)
        size, count = simulations * self.deals, len(self.means)
        come = (
            AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64)
            - rng.uniform(0, self.entries_days, size) * DAY
        )
        goes_on = rng.random((size, count)) < self.advance
        length = rng.exponential(np.where(goes_on, self.means, self.lost_means)) * DAY
        bounds = np.column_stack([come, come[:, None] + np.cumsum(length, axis=1)]).astype(np.int64)
        there = np.column_stack(
            [np.ones(size, bool), np.cumprod(goes_on[:, :-1], axis=1).astype(bool)]
        )
        deal, place = np.nonzero(there & (bounds[:, :-1] <= come.max() + self.entries_days * DAY))
        now = AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64)
        entered, left = bounds[deal, place], bounds[deal, place + 1]
        ends = np.where(
            goes_on[deal, place], np.where(place == count - 1, "won", "advanced"), "lost"
        )
        kept = entered <= now
        deal, place, entered, left, ends = (
            values[kept] for values in (deal, place, entered, left, ends)
        )
        still = left > now
        moment = pd.Series(entered.view("datetime64[us]")).dt.tz_localize("UTC")
        nothing = pd.Series(np.full(len(deal), "NaT", "datetime64[us]")).dt.tz_localize("UTC")
        return pd.DataFrame(
            {
                "deal_id": pd.array(deal + 1, "Int64"),
                "pipeline_id": pd.array(np.ones(len(deal), np.int64), "Int64"),
                "stage_id": pd.array(place + 1, "Int64"),
                "entered_at": moment,
                "left_at": pd.Series(
                    np.where(still, np.iinfo(np.int64).min, left).view("datetime64[us]")
                ).dt.tz_localize("UTC"),
                "end": pd.Categorical(np.where(still, "open", ends)),
                "source": pd.Categorical(["changelog"] * len(deal)),
                "entered_after": nothing,
                "left_after": nothing,
                "seen_at": moment,
                "simulation": pd.array(deal // self.deals, "Int64"),
            }
        )


def coverage(table: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Share of simulations whose 95 % interval holds the truth, and mean errors of the estimate and
    the naive rate; a row a stage and rate.

    An interval that is null does not cover. The naive rate (of the closed deals) is held against
    the truth within the horizon, and against the probability ever to come that far.
    """
    rows = []
    for what, low, high, truths, ever in (
        ("conversion", "low", "high", design.true_conversion(), design.advance),
        ("win", "win_low", "win_high", design.true_win(), np.cumprod(design.advance[::-1])[::-1]),
    ):
        for place, truth in enumerate(truths, start=1):
            mine = table[table["order_nr"] == place]
            won = table.loc[table["stage"] == "won", "reached"].to_numpy(np.float64)
            naive = (
                mine["closed_conversion"]
                if what == "conversion"
                else pd.Series(won / (won + _lost(table, place)))
            )
            covered = ((mine[low] <= truth) & (truth <= mine[high])).mean()
            biases = (
                mine[what].mean() - truth,
                naive.mean() - truth,
                naive.mean() - ever[place - 1],
            )
            rows.append((f"{what} {place}", truth, covered, *biases, mine[low].isna().sum()))
    return pd.DataFrame(
        rows, columns=["rate", "truth", "covered", "bias", "naive_bias", "naive_bias_ever", "null"]
    )


def median_coverage(table: pd.DataFrame, visits: pd.DataFrame, design: Design) -> pd.DataFrame:
    """The same for the median of stays as `stage_velocity` gives it; the naive one is that of the
    stays that are over.

    An upper limit that is null has no bound: the data does not reach it.
    """
    over = visits[visits["left_at"].notna()]
    lasted = (
        ((over["left_at"] - over["entered_at"]) / pd.Timedelta(days=1))
        .groupby([over["simulation"], over["stage_id"]])
        .median()
    )
    rows = []
    for stage, truth in enumerate(design.true_median(), start=1):
        mine = table[table["stage_id"] == stage]
        covered = ((mine["low"] <= truth) & ~(mine["high"] < truth)).mean()
        naive = lasted.xs(stage, level="stage_id").mean()
        rows.append(
            (
                f"median days {stage}",
                truth,
                covered,
                mine["median_days"].mean() - truth,
                naive - truth,
                mine["low"].isna().sum(),
            )
        )
    return pd.DataFrame(rows, columns=["figure", "truth", "covered", "bias", "naive_bias", "null"])


def _lost(table: pd.DataFrame, place: int) -> np.ndarray:
    """Deals of each simulation lost in this stage or a later one."""
    later = table[(table["order_nr"] >= place).fillna(False)]
    return later.groupby("simulation")["lost"].sum().to_numpy(np.float64)


__all__ = ["AS_OF", "Design", "coverage", "median_coverage"]
