"""How often two models answer alike: to the letter, in the label, in refusing; and how far their tokens lie apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kdguard.distill.corpora.example import UNKNOWNS, Example, first_object, is_refusal, without_reasoning
from kdguard.distill.evaluate.intervals import rate, ratio
from kdguard.distill.evaluate.readings import Gap

_NUMBER = re.compile(r"-?\d+")
_WORD = re.compile(r"[a-z]+(?:_[a-z]+)*")


def agreement(
    examples: Sequence[Example],
    teacher: Sequence[str],
    other: Sequence[str],
    apart: Sequence[Gap | None],
    seed: int,
) -> dict[str, Any]:
    """Agreement of another model with the teacher on the same prompts.

    Args:
        examples: Prompts.
        teacher: The teacher's answers.
        other: The other's.
        apart: Their gaps on the teacher's answers.
        seed: Of the bootstrap.

    Returns:
        `top_1`, `sequence`, `label`, `refusal` as shares, `kl_nats` and `tvd` a token; each with its interval, or None.
    """
    known = [gap for gap in apart if gap is not None]
    counts = [float(len(gap.kl)) for gap in known]
    labels = [
        (label_in(one, theirs), label_in(one, mine))
        for one, theirs, mine in zip(examples, teacher, other, strict=True)
    ]
    return {
        "top_1": ratio([float(gap.same.sum()) for gap in known], counts, seed),
        "sequence": rate([left.strip() == right.strip() for left, right in zip(teacher, other, strict=True)]),
        "label": rate([left == right for left, right in labels if left is not None]),
        "refusal": rate(
            [is_refusal(left) == is_refusal(right) for left, right in zip(teacher, other, strict=True)]
        ),
        "kl_nats": ratio([float(gap.kl.sum()) for gap in known], counts, seed),
        "tvd": ratio([float(gap.tvd.sum()) for gap in known], counts, seed),
    }


def label_in(example: Example, text: str) -> str | None:
    """What an answer decides, whether rightly or not: the intent, number, tool, or whether something is known.

    None where it decides nothing that can be read.
    """
    said = without_reasoning(text)
    kinds = {check.kind for check in example.checks}
    if not kinds:
        return None
    if "label" in kinds:
        check = next(check for check in example.checks if check.kind == "label")
        named = set(_WORD.findall(said.lower())) & {check.value, *check.rivals}
        return named.pop() if len(named) == 1 else None
    if "number" in kinds:
        numbers = _NUMBER.findall(said)
        return numbers[-1] if numbers else None
    if "call" in kinds:
        found = first_object(said)
        return None if found is None else str(found.get("name"))
    if kinds & {"refuses", "answers"}:
        return "refuses" if is_refusal(said) else "answers"
    return "unknown" if any(phrase in said.lower() for phrase in UNKNOWNS) else "known"
