"""Which queries tell copies from strangers, and what the teacher's label at each of them is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

RIDGE = 30.0
"""In units of the mean variance of a query. Fixed on digits and wine; from 10 to 100 little changes."""
_KEPT = 0.6
"""Share of the queries that each round of elimination keeps."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Queries tried on the models of the design.

    Attributes:
        queries: Shape (q, d).
        kinds: Place of each one's kind in `queries.KIND_NAMES`, shape (q,).
        labels: The teacher's, shape (q,).
        copies: Whether each copy gives the teacher's label, shape (s, q).
        strangers: Whether each stranger does, shape (r, q).
    """

    queries: Floats
    kinds: Ints
    labels: Ints
    copies: Bools
    strangers: Bools

    @property
    def rates(self) -> Floats:
        """Chance that copies, and that strangers, give the teacher's label, one imagined answer each way, (2, q)."""
        both = (self.copies, self.strangers)
        return np.stack([(told.sum(axis=0) + 1) / (len(told) + 2) for told in both])


def choose(among: Candidates, count: int) -> tuple[Ints, Floats]:
    """Queries and weights by linear discriminant analysis, the least telling queries dropped round by round.

    Skill, and kind of model, move many answers together. Discriminants see this, where a sum of single queries' worth
    does not. Queries that would count against the teacher's label are dropped, so that nobody scores above the teacher
    itself: a plain copy always ranks first.

    Args:
        among: Tried queries.
        count: Most queries.

    Returns:
        Places, ascending, and the weight of the teacher's label at each, all positive, adding up to 1; none where
        copies answer as strangers do.

    References:
        Friedman (1989), J. Am. Stat. Assoc. 84:165-175, for the ridge; Guyon et al. (2002), Machine Learning
        46:389-422, for the elimination.
    """
    spread = np.concatenate([among.copies, among.strangers]).std(axis=0)
    places = np.flatnonzero(among.rates[0] > among.rates[1])
    while len(places):
        weights = _discriminant(among.copies[:, places], among.strangers[:, places])
        telling = np.where(weights > 0, weights * spread[places], 0)
        most = max(count, int(_KEPT * len(places))) if len(places) > count else len(places)
        kept = np.sort(np.argsort(-telling, kind="stable")[: min(most, int((telling > 0).sum()))])
        if len(kept) == len(places):
            return places, weights / weights.sum()
        places = places[kept]
    return places, np.zeros(0)


def _discriminant(copies: Bools, strangers: Bools) -> Floats:
    """Fisher's direction with a ridge, solved among models, of which there are fewer than queries."""
    apart = copies.mean(axis=0) - strangers.mean(axis=0)
    about = np.concatenate([copies - copies.mean(axis=0), strangers - strangers.mean(axis=0)])
    ridge = RIDGE * max(float((about**2).mean()), 1e-9)
    inner = about @ about.T / len(about) + ridge * np.eye(len(about))
    found = (apart - about.T @ np.linalg.solve(inner, about @ apart) / len(about)) / ridge
    return np.asarray(found, np.float64)
