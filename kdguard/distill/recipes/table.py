"""What every recipe shares: tables that refuse unknown keys, read from TOML, with errors that name the key."""

from __future__ import annotations

import hashlib
import tomllib
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kdguard.errors import InputError

Read = TypeVar("Read", bound=BaseModel)


class Table(BaseModel):
    """A table of a recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_table(text: str, kind: type[Read], where: str, error: type[InputError]) -> Read:
    """Read a recipe from TOML.

    Args:
        text: TOML.
        kind: What it must hold.
        where: Its name, for errors.
        error: What is raised.

    Raises:
        InputError: As `error`: no TOML, an unknown key, or a value that cannot be. Errors of the tables themselves
            pass through.
    """
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{where}: not valid TOML: {problem}") from problem
    except ValidationError as problem:
        raise error(f"{where}: {told(problem)}") from problem


def told(error: ValidationError) -> str:
    """What is wrong, key by key, without the values of other keys."""
    parts = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        reason = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        parts.append(f"{place}: {reason}" if place else reason)
    return "; ".join(parts)


def table_digest(table: BaseModel) -> str:
    """BLAKE2 digest of everything in a table."""
    return hashlib.blake2b(table.model_dump_json().encode(), digest_size=16).hexdigest()
