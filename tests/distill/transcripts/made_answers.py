"""Asks and answers made by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.exchanges.tokens import TokenTrace


def trace(number: int, tokens: int = 8, k: int = 4) -> TokenTrace:
    rng = np.random.default_rng(number)
    logprobs = -np.sort(rng.exponential(2.0, (tokens, k)), axis=1).astype(np.float16).astype(np.float32)
    ids = rng.integers(0, 512, (tokens, k)).astype(np.int32)
    return TokenTrace(
        token_bytes=tuple(b"w%d " % i for i in ids[:, 0]),
        logprob=logprobs[:, 0],
        token_id=ids[:, 0],
        top_ids=ids,
        top_logprobs=logprobs,
        tail_mass=np.full(tokens, 0.125, np.float32),
    )


def ask(number: int, **more: Any) -> Ask:
    return Ask(
        request_id=f"r{number:04d}", prompt=f"question {number}", system="Be brief.", top_logprobs=4, **more
    )


def answers(number: int, choices: int = 1, **more: Any) -> list[Answer]:
    return [
        Answer(
            request_id=f"r{number:04d}",
            choice=choice,
            model="made",
            response=f"answer {number}.{choice}",
            tokens=trace(10 * number + choice),
            **more,
        )
        for choice in range(choices)
    ]


def failure(number: int) -> list[Answer]:
    return [failed(ask(number), "made", status=503, error="down")]
