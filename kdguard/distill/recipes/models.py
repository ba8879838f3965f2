"""The models of a recipe: teachers from folders, students fresh or from a folder, in the form their family needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.distill.model_folder import digest_folder
from kdguard.distill.models import load_model, load_tokenizer
from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.recipes import tables
from kdguard.distill.recipes.families import Family
from kdguard.distill.recipes.recipe import Recipe
from kdguard.distill.students.shapes import Shape, llama_config, named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.students.weights import initial_weights, to_transformers
from kdguard.errors import TrainingError

LEAST_CONTEXT = 1024
"""Positions of a fresh student, unless told otherwise: more than it is trained on, so that few prompts are refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Blank:
    """A student before training.

    Attributes:
        tokenizer: Its tokenizer.
        shape: Of a fresh one.
        seed: Of its weights.
        path: Folder of one that was trained before.
    """

    tokenizer: Any
    shape: Shape | None
    seed: int
    path: Path | None = None

    def model(self, *, device: str, eager: bool = False, extra_seed: int = 0) -> Any:
        """A model of transformers, its dropout off, its weights to be trained."""
        from transformers import LlamaForCausalLM

        if self.shape is None:
            held = load_model(self.path or "", device=device, attention="eager" if eager else "sdpa")
            return held.requires_grad_(True)
        model: Any = LlamaForCausalLM(llama_config(self.shape, **special_ids(self.tokenizer)))
        weights = to_transformers(initial_weights(self.shape, self.seed + extra_seed), self.shape)
        model.load_state_dict(weights, strict=False)
        model.tie_weights()
        if eager:
            model.set_attn_implementation("eager")
        return model.to(device).eval()


def load_teachers(recipe: Recipe, family: Family) -> list[TeacherModel]:
    """The teachers of a recipe.

    Raises:
        ModelError: A folder that is not safe to load.
        TrainingError: Two of one name.
    """
    found = [_teacher(table, family) for table in recipe.teachers]
    if len({one.name for one in found}) < len(found):
        raise TrainingError(f"teachers need names that differ, got {', '.join(one.name for one in found)}")
    return found


def _teacher(table: tables.TeacherTable, family: Family) -> TeacherModel:
    model = load_model(table.path, device=table.device, attention="eager" if family.eager else "sdpa")
    return TeacherModel(
        table.name or table.path.resolve().name,
        model.requires_grad_(False),
        load_tokenizer(table.path),
        digest_folder(table.path),
        table.domains,
    )


def blank_student(recipe: Recipe, teachers: list[TeacherModel], texts: list[str]) -> Blank:
    """What is to be trained.

    Args:
        recipe: Says which shape and tokenizer.
        teachers: Whose tokenizer may be taken.
        texts: On which an own tokenizer is trained.

    Raises:
        TrainingError: No text for a tokenizer.
        ModelError: A folder that is not safe to load.
    """
    table = recipe.student
    if table.path is not None:
        return Blank(load_tokenizer(table.path), None, recipe.seed + table.seed, table.path)
    tokenizer = _tokenizer(recipe.tokenizer, teachers, texts)
    context = table.context or max(LEAST_CONTEXT, table.length)
    shape = named_shape(table.shape, vocab=fitted_vocab(tokenizer), context=context)
    return Blank(tokenizer, shape, recipe.seed + table.seed)


def _tokenizer(table: tables.TokenizerTable, teachers: list[TeacherModel], texts: list[str]) -> Any:
    if table.kind == "teacher":
        return teachers[0].tokenizer
    if table.kind == "folder":
        return load_tokenizer(table.path or "")
    if not any(texts):
        raise TrainingError("the data holds no text to train a tokenizer on; name one by tokenizer.kind")
    return train_tokenizer(texts, table.vocabulary)


def check_vocabulary(tokenizer: Any, teachers: list[TeacherModel], objective: str) -> None:
    """Refuse teachers of another tokenizer where logits are compared token by token.

    Raises:
        TrainingError: A teacher whose tokens are others.
    """
    mine = tokenizer.get_vocab()
    for teacher in teachers:
        if teacher.tokenizer.get_vocab() != mine:
            raise TrainingError(
                f"'{objective}' compares token by token, and the teacher '{teacher.name}' has another tokenizer: set "
                "tokenizer.kind = 'teacher', or choose the objective 'uld' or 'overlap_kl'"
            )
