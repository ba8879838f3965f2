"""Looking inside a teacher that the user declared to own: hidden states, attention, embeddings and relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdguard.distill.objectives import cross_entropy
from kdguard.distill.objectives.registry import objective as registered
from kdguard.distill.objectives.vocabulary import shared_vocabulary
from kdguard.distill.procedures.beside import TeacherModel, options_of
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    Taught,
    about,
    at_places,
    taught,
    weighted,
)
from kdguard.distill.procedures.text import document_batches
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.distill.whitebox.layers import LayerMap, explicit_map, last_map, uniform_map
from kdguard.distill.whitebox.projections import Projections
from kdguard.distill.whitebox.tinybert import Internals
from kdguard.errors import TrainingError

ATTENTION = frozenset({"attention_mse", "attention_kl"})
RELATIONS = frozenset({"rkd_distance", "rkd_angle", "gram_similarity", "flow_gram"})
"""Losses of a whole batch: cutting it into micro-batches would change them."""

Soft = Callable[[Internals, Internals, Part, Taught], Tensor]


def inside(
    student: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    mix: Mix,
    plan: Plan,
    seed: int,
    consent: OwnerConsent | None,
    *,
    layer_map: str | Sequence[tuple[int, int]] = "uniform",
) -> Procedure:
    """Text, and one white-box objective of the registry over the mapped layers.

    Hidden states of different width meet through learnt projections, which are thrown away at the end. Relations are
    taken between whole texts, each the mean of its last hidden states.

    Args:
        student: A causal language model; for attention it must be loaded with eager attention.
        items: What to learn from.
        teacher: Owned, of the same tokenizer.
        mix: Weights, objective and its options.
        plan: For the size of batches; relations need whole batches.
        seed: Of order and projections.
        consent: Declaration of owning the teacher.
        layer_map: `uniform`, `last`, or pairs of student and teacher layers, counted from 1.

    Raises:
        OwnershipError: No consent, or one for another teacher.
        TrainingError: Relations with micro-batches, or widths that an objective cannot take.
    """
    consent = checked(consent, mix.objective, teacher)
    if mix.objective in RELATIONS and plan.micro_batches > 1:
        raise TrainingError(
            f"'{mix.objective}' relates the texts of a batch: leave out micro_rows, got {plan.micro_rows}"
        )
    mapping = layers_of(student, teacher, layer_map)
    modules, project = projections_of(student, teacher, len(mapping.pairs), seed, mix.objective)
    soft = _soft(mix, mapping, project, consent)
    reads = {"output_hidden_states": True, "output_attentions": mix.objective in ATTENTION}

    def losses(part: Part) -> Losses:
        where = taught(part.tensors)
        mine, theirs = both(student, teacher, part.tensors["tokens"], reads)
        assert mine.logits is not None
        text = cross_entropy(at_places(mine.logits, where.places), where.tokens)
        return Losses(
            mix.text * weighted(text, where.weights, part.count), mix.soft * soft(mine, theirs, part, where)
        )

    return Procedure(
        {"student": student} | modules,
        document_batches(student, items, plan, seed),
        losses,
        described=described("inside", items, mix, teacher, mapping, consent),
    )


def both(
    student: Any, teacher: TeacherModel, tokens: Tensor, reads: Mapping[str, bool]
) -> tuple[Internals, Internals]:
    """Internals of student and teacher on the same tokens; the teacher's are fixed."""
    mine = student(input_ids=tokens, **reads)
    with torch.no_grad():
        theirs = teacher.model(input_ids=tokens, **reads)
    logits, teacher_logits = shared_vocabulary(mine.logits, theirs.logits)
    return (
        Internals(hidden=mine.hidden_states or (), attention=mine.attentions or (), logits=logits),
        Internals(
            hidden=theirs.hidden_states or (), attention=theirs.attentions or (), logits=teacher_logits
        ),
    )


def checked(consent: OwnerConsent | None, objective: str, teacher: TeacherModel) -> OwnerConsent:
    """The consent, if it covers the teacher.

    Raises:
        OwnershipError: It does not.
    """
    require_consent(consent, objective)
    assert consent is not None
    consent.covers(teacher.name)
    return consent


def layers_of(student: Any, teacher: TeacherModel, layer_map: str | Sequence[tuple[int, int]]) -> LayerMap:
    """The map that a recipe names.

    Raises:
        InputError: It does not fit the two.
    """
    depths = int(student.config.num_hidden_layers), int(teacher.model.config.num_hidden_layers)
    if layer_map == "uniform":
        return uniform_map(*depths)
    if layer_map == "last":
        return last_map(*depths)
    if isinstance(layer_map, str):
        raise TrainingError(f"'layer_map' must be 'uniform', 'last' or pairs of layers, got '{layer_map}'")
    return explicit_map(*depths, layer_map)


def projections_of(
    student: Any, teacher: TeacherModel, layers: int, seed: int, objective: str
) -> tuple[dict[str, nn.Module], Projections | None]:
    """Learnt projections where widths differ and the objective compares states; they are trained beside the student."""
    widths = int(student.config.hidden_size), int(teacher.model.config.hidden_size)
    if widths[0] == widths[1] or objective in RELATIONS | ATTENTION:
        return {}, None
    if objective == "distilbert_triple":
        raise TrainingError(
            f"'distilbert_triple' needs a student as wide as its teacher, got {widths[0]} and {widths[1]}"
        )
    made = Projections(*widths, layers, torch.Generator().manual_seed(seed))
    made.to(next(student.parameters()).device)
    return {"projections": made}, made


def _soft(mix: Mix, mapping: LayerMap, project: Projections | None, consent: OwnerConsent) -> Soft:
    """The white-box loss of a part, divided by the batch's count."""
    name, options = mix.objective, options_of(mix) | {"owner_consent": consent}
    function = registered(name).function

    def matrix(place: int) -> dict[str, Tensor]:
        return {} if project is None else {"projection": project.of(place)}

    def states(mine: Internals, theirs: Internals, part: Part, where: Taught) -> Tensor:
        found = [
            function(
                at_places(mine.hidden[left], where.places),
                at_places(theirs.hidden[right], where.places),
                **matrix(place),
                **options,
            )
            for place, (left, right) in enumerate(_pairs(name, mapping))
        ]
        return weighted(torch.stack(found).mean(0), where.weights, part.count)

    def attention(mine: Internals, theirs: Internals, part: Part, where: Taught) -> Tensor:
        found = [
            function(mine.attention[left - 1], theirs.attention[right - 1], **options)
            for left, right in mapping.pairs
        ]
        lost = torch.stack(found).mean(0).flatten()[where.places]
        return weighted(lost, where.weights, part.count)

    def triple(mine: Internals, theirs: Internals, part: Part, where: Taught) -> Tensor:
        assert mine.logits is not None
        assert theirs.logits is not None
        found = function(
            at_places(mine.logits, where.places),
            at_places(theirs.logits, where.places),
            where.tokens,
            at_places(mine.hidden[-1], where.places),
            at_places(theirs.hidden[-1], where.places),
            **options,
        )
        return weighted(found, where.weights, part.count)

    def relations(mine: Internals, theirs: Internals, part: Part, where: Taught) -> Tensor:
        left, right = mapping.pairs[-1]
        return function(_means(mine.hidden[left], part), _means(theirs.hidden[right], part), **options)

    def flow(mine: Internals, theirs: Internals, part: Part, where: Taught) -> Tensor:
        (lower, lower_there), (upper, upper_there) = (0, 0), mapping.pairs[-1]
        layers = (
            mine.hidden[lower],
            mine.hidden[upper],
            theirs.hidden[lower_there],
            theirs.hidden[upper_there],
        )
        return function(*(at_places(states, where.places) for states in layers), **options)

    if name == "flow_gram":
        return flow
    if name == "distilbert_triple":
        return triple
    return attention if name in ATTENTION else relations if name in RELATIONS else states


def _pairs(name: str, mapping: LayerMap) -> Sequence[tuple[int, int]]:
    """Layers to compare, the embeddings (0) first; the place in the list is that of the projection."""
    if name == "embedding_mse":
        return ((0, 0),)
    return ((0, 0), *mapping.pairs)


def _means(hidden: Tensor, part: Part) -> Tensor:
    """Mean state of each text over its taught tokens: (b, d)."""
    weight = (part.tensors["weights"] > 0).to(hidden.dtype).unsqueeze(-1)
    return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)


def described(
    family: str,
    items: Sequence[Item],
    mix: Mix,
    teacher: TeacherModel,
    mapping: LayerMap,
    consent: OwnerConsent,
) -> dict[str, Any]:
    """What the digest of a white-box run rests on; the declaration is part of it."""
    told = {"teacher": teacher.digest or teacher.name, "layers": mapping.pairs}
    return about(family, items, mix, ownership=consent.as_manifest(), **told)
