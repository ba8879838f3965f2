"""Tiny models, a tokenizer and items, made by seed; and every family of training on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.procedures.adversarial import adversarial
from kdguard.distill.procedures.beside import TeacherModel, beside, several
from kdguard.distill.procedures.cross_tokenizer import across_tokenizers
from kdguard.distill.procedures.inside import inside
from kdguard.distill.procedures.labelled import labelled
from kdguard.distill.procedures.on_policy import on_policy, speculative
from kdguard.distill.procedures.part import Item, Procedure
from kdguard.distill.procedures.peers import peers
from kdguard.distill.procedures.preferences import preferences
from kdguard.distill.procedures.self_taught import internalise, moving_average
from kdguard.distill.procedures.text import text
from kdguard.distill.procedures.two_stages import two_stages
from kdguard.distill.procedures.writing import Writer
from kdguard.distill.recipes.models import Blank
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.students.shapes import Shape
from kdguard.distill.students.tokenizer import fitted_vocab, train_tokenizer
from kdguard.distill.whitebox.consent import OwnerConsent

OWNER = OwnerConsent(teacher="teacher", owner="the test")
PLAN = Plan(steps=4, rows=4, report_every=1, warmup=0.0)
SEED = 3


@lru_cache(maxsize=4)
def tokenizer(vocab: int = 350) -> Any:
    found = examples(world_of("aurora"), 60, seed=0, kinds=("intents",))
    return train_tokenizer([part for one in found for part in (one.prompt, one.response)], vocab)


@lru_cache(maxsize=1)
def items() -> tuple[Item, ...]:
    """Twelve short questions with label, answer and an answer of another world."""
    found = examples(world_of("aurora"), 12, seed=1, kinds=("intents",))
    liked = documents_of_pairs(
        [Pair(ask(one.prompt), one.label or "", "teacher") for one in found], tokenizer()
    )
    disliked = documents_of_pairs([Pair(ask(one.prompt), "no", "teacher") for one in found], tokenizer())
    return tuple(
        Item(
            document,
            domain=("even", "odd")[place % 2],
            turns=ask(one.prompt),
            answer=one.label,
            label=one.label,
            rejected=other,
        )
        for place, (one, document, other) in enumerate(zip(found, liked, disliked, strict=True))
    )


def model(seed: int = 0, *, hidden: int = 16, vocab: int = 350, eager: bool = False, layers: int = 2) -> Any:
    mine = tokenizer(vocab)
    shape = Shape(hidden=hidden, layers=layers, heads=2, vocab=fitted_vocab(mine), context=96)
    return Blank(mine, shape, seed).model(device="cpu", eager=eager)


def teacher(seed: int = 9, name: str = "teacher", domains: tuple[str, ...] = (), **how: Any) -> TeacherModel:
    held = model(seed, **how).requires_grad_(False)
    return TeacherModel(name, held, tokenizer(how.get("vocab", 350)), domains=domains)


def writer(student: Any, temperature: float = 1.0, max_tokens: int = 6) -> Writer:
    return Writer(student, tokenizer(), length=96, max_tokens=max_tokens, temperature=temperature)


def mixed(name: str, text_weight: float = 0.0, **options: Any) -> Mix:
    return Mix(text=text_weight, soft=1.0, objective=name, options=options)


Build = Callable[[Plan], Procedure]


def _relations(plan: Plan) -> Procedure:
    return inside(model(hidden=32), items(), teacher(), mixed("rkd_distance", 0.5), plan, SEED, OWNER)


def _born_of(name: str) -> Build:
    return lambda plan: beside(model(), items(), teacher(), mixed(name, 0.5), plan, SEED)


def _writing(way: Callable[..., Procedure], name: str) -> Build:
    def build(plan: Plan) -> Procedure:
        student = model()
        return way(student, items(), teacher(), writer(student), mixed(name, 0.5), plan, SEED)

    return build


def _adversarial(plan: Plan) -> Procedure:
    student = model()
    return adversarial(student, items(), writer(student), mixed("gad"), plan, SEED, group=2)


def _seen(name: str, **how: Any) -> Build:
    return lambda plan: inside(
        model(eager=True, **how), items(), teacher(eager=True), mixed(name, 0.5), plan, SEED, OWNER
    )


FAMILIES: dict[str, Build] = {
    "text": lambda plan: text(model(), items(), plan, SEED),
    "forward_kl": _born_of("forward_kl"),
    "several": lambda plan: several(
        model(),
        items(),
        [teacher(), teacher(8, "second")],
        mixed("multi_teacher_kl", 0.5),
        plan,
        SEED,
        "gated",
    ),
    "moving_average": lambda plan: moving_average(
        model(), items(), mixed("forward_kl", 0.5), plan, SEED, 0.5
    ),
    "internalise": lambda plan: internalise(
        model(), tokenizer(), items(), "play music", mixed("prompt_distillation"), plan, SEED
    ),
    "peers": lambda plan: peers([model(), model(1)], items(), mixed("mutual"), plan, SEED),
    "on_policy": _writing(on_policy, "gkd"),
    "speculative": _writing(speculative, "gkd"),
    "adversarial": _adversarial,
    "preferences": lambda plan: preferences(model(), items(), mixed("dpo", 0.5), plan, SEED),
    "labelled": lambda plan: labelled(model(), tokenizer(), items(), mixed("hard_label"), plan, SEED),
    "across_tokenizers": lambda plan: across_tokenizers(
        model(vocab=350), tokenizer(350), items(), teacher(vocab=400), mixed("uld", 0.5), plan, SEED
    ),
    "hidden": _seen("hidden_mse", hidden=32),
    "attention": _seen("attention_kl", hidden=32),
    "triple": _seen("distilbert_triple"),
    "relations": _relations,
    "two_stages": lambda plan: two_stages(
        model(eager=True), items(), teacher(eager=True, layers=4), mixed("tinybert"), plan, SEED, OWNER
    ),
}
WHOLE = frozenset({"relations"})
"""Families whose batches cannot be cut."""


def gradient(build: Build, plan: Plan, step: int = 0) -> torch.Tensor:
    """Gradient of one optimiser step, all modules after one another."""
    procedure = build(plan)
    for part in procedure.parts(step):
        losses = procedure.losses(part)
        (losses.text + losses.soft).backward()  # type: ignore[no-untyped-call]
    grads = [
        weight.grad.flatten()
        for module in procedure.modules.values()
        for weight in module.parameters()
        if weight.grad is not None
    ]
    return torch.cat(grads)
