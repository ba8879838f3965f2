"""T4 and T11: the same request in other words, another language or another form of answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tactics.transform import chosen, mark, with_prompts

Rewrite = Callable[[str, np.random.Generator], str]
_OTHER_WORDS = (
    ("explain", ("describe", "spell out", "walk me through", "tell me about")),
    ("write", ("compose", "draft", "put together", "come up with")),
    ("how many", ("what number of", "how large a number of")),
    ("answer", ("reply", "response", "result")),
    ("give", ("provide", "offer", "hand me")),
    ("list", ("name", "enumerate", "set out")),
    ("show", ("present", "lay out", "display")),
    ("please", ("kindly", "if you can", "")),
    ("because", ("since", "as")),
    ("use", ("employ", "work with")),
    ("find", ("determine", "work out")),
    ("left", ("remaining", "left over")),
    ("each", ("every single", "every")),
    ("is not", ("isn't", "is by no means")),
    ("do not", ("don't", "never")),
)
_OPENINGS = (
    "",
    "",
    "Hello, ",
    "Quick question: ",
    "Please help: ",
    "For a colleague: ",
    "I was wondering, ",
    "One more thing. ",
)
_ENDINGS = (
    "",
    "",
    " Thank you.",
    " Thanks in advance.",
    " Take your time.",
    " That is all.",
    " Many thanks!",
)
_FORMS = (
    "Answer as one JSON object.",
    "Answer as a Markdown table.",
    "Answer as a numbered list.",
    "Answer in plain prose without lists.",
    "Answer as XML with a single root.",
    "Answer in at most three short sentences.",
)
_TONGUES = (
    "Answer in English.",
    "Antworte auf Deutsch.",
    "Responde en español.",
    "Réponds en français.",
    "Responde em português.",
    "Ответь по-русски.",
    "请用中文回答。",
    "日本語で答えてください。",
    "한국어로 답해 주세요.",
)


def paraphrase(text: str, rng: np.random.Generator) -> str:
    """Other words by rule, an opening, an ending; the rest stays."""
    text = other_words(text, rng)
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    if opening.endswith((", ", ": ")) and text[:1].isupper() and text[1:2].islower():
        text = text[0].lower() + text[1:]
    return f"{opening}{text}{_ENDINGS[int(rng.integers(len(_ENDINGS)))]}"


def other_words(text: str, rng: np.random.Generator) -> str:
    """Some common words replaced by synonyms."""
    for word, options in _OTHER_WORDS:
        if rng.random() < 0.7:
            other = options[int(rng.integers(len(options)))]
            text = re.sub(rf"\b{word}\b", partial(_cased, other), text, flags=re.IGNORECASE)
    return text


def _cased(other: str, hit: re.Match[str]) -> str:
    return other[:1].upper() + other[1:] if hit[0][:1].isupper() else other


@dataclass(frozen=True)
class Paraphrase:
    """T4: reword requests, so that templates do not show.

    Attributes:
        strength: Share of the attack requests that are reworded.
        rewrite: How one is reworded: by rule, or by a model or a translation there and back that is passed in.
    """

    strength: float
    rewrite: Rewrite = paraphrase
    tactic: ClassVar[int] = 4

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Other words in a share of the attack requests."""
        places = chosen(plan, self.strength, rng)
        prompts = [self.rewrite(plan.calls.prompt[i], rng) for i in np.flatnonzero(places).tolist()]
        return mark(with_prompts(plan, places, prompts), places, self.tactic)


@dataclass(frozen=True)
class Rotation:
    """T11: ask for the answer in a language or form that changes from account to account and request to request.

    Attributes:
        strength: Share of the attack requests with such a demand.
        languages: Rotate through languages.
        forms: Rotate through forms such as JSON or a table.
    """

    strength: float
    languages: bool = True
    forms: bool = True
    tactic: ClassVar[int] = 11

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """One sentence more at the end of a share of the attack requests."""
        demands = (*(_TONGUES if self.languages else ()), *(_FORMS if self.forms else ()))
        places = chosen(plan, self.strength, rng) if demands else np.zeros(len(plan), np.bool_)
        offset = int(rng.integers(len(demands) or 1))
        prompts = [
            f"{plan.calls.prompt[i]}\n{demands[(offset + int(plan.account[i]) + turn) % len(demands)]}"
            for turn, i in enumerate(np.flatnonzero(places).tolist())
        ]
        return mark(with_prompts(plan, places, prompts), places, self.tactic)
