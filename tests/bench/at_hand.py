"""Our engine beside a teacher: whole distributions, found anew for every batch at the taught places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kdguard.distill.students.engine import Engine
from kdguard.distill.students.head import Losses, Slope, Targets, head_losses
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import Shape
from kdguard.distill.students.stacked import Rows, head_weights, hidden_states


class TeacherAtHand(Engine):
    """The engine with dense forward KL to one teacher; slots weigh it by `mix.soft`, their own soft targets unread.

    Args:
        shape: Of the students.
        slots: The students.
        plan: How to train.
        device: Where.
        teacher: One teacher's weights, without a slot dimension.
        teacher_shape: Its shape; the vocabulary is the students'.
    """

    def __init__(
        self,
        shape: Shape,
        slots: Sequence[Slot],
        plan: Plan,
        device: torch.device,
        teacher: Mapping[str, Tensor],
        teacher_shape: Shape,
    ) -> None:
        self.teacher_shape = teacher_shape
        self.teacher = {
            name: weight.detach().to(device).repeat(len(slots), *[1] * weight.dim())
            for name, weight in teacher.items()
        }
        super().__init__(shape, slots, plan, device)
        self.gradient = dense_slope

    def _losses(self, rows: Rows, targets: Targets) -> Losses:
        with torch.no_grad():
            told = hidden_states(self.teacher, self.teacher_shape, rows, self.dtype)
            logits = torch.bmm(told, head_weights(self.teacher).to(self.dtype).mT)
            targets = targets._replace(ids=None, logprobs=functional.log_softmax(logits.float(), dim=-1))
        hidden = hidden_states(self.weights, self.shape, rows, self.dtype)
        return head_losses(hidden, head_weights(self.weights).to(self.dtype), targets, self.gradient)


def dense_slope(logits: Tensor, targets: Targets) -> Slope:
    """Forward KL from whole distributions, `targets.logprobs` (m, c, v), weighted; and the gradient of the logits."""
    assert targets.logprobs is not None
    assert targets.soft_weight is not None
    weight = targets.soft_weight.unsqueeze(-1)
    own = functional.log_softmax(logits.float(), dim=-1)
    theirs = targets.logprobs.exp()
    soft = (theirs * (targets.logprobs - own) * weight).sum((1, 2))
    return Slope(torch.zeros_like(soft), soft, own.exp_().sub_(theirs).mul_(weight))
