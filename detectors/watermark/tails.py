"""Upper tails as base-10 logarithms, exact far below the smallest float.

Where the ordinary functions of scipy still resolve a tail they are used; beyond, the leading term in log space times
the series that follows it.

References:
    Johnson, Kemp and Kotz (2005), section 3.6, and DLMF 8.8, 8.11 for the two series; Lugannani and Rice (1980),
    Adv. Appl. Prob. 12, for the saddlepoint; Chernoff (1952) for the bound.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Floats = npt.NDArray[np.float64]

LN10: Final = float(np.log(10.0))
_RESOLVED: Final = 1e-250
_SMALL: Final = 1e-18
_STEEPEST: Final = 700.0


def binomial(hits: Any, trials: Any, probability: float) -> Floats:
    """log10 P(Bin(trials, probability) >= hits), elementwise; 0 where hits <= 0."""
    hits, trials = np.broadcast_arrays(np.asarray(hits, np.float64), np.asarray(trials, np.float64))
    inside = hits > 0
    at, of = np.where(inside, hits, 1.0), np.where(inside, trials, 1.0)
    tail = special.betainc(at, np.maximum(of - at + 1, 0.5), probability)
    impossible = at > of
    log10 = _log10(np.where(impossible, 0.0, tail))
    deep = (tail < _RESOLVED) & ~impossible
    series = [_binomial_series(h, n, probability) for h, n in zip(at[deep], of[deep], strict=True)]
    log10[deep] = series
    return np.where(inside, log10, 0.0)


def gamma(total: Any, shape: Any) -> Floats:
    """log10 P(Gamma(shape, 1) >= total), elementwise; 0 where shape is 0."""
    total, shape = np.broadcast_arrays(np.asarray(total, np.float64), np.asarray(shape, np.float64))
    some = shape > 0
    of = np.where(some, shape, 1.0)
    tail = special.gammaincc(of, np.maximum(total, 0.0))
    log10 = _log10(tail)
    deep = tail < _RESOLVED
    series = [_gamma_series(s, n) for s, n in zip(total[deep], of[deep], strict=True)]
    log10[deep] = series
    return np.where(some, log10, 0.0)


def _log10(tail: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(tail))


def _binomial_series(hits: float, trials: float, probability: float) -> float:
    """P(X = hits) times 1 + r1 + r1 r2 + …, r the ratios of neighbouring terms, all below 1 this far out."""
    odds = probability / (1 - probability)
    log_term = (
        -np.log(trials + 1)
        - special.betaln(hits + 1, trials - hits + 1)
        + hits * np.log(probability)
        + (trials - hits) * np.log1p(-probability)
    )
    # ratios fall, so as many terms as the first ratio needs to become negligible are enough
    first = (trials - hits) / (hits + 1) * odds
    ahead = np.arange(_terms(first, trials - hits))
    ratios = (trials - hits - ahead) / (hits + 1 + ahead) * odds
    return float((log_term + np.log1p(np.cumprod(ratios).sum())) / LN10)


def _gamma_series(total: float, shape: float) -> float:
    """total^(shape-1) e^-total / Gamma(shape) times 1 + r1 + r1 r2 + …; ends by itself at a whole shape."""
    log_term = (shape - 1) * np.log(total) - total - special.gammaln(shape)
    ahead = np.arange(1, 1 + _terms((shape - 1) / total, max(shape - 1, 0)))
    ratios = (shape - ahead) / total
    return float((log_term + np.log1p(np.cumprod(ratios).sum())) / LN10)


def _terms(ratio: float, most: float) -> int:
    """How many terms a series with falling ratios needs until what is left does not count."""
    if ratio <= 0:
        return 0
    return int(min(most, np.ceil(np.log(_SMALL) / np.log(min(ratio, 1 - 1e-9)))))


def sum_of_draws(values: npt.NDArray[np.int64], draws: int, total: float) -> float:
    """log10 P(sum of independent draws from `values` >= total), exact to rounding however small it is.

    The draws' distribution is tilted until `total` is its mean, convolved there, and tilted back: where a tail is
    wanted, no digits are lost.

    Args:
        values: Equally likely whole numbers, shape (v,).
        draws: How many are added up.
        total: Lower end of the tail.
    """
    low, high = int(values.min()), int(values.max())
    if total <= draws * low:
        return 0.0
    if total > draws * high:
        return -np.inf
    chance = np.bincount(values - low) / len(values)
    levels = np.arange(len(chance)) - (high - low)
    theta = _tilt(chance, levels, total / draws - high)
    tilted = chance * np.exp(theta * levels)
    mass = tilted.sum()
    size = 1 << (draws * (len(chance) - 1)).bit_length()
    folded = np.fft.irfft(np.fft.rfft(tilted / mass, size) ** draws, size)
    first = int(np.ceil(total)) - draws * low
    above = np.maximum(folded[first : draws * (len(chance) - 1) + 1], 0.0)
    at = np.arange(len(above)) + first - draws * (high - low)
    # at most 1 when the tilt was none: rounding of the transform must not give a chance above it
    return float(min(0.0, _log_sum(above, -theta * at) + draws * np.log(mass)) / LN10)


def _tilt(chance: Floats, levels: Any, target: float) -> float:
    """The tilt, at least 0, that moves the mean of a distribution to `target`."""

    def mean(theta: float) -> float:
        weight = chance * np.exp(theta * levels)
        return float((weight * levels).sum() / weight.sum())

    if mean(0.0) >= target:
        return 0.0
    upper = 1e-6
    while mean(upper) < target and upper < _STEEPEST:
        upper *= 2
    return (
        float(optimize.brentq(lambda theta: mean(theta) - target, 0.0, upper)) if upper < _STEEPEST else upper
    )


def _log_sum(weights: Any, exponents: Any) -> float:
    """Log of sum(weights * exp(exponents))."""
    positive = weights > 0
    return float(special.logsumexp(exponents[positive], b=weights[positive])) if positive.any() else -np.inf
