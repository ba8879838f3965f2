"""Sentence vectors without downloaded weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from threadpoolctl import threadpool_limits


def embed(
    texts: Sequence[str], *, width: int = 64, features: int = 1 << 14, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Hashed character n-grams, weighted by inverse document frequency, reduced by a truncated SVD.

    Args:
        texts: n texts, at least one.
        width: Dimensions kept; fewer where there are fewer texts.
        features: Buckets of the hashing, a power of two.
        seed: Seed of the randomised SVD.

    Returns:
        Shape (n, width or less); rows have unit norm, or are zero for an empty text.
    """
    hashed = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=features, alternate_sign=False
    )
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(hashed.transform(list(texts)))
    rank = min(width, len(texts) - 1, features - 1)
    with threadpool_limits(1):  # one thread: sums in one order, so the same vectors everywhere
        reduce = TruncatedSVD(rank, random_state=seed).fit_transform if rank >= 2 else _dense
        found = reduce(weighted)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(norms > 0, norms, 1), np.float64)


def _dense(weighted: Any) -> npt.NDArray[np.float64]:
    return np.asarray(weighted.toarray(), np.float64)
