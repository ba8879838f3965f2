"""What an API tells about the tokens of a response: one row a token, beside the exchanges.

`TOKENS` is the table; `TokenTrace` is the same for one choice in memory, as arrays over its t positions and
the k alternatives that were told at each. Tokens of an API are kept as bytes and never tokenised again: a
second tokeniser cuts differently, and log-probabilities then stand beside the wrong token.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.errors import TranscriptError

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]
Alternatives = tuple[tuple[bytes, ...], ...]

SCHEMA_VERSION = 1
UNKNOWN_ID: Final = -1


def _field(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field[Any]:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


TOKENS: pa.Schema = pa.schema(
    [
        _field("request_id", pa.string(), "as in the exchanges", nullable=False),
        _field("choice", pa.int32(), "as in the exchanges", nullable=False),
        _field("position", pa.int32(), "place of the token in the choice, from 0", nullable=False),
        _field("token_id", pa.int32(), "id in the teacher's vocabulary; null = the API does not say"),
        _field("token_bytes", pa.binary(), "bytes of the token as the API gave them", nullable=False),
        _field("logprob", pa.float32(), "log-probability of the token, nats", nullable=False),
        _field("top_ids", pa.list_(pa.int32()), "ids of the alternatives; -1 = not known"),
        _field("top_bytes", pa.list_(pa.binary()), "bytes of the alternatives"),
        _field("top_logprobs", pa.list_(pa.float32()), "log-probabilities of the alternatives, nats"),
        _field("tail_mass", pa.float32(), "probability that no alternative holds, in [0, 1]"),
        _field("sampled_counts", pa.list_(pa.int32()), "how often each of top_ids was drawn"),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrace:
    """The tokens of one choice: t positions, k alternatives at each.

    Where a position has fewer than k alternatives, pads follow the last: id -1, no bytes, log-probability
    minus infinity, count 0.

    Attributes:
        token_bytes: Bytes of each token, length t.
        logprob: Log-probability of each token in nats, shape (t,), float32.
        token_id: Id of each token, shape (t,), int32; None where the API does not say.
        top_ids: Ids of the alternatives, shape (t, k), int32; -1 where not known.
        top_bytes: Bytes of the alternatives, t tuples of length k.
        top_logprobs: Their log-probabilities in nats, shape (t, k), float32.
        tail_mass: Probability left to all other tokens, 1 - sum exp(top_logprobs), shape (t,), float32.
        sampled_counts: Sampled soft labels: how often each of `top_ids` was drawn, shape (t, k), int32.

    Raises:
        TranscriptError: Shapes that do not fit each other, or a log-probability that is NaN.
    """

    token_bytes: tuple[bytes, ...]
    logprob: Float32
    token_id: Int32 | None = None
    top_ids: Int32 | None = None
    top_bytes: Alternatives | None = None
    top_logprobs: Float32 | None = None
    tail_mass: Float32 | None = None
    sampled_counts: Int32 | None = None

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.ascontiguousarray(value, kind))
        t, k = len(self.token_bytes), self.alternatives
        for name in _KINDS:
            value, shape = getattr(self, name), (t, k) if name in _WIDE else (t,)
            if value is not None and value.shape != shape:
                raise TranscriptError(f"tokens: {name} must have shape {shape}, got {value.shape}")
            if value is not None and value.dtype == np.float32 and np.isnan(value).any():
                raise TranscriptError(f"tokens: {name} must hold no NaN")
        if self.top_bytes is not None and (len(self.top_bytes) != t or {*map(len, self.top_bytes)} - {k}):
            raise TranscriptError(f"tokens: top_bytes must be {t} tuples of length {k}")
        if self.sampled_counts is not None and self.top_ids is None:
            raise TranscriptError("tokens: sampled_counts need the ids that were drawn, in top_ids")

    def __len__(self) -> int:
        return len(self.token_bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenTrace):
            return NotImplemented
        return all(_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    __hash__ = None  # type: ignore[assignment]

    @property
    def alternatives(self) -> int:
        """k, the places for alternatives at each position; 0 if none were told."""
        for value in (self.top_ids, self.top_logprobs, self.sampled_counts):
            if value is not None:
                return value.shape[1] if value.ndim == 2 else -1
        return len(self.top_bytes[0]) if self.top_bytes else 0

    @property
    def widths(self) -> Int32:
        """How many alternatives each position has, pads at its end left out; shape (t,)."""
        told = np.zeros((len(self), self.alternatives), np.bool_)
        if self.top_ids is not None:
            told |= self.top_ids != UNKNOWN_ID
        if self.top_logprobs is not None:
            told |= self.top_logprobs != -np.inf
        if self.sampled_counts is not None:
            told |= self.sampled_counts != 0
        if self.top_bytes is not None:
            told |= np.array([[bool(b) for b in row] for row in self.top_bytes], np.bool_).reshape(told.shape)
        last = told.shape[1] - np.argmax(told[:, ::-1], axis=1) if told.shape[1] else 0
        return np.where(told.any(axis=1), last, 0).astype(np.int32)


_WIDE: Final = frozenset({"top_ids", "top_logprobs", "sampled_counts"})
_KINDS: Final[dict[str, Any]] = {
    "logprob": np.float32,
    "token_id": np.int32,
    "top_ids": np.int32,
    "top_logprobs": np.float32,
    "tail_mass": np.float32,
    "sampled_counts": np.int32,
}


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)
