"""PRADA: do the distances between an account's queries look normally distributed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import shapiro

from kdguard.detectors.rivals.vectors import Vectors, squared_distances
from kdguard.simulate.evaluation.rivalry import Conversations

Floats = npt.NDArray[np.float64]

_FEWEST = 100
_EVERY = 10


@dataclass(frozen=True)
class Prada:
    """Shapiro-Wilk test of the distances from each query to a growing set of earlier ones.

    A query joins the set when its distance exceeds the mean less one standard deviation of the distances
    inside the set; the threshold only grows. Every ten queries all distances so far, three-sigma outliers
    dropped, are tested; over 100 are needed. The paper keeps a set for each predicted class of a classifier;
    a language model has none, so there is one set. Score: 1 - the smallest W so far; the published alarm is
    W < 0.9.

    Attributes:
        vectors: Stand-in for the encoder; None before `fit`.

    References:
        Juuti, Szyller, Marchal and Asokan (2019), EuroS&P, arXiv 1805.02628, section 5.
    """

    vectors: Vectors | None = None
    name: str = "PRADA"
    source: str = "Juuti et al. (2019), arXiv 1805.02628; hashed-word vectors in place of an encoder"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """W < 0.9 and W < 0.96, the ends of the range in use."""
        return {"published, W < 0.9": 0.1, "published, W < 0.96": 0.04}

    def fit(self, benign: Conversations, requests: int, seed: int) -> Prada:
        """Weigh words; the test itself learns nothing."""
        del requests, seed
        return Prada(Vectors.fit(benign.prompts))

    def score(self, accounts: Conversations) -> Floats:
        """1 - smallest W, shape (m,); NaN up to 100 distances."""
        if self.vectors is None:
            raise ValueError("PRADA must be fitted before it scores")
        vectors = self.vectors.of(accounts.prompts)
        pairs = zip(accounts.indptr[:-1], accounts.indptr[1:], strict=True)
        return np.array([1 - smallest_w(nearest_distances(vectors[a:b])) for a, b in pairs])


def nearest_distances(vectors: npt.NDArray[np.float32]) -> Floats:
    """Distance of each query but the first to the nearest of the growing set, shape (n - 1,)."""
    size = len(vectors)
    distance = np.sqrt(squared_distances(vectors, vectors)).astype(np.float64)
    count, total, squares, threshold = 0, 0.0, 0.0, 0.0
    nearest = distance[0].copy() if size else np.empty(0)
    found = np.empty(max(size - 1, 0))
    for at in range(1, size):
        found[at - 1] = nearest[at]
        if nearest[at] > threshold or count == 0:
            count, total, squares = count + 1, total + nearest[at], squares + nearest[at] ** 2
            mean = total / count
            threshold = max(threshold, float(mean - np.sqrt(max(squares / count - mean**2, 0.0))))
            np.minimum(nearest, distance[at], out=nearest)
    return found


def smallest_w(distances: Floats) -> float:
    """Smallest Shapiro-Wilk W over the checks; NaN where no check had over 100 distances."""
    smallest = np.nan
    for count in range(_FEWEST + _EVERY, len(distances) + 2, _EVERY):
        seen = distances[: count - 1]
        kept = seen[np.abs(seen - seen.mean()) <= 3 * seen.std()]
        if len(kept) > _FEWEST:
            statistic = float(shapiro(kept).statistic) if np.ptp(kept) > 1e-9 else 0.0
            smallest = np.nanmin([smallest, statistic])
    return float(smallest)
