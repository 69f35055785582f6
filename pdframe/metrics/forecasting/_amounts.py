"""Values of deals as whole millionths of a currency unit, so that sums are exact."""

from __future__ import annotations

import numpy as np

from pdframe.errors import ArgumentError
from pdframe.metrics._columns import Floats, Ints
from pdframe.metrics.revenue.prices import LARGEST, UNIT, in_units

_MOST = np.iinfo(np.int64).max / 2
_TOO_LARGE = "The values are too large to be added up exactly. Leave some out."


def exact_units(values: Floats) -> Ints:
    """Return values as whole millionths, rounded half to even; NaN is 0.

    Raises
    ------
    ArgumentError
        A value is too large.
    """
    values = np.nan_to_num(values)
    if not np.all(np.abs(values) < _MOST / UNIT):
        raise ArgumentError(_TOO_LARGE)
    return np.rint(values * UNIT).astype(np.int64)


def sums(parts: Ints, groups: Ints, count: int) -> Ints:
    """Return the sum of each of `count` groups, exactly.

    Raises
    ------
    ArgumentError
        All together are too large to be added up exactly.
    """
    if not np.abs(parts.astype(np.float64)).sum() < _MOST:
        raise ArgumentError(_TOO_LARGE)
    result = np.zeros(count, np.int64)
    np.add.at(result, groups, parts)
    return result


__all__ = ["LARGEST", "UNIT", "exact_units", "in_units", "sums"]
