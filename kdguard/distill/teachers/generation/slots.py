"""The host's side of a row: which request it serves, what came out so far, when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kdguard.distill.teachers.generation.request import Finish, Piece, Request
from kdguard.distill.teachers.generation.sampling import Plan, tail, uniforms
from kdguard.distill.teachers.generation.stops import StopWatch


class Block(NamedTuple):
    """What a few steps gave for m rows, on the host; s steps, k alternatives.

    Attributes:
        token_ids: (m, s) int32.
        logprobs: (m, s) float32.
        top_ids: (m, s, k) int32.
        top_logprobs: (m, s, k) float32.
        tails: Tail mass (m, s) by number of alternatives wanted.
    """

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32] | None
    top_ids: npt.NDArray[np.int32] | None
    top_logprobs: npt.NDArray[np.float32] | None
    tails: dict[int, npt.NDArray[np.float32]]


class _Part(NamedTuple):
    """Tokens of one row; fields as in `Piece`."""

    token_ids: Any
    logprobs: Any
    top_ids: Any
    top_logprobs: Any
    tail_mass: Any

    def cut(self, start: int, end: int | None) -> _Part:
        return _Part(*(None if value is None else value[start:end] for value in self))

    def plus(self, other: _Part) -> _Part:
        pairs = zip(self, other, strict=True)
        return _Part(*(None if one is None else np.concatenate((one, two)) for one, two in pairs))


@dataclass(slots=True)
class Slot:
    """One sequence under way.

    Attributes:
        request: What is asked.
        limit: Most tokens it may produce.
        length: Tokens in its row: prompt and everything produced that was read back.
        draws: Its random numbers, one a token.
        produced: Tokens produced so far, held ones included.
        done: It ended.
    """

    request: Request
    limit: int
    length: int
    draws: npt.NDArray[np.float64]
    watch: StopWatch | None
    produced: int = 0
    done: bool = False
    held: _Part | None = None

    @classmethod
    def open(cls, request: Request, context: int) -> Slot:
        """Begin a request in a row of so many positions."""
        limit = min(request.max_tokens, context - len(request.prompt_ids))
        sampled = request.temperature > 0
        return cls(
            request=request,
            limit=limit,
            length=len(request.prompt_ids),
            draws=uniforms(request.seed, request.stream, limit) if sampled else np.zeros(limit),
            watch=StopWatch(request.stop) if request.stop else None,
        )

    def take(
        self, block: Block, row: int, ends: npt.NDArray[np.bool_], token_bytes: Sequence[bytes]
    ) -> Piece:
        """Take what a block gave for this row, up to its end.

        Args:
            block: Results of the last steps.
            row: The row in it.
            ends: Which token ids end a text, (vocab,).
            token_bytes: Bytes of every token id.
        """
        count = min(block.token_ids.shape[1], self.limit - self.produced)
        ids = block.token_ids[row, :count]
        ending = np.flatnonzero(ends[ids])
        reason: Finish | None = None
        if ending.size:
            count, reason = int(ending[0]), "stop"
            ids = ids[:count]
        elif self.produced + count == self.limit:
            reason = "length"
        self.produced += count
        self.length += block.token_ids.shape[1]
        part = self._part(block, row, count)
        pieces = [token_bytes[at] for at in ids.tolist()]
        if self.watch is None:
            return self._piece(part, b"".join(pieces), reason)
        part = part if self.held is None else self.held.plus(part)
        released = self.watch.feed(pieces, last=reason is not None)
        self.held = part.cut(released.tokens, None)
        return self._piece(
            part.cut(0, released.tokens), released.text, "stop" if released.stopped else reason
        )

    def _part(self, block: Block, row: int, count: int) -> _Part:
        k = self.request.top_logprobs
        return _Part(
            block.token_ids[row, :count],
            block.logprobs[row, :count] if k is not None and block.logprobs is not None else None,
            block.top_ids[row, :count, :k] if k and block.top_ids is not None else None,
            block.top_logprobs[row, :count, :k] if k and block.top_logprobs is not None else None,
            block.tails[k][row, :count] if k else None,
        )

    def _piece(self, part: _Part, text: bytes, reason: Finish | None) -> Piece:
        self.done = reason is not None
        return Piece(key=self.request.key, text=text, finish_reason=reason, **part._asdict())


def plan_of(slots: Sequence[Slot]) -> Plan:
    """What the rows need together."""
    asked = [slot.request for slot in slots]
    return Plan(
        samples=any(request.temperature > 0 for request in asked),
        nucleus=any(request.top_p < 1 for request in asked),
        biased=any(request.logit_bias for request in asked),
        tells=any(request.top_logprobs is not None for request in asked),
        top=max((request.top_logprobs or 0 for request in asked), default=0),
    )


def tails_of(slots: Sequence[Slot], top_logprobs: npt.NDArray[np.float32] | None) -> dict[int, Any]:
    """Tail mass for every number of alternatives that some row wants."""
    if top_logprobs is None:
        return {}
    m, steps = top_logprobs.shape[:2]
    wanted = {slot.request.top_logprobs for slot in slots} - {None, 0}
    return {
        k: tail(top_logprobs[:, :, :k].reshape(m * steps, -1)).reshape(m, steps)
        for k in wanted
        if k is not None
    }
