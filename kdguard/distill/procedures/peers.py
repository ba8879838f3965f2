"""Online distillation: peers learn together, each from the text and from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kdguard.distill.objectives import cross_entropy, mutual
from kdguard.distill.procedures.part import Item, Losses, Part, Procedure, about, at_places, taught, weighted
from kdguard.distill.procedures.text import document_batches
from kdguard.distill.students.plan import Mix, Plan


def peers(models: Sequence[Any], items: Sequence[Item], mix: Mix, plan: Plan, seed: int) -> Procedure:
    """Mutual learning; the first peer is the student.

    Args:
        models: At least two causal language models of one vocabulary.
        items: What to learn from.
        mix: `soft` weighs the divergence to the other peers; text always has weight 1, as in the objective.
        plan: For the size of batches.
        seed: Of the order of the items.

    References:
        Zhang et al. (2018), Deep Mutual Learning, arXiv 1706.00384.
    """

    def losses(part: Part) -> Losses:
        tokens, where = part.tensors["tokens"], taught(part.tensors)
        logits = torch.stack([at_places(model(input_ids=tokens).logits, where.places) for model in models])
        total = mutual(logits, where.tokens, mix.temperature, mix.soft)
        text = cross_entropy(logits, where.tokens.expand(len(models), -1))
        whole = weighted(total, where.weights, part.count)
        alone = weighted(text, where.weights, part.count)
        return Losses(alone, whole - alone)

    names = {("student" if place == 0 else f"peer-{place}"): model for place, model in enumerate(models)}
    described = about("peers", items, mix, peers=len(models))
    return Procedure(names, document_batches(models[0], items, plan, seed), losses, described=described)
