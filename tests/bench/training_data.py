"""Packed rows with top-k soft targets for the training benchmark: random tokens, documents of realistic length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.distill.students.data import Document, SoftTargets, TrainingData
from kdguard.distill.students.packing import pack
from kdguard.distill.students.shapes import Shape, named_shape


@dataclass(frozen=True, slots=True)
class Size:
    """One size of the benchmark.

    Attributes:
        name: Of the shape.
        vocab: Tokens.
        length: Tokens a row.
        rows: Rows a student and optimiser step.
        fleet_micro_rows: Rows a slot that the fleet runs at once.
        warm: Steps before the clock starts.
        timed: Steps on the clock, each time.
        repeats: How often every loop takes its turn.
    """

    name: str
    vocab: int
    length: int
    rows: int
    fleet_micro_rows: int
    warm: int
    timed: int
    repeats: int

    @property
    def shape(self) -> Shape:
        """Shape of the student."""
        return named_shape(self.name, vocab=self.vocab, context=self.length)


CPU_SIZES = (Size("tiny", 1024, 128, 16, 4, 2, 6, 5), Size("small", 2048, 256, 8, 2, 1, 3, 5))
GPU_SIZES = (Size("10M", 8192, 512, 32, 32, 20, 100, 5), Size("30M", 8192, 512, 32, 32, 20, 60, 5))
WIDTH = 20  # listed tokens of a soft target, as an API gives them


def make(size: Size, seed: int, rows: int) -> TrainingData:
    """About `rows` packed rows; the second half of each document is to be learnt, all of it with soft targets."""
    rng = np.random.default_rng(seed)
    documents, tokens = [], 0
    while tokens < rows * size.length:
        documents.append(_document(rng, size))
        tokens += len(documents[-1].tokens)
    return pack(documents, size.length)


def _document(rng: np.random.Generator, size: Size) -> Document:
    length = int(np.clip(rng.lognormal(np.log(size.length / 6), 0.6), 8, size.length))
    tokens = rng.integers(0, size.vocab, length).astype(np.int32)
    weights = np.zeros(length, np.float32)
    weights[length // 2 :] = 1
    at = np.arange(length // 2, length, dtype=np.int32)
    stride = rng.integers(1, size.vocab // WIDTH)
    ids = (tokens[at, None] + stride * np.arange(WIDTH)) % size.vocab
    shares = np.sort(rng.dirichlet(np.full(WIDTH + 1, 0.4), len(at)).astype(np.float32) + 1e-6, axis=1)[
        :, ::-1
    ]
    shares /= shares.sum(1, keepdims=True)
    soft = SoftTargets(ids.astype(np.int32), np.log(shares[:, :WIDTH]), shares[:, WIDTH].copy())
    return Document(tokens, weights, "teacher", soft, at)
