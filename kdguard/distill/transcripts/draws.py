"""Sampled soft labels: a teacher's distribution, kept as a few draws from it.

Random sampling knowledge distillation draws tokens from the teacher's distribution and keeps which and how often.
Counts over draws are an unbiased estimate of every probability, so the mean gradient over draws is that of the whole
distribution; a list of the k most likely tokens is not.

Draws are systematic, not independent: n equally spaced points with one random offset. Every count then lies within 1
of n times the probability, where that of independent draws strays by the square root of it.

References:
    Anshumann et al. (2025), Sparse Logit Sampling, arXiv 2503.16870.
    Madow and Madow (1944), On the theory of systematic sampling, Annals of Mathematical Statistics 15.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import UNKNOWN_ID, Int32

_BLOCK_VALUES = 1 << 22  # of float64 held at once
_GRID = 1 << 40  # uniforms are multiples of 1/2^40, so that adding a row number loses nothing


class SoftLabels(NamedTuple):
    """Draws at t positions.

    Attributes:
        ids: Distinct ids drawn, ascending, shape (t, k), int32; pads are -1.
        counts: How often each was drawn, shape (t, k), int32; pads are 0. Each row adds up to the draws.
    """

    ids: Int32
    counts: Int32


def draw_soft_labels(logits: npt.NDArray[Any], draws: int, rng: np.random.Generator) -> SoftLabels:
    """Draw tokens from softmax(logits), position by position, by systematic sampling.

    Args:
        logits: Logits or log-probabilities at temperature 1, shape (t, v); minus infinity = never.
        draws: Draws a position, at least 1; 42 draws meet about 12 distinct tokens at 2 nats of entropy.
        rng: The randomness; the same state gives the same labels, however many positions are given at once.

    Returns:
        The labels; k is the most distinct ids at a position.

    Raises:
        TranscriptError: No draws, or a position without a finite maximum.
    """
    t, v = logits.shape
    if draws < 1:
        raise TranscriptError(f"draws must be at least 1, got {draws}")
    offset = rng.integers(0, _GRID, (t, 1))
    uniforms = (np.arange(draws) * _GRID + offset) // draws / _GRID
    drawn = np.empty((t, draws), np.int32)
    rows = max(1, _BLOCK_VALUES // max(v, 1))
    for start in range(0, t, rows):
        drawn[start : start + rows] = _inverted(logits[start : start + rows], uniforms[start : start + rows])
    return _counted(np.sort(drawn, axis=1))


def _inverted(logits: npt.NDArray[Any], uniforms: npt.NDArray[np.float64]) -> Int32:
    """The first token whose cumulative probability exceeds the uniform."""
    values = np.asarray(logits, np.float64)
    top = values.max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise TranscriptError("draws: every position must have a finite largest logit, and no NaN")
    cumulative = np.cumsum(np.exp(values - top), axis=1)
    cumulative /= cumulative[:, -1:]
    row = np.arange(len(values), dtype=np.float64)[:, None]
    places = np.searchsorted((cumulative + row).reshape(-1), (uniforms + row).reshape(-1), side="right")
    return (places.reshape(uniforms.shape) - row.astype(np.int64) * values.shape[1]).astype(np.int32)


def _counted(drawn: Int32) -> SoftLabels:
    """Runs of equal ids in sorted rows, as ids and counts."""
    t, draws = drawn.shape
    first = np.ones((t, draws), np.bool_)
    first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    place = np.cumsum(first, axis=1) - 1
    k = int(place[:, -1].max(initial=-1)) + 1
    row = np.broadcast_to(np.arange(t)[:, None], (t, draws))
    ids = np.full((t, k), UNKNOWN_ID, np.int32)
    ids[row[first], place[first]] = drawn[first]
    counts = np.zeros((t, k), np.int32)
    np.add.at(counts, (row, place), 1)
    return SoftLabels(ids, counts)
