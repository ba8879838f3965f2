"""Sampled soft labels: a few draws from the teacher stand for its whole distribution, without bias."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive, check_same_shape
from kdguard.distill.objectives.logspace import log_probabilities, pick, widened
from kdguard.errors import InputError


def sampled_kl(logits: Tensor, sampled_ids: Tensor, counts: Tensor, temperature: float = 1.0) -> Tensor:
    """T squared times KL(p-hat || q), p-hat being the shares of the draws.

    p-hat has mean p, so the gradient T (q - p-hat) has the dense gradient T (q - p) as its mean over draws. The value
    does not have the dense KL as its mean: it is larger by H(p) minus the mean of H(p-hat), which is constant in the
    student.

    Args:
        logits: Student, shape (n, v).
        sampled_ids: Distinct ids drawn, shape (n, k); below 0 is padding.
        counts: How often each was drawn, shape (n, k), integers; or any weights >= 0 of mean proportional to p.
            A position whose counts are all 0 gives 0.
        temperature: T > 0 of both the draws and the student.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Anshumann et al. (2025), Sparse Logit Sampling, arXiv 2503.16870 (RS-KD). With draws made at the
        teacher's own temperature the importance weights are all 1 and counts suffice.
    """
    check_same_shape(sampled_ids=sampled_ids, counts=counts)
    log_q = log_probabilities(logits, temperature)
    weights = torch.where(sampled_ids >= 0, widened(counts).to(log_q.dtype), 0.0)
    share = weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(log_q.dtype).tiny)
    mine = pick(log_q, sampled_ids.clamp_min(0))
    return (torch.xlogy(share, share) - share * mine).sum(dim=-1) * temperature**2


def draw_soft_labels(
    teacher_logits: Tensor, draws: int, generator: torch.Generator, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Draw tokens from the teacher by systematic sampling and count them: each count is within 1 of draws times p.

    Args:
        teacher_logits: Shape (n, v).
        draws: Draws per position, at least 1.
        generator: Source of the draws, on the device of the logits.
        temperature: T > 0 at which to draw.

    Returns:
        Ids (n, k) int32, rising, padded with -1, and their counts (n, k) int32, padded with 0; k = min(draws, v).

    Raises:
        InputError: `draws` is below 1.

    References:
        Madow and Madow (1944), On the theory of systematic sampling, Annals of Mathematical Statistics 15.
    """
    check_positive("temperature", temperature)
    if draws < 1:
        raise InputError(f"'draws' must be at least 1, got {draws}.")
    width = min(draws, teacher_logits.shape[-1])
    cumulative = log_probabilities(teacher_logits, temperature).double().exp().cumsum(dim=-1)
    offset = torch.rand(len(cumulative), 1, generator=generator, device=cumulative.device, dtype=torch.double)
    whole = cumulative[:, -1:]
    points = (torch.arange(draws, device=cumulative.device) + offset) / draws * whole
    drawn = torch.searchsorted(
        cumulative, torch.minimum(points, whole.nextafter(torch.zeros_like(whole))), right=True
    )
    fresh = torch.ones_like(drawn, dtype=torch.bool)
    fresh[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    place = fresh.cumsum(dim=-1) - 1
    counts = torch.zeros_like(drawn).scatter_add(-1, place, torch.ones_like(drawn))
    ids = torch.full_like(drawn, -1).scatter(-1, place, drawn)
    return ids[:, :width].int(), counts[:, :width].int()
