"""Weighted sums of a mark's scores over random keys: saddlepoint tail, and a bound that nothing is assumed for.

A pair of window and token scores s, of one law under a random key and independent of other pairs. For fixed weights a
the sum T of a (s - mean) has the cumulant generating function K(theta) = sum of k(theta a), with k the law's own.

References:
    Lugannani and Rice (1980), Adv. Appl. Prob. 12, equation 3, for the saddlepoint; Chernoff (1952) for the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.schemes.gumbel import GumbelPhilox
from kdguard.detectors.watermark.schemes.kgw import KgwLeft
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.schemes.synthid import SynthIdPhilox
from kdguard.errors import WatermarkError

Floats = npt.NDArray[np.float64]

_LN10: Final = float(np.log(10.0))
_CENTRAL: Final = 1e-4
_STEEPEST: Final = 600.0


class Law(Protocol):
    """Distribution of one pair's score about its mean."""

    @property
    def steepest(self) -> float:
        """Where k stops being finite, for rising arguments."""
        ...

    def cumulants(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """K and its first two derivatives, elementwise."""
        ...


@dataclass(frozen=True, slots=True)
class Coins:
    """Heads of some coins."""

    flips: int
    probability: float

    @property
    def steepest(self) -> float:
        """Finite everywhere; beyond this nothing changes any more."""
        return _STEEPEST

    def cumulants(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """See `Law`."""
        log_mass = np.logaddexp(np.log1p(-self.probability), np.log(self.probability) + at)
        heads = np.exp(np.log(self.probability) + at - log_mass)
        flips = self.flips
        return (
            flips * (log_mass - self.probability * at),
            flips * (heads - self.probability),
            flips * heads * (1 - heads),
        )


@dataclass(frozen=True, slots=True)
class Exponential:
    """Waiting time with mean 1."""

    @property
    def steepest(self) -> float:
        """The law has no mean beyond a tilt of 1."""
        return 1.0

    def cumulants(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """See `Law`."""
        left = 1 - at
        return -np.log(left) - at, at / left, left**-2


class Tail(NamedTuple):
    """How far out a sum lies.

    Attributes:
        z: Standard deviations above 0.
        log10_p: log10 of the chance of a sum at least as large, by the saddlepoint.
        log10_bound: Upper bound of the same, by Chernoff; 0 where the sum is not above its mean.
    """

    z: float
    log10_p: float
    log10_bound: float


def law_of(scheme: Scheme) -> Law:
    """The law of a mark's score.

    Raises:
        WatermarkError: Pairs of this mark are not independent.
    """
    match scheme:
        case GreenSiphash() | KgwLeft():
            return Coins(1, scheme.mean)
        case SynthIdPhilox():
            return Coins(scheme.depth, 0.5)
        case GumbelPhilox():
            return Exponential()
    raise WatermarkError(
        f"pairs of '{scheme.name}' are not independent, so weighted sums of them have no exact law; "
        "use green-siphash, gumbel-philox, synthid-philox or kgw-left"
    )


def tail_of(law: Law, weights: Floats, total: float) -> Tail:
    """Where a weighted sum lies among those of random keys.

    Args:
        law: Of every pair's score.
        weights: a, shape (k,), chosen without looking at the key.
        total: The sum over pairs of a (s - mean).
    """
    spread = float(np.sqrt((law.cumulants(np.zeros(1))[2] * weights**2).sum()))
    if spread == 0:
        return Tail(0.0, 0.0, 0.0)
    z = total / spread
    theta = _tilt(law, weights, total, spread)
    cumulant, _, curvature = _sums(law, weights, theta)
    exponent = min(cumulant - theta * total, 0.0)
    log10_bound = exponent / _LN10 if theta > 0 else 0.0
    root = np.sign(theta) * np.sqrt(-2 * exponent)
    slope = theta * np.sqrt(curvature)
    if abs(root) < _CENTRAL or slope == 0:
        return Tail(z, float(special.log_ndtr(-z)) / _LN10, log10_bound)
    # Phi(-w) + phi(w) (1/u - 1/w), with phi(w) = exp(exponent) / sqrt(2 pi) drawn out so that nothing underflows
    mills = np.exp(special.log_ndtr(-root) - exponent) * np.sqrt(2 * np.pi)
    factor = max(float(mills + 1 / slope - 1 / root), np.finfo(float).tiny)
    log_p = exponent - 0.5 * np.log(2 * np.pi) + np.log(factor)
    return Tail(z, float(min(log_p, 0.0)) / _LN10, log10_bound)


def _sums(law: Law, weights: Floats, theta: float) -> tuple[float, float, float]:
    """K and its first two derivatives."""
    own, slope, curvature = law.cumulants(theta * weights)
    return float(own.sum()), float((weights * slope).sum()), float((weights**2 * curvature).sum())


def _tilt(law: Law, weights: Floats, total: float, spread: float) -> float:
    """The theta at which the sum's mean is `total`; the nearest that is still finite if no theta reaches it."""
    side = 1.0 if total >= 0 else -1.0
    largest = float((side * weights).max())
    limit = law.steepest / largest * (1 - 1e-9) if largest > 0 else _STEEPEST / spread
    reach = abs(total) / spread**2

    def short(size: float) -> float:
        return side * (total - _sums(law, weights, side * size)[1])

    while reach < limit and short(reach) > 0:
        reach *= 2
    reach = min(reach, limit)
    if reach == 0 or short(reach) > 0:
        return side * reach
    return side * float(optimize.brentq(short, 0.0, reach, xtol=1e-12 * max(reach, 1e-300), rtol=1e-12))
