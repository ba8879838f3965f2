"""Learning from oneself: an earlier generation, or a moving average of one's own weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from kdguard.distill.objectives.checks import check_share
from kdguard.distill.objectives.hinton import hinton
from kdguard.distill.objectives.logspace import widened
from kdguard.errors import InputError


def born_again(logits: Tensor, teacher_logits: Tensor, target_ids: Tensor, weight: float = 0.5) -> Tensor:
    """Loss of generation k + 1, whose teacher is the finished generation k of the same shape; T = 1.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Previous generation, shape (n, v).
        target_ids: Hard targets, shape (n,).
        weight: Share of the soft loss, in [0, 1]. 1 is the paper's born-again network without labels, 0 plain
            training.

    Returns:
        Shape (n,), nats.

    References:
        Furlanello et al. (2018), Born-Again Neural Networks, arXiv 1805.04770.
    """
    return hinton(logits, teacher_logits, target_ids, temperature=1.0, weight=weight)


def ema_update(
    teacher: Mapping[str, Tensor], student: Mapping[str, Tensor], decay: float
) -> dict[str, Tensor]:
    """Weights of a teacher that follows its student: decay * teacher + (1 - decay) * student.

    Args:
        teacher: State by name. Floating entries are averaged at float32 or wider and come back so: in bfloat16 steps
            of 1 - decay = 0.001 would round away. Other entries (counters) are taken from the student.
        student: State by name, the same names and shapes; may be of narrower type.
        decay: In [0, 1]. 0 copies the student, 1 keeps the teacher.

    Returns:
        New state; nothing is changed in place and nothing carries gradients.

    Raises:
        InputError: names differ.

    References:
        Tarvainen and Valpola (2017), Mean Teachers, arXiv 1703.01780.
    """
    check_share("decay", decay)
    if teacher.keys() != student.keys():
        odd = ", ".join(sorted(teacher.keys() ^ student.keys())[:5])
        raise InputError(f"Teacher and student must hold the same entries; only one side has: {odd}.")
    return {name: _averaged(teacher[name].detach(), student[name].detach(), decay) for name in teacher}


def _averaged(old: Tensor, new: Tensor, decay: float) -> Tensor:
    if not old.is_floating_point():
        return new.clone()
    wide = widened(old)
    return wide * decay + new.to(wide.dtype) * (1 - decay)
