"""Every objective by name: what it needs, what the teacher must reveal for it, and where it comes from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from kdguard.distill import objectives as o
from kdguard.distill.whitebox import attention, features, relations, triple
from kdguard.errors import InputError

Access = Literal["text", "labels", "top_logprobs", "samples", "logits", "preferences", "internals", "nothing"]
Shape = Literal["position", "peer_position", "query", "sequence", "batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective that a recipe may name.

    Attributes:
        name: As recipes and manifests write it.
        function: Called as function(student's tensor, *needs in this order, **options).
        source: Paper it comes from.
        needs: Names of the target columns, which are the function's parameters after the first.
        access: Least that the teacher must reveal: "nothing" means that there is no teacher.
        shape: What one loss belongs to; "batch" is one number, which micro-batches change.
        white_box: Whether it looks inside the teacher and takes `owner_consent`.
    """

    name: str
    function: Callable[..., Tensor]
    source: str
    needs: tuple[str, ...]
    access: Access
    shape: Shape = "position"
    white_box: bool = False

    @property
    def student_input(self) -> str:
        """Name of the function's first parameter, what the student gives: "logits" for most."""
        return next(iter(inspect.signature(self.function).parameters))

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the function's further parameters, which a recipe may set; consent is none of them."""
        names = tuple(inspect.signature(self.function).parameters)[1 + len(self.needs) :]
        return tuple(name for name in names if name != "owner_consent")


def objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        InputError: no such objective.
    """
    if name not in OBJECTIVES:
        raise InputError(f"There is no objective {name!r}. Known: {', '.join(OBJECTIVES)}.")
    return OBJECTIVES[name]


_TEACHER = ("teacher_logits",)
_TOP = ("top_ids", "top_logprobs")
_PAIR = ("rejected_logprob", "reference_chosen", "reference_rejected")


def _open(
    name: str,
    function: Callable[..., Tensor],
    needs: tuple[str, ...],
    access: Access,
    source: str,
    shape: Shape = "position",
) -> Objective:
    return Objective(name=name, function=function, source=source, needs=needs, access=access, shape=shape)


def _inside(
    function: Callable[..., Tensor], needs: tuple[str, ...], source: str, shape: Shape = "position"
) -> Objective:
    return Objective(
        name=function.__name__,
        function=function,
        source=source,
        needs=needs,
        access="internals",
        shape=shape,
        white_box=True,
    )


_ALL = (
    _open("cross_entropy", o.cross_entropy, ("target_ids",), "text", "Kim and Rush 2016"),
    _open("step_by_step", o.step_by_step, ("target_ids", "is_rationale"), "text", "Hsieh 2023"),
    _open("hinton", o.hinton, (*_TEACHER, "target_ids"), "logits", "Hinton 2015"),
    _open("forward_kl", o.forward_kl, _TEACHER, "logits", "Hinton 2015"),
    _open("reverse_kl", o.reverse_kl, _TEACHER, "logits", "Gu 2024"),
    _open("jensen_shannon", o.jensen_shannon, _TEACHER, "logits", "Agarwal 2024"),
    _open("skewed_kl", o.skewed_kl, _TEACHER, "logits", "Ko 2024"),
    _open("skewed_reverse_kl", o.skewed_reverse_kl, _TEACHER, "logits", "Ko 2024"),
    _open("adaptive_kl", o.adaptive_kl, _TEACHER, "logits", "Wu 2024"),
    _open("total_variation", o.total_variation, _TEACHER, "logits", "Wen 2023"),
    _open("topk_tail_kl", o.topk_tail_kl, (*_TOP, "tail_mass"), "top_logprobs", "tail bucket"),
    _open("topk_uniform_kl", o.topk_uniform_kl, (*_TOP, "tail_mass"), "top_logprobs", "even tail"),
    _open("topk_renormalised_kl", o.topk_renormalised_kl, _TOP, "top_logprobs", "no tail"),
    _open("sampled_kl", o.sampled_kl, ("sampled_ids", "counts"), "samples", "Anshumann 2025"),
    _open("ranking_hinge", o.ranking_hinge, _TOP, "top_logprobs", "Herbrich 2000"),
    _open("ranking_logistic", o.ranking_logistic, _TOP, "top_logprobs", "Burges 2005"),
    _open("ranking_listwise", o.ranking_listwise, _TOP, "top_logprobs", "Xia 2008"),
    _open("hard_label", o.hard_label, ("labels",), "labels", "Orekondy 2019"),
    _open("soft_label", o.soft_label, ("label_probs",), "labels", "Tramer 2016"),
    _open("dpo", o.dpo, _PAIR, "preferences", "Rafailov 2023", "sequence"),
    _open("ipo", o.ipo, _PAIR, "preferences", "Azar 2024", "sequence"),
    _open("uld", o.uld, _TEACHER, "logits", "Boizard 2024"),
    _open("uld_topk", o.uld_topk, ("top_logprobs",), "top_logprobs", "Boizard 2024"),
    _open(
        "overlap_kl", o.overlap_kl, (*_TEACHER, "student_ids", "teacher_ids"), "logits", "shared vocabulary"
    ),
    _open("multi_teacher_kl", o.multi_teacher_kl, (*_TEACHER, "weights"), "logits", "You 2017"),
    _open("born_again", o.born_again, (*_TEACHER, "target_ids"), "nothing", "Furlanello 2018"),
    _open("prompt_distillation", o.prompt_distillation, _TEACHER, "nothing", "Kujanpaa 2025"),
    _open("mutual", o.mutual, ("target_ids",), "nothing", "Zhang 2018", "peer_position"),
    _open("gkd", o.gkd, _TEACHER, "logits", "Agarwal 2024"),
    _open("discriminator_loss", o.discriminator_loss, ("student_scores",), "text", "Ye 2025", "sequence"),
    _open("policy_gradient", o.policy_gradient, ("advantages",), "text", "Ye 2025"),
    _inside(features.hidden_mse, ("teacher_hidden",), "Jiao 2020"),
    _inside(features.hidden_cosine, ("teacher_hidden",), "Sanh 2019"),
    _inside(features.embedding_mse, ("teacher_embeddings",), "Jiao 2020"),
    _inside(attention.attention_mse, ("teacher_attention",), "Jiao 2020", "query"),
    _inside(attention.attention_kl, ("teacher_attention",), "Wang 2020", "query"),
    _inside(relations.rkd_distance, ("teacher_embeddings",), "Park 2019", "batch"),
    _inside(relations.rkd_angle, ("teacher_embeddings",), "Park 2019", "batch"),
    _inside(relations.gram_similarity, ("teacher_embeddings",), "Tung and Mori 2019", "batch"),
    _inside(relations.flow_gram, ("upper", "teacher_lower", "teacher_upper"), "Yim 2017", "batch"),
    _inside(
        triple.distilbert_triple, ("teacher_logits", "target_ids", "hidden", "teacher_hidden"), "Sanh 2019"
    ),
)

OBJECTIVES: Mapping[str, Objective] = MappingProxyType({each.name: each for each in _ALL})
"""Objectives by name, in the order of the files. TinyBERT's stages work on whole models: see `whitebox.tinybert`."""
