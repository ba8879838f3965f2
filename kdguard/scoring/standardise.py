"""Putting scores on one scale: how rare a value is among honest accounts of one kind, at one number of requests."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from kdguard.scan import CHECKPOINTS, Trajectories

Floats = npt.NDArray[np.float64]

FEWEST_REFERENCES = 30
FEWEST_OF_A_KIND = 80
_NORMAL_TENTH = 1.2816  # 90th percentile of the standard normal
_NARROWEST_TAIL = 0.5
_SOFT_CAP = 4.0
_HALF = 0.3010  # -log10 of one half: the median, and every tie with it


@dataclass(frozen=True, slots=True)
class Scale:
    """Where reference scores lie at each checkpoint, and how fast their upper tail falls.

    Attributes:
        centre: Medians, shape (c, k).
        spread: Width of the wider side of the middle four fifths, in normal standard deviations, shape (c, k).
        knee: 90th percentile of the score in units of the spread, shape (c, k).
        tail: Mean excess over the knee, in units of the spread, shape (c, k).
        beyond: -log10 of the share of references above the knee, at least 1: where honest accounts nearly all agree,
            far fewer than a tenth are above. Shape (c, k).
        direct: Whether the score is a log10 e-value already and is taken as it is, shape (k,).
    """

    centre: Floats
    spread: Floats
    knee: Floats
    tail: Floats
    beyond: Floats
    direct: npt.NDArray[np.bool_]

    def deviation(self, trajectories: Trajectories) -> Floats:
        """Return scores in units of the spread above the median, shape (t, k)."""
        at = trajectories.checkpoint
        return (trajectories.scores - self.centre[at]) / self.spread[at]

    def rarity(self, trajectories: Trajectories) -> Floats:
        """Return about -log10 of the chance that a reference exceeds each score, shape (t, k); NaN becomes 0.

        Above the 90th percentile the score is taken to fall off exponentially (Pickands 1975,
        Ann. Statist. 3:119-131, shape 0). A fitted tail says less the further out it is used: beyond 1 in 10,000
        it counts logarithmically. These numbers order accounts; p-values come from ranking, never from this fit.
        A log10 e-value becomes the rarity whose bet is that e-value.
        """
        deviation, knee = self.deviation(trajectories), self.knee[trajectories.checkpoint]
        excess = (deviation - knee) / self.tail[trajectories.checkpoint] / np.log(10)
        rise = np.clip(deviation / np.maximum(knee, 1e-9), 0, 1)
        value = np.where(
            excess > 0,
            self.beyond[trajectories.checkpoint] + excess,
            _HALF + (1 - _HALF) * np.where(knee > 1e-9, rise, 0),
        )
        value = np.where(deviation < 0, 0, np.nan_to_num(value, nan=0.0))
        value = np.where(value > _SOFT_CAP, _SOFT_CAP + np.log1p(np.maximum(value - _SOFT_CAP, 0)), value)
        return np.where(self.direct[None, :], _rarity_of_bet(trajectories.scores), value)


def fit_scale(
    trajectories: Trajectories,
    fallback: Scale | None = None,
    *,
    resolution: Floats | float = 1e-3,
    direct: npt.NDArray[np.bool_] | None = None,
) -> Scale:
    """Learn a scale from reference trajectories.

    A checkpoint that too few references reached (30; 80 where there is a fallback) takes the fallback's values, or
    else those of the checkpoint before it.

    Args:
        trajectories: Reference accounts' scores, shape (t, k).
        fallback: Scale of a wider population.
        resolution: Smallest spread of each output, shape (k,).
        direct: Which outputs are log10 e-values, shape (k,); None = none.

    Raises:
        ValueError: There is neither a fallback nor a checkpoint with 30 references.
    """
    size, width = len(CHECKPOINTS), trajectories.scores.shape[1]
    fewest = FEWEST_REFERENCES if fallback is None else FEWEST_OF_A_KIND
    parts = {field.name: np.full((size, width), np.nan) for field in fields(Scale) if field.name != "direct"}
    for at in range(size):
        scores = trajectories.scores[trajectories.checkpoint == at]
        if len(scores) >= fewest:
            found: tuple[Floats, ...] = _describe(scores, np.broadcast_to(resolution, width))
        elif fallback is not None:
            found = tuple(getattr(fallback, name)[at] for name in parts)
        elif at > 0:
            found = tuple(part[at - 1] for part in parts.values())
        else:
            raise ValueError(
                f"a scale needs {fewest} references with {CHECKPOINTS[0]} requests, got {len(scores)}"
            )
        for part, value in zip(parts.values(), found, strict=True):
            part[at] = value
    return Scale(**parts, direct=np.zeros(width, np.bool_) if direct is None else direct)


def _describe(scores: Floats, resolution: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Centre, spread, knee, tail and share beyond of n reference scores, shape (k,) each."""
    enough = (~np.isnan(scores)).sum(axis=0) >= FEWEST_REFERENCES // 2
    filled = np.where(enough[None, :], scores, 0.0)
    low, centre, high = np.nanquantile(filled, [0.1, 0.5, 0.9], axis=0)
    spread = np.maximum(high - centre, centre - low) / _NORMAL_TENTH
    # Where nine tenths of the references agree exactly, a fifth of the overall deviation stands in for the spread.
    spread = np.maximum(spread, np.maximum(0.2 * np.nanstd(filled, axis=0), resolution))
    deviation = (filled - centre) / spread
    knee = np.nanquantile(deviation, 0.9, axis=0)
    excess = np.where(deviation > knee, deviation - knee, np.nan)
    count = np.sum(~np.isnan(excess), axis=0)
    tail = np.nansum(excess, axis=0) / np.maximum(count, 1)
    beyond = np.maximum(-np.log10((count + 1) / (len(scores) + 1)), 1.0)
    return centre, spread, knee, np.maximum(tail, _NARROWEST_TAIL), beyond


_KAPPA = 0.25


def fuse(rarity: Floats, weights: Floats) -> Floats:
    """Combine rarities: log10 of the weighted mean of bets kappa p^(kappa - 1), shape (t,).

    Any one detector can carry an account, and detectors that see nothing cost little: the mean of bets is the way
    to merge evidence of unknown dependence (Vovk and Wang 2021, Ann. Statist. 49:1736-1754, section 3).

    Args:
        rarity: -log10 p of each output, shape (t, k).
        weights: Non-negative, shape (k,); normalised here.
    """
    return np.log10(bets(rarity, weights).sum(axis=1))


def _rarity_of_bet(log10_e: Floats) -> Floats:
    """Rarity whose bet is the e-value 10^log10_e; NaN stands for no evidence either way."""
    return (np.nan_to_num(log10_e, nan=0.0) - np.log10(_KAPPA)) / (1 - _KAPPA)


def bets(rarity: Floats, weights: Floats) -> Floats:
    """Each output's weighted bet, shape (t, k); they add to ten to the fused score."""
    share: Floats = weights / weights.sum()
    return share * _KAPPA * np.power(10.0, (1 - _KAPPA) * rarity)


def contributions(rarity: Floats, weights: Floats) -> Floats:
    """Split the fused score over outputs in proportion to their bets, shape (t, k); rows add to the score."""
    each = bets(rarity, weights)
    return each / each.sum(axis=1, keepdims=True) * fuse(rarity, weights)[:, None]
