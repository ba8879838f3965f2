"""A causal language model in this process as a teacher."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor

from kdguard.distill.teachers.conversation import Renderer, Style, renderer
from kdguard.distill.teachers.generation import Completion, Engine, Piece, Request
from kdguard.distill.teachers.generation.request import join
from kdguard.distill.teachers.generation.sampling import LogprobsOf
from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.distill.teachers.reply import parse_reply
from kdguard.distill.teachers.token_bytes import token_bytes
from kdguard.errors import TeacherError
from kdguard.exchanges.tokens import TokenTrace

Key = tuple[str, int]


@dataclass(slots=True)
class _Open:
    """One ask under way."""

    ask: Ask
    input_tokens: int
    began: float
    pieces: dict[int, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    left: int = 0


class LocalTeacher:
    """A model of transformers behind the same interface as an API.

    The same teacher, seed and ask give the same answer whatever else is asked at the time. An ask without a seed
    takes one from `seed` and its request id.

    Args:
        model: A causal language model; put into evaluation mode.
        tokenizer: Its tokenizer.
        name: Id of the teacher.
        rows: Sequences decoded at once.
        context: Most tokens of prompt and answer; the model's own limit if None.
        seed: For asks without a seed.
        style: How conversations become text, see `conversation`.
        render: Own way to make token ids of an ask; replaces `style`.
        logprobs_of: Log-probabilities of the `model`, or `biased` by `logit_bias`, see `generation.sampling`.
        clock: Seconds, for `latency_ms`.
        engine: Further settings of the engine.

    Raises:
        TeacherError: A setting is out of range.
        ModelError: The model cannot be decoded in rows.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        rows: int = 64,
        context: int | None = None,
        seed: int = 0,
        style: Style = "auto",
        render: Renderer | None = None,
        logprobs_of: LogprobsOf = "model",
        clock: Callable[[], float] = time.perf_counter,
        **engine: Any,
    ) -> None:
        self.name, self.model, self.tokenizer = name, model.eval(), tokenizer
        self.token_bytes = token_bytes(tokenizer)
        self._seed, self._clock = seed, clock
        self._render = render or renderer(tokenizer, style)
        self.engine = Engine(
            model,
            token_bytes=self.token_bytes,
            ends=end_ids(model, tokenizer),
            rows=rows,
            context=context,
            logprobs_of=logprobs_of,
            **engine,
        )
        self._open: dict[str, _Open] = {}
        self._refused: list[Answer] = []

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", name: str | None = None, **settings: Any
    ) -> Self:
        """Load a model folder; nothing in it is executed.

        Raises:
            ModelError: The folder is not safe to load, damaged or incomplete.
        """
        from kdguard.distill.models import load_model, load_tokenizer

        model = load_model(folder, device=device)
        return cls(model, load_tokenizer(folder), name=name or Path(folder).resolve().name, **settings)

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer asks in the order in which they end; asks that are no longer waited for are dropped."""
        source, mine = iter(asks), set[str]()
        room = 2 * self.engine.rows
        ask = next(source, None)
        try:
            while ask is not None or self.busy:
                while ask is not None and self.engine.unfinished < room:
                    self.submit(ask)
                    mine.add(ask.request_id)
                    ask = next(source, None)
                for told in self.advance():
                    if isinstance(told, Answer):
                        yield told
        finally:
            for request_id in mine & self._open.keys():
                self.cancel(request_id)

    @property
    def busy(self) -> bool:
        """Answers are still to come from `advance`."""
        return bool(self._open or self._refused)

    def submit(self, ask: Ask) -> None:
        """Take an ask; its answers come out of `advance`."""
        if ask.request_id in self._open:
            self._refused.append(failed(ask, self.name, status=409, error="request_id is under way"))
            return
        ids: tuple[int, ...] = ()
        try:
            ids = tuple(self._render(ask))
            requests = [self._request(ask, choice, ids) for choice in range(ask.n)]
            if not requests:
                raise TeacherError(f"n must be at least 1, got {ask.n}")
            for request in requests:
                self.engine.check(request)
        except (TeacherError, ValueError, TypeError) as error:
            code = "context_length_exceeded" if len(ids) >= self.engine.context else "invalid_value"
            self._refused.append(failed(ask, self.name, status=400, error=f"{code}: {error}"))
            return
        self._open[ask.request_id] = _Open(ask, len(ids), self._clock(), left=ask.n)
        for request in requests:
            self.engine.submit(request)

    def cancel(self, request_id: str) -> None:
        """Drop an ask whose answer nobody waits for any more."""
        opened = self._open.pop(request_id, None)
        if opened is not None:
            self.engine.cancel((request_id, choice) for choice in range(opened.ask.n))

    def advance(self) -> list[Piece | Answer]:
        """Decode some steps.

        Returns:
            Pieces as they come out, keyed by `(request_id, choice)`, and the answer of each choice after its last
            piece.
        """
        told: list[Piece | Answer] = list(self._refused)
        self._refused.clear()
        for piece in self.engine.advance() if self.engine.unfinished else ():
            request_id, choice = cast(Key, piece.key)
            opened = self._open[request_id]
            opened.pieces[choice].append(piece)
            told.append(piece)
            if piece.finish_reason is not None:
                told.append(self._answer(opened, choice, join(opened.pieces.pop(choice))))
                opened.left -= 1
                if not opened.left:
                    del self._open[request_id]
        return told

    @torch.inference_mode()
    def score(self, token_ids: Tensor) -> Tensor:
        """Logits of every next token, (b, t, vocab) float32, for rows of token ids (b, t) without padding."""
        device = next(self.model.parameters()).device
        logits: Tensor = self.model(input_ids=token_ids.to(device)).logits
        return logits.float()

    def count_tokens(self, ask: Ask) -> int:
        """Tokens of an ask as it will be read."""
        return len(self._render(ask))

    def trace(self, completion: Completion | Piece) -> TokenTrace | None:
        """Tokens of a completion as an API would tell them, with their ids; None if none were asked for."""
        if completion.logprobs is None:
            return None
        return TokenTrace(
            token_bytes=tuple(self.engine.token_bytes[at] for at in completion.token_ids.tolist()),
            logprob=completion.logprobs,
            token_id=completion.token_ids,
            top_ids=completion.top_ids,
            top_logprobs=completion.top_logprobs,
            tail_mass=completion.tail_mass,
        )

    def _request(self, ask: Ask, choice: int, ids: tuple[int, ...]) -> Request:
        return Request(
            key=(ask.request_id, choice),
            prompt_ids=ids,
            max_tokens=ask.max_tokens,
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=self._seed_of(ask) if ask.seed is None else ask.seed,
            stream=choice,
            stop=tuple(text.encode() for text in ask.stop),
            logit_bias=ask.logit_bias,
            top_logprobs=ask.top_logprobs,
            account=ask.account_id,
        )

    def _seed_of(self, ask: Ask) -> int:
        digest = hashlib.blake2b(f"{self._seed}/{ask.request_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def _answer(self, opened: _Open, choice: int, done: Completion) -> Answer:
        ask = opened.ask
        reply = parse_reply(
            done.text.decode("utf-8", "replace"), tools=ask.tools, key=f"{self._seed_of(ask)}/{choice}"
        )
        return Answer(
            request_id=ask.request_id,
            choice=choice,
            model=self.name,
            response=reply.response,
            reasoning=reply.reasoning,
            tool_calls=reply.tool_calls,
            finish_reason="tool_calls" if reply.tool_calls else done.finish_reason,
            input_tokens=opened.input_tokens,
            output_tokens=len(done.token_ids),
            latency_ms=(self._clock() - opened.began) * 1e3,
            tokens=self.trace(done),
        )


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Token ids that end a text, by the model's configuration and the tokenizer."""
    told = [getattr(model.config, "eos_token_id", None), getattr(tokenizer, "eos_token_id", None)]
    told.append(getattr(getattr(model, "generation_config", None), "eos_token_id", None))
    listed = [one if isinstance(one, list | tuple) else [one] for one in told]
    return frozenset(int(at) for one in listed for at in one if at is not None)
