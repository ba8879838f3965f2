"""Pooled MMD: does a window of an account's prompts differ from a window of everybody's?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kdguard.detectors.rivals.vectors import DIMENSIONS, Vectors, squared_distances
from kdguard.simulate.evaluation.rivalry import Conversations

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]

BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
REFERENCE_DRAWS = 20
NULL_PAIRS = 300
"""The paper draws 1,000 pairs; 300 bound the cost here."""


def _nothing() -> Matrix:
    return np.empty((0, 0, DIMENSIONS), np.float32)


@dataclass(frozen=True)
class MeanDiscrepancy:
    """Unbiased MMD^2 of a window against pooled benign windows of the same size, averaged over 20 draws.

    The kernel is a mean of four Gaussians at half, once, twice and four times the median distance. The
    threshold is the 95th percentile over pairs of benign windows, each drawn at random from all benign
    prompts together: it controls the rate for a window of pooled traffic, which no account sends. Sentence
        vectors are hashed words
    here, not those of the paper's encoder.

    Attributes:
        vectors: Stand-in for the encoder; None before `fit`.
        median: Median squared distance between benign prompts.
        windows: Benign reference windows, shape (20, n, d).
        within: Mean kernel inside each reference window, shape (20,).
        levels: 95th and 99th percentile of benign pairs.

    References:
        Liu, Guo and Dong (2026), arXiv 2606.05725; Gretton et al. (2012), JMLR 13:723-773, equation 3.
    """

    vectors: Vectors | None = None
    median: float = 1.0
    windows: Matrix = field(default_factory=_nothing)
    within: Floats = field(default_factory=lambda: np.empty(0))
    levels: tuple[float, float] = (np.inf, np.inf)
    name: str = "pooled MMD"
    source: str = "Liu, Guo and Dong (2026), arXiv 2606.05725; hashed-word vectors in place of bge-small"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """95th percentile as published, and the 99th."""
        return {"published, 95th percentile": self.levels[0], "published, 99th percentile": self.levels[1]}

    def fit(self, benign: Conversations, requests: int, seed: int) -> MeanDiscrepancy:
        """Pool all benign prompts, draw reference windows and the null of benign pairs."""
        rng = np.random.default_rng(seed)
        vectors = Vectors.fit(benign.prompts)
        pool = vectors.of(benign.prompts)
        some = pool[rng.choice(len(pool), size=min(1_000, len(pool)), replace=False)]
        median = float(np.median(squared_distances(some, some)[np.triu_indices(len(some), 1)]))
        fitted = MeanDiscrepancy(vectors, median)

        def windows(count: int) -> Matrix:
            return pool[rng.integers(len(pool), size=(count, requests))]

        left, right = windows(NULL_PAIRS), windows(NULL_PAIRS)
        null = [
            fitted.discrepancy(a, b[None], np.array([fitted.inside(b)]))
            for a, b in zip(left, right, strict=True)
        ]
        reference = windows(REFERENCE_DRAWS)
        within = np.array([fitted.inside(window) for window in reference])
        low, high = np.percentile(null, [95, 99])
        return MeanDiscrepancy(vectors, median, reference, within, (float(low), float(high)))

    def score(self, accounts: Conversations) -> Floats:
        """Mean unbiased MMD^2 against the reference windows, shape (m,)."""
        if self.vectors is None:
            raise ValueError("pooled MMD must be fitted before it scores")
        found = self.vectors.of(accounts.prompts)
        pairs = zip(accounts.indptr[:-1], accounts.indptr[1:], strict=True)
        return np.array([self.discrepancy(found[a:b], self.windows, self.within) for a, b in pairs])

    def discrepancy(self, window: Matrix, references: Matrix, within: Floats) -> float:
        """Mean over references of the unbiased MMD^2."""
        flat = references.reshape(-1, references.shape[-1])
        return float(self.inside(window) + np.mean(within) - 2 * np.mean(self._kernel(window, flat)))

    def inside(self, window: Matrix) -> float:
        """Mean kernel of the pairs of one window, without the diagonal."""
        size = len(window)
        return float((self._kernel(window, window).sum(dtype=np.float64) - size) / (size * (size - 1)))

    def _kernel(self, left: Matrix, right: Matrix) -> Matrix:
        # The widest Gaussian once; each narrower one is the fourth power of the one before.
        wide = np.exp(-squared_distances(left, right) / (2 * BANDWIDTHS[-1] ** 2 * max(self.median, 1e-9)))
        total = wide.copy()
        for _ in BANDWIDTHS[1:]:
            wide = np.square(np.square(wide))
            total += wide
        mean: Matrix = total / np.float32(len(BANDWIDTHS))
        return mean
