"""Options that the commands of lineage share, and those of which `test` has many."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.lineage.probes import ProbeSet


def level_of_test(alpha: float | None) -> float | None:
    """Refuse what is no level before anything is read."""
    from kdguard.lineage.verdict import checked_level

    return None if alpha is None else checked_level(alpha)


ProbesFile = Annotated[
    Path | None,
    typer.Option(
        "--probes",
        help="Your own prompts: prompt_id, prompt. Else the shipped set, for a live suspect.",
        exists=True,
        dir_okay=False,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Public seed of the order of prompts.")]
KeyVariable = Annotated[
    str | None,
    typer.Option("--key-env", help="Environment variable that holds the API key.", metavar="NAME"),
]
Owned = Annotated[
    str | None,
    typer.Option(help="Declares that the endpoint is your own: whose. Needed beyond this machine."),
]
Permission = Annotated[
    str | None,
    typer.Option(help="Declares who permits asking somebody else's endpoint, and where that is written."),
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Limit on each answer; the same for all models.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="Of sampling; the same for all models.")]
System = Annotated[str | None, typer.Option(help="System prompt; the same for all models.")]
RequestsPerMinute = Annotated[float | None, typer.Option(min=0.01, help="Most requests a minute.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests under way at once.")]
TokenBudget = Annotated[
    int | None, typer.Option("--token-budget", min=1, help="Most tokens, prompts and answers together.")
]
ResponsesFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--responses",
        help="Table model, prompt_id, response: Parquet, CSV, JSON lines, or a folder of 'ask'; repeatable.",
        exists=True,
    ),
]
FamiliesFile = Annotated[
    Path | None,
    typer.Option("--families", help="TOML, one table a teacher family with its members.", exists=True),
]
SuspectNames = Annotated[
    list[str] | None,
    typer.Option("--suspect", help="Model to test; repeatable. With --suspect-url its name."),
]
NamedFamilies = Annotated[
    list[str] | None,
    typer.Option("--family", help="Family named beforehand, tested at alpha; repeatable."),
]
Adjust = Annotated[
    bool, typer.Option("--adjust/--no-adjust", help="Correct over all families tested (Holm).")
]
ControlsFile = Annotated[
    Path | None, typer.Option("--controls", help="Table teacher_family, control, kind.", exists=True)
]
ControlKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--control-kind",
        help="Kinds of controls; student_pool and teacher_of_other_vendor by default; repeatable.",
    ),
]
Alpha = Annotated[
    float,
    typer.Option(min=0, max=1, help="Chance of a false claim for one suspect.", callback=level_of_test),
]
Budget = Annotated[int | None, typer.Option(min=10, help="Most prompts looked at, or queries asked.")]
SuspectUrl = Annotated[
    str | None, typer.Option(help="Ask a live suspect: an OpenAI-compatible API, with its version.")
]
SuspectModel = Annotated[str, typer.Option(help="Model to ask for at --suspect-url.")]
SuspectWeights = Annotated[
    Path | None,
    typer.Option(help="Folder of safetensors; with --teacher-weights, and nothing else.", exists=True),
]
TeacherWeights = Annotated[
    Path | None, typer.Option(help="Folder of safetensors to compare --suspect-weights with.", exists=True)
]
SuspectClassifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--suspect-classifier",
        help="Folder, table of query_id and label, or address; with --teacher-classifier and --data; repeatable.",
    ),
]
TeacherClassifier = Annotated[str | None, typer.Option(help="Folder, or address of the teacher's.")]
LabelledRows = Annotated[
    Path | None,
    typer.Option("--data", help="Labelled rows for controls of --suspect-classifier.", exists=True),
]
AnswersFolder = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for a live suspect's answers; go on where it was.", file_okay=False),
]
EncoderFolder = Annotated[
    Path | None,
    typer.Option(
        "--encoder",
        help="Folder of a text encoder: nearness in meaning beside the other tests; needs the extra distill.",
        exists=True,
        file_okay=False,
    ),
]
Again = Annotated[bool, typer.Option("--again/--no-again", help="Ask a live suspect some prompts twice.")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", help="Write a page to read, FILE.html.", dir_okay=False)
]
CaseFile = Annotated[
    Path | None,
    typer.Option("--case", help="Write a case of one suspect for 'audit sign'.", dir_okay=False),
]
CommittedFile = Annotated[
    Path | None,
    typer.Option(
        "--committed",
        help="What 'probes' printed and 'audit commit' took, beforehand.",
        exists=True,
        dir_okay=False,
    ),
]
Epoch = Annotated[str | None, typer.Option(help="Epoch of the commitment.")]
VerdictsAsJson = Annotated[bool, typer.Option("--json", help="One JSON object a suspect and family.")]


def probes_of(path: Path | None) -> ProbeSet:
    """The user's prompts, or the shipped set."""
    from kdguard.lineage.probes import read_probes, shipped_probes

    return shipped_probes() if path is None else read_probes(path)


def key_in(variable: str | None) -> str:
    """The API key that an environment variable holds; "none" where no variable is named.

    Raises:
        LineageError: It is not set.
    """
    key = os.environ.get(variable, "") if variable else "none"
    if not key:
        raise LineageError(f"the environment variable '{variable}' must hold the API key; it is not set")
    return key
