"""What answers cost: latency of single requests, tokens a second of many, memory, and money at a given price."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kdguard.distill.corpora.example import Example
from kdguard.distill.evaluate.judged import Answers, Clock, Judged, writer_of
from kdguard.distill.students.documents import ask
from kdguard.distill.students.tokenizer import conversation_ids

LEVELS = (50, 95, 99)


def efficiency(
    judged: Judged,
    examples: Sequence[Example],
    together: Answers,
    *,
    max_tokens: int,
    price_per_hour: float | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Measure one model on one machine.

    Args:
        judged: The model.
        examples: Prompts that are asked one at a time.
        together: The same or other prompts, decoded together.
        max_tokens: Most tokens of an answer.
        price_per_hour: Of the machine.
        clock: Seconds.

    Returns:
        `latency_ms` at P50, P95, P99; `tokens_per_s` decoded together; `peak_process_bytes`; `peak_device_bytes` on a
        GPU; with a price, `cost_per_1000_requests` together and one at a time.
    """
    device = next(judged.model.parameters()).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    spent = _single(judged, examples, max_tokens, clock)
    each = together.seconds / max(len(together.texts), 1)
    found: dict[str, Any] = {
        "latency_ms": {f"p{level}": float(np.percentile(spent, level) * 1e3) for level in LEVELS},
        "requests": len(spent),
        "tokens_per_s": together.tokens / max(together.seconds, 1e-9),
        "peak_process_bytes": _peak_bytes(),
        "peak_device_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "device": str(device),
    }
    if price_per_hour is not None:
        found["price_per_hour"] = price_per_hour
        found["cost_per_1000_requests"] = {
            "together": price_per_hour * each * 1000 / 3600,
            "one_at_a_time": price_per_hour * float(np.mean(spent)) * 1000 / 3600,
        }
    return found


def _single(judged: Judged, examples: Sequence[Example], max_tokens: int, clock: Clock) -> list[float]:
    """Seconds of each request, one after the other; the first is run twice, and its warm-up forgotten."""
    writer = writer_of(judged, max_tokens)
    prompts = conversation_ids(judged.tokenizer, [ask(one.prompt) for one in examples])
    fitting = [ids for ids in prompts if len(ids) < writer.length]
    spent = []
    for ids in (fitting[:1] + fitting) if fitting else []:
        began = clock()
        writer.write([ids], 0)
        spent.append(clock() - began)
    return spent[1:] or [0.0]


def _peak_bytes() -> int:
    """Most memory that this process held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
