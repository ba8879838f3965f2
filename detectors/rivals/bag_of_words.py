"""A request classifier used as most people would: one threshold for requests, pooled over all accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from kdguard.detectors.rivals.vectors import hashed_counts
from kdguard.simulate.evaluation.rivalry import Conversations
from kdguard.simulate.lookalikes import benign_lookalikes
from kdguard.simulate.techniques import WRAPPED, elicit

Floats = npt.NDArray[np.float64]

REQUEST_RATE = 0.01
_PER_TECHNIQUE = 1_500
_BENIGN = 6_000


@dataclass(frozen=True)
class BagOfWords:
    """Logistic regression on words; an account alarms when too many of its requests pass a pooled threshold.

    A request passes above the 99th percentile of all honest requests together. Score: -log10 of the binomial
    chance of so many passes if every account passed one request in a hundred. That last assumption is the
    flaw
    on show: honest accounts differ, and a few of them pass all the time. It learns from the same simulated
    extraction prompts and honest look-alikes as kdguard's own classifier.

    Attributes:
        weights: Weight of each bucket, shape (2^15,).
        intercept: Log-odds of an empty text.
        cut: Threshold of a request.

    References:
        Practice, e.g. a per-request classifier with a fixed threshold; the unit is wrong, see log-scoring
        measurements of pooled against account-level rates in kdguard's documentation.
    """

    weights: Floats = field(default_factory=lambda: np.empty(0))
    intercept: float = 0.0
    cut: float = np.inf
    name: str = "bag of words, pooled"
    source: str = "logistic regression on words, 1 % of pooled requests, binomial test an account at 1 %"

    @property
    def thresholds(self) -> Mapping[str, float]:
        """A binomial p-value of .01."""
        return {"nominal 1 %": 2.0}

    def fit(self, benign: Conversations, requests: int, seed: int) -> BagOfWords:
        """Learn words from half of the honest accounts and the threshold from the other half's requests."""
        del requests
        rng = np.random.default_rng(seed)
        middle = int(benign.indptr[len(benign) // 2])
        first = benign.prompts.slice(0, middle)
        picks = rng.choice(len(first), size=min(_BENIGN, len(first)), replace=False)
        honest = [
            text or "" for text in first.take(pa.array(np.sort(picks).tolist(), pa.int64())).to_pylist()
        ]
        texts = [*honest, *benign_lookalikes(honest[: 2 * _PER_TECHNIQUE], rng, "both")]
        labels = [0] * len(texts)
        for technique in WRAPPED:
            payloads = [honest[at] for at in rng.integers(len(honest), size=_PER_TECHNIQUE)]
            texts += elicit(payloads, technique, rng, split="fit")
            labels += [1] * _PER_TECHNIQUE
        model = LogisticRegression(C=10.0, max_iter=300, tol=1e-3)
        model.fit(_scaled(pa.array(texts, pa.string())), labels)
        learnt = BagOfWords(model.coef_[0], float(model.intercept_[0]))
        pooled = learnt.log_odds(benign.prompts.slice(middle))
        return BagOfWords(learnt.weights, learnt.intercept, float(np.quantile(pooled, 1 - REQUEST_RATE)))

    def log_odds(self, prompts: pa.Array[Any]) -> Floats:
        """Log-odds of n requests, shape (n,)."""
        found: Floats = np.asarray(_scaled(prompts) @ self.weights + self.intercept)
        return found

    def score(self, accounts: Conversations) -> Floats:
        """-log10 of the binomial chance, shape (m,), at most 300."""
        passed = np.concatenate(([0], np.cumsum(self.log_odds(accounts.prompts) > self.cut)))
        count = passed[accounts.indptr[1:]] - passed[accounts.indptr[:-1]]
        chance = binom.sf(count - 1, np.diff(accounts.indptr), REQUEST_RATE)
        found: Floats = -np.log10(np.maximum(chance, 1e-300))
        return found


def _scaled(prompts: pa.Array[Any]) -> csr_matrix:
    """Counts, damped by logarithm and brought to length 1, as scikit-learn text pipelines do."""
    counts = hashed_counts(prompts)
    counts.data = np.log1p(counts.data)
    length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    counts.data /= np.repeat(np.maximum(length, 1e-12), np.diff(counts.indptr)).astype(np.float32)
    return counts
