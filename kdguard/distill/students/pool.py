"""The data of all slots on the device, and the batch of a step gathered from it without asking the host.

Shapes are fixed before the run: the widest batch of any step is known, because the order of the rows is.
Letters: m slots, b rows a slot, t tokens a row, s supervised positions a slot, k listed tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.students.attention import by_document, has_document_kernel, masked
from kdguard.distill.students.data import PADDING, TrainingData, check_data
from kdguard.distill.students.head import Targets
from kdguard.distill.students.order import Int64, rows_at
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import Shape
from kdguard.distill.students.stacked import Rows
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of all distinct data sets, one after the other, and where each slot's begin.

    Attributes:
        tokens: (r, t) int32.
        documents: (r, t) int32.
        positions: (r, t) int32.
        weights: (r, t) float32.
        soft_rows: (r, t) int32 into `ids`, or None when no slot learns from soft targets.
        ids: (q, k) int32.
        logprobs: (q, k) float32.
        tail: (q,) float32.
        text: (m, 1) weight of the text loss.
        soft: (m, 1) weight of the soft loss.
        temperature: (m, 1).
        first: (m,) first row of each slot, on the host.
    """

    tokens: Tensor
    documents: Tensor
    positions: Tensor
    weights: Tensor
    soft_rows: Tensor | None
    ids: Tensor | None
    logprobs: Tensor | None
    tail: Tensor | None
    text: Tensor
    soft: Tensor
    temperature: Tensor
    first: Int64


@dataclass(frozen=True, slots=True)
class Extent:
    """Fixed sizes of a run's batches.

    Attributes:
        supervised: Most supervised tokens of a slot in a micro-batch.
        documents: Most documents, padding counted as one a row, of all slots in a micro-batch.
        longest: Longest document.
    """

    supervised: int
    documents: int
    longest: int


def build_pool(slots: Sequence[Slot], shape: Shape, device: torch.device) -> Pool:
    """Check the slots' data and bring it to the device, each distinct data set once.

    Raises:
        TrainingError: Data that cannot be trained on, rows of different length, or soft targets asked for but absent.
    """
    distinct: dict[int, TrainingData] = {id(slot.data): slot.data for slot in slots}
    lengths = {data.length for data in distinct.values()}
    if len(lengths) > 1 or max(lengths) > shape.context:
        raise TrainingError(
            f"all slots need rows of one length of at most {shape.context}, got {sorted(lengths)}; pack them alike"
        )
    for data in distinct.values():
        check_data(data, shape.vocab)
    wants_soft = any(slot.mix.soft for slot in slots)
    for slot in slots:
        if slot.mix.soft and slot.data.soft is None:
            raise TrainingError(f"slot '{slot.name}' learns from soft targets, but its data has none")
    starts = dict(zip(distinct, np.cumsum([0, *[data.rows for data in distinct.values()]])[:-1], strict=True))
    parts = list(distinct.values())

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(data, name) for data in parts])).to(device)

    def per_slot(name: str) -> Tensor:
        return torch.tensor([[getattr(slot.mix, name)] for slot in slots], dtype=torch.float32, device=device)

    soft_rows, ids, logprobs, tail = _soft(parts, device) if wants_soft else (None, None, None, None)
    return Pool(
        tokens=joined("tokens"),
        documents=joined("documents"),
        positions=joined("positions"),
        weights=joined("weights"),
        soft_rows=soft_rows,
        ids=ids,
        logprobs=logprobs,
        tail=tail,
        text=per_slot("text"),
        soft=per_slot("soft"),
        temperature=per_slot("temperature"),
        first=np.array([starts[id(slot.data)] for slot in slots], np.int64),
    )


def _soft(parts: Sequence[TrainingData], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Soft targets of all parts in one table, with pointers moved along."""
    width = max(data.soft.width for data in parts if data.soft is not None)
    pointers, ids, logprobs, tails = [], [], [], []
    held = 0
    for data in parts:
        if data.soft is None or data.soft_rows is None:
            pointers.append(np.full(data.tokens.shape, PADDING, np.int32))
            continue
        pointers.append(np.where(data.soft_rows >= 0, data.soft_rows + held, PADDING).astype(np.int32))
        room = ((0, 0), (0, width - data.soft.width))
        ids.append(np.pad(data.soft.ids, room, constant_values=PADDING))
        logprobs.append(np.pad(data.soft.logprobs, room, constant_values=-np.inf))
        tails.append(data.soft.tail)
        held += len(data.soft.tail)
    joined = [np.concatenate(arrays) for arrays in (pointers, ids, logprobs, tails)]
    a, b, c, d = (torch.from_numpy(array).to(device) for array in joined)
    return a, b, c, d


def extent(slots: Sequence[Slot], plan: Plan) -> Extent:
    """Sizes that hold for every batch of the run."""
    supervised = documents = longest = 0
    for slot in slots:
        data = slot.data
        drawn = rows_at(slot.seed, data.rows, 0, plan.steps * plan.rows)
        taught = np.count_nonzero(data.weights, axis=1)[drawn].reshape(plan.steps * plan.micro_batches, -1)
        supervised = max(supervised, int(taught.sum(1).max()))
        begun = (data.documents.max(axis=1) + 1 + (data.documents < 0).any(axis=1))[drawn]
        documents += int(begun.reshape(taught.shape).sum(1).max())
        longest = max(longest, int(data.positions.max()) + 1, int((data.documents < 0).sum(axis=1).max()))
    return Extent(supervised, documents, longest)


def gather(
    pool: Pool, row_ids: Tensor, size: Extent, count: Tensor, dtype: torch.dtype
) -> tuple[Rows, Targets]:
    """One micro-batch.

    Args:
        pool: The data.
        row_ids: (m, b) int64 rows of the pool.
        size: Sizes of the run.
        count: (m, 1) sum of the weights over the whole optimiser batch.
        dtype: Compute type, for the mask.
    """
    tokens, documents, weights = (part[row_ids] for part in (pool.tokens, pool.documents, pool.weights))
    slot_count, rows, length = tokens.shape
    flat = weights.reshape(slot_count, -1)
    places = _pick(flat > 0, size.supervised, missing=0)
    weight = flat.gather(1, places)
    # A missing place points at the first token of a row, which has weight 0, and is predicted from itself.
    where = (places - 1).clamp_min(0)
    flat_documents = documents.view(slot_count * rows, length)
    layout = (
        by_document(flat_documents, size.documents, size.longest)
        if dtype == torch.bfloat16 and tokens.device.type == "cuda" and has_document_kernel()
        else masked(flat_documents, dtype)
    )
    batch = Rows(tokens.long(), pool.positions[row_ids], layout, where)
    token = tokens.reshape(slot_count, -1).gather(1, places).long()
    return batch, _targets(pool, row_ids, places, token, weight / count)


def _targets(pool: Pool, row_ids: Tensor, places: Tensor, token: Tensor, weight: Tensor) -> Targets:
    text = weight * pool.text
    if pool.soft_rows is None or pool.ids is None or pool.logprobs is None or pool.tail is None:
        return Targets(token, text)
    pointer = pool.soft_rows[row_ids].flatten(1).gather(1, places).long()
    known, safe = pointer >= 0, pointer.clamp_min(0)
    return Targets(
        token,
        text,
        torch.where(known[..., None], pool.ids[safe].long(), PADDING),
        torch.where(known[..., None], pool.logprobs[safe], -torch.inf),
        torch.where(known, pool.tail[safe], 0.0),
        torch.where(known, weight * pool.soft, 0.0),
        pool.temperature,
    )


def _pick(flags: Tensor, width: int, missing: int) -> Tensor:
    """Places of the true flags in each row of (m, n), in order, as (m, width); `missing` fills the rest."""
    place = flags.cumsum(1) - 1
    target = torch.where(flags & (place < width), place, width)
    numbers = torch.arange(flags.shape[1], device=flags.device).expand_as(target)
    found = torch.full((len(flags), width + 1), missing, dtype=torch.int64, device=flags.device)
    return found.scatter_(1, target, numbers)[:, :width].contiguous()
