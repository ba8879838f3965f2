"""Suspects as the commands around marks ask them: a model folder, or an endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdguard.errors import InputError

if TYPE_CHECKING:
    from kdguard.distill.teachers.protocol import Teacher

Suspect = Annotated[
    str, typer.Option("--suspect", help="Folder of a model, or an endpoint's URL with --model.")
]
ModelName = Annotated[str | None, typer.Option("--model", help="The endpoint's name of the model.")]
ApiKeyVariable = Annotated[
    str | None, typer.Option("--api-key-variable", help="Environment variable that holds the API key.")
]
Permission = Annotated[
    str | None,
    typer.Option("--permission", help="Who permits asking the endpoint, where it is not on this machine."),
]
Times = Annotated[int, typer.Option("--times", min=1, help="Answers to each prompt.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")]
AnswersFile = Annotated[Path, typer.Option("--out", help="Table to write, JSON lines.", dir_okay=False)]


def open_suspect(
    suspect: str, model: str | None, api_key_variable: str | None, permission: str | None
) -> Teacher:
    """A suspect that can be asked for answers.

    Raises:
        InputError: No folder, no model name for an endpoint, or an address that may not be asked.
    """
    import os

    from kdguard.distill.teachers.endpoint import EndpointTeacher
    from kdguard.distill.teachers.local import LocalTeacher

    if not is_url(suspect):
        return LocalTeacher.load(suspect)
    if model is None:
        raise InputError(f"{suspect}: an endpoint needs --model")
    key = os.environ.get(api_key_variable, "") if api_key_variable else "none"
    if not key:
        raise InputError(
            f"the environment variable '{api_key_variable}' must hold the API key; it is not set"
        )
    return EndpointTeacher(suspect, model, api_key=key, permission=permission)


def is_url(suspect: str) -> bool:
    """Whether a suspect is an endpoint."""
    return suspect.startswith(("http://", "https://"))


def open_weights(suspect: str) -> tuple[Any, Any]:
    """Model and tokenizer of a suspect whose weights are at hand.

    Raises:
        InputError: It is an endpoint, or the folder cannot be loaded.
    """
    from kdguard.distill.models import load_model, load_tokenizer

    if is_url(suspect):
        raise InputError(
            f"{suspect}: likelihoods need a model folder; an endpoint can be asked for answers only"
        )
    return load_model(suspect), load_tokenizer(suspect)


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write rows as JSON lines; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
