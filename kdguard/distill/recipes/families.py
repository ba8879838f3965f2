"""Which family of training serves an objective, and what it needs from the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kdguard.distill.objectives.registry import objective as registered
from kdguard.distill.procedures.beside import DENSE
from kdguard.distill.procedures.inside import ATTENTION
from kdguard.distill.students.objective import OFFLINE
from kdguard.errors import TrainingError

Kind = Literal[
    "fleet",
    "beside",
    "several",
    "born_again",
    "moving_average",
    "internalise",
    "peers",
    "on_policy",
    "speculative",
    "adversarial",
    "preferences",
    "labelled",
    "across_tokenizers",
    "inside",
    "two_stages",
]


@dataclass(frozen=True, slots=True)
class Family:
    """How an objective is trained.

    Attributes:
        kind: Which procedure; "fleet" needs recorded answers only.
        teachers: Fewest teachers at hand.
        options: Options of the procedure, beside those of the objective.
        owned: Needs a declaration of owning the teacher.
        eager: Reads attention maps, which only eager attention gives.
        starts: Needs a student that was trained before.
    """

    kind: Kind
    teachers: int = 0
    options: tuple[str, ...] = ()
    owned: bool = False
    eager: bool = False
    starts: bool = False


BY_NAME = {
    "multi_teacher_kl": Family("several", 1, ("weighting",)),
    "born_again": Family("born_again", 0, ("generations",)),
    "moving_average": Family("moving_average", 0, ("decay",)),
    "prompt_distillation": Family("internalise", 0, ("document",), starts=True),
    "mutual": Family("peers", 0, ("peers",)),
    "gkd": Family("on_policy", 1, ("share", "beta", "max_tokens", "write_temperature")),
    "speculative": Family("speculative", 1, ("top_k", "beta", "max_tokens", "write_temperature")),
    "gad": Family("adversarial", 0, ("group", "warm_up", "penalty", "max_tokens", "write_temperature")),
    "dpo": Family("preferences"),
    "ipo": Family("preferences"),
    "hard_label": Family("labelled"),
    "soft_label": Family("labelled"),
    "uld": Family("across_tokenizers", 1),
    "overlap_kl": Family("across_tokenizers", 1),
    "tinybert": Family("two_stages", 1, ("general", "intermediate", "layer_map"), owned=True, eager=True),
}
"""Families that an objective's columns do not tell, and names that stand for whole procedures."""
PARTS_OF = {"discriminator_loss": "gad", "policy_gradient": "gad", "step_by_step": "cross_entropy"}


def family_of(name: str) -> Family:
    """The family of an objective's name.

    Raises:
        TrainingError: The objective is only a part of another.
        InputError: There is none of this name.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    if name in PARTS_OF:
        more = " with data of route = 'step_by_step'" if name == "step_by_step" else ""
        raise TrainingError(f"'{name}' is a part of '{PARTS_OF[name]}': name that objective{more}")
    chosen = registered(name)
    if chosen.white_box:
        return Family("inside", 1, ("layer_map",), owned=True, eager=name in ATTENTION)
    if set(chosen.needs) <= OFFLINE:
        return Family("fleet")
    if set(chosen.needs) <= DENSE:
        return Family("beside", 1)
    raise TrainingError(f"no recipe can serve '{name}', which needs {', '.join(chosen.needs)}")
