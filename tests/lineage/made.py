"""Small tables of answers with known parentage: every model writes with a vocabulary of its own habits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kdguard.lineage import (
    Controls,
    Families,
    Family,
    Responses,
    listed_controls,
    place_families,
    responses_of,
)

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _letters(number: int) -> str:
    """A number in letters: digits of a word all count as one."""
    return _LETTERS[number // 26 % 26] + _LETTERS[number % 26]


_COMMON = [f"word{_letters(at)}" for at in range(60)]


def answers(model: int, habits: int, prompts: int, words: int = 40, share: float = 0.5) -> list[str]:
    """Answers that draw a share of their words from the habits' vocabulary, the rest from the prompt's own."""
    written = []
    for prompt in range(prompts):
        rng = np.random.default_rng([model, prompt])
        own = [f"habit{_letters(habits)}{_letters(at)}" for at in rng.integers(0, 12, words)]
        plain = [_COMMON[(prompt + at) % len(_COMMON)] for at in rng.integers(0, 8, words)]
        written.append(" ".join(np.where(rng.random(words) < share, own, plain)))
    return written


def table(prompts: int = 60, controls: int = 120) -> pd.DataFrame:
    """Teachers a and b, a student of a, an innocent, and controls, each with habits of its own."""
    who = [("teacher-a", 1), ("teacher-b", 2), ("student", 1), ("innocent", 3)]
    who += [(f"control-{at:03d}", 10 + at) for at in range(controls)]
    rows = []
    for number, (name, habits) in enumerate(who):
        for prompt, text in enumerate(answers(number, habits, prompts)):
            rows.append({"model": name, "prompt_id": prompt, "response": text})
    return pd.DataFrame(rows)


def families() -> tuple[Family, ...]:
    """Family a of one vendor, family b of another."""
    return Family("a", ("teacher-a",), "north"), Family("b", ("teacher-b",), "south")


def placed(frame: pd.DataFrame) -> tuple[Responses, Families, Controls]:
    """The table, its families, and every control for both families."""
    responses = responses_of(frame)
    found = place_families(families(), responses)
    names = sorted(name for name in responses.models if name.startswith("control"))
    listed = pd.DataFrame(
        [
            {"teacher_family": family, "control": name, "kind": "student_pool"}
            for family in "ab"
            for name in names
        ]
    )
    return responses, found, listed_controls(listed, ["student_pool"], found, responses)
