"""What came back: status, refusal, tokens, latency and a short snippet of the response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.simulate.activity import Activity
from kdguard.simulate.grammar import grammar, grammars
from kdguard.simulate.setting import Floats, Ints, Setting


@dataclass(frozen=True)
class Results:
    """Result columns of one account's requests."""

    response: list[str | None]
    finish_reason: list[str | None]
    refused: npt.NDArray[np.bool_]
    status: Ints
    input_tokens: Ints
    output_tokens: Ints
    latency_ms: Floats


def answer(setting: Setting, rng: np.random.Generator, asked: Activity, language: str) -> Results:
    """Draw the results of an account's requests; every account has error habits of its own."""
    n = len(asked)
    errors = rng.random(n) < rng.beta(1, 60)
    status = np.where(errors, rng.choice((429, 500, 400, 529), size=n, p=(0.6, 0.2, 0.1, 0.1)), 200)
    refused = (rng.random(n) < asked.refusal) & ~errors
    length = asked.effort * rng.lognormal(0, 0.6, size=n)
    limit = np.where(asked.max_tokens < 0, 16_000, asked.max_tokens)
    cut = length > limit
    output = np.where(errors, 0, np.where(refused, rng.integers(8, 40, size=n), np.minimum(length, limit)))
    output = np.maximum(output, np.where(errors, 0, 1)).astype(np.int64)
    texts = setting.pools.draw("answer", n, rng, language)
    unwilling = _refusals(language)
    response: list[str | None] = list(texts)
    for place in np.flatnonzero(refused).tolist():
        response[place] = unwilling[place % len(unwilling)]
    for place in np.flatnonzero(errors).tolist():
        response[place] = None
    reasons = np.where(errors, 3, np.where(refused, 2 * (rng.random() < 0.5), np.where(cut, 1, 0))).tolist()
    names: tuple[str | None, ...] = ("stop", "length", "content_filter", None)
    return Results(
        response=response,
        finish_reason=[names[reason] for reason in reasons],
        refused=refused,
        status=status.astype(np.int64),
        input_tokens=_input_tokens(asked),
        output_tokens=output,
        latency_ms=latency_ms(output, rng),
    )


def latency_ms(output: Ints | Floats, rng: np.random.Generator) -> Floats:
    """Milliseconds that answers of so many tokens took, at one account's speed; shape (n,)."""
    return np.round((250 + output * rng.uniform(6, 18)) * rng.lognormal(0, 0.3, size=len(output)), 1)


def _input_tokens(asked: Activity) -> Ints:
    """Four characters a token, as a log's reader would estimate; the system prompt counts."""
    prompts = np.fromiter(map(len, asked.prompt), np.int64, len(asked))
    systems = np.fromiter((len(text) if text else 0 for text in asked.system), np.int64, len(asked))
    return (prompts + systems) // 4 + 8


def _refusals(language: str) -> tuple[str, ...]:
    rules = grammar("languages", language) if language in grammars("languages") else grammar("english")
    return rules.rules["refusal"]
