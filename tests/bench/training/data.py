"""Sizes of the benchmark and its data: packed rows with top-k soft targets; random tokens, documents of real length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from kdguard.distill.students.data import Document, SoftTargets, TrainingData
from kdguard.distill.students.order import rows_at
from kdguard.distill.students.packing import pack
from kdguard.distill.students.shapes import Shape, llama_config, named_shape
from kdguard.distill.students.weights import initial_weights, to_transformers

WIDTH = 20  # listed tokens of a soft target, as an API gives them
TEACHER_SEED = 1_000
TEACHER_SPREAD = 10.0  # times the spread of fresh embeddings, so that the teacher has opinions


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
        most_steps: Steps that the order of the rows is written for.
    """

    name: str
    vocab: int
    length: int
    rows: int
    fleet_micro_rows: int
    warm: int
    most_steps: int = 20_000

    @property
    def shape(self) -> Shape:
        """Shape of the student, and of the teacher at hand."""
        return named_shape(self.name, vocab=self.vocab, context=self.length)

    @property
    def data_rows(self) -> int:
        """Rows of a data set, about."""
        return 4 * self.rows


SIZES = {
    size.name: size
    for size in (
        Size("micro", 1024, 128, 8, 8, 10),
        Size("tiny", 1024, 128, 16, 4, 10),
        Size("small", 2048, 256, 8, 2, 5),
        Size("10M", 8192, 512, 32, 32, 20),
        Size("30M", 8192, 512, 32, 16, 20),
    )
}


def make(size: Size, seed: int) -> TrainingData:
    """Packed rows; the second half of each document is to be learnt, all of it with soft targets."""
    rng = np.random.default_rng(seed)
    documents, tokens = [], 0
    while tokens < size.data_rows * size.length:
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
    drawn = rng.dirichlet(np.full(WIDTH + 1, 0.4), len(at)).astype(np.float32) + 1e-6
    shares = np.sort(drawn, axis=1)[:, ::-1]
    shares /= shares.sum(1, keepdims=True)
    soft = SoftTargets(ids.astype(np.int32), np.log(shares[:, :WIDTH]), shares[:, WIDTH].copy())
    return Document(tokens, weights, "teacher", soft, at)


def write_exchange(size: Size, folder: Path) -> None:
    """What loops of other environments read: first weights, a teacher, the rows of slot 0 and their order."""
    data = make(size, 0)
    assert data.soft is not None
    assert data.soft_rows is not None
    np.savez(
        folder / "rows.npz",
        tokens=data.tokens,
        documents=data.documents,
        positions=data.positions,
        weights=data.weights,
        soft_rows=data.soft_rows,
        ids=data.soft.ids,
        logprobs=data.soft.logprobs,
        tail=data.soft.tail,
        order=rows_at(0, data.rows, 0, size.most_steps * size.rows).reshape(-1, size.rows),
    )
    teacher = initial_weights(size.shape, TEACHER_SEED)
    teacher["embed"] = teacher["embed"] * TEACHER_SPREAD
    for name, weights in (("student", initial_weights(size.shape, 0)), ("teacher", teacher)):
        llama_config(size.shape).save_pretrained(folder / name)
        named = to_transformers(weights, size.shape)
        save_file(named, folder / name / "model.safetensors", metadata={"format": "pt"})
