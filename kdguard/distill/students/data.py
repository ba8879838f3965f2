"""What a student is trained on: documents, packed rows, soft targets, and how much of it came from a teacher.

All arrays describe the token they stand at: a weight is the weight of predicting that token from what precedes it.
The first token of a document is predicted from nothing, so its weight is 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from kdguard.errors import TrainingError

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]
PADDING = -1


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Sparse distributions of a teacher, one a row.

    Attributes:
        ids: (r, k) distinct token ids; -1 = padding.
        logprobs: (r, k) nats; -inf = padding.
        tail: (r,) probability outside the list; 0 for sampled soft labels.

    Raises:
        TrainingError: Sizes disagree, an id is listed twice, or a value is not a log-probability.
    """

    ids: Int32
    logprobs: Float32
    tail: Float32

    def __post_init__(self) -> None:
        if self.ids.shape != self.logprobs.shape or self.tail.shape != self.ids.shape[:1]:
            raise TrainingError(
                "soft targets need ids and logprobs (r, k) and a tail (r,), got "
                f"{self.ids.shape}, {self.logprobs.shape}, {self.tail.shape}"
            )
        if np.isnan(self.logprobs).any() or (self.logprobs > 1e-2).any() or not np.isfinite(self.tail).all():
            raise TrainingError(
                "soft targets must be log-probabilities (at most 0, not NaN) and a finite tail"
            )
        ordered = np.sort(self.ids, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise TrainingError("a list of soft targets names a token twice; add the probabilities up first")

    @property
    def width(self) -> int:
        """Listed tokens a row, k."""
        return self.ids.shape[1]


def from_topk(ids: Int32, logprobs: Float32, tail: Float32 | None = None) -> SoftTargets:
    """Soft targets from the k most likely tokens; entries without an id (below 0) fall into the tail.

    Args:
        ids: (r, k); below 0 = unknown or padding.
        logprobs: (r, k) nats; -inf = padding.
        tail: (r,); by default what the listed entries leave of 1.
    """
    known = (ids >= 0) & np.isfinite(logprobs)
    lost = np.where(~known & np.isfinite(logprobs), np.exp(logprobs), 0).sum(axis=1)
    held = np.where(known, np.exp(logprobs), 0).sum(axis=1)
    rest = np.clip(1 - held, 0, 1) if tail is None else np.clip(tail + lost, 0, 1)
    return SoftTargets(
        np.where(known, ids, PADDING).astype(np.int32),
        np.where(known, logprobs, -np.inf).astype(np.float32),
        rest.astype(np.float32),
    )


def from_counts(ids: Int32, counts: Int32) -> SoftTargets:
    """Soft targets from sampled tokens and how often each was drawn: their shares, and no tail."""
    drawn = np.where(ids >= 0, counts, 0).astype(np.float64)
    shares = drawn / np.maximum(drawn.sum(axis=1, keepdims=True), 1)
    with np.errstate(divide="ignore"):
        logprobs = np.log(shares).astype(np.float32)
    kept = np.where(shares > 0, ids, PADDING).astype(np.int32)
    return SoftTargets(kept, logprobs, np.zeros(len(ids), np.float32))


@dataclass(frozen=True, slots=True)
class Document:
    """One text to learn, e.g. a prompt and its answer.

    Attributes:
        tokens: (t,) token ids.
        weights: (t,) weight of predicting each token; 0 = context only. The first is read as 0.
        source: Whose words the supervised tokens are: a teacher's name, or "corpus".
        soft: Distributions for some of the tokens.
        soft_at: (r,) places of the tokens that `soft` describes, rising.
    """

    tokens: Int32
    weights: Float32
    source: str = "corpus"
    soft: SoftTargets | None = None
    soft_at: Int32 | None = None

    def __post_init__(self) -> None:
        if self.tokens.shape != self.weights.shape or not len(self.tokens):
            raise TrainingError(
                f"a document needs one weight a token and at least one token, got {self.tokens.shape} tokens "
                f"and {self.weights.shape} weights"
            )
        if (self.soft is None) != (self.soft_at is None):
            raise TrainingError("a document needs both `soft` and `soft_at`, or neither")
        if self.soft is not None and self.soft_at is not None and len(self.soft.ids) != len(self.soft_at):
            raise TrainingError("a document needs one place in `soft_at` for every row of `soft`")


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Documents packed into rows of one length.

    Attributes:
        tokens: (n, t) token ids.
        documents: (n, t) number of the document within its row; -1 = padding.
        positions: (n, t) place within the document.
        weights: (n, t) weight of predicting the token; 0 = not supervised.
        soft_rows: (n, t) row of `soft` that describes the token; -1 = none. None without soft targets.
        soft: Soft targets that `soft_rows` points into.
        sources: Whose words; `source_tokens` counts them.
        source_tokens: (n, sources) supervised tokens a row and source.
        cut: Documents that were longer than a row and lost their end.
    """

    tokens: Int32
    documents: Int32
    positions: Int32
    weights: Float32
    soft_rows: Int32 | None
    soft: SoftTargets | None
    sources: tuple[str, ...]
    source_tokens: Int32
    cut: int = 0

    @property
    def rows(self) -> int:
        """Packed rows, n."""
        return self.tokens.shape[0]

    @property
    def length(self) -> int:
        """Tokens a row, t."""
        return self.tokens.shape[1]

    @property
    def supervised(self) -> int:
        """Supervised tokens in all."""
        return int(np.count_nonzero(self.weights))

    @property
    def density(self) -> float:
        """Share of places that hold a token and not padding."""
        return float((self.documents >= 0).mean())

    def dose(self) -> dict[str, int]:
        """Supervised tokens by source, in one pass over the data."""
        return dict(zip(self.sources, self.source_tokens.sum(axis=0).tolist(), strict=True))

    def digest(self) -> str:
        """BLAKE2 digest of everything that training sees."""
        state = hashlib.blake2b(digest_size=16)
        for field in fields(self):
            value = getattr(self, field.name)
            parts = (
                [getattr(value, f.name) for f in fields(value)] if field.name == "soft" and value else [value]
            )
            for part in parts:
                raw = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else None
                state.update(f"{field.name}:{part if raw is None else (raw.shape, raw.dtype)}".encode())
                if raw is not None:
                    state.update(raw.tobytes())
        return state.hexdigest()


def check_data(data: TrainingData, vocab: int) -> None:
    """Refuse data that would train on nothing or index outside the vocabulary.

    Raises:
        TrainingError: No row, nothing supervised, a token outside the vocabulary, or a weight below 0 or not finite.
    """
    if not data.rows or not data.supervised:
        raise TrainingError("the training data holds no supervised token; is every response empty?")
    listed = -1 if data.soft is None or not data.soft.ids.size else int(data.soft.ids.max())
    highest = max(int(data.tokens.max()), listed)
    if int(data.tokens.min()) < 0 or highest >= vocab:
        raise TrainingError(f"the data names token {highest}, the student's vocabulary has {vocab}")
    if not np.isfinite(data.weights).all() or (data.weights < 0).any():
        raise TrainingError("weights of tokens must be finite and at least 0")
    if data.weights[:, 0].any():
        raise TrainingError("the first token of a row is predicted from nothing; its weight must be 0")


def merge_doses(doses: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Supervised tokens by source over several parts."""
    names = sorted({name for dose in doses for name in dose})
    return {name: sum(dose.get(name, 0) for dose in doses) for name in names}
