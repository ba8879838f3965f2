"""Recipes: TOML files that say whom to ask, what, how it hides, and what is trained from the answers."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdguard.distill.teachers.permission import check_address
from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.registry import SOURCES
from kdguard.simulate.attack.tactics.registry import keys_of
from kdguard.simulate.techniques import TECHNIQUES

Positive = Field(gt=0)
Task = Literal["arithmetic", "intents", "tools", "refusals", "facts"]
Selection = Literal["given", "entropy", "margin", "least_confidence", "disagreement", "hard_samples"]


class _Table(BaseModel):
    """A table of a recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToyTeacher(_Table):
    """A small model trained on the fly on a programmatic corpus."""

    kind: Literal["toy"]
    world: str = "aurora"
    tasks: tuple[Task, ...] = ("intents", "arithmetic")
    shape: str = "micro"
    examples: int = Field(400, gt=0)
    steps: int = Field(150, gt=0)
    vocabulary: int = Field(512, ge=320)
    seed: int = 0


class FolderTeacher(_Table):
    """A model folder on this machine."""

    kind: Literal["folder"]
    path: Path
    device: str = "cpu"


class EndpointTeacherTable(_Table):
    """An OpenAI-compatible endpoint; beyond loopback it needs `owned` or `permission`."""

    kind: Literal["endpoint"]
    url: str
    model: str
    api_key_variable: str | None = None
    owned: str | None = None
    permission: str | None = None
    concurrency: int = Field(8, gt=0)

    @model_validator(mode="after")
    def _permitted(self) -> EndpointTeacherTable:
        check_address(self.url, owned=self.owned, permission=self.permission)
        return self


class ClassifierTeacherTable(_Table):
    """A classifier of scikit-learn's digits, trained on the fly."""

    kind: Literal["classifier"]
    victim: Literal["network", "forest", "linear"] = "network"
    tell: Literal["all", "rounded", "top", "label"] = "all"
    seed: int = 0


AnyTeacher = ToyTeacher | FolderTeacher | EndpointTeacherTable | ClassifierTeacherTable


class BudgetTable(_Table):
    """What may be spent in all, cover traffic included."""

    requests: int = Positive
    output_tokens: int | None = Field(None, gt=0)
    money: float | None = Field(None, gt=0)
    output_price_per_million: float = Field(0.0, ge=0)
    input_price_per_million: float = Field(0.0, ge=0)


class PromptsTable(_Table):
    """What is asked, and how the next prompts are chosen."""

    source: str = "in_domain"
    world: str | None = None
    tasks: tuple[Task, ...] | None = None
    selection: Selection = "given"
    rounds: int = Field(1, gt=0)
    candidates: int = Field(4, gt=0)

    @model_validator(mode="after")
    def _known(self) -> PromptsTable:
        if self.source not in SOURCES:
            raise AttackError(f"prompts.source must be one of {', '.join(SOURCES)}, got '{self.source}'")
        if (self.selection == "given") != (self.rounds == 1):
            raise AttackError(
                "prompts: 'rounds' above 1 and a 'selection' by the student belong together, got "
                f"rounds = {self.rounds} and selection = '{self.selection}'"
            )
        return self


class AskTable(_Table):
    """What is sent with every prompt."""

    system: str | None = None
    max_tokens: int = Field(64, gt=0)
    temperature: float | None = Field(None, ge=0, le=2)
    top_logprobs: int | None = Field(None, ge=0, le=20)


class CampaignTable(_Table):
    """The traffic before any tactic."""

    technique: str = "capability_sweep"
    days: float = Field(2.0, gt=0)
    turns: float = Field(1.0, ge=1)
    start: str = "2026-09-01"

    @model_validator(mode="after")
    def _known(self) -> CampaignTable:
        if self.technique not in TECHNIQUES:
            raise AttackError(f"campaign.technique must be one of {', '.join(TECHNIQUES)}")
        return self


class BackgroundTable(_Table):
    """Benign owners around the campaign."""

    owners: int = Positive
    volume_median: float = Field(20.0, gt=0)
    volume_cap: int = Field(400, gt=0)


class TacticTable(BaseModel):
    """One tactic; further keys are those of the tactic."""

    model_config = ConfigDict(extra="allow", frozen=True)
    tactic: str
    strength: float = Field(ge=0, le=1)

    @property
    def values(self) -> dict[str, Any]:
        """Strength and further keys."""
        return {"strength": self.strength} | (self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> TacticTable:
        unknown = sorted(self.values.keys() - set(keys_of(self.tactic)))
        if unknown:
            allowed = ", ".join(keys_of(self.tactic))
            raise AttackError(f"{self.tactic}: unknown key {', '.join(unknown)}; allowed are: {allowed}")
        return self


class StudentTable(_Table):
    """What is trained from the answers."""

    shape: str = "micro"
    tokenizer: Literal["teacher", "own"] = "own"
    vocabulary: int = Field(512, ge=320)
    steps: int = Field(100, gt=0)
    rows: int = Field(8, gt=0)
    length: int = Field(128, gt=1)
    learning_rate: float = Field(5e-3, gt=0)
    objective: str = "cross_entropy"
    text: float = Field(0.5, ge=0)
    soft: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    own_examples: int = Field(0, ge=0)
    own_world: str = "basalt"
    seed: int = 0


class ClassifierTable(_Table):
    """The attack on a classifier."""

    attack: Literal["knockoff_random", "knockoff_adaptive", "jacobian", "label_only"] = "knockoff_random"
    epochs: int = Field(40, gt=0)
    hidden: int = Field(64, gt=0)
    seed: int = 0


class Recipe(_Table):
    """A whole attack.

    `student` belongs to language teachers and `classifier` to classifiers; the other is ignored by nobody: giving it
    is an error.
    """

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    teacher: AnyTeacher = Field(discriminator="kind")
    second_teacher: AnyTeacher | None = Field(None, discriminator="kind")
    budget: BudgetTable
    prompts: PromptsTable = PromptsTable()
    ask: AskTable = AskTable()
    campaign: CampaignTable = CampaignTable()
    background: BackgroundTable | None = None
    tactics: tuple[TacticTable, ...] = ()
    student: StudentTable | None = None
    classifier: ClassifierTable | None = None
    ownership: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """BLAKE2 digest of everything in it."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a packaged recipe by name or one from a TOML file.

    Raises:
        AttackError: No such recipe, an unknown key, an impossible budget, or an objective it may not use.
        TeacherError: A teacher's address beyond loopback without a declaration.
        OwnershipError: A white-box objective without a declaration.
    """
    path = Path(name_or_path)
    packaged = files("kdguard.simulate.attack").joinpath("recipes", f"{name_or_path}.toml")
    if path.suffix != ".toml" and packaged.is_file():
        return recipe_from(packaged.read_text(encoding="utf-8"), str(name_or_path))
    if not path.is_file():
        known = ", ".join(packaged_recipes())
        raise AttackError(f"no recipe '{name_or_path}'; packaged are: {known}, or give a TOML file")
    return recipe_from(path.read_text(encoding="utf-8"), str(path))


def packaged_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with kdguard."""
    found = files("kdguard.simulate.attack").joinpath("recipes").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in found if entry.name.endswith(".toml")))


def recipe_from(text: str, where: str = "recipe") -> Recipe:
    """Read and check the text of a recipe."""
    from kdguard.simulate.attack.checks import check_recipe

    try:
        recipe = Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise AttackError(f"{where}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise AttackError(f"{where}: {_told(error)}") from error
    check_recipe(recipe, where)
    return recipe


def _told(error: ValidationError) -> str:
    """What is wrong, key by key, without the values of other keys."""
    parts = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        reason = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        parts.append(f"{place}: {reason}" if place else reason)
    return "; ".join(parts)
