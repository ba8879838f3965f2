"""On-policy distillation: the student writes, the teacher grades every token."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_share
from kdguard.distill.objectives.divergence import jensen_shannon


def gkd(logits: Tensor, teacher_logits: Tensor, beta: float = 0.5, temperature: float = 1.0) -> Tensor:
    """Generalised knowledge distillation: the JSD(beta) at each token of whatever text the batch holds.

    Which text that is makes it on-policy: see `student_writes`. The text is data here; nothing passes back through its
    sampling, as in the paper.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher on the same text, shape (n, v).
        beta: In [0, 1]; 0 is forward KL, 1 reverse KL (see `jensen_shannon`).
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Agarwal et al. (2024), On-Policy Distillation of Language Models, arXiv 2306.13649.
    """
    return jensen_shannon(logits, teacher_logits, beta, temperature)


def student_writes(count: int, share: float, generator: torch.Generator) -> Tensor:
    """Which of the next sequences the student writes itself; the others come from the data set.

    Args:
        count: Sequences of the batch.
        share: lambda, in [0, 1]. 0 is supervised distillation on fixed text, 1 purely on-policy.
        generator: Source of the choices, on the CPU.

    Returns:
        Shape (count,), bool, independently True with chance `share`. The paper draws once for a batch; one draw for
        each sequence has the same mean loss and less variance.
    """
    check_share("share", share)
    return torch.rand(count, generator=generator) < share
