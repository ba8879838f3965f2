"""The engine: requests come and go while others are decoded; finished rows are refilled between blocks."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.teachers.generation.llama import LlamaForward, is_plain_llama
from kdguard.distill.teachers.generation.request import Completion, Piece, Request, join
from kdguard.distill.teachers.generation.rows import Forward, Rows
from kdguard.distill.teachers.generation.sampling import Drawn, LogprobsOf, Mark, MarkOf
from kdguard.distill.teachers.generation.slots import Block, Slot, plan_of, tails_of
from kdguard.distill.teachers.generation.transformer import ModelForward
from kdguard.errors import TeacherError

_PREFILL_TOKENS = 8_192  # prompt tokens read at once, pads included
_SPAN = 32  # positions looked at are rounded up to this


class Engine:
    """Continues many sequences at once with one model.

    What comes out for a request depends on the model, the request and rounding only: not on what is decoded
    beside it, in which order requests came, or how many rows there are. Rounding of matrix products does depend
    on the number of rows, by about 1e-6 of a log-probability in float32.

    Not safe for use by several threads at once.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        token_bytes: Bytes of every token id; ids beyond are taken as having none.
        ends: Ids that end a text.
        rows: Sequences decoded at once.
        context: Most tokens of prompt and answer; the model's own limit if None.
        steps: Tokens decoded between looks at what ended. More is faster, and wastes more behind an end.
        logprobs_of: `model` or `biased`, see `sampling`.
        plain: Use transformers' own layers even where faster ones are known.
        compiled: Compile the step with `torch.compile`.
        mark: Writes a watermark into what is sampled, see `sampling.Mark`.
        mark_of: In place of `mark`: the watermark of each account.

    Raises:
        TeacherError: A setting is out of range.
        ModelError: The model keeps a state that cannot be decoded in rows.
    """

    def __init__(
        self,
        model: Any,
        *,
        token_bytes: Sequence[bytes],
        ends: Iterable[int] = (),
        rows: int = 64,
        context: int | None = None,
        steps: int = 8,
        logprobs_of: LogprobsOf = "model",
        plain: bool = False,
        compiled: bool = False,
        mark: Mark | None = None,
        mark_of: MarkOf | None = None,
    ) -> None:
        limit = int(model.config.max_position_embeddings)
        self.context = min(context or limit, limit)
        if rows < 1 or steps < 1 or self.context < 2:
            raise TeacherError(
                f"rows and steps must be at least 1 and context at least 2, got {rows}, {steps}, {context}"
            )
        self.rows, self.vocab = rows, int(model.config.vocab_size)
        self.token_bytes = tuple(token_bytes) + (b"",) * (self.vocab - len(token_bytes))
        self._ends = np.zeros(self.vocab, np.bool_)
        self._ends[[at for at in ends if 0 <= at < self.vocab]] = True
        fast = is_plain_llama(model) and not plain
        self._forward: Forward = (LlamaForward if fast else ModelForward)(
            model, rows=rows, context=self.context
        )
        self._rows = Rows(
            self._forward,
            count=rows,
            context=self.context,
            vocab=self.vocab,
            steps=steps,
            logprobs_of=logprobs_of,
            compiled=compiled,
            mark_of=mark_of if mark is None else lambda _: mark,
        )
        self._waiting: deque[Slot] = deque()
        self._slots: list[Slot] = []

    @property
    def unfinished(self) -> int:
        """Requests waiting or under way."""
        return len(self._waiting) + len(self._slots)

    def refresh(self) -> None:
        """Read the model's weights again after it was trained; nothing may be under way.

        Raises:
            TeacherError: Requests are under way.
        """
        if self._slots:
            raise TeacherError(f"weights must not change while {len(self._slots)} requests are under way")
        self._forward.refresh()

    def submit(self, request: Request) -> None:
        """Queue a request.

        Raises:
            TeacherError: As for `check`.
        """
        self.check(request)
        self._waiting.append(Slot.open(request, self.context))

    def check(self, request: Request) -> None:
        """Refuse what cannot be decoded.

        Raises:
            TeacherError: The prompt leaves no room for an answer, or a token id is not in the vocabulary.
        """
        if len(request.prompt_ids) >= self.context:
            raise TeacherError(
                f"a prompt must have fewer than {self.context} tokens, got {len(request.prompt_ids)}: shorten it"
            )
        for ids in (request.prompt_ids, request.logit_bias):
            if ids and not (min(ids) >= 0 and max(ids) < self.vocab):
                raise TeacherError(
                    f"token ids must be in 0 to {self.vocab - 1}, got {min(ids)} to {max(ids)}"
                )

    def cancel(self, keys: Iterable[Hashable]) -> None:
        """Drop requests, waiting or under way; nothing more comes of them."""
        dropped = set(keys)
        self._waiting = deque(slot for slot in self._waiting if slot.request.key not in dropped)
        for slot in self._slots:
            slot.done = slot.done or slot.request.key in dropped
        self._close()

    @torch.inference_mode()
    def advance(self) -> list[Piece]:
        """Admit what fits, decode a block, and return what came out."""
        pieces = self._admit()
        self._close()
        if self._slots:
            pieces += self._decode()
            self._close()
        return pieces

    def run(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Complete requests, as they end; requests are drawn from the iterable as rows become free.

        The engine must have nothing else under way.
        """
        source, parts = iter(requests), defaultdict[Hashable, list[Piece]](list)
        exhausted = False
        while True:
            while not exhausted and self.unfinished < 2 * self.rows:
                request = next(source, None)
                if request is None:
                    exhausted = True
                else:
                    self.submit(request)
            if not self.unfinished:
                return
            for piece in self.advance():
                parts[piece.key].append(piece)
                if piece.finish_reason is not None:
                    yield join(parts.pop(piece.key))

    def _admit(self) -> list[Piece]:
        """Read the prompts of waiting requests into free rows; equal prompts are read once."""
        free = min(self.rows - len(self._slots), len(self._waiting))
        if not free:
            return []
        fresh = sorted((self._waiting.popleft() for _ in range(free)), key=lambda slot: slot.length)
        first = len(self._slots)
        self._rows.reserve(max(min(slot.length + slot.limit, self.context) for slot in fresh))
        self._rows.place(first, fresh)
        drawn = self._rows.start(first, fresh, self._read(fresh, first), plan_of(fresh))
        self._slots += fresh
        return self._taken(fresh, Drawn(*(None if value is None else value[:, None] for value in drawn)))  # type: ignore[arg-type]

    def _read(self, fresh: list[Slot], first: int) -> Tensor:
        """Prefill each distinct prompt once and copy it to the other rows that have it; logits of all rows."""
        shared = defaultdict[tuple[int, ...], list[int]](list)
        for row, slot in enumerate(fresh, first):
            shared[tuple(slot.request.prompt_ids)].append(row)
        logits, source = [], torch.zeros(len(fresh), dtype=torch.int64)
        for place, rows in enumerate(shared.values()):
            source[torch.tensor(rows) - first] = place
        for batch in _batches(list(shared)):
            logits.append(self._prefill(batch, [shared[prompt][0] for prompt in batch]))
            copies = [(shared[prompt][0], row) for prompt in batch for row in shared[prompt][1:]]
            if copies:
                pairs = torch.tensor(copies, device=self._rows.device)
                self._forward.cache.copy_rows(pairs[:, 0], pairs[:, 1], max(map(len, batch)))
        return torch.cat(logits)[source.to(self._rows.device)]

    def _prefill(self, prompts: list[tuple[int, ...]], rows: list[int]) -> Tensor:
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        padded = torch.zeros(len(prompts), int(lengths.max()), dtype=torch.int64)
        for place, prompt in enumerate(prompts):
            padded[place, : len(prompt)] = torch.tensor(prompt)
        device = self._rows.device
        return self._forward.prefill(padded.to(device), lengths.to(device), torch.tensor(rows, device=device))

    def _decode(self) -> list[Piece]:
        slots = self._slots
        steps = min(self._rows.steps, max(slot.limit - slot.produced for slot in slots))
        reach = min(max(slot.length for slot in slots) + steps, self._forward.cache.capacity)
        span = min(-(-reach // _SPAN) * _SPAN, self._forward.cache.capacity)
        uniform = np.zeros((len(slots), steps))
        for row, slot in enumerate(slots):
            part = slot.draws[slot.produced : slot.produced + steps]
            uniform[row, : len(part)] = part
        return self._taken(slots, self._rows.run(len(slots), span, steps, plan_of(slots), uniform))

    def _taken(self, slots: list[Slot], drawn: Drawn) -> list[Piece]:
        """Bring a block to the host and hand every row its part."""
        top_logprobs = None if drawn.top_logprobs is None else drawn.top_logprobs.cpu().numpy()
        block = Block(
            drawn.tokens.cpu().numpy().astype(np.int32),
            None if drawn.logprobs is None else drawn.logprobs.cpu().numpy(),
            None if drawn.top_ids is None else drawn.top_ids.cpu().numpy().astype(np.int32),
            top_logprobs,
            tails_of(slots, top_logprobs),
        )
        return [slot.take(block, row, self._ends, self.token_bytes) for row, slot in enumerate(slots)]

    def _close(self) -> None:
        """Forget rows that ended and move the last rows into their places."""
        open_rows = [row for row, slot in enumerate(self._slots) if not slot.done]
        count = len(open_rows)
        holes = sorted(set(range(count)) - set(open_rows))
        if holes:
            sources = open_rows[-len(holes) :]
            span = min(max(self._slots[row].length for row in sources), self._forward.cache.capacity)
            with torch.inference_mode():
                self._rows.move(sources, holes, span)
            for source, hole in zip(sources, holes, strict=True):
                self._slots[hole] = self._slots[source]
        del self._slots[count:]


def _batches(prompts: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Cut prompts, shortest first, into batches of bounded size with their pads."""
    batch: list[tuple[int, ...]] = []
    for prompt in prompts:
        if batch and (len(batch) + 1) * len(prompt) > _PREFILL_TOKENS:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch
