"""Generative adversarial distillation (GAD): text alone, and a discriminator in place of the teacher's probabilities.

First both warm up: the student on the teacher's text, the discriminator on telling the two apart. Then the student's
answers earn what the discriminator thinks of them, while the discriminator goes on learning.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdguard.distill.objectives import (
    cross_entropy,
    discriminator_loss,
    group_advantages,
    policy_gradient,
    reference_penalty,
)
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    about,
    at_places,
    cut,
    dose_of,
    padded,
    rows_of_step,
    taught,
    weighted,
)
from kdguard.distill.procedures.self_taught import frozen
from kdguard.distill.procedures.writing import Writer, prompt_of, seed_at, with_answer
from kdguard.distill.students.data import Document
from kdguard.distill.students.plan import Mix, Plan
from kdguard.errors import TrainingError


class Discriminator(nn.Module):
    """Scores a whole text: a body like the student's and one number read at the last token.

    Args:
        student: Whose body is copied.
        seed: Of the reading weights.
    """

    def __init__(self, student: Any, seed: int) -> None:
        super().__init__()
        self.body = copy.deepcopy(student.base_model)
        width = int(student.config.hidden_size)
        generator = torch.Generator().manual_seed(seed)
        self.reading = nn.Parameter(torch.randn(width, generator=generator) / width**0.5)
        self.to(next(student.parameters()).device)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Scores of padded rows (b, t) whose lengths are given, (b,)."""
        hidden = self.body(input_ids=tokens).last_hidden_state
        last = hidden[torch.arange(len(tokens), device=tokens.device), lengths - 1]
        scores: Tensor = last.float() @ self.reading
        return scores


def adversarial(
    student: Any,
    items: Sequence[Item],
    writer: Writer,
    mix: Mix,
    plan: Plan,
    seed: int,
    *,
    group: int = 4,
    warm_up: float = 0.5,
    penalty: float = 0.01,
) -> Procedure:
    """GAD on prompts and the teacher's answers to them.

    Args:
        student: A causal language model.
        items: Prompts with the teacher's answers; all leave room to write.
        writer: The student's.
        mix: `text` weighs cross-entropy on the teacher's answers, in the warm-up at least 1; `soft` the reward.
        plan: For steps and the size of batches.
        seed: Of order and draws.
        group: Answers a prompt, at least 2.
        warm_up: Share of the steps, in [0, 1].
        penalty: Weight of the divergence from the student as it was when the warm-up ended.

    References:
        Ye et al. (2025), Black-Box On-Policy Distillation of Large Language Models, arXiv 2511.10643.
    """
    if group < 2 or not 0 <= warm_up <= 1:
        raise TrainingError(f"'group' must be at least 2 and 'warm_up' in [0, 1], got {group} and {warm_up}")
    device = next(student.parameters()).device
    judge, reference = Discriminator(student, seed), frozen(student)
    warm_steps = round(warm_up * plan.steps)

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(items, plan, seed, step)
        prompts = [prompt_of(items[row]) for row in rows for _ in range(group)]
        written = writer.write(prompts, seed_at(seed, step))
        return _parts(items, rows, written, group, plan, device, warm=step < warm_steps)

    def losses(part: Part) -> Losses:
        tensors = part.tensors
        count = float(tensors["prompts"])
        theirs = judge(tensors["tokens"], tensors["lengths"]).repeat_interleave(group)
        mine = judge(tensors["own_tokens"], tensors["own_lengths"])
        told = discriminator_loss(theirs, mine).sum() / (count * group)
        warm = bool(tensors["warm"])
        text_weight = max(mix.text, 1.0) if warm else mix.text
        text = text_weight * _text(student, part) if text_weight else told.new_zeros(())
        reward = told.new_zeros(())
        if not warm:
            reward = mix.soft * _policy(student, reference, part, mine.detach().view(-1, group), penalty)
        return Losses(text, told + reward)

    @torch.no_grad()
    def remember(done: int) -> None:
        if done == warm_steps:
            for mine, theirs in zip(reference.parameters(), student.parameters(), strict=True):
                mine.copy_(theirs)

    described = about("adversarial", items, mix, group=group, warm_up=warm_up, penalty=penalty)
    described |= {"max_tokens": writer.max_tokens, "heat": writer.temperature}
    return Procedure(
        {"student": student, "discriminator": judge},
        parts,
        losses,
        remember,
        {f"reference.{name}": value for name, value in reference.named_parameters()},
        described,
    )


def _parts(
    items: Sequence[Item],
    rows: list[int],
    written: Sequence[Sequence[int]],
    group: int,
    plan: Plan,
    device: torch.device,
    *,
    warm: bool,
) -> list[Part]:
    own = [
        with_answer(items[row], prompt_of(items[row]), written[place * group + choice] or [0], "student")
        for place, row in enumerate(rows)
        for choice in range(group)
    ]
    total = float(sum(items[row].document.weights[1:].sum() for row in rows))
    own_total = float(sum(document.weights[1:].sum() for document in own))
    made = []
    for places in cut(range(len(rows)), plan):
        theirs = [items[rows[place]].document for place in places]
        mine = [own[place * group + choice] for place in places for choice in range(group)]
        tensors = padded(theirs, device) | {"lengths": _lengths(theirs, device)}
        tensors |= {f"own_{name}": value for name, value in padded(mine, device).items()}
        tensors |= {"own_lengths": _lengths(mine, device), "own_count": torch.tensor(own_total)}
        tensors |= {"prompts": torch.tensor(float(len(rows))), "warm": torch.tensor(warm)}
        made.append(Part(tensors, tuple(rows[place] for place in places), total, dose_of(theirs)))
    return made


def _lengths(documents: Sequence[Document], device: torch.device) -> Tensor:
    return torch.tensor([len(document.tokens) for document in documents], device=device)


def _text(student: Any, part: Part) -> Tensor:
    where = taught(part.tensors)
    mine = at_places(student(input_ids=part.tensors["tokens"]).logits, where.places)
    return weighted(cross_entropy(mine, where.tokens), where.weights, part.count)


def _policy(student: Any, reference: Any, part: Part, scores: Tensor, penalty: float) -> Tensor:
    """Policy gradient on the student's own answers, and the penalty for leaving the reference."""
    own = {name: part.tensors[f"own_{name}"] for name in ("tokens", "weights")}
    where = taught(own)
    gain = group_advantages(scores).flatten()[where.places // own["tokens"].shape[1]]
    mine = -cross_entropy(at_places(student(input_ids=own["tokens"]).logits, where.places), where.tokens)
    with torch.no_grad():
        before = -cross_entropy(
            at_places(reference(input_ids=own["tokens"]).logits, where.places), where.tokens
        )
    found = policy_gradient(mine, gain) + penalty * reference_penalty(mine, before)
    return found.sum() / float(part.tensors["own_count"])
