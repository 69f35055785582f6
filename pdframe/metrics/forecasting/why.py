"""Why a deal has its odds of winning in the next interval: what raises and what lowers them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdframe.metrics._survival import Floats

_NAMED = 3
"""Terms that a text names; the others are one factor."""

_WORTH_NAMING = 0.03
"""Least change of the log odds that a text names."""


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

    def texts(self) -> NDArray[np.object_]:
        """Return a sentence a deal: the terms that move its odds most, the strongest first, then
        the rest, the blend and the calibration.
        """
        count = len(self.terms) - 2
        logs = np.log(self.factors)
        model = logs[:, :count]
        order = np.argsort(-np.abs(model), axis=1, kind="stable")[:, :_NAMED]
        odds = self.base * np.exp(logs.sum(axis=1))
        result = np.empty(len(logs), object)
        for row in range(len(logs)):
            named = [k for k in order[row] if abs(model[row, k]) >= _WORTH_NAMING]
            rest = float(np.exp(model[row].sum() - model[row, named].sum()))
            parts = [f"{self.terms[k]} x{np.exp(model[row, k]):.2f}" for k in named]
            parts.append(f"other x{rest:.2f}")
            parts += [f"{self.terms[k]} x{self.factors[row, k]:.2f}" for k in (-2, -1)]
            result[row] = (
                f"odds of winning within {round(self.days, 1):g} days {odds[row]:.2g} = average"
                f" {self.base:.2g}, {', '.join(parts)}"
            )
        return result


__all__ = ["Why"]
