"""Random numbers that belong to a deal, and the factor that all deals of a draw share."""

from __future__ import annotations

from typing import Any

import numpy as np

from pdframe.metrics._survival import Floats, Ints

# Streams of random numbers: of what, apart from the seed and the id.
TIMES, VALUES, FACTOR, ARRIVALS, WINS, SPREAD = range(6)

_WORD = (1 << 64) - 1
# Nodes of the integral over log F, in standard deviations; the trapezoid is exact to rounding.
_NODES = np.linspace(-8.5, 8.5, 171)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
# Steps of the table of hazards, in its logarithm.
_TABLE = np.linspace(-60.0, 5.0, 651)
# Probabilities at once, so that their integrands stay in the processor's cache.
_BLOCK = 256


def generator(seed: int, stream: int, key: int = 0, *more: int) -> np.random.Generator:
    """Return a generator whose numbers depend on these alone.

    Parameters
    ----------
    seed
        The user's.
    stream
        Which kind of number.
    key
        Of what: the id of a deal, for example.
    more
        Up to two further keys.
    """
    first, second = (*more, 0, 0)[:2]
    counter = np.array([0, first & _WORD, second & _WORD, stream], np.uint64)
    words = np.array([seed & _WORD, key & _WORD], np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=counter))


class Streams:
    """The generators of one kind of number, one key after another: the numbers of `generator`, for
    which no object is made each time.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._generator = generator(seed, stream)
        self._bits = self._generator.bit_generator
        self._begin: Any = self._bits.state

    def of(self, key: int) -> np.random.Generator:
        """Return the generator at the first number of a key, until the next call."""
        self._begin["state"]["key"][1] = key & _WORD
        self._bits.state = self._begin
        return self._generator

    def uniform(self, key: int, places: Ints) -> Floats:
        """Return some of the numbers that `of(key).random(dtype=np.float32)` draws, of 24 bits.

        Two of them are one word, and only the words are drawn: what is asked for is made of them.

        Parameters
        ----------
        key
            As in `of`.
        places
            Which numbers, from 0; ascending.
        """
        if not len(places):
            return np.zeros(0)
        self.of(key)
        words = self._bits.random_raw(int(places[-1]) // 2 + 1)
        halves = words.astype("<u8", copy=False).view("<u4")
        return (halves[places] >> 8).astype(np.float64) * 2.0**-24


def common_factors(seed: int, draws: int, common_sd: float) -> Floats:
    """Return the factor of each draw on all hazards of winning: lognormal with mean 1, `common_sd`
    is the standard deviation of its logarithm.
    """
    normal = generator(seed, FACTOR).standard_normal(draws)
    return np.exp(common_sd * normal - common_sd**2 / 2)


def recentred(chance: Floats, common_sd: float) -> Floats:
    """Return the cumulative hazards H of these probabilities p such that the expectation of
    1 - exp(-F H) over the common factor F is p.

    Infinite where p is 1. Without a common factor H is -log(1 - p).
    """
    with np.errstate(divide="ignore"):
        plain = -np.log1p(-np.clip(chance, 0.0, 1.0))
    if common_sd == 0:
        return plain
    factor = np.exp(common_sd * _NODES - common_sd**2 / 2)
    result = plain.ravel().copy()
    inside = (result > 0) & np.isfinite(result)
    wanted = np.log(result[inside])
    # The logarithm of the hazard that P(won) shows is nearly straight in that of H, and monotone.
    log = np.interp(wanted, _shown(_TABLE, factor)[0], _TABLE)
    for first in range(0, len(log), _BLOCK):
        own = slice(first, first + _BLOCK)
        for _ in range(3):
            shown, slope = _shown(log[own], factor)
            log[own] += np.clip((wanted[own] - shown) / slope, -1.0, 1.0)
    result[inside] = np.exp(log)
    return result.reshape(chance.shape)


def _shown(log: Floats, factor: Floats) -> tuple[Floats, Floats]:
    """Return log(-log(P(open))) at these logarithms of H, and its slope."""
    hazard = np.exp(log)
    each = hazard[:, None] * factor
    left = np.exp(-each)
    still = np.einsum("ij,j->i", left, _WEIGHTS)
    won = np.einsum("ij,j->i", -np.expm1(-each), _WEIGHTS)
    # Each of the two is exact where it is small.
    seen = np.where(won < 0.5, -np.log1p(-np.minimum(won, 0.5)), -np.log(still))
    return np.log(seen), np.einsum("ij,j->i", each * left, _WEIGHTS) / (still * seen)
