"""Extraction techniques as prompt grammars around benign payloads.

Only the look of such traffic matters here: detectors are fitted and judged on it. Wordings are split by
hash into halves, so an evaluation uses phrases that fitting never saw.

References:
    Anthropic (2026), https://www.anthropic.com/news/detecting-and-preventing-distillation-attacks
    Wang et al. (2022), arXiv 2212.10560; Xu et al. (2023), arXiv 2304.12244; Krishna et al. (2020),
    arXiv 1910.12366 (random-text queries); Orekondy et al. (2019), arXiv 1812.02766 (knock-off).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.errors import WorldError
from kdguard.simulate.grammar import Half, grammar, grammars

WRAPPED = ("cot_elicit", "trace_coercion", "rubric_grade", "pref_pair", "evol_instruct", "technique_sweep")
PLAIN = ("capability_sweep", "knockoff", "label_harvest", "logprob_harvest")
TECHNIQUES: tuple[str, ...] = WRAPPED + PLAIN
LANGUAGES: tuple[str, ...] = ("en", "de", "es", "fr", "pt", "ru", "zh", "ja", "ko")
PAYLOAD_KINDS: dict[str, tuple[str, ...]] = {
    "cot_elicit": ("math", "code", "question", "chat"),
    "trace_coercion": ("math", "code", "chat", "instruct"),
    "rubric_grade": ("chat", "instruct", "code", "math"),
    "pref_pair": ("chat", "instruct", "question"),
    "evol_instruct": ("instruct", "chat", "code"),
    "technique_sweep": ("math", "code", "chat"),
    "capability_sweep": ("code", "tool_use", "math"),
    "knockoff": ("wordsalad",),
    "label_harvest": ("utterance", "review"),
    "logprob_harvest": ("chat", "question", "document"),
}
"""Kinds of benign text that each technique wraps or sends as they are."""


def check_technique(technique: str) -> str:
    """Return the technique, or say which ones exist."""
    if technique not in TECHNIQUES:
        raise WorldError(f"unknown technique '{technique}'; known are: {', '.join(TECHNIQUES)}")
    return technique


def languages_of(technique: str) -> tuple[str, ...]:
    """Languages in which the wordings of a technique are written."""
    return tuple(grammars(technique)) if technique in WRAPPED else LANGUAGES


@dataclass(frozen=True)
class Script:
    """The few prompt templates of one operator.

    Attributes:
        technique: What it elicits.
        language: Language of the wording.
        split: Which half of the phrases it may use.
        templates: The drawn templates, each with `{PAYLOAD}` and at times `{ANSWER}` or `{OTHER}`.
    """

    technique: str
    language: str
    split: Half
    templates: tuple[str, ...]

    def write(
        self,
        payloads: Sequence[str],
        answers: Sequence[str],
        rng: np.random.Generator,
        paraphrase: float = 0.0,
    ) -> list[str]:
        """One prompt a payload; a share `paraphrase` of them in a wording of its own."""
        n = len(payloads)
        fresh = np.flatnonzero(rng.random(n) < paraphrase) if paraphrase > 0 else np.empty(0, np.int64)
        picks = rng.integers(len(self.templates), size=n).tolist()
        templates = [self.templates[pick] for pick in picks]
        drawn = wordings(self.technique, len(fresh), rng, self.split, self.language)
        for place, template in zip(fresh.tolist(), drawn, strict=True):
            templates[place] = template
        return fill(templates, payloads, answers, rng)


def wordings(technique: str, n: int, rng: np.random.Generator, split: Half, language: str) -> list[str]:
    """`n` templates of a technique in one language; plain techniques have the bare payload only."""
    if n == 0:
        return []
    if technique in PLAIN:
        return _plain(technique, n, rng, split, language)
    templates = grammar(technique, language, split).expand("start", n, rng)
    if technique == "technique_sweep":
        inner = rng.integers(len(WRAPPED) - 1, size=n).tolist()
        return [
            template.replace("{INNER}", wordings(WRAPPED[pick], 1, rng, split, language)[0])
            for template, pick in zip(templates, inner, strict=True)
        ]
    return templates


def _plain(technique: str, n: int, rng: np.random.Generator, split: Half, language: str) -> list[str]:
    """Label harvesting sends an ordinary labelling prompt; the others send the bare payload."""
    if technique == "label_harvest":
        return grammar("templates", language, split).expand("labelling", n, rng)
    return ["{PAYLOAD}"] * n


def fill(
    templates: Sequence[str], payloads: Sequence[str], answers: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """Put payloads, candidate answers and second payloads into templates."""
    n = len(payloads)
    shift = 1 + int(rng.integers(max(n - 1, 1)))
    prompts: list[str] = []
    for i, template in enumerate(templates):
        if "{ANSWER}" in template:
            template = template.replace("{ANSWER}", answers[i % len(answers)])
        if "{OTHER}" in template:
            second = answers if "{PAYLOAD}" not in template or "1." not in template else payloads
            template = template.replace("{OTHER}", second[(i + shift) % len(second)])
        prompts.append(template.replace("{PAYLOAD}", payloads[i]))
    return prompts


def script(
    technique: str, rng: np.random.Generator, *, split: Half, language: str, templates: int | None = None
) -> Script:
    """Draw an operator's script: one to four templates unless told."""
    check_technique(technique)
    count = templates or int(rng.integers(1, 5))
    return Script(technique, language, split, tuple(wordings(technique, count, rng, split, language)))


def elicit(
    payloads: Sequence[str],
    technique: str,
    rng: np.random.Generator,
    *,
    split: Half = "fit",
    language: str | None = None,
    answers: Sequence[str] | None = None,
) -> list[str]:
    """Attack prompts for training a request classifier, one a payload, each in a wording of its own.

    Args:
        payloads: Benign texts, best of the kinds `PAYLOAD_KINDS[technique]`.
        technique: One of `TECHNIQUES`.
        rng: Source of wordings.
        split: Half of the phrase alternatives to use, or `both`.
        language: Wording's language; None draws one a prompt.
        answers: Candidate answers for techniques that show one; None writes them in the wording's language.
    """
    check_technique(technique)
    known = languages_of(technique)
    if language is not None and language not in known:
        raise WorldError(
            f"technique '{technique}' is not written in '{language}'; it is in: {', '.join(known)}"
        )
    picks = rng.integers(len(known), size=len(payloads))
    if language is not None:
        picks[:] = known.index(language)
    prompts = [""] * len(payloads)
    for i, name in enumerate(known):
        places = np.flatnonzero(picks == i).tolist()
        templates = wordings(technique, len(places), rng, split, name)
        replies = answers or plain_answers(name, len(places), rng)
        written = fill(templates, [payloads[place] for place in places], replies, rng)
        for place, text in zip(places, written, strict=True):
            prompts[place] = text
    return prompts


def plain_answers(language: str, n: int, rng: np.random.Generator) -> list[str]:
    """At least two ordinary answers in a language."""
    rules = grammar("english") if language == "en" else grammar("languages", language)
    return rules.expand("answer", max(n, 2), rng)
