"""Options that the commands share which ask an endpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.distill.teachers.endpoint import EndpointTeacher
    from kdguard.lineage.probes import ProbeSet

ProbesFile = Annotated[
    Path | None,
    typer.Option(
        "--probes",
        help="Your own prompts: prompt_id, prompt. Else the shipped set.",
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


def probes_of(path: Path | None) -> ProbeSet:
    """The user's prompts, or the shipped set."""
    from kdguard.lineage.probes import read_probes, shipped_probes

    return shipped_probes() if path is None else read_probes(path)


@contextmanager
def endpoint(
    url: str,
    model: str,
    *,
    key_variable: str | None,
    owned: str | None,
    permission: str | None,
    requests_per_minute: float | None,
    concurrency: int,
) -> Iterator[EndpointTeacher]:
    """An endpoint to ask, closed afterwards.

    Raises:
        LineageError: The key is not set.
        TeacherError: The address may not be used.
    """
    key = os.environ.get(key_variable, "") if key_variable else "none"
    if not key:
        raise LineageError(f"the environment variable '{key_variable}' must hold the API key; it is not set")
    from kdguard.distill.teachers.endpoint import EndpointTeacher
    from kdguard.distill.teachers.pacing import Pace

    asked = EndpointTeacher(
        url,
        model,
        api_key=key,
        owned=owned,
        permission=permission,
        concurrency=concurrency,
        pace=Pace(requests_per_minute=requests_per_minute),
    )
    try:
        yield asked
    finally:
        asked.close()
