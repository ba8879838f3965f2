"""Documents into rows of one length, with as little padding as is cheap, and without letting them see one another."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kdguard.distill.students.data import (
    PADDING,
    Document,
    Float32,
    Int32,
    SoftTargets,
    TrainingData,
    from_topk,
)
from kdguard.distill.students.plan import Mix
from kdguard.errors import TrainingError


def pack(documents: Sequence[Document], length: int, *, padding_id: int = 0) -> TrainingData:
    """Pack documents into rows: each goes to the fullest row that still has room, longest documents first.

    Documents keep their own positions and see only themselves. One that is longer than a row loses its end; if no
    supervised token is left it is dropped. Both are counted in `cut`.

    Args:
        documents: At least one with a supervised token.
        length: Tokens a row, at least 2.
        padding_id: Token at padded places; never supervised, never seen.

    Raises:
        TrainingError: Nothing is left to train on, or `length` is below 2.

    References:
        Best-fit-decreasing: Johnson (1974), Fast algorithms for bin packing.
    """
    if length < 2:
        raise TrainingError(f"a row needs at least 2 tokens, got a length of {length}")
    kept = [document for document in documents if document.weights[1:length].any()]
    if not kept:
        raise TrainingError(
            f"none of {len(documents)} documents has a supervised token within {length} tokens"
        )
    cut = sum(len(document.tokens) > length for document in kept) + len(documents) - len(kept)
    sizes = np.array([min(len(document.tokens), length) for document in kept])
    row_of = best_fit(sizes, length)
    return _lay_out(kept, sizes, row_of, length, padding_id, cut)


def pack_for(mix: Mix, documents: Sequence[Document], length: int) -> TrainingData:
    """Pack for an objective: where it learns from soft targets alone, tokens that have none become their own.

    Args:
        mix: The objective.
        documents: As for `pack`.
        length: Tokens a row.
    """
    if not mix.text and any(document.soft is not None for document in documents):
        documents = [hardened(document) for document in documents]
    return pack(documents, length)


def hardened(document: Document) -> Document:
    """A document whose tokens all have soft targets: those without are their own, the end of an answer among them.

    So text and soft targets weigh alike, and nothing that is to be learnt is left to a loss of weight 0.
    """
    told = np.empty(0, np.int32) if document.soft_at is None else document.soft_at
    taught = np.flatnonzero(document.weights[1:] > 0) + 1
    bare = np.setdiff1d(taught, told).astype(np.int32)
    width = 1 if document.soft is None else document.soft.width
    ids = np.full((len(bare), width), PADDING, np.int32)
    logprobs = np.full((len(bare), width), -np.inf, np.float32)
    ids[:, 0], logprobs[:, 0] = document.tokens[bare], 0.0
    own = from_topk(ids, logprobs)
    if document.soft is None:
        return replace(document, soft=own, soft_at=bare)
    order = np.argsort(np.concatenate([told, bare]), kind="stable")
    parts = [
        np.concatenate([getattr(document.soft, name), getattr(own, name)])[order]
        for name in ("ids", "logprobs", "tail")
    ]
    return replace(document, soft=SoftTargets(*parts), soft_at=np.concatenate([told, bare])[order])


def best_fit(sizes: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Row of each document under best-fit-decreasing; ties keep the given order, so the result is repeatable."""
    row_of = np.empty(len(sizes), np.int64)
    room: dict[int, list[int]] = defaultdict(list)  # free places -> rows
    free: list[int] = []  # the keys of `room`, rising
    rows = 0
    for document in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[document])
        place = bisect_left(free, size)
        if place == len(free):
            row, left = rows, length
            rows += 1
        else:
            left = free[place]
            row = room[left].pop()
            if not room[left]:
                del room[left], free[place]
        row_of[document] = row
        left -= size
        if left:
            if left not in room:
                insort(free, left)
            room[left].append(row)
    return row_of


def _lay_out(
    documents: Sequence[Document],
    sizes: NDArray[np.int64],
    row_of: NDArray[np.int64],
    length: int,
    padding_id: int,
    cut: int,
) -> TrainingData:
    rows = int(row_of.max()) + 1
    names = tuple(sorted({document.source for document in documents}))
    tokens = np.full((rows, length), padding_id, np.int32)
    numbers = np.full((rows, length), PADDING, np.int32)
    positions = np.zeros((rows, length), np.int32)
    weights = np.zeros((rows, length), np.float32)
    counts = np.zeros((rows, len(names)), np.int32)
    soft_rows = np.full((rows, length), PADDING, np.int32)
    used, held = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    collected = _Soft()
    for document, size, row in zip(documents, sizes.tolist(), row_of.tolist(), strict=True):
        start, stop = int(used[row]), int(used[row]) + size
        tokens[row, start:stop] = document.tokens[:size]
        numbers[row, start:stop] = held[row]
        positions[row, start:stop] = np.arange(size)
        weights[row, start + 1 : stop] = document.weights[1:size]
        counts[row, names.index(document.source)] += np.count_nonzero(document.weights[1:size])
        collected.add(document, soft_rows[row, start:stop], size)
        used[row], held[row] = stop, held[row] + 1
    soft = collected.join()
    return TrainingData(
        tokens, numbers, positions, weights, soft_rows if soft else None, soft, names, counts, cut
    )


class _Soft:
    """Collects soft targets of documents of different widths into one table."""

    def __init__(self) -> None:
        self.parts: list[tuple[Int32, Float32, Float32]] = []
        self.rows = 0

    def add(self, document: Document, pointers: Int32, size: int) -> None:
        """Keep the document's rows that fall within `size` tokens and point at them; place 0 is never taught."""
        if document.soft is None or document.soft_at is None:
            return
        inside = (document.soft_at > 0) & (document.soft_at < size)
        places = document.soft_at[inside]
        pointers[places] = self.rows + np.arange(len(places), dtype=np.int32)
        soft = document.soft
        self.parts.append((soft.ids[inside], soft.logprobs[inside], soft.tail[inside]))
        self.rows += len(places)

    def join(self) -> SoftTargets | None:
        if not self.rows:
            return None
        width = max(part[0].shape[1] for part in self.parts)
        ids = np.full((self.rows, width), PADDING, np.int32)
        logprobs = np.full((self.rows, width), -np.inf, np.float32)
        at = 0
        for part_ids, part_logprobs, _ in self.parts:
            stop = at + len(part_ids)
            ids[at:stop, : part_ids.shape[1]] = part_ids
            logprobs[at:stop, : part_ids.shape[1]] = part_logprobs
            at = stop
        return SoftTargets(ids, logprobs, np.concatenate([part[2] for part in self.parts]))
