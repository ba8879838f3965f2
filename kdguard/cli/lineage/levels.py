"""Which way a suspect is read in one call of `kdguard lineage test`: each way takes its own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from kdguard.errors import LineageError

Value = TypeVar("Value")


BY_ANSWERS = "a suspect known by its answers"
BY_WEIGHTS, BY_LABELS = "--suspect-weights", "--suspect-classifier"
_TAKES: Mapping[str, frozenset[str]] = {
    BY_WEIGHTS: frozenset({BY_WEIGHTS, "--teacher-weights"}),
    BY_LABELS: frozenset({BY_LABELS, "--teacher-classifier", "--data", "--budget"}),
    BY_ANSWERS: frozenset(
        {"--responses", "--families", "--controls", "--suspect", "--family", "--suspect-url", "--report"}
        | {"--committed", "--encoder", "--budget"}
    ),
}


def way_of(given: Mapping[str, object]) -> str:
    """The way in which a suspect is read.

    Args:
        given: Options that not every way takes, and what they are set to.

    Raises:
        LineageError: One is given that belongs to another way.
    """
    way = next((one for one in (BY_WEIGHTS, BY_LABELS) if given.get(one)), BY_ANSWERS)
    others = [option for option, value in given.items() if value and option not in _TAKES[way]]
    if others:
        raise LineageError(
            f"a suspect is read in one way a call: leave out {', '.join(others)}, which {way} does not take"
        )
    return way


def needed(value: Value | None, option: str, way: str) -> Value:
    """An option that a way of reading cannot do without.

    Raises:
        LineageError: It is not given.
    """
    if not value:
        raise LineageError(f"{way} needs {option}")
    return value
