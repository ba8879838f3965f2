"""Small documents, data and shapes, made by seed."""

from __future__ import annotations

import numpy as np

from kdguard.distill.students.data import Document, TrainingData, from_counts, from_topk
from kdguard.distill.students.packing import pack
from kdguard.distill.students.shapes import Shape

VOCAB = 64
LENGTH = 32
SHAPE = Shape(hidden=32, layers=2, heads=2, vocab=VOCAB, context=LENGTH)


def document(
    rng: np.random.Generator, *, soft: str = "none", source: str = "teacher-a", longest: int = 20
) -> Document:
    """A counting sequence whose second half is to be learnt; soft targets around the true next token."""
    size = int(rng.integers(4, longest))
    first, stride = rng.integers(0, VOCAB), rng.integers(1, 4)
    tokens = ((first + stride * np.arange(size)) % VOCAB).astype(np.int32)
    weights = np.zeros(size, np.float32)
    weights[size // 2 :] = 1
    at = np.arange(size // 2, size, dtype=np.int32)
    near = ((tokens[at, None] + np.arange(4)) % VOCAB).astype(np.int32)
    if soft == "topk":
        shares = np.tile(np.array([0.6, 0.2, 0.1, 0.05], np.float32), (len(at), 1))
        return Document(tokens, weights, source, from_topk(near, np.log(shares)), at)
    if soft == "sampled":
        counts = rng.multinomial(8, [0.7, 0.2, 0.1, 0.0], size=len(at)).astype(np.int32)
        return Document(tokens, weights, source, from_counts(near, counts), at)
    return Document(tokens, weights, source)


def data(seed: int = 0, *, count: int = 60, soft: str = "none", source: str = "teacher-a") -> TrainingData:
    rng = np.random.default_rng(seed)
    return pack([document(rng, soft=soft, source=source) for _ in range(count)], LENGTH)
