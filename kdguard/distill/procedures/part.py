"""What one forward and backward pass takes, and how families make it from items.

Rows are padded behind their end. A causal model never looks there from a place that is taught, so no attention mask is
needed. Letters: b rows, t tokens a row, n taught positions, v vocabulary.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kdguard.distill.students.data import Document
from kdguard.distill.students.order import rows_at
from kdguard.distill.students.plan import Mix, Plan
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One thing to learn: its tokens, and where they come from.

    Attributes:
        document: Tokens and weights under the student's tokenizer.
        domain: For teachers that answer for their own domain.
        turns: Conversation before the answer; empty for plain text.
        answer: The text to learn; None where only tokens are known.
        label: Class that the teacher named.
        label_probs: Classes and probabilities, as far as they were told.
        rejected: Document that the teacher likes less, for preferences.
    """

    document: Document
    domain: str = ""
    turns: tuple[Mapping[str, str], ...] = ()
    answer: str | None = None
    label: str | None = None
    label_probs: tuple[tuple[str, float], ...] = ()
    rejected: Document | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A micro-batch.

    Attributes:
        tensors: By name; saved whole when a loss is not finite.
        rows: Items it comes from.
        count: Sum of the weights of the whole optimiser batch, by which losses are divided.
        dose: Supervised tokens by source.
    """

    tensors: Mapping[str, Tensor]
    rows: tuple[int, ...]
    count: float
    dose: Mapping[str, int] = field(default_factory=dict)


class Losses(NamedTuple):
    """Scalars, already divided by the batch's count: from text, and from soft targets or any other teacher."""

    text: Tensor
    soft: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Procedure:
    """One way to train.

    Attributes:
        modules: What is trained, by name; "student" is what is kept. Each has its own gradient norm.
        parts: Gives the micro-batches of an optimiser step; they are the same for the same step and weights.
        losses: Losses of one micro-batch.
        after: Called when the weights have changed, with the steps done.
        state: Further tensors that a resumed run needs, changed in place.
        described: All that decides the result beyond plan and weights, see `about`; part of the run's digest.
    """

    modules: Mapping[str, nn.Module]
    parts: Callable[[int], Sequence[Part]]
    losses: Callable[[Part], Losses]
    after: Callable[[int], None] = lambda done: None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    described: Mapping[str, Any] = field(default_factory=dict)


def about(family: str, items: Sequence[Item], mix: Mix | None = None, **more: Any) -> dict[str, Any]:
    """What a procedure's digest rests on: its family, data, objective and settings."""
    told = {"family": family, "data": items_digest(items)} | more
    return told if mix is None else told | {"mix": mix.record()}


def items_digest(items: Sequence[Item]) -> str:
    """BLAKE2 digest of everything in items that training may see."""
    state = hashlib.blake2b(digest_size=16)
    for item in items:
        said = (item.domain, item.answer, item.label, item.label_probs, [dict(turn) for turn in item.turns])
        state.update(repr(said).encode())
        for document in (item.document, item.rejected):
            if document is not None:
                state.update(
                    document.source.encode() + document.tokens.tobytes() + document.weights.tobytes()
                )
    return state.hexdigest()


class Taught(NamedTuple):
    """Taught positions of a batch: places in the flattened logits, the tokens there, and their weights, (n,) each."""

    places: Tensor
    tokens: Tensor
    weights: Tensor


def rows_of_step(items: Sequence[Any], plan: Plan, seed: int, step: int) -> list[int]:
    """Items of an optimiser step, each once before any comes again."""
    return rows_at(seed, len(items), step * plan.rows, (step + 1) * plan.rows).tolist()


def cut(rows: Sequence[Any], plan: Plan) -> list[Sequence[Any]]:
    """Rows of an optimiser step in micro-batches; with fewer rows than planned the last ones are short or missing."""
    size = plan.rows // plan.micro_batches
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def padded(documents: Sequence[Document], device: torch.device) -> dict[str, Tensor]:
    """Documents as `tokens` (b, t) int64 and `weights` (b, t), padded with token 0 at weight 0; first weights are 0."""
    longest = max(len(document.tokens) for document in documents)
    tokens = np.zeros((len(documents), longest), np.int64)
    weights = np.zeros((len(documents), longest), np.float32)
    for row, document in enumerate(documents):
        tokens[row, : len(document.tokens)] = document.tokens
        weights[row, 1 : len(document.tokens)] = document.weights[1:]
    return {
        "tokens": torch.from_numpy(tokens).to(device),
        "weights": torch.from_numpy(weights).to(device),
    }


def document_parts(
    documents: Sequence[Document], rows: Sequence[int], plan: Plan, device: torch.device
) -> list[Part]:
    """Micro-batches of padded documents.

    Args:
        documents: Of the optimiser step.
        rows: The items they come from.
        plan: For the size of a micro-batch.
        device: Where the tensors are to lie.
    """
    total = float(sum(document.weights[1:].sum() for document in documents))
    pairs = list(zip(rows, documents, strict=True))
    return [
        Part(
            padded([document for _, document in piece], device),
            tuple(row for row, _ in piece),
            total,
            dose_of([document for _, document in piece]),
        )
        for piece in cut(pairs, plan)
    ]


def dose_of(documents: Sequence[Document]) -> dict[str, int]:
    """Supervised tokens by source."""
    found: Counter[str] = Counter()
    for document in documents:
        found[document.source] += int(np.count_nonzero(document.weights[1:]))
    return dict(found)


def taught(tensors: Mapping[str, Tensor]) -> Taught:
    """Where the logits of padded rows predict a taught token."""
    tokens, weights = tensors["tokens"], tensors["weights"]
    at = weights.flatten().nonzero().squeeze(-1)
    return Taught(at - 1, tokens.flatten()[at], weights.flatten()[at])


def at_places(values: Tensor, places: Tensor) -> Tensor:
    """Rows of (b, t, d) at flattened places: (n, d)."""
    return values.flatten(0, 1)[places]


def weighted(losses: Tensor, weights: Tensor, count: float) -> Tensor:
    """Sum of losses (n,) times weights (n,) over the weights of the whole optimiser batch."""
    return (losses * weights).sum() / max(count, 1e-12)


def shortened(items: Sequence[Item], length: int) -> list[Item]:
    """Items whose documents fit, and the others with their ends cut off, where something is still taught.

    Raises:
        TrainingError: Nothing is left.
    """
    kept = [
        replace(item, document=cut_short(item.document, length), rejected=_maybe(item.rejected, length))
        for item in items
        if item.document.weights[1:length].any()
    ]
    if not kept:
        raise TrainingError(f"none of {len(items)} items has a supervised token within {length} tokens")
    return kept


def cut_short(document: Document, length: int) -> Document:
    """A document without what lies beyond `length` tokens."""
    if len(document.tokens) <= length:
        return document
    return Document(document.tokens[:length], document.weights[:length], document.source)


def _maybe(document: Document | None, length: int) -> Document | None:
    return None if document is None else cut_short(document, length)
