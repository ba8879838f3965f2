"""Log-probabilities as the chat API of OpenAI writes them, to a trace: bytes, never ids."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kdguard.exchanges.tokens import TokenTrace


def trace_of_chat(content: Any) -> TokenTrace | None:
    """Read `choices[i].logprobs.content`.

    Args:
        content: A list of `{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}, ...]}`. Where
            `bytes` is null, the token's text stands for them.

    Returns:
        The trace, with `top_bytes` and a tail mass where alternatives were told; None if `content` is of another
        shape anywhere. A list that is wrong at one place is not trusted at the others.
    """
    if not isinstance(content, list):
        return None
    try:
        told = [_pair(entry) for entry in content]
        tops = [[_pair(entry) for entry in entry.get("top_logprobs") or ()] for entry in content]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    pieces, logprob = tuple(piece for piece, _ in told), np.array([value for _, value in told], np.float32)
    k = max(map(len, tops), default=0)
    if not k:
        return TokenTrace(pieces, logprob)
    top_logprobs = np.full((len(told), k), -np.inf, np.float32)
    for row, top in zip(top_logprobs, tops, strict=True):
        row[: len(top)] = [value for _, value in top]
    held = np.exp(top_logprobs.astype(np.float64)).sum(axis=1)
    return TokenTrace(
        pieces,
        logprob,
        top_bytes=tuple((*(piece for piece, _ in top), *[b""] * (k - len(top))) for top in tops),
        top_logprobs=top_logprobs,
        tail_mass=np.clip(1 - held, 0, 1).astype(np.float32),
    )


def _pair(entry: dict[str, Any]) -> tuple[bytes, float]:
    octets, value = entry.get("bytes"), float(entry["logprob"])
    if math.isnan(value):
        raise ValueError("a log-probability must be a number")
    if octets is None:
        return str(entry["token"]).encode("utf-8", "replace"), value
    if not isinstance(octets, list):
        raise TypeError("bytes must be a list")
    return bytes(octets), value
