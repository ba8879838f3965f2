"""One optimiser step of a fleet, on the device from end to end: the host only says which rows and how fast.

Losses, norms and the first step that was not finite are kept in tensors and read when a report is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.students.head import Losses, Targets, head_losses
from kdguard.distill.students.objective import slope_of
from kdguard.distill.students.optimiser import StackedAdamW
from kdguard.distill.students.order import step_rows
from kdguard.distill.students.plan import Plan, Slot, learning_rate
from kdguard.distill.students.pool import build_pool, extent, gather
from kdguard.distill.students.shapes import Shape
from kdguard.distill.students.stacked import Rows, head_weights, hidden_states
from kdguard.distill.students.weights import from_transformers, initial_weights, stack

WARM_UP_RUNS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """What the device knows since the last reading.

    Attributes:
        text: (m,) mean text loss a step, weighted as in the mix, nats.
        soft: (m,) mean soft loss a step, likewise.
        norm: (m,) gradient norm of the last step, before clipping.
        broken: (m,) first step whose loss or norm was not finite; -1 = none.
    """

    text: np.ndarray
    soft: np.ndarray
    norm: np.ndarray
    broken: np.ndarray


class Engine:
    """Stacked weights, their optimiser and their data on one device.

    Args:
        shape: Of all students.
        slots: The students.
        plan: How to train.
        device: Where.

    Raises:
        TrainingError: Slots that cannot be trained together.
    """

    def __init__(self, shape: Shape, slots: Sequence[Slot], plan: Plan, device: torch.device) -> None:
        self.shape, self.slots, self.plan, self.device = shape, tuple(slots), plan, device
        narrow = plan.arithmetic == "bfloat16" or (plan.arithmetic == "auto" and device.type == "cuda")
        self.dtype = torch.bfloat16 if narrow else torch.float32
        self.gradient = slope_of(self.slots)
        self.pool = build_pool(self.slots, shape, device)
        self.extent = extent(self.slots, plan)
        self.weights = stack([first_weights(slot, shape) for slot in self.slots], device)
        self.optimiser = StackedAdamW(self.weights, self.slots, plan)
        self.meter = torch.zeros(4, len(self.slots), device=device)
        self.broken = torch.full((len(self.slots),), -1, dtype=torch.int64, device=device)
        self.clock = torch.zeros((), dtype=torch.int64, device=device)
        self.losses = torch.compile(self._losses, dynamic=False) if plan.compiled else self._losses
        self.input = torch.zeros(
            plan.micro_batches, len(slots), plan.rows // plan.micro_batches, dtype=torch.int64
        )
        self.input = self.input.to(device)
        self.graph = self._capture() if plan.graphed and device.type == "cuda" else None

    def step(self, number: int) -> None:
        """Run optimiser step `number`; returns before the device is done."""
        rows = step_rows(self.slots, self.plan, number) + self.pool.first[:, None]
        self.input.copy_(torch.from_numpy(rows), non_blocking=True)
        rates = [learning_rate(number, slot, self.plan) for slot in self.slots]
        self.optimiser.rates.copy_(torch.tensor(rates))
        if self.graph is None:
            self._update()
        else:
            self.graph.replay()

    def seek(self, number: int) -> None:
        """Set the clock: the next step is `number`."""
        self.clock.fill_(number)

    def read(self) -> Reading:
        """Wait for the device, read the meters and reset the means."""
        steps = self.meter[3].clamp_min(1)
        text, soft, norm = (self.meter[0] / steps, self.meter[1] / steps, self.meter[2].clone())
        values = [value.cpu().numpy() for value in (text, soft, norm, self.broken)]
        self.meter.zero_()
        return Reading(*values)

    def _update(self) -> None:
        """The whole optimiser step; no shape and no value in it depends on the host."""
        self.optimiser.zero()
        weights = self.pool.weights[self.input]  # (micro-batches, m, b, t)
        count = weights.sum((0, 2, 3)).unsqueeze(1)
        totals = torch.zeros(2, len(self.slots), device=self.device)
        for row_ids in self.input.unbind(0):
            rows, targets = gather(self.pool, row_ids, self.extent, count, self.dtype)
            losses = self.losses(rows, targets)
            torch.autograd.backward(losses.total.sum())
            totals += torch.stack([losses.text, losses.soft]).detach()
        norm = self.optimiser.clip(self.plan.clip)
        self.optimiser.step()
        self._record(totals, norm)

    def _losses(self, rows: Rows, targets: Targets) -> Losses:
        hidden = hidden_states(self.weights, self.shape, rows, self.dtype)
        head = head_weights(self.weights).to(self.dtype)
        return head_losses(hidden, head, targets, self.gradient)

    def _record(self, totals: Tensor, norm: Tensor) -> None:
        finite = torch.isfinite(totals.sum(0)) & torch.isfinite(norm)
        self.broken.copy_(torch.where((self.broken < 0) & ~finite, self.clock, self.broken))
        self.meter[:2] += totals
        self.meter[2] = norm
        self.meter[3] += 1
        self.clock += 1

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record the step as one CUDA graph; the rehearsals run at learning rate 0 and are forgotten."""
        self._rehearse()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._update()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._update()
        self.optimiser.forget()
        self.meter.zero_()
        self.broken.fill_(-1)
        self.clock.zero_()
        return graph

    def _rehearse(self) -> None:
        """Rows of the first step at learning rate 0."""
        rows = step_rows(self.slots, self.plan, 0) + self.pool.first[:, None]
        self.input.copy_(torch.from_numpy(rows))
        self.optimiser.rates.zero_()


def first_weights(slot: Slot, shape: Shape) -> dict[str, Tensor]:
    """Weights a slot starts from."""
    return initial_weights(shape, slot.seed) if slot.start is None else from_transformers(slot.start, shape)
