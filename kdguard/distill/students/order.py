"""Which rows a student sees at which step: a pure function of its seed, so that a run resumes from a number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kdguard.distill.students.plan import Plan, Slot

Int64 = NDArray[np.int64]


def rows_at(seed: int, count: int, start: int, stop: int) -> Int64:
    """Rows `start` to `stop` of an endless sequence that visits `count` rows in a new order every round."""
    rounds = [_round(seed, count, number) for number in range(start // count, (stop - 1) // count + 1)]
    offset = start // count * count
    return np.concatenate(rounds)[start - offset : stop - offset]


@lru_cache(maxsize=256)
def _round(seed: int, count: int, number: int) -> Int64:
    words = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, number]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words))).permutation(count)


def step_rows(slots: Sequence[Slot], plan: Plan, step: int) -> Int64:
    """Rows of every slot's own data at an optimiser step: (micro-batches, slots, micro rows)."""
    start, stop = step * plan.rows, (step + 1) * plan.rows
    drawn = np.stack([rows_at(slot.seed, slot.data.rows, start, stop) for slot in slots])
    return drawn.reshape(len(slots), plan.micro_batches, -1).swapaxes(0, 1)


def seen(slot: Slot, plan: Plan) -> dict[str, int]:
    """Supervised tokens by source that the slot trains on over the whole run, repetitions counted."""
    steps = min(slot.steps or plan.steps, plan.steps)
    visits = np.bincount(rows_at(slot.seed, slot.data.rows, 0, steps * plan.rows), minlength=slot.data.rows)
    counts = visits @ slot.data.source_tokens.astype(np.int64)
    return dict(zip(slot.data.sources, counts.tolist(), strict=True))
