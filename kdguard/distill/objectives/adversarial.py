"""Generative adversarial distillation: with text alone, a discriminator stands in for the missing probabilities.

The discriminator learns to score the teacher's response above the student's to the same prompt; its score of a
student's response is the reward of a policy gradient. It must go on learning with the student, or the student learns to
please an old judge.

References:
    Ye et al. (2025), Black-Box On-Policy Distillation of Large Language Models, arXiv 2511.10643.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive, check_same_shape
from kdguard.distill.objectives.logspace import widened
from kdguard.errors import InputError

# Beyond 20 nats a ratio is held still, so that its exponential, and the gradient of that, stay finite.
_FARTHEST = 20.0


def discriminator_loss(teacher_scores: Tensor, student_scores: Tensor) -> Tensor:
    """Bradley-Terry loss of the discriminator: -log sigmoid(D(teacher's) - D(student's)).

    Args:
        teacher_scores: Scores of the teacher's responses, shape (b,).
        student_scores: Scores of the student's responses to the same prompts, shape (b,).

    Returns:
        Shape (b,), nats; log 2 where it cannot tell them apart. Adding a constant to all scores changes nothing.

    References:
        Ye et al. (2025), eq. 3.
    """
    check_same_shape(teacher_scores=teacher_scores, student_scores=student_scores)
    return torch.nn.functional.softplus(widened(student_scores) - widened(teacher_scores))


def group_advantages(rewards: Tensor) -> Tensor:
    """Rewards of one prompt's responses against their own mean, in their own standard deviations.

    Args:
        rewards: Discriminator's scores of g responses to each of b prompts, shape (b, g), g at least 2.

    Returns:
        Shape (b, g), no unit, without gradient; 0 for a prompt whose responses all score the same.

    Raises:
        InputError: a group of one, which has no mean to compare with.

    References:
        Ye et al. (2025), eq. 2 (the score as reward); Shao et al. (2024), DeepSeekMath, arXiv 2402.03300
        (group relative advantages).
    """
    if rewards.shape[-1] < 2:
        raise InputError(f"Advantages need at least 2 responses to a prompt, got {rewards.shape[-1]}.")
    wide = widened(rewards.detach())
    centred = wide - wide.mean(dim=-1, keepdim=True)
    deviation = centred.square().mean(dim=-1, keepdim=True).sqrt()
    return centred / (deviation + 1e-6)


def policy_gradient(
    logprobs: Tensor, advantages: Tensor, old_logprobs: Tensor | None = None, clip: float = 0.2
) -> Tensor:
    """Loss whose gradient raises tokens of good responses and lowers those of bad ones, clipped as in PPO.

    Args:
        logprobs: Student's log-probability of each token it wrote, shape (n,), nats.
        advantages: Advantage of the response the token belongs to, shape (n,).
        old_logprobs: Log-probabilities when the text was written, shape (n,); by default now, so that the ratio is 1
            and the gradient is the plain one, -advantage * grad log q.
        clip: Above 0; ratios beyond 1 +- clip gain nothing more.

    Returns:
        Shape (n,), no unit; only its gradient means something. Minimised.

    References:
        Ye et al. (2025), eq. 2, by Schulman et al. (2017), PPO, arXiv 1707.06347 (clipped objective).
    """
    check_positive("clip", clip)
    old = logprobs.detach() if old_logprobs is None else old_logprobs.detach()
    check_same_shape(logprobs=logprobs, advantages=advantages, old_logprobs=old)
    ratio = (widened(logprobs) - widened(old)).clamp(-_FARTHEST, _FARTHEST).exp()
    gain = advantages.detach()
    return -torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)


def reference_penalty(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Estimate of KL(student || reference) from the student's own tokens: r - log r - 1 with r = reference / student.

    Args:
        logprobs: Student's log-probability of each token it wrote, shape (n,), nats.
        reference_logprobs: Reference's, usually the student after its warm-up on the teacher's text, shape (n,).

    Returns:
        Shape (n,), nats, at least 0; its mean over the student's tokens is the KL.

    References:
        Shao et al. (2024), DeepSeekMath, arXiv 2402.03300.
    """
    check_same_shape(logprobs=logprobs, reference_logprobs=reference_logprobs)
    log_ratio = (widened(reference_logprobs).detach() - widened(logprobs)).clamp_max(_FARTHEST)
    return torch.expm1(log_ratio) - log_ratio
