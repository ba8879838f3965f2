"""The registry: every objective can be called as it says."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from kdguard.distill import objectives
from kdguard.distill.objectives.registry import OBJECTIVES, Objective, objective
from kdguard.errors import InputError
from tests.distill.objectives.columns import CASES

each_objective = pytest.mark.parametrize(
    "chosen", list(OBJECTIVES.values()), ids=lambda chosen: str(chosen.name)
)


@each_objective
def test_needs_are_the_parameters_after_the_students(chosen: Objective) -> None:
    names = list(inspect.signature(chosen.function).parameters)
    assert names[0] == chosen.student_input
    assert tuple(names[1 : 1 + len(chosen.needs)]) == chosen.needs
    defaults = inspect.signature(chosen.function).parameters
    assert all(defaults[name].default is not inspect.Parameter.empty for name in chosen.options)


@each_objective
def test_white_box_is_what_takes_consent(chosen: Objective) -> None:
    takes = "owner_consent" in inspect.signature(chosen.function).parameters
    assert chosen.white_box == takes == (chosen.access == "internals")
    assert "owner_consent" not in chosen.options


@each_objective
def test_docstrings_tell_shapes_and_names_are_the_functions(chosen: Objective) -> None:
    told = inspect.getdoc(chosen.function) or ""
    assert chosen.name == chosen.function.__name__
    assert chosen.source
    assert "hape" in told or "(n," in told


def test_the_mapping_cannot_be_changed_and_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(TypeError):
        OBJECTIVES["mine"] = OBJECTIVES["hinton"]  # type: ignore[index]
    assert objective("hinton").needs == ("teacher_logits", "target_ids")
    with pytest.raises(InputError, match=r"no objective 'kl'.*forward_kl"):
        objective("kl")


def test_every_loss_of_plain_positions_is_compared_with_the_reference() -> None:
    """Those with shapes of their own have tests of their own."""
    apart = {"overlap_kl", "multi_teacher_kl", "policy_gradient"}
    plain = {each.name for each in OBJECTIVES.values() if each.shape == "position" and not each.white_box}
    assert plain - apart == {case.name for case in CASES}


def test_all_names_are_there() -> None:
    assert all(hasattr(objectives, name) for name in objectives.__all__)


def test_the_engine_alone_does_not_load_torch() -> None:
    code = "import sys, kdguard.distill; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
