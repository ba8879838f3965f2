"""What a check of a mark comes to, and what a bundle on it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.audit.case import Case
from kdguard.detectors.registered import find
from kdguard.errors import InputError
from kdguard.ledger.derivation import KeyName
from kdguard.service.marks.cases import input_of, lines_of

Told = Mapping[str, Any]
Rows = Sequence[Told]
Progress = Callable[[float], None]
_SENT = ("texts", "answers", "clean", "known", "served")
"""Rows that a check may come with: a case cites each by its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a check found.

    Attributes:
        lines: As the command's `--json` prints them.
        found: Whether a mark was found, or an account named.
        alpha: Level at which.
        searched: How much was looked at, for people.
        notes: What a person should know of how the texts were read.
        case: What a bundle is made of; None where nothing was found.
    """

    lines: list[dict[str, Any]]
    found: bool
    alpha: float
    searched: str
    notes: tuple[str, ...] = ()
    case: Case | None = None


def case_of(
    test: str, keys: Sequence[tuple[KeyName, int]], parameters: Told, statistics: Told, asked: Told
) -> Case:
    """What a bundle is made of, with digests of the rows that were sent."""
    sent = {name: asked[name] for name in _SENT if asked.get(name)}
    inputs = tuple(input_of(f"{name}.jsonl", lines_of(rows)) for name, rows in sent.items())
    return Case(
        test=test,
        version=find(test).version,
        keys=tuple(keys),
        parameters=parameters,
        statistics=statistics,
        inputs=inputs,
    )


def column_of(rows: Rows, names: tuple[str, str]) -> str:
    """Which of two columns all rows have.

    Raises:
        InputError: Some have the one and some the other, or neither.
    """
    for name in names:
        if all(row.get(name) is not None for row in rows):
            return name
    raise InputError(f"every row must have {names[0]}, or every row {names[1]}")
