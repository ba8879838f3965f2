"""Bytes that a token of a transcript takes, by vocabulary and by how undecided the teacher is.

`python -m tests.bench.storage`, one JSON line a result. Ids follow no pattern and distributions are as spread as the
entropy says, so that a compressor finds nothing but what the packing leaves it. `python -m tests.bench.distillation`
measures the same on answers of a trained teacher, and what students lose by it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdguard.distill.transcripts.draws import draw_soft_labels
from kdguard.distill.transcripts.sizes import Sizes, measure
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.exchanges.tokens import TokenTrace

VOCABULARIES = (8_192, 50_257, 151_936)
ENTROPIES = (0.5, 1.0, 2.0, 3.0, 4.0)
"""Nats. Assistants answer at about 0.5 to 1, free prose lies at 2 to 3."""
TOP = 20
DRAWS = 42
TARGETS = {"top-20": 85.0, "top-20 without ids": 85.0, "sampled": 35.0}
SUPPORT = 1_024  # tokens that can be said at a position
Floats = NDArray[Any]
Integers = NDArray[Any]
Made = Callable[[np.random.Generator, Floats, Integers, int], TokenTrace]


def distributions(rng: np.random.Generator, tokens: int, entropy: float) -> Floats:
    """Log-probabilities (t, `SUPPORT`), likeliest first, each row with this entropy: tempered normal logits."""
    normal = np.sort(rng.normal(size=(tokens, SUPPORT)), axis=1)[:, ::-1]
    low, high = np.zeros((tokens, 1)), np.full((tokens, 1), 1e3)
    for _ in range(40):
        middle = (low + high) / 2
        logprobs = _normalised(normal * middle)
        flat = -(np.exp(logprobs) * logprobs).sum(axis=1, keepdims=True) > entropy
        low, high = np.where(flat, middle, low), np.where(flat, high, middle)
    return _normalised(normal * low)


def _normalised(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def top(rng: np.random.Generator, logprobs: Floats, ids: Integers, vocab: int) -> TokenTrace:
    """What a teacher tells whose ids are known."""
    listed = logprobs[:, :TOP]
    tail = np.clip(1 - np.exp(listed).sum(axis=1), 0, 1)
    return TokenTrace(_bytes(ids), listed[:, 0], ids[:, 0], ids[:, :TOP], None, listed, tail)


def top_bytes(rng: np.random.Generator, logprobs: Floats, ids: Integers, vocab: int) -> TokenTrace:
    """What an API tells: bytes of the alternatives."""
    told = top(rng, logprobs, ids, vocab)
    pieces = tuple(tuple(b"w%d" % token for token in row) for row in ids[:, :TOP].tolist())
    return TokenTrace(told.token_bytes, told.logprob, None, None, pieces, told.top_logprobs, told.tail_mass)


def sampled(rng: np.random.Generator, logprobs: Floats, ids: Integers, vocab: int) -> TokenTrace:
    """What the owner of a teacher can keep: draws."""
    places, counts = draw_soft_labels(logprobs, DRAWS, rng)
    drawn = np.where(places >= 0, np.take_along_axis(ids, np.maximum(places, 0), axis=1), vocab)
    order = np.argsort(drawn, axis=1)
    drawn, counts = (np.take_along_axis(part, order, axis=1) for part in (drawn, counts))
    return TokenTrace(
        _bytes(ids), logprobs[:, 0], ids[:, 0], np.where(drawn == vocab, -1, drawn), sampled_counts=counts
    )


def _bytes(ids: Integers) -> tuple[bytes, ...]:
    return tuple(b"w%d" % token for token in ids[:, 0].tolist())


def sizes(make: Made, vocab: int, spread: Sequence[Floats]) -> Sizes:
    """Write one choice for each of the distributions, and measure."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder, TranscriptWriter(Path(folder)) as writer:
        for choice, logprobs in enumerate(spread):
            order = rng.permutation(vocab)
            begins = rng.integers(vocab, size=(len(logprobs), 1))
            ids = order[(begins + np.arange(SUPPORT)) % vocab]
            row = {"request_id": f"r{choice}", "choice": 0, "response": "text"}
            writer.append_rows([row], [make(rng, logprobs, ids, vocab)])
        writer.seal()
        return measure(folder)


def results(choices: int, tokens: int) -> Iterator[dict[str, Any]]:
    """One line a vocabulary, entropy and way to keep alternatives."""
    kinds: dict[str, Made] = {"top-20": top, "top-20 without ids": top_bytes, "sampled": sampled}
    rng = np.random.default_rng(0)
    for entropy in ENTROPIES:
        spread = [distributions(rng, tokens, entropy) for _ in range(choices)]
        for vocab in VOCABULARIES:
            for name, make in kinds.items():
                found = sizes(make, vocab, spread)
                yield {
                    "bench": "storage",
                    "kept": name,
                    "vocab": vocab,
                    "entropy_nats": entropy,
                    "alternatives": round(found.alternatives, 1),
                    "bytes_per_token": round(found.bytes_per_token, 1),
                    "target": TARGETS[name],
                    "reached": found.bytes_per_token <= TARGETS[name],
                }


def main() -> None:
    """Print one JSON line a result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choices", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=150, help="tokens a choice")
    given = parser.parse_args()
    for line in results(given.choices, given.tokens):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
