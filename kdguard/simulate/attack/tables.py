"""The tables of a recipe, each checked by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdguard.distill.recipes.table import Table
from kdguard.distill.teachers.permission import check_address
from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.registry import SOURCES
from kdguard.simulate.attack.tactics.registry import keys_of
from kdguard.simulate.techniques import TECHNIQUES

Positive = Field(gt=0)
Task = Literal["arithmetic", "intents", "tools", "refusals", "facts"]
Selection = Literal[
    "given", "entropy", "margin", "least_confidence", "disagreement", "hard_samples", "self_instruct"
]

ClassifierAttack = Literal[
    "knockoff_random",
    "knockoff_adaptive",
    "jacobian",
    "label_only",
    "active_entropy",
    "active_k_centre",
    "active_boundary",
    "active_disagreement",
]


class ToyTeacher(Table):
    """A small model trained on the fly on a programmatic corpus.

    `biased_logprobs`, here and for folders: log-probabilities show what `logit_bias` did.
    """

    kind: Literal["toy"]
    world: str = "aurora"
    tasks: tuple[Task, ...] = ("intents", "arithmetic")
    shape: str = "micro"
    examples: int = Field(default=400, gt=0)
    steps: int = Field(default=150, gt=0)
    vocabulary: int = Field(default=512, ge=320)
    biased_logprobs: bool = False
    seed: int = 0


class FolderTeacher(Table):
    """A model folder on this machine."""

    kind: Literal["folder"]
    path: Path
    device: str = "cpu"
    biased_logprobs: bool = False


class EndpointTeacherTable(Table):
    """An OpenAI-compatible endpoint; beyond loopback it needs `owned` or `permission`.

    `keys_file` has one API key a line, dealt to the accounts in turn; without it `api_key_variable` names the
    environment variable of one key for all. `tokenizer` is a folder with the teacher's tokenizer, where it is known.
    """

    kind: Literal["endpoint"]
    url: str
    model: str
    api_key_variable: str | None = None
    owned: str | None = None
    permission: str | None = None
    keys_file: Path | None = None
    tokenizer: Path | None = None
    concurrency: int = Field(default=8, gt=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    timeout_s: float = Field(default=60.0, gt=0)
    retries: int = Field(default=5, ge=0)

    @model_validator(mode="after")
    def _permitted(self) -> EndpointTeacherTable:
        check_address(self.url, owned=self.owned, permission=self.permission)
        return self


class ReplayTeacherTable(Table):
    """A folder of transcripts: what was asked once is answered as it was then."""

    kind: Literal["replay"]
    path: Path


class ClassifierTeacherTable(Table):
    """A classifier of scikit-learn's digits, trained on the fly."""

    kind: Literal["classifier"]
    victim: Literal["network", "forest", "linear"] = "network"
    tell: Literal["all", "rounded", "top", "label"] = "all"
    seed: int = 0


AnyTeacher = ToyTeacher | FolderTeacher | EndpointTeacherTable | ReplayTeacherTable | ClassifierTeacherTable


class BudgetTable(Table):
    """What may be spent in all, cover traffic included."""

    requests: int = Positive
    output_tokens: int | None = Field(default=None, gt=0)
    money: float | None = Field(default=None, gt=0)
    output_price_per_million: float = Field(default=0.0, ge=0)
    input_price_per_million: float = Field(default=0.0, ge=0)


class PromptsTable(Table):
    """What is asked, and how the next prompts are chosen.

    With `writer = "teacher"` every second round asks the teacher for new tasks, and the round after it asks those:
    `self_instruct` always does so, after examples of all tasks; `hard_samples` after the ones the student fails at.
    """

    source: str = "in_domain"
    world: str | None = None
    tasks: tuple[Task, ...] | None = None
    selection: Selection = "given"
    writer: Literal["rules", "teacher"] = "rules"
    rounds: int = Field(default=1, gt=0)
    candidates: int = Field(default=4, gt=0)

    @model_validator(mode="after")
    def _known(self) -> PromptsTable:
        if self.source not in SOURCES:
            raise AttackError(f"prompts.source must be one of {', '.join(SOURCES)}, got '{self.source}'")
        if (self.selection == "given") != (self.rounds == 1):
            raise AttackError(
                "prompts: 'rounds' above 1 and a 'selection' by the student belong together, got "
                f"rounds = {self.rounds} and selection = '{self.selection}'"
            )
        if self.writer == "teacher" and self.selection not in ("hard_samples", "self_instruct"):
            raise AttackError(
                "prompts.writer = 'teacher' belongs to the selections hard_samples and self_instruct, got "
                f"'{self.selection}'"
            )
        if self.teacher_writes and self.rounds % 2 == 0:
            raise AttackError(
                f"prompts: where the teacher writes, rounds must be odd (tasks, new tasks, ...), got {self.rounds}"
            )
        return self

    @property
    def teacher_writes(self) -> bool:
        """Every second round asks for new tasks."""
        return self.writer == "teacher" or self.selection == "self_instruct"


class AskTable(Table):
    """What is sent with every prompt."""

    system: str | None = None
    max_tokens: int = Field(default=64, gt=0)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


class CampaignTable(Table):
    """The traffic before any tactic."""

    technique: str = "capability_sweep"
    days: float = Field(default=2.0, gt=0)
    turns: float = Field(default=1.0, ge=1)
    start: str = "2026-09-01"

    @model_validator(mode="after")
    def _known(self) -> CampaignTable:
        if self.technique not in TECHNIQUES:
            raise AttackError(f"campaign.technique must be one of {', '.join(TECHNIQUES)}")
        return self


class BackgroundTable(Table):
    """Benign owners around the campaign."""

    owners: int = Positive
    volume_median: float = Field(default=20.0, gt=0)
    volume_cap: int = Field(default=400, gt=0)


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


class StudentTable(Table):
    """What is trained from the answers.

    `objective` is `cross_entropy`, one that learns from log-probabilities, or `gad`, which needs text alone; `text` and
    `soft` weigh the two parts of the latter ones, and `options` are those of the objective or procedure. `route` says
    what of an answer is learnt: the answer behind its reasoning, the answer alone, or both as two tasks.
    """

    shape: str = "micro"
    tokenizer: Literal["teacher", "own"] = "own"
    vocabulary: int = Field(default=512, ge=320)
    steps: int = Field(default=100, gt=0)
    rows: int = Field(default=8, gt=0)
    length: int = Field(default=128, gt=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    objective: str = "cross_entropy"
    options: dict[str, Any] = Field(default_factory=dict)
    route: Literal["reasoning", "answer", "step_by_step"] = "reasoning"
    rationale_weight: float = Field(default=1.0, ge=0)
    text: float = Field(default=0.5, ge=0)
    soft: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    own_examples: int = Field(default=0, ge=0)
    own_world: str = "basalt"
    device: str = "cpu"
    seed: int = 0


class HiddenSizeTable(Table):
    """Reading a teacher's hidden size: more prompts than the size, half as many tokens again."""

    prompts: int = Field(default=48, ge=3)
    tokens: int = Field(default=72, ge=4)
    top: int = Field(default=20, ge=2, le=20)
    bias: float = Field(default=40.0, gt=0, le=100)
    least_gap: float = Field(default=4.0, gt=1)


class ClassifierTable(Table):
    """The attack on a classifier."""

    attack: ClassifierAttack = "knockoff_random"
    epochs: int = Field(default=40, gt=0)
    hidden: int = Field(default=64, gt=0)
    seed: int = 0
