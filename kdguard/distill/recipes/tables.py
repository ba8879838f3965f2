"""The tables of a training recipe, each checked by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kdguard.distill.recipes.table import Table
from kdguard.errors import TrainingError

Task = Literal["arithmetic", "intents", "tools", "refusals", "facts"]
TASKS: tuple[Task, ...] = ("arithmetic", "intents", "tools", "refusals", "facts")
Route = Literal["answer", "reasoning", "step_by_step"]


class TranscriptData(Table):
    """What a teacher answered: a transcript folder, or a simulated attack's."""

    kind: Literal["transcripts"]
    path: Path
    soft: Literal["none", "topk", "sampled"] = "none"
    domain: str = ""
    system: bool = True


class AskedData(Table):
    """Prompts of a programmatic corpus, answered by the recipe's first teacher; transcripts stay in the output."""

    kind: Literal["asked"]
    world: str = "aurora"
    tasks: tuple[Task, ...] = TASKS
    examples: int = Field(gt=0)
    choices: int = Field(default=1, gt=0)
    soft: Literal["none", "topk", "sampled"] = "none"
    top_logprobs: int = Field(default=20, gt=0)
    draws: int = Field(default=42, gt=0)
    temperature: float = Field(default=1.0, ge=0, le=2)
    max_tokens: int = Field(default=64, gt=0)
    seed: int = Field(default=0, ge=0)
    domain: str = ""


class CorpusData(Table):
    """A programmatic corpus with exact answers and no teacher."""

    kind: Literal["corpus"]
    world: str = "aurora"
    tasks: tuple[Task, ...] = TASKS
    examples: int = Field(gt=0)
    route: Route = "answer"
    rationale_weight: float = Field(default=1.0, ge=0)
    rejected_world: str | None = None
    seed: int = Field(default=0, ge=0)
    domain: str = ""
    source: str = "corpus"


class TextData(Table):
    """Plain text files, cut into pieces of about `chars` characters at line ends."""

    kind: Literal["text"]
    paths: tuple[Path, ...] = Field(min_length=1)
    chars: int = Field(default=2000, gt=0)
    domain: str = ""
    source: str = "corpus"


class PreferenceData(Table):
    """JSON lines of `prompt`, `chosen`, `rejected` and, if wished, `system`."""

    kind: Literal["preferences"]
    path: Path
    domain: str = ""
    source: str = "teacher"


AnyData = Annotated[
    TranscriptData | AskedData | CorpusData | TextData | PreferenceData, Field(discriminator="kind")
]


class FiltersTable(Table):
    """Which transcripts are worth training on."""

    answered: bool = True
    not_refused: bool = False
    not_cut: bool = False
    duplicates: bool = False
    near_duplicates: float | None = Field(default=None, ge=0.8, le=1)
    least_chars: int = Field(default=0, ge=0)
    most_chars: int | None = Field(default=None, gt=0)
    verified: bool = False
    best_of: int | None = Field(default=None, gt=0)


class MasksTable(Table):
    """Which tokens of an answer are learnt."""

    reasoning: Literal["reasoning", "answer", "both"] = "both"
    tools: Literal["calls", "text", "both"] = "both"
    refusals: Literal["refusals", "answers", "both"] = "both"
    opening: int | None = Field(default=None, gt=0)

    @property
    def is_idle(self) -> bool:
        """Everything is learnt."""
        return self == MasksTable()


class TokenizerTable(Table):
    """`own` is trained on the data, `teacher` is the first teacher's, `folder` any other."""

    kind: Literal["own", "teacher", "folder"] = "own"
    vocabulary: int = Field(default=1024, ge=320)
    path: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> TokenizerTable:
        if (self.kind == "folder") != (self.path is not None):
            raise TrainingError("tokenizer: 'path' belongs to kind = 'folder', and is needed there")
        return self


class StudentTable(Table):
    """A fresh Llama of a named shape, or a model folder to go on from."""

    shape: str = "micro"
    path: Path | None = None
    length: int = Field(default=128, gt=1)
    context: int | None = Field(default=None, gt=1)
    seed: int = Field(default=0, ge=0)


class TeacherTable(Table):
    """A model folder on this machine."""

    path: Path
    name: str | None = None
    domains: tuple[str, ...] = ()
    device: str = "cpu"


class ObjectiveTable(Table):
    """What is minimised: `text` times cross-entropy plus `soft` times the objective."""

    name: str = "cross_entropy"
    text: float | None = Field(default=None, ge=0)
    soft: float | None = Field(default=None, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)


class PlanTable(Table):
    """How long, how fast, where."""

    steps: int = Field(default=200, gt=0)
    rows: int = Field(default=16, gt=0)
    micro_rows: int | None = Field(default=None, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    final: float = Field(default=0.1, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    arithmetic: Literal["auto", "float32", "bfloat16"] = "auto"
    compiled: bool = False
    graphed: bool = False
    device: str = "cpu"
    report_every: int = Field(default=20, gt=0)
    checkpoint_every: int = Field(default=100, ge=0)


class EvaluationTable(Table):
    """On what the student is judged; see `kdguard distill evaluate`."""

    world: str = "aurora"
    tasks: tuple[Task, ...] = TASKS
    outside: tuple[Task | Literal["words"], ...] | None = None
    examples: int = Field(default=60, gt=0)
    max_tokens: int = Field(default=64, gt=0)
    texts: tuple[Path, ...] = ()
    control_world: str | None = None
    control_path: Path | None = None
    price_per_hour: float | None = Field(default=None, ge=0)
    seed: int = Field(default=1, ge=0)
