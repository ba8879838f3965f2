"""Habits an owner has in any workload: call parameters, topics, prompt scripts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdguard.simulate.activity import Call
from kdguard.simulate.setting import Setting, pick
from kdguard.simulate.techniques import fill

TOOLS = (
    "search",
    "read_file",
    "run_shell",
    "sql",
    "calendar",
    "fetch_url",
    "create_ticket",
    "python",
    "send_email",
)
TOPICS = 40


def topics(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """The topics of one owner with `n` requests: few for some, most for others and for heavy users."""
    count = int(np.clip(rng.geometric(0.15), 1 + n // 300, TOPICS)) if n < 300 * TOPICS else TOPICS
    return tuple(rng.permutation(TOPICS)[:count].tolist())


def call(
    rng: np.random.Generator,
    *,
    system: str | None = None,
    effort: float = 180.0,
    tools: bool = False,
    sessions: float = 0.7,
    refusal: float | None = None,
    logprobs: float = 0.02,
) -> Call:
    """Draw the parameters an owner sends with each request.

    Args:
        rng: Source of randomness.
        system: System prompt or None.
        effort: Median output tokens before the owner's own factor.
        tools: Tool definitions are sent.
        sessions: Probability that the log has session ids.
        refusal: Share of refusals; None draws a small one.
        logprobs: Probability that log-probabilities are asked for.
    """
    wants = rng.random() < logprobs
    effort = effort * float(rng.lognormal(0, 0.4))
    return Call(
        system=system,
        tools=tool_json(rng) if tools else None,
        temperature=float(pick(rng, ("0", "0.2", "0.3", "0.7", "1"))) if rng.random() < 0.6 else None,
        max_tokens=int(pick(rng, ("256", "512", "1024", "2048", "4096"))) if rng.random() < 0.5 else None,
        logprobs=True if wants else (False if rng.random() < 0.2 else None),
        top_logprobs=int(rng.integers(1, 21)) if wants else None,
        choices=1 if rng.random() < 0.2 else (int(rng.integers(2, 6)) if rng.random() < 0.03 else None),
        endpoint=pick(rng, ("chat.completions", "responses", "messages"), (6, 2, 2)),
        effort=effort,
        refusal=float(rng.beta(1, 120)) if refusal is None else refusal,
        sessions=bool(rng.random() < sessions),
    )


def tool_json(rng: np.random.Generator) -> str:
    """Tool definitions of an owner, in the form the API takes them."""
    names = rng.permutation(len(TOOLS))[: int(rng.integers(1, 6))].tolist()
    return "[" + ",".join(f'{{"type":"function","function":{{"name":"{TOOLS[i]}"}}}}' for i in names) + "]"


def system_prompt(
    rng: np.random.Generator, setting: Setting, language: str, probability: float
) -> str | None:
    """A system prompt of the owner's own, or none."""
    if rng.random() >= probability:
        return None
    return setting.templates("system", 1, rng, language)[0]


def script(
    rng: np.random.Generator,
    setting: Setting,
    symbol: str,
    language: str,
    payloads: Sequence[str],
    count: int,
) -> list[str]:
    """Prompts from `count` templates of the owner's own, filled with payloads and ordinary answers."""
    templates = setting.templates(symbol, count, rng, language)
    picks = rng.integers(count, size=len(payloads)).tolist()
    answers = setting.pools.draw("answer", min(len(payloads), 500) + 1, rng, language)
    return fill([templates[pick] for pick in picks], payloads, answers, rng)


def mixed(
    rng: np.random.Generator,
    setting: Setting,
    kinds: Sequence[str],
    n: int,
    language: str,
    concentration: float = 0.7,
) -> list[str]:
    """`n` pool texts over several kinds in Dirichlet proportions, on the owner's topics."""
    weights = rng.dirichlet(np.full(len(kinds), concentration))
    counts = rng.multinomial(n, weights).tolist()
    own = topics(rng, n)
    drawn = [
        text
        for kind, count in zip(kinds, counts, strict=True)
        if count
        for text in setting.pools.draw(kind, count, rng, language, own)
    ]
    return [drawn[place] for place in rng.permutation(n).tolist()]
