"""TinyBERT: layer by layer in general and on the task, then the task's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdguard.distill.objectives.checks import check_choice
from kdguard.distill.objectives.divergence import forward_kl
from kdguard.distill.whitebox.attention import attention_mse
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.distill.whitebox.features import embedding_mse, hidden_mse
from kdguard.distill.whitebox.layers import LayerMap
from kdguard.distill.whitebox.projections import Projections
from kdguard.errors import InputError

STAGES = ("general", "task_intermediate", "task_prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Internals:
    """What one forward pass of a model leaves behind.

    Attributes:
        hidden: Embeddings, then the output of each of L layers: L + 1 tensors of shape (b, t, d).
        attention: Attention scores (or probabilities) of each layer: L tensors of shape (b, h, t, t).
        logits: Shape (b, t, v) or (b, c); only the last stage reads them.
    """

    hidden: Sequence[Tensor]
    attention: Sequence[Tensor]
    logits: Tensor | None = None


def tinybert(
    stage: str,
    student: Internals,
    teacher: Internals,
    layer_map: LayerMap,
    projections: Projections | None = None,
    key_mask: Tensor | None = None,
    temperature: float = 1.0,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Loss of one stage of TinyBERT.

    Stage one ("general") matches layers of a pre-trained teacher on general text. Stage two does it again with the
    teacher fine-tuned on a task ("task_intermediate"), then matches predictions ("task_prediction").

    Args:
        stage: One of `STAGES`. The first two differ in teacher and data only.
        student: The student's internals.
        teacher: The teacher's, on the same tokens; fixed.
        layer_map: Which layers are matched.
        projections: Learnt maps, needed when widths differ.
        key_mask: Which keys a query sees, broadcastable to (b, h, t, t).
        temperature: T > 0 of the predictions; the paper uses 1.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Loss of each position, shape (b, t); of each example, (b,), for predictions of shape (b, c).

    Raises:
        OwnershipError: no consent.
        InputError: unknown stage, or a number of layers other than the map's.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351, with all weights 1. The predictions'
        cross-entropy is taken as KL times T squared: the same gradient at T = 1.
    """
    require_consent(owner_consent, "tinybert")
    check_choice("stage", stage, STAGES)
    if stage == "task_prediction":
        return prediction_loss(student, teacher, temperature, owner_consent=owner_consent)
    return layer_loss(student, teacher, layer_map, projections, key_mask, owner_consent=owner_consent)


def layer_loss(
    student: Internals,
    teacher: Internals,
    layer_map: LayerMap,
    projections: Projections | None = None,
    key_mask: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Embeddings, hidden states and attention of the mapped layers: the sum of the three losses, shape (b, t)."""
    require_consent(owner_consent, "layer_loss")
    _check_depth("student", student, layer_map.student_layers)
    _check_depth("teacher", teacher, layer_map.teacher_layers)
    matrix = projections.of(0) if projections else None
    loss = embedding_mse(student.hidden[0], teacher.hidden[0], matrix, owner_consent=owner_consent)
    for place, (mine, theirs) in enumerate(layer_map.pairs, start=1):
        matrix = projections.of(place) if projections else None
        states = hidden_mse(student.hidden[mine], teacher.hidden[theirs], matrix, owner_consent=owner_consent)
        maps = attention_mse(
            student.attention[mine - 1], teacher.attention[theirs - 1], key_mask, owner_consent=owner_consent
        )
        loss = loss + states + maps
    return loss


def prediction_loss(
    student: Internals, teacher: Internals, temperature: float = 1.0, *, owner_consent: OwnerConsent | None
) -> Tensor:
    """Soft targets of the prediction layer: T squared KL(p_T || q_T), one value per row of logits."""
    require_consent(owner_consent, "prediction_loss")
    if student.logits is None or teacher.logits is None:
        raise InputError("The stage 'task_prediction' needs the logits of both student and teacher.")
    return forward_kl(student.logits, teacher.logits.detach(), temperature)


def _check_depth(who: str, internals: Internals, layers: int) -> None:
    if len(internals.hidden) != layers + 1 or len(internals.attention) != layers:
        raise InputError(
            f"The layer map is for a {who} of {layers} layers: {layers + 1} hidden states and {layers} attention maps, "
            f"got {len(internals.hidden)} and {len(internals.attention)}."
        )
