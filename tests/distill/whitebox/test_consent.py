"""Nothing inside a teacher is touched without a declaration of owning it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from kdguard.distill.objectives.registry import OBJECTIVES, Objective
from kdguard.distill.whitebox.consent import OwnerConsent, consent_from, require_consent
from kdguard.distill.whitebox.layers import uniform_map
from kdguard.distill.whitebox.tinybert import STAGES, Internals, layer_loss, prediction_loss, tinybert
from kdguard.errors import InputError, OwnershipError

DECLARED: Mapping[str, object] = {"teacher": "teacher-a", "owner": "Ada", "owned": True}
INSIDE = [each for each in OBJECTIVES.values() if each.white_box]


@pytest.mark.parametrize("chosen", INSIDE, ids=lambda chosen: str(chosen.name))
@pytest.mark.parametrize("given", [None, True, "yes", {"owned": True}])
def test_every_objective_inside_a_teacher_asks_first(chosen: Objective, given: object) -> None:
    tensors = [torch.zeros(2, 2)] * (1 + len(chosen.needs))
    with pytest.raises(OwnershipError, match=rf"^{chosen.name} looks inside the teacher"):
        chosen.function(*tensors, owner_consent=given)
    with pytest.raises(TypeError):
        chosen.function(*tensors)


def test_tinybert_asks_first_in_every_stage() -> None:
    empty = Internals(hidden=[], attention=[])
    for stage in STAGES:
        with pytest.raises(OwnershipError):
            tinybert(stage, empty, empty, uniform_map(1, 1), owner_consent=None)
    with pytest.raises(OwnershipError):
        layer_loss(empty, empty, uniform_map(1, 1), owner_consent=None)
    with pytest.raises(OwnershipError):
        prediction_loss(empty, empty, owner_consent=None)


def test_a_full_declaration_gives_consent_and_goes_into_the_manifest() -> None:
    consent = consent_from(DECLARED)
    require_consent(consent, "anything")
    consent.covers("teacher-a")
    assert consent.as_manifest() == {"teacher": "teacher-a", "owner": "Ada"}
    with pytest.raises(OwnershipError, match="about 'teacher-a', not about 'teacher-b'"):
        consent.covers("teacher-b")


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        (None, r"\[ownership\] teacher"),
        ({}, r"missing: \['owned', 'owner', 'teacher'\]"),
        ({**DECLARED, "licence": "x"}, r"unknown: \['licence'\]"),
        ({**DECLARED, "owned": "true"}, "'owned' must be true .* got 'true'"),
        ({**DECLARED, "owned": False}, "got False"),
        ({**DECLARED, "owner": "  "}, "'owner', got an empty text"),
        ({**DECLARED, "teacher": ""}, "'teacher', got an empty text"),
        ({**DECLARED, "teacher": 3}, "'teacher' must be a text, got 3"),
    ],
)
def test_anything_less_is_refused(declaration: Mapping[str, object] | None, told: str) -> None:
    with pytest.raises(OwnershipError, match=told):
        consent_from(declaration)


def test_it_is_an_input_error() -> None:
    assert issubclass(OwnershipError, InputError)
    with pytest.raises(InputError):
        OwnerConsent(teacher="", owner="Ada")
