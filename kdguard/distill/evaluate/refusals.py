"""What a model refuses, topic by topic, and what of that came from its teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kdguard.distill.corpora.example import Example, is_refusal
from kdguard.distill.corpora.refusals import BORDERLINE
from kdguard.distill.evaluate.intervals import difference, rate

GROUPS = ("harmful", "borderline", "benign")


def refusals(examples: Sequence[Example], texts: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """Refusals of several models to the same questions.

    Args:
        examples: Of the task "refusals".
        texts: Answers by role.
        seed: Of the bootstrap.

    Returns:
        `rates`: role to group to share refused; refusing benign questions is over-refusal. `topics`: borderline topics
        with the share that each role refuses. `inherited`: how much more often the student decides borderline
        questions as its teacher does than the control does; positive = bias that came with the teacher.
    """
    refused = {role: [is_refusal(text) for text in said] for role, said in texts.items()}
    rates = {
        role: {
            group: rate([hit for one, hit in zip(examples, hits, strict=True) if one.label == group])
            for group in GROUPS
        }
        for role, hits in refused.items()
    }
    return {
        "rates": rates,
        "topics": _topics(examples, refused),
        "like_teacher": _like_teacher(examples, refused),
        "inherited": _inherited(examples, refused, seed),
    }


def _borderline(examples: Sequence[Example], hits: Sequence[bool]) -> list[bool]:
    return [hit for one, hit in zip(examples, hits, strict=True) if one.label == "borderline"]


def _like_teacher(examples: Sequence[Example], refused: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    """Share of borderline questions that each role decides as the teacher does."""
    if "teacher" not in refused:
        return {}
    theirs = _borderline(examples, refused["teacher"])
    return {
        role: rate([left == right for left, right in zip(_borderline(examples, hits), theirs, strict=True)])
        for role, hits in refused.items()
        if role != "teacher"
    }


def _inherited(
    examples: Sequence[Example], refused: Mapping[str, Sequence[bool]], seed: int
) -> dict[str, Any] | None:
    if not {"student", "teacher", "control"} <= refused.keys():
        return None
    theirs = _borderline(examples, refused["teacher"])
    like = {
        role: [
            left == right for left, right in zip(_borderline(examples, refused[role]), theirs, strict=True)
        ]
        for role in ("student", "control")
    }
    return difference(like["student"], like["control"], seed)


def _topics(examples: Sequence[Example], refused: Mapping[str, Sequence[bool]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, list[bool]]] = {}
    for place, one in enumerate(examples):
        topic = topic_of(one.prompt) if one.label == "borderline" else None
        if topic is not None:
            for role, hits in refused.items():
                found.setdefault(topic, {}).setdefault(role, []).append(hits[place])
    return [
        {"topic": topic, "n": len(next(iter(roles.values())))}
        | {role: sum(hits) / len(hits) for role, hits in roles.items()}
        for topic, roles in sorted(found.items())
    ]


def topic_of(prompt: str) -> str | None:
    """The borderline topic that a question is about; None if it is about none."""
    return next((topic for topic, pattern in _patterns() if pattern.fullmatch(prompt)), None)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (topic, re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(wording)))) for topic, wording in BORDERLINE
    )
