"""How unsure a student is of each candidate; a larger score is asked first.

References:
    Pal et al. (2020), ActiveThief, AAAI 34(01):865-872; Settles (2009), Active learning literature survey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kdguard.errors import AttackError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def entropy(probabilities: Floats) -> Floats:
    """Shannon entropy in nats.

    Args:
        probabilities: Shape (n, c), rows sum to 1.

    Returns:
        Shape (n,), from 0 to log c.
    """
    found = _checked(probabilities)
    logs = np.log(found, where=found > 0, out=np.zeros_like(found))
    return -(found * logs).sum(axis=1)


def margin(probabilities: Floats) -> Floats:
    """One minus the gap between the two largest probabilities; shape (n,), from 0 to 1."""
    found = _checked(probabilities)
    top = np.partition(found, -2, axis=1)[:, -2:]
    return 1 - (top[:, 1] - top[:, 0])


def least_confidence(probabilities: Floats) -> Floats:
    """One minus the largest probability; shape (n,), from 0 to 1 - 1/c."""
    return 1 - _checked(probabilities).max(axis=1)


SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "entropy": entropy,
    "margin": margin,
    "least_confidence": least_confidence,
}


def largest(scores: Floats, count: int) -> Ints:
    """Places of the `count` largest scores, largest first; ties by place, so the answer is one."""
    if not 0 <= count <= len(scores):
        raise AttackError(f"count must be from 0 to the {len(scores)} candidates, got {count}")
    return np.argsort(-np.asarray(scores), kind="stable")[:count].astype(np.int64)


def _checked(probabilities: Floats) -> npt.NDArray[np.float64]:
    found = np.asarray(probabilities, np.float64)
    if found.ndim != 2 or found.shape[1] < 2:
        raise AttackError(f"probabilities must have shape (n, c) with c >= 2, got {found.shape}")
    if not np.allclose(found.sum(axis=1), 1, atol=1e-3) or (found < 0).any():
        raise AttackError("probabilities must not be negative and each row must sum to 1")
    return found
