"""Ridge logistic regression on features that each have one level a row, by Newton's method.

Every sum is made in the order of the rows, and no library of linear algebra is called, so that the
result is the same to the last bit on any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdframe.metrics._survival import Flags, Floats, Ints

_ROUNDS = 12
_HALVINGS = 10
_SLOPE = 0.1
"""Weight of the steps between neighbouring levels of an ordered feature, where that of the change
between two such steps is 1.
"""
_CLOSE_ENOUGH = 0.05
"""Gain of one independent row's log-likelihood below which another round is not worth it."""


def fit_logistic(
    codes: Sequence[Ints],
    levels: Sequence[int],
    scales: Sequence[float],
    ordered: Sequence[bool],
    event: Flags,
    count: float,
    repeated: tuple[Ints, Sequence[Ints]] | None = None,
) -> Floats:
    """Return the coefficients: the intercept, then the levels of each feature in turn.

    Parameters
    ----------
    codes
        Level of each row, by feature.
    levels
        Number of levels of each feature.
    scales
        Standard deviation of each feature's effects before any data (of a normal distribution).
    ordered
        Whether it is that of the change between the steps from level to level.
    event
        What is predicted, by row.
    count
        How many rows stand for one independent one: an event is seen from several landmarks.
    repeated
        The case of each row, and of each case its level of the first features, which are the same
        in all of its rows: their sums are faster by case.
    """
    rows = _Rows.of(codes, levels, repeated)
    start, size = rows.start, int(rows.start[-1])
    penalty = np.zeros((size, size))
    penalty[0, 0] = 1e-6
    for number, scale in enumerate(scales):
        own = slice(start[number], start[number + 1])
        penalty[own, own] = _precision(levels[number], ordered[number]) * (count / scale**2)
    n, events = len(event), int(event.sum())
    result = np.zeros(size)
    share = (events + 0.5) / (n + 1.0)
    result[0] = np.log(share / (1 - share))
    target = event.astype(np.float64)
    eta = rows.linear(result)
    loss = _loss(eta, target, result, penalty)
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-eta))
        weight = chance * (1 - chance)
        hessian, gradient = rows.sums(weight, target - chance)
        gradient -= (penalty * result).sum(axis=1)
        hessian += penalty
        change = solve(hessian, gradient)
        for _ in range(_HALVINGS):
            eta = rows.linear(result + change)
            now = _loss(eta, target, result + change, penalty)
            if now <= loss:
                break
            change = change / 2
        result, gain, loss = result + change, loss - now, now
        if gain < _CLOSE_ENOUGH * count:
            break
    return result


def _precision(levels: int, is_ordered: bool) -> Floats:
    """Return the matrix of the penalty of a feature's effects, for a scale of 1.

    The effects of an ordered feature are a penalised spline: a trend is nearly free, so that it
    goes on in levels with few events, such as those of the oldest deals.
    """
    if not is_ordered or levels < 3:
        return np.eye(levels)
    step = np.diff(np.eye(levels), axis=0)
    # The level of all together is expected to be small as well.
    result: Floats = np.eye(levels) / levels**2
    for rows, weight in ((step, _SLOPE), (np.diff(step, axis=0), 1.0)):
        result += np.einsum("ki,kj->ij", rows, rows) * weight
    return result


def _loss(eta: Floats, target: Floats, coefficients: Floats, penalty: Floats) -> float:
    """Return what is minimised: minus the log of the posterior."""
    data = np.logaddexp(0.0, eta) - target * eta
    squares = penalty * coefficients * coefficients[:, None]
    return float(data.sum() + squares.sum() / 2)


def linear(coefficients: Floats, codes: Sequence[Ints], levels: Sequence[int]) -> Floats:
    """Return the intercept and the coefficients of each row's levels, added up."""
    return added(np.full(len(codes[0]), coefficients[0]), coefficients[1:], codes, levels)


def added(
    sums: Floats, coefficients: Floats, codes: Sequence[Ints], levels: Sequence[int]
) -> Floats:
    """Return sums with the coefficients of each row's levels added, one feature after another."""
    place, result = 0, sums.copy()
    for code, count in zip(codes, levels, strict=True):
        result += coefficients[place : place + count][code]
        place += count
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The levels of rows, arranged for what every round adds up.

    Parameters
    ----------
    codes, levels
        As in `fit_logistic`.
    start
        Where the coefficients of each feature begin, and the end.
    case, by_case
        As `repeated` there; no features by case where there is none.
    pairs
        Of each pair of features, the later one first, the number of each row's pair of levels, or
        of each case's where both are known by case.
    """

    codes: Sequence[Ints]
    levels: Sequence[int]
    start: Ints
    case: Ints
    by_case: Sequence[Ints]
    pairs: Sequence[tuple[int, int, NDArray[Any]]]

    @classmethod
    def of(
        cls,
        codes: Sequence[Ints],
        levels: Sequence[int],
        repeated: tuple[Ints, Sequence[Ints]] | None,
    ) -> _Rows:
        case, by_case = (np.zeros(0, np.int64), ()) if repeated is None else repeated
        # Small numbers: there are a hundred pairs of features, each with a number a row.
        small = np.min_scalar_type(max(levels, default=0) ** 2)
        rows, cases = ([code.astype(small) for code in each] for each in (codes, by_case))
        pairs = []
        for i in range(len(codes)):
            own = cases if i < len(cases) else rows
            pairs += [(i, j, own[i] * levels[j] + own[j]) for j in range(i)]
        start = np.concatenate(([1], 1 + np.cumsum(levels))).astype(np.int64)
        return cls(codes, levels, start, case, by_case, pairs)

    def linear(self, coefficients: Floats) -> Floats:
        """Return what `linear` does, to the last bit."""
        shared = len(self.by_case)
        if not shared:
            return linear(coefficients, self.codes, self.levels)
        of_case = linear(coefficients, self.by_case, self.levels[:shared])
        rest = coefficients[self.start[shared] :]
        return added(of_case[self.case], rest, self.codes[shared:], self.levels[shared:])

    def sums(self, weight: Floats, residual: Floats) -> tuple[Floats, Floats]:
        """Return the sums of weights by pairs of levels, and those of residuals by level."""
        size, start = int(self.start[-1]), self.start
        case_weight = weight
        if self.by_case:
            case_weight = np.bincount(self.case, weight, len(self.by_case[0])).astype(np.float64)
        hessian, gradient = np.zeros((size, size)), np.zeros(size)
        hessian[0, 0], gradient[0] = weight.sum(), residual.sum()
        for i, (code, count) in enumerate(zip(self.codes, self.levels, strict=True)):
            each = np.arange(start[i], start[i + 1])
            gradient[each] = np.bincount(code, residual, count)
            total = np.bincount(code, weight, count)
            hessian[0, each] = hessian[each, 0] = hessian[each, each] = total
        for i, j, pair in self.pairs:
            own, other = slice(start[i], start[i + 1]), slice(start[j], start[j + 1])
            shape = self.levels[i], self.levels[j]
            weights = case_weight if i < len(self.by_case) else weight
            block = np.bincount(pair, weights, shape[0] * shape[1]).reshape(shape)
            hessian[own, other], hessian[other, own] = block, block.T
        return hessian, gradient


def solve(matrix: Floats, right: Floats) -> Floats:
    """Solve a positive definite system by Gauss's elimination, in the order of the rows."""
    left, result = matrix.copy(), right.copy()
    size = len(result)
    for k in range(size - 1):
        factor = left[k + 1 :, k] / left[k, k]
        left[k + 1 :, k + 1 :] -= factor[:, None] * left[k, k + 1 :]
        result[k + 1 :] -= factor * result[k]
    for k in range(size - 1, -1, -1):
        result[k] = (result[k] - (left[k, k + 1 :] * result[k + 1 :]).sum()) / left[k, k]
    return result


__all__ = ["added", "fit_logistic", "linear", "solve"]
