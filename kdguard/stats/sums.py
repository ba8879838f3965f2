"""Exact null distribution of a sum of independent integer scores.

Where we drew every term ourselves and independently, the chance of a sum is no approximation: it is the convolution of
the terms. It is done directly and not by FFT: all products are positive, so even the far tail keeps its precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

P_FLOOR = 1e-300
"""Smallest p-value that is reported: below it doubles underflow, and a bound is still a valid p-value."""


_ONE_BY_ONE = 64
"""Products up to which equal terms are added one by one; above, their power is taken first."""


@dataclass(frozen=True, slots=True)
class Term:
    """One independent term of a sum.

    Attributes:
        values: Integer scores it can take.
        chances: Chance of each; they add up to 1.
    """

    values: tuple[int, ...]
    chances: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SumNull:
    """Distribution of the sum of all terms.

    Attributes:
        smallest: The smallest possible sum.
        tail: tail[i] is the chance of a sum of at least `smallest + i`.
    """

    smallest: int
    tail: Floats

    def p_values(self, observed: npt.ArrayLike) -> Floats:
        """Chance of a sum at least as large as each observed one, never below `P_FLOOR`."""
        places = np.asarray(observed, np.int64) - self.smallest
        reached = self.tail[np.clip(places, 0, self.tail.size - 1)]
        return np.clip(np.where(places >= self.tail.size, 0.0, reached), P_FLOOR, 1.0)


def sum_null(terms: Iterable[Term]) -> SumNull:
    """Convolve the terms; equal ones are raised to their power.

    Raises:
        ValueError: The chances of a term do not add up to 1.
    """
    smallest, mass = 0, np.ones(1)
    for term, times in Counter(terms).items():
        if abs(sum(term.chances) - 1) > 1e-9 or min(term.chances) < 0:
            raise ValueError(f"chances of a term must be >= 0 and add up to 1, got {term.chances}")
        smallest += times * min(term.values)
        if times * len(term.values) <= _ONE_BY_ONE:
            for _ in range(times):
                mass = _plus(mass, term)
        else:
            mass = np.convolve(mass, _power(_plus(np.ones(1), term), times))
    return SumNull(smallest, np.cumsum(mass[::-1])[::-1])


def _plus(mass: Floats, term: Term) -> Floats:
    """Distribution of the sum with one more term, counted from its least value; quick for few values far apart."""
    least = min(term.values)
    longer = np.zeros(mass.size + max(term.values) - least)
    for value, chance in zip(term.values, term.chances, strict=True):
        longer[value - least : value - least + mass.size] += chance * mass
    return longer


def _power(mass: Floats, times: int) -> Floats:
    """Distribution of the sum of `times` independent copies."""
    if times == 1:
        return mass
    half = _power(mass, times // 2)
    doubled = np.convolve(half, half)
    return np.convolve(doubled, mass) if times % 2 else doubled
