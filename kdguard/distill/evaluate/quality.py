"""What a model can do, how sure it is of it, and how well it knows given text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.distill.corpora.example import Example, verify
from kdguard.distill.evaluate.intervals import rate, ratio
from kdguard.distill.evaluate.readings import Reading

BINS = 10


def capability(examples: Sequence[Example], texts: Sequence[str]) -> dict[str, Any]:
    """Share of right answers by task, by exact ground truth, with exact intervals."""
    by_task: dict[str, list[bool]] = {}
    for one, text in zip(examples, texts, strict=True):
        by_task.setdefault(one.kind, []).append(verify(one, text))
    return {task: rate(hits) for task, hits in sorted(by_task.items())}


def perplexity(readings: Sequence[Reading | None], texts: Sequence[str], seed: int) -> dict[str, Any] | None:
    """How well a model predicts texts: nats a token with interval, perplexity, and bits a byte.

    Bits a byte may be compared between tokenizers, perplexities may not.

    Args:
        readings: Of the texts; None is left out.
        texts: The same, as text.
        seed: Of the bootstrap.
    """
    known = [(one, text) for one, text in zip(readings, texts, strict=True) if one is not None and text]
    nats = [-float(one.logprob.sum()) for one, _ in known]
    found = ratio(nats, [float(len(one.logprob)) for one, _ in known], seed)
    if found is None:
        return None
    size = sum(len(text.encode()) for _, text in known)
    return {
        "nats_per_token": found,
        "perplexity": math.exp(min(found["value"], 700.0)),
        "bits_per_byte": sum(nats) / math.log(2) / max(size, 1),
    }


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> dict[str, Any] | None:
    """Expected calibration error over ten bins of equal width, and the bins; None without any prediction.

    Args:
        confidence: Probabilities that a model gave to what it said, in [0, 1].
        right: Whether that was right.

    References:
        Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599.
    """
    sure, hits = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not len(sure):
        return None
    place = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    bins = [_bin(number, sure[place == number], hits[place == number]) for number in range(BINS)]
    error = sum(one["n"] * abs(one["confidence"] - one["right"]) for one in bins if one["n"]) / len(sure)
    return {"ece": error, "n": len(sure), "bins": [one for one in bins if one["n"]]}


def _bin(number: int, sure: npt.NDArray[np.float64], hits: npt.NDArray[np.float64]) -> Mapping[str, Any]:
    count = len(sure)
    return {
        "from": number / BINS,
        "to": (number + 1) / BINS,
        "n": count,
        "confidence": float(sure.mean()) if count else 0.0,
        "right": float(hits.mean()) if count else 0.0,
    }


def token_calibration(readings: Sequence[Reading | None]) -> dict[str, Any] | None:
    """Calibration of the likeliest next token on the right answers."""
    known = [one for one in readings if one is not None]
    if not known:
        return None
    return calibration(
        np.concatenate([one.confidence for one in known]).tolist(),
        np.concatenate([one.right for one in known]).tolist(),
    )


def answer_calibration(
    examples: Sequence[Example], texts: Sequence[str], readings: Sequence[Reading | None]
) -> dict[str, Any] | None:
    """Calibration of whole answers: the probability of the greedy answer against whether it is right."""
    known = [
        (math.exp(float(one.logprob.sum())), verify(example, text))
        for example, text, one in zip(examples, texts, readings, strict=True)
        if one is not None
    ]
    return calibration([sure for sure, _ in known], [hit for _, hit in known])
