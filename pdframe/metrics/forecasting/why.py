"""Why a deal has its odds of winning in the next interval: what raises and what lowers them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe.metrics._arguments import NULL
from pdframe.metrics._columns import NO_ID
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, OpenDeals

_NAMED = 3
"""Terms that a text names; the others are one factor."""

_WORTH_NAMING = 0.03
"""Least change of the log odds that a text names."""

_MOST_SIGNS = 80
"""Length of a reason."""

_NAME_SIGNS = 30
"""Length of a name in a reason."""

_SIZES = {
    2: ", one of the smaller 40 %",
    3: ", of a usual size",
    4: ", one of the largest 20 %",
    5: ", one of the largest 4 %",
}
"""Words for the numbers of `Design.value_size`."""

_LEARNED = (
    "how past deals in this stage ended (blend)",
    "how earlier forecasts turned out (calibration)",
)
"""Words for the last two terms."""


@dataclass(frozen=True, slots=True, eq=False)
class Circumstances:
    """What the terms are of each deal, in words.

    Parameters
    ----------
    deals
        The open deals.
    stage, owner
        Their names; null where unknown.
    size
        Numbers of `Design.value_size`.
    day
        The company's day at which each was observed, in days since 1970.
    """

    deals: OpenDeals
    stage: Any
    owner: Any
    size: Ints
    day: Ints

    def text(self, term: str, row: int) -> str:
        """Return what a term is of one deal, such as "6 days in Negotiation"."""
        deals, times = self.deals, self.deals.at
        at = int(times[row])
        if term in ("stage", "time in stage"):
            name = self.stage[row]
            if deals.stage[row] == NO_ID or pd.isna(name):
                return "unknown stage" if term == "stage" else "time in an unknown stage"
            return (
                f"stage {name}" if term == "stage" else f"{_ago(at, deals.entered[row])} in {name}"
            )
        if term == "age of the deal":
            return f"created {_ago(at, deals.added[row])} ago"
        if term == "value":
            return self._value(row)
        if term == "owner":
            name = self.owner[row]
            return "unknown owner" if pd.isna(name) else f"owner {name}"
        if term == "moves back":
            back = int(deals.moves_back[row])
            return f"moved back {_times(back)}" if back else "never moved back"
        if term == "expected close":
            return _close(int(deals.expected_close[row]), int(self.day[row]))
        if term == "season":
            return f"season ({np.datetime64(int(self.day[row]), 'D').astype(date):%B})"
        return self._dated(term, row)

    def brief(self, term: str, row: int) -> str:
        """Return what a term is in a few words, without ids."""
        if term == "season":
            return f"closing in {np.datetime64(int(self.day[row]), 'D').astype(date):%B}"
        if term == "product":
            return "its product"
        text = self._worth(row) if term == "value" else self.text(term, row)
        for name in (self.stage[row], self.owner[row]):
            if isinstance(name, str) and len(name) > _NAME_SIGNS:
                text = text.replace(name, f"{name[: _NAME_SIGNS - 1].rstrip()}…")
        return text

    def _value(self, row: int) -> str:
        return f"{self._worth(row)}{_SIZES.get(int(self.size[row]), '')}"

    def _worth(self, row: int) -> str:
        value, currency = self.deals.value[row], self.deals.currency[row]
        if np.isnan(value):
            return "unknown value"
        unit = "" if currency is None else f" {currency}"
        return f"value {value:,.0f}{unit}"

    def _dated(self, term: str, row: int) -> str:
        """Return what the term of activities or line items is."""
        activity, items = self.deals.activity, self.deals.line_items
        if term == "activity" and activity is not None:
            since = int(activity.since_done[row])
            return "no activity done" if since == NULL else f"last activity {_ago(since, 0)} ago"
        if term == "line items" and items is not None:
            return f"{int(items.number[row])} line items"
        if term == "product" and items is not None:
            product = int(items.product[row])
            return "no product" if product == NO_ID else f"product {product}"
        return term


@dataclass(frozen=True, slots=True, eq=False)
class Why:
    """The odds of winning in the next interval, as a product.

    Parameters
    ----------
    days
        Length of the interval.
    base
        Odds of an average deal.
    terms
        Names of the factors of the hazard model, of the blend and of the calibration.
    factors
        Deals (rows) and terms (columns): odds = base times the product of a row.
    """

    days: float
    base: float
    terms: tuple[str, ...]
    factors: Floats

    def texts(self, circumstances: Circumstances) -> NDArray[np.object_]:
        """Return a sentence a deal: its probability in the interval, the terms that move its odds
        most, the strongest first, then the rest, the blend and the calibration.
        """
        logs = np.log(self.factors)
        model = logs[:, :-2]
        odds = self.base * np.exp(logs.sum(axis=1))
        average = _percent(self.base / (1 + self.base))
        result = np.empty(len(logs), object)
        for row, named in enumerate(self._strongest()):
            rest = float(np.exp(model[row].sum() - model[row, named].sum()))
            parts = [
                f"{circumstances.text(self.terms[k], row)} (x{np.exp(model[row, k]):.2f})"
                for k in named
            ]
            parts.append(f"all else (x{rest:.2f})")
            parts += [
                f"{words} (x{factor:.2f})"
                for words, factor in zip(_LEARNED, self.factors[row, -2:], strict=True)
            ]
            result[row] = (
                f"{_percent(odds[row] / (1 + odds[row]))} within {round(self.days, 1):g} days (an"
                f" average deal: {average}), odds times: {'; '.join(parts)}"
            )
        return result

    def reasons(self, circumstances: Circumstances) -> NDArray[np.object_]:
        """Return a few words a deal: the terms that move its odds most, the strongest first, those
        that speak for a win apart from those against it.
        """
        result = np.empty(len(self.factors), object)
        for row, named in enumerate(self._strongest()):
            text, side = "", None
            named = self._plain(row, named)
            # All of one side together, that of the strongest first.
            raises = [self.factors[row, k] > 1 for k in named]
            for k, is_for in sorted(
                zip(named, raises, strict=True), key=lambda pair: pair[1] != raises[0]
            ):
                words = circumstances.brief(self.terms[k], row)
                if is_for == side:
                    longer = f"{text}, {words}"
                else:
                    longer = (
                        f"{text}{'; ' if text else ''}{'for' if is_for else 'against'}: {words}"
                    )
                if len(longer) > _MOST_SIGNS and text:
                    break
                text, side = longer, is_for
            result[row] = text or "like an average deal"
        return result

    def _plain(self, row: int, named: list[int]) -> list[int]:
        """Return the terms without the stage where the days in it say the same."""
        both = {self.terms[k]: bool(self.factors[row, k] > 1) for k in named}
        if both.get("stage") is not both.get("time in stage"):
            return named
        return [k for k in named if self.terms[k] != "stage"]

    def _strongest(self) -> list[list[int]]:
        """Return the terms of the model that a text names, of each deal, the strongest first."""
        model = np.log(self.factors[:, :-2])
        order = np.argsort(-np.abs(model), axis=1, kind="stable")[:, :_NAMED]
        return [
            [int(k) for k in one if abs(model[row, k]) >= _WORTH_NAMING]
            for row, one in enumerate(order)
        ]


def _percent(chance: float) -> str:
    """Return a probability in per cent, with two digits."""
    if chance > 0.99:
        return f"{100 * chance:.4g} %"
    return f"{100 * chance:.2g} %" if chance >= 1e-6 else "under 0.0001 %"


def _ago(at: int, since: Any) -> str:
    days = max(at - int(since), 0) // DAY
    return f"{days:,} {'day' if days == 1 else 'days'}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _close(day: int, today: int) -> str:
    if day == NULL:
        return "no expected close"
    days = abs(day - today)
    unit = "day" if days == 1 else "days"
    if day == today:
        return "expected close today"
    return f"expected close {f'in {days:,} {unit}' if day > today else f'{days:,} {unit} ago'}"


__all__ = ["Circumstances", "Why"]
