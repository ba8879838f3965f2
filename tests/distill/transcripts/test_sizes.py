"""Bytes per token stay within what was promised, for teachers whose ids a compressor can do nothing about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdguard.distill.transcripts.draws import draw_soft_labels
from kdguard.distill.transcripts.sizes import Sizes, measure
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TranscriptError
from kdguard.exchanges.tokens import TokenTrace

CHOICES, TOKENS = 30, 200
Made = Callable[[np.random.Generator, int], TokenTrace]


def distribution(rng: np.random.Generator, v: int) -> tuple[Any, Any]:
    """Log-probabilities of about 2 nats, likeliest first, shape (t, 512), and ids without any pattern."""
    logits = np.sort(rng.normal(0, 2.6, (TOKENS, 512)), axis=1)[:, ::-1] * 1.6
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ids = np.stack([rng.choice(v, 512, replace=False) for _ in range(TOKENS)])
    return logprobs, ids


def top(rng: np.random.Generator, v: int) -> TokenTrace:
    logprobs, ids = distribution(rng, v)
    return TokenTrace(
        token_bytes=tuple(b"w%d" % token for token in ids[:, 0]),
        logprob=logprobs[:, 0],
        token_id=ids[:, 0],
        top_ids=ids[:, :20],
        top_logprobs=logprobs[:, :20],
        tail_mass=1 - np.exp(logprobs[:, :20]).sum(axis=1),
    )


def api(rng: np.random.Generator, v: int) -> TokenTrace:
    told = top(rng, v)
    assert told.top_ids is not None
    pieces = tuple(tuple(b"w%d" % token for token in row) for row in told.top_ids)
    return TokenTrace(
        told.token_bytes,
        told.logprob,
        top_bytes=pieces,
        top_logprobs=told.top_logprobs,
        tail_mass=told.tail_mass,
    )


def sampled(rng: np.random.Generator, v: int) -> TokenTrace:
    logprobs, ids = distribution(rng, v)
    order = np.argsort(ids, axis=1)
    rising = np.take_along_axis(ids, order, axis=1)
    places, counts = draw_soft_labels(np.take_along_axis(logprobs, order, axis=1), 42, rng)
    drawn = np.where(places >= 0, np.take_along_axis(rising, np.maximum(places, 0), axis=1), -1)
    return TokenTrace(
        token_bytes=tuple(b"w%d" % token for token in ids[:, 0]),
        logprob=logprobs[:, 0],
        token_id=ids[:, 0],
        top_ids=drawn,
        sampled_counts=counts,
    )


def measured(folder: Path, make: Made, v: int) -> Sizes:
    rng = np.random.default_rng(0)
    with TranscriptWriter(folder) as writer:
        rows = [{"request_id": f"r{i}", "choice": 0, "response": "text"} for i in range(CHOICES)]
        writer.append_rows(rows, [make(rng, v) for _ in rows])
        writer.seal()
    return measure(folder)


@pytest.mark.parametrize(
    ("make", "v", "kind", "most"),
    [
        (top, 8_192, "top_ids", 75),
        (top, 151_936, "top_ids", 85),
        (api, 8_192, "top_bytes", 85),
        (sampled, 8_192, "sampled", 32),
        (sampled, 32_000, "sampled", 35),
    ],
)
def test_a_token_costs_no_more_than_promised(
    tmp_path: Path, make: Made, v: int, kind: str, most: float
) -> None:
    sizes = measured(tmp_path, make, v)
    assert sizes.tokens == CHOICES * TOKENS
    assert dict(sizes.kinds) == {kind: sizes.tokens}
    assert sizes.bytes_per_token <= most, sizes.told()["columns_bytes_per_token"]
    assert sum(sizes.columns_bytes.values()) <= sizes.tokens_bytes


def test_ids_take_no_more_than_their_bits(tmp_path: Path) -> None:
    each = measured(tmp_path, top, 8_192).told()["columns_bytes_per_token"]
    assert each["top_ids"] <= 20 * 13.2 / 8  # ceil(log2 8192) = 13
    assert each["top_logprobs"] < 0.75 * 40


def test_an_open_folder_has_no_sizes_yet(tmp_path: Path) -> None:
    with TranscriptWriter(tmp_path) as writer:
        writer.append_rows([{"request_id": "a", "choice": 0}], [None])
        with pytest.raises(TranscriptError, match="once the transcripts are sealed"):
            measure(tmp_path)
        writer.seal()
    sizes = measure(tmp_path)
    assert (sizes.tokens, sizes.exchanges, sizes.alternatives) == (0, 1, 0.0)
    assert sizes.told()["bytes_per_token"] is None
