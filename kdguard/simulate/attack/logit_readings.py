"""Logits of chosen tokens, read through log-probabilities and logit bias.

References:
    Carlini et al. (2024), arXiv 2403.06634, section 5 (top-k log-probabilities with bias);
    Finlayson, Ren and Swayamdipta (2024), arXiv 2403.09539.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.errors import AttackError

Floats = npt.NDArray[np.float64]
Channel = Literal["biased", "forced"]


@dataclass(frozen=True, eq=False)
class Readings:
    """Logits read through the API.

    Attributes:
        differences: Logit of each token less that of the first token, shape (prompts, tokens - 1).
        queries: Requests this took.
        channel: `biased` if log-probabilities show the bias, so that a query tells top-k tokens; `forced` if they
            do not, so that a query tells the one token that the bias forced.
    """

    differences: Floats
    queries: int
    channel: Channel


def read_logits(
    teacher: Teacher,
    prompts: Sequence[str],
    token_ids: Sequence[int],
    *,
    top_logprobs: int = 20,
    bias: float = 40.0,
    token_bytes: Mapping[bytes, int] | None = None,
) -> Readings:
    """Logits of chosen tokens after each prompt, less the logit of the first token."""
    tokens = list(dict.fromkeys(token_ids))
    if len(tokens) < 2 or top_logprobs < 2 or not 0 < bias <= 100:
        raise AttackError(
            f"need 2 tokens or more, top_logprobs >= 2 and a bias in (0, 100], got {len(tokens)}, "
            f"{top_logprobs} and {bias}"
        )
    names = token_bytes or {}
    channel = _channel(teacher, prompts[0], (tokens[:2], tokens[-2:]), bias, names)
    groups = _groups(tokens, top_logprobs) if channel == "biased" else [[token] for token in tokens]
    shown = top_logprobs if channel == "biased" else 0
    asks = [
        _ask(f"{i}-{j}", prompt, group, bias, shown)
        for i, prompt in enumerate(prompts)
        for j, group in enumerate(groups)
    ]
    answers = _answers(teacher, asks)
    rows = []
    for i in range(len(prompts)):
        told = [_told(answers[f"{i}-{j}"], names) for j in range(len(groups))]
        rows.append(_row(tokens, groups, told, own_scale=channel == "biased"))
    differences = np.array(rows, np.float64)
    if np.isnan(differences).any():
        raise AttackError(
            f"{int(np.isnan(differences).sum())} of {differences.size} biased tokens did not show in the answers of "
            f"'{teacher.name}': raise 'bias' above the spread of its logits, or give 'token_bytes' where it names "
            "tokens by bytes only"
        )
    return Readings(differences, len(asks) + 2, channel)


def _groups(tokens: Sequence[int], top_logprobs: int) -> list[list[int]]:
    """Tokens of each query; the first token is in all of them, so that each can be put on one scale."""
    width = top_logprobs - 1
    return [[tokens[0], *tokens[i : i + width]] for i in range(1, len(tokens), width)]


def _row(
    tokens: Sequence[int],
    groups: Sequence[Sequence[int]],
    told: Sequence[Mapping[int, float]],
    *,
    own_scale: bool,
) -> list[float]:
    """Logit of each token after one prompt less that of the first; NaN where an answer did not tell it."""
    found: dict[int, float] = {}
    for group, values in zip(groups, told, strict=True):
        base = values.get(tokens[0], np.nan) if own_scale else 0.0
        found |= {token: values.get(token, np.nan) - base for token in group}
    return [found[token] - found[tokens[0]] for token in tokens[1:]]


def _ask(name: str, prompt: str, tokens: Sequence[int], bias: float, shown: int) -> Ask:
    return Ask(
        request_id=f"hidden-{name}",
        prompt=prompt,
        temperature=0.0,
        max_tokens=1,
        top_logprobs=shown,
        logit_bias=dict.fromkeys(tokens, bias),
    )


def _answers(teacher: Teacher, asks: Sequence[Ask]) -> dict[str, Answer]:
    found = {answer.request_id.removeprefix("hidden-"): answer for answer in teacher.answer(asks)}
    broken = [answer for answer in found.values() if answer.tokens is None or len(answer.tokens) == 0]
    if broken or len(found) < len(asks):
        told = "no log-probabilities (leave out tokens that end an answer)"
        reason = broken[0].error or told if broken else "no answer"
        count = len(asks) - len(found) + len(broken)
        raise AttackError(f"teacher '{teacher.name}' failed {count} of {len(asks)} queries: {reason}")
    return found


def _channel(
    teacher: Teacher, prompt: str, pairs: Sequence[Sequence[int]], bias: float, names: Mapping[bytes, int]
) -> Channel:
    """Each of two biased pairs holds nearly all probability if answers show the bias; by nature one pair may."""
    answers = _answers(teacher, [_ask(f"probe-{i}", prompt, pair, bias, 2) for i, pair in enumerate(pairs)])
    told = [_told(answers[f"probe-{i}"], names) for i in range(len(pairs))]
    mass = [sum(np.exp(one[t]) for t in pair if t in one) for one, pair in zip(told, pairs, strict=True)]
    return "biased" if min(mass) > 0.95 else "forced"


def _told(answer: Answer, names: Mapping[bytes, int]) -> dict[int, float]:
    """Log-probabilities by token id at the first position, the sampled token included."""
    trace = answer.tokens
    if trace is None:
        return {}
    first = trace.token_bytes[0]
    chosen = int(trace.token_id[0]) if trace.token_id is not None else names.get(first, -1)
    found = {chosen: float(trace.logprob[0])}
    if trace.top_logprobs is not None:
        named = trace.top_bytes[0] if trace.top_bytes is not None else (b"",) * trace.alternatives
        ids = trace.top_ids[0].tolist() if trace.top_ids is not None else [-1] * trace.alternatives
        for token, name, value in zip(ids, named, trace.top_logprobs[0].tolist(), strict=True):
            found[token if token >= 0 else names.get(name, -1)] = value
    found.pop(-1, None)
    return found
