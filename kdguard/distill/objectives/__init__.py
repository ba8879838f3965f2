"""Objectives of distillation: pure functions on tensors, one family a file; `registry` names them all.

Losses of positions come back position by position, in nats, at least float32, without masking or reduction: the caller
selects the n supervised positions beforehand and divides the sum by the count of the whole optimiser batch
(`reduction.mean_loss`).
"""

from kdguard.distill.objectives.adversarial import (
    discriminator_loss,
    group_advantages,
    policy_gradient,
    reference_penalty,
)
from kdguard.distill.objectives.alignment import shared_positions, shared_tokens
from kdguard.distill.objectives.cross_tokenizer import overlap_kl, uld, uld_topk
from kdguard.distill.objectives.divergence import (
    forward_kl,
    jensen_shannon,
    reverse_kl,
    total_variation,
)
from kdguard.distill.objectives.hinton import hinton, standardised
from kdguard.distill.objectives.labels import hard_label, soft_label
from kdguard.distill.objectives.masks import reasoning_mask, refusal_mask, tool_use_mask
from kdguard.distill.objectives.multi_teacher import (
    domain_weights,
    gated_weights,
    mean_weights,
    mixed_teacher,
    multi_teacher_kl,
)
from kdguard.distill.objectives.mutual import mutual
from kdguard.distill.objectives.on_policy import gkd, student_writes
from kdguard.distill.objectives.preference import dpo, ipo, preference_margin, sequence_logprob
from kdguard.distill.objectives.prompt_distillation import PromptPair, prompt_distillation, prompt_pair
from kdguard.distill.objectives.ranking import (
    listwise,
    pairwise_hinge,
    pairwise_logistic,
    ranking_hinge,
    ranking_listwise,
    ranking_logistic,
)
from kdguard.distill.objectives.reduction import mean_loss
from kdguard.distill.objectives.sampled import draw_soft_labels, sampled_kl
from kdguard.distill.objectives.self_distillation import born_again, ema_update
from kdguard.distill.objectives.skewed import adaptive_kl, skewed_kl, skewed_reverse_kl
from kdguard.distill.objectives.spans import positions_between, positions_in_spans, predicting_positions
from kdguard.distill.objectives.speculative import interleave, interleave_block, propose
from kdguard.distill.objectives.steps import step_by_step
from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.objectives.topk import TopK, topk_of, topk_renormalised_kl, topk_tail_kl, topk_uniform_kl
from kdguard.distill.objectives.vocabulary import shared_vocabulary

__all__ = [
    "PromptPair",
    "TopK",
    "adaptive_kl",
    "born_again",
    "cross_entropy",
    "discriminator_loss",
    "domain_weights",
    "dpo",
    "draw_soft_labels",
    "ema_update",
    "forward_kl",
    "gated_weights",
    "gkd",
    "group_advantages",
    "hard_label",
    "hinton",
    "interleave",
    "interleave_block",
    "ipo",
    "jensen_shannon",
    "listwise",
    "mean_loss",
    "mean_weights",
    "mixed_teacher",
    "multi_teacher_kl",
    "mutual",
    "overlap_kl",
    "pairwise_hinge",
    "pairwise_logistic",
    "policy_gradient",
    "positions_between",
    "positions_in_spans",
    "predicting_positions",
    "preference_margin",
    "prompt_distillation",
    "prompt_pair",
    "propose",
    "ranking_hinge",
    "ranking_listwise",
    "ranking_logistic",
    "reasoning_mask",
    "reference_penalty",
    "refusal_mask",
    "reverse_kl",
    "sampled_kl",
    "sequence_logprob",
    "shared_positions",
    "shared_tokens",
    "shared_vocabulary",
    "skewed_kl",
    "skewed_reverse_kl",
    "soft_label",
    "standardised",
    "step_by_step",
    "student_writes",
    "tool_use_mask",
    "topk_of",
    "topk_renormalised_kl",
    "topk_tail_kl",
    "topk_uniform_kl",
    "total_variation",
    "uld",
    "uld_topk",
]
