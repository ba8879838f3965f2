"""Honest prompts that look like extraction: the hard negatives of a request classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdguard.simulate.grammar import Half, grammar, grammars
from kdguard.simulate.techniques import fill, plain_answers

HONEST = ("evaluation", "judge", "labelling", "extraction", "ordinary", "product", "synthetic", "agent", "ci")
"""Template symbols of honest workloads that share words with the techniques."""


def benign_lookalikes(
    payloads: Sequence[str],
    rng: np.random.Generator,
    split: Half = "fit",
    language: str | None = None,
    answers: Sequence[str] | None = None,
) -> list[str]:
    """Honest look-alike prompts, one a payload.

    Step-by-step evaluations, judges of the customer's own product, labelling and extraction jobs, and
    ordinary talk of debugging, translating, rubrics and system prompts. About one in ten is the bare payload.

    Args:
        payloads: Benign texts of any kind.
        rng: Source of wordings.
        split: Half of the phrase alternatives to use, or `both`.
        language: Wording's language; None draws one a prompt, English half of the time.
        answers: Candidate answers for judges; None writes them in the wording's language.
    """
    n = len(payloads)
    known = list(grammars("templates"))
    weights = np.array([0.5 if name == "en" else 0.5 / max(len(known) - 1, 1) for name in known])
    fixed = None if language is None else known.index(language if language in known else "en")
    languages = rng.choice(len(known), size=n, p=weights / weights.sum())
    if fixed is not None:
        languages[:] = fixed
    symbols = rng.integers(len(HONEST) + 1, size=n)
    prompts = list(payloads)
    for i, name in enumerate(known):
        rules = grammar("templates", name, split)
        replies = answers or plain_answers(name, int((languages == i).sum()), rng)
        for j, symbol in enumerate(HONEST):
            places = np.flatnonzero((languages == i) & (symbols == j)).tolist()
            if places and symbol in rules.rules:
                templates = rules.expand(symbol, len(places), rng)
                written = fill(templates, [payloads[place] for place in places], replies, rng)
                for place, text in zip(places, written, strict=True):
                    prompts[place] = text
    return prompts
