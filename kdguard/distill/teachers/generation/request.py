"""What goes into the decoding engine and what comes out, one sequence each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from kdguard.errors import TeacherError
from kdguard.exchanges.tokens import Float32, Int32

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sequence to continue.

    Attributes:
        key: Names the sequence among those under way.
        prompt_ids: At least one token id.
        max_tokens: Most tokens to produce; at least 1.
        temperature: At least 0; 0 picks the most likely token.
        top_p: Nucleus probability in (0, 1].
        seed: Source of randomness; with `stream` it fixes every draw, whatever else is decoded beside it.
        stream: Tells choices of one request apart.
        stop: Byte strings that end the text and are not part of it.
        logit_bias: Token id to what is added to its logit before sampling.
        top_logprobs: None = no log-probabilities; k = those of the k likeliest tokens as well.
        account: Whose mark the text bears, where accounts have marks of their own.

    Raises:
        TeacherError: A value is out of range.
    """

    key: Hashable
    prompt_ids: Sequence[int]
    max_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stream: int = 0
    stop: tuple[bytes, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        checks = (
            (len(self.prompt_ids) > 0, "a prompt must have at least one token"),
            (self.max_tokens >= 1, f"max_tokens must be at least 1, got {self.max_tokens}"),
            (0 <= self.temperature < float("inf"), f"temperature must be at least 0, got {self.temperature}"),
            (0 < self.top_p <= 1, f"top_p must be in (0, 1], got {self.top_p}"),
            ((self.top_logprobs or 0) >= 0, f"top_logprobs must be at least 0, got {self.top_logprobs}"),
            (all(self.stop), "a stop text must not be empty"),
        )
        for holds, otherwise in checks:
            if not holds:
                raise TeacherError(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Tokens of one sequence that came out together; the last piece says why it ended.

    Attributes:
        key: Of the request.
        token_ids: Shape (t,), int32; may be empty. The token that ended the text is not among them.
        logprobs: Shape (t,), float32; None where not asked for.
        top_ids: Shape (t, k), int32, likeliest first.
        top_logprobs: Shape (t, k), float32.
        tail_mass: Shape (t,), float32.
        text: Bytes of the tokens, cut where a stop text begins.
        finish_reason: `stop` at an end token or stop text, `length` at a limit, None if more follows.
    """

    key: Hashable
    token_ids: Int32
    logprobs: Float32 | None
    top_ids: Int32 | None
    top_logprobs: Float32 | None
    tail_mass: Float32 | None
    text: bytes
    finish_reason: Finish | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completion:
    """All pieces of one sequence put together; fields as in `Piece`."""

    key: Hashable
    token_ids: Int32
    logprobs: Float32 | None
    top_ids: Int32 | None
    top_logprobs: Float32 | None
    tail_mass: Float32 | None
    text: bytes
    finish_reason: Finish


def join(pieces: Sequence[Piece]) -> Completion:
    """Put the pieces of one sequence together.

    Args:
        pieces: All of them in order; the last one has the reason why it ended.
    """
    reason = pieces[-1].finish_reason
    if reason is None:
        raise TeacherError("a completion must be joined from all its pieces: the last one says it goes on")

    def whole(name: str) -> Any:
        parts = [getattr(piece, name) for piece in pieces]
        return None if parts[0] is None else np.concatenate(parts)

    return Completion(
        key=pieces[0].key,
        token_ids=np.concatenate([piece.token_ids for piece in pieces]),
        logprobs=whole("logprobs"),
        top_ids=whole("top_ids"),
        top_logprobs=whole("top_logprobs"),
        tail_mass=whole("tail_mass"),
        text=b"".join(piece.text for piece in pieces),
        finish_reason=reason,
    )
