"""Which way a suspect is read in one call of `kdguard lineage test`: each way takes its own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from kdguard.errors import LineageError

Value = TypeVar("Value")


def alone(way: str, others: Mapping[str, object]) -> None:
    """Refuse options that belong to another way of reading a suspect.

    Raises:
        LineageError: One is given.
    """
    given = [option for option, value in others.items() if value]
    if given:
        raise LineageError(
            f"a suspect is read in one way a call: leave out {', '.join(given)}, which {way} does not take"
        )


def needed(value: Value | None, option: str, way: str) -> Value:
    """An option that a way of reading cannot do without.

    Raises:
        LineageError: It is not given.
    """
    if not value:
        raise LineageError(f"{way} needs {option}")
    return value
