"""One vocabulary for two models of one tokenizer whose embedding tables were padded to different sizes."""

from __future__ import annotations

from torch import Tensor

from kdguard.errors import InputError


def shared_vocabulary(
    logits: Tensor, teacher_logits: Tensor, size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cut student and teacher logits to the entries both have.

    Models of one family often pad the table behind the last token to different multiples, so the same tokenizer
    comes with, say, 151,936 and 152,064 entries (https://github.com/microsoft/LMOps/pull/331). The entries behind
    the tokenizer's last id stand for nothing; what little mass a teacher puts there is dropped and the rest
    renormalised by the objective.

    Args:
        logits: Student, shape (n, v_s).
        teacher_logits: Teacher, shape (n, v_t).
        size: Number of ids the tokenizer uses; by default the smaller of both tables.

    Returns:
        Both of width `size`, as views.

    Raises:
        InputError: `size` is below 1 or above the smaller table.
    """
    smaller = min(logits.shape[-1], teacher_logits.shape[-1])
    size = smaller if size is None else size
    if not 1 <= size <= smaller:
        raise InputError(f"'size' must lie in [1, {smaller}], the smaller vocabulary, got {size}.")
    return logits[..., :size], teacher_logits[..., :size]
