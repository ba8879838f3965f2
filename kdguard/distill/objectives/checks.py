"""Checks of arguments that every objective shares; shapes and plain numbers only, so nothing waits for a device."""

from __future__ import annotations

from torch import Tensor

from kdguard.errors import InputError


def check_positive(name: str, value: float) -> None:
    """Raise InputError unless `value` is above zero."""
    if not value > 0:
        raise InputError(f"{name!r} must be above 0, got {value}.")


def check_share(name: str, value: float) -> None:
    """Raise InputError unless `value` lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise InputError(f"{name!r} must lie in [0, 1], got {value}.")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise InputError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(f"{name!r} must be one of {', '.join(allowed)}, got {value!r}.")


def check_same_shape(**tensors: Tensor) -> None:
    """Raise InputError unless all tensors have one shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"These must have one shape: {told}.")


def check_one_vocabulary(logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise InputError unless student and teacher logits have the same last axis."""
    mine, theirs = logits.shape[-1], teacher_logits.shape[-1]
    if mine != theirs:
        raise InputError(
            f"Student and teacher logits must cover one vocabulary, got {mine} and {theirs} entries. "
            "If the longer one only pads the same tokenizer, cut both with shared_vocabulary(); "
            "if the tokenizers differ, use uld() or overlap_kl()."
        )
