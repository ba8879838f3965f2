"""A bet, prompt by prompt, that a suspect ranks higher among the controls than a control ever should on average.

The null is composite: the mean rank of an unrelated model is at most a half plus a margin. Without a margin such bets
"prove" lineage for a quarter of pairs in which the student is older than its teacher, because models differ from each
other for good reasons on every prompt. The margin is read off the controls' own mean ranks, so the chance of a false
claim is that of the margin being too small plus that of the bet. Descriptive: it stands beside the conformal rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LARGEST_BET = 0.5


@dataclass(frozen=True, slots=True)
class Bets:
    """Bets on S suspects.

    Attributes:
        log10_e: Base-10 logarithm of the largest wealth reached, shape (S,).
        course: The same up to each prompt, shape (P, S).
        margin: Excess of the mean rank over a half that is granted.
        backed: There were controls enough to read the margin at alpha off them.
    """

    log10_e: Floats
    course: Floats
    margin: float
    backed: bool

    def among(self, places: npt.NDArray[np.int64]) -> Bets:
        """Those on some of the suspects."""
        return Bets(self.log10_e[places], self.course[:, places], self.margin, self.backed)


def no_bets(suspects: int) -> Bets:
    """Nothing staked: there was nobody to bet against."""
    return Bets(np.zeros(suspects), np.zeros((0, suspects)), 0.5, False)


def bet(
    contrast: Floats, suspects: npt.NDArray[np.int64], controls: npt.NDArray[np.int64], alpha: float
) -> Bets:
    """Bet on every suspect of one family.

    Args:
        contrast: Contrasts with the family, shape (P, M); NaN = not known.
        suspects: Columns of the suspects, shape (S,).
        controls: Columns of the controls, shape (m,); a suspect among them is left out for itself.
        alpha: Share of controls whose mean rank may exceed the margin.

    References:
        Waudby-Smith and Ramdas (2024), JRSS B 86:1-27, for bets on bounded means that adapt to what was seen.
    """
    if not len(controls):
        return no_bets(len(suspects))
    ranks = np.stack([_ranks(contrast, int(one), controls) for one in suspects], axis=1)
    own = np.stack([_ranks(contrast, int(one), controls) for one in controls], axis=1)
    known = (~np.isnan(own)).sum(axis=0)
    typical = (np.nansum(own, axis=0) / np.maximum(known, 1) - 0.5)[known > 0]
    if not len(typical):
        return no_bets(len(suspects))
    backed = len(typical) + 1 >= 1 / alpha
    margin = float(np.clip(np.quantile(typical, 1 - alpha, method="higher"), 0.0, 0.45))
    course = _wealth(ranks - 0.5 - margin, 0.5 + margin)
    return Bets(course[-1], course, margin, backed)


def _ranks(contrast: Floats, model: int, controls: npt.NDArray[np.int64]) -> Floats:
    """Share of the other controls that lie below a model on each prompt, ties by half, shape (P,)."""
    others = contrast[:, controls[controls != model]]
    own = contrast[:, [model]]
    known = ~np.isnan(others)
    below = ((others < own) & known).sum(axis=1) + 0.5 * ((others == own) & known).sum(axis=1)
    share = below / np.maximum(known.sum(axis=1), 1)
    return np.where(np.isnan(own[:, 0]) | ~known.any(axis=1), np.nan, share)


def _wealth(gain: Floats, worst: float) -> Floats:
    """Largest log10 wealth, up to each prompt, of a bettor who stakes what the past suggests, shape (P, S).

    Args:
        gain: Rank less the granted mean, at least -worst, shape (P, S); NaN = no bet.
        worst: Largest loss of a stake of one.
    """
    total, square = np.zeros(gain.shape[1]), np.full(gain.shape[1], 0.25)
    log_wealth, course = np.zeros(gain.shape[1]), np.zeros(gain.shape)
    for at, row in enumerate(gain):
        stake = np.clip(total / square, 0.0, _LARGEST_BET / worst)
        seen = np.nan_to_num(row, nan=0.0)
        log_wealth += np.log1p(stake * seen)
        course[at] = log_wealth
        total += seen
        square += seen**2
    return np.maximum.accumulate(np.maximum(course, 0.0), axis=0) / np.log(10)
