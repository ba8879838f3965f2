"""SEAT-style detection: how many pairs of one account's queries are nearly the same?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.rivals.vectors import Vectors, squared_distances
from kdguard.simulate.evaluation.rivalry import Conversations

Floats = npt.NDArray[np.float64]

PAIRS = 50
_PERCENTILE = 0.1
_SAMPLE = 2_000


@dataclass(frozen=True)
class ClosePairs:
    """Queries with a near neighbour among the account's earlier ones; too many and the account is cancelled.

    The paper trains a similarity encoder adversarially, on images; here hashed-word vectors stand in. Two
    prompts are close below the 0.1 percentile of distances between honest prompts, as in stateful detection.
    Score: the number of close pairs, each query counted once; the alarm is at 50, the value of a public
    re-implementation.

    Attributes:
        vectors: Stand-in for the encoder; None before `fit`.
        radius: Distance under which two prompts are close.

    References:
        Zhang, Chen and Wagner (2021), AISec, "SEAT: Similarity Encoder by Adversarial Training";
        Chen, Carlini and Wagner (2019), arXiv 1907.05587 (percentile of the radius).
    """

    vectors: Vectors | None = None
    radius: float = 0.0
    name: str = "SEAT-style pairs"
    source: str = "Zhang, Chen and Wagner (2021), AISec; hashed-word vectors in place of the trained encoder"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Fifty pairs."""
        return {"published, 50 pairs": float(PAIRS)}

    def fit(self, benign: Conversations, requests: int, seed: int) -> ClosePairs:
        """Learn the radius from honest prompts drawn at random."""
        del requests
        vectors = Vectors.fit(benign.prompts)
        rng = np.random.default_rng(seed)
        picks = rng.choice(len(benign.prompts), size=min(_SAMPLE, len(benign.prompts)), replace=False)
        found = vectors.of(benign.prompts.take(np.sort(picks)))
        distance = squared_distances(found, found)[np.triu_indices(len(found), 1)]
        return ClosePairs(vectors, float(np.sqrt(np.percentile(distance, _PERCENTILE))))

    def score(self, accounts: Conversations) -> Floats:
        """Queries with a close earlier one, shape (m,)."""
        if self.vectors is None:
            raise ValueError("close pairs must be fitted before they score")
        vectors = self.vectors.of(accounts.prompts)
        pairs = zip(accounts.indptr[:-1], accounts.indptr[1:], strict=True)
        return np.array([float(self._close(vectors[a:b])) for a, b in pairs])

    def _close(self, vectors: npt.NDArray[np.float32]) -> int:
        near = squared_distances(vectors, vectors) <= self.radius**2
        return int(np.tril(near, -1).any(axis=1).sum())
