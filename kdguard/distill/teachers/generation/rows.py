"""The device's side of all rows: last token, position and sampling values, and a block of decoding steps.

On a GPU a block is captured once as a CUDA graph for each size it comes in and replayed after that, since small
models spend most of a step on launching kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdguard.distill.teachers.generation.cache import KeyValueCache
from kdguard.distill.teachers.generation.sampling import (
    Drawn,
    LogprobsOf,
    Mark,
    MarkOf,
    Plan,
    draw,
    together,
)
from kdguard.distill.teachers.generation.slots import Slot


class Forward(Protocol):
    """A model over a cache: `LlamaForward` or `ModelForward`."""

    cache: KeyValueCache
    device: torch.device

    def prefill(self, token_ids: Tensor, lengths: Tensor, rows: Tensor) -> Tensor:
        """Read prompts into rows; logits after the last token of each."""
        ...

    def decode(self, tokens: Tensor, positions: Tensor, span: int) -> Tensor:
        """Read one token more of each of the first rows; logits after it."""
        ...

    def refresh(self) -> None:
        """Read the weights again."""
        ...


class Rows:
    """Tensors of fixed address for `count` rows.

    Args:
        forward: The model.
        count: Rows.
        context: Positions that a row may use.
        vocab: Logits of the model.
        steps: Most steps of a block.
        logprobs_of: As in `draw`.
        compiled: Compile the step with `torch.compile`.
        mark_of: Mark of each account, as in `draw`; steps are then neither compiled nor captured, since a mark may do
            anything.
    """

    def __init__(
        self,
        forward: Forward,
        *,
        count: int,
        context: int,
        vocab: int,
        steps: int,
        logprobs_of: LogprobsOf,
        compiled: bool = False,
        mark_of: MarkOf | None = None,
    ) -> None:
        self.forward, self.count, self.context, self.steps = forward, count, context, steps
        self._vocab, self._logprobs_of = vocab, logprobs_of
        device = self.device = forward.device
        self.tokens = torch.zeros(count, dtype=torch.int64, device=device)
        self.positions = torch.zeros(count, dtype=torch.int64, device=device)
        self.temperature = torch.ones(count, device=device)
        self.top_p = torch.ones(count, device=device)
        self.uniform = torch.zeros(count, steps, dtype=torch.float64, device=device)
        self.bias: Tensor | None = None
        self._mark_of = mark_of
        self._marks: list[Mark | None] = [None] * count
        self.produced: Tensor | None = None
        if mark_of is not None:
            self.produced = torch.full((count, context), -1, dtype=torch.int64, device=device)
        compiled = compiled and mark_of is None
        self._step: Callable[..., Drawn] = torch.compile(self._plain_step) if compiled else self._plain_step
        self._graphs: dict[tuple[int, int, int, Plan], tuple[Any, list[Drawn]]] = {}

    def place(self, first: int, slots: Sequence[Slot]) -> None:
        """Set the sampling values of the rows from `first` on."""
        asked = [slot.request for slot in slots]
        rows = slice(first, first + len(asked))
        self.temperature[rows] = torch.tensor([float(request.temperature) for request in asked])
        self.top_p[rows] = torch.tensor([float(request.top_p) for request in asked])
        if self._mark_of is not None:
            self._marks[rows] = [self._mark_of(request.account) for request in asked]
        if self.bias is None and any(request.logit_bias for request in asked):
            self.bias = torch.zeros(self.count, self._vocab, device=self.device)
        if self.bias is not None:
            self.bias[rows] = 0.0
            for row, request in enumerate(asked, first):
                if request.logit_bias:
                    ids = torch.tensor(list(request.logit_bias), device=self.device)
                    values = [float(value) for value in request.logit_bias.values()]
                    self.bias[row][ids] = torch.tensor(values, device=self.device)

    def start(self, first: int, slots: Sequence[Slot], logits: Tensor, plan: Plan) -> Drawn:
        """Draw the first token of rows whose prompts were just read, from `first` on; logits (a, vocab)."""
        rows = slice(first, first + len(slots))
        draws = torch.from_numpy(np.array([slot.draws[0] for slot in slots]))
        if self.produced is not None:
            self.produced[rows] = -1
        drawn = draw(
            logits,
            temperature=self.temperature[rows],
            top_p=self.top_p[rows],
            uniform=draws.to(self.device),
            bias=None if self.bias is None else self.bias[rows],
            plan=plan,
            logprobs_of=self._logprobs_of,
            mark=self._mark(rows),
            produced=None if self.produced is None else self.produced[rows],
        )
        self._note(rows, drawn.tokens)
        self.positions[rows] = torch.tensor(
            [len(slot.request.prompt_ids) for slot in slots], device=self.device
        )
        return drawn

    def move(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        """Copy rows over others."""
        source = torch.tensor(sources, dtype=torch.int64, device=self.device)
        target = torch.tensor(targets, dtype=torch.int64, device=self.device)
        self.forward.cache.copy_rows(source, target, span)
        values = (self.tokens, self.positions, self.temperature, self.top_p, self.bias, self.produced)
        for value in values:
            if value is not None:
                value[target] = value[source]
        for one, other in zip(sources, targets, strict=True):
            self._marks[other] = self._marks[one]

    def reserve(self, positions: int) -> None:
        """Make room in the cache; captured graphs hold the old address and are dropped if it moved."""
        if self.forward.cache.ensure(positions):
            self._graphs.clear()

    def run(self, m: int, span: int, steps: int, plan: Plan, uniform: npt.NDArray[np.float64]) -> Drawn:
        """Decode a block.

        Args:
            m: The first m rows take part.
            span: Positions that any of them may reach.
            steps: At most `self.steps`.
            plan: What the rows need.
            uniform: Random numbers, (m, steps).

        Returns:
            Stacked over steps: tokens (m, steps) and so on.
        """
        self.uniform[:m, :steps] = torch.from_numpy(uniform).to(self.device)
        if self.device.type == "cuda" and self._mark_of is None:
            drawn = self._replayed(m, span, steps, plan)
        else:
            drawn = [self._step(m, span, at, plan) for at in range(steps)]
        fields = zip(*drawn, strict=True)
        return Drawn(*(None if each[0] is None else torch.stack(each, 1)[:m] for each in fields))  # type: ignore[arg-type]

    def _mark(self, rows: slice) -> Mark | None:
        return None if self._mark_of is None else together(self._marks[rows])

    def _note(self, rows: slice, tokens: Tensor) -> None:
        self.tokens[rows] = tokens
        if self.produced is not None:
            self.produced[rows] = torch.cat((self.produced[rows, 1:], tokens[:, None]), 1)

    def _plain_step(self, m: int, span: int, at: int, plan: Plan) -> Drawn:
        drawn = draw(
            self.forward.decode(self.tokens[:m], self.positions[:m], span),
            temperature=self.temperature[:m],
            top_p=self.top_p[:m],
            uniform=self.uniform[:m, at],
            bias=None if self.bias is None else self.bias[:m],
            plan=plan,
            logprobs_of=self._logprobs_of,
            mark=self._mark(slice(0, m)),
            produced=None if self.produced is None else self.produced[:m],
        )
        self._note(slice(0, m), drawn.tokens)
        # rows that already ended run on until the block is over: keep them inside the cache
        last = min(self.context, self.forward.cache.capacity) - 1
        self.positions[:m] = (self.positions[:m] + 1).clamp_max(last)
        return drawn

    def _replayed(self, m: int, span: int, steps: int, plan: Plan) -> list[Drawn]:
        """The block as a CUDA graph; sizes are rounded up to few, rows in between compute nothing of use."""
        m = min(self.count, 1 << (m - 1).bit_length())
        span = min(self.forward.cache.capacity, 1 << (span - 1).bit_length())
        key = (m, span, steps, plan)
        if key not in self._graphs:
            self._graphs[key] = self._captured(m, span, steps, plan)
        graph, drawn = self._graphs[key]
        graph.replay()
        return drawn

    def _captured(self, m: int, span: int, steps: int, plan: Plan) -> tuple[Any, list[Drawn]]:
        kept = self.tokens.clone(), self.positions.clone()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call, unused-ignore]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._step(m, span, 0, plan)  # kernels and workspaces must exist before a capture
        torch.cuda.current_stream().wait_stream(side)
        self.tokens.copy_(kept[0])
        self.positions.copy_(kept[1])
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            drawn = [self._step(m, span, at, plan) for at in range(steps)]
        return graph, drawn
