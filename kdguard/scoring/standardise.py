"""Putting scores on one scale: how far above honest accounts of one kind, at one number of requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scan import CHECKPOINTS, Trajectories

Floats = npt.NDArray[np.float64]

FEWEST_REFERENCES = 30
_NORMAL_TENTH = 1.2816  # 90th percentile of the standard normal
_LOWEST = -1.5


@dataclass(frozen=True, slots=True)
class Scale:
    """Where reference scores lie at each checkpoint.

    Attributes:
        centre: Medians, shape (c, k).
        spread: Width of the wider side of the middle four fifths, in normal standard deviations, shape (c, k).
    """

    centre: Floats
    spread: Floats

    def standardise(self, trajectories: Trajectories) -> Floats:
        """Return scores as squashed multiples of the spread, shape (t, k); NaN becomes 0, the neutral value.

        asinh keeps the order of extreme values apart but lets no single output swamp the others.
        """
        at = trajectories.checkpoint
        z = np.arcsinh((trajectories.scores - self.centre[at]) / self.spread[at])
        return np.nan_to_num(np.maximum(z, _LOWEST), nan=0.0)


def fit_scale(trajectories: Trajectories, fallback: Scale | None = None) -> Scale:
    """Learn a scale from reference trajectories.

    A checkpoint that fewer than 30 references reached takes the fallback's values, or else those of the
    checkpoint before it.

    Args:
        trajectories: Reference accounts' scores, shape (t, k).
        fallback: Scale of a wider population.

    Raises:
        ValueError: There is neither a fallback nor a checkpoint with 30 references.
    """
    size, width = len(CHECKPOINTS), trajectories.scores.shape[1]
    centre, spread = np.full((size, width), np.nan), np.full((size, width), np.nan)
    for at in range(size):
        scores = trajectories.scores[trajectories.checkpoint == at]
        if len(scores) >= FEWEST_REFERENCES:
            centre[at], spread[at] = _middle(scores)
        elif fallback is not None:
            centre[at], spread[at] = fallback.centre[at], fallback.spread[at]
        elif at > 0:
            centre[at], spread[at] = centre[at - 1], spread[at - 1]
    if np.isnan(spread).any():
        raise ValueError(f"a scale needs {FEWEST_REFERENCES} references with {CHECKPOINTS[0]} requests")
    return Scale(centre, spread)


def _middle(scores: Floats) -> tuple[Floats, Floats]:
    known = ~np.isnan(scores)
    enough = known.sum(axis=0) >= FEWEST_REFERENCES // 2
    filled = np.where(enough[None, :], scores, 0.0)
    low, centre, high = np.nanquantile(filled, [0.1, 0.5, 0.9], axis=0)
    spread = np.maximum(high - centre, centre - low) / _NORMAL_TENTH
    # Where nine tenths of the references agree exactly, a fifth of the overall deviation stands in for the spread.
    floor = np.maximum(0.2 * np.nanstd(filled, axis=0), 1e-3 * (1 + np.abs(centre)))
    return centre, np.maximum(spread, floor)
