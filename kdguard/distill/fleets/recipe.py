"""What a recipe of model families says: frozen tables, each checked by itself."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdguard.distill.corpora.worlds import WORLDS
from kdguard.distill.students.shapes import NAMED
from kdguard.errors import TrainingError

RECIPE_VERSION = 1
Route = Literal["text", "rationale", "topk", "mixed"]
Share = Field(gt=0, le=1)
Count = Field(gt=0)


class Table(BaseModel):
    """A table of a recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Table):
    """How long and how fast one kind of model is trained.

    Attributes:
        steps: Optimiser steps.
        rows: Packed rows a step.
        learning_rate: At its peak.
    """

    steps: int = Count
    rows: int = Count
    learning_rate: float = Field(gt=0)


class Origins(Schedule):
    """Models that come from nobody: the teachers, and the bases that students start from.

    Attributes:
        teachers: Ready-made worlds, one teacher each.
        bases: How many bases; each has its own seed.
        base_worlds: Drawn worlds that a base learns from together.
        examples: Of the corpus that each learns from.
    """

    teachers: tuple[str, ...] = Field(min_length=2)
    bases: int = Count
    base_worlds: int = Count
    examples: int = Count

    @model_validator(mode="after")
    def _known(self) -> Origins:
        unknown = sorted(set(self.teachers) - set(WORLDS))
        if unknown or len(set(self.teachers)) != len(self.teachers):
            raise ValueError(f"teachers must be different worlds out of {', '.join(WORLDS)}")
        return self


class Harvest(Table):
    """What is asked of a teacher, and to whom its answers go.

    Attributes:
        accounts: Accounts whose owners each train on their own answers.
        served: Answers an account receives.
        withheld: Answers that nobody receives: the twins of the served ones.
        temperature: Of sampling.
        top: Alternatives told with each token.
        max_tokens: Of an answer.
    """

    accounts: int = Count
    served: int = Count
    withheld: int = Count
    temperature: float = Field(gt=0)
    top: int = Field(gt=0, le=20)
    max_tokens: int = Count


class Students(Schedule):
    """Students of every teacher.

    Attributes:
        tokens: Supervised tokens of each student's data, whatever its dose.
        routes: Ways the answers are taken: `text` without the reasoning, `rationale` with it, `topk` the same with
            soft targets, `mixed` a third of each.
        doses: Shares of the tokens that are the teacher's; the rest is a world of the student's own.
        repeated: Routes of which there are further seeds at full dose.
        repeats: Further seeds of those.
        pairs: Students that learn from two teachers, half and half.
        tainted_doses: Shares of models that learn the truth of a teacher's corpus, without its teacher.
    """

    tokens: int = Count
    routes: tuple[Route, ...] = Field(min_length=1)
    doses: tuple[float, ...] = Field(min_length=1)
    repeated: tuple[Route, ...] = ()
    repeats: int = Field(default=0, ge=0)
    pairs: bool = True
    tainted_doses: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _doses(self) -> Students:
        if not all(0 < dose <= 1 for dose in self.doses + self.tainted_doses):
            raise ValueError("doses must be shares above 0 and at most 1")
        return self


class Descendants(Table):
    """Students of students, and what thieves do next.

    Attributes:
        parents: Routes whose full-dose students have descendants.
        routes: Ways in which students of students take the answers.
        doses: Their doses.
        pruned: Shares of the weights set to 0, smallest first.
        merged: Shares of the student in a mean with a control of the same base.
        tuned: Lengths of further fine-tuning on another world, as shares of a student's training.
    """

    parents: tuple[Route, ...]
    routes: tuple[Route, ...]
    doses: tuple[float, ...]
    pruned: tuple[float, ...]
    merged: tuple[float, ...]
    tuned: tuple[float, ...]


class Probes(Table):
    """What every model is asked.

    Attributes:
        prompts: A kind of task; questions for facts are spread over the teachers.
        seed: Which ones.
        max_tokens: Of an answer.
        top: Alternatives told with a token.
        tokens: Tokens of an answer whose alternatives are kept.
        texts: Served answers an account, and withheld ones, whose likelihood is read.
    """

    prompts: int = Count
    seed: int = 0
    max_tokens: int = Count
    top: int = Field(gt=0)
    tokens: int = Count
    texts: int = Count


class Recipe(Table):
    """A whole set of families.

    Attributes:
        schema_version: Of this form.
        name: Of the set.
        seed: Decides every draw.
        shape: Of all models.
        vocabulary: Of their tokenizer.
        length: Tokens a packed row.
        context: Most tokens of prompt and answer.
        facts: Rare facts a world knows.
        controls: Models without any teacher.
        fleet: Models trained together.
        shipped: Models whose weights are shipped.
    """

    schema_version: Literal[1]
    name: str = Field(min_length=1)
    seed: int = Field(ge=0)
    shape: str
    vocabulary: int = Count
    length: int = Count
    context: int = Count
    facts: int = Count
    controls: int = Count
    fleet: int = Count
    shipped: tuple[str, ...] = ()
    origins: Origins
    harvest: Harvest
    students: Students
    descendants: Descendants
    probes: Probes

    @model_validator(mode="after")
    def _shape(self) -> Recipe:
        if self.shape not in NAMED:
            raise ValueError(f"shape must be one of {', '.join(NAMED)}")
        return self

    @property
    def digest(self) -> str:
        """BLAKE2 digest of everything in it."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe from TOML.

    Raises:
        TrainingError: It cannot be read, is of another version, has an unknown key or an impossible value.
    """
    try:
        told: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path}: must be a recipe in TOML: {error}") from error
    if told.get("schema_version") != RECIPE_VERSION:
        raise TrainingError(
            f"{path}: schema_version must be {RECIPE_VERSION}, got {told.get('schema_version')}"
        )
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"])) or "recipe"
        raise TrainingError(f"{path}: {place}: {wrong['msg']}") from error
